"""From rows to a folder a person can read: tables, figures, picture grids. Touches no model and imports no torch."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from bench.report.charts.draw import draw_figures
from bench.report.charts.grids import draw_grids
from bench.report.export import as_json, tidy_csv
from bench.report.info import Arm, FoldSize, ReportInfo
from bench.report.records.report import collect
from bench.report.records.rows import Rows
from bench.report.sections.page import markdown
from bench.types import ResultRow

__all__ = ["Arm", "FoldSize", "ReportInfo", "build_report"]


def build_report(rows: Iterable[ResultRow], info: ReportInfo, root: Path, out: Path) -> Path:
    """Write the report of one plan's rows into ``out`` and return its ``leaderboard.md``.

    ``root`` is the output folder that the rows' paths start from. Writes ``leaderboard.md``, ``.csv`` and ``.json``,
    ``charts/*.png``, and ``pictures/*.png``, which hold images of the data set. The same rows give the same bytes.
    Failed, skipped and missing cells are named in the report, never an error.
    """
    table = Rows(rows)
    records = collect(table, info, root)
    out.mkdir(parents=True, exist_ok=True)
    figures = draw_figures(records, table, info.apart, root, out)
    pictures = draw_grids(table, info.apart, root, out)
    path = out / "leaderboard.md"
    data = json.dumps(as_json(records, info), indent=1, ensure_ascii=False)
    (out / "leaderboard.json").write_text(data + "\n", encoding="utf-8")
    (out / "leaderboard.csv").write_text(tidy_csv(records), encoding="utf-8")
    path.write_text(markdown(records, info, figures, pictures), encoding="utf-8")
    return path
