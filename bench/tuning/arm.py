"""The subject of a tuning study: an arm (method and classifier) of a suite, its search space and its objective."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from bench.config import stable_hash, to_plain
from bench.engine.session import Session
from bench.metrics.units import ScoredUnit, scored_unit
from bench.plan.curve import tuned_size
from bench.plan.make import make_plan
from bench.plan.plan import Cell, validation_cell
from bench.plan.selection import select
from bench.suite.arms import ratio_text
from bench.suite.suite import PluginSpec, Suite
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

    @property
    def title(self) -> str:
        """A readable name."""
        return f"{self.method.name} with {self.classifier.name}"

    @cached_property
    def study(self) -> str:
        """The study's name: equal for all settings that give comparable trials, independent of their number."""
        content = [
            sorted({c.key for cells in self.cells(self.space.own).values() for c in cells}),
            {name: [type(r).__name__, to_plain(r)] for name, r in self.space.ranges.items()},
            [self.with_seconds, self.pruner, self.seed],
        ]
        plain = f"{self.session.suite.name}-{self.method.name}-{self.classifier.name}"
        return f"{re.sub(r'[^A-Za-z0-9_.-]', '_', plain)}-{stable_hash(content)[:8]}"

    def on(self, session: Session) -> Arm:
        """Return the arm in another session of the same suite, for example on another device."""
        return replace(self, session=session)

    @cached_property
    def unit(self) -> ScoredUnit:
        """The unit of the objective: patients, or images if patients have images of several classes."""
        return scored_unit(self.session.plan.index)

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
        return replace(self.session.suite, methods=(method,), classifiers=(classifier,), tuned=())

    def cells(self, values: Mapping[str, Any]) -> dict[Pair, list[Cell]]:
        """Return a trial's cells by (fold, repeat): those of `bench run`, but the last without the test part."""
        plan, first = self.session.plan, ratio_text(self.session.suite.settings.ratios[0])
        ratio = values.get(RATIO, first) if self.method.kind == "generative" else "0"
        size = tuned_size(plan)  # of a learning curve: the other sizes' sets contain these, or lie in them
        every = make_plan(self.suite(values), plan.index, plan.weights).cells
        cells = [c for c in every if c.train_patients == size]
        found: dict[Pair, list[Cell]] = {}
        for cell in select(cells, ("stage=classify", f"ratio={ratio}")):
            tuned = validation_cell(cell) if cell.stage == "classify" else cell
            found.setdefault((cell.fold, cell.repeat), []).append(tuned)
        return found
