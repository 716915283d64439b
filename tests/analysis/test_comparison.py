"""Comparisons of two arms: the test follows from the design, and each names its family, level and test."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from curve_rows import LEVELS, SETS, arm, contributions_of, made_curve
from report_rows import PRIMARY, made_up

from bench.analysis.comparison import OVER_SETS, PRIMARY_FAMILY, Comparison, better_than_chance
from bench.analysis.info import ReportInfo
from bench.analysis.lines import leaderboard
from bench.analysis.rows import Rows
from bench.metrics.classification import patient_predictions
from bench.metrics.predictions import read_predictions
from bench.stats.crossed import TEST as CROSSED
from bench.stats.crossed import crossed_test
from bench.stats.endpoints import score_units
from bench.stats.folds_test import COMPONENTS, RESAMPLED, components_test, resampled_test
from bench.suite.arms import Arm
from bench.suite.contrast import Contrast
from bench.types import ResultRow

NONE = Arm("none")


def curve_at(rows: list[ResultRow], info: ReportInfo, root: Path, size: int = 20) -> dict[tuple[str, str], Comparison]:
    """Return the comparisons with `none` at one size, by method and metric."""
    lines = leaderboard(Rows(rows).at_size(size), info.at_size(size), root)
    return {(c.arm.method, c.metric): c for x in lines for c in x.comparisons if c.reference == NONE}


def folds_of(rows: list[ResultRow], info: ReportInfo, root: Path) -> dict[str, Comparison]:
    """Return the comparisons with `none` in the primary score, by method."""
    lines = leaderboard(Rows(rows), info, root)
    return {c.arm.method: c for x in lines for c in x.comparisons if c.reference == NONE and c.metric == PRIMARY}


def kfold(root: Path, repeats: int = 1) -> tuple[list[ResultRow], ReportInfo]:
    return made_up(root, folds=3, repeats=repeats, classifiers=("a",), ratios=("1",), generative=("cgan",),
                   pictures=False, per_patient=2)  # fmt: skip


def test_trainings_of_a_given_split_are_crossed_with_its_test_patients(tmp_path: Path) -> None:
    rows, info = made_up(tmp_path, folds=1, repeats=3, classifiers=("a",), ratios=("1",), generative=("cgan",),
                         pictures=False, per_patient=2)  # fmt: skip
    found = folds_of(rows, replace(info, design="given"), tmp_path)["cgan"].verdict
    assert found.test == CROSSED
    once = [r for r in rows if r.repeat == 0]
    one = replace(info, design="given", folds=tuple(f for f in info.folds if f.repeat == 0))
    assert folds_of(once, one, tmp_path)["cgan"].verdict.word == "undecided"


def test_the_primary_contrast_of_a_curve_is_tested_alone_and_the_other_arms_share_a_family(tmp_path: Path) -> None:
    rows, info = made_curve(tmp_path, contrast=Contrast("toy", "none", 20, "1", "a"))
    found = curve_at(rows, info, tmp_path)
    toy = found["toy", "patient_auroc"].verdict
    assert (toy.family, toy.level, toy.p_adjusted, toy.word) == (PRIMARY_FAMILY, 0.05, toy.p, "helps")
    v = found["classical", "patient_auroc"].verdict
    assert (v.family, v.level, v.p_adjusted) == ("patient_auroc against none", 0.05, v.p)
    noise = found["noise", "patient_auroc"].verdict  # the control does not reduce the power of the arms
    assert (noise.family, noise.level) == ("patient_auroc against none, negative control", 0.05)
    later = curve_at(rows, info, tmp_path, 40)  # the contrast is declared at the other size
    toy, classical = (later[m, "patient_auroc"] for m in ("toy", "classical"))
    assert (toy.family, toy.verdict.level, toy.train_patients) == ("patient_auroc against none", 0.05 / 2, 40)
    ps = sorted((toy.verdict.p, classical.verdict.p))
    adjusted = max(toy.verdict.p_adjusted, classical.verdict.p_adjusted)
    assert adjusted == min(1, max(2 * ps[0], ps[1]))
    assert found["toy", "patient_brier"].family == "patient_brier against none"  # another score is not the primary one


def test_a_contrast_of_two_generators_is_at_its_own_ratio(tmp_path: Path) -> None:
    rows, info = made_curve(tmp_path, contrast=Contrast("toy", "noise", 20, "1", "a"))
    lines = leaderboard(Rows(rows).at_size(20), replace(info, ratios=("0.5", "1")).at_size(20), tmp_path)
    (c,) = (c for x in lines for c in x.comparisons if c.family == PRIMARY_FAMILY)
    assert (c.arm, c.reference, c.metric) == (arm("toy"), arm("noise"), "patient_auroc")
    assert c.verdict.p == pytest.approx(
        crossed_test(contributions_of(tmp_path, "toy", 20) - contributions_of(tmp_path, "noise", 20)).p
    )


def test_a_curve_is_tested_by_sets_and_patients_crossed(tmp_path: Path) -> None:
    rows, info = made_curve(tmp_path)
    found = curve_at(rows, info, tmp_path)
    for method in ("toy", "noise"):
        for endpoint, sign in (("auroc", 1), ("log_loss", -1)):
            a, b = (contributions_of(tmp_path, m, 20, endpoint) for m in (method, "none"))
            wanted, c = crossed_test(sign * (a - b)), found[method, f"patient_{endpoint}"]
            v = c.verdict
            assert (v.difference, v.low, v.high, v.p) == pytest.approx(
                (wanted.difference, wanted.low, wanted.high, wanted.p)
            )
            assert (v.test, v.sets, v.groups, c.train_patients, c.reference_patients) == (CROSSED, SETS, 60, 20, 20)
    assert found["toy", "patient_log_loss"].verdict.difference > 0  # its loss is lower: better


def test_a_set_that_one_arm_lacks_is_left_out(tmp_path: Path) -> None:
    rows, info = made_curve(tmp_path)
    kept = [r for r in rows if (r.stage, r.method, r.train_patients, r.fold) != ("evaluate", "toy", 20, SETS - 1)]
    v = curve_at(kept, info, tmp_path)["toy", "patient_auroc"].verdict
    a, b = (contributions_of(tmp_path, m, 20, sets=SETS - 1) for m in ("toy", "none"))
    assert (v.sets, v.p) == (SETS - 1, pytest.approx(crossed_test(a - b).p))


def test_k_fold_is_tested_by_components_of_patients_and_runs(tmp_path: Path) -> None:
    rows, info = kfold(tmp_path, repeats=2)
    v = folds_of(rows, info, tmp_path)["classical"].verdict

    def of(method: str) -> np.ndarray:
        repeats = []
        for repeat in range(2):
            at = [tmp_path / f"cells/classify/{method}-0-a-{f}.{repeat}/predictions.csv" for f in range(3)]
            tables = [read_predictions(path, "test") for path in at]
            folds = [patient_predictions(t.y_true, t.y_prob, t.group) for t in tables]
            y, p = (np.concatenate(parts) for parts in zip(*folds, strict=True))
            repeats.append(score_units("balanced_accuracy", y, p, np.arange(len(y))).contributions)
        return np.stack(repeats)

    fold = np.tile(np.repeat([0, 1, 2], 12), (2, 1))
    wanted = components_test(of("classical") - of("none"), fold)
    assert (v.difference, v.low, v.high, v.p) == pytest.approx((wanted.difference, wanted.low, wanted.high, wanted.p))
    assert (v.test, v.sets, v.groups, v.note) == (COMPONENTS, 6, 36, wanted.note)
    assert (v.family, v.level) == (f"{PRIMARY} against none", 0.05 / 3)


def by_hand(rows: list[ResultRow], method: str, ratio: float) -> tuple[float, float]:
    """Return mean and p of Nadeau & Bengio's test of three pairs."""
    from scipy import stats

    score = {(r.method, r.fold): r.metrics[f"test/{PRIMARY}"] for r in rows if r.stage == "evaluate"}
    d = np.array([score[method, f] - score["none", f] for f in range(3)])
    t = d.mean() / math.sqrt(d.var(ddof=1) * (1 / 3 + ratio))
    return float(d.mean()), float(2 * stats.t.sf(abs(t), 2))


def test_hold_out_is_tested_by_the_pairs_with_the_whole_correction(tmp_path: Path) -> None:
    rows, info = kfold(tmp_path)
    whole = float(np.mean([100 / (160 + f) for f in range(3)]))
    v = folds_of(rows, replace(info, design="holdout"), tmp_path)["classical"].verdict
    assert (v.difference, v.p) == pytest.approx(by_hand(rows, "classical", whole))
    assert (v.test, v.sets, v.groups) == (RESAMPLED, 3, 0)


def test_without_predictions_k_fold_is_tested_by_the_pairs_with_half_of_the_correlation(tmp_path: Path) -> None:
    rows, info = kfold(tmp_path)
    rho = float(np.mean([100 / (160 + f) for f in range(3)]))
    rho = rho / (1 + rho) / 2
    bare = [replace(r, facts={}) if r.stage == "evaluate" else r for r in rows]
    v = folds_of(bare, info, tmp_path)["classical"].verdict
    assert (v.difference, v.p) == pytest.approx(by_hand(rows, "classical", rho / (1 - rho)))
    assert v.test == RESAMPLED


def test_a_curve_without_predictions_says_what_its_test_does_not_cover(tmp_path: Path) -> None:
    rows, info = made_curve(tmp_path)
    bare = [replace(r, facts={}) if r.stage == "evaluate" else r for r in rows]
    v = curve_at(bare, info, tmp_path)["toy", "patient_auroc"].verdict
    d = (contributions_of(tmp_path, "toy", 20) - contributions_of(tmp_path, "none", 20)).mean(axis=1)
    assert (v.test, v.note, v.p) == ("paired t test", OVER_SETS, pytest.approx(resampled_test(d, 0.0, "holdout").p))


def test_two_arms_at_chance_are_not_equivalent(tmp_path: Path) -> None:
    wide = {"margin": 0.3}
    words, informative = {}, {}
    for name, level in (("chance", 0.0), ("learnt", 0.9)):
        root = tmp_path / name
        root.mkdir()
        same = {(m, n): level for m, n in LEVELS if n == 20}
        rows, info = made_curve(root, same)
        info = replace(info, **wide)
        c = curve_at(rows, info, root)["classical", "patient_auroc"]
        assert c.verdict.p_equivalent < 0.001  # within the margin, both times
        words[name] = c.verdict.word
        lines = leaderboard(Rows(rows).at_size(20), info.at_size(20), root)
        informative[name] = [
            better_than_chance(x.scored(info), info) for x in lines if x.arm in (NONE, arm("classical"))
        ]
    assert words == {"chance": "undecided", "learnt": "equivalent"}
    assert informative == {"chance": [False, False], "learnt": [True, True]}
