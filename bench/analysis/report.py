"""All numbers of a report, computed once from the rows. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from bench.analysis.compute import Charged, Match, charged, matches
from bench.analysis.cost_predictions import PredictedStage, predicted_stages
from bench.analysis.costs import MethodCost, method_costs
from bench.analysis.curve import Curve, curve
from bench.analysis.custom_metrics import OwnScore, own_scores
from bench.analysis.differences import Difference, differences
from bench.analysis.equal_terms import ArmTerms, equal_terms
from bench.analysis.failures import Failure, Shortfall, failures, shortfalls
from bench.analysis.info import ReportInfo
from bench.analysis.lines import Line, leaderboard
from bench.analysis.literature import Literature, literature
from bench.analysis.measured import Measured, measured
from bench.analysis.memorised import MemorisedSamples, Survival, memorised_samples, survivals
from bench.analysis.published import Comparison, Head, Impossible, comparisons, heads, impossible
from bench.analysis.quality import Quality, Untrained, image_quality, untrained
from bench.analysis.questions import Question, questions
from bench.analysis.raters import RatingStudy, rating_studies
from bench.analysis.rows import Rows
from bench.analysis.segmentation import Segmented, segmented
from bench.analysis.selected import Selected, selections
from bench.analysis.translations import Translation, translations


@dataclass(frozen=True)
class Records:
    """One field for each section of the report; empty without results."""

    lines: tuple[Line, ...] = ()
    curve: Curve | None = None
    multiplied: tuple[Line, ...] = ()
    charged: tuple[Charged, ...] = ()
    matches: tuple[Match, ...] = ()
    costs: tuple[MethodCost, ...] = ()
    predictions: tuple[PredictedStage, ...] = ()
    quality: tuple[Quality, ...] = ()
    untrained: tuple[Untrained, ...] = ()
    translations: tuple[Translation, ...] = ()
    memorised: tuple[MemorisedSamples, ...] = ()
    survivals: tuple[Survival, ...] = ()
    selected: tuple[Selected, ...] = ()
    published: tuple[Comparison, ...] = ()
    impossible: tuple[Impossible, ...] = ()
    heads: tuple[Head, ...] = ()
    orientations: tuple[Literature, ...] = ()
    differences: tuple[Difference, ...] = ()
    questions: tuple[Question, ...] = ()
    equal_terms: tuple[ArmTerms, ...] = ()
    measured: tuple[Measured, ...] = ()
    failures: tuple[Failure, ...] = ()
    shortfalls: tuple[Shortfall, ...] = ()
    own_metrics: tuple[OwnScore, ...] = ()
    segmented: tuple[Segmented, ...] = ()
    raters: tuple[RatingStudy, ...] = ()


def collect(every: Rows, info: ReportInfo, root: Path) -> Records:
    """Return the records of one plan's rows. Paths of predictions are relative to ``root``.

    If some folds share patients, published numbers are compared on both kinds of folds, all else on disjoint folds. Of
    a learning curve, ``curve`` has all sizes of training sets, all else is of ``info.verdict_size``.
    """
    rows = every.at_size(info.verdict_size)
    quality = image_quality(rows, info.at_size(info.verdict_size).apart)
    info = replace(info, untrained=untrained(quality, info.generative))
    apart = info.at_size(info.verdict_size).apart
    lines = leaderboard(rows, apart, root)
    multiplied = leaderboard(rows, apart, root, apart.multiplied_arms)
    of_sizes = curve(every, info, root, lines)
    return Records(
        lines=lines,
        multiplied=multiplied,
        charged=charged(lines, multiplied),
        matches=matches(lines, multiplied, apart),
        costs=method_costs(rows, apart),
        predictions=predicted_stages(rows),
        quality=quality,
        untrained=tuple(Untrained(method, share) for method, share in info.untrained.items()),
        translations=translations(rows, apart),
        memorised=memorised_samples(rows, apart),
        survivals=survivals(lines, rows, apart),
        selected=selections(lines, rows, apart),
        published=comparisons(rows, info, root),
        impossible=impossible(info),
        heads=heads(rows, info, root),
        orientations=literature(rows, apart),
        differences=differences(lines, rows, apart),
        questions=questions(lines, rows, apart),
        equal_terms=equal_terms(lines, rows, apart, quality, of_sizes),
        measured=measured(rows, apart),
        curve=of_sizes,
        failures=failures(every, info),
        shortfalls=shortfalls(every, info.at_size(info.verdict_size)),
        own_metrics=own_scores(rows, apart),
        segmented=segmented(rows, apart),
        raters=rating_studies(info, root),
    )
