"""What failed, was skipped or is missing; and what that does to every verdict that rests on it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from bench.analysis.failures import Failure, Family, Loss, Shortfall
from bench.analysis.info import Arm, ReportInfo
from bench.analysis.lines import Gap
from bench.analysis.report import Records
from bench.report.sections.leaderboard import arm_name
from bench.report.text import DASH, count, folded, join, literal, percent, table

OPEN = 25  # rows of a table; longer ones are folded
NAMED = 6
ENDED = {
    "failed": "failed",
    "skipped": "was skipped behind a failure",
    "missing": "was not run",
    "done": "is undefined",
}
MEANS = {  # what a stage's absence takes from the report
    "split": "everything",
    "fit": "the cost of training",
    "synthesize": "the images",
    "fidelity": "their likeness to real ones",
    "copies": "the search for copies",
    "segment": "the judge of translations",
    "translate": "the translations",
    "head": "what the generator classifies by itself",
}


def failure_section(records: Records, info: ReportInfo) -> list[str]:
    """Return heading, what the gaps do to verdicts, and the table of what happened; [] when everything ended well."""
    if not (records.failures or records.losses):
        return []
    parts = ["## Failed, skipped and missing\n"]
    parts += [f"{_counts(records.failures)}\n"] if records.failures else []
    if records.losses:
        parts.append("What is missing does to the verdicts:\n")
        parts.append("".join(f"- {line}\n" for line in _sentences(records, info)))
        text = _loss_table(records.losses, info)
        parts.append(folded(f"All {len(records.losses)} verdicts", text) if len(records.losses) > OPEN else text)
    if records.shortfalls:
        parts.append("What is missing does to the generators' own sections:\n")
        parts.append("".join(f"- {line}\n" for line in _generators(records.shortfalls, info)))
    if any(f.stage == "segmenter" for f in records.failures):
        parts.append("Segmentation networks lack pairs: their table above counts what each verdict rests on.\n")
    elif records.failures and not (records.losses or records.shortfalls):
        parts.append("No verdict rests on it, and no measure of a generator.\n")
    if records.failures:
        text = _failure_table(records.failures)
        many = len(records.failures) > OPEN
        parts += ["What happened:\n", folded(f"All {len(records.failures)} kinds of it", text) if many else text]
    return parts


def _counts(failed: Sequence[Failure]) -> str:
    """'5 cells failed, 12 skipped behind a failure and 3 not run.'"""
    by = {status: sum(f.cells for f in failed if f.status == status) for status in ("failed", "skipped")}
    by["missing"] = sum(f.cells for f in failed) - by["failed"] - by["skipped"]
    texts = {"failed": "failed", "skipped": "skipped behind a failure", "missing": "not run"}
    (first, verb), *rest = [(n, texts[status]) for status, n in by.items() if n]
    were = "" if verb == "failed" else "was " if first == 1 else "were "
    said = [f"{count(first, 'cell')} {were}{verb}", *(f"{n} {text}" for n, text in rest)]
    return f"{join(said)}. `bench run` tries again what failed, and does what is not done."


def _sentences(records: Records, info: ReportInfo) -> Iterable[str]:
    yield from _references(records.losses, info)
    fewer = [x for x in records.losses if x.word and x.pairs >= 2]
    if fewer:
        claims = [x for x in fewer if x.word != "undecided"]
        said = f", among them claims: {join(_claim(x, info) for x in claims[:NAMED])}" if claims else ", all undecided"
        rest = f" and {len(claims) - NAMED} more" if len(claims) > NAMED else ""
        yield f"{count(len(fewer), 'verdict')} on fewer pairs than planned{said}{rest}. {_grown(fewer)}"
    yield from _holm(records.families, info)
    if short := [x for x in records.longer if x.gaps]:
        arms = join(f"{arm_name(x.arm)}{_with(x.classifier, info)} {x.pairs} of {x.planned}" for x in short[:NAMED])
        yield f"At equal compute the longer trainings have fewer pairs too: {arms}."
    yield "A mean over fewer pairs is of other patients than its neighbours'; only differences compare pair by pair."


def _references(losses: Sequence[Loss], info: ReportInfo) -> Iterable[str]:
    """Say where a reference itself is hit, and so everything that is compared with it."""
    hit: dict[tuple[str, tuple[Gap, ...], int], list[Loss]] = {}
    for at in dict.fromkeys((x.reference, x.classifier) for x in losses if x.theirs):
        mine = [x for x in losses if (x.reference, x.classifier) == at]
        hit.setdefault((at[0], mine[0].theirs, len(mine)), []).append(mine[0])
    for (reference, gaps, arms), of in hit.items():
        planned = of[0].planned
        left = planned - len(gaps)
        every = "the only verdict" if arms * len(of) == 1 else f"all {arms * len(of)} verdicts"
        means = f"so {every} against it can rest on {left} of {count(planned, 'pair')} at most"
        means = f"so there is no verdict against it at all ({count(arms, 'arm')})" if not left else means
        means += ", and none can be decided" if left == 1 else ""
        where = _among([x.classifier for x in of], info)
        yield f"**`{reference}` itself lacks {_folds(gaps)}**{where} ({_why(gaps)}), {means}."


def _grown(losses: Sequence[Loss]) -> str:
    """Say by how much the smallest effect has grown, over the verdicts where both are known."""
    known = [(x.smallest, x.whole) for x in losses if math.isfinite(x.smallest) and math.isfinite(x.whole)]
    grown = [(now, whole) for now, whole in known if now <= 1]
    if not known:
        return "By how much less they can show cannot be told: the pairs that are left have no spread to go by."
    never = len(known) - len(grown)
    rest = f"{never} of them can no longer find any difference there can be." if never else ""
    if not grown:
        return rest
    few = [percent(pick(now for now, _ in grown)) for pick in (min, max)]
    more = [percent(pick(now - whole for now, whole in grown)) for pick in (min, max)]
    span, by = (a if a == b else f"{a} to {b}" for a, b in (few, more))
    text = (
        f"The smallest effect that they find is {span} points, {by} more than all planned pairs of this spread would."
    )
    return f"{text} {rest}".strip()


def _holm(families: Sequence[Family], info: ReportInfo) -> Iterable[str]:
    alike: dict[tuple[str, int, tuple[Arm, ...], bool], list[str]] = {}
    for f in families:
        alike.setdefault((f.reference, f.planned, f.lost, f.without_memorised), []).append(f.classifier)
    for (reference, planned, lost, without_memorised), classifiers in alike.items():
        left = planned - len(lost)
        arms = join([arm_name(a) for a in lost[:NAMED]] + ([f"{len(lost) - NAMED} more"] * (len(lost) > NAMED)))
        where = f"against `{reference}`{_among(classifiers, info)}{' without copies' if without_memorised else ''}"
        if not left:
            yield f"No comparison {where} is left of {planned}: fewer than two pairs each."
            continue
        yield (
            f"Holm's correction {where} runs over {left} of {planned} comparisons at most, without {arms} (fewer "
            f"than two pairs): the smallest p is multiplied by {left} instead of {planned}, so what is left is "
            "decided more easily than planned."
        )


def _loss_table(losses: Sequence[Loss], info: ReportInfo) -> str:
    columns = {
        "Arm": [arm_name(x.arm) for x in losses],
        "Classifier": [x.classifier for x in losses],
        "Against": [f"`{x.reference}`" for x in losses],
        "Verdict": [DASH if not x.word else x.word if x.word == "undecided" else f"**{x.word}**" for x in losses],
        "Pairs": [f"{x.pairs} of {x.planned}" for x in losses],
        "Smallest effect": [_effect(x.smallest) for x in losses],
        "With all pairs": [_effect(x.whole) for x in losses],
        "Lost": [_lost(x) for x in losses],
        "Consequence": [_consequence(x) for x in losses],
    }
    if len(info.classifiers) == 1:
        del columns["Classifier"]
    return table(list(columns), zip(*columns.values(), strict=True), left=len(columns))


def _consequence(x: Loss) -> str:
    if not x.pairs:
        return "no verdict, and no part of Holm's family"
    if x.pairs == 1:
        return "one pair has no spread: undecided whatever it is, and no part of Holm's family"
    if not (math.isfinite(x.smallest) and math.isfinite(x.whole)):
        return "fewer pairs, without spread: what they could show cannot be told"
    if x.smallest > 1:
        return "no difference there can be is large enough to be found"
    return f"the smallest effect grew by {percent(x.smallest - x.whole)} points"


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
    """Name the classifiers that something is true of, where there are several."""
    if len(info.classifiers) == 1:
        return ""
    return " with every classifier" if len(classifiers) == len(info.classifiers) else f" with {join(classifiers)}"


def _effect(value: float) -> str:
    return DASH if not math.isfinite(value) else "> 100" if value > 1 else percent(value)


def _generators(found: Sequence[Shortfall], info: ReportInfo) -> Iterable[str]:
    """Say of each method what lacks which folds, and which of the research questions it is a part of."""
    for method in dict.fromkeys(x.method for x in found):
        mine = [x for x in found if x.method == method]
        by_pairs = {x.pairs: [y for y in mine if y.pairs == x.pairs] for x in mine}
        said = [f"{_of(same[0])} in {join(MEANS.get(x.stage, x.stage) for x in same)}" for same in by_pairs.values()]
        asked = _asked(method, info)
        part = f"; it is part of {'questions' if len(asked) > 1 else 'question'} {join(asked)} above" if asked else ""
        part += "; every difference to it has lost these pairs" if method and method == info.reference else ""
        yield f"{f'`{method}`' if method else 'All methods'}: {'; '.join(said)}{part}."


def _of(x: Shortfall) -> str:
    left = x.planned - len(x.pairs)
    return f"{_pairs(x.pairs)} missing, {left} of {count(x.planned, 'pair')} left," if left else "every fold missing"


def _asked(method: str, info: ReportInfo) -> list[str]:
    """Return the numbers of the research questions that a method has a part in."""
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
