"""The verb `bench du`: disk space of an output folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.table import Table

from bench.cli.options import Command, json_option, out_option
from bench.engine.console import echo_json, plain_console
from bench.engine.stored import find_run, referenced_cells
from bench.errors import BenchError
from bench.report.text import DASH, size
from bench.store.disk_use import CELLS, cells_on_disk, parts_on_disk
from bench.store.run_configs import run_names


def disk_use(out: Path) -> dict[str, Any]:
    """Return sizes in bytes: of the parts of the folder, and of the cells by stage, with their number.

    ``unreferenced`` is the part of the cells that no stored run uses; None if a run cannot be planned now, for example
    because its images are missing. ``problem`` says why. Raises ``ConfigError`` if ``out`` has no run.
    """
    if not run_names(out):
        find_run(out)  # raises an error
    used, problem = None, None
    try:
        used = referenced_cells(out)
    except BenchError as e:
        problem = str(e)
    stages: dict[str, dict[str, Any]] = {}
    for item in cells_on_disk(out):
        stage = stages.setdefault(item.cell[0] if item.cell else "", {"cells": 0, "bytes": 0, "unreferenced": 0})
        stage["cells"] += 1
        stage["bytes"] += item.size_bytes
        stage["unreferenced"] += item.size_bytes if used is not None and item.cell not in used else 0
    if used is None:
        stages = {name: {**stage, "unreferenced": None} for name, stage in stages.items()}
    return {"parts": parts_on_disk(out), "stages": stages, "problem": problem}


@click.command(cls=Command)
@out_option
@json_option
def du(out: Path, as_json: bool) -> None:
    """Show the disk space of an output folder: its parts, its cells by stage, and what `bench clean` would free."""
    found = disk_use(out.expanduser().resolve())
    if as_json:
        echo_json(found)
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("part")
    for heading in ("cells", "size", "unreferenced"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, part_bytes in found["parts"].items():
        table.add_row(name, "", size(part_bytes), "")
        for stage, s in found["stages"].items() if name == CELLS else ():
            unreferenced = DASH if s["unreferenced"] is None else size(s["unreferenced"])
            table.add_row(f"  {stage}", str(s["cells"]), size(s["bytes"]), unreferenced)
    table.add_row("total", "", size(sum(found["parts"].values())), "")
    console = plain_console()
    console.print(table)
    if found["problem"]:
        console.print(f"unreferenced cells are unknown: {found['problem']}", style="yellow")
