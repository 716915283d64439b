"""The page over all members: the answer in a sentence a measure, the figure, the table, and what is missing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bench.cross.chart import CAPTION
from bench.cross.effects import MEASURES, Effect, Measure, Member
from bench.cross.together import Pooled
from bench.metrics.meta_analysis import FEWEST
from bench.report.sections.text import count, interval, join, number, p_value, percent, points, table

ASKED: dict[Measure, str] = {
    "gain": "Does the gain over `none` hold across kinds of images?",
    "twin": "Does the effect of transfer learning on accuracy hold?",
    "kid": "And on the likeness of the images (KID, lower is better)?",
}
SIDE_BY_SIDE: dict[Measure, str] = {  # members of one data set are no studies of their own, and are not combined
    "gain": "The gain over `none` in each member, side by side",
    "twin": "The effect of transfer learning on accuracy in each member, side by side",
    "kid": "And on the likeness of the images (KID, lower is better)",
}
HOW = """\
A data set is one study: its mean paired difference and standard error are those of its own report (patient-level
balanced accuracy, corrected resampled t; KID by a plain paired t). *Together* is the random-effects mean over data
sets (DerSimonian & Laird 1986) with the Hartung–Knapp interval, never narrower than the sets' own errors allow; its
verdict is corrected by Holm over the arms with one classifier. τ is how far true effects lie apart between sets (sd),
I² their share of what is seen to vary. *next* is where the effect on one more data set of this sort is expected (95 %
prediction interval). An arm **holds** when the mean is decided and *next* leaves out zero too; it is decided **on
average** when only the mean is; it **differs** when sets contradict each other and the mean is undecided."""
LIMITS = (
    "The sets are few and were not drawn at random, and each error is itself estimated from few folds: an interval "
    "over so few sets is wide for a reason, and undecided is not the same as no effect."
)


def cross_page(
    name: str,
    members: Sequence[Member],
    pooled: Sequence[Pooled],
    absent: Mapping[str, str],
    command: str,
    figure: str | None,
) -> str:
    """Return the page as Markdown."""
    parts = [f"# {name}\n", *(f"{text}\n" for text in answers(members, pooled).values())]
    parts += ["".join(f"- {_described(m)}\n" for m in members)]
    if figure:
        parts += [f"![Every arm on every data set, and all together]({figure})\n\n{CAPTION}\n"]
    parts += ["## Every arm on every data set\n", _table(members, pooled), f"{HOW}\n\n{LIMITS}\n"]
    parts += ["## What is missing\n", _missing(members, pooled, absent), f"## Again\n\n```\n{command}\n```\n"]
    return "\n".join(parts)


def answers(members: Sequence[Member], pooled: Sequence[Pooled]) -> dict[str, str]:
    """Return the answer to each measure's question, a sentence or two each; nothing for what no member measured."""
    found: dict[str, str] = {}
    for measure in MEASURES:
        mine = [p for p in pooled if p.at.measure == measure]
        if mine and len({m.dataset for m in members}) < len(members):
            found[measure] = f"**{SIDE_BY_SIDE[measure]}.** {_alone(mine)}"
        elif mine:
            found[measure] = f"**{ASKED[measure]}** {_answer(mine)}"
    return found or {"none": "No member has a result yet."}


def _answer(mine: Sequence[Pooled]) -> str:
    able = [p for p in mine if p.found.studies >= FEWEST]
    if not able:
        few = f"It takes {FEWEST} data sets with an interval to say something together; there are fewer."
        return f"{_alone(mine)} {few}"
    sets = max(p.found.studies for p in able)
    decided = [p for p in able if p.word != "undecided"]
    said = [f"{_called(p)} {p.word} ({_size(p, _unit(p))}; **{p.carries}**)" for p in decided]
    parts = [f"Over {count(sets, 'data set')}: {join(said)}." if said else f"Over {count(sets, 'data set')}:"]
    rest = [p for p in able if p.word == "undecided"]
    if rest:
        split = [_called(p) for p in rest if p.carries == "differs"]
        best = min(rest, key=lambda p: p.found.p)
        near = f"{'nearest: ' if len(rest) > 1 else ''}{_called(best)}, {_size(best, _unit(best))}"
        which = f"{'the other' if decided else 'all'} {len(rest)} comparisons are"
        which = which if len(rest) > 1 else "the only other comparison is" if decided else "the only comparison is"
        contradict = f"; sets contradict each other on {join(split)}" if split else ""
        parts.append(f"{which} **undecided** ({near}, p Holm {p_value(best.p_holm)}){contradict}.")
    apart = [_called(p) for p in able if p.found.p_alike < 0.05]
    if apart:
        parts.append(f"The sets are not alike (Cochran's Q, p < 0.05, uncorrected) on {join(apart)}.")
    return " ".join(p[0].upper() + p[1:] if i and parts[i - 1].endswith(".") else p for i, p in enumerate(parts))


def _alone(mine: Sequence[Pooled]) -> str:
    """Say what single members decide, where nothing is said together."""
    sure = [
        f"{_called(p)} {e.word} on {name}"
        for p in mine for name, e in p.effects if e.word != "undecided"
    ]  # fmt: skip
    return f"Decided by themselves: {join(sure)}." if sure else "No member decides anything by itself."


def _called(p: Pooled) -> str:
    with_ = f" with {p.at.classifier}" if p.at.classifier else ""
    return f"`{p.at.arm}`{with_}"


def _unit(p: Pooled) -> str:
    return "" if p.at.measure == "kid" else " points"


def _size(p: Pooled, unit: str = "") -> str:
    t = p.found
    return (
        f"{_difference(p.at.measure, t.mean, t.low, t.high)}{unit}, next {_ends(p.at.measure, t.next_low, t.next_high)}"
    )


def _described(m: Member) -> str:
    kind = f" ({m.modality})" if m.modality else ""
    data = f"{' / '.join(m.classes)}, {m.images} images of {m.groups}; {m.protocol}"
    return f"**{m.name}**: `{m.dataset}`{kind}, {data}; [its own report](../{m.suite}/leaderboard.md)"


def _table(members: Sequence[Member], pooled: Sequence[Pooled]) -> str:
    by_at = {(p.at.measure, p.at.classifier, p.at.arm): p for p in pooled}
    rows: list[list[str]] = []
    classifier = ""
    for gain in (p for p in pooled if p.at.measure == "gain"):
        if gain.at.classifier != classifier:
            classifier = gain.at.classifier
            alone = [(m.name, m.scores.get((classifier, "none"), math.nan)) for m in members]
            rows += _block("`none`", classifier, [[name, percent(x), *[""] * 7] for name, x in alone])
        twin = by_at.get(("twin", classifier, gain.at.arm))
        kid = by_at.get(("kid", "", gain.at.arm.split()[0]))
        three: list[Pooled | None] = [gain, twin, kid]
        block = []
        for m in members:
            effects = [dict(p.effects).get(m.name) if p else None for p in three]
            if any(effects):
                score = percent(m.scores.get((classifier, gain.at.arm), math.nan))
                pairs = max(e.pairs for e in effects if e)
                block.append([m.name, score, *(c for e in effects for c in _cells(e)), str(pairs)])
        together = [c for p in three for c in _together(p)]
        if any(together):
            block.append([f"**{gain.found.studies} together**", "", *together, ""])
        rows += _block(f"`{gain.at.arm}`", classifier, block)
    columns = ("Accuracy", "− `none`", "Verdict", "− twin", "Verdict", "KID − twin", "Verdict")
    return table(("Arm", "Classifier", "Data set", *columns, "Pairs"), rows, left=3)


def _block(arm: str, classifier: str, rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return rows with what they are of in front of the first."""
    return [[*(("", "") if i else (arm, classifier)), *row] for i, row in enumerate(rows)]


def _cells(e: Effect | None) -> tuple[str, str]:
    if e is None:
        return "", ""
    return _difference(e.at.measure, e.difference, e.low, e.high), _word(e.word)


def _together(p: Pooled | None) -> tuple[str, str]:
    if p is None or p.found.studies < FEWEST:
        return "", ""
    t = p.found
    tau = number(t.tau) if p.at.measure == "kid" else f"{100 * t.tau:.1f}"
    judged = _word(p.word) if p.word == p.carries else f"{_word(p.word)}, **{p.carries}**"
    return f"{_size(p)}, τ {tau}, I² {100 * t.i2:.0f} %", judged


def _word(word: str) -> str:
    return word if word == "undecided" else f"**{word}**"


def _difference(measure: Measure, mean: float, low: float, high: float) -> str:
    shown = points(mean) if measure != "kid" else _signed(mean)
    return f"{shown} {_ends(measure, low, high)}".strip()


def _ends(measure: Measure, low: float, high: float) -> str:
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    if measure == "kid":
        return f"[{_signed(low)}, {_signed(high)}]"
    return interval(max(low, -1), min(high, 1), signed=True)


def _signed(value: float) -> str:
    return ("−" if value < 0 else "+") + number(abs(value))


def _missing(members: Sequence[Member], pooled: Sequence[Pooled], absent: Mapping[str, str]) -> str:
    found = [f"{name}: the whole member ({reason})" for name, reason in absent.items()]
    found += [f"{m.name}: {text}" for m in members for text in m.missing]
    found += [f"{name}: {_called(p)} ({p.at.measure}) has no interval" for p in pooled for name in p.left_out]
    has = {p.at: {name for name, _ in p.effects} for p in pooled}
    lacks = {at: [m.name for m in members if m.name not in names] for at, names in has.items()}
    found += [f"{join(names)}: `{at.arm}` ({at.measure}) was not measured" for at, names in lacks.items() if names]
    return "".join(f"- {text}\n" for text in found) or "Nothing: every arm has every pair on every data set.\n"
