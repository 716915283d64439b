"""Published results of a suite's methods, and their settings: ``configs/published/<name>.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.config import build, read_yaml
from bench.errors import ConfigError, nearest

Printed = Mapping[str, str]  # measure -> number as printed; the decimals show its rounding


@dataclass(frozen=True)
class PublishedMethod:
    """One method: the registered method that reproduces it, its published settings, and its results."""

    use: str
    config: Mapping[str, Any]
    classification: Printed = field(default_factory=dict)  # accuracy, precision, recall, f1
    fcn: Printed = field(default_factory=dict)  # iou, pixel_accuracy, class_accuracy
    raters: Printed = field(default_factory=dict)


@dataclass(frozen=True)
class Confusion:
    """Counts of test images of two classes; the positive class is class 1 of this harness."""

    tn: int
    fp: int
    fn: int
    tp: int


@dataclass(frozen=True)
class KnownNetwork:
    """Published scores of a classifier trained on real images only.

    Metric names are those of an evaluate row without ``test/``, with the same definitions. ``sd`` is over the folds of
    that work; ``confusion`` has the counts if they were printed. ``like`` is the classifier of this harness, by its
    name in a suite, with the same network; ``unlike`` describes the differences.
    """

    scores: Printed
    sd: Printed = field(default_factory=dict)
    confusion: Confusion | None = None
    source: str = ""
    like: str = ""
    unlike: str = ""


@dataclass(frozen=True)
class KnownCost:
    """Published training cost of a method: wall time in seconds, number of steps, device."""

    steps: int
    batch_size: int
    device: str
    seconds: float


@dataclass(frozen=True)
class Published:
    """Published results of a suite's methods (one work) or of its classifiers (several works).

    ``methods`` are of one work, with ``test_images`` by class and ``positive``, the class of precision and recall.
    ``literature``: scores of classifiers by network name, for orientation. ``suite``: settings by their path in a
    suite. ``own_class_loss``: logged loss of the classifying head. ``unpaired``: text about published unpaired
    measures.
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
    """Read ``folder/<name>.yaml``. Raises ``ConfigError`` if it does not exist or is invalid."""
    files = {p.stem: p for p in sorted(folder.glob("*.yaml"))}
    if name not in files:
        raise ConfigError(f"published: unknown results {name!r}; {nearest(name, files)}")
    data = {k: v for k, v in read_yaml(files[name]).items() if not k.startswith("_")}
    found = build(Published, data, f"published results {name}")
    if found.methods and found.positive not in found.test_images:
        known = ", ".join(found.test_images) or "no classes"
        raise ConfigError(f"published results {name}: got positive {found.positive!r}, expected one of: {known}")
    return found
