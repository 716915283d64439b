"""What `bench check` reads and writes: tolerances, baselines, JUnit XML, summaries, exit codes, the CI workflow."""

from __future__ import annotations

import json
import math
import time
import tomllib
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from toy import register, write_squares, write_suite

from bench.check import costs, process
from bench.check.baseline import Baseline, Expected, load_baseline
from bench.check.collect import first_and_last, means
from bench.check.compare import compare, lower_terciles
from bench.check.identity import numerics_identity
from bench.check.junit import write_junit
from bench.check.numerics import Numerics, ways
from bench.check.reference_workload import ReferenceWorkload, own_seconds
from bench.check.rows import Row
from bench.check.summary import write_summary
from bench.check.tolerance import spreads, tolerance
from bench.cli.main import main
from bench.suite.suite import load_suite

ROOT = Path(__file__).parents[2]


def baseline(*rows: tuple[Row, float]) -> Baseline:
    kept = {row.key: Expected(row, allowed, 0.0) for row, allowed in rows}
    return Baseline("ci", {}, "abc", "a machine", {"torch": "0.0"}, ("as is",), kept)


LOSS = Row("loss", "fit cyclegan fold 0", "loss_G at step 5", 11.9)
SCORE = Row("score", "evaluate none small_cnn fold 0", "test/auroc", 0.9)
COST = Row("cost", "fit cyclegan", "step / reference", 3.5)
PEAK_ROW = Row("cost", "fit cyclegan", costs.PEAK, 7e6)
DONE = Row("cell", "fit cyclegan fold 0", "status", "done")
KNOWN = baseline((LOSS, 0.06), (SCORE, 0.02), (COST, 1.2), (DONE, 0.0))


def test_spread_is_the_largest_over_numerics_and_folds_but_not_over_arms() -> None:
    def run(*values: float) -> dict[tuple[str, str, str], Row]:
        cells = ("fit a fold 0", "fit a fold 1.2", "fit b fold 0")
        return {r.key: r for r in (Row("loss", c, "l", v) for c, v in zip(cells, values, strict=True))}

    runs = [run(1.0, 2.0, 3.0), run(1.1, 2.0, 3.0), run(0.7, 2.2, 3.01)]
    found = spreads(runs[0], runs)
    assert [round(x, 6) for x in found.values()] == [0.3, 0.3, 0.01]


def test_arms_that_amplify_rounding_stand_in_for_each_other_and_calm_ones_stay_apart() -> None:
    def run(**scores: float) -> dict[tuple[str, str, str], Row]:
        made = (Row("score", f"evaluate {arm} fold 0", "test/auroc", v, 0.02) for arm, v in scores.items())
        return {r.key: r for r in made}

    runs = [run(gan=0.9, cgan=0.8, none=0.7), run(gan=0.8, cgan=0.75, none=0.7), run(gan=0.9, cgan=0.8, none=0.701)]
    found = {key[1]: round(x, 6) for key, x in spreads(runs[0], runs).items()}
    assert found == {"evaluate gan fold 0": 0.1, "evaluate cgan fold 0": 0.1, "evaluate none fold 0": 0.001}


def test_a_step_time_that_varies_does_not_widen_the_tolerances_of_its_arm() -> None:
    def run(seconds: float, gan: float) -> dict[tuple[str, str, str], Row]:
        none = Row("loss", "classify none cnn fold 0", "loss at step 5", 1.0)
        other = Row("loss", "classify gan cnn fold 0", "loss at step 5", gan)
        made = (none, other, Row("cost", "classify none cnn", costs.STEP, seconds))
        return {r.key: r for r in made}

    runs = [run(2.0, 1.0), run(3.0, 1.5)]
    found = {key[:2]: x for key, x in spreads(runs[0], runs).items()}
    assert found["loss", "classify none cnn fold 0"] == 0.0
    assert found["loss", "classify gan cnn fold 0"] == 0.5


def test_both_directions_of_a_translation_stand_in_for_each_other() -> None:
    names = ("loss_cycle_a at step 5", "loss_cycle_b at step 5", "loss_cycle_a at step 20", "loss_G at step 5")

    def run(*found: float) -> dict[tuple[str, str, str], Row]:
        return {r.key: r for r in (Row("loss", "fit a fold 0", n, v) for n, v in zip(names, found, strict=True))}

    runs = [run(1.0, 1.0, 1.0, 3.0), run(1.2, 1.0, 1.5, 3.0)]
    assert [round(x, 6) for x in spreads(runs[0], runs).values()] == [0.2, 0.2, 0.5, 0.0]


@pytest.mark.parametrize(
    ("row", "spread", "expected"),
    [
        (Row("loss", "c", "l", 10.0), 0.0, 0.05),  # half a percent
        (Row("loss", "c", "l", 10.0), 1.0, 4.0),  # what was measured, four times
        (Row("loss", "c", "l", 0.0), 0.0, 1e-4),
        (Row("score", "c", "test/auroc", 0.9, quantum=1 / 51), 0.001, 1 / 51),  # never less than one image
        (Row("score", "c", "test/auroc", 0.9, quantum=1 / 51), 0.02, math.inf),  # 8 points: its mean says more
        (Row("mean", "all evaluate", "test/auroc", 0.9), 0.0, 0.01),
        (Row("mean", "all evaluate", "test/auroc", 0.9), 0.02, 0.05),  # never more than 5 points
        (Row("mean", "all evaluate", "test/sensitivity", 0.9), 0.04, math.inf),
        (Row("image", "c", "memorised/authpct_pixels", 90.0, quantum=1.96), 1.0, 4.0),  # in percent
        (Row("image", "c", "synthetic/test/kid_x", 10.0), 0.5, 2.0),
        (Row("image", "c", "synthetic/test/kid_x", 10.0), 1.0, math.inf),
        (
            Row("cost", "c", "step / reference", 4.0),
            2.0,
            6.0,
        ),  # kernels and caches of another machine
        (Row("cost", "c", "tensor operations", 400.0), 0.0, 20.0),  # any machine does the same operations
        (Row("cost", "c", "peak tensor bytes", 400.0), 200.0, 20.0),
        (Row("fact", "c", "images", 79.0), 0.0, 0.0),
        (Row("leak", "leakage checks", "l", "refused"), 0.0, 0.0),
    ],
)
def test_tolerances(row: Row, spread: float, expected: float) -> None:
    assert tolerance(row, spread) == pytest.approx(expected)


def test_first_and_last_losses_are_kept_and_validation_scores_are_not(tmp_path: Path) -> None:
    lines = ["step,name,value", "5,loss_G,3.5", "10,loss_G,3.25", "15,loss_G,3.0", "15,validation/loss,0.5"]
    (tmp_path / "history.csv").write_text("\n".join([*lines, "15,validation/balanced_accuracy,0.5"]) + "\n")
    expected = [("loss_G at step 5", 3.5), ("loss_G at step 15", 3.0), ("validation/loss at step 15", 0.5)]
    assert first_and_last(tmp_path / "history.csv") == expected


def test_what_moved_is_missing_new_or_cheaper_is_told_apart() -> None:
    rows = [replace(LOSS, value=12.5), replace(COST, value=2.0), DONE, Row("fact", "x", "images", 3.0)]
    comparison = compare(KNOWN, rows)
    states = {f.quantity: f.state for f in comparison.findings}
    assert states == {
        "status": "same",
        "images": "added",
        "loss_G at step 5": "moved",
        "test/auroc": "missing",
        "step / reference": "better",
    }
    moved = comparison.of("moved")[0].text
    assert moved == "loss_G at step 5: 11.9 -> 12.5, moved by +0.6 (tolerance 0.06)"
    assert comparison.failed
    assert comparison.verdict() == "regression: of 5 rows 1 moved and 1 missing"
    within = compare(KNOWN, [replace(LOSS, value=11.95), SCORE, replace(COST, value=4.6), DONE])
    assert not within.failed
    assert compare(KNOWN, [replace(LOSS, value=math.nan), SCORE, COST, DONE]).failed


def test_under_the_baselines_own_numerics_numbers_are_equal_to_the_last_digit() -> None:
    chaotic = Row("score", "evaluate gan small_cnn fold 0", "test/auroc", 0.8)
    known = baseline((LOSS, 0.06), (chaotic, math.inf), (COST, 1.2), (PEAK_ROW, 9e9))
    rows = [LOSS, chaotic, COST, PEAK_ROW]
    near = [replace(LOSS, value=11.901), replace(chaotic, value=0.4), replace(COST, value=3.8), PEAK_ROW]
    assert not compare(known, near).failed
    assert not compare(known, rows, exact=True).failed
    assert [f.quantity for f in compare(known, near, exact=True).regressions] == ["loss_G at step 5", "test/auroc"]
    slower = [LOSS, chaotic, replace(COST, value=1.15 * 3.5), PEAK_ROW]
    assert [f.quantity for f in compare(known, slower, exact=True).regressions] == [COST.quantity]
    later = [LOSS, chaotic, COST, replace(PEAK_ROW, value=7e6 + 700)]  # a tensor that was freed a moment later
    assert not compare(known, later, exact=True).regressions
    more = [LOSS, chaotic, COST, replace(PEAK_ROW, value=7e6 + 8_000)]
    assert [f.quantity for f in compare(known, more, exact=True).regressions] == [PEAK_ROW.quantity]


def test_numerics_are_told_apart_by_what_the_libraries_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    here = numerics_identity("cpu")
    assert numerics_identity("cpu") == here
    assert len(here) == 16
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    assert numerics_identity("cpu") != here
    assert numerics_identity("cuda") == "", "nothing is promised there"


METRIC = "test/balanced_accuracy"


def evaluated(rng: np.random.Generator, rounding: float, lost: float = 0.0) -> list[Row]:
    """Rows of two folds of six arms, and their mean; on another machine a GAN's score moves by ``rounding``."""
    arms = {"none": 0.0, "classical": 0.0, **{f"gan{i}": rounding for i in range(4)}}
    cells = [(f"evaluate {arm} small_cnn fold {fold}", sd) for arm, sd in arms.items() for fold in (0, 1)]
    rows = [Row("score", cell, METRIC, 0.8 - lost + float(rng.normal(0, sd)), 1 / 51) for cell, sd in cells]
    return [*rows, *means(rows)]


def test_a_loss_of_six_points_is_found_on_any_machine_and_rounding_is_none() -> None:
    rng = np.random.default_rng(0)
    runs = [{r.key: r for r in evaluated(rng, sd)} for sd in (0.0, *[0.03] * 6)]  # as far as numerics moved suite `ci`
    spread, centre = spreads(runs[0], runs), runs[0]
    known = baseline(*((row, tolerance(row, spread[key])) for key, row in centre.items()))
    allowed = [e.tolerance for e in known.rows.values()]
    assert max(x for x in allowed if math.isfinite(x)) <= 0.05
    assert sum(map(math.isinf, allowed)) == 8, "the GANs' single cells, which say nothing on another machine"
    assert not any(compare(known, evaluated(rng, 0.03)).failed for _ in range(20))
    for _ in range(20):
        lost = compare(known, evaluated(rng, 0.03, lost=0.06)).regressions
        assert ("all evaluate", METRIC) in [(f.cell, f.quantity) for f in lost]


def test_means_leave_out_what_is_not_defined_and_what_one_cell_has() -> None:
    rows = [Row("score", f"evaluate {arm} fold 0", "test/auroc", x) for arm, x in (("a", 0.5), ("b", 0.7))]
    rows += [Row("score", "evaluate c fold 0", "test/auroc", math.nan), Row("image", "copies a fold 0", "x_share", 0.1)]
    rows += [Row("score", f"evaluate {arm} fold 0", "test/sensitivity", 0.5) for arm in "ab"]
    assert means(rows) == [Row("mean", "all evaluate", "test/auroc", pytest.approx(0.6))]


def disturbed(rng: np.random.Generator, ratio: float) -> costs.Found:
    """Rounds on a machine that others use: it is up to twice as slow for a while, and each time moves by a tenth."""
    slow = np.repeat(1 + rng.random(10), 5)[: costs.MOST]
    times = slow[:, None] * np.exp(0.1 * rng.normal(size=(len(slow), 2)))
    return costs.Found([(float(ratio * 0.01 * step), float(0.01 * reference)) for step, reference in times])


def test_steps_are_timed_beside_a_busy_process_to_a_few_percent() -> None:
    rng = np.random.default_rng(0)
    known = baseline((replace(COST, value=3.5), 1.4))
    for _ in range(50):
        looks = [[replace(COST, value=disturbed(rng, x).ratio) for _ in range(7)] for x in (3.5, 1.15 * 3.5)]
        same, slower = (lower_terciles(of[:1], [[row] for row in of[1:]])[0] for of in looks)
        assert not compare(known, [same], exact=True).failed
        assert compare(known, [slower], exact=True).failed


def test_a_cost_measured_again_counts_at_its_lower_tercile() -> None:
    again = [[replace(COST, value=3.6)], [replace(COST, value=3.4)], [replace(COST, value=7.0)]]
    assert lower_terciles([replace(COST, value=9.0), LOSS], again) == [replace(COST, value=3.6), LOSS]


def test_a_leak_or_a_failure_that_the_baseline_does_not_know_is_a_regression() -> None:
    known = [LOSS, SCORE, COST, DONE]
    assert compare(KNOWN, [*known, Row("leak", "leakage checks", "a new check", "let through")]).failed
    assert compare(KNOWN, [*known, Row("cell", "explain fold 0", "status", "failed: X")]).failed
    assert not compare(KNOWN, [*known, Row("leak", "leakage checks", "a new check", "refused")]).failed


def test_junit_is_as_ci_services_read_it(tmp_path: Path) -> None:
    bad = compare(KNOWN, [replace(LOSS, value=12.5), SCORE, COST, replace(DONE, value="failed: \x1b[31m<&>")])
    write_junit(tmp_path / "junit.xml", "ci", bad, 12.34)
    root = ET.parse(tmp_path / "junit.xml").getroot()
    assert (root.tag, root.attrib["tests"], root.attrib["failures"]) == ("testsuites", "4", "2")
    for suite in root:
        assert suite.tag == "testsuite"
        assert {"name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname"} == set(suite.attrib)
        cases = suite.findall("testcase")
        assert len(cases) == int(suite.attrib["tests"])
        assert sum(c.find("failure") is not None for c in cases) == int(suite.attrib["failures"])
        for case in cases:
            assert {"classname", "name", "time"} == set(case.attrib)
            assert [child.tag for child in case] in ([], ["failure"])
    failure = root.find("testsuite[@name='losses']/testcase[@name='fit cyclegan fold 0']/failure")
    assert failure is not None
    assert "loss_G at step 5: 11.9 -> 12.5" in failure.attrib["message"]


def test_the_summary_names_what_moved_and_what_to_do(tmp_path: Path) -> None:
    bad = compare(KNOWN, [replace(LOSS, value=12.5), SCORE, COST, DONE])
    write_summary(tmp_path / "summary.md", KNOWN, bad, "cpu", "bench check --update")
    text = (tmp_path / "summary.md").read_text()
    assert "| fit cyclegan fold 0 | loss_G at step 5 | 11.9 | 12.5 | +0.6 | 0.06 |" in text
    assert "torch: 0.0 then" in text
    assert "`bench check --update`" in text


def test_a_baseline_comes_back_as_it_was_written_one_row_a_line(tmp_path: Path) -> None:
    rows = (
        (LOSS, 0.06),
        (replace(SCORE, value=math.nan), math.inf),
        (DONE, 0.0),
        (Row("fact", "x", "flops", 123456789.0), 0),
    )
    kept = baseline(*rows)
    kept.save(tmp_path / "b.json")
    text = (tmp_path / "b.json").read_text()
    assert '    "loss_G at step 5": [11.9, 0.06, 0]' in text.splitlines()
    assert '    "flops": [123456789, 0, 0]' in text.splitlines()
    json.loads(text)
    back = load_baseline(tmp_path / "b.json", "")
    assert list(back.rows) == sorted(back.rows, key=lambda k: ["cell", "fact", "loss", "score"].index(k[0]))
    assert back.rows[LOSS.key] == kept.rows[LOSS.key]
    assert back.rows[SCORE.key].tolerance == math.inf
    assert math.isnan(float(back.rows[SCORE.key].row.value))
    back.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == text


def test_other_numerics_are_other_settings_of_libraries_and_threads() -> None:
    found = ways()
    assert found[0] == Numerics("as is", costs=5)
    assert any("ATEN_CPU_CAPABILITY" in w.environment and "ONEDNN_MAX_CPU_ISA" in w.environment for w in found)
    for way in found:
        load_suite("ci", way.assignments)  # all of them are settings of a suite


def test_the_clock_counts_sleep_and_the_reference_workload_lasts() -> None:
    start = own_seconds()
    time.sleep(0.05)
    assert own_seconds() - start > 0.045
    assert ReferenceWorkload("cpu").seconds(0.0) > 0


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    register(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_DATA", raising=False)
    monkeypatch.setattr("bench.cost.timers._give_back_memory", lambda: None)
    monkeypatch.setattr(costs, "WARM_UP", 1)
    monkeypatch.setattr(costs, "LEAST", 2)
    monkeypatch.setattr(costs, "MOST", 3)
    monkeypatch.setattr("bench.check.update.ways", lambda: [Numerics("as is"), Numerics("again", costs=0)])

    def in_this_process(numerics, request) -> None:
        process.main(json.dumps({**request.__dict__, "costs": numerics.costs}))

    monkeypatch.setattr("bench.cli.check.measure_under", in_this_process)
    write_squares(tmp_path / "data")
    cnn = {"small_cnn": {"steps": 3, "evaluate_every": 3, "batch_size": 8, "width": 4}}
    write_suite(tmp_path / "toy.yaml", methods={"none": {}}, classifiers=cnn)

    def call(*words: str) -> Result:
        return CliRunner().invoke(main, ["check", "--suite", "toy.yaml", "--data", "data", "--jobs", "1", *words])

    return call


def test_update_then_check_then_a_changed_suite(bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = bench()
    assert missing.exit_code == 2
    assert "bench check --update --suite toy.yaml" in missing.output
    made = bench("--update")
    assert made.exit_code == 0, made.output
    path = tmp_path / "reports" / "baselines" / "toy.json"
    assert "rows under 2 numerics" in made.output

    # Step times of steps of a millisecond are no promise in a test: theirs are wide.
    stored = load_baseline(path, "")
    wide = {k: replace(v, tolerance=1e9) if k[0] == "cost" else v for k, v in stored.rows.items()}
    replace(stored, rows=wide, identity="").save(path)
    good = bench("--junit", "junit.xml", "--summary", "summary.md", "--out", "kept")
    assert good.exit_code == 0, good.output
    assert "no regression" in good.output
    assert ET.parse("junit.xml").getroot().attrib["failures"] == "0"
    assert "no regression" in Path("summary.md").read_text()
    refused = bench("--out", "kept")
    assert refused.exit_code == 2
    assert "--reuse" in refused.output

    key = next(k for k in stored.rows if k[0] == "loss")
    moved = {**wide, key: replace(wide[key], row=replace(wide[key].row, value=9.0))}
    replace(stored, rows=moved, identity="").save(path)
    bad = bench("--out", "kept", "--reuse")
    assert bad.exit_code == 3
    assert key[1] in bad.output
    assert key[2] in bad.output

    other = bench("--set", "classifiers.small_cnn.steps=4")
    assert other.exit_code == 2
    assert "classifiers.small_cnn.config.steps: 3 then, 4 now" in other.output
    (tmp_path / "reports" / "baselines" / "toy.json").write_text("{}")
    assert bench().exit_code == 2


# --- for continuous integration --------------------------------------------------------------------------------------


def test_the_shipped_baseline_is_of_the_shipped_suite() -> None:
    path = ROOT / "reports" / "baselines" / "ci.json"
    shipped = load_baseline(path, "")
    shipped.require_suite(load_suite("ci"), path, "")
    assert set(shipped.numerics) <= {way.name for way in ways()}
    assert len(shipped.numerics) >= 5
    shares = [v.tolerance for k, v in shipped.rows.items() if k[0] in ("score", "mean") and k[2].startswith("test/")]
    assert max(t for t in shares if math.isfinite(t)) <= 0.05
    assert ("mean", "all evaluate", "test/balanced_accuracy") in shipped.rows
    assert {k[0] for k in shipped.rows} == {"cell", "leak", "fact", "mean", "loss", "score", "image", "cost"}
    assert all(v.row.value in ("done", "refused", 0.0) for k, v in shipped.rows.items() if k[0] in ("cell", "leak"))


def test_the_workflow_runs_lint_tests_and_check() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "bench.yml").read_text())
    assert set(workflow[True]) >= {"push", "pull_request"}  # YAML 1.1 reads `on` as true
    steps = workflow["jobs"]["check"]["steps"]
    commands = "\n".join(s.get("run", "") for s in steps)
    for words in ("make lint", "make docs", "make test", "make check", "GITHUB_STEP_SUMMARY"):
        assert words in commands
    uses = [s["uses"].partition("@")[0] for s in steps if "uses" in s]
    assert uses == ["actions/checkout", "actions/setup-python", "actions/upload-artifact"]
    setup = next(s for s in steps if "setup-python" in s.get("uses", ""))
    assert setup["with"]["python-version"] == "3.11"
    assert setup["with"]["cache"] == "pip"


def test_the_workflow_installs_the_wheel_on_every_python_that_is_named() -> None:
    job = yaml.safe_load((ROOT / ".github" / "workflows" / "bench.yml").read_text())["jobs"]["wheel"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = [c.rpartition(" ")[2] for c in project["classifiers"] if "Python ::" in c]
    assert job["strategy"]["matrix"]["python"] == named
    assert any(".ci/dist-test" in step.get("run", "") for step in job["steps"])
