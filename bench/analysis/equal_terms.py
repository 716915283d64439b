"""All generative arms on equal terms: images, cost, effect on classifiers, worth in patients, memorised share. Pure.

Nothing is tested here: the changes against `none` are the leaderboard's own comparisons.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.analysis.comparison import Comparison
from bench.analysis.curve import NONE, ArmWorth, Curve
from bench.analysis.info import ReportInfo
from bench.analysis.lines import Line
from bench.analysis.quality import KID, Quality, collapsed, wrong_labels
from bench.analysis.questions import training_steps
from bench.analysis.rows import NAN, Pair, Rows, Score
from bench.cost.keys import CostKey
from bench.suite.arms import Arm
from bench.suite.contrast import NOISE
from bench.types import ResultRow

COVERAGE, REAL_KID, FLAGGED = "synthetic/test/coverage", "real_baseline/test/kid", "memorised/flagged_share"
EMPTY = Score.of([])


@dataclass(frozen=True)
class ArmTerms:
    """What one generative arm gives and costs; empty scores, NaN and () for what was not measured.

    ``kid``, its real-vs-real baseline ``real_kid`` and ``coverage`` are of the features ``extractor`` against test
    images, for arms that use all images of their generator. ``memorised`` is the share of its images that are flagged,
    in [0, 1]. ``device_s`` is that of a pair: training the generator and making (or drawing and selecting) its images;
    ``tuning_s`` is the tuning cost of the method, divided by the planned pairs. ``changes`` are the comparisons of the
    primary score with `none` and ``worths`` the worth in patients, at most one for each classifier. ``untrained`` and
    ``collapsed`` generators, and those whose images have ``wrong_labels``, are marked (``bench.analysis.quality``).
    """

    arm: Arm
    extractor: str = ""
    kid: Score = EMPTY
    real_kid: Score = EMPTY
    coverage: Score = EMPTY
    memorised: Score = EMPTY
    device_s: Score = EMPTY
    tuning_s: float = 0.0
    steps: int | None = None
    changes: tuple[Comparison, ...] = ()
    worths: tuple[ArmWorth, ...] = ()
    untrained: bool = False
    collapsed: bool = False
    wrong_labels: bool = False

    @property
    def kid_ratio(self) -> float:
        """KID as a multiple of the real-vs-real baseline; NaN if that is unknown or not above 0."""
        return self.kid.mean / self.real_kid.mean if self.real_kid.mean > 0 else NAN

    @property
    def total_s(self) -> float:
        """Device seconds of a pair with tuning; NaN if not measured."""
        return self.device_s.mean + self.tuning_s

    @property
    def is_measured(self) -> bool:
        """Whether there is anything to compare."""
        return bool(self.kid.n or self.device_s.n or self.changes)

    def change(self, classifier: str) -> Comparison | None:
        """Return the comparison with `none` of one classifier, if there is one."""
        return next((c for c in self.changes if c.classifier == classifier), None)

    def worth(self, classifier: str) -> ArmWorth | None:
        """Return the worth in patients by one classifier, if there is one."""
        return next((w for w in self.worths if w.classifier == classifier), None)


def equal_terms(
    lines: Sequence[Line], rows: Rows, info: ReportInfo, quality: Sequence[Quality], curve: Curve | None
) -> tuple[ArmTerms, ...]:
    """Return every generative arm, sorted by the KID of its generator; () with fewer than two arms besides noise.

    ``rows``, ``info`` and ``lines`` are of one size of training sets. With several extractors, the KID is that of the
    first by name.
    """
    arms = [a for a in info.arms if a.method in info.generative]
    if sum(a.method != NOISE for a in arms) < 2:
        return ()
    extractor = next((q.extractor for q in quality if q.score(KID).n), "")
    of = {q.method: q for q in quality if q.extractor == extractor}
    low, wrong = collapsed(quality), wrong_labels(quality)
    steps = training_steps(info.generative, rows, info)
    worths = [w for w in (curve.worths if curve else ()) if w.train_patients == info.size]
    found = [
        ArmTerms(
            arm,
            memorised=_memorised(arm, rows, info.pairs),
            device_s=Score.of(_device_s(arm, rows, pair) for pair in info.pairs),
            tuning_s=_tuning_s(arm, info),
            steps=steps.get(arm.method),
            changes=tuple(c for x in lines if x.arm == arm for c in x.comparisons if _is_change(c, x)),
            worths=tuple(w for w in worths if w.arm == arm),
            untrained=arm.method in info.untrained,
            collapsed=arm.method in low,
            wrong_labels=arm.method in wrong,
            **(_images(of[arm.method]) if arm.method in of and not arm.subset else {}),
        )
        for arm in arms
    ]
    kids = {m: q.score(KID).mean for m, q in of.items() if q.score(KID).n}
    ordered = sorted(found, key=lambda x: kids.get(x.arm.method, math.inf))
    return tuple(ordered) if any(x.is_measured for x in found) else ()


def real_baseline(found: Iterable[ArmTerms]) -> float:
    """Return the real-vs-real baseline of KID, mean over arms; NaN if not measured."""
    return Score.of(x.real_kid.mean for x in found).mean


def _images(q: Quality) -> dict[str, Any]:
    scores = {"kid": q.score(KID), "real_kid": q.score(REAL_KID), "coverage": q.score(COVERAGE)}
    return {"extractor": q.extractor, **scores}


def _is_change(c: Comparison, line: Line) -> bool:
    return c.metric == line.primary and c.reference == NONE


def _memorised(arm: Arm, rows: Rows, pairs: Sequence[Pair]) -> Score:
    """Return the flagged share of an arm's images; 0 by definition for an arm without memorised samples."""
    done = [r for p in pairs if (r := _done(rows.generator("memorised", arm, p)))]
    return Score.of(0.0 if arm.exclude_memorised else r.metrics.get(FLAGGED, NAN) for r in done)


def _device_s(arm: Arm, rows: Rows, pair: Pair) -> float:
    """Return the device seconds of an arm's generator and its images in a pair; NaN unless both are known."""
    both = [_done(rows.generator(stage, arm, pair)) for stage in ("fit", arm.synthesis_stage)]
    return sum(r.costs.get(CostKey.DEVICE_S, NAN) if r else NAN for r in both)


def _tuning_s(arm: Arm, info: ReportInfo) -> float:
    """Return the tuning cost of a method for one pair: a tuned generator serves all classifiers, so of the dearest."""
    return max(info.tuned_s.get(arm.method, {}).values(), default=0.0) / max(len(info.pairs), 1)


def _done(row: ResultRow | None) -> ResultRow | None:
    return row if row is not None and row.status == "done" else None
