"""``report.html``: all sections of a suite's report, a filterable leaderboard, and the config of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path

from bench.analysis.info import ReportInfo
from bench.analysis.report import Records
from bench.report.html.document import document
from bench.report.html.pictures import BUDGET
from bench.report.html.tables import VERDICTS, Markdown, definitions
from bench.report.sections.footnotes import footnotes
from bench.report.sections.page import BOARD, Section, question
from bench.report.text import literal

CONFIG = "Config of the run"


def html_page(
    found: Sequence[Section], records: Records, info: ReportInfo, folder: Path, config: str = "", budget: int = BUDGET
) -> str:
    """Return the page. Figure paths are relative to ``folder``; ``config`` is the resolved suite as YAML.

    Figures beyond ``budget`` characters are omitted and listed.
    """
    found = [replace(s, filters=_filters(records)) if s.title == BOARD else s for s in found]
    writer = Markdown(definitions(footnotes(records, info)))
    appendix = {CONFIG: _config(config)} if config else {}
    return document(question(info), found, writer, folder, literal(info.description), appendix, budget=budget)


def _filters(records: Records) -> Mapping[str, Sequence[str]]:
    """Return the filter columns of the leaderboard with their possible values."""
    classifiers = list(dict.fromkeys(x.classifier for x in records.lines))
    words = {x.verdict(reference).word for x in records.lines for reference in x.versus}
    found = {"Verdict": [w for w in VERDICTS if w in words]} if words else {}
    return found | ({"Classifier": classifiers} if len(classifiers) > 1 else {})


def _config(text: str) -> str:
    return f"<details><summary>suite.yaml with all defaults resolved</summary>\n<pre>{escape(text)}</pre></details>"
