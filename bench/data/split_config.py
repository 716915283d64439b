"""How a data set is divided: the settings of all split protocols."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from bench.data.given_split import GIVEN
from bench.data.published_split import PUBLISHED
from bench.data.shift_split import SHIFT, ShiftConfig
from bench.errors import ConfigError, nearest

LEARNING_CURVE = "learning_curve"
PER_CLASS = 2  # patients of each class that a set needs (one trains, one validates), and that the test part needs
MOST_LOOKS = 5
PROTOCOLS = ("kfold", "holdout", GIVEN, PUBLISHED, SHIFT, LEARNING_CURVE)


@dataclass(frozen=True)
class Replicates:
    """Between ``min`` and ``max`` training sets; the run stops as soon as the primary contrast is decided."""

    min: int
    max: int

    def __post_init__(self) -> None:
        if not 2 <= self.min < self.max:
            raise ConfigError(f"got min {self.min} and max {self.max} sets; expected 2 <= min < max")

    @property
    def looks(self) -> tuple[int, ...]:
        """The numbers of sets after which the primary contrast is looked at: at most five, evenly from min to max."""
        steps = min(MOST_LOOKS - 1, (self.max - self.min + 1) // 2)
        return tuple(self.min + (self.max - self.min) * i // steps for i in range(steps + 1))


@dataclass(frozen=True)
class SplitConfig:
    """How a dataset is divided.

    ``kfold``: every group is tested once per repeat, in one of ``folds`` folds. ``holdout``: ``repeats`` independent
    draws of ``test_fraction`` of each class's images (± 0.1, because patients are not divided). ``validation_fraction``
    refers to the images that are not tested. ``given``: the parts of a table's column or of folders train, val and
    test, the same in all ``repeats``, which train again with other seeds; without val, ``validation_fraction`` of the
    training images is drawn (``bench.data.given_split``). ``published``: each repeat draws a fixed number of images of
    each class twice: fold 0 image by image, so that parts share patients, fold 1 with disjoint patients
    (``bench.data.published_split``). ``shift``: as ``kfold``, but each part keeps only images with the attribute values
    in ``shift`` (``bench.data.shift_split``). ``learning_curve``: disjoint training sets of each of the sizes
    ``train_patients``, and one common test part (``bench.data.learning_curve``); with ``unlabelled_patients`` further
    patients of each set, whose images methods with ``unlabelled: true`` use without labels.
    """

    protocol: Literal["kfold", "holdout", "given", "published", "shift", "learning_curve"] = "kfold"
    folds: int = 5
    repeats: int = 1
    test_fraction: float = 0.3
    validation_fraction: float = 0.2
    seed: int = 0
    train_per_class: int = field(default=100, metadata={"late": True})  # images; this and the next: 'published' only
    validation_per_class: int = field(default=10, metadata={"late": True})
    test_per_class: int = field(default=10, metadata={"late": True})
    shift: ShiftConfig | None = field(default=None, metadata={"late": True})  # with 'shift' only
    # The rest: with 'learning_curve' only. Sizes count all patients of a set, with its validation patients.
    train_patients: tuple[int, ...] = field(default=(), metadata={"late": True})
    replicates: int | Replicates = field(default=12, metadata={"late": True})  # disjoint training sets of each size
    test_patients: int | None = field(default=None, metadata={"late": True})  # None: all patients outside the sets
    balanced: bool = field(default=False, metadata={"late": True})  # as many patients of each class in a set
    reference_only: tuple[int, ...] = field(
        default=(), metadata={"late": True}
    )  # sizes at which only `none` is trained
    unlabelled_patients: int = field(default=0, metadata={"late": True})  # of each set, for methods that use them

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise ConfigError(f"split protocol is {self.protocol!r}; valid: {', '.join(PROTOCOLS)}")
        if (self.protocol == SHIFT) != (self.shift is not None):
            raise ConfigError(
                f"split protocol is {self.protocol!r} and shift is {self.shift}; only protocol 'shift' has a shift, "
                "such as shift: {attribute: magnification, train: [40, 100], test: [400]}"
            )
        if self.protocol == LEARNING_CURVE:
            _check_sizes(self)
        elif self.train_patients or self.unlabelled_patients:
            name = "train_patients" if self.train_patients else "unlabelled_patients"
            raise ConfigError(
                f"split protocol is {self.protocol!r} and {name} is {getattr(self, name)}; only protocol "
                f"{LEARNING_CURVE!r} has training sets of given sizes, and unlabelled patients"
            )
        for name in ("train_per_class", "validation_per_class", "test_per_class"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; at least 1 is needed")
        if self.folds < 2 or self.repeats < 1:
            raise ConfigError(
                f"got folds={self.folds}, repeats={self.repeats}; at least 2 folds and 1 repeat are needed"
            )
        for name in ("test_fraction", "validation_fraction"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must lie between 0 and 1, both excluded")

    @property
    def sets(self) -> int:
        """The largest number of training sets of a learning curve."""
        return self.replicates.max if isinstance(self.replicates, Replicates) else self.replicates

    @property
    def drawn(self) -> SplitConfig:
        """The settings that the parts of one fold depend on.

        In a learning curve these are neither the smaller sizes nor, if ``test_patients`` is given, the number of sets.
        """
        if self.protocol != LEARNING_CURVE:
            return self
        sets = self.sets if self.test_patients is None else 2
        return replace(self, train_patients=self.train_patients[-1:], reference_only=(), replicates=sets)

    @property
    def learned(self) -> SplitConfig:
        """The settings that the training and validation parts of one fold depend on; the test part may differ.

        With a shift: those that test on the same attribute values.
        """
        if self.protocol == LEARNING_CURVE:
            return replace(self.drawn, replicates=2, test_patients=None)
        return replace(self, shift=replace(self.shift, test=self.shift.train)) if self.shift else self

    def only_reference(self, train_patients: int | None) -> bool:
        """Whether only the reference `none` is trained on sets of this size."""
        return train_patients in self.reference_only

    @property
    def predicts_unused(self) -> bool:
        """Whether classifiers also predict the images of other training sets.

        The test part of a learning curve without ``test_patients`` becomes smaller with more sets. With these
        predictions, no finished training depends on the number of sets.
        """
        return self.protocol == LEARNING_CURVE and self.test_patients is None

    @property
    def by_folds(self) -> bool:
        """Whether every group is in the test part of exactly one fold per repeat."""
        return self.protocol in ("kfold", SHIFT)


def _check_sizes(config: SplitConfig) -> None:
    """Raise ``ConfigError`` for invalid settings of the learning curve."""
    sizes = config.train_patients
    if not sizes or list(sizes) != sorted(set(sizes)) or sizes[0] < 2 * PER_CLASS:
        raise ConfigError(
            f"train_patients is {list(sizes)}; a learning curve needs ascending numbers of patients, each at least "
            f"{2 * PER_CLASS}, such as [20, 40, 80]"
        )
    if config.sets < 2:
        raise ConfigError(f"replicates is {config.sets}; at least 2 training sets are needed")
    if config.unlabelled_patients < 0:
        raise ConfigError(f"unlabelled_patients is {config.unlabelled_patients}; expected at least 0")
    if config.test_patients is not None and config.test_patients < 2 * PER_CLASS:
        raise ConfigError(
            f"test_patients is {config.test_patients}; expected at least {2 * PER_CLASS}, or null for all"
        )
    for size in config.reference_only:
        if size not in sizes:
            raise ConfigError(f"reference_only: {size} is no size of the curve; {nearest(str(size), map(str, sizes))}")
    if set(config.reference_only) == set(sizes):
        raise ConfigError(f"reference_only names every size of {list(sizes)}; leave at least one for the other arms")
