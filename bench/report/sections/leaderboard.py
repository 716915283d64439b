"""The leaderboard of one classifier: scores and paired differences; and an overview of verdicts."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.analysis.info import ReportInfo
from bench.analysis.lines import MACRO, REFERENCES, SCORES, Line, minimum_detectable_effect
from bench.analysis.rows import Score
from bench.report.text import DASH, bold_best, folded, interval, literal, p_value, percent, points, seconds, table
from bench.stats.inference import Verdict
from bench.suite.arms import Arm

HEADS = {
    "balanced_accuracy": "Bal. acc.",
    "auroc": "AUROC",
    "f1": "F1",
    "sensitivity": "Sens.",
    "specificity": "Spec.",
}
CLASS_TITLES = {
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "auroc": "AUROC, against the rest",
}


def scores_caption(info: ReportInfo) -> str:
    """Return what is scored, and the positive class."""
    unit = info.unit
    over = f"95 % interval over {unit.groups}" + ("" if unit.per_group else ", each with all its images")
    positive = f" Positive class: {info.positive_class}." if info.positive_class else ""
    return f"{unit.each.capitalize()}, in %: mean ± sd over pairs [{over}].{positive}"


def leaderboard_section(classifier: str, lines: Sequence[Line], info: ReportInfo) -> list[str]:
    """Return the tables of one classifier: scores and verdicts shown, the others folded."""
    lines = sort_lines(lines)
    parts = [f"## {classifier}\n", f"{scores_caption(info)}\n", _scores(lines, info.unit.prefix, pairs=True)]
    return parts + comparison_parts(lines)


def comparison_parts(lines: Sequence[Line]) -> list[str]:
    """Return the tables of one classifier other than its primary scores: comparisons shown, the others folded."""
    lines, parts = sort_lines(lines), []
    compared = [x for x in lines if "none" in x.versus]
    if compared:
        parts += ["Difference to `none`, in points:\n", statistics_table(compared, "none")]
    for reference in REFERENCES[1:]:
        against = [x for x in lines if reference in x.versus]
        if against:
            parts.append(folded(f"Difference to {reference}", statistics_table(against, reference)))
    if any(x.primary != "balanced_accuracy" for x in lines):
        parts.append(folded("Scores per image", _scores(lines, "", pairs=False)))
    if any(x.of_classes for x in lines):
        parts.append(folded("Each class", _each_class(lines)))
    parts.append(folded("Compute of each arm, per fold", _compute(lines)))
    return parts


def verdict_overview(lines: Sequence[Line], info: ReportInfo) -> str:
    """Return the verdicts against `none`, one column for each classifier; '' with fewer than two classifiers."""
    found = {(x.arm, x.classifier): x.verdict("none") for x in lines if "none" in x.versus}
    if len({c for _, c in found}) < 2:
        return ""
    arms = [a for a in info.arms if any((a, c) in found for c in info.classifiers)]
    rows = [
        [arm_name(a), *(_word_and_mean(found[a, c]) if (a, c) in found else DASH for c in info.classifiers)]
        for a in arms
    ]
    return table(["Arm", *info.classifiers], rows)


def sort_lines(lines: Sequence[Line]) -> list[Line]:
    """Return the lines sorted by primary score, best first; those without a score are last."""
    return sorted(lines, key=lambda x: -x.score.mean if x.pairs else math.inf)


def statistics_table(lines: Sequence[Line], reference: str) -> str:
    """Return the statistics of the paired comparisons with a reference, in the order of ``lines``."""
    found = [(x, x.verdict(reference)) for x in lines]
    columns = {
        "Arm": [arm_name(x.arm) for x, _ in found],
        "Verdict": [word(v) for _, v in found],
        "Difference": [difference(v) for _, v in found],
        "Effect size": [signed(v.effect_size) for _, v in found],
        "p": [p_value(v.p) for _, v in found],
        "p Holm": [p_value(v.p_holm) for _, v in found],
        "p N&B": [p_value(v.p_nadeau_bengio) for _, v in found],
        "p Wilcoxon": [p_value(v.p_wilcoxon) for _, v in found],
        "Minimum detectable effect": [_detectable(minimum_detectable_effect(x, reference)) for x, _ in found],
    }
    return table(list(columns), zip(*columns.values(), strict=True), left=2)


def arm_name(arm: Arm) -> str:
    """'`cgan` ×0.5'."""
    return f"`{arm.method}`" + arm.label.removeprefix(arm.method)


def word(verdict: Verdict) -> str:
    """Return the verdict's word, bold if it is a claim."""
    return f"**{verdict.word}**" if verdict.word != "undecided" else verdict.word


def difference(verdict: Verdict) -> str:
    """'+2.1 [−0.3, +4.5]', clipped to ±100 points."""
    ends = interval(max(verdict.low, -1), min(verdict.high, 1), signed=True)
    return f"{points(verdict.difference)} {ends}".strip()


def signed(value: float) -> str:
    """Return a number with its sign and two decimals."""
    return f"{value:+.2f}".replace("-", "−") if math.isfinite(value) else DASH


def _word_and_mean(verdict: Verdict) -> str:
    return f"{word(verdict)} {points(verdict.difference)}"


def _detectable(effect: float) -> str:
    return "> 100" if effect > 1 else percent(effect)


def _scores(lines: Sequence[Line], prefix: str, pairs: bool) -> str:
    columns = {"Arm": [arm_name(x.arm) for x in lines]}
    if pairs:
        columns["Pairs"] = [f"{x.pairs} of {x.planned}" for x in lines]
    columns |= {HEADS[s]: score_column(lines, [x.scores[prefix + s] for x in lines]) for s in SCORES}
    if pairs:
        columns["Training"] = [seconds(x.total_s) if x.total_s else DASH for x in lines]
    else:
        versus = [x.versus.get("none", {}).get("balanced_accuracy") for x in lines]
        columns["Bal. acc. − none"] = [difference(v) if v else DASH for v in versus]
    return table(list(columns), zip(*columns.values(), strict=True))


def _each_class(lines: Sequence[Line]) -> str:
    """Return a table of arms and classes for each metric of a class against the rest."""
    most = max(x.pairs for x in lines)
    parts = ["Per image, in %: mean ± sd over pairs; in brackets the number of pairs that define it, if not all do.\n"]
    for metric, title in CLASS_TITLES.items():
        found = [x.of_classes.get(metric, {}) for x in lines]
        names = list(dict.fromkeys(name for scores in found for name in scores))
        columns = [("Arm", [arm_name(x.arm) for x in lines])]
        for name in names:
            scores = [of.get(name, Score.of([])) for of in found]
            texts = bold_best(
                [s.mean for s in scores], [percent(s.mean) for s in scores], [s.n == most for s in scores]
            )
            shown = zip(texts, scores, lines, strict=True)
            head = "Mean" if name == MACRO else literal(name)
            columns.append((head, [_spread(t, s) + (f" ({s.n})" if 0 < s.n < x.pairs else "") for t, s, x in shown]))
        if names:
            heads, cells = zip(*columns, strict=True)
            parts.append(f"{title}:\n\n{table(heads, zip(*cells, strict=True))}")
    return "\n".join(parts)


def score_column(lines: Sequence[Line], scores: Sequence[Score]) -> list[str]:
    """Return a column of means with the best in bold, among the lines with the most pairs."""
    most = max((x.pairs for x in lines), default=0)
    means = bold_best([s.mean for s in scores], [percent(s.mean) for s in scores], [x.pairs == most for x in lines])
    return [_spread(m, s) for m, s in zip(means, scores, strict=True)]


def _spread(mean: str, score: Score) -> str:
    sd = f" ± {percent(score.sd)}" if math.isfinite(score.sd) else ""
    return f"{mean}{sd} {interval(score.low, score.high)}".strip()


def _compute(lines: Sequence[Line]) -> str:
    kinds = {"Generator": "generator_s", "Synthesis": "synthesis_s", "Classifier": "classifier_s"}
    rows = [[arm_name(x.arm), *(seconds(getattr(x, field)) for field in kinds.values())] for x in lines]
    return table(["Arm", *kinds], rows)
