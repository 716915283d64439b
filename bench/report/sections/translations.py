"""Quality of translations: cycle reconstruction, FCN score with its upper bound, and the published unpaired variant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from bench.analysis.info import ReportInfo
from bench.analysis.report import Records
from bench.analysis.rows import Score
from bench.analysis.translations import CEILING, CYCLE, FCN, UNPAIRED, Translation
from bench.report.content import Block, Section, Table
from bench.report.text import join, number, percent

NAMES = {"ssim": "SSIM", "psnr": "PSNR", "mse": "MSE", "l1": "L1", "iou": "IoU"}
NAMES |= {"pixel_accuracy": "Pixel accuracy", "class_accuracy": "Class accuracy"}


TERMS = {
    "SSIM, PSNR, MSE, L1": (
        "similarity of two images: structural similarity (1 is identical), peak signal-to-noise ratio in dB, mean "
        "squared and mean absolute difference of intensities in [0, 1]."
    ),
    "IoU, Pixel accuracy, Class accuracy": (
        "of the segmentation: intersection over union, mean over foreground and background; share of correct pixels; "
        "mean over foreground and background of their shares."
    ),
    "Unpaired variant": "compares unrelated images; reported only because it was published.",
}


def sections(records: Records, _: ReportInfo) -> Iterator[Section]:
    """Yield captions and tables, and pictures of translations; tables only with a translating method."""
    found, blocks = records.translations, list[Block]()
    if found:
        methods = [t for t in found if t.method != CEILING]
        cycle = "Cycle reconstruction compared with its source image (paired):"
        blocks += _table("Cycle reconstruction", cycle, methods, "cycle", CYCLE, number)
        blocks += _table("FCN score", _fcn_caption(methods), found, "fcn", FCN, percent)
        unpaired = "The published unpaired variant: a translation and an unrelated real image of its target class."
        blocks += _table("Unpaired variant", unpaired, methods, "unpaired", UNPAIRED, number)
    terms = TERMS if found else {}
    claims = ("pictures/*_translations.png",)
    yield Section("Translations of test images", tuple(blocks), 240, definitions=terms, claims=claims)


def _fcn_caption(methods: Sequence[Translation]) -> str:
    references = list(dict.fromkeys(t.reference for t in methods if "fcn/iou" in t.scores))
    return (
        "FCN score, in %: what a segmentation network trained on real images predicts for a translation, compared with "
        f"{join(references) or 'its reference'}. The first line is the upper bound: its score on real test images."
    )


def _table(
    title: str,
    caption: str,
    found: Sequence[Translation],
    kind: str,
    names: Sequence[str],
    show: Callable[[float], str],
) -> list[Block]:
    measured = [t for t in found if any(key.startswith(f"{kind}/") for key in t.scores)]
    if not measured:
        reasons = join(dict.fromkeys(t.reference for t in found if t.reference and kind == "fcn"))
        return [f"There is no FCN score: {reasons}."] if reasons else []
    rows = [
        [f"*{t.method}*" if t.method == CEILING else f"`{t.method}`", *(_cell(t, f"{kind}/{n}", show) for n in names)]
        for t in measured
    ]
    return [caption, Table.of(["Method", *(NAMES[n] for n in names)], rows, title=title)]


def _cell(translation: Translation, key: str, show: Callable[[float], str]) -> str:
    return show(translation.scores.get(key, Score.of([])).mean)
