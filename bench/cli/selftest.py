"""The verb `bench selftest`: test the statistics on simulated studies and write a report."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from bench.cli.options import Command, json_option
from bench.cost.host import available_cpus
from bench.engine.console import plain_console
from bench.selftest.experiments import experiments
from bench.selftest.promises import Promise, broken
from bench.selftest.report import PARTS, conclusion, rows, write_report
from bench.selftest.runs import run_experiments

MAX_WORKERS = 8
BROKEN = 3  # exit code


def run_selftest(
    out: Path, studies: int, seed: int, as_json: bool, only: Sequence[str] = (), workers: int | None = None
) -> int:
    """Run ``bench selftest`` and return its exit code: 0 if no promise is broken, else 3.

    ``only`` names parts of ``PARTS`` (default: all). ``workers`` is the number of processes (default: one per core, at
    most 8); it does not change the results.
    """
    promises = _run(studies, seed, only, workers or min(MAX_WORKERS, available_cpus()))
    data = write_report(promises, studies, seed, out)
    if as_json:
        print(json.dumps(data, indent=1, ensure_ascii=False))
    else:
        _show(promises, out)
    return BROKEN if broken(promises) else 0


def _run(studies: int, seed: int, only: Sequence[str], workers: int) -> list[Promise]:
    chosen = [e for e in experiments() if not only or e.part in only]
    bar = Progress(
        TextColumn("simulated studies"),
        BarColumn(bar_width=40),
        TextColumn("{task.percentage:.0f} %"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    if not bar.console.is_terminal:
        return run_experiments(chosen, studies, seed, workers)
    with bar:
        task = bar.add_task("", total=None)

        def update(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        return run_experiments(chosen, studies, seed, workers, update)


def _show(promises: Sequence[Promise], out: Path) -> None:
    """Print a table for each part, and the conclusion."""
    console = plain_console()
    for part in dict.fromkeys(p.part for p in promises):
        heading, found = rows(promises, part, with_interval=False)
        widths = [max(map(len, column)) for column in zip(heading, *found, strict=True)]
        console.print(PARTS[part][0])
        for row in [heading, *found]:
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            console.print(line, style="red" if "BROKEN" in line else None)
        console.print()
    console.print(conclusion(promises), style="yellow" if broken(promises) else None)
    console.print(f"report: {out / 'selftest.md'}")


@click.command(cls=Command)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs/selftest"),
    show_default=True,
    help="Folder for selftest.md and selftest.json.",
)
@click.option("--studies", type=int, default=1000, show_default=True, help="Simulated studies of each design.")
@click.option("--only", multiple=True, type=click.Choice(list(PARTS)), help="Run this part only; repeatable.")
@click.option("--seed", type=int, default=0, show_default=True)
@json_option
def selftest(out: Path, studies: int, only: tuple[str, ...], seed: int, as_json: bool) -> None:
    """Test the statistics on simulated studies with known truth. Exit code 3: a promise is broken."""

    sys.exit(run_selftest(out, studies, seed, as_json, only))
