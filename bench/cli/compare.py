"""`bench compare`: two runs beside each other."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.options import Command, json_option


@click.command(cls=Command)
@click.argument("run_a", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("run_b", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--suite", help="Which suite of an output folder. Default: the only one that it holds.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the images. Default: $BENCH_DATA.")
@click.option("--markdown", type=click.Path(dir_okay=False, path_type=Path), help="Also write all of it to this file.")
@json_option
def compare(
    run_a: Path, run_b: Path, suite: str | None, data: Path | None, markdown: Path | None, as_json: bool
) -> None:
    """What is different in RUN_B: scores, images, cost (paired, B − A), and what of config, code and data changed.

    Each is a report folder (with its leaderboard.json and suite.yaml), or the --out folder of a run.
    """
    from bench.cli.compare_verb import show_comparison

    show_comparison(run_a, run_b, suite, data, markdown, as_json)
