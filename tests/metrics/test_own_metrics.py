"""User-defined metrics: from a file beside the suite to the store and the report; and which ones are refused."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_text import whole
from toy import register, write_squares, write_suite

from bench import registry
from bench.engine.plan_rows import rows_of
from bench.engine.scheduler import Runner
from bench.engine.session import prepare
from bench.errors import ConfigError, RegistryError
from bench.metrics.classification import classification_metrics
from bench.metrics.custom import built_in_names, own_scores, try_out
from bench.metrics.expected_cost import ExpectedCost, ExpectedCostConfig
from bench.metrics.predictions import read_predictions
from bench.plan.plan import Plan
from bench.suite.suite import load_suite
from bench.types import Measure

MODULE = """
from dataclasses import dataclass
from bench.types import Measure

@dataclass(frozen=True)
class Config:
    offset: float = 0.0

class Worst:
    version = 1
    Config = Config
    per_patient = False
    def __init__(self, config): self.config = config
    def check(self, classes): pass
    def measures(self): return {"worst": Measure("higher", "", 0, 2), "spread": Measure("lower", "", 0, 1)}
    def compute(self, y_true, y_prob, groups, classes):
        right = y_prob.argmax(1) == y_true
        shares = [right[[g == p for g in groups]].mean() for p in sorted(set(groups))]
        return {"worst": min(shares) + self.config.offset, "spread": max(shares) - min(shares)}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with images, and a suite with a separate module that no other test imports."""
    register(monkeypatch)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(registry, "_FOLDERS", [])
    write_squares(tmp_path / "data")
    (tmp_path / "worst_patient.py").write_text(MODULE, encoding="utf-8")
    yield tmp_path
    sys.modules.pop("worst_patient", None)


METRICS = {"expected_cost": {"false_negative": 3}, "patients": {"use": "worst_patient:Worst", "offset": 0.5}}


def planned(folder: Path, **changes: Any) -> Plan:
    return prepare(str(write_suite(folder / "mine.yaml", **changes)), (), folder / "data", folder / "runs").plan


def test_a_suite_without_metrics_keeps_its_keys_and_adding_them_trains_nothing_again(folder: Path) -> None:
    plain, none, own = planned(folder), planned(folder, metrics={}), planned(folder, metrics=METRICS)
    assert [c.id for c in plain.cells] == [c.id for c in none.cells]
    changed = {a.stage for a, b in zip(plain.cells, own.cells, strict=True) if a.id != b.id}
    assert changed == {"evaluate"}
    other = planned(folder, metrics={**METRICS, "expected_cost": {"false_negative": 4}})
    assert [c.id for c in other.cells] != [c.id for c in own.cells]


def test_worker_processes_score_the_saved_test_predictions_and_the_report_shows_it(folder: Path) -> None:
    from bench.analysis.report import collect
    from bench.analysis.rows import Rows
    from bench.engine.executors.local import Workers
    from bench.report.export import tidy_csv
    from bench.report.page import sections
    from bench.report.run_facts import report_info

    changes: Any = {"metrics": METRICS, "methods": {"none": {}, "classical": {}}}
    suite = str(write_suite(folder / "mine.yaml", **changes))
    session = prepare(suite, (), folder / "data", folder / "runs")
    runner = Runner(session.plan.cells, session.env)
    assert runner.run(lambda: Workers(1, threads=1)).exit_code == 0, runner.summary.failed
    rows = rows_of(session.plan, session.env)
    scored = [r for r in rows if r.stage == "evaluate"]
    for row in scored:
        p = read_predictions(session.env.out / row.facts["predictions"], "test")
        for spec in session.suite.metrics:
            expected = own_scores(spec.name, spec.create(), p.y_true, p.y_prob, p.group, p.classes)
            assert {k: row.metrics[f"test/{k}"] for k in expected} == expected
        assert {"test/patients_worst", "test/patients_spread", "test/patient_expected_cost"} <= row.metrics.keys()
        assert "test/patient_patients_worst" not in row.metrics
        assert "validation/expected_cost" not in row.metrics
    info = report_info(session, rows)
    records = collect(Rows(rows), info, session.env.out)
    text = whole(sections(records, info, {}, {}))
    assert "## Custom metrics" in text
    for words in ("`patient_expected_cost`: lower is better", "`patients_worst`: higher is better", "from 0 to 3."):
        assert words in text
    table = tidy_csv(records)
    assert table.count(",patients_worst,none,") == 1  # classical against none
    assert table.count(",patients_worst,,") == 2


def test_expected_cost_is_elkans() -> None:
    y_prob = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.85, 0.15]])
    metric = ExpectedCost(ExpectedCostConfig(false_negative=4, false_positive=1))  # predicted malignant from 0.2 on
    assert metric.compute(np.array([0, 0, 1, 1]), y_prob, list("abcd"), ("b", "m")) == {"cost": (1 + 4) / 4}
    equal = ExpectedCost(ExpectedCostConfig(false_negative=1, false_positive=1))
    truth = np.array([0, 1, 1, 1])
    error = 1 - classification_metrics(truth, y_prob, list("abcd"))["accuracy"]
    assert equal.compute(truth, y_prob, list("abcd"), ("b", "m"))["cost"] == pytest.approx(error)


def test_per_patient_a_patients_images_count_as_one_row() -> None:
    y_true, groups = np.array([1, 1, 0, 1]), ["x", "x", "y", "z"]
    y_prob = np.array([[0.2, 0.8], [0.99, 0.01], [0.9, 0.1], [0.95, 0.05]])
    found = own_scores("c", ExpectedCost(ExpectedCostConfig()), y_true, y_prob, groups, ("b", "m"))
    assert found == {"c": 10 / 4, "patient_c": 5 / 3}  # x by the mean of its two, 0.405: predicted malignant


class Bad:
    """A metric whose parts are replaced one at a time."""

    per_patient = True

    def __init__(self, values: Mapping[str, Any] | Exception, **measures: Measure) -> None:
        self.values, self.declared = values, measures

    def check(self, classes: Any) -> None: ...

    def measures(self) -> Mapping[str, Measure]:
        return self.declared

    def compute(self, *_: Any) -> Any:
        if isinstance(self.values, Exception):
            raise self.values
        return self.values


SHARE = Measure("higher", "", 0, 1)


@pytest.mark.parametrize(
    ("name", "metric", "message"),
    [
        ("auroc", Bad({"a": 0.5}, a=SHARE), "'auroc' is already a built-in metric"),
        ("score", Bad({"a": 0.5}, a=SHARE), "'patient_score' is already a built-in metric"),
        ("recall", Bad({"benign": 0.5, "b": 0.5}, benign=SHARE, b=SHARE), "'recall_benign' is already"),
        ("mine", Bad({"b": 0.5}, a=SHARE), r"gave \{'b': 0.5\}, expected a number for each of \['a'\]"),
        ("mine", Bad({"a": 1.5}, a=SHARE), r"a is 1.5, declared to lie in \[0, 1\]"),
        ("mine", Bad({}), "measures"),
        ("mine", Bad(ZeroDivisionError("division"), a=SHARE), "simulated predictions: ZeroDivisionError: division"),
    ],
)
def test_invalid_metrics_are_reported_before_training(name: str, metric: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        try_out({name: metric}, ("benign", "malignant", "normal"))


def test_two_metrics_may_not_take_one_name() -> None:
    with pytest.raises(ConfigError, match="'a_b' is already of metric 'a_b'"):
        try_out({"a_b": Bad({"x": 0}, x=SHARE), "a": Bad({"b": 0, "c": 0}, b=SHARE, c=SHARE)}, ("n", "p"))


def test_the_built_in_names_are_all_there() -> None:
    for classes in (("b", "m"), ("a", "b", "c")):
        n = len(classes)
        found = classification_metrics(np.arange(n), np.eye(n), list(range(n)), classes)
        assert found.keys() <= built_in_names(classes)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"expected_cots": {}}, "did you mean 'expected_cost'"),
        ({"expected_cost": {"false_negativ": 1}}, "did you mean 'false_negative'"),
        ({"expected_cost": {"false_negative": -1}}, "expected a finite cost above 0"),
        ({"my cost": {"use": "expected_cost"}}, "letters, digits and _"),
        ({"x": {"use": "worst_patient:Wurst"}}, "has no attribute 'Wurst'"),
        ({"x": {"use": "nowhere_at_all:Worst"}}, "No module named 'nowhere_at_all'.*searched in"),
        ({"x": {"use": "worst_patient:Config"}}, "is not a valid metric: missing check, measures"),
        (["expected_cost"], "expected a mapping"),
    ],
)
def test_a_suite_that_names_a_metric_wrongly_is_refused(folder: Path, metrics: Any, message: str) -> None:
    path = write_suite(folder / "mine.yaml", metrics=metrics)
    with pytest.raises((ConfigError, RegistryError), match=message):
        load_suite(str(path))


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        ("method", "kind = 'onlin'\n    Config = int", "kind = 'onlin'; expected 'online' or 'generative' for a"),
        ("method", "kind = 'generative'", "not a valid generative method: missing check, fit, synthesize, Config"),
        ("classifier", "def build(self): ...", "is not a valid classifier: missing check, Config, a frozen dataclass"),
        ("dataset", "", "is not a valid dataset: missing index"),
    ],
)
def test_a_class_without_required_attributes_is_refused(
    folder: Path, kind: registry.Kind, body: str, message: str
) -> None:
    module = f"lacking_{kind}_{len(body)}"
    (folder / f"{module}.py").write_text(f"class Mine:\n    {body or 'pass'}\n", encoding="utf-8")
    registry.look_in(folder)
    with pytest.raises(ConfigError, match=message):
        registry.load(kind, f"{module}:Mine")


def test_a_user_defined_classifier_needs_the_fine_tuning_settings(folder: Path) -> None:
    text = MODULE + "\nclass Net:\n    Config = Config\n    def check(self): ...\n    def build(self, *_): ...\n"
    (folder / "worst_patient.py").write_text(text, encoding="utf-8")
    path = write_suite(folder / "mine.yaml", classifiers={"net": {"use": "worst_patient:Net"}})
    with pytest.raises(ConfigError, match=r"must extend .*FineTuneConfig"):
        load_suite(str(path))


def test_sys_path_is_unchanged_for_a_suite_without_user_classes(folder: Path) -> None:
    before = [*sys.path]
    load_suite(str(write_suite(folder / "mine.yaml", metrics={"expected_cost": {}})))
    assert sys.path == before
    load_suite(str(write_suite(folder / "mine.yaml", metrics=METRICS)))
    assert sys.path == [*before, str(folder)]
