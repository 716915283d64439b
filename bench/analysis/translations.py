"""Quality of image translations: cycle reconstruction, FCN score, and the published unpaired variant. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.analysis.info import ReportInfo
from bench.analysis.rows import Rows, Score, scores_of

CYCLE = ("ssim", "psnr", "mse", "l1")
UNPAIRED = ("ssim", "psnr", "mse")
FCN = ("iou", "pixel_accuracy", "class_accuracy")
CEILING = "real test images"


@dataclass(frozen=True)
class Translation:
    """One method's translations of test images: ``scores`` by 'cycle/ssim', 'unpaired/mse', 'fcn/iou', ….

    ``reference`` is the reference of the FCN score, or the reason why there is no score. The method ``CEILING`` is the
    score of the FCN score network on real test images, an upper bound for translations.
    """

    method: str
    scores: Mapping[str, Score]
    reference: str = ""


def translations(rows: Rows, info: ReportInfo) -> tuple[Translation, ...]:
    """Return the upper bound, if there is an FCN score, and one record for each translating method."""
    found = []
    for method in info.generative:
        done = rows.done("translate", method, info.pairs)
        if done:
            facts = done[0].facts
            reference = str(facts.get("fcn_reference") or facts.get("no_fcn_score") or "")
            found.append(Translation(method, scores_of([_flat(r.metrics) for r in done]), reference))
    real = [rows.at("fcn_score", pair) for pair in info.pairs]
    prefix = "fcn_score/real_test_"
    ceiling = scores_of(
        {f"fcn/{k.removeprefix(prefix)}": v for k, v in r.metrics.items() if k.startswith(prefix)}
        for r in real
        if r and r.status == "done"
    )
    if found and ceiling:
        found.insert(0, Translation(CEILING, ceiling))
    return tuple(found)


def _flat(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the scores of all images, without those of one direction, whose names have a third part."""
    return {name: value for name, value in metrics.items() if name.count("/") == 1}
