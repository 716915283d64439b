"""Run one cell: claim, seed, measure, and commit the result atomically or record a failure."""

from __future__ import annotations

import math
import time
import traceback
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from bench.cost.energy import EnergyMeter
from bench.cost.host import describe_host, git_commit, versions, with_job
from bench.cost.keys import CostKey
from bench.cost.sandbox import MEMORY_ADVICE, is_out_of_memory
from bench.cost.timers import PeakMemory
from bench.cost.usage import UsageMonitor
from bench.data.splits import load_split
from bench.errors import BenchError, DivergedError
from bench.forecast.step_costs import step_costs
from bench.forecast.workload import STEPPED, Sizes, Workload, workload
from bench.plan.plan import Cell
from bench.seeding import derive_seed, seed_everything
from bench.stages import STAGE, Output, RunEnv
from bench.stages.context import CellContext
from bench.store.cell_folders import Artifacts
from bench.store.disk import disk_error
from bench.store.redact import redact
from bench.types import ResultRow

_SEEN: set[str] = set()  # stages that this process has run; the first cell of a stage includes imports and warm-up
SEEDED_AS = {  # a stage with the random numbers of another one
    "validate": "classify",  # same training, without the test part
    "select": "synthesize",  # same images, and more
}


def blank_row(cell: Cell, env: RunEnv, status: str, error: str | None = None) -> ResultRow:
    """Return a row with the cell's coordinates and no measurements."""
    return ResultRow(
        key=cell.row_key,
        stage=cell.stage,
        suite=env.suite.name,
        dataset=env.suite.dataset.name,
        status=status,
        method=cell.method,
        fold=cell.fold,
        repeat=cell.repeat,
        ratio=cell.ratio,
        classifier=cell.classifier,
        train_patients=cell.train_patients,
        error=error,
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def finished_row(cell: Cell, env: RunEnv, artifacts: Artifacts | None = None) -> ResultRow:
    """Return the row of a finished cell, read from its folder. Raises ``StoreError`` if the folder is damaged."""
    artifacts = artifacts or Artifacts(env.out)
    done = artifacts.result(*cell.id)
    folder = str(artifacts.folder(*cell.id).relative_to(env.out))
    row = replace(blank_row(cell, env, "done"), folder=folder, finished_at=done["finished_at"])
    metrics = {name: math.nan if value is None else value for name, value in done["metrics"].items()}
    return replace(row, metrics=metrics, costs=done["costs"], facts=done["facts"])


def run_cell(cell: Cell, env: RunEnv, wait: bool = True) -> ResultRow:
    """Run one cell, unless it is done, and return its row. A failure is a row with the traceback.

    With ``wait``, wait for another process that runs the cell; without, raise ``CellBusy``. Raises ``DiskError`` if the
    output folder cannot be written, ``ClaimLost`` if another process has taken the cell over.
    """
    env = env.of_fold(cell.fold, cell.repeat)
    try:
        return _run_cell(cell, env, wait)
    except OSError as e:
        if error := disk_error(e):
            raise error from e
        raise


def _run_cell(cell: Cell, env: RunEnv, wait: bool) -> ResultRow:
    artifacts = Artifacts(env.out)
    with artifacts.work(*cell.id, wait=wait) as folder:
        if artifacts.is_done(*cell.id):
            return finished_row(cell, env)
        seed = derive_seed(SEEDED_AS.get(cell.stage, cell.stage), env.suite.settings.seed, cell.fold, cell.repeat)
        first = cell.stage not in _SEEN
        _SEEN.add(cell.stage)
        trace = env.trace and cell.stage in STEPPED
        ctx = CellContext(
            folder, env.device, seed, env.weights, env.out / "cache", updates=_updates(cell, env), trace=trace
        )
        memory, energy = PeakMemory(env.device), EnergyMeter(env.device)
        try:
            with memory, energy, UsageMonitor(folder, env.device, also=ctx.show_progress):
                if cell.stage not in ("split", "evaluate"):
                    seed_everything(seed)
                output = STAGE[cell.stage](cell, env, ctx)
            ctx.flush()
        except KeyboardInterrupt:  # Ctrl-C, if the cell runs in the main process
            raise
        except BaseException as e:  # a plug-in's sys.exit() must not end the run
            artifacts.require_claim(*cell.id)
            if disk := disk_error(e, env.out):
                raise disk from e
            if isinstance(e, DivergedError) or (ctx.restoring and not is_out_of_memory(e)):
                ctx.drop_checkpoint()
            text = redact(with_job(_described(e)))  # used in the store, the report and MLflow
            artifacts.fail(*cell.id, text)
            return blank_row(cell, env, "failed", text)
        costs = {**ctx.costs(), **memory.costs(), **energy.costs(), **output.costs}
        work = workload(cell, env.suite, _sizes(cell, env))
        costs |= _step_costs(cell, env, ctx, work, costs, output)
        made_by = {"git_commit": git_commit(), "host": describe_host(env.device), "versions": versions()}
        done = {
            "metrics": {k: float(v) if np.isfinite(v) else None for k, v in output.metrics.items()},
            "costs": {k: float(v) for k, v in costs.items()},
            "facts": {**output.facts, **made_by, "work": {**work.plain(), "first": first}},
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        artifacts.commit(*cell.id, done, cell.upstream)
        return finished_row(cell, env)


def _described(error: BaseException) -> str:
    """Return an error as text for the row of a failed cell: type, message, advice if any, and traceback."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, SystemExit):
        text += " (the cell called sys.exit; raise an error there instead)"
    elif is_out_of_memory(error):
        text += f" (out of memory: {MEMORY_ADVICE})"
    return text if isinstance(error, BenchError) else f"{text}\n{traceback.format_exc()}"


def _step_costs(
    cell: Cell, env: RunEnv, ctx: CellContext, work: Workload, costs: dict[str, float], output: Output
) -> dict[str, float]:
    """Return the costs of the cell's steps; ``measuring_s`` is the time of this measurement, after the cell's run."""
    start = time.perf_counter()
    steps = float(output.facts.get("steps_run", work.units.get("step", 0)))
    found = step_costs(cell, env, work, costs, steps)
    if not found:
        return {}
    if "parameters" in output.facts:
        found[CostKey.PARAMETERS] = float(output.facts["parameters"])
    found[CostKey.STEP_FIRST_S] = ctx.timer.first_seconds.get("step", 0.0)
    if ctx.updates:
        found |= ctx.updates.costs(int(steps))
    return {**found, CostKey.MEASURING_S: time.perf_counter() - start}


def _updates(cell: Cell, env: RunEnv) -> tuple[str, ...]:
    """Return the networks that a training step of the cell updates, in order, if the method names them."""
    return tuple(getattr(env.suite.method(str(cell.method)).create(), "updates", ())) if cell.stage == "fit" else ()


def _sizes(cell: Cell, env: RunEnv) -> Sizes:
    """Return the sizes of the cell's fold; zeros for a cell that reads no images of a fold."""
    artifacts = Artifacts(env.out)
    key = next((key for stage, key in cell.upstream if stage == "split"), None)
    return Sizes.of(load_split(artifacts.folder("split", key) / "split.json")) if key else Sizes(0, 0, 0)
