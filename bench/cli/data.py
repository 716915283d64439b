"""`bench data`: fetch data sets, and find out what is wrong with them."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bench.cli.options import Group, json_option


@click.group(cls=Group)
def data() -> None:
    """Fetch data sets; find out what is wrong with one before training on it."""


@data.command()
@click.argument("name")
@click.option("--into", type=click.Path(path_type=Path), default=Path("data"), show_default=True)
def download(name: str, into: Path) -> None:
    """Fetch a data set through kagglehub (pip install 'augbench[download]')."""
    from bench.data.download import download as fetch

    folder = fetch(name, into)
    click.echo(f"{folder}\nuse it with: bench run --suite {name} --data {folder}")


@data.command("audit")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), help="The same folder. Default: $BENCH_DATA.")
@click.option("--dataset", help="The layout: see `bench list`. Default: recognised from the folder.")
@click.option("--suite", help="Use this suite's dataset and options, and look at its folds too.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a setting, as for `bench run`: --set 'dataset.classes=[ER-, ER+]'.",
)
@click.option("--strict", is_flag=True, help="Exit with 3 when copies have two labels or cross groups.")
@click.option("--leak-demo", is_flag=True, help="Show what a split by image, not by patient, would have claimed.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder in which what was measured is remembered.",
)
@json_option
def audit_(
    folder: Path | None, data: Path | None, dataset: str | None, suite: str | None, assignments: tuple[str, ...],
    strict: bool, leak_demo: bool, out: Path, as_json: bool,
) -> None:  # fmt: skip
    """Look at every image of FOLDER: copies, near copies, labels, groups, odd files, masks, light, stain."""
    from bench.cli.audit import audit as show_audit
    from bench.cli.audit import find_subject

    subject = find_subject(folder or data, dataset, suite, out, assignments)
    sys.exit(show_audit(subject, as_json, strict, leak_demo))
