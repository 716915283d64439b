"""Draw all charts that the rows allow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from bench.analysis.info import ReportInfo
from bench.analysis.lines import Line
from bench.analysis.report import Records
from bench.analysis.rows import Rows
from bench.report.charts import cost, curve, differences, equal_terms, folds, losses, sweep, training_fidelity
from bench.report.charts.outcomes import draw_outcomes
from bench.report.charts.pages import Page, draw_cuts, even, numbered, pages
from bench.report.text import count, join


def draw_figures(records: Records, rows: Rows, info: ReportInfo, root: Path, out: Path) -> dict[str, str]:
    """Draw all charts that the rows allow into ``out/charts``; return captions by path relative to ``out``."""
    scored = [x for x in records.lines if x.pairs]
    costed = [x for x in (*scored, *records.multiplied) if x.pairs and x.charged_s > 0]
    compared = [x for x in scored if "none" in x.versus]
    return {
        **_curve(records, info, out),
        **_draw("forest", pages(compared), differences.draw_none, differences.none_caption(info), info, out),
        **_draw("folds", pages(scored), folds.draw_folds, folds.caption(info), info, out),
        **_draw("cost", pages(costed, rows=len(costed) or 1), cost.draw_cost, cost.caption(info), info, out),
        **_sweep(scored, info, out),
        **_differences(records, info, out),
        **_equal_terms(records, info, out),
        **draw_outcomes(scored, rows, info, root, out),
        **_losses(rows, info, root, out),
    }


def _draw(
    name: str,
    found: Sequence[Page],
    draw: Callable[[Page, ReportInfo, Path], None],
    caption: str,
    info: ReportInfo,
    out: Path,
) -> dict[str, str]:
    """Draw every page of one chart; the first has the caption, the last names omitted pages."""
    drawn = {}
    for page in found:
        path = numbered(f"charts/{name}", page.number)
        draw(page, info, out / path)
        drawn[path] = caption if page.number == 1 else f"Continued: {join(page.classifiers)}."
        if page.number == len(found) < page.of:
            drawn[path] += f" {count(page.of - len(found), 'more page')} of arms and classifiers: see the tables."
    return drawn


def _curve(records: Records, info: ReportInfo, out: Path) -> dict[str, str]:
    if records.curve is None or not records.curve.points:
        return {}
    curve.draw_curve(records.curve, info, out / "charts/curve.png")
    drawn = {"charts/curve.png": curve.caption(info)}
    if records.curve.ranks:
        curve.draw_ranks(records.curve.ranks, out / "charts/ranks.png")
        drawn["charts/ranks.png"] = curve.ranks_caption(info)
    return drawn


def _sweep(lines: Sequence[Line], info: ReportInfo, out: Path) -> dict[str, str]:
    swept = sweep.swept(lines)
    classifiers = list(dict.fromkeys(x.classifier for x in swept))
    methods = list(dict.fromkeys(x.arm.method for x in swept))
    cuts = {
        f"{join(of)} with {join(some)}": [x for x in swept if x.classifier in some and x.arm.method in of]
        for some in even(classifiers, sweep.CLASSIFIERS)
        for of in even(methods, sweep.METHODS)
    }
    return draw_cuts("sweep", cuts, sweep.caption(info), lambda cut, path: sweep.draw_sweep(cut, info, path), out)


def _differences(records: Records, info: ReportInfo, out: Path) -> dict[str, str]:
    if not any(d.kind in differences.SHOWN for d in records.differences):
        return {}
    differences.draw_differences(records.differences, info, out / "charts/differences.png")
    return {"charts/differences.png": differences.caption(info)}


def _equal_terms(records: Records, info: ReportInfo, out: Path) -> dict[str, str]:
    shown = equal_terms.shown_terms(records.equal_terms, info)
    if not shown:
        return {}
    equal_terms.draw_equal_terms(shown, info, out / "charts/equal_terms.png")
    return {"charts/equal_terms.png": equal_terms.caption(shown, info)}


def _losses(rows: Rows, info: ReportInfo, root: Path, out: Path) -> dict[str, str]:
    histories = losses.read_histories(rows, info, root)
    drawn = {}
    curves = losses.loss_curves(histories)
    for number, methods in enumerate(even(list(curves), losses.METHODS), start=1):
        path = numbered("charts/losses", number)
        losses.draw_losses({m: curves[m] for m in methods}, out / path)
        drawn[path] = losses.CAPTION if number == 1 else f"Continued: {join(methods)}."
    if found := training_fidelity.fidelity_curves(histories):
        training_fidelity.draw_training_fidelity(found, info.methods, out / "charts/training_fidelity.png")
        drawn["charts/training_fidelity.png"] = training_fidelity.CAPTION
    return drawn
