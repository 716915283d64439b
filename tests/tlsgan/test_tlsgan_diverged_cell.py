"""A diverged training is a failed cell that names step and loss; no synthetic images are made from it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from toy import register, write_squares, write_suite

from bench.engine.executors.local import InProcess
from bench.engine.plan_rows import rows_of
from bench.engine.scheduler import Runner
from bench.engine.session import prepare


def test_a_diverged_cell_names_step_and_loss_and_later_cells_are_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch)
    too_fast = {"steps": 10, "filters": 4, "blocks": 1, "disc_filters": 4, "learning_rate": 1e30, "log_every": 5}
    suite = write_suite(tmp_path / "s.yaml", image_size_px=32, methods={"none": {}, "cyclegan": too_fast})
    session = prepare(str(suite), (), write_squares(tmp_path / "data"), tmp_path / "out")
    runner = Runner([c for c in session.plan.cells if c.stage in ("split", "fit", "synthesize")], session.env)
    runner.run(lambda: InProcess(1))
    rows = [r for r in rows_of(session.plan, session.env) if r.method == "cyclegan"]
    failed = [r for r in rows if r.stage == "fit"]
    assert {r.status for r in failed} == {"failed"}
    for row in failed:
        last = (row.error or "").strip().splitlines()[-1]
        assert re.search(r"DivergedError: loss_.* became non-finite at step \d+; ", last)
    assert {r.status for r in rows if r.stage == "synthesize"} == {"skipped"}
    assert not list((tmp_path / "out").rglob("manifest.csv"))
