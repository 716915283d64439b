"""Synthetic against real images: KID first, every score with its real-vs-real baseline at the same sample size."""

from __future__ import annotations

from collections.abc import Sequence

from bench.analysis.quality import MEASURES, Quality
from bench.analysis.rows import Score
from bench.report.text import bold_best, count_of, number, table

LOWER_IS_BETTER = ("kid", "fid")
NAMES = {"kid": "KID", "fid": "FID", "is": "IS"}


def quality_section(quality: Sequence[Quality]) -> list[str]:
    """Return headings, captions and tables for each feature extractor."""
    parts = []
    for tag in dict.fromkeys(q.extractor for q in quality):
        mine = [q for q in quality if q.extractor == tag]
        parts += [f"## Synthetic images against real ones, by {tag}\n", _caption(tag)]
        parts += _against(mine, "test", "synthetic/test", "Against test images")
        at_real_baseline = any(key.startswith("at_real_baseline/train/") for q in mine for key in q.scores)
        parts += _against(
            mine,
            "train",
            "at_real_baseline/train" if at_real_baseline else "synthetic/train",
            "Against training images",
        )
        parts += _variety(mine)
    return parts


def _caption(tag: str) -> str:
    text = f"Features of `{tag}`; means over pairs. In brackets the real-vs-real baseline: the same number of real "
    text += "images of other patients instead of the synthetic ones."
    if not tag.startswith("inception-6726825d"):
        text += " These are not the Inception scores of the literature; compare them only within these tables."
    return text + "\n"


def _against(quality: Sequence[Quality], part: str, where: str, title: str) -> list[str]:
    """Return a table of every measure against one fold part with its real-vs-real baseline; [] without results."""
    found = [q for q in quality if any(key.startswith(f"{where}/") for key in q.scores)]
    if not found:
        return []
    columns = {"Method": [f"`{q.method}`" for q in found]}
    columns["Images"] = [f"{_n(q, f'{where}/n_synthetic')} : {_n(q, f'{where}/n_real')}" for q in found]
    for measure in MEASURES:
        scores = [q.score(f"{where}/{measure}") for q in found]
        if any(s.n for s in scores):
            baselines = [q.score(f"real_baseline/{part}/{measure}") for q in found]
            name = NAMES.get(measure, measure.capitalize())
            columns[name] = _beside(scores, baselines, lowest=measure in LOWER_IS_BETTER)
    subset = [q.score(f"{where}/kid_subset_size") for q in found]
    if any(s.n for s in subset):
        columns["KID subset"] = [count_of(s.mean) for s in subset]
    return [f"{title}:\n", table(list(columns), zip(*columns.values(), strict=True))]


def _variety(quality: Sequence[Quality]) -> list[str]:
    columns = {"Method": [f"`{q.method}`" for q in quality]}
    for measure, name in (("is", "Inception score"), ("diversity", "Diversity within a class")):
        scores = [q.score(f"synthetic/{measure}") for q in quality]
        if any(s.n for s in scores):
            columns[name] = _beside(scores, [q.score(f"real/train/{measure}") for q in quality])
    if len(columns) == 1:
        return []
    return [
        "Diversity, in brackets that of real training images:\n",
        table(list(columns), zip(*columns.values(), strict=True)),
    ]


def _beside(scores: Sequence[Score], baselines: Sequence[Score], lowest: bool = False) -> list[str]:
    """'0.0412 (0.0040)': the best score in bold, in brackets the score of real images."""
    best = bold_best([s.mean for s in scores], [number(s.mean) for s in scores], [True] * len(scores), lowest)
    return [text + (f" ({number(f.mean)})" if f.n else "") for text, f in zip(best, baselines, strict=True)]


def _n(quality: Quality, key: str) -> str:
    return count_of(quality.score(key).mean)
