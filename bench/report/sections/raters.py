"""Rating study of real and synthetic images, with the published ratings for comparison."""

from __future__ import annotations

import math
from collections.abc import Iterator

from bench.analysis.info import ReportInfo
from bench.analysis.raters import ALL, RatedBy, RatedSource, RatingStudy, Share
from bench.analysis.report import Records
from bench.report.content import Block, Details, Section, Table
from bench.report.text import DASH, count, interval, join, percent, points, seconds
from bench.store.ratings import REAL

Published = dict[str, tuple[str, str]]  # source -> quality and share taken for real, as printed


TERMS = {
    "Taken for real, Minus real": (
        "share of answers 'real'; this share minus that of real images, 0 for images that cannot be distinguished from "
        "real ones. Raters saw single images in random order, blinded to their source."
    ),
    "Classified correctly": (
        "share of correct answers. Answers of several raters to one image are not independent: the intervals are "
        "Wilson's with the effective number of answers (Rao and Scott 1992); that of the difference combines them as "
        "Newcombe does (Zou and Donner 2008). They hold for these raters and do not cover other raters."
    ),
    "Quality": "0 to 5: mean over images of the mean over raters, with a bootstrap interval over images.",
    "By guessing": "share correct of random answers with the same rate of 'real'.",
    "Distinguishes": (
        "whether the rater takes real images for real more often than synthetic ones, by Newcombe's interval of the "
        "difference."
    ),
    "Fleiss' kappa, ICC": (
        "agreement: 1 if all raters agree on each image, 0 at chance level. If nearly all answers are equal it is near "
        "0 whatever the agreement, so read it together with the shares."
    ),
}


def sections(records: Records, info: ReportInfo) -> Iterator[Section]:
    """Yield the tables of the rating studies; nothing without answers."""
    published, blocks = _published(info), list[Block]()
    for study in records.raters:
        blocks += [_about(study), sources_table(study, published), agreement_table(study), agreement(study)]
        blocks.append(raters_table(study))
        if len(study.raters) > 1:
            blocks.append(Details("Classified correctly, %, for each rater", (by_rater_table(study),)))
    if blocks and published and info.published:
        blocks.append(f"Published: {info.published.results.source}; with other raters and other images.")
    yield Section("Raters", tuple(blocks), 230, definitions=TERMS if blocks else {})


def sources_table(study: RatingStudy, published: Published) -> Table:
    """Return a table with one row for each source."""
    header = ["Images of", "Rated", "Answers", "Taken for real, %", "Minus real, points", "Quality"]
    beside = ["Published: quality", "taken for real"] if published else []
    rows = []
    for s in study.sources:
        printed = list(published.get(s.source, (DASH, DASH))) if published else []
        quality = f"{_mark(s.quality)}{_marks(s)}"
        row = [str(s.rated), str(s.taken_for_real.n), _share(s.taken_for_real), _against(s), quality]
        rows.append([_name(s.source), *row, *printed])
    return Table.of([*header, *beside], rows, title=f"Images rated: {study.name}")


def agreement_table(study: RatingStudy) -> Table:
    """Return one row for each source and one for all: share classified correctly and agreement of the raters."""
    k = len(study.icc_raters) if len(study.icc_raters) > 1 else "k"
    header = [
        "Images of",
        "Classified correctly, %",
        "Fleiss' kappa",
        "Of images",
        "ICC(2,1)",
        f"ICC(2,{k})",
        "Of images",
    ]
    rows = []
    for s in (*study.sources, study.whole):
        a = s.agreement
        marks = (coefficient(icc, a.icc_undefined) for icc in (a.icc_single, a.icc_mean))
        kappa = (coefficient(a.kappa, a.kappa_undefined), str(a.kappa_images))
        rows.append([_name(s.source), _share(s.right), *kappa, *marks, str(a.icc_images)])
    return Table.of(header, rows, title=f"Agreement: {study.name}")


def by_rater_table(study: RatingStudy) -> Table:
    """Return one row for each rater and one column for each source: share classified correctly."""
    right = {(b.rater, b.source): _share(b.right) for b in study.by_both}
    sources = [s.source for s in study.sources]
    rows = [[r.rater, *(right.get((r.rater, s), DASH) for s in sources)] for r in study.raters]
    return Table.of(["Rater", *map(_name, sources)], rows, title=f"Correct by rater: {study.name}")


def raters_table(study: RatingStudy) -> Table:
    """Return a table with one row for each rater."""
    header = [
        "Rater",
        "Answers",
        "Correct, %",
        "By guessing, %",
        "Real taken for real, %",
        "Synthetic taken for real, %",
    ]
    header += ["Difference, points", "Distinguishes", "Median time"]
    rows = []
    for r in study.raters:
        shares = (_share(r.right), percent(r.by_guessing), _share(r.real), _share(r.synthetic))
        rows.append([r.rater, str(r.answers), *shares, _signed(r.difference, r.low, r.high), apart(r)])
        rows[-1].append(seconds(r.median_s))
    return Table.of(header, rows, title=f"Raters: {study.name}")


def apart(r: RatedBy) -> str:
    """Return whether a rater distinguishes real from synthetic images."""
    if not math.isfinite(r.low):
        return DASH
    return "yes" if r.low > 0 else "in the wrong direction" if r.high < 0 else "not shown"


def agreement(study: RatingStudy) -> str:
    """Return the images and raters behind the agreement coefficients, and who was excluded."""
    if len(study.raters) < 2:
        return "Agreement between raters: there is one rater."
    a = study.whole.agreement
    text = f"Fleiss' kappa uses the answers on the {count(a.kappa_images, 'image')} that two or more raters rated"
    few = [r for r in study.raters if r.rater not in study.icc_raters]
    if len(study.icc_raters) < 2:
        return f"{text}. ICC of quality: fewer than two raters have rated half of the study."
    raters = f"all {len(study.raters)}" if not few else join(study.icc_raters)
    text += f"; ICC of quality, of the {count(a.icc_images, 'image')} that {raters} rated."
    if few:
        left_out = join(f"{r.rater} ({r.answers} of {study.images})" for r in few)
        text += f" Excluded from the ICC because they rated less than half of the study: {left_out}."
    return text


def _about(study: RatingStudy) -> str:
    of = study.images * len(study.raters)
    whole = "every rater rated all images" if study.answers == of else f"{study.answers} of {of} answers are in"
    about = f"Study `{study.name}`: {study.images} images, {count(len(study.raters), 'rater')}, {whole}."
    return f"{about} {shown_twice(study.repeats)}"


def shown_twice(repeats: int | None) -> str:
    """Return whether raters may have seen a picture twice, which breaks the blinding."""
    if repeats is None:
        return (
            "It was made by an earlier version, which did not separate pictures: raters may have seen a real image and "
            "its own translation, or two translations of one image."
        )
    if repeats == 0:
        return "No picture appears twice, neither as itself nor as a translation."
    of = "shows a picture that is" if repeats == 1 else "show pictures that are"
    return (
        f"{count(repeats, 'image')} {of} in the study already, as itself or as a translation, because there were too "
        "few others: the answers to them are not blinded."
    )


def _published(info: ReportInfo) -> Published:
    if info.published is None:
        return {}
    results = info.published.results
    known = {m: p.raters for m, p in results.methods.items()} | {REAL: results.raters_of_real_images}
    return {s: (r.get("quality", DASH), r.get("taken_for_real", DASH)) for s, r in known.items() if r}


def _share(s: Share) -> str:
    return f"{percent(s.value)} {interval(s.low, s.high)}".strip()


def _against(s: RatedSource) -> str:
    return _signed(s.against_real, s.against_real_low, s.against_real_high)


def _signed(value: float, low: float, high: float) -> str:
    return f"{points(value)} {interval(low, high, signed=True)}".strip()


def _mark(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else DASH


def _marks(s: RatedSource) -> str:
    return f" [{s.quality_low:.2f}, {s.quality_high:.2f}]" if math.isfinite(s.quality_low) else ""


def _name(source: str) -> str:
    return source if source in (REAL, ALL) else f"`{source}`"


def coefficient(value: float, why: str) -> str:
    """Return a coefficient as text, or why there is none."""
    return f"{value:.2f}".replace("-", "−") if math.isfinite(value) else f"undefined: {why}"
