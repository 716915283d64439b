"""Bootstrap intervals over patients, from the predictions tables of the evaluate rows.

Processed pair by pair: all arms of a pair are tested on the same patients, which are resampled once for all arms, and
only the tables of one pair are in memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.analysis.contributions import Contributions
from bench.analysis.info import ReportInfo
from bench.analysis.rows import Pair
from bench.metrics.classification import check_arrays
from bench.metrics.predictions import read_predictions
from bench.metrics.units import ScoredUnit, group_places
from bench.stats.bootstrap import RESAMPLES, PatientSample, percentile_interval
from bench.stats.crossed import crossed_test
from bench.stats.endpoints import ENDPOINTS
from bench.stats.score_interval import over_repeats, score_interval
from bench.suite.arms import Arm

Draws = npt.NDArray[np.float64]  # [1 + resamples]: the value, then its resamples
Ends = tuple[float, float]
Key = tuple[str, Arm]  # classifier, arm
BALANCED = "balanced_accuracy"
SEED = 0
PATIENT = ScoredUnit()


def patient_intervals(
    tables: Mapping[Key, Mapping[Pair, str]], root: Path, unit: ScoredUnit = PATIENT
) -> dict[Key, dict[str, Ends]]:
    """Return the ends of the 95 % intervals of each line's mean balanced accuracy, by metric.

    ``tables`` are the paths of the predictions tables of each line by pair, relative to ``root``, for all pairs with a
    score. ``unit`` says whether patients are scored, too. Raises ``StoreError`` if a table cannot be read, because an
    interval over fewer pairs would not match its mean.
    """
    metrics = {BALANCED: False} | (
        {unit.primary: True} if unit.per_group else {}
    )  # metric -> whether it is per patient
    pairs = sorted({pair for of_line in tables.values() for pair in of_line})
    sums: dict[Key, dict[str, dict[int, Draws]]] = {key: {m: {} for m in metrics} for key in tables}
    counts: dict[Key, dict[int, int]] = {key: {} for key in tables}
    for pair in pairs:
        wanted = {key: of_line[pair] for key, of_line in tables.items() if pair in of_line}
        for key, draws in _draws(wanted, pair, root, metrics):
            repeat = pair[1]
            counts[key][repeat] = counts[key].get(repeat, 0) + 1
            for metric, values in draws.items():
                sums[key][metric][repeat] = sums[key][metric].get(repeat, 0.0) + values
    found: dict[Key, dict[str, Ends]] = {}
    for key, by_metric in sums.items():
        means = {m: [total / counts[key][r] for r, total in by_repeat.items()] for m, by_repeat in by_metric.items()}
        found[key] = {m: percentile_interval(repeats)[1:] for m, repeats in means.items() if repeats}
    return found


def pooled_interval(pooled: Contributions, endpoint: str, info: ReportInfo) -> Ends:
    """Return the 95 % interval of an arm's score from the contributions of its test groups.

    It covers other training sets (of a given split: other trainings) and other test groups in a learning curve, other
    groups in k-fold.
    """
    if info.is_crossed:
        found = crossed_test(pooled.values[endpoint])
        highest = math.inf if ENDPOINTS[endpoint] == "lower" else 1.0
        return max(found.low, 0.0), min(found.high, highest)
    units = [(u.y_true, u.y_prob, group_places(u.group)) for u in pooled.units]
    _, low, high = over_repeats([score_interval(endpoint, *u) for u in units])
    return low, high


def _draws(
    paths: Mapping[Key, str], pair: Pair, root: Path, metrics: Mapping[str, bool]
) -> Iterator[tuple[Key, dict[str, Draws]]]:
    """Yield the value and resamples of each line's table of one pair."""
    samples: list[PatientSample] = []  # usually one, because all arms of a pair have the same test images
    for key, path in paths.items():
        table = read_predictions(root / path, "test")
        truth, prob = check_arrays(table.y_true, table.y_prob, table.group)
        sample = next((s for s in samples if s.fits(truth, table.group)), None)
        if sample is None:
            sample = PatientSample(truth, table.group, RESAMPLES, np.random.default_rng([SEED, *pair]))
            samples.append(sample)
        yield key, {metric: sample.draws(prob, BALANCED, per) for metric, per in metrics.items()}
