"""Differences to a suite's reference arm: paired, with the correct test, corrected, and as text."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from report_rows import PRIMARY, TAG, made_up
from report_text import text as said
from scipy import stats

from bench.analysis.differences import Difference, differences
from bench.analysis.info import FoldSize, ReportInfo
from bench.analysis.lines import leaderboard
from bench.analysis.report import Records, collect
from bench.analysis.rows import Rows
from bench.errors import ConfigError
from bench.report.export import tidy_csv
from bench.report.sections import differences as section
from bench.report.sections.differences import sentence
from bench.stats.decide import decide
from bench.stats.folds_test import resampled_test
from bench.stats.inference import holm
from bench.suite.arms import Arm
from bench.suite.suite import parse_suite
from bench.types import ResultRow

METHODS = ("pretrained", "frozen", "scratch")
RHO = 50 / 210 / 2  # one repeat of k-fold: half of Nadeau & Bengio's correlation, n_test / (n_test + n_train)
HALF_RATIO = RHO / (1 - RHO)
PLAN = ReportInfo(
    "s", "d", ("benign", "malignant"), ("none", *METHODS), METHODS, ("a",), ("1",),
    tuple(FoldSize(f, 0, 160, 40, 50, 32, 8, 10) for f in range(5)), reference="pretrained",
)  # fmt: skip
KID = {
    "pretrained": (0.050, 0.052, 0.055, 0.049, 0.051),
    "frozen": (0.030, 0.031, 0.036, 0.028, 0.032),
    "scratch": (0.051, 0.050, 0.056, 0.051, 0.049),
}
ACCURACY = {
    "pretrained": (0.70, 0.71, 0.70, 0.72, 0.71),
    "frozen": (0.80, 0.812, 0.79, 0.82, 0.81),
    "scratch": (0.70, 0.69, 0.72, 0.71, 0.70),
}


def rows_of(method: str, fold: int) -> list[ResultRow]:
    at = (method, fold, 0)
    seconds = 40.0 + fold if method != "frozen" else 20.0 + 1.2 * fold
    costs, facts = {"device_s": seconds + 2, "step_device_s": seconds}, {"steps": 100}
    same = {"ratio": "1", "classifier": "a"}
    return [
        ResultRow(f"f{at}", "fit", "s", "d", "done", *at, costs=costs, facts=facts),
        ResultRow(
            f"k{at}", "fidelity", "s", "d", "done", *at, metrics={f"synthetic/test/kid_{TAG}": KID[method][fold]}
        ),
        ResultRow(
            f"e{at}", "evaluate", "s", "d", "done", *at, **same, metrics={f"test/{PRIMARY}": ACCURACY[method][fold]}
        ),
    ]


def compared(rows: list[ResultRow], info: ReportInfo = PLAN) -> list[Difference]:
    table = Rows(rows)
    return list(differences(leaderboard(table, info, Path("nowhere")), table, info))


@pytest.fixture
def rows() -> list[ResultRow]:
    return [row for method in METHODS for fold in range(5) for row in rows_of(method, fold)]


def test_every_measure_of_every_other_arm(rows: list[ResultRow]) -> None:
    found = compared(rows)
    assert [(d.kind, d.arm.method) for d in found] == [
        (kind, method) for kind in ("kid", "accuracy", "training", "step") for method in ("frozen", "scratch")
    ]
    assert {d.pairs for d in found} == {5}
    assert {d.reference for d in found} == {"pretrained"}
    assert found[0].metric == f"fidelity/synthetic/test/kid_{TAG}"


def test_kid_uses_the_corrected_test_and_times_a_plain_paired_t_test(rows: list[ResultRow]) -> None:
    frozen, scratch = compared(rows)[:2]
    wider = math.sqrt(1 + 5 * HALF_RATIO)  # the standard error, over that of a plain test of five pairs
    plain = [stats.ttest_rel(KID[m], KID["pretrained"]) for m in ("frozen", "scratch")]
    p = [2 * stats.t.sf(abs(x.statistic) / wider, 4) for x in plain]
    half = stats.t.ppf(0.975, 4) * wider * stats.sem(np.subtract(KID["frozen"], KID["pretrained"]))
    assert (frozen.low, frozen.high) == (pytest.approx(-0.02 - half), pytest.approx(-0.02 + half))
    assert frozen.p == pytest.approx(p[0])
    assert [frozen.p_adjusted, scratch.p_adjusted] == pytest.approx(holm(p))
    times = [d for d in compared(rows) if d.kind == "training"]
    assert {d.test for d in times} == {"paired t test"}
    seconds = [[r.costs["device_s"] for r in rows if (r.stage, r.method) == ("fit", m)] for m in METHODS]
    assert times[0].p == pytest.approx(stats.ttest_rel(seconds[1], seconds[0]).pvalue)
    assert (frozen.word, scratch.word) == ("lower", "undecided")
    assert frozen.mean == pytest.approx(frozen.value - frozen.base) == pytest.approx(-0.02)


def test_accuracy_is_tested_as_everywhere_in_the_report(rows: list[ResultRow]) -> None:
    found = {d.arm.method: d for d in compared(rows) if d.kind == "accuracy"}
    base = ACCURACY["pretrained"]
    paired = {m: [a - b for a, b in zip(ACCURACY[m], base, strict=True)] for m in ("frozen", "scratch")}
    expected = decide({m: resampled_test(d, PLAN.test_train_ratio) for m, d in paired.items()}, PLAN.margin)
    for method, v in expected.items():
        d = found[method]
        assert (d.word, d.low, d.high, d.p_adjusted) == (v.word, v.low, v.high, v.p_adjusted)
    assert found["frozen"].arm == Arm("frozen", "1")


def test_only_pairs_that_both_have_count(rows: list[ResultRow]) -> None:
    short = [r for r in rows if (r.method, r.fold) not in (("frozen", 0), ("pretrained", 1))]
    kid = {d.arm.method: d for d in compared(short) if d.kind == "kid"}
    assert kid["frozen"].pairs == 3
    assert kid["scratch"].pairs == 4
    assert kid["frozen"].base == pytest.approx(sum(KID["pretrained"][2:]) / 3)
    lonely = [r for r in rows if r.fold == 0]
    one = compared(lonely)[0]
    assert (one.pairs, one.word, math.isnan(one.low)) == (1, "undecided", True)
    assert compared([r for r in rows if r.method != "pretrained"]) == []


def test_a_step_takes_its_share_of_the_time_and_methods_without_steps_have_none(rows: list[ResultRow]) -> None:
    step = [d for d in compared(rows) if d.kind == "step"]
    assert [d.base for d in step] == pytest.approx([0.42, 0.42])
    unknown = [replace(r, facts={}) if r.method == "scratch" else r for r in rows]
    assert [d.arm.method for d in compared(unknown) if d.kind == "step"] == ["frozen"]


def test_one_sentence_an_arm_and_one_table_a_measure(rows: list[ResultRow]) -> None:
    found = compared(rows)
    frozen, scratch = (sentence(m, [d for d in found if d.arm.method == m], PLAN) for m in ("frozen", "scratch"))
    assert frozen.startswith(
        "`frozen`: images closer to real ones (KID −0.0200 [−0.0216, −0.0184] from 0.0514); accuracy helps (+9.8 ["
    )
    assert "training takes less device time (−20 s [" in frozen
    assert frozen.endswith("from 420 ms, −47 %).")
    assert "similarity to real images undecided (KID +" in scratch
    text = said(section, PLAN, differences=tuple(found))
    assert text.count("| Arm | Verdict | Difference |") == 4
    assert f"KID against real test images, by {TAG} (lower is closer)" in text
    assert "| `frozen` | **lower** | −0.0200 [" in text
    assert "| 5 of 5 |" in text


def test_there_is_no_section_without_a_reference(rows: list[ResultRow]) -> None:
    assert compared(rows, replace(PLAN, reference=None)) == []
    assert list(section.sections(Records(), PLAN)) == []


def test_many_accuracies_are_summarised(rows: list[ResultRow]) -> None:
    (template,) = (d for d in compared(rows) if (d.kind, d.arm.method) == ("accuracy", "frozen"))
    wide = replace(PLAN, classifiers=("a", "b", "c"))
    found = [
        replace(template, classifier=c, word=w) for c, w in (("a", "helps"), ("b", "undecided"), ("c", "undecided"))
    ]
    text = sentence("frozen", found, wide)
    assert text.startswith("`frozen`: in accuracy a helps (+9.8 [")
    assert text.endswith(") and undecided in 2 comparisons.")


def test_differences_are_in_the_tidy_table(tmp_path: Path) -> None:
    rows, info = made_up(tmp_path, generative=("cgan", "cyclegan"), pictures=False, classifiers=("a",), ratios=("1",))
    records = collect(Rows(rows), replace(info, reference="cyclegan"), tmp_path)
    found = [r for r in csv.DictReader(tidy_csv(records).splitlines()) if r["reference"] == "cyclegan"]
    assert [(r["method"], r["metric"], r["pairs"]) for r in found] == [
        ("cgan", f"fidelity/synthetic/test/kid_{TAG}", "2"),
        ("cgan", PRIMARY, "2"),
        ("cgan", "fit/device_s", "2"),
        ("cgan", "fit/device_s_per_step", "2"),
    ]


def test_a_reference_must_be_a_generative_method_of_the_suite() -> None:
    suite = {"dataset": {"name": "phantom"}, "methods": {"none": {}, "cyclegan": {}}, "classifiers": {"small_cnn": {}}}
    assert parse_suite("s", {**suite, "reference": "cyclegan"}).settings.reference == "cyclegan"
    for wrong in ("none", "cyclegam"):
        with pytest.raises(ConfigError, match=f"unknown generative method '{wrong}'"):
            parse_suite("s", {**suite, "reference": wrong})
