"""Costs of real cells: they add up to the wall time, say what a step does, and leave a trace where one is asked for."""

from __future__ import annotations

import gzip
import json
import shutil
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from bench.cost import energy
from bench.cost.energy import EnergyMeter
from bench.cost.keys import CostKey, phase_device_s, phase_s, phases_of
from bench.cost.trace import TRACE
from bench.cost.updates import UpdateClock
from bench.engine.cell_run import run_cell
from bench.engine.rehearsal import miniature
from bench.forecast.cost_model import CostModel
from bench.forecast.workload import Workload, workloads
from bench.plan.make import make_plan
from bench.stages import RunEnv, load_index
from bench.stages.common import Inputs
from bench.suite.suite import Suite, parse_suite
from bench.tracking.rows import fact_params, metric_points
from bench.types import ResultRow

STEPS = 8


def small_suite() -> Suite:
    data = {
        "dataset": {"name": "phantom", "image_size_px": 32, "patients": 8, "images_per_patient": 4},
        "image_size_px": 32, "threads": 1, "ratios": [0.5],
        "split": {"protocol": "kfold", "folds": 2, "validation_fraction": 0.25},
        "methods": {"none": None, "cyclegan": {"steps": STEPS, "batch_size": 2, "filters": 4, "blocks": 1,
                    "disc_filters": 4, "log_every": 2, "sample_every": 4, "checkpoint_every": 4}},
        "classifiers": {"small_cnn": {"steps": STEPS, "batch_size": 8, "evaluate_every": 4}},
    }  # fmt: skip
    return parse_suite("small", data)


def test_generated_images_are_read_from_the_run_s_own_folder(tmp_path: Path) -> None:
    for name in ("first", "second"):
        out, suite = tmp_path / name, small_suite()
        plan = make_plan(suite, load_index(suite, None, out / "cache"))
        index = Inputs(plan.cells[0], RunEnv(out, suite, plan.fingerprint)).index
        assert index.root.is_relative_to(out)
        shutil.rmtree(out)  # as of a profile, whose folder is temporary


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[ResultRow, float, Path]]:
    """The rows of one fold's cells by stage, the wall seconds that each took by an outer clock, and their folders."""
    out, suite, threads = tmp_path_factory.mktemp("out"), small_suite(), torch.get_num_threads()
    torch.set_num_threads(1)
    plan = make_plan(suite, load_index(suite, None, out / "cache"))
    env = RunEnv(out, suite, plan.fingerprint, trace=True)
    found = {}
    for cell in plan.cells:
        if cell.fold == 0 and cell.stage in ("split", "fit", "synthesize", "classify"):
            start = time.perf_counter()
            row = run_cell(cell, env)
            assert row.status == "done", row.error
            found[f"{cell.stage} {cell.method}"] = (row, time.perf_counter() - start, out / row.folder)
    torch.set_num_threads(threads)
    return found


def test_the_phases_of_a_cell_sum_to_its_wall_time(done: dict[str, tuple[ResultRow, float, Path]]) -> None:
    for name in ("fit cyclegan", "classify none", "classify cyclegan"):
        row, wall_s, _ = done[name]
        costs = row.costs
        phases = {k: v for k, v in costs.items() if k.removesuffix("_s") + "_device_s" in costs} | {
            "overhead_s": costs["overhead_s"]
        }
        assert {"step_s", "overhead_s"} < set(phases)
        assert min(phases.values()) >= 0
        assert sum(phases.values()) == pytest.approx(costs["elapsed_s"], rel=0.03)
        outside_s = costs["elapsed_s"] + costs["measuring_s"]
        assert outside_s == pytest.approx(wall_s, rel=0.03, abs=0.25), "by an outer clock, with locks and writing"


def test_a_cell_says_what_its_steps_did(done: dict[str, tuple[ResultRow, float, Path]]) -> None:
    row, _, _ = done["fit cyclegan"]
    costs = row.costs
    assert costs["steps"] == STEPS
    assert costs["images_per_s"] == pytest.approx(2 * STEPS / costs["step_s"])
    assert costs["flops_per_s"] == pytest.approx(costs["flops_per_step"] * STEPS / costs["step_s"])
    assert 0 < costs["share_of_peak"] < 1
    both = costs["generator_step_s"] + costs["discriminator_step_s"]
    assert 0.5 * costs["step_s"] < both <= costs["step_s"]
    assert 0 < costs["device_s"] < 3 * costs["elapsed_s"]
    assert costs["peak_memory_bytes"] > 1e8
    assert "energy_j" not in costs, "not measured is not zero"
    assert "generator_step_s" not in done["classify none"][0].costs


def test_every_cost_is_in_the_table_of_costs_or_a_phase(done: dict[str, tuple[ResultRow, float, Path]]) -> None:
    costs = {key for row, _, _ in done.values() for key in row.costs}
    phases = {key(p) for p in phases_of(costs) for key in (phase_s, phase_device_s)}
    assert costs - set(CostKey) == phases
    assert costs - phases >= {CostKey.STEP_FIRST_S, CostKey.MEASURING_S, CostKey.SHARE_OF_PEAK, CostKey.OVERHEAD_S}


def test_what_was_counted_once_is_not_counted_again(done: dict[str, tuple[ResultRow, float, Path]]) -> None:
    root = done["fit cyclegan"][2].parents[2]
    kept = [p for p in (root / "cache" / "steps").glob("*.json") if not p.name.startswith("peak")]
    assert len(kept) == 3, "cyclegan, a classifier without and with an online method"


def test_a_trace_of_a_few_steps_opens(done: dict[str, tuple[ResultRow, float, Path]]) -> None:
    with gzip.open(done["fit cyclegan"][2] / TRACE, "rt") as f:
        events = json.load(f)["traceEvents"]
    updates = [e for e in events if str(e.get("name", "")).startswith("Optimizer.step")]
    assert 1 <= len(updates) <= 6
    assert not (done["split None"][2] / TRACE).exists()


def test_costs_go_to_mlflow_and_the_work_does_not(done: dict[str, tuple[ResultRow, float, Path]]) -> None:
    row, _, folder = done["fit cyclegan"]
    names = {name for name, *_ in metric_points(folder, row)}
    assert "cost/fit/device_s" in names
    assert len(names) <= 33, "the other costs are in the table of the stage"
    assert not any("work" in name for name in fact_params(row))


def test_rows_say_what_they_did_so_that_others_can_be_predicted(done: dict[str, tuple[ResultRow, float, Path]]) -> None:
    row, _, folder = done["fit cyclegan"]
    work = Workload.read(row.facts["work"])
    assert work is not None
    assert (work.units["step"], work.units["sample"], work.units["checkpoint"], work.first_units) == (STEPS, 2, 1, 2)
    suite = small_suite()
    plan = make_plan(suite, load_index(suite, None, folder.parents[2] / "cache"))
    other = next(c for c in plan.cells if c.stage == "fit" and c.fold == 1)
    found = CostModel(workloads(plan), [row]).predict(other)
    assert found is not None
    assert found.how == "measured"
    assert found.elapsed_s == pytest.approx(row.costs["elapsed_s"], rel=0.3)


def test_a_miniature_has_the_shapes_of_its_suite(done: dict[str, tuple[ResultRow, float, Path]]) -> None:
    suite, out = small_suite(), done["split None"][2].parents[2]
    index = load_index(suite, None, out / "cache")
    whole, small = (workloads(make_plan(s, index)) for s in (suite, miniature(suite, 100)))
    assert {w.shape for w in whole.values()} == {w.shape for w in small.values()}
    assert sum(w.of("step") for w in small.values()) < sum(w.of("step") for w in whole.values())


def test_a_steps_seconds_are_divided_by_what_it_updates() -> None:
    parts = [torch.optim.SGD(nn.Linear(1, 1).parameters(), 0.1) for _ in "GD"]
    clock = UpdateClock(("generator", "discriminator"))
    for _ in range(3):
        with clock.running():
            for optimiser, seconds in zip(parts, (0.02, 0.005), strict=True):
                time.sleep(seconds)
                optimiser.step()
    parts[0].step()  # outside: not heard
    found = clock.costs(steps=3)
    assert found["generator_step_s"] >= 0.06
    assert 0.015 <= found["discriminator_step_s"] < found["generator_step_s"]
    assert clock.costs(steps=4) == {}, "a division of other steps than were taken is none"


class FakeLibrary:
    """Stands for pynvml: a device of 100 W, with or without a total."""

    def __init__(self, total: bool) -> None:
        self.total, self.start = total, time.perf_counter()

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: object) -> float:  # noqa: N802
        if not self.total:
            raise RuntimeError("not supported")
        return 1e3 * 100 * (time.perf_counter() - self.start)

    def nvmlDeviceGetPowerUsage(self, handle: object) -> float:  # noqa: N802
        return 100e3


@pytest.mark.parametrize("total", [True, False])
def test_energy_is_the_devices_count_or_its_power_over_time(monkeypatch: pytest.MonkeyPatch, total: bool) -> None:
    monkeypatch.setattr(energy, "open_device", lambda device: (FakeLibrary(total), SimpleNamespace()))
    with EnergyMeter("cuda", interval_s=0.01) as meter:
        time.sleep(0.2)
    assert meter.costs()["energy_j"] == pytest.approx(100 * 0.2, rel=0.5)
    assert meter.costs()["energy_j"] >= 100 * 0.19


def test_energy_that_cannot_be_measured_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    for device in ("cpu", "cuda"):
        with EnergyMeter(device) as meter:
            pass
        assert meter.costs() == {}
