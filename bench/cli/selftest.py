"""The verb `bench selftest`: test the statistics on simulated comparisons and write a report."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from bench.cli.options import Command, json_option
from bench.cost.host import available_cpus
from bench.engine.console import plain_console
from bench.report.text import percent
from bench.selftest.promises import Promise, promises
from bench.selftest.report import conclusions, write_report
from bench.selftest.trial_runs import TrialResult, run_trials

MAX_WORKERS = 8
BROKEN = 3  # exit code


def run_selftest(out: Path, comparisons: int, seed: int, as_json: bool, workers: int | None = None) -> int:
    """Run ``bench selftest`` and return its exit code: 0 if every promise holds, else 3.

    ``workers`` is the number of processes (default: one per core, at most 8); it does not change the results.
    """
    workers = workers or min(MAX_WORKERS, available_cpus())
    results = _run(comparisons, seed, workers)
    kept = promises(results)
    data = write_report(results, kept, seed, out)
    if as_json:
        print(json.dumps(data, indent=1, ensure_ascii=False))
    else:
        _show(results, kept, out)
    return 0 if all(p.holds for p in kept) else BROKEN


def _run(comparisons: int, seed: int, workers: int) -> list[TrialResult]:
    bar = Progress(
        TextColumn("simulated comparisons"),
        BarColumn(bar_width=40),
        TextColumn("{task.percentage:.0f} %"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    if not bar.console.is_terminal:
        return run_trials(comparisons, seed, workers)
    with bar:
        task = bar.add_task("", total=None)
        return run_trials(comparisons, seed, workers, lambda done, total: bar.update(task, completed=done, total=total))


def _show(results: Sequence[TrialResult], kept: Sequence[Promise], out: Path) -> None:
    """Print one row per kind of promise and one column per design."""
    console = plain_console()
    names = [r.trial.name for r in results]
    headings = [n.replace(", ", "\n") for n in names]
    shown = Table(Column("%", no_wrap=True), *headings, Column("promised", no_wrap=True), box=None, pad_edge=False)
    for text in dict.fromkeys(p.text for p in kept):
        found = {p.trial: p for p in kept if p.text == text}
        wanted = {p.wanted for p in found.values()}
        cells = [_cell(found[n], len(wanted) > 1) if n in found else "" for n in names]
        broken = any(not p.holds for p in found.values())
        promised = wanted.pop() if len(wanted) == 1 else "(plan) ± 5"
        shown.add_row(text, *cells, promised, style="red" if broken else None)
    console.print(shown)
    for sentence in conclusions(results, kept):
        console.print(sentence, style=None if all(p.holds for p in kept) else "yellow")
    console.print(f"report: {out / 'selftest.md'}")


def _cell(promise: Promise, planned: bool) -> str:
    text = percent(promise.found.share) + (f" ({promise.wanted.partition(' ')[0]})" if planned else "")
    return text if promise.holds else f"{text} BROKEN"


@click.command(cls=Command)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs/selftest"),
    show_default=True,
    help="Folder for selftest.md, selftest.json and selftest.png.",
)
@click.option("--comparisons", type=int, default=1000, show_default=True, help="Simulated comparisons per design.")
@click.option("--seed", type=int, default=0, show_default=True)
@json_option
def selftest(out: Path, comparisons: int, seed: int, as_json: bool) -> None:
    """Test the statistics on simulated comparisons with known truth. Exit code 3: a promise is broken."""

    sys.exit(run_selftest(out, comparisons, seed, as_json))
