"""The complete settings of a suite, written as a suite file, are the same suite again."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from toy import register, write_suite

from bench.config import to_plain
from bench.suite.resolved import resolved
from bench.suite.shipped import shipped_suites
from bench.suite.suite import Suite, load_suite


def read_again(suite: Suite, folder: Path) -> Suite:
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump(to_plain(resolved(suite)), sort_keys=False))
    return load_suite(str(path))


@pytest.mark.parametrize("name", shipped_suites())
def test_saved_settings_give_the_same_suite(name: str, tmp_path: Path) -> None:
    suite = load_suite(name)
    assert read_again(suite, tmp_path) == suite


def test_classes_under_other_names_and_own_classifiers_are_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch)
    own = {"use": "toy:Toy", "steps": 3, "classifiers": {"net": {"steps": 9}}}
    networks = {"net": {"use": "resnet18"}, "small_cnn": {}, "resnet34": {}}
    metrics = {"cost": {"use": "expected_cost"}}
    path = write_suite(
        tmp_path / "s.yaml", methods={"none": {}, "a": {"use": "toy"}, "b": own}, classifiers=networks, metrics=metrics
    )
    suite = load_suite(str(path), ("methods.a.steps=7", "dataset.positive=benign"))
    again = read_again(suite, tmp_path)
    assert again == suite
    assert again.method("a").config.steps == 7
    assert again.classifier("net", "b").config.model == "resnet18"


def test_set_changes_tuned_settings_and_the_saved_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)
    found = {"classifier": "small_cnn", "data": "0" * 16, "seen": ["b1"], "budget": "2 trials"}
    tuned = {"toy": {f"{fold}.0": {**found, "config": {"steps": 20 + fold, "fail_at": 90}} for fold in (0, 1)}}
    path = write_suite(tmp_path / "s.yaml", tuned=tuned)
    suite = load_suite(str(path), ("methods.toy.fail_at=80",))
    again = read_again(suite, tmp_path)
    assert again == suite
    configs = [again.of_fold(fold, 0).method("toy").config for fold in (0, 1)]
    assert [(c.steps, c.fail_at) for c in configs] == [(20, 80), (21, 80)]
