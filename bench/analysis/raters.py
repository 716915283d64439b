"""Results of rating studies on real and synthetic images: by source, by rater, and agreement.

Answers of several raters to one image are not independent; intervals over raters account for that (see
``bench.stats.clustered``). A rater sees an image once, so intervals of one rater are Wilson's.

Raters may rate only part of a study. Kappa uses every image that two have rated. An intraclass correlation needs the
marks of all raters, so raters of less than ``ICC_SHARE`` of the study are excluded from it (otherwise one answer under
a mistyped name would leave a single image), and only images that all others have rated are used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from statistics import fmean, median

from bench.analysis.info import ReportInfo
from bench.analysis.rows import NAN
from bench.stats.agreement import bootstrap_mean, fleiss_kappa, icc_two_way_random
from bench.stats.clustered import clustered_wilson, difference
from bench.stats.inference import wilson
from bench.stats.proportions import newcombe
from bench.store.ratings import REAL, Answer, Study, find_studies

AnswersBy = Mapping[tuple[str, str], Answer]  # (rater, image)
ALL = "all images"  # of every source
ICC_SHARE = 0.5


@dataclass(frozen=True)
class Share:
    """``hits`` of ``n`` answers with a 95 % interval; NaN without answers."""

    hits: int
    n: int
    value: float
    low: float
    high: float

    @classmethod
    def of(cls, hits: int, n: int) -> Share:
        """Return the share with Wilson's interval, for independent answers such as those of one rater."""
        return cls(hits, n, hits / n if n else NAN, *wilson(hits, n))

    @classmethod
    def by_image(cls, verdicts: Iterable[Sequence[bool]]) -> Share:
        """Return the share of hits over several raters' answers to each image, which are not independent."""
        hits, sizes = [], []
        for of_image in verdicts:
            hits.append(sum(of_image))
            sizes.append(len(of_image))
        n = sum(sizes)
        return cls(sum(hits), n, sum(hits) / n if n else NAN, *clustered_wilson(hits, sizes))


@dataclass(frozen=True)
class Agreement:
    """Agreement of raters on some images; if a number is NaN, ``…_undefined`` has the reason.

    ``kappa`` is Fleiss' kappa of the answers on the ``kappa_images`` that two or more have rated. The correlations of
    the marks, ICC(2,1) and ICC(2,k), use the ``icc_images`` that all of the study's ``icc_raters`` have rated.
    """

    kappa: float
    kappa_images: int
    kappa_undefined: str
    icc_single: float
    icc_mean: float
    icc_images: int
    icc_undefined: str


@dataclass(frozen=True)
class RatedSource:
    """Ratings of the images of one source: 'real', a method, or ALL.

    ``right`` is the share of correct answers: ``taken_for_real`` for real images, 1 minus it for a method.
    ``quality`` is the mean over images of the raters' mean, with a bootstrap interval over images. ``against_real`` is
    the share taken for real minus that of real images, with its interval; NaN for real images and for ALL.
    """

    source: str
    images: int
    rated: int  # number of them with an answer
    taken_for_real: Share
    right: Share
    quality: float
    quality_low: float
    quality_high: float
    against_real: float
    against_real_low: float
    against_real_high: float
    agreement: Agreement


@dataclass(frozen=True)
class RatedBy:
    """How well one rater distinguishes real from synthetic images. ``right`` is the share of correct answers.

    ``by_guessing`` is the share correct of random answers with the same rate of 'real'. ``real`` and ``synthetic`` are
    the shares of these images taken for real, ``difference`` is real − synthetic with Newcombe's interval: 0 is chance
    level, for any numbers of images.
    """

    rater: str  # 'rater 1', …, by first answer; names stay in the study
    answers: int
    right: Share
    by_guessing: float
    real: Share
    synthetic: Share
    difference: float
    low: float
    high: float
    median_s: float  # time of an answer


@dataclass(frozen=True)
class SourceBy:
    """Ratings of one source's images by one rater."""

    source: str
    rater: str
    taken_for_real: Share
    right: Share
    quality: float


@dataclass(frozen=True)
class RatingStudy:
    """A study: the results for each source, and ``whole`` for all images.

    ``repeats`` is the number of images that show the same picture as another image; None if not recorded.
    """

    name: str
    images: int
    answers: int
    repeats: int | None
    sources: tuple[RatedSource, ...]
    whole: RatedSource
    raters: tuple[RatedBy, ...]
    by_both: tuple[SourceBy, ...]
    icc_raters: tuple[str, ...]  # raters of enough images for the correlations


def rating_studies(info: ReportInfo, root: Path) -> tuple[RatingStudy, ...]:
    """Return the results of the suite's answered studies in the output folder ``root``."""
    return tuple(analysed(study, answers) for study, answers in find_studies(root, info.suite))


def raters_of(answers: AnswersBy) -> list[str]:
    """Return the raters in the order of their first answer."""
    return list(dict.fromkeys(rater for rater, _ in answers))


def analysed(study: Study, answers: AnswersBy) -> RatingStudy:
    """Return the results of a study."""
    source = {i.id: i.source for i in study.images}
    names = {rater: f"rater {n}" for n, rater in enumerate(raters_of(answers), start=1)}
    given = list(answers.values())
    by = {r: [a for a in given if a.rater == r] for r in names}
    steady = [r for r in names if len(by[r]) >= ICC_SHARE * len(study.images)]
    rated = {s: _Rated(s, study, answers, steady) for s in (*study.sources, ALL)}
    return RatingStudy(
        name=study.name,
        images=len(study.images),
        answers=len(given),
        repeats=study.repeats,
        sources=tuple(rated[s].found(rated.get(REAL)) for s in study.sources),
        whole=rated[ALL].found(None),
        raters=tuple(_rater(name, by[r], source) for r, name in names.items()),
        by_both=tuple(
            _both(s, name, found)
            for s in study.sources
            for r, name in names.items()
            if (found := [a for a in by[r] if source[a.image] == s])
        ),
        icc_raters=tuple(names[r] for r in steady),
    )


class _Rated:
    """The answers to one source's images, image by image in the study's order."""

    def __init__(self, source: str, study: Study, answers: AnswersBy, steady: Sequence[str]) -> None:
        self._source, self._steady, self._answers = source, steady, answers
        self._ids = [i.id for i in study.images if source in (ALL, i.source)]
        self._real = {i.id: i.source == REAL for i in study.images}
        of: dict[str, list[Answer]] = {i: [] for i in self._ids}
        for a in answers.values():
            if a.image in of:
                of[a.image].append(a)
        self._by_image = [given for given in of.values() if given]
        self.taken = Share.by_image([a.real for a in given] for given in self._by_image)

    def found(self, real: _Rated | None) -> RatedSource:
        """Return the ratings of the source, compared with those of ``real`` images."""
        taken, against = self.taken, (NAN, NAN, NAN)
        if real is not None and self is not real:
            of_real = real.taken
            against = difference(taken.value, (taken.low, taken.high), of_real.value, (of_real.low, of_real.high))
        right = Share.by_image([a.real == self._real[a.image] for a in given] for given in self._by_image)
        quality = bootstrap_mean([fmean(a.quality for a in given) for given in self._by_image])
        counts = len(self._ids), len(self._by_image)
        return RatedSource(self._source, *counts, taken, right, *quality, *against, self._agreement())

    def _agreement(self) -> Agreement:
        answers = [[a.real for a in given] for given in self._by_image if len(given) > 1]
        kappa = fleiss_kappa([[sum(v), len(v) - sum(v)] for v in answers])
        no_kappa = "" if isfinite(kappa) else _why_no_kappa(answers)
        whole = [i for i in self._ids if all((r, i) in self._answers for r in self._steady)] if self._steady else []
        marks = [[self._answers[r, i].quality for r in self._steady] for i in whole]
        icc = icc_two_way_random(marks)
        no_icc = "" if isfinite(icc.single) and isfinite(icc.mean) else _why_no_icc(marks, len(self._steady))
        return Agreement(kappa, len(answers), no_kappa, *icc, len(whole), no_icc)


def _why_no_kappa(verdicts: Sequence[Sequence[bool]]) -> str:
    if not verdicts:
        return "no image rated twice"
    return "all said real" if verdicts[0][0] else "all said fake"


def _why_no_icc(marks: Sequence[Sequence[int]], raters: int) -> str:
    if raters < 2:
        return "fewer than 2 raters"
    if len(marks) < 2:
        return "fewer than 2 images rated by all"
    return "all marks alike" if len({m for of_image in marks for m in of_image}) == 1 else "not estimable"


def _rater(name: str, given: Sequence[Answer], source: Mapping[str, str]) -> RatedBy:
    real, synthetic = (_taken([a for a in given if (source[a.image] == REAL) is is_real]) for is_real in (True, False))
    n, called, are = len(given), real.hits + synthetic.hits, real.n
    right = Share.of(real.hits + synthetic.n - synthetic.hits, n)
    by_guessing = (called * are + (n - called) * (n - are)) / n**2
    apart = newcombe(real.hits, real.n, synthetic.hits, synthetic.n)
    return RatedBy(name, n, right, by_guessing, real, synthetic, *apart, median(a.seconds for a in given))


def _both(source: str, rater: str, given: Sequence[Answer]) -> SourceBy:
    taken = _taken(given)
    right = taken if source == REAL else Share.of(taken.n - taken.hits, taken.n)
    return SourceBy(source, rater, taken, right, fmean(a.quality for a in given))


def _taken(given: Sequence[Answer]) -> Share:
    return Share.of(sum(a.real for a in given), len(given))
