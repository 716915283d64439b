"""The research questions that the run can answer: its answer in words; the numbers in collapsed tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from bench.analysis.differences import Difference
from bench.analysis.info import ReportInfo
from bench.analysis.questions import Finding, Lack, Name, Question
from bench.analysis.report import Records
from bench.report.content import Block, Details, Section, Table, charts
from bench.report.sections.cost_ratios import cost_blocks
from bench.report.sections.differences import SHARES, SHOW, change, mean_change, phrase
from bench.report.sections.equal_terms import definitions, terms_blocks
from bench.report.sections.leaderboard import arm_name
from bench.report.sections.other_datasets import other_dataset_blocks
from bench.report.text import DASH, count, folds_named, join, number, p_value, percent

TITLES: dict[Name, str] = {
    "transfer": "How does transfer learning change the synthetic images, and the classifiers trained on them?",
    "cost": "What does transfer learning cost, compared with a plain CycleGAN?",
    "modalities": "Does the effect of transfer learning generalise to other imaging modalities?",
    "others": "How does transfer learning compare with other generative methods?",
}
WITHOUT_TRANSFER = "How do the generative methods compare?"  # the last question of a run without transfer learning
SHORT: dict[Name, str] = {
    "transfer": "the effect of transfer learning",
    "cost": "its cost",
    "modalities": "other imaging modalities",
    "others": "other generative methods",
}
NAMES = {"kid": "KID, test", "diversity": "Diversity", "recall": "Recall", "coverage": "Coverage"}
NAMES |= {"memorised": "Memorised samples", "accuracy": "Accuracy", "training": "Training"}
FAR = 10  # times the real-vs-real baseline of KID: above it all images are far from real ones
NAMED = 3  # claims of one sort
COUPLES = 6  # pairs of methods with a sentence
REASON = 120  # characters


def sections(records: Records, info: ReportInfo) -> Iterator[Section]:
    """Yield a section with the answered questions; nothing where the run answers none."""
    terms = terms_blocks(records.equal_terms, info)
    answers = {q.name: _answer(q, info, terms) for q in records.questions if info.roles}
    blocks: list[Block] = []
    for name, answer in answers.items():
        blocks += [f"### {TITLES[name]}", *answer] if answer else []
    if terms and not answers.get("others"):
        blocks += [f"### {WITHOUT_TRANSFER}", *terms]
    rest = [
        _short(q, info) for q in records.questions if not answers.get(q.name) and not (q.name == "others" and terms)
    ]
    if any(answers.values()) and rest:
        blocks.append(f"Not answered by this run: {join(rest)}.")
    found = (definitions(info), charts("equal_terms")) if terms else ({}, ())
    yield Section("Research questions", tuple(blocks), 40, False, *found)


def _short(q: Question, info: ReportInfo) -> str:
    """Return a short name of a question, with suites that can answer it."""
    suites = info.roles.elsewhere.get(q.name, ())[:NAMED] if info.roles else ()
    return SHORT[q.name] + (f" (suites that can: {join(f'`{s}`' for s in suites)})" if suites else "")


def _answer(q: Question, info: ReportInfo, terms: Sequence[Block]) -> list[Block]:
    """Return the answer to a question; [] if the run has none. ``terms`` compare all arms, for the last question."""
    if q.name == "modalities":
        return other_dataset_blocks(q, info)
    answer: list[Block] = []
    if q.name == "cost" and info.roles:
        answer = cost_blocks(q.costs, q.steps, info.roles)
    elif q.findings:
        sentences, closing, table = list(_sentences(q, info)), _closing(q, info), _table(q, info)
        title = f"All {len(q.findings)} comparisons"
        if q.name == "others" and terms:  # its table shows what the closing sentences say of KID
            answer = [_plainly(q, info), *terms, Details(title, (*sentences, closing, NOTE, table))]
        else:
            answer = [_plainly(q, info), closing, Details(title, (*sentences, NOTE, table))]
    return [block for block in answer if block] + ([_lacks(q.lacks, info)] if answer and q.lacks else [])


def _sentences(q: Question, info: ReportInfo) -> Iterator[str]:
    open_ = sum(f.difference.word == "undecided" for f in q.findings)
    total = count(len(q.findings), "comparison")
    lead = f"Decided in {len(q.findings) - open_} of {total}."
    if open_ == len(q.findings):
        lead = "Undecided." if open_ == 1 else f"Undecided in all {total}."
    yield lead
    couples = list(dict.fromkeys((f.difference.arm.method, f.difference.reference) for f in q.findings))
    of = {at: [f for f in q.findings if (f.difference.arm.method, f.difference.reference) == at] for at in couples}
    yield "".join(f"- {_couple(*at, found, q, info)}\n" for at, found in list(of.items())[:COUPLES])
    if len(of) > COUPLES:
        yield f"{len(of) - COUPLES} more pairs of methods are in the table."


def _closing(q: Question, info: ReportInfo) -> str:
    """Return what limits the answer: the correction, images far from real ones, the minimum detectable effect."""
    return " ".join(filter(None, (_overall(q), _far(q), _minimum_detectable(q.findings, info))))


def _plainly(q: Question, info: ReportInfo) -> str:
    """Return the answer in one sentence: images by KID, classifiers by the endpoint, each with the range of changes."""
    kid = [f.difference for f in q.findings if f.difference.kind == "kid"]
    scores = [f.difference for f in q.findings if f.difference.kind == "accuracy"]
    measures = [
        ("images", ("lower", "closer to real ones"), ("higher", "further away"), kid, "KID"),
        ("classifiers", ("helps", "better"), ("hurts", "worse"), scores, info.unit.endpoint_name),
    ]
    open_ = [f"{m[0]} {_span(m[3], m[4])}" for m in measures if m[3] and not _decided(m[3])]
    said = [_outcomes(*m) for m in measures if _decided(m[3])]
    said += [f"no difference of {join(open_, 'or')} is shown"] if open_ else []
    against = "" if q.name == "transfer" else "compared with other generators, "
    lead = f"{against}with transfer learning"
    return f"**{lead[0].upper()}{lead[1:]}, {join(said)}.**" if said else ""


def _decided(found: Sequence[Difference]) -> bool:
    return any(d.word in ("lower", "higher", "helps", "hurts") for d in found)


def _span(found: Sequence[Difference], measure: str) -> str:
    """Return the range of changes: '(AUROC +1.2 to +3.1 points)'."""
    low, high = (mean_change(pick(found, key=lambda d: d.mean)) for pick in (min, max))
    span = low if low == high else f"{low} to {high}"
    return f"({measure} {span}{' points' if found[0].kind in SHARES else ''})"


def _outcomes(what: str, good: tuple[str, str], bad: tuple[str, str], found: Sequence[Difference], measure: str) -> str:
    """Return 'classifiers are better in 1 of 2 comparisons (AUROC +1.2 to +3.1)', of decided comparisons."""
    words = [d.word for d in found]
    decided = [(says, words.count(word)) for word, says in (good, bad) if word in words]
    if len(found) == 1:
        return f"{what} are {decided[0][0]} {_span(found, measure)}"
    said = join([f"{says} in {n}" for says, n in decided])
    return f"{what} are {said} of {len(found)} comparisons {_span(found, measure)}"


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
    if not means or not q.real_baseline > 0 or min(means) < FAR * q.real_baseline:
        return ""
    steps = sorted(set(q.steps.values()))
    trained = f" after {join(map(str, steps))} steps" if steps and len(steps) < NAMED else ""
    return (
        f"All of these images are far from real ones{trained}: KID {number(min(means))} or more, with a real-vs-real "
        f"baseline of {number(q.real_baseline)}. The result holds for this training budget only."
    )


def _minimum_detectable(found: Sequence[Finding], info: ReportInfo) -> str:
    """Return the minimum detectable effect of the undecided comparisons of classifiers."""
    scored = [f for f in found if f.difference.kind == "accuracy"]
    undecided = [f for f in scored if f.difference.word == "undecided"]
    if not scored:
        return (
            "Nothing can be said about classifiers: no pair has the accuracy of both sides." if info.classifiers else ""
        )
    if not undecided:
        return ""
    effects = sorted(f.minimum_detectable for f in undecided if math.isfinite(f.minimum_detectable))
    if not effects:
        return ""
    few, many = percent(effects[0]), percent(min(effects[-1], 1.0))
    span = few if few == many else f"{few} to {many}"
    name = info.unit.endpoint_name
    if effects[0] > 1:
        return f"{name}: this run cannot detect any possible difference."
    return f"{name}: minimum detectable effect of the undecided comparisons {span} points."


def _lacks(found: Sequence[Lack], info: ReportInfo) -> str:
    """Return the cells that are missing for this answer."""
    same = {(x.stage, _ended(x), x.pairs): None for x in found}
    methods = {at: [x.method for x in found if (x.stage, _ended(x), x.pairs) == at] for at in same}
    items = [
        f"`{stage}` of {join(f'`{m}`' for m in methods[stage, ended, pairs])} {ended} in "
        f"{folds_named(pairs, info.is_curve)}"
        for stage, ended, pairs in same
    ]
    shown = items[: 2 * NAMED]
    rest = [f"{len(items) - len(shown)} more of this kind"] if len(items) > len(shown) else []
    return f"**Incomplete:** {join([*shown, *rest])}."


def _ended(lack: Lack) -> str:
    if lack.status == "missing":
        return "was not run"
    return f"failed ({lack.reason[:REASON]})" if lack.status == "failed" and lack.reason else lack.status


NOTE = (
    "Paired over fold × repeat [95 % interval, uncorrected]: accuracy by the test of the verdicts, image measures by "
    "the corrected resampled t test, device times by a plain t test. Holm's correction runs over the comparisons of "
    "one measure, not over measures. Recall, coverage, memorised samples and accuracy in %, differences in points. "
    "Lower KID is closer to real images."
)


def _table(q: Question, info: ReportInfo) -> Table:
    found = q.findings
    columns = {
        "Measure": [_measure(f.difference, info) for f in found],
        "Arm": [
            arm_name(f.difference.arm) if f.difference.classifier else f"`{f.difference.arm.method}`" for f in found
        ],
        "Compared with": [f"`{f.difference.reference}`" for f in found],
        "Verdict": [_word(f.difference.word) for f in found],
        "Difference": [change(f.difference) for f in found],
        "p Holm": [p_value(f.difference.p_adjusted) for f in found],
        "Arm mean": [SHOW[f.difference.kind](f.difference.value) for f in found],
        "Reference mean": [SHOW[f.difference.kind](f.difference.base) for f in found],
        "Minimum detectable effect": [_detectable(f) for f in found],
        "Pairs": [f"{f.difference.pairs} of {len(info.pairs)}" for f in found],
    }
    if len({(f.difference.arm.method, f.difference.reference) for f in found}) == 1 and len(info.ratios) == 1:
        del columns["Arm"], columns["Compared with"]  # the sentence above names them
    return Table.by_column(columns, list(columns).index("Difference"), f"Research question: {q.name}")


def _measure(d: Difference, info: ReportInfo) -> str:
    return NAMES[d.kind] + (f", {d.classifier}" if len(info.classifiers) > 1 and d.classifier else "")


def _word(word: str) -> str:
    return word if word == "undecided" else f"**{word}**"


def _detectable(f: Finding) -> str:
    if not math.isfinite(f.minimum_detectable):
        return DASH
    if f.difference.kind in SHARES and f.minimum_detectable > 1:
        return "> 100"
    return SHOW[f.difference.kind](f.minimum_detectable)
