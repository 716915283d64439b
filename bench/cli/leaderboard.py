"""The verb `bench leaderboard merge`: merge the stores of several machines or users."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench.cli.options import Group
from bench.engine.console import plain_console
from bench.merge.choose import Policy
from bench.merge.merge import Merged
from bench.merge.merge import merge as merged
from bench.report.text import DASH, size
from bench.store.run_configs import run_names


def merge_stores(paths: Sequence[Path], out: Path, policy: Policy) -> None:
    """Merge the stores and print what was taken from each."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("cells", total=None)
        found = merged(paths, out, policy, lambda done, total: progress.update(task, completed=done, total=total))
    show(found)


def show(found: Merged) -> None:
    """Print the summary table, the notes, and the commands to run next."""
    columns = {
        "rows": [t.rows for t in found.taken],
        "duplicates": [t.duplicates for t in found.taken],
        "conflicts": [t.conflicts for t in found.taken],
        "replaced failures": [t.outdone for t in found.taken],
        "cells": [t.cells for t in found.taken],
        "incomplete cells": [t.torn for t in found.taken],
    }
    always = ("rows", "duplicates", "conflicts", "cells")
    shown = {name: numbers for name, numbers in columns.items() if name in always or any(numbers)}
    table = Table(box=None, pad_edge=False)
    table.add_column("source", overflow="fold")
    for name in (*shown, "size"):
        table.add_column(name, justify="right", no_wrap=True)
    for i, t in enumerate(found.taken):
        taken = t.linked_bytes + t.copied_bytes
        table.add_row(str(t.path), *(str(n[i]) for n in shown.values()), size(taken) if taken else DASH)
    Console(markup=False, highlight=False).print(table)
    console = plain_console()
    linked, copied = (sum(getattr(t, name) for t in found.taken) for name in ("linked_bytes", "copied_bytes"))
    if linked or copied:
        console.print(f"{size(linked)} hard-linked (no extra space while the source exists); {size(copied)} copied")
    for note in found.notes:
        console.print(note, style="yellow")
    stored = run_names(found.out)
    for suite in found.suites:
        option = "--name" if suite in stored else "--suite"  # earlier versions did not store all that a report needs
        console.print(shlex.join(["bench", "report", option, suite, "--out", str(found.out)]))


@click.group(cls=Group)
def leaderboard() -> None:
    """Combine the results of several machines or users."""


@leaderboard.command()
@click.argument("stores", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder of the merged store."
)
@click.option(
    "--on-duplicate",
    type=click.Choice(get_args(Policy)),
    default="refuse",
    show_default=True,
    help="If stores differ in a cell's result, keep that of the first or last store given, or the newest.",
)
def merge(stores: tuple[Path, ...], out: Path, on_duplicate: Policy) -> None:
    """Merge STORES (--out folders of runs) into one output folder, which can be reported and resumed as usual.

    Existing content of --out is kept. Cells with the same result are taken once. Files are hard-linked if possible.
    Run records, tuning studies, profiles and suite.yaml are merged too; caches, MLflow data and reports are not.
    """
    merge_stores(stores, out, on_duplicate)
