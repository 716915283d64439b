"""A store of 10,000 rows is read, reported and drawn, with the same numbers as its parts."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from report_rows import PRIMARY, predictions, row

from bench.analysis.info import FoldSize, ReportInfo
from bench.metrics.classification import confusion_matrix, patient_predictions, per_class_recall
from bench.metrics.predictions import read_predictions, write_predictions
from bench.report.build import build_report
from bench.stats.score_interval import score_interval
from bench.store.results import Store
from bench.types import ResultRow

ONLINE, GANS = ("none", "classical", "oversample"), tuple(f"gan_{i}" for i in range(9))
RATIOS, CLASSIFIERS = ("0.5", "1", "2", "balance"), ("a", "b", "c", "d")
PAIRS = [(fold, repeat) for repeat in range(6) for fold in range(5)]
LEVELS = 5  # score level of an arm; arms of one level share tables, so that few files give many rows


INFO = ReportInfo(
    *("big", "phantom", ("benign", "malignant"), (*ONLINE, *GANS), GANS, CLASSIFIERS, RATIOS),
    folds=tuple(FoldSize(f, r, 160, 40, 50, 32, 8, 8) for f, r in PAIRS),
)


def level(method: str) -> int:
    return (ONLINE + GANS).index(method) % LEVELS


def rows_of(root: Path) -> list[ResultRow]:
    scores = {}
    for pair in PAIRS:
        for n in range(LEVELS):
            table = predictions(0.15 * n, pair, 8, f"level {n}", per_patient=3)
            write_predictions(root / f"{n}-{pair[0]}.{pair[1]}.csv", table)
            units = {"": (table.y_true, table.y_prob)}
            units["patient_"] = patient_predictions(table.y_true, table.y_prob, table.group)
            scores[n, pair] = {
                f"test/{unit}balanced_accuracy": float(per_class_recall(confusion_matrix(*arrays)).mean())
                for unit, arrays in units.items()
            }
    rows = []
    for pair in PAIRS:
        for gan in GANS:
            rows += [row(stage, gan, pair, costs={"elapsed_s": 5.0}) for stage in ("fit", "synthesize", "fidelity")]
        for method in (*ONLINE, *GANS):
            for ratio in RATIOS if method in GANS else ("0",):
                for c in CLASSIFIERS:
                    n, same = level(method), {"ratio": ratio, "classifier": c}
                    facts = {"predictions": f"{n}-{pair[0]}.{pair[1]}.csv"}
                    rows.append(row("classify", method, pair, costs={"elapsed_s": 9.0}, **same))
                    rows.append(row("evaluate", method, pair, metrics=scores[n, pair], facts=facts, **same))
    return rows


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the store, its tables of predictions, and the report."""
    root = tmp_path_factory.mktemp("runs")
    Store(root).append(rows_of(root))
    rows = Store(root).rows()
    assert len(rows) == 10_170
    build_report(rows.values(), INFO, root, root / "report")
    return root


def primary_scores(root: Path) -> list[dict[str, str]]:
    with (root / "report" / "leaderboard.csv").open() as f:
        return [r for r in csv.DictReader(f) if r["metric"] == PRIMARY and not r["reference"]]


@pytest.mark.slow
def test_a_store_of_ten_thousand_rows_is_reported_whole(root: Path) -> None:
    scores = primary_scores(root)
    assert len(scores) == len(INFO.arms) * len(CLASSIFIERS) == 156
    assert {(r["pairs"], r["planned"]) for r in scores} == {("30", "30")}
    assert all(float(r["low"]) < float(r["mean"]) < float(r["high"]) for r in scores)
    text = (root / "report" / "leaderboard.md").read_text()
    assert "152 comparisons" in text
    assert "116 more rows: see the page and the CSV files." in text
    assert len(text.split()) <= 3000
    page = (root / "report" / "report.html").read_text()
    assert all(f"Scores and comparisons: {c}</h2>" in page for c in CLASSIFIERS)
    charts = {p.name for p in (root / "report" / "charts").iterdir()}
    names = ("forest", "folds", "roc", "pr", "reliability", "confusion", "confusion_patients", "patients")
    assert charts == {
        *(f"{n}{page}.png" for n in names for page in ("", "_2")),
        *(f"sweep{page}.png" for page in ("", "_2", "_3", "_4")),
    }


@pytest.mark.slow
def test_intervals_pool_the_patients_of_a_repeat_and_average_over_repeats(root: Path) -> None:
    intervals: dict[int, set[tuple[float, float]]] = {}
    for r in primary_scores(root):
        intervals.setdefault(level(r["method"]), set()).add((float(r["low"]), float(r["high"])))
    for n in range(LEVELS):
        of_repeats = []
        for repeat in range(6):
            tables = [read_predictions(root / f"{n}-{f}.{repeat}.csv", "test") for f in range(5)]
            folds = [patient_predictions(t.y_true, t.y_prob, t.group) for t in tables]
            truth, prob = (np.concatenate(of) for of in zip(*folds, strict=True))
            of_repeats.append(score_interval("balanced_accuracy", truth, prob, np.arange(len(truth)))[1:])
        (ends,) = intervals[n]
        assert ends == pytest.approx(np.mean(of_repeats, axis=0))
