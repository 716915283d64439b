"""How synthetic images compare with real ones, by the features of one extractor. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.report.info import ReportInfo
from bench.report.records.rows import Rows, Score

QUALITY = ("kid", "fid", "precision", "recall", "density", "coverage")
SIZES = ("kid_subset_size", "n_real", "n_synthetic")
FLOOR = "real training images"


@dataclass(frozen=True)
class Quality:
    """Synthetic images (or, as the floor, real training images) against real images of ``part``, by one extractor.

    ``scores`` by measure (kid, fid, precision, …); ``n_real``, ``n_synthetic`` and ``kid_subset_size`` are means.
    """

    method: str
    part: str
    extractor: str
    scores: Mapping[str, Score]


def image_quality(rows: Rows, info: ReportInfo) -> tuple[Quality, ...]:
    """Return quality records by extractor, part and method; for each part the floor comes first."""
    values: dict[tuple[str, str, str], dict[str, list[float]]] = {}
    for method in info.generative:
        for row in rows.done("fidelity", method, info.pairs):
            for name, value in row.metrics.items():
                where, part, measure = (*name.split("/", 2), "", "")[:3]
                kind, _, tag = measure.partition("_")
                for longer in SIZES:
                    if measure.startswith(f"{longer}_"):
                        kind, tag = longer, measure.removeprefix(f"{longer}_")
                if where not in ("real", "synthetic") or kind not in (*QUALITY, *SIZES):
                    continue
                who = FLOOR if where == "real" else method
                values.setdefault((tag, part, who), {}).setdefault(kind, []).append(value)
    order = [FLOOR, *info.methods]
    keys = sorted(values, key=lambda k: (k[0], k[1], order.index(k[2])))
    return tuple(Quality(who, part, tag, _scores(values[tag, part, who])) for tag, part, who in keys)


def _scores(values: Mapping[str, list[float]]) -> dict[str, Score]:
    return {kind: Score.of(found) for kind, found in values.items()}
