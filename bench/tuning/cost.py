"""The tuning cost of an arm: ``<out>/tuning/<study>/tuning_cost.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.files import write_atomic

COST_FILE = "tuning_cost.json"


@dataclass(frozen=True)
class TuningCost:
    """The device-seconds of all trials of one study, including pruned, failed and killed ones; each cell counts once.

    ``trials`` counts trials by final state. ``score`` is the best trial's mean over folds. The best config carries its
    cost too (``bench.suite.tuned``), from which reports take it.
    """

    suite: str
    study: str
    method: str
    classifier: str
    device: str
    device_s: float
    trials: Mapping[str, int]
    best_trial: int
    score: float


def write_tuning_cost(folder: Path, tuning_cost: TuningCost) -> None:
    """Write the tuning cost of the study in ``folder``."""
    write_atomic(folder / COST_FILE, json.dumps(asdict(tuning_cost), indent=1, sort_keys=True) + "\n")
