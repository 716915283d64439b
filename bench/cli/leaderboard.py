"""`bench leaderboard`: stores as wholes."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click

from bench.cli.options import Group
from bench.merge.choose import Policy


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
    help="Of a cell with different results keep that of the first or last store given, or the newest.",
)
def merge(stores: tuple[Path, ...], out: Path, on_duplicate: Policy) -> None:
    """Combine STORES, --out folders of runs, into one that reports and resumes like any other.

    What --out holds already stays. Cells with the same result are taken once. Files are linked where that can be. Run
    records, tuning studies, profiles and suite.yaml come along; caches, the MLflow view and reports are made again.
    """
    from bench.cli.merge import merge_stores

    merge_stores(stores, out, on_duplicate)
