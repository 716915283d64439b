"""Cells that failed, were skipped or are missing, and the effect on every verdict that depends on them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from bench.analysis.failures import Failure, Family, Loss, Shortfall
from bench.analysis.info import ReportInfo
from bench.analysis.lines import Gap
from bench.analysis.report import Records
from bench.report.sections.leaderboard import arm_name
from bench.report.text import DASH, count, folded, join, literal, percent, table
from bench.suite.arms import Arm

OPEN = 25  # rows of a table; longer ones are folded
NAMED = 6
ENDED = {
    "failed": "failed",
    "skipped": "was skipped after a failure",
    "missing": "was not run",
    "done": "is undefined",
}
MEANS = {  # what the report lacks without a stage
    "split": "everything",
    "fit": "the cost of training",
    "synthesize": "the images",
    "fidelity": "the image fidelity metrics",
    "memorised": "the search for memorised samples",
    "fcn_score": "the FCN score of translations",
    "translate": "the translations",
    "discriminator_classifier": "the discriminator classifier",
}


def failure_section(records: Records, info: ReportInfo) -> list[str]:
    """Return heading, the effect of gaps on verdicts, and the table of failures; [] if all cells are done."""
    if not (records.failures or records.losses):
        return []
    parts = ["## Failed, skipped and missing\n"]
    parts += [f"{_counts(records.failures)}\n"] if records.failures else []
    if records.losses:
        parts.append("Effect on the verdicts:\n")
        parts.append("".join(f"- {line}\n" for line in _sentences(records, info)))
        text = _loss_table(records.losses, info)
        parts.append(folded(f"All {len(records.losses)} verdicts", text) if len(records.losses) > OPEN else text)
    if records.shortfalls:
        parts.append("Effect on the sections about generators:\n")
        parts.append("".join(f"- {line}\n" for line in _generators(records.shortfalls, info)))
    if any(f.stage == "segmentation" for f in records.failures):
        parts.append(
            "Segmentation networks lack pairs: their table above gives the number of pairs behind each verdict.\n"
        )
    elif records.failures and not (records.losses or records.shortfalls):
        parts.append("No verdict and no metric of a generator is affected.\n")
    if records.failures:
        text = _failure_table(records.failures)
        many = len(records.failures) > OPEN
        parts += ["Causes:\n", folded(f"All {len(records.failures)} causes", text) if many else text]
    return parts


def _counts(failed: Sequence[Failure]) -> str:
    """'5 cells failed, 12 skipped after a failure and 3 not run.'"""
    by = {status: sum(f.cells for f in failed if f.status == status) for status in ("failed", "skipped")}
    by["missing"] = sum(f.cells for f in failed) - by["failed"] - by["skipped"]
    texts = {"failed": "failed", "skipped": "skipped after a failure", "missing": "not run"}
    (first, verb), *rest = [(n, texts[status]) for status, n in by.items() if n]
    were = "" if verb == "failed" else "was " if first == 1 else "were "
    said = [f"{count(first, 'cell')} {were}{verb}", *(f"{n} {text}" for n, text in rest)]
    return f"{join(said)}. `bench run` repeats failed cells and runs missing ones."


def _sentences(records: Records, info: ReportInfo) -> Iterable[str]:
    yield from _references(records.losses, info)
    fewer = [x for x in records.losses if x.word and x.pairs >= 2]
    if fewer:
        claims = [x for x in fewer if x.word != "undecided"]
        said = (
            f", including these claims: {join(_claim(x, info) for x in claims[:NAMED])}"
            if claims
            else ", all undecided"
        )
        rest = f" and {len(claims) - NAMED} more" if len(claims) > NAMED else ""
        yield f"{count(len(fewer), 'verdict')} based on fewer pairs than planned{said}{rest}. {_grown(fewer)}"
    yield from _holm(records.families, info)
    if short := [x for x in records.longer if x.gaps]:
        arms = join(f"{arm_name(x.arm)}{_with(x.classifier, info)} {x.pairs} of {x.planned}" for x in short[:NAMED])
        yield f"The compute-matched references also have fewer pairs: {arms}."
    yield "Means over fewer pairs are of other patients than the other means; only paired differences are comparable."


def _references(losses: Sequence[Loss], info: ReportInfo) -> Iterable[str]:
    """Return sentences on references that lack pairs, which affects everything compared with them."""
    hit: dict[tuple[str, tuple[Gap, ...], int], list[Loss]] = {}
    for at in dict.fromkeys((x.reference, x.classifier) for x in losses if x.theirs):
        mine = [x for x in losses if (x.reference, x.classifier) == at]
        hit.setdefault((at[0], mine[0].theirs, len(mine)), []).append(mine[0])
    for (reference, gaps, arms), of in hit.items():
        planned = of[0].planned
        left = planned - len(gaps)
        every = "the only verdict" if arms * len(of) == 1 else f"all {arms * len(of)} verdicts"
        means = f"so {every} against it can use at most {left} of {count(planned, 'pair')}"
        means = f"so there is no verdict against it at all ({count(arms, 'arm')})" if not left else means
        means += ", and none can be decided" if left == 1 else ""
        where = _among([x.classifier for x in of], info)
        yield f"**`{reference}` itself lacks {_folds(gaps)}**{where} ({_why(gaps)}), {means}."


def _grown(losses: Sequence[Loss]) -> str:
    """Return by how much the minimum detectable effect has grown, over the verdicts where both are known."""
    known = [(x.smallest, x.whole) for x in losses if math.isfinite(x.smallest) and math.isfinite(x.whole)]
    grown = [(now, whole) for now, whole in known if now <= 1]
    if not known:
        return "The loss of power is unknown: the remaining pairs have no spread to estimate it from."
    never = len(known) - len(grown)
    rest = f"{never} of them can no longer detect any possible difference." if never else ""
    if not grown:
        return rest
    few = [percent(pick(now for now, _ in grown)) for pick in (min, max)]
    more = [percent(pick(now - whole for now, whole in grown)) for pick in (min, max)]
    span, by = (a if a == b else f"{a} to {b}" for a, b in (few, more))
    text = f"Their minimum detectable effect is {span} points, {by} more than with all planned pairs of this spread."
    return f"{text} {rest}".strip()


def _holm(families: Sequence[Family], info: ReportInfo) -> Iterable[str]:
    alike: dict[tuple[str, int, tuple[Arm, ...], bool], list[str]] = {}
    for f in families:
        alike.setdefault((f.reference, f.planned, f.lost, f.without_memorised), []).append(f.classifier)
    for (reference, planned, lost, without_memorised), classifiers in alike.items():
        left = planned - len(lost)
        arms = join([arm_name(a) for a in lost[:NAMED]] + ([f"{len(lost) - NAMED} more"] * (len(lost) > NAMED)))
        where = (
            "against "
            f"`{reference}`{_among(classifiers, info)}{' without memorised samples' if without_memorised else ''}"
        )
        if not left:
            yield f"None of {planned} comparisons {where} is left: fewer than two pairs each."
            continue
        yield (
            f"Holm's correction {where} covers at most {left} of {planned} comparisons, without {arms} (fewer "
            f"than two pairs). The lowest p is multiplied by {left} instead of {planned}, so the remaining "
            "comparisons are decided more easily than planned."
        )


def _loss_table(losses: Sequence[Loss], info: ReportInfo) -> str:
    columns = {
        "Arm": [arm_name(x.arm) for x in losses],
        "Classifier": [x.classifier for x in losses],
        "Reference": [f"`{x.reference}`" for x in losses],
        "Verdict": [DASH if not x.word else x.word if x.word == "undecided" else f"**{x.word}**" for x in losses],
        "Pairs": [f"{x.pairs} of {x.planned}" for x in losses],
        "Minimum detectable effect": [_effect(x.smallest) for x in losses],
        "MDE with all pairs": [_effect(x.whole) for x in losses],
        "Lost": [_lost(x) for x in losses],
        "Consequence": [_consequence(x) for x in losses],
    }
    if len(info.classifiers) == 1:
        del columns["Classifier"]
    return table(list(columns), zip(*columns.values(), strict=True), left=len(columns))


def _consequence(x: Loss) -> str:
    if not x.pairs:
        return "no verdict; not counted in Holm's correction"
    if x.pairs == 1:
        return "one pair has no spread: always undecided; not counted in Holm's correction"
    if not (math.isfinite(x.smallest) and math.isfinite(x.whole)):
        return "fewer pairs without spread: the power is unknown"
    if x.smallest > 1:
        return "no possible difference is large enough to be detected"
    return f"the minimum detectable effect grew by {percent(x.smallest - x.whole)} points"


def _lost(x: Loss) -> str:
    own = f"{_folds(x.own)} ({_why(x.own)})" if x.own else ""
    theirs = f"{_folds(x.theirs)} of `{x.reference}` ({_why(x.theirs)})" if x.theirs else ""
    return "; ".join(filter(None, (own, theirs)))


def _why(gaps: Sequence[Gap]) -> str:
    return join(dict.fromkeys(f"{g.stage} {ENDED.get(g.status, g.status)}" for g in gaps))


def _folds(gaps: Sequence[Gap]) -> str:
    return _pairs([g.pair for g in gaps])


def _pairs(pairs: Sequence[tuple[int, int]]) -> str:
    names = [f"{fold}" + (f".{repeat}" if repeat else "") for fold, repeat in pairs]
    return f"{'fold' if len(names) == 1 else 'folds'} {join(names)}"


def _claim(x: Loss, info: ReportInfo) -> str:
    return f"{arm_name(x.arm)} {x.word} against `{x.reference}`{_with(x.classifier, info)} on {count(x.pairs, 'pair')}"


def _with(classifier: str, info: ReportInfo) -> str:
    return _among([classifier], info)


def _among(classifiers: Sequence[str], info: ReportInfo) -> str:
    """Return the names of these classifiers as text; '' if the suite has only one."""
    if len(info.classifiers) == 1:
        return ""
    return " with every classifier" if len(classifiers) == len(info.classifiers) else f" with {join(classifiers)}"


def _effect(value: float) -> str:
    return DASH if not math.isfinite(value) else "> 100" if value > 1 else percent(value)


def _generators(found: Sequence[Shortfall], info: ReportInfo) -> Iterable[str]:
    """Return, for each method, the folds that its stages lack and the research questions that use it."""
    for method in dict.fromkeys(x.method for x in found):
        mine = [x for x in found if x.method == method]
        by_pairs = {x.pairs: [y for y in mine if y.pairs == x.pairs] for x in mine}
        said = [f"{_of(same[0])} for {join(MEANS.get(x.stage, x.stage) for x in same)}" for same in by_pairs.values()]
        asked = _asked(method, info)
        part = f"; it is used in {'questions' if len(asked) > 1 else 'question'} {join(asked)} above" if asked else ""
        part += "; every difference to it lacks these pairs" if method and method == info.reference else ""
        yield f"{f'`{method}`' if method else 'All methods'}: {'; '.join(said)}{part}."


def _of(x: Shortfall) -> str:
    left = x.planned - len(x.pairs)
    return f"{_pairs(x.pairs)} missing, {left} of {count(x.planned, 'pair')} left," if left else "every fold missing"


def _asked(method: str, info: ReportInfo) -> list[str]:
    """Return the numbers of the research questions that use a method."""
    roles = info.roles
    if roles is None:
        return []
    rivals = (*roles.transfer, *roles.others) if roles.transfer and roles.others else ()
    costs = {m for c in roles.counterparts for m in (c.method, c.plain)}
    parts = {"1": {m for t in roles.ablation_pairs for m in t}, "2": costs, "4": set(rivals)}
    return [number for number, methods in parts.items() if method in methods]


def _failure_table(failed: Sequence[Failure]) -> str:
    rows = []
    for f in failed:
        methods = ", ".join(f"`{m}`" for m in f.methods) or DASH
        folds = ", ".join(f"{fold}" + (f".{repeat}" if repeat else "") for fold, repeat in f.pairs)
        rows.append(
            [f.status, f.stage, str(f.cells), methods, ", ".join(f.where) or DASH, folds, literal(f.reason[:300])]
        )
    return table(["Status", "Stage", "Cells", "Method", "Classifier", "Folds", "Reason"], rows, left=7)
