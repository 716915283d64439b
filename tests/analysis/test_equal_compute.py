"""Compute-matched comparison: references with training multipliers are planned, charged, compared and drawn."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from report_rows import PRIMARY, made_up
from report_text import text as section_text

from bench.analysis.compute import charged
from bench.analysis.info import ReportInfo
from bench.analysis.lines import Line
from bench.analysis.report import Records, collect
from bench.analysis.rows import Rows
from bench.errors import ConfigError
from bench.metrics.classification import patient_predictions
from bench.metrics.predictions import read_predictions
from bench.plan.make import make_plan
from bench.plan.plan import classifier_of
from bench.report.build import build_report
from bench.report.sections import compute
from bench.stats.decide import decide
from bench.stats.endpoints import score_units
from bench.stats.folds_test import components_test
from bench.stats.pareto import pareto
from bench.suite.arms import Arm, ratio_text
from bench.suite.suite import load_suite, parse_suite


@pytest.mark.parametrize(
    ("ratio", "images", "steps"),
    [
        ("0", "0", 1),
        ("0.5", "0.5", 1),
        ("balance", "balance", 1),
        ("1-without-memorised", "1", 1),
        ("0-steps4", "0", 4),
        (None, "0", 1),
    ],
)
def test_a_ratio_says_how_many_images_and_steps(ratio: str | None, images: str, steps: int) -> None:
    arm = Arm.parse("none", ratio)
    assert (arm.ratio, arm.train_multiplier, arm.variant) == (images, steps, ratio or "0")


def test_ratios_are_spelt_one_way() -> None:
    assert [Arm("none", train_multiplier=4).variant, ratio_text(0.5), ratio_text(1.0), ratio_text("balance")] == [
        "0-steps4",
        "0.5",
        "1",
        "balance",
    ]


def small_suite(**settings: object) -> object:
    data = {
        "dataset": {"name": "phantom", "patients": 12, "images_per_patient": 2},
        "split": {"folds": 2, "validation_fraction": 0.4},
        "methods": {"none": None, "classical": None, "oversample": None},
        "classifiers": {"small_cnn": {"steps": 5}},
        **settings,
    }
    return parse_suite("small", data)


def test_training_multipliers_are_planned_for_references_only(tmp_path: Path) -> None:
    suite = small_suite(train_multipliers=[4, 2])
    index = suite.dataset.create().index(None, tmp_path)
    plan = make_plan(suite, index)
    found = {(c.method, c.ratio) for c in plan.cells if c.stage == "evaluate"}
    steps = ["0", "0-steps2", "0-steps4"]
    assert found == {(m, r) for m in ("none", "classical") for r in steps} | {("oversample", "0")}
    assert [classifier_of(suite, "small_cnn", "none", r).config.steps for r in steps] == [5, 10, 20]
    before = {c.id for c in make_plan(small_suite(), index).cells}
    assert before < {c.id for c in plan.cells}, "what was trained before is not trained again"
    whole = make_plan(small_suite(classifiers={"small_cnn": {"steps": 20}}), index)
    same = {c.key for c in whole.cells if c.stage == "classify" and c.method == "none"}
    assert same == {c.key for c in plan.cells if c.stage == "classify" and (c.method, c.ratio) == ("none", "0-steps4")}


@pytest.mark.parametrize("wrong", [1, 0, -2])
def test_a_training_multiplier_must_be_above_1(wrong: int) -> None:
    with pytest.raises(ConfigError, match="above 1"):
        small_suite(train_multipliers=[wrong])


def test_every_shipped_suite_reads() -> None:
    assert load_suite("busi-small").settings.train_multipliers


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Records, ReportInfo, Path, list]:
    root = tmp_path_factory.mktemp("run")
    rows, info = made_up(
        root, folds=5, classifiers=("small_cnn",), ratios=("1",), train_multipliers=(2, 8), pictures=False
    )
    return collect(Rows(rows), info, root), info, root, rows


def test_an_arm_is_charged_generator_sampling_classifier_and_tuning(run: tuple) -> None:
    records, info, root, rows = run
    found = {x.arm: x.charged_s for x in records.charged}
    own = [r for r in rows if r.method == "cgan" and r.stage in ("fit", "synthesize", "classify")]
    assert found[Arm("cgan", "1")] == pytest.approx(sum(r.costs["device_s"] for r in own))
    assert found[Arm("none")] == pytest.approx(5 * 9.0)
    assert found[Arm.parse("none", "0-steps8")] == pytest.approx(5 * 72.0)
    tuned = collect(Rows(rows), replace(info, tuned_s={"none": {"small_cnn": 100.0}}), root)
    assert {x.arm: x.charged_s for x in tuned.charged}[Arm("none")] == pytest.approx(5 * 9.0 + 100)


def test_training_multipliers_are_not_in_the_leaderboard(run: tuple) -> None:
    records, info, *_ = run
    assert {x.arm for x in records.lines} == set(info.arms)
    assert {x.arm for x in records.multiplied} == set(info.multiplied_arms)
    assert not any(x.comparisons for x in records.multiplied)  # one reference trained longer is not that of another


def test_an_arm_is_compared_with_the_training_of_the_closest_cost(run: tuple) -> None:
    records, _, root, rows = run
    beside = {m.arm: m for m in records.matches if m.reference.method == "none"}
    assert beside[Arm("cgan", "1")].reference == Arm.parse("none", "0-steps2")  # about 33 s a fold, of 9, 18 and 72 s
    assert beside[Arm("cyclegan", "1")].reference == Arm.parse("none", "0-steps8")  # about 76 s
    assert beside[Arm("oversample")].reference == Arm("none")
    fold = [[f for f in range(5) for _ in range(12)]]  # 12 patients are tested in each fold
    tested = {
        arm.label: components_test([contributions(rows, root, arm) - contributions(rows, root, m.reference)], fold)
        for arm, m in beside.items()
    }
    expected = decide(tested, 0.02, family="compute-matched with none")
    assert len(expected) == 8
    for arm, m in beside.items():
        v, wanted = m.verdict, expected[arm.label]
        assert (v.difference, v.low, v.high, v.p, v.p_adjusted, v.p_equivalent) == pytest.approx(
            (wanted.difference, wanted.low, wanted.high, wanted.p, wanted.p_adjusted, wanted.p_equivalent)
        )
        assert (v.word, v.test, v.family, v.level) == (wanted.word, wanted.test, wanted.family, 0.05 / 8)


def contributions(rows: list, root: Path, arm: Arm) -> np.ndarray:
    """Return what each patient of five folds adds to the balanced accuracy over all of them, in the order of folds."""
    mine = [r for r in rows if r.stage == "evaluate" and (r.method, r.ratio) == (arm.method, arm.variant)]
    tables = [read_predictions(root / r.facts["predictions"], "test") for r in sorted(mine, key=lambda r: r.fold)]
    folds = [patient_predictions(t.y_true, t.y_prob, t.group) for t in tables]
    truth, prob = (np.concatenate(of) for of in zip(*folds, strict=True))
    return score_units("balanced_accuracy", truth, prob, np.arange(len(truth))).contributions


def line(method: str, seconds: float, score: float, ratio: str = "0") -> Line:
    from bench.analysis.rows import Score

    values = {PRIMARY: {(f, 0): score + 0.01 * f for f in range(3)}}
    scores = {PRIMARY: Score.of(values[PRIMARY].values())}
    return Line("c", Arm.parse(method, ratio), 3, scores, values, {}, (), 0.0, 0.0, 0.0, device_s=seconds)


def test_the_front_is_of_arms_that_no_cheaper_one_matches() -> None:
    lines = [line("none", 1, 0.70), line("weak", 5, 0.65, "1"), line("strong", 5, 0.95, "1")]
    more = [line("none", 2, 0.75, "0-steps2"), line("none", 9, 0.90, "0-steps9")]
    front = {(x.arm.method, x.arm.variant) for x in charged(lines, more) if x.on_front}
    assert front == {("none", "0"), ("none", "0-steps2"), ("strong", "1")}
    rng = np.random.default_rng(0)
    points = [(float(a), float(b)) for a, b in rng.random((60, 2))]
    best = [p for p in points if not any(q != p and q[0] <= p[0] and q[1] >= p[1] for q in points)]
    assert pareto(points) == sorted(best)


def appendix(rows: list, info: ReportInfo, root: Path) -> str:
    """Return the text of the compute-matched section."""
    return section_text(compute, info, **vars(collect(Rows(rows), info, root)))


def test_the_report_has_the_section(run: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for others in ("draw_outcomes", "_losses", "_sweep", "_differences", "_equal_terms"):  # tests/report has them
        monkeypatch.setattr(f"bench.report.charts.draw.{others}", lambda *_: {})
    monkeypatch.setattr("bench.report.build.draw_grids", lambda *_: {})
    _, info, root, rows = run
    text = build_report(rows, info, root, tmp_path).read_text(encoding="utf-8")
    assert "Compared with `none` trained for as much device time" in text.partition("## Cost")[2].partition("\n## ")[0]
    section = appendix(rows, info, root)
    assert "`none` 8× the steps" in section
    assert "`cyclegan` ×1" in section
    board = text.partition("## Leaderboard")[2].partition("\n## ")[0]
    assert "the steps" not in board
    assert (tmp_path / "charts" / "cost.png").stat().st_size > 10_000
    table = list(csv.DictReader((tmp_path / "leaderboard.csv").open()))
    assert {r["ratio"] for r in table if r["method"] == "classical"} == {"0", "0-steps2", "0-steps8"}
    found = json.loads((tmp_path / "leaderboard.json").read_text())
    assert len(found["matches"]) == len(collect(Rows(rows), info, root).matches) > 0


def test_a_reference_with_less_device_time_is_named(run: tuple, tmp_path: Path) -> None:
    _, info, root, rows = run
    texts = []
    for seconds in (0.0, 3600.0):
        texts.append(appendix(rows, replace(info, tuned_s={"cyclegan": {"small_cnn": seconds}}), root))
    short = "less than two thirds of the device time of"
    assert "`cyclegan`" not in texts[0].partition(short)[2].partition(":")[0]
    assert "`cyclegan` ×1" in texts[1].partition(short)[2].partition(":")[0]


def test_a_suite_without_training_multipliers_has_no_such_section(tmp_path: Path) -> None:
    rows, info = made_up(tmp_path, folds=2, classifiers=("small_cnn",), ratios=("1",), pictures=False)
    assert appendix(rows, info, tmp_path) == ""
    assert "device time" not in "".join(compute.compute_sentences(collect(Rows(rows), info, tmp_path).matches, info))
