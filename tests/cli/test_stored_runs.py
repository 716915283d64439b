"""A run stores its configuration: later commands need the output folder only, and two runs keep two reports."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from toy import leave_out_figures, register, write_squares, write_suite

from bench.cli.main import main
from bench.engine.stored import find_run
from bench.store.cell_folders import Artifacts
from bench.store.live import announced
from bench.store.run_configs import RunConfig, read_run_config, run_names, save_run_config

ALL = ("--suite", "toy.yaml", "--data", "data", "--set", "classifiers.small_cnn.steps=2", "--set", "split.seed=1")


def bench(*words: str | Path) -> Result:
    return CliRunner().invoke(main, list(map(str, words)))


def toy_environment(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Work in the folder; without MLflow, which other tests are about."""
    register(patch)
    patch.chdir(folder)
    patch.delenv("BENCH_DATA", raising=False)
    patch.setattr("bench.tracking.session_view.MLflowView.finished", lambda *_: None)
    patch.setattr("bench.tracking.session_view.MLflowView.complete", lambda *_: None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with images, a suite file, and a finished run with other settings than the file."""
    folder = tmp_path_factory.mktemp("stored")
    with pytest.MonkeyPatch.context() as patch:
        toy_environment(folder, patch)
        leave_out_figures(patch)
        write_squares(folder / "data", images=2)
        classifier = {"steps": 3, "evaluate_every": 2, "batch_size": 8, "width": 4}
        write_suite(folder / "toy.yaml", methods={"none": {}}, classifiers={"small_cnn": classifier})
        for words in (("run", *ALL, "--jobs", "1"), ("report",)):  # the second knows how long the report took
            result = bench(*words, "--out", "out")
            assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(autouse=True)
def here(folder: Path, monkeypatch: pytest.MonkeyPatch, no_figures: None) -> None:
    toy_environment(folder, monkeypatch)


@pytest.fixture
def out(folder: Path, tmp_path: Path) -> Path:
    """A copy of the output folder, for a test that changes it."""
    return Path(shutil.copytree(folder / "out", tmp_path / "out"))


def report_bytes(out: Path, name: str = "toy") -> dict[str, bytes]:
    files = (p for p in (out / "reports" / name).iterdir() if p.is_file() and not p.name.startswith("."))
    return {p.name: p.read_bytes() for p in files}


def missing(out: Path, name: str = "toy") -> int:
    return int(json.loads(bench("status", "--out", out, "--name", name, "--json").stdout)["missing"])


def test_the_folder_alone_gives_the_same_answers(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, suite = folder / "out", folder / "toy.yaml"
    before = report_bytes(out)
    status, plan = (json.loads(bench(verb, *ALL, "--out", out, "--json").stdout) for verb in ("status", "plan"))
    assert (status["missing"], plan["left"]) == (0, 0)
    assert bench("report", *ALL, "--out", out).exit_code == 0
    assert report_bytes(out) == before
    monkeypatch.chdir(tmp_path)
    assert json.loads(bench("status", "--out", out, "--json").stdout) == status
    assert json.loads(bench("plan", "--out", out, "--json").stdout) == plan
    for words in (("--out", out), (suite, "--out", out), ("--suite", "toy", "--out", out)):
        answer = bench("report", *words)
        assert answer.exit_code == 0, answer.output
        assert report_bytes(out) == before
    assert "small_cnn.steps: 2 there, 3 here" in bench("status", suite, "--out", out).stderr
    assert list(tmp_path.iterdir()) == []


def test_the_stored_command_is_complete() -> None:
    command = find_run(Path("out")).command
    assert command == f"bench run {' '.join((*ALL[:2], *ALL[4:], *ALL[2:4]))} --out out --jobs 1"


def test_serve_and_rate_open_the_stored_run(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr("bench.cli.serve.serve_run", lambda session, *_: seen.append(session))
    monkeypatch.setattr("bench.cli.rate.serve_study", lambda session, *_: seen.append(session))
    for verb in ("serve", "rate"):
        for words in (ALL, ()):
            result = bench(verb, *words, "--out", "out", *(("--device", "cpu") if verb == "serve" else ()))
            assert result.exit_code == 0, result.output
    assert len({s.command for s in seen}) == 1
    assert len({tuple(c.id for c in s.plan.cells) for s in seen}) == 1
    assert {s.suite.classifier("small_cnn").config.steps for s in seen} == {2}


@pytest.mark.parametrize("verb", ["report", "status", "serve", "rate", "du", "clean"])
def test_a_folder_without_a_run_is_an_error(verb: str, tmp_path: Path) -> None:
    for words in ((), ALL) if verb not in ("du", "clean") else ((),):
        result = bench(verb, *words, "--out", tmp_path)
        assert result.exit_code == 2, result.output
        assert "has no run; expected the --out folder of a `bench run`" in result.output
        assert "does not exist" in bench(verb, *words, "--out", tmp_path / "no").output
    assert list(tmp_path.iterdir()) == []


def test_other_settings_need_another_name_and_then_keep_another_report(out: Path) -> None:
    before = report_bytes(out)
    other = ("toy.yaml", "--data", "data", "--out", out, "--set", "split.seed=1")
    refused = bench("run", *other)
    assert refused.exit_code == 2, refused.output
    assert "classifiers.small_cnn.steps: 2 there, 3 here" in refused.output
    assert f"--out {out} --name toy-2" in refused.output
    assert "would lose" in bench("report", *other).output
    second = bench("run", *other, "--name", "toy-2", "--jobs", "1")
    assert second.exit_code == 0, second.output
    assert report_bytes(out) == before
    assert report_bytes(out, "toy-2").keys() == before.keys()
    assert run_names(out) == ["toy", "toy-2"]
    listed = bench("report", "--out", out)
    assert listed.exit_code == 2
    assert "select one with --name" in listed.output
    assert "  toy: bench run --suite toy.yaml --set classifiers.small_cnn.steps=2" in listed.output
    assert (missing(out), missing(out, "toy-2")) == (0, 0)
    assert "no run named 'toy-3'" in bench("status", "--out", out, "--name", "toy-3").output


def test_a_run_may_be_extended_and_its_report_changed(out: Path) -> None:
    wider = bench("run", *ALL, "--out", out, "--set", "methods.classical={}", "--only", "method=none", "--quiet")
    assert (wider.exit_code, wider.output) == (0, "")
    assert missing(out) > 0
    changed = bench("report", "--out", out, "--set", "margin=0.05")
    assert changed.exit_code == 0, changed.output
    config = read_run_config(out, "toy")
    assert config is not None
    assert (config.suite["margin"], "classical" in config.suite["methods"]) == (0.05, True)


def test_saved_settings_are_a_suite_file(folder: Path) -> None:
    saved = folder / "out" / "reports" / "toy" / "suite.yaml"
    plans = [bench("plan", *words, "--out", "out", "--json").stdout for words in ((saved, "--data", "data"), ())]
    assert plans[0] == plans[1]
    assert json.loads(plans[0])["suite"] == "toy"


def test_sub_suites_are_one_stored_run(tmp_path: Path) -> None:
    first, second = ({**read_run_config(Path("out"), "toy").__dict__, "name": f"study-{x}"} for x in "ab")
    for config in (first, second):
        save_run_config(tmp_path, RunConfig(**config))
    save_run_config(tmp_path, RunConfig("study", "bench run study", sub_suites=("study-a", "study-b")))
    shown = json.loads(bench("status", "--out", tmp_path, "--json").stdout)
    assert [s["suite"] for s in shown["sub_suites"]] == ["study-a", "study-b"]
    assert json.loads(bench("status", "--out", tmp_path, "--name", "study-b", "--json").stdout)["suite"] == "study-b"
    assert "select one with --name: study-a, study-b" in bench("serve", "--out", tmp_path).output


def test_clean_deletes_what_no_run_uses_and_what_is_old(out: Path) -> None:
    unused = out / "cells" / "classify" / "0123456789abcdef"
    unused.mkdir()
    (unused / "weights.bin").write_bytes(bytes(2**20))
    found = json.loads(bench("du", "--out", out, "--json").stdout)
    assert found["problem"] is None
    assert found["stages"]["classify"]["unreferenced"] == 2**20
    assert found["parts"]["cells"] == sum(s["bytes"] for s in found["stages"].values())
    assert "1 MiB" in bench("du", "--out", out).stdout
    asked = CliRunner().invoke(main, ["clean", "--out", str(out)], input="n\n")
    assert "1 cells that no stored run uses: 1 MiB" in asked.output
    assert unused.exists()
    with announced(out, "toy", 1, 1, "cpu"):
        assert "in use by an active run" in bench("clean", "--out", out, "--yes").output
    with Artifacts(out).work("classify", unused.name):
        assert bench("clean", "unreferenced", "--out", out, "--yes").exit_code == 0
        assert unused.exists(), "a process runs this cell"
    assert "freed" in bench("clean", "--out", out, "--yes").output
    assert not unused.exists()
    assert not any(p.is_file() for p in (out / "cache").rglob("*"))
    assert missing(out) == 0
    assert "needs --older-than" in bench("clean", "cells", "--out", out).output
    assert "nothing to delete" in bench("clean", "cells", "--older-than", "1", "--out", out).output
    for path in (out / "cells" / "classify").iterdir():
        os.utime(path, (0, 0))
    assert bench("clean", "cells", "--older-than", "1", "--out", out, "--yes").exit_code == 0
    assert missing(out) == 2  # the networks of two folds
    assert (out / "reports" / "toy" / "leaderboard.md").is_file()
