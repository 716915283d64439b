"""Made-up reports of a file's members: what the report over all of them reads of each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bench.metrics.statistics import corrected_resampled_t, verdicts
from bench.report.export import plain

SETS = {"one": "histology", "two": "ultrasound", "three": "dermoscopy", "four": "immunohistochemistry"}


def report_of(
    name: str, gains: Mapping[str, Sequence[float]], twin: Sequence[float] = (), **info: Any
) -> dict[str, Any]:
    """Return what cross reports read of a leaderboard.json: accuracy minus none by method, one twin's KID."""
    judged = verdicts(dict(gains), 0.02, 0.25)
    lines = [
        {"classifier": "net", "method": m, "ratio": "0" if m == "classical" else "1", "pairs": len(gains[m]),
         "planned": 5, "scores": {"patient_balanced_accuracy": {"mean": 0.7 + float(np.mean(gains[m]))}},
         "gaps": [{"reason": "not run yet"}] if len(gains[m]) < 5 else [],
         "versus": {"none": {"patient_balanced_accuracy": asdict(v)}}} for m, v in judged.items()
    ]  # fmt: skip
    lines.append({**lines[0], "method": "none", "ratio": "0", "pairs": 5, "versus": {},
                  "scores": {"patient_balanced_accuracy": {"mean": 0.7}}})  # fmt: skip
    findings = []
    if len(twin):
        t = corrected_resampled_t(twin, 0.0)
        word = "undecided" if t.p > 0.05 else "lower" if t.t < 0 else "higher"
        arm = {"method": "tl", "ratio": "0"}
        findings = [{"difference": {
            "kind": "kid", "classifier": "", "arm": arm, "reference": "tl_scratch", "mean": float(np.mean(twin)),
            "low": t.low, "high": t.high, "word": word, "pairs": len(twin)}}]  # fmt: skip
    sizes = [{"images": 40, "groups": 5}, {"images": 60, "groups": 7}]
    described = {
        "suite": f"cross-{name}", "dataset": f"{name}_set", "modality": SETS[name], "classes": ["a", "b"],
        "data": {"classes": sizes, "groups": "patients"}, "protocol": "5-fold, patients disjoint", "margin": 0.02,
    }  # fmt: skip
    questions = [{"name": "transfer", "findings": findings}]
    return plain({"info": {**described, **info}, "lines": lines, "questions": questions})


def folders(root: Path, reports: Mapping[str, dict[str, Any]]) -> dict[str, Path]:
    found = {}
    for name, report in reports.items():
        found[f"cross-{name}"] = root / f"cross-{name}"
        found[f"cross-{name}"].mkdir(parents=True)
        (found[f"cross-{name}"] / "leaderboard.json").write_text(json.dumps(report))
    return found


def made(centres: Mapping[str, float], sd: float = 0.01, kid: float = -0.1) -> dict[str, dict[str, Any]]:
    rng = np.random.default_rng(0)
    return {
        name: report_of(name, {"classical": rng.normal(0, 0.05, 5), "tl": rng.normal(centre, sd, 5)},
                        rng.normal(kid, 0.02, 5))
        for name, centre in centres.items()
    }  # fmt: skip
