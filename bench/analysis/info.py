"""Information on a run besides its rows: plan, data, settings, machine and code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.metrics.units import ScoredUnit
from bench.store.run_records import RunRecord
from bench.suite.arms import Arm
from bench.suite.contrast import Contrast
from bench.suite.published import Published
from bench.suite.roles import Roles
from bench.suite.suite import REFERENCES
from bench.types import At, Measure, Unit


@dataclass(frozen=True)
class FoldSize:
    """One planned pair (fold × repeat), and the numbers of images and patients in its parts.

    With the unit 'image' the parts share patients: ``shared_groups`` of the test patients are also used for training.
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
    unlabelled_images: int = 0
    unlabelled_groups: int = 0
    train_patients: int | None = None  # size of the training set, of a learning curve only; ``fold`` is its number

    @property
    def at(self) -> At:
        """Fold, repeat and, in a learning curve, the size of the training set."""
        return (self.fold, self.repeat, self.train_patients)


@dataclass(frozen=True)
class ClassSize:
    """A class of the data set: numbers of images and of patients (or other groups)."""

    name: str
    images: int
    groups: int


@dataclass(frozen=True)
class DataFacts:
    """The images of a suite: classes, file problems (kind -> count), and groups.

    ``groups`` is the unit that folds do not split: 'patients', or 'groups' if patients are unknown. ``near_copies``
    describes how near duplicates were handled; '' if they are not searched for. ``mixed_groups`` groups have images of
    several classes.
    """

    classes: tuple[ClassSize, ...] = ()
    problems: Mapping[str, int] = field(default_factory=dict)
    groups: str = "patients"
    near_copies: str = ""
    mixed_groups: int = 0
    all_groups: int = 0  # a group with several classes counts once; 0 in reports of earlier versions


@dataclass(frozen=True)
class PublishedFacts:
    """Published results of the suite's methods, and the ``differences`` of this run by method, as text.

    The key '' has the differences of all methods. ``settings`` are the names of the differing settings by method.
    """

    results: Published
    differences: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    settings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    exchanged: Mapping[str, str] = field(default_factory=dict)  # method -> the registered method that replaced it


@dataclass(frozen=True)
class OtherFinding:
    """Difference of a method to its from-scratch counterpart, from a report on another data set in the output folder.

    ``kind`` is 'kid' or 'accuracy'; the latter has a classifier and a ratio. ``difference``, its 95 % interval and
    ``word`` are as in that report, from ``pairs`` pairs.
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
    """Return n_test / n_train in images, mean over folds, for the corrected t test.

    Validation images do not count as training images, which gives the larger ratio and wider intervals.
    """
    shares = [f.test_images / f.train_images for f in folds if f.train_images]
    return sum(shares) / len(shares) if shares else 0.0


@dataclass(frozen=True)
class ReportInfo:
    """Description of a suite for its report, in the suite's order; ``generative`` are some of the ``methods``.

    ``ratios`` are those of the generative methods, as spelt in the rows. ``train_multipliers`` are those of the
    references. ``tuned_s`` is the tuning cost in device seconds by method and classifier. ``untrained`` are generative
    methods without a verdict, each with its share of noise's excess KID. ``margin`` is the equivalence margin in the
    unit of ``endpoint``. ``reference`` is the generative method that the others are compared with. ``real_images`` are
    a few real training images by class name, for the picture grids. ``command`` repeats the run; ``host`` and
    ``git_commit`` identify machine and code.
    """

    suite: str
    dataset: str
    classes: tuple[str, ...]
    methods: tuple[str, ...]
    generative: tuple[str, ...]
    classifiers: tuple[str, ...]
    ratios: tuple[str, ...]
    folds: tuple[FoldSize, ...]
    train_multipliers: tuple[int, ...] = ()
    tuned_s: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    tuning_budgets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # likewise, in words; tuned arms only
    untrained: Mapping[str, float] = field(default_factory=dict)
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
    measures: Mapping[str, Measure] = field(default_factory=dict)  # of custom metrics, by stored name
    roles: Roles | None = None  # roles of the methods in the research questions; None: questions are not answered
    modality: str = ""  # imaging modality of the data set
    segmentation_networks: tuple[str, ...] = ()  # networks compared over arms
    mask_carriers: tuple[str, ...] = ()  # methods that have masks for their images
    other_findings: tuple[OtherFinding, ...] = ()  # from reports on other data sets
    runs: tuple[RunRecord, ...] = ()  # of this suite in this output folder, oldest first
    positive: str = ""  # positive class of two; '' in reports of earlier versions, where it is the second
    design: str = "kfold"  # split protocol
    endpoint: str = "balanced_accuracy"  # score of the verdicts; the default is that of reports of earlier versions
    contrast: Contrast | None = None  # the comparison that was declared before the run
    alpha: float = 0.05  # of the verdicts: smaller if a learning curve could stop early (alpha spending)
    sizes: tuple[int, ...] = ()  # patients in a training set, ascending, of a learning curve
    reference_only: tuple[int, ...] = ()  # sizes at which only `none` is trained
    size: int | None = None  # of the training sets of ``folds``, in a learning curve (``at_size``)

    @property
    def unit(self) -> ScoredUnit:
        """The unit that is scored (patient or image), and its name."""
        return ScoredUnit(self.data.groups, self.data.mixed_groups, self.endpoint)

    @property
    def positive_class(self) -> str:
        """The positive class of two; '' with more classes."""
        return (self.positive or self.classes[1]) if len(self.classes) == 2 else ""

    @property
    def positive_label(self) -> int:
        """The index of the positive class of two; 1 with more classes."""
        return self.classes.index(self.positive_class) if self.positive_class else 1

    @property
    def apart(self) -> ReportInfo:
        """The same with patient-disjoint folds only."""
        return replace(self, folds=tuple(f for f in self.folds if f.unit == "group"))

    @property
    def is_curve(self) -> bool:
        """Whether it is a learning curve: disjoint training sets, one common test part."""
        return bool(self.sizes)

    @property
    def is_crossed(self) -> bool:
        """Whether several trainings are tested on the same test part: a learning curve, or repeats of a given split."""
        return self.is_curve or self.design == "given"

    @property
    def by_folds(self) -> bool:
        """Whether every group is tested once in each repeat."""
        return self.design in ("kfold", "shift")

    @property
    def verdict_size(self) -> int | None:
        """The size of the training sets that the leaderboard shows: of the contrast, or the smallest with all arms."""
        if not self.is_curve:
            return None
        declared = self.contrast.train_patients if self.contrast else None
        return declared or next((n for n in self.sizes if n not in self.reference_only), self.sizes[0])

    def tuning_budget(self, method: str, classifier: str) -> str:
        """The tuning budget of an arm in words, 'no tuning' without; with classifier '', of the method's generator."""
        of = self.tuning_budgets.get(method, {})
        return (of.get(classifier) if classifier else next(iter(of.values()), None)) or "no tuning"

    def at_size(self, size: int | None) -> ReportInfo:
        """Return the same with the training sets of one size of a learning curve; with None, itself."""
        if size is None:
            return self
        methods = ("none",) if size in self.reference_only else self.methods
        folds = tuple(f for f in self.folds if f.train_patients == size)
        generative = tuple(m for m in self.generative if m in methods)
        return replace(self, methods=methods, generative=generative, folds=folds, size=size)

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Every arm of the suite, in its order."""
        return tuple(Arm.parse(m, r) for m in self.methods for r in (self.ratios if m in self.generative else ("0",)))

    @property
    def multiplied_arms(self) -> tuple[Arm, ...]:
        """The references with training multipliers; they appear only in the compute-matched comparison."""
        references = (m for m in REFERENCES if m in self.methods)
        return tuple(Arm(m, train_multiplier=t) for m in references for t in sorted(self.train_multipliers))

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Every planned (fold, repeat)."""
        return tuple((f.fold, f.repeat) for f in self.folds)

    @property
    def test_train_ratio(self) -> float:
        """n_test / n_train of its folds."""
        return test_train_ratio(self.folds)
