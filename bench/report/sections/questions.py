"""The four research questions: this run's answer in words, the numbers, and what would decide open ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from bench.analysis.differences import Difference
from bench.analysis.info import ReportInfo
from bench.analysis.questions import EFFECT, Finding, Lack, Name, Question
from bench.report.sections.cost_ratios import cost_parts
from bench.report.sections.differences import SHARES, SHOW, change, phrase
from bench.report.sections.leaderboard import arm_name
from bench.report.sections.other_datasets import other_dataset_parts
from bench.report.text import DASH, count, folded, join, number, p_value, percent, table
from bench.suite.roles import Roles

TITLES: dict[Name, str] = {
    "transfer": "1. How does transfer learning change the synthetic images, and the classifiers trained on them?",
    "cost": "2. What does transfer learning cost in compute, memory and training time, compared with a plain CycleGAN?",
    "modalities": "3. Does the effect generalise to other imaging modalities?",
    "others": "4. How does it compare with other generative methods?",
}
NAMES = {"kid": "KID, test", "diversity": "Diversity", "recall": "Recall", "coverage": "Coverage"}
NAMES |= {"memorised": "Memorised samples", "accuracy": "Accuracy", "training": "Training"}
FAR = 10  # times the real-vs-real baseline of KID: above it all images are far from real ones
OPEN = 18  # rows of a table; tables with more are folded
NAMED = 3  # suites, claims of one sort
HOPELESS = 1000  # pairs
REASON = 120  # characters


def question_section(found: Sequence[Question], info: ReportInfo) -> list[str]:
    """Return heading, sentences and tables of the questions; [] where the roles of the methods are not known."""
    roles = info.roles
    if roles is None or not found:
        return []
    if not info.generative:
        return ["## The research questions\n", "This run makes no synthetic images, so it cannot answer them.\n"]
    parts = ["## The research questions\n"]
    parts += [_caption(info)] if any(q.findings or q.costs for q in found) else []
    for q in found:
        parts += [f"### {TITLES[q.name]}\n", *_answer(q, roles, info)]
    return parts


def _caption(info: ReportInfo) -> str:
    return (
        f"Paired over (fold, repeat) [95 % interval, uncorrected]: accuracy ({info.unit.metric}) by the test of the "
        "verdicts, the rest by a plain paired t test. Holm's correction runs over the comparisons of one measure, not "
        "over measures: without any effect, one measure in 20 is decided by chance. *Minimum detectable effect*: the "
        "difference that this number of pairs and spread detects with 80 % power, before that correction. *Pairs "
        f"needed*: to detect {100 * EFFECT:g} points of accuracy, or for any other measure the observed difference (∞: "
        "no number of repeats of these folds is enough).\n"
    )


def _answer(q: Question, roles: Roles, info: ReportInfo) -> list[str]:
    if q.name == "cost":
        answered = cost_parts(q.costs, q.steps, roles)
    elif q.name == "modalities":
        answered = other_dataset_parts(q, info)
    else:
        answered = [*_sentences(q, roles, info), *_tables(q.findings, info)] if q.findings else []
    if q.name == "modalities":
        return answered
    lacks = [f"{_lacks(q.lacks)}\n"] if q.lacks else []
    return [*answered, *lacks] if answered else [f"**This run cannot answer it**: {_why(q, roles, info)}\n", *lacks]


def _sentences(q: Question, roles: Roles, info: ReportInfo) -> Iterable[str]:
    open_ = sum(f.difference.word == "undecided" for f in q.findings)
    total = count(len(q.findings), "comparison")
    lead = f"**Decided in {len(q.findings) - open_} of {total}.**"
    if open_ == len(q.findings):
        lead = "**Undecided.**" if open_ == 1 else f"**Undecided** in all {total}."
    yield f"{lead} {_how(q)}\n"
    couples = list(dict.fromkeys((f.difference.arm.method, f.difference.reference) for f in q.findings))
    lines = [
        _couple(a, b, [f for f in q.findings if (f.difference.arm.method, f.difference.reference) == (a, b)], q, info)
        for a, b in couples
    ]
    yield "".join(f"- {line}\n" for line in lines)
    for sentence in (_overall(q), _far(q), _needed(q.findings, info), _alone(roles) if q.name == "transfer" else ""):
        if sentence:
            yield f"{sentence}\n"


def _how(q: Question) -> str:
    if q.name == "transfer":
        return "Each arm and its from-scratch counterpart differ only in the initial weights of the discriminators:"
    return (
        "Every arm with transfer learning is compared with every other generator; none is selected by its test score:"
    )


def _couple(a: str, b: str, found: Sequence[Finding], q: Question, info: ReportInfo) -> str:
    """Return a sentence on two methods: decided measures with numbers, and the names of undecided ones."""
    claims = [f.difference for f in found if f.difference.word != "undecided"]
    phrases = [phrase(d, info) for d in claims if d.kind != "accuracy"]
    accuracies = [d for d in claims if d.kind == "accuracy"]
    phrases += [phrase(d, info) for d in accuracies[:NAMED]]
    phrases += [f"accuracy decided in {len(accuracies) - NAMED} more"] if len(accuracies) > NAMED else []
    rest = [f.difference for f in found if f.difference.word == "undecided"]
    kinds = {k: [d for d in rest if d.kind == k] for k in dict.fromkeys(d.kind for d in rest)}
    open_ = [_undecided(of_kind) for of_kind in kinds.values()]
    phrases += [f"undecided: {join(open_)}"] if open_ else []
    steps = [q.steps.get(m) for m in (a, b)]
    trained = f" (trained for {steps[0]} and {steps[1]} steps)" if all(steps) and steps[0] != steps[1] else ""
    return f"`{a}` compared with `{b}`{trained}: {'; '.join(phrases)}."


def _undecided(found: Sequence[Difference]) -> str:
    name = NAMES[found[0].kind].removesuffix(", test")
    name = name if name.isupper() else name.lower()
    return f"{name} ({change(found[0])})" if len(found) == 1 else f"{name} in {len(found)} comparisons"


def _overall(q: Question) -> str:
    """Return how many decisions would remain with a correction over all measures."""
    if not q.decided or len({f.difference.metric for f in q.findings}) == 1:
        return ""
    if q.decided == 1:
        left = "the one decided difference remains decided" if q.overall else "no difference remains decided"
    else:
        some = {0: "none", q.decided: "all"}.get(q.overall, str(q.overall))
        verb = "is" if q.overall < 2 else "are"
        left = f"{some} of the {q.decided} decided differences {verb} still decided"
    return f"With a correction over all {len(q.findings)} comparisons instead of one for each measure, {left}."


def _far(q: Question) -> str:
    """Return a warning if all images are far from real ones, so that a difference between them means little."""
    means = [m for f in q.findings if f.difference.kind == "kid" for m in (f.difference.value, f.difference.base)]
    if not means or not q.floor > 0 or min(means) < FAR * q.floor:
        return ""
    steps = sorted(set(q.steps.values()))
    trained = f" after {join(map(str, steps))} steps" if steps and len(steps) < NAMED else ""
    return (
        f"All of these images are far from real ones{trained}: KID {number(min(means))} or more, with a real-vs-real "
        f"baseline of {number(q.floor)}. The result holds for this training budget only."
    )


def _needed(found: Sequence[Finding], info: ReportInfo) -> str:
    """Return the minimum detectable effect in accuracy, and the number of pairs needed for ``EFFECT``."""
    scored = [f for f in found if f.difference.kind == "accuracy"]
    undecided = [f for f in scored if f.difference.word == "undecided"]
    if not scored:
        return (
            "Nothing can be said about classifiers: no pair has the accuracy of both sides." if info.classifiers else ""
        )
    if not undecided:
        return ""
    known = [f for f in undecided if math.isfinite(f.smallest)]
    if not known:
        return "The number of pairs needed to decide on accuracy is unknown: the pairs show no spread."
    effects, pairs = sorted(f.smallest for f in known), count(known[0].difference.pairs, "pair")
    few, many = percent(effects[0]), percent(min(effects[-1], 1.0))
    span = few if few == many else f"{few} to {many}"
    text = f"Accuracy: {pairs} of this spread detect {span} points or more"
    if effects[0] > 1:
        text = f"Accuracy: {pairs} of this spread cannot detect any possible difference"
    needs = sorted(f.needed for f in known)
    if math.isinf(needs[-1]):
        some = "" if math.isinf(needs[0]) else f" in {sum(map(math.isinf, needs))} of {len(needs)} comparisons"
        return f"{text}; repeats of these folds never detect {100 * EFFECT:g} points{some}: more patients are needed."
    few, many = (f"{n:.0f}" for n in (needs[0], needs[-1]))
    return f"{text}; {100 * EFFECT:g} points need {few if few == many else f'{few} to {many}'} pairs."


def _alone(roles: Roles) -> str:
    """Return a sentence on random-weight arms without a pretrained counterpart."""
    paired = {m for ablation_pairs in roles.ablation_pairs for m in ablation_pairs}
    alone = [m for m in roles.random if m not in paired]
    if not alone:
        return ""
    lacks = "a pretrained counterpart" if len(alone) == 1 else "pretrained counterparts"
    return f"Without {lacks} in this run, and therefore not compared: {join(f'`{m}`' for m in alone)}."


def _why(q: Question, roles: Roles, info: ReportInfo) -> str:
    """Return what is missing for an answer, and suites that have it."""
    if q.name in roles.answers:
        return "no fold has results of both sides. Run the suite again to repeat failed cells."
    what = {"transfer": _no_ablation_pairs, "cost": _no_plain}.get(q.name, _no_others)(roles)
    suites = roles.elsewhere.get(q.name, ())[:NAMED]
    return f"{what}." + (f" Suites that can answer it: {join(f'`{s}`' for s in suites)}." if suites else "")


def _no_ablation_pairs(roles: Roles) -> str:
    if roles.transfer:
        arms, verb = join(f"`{m}`" for m in roles.transfer[:NAMED]), "have" if len(roles.transfer) > 1 else "has"
        rest = f" and {len(roles.transfer) - NAMED} more" if len(roles.transfer) > NAMED else ""
        return (
            f"{arms}{rest} {verb} no from-scratch counterpart: a second arm with the same config and `pretrained: "
            "false`"
        )
    if roles.random:
        arms, verb = join(f"`{m}`" for m in roles.random[:NAMED]), "start" if len(roles.random) > 1 else "starts"
        return f"{arms} {verb} from random weights, and no arm from pretrained ones"
    return "no arm has discriminators that could be pretrained"


def _no_plain(roles: Roles) -> str:
    if roles.transfer or roles.random:
        return "no arm is a plain CycleGAN"
    return "no arm has discriminators that could be pretrained" if roles.plain else "no arm is of the CycleGAN family"


def _no_others(roles: Roles) -> str:
    if not roles.transfer:
        return "no arm has pretrained discriminators"
    return "every generator of this run is a CycleGAN; one of another kind, such as a conditional GAN, is needed"


def _lacks(found: Sequence[Lack]) -> str:
    """Return the cells that are missing for this answer."""
    same = {(x.stage, _ended(x), x.pairs): None for x in found}
    methods = {at: [x.method for x in found if (x.stage, _ended(x), x.pairs) == at] for at in same}
    items = [
        f"`{stage}` of {join(f'`{m}`' for m in methods[stage, ended, pairs])} {ended} in {_pairs_named(pairs)}"
        for stage, ended, pairs in same
    ]
    shown = items[: 2 * NAMED]
    rest = [f"{len(items) - len(shown)} more of this kind"] if len(items) > len(shown) else []
    return f"**Incomplete:** {join([*shown, *rest])}."


def _ended(lack: Lack) -> str:
    if lack.status == "missing":
        return "was not run"
    return f"failed ({lack.reason[:REASON]})" if lack.status == "failed" and lack.reason else lack.status


def _pairs_named(pairs: Sequence[tuple[int, int]]) -> str:
    names = [f"{fold}" + (f".{repeat}" if repeat else "") for fold, repeat in pairs]
    return f"{'fold' if len(names) == 1 else 'folds'} {join(names)}"


def _tables(found: Sequence[Finding], info: ReportInfo) -> list[str]:
    columns = {
        "Measure": [_measure(f.difference, info) for f in found],
        "Arm": [
            arm_name(f.difference.arm) if f.difference.classifier else f"`{f.difference.arm.method}`" for f in found
        ],
        "Compared with": [f"`{f.difference.reference}`" for f in found],
        "Verdict": [_word(f.difference.word) for f in found],
        "Difference": [change(f.difference) for f in found],
        "p Holm": [p_value(f.difference.p_holm) for f in found],
        "Arm mean": [SHOW[f.difference.kind](f.difference.value) for f in found],
        "Reference mean": [SHOW[f.difference.kind](f.difference.base) for f in found],
        "Minimum detectable effect": [_detectable(f) for f in found],
        "Pairs": [f"{f.difference.pairs} of {len(info.pairs)}" for f in found],
        "Pairs needed": [_pairs(f) for f in found],
    }
    if len({(f.difference.arm.method, f.difference.reference) for f in found}) == 1 and len(info.ratios) == 1:
        del columns["Arm"], columns["Compared with"]  # the sentence above names them
    text = table(list(columns), zip(*columns.values(), strict=True), left=list(columns).index("Difference"))
    note = (
        "Recall, coverage, memorised samples and accuracy in %, differences in points. Lower KID is closer to real "
        "images.\n"
    )
    return [note, folded(f"All {len(found)} comparisons", text) if len(found) > OPEN else text]


def _measure(d: Difference, info: ReportInfo) -> str:
    return NAMES[d.kind] + (f", {d.classifier}" if len(info.classifiers) > 1 and d.classifier else "")


def _word(word: str) -> str:
    return word if word == "undecided" else f"**{word}**"


def _detectable(f: Finding) -> str:
    if not math.isfinite(f.smallest):
        return DASH
    if f.difference.kind in SHARES and f.smallest > 1:
        return "> 100"
    return SHOW[f.difference.kind](f.smallest)


def _pairs(f: Finding) -> str:
    """'34' or '∞'; a dash for a decided comparison."""
    if f.difference.word != "undecided" or math.isnan(f.needed):
        return DASH
    return "∞" if math.isinf(f.needed) else f"> {HOPELESS}" if f.needed > HOPELESS else f"{f.needed:.0f}"
