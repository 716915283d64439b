"""Build the report folder from result rows: tables, figures, picture grids. Imports neither models nor torch."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from bench.analysis.info import FoldSize, ReportInfo
from bench.analysis.report import collect
from bench.analysis.rows import Rows
from bench.analysis.tables import comparisons_table, scores_table
from bench.files import atomic_path, write_atomic
from bench.report.charts.draw import draw_figures
from bench.report.charts.grids import draw_grids
from bench.report.content import frames
from bench.report.export import as_json, table_csv, tidy_csv
from bench.report.html.document import document
from bench.report.latex import latex
from bench.report.markdown import markdown
from bench.report.page import HTML_FILE, defined, more, sections, title
from bench.report.text import literal
from bench.suite.arms import Arm
from bench.types import ResultRow

__all__ = ["Arm", "FoldSize", "ReportInfo", "build_report"]


def build_report(rows: Iterable[ResultRow], info: ReportInfo, root: Path, out: Path) -> Path:
    """Write the report of one plan's rows into ``out`` and return its ``leaderboard.md``.

    ``root`` is the output folder that the rows' paths start from. Writes ``leaderboard.md`` (answer, leaderboard, main
    figure, cost), ``report.html`` (the same and a collapsed appendix with all figures and the ``suite.yaml`` in
    ``out``), ``leaderboard.csv`` and ``.json`` (all numbers), every table as ``tables/*.csv`` and in
    ``leaderboard.tex``, ``charts/*.png``, and ``pictures/*.png``, which contain images of the data set. The same rows
    give the same bytes. Failed, skipped and missing cells are listed and raise no error. Writes are atomic.
    """
    table = Rows(rows)
    records = collect(table, info, root)
    out.mkdir(parents=True, exist_ok=True)
    shown, at_size = info.at_size(info.verdict_size).apart, table.at_size(info.verdict_size)
    figures = draw_figures(records, at_size, shown, root, out)
    pictures = draw_grids(at_size, shown, root, out)
    data = json.dumps(as_json(records, info), indent=1, ensure_ascii=False)
    write_atomic(out / "leaderboard.json", data + "\n")
    write_atomic(out / "leaderboard.csv", tidy_csv(records))
    for name, frame in (("scores", scores_table(table, info)), ("comparisons", comparisons_table(records, info))):
        with atomic_path(out / f"{name}.parquet") as target:
            frame.to_parquet(target, index=False)
    suite = out / "suite.yaml"
    config = suite.read_text(encoding="utf-8") if suite.is_file() else ""
    found = sections(records, info, figures, pictures, config)
    tables = {f"{name}.csv": table_csv(of) for name, of in frames(found)}
    for name, text in tables.items():
        write_atomic(out / "tables" / name, text)
    for old in (out / "tables").glob("*.csv"):
        if old.name not in tables:
            old.unlink()  # of an earlier report with other sections
    made = f"{info.suite}: {info.command or 'bench report'}, commit {info.git_commit or 'unknown'}"
    write_atomic(out / "leaderboard.tex", latex(found, made, info.suite))
    write_atomic(out / HTML_FILE, document(title(info), defined(found), out, literal(info.description)))
    path = out / "leaderboard.md"
    write_atomic(path, markdown(title(info), defined(found, brief=True), more(found)))
    return path
