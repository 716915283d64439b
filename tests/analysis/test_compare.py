"""`bench compare`: injected differences are recovered, with statistics computed here independently."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from made_stores import finish
from report_rows import made_up
from scipy import stats
from toy import register, write_squares, write_suite

from bench.analysis.lines import PRIMARY
from bench.analysis.report import collect
from bench.analysis.rows import Rows
from bench.analysis.two_runs.comparison import Comparison, as_json, compare
from bench.analysis.two_runs.side import read_side
from bench.cli.main import main
from bench.config import to_plain
from bench.engine.plan_rows import rows_of
from bench.engine.session import prepare
from bench.files import write_atomic
from bench.plan import make as planning
from bench.report import export
from bench.report.pages.two_runs.page import sections, summary
from bench.report.pages.two_runs.view import as_markdown
from bench.report.run_facts import report_info
from bench.report.text import plain
from bench.stats.unpaired import Sample, welch
from bench.suite.resolved import resolved

Report = dict[str, Any]
CONFIG: Report = {
    "name": "tiny",
    "split": {"protocol": "kfold", "folds": 5, "repeats": 1, "validation_fraction": 0.25, "seed": 0},
    "methods": {"none": {}, "cyclegan": {"steps": 60}},
    "train_multipliers": [],
}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The content of a leaderboard.json of five folds, two classifiers and five arms."""
    root = tmp_path_factory.mktemp("rows")
    rows, info = made_up(root, folds=5, ratios=("1",), generative=("cgan", "cyclegan"), pictures=False)
    made: Report = export.as_json(collect(Rows(rows), info, root), info)
    return json.loads(json.dumps(made))


def compared(a: Report, b: Report, config_a: Any = CONFIG, config_b: Any = CONFIG) -> Comparison:
    return compare(read_side("A", a, config_a), read_side("B", b, config_b))


def changed(report: Report, inject: Callable[[Report], None]) -> Report:
    b = copy.deepcopy(report)
    inject(b)
    return b


def shift(changes: dict[str, list[float]], metric: str = PRIMARY) -> Callable[[Report], None]:
    """Return a function that adds to the values of small_cnn's arms, fold by fold."""

    def inject(report: Report) -> None:
        for line in report["lines"]:
            if line["method"] in changes and line["classifier"] == "small_cnn":
                values = line["values"][metric]
                for pair, change in zip(sorted(values), changes[line["method"]], strict=True):
                    values[pair] += change

    return inject


def by_arm(c: Comparison, metric: str = PRIMARY) -> dict[str, Any]:
    return {d.arm.method: d for d in c.scores if d.metric == metric and d.classifier == "small_cnn"}


def by_hand(changes: list[float], ratio: float) -> tuple[float, float, float]:
    """Return t's two-sided p and the ends of the corrected 95 % interval."""
    x = np.array(changes)
    error = math.sqrt(x.var(ddof=1) * (1 / len(x) + ratio))
    half = stats.t.ppf(0.975, len(x) - 1) * error
    return 2 * stats.t.sf(abs(x.mean() / error), len(x) - 1), x.mean() - half, x.mean() + half


def test_injected_differences_are_recovered_with_the_statistics_of_the_leaderboard(report: Report) -> None:
    injected = {
        "none": [0.0, 0.0, 0.0, 0.0, 0.0],
        "classical": [0.10, 0.11, 0.09, 0.10, 0.12],
        "oversample": [-0.20, -0.22, -0.18, -0.21, -0.19],
        "cgan": [0.001, -0.001, 0.002, -0.002, 0.0],
        "cyclegan": [0.2, -0.2, 0.1, -0.1, 0.05],
    }
    c = compared(report, changed(report, shift(injected)))
    found = by_arm(c)
    assert {m: d.word for m, d in found.items()} == {
        "none": "identical",
        "classical": "better",
        "oversample": "worse",
        "cgan": "equivalent",
        "cyclegan": "undecided",
    }
    folds = report["info"]["folds"]
    ratio = float(np.mean([f["test_images"] / f["train_images"] for f in folds]))
    p = {}
    for method, d in found.items():
        assert (d.pairs, d.mean) == (5, pytest.approx(np.mean(injected[method]), abs=1e-12))
        if method != "none":
            p[method], low, high = by_hand(injected[method], ratio)
            assert (d.p, d.low, d.high) == pytest.approx((p[method], low, high), rel=1e-6)
    largest = 0.0
    for i, method in enumerate(sorted(p, key=lambda m: p[m])):  # Holm over the four arms that changed
        largest = max(largest, min(1.0, (4 - i) * p[method]))
        assert found[method].p_adjusted == pytest.approx(largest, rel=1e-6)
    assert math.isnan(found["none"].p)
    assert found["none"].same == 5
    text = " ".join(summary(c))
    assert "better in 1, worse in 1, equivalent in 1, undecided in 1 and identical in 6" in text
    assert "−20.0 points (oversample, small_cnn): worse" in text


def test_a_run_of_none_differs_as_in_the_report_and_is_tested_by_the_values_of_the_pairs(report: Report) -> None:
    def none_everywhere(b: Report) -> None:
        none = {x["classifier"]: x["values"] for x in b["lines"] if x["method"] == "none"}
        for line in b["lines"]:
            line["values"] = none[line["classifier"]]

    found = by_arm(compared(changed(report, none_everywhere), report))
    ratio = float(np.mean([f["test_images"] / f["train_images"] for f in report["info"]["folds"]]))
    mine = {x["method"]: x for x in report["lines"] if x["classifier"] == "small_cnn"}
    for method in (m for m in mine if m != "none"):
        v, d = mine[method]["versus"]["none"][PRIMARY], found[method]
        assert d.mean == pytest.approx(v["difference"])  # all folds have as many patients of each class
        values, base = (mine[m]["values"][PRIMARY] for m in (method, "none"))
        p, low, high = by_hand([values[k] - base[k] for k in sorted(values)], ratio)
        assert (d.p, d.low, d.high) == pytest.approx((p, low, high))
        assert (v["sets"], v["groups"]) == (5, 60)  # the report knows each patient, two reports only the pairs


def test_identical_runs_say_so_and_count_what_was_compared(report: Report) -> None:
    c = compared(report, copy.deepcopy(report))
    assert c.identical
    assert c.values == 2 * 5 * 5 * 14 + sum(len(v) for x in report["measured"] for v in x["images"].values())
    assert list(summary(c)) == [f"identical: {c.values} values, no difference"]
    assert c.config == c.code == c.data == c.only == ()
    assert [b.title for b in sections(c)][:2] == ["B against A", "What changed"]
    one_off = compared(report, changed(report, shift({"none": [0, 0, 0, 0, 1e-9]})))
    assert not one_off.identical
    assert by_arm(one_off)["none"].word != "identical"


@pytest.mark.parametrize(
    ("inject", "config", "reason"),
    [
        (lambda r: r["info"].update(fingerprint="feedbeef"), {}, "the data are not the same"),
        (lambda r: None, {"seed": 1}, "split.seed is 0 in A, 1 in B"),
        (lambda r: None, {"folds": 4}, "split.folds is 5 in A, 4 in B"),
        (lambda r: r["info"]["folds"][2].update(test_images=7), {}, "fold 2.0 has"),
    ],
    ids=["data", "split seed", "folds", "sizes"],
)
def test_other_folds_are_not_paired(report: Report, inject: Any, config: Report, reason: str) -> None:
    c = compared(report, changed(report, inject), config_b={**CONFIG, "split": {**CONFIG["split"], **config}})
    assert not c.paired
    assert not c.identical
    assert reason in c.unpaired_because[0]
    assert {d.word for d in (*c.scores, *c.images)} <= {"not paired", "same mean"}
    assert c.values == 0
    assert "without verdicts" in next(summary(c))
    d = by_arm(c)["classical"]
    mine = next(x for x in report["lines"] if (x["method"], x["classifier"]) == ("classical", "small_cnn"))
    assert (d.a.mean, d.b.mean) == pytest.approx((mine["scores"][PRIMARY]["mean"],) * 2)


def test_what_does_not_decide_the_folds_leaves_them_paired(report: Report) -> None:
    config = {**CONFIG, "split": {**CONFIG["split"], "repeats": 2, "test_fraction": 0.4}}
    assert compared(report, report, config_b=config).paired
    assert not compared(report, report, config_a=None).paired  # unknown how its folds were drawn


def test_welch_equals_scipy_without_overlap_and_is_wider_with_it() -> None:
    a, b = [0.7, 0.8, 0.75, 0.9], [0.6, 0.85, 0.5, 0.72, 0.66]
    samples = [Sample(float(np.mean(x)), float(np.std(x, ddof=1)), len(x)) for x in (a, b)]
    plain = welch(samples[0], samples[1])
    scipys = stats.ttest_ind(b, a, equal_var=False)
    assert plain.p == pytest.approx(scipys.pvalue)
    assert (plain.low, plain.high) == pytest.approx(tuple(scipys.confidence_interval()))
    corrected = welch(samples[0]._replace(ratio=0.25), samples[1]._replace(ratio=0.25))
    assert corrected.low < plain.low
    assert corrected.high > plain.high
    assert corrected.difference == plain.difference
    assert math.isnan(welch(samples[0], Sample(0.5, math.nan, 1)).p)


def test_image_measures_are_paired_and_tested_as_scores(report: Report) -> None:
    changes = [-0.01, -0.012, -0.009, -0.011, -0.01]

    def inject(r: Report) -> None:
        (cells,) = (x for x in r["measured"] if (x["stage"], x["method"]) == ("fidelity", "cyclegan"))
        (name,) = (n for n in cells["images"] if n.startswith("synthetic/test/kid_"))
        for pair, change in zip(sorted(cells["images"][name]), changes, strict=True):
            cells["images"][name][pair] += change

    c = compared(report, changed(report, inject))
    kid = {d.arm.method: d for d in c.images if d.metric.startswith("synthetic/test/kid_")}
    assert (kid["cyclegan"].word, kid["cgan"].word) == ("lower", "identical")
    ratio = float(np.mean([f["test_images"] / f["train_images"] for f in report["info"]["folds"]]))
    p, low, high = by_hand(changes, ratio)
    assert (kid["cyclegan"].p, kid["cyclegan"].low, kid["cyclegan"].high) == pytest.approx((p, low, high), rel=1e-6)
    assert [d.metric for d in c.images if not d.identical] == [kid["cyclegan"].metric]


def test_costs_are_ratios_by_stage_and_other_machines_are_named(report: Report) -> None:
    def slower(r: Report) -> None:
        r["info"]["host"] = "Another CPU"
        for cells in r["measured"]:
            if cells["stage"] == "classify":
                cells["device_s"] = {k: 2 * v for k, v in cells["device_s"].items()}

    c = compared(report, changed(report, slower))
    assert {x.unit for x in c.costs} == {"device"}
    assert {(x.stage, round(x.ratio, 6)) for x in c.costs} == {("fit", 1.0), ("synthesize", 1.0), ("classify", 2.0)}
    (cost,) = (b for b in sections(c) if b.title == "Cost")
    assert dict((r[0], plain(r[-1])) for t in cost.tables for r in t.rows)["classify"] == "2.00"
    assert "2 × Some CPU, 8 GiB, Linux" in plain(str(cost.blocks[1]))
    assert "Another CPU" in plain(str(cost.blocks[1]))
    assert [x.path for x in c.code] == ["machine"]


def test_what_changed_is_named_by_its_path(report: Report) -> None:
    def other(r: Report) -> None:
        r["info"]["git_commit"] = "def5678"
        r["info"]["versions"]["torch"] = "2.16.0"
        r["info"]["data"]["classes"][0]["images"] = 47

    config = {
        **CONFIG,
        "methods": {"none": {}, "cyclegan": {"steps": 90}, "cgan": {"steps": 1}},
        "train_multipliers": [2],
    }
    c = compared(report, changed(report, other), config_b=config)
    assert [(x.path, x.a, x.b) for x in c.config[:1] + c.config[2:]] == [
        ("methods.cyclegan.steps", 60, 90),
        ("train_multipliers", [], [2]),
    ]
    assert c.config[1].path == "methods.cgan"
    assert [(x.path, x.b) for x in c.code] == [("git commit", "def5678"), ("version of torch", "2.16.0")]
    assert [x.path for x in c.data] == ["class benign"]
    plain = json.loads(json.dumps(as_json(c), allow_nan=False))
    assert plain["config"][1] == {"path": "methods.cgan", "a": None, "b": {"steps": 1}, "only_in": "B"}
    text = as_markdown(sections(c))
    assert "| config | methods.cyclegan.steps | 60 | 90 |" in text
    assert "| config | methods.cgan | – | 1 setting |" in text


def test_what_only_one_run_has_is_listed_and_shared_pairs_alone_are_compared(report: Report) -> None:
    def less(r: Report) -> None:
        r["lines"] = [x for x in r["lines"] if x["method"] != "cgan" and x["classifier"] == "small_cnn"]
        r["info"].update(classifiers=["small_cnn"], folds=r["info"]["folds"][:3])
        for line in r["lines"]:
            line["values"] = {m: {k: v for k, v in x.items() if k < "3"} for m, x in line["values"].items()}

    c = compared(report, changed(report, less))
    assert [(x.side, x.kind, x.names) for x in c.only] == [
        ("A", "classifier", ("tf_efficientnet_lite0",)),
        ("A", "arm", ("cgan ×1",)),
        ("A", "pair", ("3.0", "4.0")),
    ]
    assert {d.pairs for d in c.scores} == {3}
    assert not c.identical


def test_a_score_that_one_run_lacks_is_listed(report: Report) -> None:
    def failed(r: Report) -> None:
        for values in r["lines"][1]["values"].values():
            del values["2.0"]

    c = compared(report, changed(report, failed))
    assert [(x.side, x.kind, x.names) for x in c.only] == [("A", "score", ("classical small_cnn 2.0",))]
    assert by_arm(c)["classical"].pairs == 4
    assert not c.identical


def test_reports_of_earlier_versions_are_compared_by_their_content(report: Report) -> None:
    def older(r: Report) -> None:
        for name in ("measured", "multiplied", "memorised", "translations"):
            del r[name]
        del r["info"]["data"]
        for fold in r["info"]["folds"]:
            del fold["unit"], fold["shared_groups"]

    c = compared(changed(report, older), report)
    assert c.paired
    assert {d.word for d in c.scores} == {"identical"}
    kid = next(d for d in c.images if d.metric.startswith("synthetic/test/kid_"))
    assert (kid.word, kid.pairs, kid.a.mean) == ("same mean", 0, kid.b.mean)
    assert {(x.unit, x.stage) for x in c.costs} == {("wall", s) for s in ("fit", "synthesize", "classify")}
    assert any("earlier version" in line for b in sections(c) for line in b.blocks if isinstance(line, str))


def bench(*args: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in args])


def folder(path: Path, report: Report, config: Any = CONFIG) -> Path:
    path.mkdir(parents=True)
    (path / "leaderboard.json").write_text(json.dumps(report), encoding="utf-8")
    (path / "suite.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def test_the_command_prints_writes_and_gives_json(report: Report, tmp_path: Path) -> None:
    a = folder(tmp_path / "a", report)
    b = folder(tmp_path / "b", changed(report, shift({"classical": [0.10, 0.11, 0.09, 0.10, 0.12]})))
    shown = bench("compare", a, b, "--markdown", tmp_path / "c.md")
    assert shown.exit_code == 0, shown.output
    assert "better" in shown.output
    assert "| classical | small_cnn | 5 |" in (tmp_path / "c.md").read_text(encoding="utf-8")
    plain = json.loads(bench("compare", a, b, "--json").stdout)
    assert plain["paired"]
    assert not plain["identical"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "a folder without leaderboard.json or reports/"),
        ({"leaderboard.json": "{"}, "cannot be read"),
        ({"leaderboard.json": '{"lines": 3}'}, "not a report of bench"),
        ({"reports/x/suite.yaml": "a: 1", "reports/y/suite.yaml": "a: 1"}, "select one with --suite"),
    ],
    ids=["nothing", "torn", "something else", "two suites"],
)
def test_bad_input_is_one_clear_message(report: Report, tmp_path: Path, files: dict[str, str], message: str) -> None:
    bad = tmp_path / "bad"
    bad.mkdir()
    for name, text in files.items():
        (bad / name).parent.mkdir(parents=True, exist_ok=True)
        (bad / name).write_text(text, encoding="utf-8")
    found = bench("compare", folder(tmp_path / "a", report), bad)
    assert found.exit_code == 2, found.output
    assert message in " ".join(found.stderr.split())


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, Path]:
    """Two output folders of the toy suite, the second with more steps, and the images; no report was written."""
    register(monkeypatch)
    data = write_squares(tmp_path / "data")
    suite = write_suite(tmp_path / "s.yaml", methods={"none": {}, "classical": {}})
    for name, changes in (("a", ()), ("b", ("classifiers.small_cnn.steps=6",))):
        session = prepare(str(suite), changes, data, tmp_path / name)
        finish(session)
        text = yaml.safe_dump(to_plain(resolved(session.suite)), sort_keys=False)
        write_atomic(session.report_folder / "suite.yaml", text)
    return tmp_path / "a", tmp_path / "b", data


def test_output_folders_are_compared_from_their_stores_each_by_its_own_settings(
    stores: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    a, b, data = stores
    found = bench("compare", a, b, "--suite", tmp_path / "s.yaml", "--data", data, "--json")
    assert found.exit_code == 0, found.output
    plain = json.loads(found.stdout)
    assert [x["path"] for x in plain["config"]] == ["classifiers.small_cnn.steps"]
    assert plain["paired"]
    assert plain["values"] > 0
    assert plain["a"]["notes"] == plain["b"]["notes"] == []
    assert not (a / "reports" / "s" / "leaderboard.json").exists()
    same = bench("compare", a, a, "--suite", tmp_path / "s.yaml", "--data", data)
    assert "identical: " in same.output
    assert "no difference" in same.output
    gone = bench("compare", a, b, "--suite", tmp_path / "s.yaml", "--data", tmp_path / "nowhere")
    assert gone.exit_code == 2
    assert "nowhere" in gone.stderr


def test_a_store_that_this_version_would_repeat_is_compared_by_its_last_report(
    stores: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, _, data = stores
    here = ("--suite", tmp_path / "s.yaml", "--data", data)
    session = prepare(str(tmp_path / "s.yaml"), (), data, a)
    rows = rows_of(session.plan, session.env)
    info = report_info(session, rows)
    made = json.dumps(export.as_json(collect(Rows(rows), info, a), info))
    (a / "reports" / "s" / "leaderboard.json").write_text(made, encoding="utf-8")
    assert "taken from" not in bench("compare", a, a, *here).output
    monkeypatch.setitem(planning.CODE_VERSION, "evaluate", 99)
    shown = " ".join(bench("compare", a, a, *here).output.split())
    assert "not from its store: with the plan of this version it has 0 of the" in shown
    assert "identical: " in shown


def test_without_the_images_the_last_written_report_is_taken_and_a_note_says_so(report: Report, tmp_path: Path) -> None:
    for name in ("a", "b"):
        folder(tmp_path / name / "reports" / "breakhis", report)
    found = bench("compare", tmp_path / "a", tmp_path / "b", "--data", tmp_path / "nowhere")
    assert found.exit_code == 0, found.output
    assert "taken from the last report" in " ".join(found.output.split())
    assert "identical: " in found.output
