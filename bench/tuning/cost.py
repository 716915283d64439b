"""What tuning an arm has cost: ``<out>/tuning/<study>/tuning_cost.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.config import stable_hash
from bench.errors import StoreError
from bench.files import write_atomic
from bench.suite.suite import PluginSpec, Suite

COST_FILE = "tuning_cost.json"


@dataclass(frozen=True)
class TuningCost:
    """The device-seconds of all trials of one study; pruned, failed and killed ones too, each cell once.

    ``identity`` is that of the best method and classifier found (``arm_identity``): an arm that has their configs has
    been tuned, and owes this. ``trials`` counts them by how they ended. ``score`` is the best one's mean over folds.
    """

    suite: str
    study: str
    method: str
    classifier: str
    identity: str
    device: str
    device_s: float
    trials: Mapping[str, int]
    best_trial: int
    score: float


def arm_identity(method: PluginSpec, classifier: PluginSpec) -> str:
    """Return a hash of what decides an arm's results: classes, code versions and configs."""
    return stable_hash([method.identity(), classifier.identity()])


def write_tuning_cost(folder: Path, tuning_cost: TuningCost) -> None:
    """Write the bill of the study in ``folder``."""
    write_atomic(folder / COST_FILE, json.dumps(asdict(tuning_cost), indent=1, sort_keys=True) + "\n")


def read_tuning_costs(out: Path) -> list[TuningCost]:
    """Return the bills of all studies of an output folder. Raises ``StoreError`` for one that cannot be read."""
    found = []
    for path in sorted((out / "tuning").glob(f"*/{COST_FILE}")):
        try:
            data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            found.append(TuningCost(**data))
        except (OSError, ValueError, TypeError) as e:
            raise StoreError(f"{path}: no tuning cost ({e}); delete it, and run `bench tune` again") from e
    return found


def tuning_s(out: Path, suite: Suite, method: str, classifier: str) -> float:
    """Return the device-seconds for which an arm of the suite was tuned: 0 unless it has a config that a study chose.

    Several studies that chose the same config add up.
    """
    mine = arm_identity(suite.method(method), suite.classifier(classifier, method))
    return sum(b.device_s for b in read_tuning_costs(out) if (b.suite, b.identity) == (suite.name, mine))
