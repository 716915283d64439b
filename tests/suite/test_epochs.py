"""Epochs in place of steps: their number of steps, and that cells are those of the same steps given directly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from data_sets import made_up_index
from toy import register, write_squares, write_suite

from bench.cli.main import main
from bench.config import merged, override
from bench.engine.session import prepare
from bench.engine.stored import keep_config, settings_changes
from bench.errors import ConfigError
from bench.plan.make import make_plan
from bench.plan.plan import Plan
from bench.store.run_configs import read_run_config
from bench.suite.epochs import images_per_step, without_epochs
from bench.suite.suite import Suite, load_suite, suite_from

NET: dict[str, Any] = {"batch_size": 8, "width": 4}
CURVE = {"protocol": "learning_curve", "train_patients": [8, 16], "replicates": 2, "validation_fraction": 0.25}


def suite_of(
    classifiers: dict[str, Any], methods: dict[str, Any], assignments: tuple[str, ...] = (), **more: Any
) -> Suite:
    data = {
        "dataset": {"name": "image_folder", "positive": "c1"}, "image_size_px": 32, "methods": {"none": {}, **methods},
        "classifiers": classifiers, "split": {"protocol": "kfold", "folds": 3, "validation_fraction": 0.25}, **more,
    }  # fmt: skip
    return suite_from("s", data, assignments)


def planned(suite: Suite) -> Plan:
    """Plan a suite on 40 patients with one to three images each."""
    return make_plan(suite, made_up_index([[1 + i % 3, 0] for i in range(20)] + [[0, 1 + i % 3] for i in range(20)]))


@pytest.mark.parametrize("split", [{}, {"split": CURVE}], ids=["folds", "curve"])
def test_epochs_are_the_steps_that_the_largest_training_part_needs(split: dict[str, Any]) -> None:
    methods = {"cgan": {"epochs": 40}, "cyclegan": {"epochs": 2.5, "batch_size": 2}}
    in_epochs = planned(suite_of({"small_cnn": {**NET, "epochs": 30}}, methods, **split))
    images = max(len(s.train) for s in in_epochs.splits)
    assert len({len(s.train) for s in in_epochs.splits}) > 1
    batch = in_epochs.suite.method("cgan").config.batch_size
    steps = {"small_cnn": math.ceil(30 * images / 8), "cgan": math.ceil(40 * images / batch),
             "cyclegan": math.ceil(2.5 * images / 4)}  # fmt: skip
    found = {m.name: m.config.steps for m in in_epochs.suite.methods if m.kind == "generative"}
    assert {**found, "small_cnn": in_epochs.suite.classifier("small_cnn").config.steps} == steps
    methods = {"cgan": {"steps": steps["cgan"]}, "cyclegan": {"steps": steps["cyclegan"], "batch_size": 2}}
    direct = planned(suite_of({"small_cnn": {**NET, "steps": steps["small_cnn"]}}, methods, **split))
    assert direct.suite == in_epochs.suite
    assert [c.id for c in direct.cells] == [c.id for c in in_epochs.cells]


def test_epochs_of_one_arm_and_multiplied_arms() -> None:
    methods = {"classical": {"classifiers": {"small_cnn": {"epochs": 4}}}}
    suite = planned(suite_of({"small_cnn": {**NET, "steps": 5}}, methods, train_multipliers=[2])).suite
    images = max(len(s.train) for s in planned(suite).splits)
    assert suite.classifier("small_cnn").config.steps == 5
    assert suite.classifier("small_cnn", "classical").config.steps == math.ceil(4 * images / 8)


def test_what_is_set_last_replaces_the_other() -> None:
    assert override({"c": {"steps": 5}}, ("c.epochs=3",)) == {"c": {"epochs": 3}}
    assert override({"c": {"epochs": 5}}, ("c.*=1", "c.steps=3")) == {"c": {"steps": 3}}
    assert merged({"c": {"steps": 5, "a": 1}}, {"c": {"epochs": 3}}) == {"c": {"a": 1, "epochs": 3}}
    changed = suite_of({"small_cnn": {"steps": 5}}, {}, ("classifiers.*.epochs=7",))
    assert changed.classifier("small_cnn").epochs == 7


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"epochs": 3, "steps": 5}, "small_cnn: got steps 5 and epochs 3, expected one"),
        ({"epochs": 0}, r"small_cnn.epochs: got 0, expected a number above 0"),
        ({"epochs": "many"}, "got 'many'"),
        ({"epochs": True}, "got True"),
        ({"epochs": math.inf}, "got inf"),
    ],
)
def test_invalid_epochs_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        suite_of({"small_cnn": config}, {})


def test_what_is_not_trained_on_batches_has_no_epochs() -> None:
    probe = planned(suite_of({"linear_probe": {}}, {}, ("classifiers.*.epochs=3",)))
    assert probe.suite == suite_of({"linear_probe": {}}, {})
    with pytest.raises(ConfigError, match=r"methods.noise: unknown key 'epochs'"):
        suite_of({"small_cnn": {}}, {"noise": {"epochs": 3}})

    @dataclass(frozen=True)
    class Unbatched:
        steps: int = 3

    with pytest.raises(ConfigError, match=r"methods.own.epochs: Unbatched does not train on batches"):
        images_per_step(Unbatched(), "methods.own")


def test_a_plugin_with_epochs_of_its_own_keeps_them() -> None:
    @dataclass(frozen=True)
    class Own:
        epochs: int = 3

    @dataclass(frozen=True)
    class Both(Own):
        steps: int = 3

    assert without_epochs(Own, {"epochs": 5}, "methods.own") == ({"epochs": 5}, None)
    with pytest.raises(ConfigError, match=r"methods\.both: Both has the fields epochs and steps"):
        without_epochs(Both, {}, "methods.both")


def test_a_run_stores_steps_and_its_file_with_epochs_is_no_other_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch)
    monkeypatch.chdir(tmp_path)
    write_squares(tmp_path / "data")
    write_suite(tmp_path / "s.yaml", methods={"none": {}}, classifiers={"small_cnn": {**NET, "epochs": 6}})
    session = prepare("s.yaml", (), Path("data"), Path("out"))
    steps = math.ceil(6 * max(len(s.train) for s in session.plan.splits) / 8)
    assert session.env.suite.classifier("small_cnn").config.steps == steps
    keep_config(session)
    config = read_run_config(tmp_path / "out", "s")
    assert config is not None
    assert config.suite["classifiers"]["small_cnn"]["steps"] == steps
    assert settings_changes(load_suite("s.yaml"), config) == []
    plans = [
        CliRunner().invoke(main, ["plan", "s.yaml", "--data", "data", "--out", "out", "--json", *words]).stdout
        for words in ((), ("--epochs", "6"), ("--set", f"classifiers.small_cnn.steps={steps}"))
    ]
    assert plans[0] == plans[1] == plans[2]
