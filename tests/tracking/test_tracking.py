"""MLflow holds what the store holds, once; being slow, broken or away costs a run nothing."""

from __future__ import annotations

import base64
import json
import math
import sys
import threading
import zlib
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import pytest
from PIL import Image

from bench.errors import BenchError
from bench.tracking.headline import is_headline
from bench.tracking.media import DatasetInput
from bench.tracking.rows import (
    POINTS_PER_METRIC,
    fact_metrics,
    fact_params,
    flatten,
    metric_points,
    row_entry,
    unit_name,
    usage_points,
)
from bench.tracking.session_view import telling
from bench.tracking.tracker import Tracker, TrackingThread, tracking_uri, ui_command, ui_environment
from bench.tracking.views import ARMS, TAG, view_tags
from bench.types import ResultRow

AT = "2026-01-01T00:10:00+00:00"
START_MS = 1_767_226_140_000  # one minute before
DATASET = DatasetInput("phantom", "0123456789abcdef", "/data/phantom", {"benign": 60, "malignant": 40}, 12)
BASE = ResultRow("k", "fit", "tiny", "phantom", "done", "cyclegan", 0, 0, costs={"elapsed_s": 60.0}, finished_at=AT)


def history(folder: Path, steps: int, *names: str, bad: float | None = None) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{s},{n},{1 / (s + 1)}" for s in range(steps) for n in names]
    lines += [f"{steps},{names[0]},{bad}"] if bad is not None else []
    (folder / "history.csv").write_text("\n".join(["step,name,value", *lines]) + "\n")
    return folder.name


def five_rows(out: Path) -> list[ResultRow]:
    folder = history(out / "fit0", 30, "loss_G", "loss_D", bad=math.inf)
    (out / folder / "samples").mkdir()
    for step in (10, 20):
        Image.new("RGB", (8, 8), (step, 0, 0)).save(out / folder / "samples" / f"G_ab_{step:06d}.png")
    usage = [f"{at},process_memory_megabytes,{at % 100}" for at in range(START_MS, START_MS + 60_000, 1000)]
    (out / folder / "system.csv").write_text("\n".join(["at_ms,name,value", *usage]) + "\n")
    (out / "cls0").mkdir()
    (out / "cls0" / "predictions.csv").write_text("image\n")
    classify = replace(BASE, key="c0", stage="classify", ratio="1", classifier="small_cnn", folder="cls0")
    return [
        replace(BASE, key="f0", folder=folder, facts={"parameters": 7, "config": {"lambda": {"cycle": 10}}}),
        replace(BASE, key="s0", stage="synthesize", facts={"images": 20}),
        replace(
            BASE, key="q0", stage="fidelity", metrics={"synthetic/test/kid_x": 0.1, "synthetic/test/fid_x": math.nan}
        ),
        classify,
        replace(classify, key="e0", stage="evaluate", folder="", metrics={"test/balanced_accuracy": 0.8}),
        replace(BASE, key="f1", fold=1, status="failed", error="Traceback\nDivergedError: loss_G at step 7"),
        replace(BASE, key="s1", stage="synthesize", fold=1, status="skipped", error="fit failed"),
    ]


def runs_of(out: Path, experiment: str = "tiny") -> dict[str, object]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri(out))
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return {experiment if r.data.tags["stage"] == "suite" else r.info.run_name: r for r in found}


def test_unit_names_tell_generators_from_classifiers() -> None:
    assert unit_name(BASE) == "cyclegan/fold0/repeat0"
    assert unit_name(replace(BASE, stage="fidelity", fold=3)) == "cyclegan/fold3/repeat0"
    evaluate = replace(BASE, stage="evaluate", ratio="0.5", classifier="small_cnn", repeat=2)
    assert unit_name(evaluate) == "cyclegan/r0.5/small_cnn/fold0/repeat2"
    assert unit_name(replace(BASE, stage="translate")) == "cyclegan/fold0/repeat0"
    assert unit_name(replace(BASE, stage="fcn_score", method=None)) == "segmentation/fold0/repeat0"
    assert unit_name(replace(BASE, stage="split")) is None
    assert unit_name(replace(BASE, status="skipped")) is None


def test_history_is_thinned_and_ends_with_its_last_point(tmp_path: Path) -> None:
    row = replace(BASE, folder=history(tmp_path / "f", 10 * POINTS_PER_METRIC, "loss"), metrics={"final": 2.0})
    points = metric_points(tmp_path / "f", row)
    loss = [(step, at) for name, _, at, step in points if name == "loss"]
    last_step = 10 * POINTS_PER_METRIC - 1
    assert len(loss) == POINTS_PER_METRIC
    assert loss[-1][0] == last_step
    assert loss[-1][1] - loss[0][1] <= 60_000  # spread over the cell's own minute
    assert ("final", 2.0, loss[-1][1], last_step) in points
    assert "cost/fit/elapsed_s" in {name for name, *_ in points}


def test_a_classifiers_curves_keep_clear_of_what_it_scores_in_the_end(tmp_path: Path) -> None:
    row = replace(BASE, stage="classify", folder=history(tmp_path / "c", 2, "train/loss", "validation/accuracy"))
    names = {name for name, *_ in metric_points(tmp_path / "c", row)}
    assert {"train/loss", "train/validation_accuracy"} <= names
    assert "validation/accuracy" not in names


def test_a_run_has_few_metrics_and_all_that_a_user_added() -> None:
    classes = ("benign", "malignant")
    kept = ["test/patient_auroc", "test/recall_benign", "validation/auroc", "test/mistakes", "test/f1_mine"]
    kept += ["cost/fit/device_s", "synthetic/test/kid_x", "memorised/flagged_share", "cycle/ssim", "test/lesion_dice"]
    tables = ["test/f1_benign", "test/mcc", "validation/ece", "cost/fit/step_first_s", "cost/explain/elapsed_s"]
    tables += ["at_real_baseline/test/kid_x", "synthetic/train/kid_x", "cycle/ssim/benign_to_malignant"]
    assert [name for name in kept + tables if is_headline(name, classes)] == kept


def test_system_metrics_are_thinned_and_have_seconds_as_steps(tmp_path: Path) -> None:
    many = 5 * POINTS_PER_METRIC
    lines = [f"{START_MS + 500 * i},cpu_utilization_percentage,{i}" for i in range(many)]
    (tmp_path / "system.csv").write_text("\n".join(["at_ms,name,value", *lines]) + "\n")
    points = usage_points(tmp_path, START_MS + 5000)
    assert len(points) == POINTS_PER_METRIC
    last_at = START_MS + 500 * (many - 1)
    assert points[-1] == ("system/cpu_utilization_percentage", many - 1, last_at, (last_at - START_MS - 5000) // 1000)
    assert min(step for *_, step in points) == 0, "a sample from before the run counts as its start"


def test_facts_that_are_numbers_are_metrics() -> None:
    facts = {"images": 20, "frozen": True, "git_commit": "abc", "thresholds": {"pixels": 1}, "step": "fast"}
    row = replace(BASE, stage="memorised", facts=facts)
    assert fact_metrics(row) == {"memorised/images": 20.0}
    assert fact_params(row) == {"memorised.images": "20", "memorised.frozen": "True", "memorised.step": "fast"}


@dataclass(frozen=True)
class Config:
    steps: int = 100
    rate: float = 0.1
    lambda_cycle: float = 10.0
    log_every: int = 10


@dataclass(frozen=True)
class Other:
    steps: int = 200
    width: int = 5


def test_parameters_are_what_was_chosen_or_differs_between_arms() -> None:
    arms = {"a": Config(log_every=1), "b": Config(lambda_cycle=1.0), "c": Other(), "d": Other(width=6, steps=100)}
    assert telling(arms) == {
        "a": {"steps": 100, "lambda_cycle": 10.0},
        "b": {"steps": 100, "lambda_cycle": 1.0},
        "c": {"steps": 200, "width": 5},
        "d": {"steps": 100, "width": 6},
    }
    assert telling({"a": Config(rate=0.2)}) == {"a": {"rate": 0.2}}


def test_saved_views_are_packed_as_mlflows_page_packs_them() -> None:
    views = {key.removeprefix(TAG): json.loads(text) for key, text in view_tags().items()}
    assert all(set(view) == {"name", "createdAt", "updatedAt", "state"} for view in views.values())
    packed = views[ARMS]["state"]
    assert packed.startswith("deflate;")
    state = json.loads(zlib.decompress(base64.b64decode(packed.removeprefix("deflate;"))))
    assert state["searchFilter"] == 'tags.kind = "classifier"'
    assert "metrics.`test/patient_balanced_accuracy`" in state["selectedColumns"]
    assert [k["groupByData"] for k in state["groupBy"]["groupByKeys"]] == ["method", "ratio", "classifier"]


def test_flatten_and_entries() -> None:
    assert flatten({"a": {"b": 1, "c": None}, "d": [1, 2]}) == {"a.b": "1", "a.c": "None", "d": "[1, 2]"}
    one, other = (row_entry(replace(BASE, status="failed", error=e)) for e in ("x", "y"))
    assert one.startswith("fit:k:failed:")
    assert one != other


def test_sync_writes_once_grows_and_replaces(tmp_path: Path) -> None:
    rows = five_rows(tmp_path)
    tags, shown = {"git_commit": "abc"}, {"mlflow.note.content": "a note", **view_tags()}
    tracker = Tracker(None, tmp_path, "tiny", config={"seed": 0}, tags=tags, dataset=DATASET, shown=shown)
    assert tracker.sync(rows[:1]) == 1  # the fit
    before = runs_of(tmp_path)["cyclegan/fold0/repeat0"].info.run_id  # type: ignore[attr-defined]
    assert tracker.sync(rows) == 3  # the generator's run grows; a classifier's and a failed one are new
    tracker.close()
    piece = Tracker(None, tmp_path, "tiny", config={"seed": 0})
    assert piece.sync([rows[4]]) == 0  # a later session need not repeat what was logged
    piece.close()
    again = Tracker(None, tmp_path, "tiny", config={"seed": 0})
    assert again.sync(rows) == 0
    runs = runs_of(tmp_path)
    assert set(runs) == {
        "tiny",
        "cyclegan/fold0/repeat0",
        "cyclegan/r1/small_cnn/fold0/repeat0",
        "cyclegan/fold1/repeat0",
    }
    check_generator(runs["cyclegan/fold0/repeat0"], before, runs["tiny"])
    check_dataset_and_experiment(tmp_path, runs["cyclegan/r1/small_cnn/fold0/repeat0"])
    check_failed_then_mended(again, runs["cyclegan/fold1/repeat0"], rows[5], tmp_path)
    check_report(again, tmp_path)


def check_generator(run: object, before: str, parent: object) -> None:
    info, data = run.info, run.data  # type: ignore[attr-defined]
    assert info.run_id == before
    assert (info.status, info.end_time - info.start_time) == ("FINISHED", 60_000)
    at = {"method": "cyclegan", "fold": "0", "repeat": "0"}
    assert data.params == {**at, "arm": "cyclegan", "lambda.cycle": "10"}
    assert (data.metrics["fit/parameters"], data.metrics["synthesize/images"]) == (7, 20)
    files = Path(info.artifact_uri.removeprefix("file://"))
    assert (files / "facts" / "synthesize.json").is_file()
    table = (files / "metrics" / "synthesize.csv").read_text()
    assert table == "name,value\ncost/synthesize/elapsed_s,60.0\nsynthesize/images,20.0\n"
    assert "cost/synthesize/elapsed_s" not in data.metrics
    assert {k: data.tags[k] for k in (*at, "dataset", "kind")} == {**at, "dataset": "phantom", "kind": "generator"}
    assert data.metrics["synthetic/test/kid_x"] == 0.1
    assert math.isfinite(data.metrics["loss_G"])
    assert data.tags["bench.nonfinite.fit"] == "loss_G@30"
    assert data.tags["bench.nonfinite.fidelity"] == "synthetic/test/fid_x@0"
    assert data.tags["mlflow.parentRunId"] == parent.info.run_id  # type: ignore[attr-defined]
    assert (data.tags["git_commit"], data.tags["stage"]) == ("abc", "fit,synthesize,fidelity")
    shown = sorted(p.name for p in (Path(info.artifact_uri.removeprefix("file://")) / "images").glob("*.png"))
    assert [name.split("+timestamp")[0] for name in shown] == ["G_ab+step+10", "G_ab+step+20"]
    assert data.metrics["system/process_memory_megabytes"] == 0


def check_dataset_and_experiment(out: Path, run: object) -> None:
    from mlflow.tracking import MlflowClient

    (given,) = run.inputs.dataset_inputs  # type: ignore[attr-defined]
    assert (given.dataset.name, given.dataset.digest) == ("phantom", "0123456789abcdef")
    assert json.loads(given.dataset.source) == {"uri": "/data/phantom"}
    assert json.loads(given.dataset.profile) == {"images": 100, "patients": 12, "benign": 60, "malignant": 40}
    assert [(t.key, t.value) for t in given.tags] == [("mlflow.data.context", "training")]
    experiment = MlflowClient(tracking_uri(out)).get_experiment_by_name("tiny")
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    assert experiment.tags["mlflow.note.content"] == "a note"
    assert TAG + ARMS in experiment.tags


def check_failed_then_mended(tracker: Tracker, run: object, row: ResultRow, out: Path) -> None:
    assert run.info.status == "FAILED"  # type: ignore[attr-defined]
    assert "DivergedError" in run.data.tags["error"]  # type: ignore[attr-defined]
    assert tracker.sync([replace(row, status="done", error=None)]) == 1
    mended = runs_of(out)["cyclegan/fold1/repeat0"]
    assert mended.info.status == "FINISHED"  # type: ignore[attr-defined]
    assert "error" not in mended.data.tags  # type: ignore[attr-defined]


def check_report(tracker: Tracker, out: Path) -> None:
    (out / "report").mkdir()
    (out / "report" / "leaderboard.md").write_text("# x")
    tracker.log_report(out / "report")
    parent = runs_of(out)["tiny"].info  # type: ignore[attr-defined]
    assert (parent.status, parent.start_time) == ("FINISHED", START_MS)
    assert parent.run_name == f"tiny {datetime.fromtimestamp(START_MS / 1000):%Y-%m-%d %H:%M}"
    assert (Path(parent.artifact_uri.removeprefix("file://")) / "report" / "leaderboard.md").is_file()
    with pytest.raises(BenchError, match="another process"):
        Tracker(None, out, "tiny").sync([])
    tracker.close()


def test_a_dead_server_raises_nothing_and_is_named(tmp_path: Path) -> None:
    thread = TrackingThread(Tracker("http://127.0.0.1:9", tmp_path, "tiny"))
    for row in five_rows(tmp_path):
        thread.submit(row)
    warning = thread.close(timeout_s=60)
    assert warning is not None
    assert warning.startswith("6 cells not yet in MLflow")
    assert "bench mlflow sync" in warning


class Flaky(Tracker):
    """A tracker whose backend refuses one row's key, or all for a while; nothing of MLflow is touched."""

    def __init__(self, refuse: str) -> None:
        self.refuse, self.written, self.reports = refuse, [], []

    def connect(self, rows=()) -> None: ...  # type: ignore[no-untyped-def]

    def close(self) -> None: ...

    def sync(self, rows) -> int:  # type: ignore[no-untyped-def]
        for row in rows:
            if row.key == self.refuse:
                raise OSError("disk full\nmore")
            self.written.append(row.key)
        return 1

    def log_report(self, folder: Path) -> None:
        self.reports.append(folder)


def test_one_bad_row_does_not_hold_up_the_others(tmp_path: Path) -> None:
    flaky = Flaky("b")
    thread = TrackingThread(flaky)
    for key in "abc":
        thread.submit(replace(BASE, key=key))
    thread.submit(replace(BASE, key="x", status="skipped"))
    thread.report(tmp_path)
    warning = thread.close(5)
    assert sorted(flaky.written) == ["a", "c"]
    assert flaky.reports == [tmp_path]
    assert warning == (
        "1 cells not yet in MLflow: OSError: disk full; no results are lost, run `bench mlflow sync` to log them"
    )


class Slow(Flaky):
    """A tracker whose backend does not answer before ``answer`` is set."""

    answer = threading.Event()

    def sync(self, rows) -> int:  # type: ignore[no-untyped-def]
        self.answer.wait(60)
        return super().sync(rows)


def test_a_slow_backend_is_waited_for_no_longer_than_told() -> None:
    thread = TrackingThread(slow := Slow(""))
    for key in "abc":
        thread.submit(replace(BASE, key=key))
    warning = thread.close(0.2)
    assert slow.written == []  # neither ``submit`` nor ``close`` waited for it
    slow.answer.set()
    assert warning is not None
    assert warning.startswith("3 cells not yet in MLflow: nothing written within 0.2 s")


def test_a_backend_that_makes_progress_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    allowed, written = threading.Semaphore(0), threading.Semaphore(0)

    class Steady(Flaky):
        def sync(self, rows) -> int:  # type: ignore[no-untyped-def]
            assert allowed.acquire(timeout=60)
            return super().sync(rows)

    thread = TrackingThread(steady := Steady(""))
    join, drop = thread._thread.join, thread._drop
    monkeypatch.setattr(thread, "_drop", lambda row: (drop(row), written.release()))

    def join_until_one_row_is_written(timeout_s: float) -> None:
        if len(steady.written) == 5:
            return join(60)
        allowed.release()
        assert written.acquire(timeout=60)

    for key in "abcde":
        thread.submit(replace(BASE, key=key))
    monkeypatch.setattr(thread._thread, "join", join_until_one_row_is_written)
    assert thread.close(0.1) is None, "each row within the limit, however many there are"
    assert steady.written == list("abcde")


def test_everything_written_gives_no_warning() -> None:
    thread = TrackingThread(Flaky(""))
    thread.submit(BASE)
    assert thread.close(5) is None


def test_the_store_is_chosen_by_argument_environment_and_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri(tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://lab:5000")
    assert tracking_uri(tmp_path) == "http://lab:5000"
    assert tracking_uri(tmp_path, "sqlite:///x.db") == "sqlite:///x.db"
    command = ui_command(port=5001)
    assert command[:4] == [sys.executable, "-m", "mlflow", "ui"]
    assert command[-1] == "5001"
    assert ui_environment(tmp_path)["MLFLOW_BACKEND_STORE_URI"] == "http://lab:5000"


def test_the_module_imports_without_mlflow() -> None:
    import subprocess

    code = "import sys, bench.tracking.tracker; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
