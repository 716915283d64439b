"""Scores and comparisons of each classifier, in the appendix; and the words and terms that other sections share."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from bench.analysis.info import ReportInfo
from bench.analysis.lines import MACRO, REFERENCES, SCORES, Line, minimum_detectable_effect
from bench.analysis.report import Records
from bench.analysis.rows import Score
from bench.metrics.units import LOWER_IS_BETTER, ScoredUnit
from bench.report.content import Block, Details, Section, Table
from bench.report.text import DASH, bold_best, interval, literal, number, p_value, percent, points, seconds
from bench.stats.decide import Verdict
from bench.suite.arms import Arm

HEADS = {
    "auroc": "AUROC",
    "balanced_accuracy": "Bal. acc.",
    "log_loss": "Log loss",
    "brier": "Brier",
    "f1": "F1",
    "sensitivity": "Sens.",
    "specificity": "Spec.",
}
LOW_DIVERSITY = " (low diversity)"  # after the name of an arm whose generator has collapsed
WRONG_LABELS = " (wrong labels)"  # after the name of an arm whose images do not show the class of their label
CLASS_TITLES = {
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "auroc": "AUROC, against the rest",
}


def sections(records: Records, info: ReportInfo) -> Iterator[Section]:
    """Yield a section for each classifier: all scores, and comparisons with every reference."""
    terms = score_terms(info) | verdict_terms(info) | STATISTICS_TERMS
    for i, classifier in enumerate(info.classifiers):
        lines = sort_lines([x for x in records.lines if x.classifier == classifier])
        if lines:
            blocks = tuple(_blocks(lines, info))
            yield Section(f"Scores and comparisons: {classifier}", blocks, 100 + i, definitions=terms)


def _blocks(lines: Sequence[Line], info: ReportInfo) -> Iterator[Block]:
    name = lines[0].classifier
    yield scores_caption(info)
    yield _scores(lines, info.unit.prefix, f"Scores: {name}")
    for reference in REFERENCES:
        against = [x for x in lines if reference in x.versus]
        if against:
            yield f"Difference to `{reference}`, in points:"
            yield _statistics(against, reference)
    if any(x.primary != "balanced_accuracy" for x in lines):
        yield Details("Scores per image", (_scores(lines, "", f"Scores per image: {name}"),))
    if any(x.of_classes for x in lines):
        yield Details("Each class", tuple(_each_class(lines)))
    yield Details("Wall time of each arm, per fold", (_compute(lines),))


def scores_caption(info: ReportInfo, sd: bool = True) -> str:
    """Return what is scored, and the positive class."""
    unit = info.unit
    over = f"95 % interval over {unit.groups}" + ("" if unit.per_group else ", each with all its images")
    positive = f" Positive class: {literal(info.positive_class)}." if info.positive_class else ""
    return f"{unit.each.capitalize()}, in %: mean{' ± sd' * sd} over pairs [{over}].{positive}"


def score_terms(info: ReportInfo) -> dict[str, str]:
    """Return the definitions of arm, pair and scores, with the classes of this run."""
    sens, spec = "mean recall over classes", "mean over classes of the recall of the rest"
    unit = info.unit
    if info.positive_class:
        shown, other = literal(info.positive_class), literal(info.classes[1 - info.positive_label])
        sens, spec = f"recall of {shown}", f"recall of {other}"
    apart = (
        ", *without memorised samples* excludes those flagged as memorised"
        if any(a.exclude_memorised for a in info.arms)
        else ""
    )
    if any(a.is_selected for a in info.arms):
        apart += ", *selected by* a rule *(k)* draws 1 / k times as many and keeps the best"
    return {
        "Arm": (
            "one way of making the training set: a method, and for generative methods a ratio. ×r adds r synthetic "
            f"images per real one of each class, *balance* fills up the smaller classes{apart}. Every arm trains the "
            "same classifier for the same number of optimiser steps."
        ),
        "Pairs": "pairs with a score, of those planned; a pair is one fold × repeat, with the same split for all arms.",
        "Bal. acc., AUROC, F1, Sens., Spec.": (
            f"on test {unit.groups} used to train neither classifier nor generator: balanced accuracy, area under the "
            f"ROC curve, F1, sensitivity ({sens}) and specificity ({spec}). {_scored(unit)} Bold is the "
            "best mean among the lines with the most pairs; it is not a claim. The interval is over "
            f"{unit.groups}; there is none if all scores are equal."
        ),
        "Training": (
            "mean wall time per fold of training the generator, synthesis and training the classifier. One generator "
            "serves all ratios and classifiers."
        ),
    }


def _scored(unit: ScoredUnit) -> str:
    if not unit.per_group:
        return f"Every image is scored: {unit.note}"
    return f"{unit.each.capitalize()}, the mean probability over a {unit.group}'s images is scored once."


def verdict_terms(info: ReportInfo) -> dict[str, str]:
    """Return the definitions of difference and verdict, with the numbers of this run."""
    subsets = dict.fromkeys(a.subset for a in info.arms if a.subset)
    apart = "".join(f"; arms {subset} are a family of their own" for subset in subsets)
    return {
        "Difference": (
            f"in {info.unit.metric}, in points [95 % interval of the test; clipped to ±100]; > 0: the arm is better. "
            f"{TESTS[test_of(info)]}"
        ),
        "Verdict": (
            f"*helps* or *hurts*: that test rejects no difference at {100 * info.alpha:.2g} %, Holm-corrected over the "
            f"arms of a classifier{apart}{_declared(info)}; *equivalent*: two one-sided tests, corrected likewise, "
            f"show that the difference lies within ±{100 * info.margin:g} points; *undecided*: neither."
        ),
        "Minimum detectable effect": (
            "the true difference, in points, that this design detects with 80 % power at the level that decides."
        ),
    }


STATISTICS_TERMS = {
    "p, p Holm": "of the test of the verdict, before and after Holm's correction over its family.",
    "Level": "alpha divided by the number of tests of the family.",
}


TESTS = {
    "curve": (
        "Training sets and test patients are crossed random factors: the test covers other training sets and other "
        "test patients."
    ),
    "given": (
        "Trainings and test patients are crossed random factors: the test covers other trainings on this training part "
        "and other test patients, not other training patients."
    ),
    "kfold": (
        "The test counts the variance over patients and over trainings, of these overlapping training sets; a claim "
        "beyond this data set rests on an assumed share of variance."
    ),
    "holdout": "Corrected resampled t test of Nadeau and Bengio (2003), with their whole correction.",
}


def test_of(info: ReportInfo) -> str:
    """Return the key in ``TESTS`` of the test that decides the verdicts of a design."""
    return "curve" if info.is_curve else "given" if info.is_crossed else "kfold" if info.by_folds else "holdout"


def _declared(info: ReportInfo) -> str:
    if info.contrast is None:
        return ""
    return f"; the primary contrast, {info.contrast.arm} against {info.contrast.against}, is tested alone"


def sort_lines(lines: Sequence[Line]) -> list[Line]:
    """Return the lines sorted by primary score, best first; those without a score are last."""
    return sorted(lines, key=rank)


def rank(line: Line) -> float:
    """Return the key that sorts lines by primary score, best first."""
    sign = 1 if line.primary.removeprefix("patient_") in LOWER_IS_BETTER else -1
    return sign * line.score.mean if line.pairs else math.inf


def _statistics(lines: Sequence[Line], reference: str) -> Table:
    found = [(x, x.verdict(reference)) for x in lines]
    columns = {
        "Arm": [arm_name(x.arm) for x, _ in found],
        "Verdict": [word(v) for _, v in found],
        "Difference": [difference(v) for _, v in found],
        "p": [p_value(v.p) for _, v in found],
        "p Holm": [p_value(v.p_adjusted) for _, v in found],
        "Minimum detectable effect": [_detectable(minimum_detectable_effect(x, reference)) for x, _ in found],
    }
    columns["Test"] = [v.test for _, v in found]
    columns["Family"] = [v.family for _, v in found]
    columns["Level"] = [number(v.level) for _, v in found]
    return Table.by_column(columns, 2, f"Difference to {reference}: {lines[0].classifier}")


def arm_name(arm: Arm) -> str:
    """'`cgan` ×0.5'."""
    return f"`{arm.method}`" + arm.label.removeprefix(arm.method)


def word(verdict: Verdict) -> str:
    """Return the verdict's word, bold if it is a claim."""
    if verdict.withheld:
        return "not compared"
    return f"**{verdict.word}**" if verdict.word != "undecided" else verdict.word


def difference(verdict: Verdict) -> str:
    """'+2.1 [−0.3, +4.5]', clipped to ±100 points."""
    ends = interval(max(verdict.low, -1), min(verdict.high, 1), signed=True)
    return f"{points(verdict.difference)} {ends}".strip()


def _detectable(effect: float) -> str:
    return "> 100" if effect > 1 else percent(effect)


def _scores(lines: Sequence[Line], prefix: str, title: str) -> Table:
    columns = {"Arm": [arm_name(x.arm) for x in lines], "Pairs": [f"{x.pairs} of {x.planned}" for x in lines]}
    columns |= {HEADS[s]: score_column(lines, [x.scores[prefix + s] for x in lines]) for s in SCORES}
    if not prefix:
        versus = [x.versus.get("none", {}).get("balanced_accuracy") for x in lines]
        columns["Bal. acc. − none"] = [difference(v) if v else DASH for v in versus]
    return Table.by_column(columns, title=title)


def _each_class(lines: Sequence[Line]) -> Iterator[Block]:
    """Yield a table of arms and classes for each metric of a class against the rest."""
    most = max(x.pairs for x in lines)
    yield (
        "Per image, in %: mean ± sd over pairs, of the class against the rest; in brackets the number of pairs that "
        "define it, if not all do. *Mean* is the macro average: every class has the same weight. The precision of a "
        "class that is never predicted is 0. A class without test images in a pair has no recall there, and that pair "
        "has no mean."
    )
    for metric, title in CLASS_TITLES.items():
        found = [x.of_classes.get(metric, {}) for x in lines]
        names = list(dict.fromkeys(name for scores in found for name in scores))
        columns = {"Arm": [arm_name(x.arm) for x in lines]}
        for name in names:
            scores = [of.get(name, Score.of([])) for of in found]
            texts = bold_best(
                [s.mean for s in scores], [percent(s.mean) for s in scores], [s.n == most for s in scores]
            )
            shown = zip(texts, scores, lines, strict=True)
            head = "Mean" if name == MACRO else literal(name)
            columns[head] = [_spread(t, s) + (f" ({s.n})" if 0 < s.n < x.pairs else "") for t, s, x in shown]
        if names:
            yield f"{title}:"
            yield Table.by_column(columns, title=f"{title}: {lines[0].classifier}")


def score_column(
    lines: Sequence[Line], scores: Sequence[Score], sd: bool = True, ends: bool = True, lower: bool = False
) -> list[str]:
    """Return a column of means with the best in bold, among the lines with the most pairs."""
    most = max((x.pairs for x in lines), default=0)
    best = [-s.mean if lower else s.mean for s in scores]
    means = bold_best(best, [percent(s.mean) for s in scores], [x.pairs == most for x in lines])
    return [_spread(m, s, sd, ends) for m, s in zip(means, scores, strict=True)]


def _spread(mean: str, score: Score, sd: bool = True, ends: bool = True) -> str:
    shown = f" ± {percent(score.sd)}" if sd and math.isfinite(score.sd) else ""
    return f"{mean}{shown} {interval(score.low, score.high) if ends else ''}".strip()


def _compute(lines: Sequence[Line]) -> Table:
    kinds = {"Generator": "generator_s", "Synthesis": "synthesis_s", "Classifier": "classifier_s"}
    columns = {head: [seconds(getattr(x, field)) for x in lines] for head, field in kinds.items()}
    return Table.by_column(
        {"Arm": [arm_name(x.arm) for x in lines]} | columns, title=f"Wall time: {lines[0].classifier}"
    )
