"""Cells, the plan of a suite on a dataset, and the arms that it has; ``bench.plan.make`` makes plans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.abilities import CarriesMasks, Translator
from bench.config import stable_hash
from bench.suite.arms import Arm, ratio_text
from bench.suite.suite import REFERENCES, PluginSpec, Settings, Suite
from bench.types import At, DatasetIndex, Split

STAGES = (
    "split", "fit", "synthesize", "select", "fidelity", "memorised", "fcn_score", "translate",
    "discriminator_classifier", "classify", "evaluate", "explain", "segmentation",
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One unit of work. ``upstream`` are the (stage, key) ids of cells that must be done first.

    In the stage `segmentation`, ``classifier`` holds the name of the segmentation network.
    """

    stage: str
    key: str
    fold: int
    repeat: int
    method: str | None = None
    ratio: str | None = None
    classifier: str | None = None
    upstream: tuple[tuple[str, str], ...] = ()
    train_patients: int | None = None  # size of the training set, of a learning curve only; ``fold`` is its number

    @property
    def at(self) -> At:
        """Fold, repeat and, in a learning curve, the size of the training set."""
        return (self.fold, self.repeat, self.train_patients)

    @property
    def id(self) -> tuple[str, str]:
        """The id that addresses its folder."""
        return (self.stage, self.key)

    @property
    def row_key(self) -> str:
        """The key of its row in the store."""
        return f"{self.stage}/{self.key}"

    @property
    def arm(self) -> Arm:
        """Its method and the variant in ``ratio``; the method is '' for cells without one."""
        return Arm.parse(self.method, self.ratio)

    @property
    def title(self) -> str:
        """A short readable name: 'classify cyclegan ×1 small_cnn fold 0'."""
        parts = [self.stage, self.method, self.arm.variant_label, self.classifier]
        return " ".join([*(p for p in parts if p), fold_title(*self.at)])


def fold_title(fold: int | None, repeat: int | None, train_patients: int | None = None) -> str:
    """Return 'fold 0', 'fold 0.1' of repeat 1, or 'set 0 of 40 patients' of a learning curve."""
    if train_patients is not None:
        return f"set {fold} of {train_patients} patients"
    return f"fold {fold}" + (f".{repeat}" if repeat else "")


@dataclass(frozen=True)
class Plan:
    """All cells of a suite on a dataset, upstream before downstream, and their folds.

    Two arms with the same config share their cells' ids; ``work`` lists each id once.
    """

    suite: Suite
    index: DatasetIndex
    fingerprint: str
    cells: tuple[Cell, ...]
    splits: tuple[Split, ...]
    weights: str | None = None  # identifier of the local pretrained weights

    @property
    def work(self) -> list[Cell]:
        """The cells, each id once."""
        return unique(self.cells)


def unique(cells: Sequence[Cell]) -> list[Cell]:
    """Return the first cell of every id, in order."""
    found: dict[tuple[str, str], Cell] = {}
    for cell in cells:
        found.setdefault(cell.id, cell)
    return list(found.values())


def arm_ratios(settings: Settings) -> tuple[str, ...]:
    """Return the variants of a suite's generative arms in order: of each ratio all images, then its subsets."""
    found = []
    for arm in (Arm("", ratio_text(r)) for r in settings.ratios):
        found.append(arm)
        found += [replace(arm, exclude_memorised=True)] if settings.exclude_memorised else []
        found += [replace(arm, selection=s.rule, keep=s.keep) for s in settings.select if s.rule != "none"]
    return tuple(arm.variant for arm in found)


def multiplied_ratios(settings: Settings, method: str) -> tuple[str, ...]:
    """Return the ratio strings of a reference arm's compute-matched variants, ascending; () for other methods."""
    return (
        tuple(Arm(method, train_multiplier=t).variant for t in sorted(settings.train_multipliers))
        if method in REFERENCES
        else ()
    )


def mask_carriers(suite: Suite) -> tuple[str, ...]:
    """Return the methods that segmentation networks are trained with, in the suite's order.

    These are online methods that transform masks with their images, and translators, which preserve the geometry of an
    image and so its mask. Images generated from noise have no masks.
    """
    kinds = {"online": CarriesMasks, "generative": Translator}
    return tuple(m.name for m in suite.methods if isinstance(m.create(), kinds[m.kind]))


def classifier_of(suite: Suite, name: str, method: str | None, ratio: str | None) -> PluginSpec:
    """Return a classifier with the settings of the arm of this method and ratio."""
    spec, n = suite.classifier(name, method), Arm.parse(method, ratio).train_multiplier
    return replace(spec, config=replace(spec.config, steps=n * spec.config.steps)) if n > 1 else spec


def validation_cell(classify: Cell) -> Cell:
    """Return the cell that trains the classifier of a ``classify`` cell without its fold's test part, for tuning.

    It is not part of a plan. Once it is done, the ``classify`` cell uses its network instead of training again.
    """
    return replace(classify, stage="validate", key=stable_hash(["validate", classify.key]))
