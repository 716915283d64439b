"""Tuned settings say how they were chosen: a fold that tests a patient whose images chose them refuses them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from toy import CURVE, Toy, register, write_squares, write_suite

from bench.engine.cell_run import run_cell
from bench.engine.rehearsal import miniature
from bench.engine.session import Session, prepare
from bench.errors import ConfigError, LeakageError
from bench.forecast.workload import workloads
from bench.plan.selection import select
from bench.suite.resolved import resolved
from bench.suite.suite import load_suite
from bench.suite.tuned import TunedSettings, budget_of, tuned_s
from bench.tuning.arm import Arm
from bench.tuning.spaces import arm_space

FOLDS = ((0, 0), (1, 0))


@pytest.fixture(autouse=True)
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bench.cost.timers._give_back_memory", lambda: None)
    write_suite(Path("s.yaml"))
    write_squares(tmp_path / "data")


def session(*files: str) -> Session:
    return prepare("s.yaml", files, Path("data"), Path("out"))


def arm_of(plain: Session) -> Arm:
    pair = plain.suite.method("toy"), plain.suite.classifier("small_cnn")
    return Arm(plain, *pair, arm_space(plain.suite, *pair, {}))


def entry(seen: Sequence[str], **changes: Any) -> dict[str, Any]:
    chosen = {"classifier": "small_cnn", "config": {"steps": 3}, "data": session().plan.fingerprint,
              "seen": list(seen), "budget": "4 trials", "device_s": 2.0}  # fmt: skip
    return {**chosen, **changes}


def write(entries: dict[str, Any], name: str = "best.yaml", method: str = "toy") -> str:
    Path(name).write_text(yaml.safe_dump({"tuned": {method: entries}}))
    return f"@{name}"


def own_entries() -> dict[str, Any]:
    """Return the entries that `bench tune` writes: those of each fold's own search, with other steps in each."""
    arms = arm_of(session()).each_fold()
    assert [a.pair for a in arms] == list(FOLDS)
    return {a.at: entry(a.seen, config={"steps": 3 + i}) for i, a in enumerate(arms)}


def test_every_fold_uses_its_own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    tuned, plain = session(write(own_entries())), session()
    steps = [s.method("toy").config.steps for s in (tuned.suite, *(tuned.suite.of_fold(*f) for f in FOLDS))]
    assert steps == [6, 3, 4]
    keys = [{c.fold: c.key for c in select(s.plan.cells, ("stage=fit",)) if c.stage == "fit"} for s in (tuned, plain)]
    assert not set(keys[0].values()) & set(keys[1].values())
    fits = [c for c in select(tuned.plan.cells, ("stage=fit", "fold=1")) if c.method == "toy" or c.stage == "split"]
    trained = []
    monkeypatch.setattr(Toy, "fit", lambda self, data, ctx: trained.append(self.config.steps))
    assert [run_cell(c, tuned.env).status for c in fits][-1] == "done"
    assert trained == [4]  # what ran, not what was planned
    works = workloads(tuned.plan)
    assert [works[f"fit/{keys[0][f]}"].units["step"] for f in (0, 1)] == [3, 4]
    assert not miniature(tuned.suite, 8).by_fold  # whose few steps hold in every fold


def test_set_comes_after_the_tuned_settings_and_can_remove_the_arm() -> None:
    file = write(own_entries())
    assert session(file, "methods.toy.steps=9").suite.of_fold(1, 0).method("toy").config.steps == 9
    without = session(file, "methods.toy=false")
    assert (without.suite.tuned_settings, [m.name for m in without.suite.of_fold(1, 0).methods]) == ((), ["none"])


def test_settings_that_saw_another_fold_s_test_patients_are_refused() -> None:
    """One best config over all folds: the patients of every test part chose it."""
    arms = arm_of(session()).each_fold()
    every = sorted({g for a in arms for g in a.seen})
    with pytest.raises(LeakageError, match=r"fold 0: the tuned settings of 'toy' .* test patients"):
        session(write({"all": entry(every)}))
    own = own_entries()
    with pytest.raises(LeakageError, match="fold 1: the tuned settings of 'toy' were chosen"):
        session(write({**own, "1.0": own["0.0"]}))  # the settings of fold 0 in fold 1
    leaked = sorted({p for p in every if p not in arms[0].seen})[0]
    with pytest.raises(LeakageError, match=f"1 of its .* such as '{leaked}'"):
        session(write({**own, "0.0": entry([*arms[0].seen, leaked])}))


def test_without_the_check_the_leak_goes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    own = own_entries()
    monkeypatch.setattr("bench.plan.make.check_tuned_settings", lambda *_: None)
    assert session(write({**own, "1.0": own["0.0"]})).suite.of_fold(1, 0).method("toy").config.steps == 3


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"seen": []}, LeakageError, "do not list the patients"),
        ({"data": "0" * 16}, ConfigError, "tuned on other images"),
        ({"config": {"stepps": 3}}, ConfigError, "did you mean 'steps'"),
        ({"bugdet": ""}, ConfigError, "did you mean 'budget'"),
    ],
)
def test_an_origin_that_cannot_be_checked_is_refused(changes: dict[str, Any], error: Any, message: str) -> None:
    own = own_entries()
    with pytest.raises(error, match=message):
        session(write({**own, "0.0": {**own["0.0"], **changes}}))


def test_settings_for_some_folds_only_and_unknown_methods_are_refused() -> None:
    own = own_entries()
    with pytest.raises(ConfigError, match="no settings for fold 1; run `bench tune`"):
        session(write({"0.0": own["0.0"]}))
    with pytest.raises(ConfigError, match=r"tuned\.toi: not a method of this suite"):
        load_suite("s.yaml", (write(own, method="toi"),))
    with pytest.raises(ConfigError, match="expected a mapping as `bench tune` writes it"):
        load_suite("s.yaml", (write([1]),))  # type: ignore[arg-type]


def test_files_of_two_arms_are_merged_and_the_stored_suite_is_as_strict() -> None:
    own = own_entries()
    none = {at: {**e, "config": {"classifiers": {"small_cnn": {"learning_rate": 0.25}}}} for at, e in own.items()}
    both = session(write(own), write(none, "none.yaml", "none"))
    assert both.suite.of_fold(1, 0).classifier("small_cnn", "none").config.learning_rate == 0.25
    assert tuned_s(both.suite.tuned_settings, "toy", "small_cnn") == 4.0
    assert budget_of(both.suite.tuned_settings, "none", "small_cnn") == "4 trials in every fold"
    assert resolved(both.suite)["tuned"] == {"toy": own, "none": none}


def test_a_learning_curve_s_sets_share_one_config_which_saw_no_test_patient() -> None:
    write_suite(Path("s.yaml"), split=CURVE | {"train_patients": [4], "replicates": 2})
    plain = session()
    (arm,) = arm_of(plain).each_fold()
    group = {r.path: r.group_id for r in plain.plan.index.records}
    sets = {group[p] for s in plain.plan.splits for p in (*s.train, *s.validation)}
    assert (arm.at, set(arm.seen)) == ("all", sets)
    assert not sets & {group[p] for p in plain.plan.splits[0].test}
    assert session(write({"all": entry(arm.seen)})).suite.method("toy").config.steps == 3
    tested = group[plain.plan.splits[0].test[0]]
    with pytest.raises(LeakageError, match="set 0 of 4 patients: the tuned settings"):
        session(write({"all": entry([*arm.seen, tested])}))


def test_a_tuned_generator_serves_all_classifiers_of_its_method() -> None:
    generator = TunedSettings("a", {"steps": 3}, "", ("p",), "4 trials", 1.0, "toy")
    classifier = TunedSettings("a", {"classifiers": {"a": {}}}, "", ("p",), "4 trials", 1.0, "toy")
    assert [tuned_s([generator], *of) for of in (("toy", "a"), ("toy", "b"), ("none", "a"))] == [1.0, 1.0, 0.0]
    assert [budget_of([classifier], "toy", c) for c in ("a", "b")] == ["4 trials", ""]
