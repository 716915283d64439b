"""Segmentation networks: scores of each arm compared with `none`, and the methods without an arm."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from bench.analysis.custom_metrics import OwnScore
from bench.analysis.info import ReportInfo
from bench.analysis.segmentation import ALL_IMAGES, FALSE_ALARMS, MISSED, Segmented, of_class
from bench.metrics.overlap_table import MEASURES
from bench.report.sections.leaderboard import arm_name
from bench.report.text import DASH, folded, join, literal, number, p_value, percent, points, table

_HOW = (
    "Segmentation networks, trained on real images and their masks for every arm whose images have masks, for the "
    "same number of steps and from the same initial weights. *Lesions* are the masked structures: Dice, IoU and "
    "HD95 are means over the test images with lesions, as in publications. Values are the mean ± sd over pairs of "
    "the mean over images. Δ is the paired difference to `none` [95 % interval]. The verdict is on Dice of lesions, "
    "by the corrected test with Holm's correction over the arms of a network (*helps* and *hurts* at 5 %). Dice and "
    "IoU are in per cent. HD95 is the 95 % Hausdorff distance of the outlines in pixels of the original image. For "
    "an empty prediction it is the diagonal of the image, and Dice and IoU are 0. *Missed*: images with lesions and "
    "an empty prediction; *false alarms*: images without lesions and a non-empty prediction; both in per cent. The "
    "best weights were selected by Dice over all validation images, including those without lesions (1 for an empty "
    "prediction, else 0), so that false alarms are penalised. The test images were used once."
)
_CLASSES = (
    "Mean Dice in per cent, not compared. An image without lesions counts 100 for an empty prediction, else 0: for a "
    "class of such images it is the share without false alarms."
)


def segmentation_section(found: Sequence[Segmented], info: ReportInfo) -> list[str]:
    """Return heading, method, a table for each network, and the methods without an arm; [] without networks."""
    if not found:
        return []
    parts = ["## Segmentation\n", f"{_HOW}\n"]
    for name in dict.fromkeys(x.segmentation_network for x in found):
        mine = [x for x in found if x.segmentation_network == name]
        size = next((x.parameters for x in mine if math.isfinite(x.parameters)), math.nan)
        known = f" ({size / 1e6:.2f} million weights)" if math.isfinite(size) else ""
        parts += [f"{name}{known}:\n", _table(mine), folded(f"Dice of each class: {name}", _each_class(mine, info))]
    return [*parts, *(f"{sentence}\n" for sentence in _left_out(info))]


def _table(found: Sequence[Segmented]) -> str:
    dice, iou, distance = ([x.scores[name] for x in found] for name in MEASURES)
    columns = {
        "Arm": [arm_name(x.arm) for x in found],
        "Verdict": [f"**{x.word}**" if x.word in ("helps", "hurts") else x.word or DASH for x in dice],
        "Dice, lesions": [_mean_sd(x, percent) for x in dice],
        "Δ Dice": [_difference(x, points) for x in dice],
        "p Holm": [p_value(x.p_adjusted) for x in dice],
        "IoU, lesions": [_mean_sd(x, percent) for x in iou],
        "Δ IoU": [_difference(x, points) for x in iou],
        "HD95, lesions, px": [_mean_sd(x, number) for x in distance],
        "Δ HD95": [_difference(x, _signed) for x in distance],
        "Missed": [_beside(x, MISSED) for x in found],
        "False alarms": [_beside(x, FALSE_ALARMS) for x in found],
        "Pairs": [f"{x.score.n} of {x.planned}" for x in dice],
    }
    return table(list(columns), zip(*columns.values(), strict=True), left=2)


def _each_class(found: Sequence[Segmented], info: ReportInfo) -> str:
    shown = {"All images": ALL_IMAGES} | {literal(name): of_class(name) for name in info.classes}
    rows = [[arm_name(x.arm), *(_beside(x, measure) for measure in shown.values())] for x in found]
    return f"{_CLASSES}\n\n{table(['Arm', *shown], rows)}"


def _beside(x: Segmented, measure: str) -> str:
    return _mean_sd(x.beside[measure], percent) if measure in x.beside else DASH


def _left_out(info: ReportInfo) -> list[str]:
    """Return which methods have no arm here and why, and what is assumed about the masks of the others."""
    out = [m for m in info.methods if m not in info.mask_carriers]
    online, made = ([f"`{m}`" for m in out if (m in info.generative) == of] for of in (False, True))
    translators = [f"`{m}`" for m in info.mask_carriers if m in info.generative]
    said = []
    if translators:
        said.append(
            f"Images by {join(translators)} have the mask of the image they were translated from. If a translation"
        )
        said[-1] += " moves or removes the masked structure, its mask is wrong, which lowers the scores of the arm."
    if online:
        said.append(f"Excluded: {join(online)}, which does not define how masks are transformed.")
    if made:
        said.append(f"Excluded: {join(made)}, whose images are generated from noise and have no masks.")
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
