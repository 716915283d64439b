"""Looks at the primary contrast during a run of a learning curve with a range of training sets.

The looks are stored in ``<out>/looks/<suite>.json``. If the last one says stop, the plan has no more sets than that
look, so that a later run, the status and the report agree.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench.analysis.quality import quality_of, untrained, why_untrained
from bench.analysis.stopping import Look, take_look
from bench.config import stable_hash, strict_json
from bench.data.split_config import Replicates
from bench.engine.plan_rows import rows_of
from bench.engine.scheduler import CellId, Gate
from bench.files import write_atomic
from bench.metrics.units import scored_unit
from bench.plan.plan import Cell, Plan
from bench.stages import RunEnv
from bench.suite.contrast import NOISE, Contrast

FOLDER = "looks"


class Looks(Gate):
    """Runs the sets up to the next look, then decides whether to run more; ``say`` gets each look in words."""

    def __init__(self, plan: Plan, env: RunEnv, say: Callable[[str], None]) -> None:
        replicates = plan.suite.settings.split.replicates
        assert isinstance(replicates, Replicates)
        self._plan, self._env, self._say, self.planned = plan, env, say, replicates.looks
        self.taken = list(read_looks(plan, env.out))
        self.sets = self.planned[min(len(self.taken), len(self.planned) - 1)]

    def more(self) -> bool:
        """Take the next look; return whether more sets are to be run."""
        if len(self.taken) == len(self.planned) or (self.taken and self.taken[-1].stops):
            return False
        settings, k = self._plan.suite.settings, len(self.taken) + 1
        tables = self._tables(self.planned[k - 1])
        per_group = scored_unit(self._plan.index).per_group
        withheld = self._withheld(self.planned[k - 1])
        found = take_look(self.planned, k, tables[0], tables[1], settings.primary, per_group, withheld)
        self.taken.append(found)
        write_looks(self._plan, self._env.out, self.taken)
        what = f"{contrast_words(settings.contrast)}, {found.words(settings.primary)}"
        self._say(f"look {k} of {len(self.planned)}: {what}")
        if found.stops:
            return False
        self.sets = self.planned[k]
        return True

    def _withheld(self, sets: int) -> str:
        """Return why the contrast of the first sets has no verdict, such as 'cgan is untrained, the KID …', or ''."""
        arms = {c.method for c in contrast_cells(self._plan)} - {None}
        sizes = {c.train_patients for c in contrast_cells(self._plan)}
        cells = tuple(
            c for c in self._plan.cells
            if c.stage == "fidelity" and c.fold < sets and c.train_patients in sizes and c.method in {*arms, NOISE}
        )  # fmt: skip
        rows = [r for r in rows_of(replace(self._plan, cells=cells), self._env) if r.status == "done"]
        methods = sorted({str(r.method) for r in rows})
        quality = [q for m in methods for q in quality_of(m, [r for r in rows if r.method == m])]
        return "; ".join(why_untrained(name, share) for name, share in untrained(quality, methods).items())

    def _tables(self, sets: int) -> tuple[list[Path], list[Path]]:
        """Return the prediction tables of both arms for the first sets that have both."""
        found: dict[bool, dict[int, Path]] = {True: {}, False: {}}
        cells = [c for c in contrast_cells(self._plan) if c.fold < sets]
        upstream = {up for c in cells for up in c.upstream}
        needed = tuple(c for c in self._plan.cells if c.id in upstream)
        rows = rows_of(replace(self._plan, cells=(*needed, *cells)), self._env)
        for cell, row in zip(cells, rows[len(needed) :], strict=True):
            if row.status == "done":
                of_arm = cell.method == _contrast(self._plan).arm
                found[of_arm][cell.fold] = self._env.out / str(row.facts["predictions"])
        both = sorted(found[True].keys() & found[False].keys())
        return [found[True][s] for s in both], [found[False][s] for s in both]


def contrast_words(contrast: Contrast | None) -> str:
    """Return the contrast in words: 'cyclegan vs none at 40 patients'."""
    if contrast is None:
        return ""
    return f"{contrast.arm} vs {contrast.against}" + (
        f" at {contrast.train_patients} patients" if contrast.train_patients else ""
    )


def contrast_cells(plan: Plan) -> list[Cell]:
    """Return the `evaluate` cells of both arms of the primary contrast; [] without one."""
    c = plan.suite.settings.contrast
    if c is None:
        return []
    arms = c.arms([m.name for m in plan.suite.methods if m.kind == "generative"])
    return [
        x for x in plan.cells
        if x.stage == "evaluate" and (x.train_patients, x.classifier) == (c.train_patients, c.classifier)
        and x.arm in arms
    ]  # fmt: skip


def looks_possible(plan: Plan, chosen: Collection[CellId]) -> bool:
    """Whether the suite has a range of sets, and the cells of its primary contrast are among the chosen ones."""
    in_range = isinstance(plan.suite.settings.split.replicates, Replicates)
    return in_range and all(c.id in chosen for c in contrast_cells(plan))


def stopped(plan: Plan, looks: Collection[Look]) -> Plan:
    """Return the plan with the sets of the look that stopped the run; the same plan if none did."""
    last = next((x for x in looks if x.stops), None)
    if last is None:
        return plan
    cells = tuple(c for c in plan.cells if c.fold < last.planned)
    return replace(plan, cells=cells, splits=tuple(s for s in plan.splits if s.fold < last.planned))


def read_looks(plan: Plan, out: Path) -> tuple[Look, ...]:
    """Return the stored looks of a whole plan; () if there are none, or if they were of another plan."""
    if not isinstance(plan.suite.settings.split.replicates, Replicates):
        return ()
    try:
        stored = json.loads(_path(plan, out).read_text(encoding="utf-8"))
        if stored["plan"] != _identity(plan):
            return ()
        return tuple(_look(x) for x in stored["looks"])
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def _look(stored: dict[str, Any]) -> Look:
    values: dict[str, Any] = {k: math.nan if v is None else v for k, v in stored.items()}
    return Look(**values)


def write_looks(plan: Plan, out: Path, looks: Collection[Look]) -> None:
    """Store the looks of a whole plan."""
    path = _path(plan, out)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"plan": _identity(plan), "looks": [asdict(x) for x in looks]}
    write_atomic(path, json.dumps(strict_json(content), indent=1) + "\n")


def _identity(plan: Plan) -> str:
    """Return a hash of what the looks depend on: the cells of the contrast, the endpoint and the planned looks."""
    s = plan.suite.settings
    return stable_hash([[c.id for c in contrast_cells(plan)], s.primary, s.split.replicates])


def _path(plan: Plan, out: Path) -> Path:
    return out / FOLDER / f"{plan.suite.name}.json"


def _contrast(plan: Plan) -> Contrast:
    found = plan.suite.settings.contrast
    assert found is not None, "a range of sets needs a contrast"
    return found
