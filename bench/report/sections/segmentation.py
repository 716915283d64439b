"""Segmentation networks: scores of each arm compared with `none`, and the methods without an arm."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from bench.analysis.info import ReportInfo
from bench.analysis.report import Records
from bench.analysis.segmentation import ALL_IMAGES, FALSE_ALARMS, MISSED, Segmented, of_class
from bench.metrics.overlap_table import MEASURES
from bench.report.content import Block, Details, Section, Table
from bench.report.sections.leaderboard import arm_name
from bench.report.text import DASH, join, literal, mean_sd, number, p_value, percent, points, signed, with_interval

_HOW = (
    "Networks trained on real images and their masks for every arm whose images have masks, with the same steps and "
    "initial weights. Mean ± sd over pairs; Δ is the paired difference to `none` [95 % interval]."
)
TERMS = {
    "Dice, lesions; IoU, lesions": (
        "overlap of the masked structures (*lesions*) with their masks in per cent, mean over the test images with "
        "lesions; 0 for an empty prediction. The verdict is on Dice, by the corrected test with Holm's correction over "
        "the arms of a network."
    ),
    "HD95, lesions, px": (
        "95 % Hausdorff distance of the outlines in pixels of the original image; its diagonal for an empty prediction."
    ),
    "Missed, False alarms": (
        "images with lesions and an empty prediction; images without lesions and a non-empty prediction; in per cent. "
        "The best weights were selected by Dice over all validation images, also those without lesions (1 for an empty "
        "prediction, else 0), so that false alarms are penalised."
    ),
}
_CLASSES = (
    "Mean Dice in per cent, not compared. An image without lesions counts 100 for an empty prediction, else 0: for a "
    "class of such images it is the share without false alarms."
)


def sections(records: Records, info: ReportInfo) -> Iterator[Section]:
    """Yield a table for each network, and the methods without an arm; nothing without networks."""
    found, blocks = records.segmented, list[Block]()
    if found:
        blocks.append(_HOW)
    for name in dict.fromkeys(x.segmentation_network for x in found):
        mine = [x for x in found if x.segmentation_network == name]
        size = next((x.parameters for x in mine if math.isfinite(x.parameters)), math.nan)
        known = f" ({size / 1e6:.2f} million weights)" if math.isfinite(size) else ""
        each = Details(f"Dice of each class: {name}", (_CLASSES, _each_class(mine, info)))
        blocks += [f"{name}{known}:", _table(mine), each]
    blocks += _left_out(info) if found else []
    terms, claims = TERMS if found else {}, ("pictures/segmentation_*.png",)
    yield Section("Segmentation", tuple(blocks), 55, not found, terms, claims)


def _table(found: Sequence[Segmented]) -> Table:
    dice, iou, distance = ([x.scores[name] for x in found] for name in MEASURES)
    columns = {
        "Arm": [arm_name(x.arm) for x in found],
        "Verdict": [f"**{x.word}**" if x.word in ("helps", "hurts") else x.word or DASH for x in dice],
        "Dice, lesions": [mean_sd(x.score.mean, x.score.sd, percent) for x in dice],
        "Δ Dice": [with_interval(x.difference, x.low, x.high, points) for x in dice],
        "p Holm": [p_value(x.p_adjusted) for x in dice],
        "IoU, lesions": [mean_sd(x.score.mean, x.score.sd, percent) for x in iou],
        "Δ IoU": [with_interval(x.difference, x.low, x.high, points) for x in iou],
        "HD95, lesions, px": [mean_sd(x.score.mean, x.score.sd, number) for x in distance],
        "Δ HD95": [with_interval(x.difference, x.low, x.high, signed) for x in distance],
        "Missed": [_beside(x, MISSED) for x in found],
        "False alarms": [_beside(x, FALSE_ALARMS) for x in found],
        "Pairs": [f"{x.score.n} of {x.planned}" for x in dice],
    }
    return Table.by_column(columns, 2, f"Segmentation: {found[0].segmentation_network}")


def _each_class(found: Sequence[Segmented], info: ReportInfo) -> Table:
    shown = {"All images": ALL_IMAGES} | {literal(name): of_class(name) for name in info.classes}
    rows = [[arm_name(x.arm), *(_beside(x, measure) for measure in shown.values())] for x in found]
    return Table.of(["Arm", *shown], rows, title=f"Dice of each class: {found[0].segmentation_network}")


def _beside(x: Segmented, measure: str) -> str:
    return mean_sd(x.beside[measure].score.mean, x.beside[measure].score.sd, percent) if measure in x.beside else DASH


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
