"""User-defined metrics (``bench.interfaces.Metric``): checked before any training, then computed and checked again.

A metric that a suite calls ``name`` is stored as ``test/<name>``, and as ``test/patient_<name>`` if each patient counts
as one row; one with several measures as ``test/<name>_<measure>``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from bench.errors import ConfigError
from bench.interfaces import Metric
from bench.metrics.classification import CLASS_METRICS, METRICS, check_arrays, patient_predictions
from bench.names import check_measure
from bench.types import Measure

PATIENT = "patient_"


def built_in_names(classes: Sequence[str]) -> set[str]:
    """Return the names of the metrics of ``classification_metrics`` for these classes."""
    names = [*METRICS, *(f"{metric}_{name}" for metric in CLASS_METRICS for name in classes)]
    return {*names, *(PATIENT + name for name in names), "patient_score"}


def own_measures(name: str, metric: Metric, per_group: bool = True) -> dict[str, Measure]:
    """Return the measures of a metric by their stored names, without ``test/``.

    ``per_group``: whether the data set's groups are scored as one unit each (``units.ScoredUnit``).
    """
    declared = metric.measures()
    if not declared:
        raise ConfigError(f"metrics.{name}: measures() is empty; expected at least one measure")
    for key in declared:
        check_measure(f"metrics.{name}: measures()", key)
    found = {_stored(name, key, declared): measure for key, measure in declared.items()}
    return found | (
        {PATIENT + key: measure for key, measure in found.items()} if metric.per_patient and per_group else {}
    )


def own_scores(
    name: str,
    metric: Metric,
    y_true: npt.ArrayLike,
    y_prob: npt.ArrayLike,
    groups: Sequence[str],
    classes: Sequence[str],
    positive: int = 1,
    per_group: bool = True,
) -> dict[str, float]:
    """Return the values of a metric by their stored names: per image, and per patient if it is defined for patients.

    A patient's row is as in ``classification``: the mean of its images' probabilities; none without ``per_group``. For
    two classes, the metric gets the positive one, of index ``positive``, as the second. Raises ``ConfigError`` when the
    metric does not return what it declares: a number within its bounds, or NaN, for each measure.
    """
    truth, prob = check_arrays(y_true, y_prob, groups)
    classes = positive_last(classes, positive)
    if prob.shape[1] == 2 and positive == 0:
        truth, prob = 1 - truth, prob[:, ::-1]
    found = _computed(name, metric, truth, prob, groups, classes)
    if metric.per_patient and per_group:
        patients = sorted(set(map(str, groups)))
        values = _computed(name, metric, *patient_predictions(truth, prob, groups), patients, classes)
        found |= {PATIENT + key: value for key, value in values.items()}
    return found


def positive_last(classes: Sequence[str], positive: int) -> tuple[str, ...]:
    """Return the classes in the order for metrics: of two classes, the positive one is the second."""
    return tuple(reversed(classes)) if len(classes) == 2 and positive == 0 else tuple(classes)


def try_out(metrics: Mapping[str, Metric], classes: Sequence[str], positive: int = 1) -> None:
    """Raise ``ConfigError`` if a metric does not support these classes, fails on test input, or reuses a name."""
    classes = positive_last(classes, positive)
    taken = dict.fromkeys(built_in_names(classes), "a built-in metric")
    rng = np.random.default_rng(0)
    truth = np.arange(4 * len(classes)) % len(classes)
    prob = rng.dirichlet(np.ones(len(classes)), len(truth))
    groups = [f"patient {i // (2 * len(classes))} of class {label}" for i, label in enumerate(truth.tolist())]
    for name, metric in metrics.items():
        metric.check(classes)
        for stored in own_measures(name, metric):
            if stored in taken:
                raise ConfigError(f"metrics.{name}: {stored!r} is already {taken[stored]}; give it another name (use:)")
            taken[stored] = f"of metric {name!r}"
        try:
            own_scores(name, metric, truth, prob, groups, classes)
        except ConfigError:
            raise
        except Exception as e:
            raise ConfigError(f"metrics.{name}: fails on simulated predictions: {type(e).__name__}: {e}") from e


def _computed(
    name: str,
    metric: Metric,
    y_true: npt.NDArray[np.int64],
    y_prob: npt.NDArray[np.float64],
    groups: Sequence[str],
    classes: Sequence[str],
) -> dict[str, float]:
    declared = metric.measures()
    values = metric.compute(
        y_true.copy(), y_prob.copy(), tuple(groups), tuple(classes)
    )  # a copy: other metrics keep theirs
    if not isinstance(values, Mapping) or values.keys() != declared.keys():
        raise ConfigError(f"metrics.{name}: compute() gave {values!r}, expected a number for each of {list(declared)}")
    for key, value in values.items():
        m = declared[key]
        if not math.isnan(value) and not m.low <= value <= m.high:
            raise ConfigError(f"metrics.{name}: {key} is {value}, declared to lie in [{m.low}, {m.high}]")
    return {_stored(name, key, declared): float(value) for key, value in values.items()}


def _stored(name: str, key: str, declared: Mapping[str, Measure]) -> str:
    return name if len(declared) == 1 else f"{name}_{key}"
