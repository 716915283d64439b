"""What a work has published of a suite's methods, and by which settings: ``configs/published/<name>.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.config import build, read_yaml
from bench.errors import ConfigError, nearest

Printed = Mapping[str, str]  # measure -> the number as it was printed: its decimals say how far it was rounded


@dataclass(frozen=True)
class PublishedMethod:
    """One method: the registered one that reproduces it, the settings published, and what came out."""

    use: str
    config: Mapping[str, Any]
    classification: Printed = field(default_factory=dict)  # accuracy, precision, recall, f1
    fcn: Printed = field(default_factory=dict)  # iou, pixel_accuracy, class_accuracy
    raters: Printed = field(default_factory=dict)


@dataclass(frozen=True)
class KnownScore:
    """A published score of a classifier trained on real images alone, as it was printed.

    ``metric`` is the name of ours that is defined alike, as an evaluate row has it without ``test/``.
    """

    value: str
    source: str
    sd: str = ""  # over the folds of that work
    metric: str = "patient_score"


@dataclass(frozen=True)
class Published:
    """What was published of a suite's methods by one work, or of its classifiers by several.

    ``methods`` are of one work, with ``test_images`` by class and ``positive`` the class that precision and recall are
    of. ``literature`` holds scores of classifiers by the network in words, for orientation. ``suite`` holds settings
    by their path in a suite; ``own_class_loss`` is the logged loss of the head that classified; ``unpaired`` says what
    was published of the unpaired measures.
    """

    source: str
    positive: str = ""
    test_images: Mapping[str, int] = field(default_factory=dict)
    methods: Mapping[str, PublishedMethod] = field(default_factory=dict)
    literature: Mapping[str, KnownScore] = field(default_factory=dict)
    suite: Mapping[str, Any] = field(default_factory=dict)
    own_class_loss: str = ""
    raters_of_real_images: Printed = field(default_factory=dict)
    unpaired: str = ""


def load_published(folder: Path, name: str) -> Published:
    """Read ``folder/<name>.yaml``. Raises ``ConfigError`` when there is none, or it holds something else."""
    files = {p.stem: p for p in sorted(folder.glob("*.yaml"))}
    if name not in files:
        raise ConfigError(f"published: no results are called {name!r}; {nearest(name, files)}")
    data = {k: v for k, v in read_yaml(files[name]).items() if not k.startswith("_")}
    found = build(Published, data, f"published results {name}")
    if found.methods and found.positive not in found.test_images:
        known = ", ".join(found.test_images) or "no classes"
        raise ConfigError(f"published results {name}: positive is {found.positive!r}, test_images has {known}")
    return found
