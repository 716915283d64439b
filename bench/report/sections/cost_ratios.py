"""Cost of transfer learning relative to a plain CycleGAN: a table of ratios, and their range in a sentence."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from bench.analysis.questions import COUNTED, Cost, CostRatio
from bench.report.content import Block, Details, Table
from bench.report.text import DASH, join, number, seconds, size
from bench.suite.roles import Roles

HEADS: dict[Cost, str] = {
    "training": "Training",
    "step": "Step",
    "memory": "Peak memory",
    "flops": "GFLOP per step",
    "parameters": "Parameters",
}
WORDS: dict[Cost, str] = {
    "training": "device time of training",
    "step": "device time of a step",
    "memory": "peak memory",
    "flops": "operations per step",
    "parameters": "parameters",
}
SHOW: dict[Cost, Callable[[float], str]] = {
    "training": seconds,
    "step": lambda s: f"{number(1000 * s)} ms",
    "memory": size,
    "flops": lambda n: f"{number(n / 1e9)}",
    "parameters": lambda n: f"{number(n / 1e6)} M",
}
LONG = 90  # characters of one setting that are shown


HOW = (
    "Geometric means of paired ratios [95 % interval of a plain t test of their logarithms; Holm's correction over the "
    "arms of a column]. Operations and parameters are counted and are the same in every fold. Memory is the peak "
    "allocated on a GPU. On a CPU it is that of the whole process, which includes more than the networks, so the ratio "
    "is too close to 1 there."
)


def cost_blocks(found: Sequence[CostRatio], steps: Mapping[str, int], roles: Roles) -> list[Block]:
    """Return a sentence, and a collapsed table with its explanation; [] if no cost is known for both sides."""
    if not found:
        return []
    other = _other_lengths(found, steps)
    comparable = [r for r in found if r.kind != "training" or r.method not in other]
    plain = join(f"`{p}`" for p in dict.fromkeys(r.plain for r in found))
    kinds = [k for k in HEADS if any(r.kind == k for r in found)]
    by_kind = [_of(comparable, k) for k in kinds]
    details: list[Block] = []
    if lengths := [f"`{a}` {steps[a]} steps against {steps[b]}" for a, b in other.items()]:
        details.append(
            f"Trained for other numbers of steps, so that only the cost of a step is comparable: {join(lengths)}."
        )
    details += [_table(found, kinds), *_settings(roles), HOW]
    costs = {"step": "the device time", "memory": "the peak memory", "parameters": "the parameters"}
    said = [f"{_range(of_kind)} times {what}" for k, what in costs.items() if (of_kind := _of(comparable, k))]
    plainly = f"**Transfer learning takes {join(said)} of {plain}.**" if said else ""
    spans = f"Ratios to {plain}: {'; '.join(_span(of_kind) for of_kind in by_kind if of_kind)}."
    if not plainly:
        return [spans, Details("Ratios of every arm", tuple(details))]
    return [plainly, Details("Ratios of every arm", (spans, *details))]


def _other_lengths(found: Sequence[CostRatio], steps: Mapping[str, int]) -> dict[str, str]:
    """Return the methods trained for another number of steps than their plain counterpart, with that counterpart."""
    couples = {r.method: r.plain for r in found}
    return {a: b for a, b in couples.items() if a in steps and b in steps and steps[a] != steps[b]}


def _of(found: Sequence[CostRatio], kind: str) -> list[CostRatio]:
    """Return the ratios of one cost."""
    return [r for r in found if r.kind == kind]


def _range(found: Sequence[CostRatio]) -> str:
    """'1.16 to 2.84'; one number if all are equal as shown."""
    low, high = (_times(pick(r.ratio for r in found)) for pick in (min, max))
    return low if low == high else f"{low} to {high}"


def _span(found: Sequence[CostRatio]) -> str:
    """'device time of training ×1.2 (`a`) to ×3.1 (`b`), **higher** for 7'."""
    low, high = (pick(found, key=lambda r: r.ratio) for pick in (min, max))
    name = WORDS[found[0].kind]
    if len(found) == 1:
        word = "" if low.kind in COUNTED else f", {_word(low.word)}"
        return f"{name} {_ratio(low)}{word}"
    words = {w: sum(r.word == w for r in found) for w in ("higher", "lower", "equal", "undecided")}
    said = [f"{_word(w)} for {'all' if n == len(found) else n}" for w, n in words.items() if n]
    ends = f"×{_times(low.ratio)} (`{low.method}`) to ×{_times(high.ratio)} (`{high.method}`)"
    if _times(low.ratio) == _times(high.ratio):
        ends = f"×{_times(low.ratio)}"
    return f"{name} {ends}, {join(said)}"


def _word(word: str) -> str:
    return word if word == "undecided" else f"**{word}**"


def _times(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.1f}" if ratio < 100 else f"{ratio:.0f}"


def _ratio(r: CostRatio) -> str:
    ends = f" [{_times(r.low)}, {_times(r.high)}]" if math.isfinite(r.low) else ""
    return f"×{_times(r.ratio)}{ends}"


def _table(found: Sequence[CostRatio], kinds: Sequence[Cost]) -> Table:
    """Return one row in units for each plain method, and below it the ratios of the arms compared with it."""
    at = {(r.method, r.plain, r.kind): r for r in found}
    rows = []
    for plain in dict.fromkeys(r.plain for r in found):
        of_plain = [r for r in found if r.plain == plain]
        base = [next((SHOW[k](r.base) for r in of_plain if r.kind == k), DASH) for k in kinds]
        rows.append([f"`{plain}`, plain", *base, str(max(r.pairs for r in of_plain))])
        for method in dict.fromkeys(r.method for r in of_plain):
            cells = [_cell(at.get((method, plain, k))) for k in kinds]
            rows.append([f"`{method}`", *cells, str(max(r.pairs for r in of_plain if r.method == method))])
    return Table.of(["Arm", *(HEADS[k] for k in kinds), "Pairs"], rows, title="Cost ratios")


def _cell(r: CostRatio | None) -> str:
    if r is None:
        return DASH
    text = _ratio(r)
    return text if r.kind in COUNTED or r.word == "undecided" else f"**{text}**"


def _settings(roles: Roles) -> list[Block]:
    """Return the settings in which the arms differ from the plain method."""
    arms = [c.method for c in roles.counterparts]
    of = {d: [c.method for c in roles.counterparts if d in c.differs] for c in roles.counterparts for d in c.differs}
    groups = {tuple(methods): [d for d in of if of[d] == methods] for methods in of.values()}
    largest = sorted(groups.items(), key=lambda group: -len(group[0]))
    said = [f"{_arms(methods, arms)}: {', '.join(d[:LONG] for d in settings)}" for methods, settings in largest]
    return (
        [f"Settings that differ from the plain method (whose value is in brackets): {'; '.join(said)}."] if said else []
    )


def _arms(some: Sequence[str], every: Sequence[str]) -> str:
    others = [m for m in every if m not in some]
    if not others:
        return "all"
    if len(others) < len(some):
        return f"all but {join(f'`{m}`' for m in others)}"
    return join(f"`{m}`" for m in some)
