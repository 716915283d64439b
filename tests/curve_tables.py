"""Learning curves without training: a suite whose stages only write tables of predictions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy import CURVE, register, write_squares, write_suite

from bench.engine.session import Session, prepare
from bench.metrics.predictions import Predictions, write_predictions
from bench.plan.plan import Cell
from bench.stages import STAGE, RunEnv
from bench.stages.common import Output
from bench.stages.context import CellContext

GROUPS = 60


def table(path: Path, better: float, seed: int, shift: int = 0) -> Path:
    """Write a table of one image a patient; ``better`` moves the probabilities towards the truth."""
    rng = np.random.default_rng(seed)
    y = np.arange(GROUPS) % 2
    logit = (2 * y - 1) * better + rng.normal(0, 1, GROUPS)
    p = 1 / (1 + np.exp(-logit))
    names = tuple(f"p{i + shift:03d}" for i in range(GROUPS))
    write_predictions(path, Predictions(names, names, ("test",) * GROUPS, 0, 0, y, np.stack([1 - p, p], 1), ("a", "b")))
    return path


def tables(folder: Path, better: float, sets: int, seed: int) -> list[Path]:
    return [table(folder / f"{better}-{seed}-{i}.csv", better, seed + i) for i in range(sets)]


RANGE = {**CURVE, "train_patients": [4], "replicates": {"min": 3, "max": 6}, "test_patients": 60}


def curve_sessions(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Session]:
    """Return a function that opens a suite in ``folder``, of whose stages none trains.

    Its arm `toy` is better than `none` by ``better`` (on the scale of logits, with noise of sd 1). With
    ``kid``, that of its images, there is an arm `noise` with a KID of 10.
    """
    register(monkeypatch)
    data = write_squares(folder / "data", patients=45, images=1)

    def session(better: float, *assignments: str, kid: float = 0.0, **split: Any) -> Session:
        def evaluate(cell: Cell, env: RunEnv, ctx: CellContext) -> Output:
            good = 0.5 + better * (cell.method == "toy")
            table(ctx.folder / "predictions.csv", good, seed=cell.fold + 100 * (cell.method == "toy"))
            return Output(facts={"predictions": f"cells/evaluate/{cell.key}/predictions.csv"})

        def fidelity(cell: Cell, env: RunEnv, ctx: CellContext) -> Output:
            return Output({"synthetic/test/kid_lite0": 10.0 if cell.method == "noise" else kid})

        written = {"evaluate": evaluate, "fidelity": fidelity}
        for stage in STAGE:
            if stage != "split":
                monkeypatch.setitem(STAGE, stage, written.get(stage, lambda cell, env, ctx: Output()))
        methods = {"none": {}, "toy": {}, **({"noise": {}} if kid else {})}
        changes = {"split": {**RANGE, **split}, "contrast": "toy vs none", "ratios": [1.0], "methods": methods}
        return prepare(str(write_suite(folder / "s.yaml", **changes)), assignments, data, folder / "out")

    return session
