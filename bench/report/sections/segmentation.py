"""Segmentation networks: what each arm's network finds in test images, beside `none`; and who could take no part."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from bench.report.info import ReportInfo
from bench.report.records.own_metrics import OwnScore
from bench.report.records.segmentation import Segmented
from bench.report.sections.leaderboard import arm_name
from bench.report.sections.text import DASH, join, number, p_value, percent, points, table

_HOW = (
    "Networks that outline what is to be found, trained on real images with their masks under every arm that can "
    "carry masks, for the same number of steps from the same first weights; the best by validation Dice is tested "
    "once. Means ± sd over pairs of a fold's mean over test images; Δ is the paired difference to `none` [95 % "
    "interval], the verdict on Dice by the corrected test, Holm-corrected over the arms of a network (*helps* and "
    "*hurts* at 5 %). Dice and IoU in percent. HD95 is the 95 % Hausdorff distance of the outlines, in pixels of the "
    "suite's image size. Where true and found mask are both empty, Dice and IoU are 1 and HD95 is 0; where one is, "
    "they are 0 and the image's diagonal. *Missed*: images with something to find where nothing was found; *false "
    "alarms*: images without, where something was; both in percent."
)


def segmentation_section(found: Sequence[Segmented], info: ReportInfo) -> list[str]:
    """Return heading, how it was measured, a table for each network, and who is left out; [] without networks."""
    if not found:
        return []
    parts = ["## Segmentation\n", f"{_HOW}\n"]
    for name in dict.fromkeys(x.segmenter for x in found):
        mine = [x for x in found if x.segmenter == name]
        size = next((x.parameters for x in mine if math.isfinite(x.parameters)), math.nan)
        known = f" ({size / 1e6:.2f} million weights)" if math.isfinite(size) else ""
        parts += [f"{name}{known}:\n", _table(mine)]
    return [*parts, *(f"{sentence}\n" for sentence in _left_out(info))]


def _table(found: Sequence[Segmented]) -> str:
    dice, iou, distance = ([x.scores[name] for x in found] for name in ("dice", "iou", "hd95_px"))
    columns = {
        "Arm": [arm_name(x.arm) for x in found],
        "Verdict": [f"**{x.word}**" if x.word in ("helps", "hurts") else x.word or DASH for x in dice],
        "Dice": [_mean_sd(x, percent) for x in dice],
        "Δ Dice": [_difference(x, points) for x in dice],
        "p Holm": [p_value(x.p_holm) for x in dice],
        "IoU": [_mean_sd(x, percent) for x in iou],
        "Δ IoU": [_difference(x, points) for x in iou],
        "HD95, px": [_mean_sd(x, number) for x in distance],
        "Δ HD95": [_difference(x, _signed) for x in distance],
        "Missed": [percent(x.missed.mean) for x in found],
        "False alarms": [percent(x.false_alarms.mean) for x in found],
        "Pairs": [f"{x.score.n} of {x.planned}" for x in dice],
    }
    return table(list(columns), zip(*columns.values(), strict=True), left=2)


def _left_out(info: ReportInfo) -> list[str]:
    """Say which methods have no arm here, and why; and what is taken for granted of those that have."""
    out = [m for m in info.methods if m not in info.mask_carriers]
    online, made = ([f"`{m}`" for m in out if (m in info.generative) == of] for of in (False, True))
    translators = [f"`{m}`" for m in info.mask_carriers if m in info.generative]
    said = []
    if translators:
        said.append(f"Images by {join(translators)} have the mask of the image they were translated from: as far as a")
        said[-1] += " translation moves or removes what is outlined, its mask is wrong, and the arm pays for it."
    if online:
        said.append(f"Left out: {join(online)}, which says nothing of what becomes of a mask.")
    if made:
        said.append(f"Left out: {join(made)}, whose images come from noise: nobody has outlined what they show.")
    return said


def _mean_sd(x: OwnScore, show: Callable[[float], str]) -> str:
    return show(x.score.mean) + (f" ± {show(x.score.sd)}" if math.isfinite(x.score.sd) else "")


def _difference(x: OwnScore, show: Callable[[float], str]) -> str:
    if not math.isfinite(x.difference):
        return DASH
    known = math.isfinite(x.low) and math.isfinite(x.high)
    return show(x.difference) + (f" [{show(x.low)}, {show(x.high)}]" if known else "")


def _signed(value: float) -> str:
    return ("+" if value > 0 else "") + number(value)
