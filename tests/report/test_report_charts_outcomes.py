"""Data behind the charts of predictions: arms, tables, patients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from report_rows import made_up

from bench.analysis.info import ReportInfo
from bench.analysis.lines import Line, leaderboard
from bench.analysis.outcomes import Outcome, chosen_arms, outcomes
from bench.analysis.rows import Rows
from bench.errors import StoreError
from bench.metrics.calibration import reliability_curve
from bench.metrics.predictions import read_predictions
from bench.report.charts.confusion import caption
from bench.report.charts.outcomes import draw_outcomes
from bench.report.charts.pages import draw_cuts, wrapped
from bench.report.charts.patients import failing_everywhere
from bench.report.charts.sweep import swept
from bench.suite.arms import Arm
from bench.types import ResultRow

GANS = ("cgan", "cyclegan")
NONE = Arm("none")
Run = tuple[Path, list[ResultRow], ReportInfo]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("out")
    ratios = ("0.5", "1", "1-without-memorised")
    return root, *made_up(root, pictures=False, generative=GANS, ratios=ratios, classifiers=("a",), patients=6)


@pytest.fixture(scope="module")
def lines(run: Run) -> tuple[Line, ...]:
    root, rows, info = run
    return leaderboard(Rows(rows), info, root)


def test_the_arms_are_the_references_the_best_generator_and_the_best_other(lines: tuple[Line, ...]) -> None:
    mean = {x.arm: x.scores["patient_balanced_accuracy"].mean for x in lines if not x.arm.exclude_memorised}
    chosen = chosen_arms(lines, GANS)
    gan, other = [arm for arm in chosen if arm.method not in ("none", "classical")][-1], chosen[2]
    assert chosen[:2] == (Arm("none"), Arm("classical"))
    assert len(chosen) == 4 == len({arm.method for arm in chosen})
    best = max((a for a in mean if a.method in GANS), key=mean.__getitem__)
    rest = [a for a in mean if a.method not in ("none", "classical", best.method)]
    assert mean[best] in (mean[gan], mean[other])
    assert max(mean[a] for a in rest) in (mean[gan], mean[other])
    assert chosen_arms([x for x in lines if x.arm.method == "none"], GANS) == (Arm("none"),)
    assert chosen_arms([], GANS) == ()


def outcome(run: Run, arm: Arm = NONE) -> Outcome:
    root, rows, info = run
    (found,) = outcomes(Rows(rows), info, root, [arm])
    return found


def test_pooled_bins_equal_the_bins_of_pooled_images(run: Run) -> None:
    root, rows, _ = run
    mine = [r for r in rows if (r.stage, r.method) == ("evaluate", "none")]
    tables = [read_predictions(root / str(r.facts["predictions"]), "test") for r in mine]
    truth, prob = (np.concatenate([getattr(t, f) for t in tables]) for f in ("y_true", "y_prob"))
    pooled = reliability_curve(truth, prob)
    found = outcome(run).reliability
    assert found.images.tolist() == pooled.images.tolist()
    assert found.confidence == pytest.approx(pooled.confidence, nan_ok=True)
    assert found.accuracy == pytest.approx(pooled.accuracy, nan_ok=True)


def test_a_damaged_table_is_an_error(run: Run, tmp_path: Path) -> None:
    """A chart must not silently use fewer pairs than the tables; `rows_of` has already removed damaged cells."""
    root, rows, info = run
    for r in rows:
        if r.stage == "evaluate" and r.method == "none":
            target = tmp_path / str(r.facts["predictions"])
            target.parent.mkdir(parents=True)
            whole = (root / str(r.facts["predictions"])).read_text()
            target.write_text(whole if r.fold == 0 else whole.rpartition(",")[0])
    with pytest.raises(StoreError, match="the file is cut or damaged"):
        outcomes(Rows(rows), info, tmp_path, [Arm("none"), Arm("classical")])


def test_a_class_that_a_fold_lacks_has_no_curve_and_the_rest_is_drawn(tmp_path: Path) -> None:
    rows, info = made_up(
        tmp_path,
        pictures=False,
        generative=(),
        classifiers=("a",),
        patients=2,
        classes=("x", "y", "z"),
        folds=1,
    )
    table = Rows(rows)
    drawn = draw_outcomes(leaderboard(table, info, tmp_path), table, info, tmp_path, tmp_path / "report")
    assert drawn == {}  # no score of any arm: balanced accuracy is not defined either
    (found,) = outcomes(table, info, tmp_path, [Arm("none")])
    assert found.curves("roc") == found.curves("precision_recall") == []
    assert found.confusion(per_patient=True).sum() == 2


def test_patients_that_fail_everywhere(run: Run) -> None:
    found = [outcome(run, arm=arm) for arm in (Arm("none"), Arm("classical"))]
    failing = failing_everywhere(found)
    shares = [o.shares for o in found]
    assert failing == sorted(p for p in shares[0] if shares[0][p] < 0.5 and shares[1][p] < 0.5)
    assert len(shares[0]) == 12  # six in each fold
    assert failing_everywhere([]) == []


def test_a_sweep_needs_two_amounts(lines: tuple[Line, ...]) -> None:
    assert {x.arm for x in swept(lines)} == {Arm.parse(m, r) for m in GANS for r in ("0.5", "1", "1-without-memorised")}
    assert swept([x for x in lines if x.arm.ratio != "0.5"]) == []  # with and without memorised samples is one amount


def test_repeats_are_said_to_count_twice(tmp_path: Path) -> None:
    _, once = made_up(tmp_path / "once", pictures=False, generative=(), classifiers=())
    _, twice = made_up(tmp_path / "twice", pictures=False, generative=(), classifiers=(), repeats=2)
    assert "again" not in caption(once, per_patient=True)
    assert "repeats count the same patients again" in caption(twice, per_patient=True)


def test_pages_end_and_say_what_they_left_out(tmp_path: Path) -> None:
    cuts = {name: [name] for name in "abcdef"} | {"nothing": []}
    drawn = draw_cuts("x", cuts, "All.", lambda data, path: None, tmp_path)
    assert drawn == {
        "charts/x.png": "All.",
        "charts/x_2.png": "Continued: b.",
        "charts/x_3.png": "Continued: c.",
        "charts/x_4.png": "Continued: d. Not drawn: e; f.",
    }


def test_long_names_break_where_they_may() -> None:
    assert wrapped("tlsgan_lite0_scratch ×1", 14) == "tlsgan_lite0_\nscratch ×1"
    assert wrapped("none", 3) == "none"
