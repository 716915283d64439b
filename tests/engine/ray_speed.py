"""How much faster two Ray workers are than one, with cells that keep one core busy: prints the ratio, asserts nothing.

``python tests/engine/ray_speed.py [CELLS] [SECONDS]`` on a quiet machine with two free cores; by default 24 cells of
3 s of processor time each (and as many short ones around each), about three minutes.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))

from toy import Toy, ToyConfig, write_squares, write_suite  # noqa: E402

from bench.cost.keys import CostKey  # noqa: E402
from bench.engine.executors.fleet import FleetExecutor, WorkerCommand  # noqa: E402
from bench.engine.executors.ray_cluster import RayWorkers  # noqa: E402
from bench.engine.plan_rows import rows_of  # noqa: E402
from bench.engine.scheduler import Runner  # noqa: E402
from bench.engine.session import prepare  # noqa: E402
from bench.engine.stored import keep_config  # noqa: E402
from bench.interfaces import RunContext, TrainingData  # noqa: E402
from bench.suite.resources import Resources  # noqa: E402

SECONDS = "RAY_SPEED_SECONDS"  # environment variable of the workers


class Busy(Toy):
    """The toy method, whose training takes that much processor time, in equal steps."""

    Config = ToyConfig

    def fit(self, data: TrainingData, ctx: RunContext) -> None:
        end = time.thread_time() + float(os.environ[SECONDS])
        while time.thread_time() < end:
            pass
        super().fit(data, ctx)


def measure(folder: Path, workers: int, cells: int) -> tuple[float, float]:
    """Return the wall time of the run, and that from the start of its first cell to the end of its last, in s."""
    write_suite(
        folder / "s.yaml", explain={"images_per_class": 0}, ratios=[1.0],
        methods={"none": {}, "busy": {"use": "ray_speed:Busy"}},
        split={"folds": 2, "repeats": cells // 2, "validation_fraction": 0.3},
    )  # fmt: skip
    session = prepare(str(folder / "s.yaml"), (), folder / "data", folder / f"out{workers}")
    keep_config(session)
    runner = Runner(session.plan.cells, session.env)
    runner.reuse()
    fleet = RayWorkers(WorkerCommand(session.env.out, session.suite.name, "cpu", 1), Resources())
    before = time.monotonic()
    summary = runner.run(lambda: FleetExecutor([(fleet, ())], workers, session.env.out))
    wall_s = time.monotonic() - before
    assert summary.exit_code == 0, (summary, fleet.logs())
    ends = {row.key: datetime.fromisoformat(row.finished_at).timestamp() for row in rows_of(session.plan, session.env)}
    costs = {row.key: row.costs[CostKey.ELAPSED_S] for row in rows_of(session.plan, session.env)}
    return wall_s, max(ends.values()) - min(ends[key] - costs[key] for key in ends)


def main() -> None:
    """Measure one worker and two, and print the ratios."""
    cells, seconds = (*map(int, sys.argv[1:]), *(24, 3)[len(sys.argv) - 1 :])
    os.environ |= {
        SECONDS: str(seconds),
        "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), str(HERE.parent), str(HERE)]),
    }
    sys.path.append(str(HERE))
    with TemporaryDirectory() as folder:
        write_squares(Path(folder) / "data")
        (wall_1, cells_1), (wall_2, cells_2) = (measure(Path(folder), workers, cells) for workers in (1, 2))
    print(f"{cells} cells of {seconds} s of processor time")
    print(f"one worker:  {cells_1:.0f} s of cells, {wall_1:.0f} s with the start and the end of the workers")
    print(f"two workers: {cells_2:.0f} s of cells, {wall_2:.0f} s with the start and the end of the workers")
    print(f"ratio: {cells_1 / cells_2:.2f} of cells, {wall_1 / wall_2:.2f} of all")


if __name__ == "__main__":
    main()
