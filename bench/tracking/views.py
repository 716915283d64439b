"""Saved views of MLflow's runs table (under "Views"): columns, filter, order and grouping for a comparison.

MLflow's UI stores a view as a tag of the experiment. Versions that store views in another way ignore these tags.
"""

from __future__ import annotations

import base64
import json
import time
import zlib
from collections.abc import Sequence
from typing import Any, Final

TAG: Final = "mlflow.sharedViewState."
CLASSIFIERS, ARMS, GENERATORS = "bench-classifiers", "bench-arms", "bench-generators"
PRIMARY: Final = "test/patient_auroc"  # default primary metric of the verdicts
SCORES: Final = (
    PRIMARY,
    "test/patient_balanced_accuracy",
    "test/balanced_accuracy",
    "test/ece",
    "cost/classify/device_s",
)
COSTS: Final = ("cost/fit/device_s", "cost/fit/peak_memory_bytes", "memorised/flagged_share", "cycle/ssim")


def view_tags() -> dict[str, str]:
    """Return the tags of the views: every classifier, means by arm, every generator."""
    by = {"aggregateFunction": "average", "groupByKeys": [_by(name) for name in ("method", "ratio", "classifier")]}
    where = ("method", "ratio", "classifier", "fold")
    return {
        TAG + CLASSIFIERS: _view("Classifiers, best first", _state("classifier", where, SCORES)),
        TAG + ARMS: _view("Arms: means over folds and repeats", _state("classifier", (), SCORES) | {"groupBy": by}),
        TAG + GENERATORS: _view("Generators", _state("generator", ("method", "fold"), COSTS)),
    }


def _by(name: str) -> dict[str, str]:
    return {"mode": "param", "groupByData": name}


def _state(kind: str, params: Sequence[str], metrics: Sequence[str]) -> dict[str, Any]:
    columns = [f"params.`{name}`" for name in params] + [f"metrics.`{name}`" for name in metrics]
    return {
        "searchFilter": f'tags.kind = "{kind}"',
        "orderByKey": f"metrics.`{metrics[0]}`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": {column: 110 if column.startswith("params") else 220 for column in columns},
        "groupBy": None,
        "groupsExpanded": {},
    }


def _view(name: str, state: dict[str, Any]) -> str:
    """Return a saved view in MLflow's format: its state as JSON, deflated, base64."""
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    now = int(time.time() * 1000)
    return json.dumps({"name": name, "createdAt": now, "updatedAt": now, "state": f"deflate;{packed}"})
