"""What failed, was skipped or is missing: a table."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.records.failures import Failure
from bench.report.sections.text import DASH, table


def failure_section(failed: Sequence[Failure]) -> list[str]:
    """Return heading and table; [] when everything ended well."""
    return ["## Failed, skipped and missing\n", _failure_table(failed)] if failed else []


def _failure_table(failed: Sequence[Failure]) -> str:
    rows = []
    for f in failed:
        methods = ", ".join(f"`{m}`" for m in f.methods) or DASH
        folds = ", ".join(f"{fold}" + (f".{repeat}" if repeat else "") for fold, repeat in f.pairs)
        rows.append([f.status, f.stage, str(f.cells), methods, ", ".join(f.where) or DASH, folds, f.reason[:300]])
    return table(["Status", "Stage", "Cells", "Method", "Classifier", "Folds", "Reason"], rows, left=7)
