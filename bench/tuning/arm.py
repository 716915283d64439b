"""The subject of a tuning study: an arm (method and classifier) of a suite, its search space and its objective."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from bench.config import stable_hash, to_plain
from bench.data.split_config import LEARNING_CURVE
from bench.engine.session import Session
from bench.metrics.units import ScoredUnit, scored_unit
from bench.plan.curve import tuned_size
from bench.plan.make import make_plan
from bench.plan.plan import Cell, fold_title, validation_cell
from bench.plan.selection import select
from bench.suite.arms import ratio_text
from bench.suite.suite import PluginSpec, Suite
from bench.suite.tuned import EVERY
from bench.tuning.spaces import CLASSIFIER, METHOD, RATIO, Space

Pruner = Literal["none", "wilcoxon", "hyperband"]
Pair = tuple[int, int]  # (fold, repeat)


@dataclass(frozen=True)
class Arm:
    """The subject of a study. It is pickled and sent to worker processes."""

    session: Session
    method: PluginSpec
    classifier: PluginSpec
    space: Space
    with_seconds: bool = False  # second objective: device-seconds, to be minimised
    pruner: Pruner = "none"
    seed: int = 0
    pair: Pair | None = None  # the only (fold, repeat) of its trials; None: all of the plan

    @property
    def title(self) -> str:
        """A readable name."""
        of_fold = f", {fold_title(*self.pair)}" if self.pair else ""
        return f"{self.method.name} with {self.classifier.name}{of_fold}"

    @property
    def at(self) -> str:
        """Where its best settings may be used: the key of ``bench.suite.tuned``."""
        return f"{self.pair[0]}.{self.pair[1]}" if self.pair else EVERY

    @cached_property
    def seen(self) -> tuple[str, ...]:
        """The groups whose images its trials use, sorted: those of the training and validation parts."""
        plan = self.session.plan
        size, group = tuned_size(plan), {r.path: r.group_id for r in plan.index.records}
        splits = [s for s in plan.splits if s.train_patients == size and self.pair in (None, (s.fold, s.repeat))]
        return tuple(sorted({group[p] for s in splits for p in (*s.train, *s.validation)}))

    @cached_property
    def study(self) -> str:
        """The study's name: equal for all settings that give comparable trials, independent of their number."""
        content = [
            sorted({c.key for cells in self.cells(self.space.own).values() for c in cells}),
            {name: [type(r).__name__, to_plain(r)] for name, r in self.space.ranges.items()},
            [self.with_seconds, self.pruner, self.seed, self.unit.primary],
        ]
        return "-".join([self.name, *([self.at] if self.pair else []), stable_hash(content)[:8]])

    @property
    def name(self) -> str:
        """Suite, method and classifier as part of a file name."""
        plain = f"{self.session.suite.name}-{self.method.name}-{self.classifier.name}"
        return re.sub(r"[^A-Za-z0-9_.-]", "_", plain)

    def each_fold(self) -> list[Arm]:
        """Return the arm once per fold, each with its own study, so that no fold's test patients select its settings.

        The sets of a learning curve have one common test part that no set contains, so they share one study.
        """
        if self.session.suite.settings.split.protocol == LEARNING_CURVE:
            return [self]
        return [replace(self, pair=pair) for pair in self.cells(self.space.own)]

    def on(self, session: Session) -> Arm:
        """Return the arm in another session of the same suite, for example on another device."""
        return replace(self, session=session)

    @cached_property
    def unit(self) -> ScoredUnit:
        """The unit of the objective: patients, or images if patients have images of several classes."""
        return scored_unit(self.session.plan.index, self.session.suite.settings.primary)

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return self.session.env.out / "tuning" / self.study

    def suite(self, values: Mapping[str, Any]) -> Suite:
        """Return the suite with only this arm, with these values. Raises ``ConfigError`` if they are invalid."""
        method, classifier = (
            replace(spec, config=replace(spec.config, **self.space.changes(values, part)))
            for part, spec in ((METHOD, self.method), (CLASSIFIER, self.classifier))
        )
        return replace(self.session.suite.untuned(), methods=(method,), classifiers=(classifier,))

    def cells(self, values: Mapping[str, Any]) -> dict[Pair, list[Cell]]:
        """Return a trial's cells by (fold, repeat): those of `bench run`, but the last without the test part."""
        plan, first = self.session.plan, ratio_text(self.session.suite.settings.ratios[0])
        ratio = values.get(RATIO, first) if self.method.kind == "generative" else "0"
        size = tuned_size(plan)  # of a learning curve: the other sizes' sets contain these, or lie in them
        every = make_plan(self.suite(values), plan.index, plan.weights).cells
        cells = [c for c in every if c.train_patients == size and self.pair in (None, (c.fold, c.repeat))]
        found: dict[Pair, list[Cell]] = {}
        for cell in select(cells, ("stage=classify", f"ratio={ratio}")):
            tuned = validation_cell(cell) if cell.stage == "classify" else cell
            found.setdefault((cell.fold, cell.repeat), []).append(tuned)
        return found
