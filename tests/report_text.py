"""Sections of a report as one text of GitHub markdown, collapsed blocks and appendix too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from bench.analysis.info import ReportInfo
from bench.analysis.report import Records
from bench.report.content import Block, Details, Section, Table
from bench.report.markdown import markdown


def whole(found: Iterable[Section]) -> str:
    """Return everything that the sections say, with a heading each."""
    opened = [replace(s, blocks=_open(s.blocks), appendix=False) for s in found if s.blocks]
    return "" if not opened else markdown("", [Section("", ("",), appendix=False), *opened], rows=10**6)


def text(module: Any, info: ReportInfo, **records: Any) -> str:
    """Return what a module of ``bench.report.sections`` says of these records."""
    return whole(module.sections(Records(**records), info))


def shown(table: Table) -> str:
    """Return a table as markdown."""
    return whole([Section("x", (table,))]).partition("## x\n\n")[2]


def _open(blocks: Sequence[Block]) -> tuple[Block, ...]:
    found: list[Block] = []
    for b in blocks:
        found += [f"#### {b.title}", *_open(b.blocks)] if isinstance(b, Details) else [b]
    return tuple(found)
