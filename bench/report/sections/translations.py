"""Quality of translations: cycle reconstruction, FCN score with its upper bound, and the published unpaired variant."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.analysis.rows import Score
from bench.analysis.translations import CEILING, CYCLE, FCN, UNPAIRED, Translation
from bench.report.text import join, number, percent, table

NAMES = {"ssim": "SSIM", "psnr": "PSNR", "mse": "MSE", "l1": "L1", "iou": "IoU"}
NAMES |= {"pixel_accuracy": "Pixel accuracy", "class_accuracy": "Class accuracy"}


def translation_section(found: Sequence[Translation]) -> list[str]:
    """Return heading, captions and tables; [] without a translating method."""
    if not found:
        return []
    methods = [t for t in found if t.method != CEILING]
    parts = ["## Translations of test images\n"]
    parts += _table("Cycle reconstruction compared with its source image (paired):\n", methods, "cycle", CYCLE, number)
    parts += _table(_fcn_caption(methods), found, "fcn", FCN, percent)
    caption = (
        "The published unpaired variant: a translation compared with an unrelated real image of its target class.\n"
    )
    return parts + _table(caption, methods, "unpaired", UNPAIRED, number)


def _fcn_caption(methods: Sequence[Translation]) -> str:
    references = list(dict.fromkeys(t.reference for t in methods if "fcn/iou" in t.scores))
    return (
        "FCN score, in %: what a segmentation network trained on real images predicts for a translation, compared with "
        f"{join(references) or 'its reference'}. The first line is the upper bound: its score on real test images.\n"
    )


def _table(
    caption: str, found: Sequence[Translation], kind: str, names: Sequence[str], show: Callable[[float], str]
) -> list[str]:
    measured = [t for t in found if any(key.startswith(f"{kind}/") for key in t.scores)]
    if not measured:
        reasons = join(dict.fromkeys(t.reference for t in found if t.reference and kind == "fcn"))
        return [f"There is no FCN score: {reasons}.\n"] if reasons else []
    rows = [
        [f"*{t.method}*" if t.method == CEILING else f"`{t.method}`", *(_cell(t, f"{kind}/{n}", show) for n in names)]
        for t in measured
    ]
    return [caption, table(["Method", *(NAMES[n] for n in names)], rows)]


def _cell(translation: Translation, key: str, show: Callable[[float], str]) -> str:
    return show(translation.scores.get(key, Score.of([])).mean)
