"""What selection of synthetic images alone brings: an arm with selected images against the same arm without. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.analysis.comparison import Comparison, compared
from bench.analysis.info import ReportInfo
from bench.analysis.lines import Line
from bench.analysis.rows import NAN, Pair, Rows, Score
from bench.cost.keys import CostKey
from bench.suite.arms import Arm
from bench.types import ResultRow


@dataclass(frozen=True)
class Selected:
    """A comparison of an arm with selected images with the same arm without selection, by the primary score.

    ``images`` are the kept images of a pair, ``drawn`` those drawn. ``device_s`` is the device time of drawing and
    scoring, ``reference_device_s`` that of drawing the images of the reference, which serve all of its ratios.
    ``flagged`` is the share of kept images that are flagged as memorised, in [0, 1], ``reference_flagged`` that of all.
    """

    comparison: Comparison
    images: Score
    drawn: Score
    device_s: Score
    reference_device_s: Score
    flagged: Score
    reference_flagged: Score


def selections(lines: Sequence[Line], rows: Rows, info: ReportInfo) -> tuple[Selected, ...]:
    """Return a record for each arm with selected images and each classifier, in the order of the lines.

    The comparisons of one classifier are one family.
    """
    found: list[Selected] = []
    for classifier in info.classifiers:
        sides = {x.arm: x.scored(info) for x in lines if x.classifier == classifier}
        against = [(arm, arm.base) for arm in sides if arm.is_selected]
        metric = info.unit.primary
        family = f"{metric}, with and without selection"
        found += [
            _selected(c, rows, info.pairs)
            for c in compared(sides, against, info, metric, classifier, family, info.margin)
        ]
    return tuple(found)


def _selected(comparison: Comparison, rows: Rows, pairs: Sequence[Pair]) -> Selected:
    mine, reference = comparison.arm, comparison.reference
    images = _done(rows, "select", mine, pairs)
    return Selected(
        comparison,
        images=Score.of(float(r.facts.get("images", NAN)) for r in images),
        drawn=Score.of(float(r.facts.get("drawn_images", NAN)) for r in images),
        device_s=Score.of(r.costs.get(CostKey.DEVICE_S, NAN) for r in images),
        reference_device_s=Score.of(
            r.costs.get(CostKey.DEVICE_S, NAN) for r in _done(rows, "synthesize", reference, pairs)
        ),
        flagged=_flagged(rows, mine, pairs),
        reference_flagged=_flagged(rows, reference, pairs),
    )


def _flagged(rows: Rows, arm: Arm, pairs: Sequence[Pair]) -> Score:
    return Score.of(r.metrics.get("memorised/flagged_share", NAN) for r in _done(rows, "memorised", arm, pairs))


def _done(rows: Rows, stage: str, arm: Arm, pairs: Sequence[Pair]) -> list[ResultRow]:
    found = [rows.generator(stage, arm, pair) for pair in pairs]
    return [r for r in found if r and r.status == "done"]
