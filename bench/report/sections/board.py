"""One leaderboard over all classifiers: scores, verdict and cost of an arm in one row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bench.analysis.info import ReportInfo
from bench.analysis.lines import SCORES, Line
from bench.report.sections.leaderboard import HEADS, arm_name, difference, score_column, sort_lines, word
from bench.report.text import DASH, seconds, table


def board(lines: Sequence[Line], info: ReportInfo) -> str:
    """Return one table of all lines, best primary score first; the best score of each classifier is bold."""
    found: list[tuple[float, dict[str, str]]] = []
    for name in info.classifiers:
        mine = sort_lines([x for x in lines if x.classifier == name])
        columns = arm_columns(mine) | _cost(mine)
        columns = {"Arm": columns.pop("Arm"), "Classifier": [name] * len(mine), **columns}
        cells = zip(*columns.values(), strict=True)
        found += [(_rank(x), dict(zip(columns, row, strict=True))) for x, row in zip(mine, cells, strict=True)]
    found.sort(key=lambda item: item[0])
    heads = [h for h in (found[0][1] if found else ()) if h != "Classifier" or len(info.classifiers) > 1]
    return table(heads, [[row[h] for h in heads] for _, row in found], left=3 if "Classifier" in heads else 2)


def arm_columns(lines: Sequence[Line]) -> dict[str, list[str]]:
    """Return the columns verdict, difference and scores as GitHub markdown."""
    versus = [x.versus.get("none", {}).get(x.primary) for x in lines]
    prefix = next((x.primary.removesuffix("balanced_accuracy") for x in lines), "")
    heads: Mapping[str, str] = {f"{prefix}{s}": HEADS[s] for s in SCORES}
    return {
        "Arm": [arm_name(x.arm) for x in lines],
        "Verdict": [word(v) if v else DASH for v in versus],
        "Difference": [difference(v) if v else DASH for v in versus],
        **{head: score_column(lines, [x.scores[key] for x in lines]) for key, head in heads.items()},
    }


def _cost(lines: Sequence[Line]) -> dict[str, list[str]]:
    return {
        "Training": [seconds(x.total_s) if x.total_s else DASH for x in lines],
        "Pairs": [f"{x.pairs} of {x.planned}" for x in lines],
    }


def _rank(line: Line) -> float:
    return -line.score.mean if line.pairs else math.inf
