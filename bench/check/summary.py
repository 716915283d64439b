"""The comparison as markdown, for a pull request or the summary page of a CI run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.check.baseline import Baseline
from bench.check.compare import Comparison, Finding, shown
from bench.check.rows import WORDS
from bench.cost.host import describe_host, git_commit, versions
from bench.files import write_atomic

MOST = 60  # rows named


def write_summary(path: Path, baseline: Baseline, comparison: Comparison, device: str, update: str) -> None:
    """Write the file."""
    sign = "❌" if comparison.failed else "✅"
    lines = [f"### {sign} `bench check --suite {baseline.suite}`: {comparison.verdict()}", ""]
    lines += ["| | rows | moved | missing | added | faster |", "| --- | ---: | ---: | ---: | ---: | ---: |"]
    for kind, states in comparison.counts().items():
        counts = " | ".join(str(states[s]) for s in ("moved", "missing", "added", "better"))
        lines.append(f"| {WORDS[kind]} | {states.total()} | {counts} |")
    lines += ["", *_named(comparison.regressions), *_notes(comparison, update)]
    lines += [
        f"- Baseline: commit {baseline.commit}, {baseline.machine}. Now: {git_commit()}, {describe_host(device)}."
    ]
    lines += [f"- {text}" for text in other_versions(baseline)]
    write_atomic(path, "\n".join(lines) + "\n")


def other_versions(baseline: Baseline) -> list[str]:
    """Return one sentence per library with another version than in the baseline."""
    now = versions()
    return [f"{k}: {v} then, {now.get(k)} now" for k, v in baseline.versions.items() if now.get(k) != v]


def _named(findings: Sequence[Finding]) -> list[str]:
    if not findings:
        return []
    lines = [
        "| Cell or arm | Quantity | Baseline | Now | Moved by | Tolerance |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for f in findings[:MOST]:
        now = "missing" if f.state == "missing" else shown(f.now)
        texts = (f.cell, f.quantity, shown(f.baseline), now, f.by, shown(f.tolerance) if f.by else "")
        lines.append(f"| {' | '.join(t.replace('|', '/') for t in texts)} |")
    if len(findings) > MOST:
        lines.append(f"\nand {len(findings) - MOST} more")
    return [*lines, ""]


def _notes(comparison: Comparison, update: str) -> list[str]:
    added, better = comparison.of("added"), comparison.of("better")
    notes = []
    if added:
        names = ", ".join(f"{f.cell}: {f.quantity}" for f in added[:10])
        more = f" and {len(added) - 10} more" if len(added) > 10 else ""
        notes.append(f"- Not in the baseline, therefore not compared: {names}{more}.")
    if better:
        notes.append("- Lower costs than in the baseline: " + ", ".join(f"{f.cell}: {f.text}" for f in better) + ".")
    if comparison.failed or added or better:
        notes.append(f"- If the change is intended, measure the baseline again and commit it: `{update}`")
    return notes
