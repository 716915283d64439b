"""A made-up learning curve: points, comparisons, worth in patients, ranks, and both controls."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from curve_rows import LEVELS, SETS, arm, contributions_of, made_curve
from report_rows import made_up

from bench.analysis.curve import POSITIVE_FAMILY, ArmWorth, Curve, curve
from bench.analysis.failures import shortfalls
from bench.analysis.info import ReportInfo
from bench.analysis.rows import Rows
from bench.report.sections.curve import control_sentence, worth_text
from bench.stats.crossed import crossed_test
from bench.stats.ranks import rank_shares
from bench.stats.worth import Worth, worth_in_patients
from bench.suite.arms import Arm
from bench.suite.contrast import Contrast
from bench.types import ResultRow

NONE = Arm("none")
Run = tuple[Path, ReportInfo, Curve]


def curve_of(root: Path, levels: dict[tuple[str, int], float] = LEVELS) -> Run:
    rows, info = made_curve(root, levels, Contrast("toy", "none", 20, "1", "a"))
    found = curve(Rows(rows), info, root)
    assert found is not None
    return root, info, found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return curve_of(tmp_path_factory.mktemp("curve"))


def test_every_arm_has_a_point_at_every_size_with_its_interval(run: Run) -> None:
    root, _, found = run
    at = {(p.arm.method, p.train_patients): p for p in found.points}
    assert at.keys() == LEVELS.keys()
    for (method, size), p in at.items():
        wanted = crossed_test(contributions_of(root, method, size))
        assert (p.score.mean, p.score.low, p.score.high) == pytest.approx(
            (wanted.difference, wanted.low, min(wanted.high, 1.0))
        )
        assert (p.score.n, p.classifier, p.arm) == (SETS, "a", arm(method))
    assert at["none", 20].score.mean < at["none", 40].score.mean < at["none", 80].score.mean


def test_comparisons_are_with_none_at_each_size(run: Run) -> None:
    found = {(c.arm.method, c.train_patients): c for c in run[2].comparisons}
    assert found.keys() == {(m, n) for m, n in LEVELS if m != "none"}
    assert {(c.reference, c.metric, c.reference_patients == c.train_patients) for c in found.values()} == {
        (NONE, "patient_auroc", True)
    }
    assert found["toy", 20].family == "primary contrast"
    assert found["toy", 20].verdict.word == "helps"


def test_more_patients_are_the_positive_control(run: Run) -> None:
    root, info, found = run
    more = [c for c in found.controls if c.name == "more patients"]
    assert [(c.comparison.reference_patients, c.comparison.train_patients) for c in more] == [(20, 40), (40, 80)]
    for c in more:
        few, many = (contributions_of(root, "none", n or 0) for n in (
            c.comparison.reference_patients, c.comparison.train_patients))  # fmt: skip
        v, wanted = c.comparison.verdict, crossed_test(many - few)
        assert (v.difference, v.low, v.p) == pytest.approx((wanted.difference, wanted.low, wanted.p))
        assert (c.comparison.arm, c.comparison.reference, v.family, v.level) == (NONE, NONE, POSITIVE_FAMILY, 0.05)
        assert c.held == (v.word == "helps")
    assert more[0].held
    assert "20 to 40 **helps** +" in control_sentence(found.controls, info)
    assert "no power" not in control_sentence(found.controls, info)


def test_a_flat_curve_has_no_power_and_noise_that_helps_is_named(tmp_path: Path) -> None:
    levels = {(m, n): 0.5 for m, n in LEVELS} | {("noise", 20): 1.5}
    _, info, found = curve_of(tmp_path, levels)
    assert not any(c.held for c in found.controls if c.name == "more patients")
    noise = {c.comparison.train_patients: c for c in found.controls if c.name == "noise"}
    assert {n: c.held for n, c in noise.items()} == {20: False, 40: True}
    said = control_sentence(found.controls, info)
    assert "**This run had no power**" in said
    assert "Negative control, images of noise: noise ×1, 20 patients **helps** +" in said
    assert "**Noise is decided to help**" in said


def test_noise_is_the_negative_control(run: Run) -> None:
    _, info, found = run
    noise = [c for c in found.controls if c.name == "noise"]
    assert [c.comparison for c in noise] == [c for c in found.comparisons if c.arm.method == "noise"]
    assert [c.held for c in noise] == [True, True]
    assert "**Noise is decided to help**" not in control_sentence(found.controls, info)


def test_worth_is_read_from_the_whole_curve_of_none(run: Run) -> None:
    root, _, found = run
    worths = {(w.arm.method, w.train_patients): w for w in found.worths}
    assert worths.keys() == {(m, n) for m, n in LEVELS if m != "none"}
    none = np.stack([contributions_of(root, "none", n) for n in (20, 40, 80)])
    for (method, size), w in worths.items():
        wanted = worth_in_patients((20, 40, 80), none, contributions_of(root, method, size), size)
        assert (w.worth.value, w.worth.low, w.worth.high) == pytest.approx((wanted.value, wanted.low, wanted.high))
        assert w.worth.kind == wanted.kind
        assert np.isnan(w.device_s) if method == "classical" else w.device_s == 32.0  # training and synthesis
    toy = worths["toy", 20].worth  # it has the logits of none with twice the patients
    assert toy.low < 20 < toy.high
    assert 5 < toy.value < 40


@pytest.mark.parametrize(
    ("worth", "text"),
    [
        (Worth(13.6, 5.7, 25.2, "value"), "+14 [+6, +25]"),
        (Worth(-3.2, -12.0, 4.0, "value"), "−3 [−12, +4]"),
        (Worth(8.0, -np.inf, np.inf, "value"), "+8 [less than 0, more than the curve]"),
        (Worth(-np.inf, -np.inf, 2.0, "below 0"), "less than 0 [less than 0, +2]"),
        (Worth(np.inf, 12.0, np.inf, "more than the curve shows"),
         "more than the curve shows [+12, more than the curve]"),
        (Worth(3.0, np.nan, np.nan, "value"), "+3"),
    ],
)  # fmt: skip
def test_worth_in_words(worth: Worth, text: str) -> None:
    assert worth_text(ArmWorth("a", arm("toy"), 20, worth, 1.0)) == text
    assert worth_text(None) == "–"


def test_ranks_are_those_of_the_bootstrap_over_sets_and_patients(run: Run) -> None:
    root, _, found = run
    methods = ("none", "classical", "toy", "noise")
    assert [r.arm.method for r in found.ranks] == list(methods)
    shares = np.array([r.shares for r in found.ranks])
    wanted = rank_shares(np.stack([contributions_of(root, m, 20) for m in methods]))
    assert shares == pytest.approx(wanted)
    assert shares.sum(axis=0) == pytest.approx(np.ones(4))
    assert shares[2, 0] > 0.9  # toy is the best


def test_a_set_that_one_arm_lacks_is_in_no_worth_and_no_rank_of_it(tmp_path: Path) -> None:
    rows, info = made_curve(tmp_path)
    kept = [r for r in rows if (r.stage, r.method, r.train_patients, r.fold) != ("evaluate", "toy", 20, SETS - 1)]
    found = curve(Rows(kept), info, tmp_path)
    assert found is not None
    (worth,) = (w.worth for w in found.worths if (w.arm.method, w.train_patients) == ("toy", 20))
    none = np.stack([contributions_of(tmp_path, "none", n, sets=SETS - 1) for n in (20, 40, 80)])
    wanted = worth_in_patients((20, 40, 80), none, contributions_of(tmp_path, "toy", 20, sets=SETS - 1), 20)
    assert worth.value == pytest.approx(wanted.value)
    common = [contributions_of(tmp_path, m, 20, sets=SETS - 1) for m in ("none", "classical", "toy", "noise")]
    assert np.array([r.shares for r in found.ranks]) == pytest.approx(rank_shares(np.stack(common)))


def test_other_designs_have_no_curve(tmp_path: Path) -> None:
    rows, info = made_up(tmp_path, generative=(), classifiers=("a",), pictures=False, per_patient=2)
    assert curve(Rows(rows), info, tmp_path) is None
    assert curve(Rows([]), replace(info, sizes=(20, 40), design="learning_curve"), tmp_path) == Curve(
        (), (), (), (), ()
    )


def test_stages_that_lack_a_set_are_counted_at_one_size(tmp_path: Path) -> None:
    rows, info = made_curve(tmp_path)
    lost = [
        ResultRow(f"m{n}{s}", "memorised", "curve", "phantom", "missing", "toy", s, 0, train_patients=n)
        for n, s in ((20, 0), (20, 2), (40, 1))
    ]
    (found,) = shortfalls(Rows([*rows, *lost]), info.at_size(20))
    assert (found.stage, found.method, found.planned, found.pairs) == ("memorised", "toy", SETS, ((0, 0), (2, 0)))
