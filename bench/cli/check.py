"""`bench check`: the regression check for continuous integration."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bench.cli.options import Command, device_option


@click.command(cls=Command)
@click.option("--suite", required=True, help="A suite's name (see `bench list`), or a YAML file; a tiny one: ci.")
@click.option("--baseline", type=click.Path(path_type=Path), help="Default: reports/baselines/SUITE.json.")
@click.option("--update", is_flag=True, help="Measure the baseline: values, and tolerances from several numerics.")
@click.option("--junit", type=click.Path(path_type=Path), help="Write JUnit XML there: a test case a cell.")
@click.option("--summary", type=click.Path(path_type=Path), help="Write a markdown summary there.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the images. Default: $BENCH_DATA.")
@click.option("--out", type=click.Path(path_type=Path), help="Keep the run there. Default: a folder that is deleted.")
@click.option("--reuse", is_flag=True, help="Take over what an earlier run left in --out, instead of refusing it.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Change a setting of the suite.")
@click.option("--jobs", type=click.IntRange(1), help="Cells at a time. Default: fill the CPU's cores; 1 on a GPU.")
@device_option
def check(
    suite: str, baseline: Path | None, update: bool, junit: Path | None, summary: Path | None, data: Path | None,
    out: Path | None, reuse: bool, assignments: tuple[str, ...], jobs: int | None, device: str,
) -> None:  # fmt: skip
    """Run a suite afresh and compare it with a stored baseline. Exit code 0, or 3 for a regression.

    Losses, scores, image metrics, step times (against a fixed piece of work, so on any machine), tensor memory, sizes
    and guards against leakage are compared; a cell that fails is a regression. Exit code 2: no baseline, or one of
    other settings.
    """
    if update and (junit or summary or reuse):
        raise click.UsageError("--update writes a baseline; --junit, --summary and --reuse go with a check")
    from bench.cli import check_verb as command

    wanted = command.Wanted(suite, assignments, data, out, baseline, device, jobs, reuse, junit, summary)
    sys.exit(command.update(wanted) if update else command.check(wanted))
