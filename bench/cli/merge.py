"""The verb `bench leaderboard merge`: the stores of several machines or users as one."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench.engine.console import plain_console
from bench.merge.choose import Policy
from bench.merge.merge import Merged, merge
from bench.report.text import DASH, size


def merge_stores(paths: Sequence[Path], out: Path, policy: Policy) -> None:
    """Merge, and print what came from where."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("cells", total=None)
        found = merge(paths, out, policy, lambda done, total: progress.update(task, completed=done, total=total))
    show(found)


def show(found: Merged) -> None:
    """Print the summary table, the notes, and what to do next."""
    columns = {
        "rows": [t.rows for t in found.taken],
        "duplicates": [t.duplicates for t in found.taken],
        "conflicts": [t.conflicts for t in found.taken],
        "outdone failures": [t.outdone for t in found.taken],
        "cells": [t.cells for t in found.taken],
        "torn cells": [t.torn for t in found.taken],
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
        console.print(f"{size(linked)} linked, which take no room while their source is there; {size(copied)} copied")
    for note in found.notes:
        console.print(note, style="yellow")
    for suite in found.suites:
        console.print(f"bench report --suite {suite} --out {found.out}")
