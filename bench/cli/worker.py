"""The verb `bench worker`: run free cells of the runs in an output folder that several machines share."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from bench.cli.options import Command, device_option, only_option
from bench.cli.training import looks_of, train
from bench.engine.console import plain_console
from bench.engine.job_limit import JobLimit
from bench.engine.scheduler import Runner
from bench.engine.session import DEFAULT_OUT, pick_device
from bench.engine.stored import find_run, stored_runs, stored_session
from bench.errors import ConfigError, nearest
from bench.plan.plan import STAGES
from bench.plan.selection import select
from bench.store.live import live_runs


@click.command(cls=Command)
@click.option("--out", type=click.Path(path_type=Path), default=DEFAULT_OUT, help="Output folder of the runs.")
@click.option("--name", help="Work for this run only. Default: for all runs of the folder.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the images on this machine, if it differs.")
@only_option
@device_option
@click.option("--jobs", type=int, help="Number of parallel jobs (cells). Default: use all CPU cores; 1 on a GPU.")
@click.option("--stages", help="Run cells of these stages only, separated by commas. Default: all.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Time limit: start no cell that is predicted to take longer than what is left. End when idle.",
)
@click.option("--no-retry", is_flag=True, help="Leave cells alone that have failed before.")
@click.option("--threads", type=int, help="CPU threads per cell. Default: those of the suite, else of the active run.")
def worker(
    out: Path, name: str | None, data: Path | None, only: tuple[str, ...], device: str, jobs: int | None,
    stages: str | None, minutes: float | None, no_retry: bool, threads: int | None,
) -> None:  # fmt: skip
    """Run free cells of the runs in a shared folder, beside other workers and `bench run`, until none is left.

    Start `bench run` once, on any machine; it stores the run's configuration. Then start workers on other machines or
    in other terminals. Each takes the cells that no other process runs. `bench run` writes the report.
    """
    chosen = tuple(stages.split(",")) if stages else ()
    for stage in chosen:
        if stage not in STAGES:
            raise ConfigError(f"--stages: unknown stage {stage!r}; {nearest(stage, STAGES)}")
    limit = JobLimit(chosen, minutes)
    out = out.expanduser().resolve()
    find_run(out, name) if name else stored_runs(out) or find_run(out)  # raises an error without a run
    names = [name] if name else stored_runs(out)
    codes = [work(out, each, data, only, device, jobs, threads, limit, not no_retry) for each in names]
    sys.exit(max(codes, default=0))


def work(
    out: Path, name: str, data: Path | None, only: Sequence[str], device: str, jobs: int | None, threads: int | None,
    limit: JobLimit, retries: bool = True,
) -> int:  # fmt: skip
    """Run the free cells of one run; return the exit code: 1 if a cell failed.

    The number of threads is that of the run, because it can change the last bits of results.
    """
    console = plain_console()
    session = stored_session(find_run(out, name), out, data)
    runner = Runner(select(session.plan.cells, only), session.env)
    runner.elsewhere.limit, runner.elsewhere.retries = limit, retries
    left = runner.reuse()
    console.print(f"run {name}: {len(runner.cells)} cells, {runner.summary.reused} already done, {left} to run")
    if left:
        session = session.on_device(pick_device(device))
        runner.env = session.env
        threads = threads or next((run.threads for run in live_runs(out, name)), None)
        looks = looks_of(session, runner, console)
        train(session, runner, console, jobs, threads, listeners=[limit], looks=looks)
        done = runner.summary
        failed = f", {len(done.failed)} failed, {len(done.skipped)} dependent skipped" if done.exit_code else ""
        console.print(f"run {name}: {done.done} cells done here, {done.elsewhere} by other processes{failed}")
    return runner.summary.exit_code
