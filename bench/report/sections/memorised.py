"""Memorised samples among the synthetic images, and whether a gain remains without them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bench.analysis.info import ReportInfo
from bench.analysis.memorised import MemorisedSamples, Survival
from bench.analysis.report import Records
from bench.report.content import Block, Section, Table
from bench.report.sections.leaderboard import arm_name, difference, word
from bench.report.text import count, count_of, join, percent, points

TERMS = {
    "Flagged": (
        "share of synthetic images flagged as memorised: closer to a training image, in pixels or features, than "
        "all but a chosen share of unseen real images, and near it in both; in brackets the share of flagged "
        "validation images. *Other class*: the closest training image has another class. *Like one patient*: closer to "
        "a training image than images of other patients are."
    ),
    "AuthPct": "per cent of images further from their nearest training image than that image is from its own nearest.",
    "Nearest is source image": (
        "translations whose nearest training image, in pixels, is the one they were translated from."
    ),
    "Excluded": "images excluded from each training set, mean over pairs. *Without − all*: paired, uncorrected.",
}


def sections(records: Records, info: ReportInfo) -> Iterator[Section]:
    """Yield captions, tables and the nearest pairs; tables only if memorised samples were searched for."""
    blocks: list[Block] = []
    if records.memorised:
        blocks += [_caption(records.memorised), _table(records.memorised)]
    if records.survivals:
        blocks += ["### Does the gain remain without memorised samples?", survival_sentence(records.survivals, info)]
        blocks.append(_survivals(records.survivals, info))
    terms = TERMS if blocks else {}
    yield Section("Memorised samples", tuple(blocks), 210, definitions=terms, claims=("pictures/*_closest_pairs.png",))


def survival_sentence(survivals: Sequence[Survival], info: ReportInfo) -> str:
    """Return one sentence on how excluding the flagged images changes the gains."""
    gains = [s for s in survivals if s.all_images.word == "helps"]
    if not gains:
        low, high = (f([s.change.difference for s in survivals]) for f in (min, max))
        moved = points(low) if low == high else f"{points(low)} to {points(high)}"
        return (
            f"No arm was shown to help, so there is no gain to lose. Excluding the flagged images changed the means by "
            f"{moved} points."
        )
    kept = [s for s in gains if s.survives]
    lost = [s for s in gains if not s.survives]
    phrases = []
    if kept:
        phrases.append(f"the gain remains for {join(_name(s, info) for s in kept)}")
    if lost:
        phrases.append(f"it is no longer shown for {join(_name(s, info) for s in lost)}")
    return f"Without the images flagged as memorised, {'; '.join(phrases)}."


def _name(survival: Survival, info: ReportInfo) -> str:
    name = survival.arm.label + (f", {survival.classifier}" if len(info.classifiers) > 1 else "")
    return (
        f"{name} ({points(survival.all_images.difference)} points with, {points(survival.without.difference)} without)"
    )


def _caption(found: Sequence[MemorisedSamples]) -> str:
    tags = join(f"`{tag}`" for tag in dict.fromkeys(c.extractor for c in found) if tag)
    return f"In %, means over pairs; in brackets the same for real validation images. Features of {tags}."


def _table(found: Sequence[MemorisedSamples]) -> Table:
    tag = found[0].extractor
    shares: Mapping[str, tuple[str, str]] = {
        "Flagged": ("flagged_share", "false_flag_share"),
        "AuthPct features": (f"authpct_{tag}", f"real_authpct_{tag}"),
        "AuthPct pixels": ("authpct_pixels", "real_authpct_pixels"),
        "Flagged, other class": ("flagged_other_label_share", ""),
        "Like one patient": ("patient_like_share", ""),
        "Nearest is source image": ("own_source_share", ""),
    }
    columns = {"Method": [f"`{c.method}`" for c in found]}
    for head, (name, real) in shares.items():
        if any(c.score(name).n for c in found):
            columns[head] = [_beside(c, name, real) for c in found]
    return Table.by_column(columns, title="Memorised samples")


def _beside(samples: MemorisedSamples, name: str, real: str) -> str:
    """'3.1 (0.8)' in per cent; AuthPct is stored in per cent, the others in [0, 1]."""
    scale = 0.01 if name.startswith("authpct") else 1.0
    other = samples.score(real)
    return percent(scale * samples.score(name).mean) + (f" ({percent(scale * other.mean)})" if other.n else "")


def _survivals(survivals: Sequence[Survival], info: ReportInfo) -> Table:
    columns = {
        "Arm": [arm_name(s.arm) for s in survivals],
        "Classifier": [s.classifier for s in survivals],
        "Excluded": [
            count(round(s.dropped.mean), "image") if s.dropped.n else count_of(s.dropped.mean) for s in survivals
        ],
        "All images − none": [f"{difference(s.all_images)} {word(s.all_images)}" for s in survivals],
        "Without memorised − none": [f"{difference(s.without)} {word(s.without)}" for s in survivals],
        "Without − all": [difference(s.change) for s in survivals],
    }
    if len(info.classifiers) == 1:
        del columns["Classifier"]
    return Table.by_column(columns, 2 if "Classifier" in columns else 1, "Gain without memorised samples")
