"""One set of promises, held by every registered metric; a new one is picked up by its registry line."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from bench import registry
from bench.config import build
from bench.errors import ConfigError
from bench.metrics.custom import built_in_names, own_measures, own_scores, try_out

METRICS = registry.names("metric")
CLASSES = ("benign", "malignant", "normal")


def made(name: str) -> Any:
    cls = registry.load("metric", name)
    return cls(build(cls.Config, {}, name))


def served(metric: Any) -> list[int]:
    """Return the numbers of classes, of 2 and 3, that the metric takes; what it refuses it refuses by name."""
    found = []
    for n in (2, 3):
        try:
            metric.check(CLASSES[:n])
        except ConfigError as e:
            refused = str(e)
        else:
            found.append(n)
            continue
        assert f"{n} classes" in refused
    assert found, "it takes neither two nor three classes"
    return found


def predictions(classes: int, seed: int, patients: int = 9) -> tuple[np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    y_true = np.repeat(np.arange(patients) % classes, 4)
    return y_true, rng.dirichlet(np.ones(classes), len(y_true)), [f"p{i // 4}" for i in range(len(y_true))]


def scores(metric: Any, classes: int, y_true: np.ndarray, y_prob: np.ndarray, groups: list[str]) -> dict[str, float]:
    return own_scores("m", metric, y_true, y_prob, groups, CLASSES[:classes])


@pytest.mark.parametrize("name", METRICS)
def test_its_config_has_a_default_for_everything_and_is_frozen(name: str) -> None:
    cls = registry.load("metric", name)
    assert dataclasses.is_dataclass(build(cls.Config, {}, name))
    assert cls.Config.__dataclass_params__.frozen
    assert isinstance(cls.version, int)


@pytest.mark.parametrize("name", METRICS)
def test_its_header_names_a_source(name: str) -> None:
    text = sys.modules[registry.load("metric", name).__module__].__doc__
    assert text
    assert any(c.isdigit() for c in text)


def test_no_metric_needs_a_heavy_library_to_be_planned() -> None:
    modules = sorted({registry.resolve("metric", m).split(":")[0] for m in METRICS})
    code = f"import sys, importlib; [importlib.import_module(m) for m in {modules}]; "
    code += "print([m for m in ('torch', 'sklearn', 'matplotlib') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("name", METRICS)
def test_it_declares_what_it_gives_and_keeps_within_its_bounds(name: str) -> None:
    metric = made(name)
    for n in served(metric):
        try_out({name: metric}, CLASSES[:n])
        for measure in metric.measures().values():
            assert measure.better in ("higher", "lower")
            assert measure.low < measure.high
            assert np.isfinite(measure.low if measure.better == "lower" else measure.high), "the best value is known"
        for seed in range(20):
            found = scores(metric, n, *predictions(n, seed))
            declared = own_measures("m", metric)
            assert found.keys() == declared.keys()
            for key, value in found.items():
                assert isinstance(value, float)
                assert declared[key].low <= value <= declared[key].high  # NaN would fail


@pytest.mark.parametrize("name", METRICS)
def test_certain_right_answers_are_as_good_as_it_gets(name: str) -> None:
    metric = made(name)
    for n in served(metric):
        y_true, _, groups = predictions(n, 0)
        right = scores(metric, n, y_true, np.eye(n)[y_true], groups)
        wrong = scores(metric, n, y_true, np.eye(n)[(y_true + 1) % n], groups)
        for key, measure in own_measures("m", metric).items():
            lower = measure.better == "lower"
            assert right[key] == pytest.approx(measure.low if lower else measure.high)
            assert right[key] < wrong[key] if lower else right[key] > wrong[key]


@pytest.mark.parametrize("name", METRICS)
def test_it_gives_the_same_for_the_same_rows_in_any_order(name: str) -> None:
    metric = made(name)
    for n in served(metric):
        y_true, y_prob, groups = predictions(n, 5)
        order = np.random.default_rng(1).permutation(len(y_true))
        first = scores(metric, n, y_true, y_prob, groups)
        assert scores(made(name), n, y_true, y_prob, groups) == first
        assert scores(metric, n, y_true[order], y_prob[order], [groups[i] for i in order]) == pytest.approx(first)


@pytest.mark.parametrize("name", METRICS)
def test_no_name_of_it_is_a_built_in_one(name: str) -> None:
    assert not own_measures(name, made(name)).keys() & built_in_names(CLASSES)
