"""A run stores its configuration: later commands need the output folder only, and two runs keep two reports."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from toy import register, write_squares, write_suite

from bench.cli.main import main
from bench.engine.stored import find_run, stored_session
from bench.store.run_configs import read_run_config, run_names

ALL = ("--suite", "toy.yaml", "--data", "data", "--set", "methods.toy.steps=3", "--set", "ratios=[1.0]")
REPORT = Path("out/reports/toy")


def bench(*words: str | Path) -> Result:
    return CliRunner().invoke(main, list(map(str, words)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with images, a suite file, and a finished run with other settings than the file."""
    folder = tmp_path_factory.mktemp("stored")
    with pytest.MonkeyPatch.context() as patch:
        register(patch)
        patch.chdir(folder)
        patch.delenv("BENCH_DATA", raising=False)
        patch.setattr("bench.report.build.draw_figures", lambda *_: {})
        patch.setattr("bench.tracking.session_view.MLflowView.finished", lambda *_: None)
        patch.setattr("bench.tracking.session_view.MLflowView.complete", lambda *_: None)
        write_squares(folder / "data")
        classifier = {"steps": 2, "evaluate_every": 2, "batch_size": 8, "width": 4}
        write_suite(folder / "toy.yaml", fidelity={"input_size_px": 32}, classifiers={"small_cnn": classifier})
        run = bench("run", *ALL, "--out", "out", "--jobs", "1")
        assert run.exit_code == 0, run.output
    return folder


@pytest.fixture(autouse=True)
def here(folder: Path, monkeypatch: pytest.MonkeyPatch, no_figures: None) -> Path:
    register(monkeypatch)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("BENCH_DATA", raising=False)
    return folder


def report_bytes() -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in REPORT.iterdir() if p.is_file() and not p.name.startswith(".")}


def test_the_folder_alone_gives_the_same_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = report_bytes()
    out = Path("out").resolve()
    status = json.loads(bench("status", *ALL, "--out", out, "--json").output)
    plan = json.loads(bench("plan", *ALL, "--out", out, "--json").output)
    assert (status["missing"], plan["left"]) == (0, 0)
    report = bench("report", *ALL, "--out", out)
    assert report.exit_code == 0, report.output
    assert report_bytes() == before
    suite = Path("toy.yaml").resolve()
    monkeypatch.chdir(tmp_path)
    assert json.loads(bench("status", "--out", out, "--json").output) == status
    assert json.loads(bench("plan", "--out", out, "--json").output) == plan
    for words in (("--out", out), (suite, "--out", out), ("--suite", "toy", "--out", out)):
        answer = bench("report", *words)
        assert answer.exit_code == 0, answer.output
        assert "out/reports/toy/leaderboard.md" in answer.stdout
    assert "are used, not those of" in bench("status", suite, "--out", out).stderr
    monkeypatch.chdir(out.parent)
    assert report_bytes() == before


def test_serve_and_rate_open_the_stored_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen = []
    monkeypatch.setattr("bench.cli.serve.serve_run", lambda session, *_: seen.append(session))
    monkeypatch.setattr("bench.cli.rate.serve_study", lambda session, *_: seen.append(session))
    for verb in ("serve", "rate"):
        for words in (ALL, ()):
            result = bench(verb, *words, "--out", "out", *(("--device", "cpu") if verb == "serve" else ()))
            assert result.exit_code == 0, result.output
    assert len({s.command for s in seen}) == 1
    assert len({tuple(c.id for c in s.plan.cells) for s in seen}) == 1
    assert {s.suite.method("toy").config.steps for s in seen} == {3}


@pytest.mark.parametrize("verb", ["report", "status", "serve", "rate", "plan"])
def test_a_folder_without_a_run_is_an_error(verb: str, tmp_path: Path) -> None:
    for words in ((), ALL) if verb != "plan" else ((),):
        result = bench(verb, *words, "--out", tmp_path)
        assert result.exit_code == 2, result.output
        assert "has no run; expected the --out folder of a `bench run`" in result.output
        assert "does not exist" in bench(verb, *words, "--out", tmp_path / "no").output
    assert list(tmp_path.iterdir()) == []


def test_other_settings_need_another_name_and_then_keep_another_report() -> None:
    before = report_bytes()
    other = ("--data", "data", "--out", "out", "--jobs", "1", "--set", "ratios=[1.0]")
    refused = bench("run", "toy.yaml", *other)
    assert refused.exit_code == 2, refused.output
    assert "methods.toy.steps: 3 there, 6 here" in refused.output
    assert "--name toy-2" in refused.output
    assert "would lose" in bench("report", "toy.yaml", *other[:4], "--set", "methods.toy.steps=5").output
    assert report_bytes() == before
    second = bench("run", "toy.yaml", *other, "--name", "toy-2")
    assert second.exit_code == 0, second.output
    assert report_bytes() == before
    assert run_names(Path("out")) == ["toy", "toy-2"]
    assert read_run_config(Path("out"), "toy-2").suite["methods"]["toy"]["steps"] == 6
    listed = bench("report", "--out", "out")
    assert listed.exit_code == 2
    assert "select one with --name" in listed.output
    assert "  toy: bench run --suite toy.yaml --set methods.toy.steps=3" in listed.output
    for name in ("toy", "toy-2"):
        assert json.loads(bench("status", "--out", "out", "--name", name, "--json").output)["missing"] == 0
    assert "'toy-3'" in bench("status", "--out", "out", "--name", "toy-3").output


def test_a_run_may_be_extended_and_its_report_changed(tmp_path: Path) -> None:
    words = ("--data", "data", "--set", "methods.toy.steps=3", "--out", tmp_path)
    session = stored_session(find_run(Path("out"), "toy"), Path("out"))
    assert session.command.startswith("bench run --suite toy.yaml --set methods.toy.steps=3 --set 'ratios=[1.0]'")
    assert session.command.endswith("--data data --out out --jobs 1")
    wider = bench("run", "toy.yaml", *words[:-1], "out", "--dry-run", "--set", "ratios=[1.0, 0.5]")
    assert wider.exit_code == 0, wider.output
    changed = bench("report", "--out", "out", "--name", "toy", "--set", "margin=0.05")
    assert changed.exit_code == 0, changed.output
    assert read_run_config(Path("out"), "toy").suite["margin"] == 0.05
    assert "leaderboard" in bench("report", "--out", "out", "--name", "toy", "--set", "margin=0.02").output


def test_saved_settings_are_a_suite_file(tmp_path: Path) -> None:
    plan = bench("plan", REPORT / "suite.yaml", "--data", "data", "--out", "out", "--json")
    assert plan.exit_code == 0, plan.output
    assert (json.loads(plan.stdout)["suite"], json.loads(plan.stdout)["left"]) == ("toy", 0)
