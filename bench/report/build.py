"""Build the report folder from result rows: tables, figures, picture grids. Imports neither models nor torch."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from bench.analysis.info import FoldSize, ReportInfo
from bench.analysis.report import collect
from bench.analysis.rows import Rows
from bench.files import write_atomic
from bench.report.charts.draw import draw_figures
from bench.report.charts.grids import draw_grids
from bench.report.export import as_json, tidy_csv
from bench.report.html.page import html_page
from bench.report.latex import latex
from bench.report.sections.page import HTML_FILE, markdown, sections
from bench.suite.arms import Arm
from bench.types import ResultRow

__all__ = ["Arm", "FoldSize", "ReportInfo", "build_report"]


def build_report(rows: Iterable[ResultRow], info: ReportInfo, root: Path, out: Path) -> Path:
    """Write the report of one plan's rows into ``out`` and return its ``leaderboard.md``.

    ``root`` is the output folder that the rows' paths start from. Writes ``leaderboard.md``, ``.csv`` and ``.json``,
    ``charts/*.png``, and ``pictures/*.png``, which contain images of the data set. The same rows give the same bytes.
    Failed, skipped and missing cells are listed in the report and raise no error. ``report.html`` contains everything,
    including figures and the ``suite.yaml`` in ``out``. ``leaderboard.tex`` is for papers. Writes are atomic.
    """
    table = Rows(rows)
    records = collect(table, info, root)
    out.mkdir(parents=True, exist_ok=True)
    figures = draw_figures(records, table, info.apart, root, out)
    pictures = draw_grids(table, info.apart, root, out)
    path = out / "leaderboard.md"
    data = json.dumps(as_json(records, info), indent=1, ensure_ascii=False)
    write_atomic(out / "leaderboard.json", data + "\n")
    write_atomic(out / "leaderboard.csv", tidy_csv(records))
    write_atomic(out / "leaderboard.tex", latex(records, info))
    found = sections(records, info, figures, pictures)
    suite = out / "suite.yaml"
    config = suite.read_text(encoding="utf-8") if suite.is_file() else ""
    write_atomic(out / HTML_FILE, html_page(found, records, info, out, config))
    write_atomic(path, markdown(found, info))
    return path
