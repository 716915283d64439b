"""The verb `bench check`: compare a new run of a suite with its stored baseline, or write one (`--update`)."""

from __future__ import annotations

import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from bench.check.baseline import Baseline, default_baseline, load_baseline
from bench.check.compare import Comparison, Finding, compare, lower_terciles, shown
from bench.check.costs import cost_rows
from bench.check.identity import numerics_identity
from bench.check.junit import write_junit
from bench.check.measure import measure
from bench.check.numerics import Request, measure_under
from bench.check.rows import WORDS, Row
from bench.check.summary import other_versions, write_summary
from bench.check.update import make_baseline
from bench.cli.options import Command, complete_suite, device_option, given_suite
from bench.cost.host import describe_host
from bench.engine.console import plain_console
from bench.engine.scheduler import Listener
from bench.engine.session import Session, pick_device, prepare
from bench.errors import ConfigError
from bench.forecast.cost_model import duration
from bench.plan.plan import Cell
from bench.store.cell_folders import Artifacts
from bench.types import ResultRow

REGRESSION = 3  # exit code
NAMED = 40  # rows in the terminal; the files have all
LOG_WIDTH = 150  # characters, if the output is not a terminal
SECOND_LOOKS = 6  # repeated measurements of a step that seems slower, to exclude noise


@dataclass(frozen=True)
class Wanted:
    """The options of the command line."""

    suite: str
    assignments: tuple[str, ...]
    data: Path | None
    out: Path | None
    baseline: Path | None
    device: str
    jobs: int | None
    reuse: bool = False
    junit: Path | None = None
    summary: Path | None = None

    @property
    def path(self) -> Path:
        """Path of the baseline file."""
        return self.baseline or default_baseline(Path(self.suite).stem)

    @property
    def update(self) -> str:
        """The command that measures the baseline again."""
        words = ["bench", "check", "--update", "--suite", self.suite]
        words += [w for a in self.assignments for w in ("--set", a)]
        words += ["--data", str(self.data)] if self.data else []
        return shlex.join([*words, "--baseline", str(self.path)])


def check_suite(wanted: Wanted) -> int:
    """Run the suite and compare it with its baseline; return 0, or 3 for a regression.

    A cell that fails or is missing is a regression too. Raises ``ConfigError`` before the run if the baseline is
    missing, unreadable or of another suite.
    """
    console, start = plain_console(), time.monotonic()
    baseline = load_baseline(wanted.path, wanted.update)
    with _folder(wanted) as out:
        session = prepare(wanted.suite, wanted.assignments, wanted.data, out)
        baseline.require_suite(session.suite, wanted.path, wanted.update)
        session = session.on_device(pick_device(wanted.device))
        n = len(session.plan.work)
        console.print(f"suite {session.suite.name}: {n} cells, run from scratch; {describe_host(session.env.device)}")
        with Cells(n) as cells:
            rows = measure(session, wanted.jobs, listener=cells)
        exact = _same_numerics(console, baseline, session.env.device)
        comparison = _looked_at_again(session, baseline, rows, exact)
    elapsed_s = time.monotonic() - start
    show(console, comparison, baseline, wanted.update, elapsed_s)
    if wanted.junit:
        write_junit(wanted.junit, baseline.suite, comparison, elapsed_s)
    if wanted.summary:
        write_summary(wanted.summary, baseline, comparison, session.env.device, wanted.update)
    return REGRESSION if comparison.failed else 0


def update_baseline(wanted: Wanted) -> int:
    """Measure values and tolerances under several numerics and write the baseline; return 0.

    Raises ``BenchError`` and writes nothing if a cell fails or a leakage check does not work.
    """
    console, start = plain_console(), time.monotonic()
    with _folder(wanted) as out:
        session = prepare(wanted.suite, wanted.assignments, wanted.data, out / "plan")
        data = str(session.env.data) if session.env.data else None
        device = pick_device(wanted.device)
        request = Request(wanted.suite, wanted.assignments, data, str(out), device, wanted.jobs)
        baseline = make_baseline(session, request, console.print, measure_under)
    baseline.save(wanted.path)
    took = duration(time.monotonic() - start)
    console.print(f"{wanted.path}: {len(baseline.rows)} rows under {len(baseline.numerics)} numerics, in {took}")
    return 0


class Cells(Listener):
    """A progress bar over the cells of a run, shown in a terminal only."""

    def __init__(self, total: int) -> None:
        columns = (TextColumn("cells"), BarColumn(bar_width=40), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task("", total=total)

    def __enter__(self) -> Cells:
        if self._bar.console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def finished(self, cell: Cell, row: ResultRow) -> None:
        """Count the cell."""
        self._bar.advance(self._task)


def _same_numerics(console: Console, baseline: Baseline, device: str) -> bool:
    """Return and print whether values are compared exactly: only if the numerics are those of the baseline."""
    same = bool(baseline.identity) and baseline.identity == numerics_identity(device)
    how = "same as the baseline: exact comparison" if same else "different from the baseline: tolerances apply"
    console.print(f"numerics: {how}")
    return same


def _looked_at_again(session: Session, baseline: Baseline, rows: list[Row], exact: bool) -> Comparison:
    """Compare; costs that seem too high are measured again, and their lower tercile is used."""
    comparison = compare(baseline, rows, exact)
    slow = {f.cell for f in comparison.of("moved") if f.kind == "cost"}
    if not slow:
        return comparison
    again = [cost_rows(session, only=slow) for _ in range(SECOND_LOOKS)]
    return compare(baseline, lower_terciles(rows, again), exact)


@contextmanager
def _folder(wanted: Wanted) -> Iterator[Path]:
    """Yield the folder to run in: ``wanted.out``, or a temporary folder that is deleted afterwards."""
    if wanted.out is None:
        folder = Path(tempfile.mkdtemp(prefix="bench-check-"))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return
    if Artifacts(wanted.out).root.exists() and not wanted.reuse:
        raise ConfigError(
            f"--out {wanted.out} contains an earlier run, but a check runs from scratch; give another folder, or add "
            "--reuse to compare the existing results"
        )
    yield wanted.out


def show(console: Console, comparison: Comparison, baseline: Baseline, update: str, elapsed_s: float) -> None:
    """Print the counts of every kind of row, the rows that moved, and the verdict."""
    if not console.is_terminal:
        console.width = LOG_WIDTH
    counts = Table(Column(""), *(Column(h, justify="right") for h in ("rows", "moved", "missing", "added", "faster")))
    counts.box, counts.pad_edge = None, False
    for kind, states in comparison.counts().items():
        numbers = (states.total(), *(states[s] for s in ("moved", "missing", "added", "better")))
        style = "red" if states["moved"] or states["missing"] else None
        counts.add_row(WORDS[kind], *map(str, numbers), style=style)
    console.print(counts)
    named = [*comparison.regressions, *comparison.of("better"), *comparison.of("added")]
    if named:
        console.print(_table(named[:NAMED]))
    if len(named) > NAMED:
        console.print(f"and {len(named) - NAMED} more; --junit FILE and --summary FILE list all")
    if comparison.failed:
        for text in other_versions(baseline):
            console.print(text, style="yellow")
        console.print(f"if the change is intended: {update}")
    style = "red" if comparison.failed else "green"
    console.print(f"{comparison.verdict()} ({duration(elapsed_s)})", style=style)


def _table(findings: list[Finding]) -> Table:
    headings = ("baseline", "now", "moved by", "tolerance")
    table = Table(Column("cell or arm"), Column("quantity"), *(Column(h, justify="right") for h in headings))
    table.box, table.pad_edge = None, False
    style = {"moved": "red", "missing": "red", "better": "green", "added": "yellow"}
    for f in findings:
        now = "missing" if f.state == "missing" else shown(f.now)
        then = "none" if f.state == "added" else shown(f.baseline)
        texts = (f.cell, f.quantity, then, now, f.by, shown(f.tolerance) if f.by else "")
        table.add_row(*(t.replace("[", "\\[") for t in texts), style=style[f.state])
    return table


@click.command(cls=Command)
@click.argument("suite", required=False, shell_complete=complete_suite)
@click.option("--suite", "suite_option", metavar="SUITE", help="Name of a suite, or YAML file; also without --suite.")
@click.option(
    "--baseline", type=click.Path(path_type=Path), help="Default: reports/baselines/SUITE.json, here or of the package."
)
@click.option("--update", is_flag=True, help="Measure the baseline: values, and tolerances from several numerics.")
@click.option("--junit", type=click.Path(path_type=Path), help="Write JUnit XML to this file: one test case per cell.")
@click.option("--summary", type=click.Path(path_type=Path), help="Write a markdown summary to this file.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the images. Default: $BENCH_DATA.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Keep the run in this folder. Default: a temporary folder."
)
@click.option("--reuse", is_flag=True, help="Reuse the cells of an earlier run in --out.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Change a setting of the suite.")
@click.option("--jobs", type=click.IntRange(1), help="Number of parallel jobs. Default: use all CPU cores; 1 on a GPU.")
@device_option
def check(
    suite: str | None, suite_option: str | None, baseline: Path | None, update: bool, junit: Path | None,
    summary: Path | None, data: Path | None, out: Path | None, reuse: bool, assignments: tuple[str, ...],
    jobs: int | None, device: str,
) -> None:  # fmt: skip
    """Run a suite from scratch and compare it with a stored baseline. Exit code 0, or 3 for a regression.

    It compares losses, scores, image metrics, step times (relative to a reference workload), operations and memory
    of a step, sizes and leakage checks. A cell that fails is a regression. Exit code 2: no baseline, or other settings.
    """
    if update and (junit or summary or reuse):
        raise click.UsageError("--update cannot be combined with --junit, --summary or --reuse")
    name = given_suite(suite, suite_option)
    if name is None:
        raise click.UsageError("no suite given; a small one is ci")
    wanted = Wanted(name, assignments, data, out, baseline, device, jobs, reuse, junit, summary)
    sys.exit(update_baseline(wanted) if update else check_suite(wanted))
