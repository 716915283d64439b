"""The command line: exit codes, messages a newcomer can act on, and nothing heavy imported before it is needed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result
from PIL import Image
from toy import leave_out_figures, register, write_squares, write_suite

from bench.check.baseline import default_baseline
from bench.cli.main import main

HEAVY = ("torch", "mlflow", "optuna", "timm", "sklearn", "matplotlib", "torchvision")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    register(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_DATA", raising=False)
    write_squares(tmp_path / "data")
    write_suite(tmp_path / "toy.yaml")

    def call(*words: str) -> Result:
        return CliRunner().invoke(main, words)

    return call


NO_MAPS = {"explain": {"images_per_class": 0}}
TOY = ("--suite", "toy.yaml", "--data", "data")


def test_light_commands_import_nothing_heavy(tmp_path: Path) -> None:
    plan = ["plan", "--suite", "ci", "--out", str(tmp_path)]
    plan += ["--set", "dataset.patients=8", "--set", "dataset.images_per_patient=1"]
    commands = (["--help"], ["list"], ["run", "--suite", "breakhis"], plan)
    script = f"import contextlib, sys\nfrom bench.cli.main import main\nfor words in {commands}:\n"
    script += "    with contextlib.suppress(SystemExit): main(words)\n"
    script += f"    print([m for m in {HEAVY} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert [line for line in run.stdout.splitlines() if line.startswith("[")] == ["[]"] * len(commands)


def test_breakhis_without_data_says_where_to_get_it(bench) -> None:
    result = bench("run", "--suite", "breakhis")
    assert result.exit_code == 2
    for words in ("BENCH_DATA", "--data", "bench data download breakhis", "histology_slides"):
        assert words in result.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "--suite", "tinny"), "did you mean 'tiny'"),
        (("plan", *TOY, "--set", "methods.toy.step=1"), "did you mean 'steps'"),
        (("plan", *TOY, "--only", "metod=toy"), "did you mean 'method'"),
        (("run", *TOY, "--device", "gpu"), "expected auto, cpu, cuda"),
        (("run", *TOY, "--jobs", "0"), "--jobs"),
        (("rum", *TOY), "did you mean 'run'"),
        (("run", "--suite", "toy.yaml", "--data", "nowhere"), "nowhere"),
    ],
)
def test_bad_usage_is_exit_2_and_says_what_to_do(bench, words: tuple[str, ...], message: str) -> None:
    result = bench(*words)
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert "Traceback" not in result.output


def test_plan_run_status_report_agree(bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_suite(tmp_path / "toy.yaml", ratios=[1.0], explain={"images_per_class": 1})
    before = json.loads(bench("plan", *TOY, "--json").output)
    n = len(before["cells"])
    assert before["left"] == n > 10
    run = bench("run", *TOY, "--jobs", "1")
    assert run.exit_code == 0, run.output
    assert Path("runs/reports/toy/leaderboard.md").is_file()
    assert json.loads(bench("plan", *TOY, "--json").output)["left"] == 0
    status = json.loads(bench("status", *TOY, "--json").output)
    assert (status["done"], status["failed"], status["missing"]) == (n, 0, 0)
    leave_out_figures(monkeypatch)  # the report of the run has them
    lines = json.loads(bench("report", *TOY, "--json").output)
    assert "toy" in json.dumps(lines)
    again = bench("run", *TOY)
    assert f"{n} already done, 0 to run" in again.output
    plan = bench("plan", *TOY, "--set", "methods.toy.steps=7")
    assert "predicted with --jobs" in plan.output  # what is left has a predicted cost, from the cells just measured


def test_a_failed_cell_is_exit_1_and_a_retry_keeps_the_rest(bench, tmp_path: Path, no_figures: None) -> None:
    write_suite(
        tmp_path / "toy.yaml", methods={"none": {}, "bad": {"use": "toy", "fail_at": 1}}, ratios=[1.0], **NO_MAPS
    )
    result = bench("run", *TOY, "--jobs", "1")
    assert result.exit_code == 1
    assert "injected failure" in result.output
    (tmp_path / "runs" / "cells" / "fit" / "mended").touch()
    assert bench("run", *TOY, "--jobs", "1").exit_code == 0


def test_images_that_cannot_be_used_are_named_and_the_rest_is_used(bench, tmp_path: Path, no_figures: None) -> None:
    folder = tmp_path / "data" / "benign"
    good = (folder / "b0_0.png").read_bytes()
    (folder / "b0_truncated.png").write_bytes(good[: len(good) // 2])
    (folder / "b0_text.png").write_text("no picture")
    Image.new("RGB", (1, 1)).save(folder / "b0_tiny.png")
    Image.new("LAB", (16, 16)).save(folder / "b0_lab.png", "TIFF")
    (folder / "b0_[red].png").write_text("brackets are no markup")
    result = bench("run", *TOY, "--jobs", "1", "--only", "method=none")
    assert result.exit_code == 0, result.output
    for name in ("b0_truncated.png", "b0_text.png", "b0_tiny.png", "b0_lab.png", "b0_[red].png"):
        assert name in result.output
    assert json.loads(bench("plan", *TOY, "--json").output)["images"] == 48
    refused = bench("plan", *TOY, "--set", "dataset.on_bad_image=refuse")
    assert refused.exit_code == 2
    assert "b0_truncated.png" in refused.output


def test_plan_and_audit_create_no_output_folder(bench, tmp_path: Path) -> None:
    before = {p.name for p in tmp_path.iterdir()}
    for words in (("plan", *TOY), ("run", *TOY, "--dry-run"), ("data", "audit", "data", "--json")):
        result = bench(*words)
        assert result.exit_code == 0, result.output
    assert {p.name for p in tmp_path.iterdir()} == before


def test_a_suite_is_given_with_or_without_the_option_and_seed_is_a_setting(bench) -> None:
    words = ("--data", "data", "--json")
    plain, positional = (json.loads(bench("plan", *suite, *words).output) for suite in (TOY[:2], TOY[1:2]))
    assert plain == positional
    seeded, again = (
        json.loads(bench("plan", *TOY[:2], *words, *more).output) for more in (("--seed", "3"), ("--set", "seed=3"))
    )
    assert seeded == again != plain
    assert bench("plan", "other.yaml", *TOY).exit_code == 2
    assert "cannot be combined" in bench("run", *TOY, "-v", "-q").output


def test_help_of_a_group_shows_the_options_of_its_commands(bench) -> None:
    for group, options in (("data", ("--into", "--leak-demo")), ("mlflow", ("--set",)), ("profile", ("--budget",))):
        shown = bench(group, "--help").output
        assert [name for name in options if name not in shown] == []
    assert bench("--version").output.startswith("bench, version ")


def test_a_shell_completes_commands_and_suites() -> None:
    shell = ShellComplete(main, {}, "bench", "_BENCH_COMPLETE")
    assert [c.value for c in shell.get_completions([], "sta")] == ["status"]
    assert "breakhis-small" in [c.value for c in shell.get_completions(["run"], "breakhis")]
    assert [c.type for c in shell.get_completions(["run"], "./mine")] == ["file"]


def test_the_baseline_of_a_shipped_suite_is_found_from_any_folder(bench, tmp_path: Path) -> None:
    assert default_baseline("ci").is_file()
    assert default_baseline("mine") == Path("reports/baselines/mine.json")
    here = tmp_path / "reports" / "baselines" / "ci.json"
    here.parent.mkdir(parents=True)
    here.touch()
    assert default_baseline("ci") == Path("reports/baselines/ci.json")


def test_list_names_what_is_registered(bench) -> None:
    found = json.loads(bench("list", "--json").output)
    assert {"tiny", "ci", "breakhis", "breakhis-small"} <= set(found["suites"])
    assert "tlsgan_lite0" in found["methods"]
    assert all(found["suites"].values())  # each shipped suite describes itself


def _heed_interrupts() -> None:
    """A test run that a shell started in the background was told to ignore them, and its children inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def wait_for(folder: Path, pattern: str, run: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not list(folder.glob(pattern)) and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)


def test_an_interrupt_is_exit_130_and_leaves_no_process(tmp_path: Path) -> None:
    write_squares(tmp_path / "data")
    write_suite(tmp_path / "s.yaml", methods={"none": {}, "toy": {"use": "faulty:Faulty", "wait_for": "for ever"}})
    words = ["run", "--suite", "s.yaml", "--data", "data", "--jobs", "2", "--device", "cpu", "--out", "out"]
    run = subprocess.Popen(
        [sys.executable, "-m", "bench.cli", *words], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, preexec_fn=_heed_interrupts, env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, sys.path))},
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("out/cells/fit/*.partial*/progress.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = psutil.Process(run.pid).children(recursive=True)
    run.send_signal(signal.SIGINT)
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 130, output
    assert "run the same command to continue" in output
    assert psutil.wait_procs(workers, timeout=10)[1] == []
