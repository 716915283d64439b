"""Plans of learning curves: what more sets and sizes keep, what the sizes of the reference train, and --only."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from toy import CURVE, register, write_squares, write_suite

from bench.cli.main import main
from bench.engine.session import prepare
from bench.errors import ConfigError
from bench.plan.plan import Plan
from bench.plan.selection import select
from bench.tuning.arm import Arm
from bench.tuning.spaces import Space
from bench.types import FloatRange

TRAINED = ("fit", "synthesize", "classify")


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    register(monkeypatch)
    data = write_squares(tmp_path / "data", patients=20, images=1)

    def plan(*assignments: str, **changes: Any) -> Plan:
        suite = write_suite(tmp_path / "s.yaml", **{"split": CURVE, **changes})
        return prepare(str(suite), assignments, data, tmp_path / "out").plan

    return plan


def ids(plan: Plan, *stages: str) -> set[tuple[str, str]]:
    return {c.id for c in plan.cells if not stages or c.stage in stages}


def test_every_set_of_every_size_has_its_cells(make: Any) -> None:
    plan = make(ratios=[1.0])
    assert [s.at for s in plan.splits] == [(r, 0, n) for r in range(3) for n in (4, 8)]
    counts = Counter((c.stage, c.train_patients) for c in plan.cells if c.stage in ("split", "fit", "evaluate"))
    assert counts == {(stage, n): 3 * k for stage, k in (("split", 1), ("fit", 1), ("evaluate", 2)) for n in (4, 8)}
    assert len({c.id for c in plan.cells}) == len(plan.cells)
    assert plan.cells[0].title == "split set 0 of 4 patients"


def test_more_sets_train_only_what_is_new(make: Any) -> None:
    few, more = make(), make("split.replicates=4")
    assert ids(few, *TRAINED) < ids(more, *TRAINED)
    assert not ids(few, "evaluate", "fidelity") & ids(more, "evaluate", "fidelity"), "the test part is another one"
    few, more = make("split.test_patients=6"), make("split.test_patients=6", "split.replicates=3")
    assert ids(few) == ids(more)
    more = make("split.test_patients=6", "split.replicates=4", "explain.images_per_class=0")
    assert ids(make("split.test_patients=6", "explain.images_per_class=0")) < ids(more)
    ranged = make("split.replicates={min: 2, max: 4}", "contrast=toy vs none")
    assert ids(ranged) == ids(make("split.replicates=4"))


def test_another_smaller_size_keeps_the_cells_of_the_others(make: Any) -> None:
    two, three = make("explain.images_per_class=0"), make("split.train_patients=[4,6,8]", "explain.images_per_class=0")
    assert ids(two) < ids(three)
    larger = make("split.train_patients=[4,8,10]", "split.replicates=2")
    assert not ids(two, *TRAINED) & ids(larger, *TRAINED)


def test_at_the_sizes_of_the_reference_only_none_is_trained(make: Any) -> None:
    plan = make("split.reference_only=[8]", methods={"none": {}, "classical": {}, "toy": {}}, train_multipliers=[2])
    at_8 = {(c.stage, c.method, c.ratio) for c in plan.cells if c.train_patients == 8}
    assert at_8 == {("split", None, None), ("classify", "none", "0"), ("evaluate", "none", "0")}
    assert {c.method for c in plan.cells if c.train_patients == 4} == {None, "none", "classical", "toy"}


def test_only_selects_a_size(make: Any) -> None:
    chosen = select(make().cells, ["train_patients=8", "method=none", "fold=1"])
    assert Counter(c.stage for c in chosen) == {"split": 1, "classify": 1, "evaluate": 1}
    assert {c.at for c in chosen} == {(1, 0, 8)}
    with pytest.raises(ConfigError, match="valid: 4, 8"):
        select(make().cells, ["train_patients=9"])


def test_arms_of_a_set_are_paired_with_each_other(make: Any) -> None:
    """The seed of a cell depends on its stage and set, never on the method."""
    plan = make()
    upstream = {c.at: c.upstream[0] for c in plan.cells if c.stage == "classify"}
    for cell in plan.cells:
        if cell.stage == "classify":
            assert cell.upstream[0] == upstream[cell.at], "all arms train on the split of their set"


def test_the_plan_shows_sets_and_patients_of_each_size(make: Any, tmp_path: Path) -> None:
    make(methods={"none": {}, "toy": {}})
    words = ["plan", "--suite", str(tmp_path / "s.yaml"), "--data", str(tmp_path / "data"), "--out", str(tmp_path)]
    words += ["--set", "split.reference_only=[8]"]
    shown = CliRunner().invoke(main, words)
    assert shown.exit_code == 0, shown.output
    lines = [line.split() for line in shown.output.splitlines()]
    assert ["patients", "per", "set", "sets", "training", "validation", "test", "(common)", "methods"] in lines
    assert ["4", "3", "2", "2", "16", "2"] in lines
    assert ["8", "3", "5", "3", "16", "1"] in lines
    assert [row[:3] for row in lines if row[:1] == ["8"]][1:] == [["8", "9", "9"]], "cells of the size"
    facts = json.loads(CliRunner().invoke(main, [*words, "--json"]).output)["learning_curve"]
    assert [(x["train_patients"], x["sets"], x["test"]) for x in facts] == [(4, 3, 16), (8, 3, 16)]


@pytest.mark.parametrize(("changes", "size"), [({}, 4), ({"contrast": {"arm": "toy", "train_patients": 8}}, 8)])
def test_tuning_uses_the_sets_of_one_size(make: Any, tmp_path: Path, changes: dict[str, Any], size: int) -> None:
    make()
    suite = write_suite(tmp_path / "s.yaml", **{"split": CURVE, **changes})
    session = prepare(str(suite), (), tmp_path / "data", tmp_path / "out")
    space = Space({"classifier.dropout": FloatRange(0.0, 0.5)}, {"classifier.dropout": 0.1})
    arm = Arm(session, session.suite.method("toy"), session.suite.classifier("small_cnn"), space)
    cells = arm.cells(space.own)
    assert list(cells) == [(0, 0), (1, 0), (2, 0)]
    assert {c.train_patients for found in cells.values() for c in found} == {size}
    assert {found[-1].stage for found in cells.values()} == {"validate"}, "the test part is never read"
    planned = {c.id for c in session.plan.cells}
    assert all(c.id in planned for found in cells.values() for c in found[:-1])
