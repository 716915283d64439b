"""The verb `bench data`: download data sets and audit them."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.audit import audit_
from bench.cli.options import Group


@click.group(cls=Group)
def data() -> None:
    """Download data sets; audit a data set before training on it."""


@data.command()
@click.argument("name")
@click.option("--into", type=click.Path(path_type=Path), default=Path("data"), show_default=True)
def download(name: str, into: Path) -> None:
    """Download a data set through kagglehub (pip install 'augbench[download]')."""
    from bench.data.download import download as fetch
    from bench.engine.session import DEFAULT_OUT, run_command

    folder = fetch(name, into)
    suite = name.replace("_", "-")
    click.echo(f"{folder}\nuse it with: {run_command(suite, (), folder, DEFAULT_OUT)}")


data.add_command(audit_)
