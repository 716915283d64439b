"""Views of the runs table that MLflow lists under "Views": columns, filter, order and grouping that suit a comparison.

MLflow's UI keeps a saved view as a tag of the experiment. A version that keeps them otherwise ignores these.
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
PRIMARY: Final = "test/patient_balanced_accuracy"  # what verdicts are about
SCORES: Final = (PRIMARY, "test/patient_auroc", "test/balanced_accuracy", "test/ece", "cost/classify/device_s")
COSTS: Final = ("cost/fit/device_s", "cost/fit/peak_memory_bytes", "copies/flagged_share", "cycle/ssim")


def view_tags() -> dict[str, str]:
    """Return the tags that make the views: every classifier, their means by arm, every generator."""
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
    """Return a saved view as MLflow's UI writes it: its state as JSON, deflated, in base64."""
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    now = int(time.time() * 1000)
    return json.dumps({"name": name, "createdAt": now, "updatedAt": now, "state": f"deflate;{packed}"})
