"""Which charts a report has, by what its rows allow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.report.charts.cost import draw_cost
from bench.report.charts.folds import draw_folds
from bench.report.charts.forest import draw_forest
from bench.report.charts.losses import draw_losses, read_histories
from bench.report.info import ReportInfo
from bench.report.records.lines import Line
from bench.report.records.rows import Rows


def draw_figures(lines: Sequence[Line], rows: Rows, info: ReportInfo, root: Path, out: Path) -> dict[str, str]:
    """Draw what the rows allow into ``out/charts`` and return caption by path relative to ``out``."""
    panels = {c: [x for x in lines if x.classifier == c and x.pairs] for c in info.classifiers}
    panels = {c: found for c, found in panels.items() if found}
    drawn = {}
    charts = (
        ("forest", draw_forest, any("none" in x.versus for x in lines)),
        ("folds", draw_folds, bool(panels)),
        ("cost", draw_cost, bool(panels)),
    )
    for name, draw, possible in charts:
        if possible:
            drawn[f"charts/{name}.png"] = draw(panels, info, out / "charts" / f"{name}.png")
    histories = {m: read_histories(rows, info, m, root) for m in info.generative}
    histories = {m: found for m, found in histories.items() if found}
    if histories:
        drawn["charts/losses.png"] = draw_losses(histories, out / "charts" / "losses.png")
    return drawn
