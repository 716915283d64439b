"""The verb `bench compare`: two runs beside each other."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console

from bench.analysis.two_runs.comparison import as_json, compare
from bench.files import write_atomic
from bench.report.pages.two_runs.page import blocks
from bench.report.pages.two_runs.source import open_side
from bench.report.pages.two_runs.view import as_markdown, print_blocks


def show_comparison(
    a: Path, b: Path, suite: str | None, data: Path | None, markdown: Path | None, json_wanted: bool
) -> None:
    """Compare two report or output folders: print it, or print JSON; write markdown where asked to."""
    found = compare(open_side(a, suite, data), open_side(b, suite, data))
    page = blocks(found)
    if markdown is not None:
        write_atomic(markdown, as_markdown(page))
    if json_wanted:
        print(json.dumps(as_json(found), indent=1, ensure_ascii=False))
    else:
        print_blocks(page, Console(markup=False, highlight=False))
