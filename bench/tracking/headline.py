"""Which of a row's numbers are metrics in MLflow: about 30 a run. All of them are in the run's tables.

A run with hundreds of metrics cannot be read or compared in MLflow. Scores of custom metrics are always metrics.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from bench.metrics.classification import CLASS_METRICS
from bench.metrics.custom import built_in_names

PATIENT: Final = "patient_"
TEST: Final = ("auroc", "auprc", "balanced_accuracy", "sensitivity", "specificity", "ece")
VALIDATION: Final = ("auroc", "balanced_accuracy")
COSTS: Final = {"fit": 5, "classify": 5, "segmentation": 5, "fcn_score": 5, "synthesize": 1, "trial": 2}
COST_KEYS: Final = ("device_s", "elapsed_s", "peak_memory_bytes", "images_per_s", "share_of_peak")  # the first N
TABLE_ONLY: Final = re.compile(
    r"(at_real_baseline|real)/.*"
    r"|(synthetic|real_baseline)/train/.*"
    r"|real_baseline/test/(?!kid_(?!subset)|fid_).*"
    r"|.*/(n_real|n_synthetic|kid_subset_size|is)_.*"
    r"|memorised/(?!flagged_share$).*"
    r"|unpaired/.*|cycle/(mse|.+/.+)|fcn/(class_accuracy|foreground_iou|.+/.+)"  # the last are by direction
    r"|classify/(images_seen|steps_run)|(explain|translate|fidelity)/.*|fcn_score/(parameters|training_images)"
)


def is_headline(name: str, classes: Sequence[str] = ()) -> bool:
    """Return whether a number of a row, by its name, is a metric in MLflow; ``classes`` are the data set's."""
    kind, _, rest = name.partition("/")
    if kind == "cost":
        stage, _, key = rest.partition("/")
        return key in COST_KEYS[: COSTS.get(stage, 0)]
    base = rest.removeprefix(PATIENT)
    if kind in ("test", "validation") and rest in built_in_names(classes):
        of_class = kind == "test" and base.startswith(f"{CLASS_METRICS[0]}_")
        return of_class or base in (TEST if kind == "test" else VALIDATION)
    return TABLE_ONLY.fullmatch(name) is None
