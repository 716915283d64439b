"""Predicted costs of a plan: from similar cells by phase and unit, and None without measurements."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.forecast.cost_model import CostModel, Estimate, Prediction, duration, schedule
from bench.forecast.workload import Workload
from bench.plan.plan import Cell
from bench.types import ResultRow


def cell(stage: str, key: str = "k", upstream: tuple[str, ...] = ()) -> Cell:
    return Cell(stage, key, 0, 0, upstream=tuple(("fit", u) for u in upstream))


def row(
    stage: str, work: Workload, first: bool = False, status: str = "done", overhead_s: float = 1.0, **phases: float
) -> ResultRow:
    """A row whose phases used the processor for half of their wall time."""
    first_s = phases.pop("step_first_s", 0.0)
    costs = {"elapsed_s": overhead_s + sum(phases.values()), "device_s": (overhead_s + sum(phases.values())) / 2}
    for name, seconds in phases.items():
        costs |= {f"{name}_s": seconds, f"{name}_device_s": seconds / 2}
    costs |= {"step_first_s": first_s, "peak_memory_bytes": 2e9}
    return ResultRow("r", stage, "s", "d", status, costs=costs, facts={"work": {**work.plain(), "first": first}})


def steps(n: float, shape: str = "a") -> Workload:
    return Workload(shape, {"step": n})


def test_a_rehearsal_of_few_steps_predicts_many() -> None:
    asked = {"fit/k": steps(100)}
    model = CostModel(asked, rehearsed=[row("fit", steps(5), step=2.8, step_first_s=2.0, overhead_s=3.0)])
    found = model.predict(cell("fit"))
    assert found is not None
    assert found.how == "measured"
    assert found.elapsed_s == pytest.approx(
        100 * 0.2 + 1.8 + 3.0
    )  # steps, the longer first step, seconds outside phases
    assert found.device_s == pytest.approx(found.elapsed_s / 2)
    assert found.peak_memory_bytes == 2e9


def test_what_was_predicted_for_a_cell_is_no_phase_of_it() -> None:
    measured = row("fit", steps(5), step=2.0, overhead_s=3.0)
    known = Prediction(900.0, 900.0, 1e9, "measured").costs()
    again = replace(measured, costs={**measured.costs, **known})
    one, other = (CostModel({"fit/k": steps(5)}, [r]).predict(cell("fit")) for r in (measured, again))
    assert one is not None
    assert one == other


def test_finished_cells_have_priority_over_a_rehearsal() -> None:
    model = CostModel({"fit/k": steps(100)}, [row("fit", steps(50), step=50.0)], [row("fit", steps(5), step=50.0)])
    found = model.predict(cell("fit"))
    assert found is not None
    assert found.elapsed_s == pytest.approx(1.0 + 50.0 / 49 * 100)


def test_unmeasured_cells_are_guessed_from_their_stage_or_have_no_prediction() -> None:
    asked = {"fit/k": steps(10, "other"), "classify/k": steps(10, "another")}
    model = CostModel(asked, [row("fit", steps(10), step=5.0), row("fit", steps(9), status="failed", step=900.0)])
    guess = model.predict(cell("fit"))
    assert guess is not None
    assert guess.how == "guessed"
    assert model.predict(cell("classify")) is None
    cells = [cell("fit"), cell("classify")]
    assert model.estimate(cells) == Estimate(guess.elapsed_s, guess.device_s, 2e9, 0, 1, 1)


def test_imports_of_the_first_cell_are_not_charged_to_all() -> None:
    rows = [row("memorised", steps(0), first=True, overhead_s=9.0), row("memorised", steps(0), overhead_s=1.0)]
    found = CostModel({"memorised/k": steps(0)}, rows).predict(cell("memorised"))
    assert found is not None
    assert found.elapsed_s == pytest.approx(1.0)


def test_a_model_learns_while_a_run_goes_on() -> None:
    model = CostModel({"fit/k": steps(10)})
    assert model.predict(cell("fit")) is None
    model.add(row("fit", steps(10), step=5.0))
    assert model.predict(cell("fit")) is not None


def test_a_run_is_simulated_in_plan_order() -> None:
    cells = [cell("fit", "a"), cell("fit", "b"), cell("fit", "c", upstream=("a",)), cell("fit", "d", upstream=("b",))]
    seconds = {"a": 1.0, "b": 5.0, "c": 2.0, "d": 1.0}
    expected = {c.id: Prediction(seconds[c.key], 0.0, 10.0 * seconds[c.key], "measured") for c in cells}
    assert schedule(cells, expected, 1).wall_s == 9.0
    assert schedule(cells, expected, 2).wall_s == 6.0
    assert schedule(cells, expected, 2).peak_memory_bytes == 70.0
    assert schedule(cells[2:], expected, 2).wall_s == 2.0, "what is upstream and not asked for is done"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (99, "99 s"), (200, "3 min 20 s"), (3599.7, "1 h 00 min"), (18720, "5 h 12 min")],
)
def test_durations_are_readable(seconds: float, text: str) -> None:
    assert duration(seconds) == text
