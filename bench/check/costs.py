"""Costs of a training step: its time relative to the reference workload, and its tensor work.

The suite's stages are run again on the run's folds with a measuring context. A round is one training step and reference
steps of about the same duration; after enough rounds the training is stopped. So everything in a step is measured:
its passes, the order of images, the reading of losses. A ratio is the median over rounds; each step is compared with
the reference just before and after it, so a slower machine slows both. Kernels and caches of another machine change the
ratio as well; tensor work (operations, bytes) does not depend on the machine, and shows every additional computation.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.check.reference_workload import ReferenceWorkload, own_seconds, wait_for
from bench.check.rows import Row
from bench.engine.session import Session
from bench.plan.plan import Cell
from bench.seeding import seed_everything
from bench.stages import STAGE, RunEnv
from bench.stages.context import CellContext
from bench.store.cell_folders import Artifacts
from bench.suite.suite import PluginSpec

if TYPE_CHECKING:
    from bench.check.step_work import StepWork

TIMED = ("fit", "fcn_score", "classify")  # stages; sampling writes files, and disks differ too much
WARM_UP, LEAST, MOST = 2, 11, 40  # rounds: warm-up, minimum, maximum
LIMIT_S = 5.0  # time limit of a cell's rounds after the minimum number
STEP, OPERATIONS, NEW, PEAK = "step / reference", "tensor operations", "new tensor bytes", "peak tensor bytes"
FEW = {"sample_every": 10**6, "checkpoint_every": 10**6, "evaluate_every": 10**6, "log_every": 1}


@dataclass
class Found:
    """Measurements of one cell: seconds of a step and of a reference step in each round, and the work of a step."""

    rounds: list[tuple[float, float]] = field(default_factory=list)
    work: StepWork | None = None

    @property
    def ratio(self) -> float:
        """Time of a step divided by the time of a reference step."""
        rounds = self.rounds[WARM_UP:]
        if len(rounds) < 2:
            rounds = self.rounds[-1:] * 2
        neighbours = pairwise(rounds)
        return statistics.median(step_s / ((before_s + after_s) / 2) for (_, before_s), (step_s, after_s) in neighbours)


def cost_rows(session: Session, only: Iterable[str] | None = None, times: int = 1) -> list[Row]:
    """Measure one cell of each kind whose upstream cells are done; ``only``: names of the rows to measure.

    With ``times`` above 1, all cells are measured that often, alternating, and the median of each ratio is used.
    """
    wanted = None if only is None else set(only)
    reference = ReferenceWorkload(session.env.device)
    cells = [c for c in timed_cells(session) if wanted is None or arm(c) in wanted]
    values: dict[tuple[str, str], list[float]] = {}
    for cell in cells * times:
        found = measure_cell(cell, session.env, reference)
        if found.rounds:
            values.setdefault((arm(cell), STEP), []).append(found.ratio)
        if work := found.work:
            for quantity, n in ((OPERATIONS, work.operations), (NEW, work.new_bytes), (PEAK, work.peak_bytes)):
                values.setdefault((arm(cell), quantity), []).append(float(n))
    return [Row("cost", *key, statistics.median(measured)) for key, measured in values.items()]


def arm(cell: Cell) -> str:
    """Return the name of a cell in cost rows: its title without the fold."""
    return cell.title.partition(" fold ")[0]


def timed_cells(session: Session) -> list[Cell]:
    """Return the first cell of each arm that trains and whose upstream cells are done.

    A classifier's step does not depend on the generator, so classifiers are measured only in arms of online methods.
    """
    artifacts = Artifacts(session.env.out)
    online = {m.name for m in session.suite.methods if m.kind == "online"}
    chosen: dict[str, Cell] = {}
    for cell in session.plan.cells:
        apart = cell.stage != "classify" or (cell.method in online and cell.ratio == "0")
        if cell.stage in TIMED and apart and all(artifacts.is_done(*up) for up in cell.upstream):
            chosen.setdefault(arm(cell), cell)
    return list(chosen.values())


def measure_cell(cell: Cell, env: RunEnv, reference: ReferenceWorkload) -> Found:
    """Run a cell's stage in a temporary folder until there are enough measurements. No results are kept.

    A cell that fails here has also failed in the run, where it has a row; it has no costs.
    """
    found = Found()
    endless = replace(env, suite=_endless(env.suite.of_fold(cell.fold, cell.repeat)), trace=False)
    folder = Path(tempfile.mkdtemp(prefix="bench-cost-"))
    try:
        seed_everything(0)
        with suppress(Enough):
            STAGE[cell.stage](cell, endless, MeasuringContext(folder, env, reference, found))
    except Exception:
        return Found()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return found


def _endless(suite: Any) -> Any:
    """Return the suite with more training steps than will be run, and without periodic actions."""
    settings = replace(suite.settings, segmentation=_long(suite.settings.segmentation))

    def of(specs: Sequence[PluginSpec]) -> tuple[PluginSpec, ...]:
        return tuple(replace(s, config=_long(s.config)) for s in specs)

    tuned = tuple((name, replace(s, config=_long(s.config))) for name, s in suite.tuned)
    return replace(suite, methods=of(suite.methods), classifiers=of(suite.classifiers), tuned=tuned, settings=settings)


def _long(config: Any) -> Any:
    known = {k: v for k, v in {**FEW, "steps": WARM_UP + MOST + 3}.items() if hasattr(config, k)}
    return replace(config, **known)


class Enough(Exception):
    """Stops a stage that has enough measurements."""


class MeasuringContext(CellContext):
    """A cell's context that measures each step and the reference workload, and the tensor work of one step.

    It is always the work of the same step, because some steps do more than others.
    """

    def __init__(self, folder: Path, env: RunEnv, reference: ReferenceWorkload, found: Found) -> None:
        super().__init__(folder, env.device, 0, env.weights, env.out / "cache")
        self._reference, self._found = reference, found
        self._spent_s = 0.0
        self._within = False

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure a block; a step also by its time, operations and memory."""
        if name != "step" or self._within:
            with super().phase(name):
                yield
            return
        rounds = len(self._found.rounds) - WARM_UP
        if rounds >= MOST or (rounds >= LEAST and self._found.work and self._spent_s > LIMIT_S):
            raise Enough
        self._within = True
        if rounds == LEAST and self._found.work is None:
            from bench.check.step_work import StepWork

            with super().phase(name), StepWork() as work:
                yield
            self._found.work, self._within = work, False
            return
        start = own_seconds()
        with super().phase(name):
            yield
            wait_for(self.device)
        step_s = own_seconds() - start
        self._within = False
        self._found.rounds.append((step_s, self._reference.seconds(step_s)))
        self._spent_s += own_seconds() - start
