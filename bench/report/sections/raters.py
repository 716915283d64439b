"""What raters said of real and synthetic images, beside what was published of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.report.info import ReportInfo
from bench.report.records.raters import RatedBy, RatedSource, RatingStudy, Share
from bench.report.sections.text import DASH, count, interval, percent, points, seconds, table
from bench.studies import REAL

Published = dict[str, tuple[str, str]]  # source -> quality and share taken for real, as printed


def rater_section(found: Sequence[RatingStudy], info: ReportInfo) -> list[str]:
    """Return heading, tables and how to read them; [] without answers."""
    parts = ["## Raters\n"] if found else []
    published = _published(info)
    for study in found:
        parts.append(_about(study))
        parts.append(sources_table(study, published))
        parts.append(raters_table(study))
        parts.append(agreement(study) + "\n")
    if found:
        parts.append(HOW)
        if published and info.published:
            parts.append(
                f"Published: {info.published.results.source}; other raters, other images of other trainings.\n"
            )
    return parts


HOW = (
    "Raters saw one image at a time, not knowing where it came from, each in another order. Taken for real: the share "
    "of answers, with Wilson's interval, which counts every answer as independent. Against real: how much more often "
    "than real images (Newcombe's interval); an image nobody can tell from a real one has 0. Quality, 0 to 5: the mean "
    "over images of the raters' means, with a bootstrap interval over images. Right: verdicts that were right, with "
    "Wilson's interval; guessing: what blind guessing gives who says 'real' as often. Told apart: whether they take "
    "real images for real more often than synthetic ones, by the interval of the difference.\n"
)


def sources_table(study: RatingStudy, published: Published) -> str:
    """Return one line a source."""
    header = ["Images of", "Rated", "Answers", "Taken for real, %", "Against real, points", "Quality"]
    beside = ["Published: quality", "taken for real"] if published else []
    rows = []
    for s in study.sources:
        printed = list(published.get(s.source, (DASH, DASH))) if published else []
        quality = f"{_mark(s.quality)}{_marks(s)}"
        row = [str(s.rated), str(s.taken_for_real.n), _share(s.taken_for_real), _against(s), quality]
        rows.append([s.source if s.source == REAL else f"`{s.source}`", *row, *printed])
    return table([*header, *beside], rows)


def raters_table(study: RatingStudy) -> str:
    """Return one line a rater."""
    header = ["Rater", "Answers", "Right, %", "Guessing, %", "Real ones for real, %", "Synthetic ones for real, %"]
    header += ["Difference, points", "Told apart", "Median time"]
    rows = []
    for r in study.raters:
        shares = (_share(r.right), percent(r.by_guessing), _share(r.real), _share(r.synthetic))
        rows.append([r.rater, str(r.answers), *shares, _signed(r.difference, r.low, r.high), apart(r)])
        rows[-1].append(seconds(r.median_s))
    return table(header, rows)


def apart(r: RatedBy) -> str:
    """Say whether a rater tells real from synthetic images."""
    if not math.isfinite(r.low):
        return DASH
    return "yes" if r.low > 0 else "the wrong way round" if r.high < 0 else "not shown"


def agreement(study: RatingStudy) -> str:
    """Say how far raters agree."""
    if len(study.raters) < 2:
        return "Agreement between raters: there is one rater."
    raters = count(len(study.raters), "rater")
    if not study.complete:
        return f"Agreement between raters: no image has been rated by all {raters}."
    return (
        f"Agreement on the {count(study.complete, 'image')} that all {raters} rated: Fleiss' kappa of real or fake "
        f"{_coefficient(study.kappa)}; quality ICC(2,1) {_coefficient(study.icc_single)}, of the raters' mean "
        f"ICC(2,{len(study.raters)}) {_coefficient(study.icc_mean)}."
    )


def _about(study: RatingStudy) -> str:
    of = study.images * len(study.raters)
    whole = "every one of them all images" if study.answers == of else f"{study.answers} of {of} answers are in"
    return f"Study `{study.name}`: {study.images} images, {count(len(study.raters), 'rater')}, {whole}.\n"


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


def _coefficient(value: float) -> str:
    return "undefined" if not math.isfinite(value) else f"{value:.2f}".replace("-", "−")
