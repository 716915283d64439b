"""Segmentation networks across augmentations: each arm's mean over pairs, and its paired difference to `none`. Pure.

Judged are Dice, IoU and HD95 of the images with lesions, as the field means them. What becomes of the other images is
told beside them: missed lesions, false alarms, Dice over all images and by class (``mean_scores``). Differences are
judged as metrics of the suite's own are (``bench.analysis.custom_metrics``): the corrected resampled t test, Holm's
correction over the arms with one network and measure, and nothing is called equivalent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bench.analysis.custom_metrics import OwnScore, compared_with_none
from bench.analysis.info import Arm, ReportInfo
from bench.analysis.rows import NAN, Pair, Rows, Score
from bench.metrics.overlap_table import MEASURES

LOWER = ("lesion_hd95_px",)  # the less the better
MISSED, FALSE_ALARMS, ALL_IMAGES = "missed_share", "false_alarm_share", "dice"


@dataclass(frozen=True)
class Segmented:
    """One arm of one network, over the pairs: ``scores`` by measure of ``MEASURES``, compared with `none`.

    ``beside`` are not compared: the shares ``MISSED`` and ``FALSE_ALARMS``, Dice over ``ALL_IMAGES`` and
    ``dice_<class>``, each where any pair has it.
    """

    segmentation_network: str
    arm: Arm
    scores: Mapping[str, OwnScore]
    beside: Mapping[str, OwnScore]
    parameters: float


def segmented(rows: Rows, info: ReportInfo) -> tuple[Segmented, ...]:
    """Return a record for each network and arm that carries masks, in the suite's order; () without networks."""
    found = []
    arms = [a for a in info.arms if a.method in info.mask_carriers and not a.without_memorised]
    for name in info.segmentation_networks:
        metrics = {arm: _metrics(rows, info, arm, name) for arm in arms}
        judged: dict[str, dict[Arm, OwnScore]] = {}
        for measure in MEASURES:
            values = {arm: _values(by_pair, measure) for arm, by_pair in metrics.items()}
            scores = compared_with_none(values, name, f"segmenter/{measure}", measure in LOWER, info)
            judged[measure] = {x.arm: x for x in scores}
        for arm in arms:
            beside = _beside(metrics[arm], name, arm, info)
            parameters = next((m["parameters"] for m in metrics[arm].values()), NAN)
            found.append(Segmented(name, arm, {m: judged[m][arm] for m in MEASURES}, beside, parameters))
    return tuple(found)


def _beside(by_pair: Mapping[Pair, Mapping[str, float]], name: str, arm: Arm, info: ReportInfo) -> dict[str, OwnScore]:
    values = {m: _values(by_pair, m) for m in (MISSED, FALSE_ALARMS, ALL_IMAGES, *map(of_class, info.classes))}
    planned = len(info.pairs)
    return {m: OwnScore(name, arm, f"segmenter/{m}", Score.of(v.values()), planned) for m, v in values.items() if v}


def of_class(name: str) -> str:
    """Return the measure that is Dice over the images of a class."""
    return f"dice_{name}"


def _metrics(rows: Rows, info: ReportInfo, arm: Arm, name: str) -> dict[Pair, dict[str, float]]:
    found = {pair: rows.classifier("segmenter", arm, name, pair) for pair in info.pairs}
    return {
        pair: {**r.metrics, "parameters": float(r.facts.get("parameters", NAN))}
        for pair, r in found.items()
        if r and r.status == "done"
    }


def _values(by_pair: Mapping[Pair, Mapping[str, float]], measure: str) -> dict[Pair, float]:
    values = {pair: metrics.get(f"test/{measure}", NAN) for pair, metrics in by_pair.items()}
    return {pair: value for pair, value in values.items() if math.isfinite(value)}
