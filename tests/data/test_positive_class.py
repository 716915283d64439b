"""The positive class is declared and not the second in alphabetical order; also for patients with both classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk
from click.testing import CliRunner
from PIL import Image
from toy import write_suite

from bench.cli.effect_plan import plan_effect
from bench.cli.main import main
from bench.data.positive import implied, with_positive
from bench.engine.executors.local import InProcess
from bench.engine.plan_rows import rows_of
from bench.engine.scheduler import Runner
from bench.engine.session import Session, prepare
from bench.errors import ConfigError
from bench.metrics.classification import classification_metrics
from bench.metrics.curves import precision_recall, prevalence
from bench.metrics.custom import own_scores
from bench.metrics.expected_cost import ExpectedCost, ExpectedCostConfig
from bench.metrics.predictions import read_predictions
from bench.report.build import build_report
from bench.report.run_facts import report_info
from bench.stages.common import Inputs
from bench.stats.bootstrap import ScoredFold, cluster_bootstrap_ci
from bench.types import DatasetIndex, ResultRow

CLASSES = ("melanoma", "other")  # the positive class is first in alphabetical order
# Of five melanomas two are missed; of ten others one is predicted as melanoma.
Y = np.array([0] * 5 + [1] * 10)
CALLED = np.array([0, 0, 0, 1, 1] + [0] + [1] * 9)
PROB = np.eye(2)[CALLED] * 0.8 + 0.1
GROUPS = [f"p{i}" for i in range(15)]


def index(*classes: str, positive: str | None = None) -> DatasetIndex:
    return DatasetIndex("set", Path(), classes, (), positive=positive)


def test_binary_metrics_are_those_of_the_positive_class() -> None:
    got = classification_metrics(Y, PROB, GROUPS, CLASSES, positive=0)
    assert (got["sensitivity"], got["specificity"]) == (3 / 5, 9 / 10)
    assert (got["precision"], got["f1"]) == (3 / 4, pytest.approx(2 / 3))
    assert got["auprc"] == pytest.approx(sk.average_precision_score(Y == 0, PROB[:, 0]))
    assert (got["patient_sensitivity"], got["patient_specificity"]) == (3 / 5, 9 / 10)
    other = classification_metrics(Y, PROB, GROUPS, CLASSES)
    assert (other["sensitivity"], other["specificity"]) == (9 / 10, 3 / 5)
    symmetrical = {"balanced_accuracy", "accuracy", "mcc", "auroc", "ece", "brier", "log_loss"}
    assert all(got[k] == pytest.approx(other[k]) for k in symmetrical)
    assert got["auprc"] != pytest.approx(other["auprc"])


def test_curves_and_intervals_are_those_of_the_positive_class() -> None:
    assert precision_recall(Y, PROB, 0).area == pytest.approx(sk.average_precision_score(Y == 0, PROB[:, 0]))
    assert prevalence(Y, 2, 0) == pytest.approx(1 / 3)
    fold = ScoredFold(Y, PROB, GROUPS)
    assert cluster_bootstrap_ci([fold], "sensitivity", positive=0).value == 3 / 5
    assert cluster_bootstrap_ci([fold], "precision", positive=0).value == 3 / 4


def test_expected_cost_charges_a_missed_case_of_the_positive_class() -> None:
    metric = ExpectedCost(ExpectedCostConfig(false_negative=5, false_positive=1))
    certain = np.eye(2)[CALLED]
    got = own_scores("cost", metric, Y, certain, GROUPS, CLASSES, positive=0)
    assert got["cost"] == pytest.approx((2 * 5 + 1 * 1) / 15)
    assert own_scores("cost", metric, Y, certain, GROUPS, CLASSES)["cost"] == pytest.approx((1 * 5 + 2 * 1) / 15)


@pytest.mark.parametrize(
    ("classes", "positive"),
    [
        (("melanoma", "other"), "melanoma"),
        (("Parasitized", "Uninfected"), "Parasitized"),
        (("NORMAL", "PNEUMONIA"), "PNEUMONIA"),
        (("benign", "malignant"), "malignant"),
        (("glioma", "healthy"), "glioma"),
        (("benign", "normal"), None),
        (("malignant", "melanoma"), None),
        (("a", "b"), None),
        (("benign", "malignant", "normal"), None),
    ],
)
def test_names_that_mean_a_finding_imply_the_positive_class(classes: tuple[str, ...], positive: str | None) -> None:
    assert implied(classes) == positive


def test_the_suites_setting_has_priority_and_must_be_one_of_two_classes() -> None:
    assert with_positive(index("a", "b"), "a").positive_label == 0
    assert with_positive(index("PR+", "PR-", positive="PR+"), None).positive == "PR+"
    assert with_positive(index("benign", "malignant"), "benign").positive == "benign"
    with pytest.raises(ConfigError, match=r"dataset\.positive: no class is called 'c'; valid: a, b|did you mean"):
        with_positive(index("a", "b"), "c")
    with pytest.raises(ConfigError, match=r"dataset\.positive: got 'a', but set has 3 classes"):
        with_positive(index("a", "b", "c"), "a")


def write_cells(root: Path, names: tuple[str, str] = CLASSES, mixed: bool = True) -> Path:
    """Two class folders of noisy squares, of eight patients; with ``mixed`` each has images of both classes."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for patient in range(8):
            for i in range((2, 3)[label]):
                number = patient if mixed else patient + 8 * label
                pixels = rng.normal(90 + 60 * label + 5 * patient, 40, (16, 16, 3))
                Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(root / name / f"P{number:02d}_{i}.png")
    return root


def plan_of(folder: Path, *assignments: str, names: tuple[str, str] = CLASSES, **changes: Any) -> Session:
    data = folder / "data" / "-".join(names)
    if not data.exists():
        write_cells(data, names, mixed=changes.pop("mixed", False))
    methods: dict[str, Any] = {"none": {}, "classical": {}}
    dataset = {"name": "image_folder", "group_regex": r"/(?P<group>P\d+)_"}
    suite = write_suite(
        folder / "cells.yaml",
        **{"dataset": dataset, "methods": methods, "explain": {"images_per_class": 0}, **changes},
    )
    return prepare(str(suite), assignments, data, folder / "runs")


def test_an_unknown_positive_class_is_an_error_with_the_line_to_add(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"dataset\.positive: 'a' or 'b'\?.*--set 'dataset\.positive=b'"):
        plan_of(tmp_path, names=("a", "b"))
    assert plan_of(tmp_path, "dataset.positive=a", names=("a", "b")).plan.index.positive == "a"
    no_scores = plan_of(tmp_path, names=("a", "b"), classifiers={}, methods={"none": {}})
    assert no_scores.plan.index.positive is None  # no metric depends on it, so it is not required


def test_keys_change_only_where_the_first_class_is_the_positive_one(tmp_path: Path) -> None:
    plain, second, first = (
        plan_of(tmp_path, *(f"dataset.positive={name}" for name in names), names=("benign", "malignant")).plan.cells
        for names in ((), ("malignant",), ("benign",))
    )
    assert [c.id for c in plain] == [c.id for c in second]
    assert {a.stage for a, b in zip(plain, first, strict=True) if a.id != b.id} == {"evaluate"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Session, list[ResultRow]]:
    """A finished run: the positive class sorts first, and all patients have images of both classes."""
    classifier = {"steps": 40, "evaluate_every": 20, "batch_size": 8, "width": 4}
    changes: dict[str, Any] = {"metrics": {"expected_cost": {}}, "classifiers": {"small_cnn": classifier}}
    session = plan_of(tmp_path_factory.mktemp("run"), mixed=True, **changes)
    runner = Runner(session.plan.cells, session.env)
    assert runner.run(lambda: InProcess(1)).exit_code == 0, runner.summary.failed
    return session, rows_of(session.plan, session.env)


def test_a_run_scores_images_and_the_positive_class(run: tuple[Session, list[ResultRow]]) -> None:
    session, rows = run
    for row in (r for r in rows if r.stage == "evaluate"):
        p = read_predictions(session.env.out / row.facts["predictions"], "test")
        said, case = p.y_prob.argmax(axis=1) == 0, p.y_true == 0
        assert row.metrics["test/sensitivity"] == pytest.approx(said[case].mean())
        assert row.metrics["test/specificity"] == pytest.approx((~said[~case]).mean())
        called = p.y_prob[:, 0] >= 1 / 6
        wrong = 5 * (case & ~called).sum() + (~case & called).sum()
        assert row.metrics["test/expected_cost"] == pytest.approx(wrong / len(case))
        assert not [k for k in row.metrics if "patient" in k]


def test_its_report_names_the_unit_and_the_positive_class(run: tuple[Session, list[ResultRow]], tmp_path: Path) -> None:
    session, rows = run
    info = report_info(session, rows)
    assert (info.positive, info.data.mixed_groups, info.data.all_groups) == ("melanoma", 8, 8)
    build_report(rows, info, session.env.out, tmp_path)
    text = (tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    for words in (
        "image-level AUROC, clustered by patient",
        "8 of the patients have images of several classes, so images are scored",
        "Per image, in %: mean over pairs [95 % interval over patients, each with all its images]. "
        "Positive class: melanoma.",
        "sensitivity (recall of melanoma) and specificity (recall of other)",
        "Positive class: melanoma",
    ):
        assert words in text, words
    assert "patient-level" not in text.lower()
    assert "Positive class: melanoma" in (tmp_path / "leaderboard.tex").read_text(encoding="utf-8")
    report = json.loads((tmp_path / "leaderboard.json").read_text(encoding="utf-8"))
    line = next(x for x in report["lines"] if x["method"] == "classical")
    assert line["pairs"] == 2
    assert line["scores"]["patient_balanced_accuracy"]["n"] == 0
    assert set(line["versus"]["none"]) == {"auroc", "log_loss", "brier", "balanced_accuracy"}


def test_plan_says_what_is_scored_and_plans_with_patients(run: tuple[Session, list[ResultRow]]) -> None:
    session, _ = run
    found = plan_effect(session, 0.1)
    assert (found.patients, found.groups) == (8, "patients")
    assert found.metric == "image-level balanced accuracy, clustered by patient"
    assert found.comparisons[0].components is not None
    folder = session.env.out.parent
    done = CliRunner().invoke(
        main, ["plan", "--suite", str(folder / "cells.yaml"), "--data", str(session.env.data), "--out",
               str(session.env.out)]
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert "40 images of 8 patients" in said
    assert "primary metric: image-level AUROC, clustered by patient; positive class: melanoma" in said
    assert "8 of the patients have images of several classes, so images are scored" in said


def test_suites_that_share_images_in_one_process_keep_their_own_positive_class(
    run: tuple[Session, list[ResultRow]],
) -> None:
    session, _ = run
    cell = session.plan.cells[0]
    assert Inputs(cell, session.env).index.positive == "melanoma"
    folder = session.env.out.parent
    other = prepare(str(folder / "cells.yaml"), ("dataset.positive=other",), session.env.data, session.env.out)
    assert Inputs(cell, other.env).index.positive == "other"
    assert Inputs(cell, session.env).index.positive == "melanoma"
