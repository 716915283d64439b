"""MLflow holds all of what was to be logged, or says and mends what it lacks: a run that exists is not yet complete."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchError
from bench.tracking import store as tracking_store
from bench.tracking import writer as tracking_writer
from bench.tracking.media import MODEL
from bench.tracking.model import ClassifierModel
from bench.tracking.rows import cut, digest, flatten, safe_name
from bench.tracking.runs import COMPLETE, CUT, LONGEST_PARAM, LONGEST_TAG, PARENT
from bench.tracking.store import artifacts_of, database, holds, is_sound, relocate, tracking_uri
from bench.tracking.tracker import TrackingThread
from bench.tracking.writer import Tracker
from bench.types import ResultRow

AT = "2026-01-01T00:10:00+00:00"
FIT = ResultRow(
    "f0", "fit", "s", "d", "done", "gan", 0, 0, costs={"elapsed_s": 1.0}, facts={"images": 3}, finished_at=AT
)
ROWS = [
    FIT,
    replace(FIT, key="f1", fold=1),
    replace(FIT, key="e0", stage="evaluate", ratio="1", classifier="c", metrics={"test/recall_PR+": 0.5}),
]
CONFIG = {"seed": 0, "classes": {"PR+": 1, "PR*": 2, "PR_": 3}}
STATE = "0123456789abcdef"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder whose MLflow holds ROWS."""
    out = tmp_path_factory.mktemp("made")
    (out / "report").mkdir()
    (out / "report" / "leaderboard.md").write_text("# x")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        tracker = Tracker(None, out, "s", config=CONFIG)
        tracker.sync(ROWS)
        tracker.log_report(out / "report")
        tracker.mark_synced(STATE)
        tracker.close()
    return out


@pytest.fixture
def copied(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Copy the output folder."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return lambda name: shutil.copytree(made, tmp_path / name)


def write(out: Path, rows: list[ResultRow], config: Any = CONFIG, experiment: str = "s") -> str:
    tracker = Tracker(None, out, experiment, config=config)
    try:
        tracker.sync(rows)
        return tracker.summary()
    finally:
        tracker.close()


def runs_of(out: Path, experiment: str = "s") -> dict[str, Any]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri(out))
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return {experiment if r.data.tags["stage"] == "suite" else r.info.run_name: r for r in found}


def files_below(folder: Path) -> int:
    return sum(p.is_file() for p in folder.rglob("*"))


def test_what_is_complete_is_left_alone(copied: Any) -> None:
    out = copied("same")
    note = "the output folder was moved: the location of MLflow's files is now "
    assert write(out, ROWS) == f"{note}{artifacts_of(out)}; 3 runs were complete"
    assert write(out, ROWS) == "3 runs were complete"


def test_the_suites_run_is_filled_in_after_a_write_that_failed(copied: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    out = copied("cut-off")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracking_writer, "log_batches", lambda *a: (_ for _ in ()).throw(OSError("database is locked")))
        with pytest.raises(OSError, match="locked"):
            write(out, [], experiment="other")
    assert runs_of(out, "other")["other"].data.params == {}
    assert write(out, [], experiment="other") == "settings missing in the suite's run were added; nothing to write"
    found = runs_of(out, "other")["other"].data
    assert len(found.params) == 4
    assert found.tags[COMPLETE]
    assert write(out, [], experiment="other") == "nothing to write"


def test_a_suites_run_that_cannot_be_filled_in_is_made_again_with_its_runs_below(copied: Any) -> None:
    from mlflow.tracking import MlflowClient

    out = copied("conflict")
    write(out, ROWS)
    old = runs_of(out)["s"]
    client = MlflowClient(tracking_uri(out))
    client.delete_tag(old.info.run_id, COMPLETE)
    with closing(sqlite3.connect(out / "mlflow.db")) as db, db:
        db.execute("UPDATE params SET value = 'other' WHERE run_uuid = ? AND key = 'seed'", (old.info.run_id,))
    write(out, ROWS)
    found = runs_of(out)
    assert found["s"].info.run_id != old.info.run_id
    assert found["s"].data.params["seed"] == "0"
    assert {r.data.tags[PARENT] for name, r in found.items() if name != "s"} == {found["s"].info.run_id}


def test_names_that_are_alike_once_cleaned_stay_apart(copied: Any) -> None:
    params = runs_of(copied("names"))["s"].data.params
    assert sorted(v for k, v in params.items() if k.startswith("classes.PR_")) == ["1", "2", "3"]
    assert params["classes.PR_"] == "3"
    names = ("PR+", "PR*", "PR_", "a//b", "a/../b", "../x", ".", "/a", "x" * 300, "x" * 301, "a/b c:d-e.f")
    clean = [safe_name(n) for n in names]
    assert len(set(clean)) == len(names)
    assert clean[-1] == names[-1]
    assert max(map(len, clean)) <= 250


def test_safe_names_are_taken_by_mlflow() -> None:
    from mlflow.utils.validation import _validate_metric_name

    for name in ("PR+", "a//b", "a/../b", "../x", ".", "..", "/a", "a/", "x" * 300, "<script>", "a\\b", "$x_1$"):
        _validate_metric_name(safe_name(name))


def test_settings_that_flatten_to_one_name_both_stay() -> None:
    assert sorted(flatten({"a.b": 1, "a": {"b": 2}}).values()) == ["1", "2"]


@pytest.mark.parametrize("damage", ["deleted", "garbage", "torn"])
def test_a_database_that_is_gone_or_damaged_is_filled_again(copied: Any, damage: str) -> None:
    out = copied(damage)
    path = out / "mlflow.db"
    relocate(path, artifacts_of(out))
    assert holds(path, artifacts_of(out), "s", STATE)
    content = path.read_bytes()
    if damage == "deleted":
        path.unlink()
    else:
        path.write_bytes(b"no database" * 1000 if damage == "garbage" else content[: len(content) // 2 // 4096 * 4096])
    assert not holds(path, artifacts_of(out), "s", STATE)
    said = write(out, ROWS)
    assert said.endswith("3 runs written")
    assert (damage == "deleted") != said.startswith("mlflow.db was damaged: renamed to mlflow.db.damaged")
    assert len(runs_of(out)) == 4
    assert (out / "mlflow.db.damaged").exists() == (damage != "deleted")


def test_a_database_that_mlflow_had_not_finished_making_is_not_sound(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.touch()
    assert is_sound(path)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE experiments (experiment_id INTEGER)")
    assert not is_sound(path)


def test_a_users_own_database_is_never_set_aside(tmp_path: Path) -> None:
    other = tmp_path / "elsewhere.db"
    assert tracking_store.own_database(tmp_path, f"sqlite:///{other}") is None
    assert tracking_store.own_database(tmp_path, "postgresql://db/x") is None
    assert tracking_store.own_database(tmp_path, tracking_uri(tmp_path, f"sqlite:///{tmp_path}/mlflow.db"))


def test_a_moved_folder_writes_to_its_new_place_alone(copied: Any) -> None:
    old = copied("old")
    write(old, ROWS)
    new = old.with_name("new")
    shutil.copytree(old, new)
    before = files_below(old)
    write(new, [*ROWS, replace(FIT, key="f2", fold=2)])
    assert files_below(old) == before
    run = runs_of(new)["gan/fold2/repeat0"]
    assert run.info.artifact_uri.startswith(f"{artifacts_of(new)}/")
    assert files_below(new / "mlartifacts" / run.info.run_id) == 2
    assert runs_of(new)["gan/fold0/repeat0"].info.artifact_uri.startswith(f"{artifacts_of(new)}/")


@pytest.mark.parametrize("name", ["a?b", "c%20d%", "e#f", "g h", "é?b #c%3Fd"])
def test_the_database_is_in_the_output_folder_whatever_its_name(name: str, tmp_path: Path) -> None:
    from sqlalchemy.engine import make_url

    uri = tracking_uri(tmp_path / name)
    assert database(uri) == tmp_path / name / "mlflow.db"
    assert make_url(uri).database == str(tmp_path / name / "mlflow.db")


def test_mlflow_writes_into_a_folder_with_odd_signs_and_nowhere_else(copied: Any, tmp_path: Path) -> None:
    out = copied("a?b #c%20d%")
    assert write(out, [*ROWS, replace(FIT, key="f2", fold=2)]).endswith("3 runs were complete, 1 run written")
    assert "gan/fold2/repeat0" in runs_of(out)
    assert [p.name for p in tmp_path.iterdir()] == [out.name]


def test_a_sqlalchemy_that_cannot_have_such_a_folder_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking_store, "unquote", lambda text: text)
    with pytest.raises(BenchError, match=r"use an --out folder without \? # %"):
        tracking_store.new_client(tracking_uri(tmp_path / "a?b"))


def test_values_that_are_cut_are_marked(copied: Any) -> None:
    out = copied("long")
    failed = replace(FIT, key="f9", fold=9, status="failed", error="E" * 9000)
    write(out, [failed], config={"long": "x" * 7000, "short": "y"}, experiment="long")
    found = runs_of(out, "long")
    value = found["long"].data.params["long"]
    assert value.endswith("x… (cut, 7000 characters)")
    assert len(value) == LONGEST_PARAM
    assert found["long"].data.tags[CUT] == "long"
    error = found["gan/fold9/repeat0"].data.tags
    assert error["error"].endswith("E… (cut, 9000 characters)")
    assert (len(error["error"]), error[CUT]) == (LONGEST_TAG, "error")
    assert cut("abc", 3) == "abc"


def test_files_that_are_gone_are_written_again(copied: Any) -> None:
    out = copied("files")
    write(out, ROWS)
    shutil.rmtree(out / "mlartifacts" / runs_of(out)["gan/fold1/repeat0"].info.run_id)
    assert write(out, ROWS) == "2 runs were complete, 1 run written again"
    assert files_below(out / "mlartifacts" / runs_of(out)["gan/fold1/repeat0"].info.run_id) == 2


def test_a_row_with_another_content_under_its_key_is_written_again(copied: Any) -> None:
    out = copied("content")
    write(out, ROWS)
    changed = replace(ROWS[2], metrics={"test/recall_PR+": 0.75})
    assert write(out, [*ROWS[:2], changed]) == "2 runs were complete, 1 run written again"
    metrics = runs_of(out)["gan/r1/c/fold0/repeat0"].data.metrics
    assert metrics[f"test/recall_PR_-{digest('test/recall_PR+')}"] == 0.75


def test_a_run_that_was_deleted_is_missed(copied: Any) -> None:
    from mlflow.tracking import MlflowClient

    out = copied("missing")
    relocate(out / "mlflow.db", artifacts_of(out))
    MlflowClient(tracking_uri(out)).delete_run(runs_of(out)["gan/fold1/repeat0"].info.run_id)
    assert not holds(out / "mlflow.db", artifacts_of(out), "s", STATE)
    assert not holds(out / "mlflow.db", artifacts_of(out), "s", "another state")
    thread = TrackingThread(Tracker(None, out, "s", config=CONFIG))
    for row in ROWS:
        thread.submit(row)
    thread.report(out / "report", STATE)
    assert thread.close(60) is None
    assert thread.did == "2 runs were complete, 1 run written"
    assert holds(out / "mlflow.db", artifacts_of(out), "s", STATE)


def test_the_best_classifier_is_a_model_that_mlflow_loads(copied: Any, tmp_path: Path) -> None:
    import mlflow.pyfunc
    import numpy as np
    from mlflow.tracking import MlflowClient

    from bench.classifiers.small_cnn import SmallCNN, SmallCNNConfig
    from bench.classifiers.trainer import predict
    from bench.classifiers.weight_files import save_network

    config, weights = SmallCNNConfig(width=4), tmp_path / "weights"
    network = SmallCNN(config).build(3, 32, None)
    save_network(network, weights)
    target, score = "bench.classifiers.small_cnn:SmallCNN", {"validation/auroc": 0.9}
    model = ClassifierModel("x", "c1", target, asdict(config), ("a", "b", "c"), 32, "squash", weights, score)

    def log(out: Path, model: ClassifierModel, rows: list[ResultRow]) -> tuple[str, Any]:
        """Return the status of the suite's run and its model."""
        tracker = Tracker(None, out, "s", config=CONFIG, model_of=lambda _: model)
        tracker.sync(rows)
        tracker.log_report(out / "report")
        tracker.close()
        run = runs_of(out)["s"]
        (found,) = MlflowClient(tracking_uri(out)).search_logged_models([run.info.experiment_id])
        assert run.data.tags[MODEL] == f"{model.key} {found.model_id}"
        return run.info.status, found

    out = copied("model")
    status, first = log(out, model, ROWS)
    assert (status, first.source_run_id) == ("FINISHED", runs_of(out)["s"].info.run_id)
    assert log(out, model, ROWS)[1].model_id == first.model_id
    moved = shutil.copytree(out, tmp_path / "moved")
    failed = replace(FIT, key="f9", fold=9, status="failed", error="E")
    status, second = log(moved, replace(model, key="c2"), [*ROWS, failed])
    assert status == "FAILED"
    assert second.model_id != first.model_id
    assert second.artifact_location.startswith(artifacts_of(moved))
    loaded = mlflow.pyfunc.load_model(second.artifact_location)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    assert np.array_equal(loaded.predict(images), predict(network, images, "cpu"))
    assert loaded.metadata.get_input_schema().inputs[0].shape == (-1, 32, 32, 3)
    assert not [p for p in Path(second.artifact_location.removeprefix("file://")).rglob("*.pkl")]
