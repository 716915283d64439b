"""Segmentation networks: what each arm's network finds in test images, beside `none`; and who could take no part."""

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
    "Networks that outline what is to be found, trained on real images with their masks under every arm that can "
    "carry masks, for the same number of steps from the same first weights. *Lesions* are whatever the masks outline: "
    "Dice, IoU and HD95 are means over the test images that have any, as papers report them. Means ± sd over pairs of "
    "a fold's mean over images; Δ is the paired difference to `none` [95 % interval], the verdict on Dice, lesions, by "
    "the corrected test, Holm-corrected over the arms of a network (*helps* and *hurts* at 5 %). Dice and IoU in "
    "percent. HD95 is the 95 % Hausdorff distance of the outlines, in pixels of the original image, whatever shape it "
    "was brought to; where nothing was found it is the image's diagonal, and Dice and IoU are 0. *Missed*: images with "
    "lesions where nothing was found; *false alarms*: images without, where something was; both in percent. The best "
    "weights were chosen by Dice over all validation images, those without lesions included (1 where nothing is found, "
    "else 0), so that false alarms have a price; the test images were read once."
)
_CLASSES = (
    "Means of Dice in percent, not compared. An image without lesions counts 100 where nothing was found, else 0: a "
    "class of such images shows how often no false alarm was raised."
)


def segmentation_section(found: Sequence[Segmented], info: ReportInfo) -> list[str]:
    """Return heading, how it was measured, a table for each network, and who is left out; [] without networks."""
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
        "p Holm": [p_value(x.p_holm) for x in dice],
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
