"""All generative arms on equal terms: every number is that of its stage, and no comparison is made twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import curve_rows
import numpy as np
import pytest
from report_rows import TAG, made_up, row

from bench.analysis.equal_terms import ArmTerms, real_baseline
from bench.analysis.info import ReportInfo
from bench.analysis.report import Records, collect
from bench.analysis.rows import Rows
from bench.suite.arms import Arm
from bench.types import ResultRow

RATIOS = ("0.5", "1", "1-without-memorised", "1-realism-keep0.5")
NOISE_KID = 2.0
Run = tuple[list[ResultRow], ReportInfo, Path]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """K-fold with two generators and noise; images are selected, and memorised samples left out."""
    root = tmp_path_factory.mktemp("terms")
    rows, info = made_up(root, folds=3, classifiers=("a", "b"), generative=("cyclegan", "cgan", "noise"), ratios=RATIOS,
                         pictures=False, per_patient=2)  # fmt: skip
    rows = [with_kid(r, NOISE_KID) if (r.stage, r.method) == ("fidelity", "noise") else r for r in rows]
    for fold in range(3):
        at = {"ratio": RATIOS[3]}
        rows.append(row("select", "cgan", (fold, 0), costs={"device_s": 7.0 + fold}, facts={"images": 160}, **at))
        rows.append(row("memorised", "cgan", (fold, 0), metrics={"memorised/flagged_share": 0.2 + 0.1 * fold}, **at))
    return rows, info, root


def with_kid(r: ResultRow, kid: float) -> ResultRow:
    return replace(r, metrics={**r.metrics, f"synthetic/test/kid_{TAG}": kid})


def collected(run: Run, rows: list[ResultRow] | None = None, **info: object) -> Records:
    return collect(Rows(run[0] if rows is None else rows), replace(run[1], **info), run[2])  # type: ignore[arg-type]


def of(records: Records) -> dict[Arm, ArmTerms]:
    return {x.arm: x for x in records.equal_terms}


def mean(run: Run, stage: str, method: str, metric: str) -> float:
    return float(np.mean([r.metrics[metric] for r in run[0] if (r.stage, r.method, r.ratio) == (stage, method, None)]))


def test_every_number_is_that_of_its_stage(run: Run) -> None:
    found = of(collected(run))
    x = found[Arm("cgan", "0.5")]
    assert x.extractor == TAG
    assert x.kid.mean == pytest.approx(mean(run, "fidelity", "cgan", f"synthetic/test/kid_{TAG}"))
    real = mean(run, "fidelity", "cgan", f"real_baseline/test/kid_{TAG}")
    assert x.kid_ratio == pytest.approx(x.kid.mean / real)
    assert x.coverage.mean == pytest.approx(mean(run, "fidelity", "cgan", f"synthetic/test/coverage_{TAG}"))
    assert x.memorised.mean == pytest.approx(mean(run, "memorised", "cgan", "memorised/flagged_share"))
    seconds = [sum(r.costs["device_s"] for r in run[0] if r.method == "cgan" and r.stage in ("fit", "synthesize")
                   and r.fold == fold) for fold in range(3)]  # fmt: skip
    assert x.device_s.mean == pytest.approx(np.mean(seconds))
    assert (x.device_s.n, x.steps, x.tuning_s, x.total_s) == (3, 400, 0.0, x.device_s.mean)
    assert found[Arm("cgan", "1")].kid == x.kid, "one generator serves all ratios"
    assert real_baseline([x, found[Arm("noise", "1")]]) == pytest.approx(
        (real + mean(run, "fidelity", "noise", f"real_baseline/test/kid_{TAG}")) / 2
    )


def test_changes_are_the_comparisons_of_the_leaderboard(run: Run) -> None:
    records = collected(run)
    for x in records.equal_terms:
        assert [c.classifier for c in x.changes] == ["a", "b"]
        for line in (line for line in records.lines if line.arm == x.arm):
            c = x.change(line.classifier)
            assert c is not None
            assert c in line.comparisons
            assert c.verdict is line.verdict("none")
    assert records.equal_terms[0].change("other") is None


def test_arms_are_sorted_by_the_kid_of_their_generator_and_noise_is_among_them(run: Run) -> None:
    records = collected(run)
    arms = [x.arm for x in records.equal_terms]
    assert [*dict.fromkeys(a.method for a in arms)] == ["cyclegan", "cgan", "noise"]
    assert [a.variant for a in arms] == [*RATIOS] * 3
    near = [with_kid(r, 0.01) if (r.stage, r.method) == ("fidelity", "cgan") else r for r in run[0]]
    assert collected(run, near).equal_terms[0].arm == Arm("cgan", "0.5")


def test_selected_images_cost_their_selection_and_have_no_kid_of_their_own(run: Run) -> None:
    found = of(collected(run))
    x = found[Arm.parse("cgan", RATIOS[3])]
    fit = [r.costs["device_s"] for r in run[0] if (r.stage, r.method) == ("fit", "cgan")]
    assert x.device_s.mean == pytest.approx(np.mean(fit) + 8.0)
    assert x.memorised.mean == pytest.approx(0.3)
    assert (x.kid.n, x.coverage.n) == (0, 0)
    assert found[Arm.parse("cyclegan", RATIOS[3])].device_s.n == 0, "its images were not selected yet"
    without = found[Arm.parse("cgan", RATIOS[2])]
    assert (without.memorised.mean, without.kid.n) == (0.0, 0)
    assert repr(without.device_s) == repr(found[Arm("cgan", "1")].device_s), "NaN is not equal to itself"


def test_untrained_and_collapsed_generators_are_marked(run: Run) -> None:
    assert not any(x.untrained for x in collected(run).equal_terms)
    far = [with_kid(r, 0.9) if (r.stage, r.method) == ("fidelity", "cgan") else r for r in run[0]]
    low = [replace(r, metrics={**r.metrics, f"synthetic/diversity_{TAG}": 0.1})
           if (r.stage, r.method) == ("fidelity", "cyclegan") else r for r in far]  # fmt: skip
    records = collected(run, low)
    marks = {(x.arm.method, x.untrained, x.collapsed) for x in records.equal_terms}
    assert marks == {("cgan", True, False), ("cyclegan", False, True), ("noise", False, False)}
    assert of(records)[Arm("cgan", "1")].changes[0].verdict.withheld


def test_missing_stages_leave_their_numbers_out(run: Run) -> None:
    rows = [r for r in run[0] if (r.stage, r.method) not in {("fidelity", "cyclegan"), ("memorised", "cgan")}]
    rows = [replace(r, status="failed", costs={}, error="E: x")
            if (r.stage, r.method, r.fold) == ("synthesize", "cgan", 1) else r for r in rows]  # fmt: skip
    records = collected(run, rows)
    assert [*dict.fromkeys(x.arm.method for x in records.equal_terms)] == ["cgan", "noise", "cyclegan"]
    cgan, cyclegan = (of(records)[Arm(m, "1")] for m in ("cgan", "cyclegan"))
    assert (cgan.device_s.n, cgan.memorised.n, cyclegan.kid.n) == (2, 0, 0)
    assert cyclegan.extractor == ""
    assert np.isnan(cyclegan.kid_ratio)
    assert cyclegan.changes
    alone = [r for r in run[0] if r.stage in ("evaluate", "fit") and r.method == "none"]
    assert collected(run, alone).equal_terms == ()


def test_a_baseline_not_above_zero_has_no_multiple(run: Run) -> None:
    below = [replace(r, metrics={**r.metrics, f"real_baseline/test/kid_{TAG}": -0.001})
             if r.stage == "fidelity" else r for r in run[0]]  # fmt: skip
    x = collected(run, below).equal_terms[0]
    assert x.kid.n == 3
    assert np.isnan(x.kid_ratio)


def test_tuning_is_divided_by_the_pairs_and_counted_once_for_all_classifiers(run: Run) -> None:
    x = of(collected(run, tuned_s={"cgan": {"a": 60.0, "b": 90.0}}))[Arm("cgan", "1")]
    assert x.tuning_s == pytest.approx(30.0)
    assert x.total_s == pytest.approx(x.device_s.mean + 30.0)


def test_fewer_than_two_arms_besides_noise_are_not_compared(run: Run) -> None:
    methods = ("none", "cgan", "noise")
    one = {"methods": methods, "generative": methods[1:], "ratios": ("1",)}
    assert collected(run, **one).equal_terms == ()
    assert len(collected(run, **{**one, "ratios": ("0.5", "1")}).equal_terms) == 4


def test_a_learning_curve_has_the_worth_in_patients_of_its_verdicts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(curve_rows.RATIO, "other", "1")
    levels = {**curve_rows.LEVELS, ("other", 20): 0.6, ("other", 40): 1.0}
    rows, info = curve_rows.made_curve(tmp_path, levels)
    records = collect(Rows(rows), info, tmp_path)
    found = of(records)
    assert [a.method for a in found] == ["toy", "noise", "other"], "no KID: in the suite's order"
    assert records.curve is not None
    for method in ("toy", "other", "noise"):
        x = found[Arm(method, "1")]
        (worth,) = (w for w in records.curve.worths if w.arm == x.arm and w.train_patients == 20)
        assert x.worth("a") == worth
        assert x.device_s.mean == pytest.approx(worth.device_s) == pytest.approx(32.0)
        assert [(c.train_patients, c.reference) for c in x.changes] == [(20, Arm("none"))]
