"""The tuning cost of an arm: ``<out>/tuning/<study>/tuning_cost.json``."""

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
    """The device-seconds of all trials of one study, including pruned, failed and killed ones; each cell counts once.

    ``identity`` is that of the best method and classifier (``arm_identity``): this cost is assigned to arms with their
    configs. ``trials`` counts trials by final state. ``score`` is the best trial's mean over folds.
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
    """Return a hash of everything that determines an arm's results: classes, code versions and configs."""
    return stable_hash([method.identity(), classifier.identity()])


def write_tuning_cost(folder: Path, tuning_cost: TuningCost) -> None:
    """Write the tuning cost of the study in ``folder``."""
    write_atomic(folder / COST_FILE, json.dumps(asdict(tuning_cost), indent=1, sort_keys=True) + "\n")


def read_tuning_costs(out: Path) -> list[TuningCost]:
    """Return the tuning costs of all studies in an output folder. Raises ``StoreError`` for an unreadable file."""
    found = []
    for path in sorted((out / "tuning").glob(f"*/{COST_FILE}")):
        try:
            data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            found.append(TuningCost(**data))
        except (OSError, ValueError, TypeError) as e:
            raise StoreError(f"{path}: not a valid tuning cost ({e}); delete it and run `bench tune` again") from e
    return found


def tuning_s(out: Path, suite: Suite, method: str, classifier: str) -> float:
    """Return the device-seconds of tuning of an arm of the suite: 0 unless a study selected its config.

    If several studies selected the same config, their costs are added.
    """
    arm = arm_identity(suite.method(method), suite.classifier(classifier, method))
    return sum(b.device_s for b in read_tuning_costs(out) if (b.suite, b.identity) == (suite.name, arm))
