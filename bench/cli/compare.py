"""The verb `bench compare`: differences between two runs."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console

from bench.analysis.two_runs.comparison import as_json as comparison_json
from bench.analysis.two_runs.comparison import compare as compare_runs
from bench.cli.options import Command, json_option
from bench.files import write_atomic
from bench.report.pages.two_runs.page import sections
from bench.report.pages.two_runs.source import open_side
from bench.report.pages.two_runs.view import as_markdown, print_sections


def show_comparison(
    a: Path, b: Path, suite: str | None, data: Path | None, markdown: Path | None, json_wanted: bool
) -> None:
    """Compare two report or output folders; print tables or JSON, and write markdown if a path is given."""
    found = compare_runs(open_side(a, suite, data), open_side(b, suite, data))
    page = sections(found)
    if markdown is not None:
        write_atomic(markdown, as_markdown(page))
    if json_wanted:
        print(json.dumps(comparison_json(found), indent=1, ensure_ascii=False))
    else:
        print_sections(page, Console(markup=False, highlight=False))


@click.command(cls=Command)
@click.argument("run_a", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("run_b", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--name", "--suite", "suite", help="Run to take from an output folder. Default: the only one in it.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the images. Default: $BENCH_DATA.")
@click.option(
    "--markdown", type=click.Path(dir_okay=False, path_type=Path), help="Also write the comparison to this file."
)
@json_option
def compare(
    run_a: Path, run_b: Path, suite: str | None, data: Path | None, markdown: Path | None, as_json: bool
) -> None:
    """Compare RUN_B with RUN_A: scores, images and cost (paired, B − A); config, code and data.

    Each run is a report folder (with leaderboard.json and suite.yaml) or the --out folder of a run.
    """
    show_comparison(run_a, run_b, suite, data, markdown, as_json)
