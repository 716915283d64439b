"""Synthetic against real images: KID first, every score with its real-vs-real baseline at the same sample size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.analysis.info import ReportInfo
from bench.analysis.quality import MEASURES, TRAINED_SHARE, Quality, collapsed, share_of_noise
from bench.analysis.report import Records
from bench.analysis.rows import Score
from bench.report.content import Block, Section, Table
from bench.report.sections.leaderboard import LOW_DIVERSITY
from bench.report.text import DASH, bold_best, count_of, number

LOWER_IS_BETTER = ("kid", "fid")
NAMES = {"kid": "KID", "fid": "FID", "is": "IS"}
ALONE = {  # measures of the synthetic images alone, and the part of the fold whose real images stand beside them
    ("is", "train"): "Inception score",
    ("diversity", "train"): "Diversity within a class",
    ("label_agreement", "test"): "Label agreement",
}

TERMS = {
    "KID, FID": (
        "distance between the feature distributions of synthetic and real images, lower is closer. KID is unbiased for "
        "few images. FID is biased: compare it only with its real-vs-real baseline. *KID subset*: images per subset. "
        "*Excess KID / noise*: the KID above the real-vs-real baseline, in % of that of noise; above "
        f"{100 * TRAINED_SHARE:g} % a generator counts as untrained, and its arms are not compared."
    ),
    "Precision, Density; Recall, Coverage": (
        "realism of the images; part of the real diversity that they cover. Precision is not informative if recall is "
        "near 0."
    ),
    "Images": "numbers of synthetic : real images behind the scores, mean over pairs.",
    "Inception score, Diversity": (
        "exp of the mutual information of image and predicted class, higher is better; mean perceptual distance "
        "between images of a class. In brackets the value of as many real training images. *Low diversity*: less than "
        "half of theirs (mode collapse)."
    ),
    "Label agreement": (
        "share of images whose label a classifier of the real training images predicts, mean over classes (GAN-test, "
        "Shmelkov et al. 2018). *Wrong labels*: no more than of real test images of other classes with these labels "
        "(second number in brackets), as of translations that keep the class of their source."
    ),
}


def sections(records: Records, info: ReportInfo) -> Iterator[Section]:
    """Yield a section for each feature extractor; it is the main result of a suite without classifiers."""
    for tag in dict.fromkeys(q.extractor for q in records.quality):
        mine = [q for q in records.quality if q.extractor == tag]
        at_real_baseline = any(key.startswith("at_real_baseline/train/") for q in mine for key in q.scores)
        blocks: list[Block] = [_caption(tag)]
        blocks += _against(mine, "test", "synthetic/test")
        blocks += _against(mine, "train", "at_real_baseline/train" if at_real_baseline else "synthetic/train")
        blocks += _variety(mine)
        title, main = f"Synthetic images against real ones, by {tag}", not info.classifiers
        yield Section(title, tuple(blocks), 15 if main else 220, not main, TERMS)


def _caption(tag: str) -> str:
    text = f"Features of `{tag}`; means over pairs. In brackets the real-vs-real baseline: the same number of real "
    text += "images of other patients instead of the synthetic ones."
    if not tag.startswith("inception-6726825d"):
        text += " These are not the Inception scores of the literature; compare them only within these tables."
    return text


def _against(quality: Sequence[Quality], part: str, where: str) -> list[Block]:
    """Return a table of every measure against one fold part with its real-vs-real baseline; [] without results."""
    found = [q for q in quality if any(key.startswith(f"{where}/") for key in q.scores)]
    if not found:
        return []
    columns = {"Method": [f"`{q.method}`" for q in found]}
    columns["Images"] = [f"{_n(q, f'{where}/n_synthetic')} : {_n(q, f'{where}/n_real')}" for q in found]
    for measure in MEASURES:
        scores = [q.score(f"{where}/{measure}") for q in found]
        if any(s.n for s in scores):
            baselines = [q.score(f"real_baseline/{part}/{measure}") for q in found]
            name = NAMES.get(measure, measure.capitalize())
            columns[name] = _beside(scores, baselines, lowest=measure in LOWER_IS_BETTER)
    shares = [share_of_noise(q.method, quality).get(q.extractor) for q in found]
    if part == "test" and any(shares):
        columns["Excess KID / noise"] = [DASH if x is None else f"{100 * x:.1f} %" for x in shares]
    subset = [q.score(f"{where}/kid_subset_size") for q in found]
    if any(s.n for s in subset):
        columns["KID subset"] = [count_of(s.mean) for s in subset]
    title = {"test": "Against test images", "train": "Against training images"}[part]
    return [f"{title}:", Table.by_column(columns, title=title)]


def _variety(quality: Sequence[Quality]) -> list[Block]:
    low = collapsed(quality)
    columns = {"Method": [f"`{q.method}`" + LOW_DIVERSITY * (q.method in low) for q in quality]}
    for (measure, part), name in ALONE.items():
        scores = [q.score(f"synthetic/{measure}") for q in quality]
        if any(s.n for s in scores):
            others = [q.score(f"other_class/{part}/{measure}") for q in quality]
            columns[name] = _beside(scores, [q.score(f"real/{part}/{measure}") for q in quality], others=others)
    if len(columns) == 1:
        return []
    caption = "Diversity and labels, in brackets the values of real training images; label agreement: of test images:"
    return [caption, Table.by_column(columns, title="Diversity and labels")]


def _beside(
    scores: Sequence[Score], baselines: Sequence[Score], lowest: bool = False, others: Sequence[Score] = ()
) -> list[str]:
    """'0.0412 (0.0040)': the best score in bold, in brackets the score of real images, and that of ``others``."""
    best = bold_best([s.mean for s in scores], [number(s.mean) for s in scores], [True] * len(scores), lowest)
    brackets = zip(baselines, others, strict=True) if others else ((b,) for b in baselines)
    known = [", ".join(number(x.mean) for x in found if x.n) for found in brackets]
    return [text + (f" ({real})" if real else "") for text, real in zip(best, known, strict=True)]


def _n(quality: Quality, key: str) -> str:
    return count_of(quality.score(key).mean)
