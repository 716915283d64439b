"""Plans: what is shared, what a change invalidates, and what --only keeps."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from toy import register, write_squares, write_suite

from bench.engine.session import prepare
from bench.errors import BenchError, ConfigError, RegistryError
from bench.plan.plan import Plan
from bench.plan.selection import select


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    register(monkeypatch)
    data = write_squares(tmp_path / "data")

    def plan(*assignments: str, **changes: Any) -> Plan:
        return prepare(str(write_suite(tmp_path / "s.yaml", **changes)), assignments, data, tmp_path / "out").plan

    return plan


def keys(plan: Plan, **where: Any) -> list[str]:
    return [c.key for c in plan.cells if all(getattr(c, k) == v for k, v in where.items())]


def test_one_generator_serves_every_ratio_and_classifier(make: Any) -> None:
    plan = make()
    counts = Counter(c.stage for c in plan.cells)
    assert counts.pop("explain") == 3, "of the first fold's arms"
    assert counts == {
        "split": 2,
        "fit": 2,
        "synthesize": 2,
        "fidelity": 2,
        "memorised": 2,
        "classify": 6,
        "evaluate": 6,
    }
    assert {c.ratio for c in plan.cells if c.method == "none" and c.stage == "classify"} == {"0"}


def test_upstream_comes_first_and_exists(make: Any) -> None:
    seen = set()
    for cell in make().cells:
        assert set(cell.upstream) <= seen
        seen.add(cell.id)


def test_the_order_of_listing_changes_no_key(make: Any) -> None:
    a, b = make(), make(methods={"toy": {}, "none": {}}, ratios=[1.0, 0.5])
    assert {c.id for c in a.cells} == {c.id for c in b.cells}


def test_a_change_invalidates_what_depends_on_it_and_nothing_else(make: Any) -> None:
    plan, changed = make(), make("methods.toy.steps=7")
    assert keys(plan, method="none") == keys(changed, method="none")
    assert not set(keys(plan, method="toy")) & set(keys(changed, method="toy"))
    changed = make("classifiers.small_cnn.steps=5")
    assert keys(plan, stage="fit") == keys(changed, stage="fit")
    assert not set(keys(plan, stage="classify")) & set(keys(changed, stage="classify"))


def test_adding_a_ratio_keeps_the_classifiers_of_the_others(make: Any) -> None:
    plan, more = make(), make(ratios=[0.5, 1.0, "balance"])
    assert set(keys(plan, stage="classify")) < set(keys(more, stage="classify"))
    assert keys(plan, stage="fit") == keys(more, stage="fit")


def test_explanations_are_a_matter_of_the_first_pair_and_of_no_longer_training(make: Any) -> None:
    plan = make(longer=[2], split={"folds": 2, "repeats": 2, "validation_fraction": 0.3})
    explained = [c for c in plan.cells if c.stage == "explain"]
    assert {(c.fold, c.repeat) for c in explained} == {(0, 0)}
    assert {(c.method, c.ratio) for c in explained} == {("none", "0"), ("toy", "0.5"), ("toy", "1")}
    assert {up for c in explained for up, _ in c.upstream} == {"split", "classify"}
    without, more = make("explain.images_per_class=0"), make("explain.images_per_class=1")
    assert not keys(without, stage="explain")
    assert {c.id for c in without.cells} == {c.id for c in make().cells if c.stage != "explain"}
    assert not set(keys(more, stage="explain")) & set(keys(make(), stage="explain"))
    with pytest.raises(ConfigError, match=r"explain\.images_per_class: got -1, expected 0 or more"):
        make("explain.images_per_class=-1")


def test_other_images_are_another_experiment(make: Any, tmp_path: Path) -> None:
    before = make()
    (tmp_path / "data" / "benign" / "b0_0.png").unlink()
    assert not {c.id for c in before.cells} & {c.id for c in make().cells}


def test_one_config_under_two_names_is_one_piece_of_work(make: Any) -> None:
    plan = make(methods={"none": {}, "toy": {}, "again": {"use": "toy"}})
    assert keys(plan, method="toy") == keys(plan, method="again")
    assert len(plan.work) == len(make().work)


def test_only_keeps_what_is_named_and_what_it_needs(make: Any) -> None:
    chosen = select(make().cells, ["method=toy", "fold=1", "ratio=0.5"])
    assert Counter(c.stage for c in chosen) == {"split": 1, "fit": 1, "synthesize": 1, "classify": 1, "evaluate": 1}
    with pytest.raises(ConfigError, match="did you mean 'toy'"):
        select(make().cells, ["method=toi"])
    with pytest.raises(ConfigError, match="did you mean 'method'"):
        select(make().cells, ["methods=toy"])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"methods": {"tooy": {}}}, RegistryError, "did you mean 'toy'"),
        ({"methods": {"toy": {"step": 1}}}, ConfigError, r"methods\.toy: unknown key 'step'"),
        ({"splits": {}}, ConfigError, "did you mean 'split'"),
        ({"ratios": [-1]}, ConfigError, "ratios"),
        ({"ratios": ["fill"]}, ConfigError, "ratios"),
        ({"methods": {}}, ConfigError, "methods"),
        ({"dataset": "image_folder"}, ConfigError, "dataset"),
        ({"split": {"folds": 50}}, BenchError, "50|folds"),
    ],
)
def test_a_wrong_suite_fails_at_the_plan(make: Any, changes: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        make(**changes)


def test_a_method_may_refuse_the_classes(make: Any, tmp_path: Path) -> None:
    make()
    (tmp_path / "data" / "benign").rename(tmp_path / "data" / "a")
    for i in range(3):
        write_squares(tmp_path / f"more{i}", seed=i + 5)
    (tmp_path / "more0" / "benign").rename(tmp_path / "data" / "c")
    with pytest.raises(ConfigError, match="toy: got 3 classes"):
        make()
