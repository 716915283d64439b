"""Memorised samples among the synthetic images, and whether a gain remains without them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bench.analysis.comparison import compared
from bench.analysis.info import ReportInfo
from bench.analysis.lines import Line
from bench.analysis.rows import Rows, Score, scores_of
from bench.stats.decide import Verdict
from bench.suite.arms import Arm


@dataclass(frozen=True)
class MemorisedSamples:
    """Result of the stage `memorised` for one method: ``scores`` by metric name without 'memorised/'.

    AuthPct is in per cent, shares are in [0, 1]. ``extractor`` is the tag of the feature space.
    """

    method: str
    extractor: str
    scores: Mapping[str, Score]

    def score(self, name: str) -> Score:
        """Return a score; an empty one if it was not measured."""
        return self.scores.get(name, Score.of([]))


def memorised_samples(rows: Rows, info: ReportInfo) -> tuple[MemorisedSamples, ...]:
    """Return one record for each method searched for memorised samples."""
    found = []
    for method in info.generative:
        done = rows.done("memorised", method, info.pairs)
        if done:
            scores = scores_of({k.removeprefix("memorised/"): v for k, v in r.metrics.items()} for r in done)
            tags = [k.removeprefix("authpct_") for k in scores if k.startswith("authpct_") and k != "authpct_pixels"]
            found.append(MemorisedSamples(method, min(tags, default=""), scores))
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
        without_arm = replace(line.arm, exclude_memorised=True)
        without = by_arm.get((line.classifier, without_arm))
        if line.arm.subset or without is None or "none" not in line.versus or "none" not in without.versus:
            continue
        both = sorted(line.by_pair.keys() & without.by_pair.keys())
        if not both:
            continue
        sides = {x.arm: x.scored(info) for x in (line, without)}
        family = f"{line.primary} without and with memorised samples"
        pair = [(without_arm, line.arm)]
        (change,) = compared(sides, pair, info, line.primary, line.classifier, family, info.margin)
        trained = [rows.classifier("classify", without_arm, line.classifier, p) for p in both]
        dropped = Score.of(float(r.facts["memorised_dropped"]) for r in trained if r and "memorised_dropped" in r.facts)
        found.append(
            Survival(
                classifier=line.classifier,
                arm=line.arm,
                all_images=line.verdict("none"),
                without=without.verdict("none"),
                change=change.verdict,
                dropped=dropped,
            )
        )
    return tuple(found)
