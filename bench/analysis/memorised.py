"""Memorised samples among the synthetic images, and whether a gain remains without them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.analysis.info import Arm, ReportInfo
from bench.analysis.lines import Line
from bench.analysis.rows import Rows, Score, scores_of
from bench.stats.inference import Verdict, verdict
from bench.suite.arms import NO_MEMORISED


@dataclass(frozen=True)
class Copies:
    """Result of the copies stage for one method: ``scores`` by metric name without 'copies/'.

    AuthPct is in per cent, shares are in [0, 1]. ``extractor`` is the tag of the feature space.
    """

    method: str
    extractor: str
    scores: Mapping[str, Score]

    def score(self, name: str) -> Score:
        """Return a score; an empty one if it was not measured."""
        return self.scores.get(name, Score.of([]))


def copies(rows: Rows, info: ReportInfo) -> tuple[Copies, ...]:
    """Return one record for each method searched for memorised samples."""
    found = []
    for method in info.generative:
        done = rows.done("copies", method, info.pairs)
        if done:
            scores = scores_of({k.removeprefix("copies/"): v for k, v in r.metrics.items()} for r in done)
            tags = [k.removeprefix("authpct_") for k in scores if k.startswith("authpct_") and k != "authpct_pixels"]
            found.append(Copies(method, min(tags, default=""), scores))
    return tuple(found)


@dataclass(frozen=True)
class Survival:
    """An arm with all its synthetic images and without those flagged as memorised, by the primary score.

    ``change`` is the paired difference without − with; ``dropped`` the images excluded from each training set.
    """

    classifier: str
    arm: Arm
    all_images: Verdict
    without: Verdict
    change: Verdict
    dropped: Score

    @property
    def survives(self) -> bool:
        """Whether the arm helps, with and without the memorised samples."""
        return self.all_images.word == self.without.word == "helps"


def survivals(lines: Sequence[Line], rows: Rows, info: ReportInfo) -> tuple[Survival, ...]:
    """Return a record for each line that was also run without memorised samples, if both are compared with none."""
    by_arm = {(x.classifier, x.arm): x for x in lines}
    found = []
    for line in lines:
        from_scratch_arm = Arm(line.arm.method, line.arm.ratio + NO_MEMORISED)
        from_scratch = by_arm.get((line.classifier, from_scratch_arm))
        if from_scratch is None or "none" not in line.versus or "none" not in from_scratch.versus:
            continue
        both = sorted(line.by_pair.keys() & from_scratch.by_pair.keys())
        if not both:
            continue
        change = [from_scratch.by_pair[p] - line.by_pair[p] for p in both]
        trained = [rows.classifier("classify", from_scratch_arm, line.classifier, p) for p in both]
        dropped = Score.of(float(r.facts["copies_dropped"]) for r in trained if r and "copies_dropped" in r.facts)
        found.append(
            Survival(
                classifier=line.classifier,
                arm=line.arm,
                all_images=line.verdict("none"),
                without=from_scratch.verdict("none"),
                change=verdict(change, info.margin, info.test_train_ratio),
                dropped=dropped,
            )
        )
    return tuple(found)
