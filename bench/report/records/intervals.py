"""Intervals over patients, from the tables of predictions that evaluate rows point to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.errors import StoreError
from bench.metrics.bootstrap import ScoredFold, cluster_bootstrap_ci
from bench.metrics.predictions import Predictions, read_predictions
from bench.report.records.rows import Score
from bench.types import ResultRow


class PredictionTables:
    """Reads each predictions table once; one that cannot be read costs its line the interval, no more."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._read: dict[str, Predictions | None] = {}

    def folds(self, rows: Sequence[ResultRow | None]) -> list[ScoredFold]:
        """Return the test parts of those rows whose predictions can be read."""
        tables = [self._table(str(r.facts["predictions"])) for r in rows if r and r.facts.get("predictions")]
        return [ScoredFold(t.y_true, t.y_prob, t.group, t.repeat) for t in tables if t and len(t.image)]

    def _table(self, path: str) -> Predictions | None:
        if path not in self._read:
            try:
                self._read[path] = read_predictions(self._root / path).select("test")
            except StoreError:
                self._read[path] = None
        return self._read[path]


def with_interval(score: Score, folds: Sequence[ScoredFold], metric: str) -> Score:
    """Return the score with its interval over patients, if there are predictions for every pair that was scored."""
    if not folds or len(folds) != score.n:
        return score
    interval = cluster_bootstrap_ci(folds, "balanced_accuracy", per_patient=metric.startswith("patient_"))
    return Score(score.mean, score.sd, score.n, interval.low, interval.high)
