"""Made-up rows of a finished learning curve, with predictions tables of every cell, and its ReportInfo."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.analysis.info import FoldSize, ReportInfo
from bench.metrics.classification import patient_predictions
from bench.metrics.predictions import Predictions, read_predictions, write_predictions
from bench.stats.endpoints import ENDPOINTS, score_units
from bench.suite.arms import Arm
from bench.suite.contrast import Contrast
from bench.types import ResultRow

SETS, PATIENTS, SIZES = 6, 60, (20, 40, 80)
RATIO = {"none": "0", "classical": "0", "toy": "1", "noise": "1"}
LEVELS = {
    ("none", 20): 0.4, ("none", 40): 0.9, ("none", 80): 1.4, ("classical", 20): 0.45, ("classical", 40): 0.95,
    ("toy", 20): 0.9, ("toy", 40): 1.3, ("noise", 20): 0.4, ("noise", 40): 0.9,
}  # fmt: skip
DEVICE_S = {"fit": 30.0, "synthesize": 2.0}


def made_curve(
    root: Path, levels: Mapping[tuple[str, int], float] = LEVELS, contrast: Contrast | None = None
) -> tuple[list[ResultRow], ReportInfo]:
    """Return a learning curve of one classifier, ``a``: 6 disjoint sets of each size, 60 test patients of two images.

    ``levels`` say how far logits of (method, size) lie from 0, with noise of sd 1: a patient's own, and a training's.
    `none` alone is trained with 80 patients.
    """
    rows = []
    for (method, size), level in levels.items():
        for s in range(SETS):
            at = {"method": method, "fold": s, "repeat": 0, "train_patients": size}
            named = f"{method}-{size}-{s}"
            table = _table(level, s, named)
            write_predictions(root / f"{named}.csv", table)
            y, p = patient_predictions(table.y_true, table.y_prob, table.group)
            scores = {f"test/patient_{e}": score_units(e, y, p, np.arange(len(y))).score for e in ENDPOINTS}
            same = {"ratio": RATIO[method], "classifier": "a"}
            facts = {"predictions": f"{named}.csv"}
            if RATIO[method] != "0":
                rows += [
                    ResultRow(f"{k}{named}", k, "s", "d", "done", **at, costs={"device_s": x, "elapsed_s": x})
                    for k, x in DEVICE_S.items()
                ]
            rows.append(ResultRow(f"c{named}", "classify", "s", "d", "done", **at, **same, costs={"device_s": 5.0}))
            rows.append(ResultRow(f"e{named}", "evaluate", "s", "d", "done", **at, **same, metrics=scores, facts=facts))
    methods = tuple(dict.fromkeys(m for m, _ in levels))
    info = ReportInfo(
        "s", "d", ("benign", "malignant"), methods, tuple(m for m in methods if RATIO[m] != "0"), ("a",), ("1",),
        tuple(FoldSize(s, 0, 2 * n - 10, 10, 120, n - 5, 5, PATIENTS, train_patients=n)
              for n in SIZES for s in range(SETS)),
        design="learning_curve", endpoint="auroc", sizes=SIZES, reference_only=(80,), contrast=contrast,
    )  # fmt: skip
    return rows, info


def contributions_of(
    root: Path, method: str, size: int, endpoint: str = "auroc", sets: int = SETS
) -> npt.NDArray[np.float64]:
    """Return the contributions of the test patients to an endpoint, float64 [sets, 60], read from the tables."""
    found = []
    for s in range(sets):
        t = read_predictions(root / f"{method}-{size}-{s}.csv", "test")
        y, p = patient_predictions(t.y_true, t.y_prob, t.group)
        found.append(score_units(endpoint, y, p, np.arange(len(y))).contributions)
    return np.stack(found)


def arm(method: str) -> Arm:
    return Arm(method, RATIO[method])


def _table(level: float, s: int, named: str) -> Predictions:
    own = np.random.default_rng([s, *named.encode()])
    y = np.arange(PATIENTS) % 2
    patient = np.random.default_rng(3).normal(0, 0.9, PATIENTS)  # as hard for one arm as for another
    logit = np.repeat((2 * y - 1) * level + patient + own.normal(0, 0.4, PATIENTS), 2)
    logit += own.normal(0, 0.2, 2 * PATIENTS)
    p = 1 / (1 + np.exp(-logit))
    groups = tuple(f"p{i:02d}" for i in range(PATIENTS) for _ in range(2))
    names = tuple(f"{g}-{i % 2}.png" for i, g in enumerate(groups))
    part = ("test",) * (2 * PATIENTS)
    return Predictions(names, groups, part, s, 0, np.repeat(y, 2), np.stack([1 - p, p], 1), ("benign", "malignant"))
