"""The verb `bench export`: a trained classifier or generator of a run as files for plain PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from bench.cli.chosen import Chosen, one
from bench.cli.options import Command, only_option, suite_options
from bench.engine.console import plain_console
from bench.engine.export import export_cell
from bench.engine.session import Session
from bench.errors import ConfigError
from bench.plan.plan import Cell, unique
from bench.plan.selection import select
from bench.stages.common import Inputs
from bench.store.cell_folders import Artifacts

STAGE = {"classifier": "classify", "generator": "fit"}
SHOWN = 6  # cells in an error message


def choose(session: Session, kind: str, only: Sequence[str]) -> Cell:
    """Return the one finished cell that the filters select. Raises ``ConfigError`` that lists the cells otherwise."""
    artifacts = Artifacts(session.env.out)
    cells = unique([c for c in select(session.plan.cells, only) if c.stage == STAGE[kind]])
    found = [c for c in cells if artifacts.is_done(*c.id)]
    if not found:
        raise ConfigError(f"no trained {kind} of suite {session.suite.name} is selected; train it: {session.command}")
    if len(found) > 1:
        titles = "\n".join(f"  {c.title}" for c in found[:SHOWN])
        more = f"\n  and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise ConfigError(
            f"{len(found)} trained {kind}s are selected, expected one; choose by --only, such as --only fold=0 and "
            f"--only method=none:\n{titles}{more}"
        )
    return found[0]


@click.command(cls=Command)
@suite_options
@only_option
@click.option("--to", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for the files.")
@click.option(
    "--network", "kind", type=click.Choice(list(STAGE)), default="classifier", show_default=True, help="What to export."
)
def export(chosen: Chosen, only: tuple[str, ...], to: Path, kind: str) -> None:
    """Export a trained classifier or generator of a run: graph, weights (safetensors), config with preprocessing.

    The files need PyTorch and safetensors only. --only must select one of them.
    """
    session = one(chosen.stored())
    cell = choose(session, kind, only)
    config = export_cell(Inputs(cell, session.env), to)
    plain_console().print(f"{cell.title}: {config}")
