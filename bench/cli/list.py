"""The verb `bench list`: names of suites, data sets, methods, classifiers and metrics."""

from __future__ import annotations

import click
from rich.table import Table

from bench import registry
from bench.cli.options import Command, json_option
from bench.config import read_yaml
from bench.engine.console import echo_json, plain_console
from bench.suite.shipped import suite_files
from bench.suite.sub_suites import sub_suites_in


def show_list(as_json: bool) -> None:
    """Print the names that a suite may use, and the shipped suites."""
    suites: dict[str, str] = {}
    for name, path in suite_files().items():
        data = read_yaml(path)
        suites[name] = str(data.get("description", ""))
        suites |= {f"{name}-{sub_suite}": f"sub-suite {sub_suite} of {name}" for sub_suite in sub_suites_in(data, name)}
    found = {f"{kind}s": registry.names(kind) for kind in registry.KINDS}
    if as_json:
        echo_json({"suites": suites, **found})
        return
    console = plain_console()
    table = Table("suite", "", box=None, pad_edge=False)
    for name, description in suites.items():
        table.add_row(name, description)
    console.print(table)
    for kind, names in found.items():
        more = " … and every timm network by name" if kind == "classifiers" else ""
        console.print(f"\n{kind}: {', '.join(names)}{more}")


@click.command("list", cls=Command)
@json_option
def list_(as_json: bool) -> None:
    """List suites, data sets, methods, classifiers and metrics."""

    show_list(as_json)
