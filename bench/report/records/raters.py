"""What raters said of real and synthetic images: by source, by rater, and how far they agree.

Answers are counted one by one: the intervals of shares take them as independent, which answers of several raters to one
image are not, so that they are rather too narrow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

from bench.metrics.agreement import bootstrap_mean, fleiss_kappa, icc_two_way_random
from bench.metrics.proportions import newcombe
from bench.metrics.statistics import wilson
from bench.report.info import ReportInfo
from bench.report.records.rows import NAN
from bench.studies import REAL, Answer, Study, find_studies

AnswersBy = Mapping[tuple[str, str], Answer]  # (rater, image)


@dataclass(frozen=True)
class Share:
    """So many of ``n``, with Wilson's 95 % interval; NaN of none."""

    hits: int
    n: int
    value: float
    low: float
    high: float

    @classmethod
    def of(cls, hits: int, n: int) -> Share:
        """Return the share with its interval."""
        return cls(hits, n, hits / n if n else NAN, *wilson(hits, n))


@dataclass(frozen=True)
class RatedSource:
    """What was said of one source's images: 'real', or a method's.

    ``quality`` is the mean over images of the raters' mean, with its bootstrap interval over images.
    ``against_real`` is how much more seldom than real ones they are taken for real, with Newcombe's interval; NaN for
    the real ones themselves.
    """

    source: str
    images: int
    rated: int  # of them, by anybody
    taken_for_real: Share
    quality: float
    quality_low: float
    quality_high: float
    against_real: float
    against_real_low: float
    against_real_high: float


@dataclass(frozen=True)
class RatedBy:
    """How well one rater tells real from fake. ``right`` is the share of right verdicts.

    ``by_guessing`` is what blind guessing would give that says 'real' as often as they do. ``real`` and ``synthetic``
    are the shares of such images that they take for real, ``difference`` the first minus the second with Newcombe's
    interval: 0 is chance, however many images of each kind there are.
    """

    rater: str  # 'rater 1', …: by their first answer; their names stay in the study
    answers: int
    right: Share
    by_guessing: float
    real: Share
    synthetic: Share
    difference: float
    low: float
    high: float
    median_s: float  # of an answer


@dataclass(frozen=True)
class SourceBy:
    """What one rater said of one source's images."""

    source: str
    rater: str
    taken_for_real: Share
    right: Share
    quality: float


@dataclass(frozen=True)
class RatingStudy:
    """A study. Agreement is of the ``complete`` images alone, which every rater has rated; NaN where undefined."""

    name: str
    images: int
    answers: int
    complete: int
    sources: tuple[RatedSource, ...]
    raters: tuple[RatedBy, ...]
    by_both: tuple[SourceBy, ...]
    kappa: float  # Fleiss', of the verdicts
    icc_single: float  # ICC(2,1) of the marks
    icc_mean: float  # ICC(2,k)


def rating_studies(info: ReportInfo, root: Path) -> tuple[RatingStudy, ...]:
    """Return what the answered studies of the suite in the output folder ``root`` found."""
    return tuple(analysed(study, answers) for study, answers in find_studies(root, info.suite))


def raters_of(answers: AnswersBy) -> list[str]:
    """Return the raters by their first answer."""
    return list(dict.fromkeys(rater for rater, _ in answers))


def analysed(study: Study, answers: AnswersBy) -> RatingStudy:
    """Return what a study found."""
    source = {i.id: i.source for i in study.images}
    names = {rater: f"rater {n}" for n, rater in enumerate(raters_of(answers), start=1)}
    given = list(answers.values())
    of_real = [a for a in given if source[a.image] == REAL]
    by_source = {s: [a for a in given if source[a.image] == s] for s in study.sources}
    complete = [i.id for i in study.images if all((rater, i.id) in answers for rater in names)] if names else []
    marks = [[answers[rater, i].quality for rater in names] for i in complete]
    verdicts = [sum(answers[rater, i].real for rater in names) for i in complete]
    icc = icc_two_way_random(marks)
    return RatingStudy(
        name=study.name,
        images=len(study.images),
        answers=len(given),
        complete=len(complete),
        sources=tuple(_source(s, list(source.values()).count(s), by_source[s], of_real) for s in study.sources),
        raters=tuple(_rater(names[r], [a for a in given if a.rater == r], source) for r in names),
        by_both=tuple(
            _both(s, name, found)
            for s in study.sources
            for r, name in names.items()
            if (found := [a for a in by_source[s] if a.rater == r])
        ),
        kappa=fleiss_kappa([[n, len(names) - n] for n in verdicts]),
        icc_single=icc.single,
        icc_mean=icc.mean,
    )


def _source(source: str, images: int, given: Sequence[Answer], of_real: Sequence[Answer]) -> RatedSource:
    marks: dict[str, list[int]] = {}
    for a in given:
        marks.setdefault(a.image, []).append(a.quality)
    share, real = _taken(given), _taken(of_real)
    difference = newcombe(share.hits, share.n, real.hits, real.n) if source != REAL else (NAN, NAN, NAN)
    quality = bootstrap_mean([fmean(m) for m in marks.values()])
    return RatedSource(source, images, len(marks), share, *quality, *difference)


def _rater(name: str, given: Sequence[Answer], source: Mapping[str, str]) -> RatedBy:
    real, synthetic = (_taken([a for a in given if (source[a.image] == REAL) is is_real]) for is_real in (True, False))
    n, called, are = len(given), real.hits + synthetic.hits, real.n
    right = Share.of(real.hits + synthetic.n - synthetic.hits, n)
    by_guessing = (called * are + (n - called) * (n - are)) / n**2
    difference = newcombe(real.hits, real.n, synthetic.hits, synthetic.n)
    return RatedBy(name, n, right, by_guessing, real, synthetic, *difference, median(a.seconds for a in given))


def _both(source: str, rater: str, given: Sequence[Answer]) -> SourceBy:
    taken = _taken(given)
    right = taken if source == REAL else Share.of(taken.n - taken.hits, taken.n)
    return SourceBy(source, rater, taken, right, fmean(a.quality for a in given))


def _taken(given: Sequence[Answer]) -> Share:
    return Share.of(sum(a.real for a in given), len(given))
