"""The verb `bench clean`: delete cells that no stored run uses, old cells, and caches."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import click

from bench.cli.options import Command, out_option
from bench.engine.stored import find_run, referenced_cells
from bench.errors import ConfigError
from bench.report.text import size
from bench.store.disk_use import Item, cache_on_disk, cells_on_disk, remove
from bench.store.live import live_runs
from bench.store.run_configs import run_names

DAY_S = 86400.0
NAMES = {
    "unreferenced": "cells that no stored run uses",
    "cells": "cells, also of stored runs",
    "cache": "files of the cache",
}


def removable(out: Path, what: Sequence[str], older_than_days: float) -> dict[str, list[Item]]:
    """Return what can be deleted by kind. Raises ``ConfigError`` if ``out`` has no run, or a run is active.

    ``what`` are keys of ``NAMES``; items that changed within ``older_than_days`` are left out.
    """
    if not run_names(out):
        find_run(out)  # raises an error
    if live_runs(out):
        raise ConfigError(f"--out {out} is in use by an active run; run `bench clean` when it has ended")
    found: dict[str, list[Item]] = {}
    if "cells" in what:
        found["cells"] = cells_on_disk(out)
    elif "unreferenced" in what:
        used = referenced_cells(out)
        found["unreferenced"] = [item for item in cells_on_disk(out) if item.cell not in used]
    if "cache" in what:
        found["cache"] = cache_on_disk(out)
    latest = time.time() - older_than_days * DAY_S
    return {kind: [item for item in items if item.changed_s <= latest] for kind, items in found.items()}


@click.command(cls=Command)
@click.argument("what", nargs=-1, type=click.Choice(list(NAMES)))
@out_option
@click.option("--older-than", "days", type=click.FloatRange(min=0), metavar="DAYS", help="Only what is older.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def clean(what: tuple[str, ...], out: Path, days: float | None, yes: bool) -> None:
    """Delete what an output folder does not need, after showing it: unreferenced cells and caches.

    \b
    unreferenced  cells that no stored run uses, also unfinished ones and those of tuning trials
    cache         prepared images and features, which are computed again when needed
    cells         all cells, also of stored runs; needs --older-than. Reports are kept

    The default is `unreferenced cache`.
    """
    if "cells" in what and days is None:
        raise click.UsageError("`cells` deletes results of stored runs and needs --older-than DAYS")
    out = out.expanduser().resolve()
    found = removable(out, what or ("unreferenced", "cache"), days or 0.0)
    for kind, items in found.items():
        click.echo(f"{len(items)} {NAMES[kind]}: {size(sum(item.size_bytes for item in items))}")
    chosen = [item for items in found.values() for item in items]
    if not chosen:
        click.echo("nothing to delete")
        return
    if not yes:
        click.confirm(f"delete them from {out}?", abort=True)
    click.echo(f"{size(remove(out, chosen))} freed")
