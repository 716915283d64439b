"""The learning curve: verdicts at each size, worth in patients, controls and rank stability."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from bench.analysis.curve import ArmWorth, ControlResult, Curve
from bench.analysis.info import ReportInfo
from bench.analysis.report import Records
from bench.report.content import Block, Section, Table, charts
from bench.report.sections.leaderboard import arm_name, difference, word
from bench.report.text import DASH, count, join, percent, points, seconds


def sections(records: Records, info: ReportInfo) -> Iterator[Section]:
    """Yield the section on the curve, and one on the ranks in the appendix; nothing for another design."""
    curve = records.curve
    if curve is None:
        return
    blocks: list[Block] = []
    for classifier in info.classifiers:
        if len(info.classifiers) > 1:
            blocks.append(f"### {classifier}")
        blocks.append(_table(curve, classifier, info))
    yield Section("Learning curve", tuple(blocks), 20, False, curve_terms(info))
    yield Section("Rank stability", order=105, claims=charts("ranks"))


def curve_terms(info: ReportInfo) -> dict[str, str]:
    """Return the definitions of worth and device time."""
    groups = info.unit.groups
    return {
        f"Worth in {groups}": (
            f"how many more real {groups} `none` needs to reach the arm's score, from the curve of `none` "
            f"between its sizes, with a 95 % interval over training sets and test {groups}. *Less than 0*: "
            f"the arm is worse than `none` with the same {groups}; *more than the curve shows*: better than `none` at "
            "its largest size."
        ),
        "Device time": "of one generator and its synthetic images, per training set.",
    }


def _table(curve: Curve, classifier: str, info: ReportInfo) -> Table:
    """Return a row for each arm and size: verdict, difference to `none`, minimum detectable effect, worth."""
    worths = {(w.arm, w.train_patients): w for w in curve.worths if w.classifier == classifier}
    found = [c for c in curve.comparisons if c.classifier == classifier]
    order = {arm: i for i, arm in enumerate(info.arms)}
    found.sort(key=lambda c: (order.get(c.arm, 0), c.train_patients or 0))
    head = info.unit.groups.capitalize()
    columns = {
        "Arm": [arm_name(c.arm) for c in found],
        head: [str(c.train_patients) for c in found],
        "Verdict": [word(c.verdict) for c in found],
        "Difference": [difference(c.verdict) for c in found],
        "Minimum detectable effect": [percent(c.verdict.minimum_detectable_effect) for c in found],
        f"Worth in {info.unit.groups}": [worth_text(worths.get((c.arm, c.train_patients or 0))) for c in found],
        "Device time": [_device(worths.get((c.arm, c.train_patients or 0))) for c in found],
        "Sets": [str(c.verdict.sets) for c in found],
    }
    return Table.by_column(columns, 3, f"Learning curve: {classifier}", keep_empty=False)


def worth_text(found: ArmWorth | None) -> str:
    """'+14 [+6, +25]', 'less than 0', 'more than the curve shows', with the interval."""
    if found is None:
        return DASH
    w = found.worth
    ends = f" [{_end(w.low)}, {_end(w.high)}]" if not (math.isnan(w.low) or math.isnan(w.high)) else ""
    if w.kind == "value":
        return f"{w.value:+.0f}{ends}".replace("-", "−")
    return ("less than 0" if w.kind == "below 0" else "more than the curve shows") + ends


def _end(value: float) -> str:
    if math.isinf(value):
        return "more than the curve" if value > 0 else "less than 0"
    return f"{value:+.0f}".replace("-", "−")


def _device(found: ArmWorth | None) -> str:
    return seconds(found.device_s) if found and math.isfinite(found.device_s) else DASH


def control_sentence(controls: Sequence[ControlResult], info: ReportInfo) -> str:
    """Return whether both controls came out as they must; a run without power says so."""
    more = [c for c in controls if c.name == "more patients"]
    noise = [c for c in controls if c.name == "noise"]
    groups, said = info.unit.groups, []
    if more:
        parts = [_control(c, f"{c.comparison.reference_patients} to {c.comparison.train_patients}", info) for c in more]
        said.append(f"Positive control, more real {groups} for `none`: {join(parts)}.")
        if not any(c.held for c in more):
            said.append(
                f"**This run had no power**: not even more real {groups} are decided to help, so *undecided* says "
                "nothing about an arm."
            )
    if noise:
        several = len({c.comparison.train_patients for c in noise}) > 1
        parts = [
            _control(c, c.comparison.arm.label + f", {c.comparison.train_patients} {groups}" * several, info)
            for c in noise
        ]
        said.append(f"Negative control, images of noise: {join(parts)}.")
        if not all(c.held for c in noise):
            said.append("**Noise is decided to help**: do not trust the verdicts of this run.")
    return " ".join(said)


def _control(control: ControlResult, name: str, info: ReportInfo) -> str:
    verdict, classifier = control.comparison.verdict, control.comparison.classifier
    of = f" ({classifier})" if len(info.classifiers) > 1 else ""
    return f"{name}{of} {word(verdict)} {points(verdict.difference)}"


def curve_design(records: Records, info: ReportInfo) -> str:
    """Return the sentence of the answer on sets, test patients and the minimum detectable effect."""
    curve, size = records.curve, info.verdict_size
    found = [c.verdict for c in curve.comparisons if c.train_patients == size] if curve else []
    effects = sorted(v.minimum_detectable_effect for v in found if math.isfinite(v.minimum_detectable_effect))
    if not found or curve is None:
        return ""
    sets, groups = max(v.sets for v in found), max(v.groups for v in found)
    text = f"{count(sets, 'disjoint training set')} of {size} {info.unit.groups}, {groups:,} test {info.unit.groups}"
    if effects:
        low, high = percent(effects[0]), percent(effects[-1])
        span = low if low == high else f"{low} to {high}"
        text += f": minimum detectable effects {span} points"
    return f"{text}. {control_sentence(curve.controls, info)}".strip()
