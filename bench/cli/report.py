"""The verb `bench report`: write a suite's report from the stored results."""

from __future__ import annotations

import sys

import click

from bench.cli.chosen import Chosen
from bench.cli.options import Command, json_option, suite_options
from bench.cli.sub_suites import SubSuites, name_absent, write_overall
from bench.engine.console import plain_console
from bench.engine.session import Session
from bench.report.writing import warn_of_damage, write_report


@click.command(cls=Command)
@suite_options
@json_option
def report(chosen: Chosen, as_json: bool) -> None:
    """Write a suite's report from the stored results, also while cells are unfinished."""

    found = chosen.stored()
    sys.exit(report_sub_suites(found, as_json) if isinstance(found, SubSuites) else show_report(found, as_json))


def show_report(session: Session, as_json: bool) -> int:
    """Write the report and print its path; return the exit code: 1 if cells are damaged, which are listed."""
    path = write_report(session)
    if as_json:
        click.echo((path.parent / "leaderboard.json").read_text(encoding="utf-8"))
    else:
        click.echo(f"{path}\n{path.with_name('report.html')}")
    return warn_of_damage(session)


def report_sub_suites(m: SubSuites, as_json: bool) -> int:
    """Write the report of each sub-suite and the overall report; return the exit code, 1 if cells are damaged."""
    pages = [write_report(session) for session in m.ready]
    overall = write_overall(m)
    console = plain_console()
    code = max(warn_of_damage(session) for session in m.ready)
    if as_json:
        print(overall.with_suffix(".json").read_text(encoding="utf-8"), end="")
        return code
    for page in pages:
        console.print(str(page), soft_wrap=True)
    name_absent(m)
    console.print(f"{overall}\n{overall.with_suffix('.html')}", soft_wrap=True)
    return code
