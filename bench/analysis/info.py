"""What a report must be told besides the rows: what was planned, on which data, how, and by whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.metrics.units import ScoredUnit
from bench.store.run_records import RunRecord
from bench.suite.arms import NO_MEMORISED, longer, ratio_label
from bench.suite.published import Published
from bench.suite.roles import Roles
from bench.suite.suite import REFERENCES
from bench.types import Measure, Unit


@dataclass(frozen=True)
class FoldSize:
    """One planned pair (fold, repeat) and the number of images, and of patients, in its parts.

    With the unit 'image' its parts share patients: ``shared_groups`` of those tested are also trained on.
    """

    fold: int
    repeat: int
    train_images: int
    validation_images: int
    test_images: int
    train_groups: int = 0
    validation_groups: int = 0
    test_groups: int = 0
    unit: Unit = "group"
    shared_groups: int = 0


@dataclass(frozen=True)
class Arm:
    """One way of making a training set: a method, and for generative ones how many images it adds per real one."""

    method: str
    ratio: str = "0"

    @property
    def label(self) -> str:
        """How tables and figures call it: 'classical', 'cyclegan ×0.5', 'cyclegan balance'."""
        return f"{self.method} {ratio_label(self.ratio)}".strip()

    @property
    def without_memorised(self) -> bool:
        """Whether the synthetic images that were flagged as copies are left out of its training set."""
        return self.ratio.endswith(NO_MEMORISED)


@dataclass(frozen=True)
class ClassSize:
    """A class of the data set: how many images it has, and of how many patients (or other groups)."""

    name: str
    images: int
    groups: int


@dataclass(frozen=True)
class DataFacts:
    """The images behind a suite: classes, what was odd about files (kind -> how many), and who counts as a patient.

    ``groups`` is what folds keep whole: 'patients', or 'groups' where patients are not known. ``near_copies`` says what
    was done with images that show one picture, in words; '' where the data set does not look for them. ``mixed_groups``
    of the groups have images of several classes.
    """

    classes: tuple[ClassSize, ...] = ()
    problems: Mapping[str, int] = field(default_factory=dict)
    groups: str = "patients"
    near_copies: str = ""
    mixed_groups: int = 0
    all_groups: int = 0  # one with images of several classes counts once; 0 in reports of earlier versions


@dataclass(frozen=True)
class PublishedFacts:
    """What was published of the suite's methods, and where this run is another: ``differences`` by method, in words.

    Those of the key '' hold for all methods. A method that is not the published one says first what it is. ``settings``
    names, by method, the settings that differ.
    """

    results: Published
    differences: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    settings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    exchanged: Mapping[str, str] = field(default_factory=dict)  # method -> the registered one that ran in its place


@dataclass(frozen=True)
class OtherFinding:
    """What a report on another data set, in the same output folder, says of a method beside its twin.

    ``kind`` is 'kid' or 'accuracy', the latter with a classifier and a ratio; ``difference`` with its 95 % interval and
    its ``word`` are as in that report, from ``pairs`` pairs.
    """

    suite: str
    dataset: str
    modality: str
    method: str
    from_scratch: str
    kind: str
    classifier: str
    ratio: str
    difference: float
    low: float
    high: float
    word: str
    pairs: int


def test_train_ratio(folds: Sequence[FoldSize]) -> float:
    """Return n_test / n_train in images, the mean over folds: what the corrected t test needs.

    Only what networks are trained on counts as training: the larger ratio, and so the wider intervals.
    """
    shares = [f.test_images / f.train_images for f in folds if f.train_images]
    return sum(shares) / len(shares) if shares else 0.0


@dataclass(frozen=True)
class ReportInfo:
    """A suite as its report describes it. Orders are the suite's own; ``methods`` are all, ``generative`` some of them.

    ``ratios`` are those of the generative methods, spelt as in the rows. ``longer`` are the multiples of the steps that
    the references also train for; ``tuned_s`` what tuning cost, in device seconds, by method and classifier, where it
    was. ``margin`` is the equivalence margin in balanced accuracy. ``reference`` is the generative method that the
    others are compared with. ``real_images`` gives a few real training images per class name, for the picture grids.
    ``command`` redoes the run; ``host`` and ``git_commit`` say where and from what code.
    """

    suite: str
    dataset: str
    classes: tuple[str, ...]
    methods: tuple[str, ...]
    generative: tuple[str, ...]
    classifiers: tuple[str, ...]
    ratios: tuple[str, ...]
    folds: tuple[FoldSize, ...]
    longer: tuple[int, ...] = ()
    tuned_s: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    margin: float = 0.02
    reference: str | None = None
    description: str = ""
    protocol: str = ""
    image_size_px: int = 0
    seed: int = 0
    fingerprint: str = ""
    command: str = ""
    git_commit: str = ""
    host: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    data: DataFacts = field(default_factory=DataFacts)
    real_images: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    published: PublishedFacts | None = None
    measures: Mapping[str, Measure] = field(default_factory=dict)  # of the suite's own metrics, by their stored names
    roles: Roles | None = None  # what the methods are to the research questions; None: nobody asks them
    modality: str = ""  # what kind of images the data set has, in words
    modalities: Mapping[str, str] = field(default_factory=dict)  # those of the other data sets that bench knows
    segmentation_networks: tuple[str, ...] = ()  # segmentation networks that are compared across arms
    mask_carriers: tuple[str, ...] = ()  # the methods whose arms these are
    other_findings: tuple[OtherFinding, ...] = ()  # from reports on other data sets
    runs: tuple[RunRecord, ...] = ()  # of this suite in this output folder, oldest first
    positive: str = ""  # the positive one of two classes; '' in reports of earlier versions, where it is the second

    @property
    def unit(self) -> ScoredUnit:
        """What scores count once, and what it is called."""
        return ScoredUnit(self.data.groups, self.data.mixed_groups)

    @property
    def positive_class(self) -> str:
        """The positive one of two classes; '' where there are more."""
        return (self.positive or self.classes[1]) if len(self.classes) == 2 else ""

    @property
    def positive_label(self) -> int:
        """The index of the positive one of two classes; 1 where there are more."""
        return self.classes.index(self.positive_class) if self.positive_class else 1

    @property
    def apart(self) -> ReportInfo:
        """The same of the folds alone whose patients are apart."""
        return replace(self, folds=tuple(f for f in self.folds if f.unit == "group"))

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Every arm of the suite, in its order."""
        return tuple(Arm(m, r) for m in self.methods for r in (self.ratios if m in self.generative else ("0",)))

    @property
    def longer_arms(self) -> tuple[Arm, ...]:
        """The references once more, trained longer: they are in no leaderboard but that of equal compute."""
        return tuple(Arm(m, longer(t)) for m in REFERENCES if m in self.methods for t in sorted(self.longer))

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Every planned (fold, repeat)."""
        return tuple((f.fold, f.repeat) for f in self.folds)

    @property
    def test_train_ratio(self) -> float:
        """n_test / n_train of its folds."""
        return test_train_ratio(self.folds)
