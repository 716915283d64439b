"""What selection of synthetic images alone brings: an arm with selected images against the same arm without. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.analysis.comparison import Comparison, compared
from bench.analysis.info import ReportInfo
from bench.analysis.lines import Line
from bench.analysis.rows import NAN, Pair, Rows, Score


@dataclass(frozen=True)
class Selected:
    """A comparison of an arm with selected images with the same arm without selection, by the primary score.

    ``images`` are the kept images of a pair, ``drawn`` those drawn. ``device_s`` is the device time of drawing and
    scoring, ``reference_device_s`` that of drawing the images of the reference, which serve all of its ratios.
    """

    comparison: Comparison
    images: Score
    drawn: Score
    device_s: Score
    reference_device_s: Score


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
    arm = comparison.arm
    done = [r for p in pairs if (r := rows.generator("select", arm, p)) and r.status == "done"]
    images, drawn = (Score.of(float(r.facts.get(f, NAN)) for r in done) for f in ("images", "drawn_images"))
    device_s = Score.of(r.costs.get("device_s", NAN) for r in done)
    reference = rows.done("synthesize", arm.method, pairs)
    return Selected(comparison, images, drawn, device_s, Score.of(r.costs.get("device_s", NAN) for r in reference))
