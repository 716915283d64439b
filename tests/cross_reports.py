"""Made-up reports of a file's members: what the report over all of them reads of each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from bench.config import strict_json
from bench.stats.decide import decide
from bench.stats.folds_test import resampled_test
from bench.stats.inference import corrected_resampled_t

SETS = {"one": "histology", "two": "ultrasound", "three": "dermoscopy", "four": "immunohistochemistry"}


def report_of(
    name: str, gains: Mapping[str, Sequence[float]], from_scratch: Sequence[float] = (), **info: Any
) -> dict[str, Any]:
    """Return what cross reports read of a leaderboard.json: accuracy minus none by method, one counterpart's KID."""
    scored = decide({m: resampled_test(d, 0.25) for m, d in gains.items()}, 0.02)
    lines = [
        {"classifier": "net", "method": m, "ratio": "0" if m == "classical" else "1", "pairs": len(gains[m]),
         "planned": 5, "scores": {"patient_balanced_accuracy": {"mean": 0.7 + float(np.mean(gains[m]))}},
         "gaps": [{"reason": "not run yet"}] if len(gains[m]) < 5 else [],
         "versus": {"none": {"patient_balanced_accuracy": asdict(v)}}} for m, v in scored.items()
    ]  # fmt: skip
    lines.append({**lines[0], "method": "none", "ratio": "0", "pairs": 5, "versus": {},
                  "scores": {"patient_balanced_accuracy": {"mean": 0.7}}})  # fmt: skip
    findings = []
    if len(from_scratch):
        t = corrected_resampled_t(from_scratch, 0.0)
        word = "undecided" if t.p > 0.05 else "lower" if t.t < 0 else "higher"
        arm = {"method": "tl", "ratio": "0"}
        findings = [{"difference": {
            "kind": "kid", "classifier": "", "arm": arm, "reference": "tl_scratch",
            "mean": float(np.mean(from_scratch)),
            "low": t.low, "high": t.high, "word": word, "pairs": len(from_scratch)}}]  # fmt: skip
    sizes = [{"images": 40, "groups": 5}, {"images": 60, "groups": 7}]
    described = {
        "suite": f"cross-{name}", "dataset": f"{name}_set", "modality": SETS.get(name, ""), "classes": ["a", "b"],
        "data": {"classes": sizes, "groups": "patients"}, "protocol": "5-fold, patients disjoint", "margin": 0.02,
    }  # fmt: skip
    questions = [{"name": "transfer", "findings": findings}]
    return strict_json({"info": {**described, **info}, "lines": lines, "questions": questions})


def folders(root: Path, reports: Mapping[str, dict[str, Any]]) -> dict[str, Path]:
    found = {}
    for name, report in reports.items():
        found[f"cross-{name}"] = root / f"cross-{name}"
        found[f"cross-{name}"].mkdir(parents=True)
        (found[f"cross-{name}"] / "leaderboard.json").write_text(json.dumps(report))
        if "config" in report:
            (found[f"cross-{name}"] / "suite.yaml").write_text(yaml.safe_dump(report["config"]))
    return found


def made(centres: Mapping[str, float], sd: float = 0.01, kid: float = -0.1) -> dict[str, dict[str, Any]]:
    rng = np.random.default_rng(0)
    return {
        name: report_of(name, {"classical": rng.normal(0, 0.05, 5), "tl": rng.normal(centre, sd, 5)},
                        rng.normal(kid, 0.02, 5))
        for name, centre in centres.items()
    }  # fmt: skip


def shift_report(
    name: str,
    scores: Mapping[str, Sequence[float]],
    test: Sequence[Any] = ("A",),
    ablation_pairs: Mapping[str, str] | None = None,
    test_images: int = 10,
    tested: int = 4,
) -> dict[str, Any]:
    """Return a member's report with the scores of each method's folds; it trains on laboratory A, tests on ``test``.

    With a "config", as its suite.yaml. ``from_scratch``: method -> the one with random weights.
    """
    folds = len(scores["none"])
    gains = {m: [a - b for a, b in zip(v, scores["none"], strict=True)] for m, v in scores.items() if m != "none"}
    report = report_of(name, gains, dataset="phantom", modality="histology", fingerprint="f00d")
    for line in report["lines"]:
        mine = scores[line["method"]]
        line["values"] = {"patient_balanced_accuracy": {f"{i}.0": float(x) for i, x in enumerate(mine)}}
        line["scores"]["patient_balanced_accuracy"]["mean"] = float(np.mean(mine))
        line.update(pairs=folds, planned=folds, gaps=[])
    sizes = {"train_images": 40, "validation_images": 10, "train_groups": 8, "validation_groups": 2}
    report["info"]["folds"] = [
        {"fold": i, "repeat": 0, **sizes, "test_images": test_images, "test_groups": tested} for i in range(folds)
    ]
    for arm, reference in (ablation_pairs or {}).items():
        t = corrected_resampled_t(np.subtract(scores[arm], scores[reference]), 0.25)
        report["questions"][0]["findings"].append({"difference": strict_json({
            "kind": "accuracy", "classifier": "net", "arm": {"method": arm, "ratio": "1"}, "reference": reference,
            "mean": float(np.mean(scores[arm]) - np.mean(scores[reference])), "low": t.low, "high": t.high,
            "word": "undecided", "pairs": folds})})  # fmt: skip
    shift = {"attribute": "laboratory", "train": ["A"], "test": [*test]}
    report["config"] = {
        "dataset": {"name": "phantom"}, "image_size_px": 48, "resize": "squash", "seed": 0, "margin": 0.02,
        "split": {"protocol": "shift", "folds": folds, "repeats": 1, "seed": 0, "shift": shift},
        "methods": {m: {} for m in scores}, "classifiers": {"net": {}},
    }  # fmt: skip
    return report
