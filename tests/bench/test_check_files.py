"""What `bench check` reads and writes: tolerances, baselines, JUnit XML, summaries, exit codes, the CI workflow."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml
from click.testing import CliRunner, Result
from toy import register, write_squares, write_suite

from bench.check import costs, process
from bench.check.baseline import Baseline, Expected, load_baseline
from bench.check.collect import first_and_last
from bench.check.compare import compare, lowest
from bench.check.junit import write_junit
from bench.check.numerics import Numerics, ways
from bench.check.rows import Row
from bench.check.summary import write_summary
from bench.check.tolerance import spreads, tolerance, values
from bench.check.yardstick import Yardstick, own_seconds
from bench.cli import main
from bench.suite import load_suite

ROOT = Path(__file__).parents[2]


def baseline(*rows: tuple[Row, float]) -> Baseline:
    kept = {row.key: Expected(row, allowed, 0.0) for row, allowed in rows}
    return Baseline("ci", {}, "abc", "a machine", {"torch": "0.0"}, ("as is",), kept)


LOSS = Row("loss", "fit cyclegan fold 0", "loss_G at step 5", 11.9)
SCORE = Row("score", "evaluate none small_cnn fold 0", "test/auroc", 0.9)
COST = Row("cost", "fit cyclegan", "step / yardstick", 3.5)
DONE = Row("cell", "fit cyclegan fold 0", "status", "done")
KNOWN = baseline((LOSS, 0.06), (SCORE, 0.02), (COST, 1.2), (DONE, 0.0))


def test_spread_is_the_largest_over_numerics_and_folds_but_not_over_arms() -> None:
    def run(*values: float) -> dict[tuple[str, str, str], Row]:
        cells = ("fit a fold 0", "fit a fold 1.2", "fit b fold 0")
        return {r.key: r for r in (Row("loss", c, "l", v) for c, v in zip(cells, values, strict=True))}

    runs = [run(1.0, 2.0, 3.0), run(1.1, 2.0, 3.0), run(0.7, 2.2, 3.01)]
    found = spreads(values(runs), runs)
    assert [round(x, 6) for x in found.values()] == [0.3, 0.3, 0.01]


def test_arms_that_amplify_rounding_stand_in_for_each_other_and_calm_ones_stay_apart() -> None:
    def run(**scores: float) -> dict[tuple[str, str, str], Row]:
        made = (Row("score", f"evaluate {arm} fold 0", "test/auroc", v, 0.02) for arm, v in scores.items())
        return {r.key: r for r in made}

    runs = [run(gan=0.9, cgan=0.8, none=0.7), run(gan=0.8, cgan=0.75, none=0.7), run(gan=0.9, cgan=0.8, none=0.701)]
    found = {key[1]: round(x, 6) for key, x in spreads(values(runs), runs).items()}
    assert found == {"evaluate gan fold 0": 0.1, "evaluate cgan fold 0": 0.1, "evaluate none fold 0": 0.001}


def test_both_directions_of_a_translation_stand_in_for_each_other() -> None:
    names = ("loss_cycle_a at step 5", "loss_cycle_b at step 5", "loss_cycle_a at step 20", "loss_G at step 5")

    def run(*found: float) -> dict[tuple[str, str, str], Row]:
        return {r.key: r for r in (Row("loss", "fit a fold 0", n, v) for n, v in zip(names, found, strict=True))}

    runs = [run(1.0, 1.0, 1.0, 3.0), run(1.2, 1.0, 1.5, 3.0)]
    assert [round(x, 6) for x in spreads(values(runs), runs).values()] == [0.2, 0.2, 0.5, 0.0]


def test_a_cost_is_the_median_of_what_was_measured() -> None:
    runs = [{COST.key: replace(COST, value=v)} for v in (3.0, 3.4, 3.1)]
    assert values(runs)[COST.key].value == 3.1


@pytest.mark.parametrize(
    ("row", "spread", "expected"),
    [
        (Row("loss", "c", "l", 10.0), 0.0, 0.05),  # half a percent
        (Row("loss", "c", "l", 10.0), 1.0, 4.0),  # what was measured, four times
        (Row("loss", "c", "l", 0.0), 0.0, 1e-4),
        (Row("score", "c", "s", 0.9, quantum=1 / 51), 0.001, 1 / 51),  # never less than one image
        (Row("cost", "c", "step / yardstick", 4.0), 0.1, 1.2),
        (Row("cost", "c", "step / yardstick", 4.0), 2.0, 1.6),  # half as slow again is never tolerated
        (Row("fact", "c", "images", 79.0), 0.0, 0.0),
        (Row("leak", "guard", "g", "refused"), 0.0, 0.0),
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
        "step / yardstick": "better",
    }
    moved = comparison.of("moved")[0].text
    assert moved == "loss_G at step 5: 11.9 -> 12.5, moved by +0.6 (tolerance 0.06)"
    assert comparison.failed
    assert comparison.verdict() == "regression: of 5 rows 1 moved and 1 missing"
    within = compare(KNOWN, [replace(LOSS, value=11.95), SCORE, replace(COST, value=4.6), DONE])
    assert not within.failed
    assert compare(KNOWN, [replace(LOSS, value=math.nan), SCORE, COST, DONE]).failed


def test_a_cost_measured_twice_counts_at_its_lowest() -> None:
    assert lowest([replace(COST, value=9.0), LOSS], [replace(COST, value=3.6)]) == [replace(COST, value=3.6), LOSS]


def test_a_leak_or_a_failure_that_the_baseline_does_not_know_is_a_regression() -> None:
    known = [LOSS, SCORE, COST, DONE]
    assert compare(KNOWN, [*known, Row("leak", "guard", "a new guard", "let through")]).failed
    assert compare(KNOWN, [*known, Row("cell", "explain fold 0", "status", "failed: X")]).failed
    assert not compare(KNOWN, [*known, Row("leak", "guard", "a new guard", "refused")]).failed


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
    rows = (LOSS, 0.06), (replace(SCORE, value=math.nan), 0.5), (DONE, 0.0), (Row("fact", "x", "flops", 123456789.0), 0)
    kept = baseline(*rows)
    kept.save(tmp_path / "b.json")
    text = (tmp_path / "b.json").read_text()
    assert '    "loss_G at step 5": [11.9, 0.06, 0]' in text.splitlines()
    assert '    "flops": [123456789, 0, 0]' in text.splitlines()
    json.loads(text)
    back = load_baseline(tmp_path / "b.json", "")
    assert list(back.rows) == sorted(back.rows, key=lambda k: ["cell", "fact", "loss", "score"].index(k[0]))
    assert back.rows[LOSS.key] == kept.rows[LOSS.key]
    assert math.isnan(float(back.rows[SCORE.key].row.value))
    back.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == text


def test_other_numerics_are_other_settings_of_libraries_and_threads() -> None:
    found = ways()
    assert found[0] == Numerics("as is")
    assert any("ATEN_CPU_CAPABILITY" in w.environment and "ONEDNN_MAX_CPU_ISA" in w.environment for w in found)
    for way in found:
        load_suite("ci", way.assignments)  # all of them are settings of a suite


def test_the_clock_counts_sleep_and_the_yardstick_lasts() -> None:
    start = own_seconds()
    time.sleep(0.05)
    assert own_seconds() - start > 0.045
    assert Yardstick("cpu").seconds(0.0) > 0


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
    monkeypatch.setattr("bench.check.update.ways", lambda: [Numerics("as is"), Numerics("again", costs=False)])

    def in_this_process(numerics, request) -> None:
        process.main(json.dumps({**request.__dict__, "costs": numerics.costs}))

    monkeypatch.setattr("bench.commands.check.measure_under", in_this_process)
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
    replace(stored, rows=wide).save(path)
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
    replace(stored, rows=moved).save(path)
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
    assert {k[0] for k in shipped.rows} == {"cell", "leak", "fact", "loss", "score", "image", "cost"}
    assert all(v.row.value in ("done", "refused", 0.0) for k, v in shipped.rows.items() if k[0] in ("cell", "leak"))


def test_the_workflow_runs_what_guards_main() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "bench.yml").read_text())
    assert set(workflow[True]) >= {"push", "pull_request"}  # YAML 1.1 reads `on` as true
    steps = workflow["jobs"]["check"]["steps"]
    commands = "\n".join(s.get("run", "") for s in steps)
    for words in ("make lint", "make test", "make check", "GITHUB_STEP_SUMMARY"):
        assert words in commands
    uses = [s["uses"].partition("@")[0] for s in steps if "uses" in s]
    assert uses == ["actions/checkout", "actions/setup-python", "actions/upload-artifact"]
    setup = next(s for s in steps if "setup-python" in s.get("uses", ""))
    assert setup["with"]["python-version"] == "3.11"
    assert setup["with"]["cache"] == "pip"
