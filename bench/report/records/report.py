"""Everything a report says, as data: collected from the rows once, then only read. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.report.info import ReportInfo
from bench.report.records.costs import MethodCost, method_costs
from bench.report.records.failures import Failure, failures
from bench.report.records.lines import Line, leaderboard
from bench.report.records.quality import Quality, image_quality
from bench.report.records.rows import Rows


@dataclass(frozen=True)
class Records:
    """One field a section of the report; empty where the rows have nothing to say of it."""

    lines: tuple[Line, ...] = ()
    costs: tuple[MethodCost, ...] = ()
    quality: tuple[Quality, ...] = ()
    failures: tuple[Failure, ...] = ()


def collect(rows: Rows, info: ReportInfo, root: Path) -> Records:
    """Return the records of one plan's rows. ``root`` is where predictions paths start."""
    return Records(
        lines=leaderboard(rows, info, root),
        costs=method_costs(rows, info),
        quality=image_quality(rows, info),
        failures=failures(rows, info),
    )
