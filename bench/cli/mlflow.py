"""The verb `bench mlflow sync`: log stored results to MLflow."""

from __future__ import annotations

import sys

import click

from bench.cli.chosen import Chosen, one
from bench.cli.options import Group, suite_options
from bench.engine.plan_rows import rows_of
from bench.engine.session import Session
from bench.report.writing import write_report, written_state
from bench.tracking.session_view import MLflowView


@click.group(cls=Group)
def mlflow() -> None:
    """Log stored results to MLflow."""


@mlflow.command()
@suite_options
def sync(chosen: Chosen) -> None:
    """Log the stored results that are missing in MLflow."""

    sync_mlflow(one(chosen.stored()))


def sync_mlflow(session: Session) -> None:
    """Log the missing results to MLflow; exit with code 1 if it cannot be reached."""
    rows = rows_of(session.plan, session.env)
    report, view = write_report(session, rows).parent, MLflowView(session)
    warning = view.complete(rows, report, 3600.0, written_state(report))
    if warning:
        print(f"MLflow: {warning}", file=sys.stderr)
        raise SystemExit(1)
    print(f"MLflow has all results of this suite ({view.thread.did})")
