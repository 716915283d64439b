"""Everything a report says, as data: collected from the rows once, then only read. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.report.info import ReportInfo
from bench.report.records.copies import Copies, Survival, copies, survivals
from bench.report.records.costs import MethodCost, method_costs
from bench.report.records.failures import Failure, failures
from bench.report.records.lines import Line, leaderboard
from bench.report.records.quality import Quality, image_quality
from bench.report.records.rows import Rows
from bench.report.records.translations import Translation, translations


@dataclass(frozen=True)
class Records:
    """One field a section of the report; empty where the rows have nothing to say of it."""

    lines: tuple[Line, ...] = ()
    costs: tuple[MethodCost, ...] = ()
    quality: tuple[Quality, ...] = ()
    translations: tuple[Translation, ...] = ()
    copies: tuple[Copies, ...] = ()
    survivals: tuple[Survival, ...] = ()
    failures: tuple[Failure, ...] = ()


def collect(rows: Rows, info: ReportInfo, root: Path) -> Records:
    """Return the records of one plan's rows. ``root`` is where predictions paths start."""
    lines = leaderboard(rows, info, root)
    return Records(
        lines=lines,
        costs=method_costs(rows, info),
        quality=image_quality(rows, info),
        translations=translations(rows, info),
        copies=copies(rows, info),
        survivals=survivals(lines, rows, info),
        failures=failures(rows, info),
    )
