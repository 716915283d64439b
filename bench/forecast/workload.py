"""The amount of work of a cell, in units to which its time is proportional, and which cells do the same kind of work.

A cell's seconds in a phase are assumed proportional to its units of that phase: steps, images. Cells of equal *shape*
take equally long per unit. The shape is a hash of the values that determine that (networks, image size, threads),
without those that only determine the number of units (steps, intervals, the fold).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.config import stable_hash
from bench.plan.plan import Cell, Plan, classifier_of
from bench.suite.suite import PluginSpec, Suite
from bench.types import Split

# Config fields for the amount of work or its numbers; they do not change the seconds per unit.
AMOUNTS = (
    "steps", "sample_every", "checkpoint_every", "log_every", "evaluate_every", "fid_every", "patience",
    "learning_rate", "discriminator_learning_rate", "lr_decay_start", "weight_decay", "warmup_fraction",
    "label_smoothing", "select_by",
)  # fmt: skip
STEPPED = ("fit", "fcn_score", "classify", "validate", "segmentation")  # stages that train
OF_METHOD = (
    "fit",
    "synthesize",
    "select",
    "translate",
    "discriminator_classifier",
)  # stages whose time depends on a generative method


@dataclass(frozen=True)
class Sizes:
    """Images in the parts of a fold."""

    train: int
    validation: int
    test: int

    @classmethod
    def of(cls, split: Split) -> Sizes:
        """Count a split's images."""
        return cls(len(split.train), len(split.validation), len(split.test))


@dataclass(frozen=True)
class Workload:
    """``units`` by phase; a phase without entry has one. ``batch`` images per step, 0 without steps.

    ``first_units`` is the number of units in the first block of steps, which includes the warm-up. ``size_px`` is the
    suite's image side: cells of another side do not predict this one's seconds.
    """

    shape: str
    units: Mapping[str, float] = field(default_factory=dict)
    first_units: float = 1.0
    batch: int = 0
    size_px: int = 0

    def of(self, phase: str) -> float:
        """Return the units of a phase."""
        return self.units.get(phase, 1.0)

    def plain(self) -> dict[str, Any]:
        """Return it as a row's fact ``work``."""
        return asdict(self)

    @classmethod
    def read(cls, fact: Any) -> Workload | None:
        """Read what ``plain`` returned, None if a row has none."""
        if not isinstance(fact, Mapping) or "shape" not in fact:
            return None
        return cls(**{k: fact[k] for k in cls.__dataclass_fields__ if k in fact})


def workload(cell: Cell, suite: Suite, sizes: Sizes) -> Workload:
    """Return the work of a cell of a suite on a fold of these sizes."""
    suite = suite.of_fold(cell.fold, cell.repeat)
    config = trained_config(cell, suite)
    units: dict[str, float] = _steps(config, sizes) if config is not None else {}
    s = suite.settings
    made = sizes.train * max((_ratio(r) for r in s.ratios), default=0.0)
    made = sizes.train * _ratio(cell.arm.ratio) if cell.arm.is_selected else made
    every_image = sizes.train + sizes.validation + sizes.test
    match cell.stage:
        case "synthesize":
            units["sample"] = made
        case "select":
            units["sample"] = made / cell.arm.keep
            units["evaluate"] = units["sample"] + sizes.train
        case "fidelity":
            units["evaluate"] = min(made, sizes.train) + every_image
        case "memorised":
            units["evaluate"] = made + sizes.train + sizes.validation
        case "translate":
            units |= {"sample": sizes.test, "evaluate": sizes.test}
        case "discriminator_classifier":
            units["evaluate"] = sizes.test
        case "explain":
            units["evaluate"] = s.explain.images_per_class
        case "fcn_score":
            units["data"] = every_image
        case "classify" | "validate" | "segmentation":
            units["data"] = sizes.train * (1 + _ratio(cell.arm.ratio))
    units = {phase: float(n) for phase, n in units.items() if n > 0}
    first = min((getattr(config, n, 1) for n in ("log_every", "sample_every", "checkpoint_every", "steps")), default=1)
    grouped = hasattr(config, "log_every")  # such a loop opens one phase for all steps between two logs
    batch = default_batch(config)
    return Workload(_shape(cell, suite), units, float(first if grouped else 1), batch, s.image_size_px)


def default_batch(config: Any) -> int:
    """Return the batch size of a config, 0 if it has none: a method need not train in batches."""
    return int(getattr(config, "batch_size", 0))


def workloads(plan: Plan) -> dict[str, Workload]:
    """Return the work of every cell of a plan, by the key of its row.

    Folds of equal sizes have equal work, so it is computed once for all cells of an arm on them.
    """
    sizes = {s.at: Sizes.of(s) for s in plan.splits}
    found: dict[tuple[object, ...], Workload] = {}
    works = {}
    for c in plan.cells:
        own = (c.fold, c.repeat) if plan.suite.by_fold else None
        like = (c.stage, c.method, c.ratio, c.classifier, sizes[c.at], own)
        if like not in found:
            found[like] = workload(c, plan.suite, sizes[c.at])
        works[c.row_key] = found[like]
    return works


def trained_config(cell: Cell, suite: Suite) -> Any:
    """Return the config of what a cell trains, None for a cell that trains nothing."""
    match cell.stage:
        case "fit":
            return suite.method(str(cell.method)).config
        case "fcn_score":
            return suite.settings.segmentation
        case "segmentation":
            return suite.settings.segmentation_networks[str(cell.classifier)]
        case "classify" | "validate":
            return classifier_of(suite, str(cell.classifier), cell.method, cell.ratio).config
    return None


def _steps(config: Any, sizes: Sizes) -> dict[str, float]:
    steps = getattr(config, "steps", 0)

    def times(interval: str) -> int:
        return math.ceil(steps / getattr(config, interval)) if hasattr(config, interval) else 0

    units = {"step": steps, "sample": times("sample_every"), "checkpoint": max(0, times("checkpoint_every") - 1)}
    if getattr(config, "fid_every", 0):
        units["evaluate"] = times("fid_every")
    if hasattr(config, "evaluate_every"):
        units["evaluate"] = (1 + times("evaluate_every")) * sizes.validation + sizes.test
    return units


def _ratio(ratio: float | str) -> float:
    """Synthetic images per real image; about a half is assumed for 'balance'."""
    return 0.5 if ratio == "balance" else float(ratio)


def _shape(cell: Cell, suite: Suite) -> str:
    s = suite.settings
    common = [s.image_size_px, s.threads]
    stage = "classify" if cell.stage == "validate" else cell.stage
    parts: list[Any] = [stage, *common]
    if cell.stage in OF_METHOD:
        parts.append(_identity(suite.method(str(cell.method))))
        parts += [s.fidelity, cell.arm.selection] if stage == "select" else []
    elif stage == "explain":
        parts.append(_identity(suite.classifier(str(cell.classifier), str(cell.method))))
    elif stage == "classify":
        method = suite.method(str(cell.method))
        online = _identity(method) if method.kind == "online" else None
        parts += [_identity(suite.classifier(str(cell.classifier), str(cell.method))), online]
    elif stage == "segmentation":
        method = suite.method(str(cell.method))
        online = _identity(method) if method.kind == "online" else None
        parts += [_lasting(s.segmentation_networks[str(cell.classifier)]), online]
    elif stage == "fcn_score":
        parts.append(_lasting(s.segmentation))
    elif stage in ("fidelity", "memorised"):
        parts.append(s.fidelity)
    return stable_hash(parts)


def _identity(spec: PluginSpec) -> list[Any]:
    return [spec.registered, spec.version, _lasting(spec.config)]


def _lasting(config: Any) -> dict[str, Any]:
    return {k: v for k, v in asdict(config).items() if k not in AMOUNTS}
