"""A study in MLflow: an experiment whose parent run is the study, with one nested run per ended trial."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC
from typing import Any

from optuna.trial import FrozenTrial

from bench.config import to_plain
from bench.cost.host import git_commit
from bench.cost.keys import CostKey
from bench.tracking.media import DatasetInput
from bench.tracking.tracker import Tracker, TrackingThread
from bench.tuning.arm import Arm
from bench.tuning.study import ELAPSED, ERROR, mean_score, pairs_of, state_of, tuning_cost_s
from bench.types import ResultRow

ENDED = ("done", "pruned", "failed", "killed")


def trial_row(arm: Arm, trial: FrozenTrial) -> ResultRow:
    """Return an ended trial as a row for the tracking layer; it is not written to the store."""
    ended, score = trial.datetime_complete, mean_score(trial)
    failed = state_of(trial) in ("failed", "killed")
    return ResultRow(
        key=f"trial/{arm.study}/{trial.number}",
        stage="trial",
        suite=arm.session.suite.name,
        dataset=arm.session.suite.dataset.name,
        status="failed" if failed else "done",
        method=arm.method.name,
        classifier=arm.classifier.name,
        metrics={f"validation/{arm.unit.primary}": score} if math.isfinite(score) else {},
        costs={CostKey.ELAPSED_S: trial.user_attrs.get(ELAPSED, 0.0), CostKey.DEVICE_S: tuning_cost_s([trial])},
        facts={"trial": trial.number, "state": state_of(trial), "folds": len(pairs_of(trial)), "config": trial.params},
        error=str(trial.user_attrs.get(ERROR, "the worker was killed")) if failed else None,
        finished_at=ended.astimezone(UTC).isoformat(timespec="seconds") if ended else "",
    )


class StudyView:
    """Sends ended trials to a background thread, each once. Problems of MLflow do not stop the study."""

    def __init__(self, arm: Arm) -> None:
        config: dict[str, Any] = {
            "space": {k: to_plain(r) for k, r in arm.space.ranges.items()}, "own": dict(arm.space.own),
            "pruner": arm.pruner, "seed": arm.seed, "with_seconds": arm.with_seconds,
        }  # fmt: skip
        self._arm, self._sent = arm, set[int]()
        plan = arm.session.plan
        dataset = DatasetInput.of(plan.index, plan.fingerprint)
        tags = {"git_commit": git_commit()}
        tracker = Tracker(None, arm.session.env.out, arm.study, config, tags, dataset=dataset)
        self._thread = TrackingThread(tracker)

    def update(self, trials: Sequence[FrozenTrial]) -> None:
        """Log trials that have ended since the last call."""
        for trial in trials:
            if trial.number not in self._sent and state_of(trial) in ENDED:
                self._sent.add(trial.number)
                self._thread.submit(trial_row(self._arm, trial))

    def close(self, wait_s: float) -> str | None:
        """Attach the study's folder and wait for the thread; return a warning if something was not logged in time."""
        self._thread.report(self._arm.folder)
        warning = self._thread.close(wait_s)
        return warning and warning.replace(" cells ", " trials ").replace("`bench mlflow sync`", "the same command")
