"""What a plan will cost: learnt from like cells, and never invented."""

from __future__ import annotations

import pytest

from bench.estimate import CostTable, Estimate, duration
from bench.plan import Cell
from bench.types import ResultRow


def row(stage: str, method: str, seconds: float, classifier: str | None = None, status: str = "done") -> ResultRow:
    costs = {"elapsed_s": seconds}
    return ResultRow("k", stage, "s", "d", status, method=method, classifier=classifier, costs=costs)


def cell(stage: str, method: str, classifier: str | None = None) -> Cell:
    return Cell(stage, "k", 0, 0, method, None, classifier)


def test_like_cells_are_learnt_from_and_failures_are_not() -> None:
    rows = [row("fit", "cgan", s) for s in (10, 12, 50)] + [row("fit", "cut", 9, status="failed")]
    table = CostTable(rows)
    assert table.seconds(cell("fit", "cgan")) == 12
    assert table.seconds(cell("fit", "cut")) is None
    assert table.estimate([cell("fit", "cgan")] * 2 + [cell("fit", "cut")]) == Estimate(24, 1)


def test_another_method_tells_a_classifiers_cost_but_not_a_generators() -> None:
    table = CostTable([row("classify", "none", 4, "small_cnn"), row("fit", "cgan", 7)])
    assert table.seconds(cell("classify", "cgan", "small_cnn")) == 4
    assert table.seconds(cell("classify", "cgan", "resnet18")) is None
    assert table.seconds(cell("fit", "cyclegan")) is None
    assert table.seconds(cell("fit", "cyclegan"), rough=True) == 7


def test_a_table_learns_while_a_run_goes_on() -> None:
    table = CostTable()
    assert table.seconds(cell("fit", "cgan"), rough=True) is None
    table.add(row("fit", "cgan", 3))
    assert table.seconds(cell("fit", "cgan")) == 3


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (99, "99 s"), (200, "3 min 20 s"), (3599.7, "1 h 00 min"), (18720, "5 h 12 min")],
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text
