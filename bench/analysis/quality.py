"""Fidelity of synthetic images by the features of one extractor. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.analysis.info import ReportInfo
from bench.analysis.rows import Rows, Score, scores_of
from bench.suite.contrast import NOISE
from bench.types import ResultRow

MEASURES = ("kid", "precision", "recall", "density", "coverage", "fid")  # in the order of the tables
VARIETY = ("is", "diversity", "label_agreement")
COLLAPSED = 0.5  # share of the real diversity within a class below which a generator is said to have collapsed
SIZES = ("n_real", "n_synthetic", "kid_subset_size")
TRAINED_SHARE = 0.2  # largest share of noise's excess KID at which a generator counts as trained
KID = "synthetic/test/kid"
REAL_KID = "real_baseline/test/kid"
_KEY = re.compile(rf"(?P<where>.+)/(?P<measure>{'|'.join((*SIZES, *MEASURES, *VARIETY))})_(?P<tag>.+)")


@dataclass(frozen=True)
class Quality:
    """One method's synthetic images by one extractor: ``scores`` by '<where>/<measure>', as their stage names them.

    ``synthetic/test`` and ``synthetic/train``: all synthetic images against real ones of that fold part;
    ``real_baseline/<part>``: real-vs-real baseline, real images of other patients instead, with its own n_real and
    n_synthetic; ``at_real_baseline/<part>``: synthetic images at those sizes; ``synthetic`` and ``real/train``:
    inception score and diversity, which need no reference; ``synthetic``, ``real/test`` and ``other_class/test``:
    label agreement.
    """

    method: str
    extractor: str
    scores: Mapping[str, Score]

    def score(self, key: str) -> Score:
        """Return a score; an empty one if it was not measured."""
        return self.scores.get(key, Score.of([]))

    @property
    def excess_kid(self) -> float:
        """Mean KID against test images minus the real-vs-real baseline; NaN if not measured.

        The baseline is the KID of real images of other patients, which is far above 0 where patients differ much.
        """
        baseline = self.score(REAL_KID)
        return self.score(KID).mean - (baseline.mean if baseline.n else 0.0)

    @property
    def diversity_share(self) -> float:
        """Diversity within a class, a mean over classes, as a share of real training images'; NaN if not measured."""
        real = self.score("real/train/diversity").mean
        return self.score("synthetic/diversity").mean / real if real > 0 else math.nan

    @property
    def label_agreement(self) -> float:
        """Mean share of the images that a classifier of real images gives their label; NaN if not measured."""
        return self.score("synthetic/label_agreement").mean

    @property
    def real_label_agreement(self) -> float:
        """The same of real images of other patients."""
        return self.score("real/test/label_agreement").mean

    @property
    def mistaken_share(self) -> float:
        """The same of real images of other patients that belong to other classes, with these labels."""
        return self.score("other_class/test/label_agreement").mean


@dataclass(frozen=True)
class Untrained:
    """A generative method without a verdict: its images' excess KID is the ``share`` (> 0.2) of that of noise."""

    method: str
    share: float


def image_quality(rows: Rows, info: ReportInfo) -> tuple[Quality, ...]:
    """Return a record for each method and extractor, sorted by extractor, then in the suite's order."""
    found = [q for m in info.generative for q in quality_of(m, rows.done("fidelity", m, info.pairs))]
    return tuple(sorted(found, key=lambda q: q.extractor))


def quality_of(method: str, rows: Iterable[ResultRow]) -> list[Quality]:
    """Return a record of a method for each extractor, from its finished rows of the stage `fidelity`."""
    by_tag: dict[str, list[dict[str, float]]] = {}
    for row in rows:
        of_row: dict[str, dict[str, float]] = {}
        for name, value in row.metrics.items():
            if match := _KEY.fullmatch(name):
                of_row.setdefault(match["tag"], {})[f"{match['where']}/{match['measure']}"] = value
        for tag, values in of_row.items():
            by_tag.setdefault(tag, []).append(values)
    return [Quality(method, tag, scores_of(values)) for tag, values in by_tag.items()]


def share_of_noise(method: str, quality: Sequence[Quality]) -> dict[str, float]:
    """Return a method's excess KID as a share of that of noise, by extractor; {} without noise."""
    of = {(q.method, q.extractor): q.excess_kid for q in quality if q.score(KID).n}
    noise = {tag: kid for (name, tag), kid in of.items() if name == NOISE and kid > 0}
    return {tag: of[method, tag] / kid for tag, kid in noise.items() if (method, tag) in of}


def untrained(quality: Sequence[Quality], methods: Iterable[str]) -> dict[str, float]:
    """Return which of these generative methods count as untrained, each with its share of noise's excess KID.

    A verdict on images hardly closer to real ones than noise would be a verdict on noise. A method counts as trained if
    its excess KID is at most ``TRAINED_SHARE`` of that of noise by one extractor, or if the run has no noise.
    """
    found = {}
    for method in (m for m in methods if m != NOISE):
        shares = share_of_noise(method, quality)
        if shares and min(shares.values()) > TRAINED_SHARE:
            found[method] = min(shares.values())
    return found


def why_untrained(method: str, share: float) -> str:
    """Return 'cgan is untrained, the excess KID of its images is 40 % of that of noise'."""
    return f"{method} is untrained, the excess KID of its images is {100 * share:.0f} % of that of noise"


def collapsed(quality: Iterable[Quality]) -> dict[str, Quality]:
    """Return by method the record of a collapsed generator, of several extractors the one with the least diversity.

    Collapse: images of a class that differ much less from each other than real ones do. The negative control, noise, is
    left out.
    """
    found = [q for q in quality if q.diversity_share < COLLAPSED and q.method != NOISE]
    return {q.method: q for q in sorted(found, key=lambda q: -q.diversity_share)}


def wrong_labels(quality: Iterable[Quality]) -> dict[str, Quality]:
    """Return by method the record of a generator whose images do not show the class of their label.

    A classifier of real images takes them for that class no more often than it does real images of other classes, by
    every extractor. Of several extractors the record of the last; the negative control, noise, is left out.
    """
    found: dict[str, list[Quality]] = {}
    for q in quality:
        if q.method != NOISE and q.score("synthetic/label_agreement").n:
            found.setdefault(q.method, []).append(q)
    return {m: qs[-1] for m, qs in found.items() if all(q.label_agreement <= q.mistaken_share for q in qs)}
