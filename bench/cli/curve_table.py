"""The table of a learning curve's sets and patients, of `bench plan` with and without ``--effect``."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from bench.plan.curve import CurveSize


def curve_table(sizes: Sequence[CurveSize], groups: str) -> Table:
    """Return the sets of a learning curve by size, with the patients of each part."""
    table = Table(f"{groups} per set", box=None, pad_edge=False)
    for heading in ("sets", "training", "validation", "test (common)", "methods"):
        table.add_column(heading, justify="right", no_wrap=True)
    for x in sizes:
        parts = [str(low) if low == high else f"{low} to {high}" for low, high in (x.train, x.validation)]
        table.add_row(str(x.train_patients), str(x.sets), *parts, str(x.test), str(x.methods))
    return table
