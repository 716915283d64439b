"""Segmentation networks by augmentation arm: mean over pairs, and paired difference to `none`. Pure.

Tested are Dice, IoU and HD95 of the images with lesions, as usual in the field. Missed lesions, false alarms, and Dice
over all images and by class are reported without a test (``mean_scores``). Differences are tested like custom metrics
(``bench.analysis.custom_metrics``): corrected resampled t test, Holm's correction over the arms with one network and
measure; no result is called equivalent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bench.analysis.custom_metrics import OwnScore, compared_with_none
from bench.analysis.info import ReportInfo
from bench.analysis.rows import NAN, Pair, Rows, Score
from bench.metrics.overlap_table import MEASURES
from bench.suite.arms import Arm

LOWER = ("lesion_hd95_px",)  # lower is better
MISSED, FALSE_ALARMS, ALL_IMAGES = "missed_share", "false_alarm_share", "dice"


@dataclass(frozen=True)
class Segmented:
    """One arm of one network, over the pairs: ``scores`` by measure of ``MEASURES``, compared with `none`.

    ``beside`` are scores without a test: the shares ``MISSED`` and ``FALSE_ALARMS``, Dice over ``ALL_IMAGES`` and
    ``dice_<class>``, each if any pair has it.
    """

    segmentation_network: str
    arm: Arm
    scores: Mapping[str, OwnScore]
    beside: Mapping[str, OwnScore]
    parameters: float


def segmented(rows: Rows, info: ReportInfo) -> tuple[Segmented, ...]:
    """Return a record for each network and arm with masks, in the suite's order; () without networks."""
    found = []
    arms = [a for a in info.arms if a.method in info.mask_carriers and not a.subset]
    for name in info.segmentation_networks:
        metrics = {arm: _metrics(rows, info, arm, name) for arm in arms}
        tested: dict[str, dict[Arm, OwnScore]] = {}
        for measure in MEASURES:
            values = {arm: _values(by_pair, measure) for arm, by_pair in metrics.items()}
            scores = compared_with_none(values, name, f"segmentation/{measure}", measure in LOWER, info)
            tested[measure] = {x.arm: x for x in scores}
        for arm in arms:
            beside = _beside(metrics[arm], name, arm, info)
            parameters = next((m["parameters"] for m in metrics[arm].values()), NAN)
            found.append(Segmented(name, arm, {m: tested[m][arm] for m in MEASURES}, beside, parameters))
    return tuple(found)


def _beside(by_pair: Mapping[Pair, Mapping[str, float]], name: str, arm: Arm, info: ReportInfo) -> dict[str, OwnScore]:
    values = {m: _values(by_pair, m) for m in (MISSED, FALSE_ALARMS, ALL_IMAGES, *map(of_class, info.classes))}
    planned = len(info.pairs)
    return {m: OwnScore(name, arm, f"segmentation/{m}", Score.of(v.values()), planned) for m, v in values.items() if v}


def of_class(name: str) -> str:
    """Return the name of Dice over the images of a class."""
    return f"dice_{name}"


def _metrics(rows: Rows, info: ReportInfo, arm: Arm, name: str) -> dict[Pair, dict[str, float]]:
    found = {pair: rows.classifier("segmentation", arm, name, pair) for pair in info.pairs}
    return {
        pair: {**r.metrics, "parameters": float(r.facts.get("parameters", NAN))}
        for pair, r in found.items()
        if r and r.status == "done"
    }


def _values(by_pair: Mapping[Pair, Mapping[str, float]], measure: str) -> dict[Pair, float]:
    values = {pair: metrics.get(f"test/{measure}", NAN) for pair, metrics in by_pair.items()}
    return {pair: value for pair, value in values.items() if math.isfinite(value)}
