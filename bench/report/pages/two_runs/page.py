"""A comparison of two runs as sections, for terminal and markdown; the terminal omits the appendix. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from bench.analysis.info import ReportInfo
from bench.analysis.lines import METRICS
from bench.analysis.two_runs.changes import ABSENT, Changed
from bench.analysis.two_runs.comparison import Comparison
from bench.analysis.two_runs.scores import IDENTICAL, Difference
from bench.analysis.two_runs.side import Side
from bench.report.content import Section, Table
from bench.report.text import DASH, count, join, literal, number, p_value, percent, points, seconds, signed

IMAGES = ("synthetic/test/kid_", "synthetic/test/fid_", "cycle/ssim", "fcn/iou", "memorised/flagged_share")
LONG = 60  # most characters of a setting's value


def _section(
    title: str,
    lines: Sequence[str] = (),
    header: Sequence[str] = (),
    rows: Sequence[Sequence[str]] = (),
    left: int = 1,
    detail: bool = False,
) -> Section:
    """Return a section of plain text; the first ``left`` columns contain words."""
    table = [Table.of(list(map(literal, header)), [list(map(literal, row)) for row in rows], left)] if rows else []
    return Section(literal(title), (*map(literal, lines), *table), appendix=detail)


def sections(c: Comparison) -> list[Section]:
    """Return the comparison, summary first."""
    parts = [_section(f"{c.b.name} against {c.a.name}", tuple(summary(c)), *_sides(c))]
    parts += _changes(c)
    if not c.identical:
        parts += [_scores(c, m, all(d.identical for d in c.scores if d.metric == m)) for m in c.main_metrics]
        parts += _images(c, False)
    parts += _costs(c)
    if c.only:
        rows = tuple((x.side, x.kind, ", ".join(x.names)) for x in c.only)
        parts.append(_section("Only in one run", (), ("Only in", "What", "Names"), rows, left=3))
    if not c.identical:
        others = [m for m in METRICS if m not in c.main_metrics]
        parts += [_scores(c, m, True) for m in others if any(d.metric == m for d in c.scores)]
        parts += _images(c, True)
    return parts


def summary(c: Comparison) -> Iterator[str]:
    """Yield the sentences of the summary."""
    yield from (*c.a.notes, *c.b.notes)
    if c.identical:
        means = sum(not d.pairs for d in c.images)
        more = f"; {means} means of image metrics, without values by fold in a report, are equal too"
        yield f"identical: {c.values} values, no difference" + (more if means else "")
        return
    if not c.paired:
        yield (
            f"Not paired, and therefore without verdicts: {'; '.join(c.unpaired_because)}. Below are the means of two "
            "experiments with Welch's intervals: effects of settings and of folds cannot be separated."
        )
        return
    for metric, name in c.main_metrics.items():
        yield _verdicts([d for d in c.scores if d.metric == metric], name)
    equal = sum(d.same for d in (*c.scores, *c.images))
    if c.values:
        yield f"{c.values} values of scores and image metrics were compared in pairs; {equal} of them are equal."
    else:
        yield "The two runs have no arm with a score in the same fold: nothing can be compared."


def _verdicts(found: Sequence[Difference], name: str) -> str:
    words = Counter(d.word for d in found)
    order = [w for w in ("better", "worse", "equivalent", "undecided", IDENTICAL) if words[w]]
    said = join(f"{w} in {words[w]}" for w in order) if len(order) > 1 else f"{order[0]} in all"
    text = f"B − A in {name}, {count(len(found), 'arm')}: {said}."
    moved = [d for d in found if not d.identical]
    if moved:
        most = max(moved, key=lambda d: abs(d.mean))
        text += f" The largest mean difference is {points(most.mean)} points ({most.arm.label}, {most.classifier})"
        text += ", which cannot be distinguished from chance." if most.word == "undecided" else f": {most.word}."
    return text


def _sides(c: Comparison) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...], int]:
    def folds(info: ReportInfo) -> str:
        return f"{info.protocol} ({count(len(info.pairs), 'pair')})"

    rows: dict[str, Callable[[Side], str]] = {
        "Folder": lambda side: side.name,
        "Suite": lambda side: f"{side.info.suite} on {side.info.dataset}",
        "Folds": lambda side: folds(side.info),
        "Code": lambda side: side.info.git_commit or DASH,
        "Machine": lambda side: side.info.host or DASH,
    }
    return ("", "A", "B"), tuple((name, show(c.a), show(c.b)) for name, show in rows.items()), 3


def _changes(c: Comparison) -> Iterator[Section]:
    rows = [(kind, x) for kind in ("config", "data", "code") for x in getattr(c, kind)]
    missing = [s.name for s in (c.a, c.b) if s.config is None]
    lines = [f"{join(missing)}: no suite.yaml, so settings cannot be compared."] if missing else []
    unknown = [s.name for s in (c.a, c.b) if not s.info.data.classes]
    lines += [f"{join(unknown)}: a report of an earlier version, without class sizes."] if unknown else []
    lines += [] if rows else ["Nothing: settings, data, code and machine are the same."]
    table = tuple((kind, x.path, *_values(x)) for kind, x in rows)
    yield _section("What changed", tuple(lines), ("Part", "Setting", "A", "B") if table else (), table, left=4)


def _values(x: Changed) -> tuple[str, str]:
    def shown(value: object) -> str:
        if value is ABSENT:
            return DASH
        if isinstance(value, Mapping):
            return count(len(value), "setting")
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return text if len(text) <= LONG else f"{text[: LONG - 1]}…"

    return shown(x.a), shown(x.b)


def _scores(c: Comparison, metric: str, detail: bool) -> Section:
    found = [d for d in c.scores if d.metric == metric]
    margin = points(c.margin).lstrip("+")
    lines = (f"In per cent, differences in points; p with Holm's correction; equivalence margin ±{margin} points.",)
    header, rows = _table(found, percent, points, by_classifier=True)
    name = c.main_metrics.get(metric) or metric.replace("_", " ")
    title = name[0].upper() + name[1:]
    return _section(title, lines if c.paired and not detail else (), header, rows, left=2, detail=detail)


def _images(c: Comparison, detail: bool) -> Iterator[Section]:
    for metric in dict.fromkeys(d.metric for d in c.images):
        found = [d for d in c.images if d.metric == metric]
        matters = metric.startswith(IMAGES) and not all(d.identical for d in found)
        if matters == detail:
            continue
        without = c.paired and not any(d.pairs for d in found)
        lines = (
            ("Not paired: one of the reports has no values by fold; a current `bench report` writes them.",)
            if without
            else ()
        )
        header, rows = _table(found, number, signed, by_classifier=False)
        yield _section(f"Images: {metric}", lines, header, rows, left=1, detail=detail)


def _table(
    found: Sequence[Difference], show: Callable[[float], str], change: Callable[[float], str], by_classifier: bool
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return header and rows: arm, both means, difference with interval, p, verdict."""
    rows = []
    for d in found:
        known = d.low == d.low
        ends = f" [{change(d.low)}, {change(d.high)}]" if known else ""
        p = d.p_adjusted if d.pairs else d.p
        n = str(d.pairs) if d.pairs else f"{d.a.n}, {d.b.n}"
        row = (n, show(d.a.mean), show(d.b.mean), change(d.mean) + ends, p_value(p), d.word)
        rows.append((d.arm.label, *([d.classifier] if by_classifier else []), *row))
    header = ("Arm", *(["Classifier"] if by_classifier else []), "Pairs", "A", "B", "B − A [95 %]", "p", "Verdict")
    return header, tuple(rows)


def _costs(c: Comparison) -> Iterator[Section]:
    if not c.costs:
        return
    unit = c.costs[0].unit
    lines = [f"Mean {unit} seconds of a cell, summed over the arms of both runs."]
    if c.machines_differ:
        lines.append(
            f"The machines differ (A: {c.a.info.host or 'unknown'}; B: {c.b.info.host or 'unknown'}): "
            "the ratios depend more on them than on the code."
        )
    elif unit == "wall":
        lines.append("Wall time depends on other load of the machine; reports of earlier versions have no device time.")
    rows = []
    for stage in dict.fromkeys(x.stage for x in c.costs):
        mine = [x for x in c.costs if x.stage == stage]
        a, b = sum(x.a_s for x in mine), sum(x.b_s for x in mine)
        rows.append((stage, str(len(mine)), seconds(a), seconds(b), _ratio(b, a)))
    a, b = sum(x.a_s for x in c.costs), sum(x.b_s for x in c.costs)
    rows.append(("all", str(len(c.costs)), seconds(a), seconds(b), _ratio(b, a)))
    yield _section("Cost", tuple(lines), ("Stage", "Arms", "A", "B", "B / A"), tuple(rows))
    trained = [x for x in c.costs if x.stage in ("fit", "classify")]
    arms = tuple(
        (x.stage, x.arm.label, x.classifier, seconds(x.a_s), seconds(x.b_s), _ratio(x.b_s, x.a_s)) for x in trained
    )
    if arms:
        yield _section("Cost by arm", (), ("Stage", "Arm", "Classifier", "A", "B", "B / A"), arms, left=3, detail=True)


def _ratio(b: float, a: float) -> str:
    return f"{b / a:.2f}" if a > 0 else DASH
