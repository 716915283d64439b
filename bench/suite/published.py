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
class Confusion:
    """Counts of test images of two classes; class 1 of ours is the positive one."""

    tn: int
    fp: int
    fn: int
    tp: int


@dataclass(frozen=True)
class KnownNetwork:
    """Published scores of a classifier trained on real images alone.

    A metric is named as an evaluate row has it without ``test/``, and is defined alike. ``sd`` is over the folds of
    that work; ``confusion`` has the counts where they were printed. ``like`` is the classifier of ours, by its name in
    a suite, that is the same network, and ``unlike`` in what it is not.
    """

    scores: Printed
    sd: Printed = field(default_factory=dict)
    confusion: Confusion | None = None
    source: str = ""
    like: str = ""
    unlike: str = ""


@dataclass(frozen=True)
class KnownCost:
    """What training a method took where it was published: wall seconds for so many steps on a device."""

    steps: int
    batch_size: int
    device: str
    seconds: float


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
    literature: Mapping[str, KnownNetwork] = field(default_factory=dict)
    costs: Mapping[str, KnownCost] = field(default_factory=dict)
    suite: Mapping[str, Any] = field(default_factory=dict)
    differs: tuple[str, ...] = ()
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
