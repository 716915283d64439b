"""Cells that failed, were skipped or are missing: the pairs left of each arm and generator, and the causes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.analysis.failures import Failure, Shortfall
from bench.analysis.info import ReportInfo
from bench.analysis.lines import Gap, Line
from bench.analysis.report import Records
from bench.report.content import Block, Section, Table
from bench.report.sections.leaderboard import arm_name
from bench.report.text import DASH, count, fold_name, folds_named, join, literal
from bench.suite.suite import REFERENCES

ENDED = {
    "failed": "failed",
    "skipped": "was skipped after a failure",
    "missing": "was not run",
    "done": "is undefined",
}


def sections(records: Records, info: ReportInfo) -> Iterator[Section]:
    """Yield the gaps and the pairs left, and the table of causes; nothing if all cells are done."""
    short = [x for x in (*records.lines, *records.multiplied) if x.gaps]
    if not (records.failures or short):
        return
    blocks: list[Block] = [_counts(records.failures)] if records.failures else []
    blocks += [text for r in REFERENCES if (text := _reference(r, short, info))]
    if short:
        blocks += [_arms(short, info), OTHER_PATIENTS]
    if records.shortfalls:
        blocks.append(_generators(records.shortfalls, info))
    if records.failures:
        blocks += ["Causes:", _causes(records.failures, info)]
    yield Section("Failed, skipped and missing", tuple(blocks), 45, appendix=False)


OTHER_PATIENTS = (
    "A verdict uses the pairs shared with its reference; Holm's correction counts the arms with two pairs or more. "
    "Means over fewer pairs are of other patients than the other means."
)


def _reference(name: str, short: Sequence[Line], info: ReportInfo) -> str:
    """Return a sentence on a reference that lacks pairs, which limits everything compared with it; '' if none does."""
    mine = [x for x in short if x.arm.method == name and x.arm in info.arms]
    if not mine:
        return ""
    left = join(dict.fromkeys(f"{x.pairs} of {x.planned}" for x in mine))
    return f"**`{name}` itself has only {left} pairs**: no verdict against it uses more."


def _arms(short: Sequence[Line], info: ReportInfo) -> Table:
    columns = {
        "Arm": [arm_name(x.arm) for x in short],
        "Classifier": [x.classifier for x in short],
        "Missing": [f"{folds_named([g.pair for g in x.gaps], info.is_curve)} ({_why(x.gaps)})" for x in short],
        "Pairs left": [f"{x.pairs} of {x.planned}" for x in short],
    }
    table = Table.by_column(columns, 3, "Missing scores")
    return table if len(info.classifiers) > 1 else table.without("Classifier")


def _generators(found: Sequence[Shortfall], info: ReportInfo) -> Table:
    columns = {
        "Method": [f"`{x.method}`" if x.method else "all" for x in found],
        "Stage": [x.stage for x in found],
        "Missing": [folds_named(x.pairs, info.is_curve) for x in found],
        "Pairs left": [f"{x.planned - len(x.pairs)} of {x.planned}" for x in found],
    }
    return Table.by_column(columns, 3, "Missing results of generators")


def _counts(failed: Sequence[Failure]) -> str:
    """'5 cells failed, 12 skipped after a failure and 3 not run.'"""
    by = {status: sum(f.cells for f in failed if f.status == status) for status in ("failed", "skipped")}
    by["missing"] = sum(f.cells for f in failed) - by["failed"] - by["skipped"]
    texts = {"failed": "failed", "skipped": "skipped after a failure", "missing": "not run"}
    (first, verb), *rest = [(n, texts[status]) for status, n in by.items() if n]
    were = "" if verb == "failed" else "was " if first == 1 else "were "
    said = [f"{count(first, 'cell')} {were}{verb}", *(f"{n} {text}" for n, text in rest)]
    return f"{join(said)}. `bench run` repeats failed cells and runs missing ones."


def _why(gaps: Sequence[Gap]) -> str:
    return join(dict.fromkeys(f"{g.stage} {ENDED.get(g.status, g.status)}" for g in gaps))


def _causes(failed: Sequence[Failure], info: ReportInfo) -> Table:
    rows = []
    for f in failed:
        methods = ", ".join(f"`{m}`" for m in f.methods) or DASH
        folds = ", ".join(map(fold_name, f.pairs))
        rows.append(
            [f.status, f.stage, str(f.cells), methods, ", ".join(f.where) or DASH, folds, literal(f.reason[:300])]
        )
    head = ["Status", "Stage", "Cells", "Method", "Classifier", "Sets" if info.is_curve else "Folds", "Reason"]
    return Table.of(head, rows, 7, "Causes")
