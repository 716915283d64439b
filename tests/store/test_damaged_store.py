"""A finished store, damaged in many ways: what `report` and `run` say, and that `run` restores every number.

A row of ``DAMAGES`` damages a copy of one finished store. `bench report` must then name the file and leave its numbers
out, and `bench run` must end with the numbers of the undisturbed store. Nothing here starts a process.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from toy import Toy, leave_out_figures, register, write_squares, write_suite

from bench.cli.main import main
from bench.engine.plan_rows import rows_of
from bench.engine.session import Session, prepare
from bench.plan.plan import Cell
from bench.stages import common
from bench.stages.context import CellContext
from bench.store import lines
from bench.store.cell_folders import Artifacts
from bench.store.results import Store

SMALL: dict[str, Any] = {"ratios": [1.0], "explain": {"images_per_class": 0}}


class Lab:
    """A folder with images, a suite and an output folder, and the verbs to be tried on them."""

    def __init__(self, root: Path) -> None:
        self.root, self.out, self.data, self.suite = root, root / "out", root / "data", root / "s.yaml"

    def call(self, verb: str, *words: str) -> Result:
        """Run a verb of the command line in this process, as one that has read no data yet."""
        common._INDEXES.clear()
        lines._NAMED.clear()
        where = ["--suite", str(self.suite), "--data", str(self.data), "--out", str(self.out)]
        device = ["--device", "cpu", "--jobs", "1"] if verb == "run" else []
        return CliRunner().invoke(main, [verb, *where, *device, *words], catch_exceptions=False)

    def session(self) -> Session:
        return prepare(str(self.suite), (), self.data, self.out)

    def cell(self, stage: str, method: str | None = None, fold: int = 0) -> Cell:
        found = (c for c in self.session().plan.cells if (c.stage, c.fold) == (stage, fold))
        return next(c for c in found if method is None or c.method == method)

    def folder(self, stage: str, method: str | None = None, fold: int = 0) -> Path:
        """Return the finished folder of a cell."""
        return Artifacts(self.out).folder(*self.cell(stage, method, fold).id)

    def numbers(self) -> dict[str, Any]:
        """Return all that a run must give again: every cell's metrics, every file of theirs, the report's scores."""
        session = self.session()
        metrics = {r.key: (r.status, repr(sorted(r.metrics.items()))) for r in rows_of(session.plan, session.env)}
        artifacts = Artifacts(self.out)
        content = {c.row_key: artifacts.content(*c.id) for c in session.plan.work}
        report = json.loads((self.out / "reports" / "s" / "leaderboard.json").read_text(encoding="utf-8"))
        lines = [{k: x[k] for k in ("method", "ratio", "classifier", "scores", "versus")} for x in report["lines"]]
        return {"metrics": metrics, "content": content, "lines": lines}


@pytest.fixture(scope="module")
def quick() -> Iterator[None]:
    """No MLflow, and no pictures in the report: neither is what is tried here."""
    with pytest.MonkeyPatch.context() as patch:
        register(patch)
        patch.setattr("bench.tracking.session_view.MLflowView.finished", lambda *_: None)
        patch.setattr("bench.tracking.session_view.MLflowView.complete", lambda *_: None)
        leave_out_figures(patch)
        patch.setattr("bench.report.build.latex", lambda *_: "")  # tests/report has these tables
        yield


@pytest.fixture(scope="module")
def finished(quick: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, dict[str, Any]]:
    """A finished store and its numbers."""
    lab = Lab(tmp_path_factory.mktemp("finished"))
    write_squares(lab.data)
    write_suite(lab.suite, **SMALL)
    result = lab.call("run")
    assert result.exit_code == 0, result.output
    return lab, lab.numbers()


@pytest.fixture
def lab(finished: tuple[Lab, dict[str, Any]], tmp_path: Path) -> Lab:
    """A copy of the finished store, with the times of its files."""
    shutil.copytree(finished[0].root, tmp_path / "copy")
    for path in (tmp_path / "copy" / "out" / "configs").glob("*.yaml"):  # its images are the copied ones
        path.write_text(path.read_text().replace(str(finished[0].root), str(tmp_path / "copy")))
    return Lab(tmp_path / "copy")


def in_place(path: Path, edit: Callable[[bytes], bytes]) -> None:
    """Edit a file and set its times back to what they were."""
    stat = path.stat()
    path.write_bytes(edit(path.read_bytes()))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def swap(a: str, b: str) -> Callable[[bytes], bytes]:
    """Return an edit that exchanges two texts, so that a file keeps its size where these are equally long."""
    return lambda content: content.replace(a.encode(), b"\0").replace(b.encode(), a.encode()).replace(b"\0", b.encode())


@dataclass(frozen=True)
class Damage:
    """A way to damage a finished store, and what the verbs then say.

    ``says`` must be in the output of `report` and of `run`. ``run`` is the exit code of the
    next `run`, after which all numbers are as before.
    """

    name: str
    do: Callable[[Lab], object]
    says: str
    report: int = 1
    run: int = 0
    run_says: str | None = None  # None: as ``says``


def edit(name: str, stage: str, method: str | None, change: Callable[[bytes], bytes]) -> Callable[[Lab], None]:
    return lambda lab: in_place(lab.folder(stage, method) / name, change)


def remove(name: str, stage: str, method: str | None = None) -> Callable[[Lab], None]:
    return lambda lab: (lab.folder(stage, method) / name).unlink()


def move_patient(lab: Lab) -> None:
    """Move a patient of the test part to the training part of a saved split."""
    path = lab.folder("split") / "split.json"
    split = json.loads(path.read_text(encoding="utf-8"))
    group = next(iter(split["parts"]["test"]))
    split["parts"]["train"][group] = split["parts"]["test"].pop(group)
    path.write_text(json.dumps(split), encoding="utf-8")


def other_bytes(lab: Lab, pattern: str) -> None:
    """Change the last numbers of all cached arrays, and have the cells that read them done again."""
    for path in (lab.out / "cache").glob(pattern):
        in_place(path, lambda b: b[:-200] + bytes(100) + b[-100:])
    for stage in ("classify", "fidelity", "memorised"):
        shutil.rmtree(lab.out / "cells" / stage)


def done_json(change: Callable[[Any], Any], stage: str = "classify", method: str | None = "none"):  # type: ignore[no-untyped-def]
    """Return a damage that changes the content of a done.json."""

    def do(lab: Lab) -> None:
        path = lab.folder(stage, method) / "done.json"
        path.write_text(json.dumps(change(json.loads(path.read_text(encoding="utf-8")))), encoding="utf-8")

    return do


def better(done: dict[str, Any]) -> dict[str, Any]:
    return {**done, "metrics": dict.fromkeys(done["metrics"], 1.0)}


def line(number: int, change: Callable[[bytes], bytes], name: str = "results.jsonl") -> Callable[[Lab], None]:
    """Return a damage of one line of a file in the output folder."""

    def do(lab: Lab) -> None:
        found = (lab.out / name).read_bytes().splitlines(keepends=True)
        found[number] = change(found[number])
        (lab.out / name).write_bytes(b"".join(found))

    return do


def row(**changes: Any) -> Callable[[bytes], bytes]:
    """Return an edit of a row: fields set, or left out where the value is ``...``."""

    def do(content: bytes) -> bytes:
        fields = {**json.loads(content), **changes}
        return json.dumps({k: v for k, v in fields.items() if v is not ...}).encode() + b"\n"

    return do


def interrupted(spoil: Callable[[Path], object]) -> Callable[[Lab], None]:
    """Return a damage that leaves a generator in the middle, by a state that is not its own, and then spoils that."""

    def do(lab: Lab) -> None:
        cell, artifacts = lab.cell("fit", "toy"), Artifacts(lab.out)
        shutil.rmtree(artifacts.folder(*cell.id))
        folder = artifacts.partial(*cell.id)
        folder.mkdir(exist_ok=True)
        ctx = CellContext(folder, "cpu", 0, None)
        for step in (1, 2, 3):
            ctx.log(step, 6, {"loss": 0.5})
        ctx.save_checkpoint({"step": 3, "sums": np.full((2, 16, 16, 3), 7.0)})
        spoil(folder)

    return do


def spoil(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


def other_state(folder: Path) -> None:
    CellContext(folder, "cpu", 0, None).save_checkpoint({"of": "another version"})


HEALED: list[tuple[str, Callable[[Lab], object], str, str]] = [  # name, damage, what `report` says, what `run` says
    ("not UTF-8", line(2, lambda b: b"\xff" + b), "1 skipped (line 3): not UTF-8", "not UTF-8"),
    ("null", line(2, lambda _: b"null\n"), "(line 3): NoneType instead of an object", "NoneType"),
    ("a list", line(0, lambda _: b"[1]\n"), "(line 1): list instead of an object", "list"),
    ("an empty object", line(0, lambda _: b"{}\n"), "without 'schema'", "without 'schema'"),
    ("a line cut", line(4, lambda b: b[:40] + b"\n"), "(line 5): incomplete or invalid", "incomplete or invalid JSON"),
    (
        "two rows in one line",
        line(4, lambda b: b[:-1] + b),
        "(line 5): incomplete or invalid",
        "incomplete or invalid JSON",
    ),
    ("the last line torn", line(-1, lambda b: b[:-30]), "incomplete or invalid JSON", "incomplete or invalid JSON"),
    ("zeros at the end", line(-1, lambda b: b + bytes(512)), "skipped", "skipped"),
    ("a row without key", line(1, row(key=...)), "without 'key'", "without 'key'"),
    ("a key that is a number", line(1, row(key=5)), "with a int as 'key'", "with a int"),
    ("another schema", line(1, row(schema=9)), "got schema 9, expected 1", "got schema 9"),
    ("metrics a list", line(1, row(metrics=["x"])), "skipped (line 2)", "skipped"),
    ("a metric that is a word", line(1, row(metrics={"test/auroc": "high"})), "skipped (line 2)", "skipped"),
    ("no results.jsonl", lambda lab: (lab.out / "results.jsonl").unlink(), "", ""),
    ("runs.jsonl damaged", line(0, lambda b: b"null\n\xff\n" + b, "runs.jsonl"), "2 skipped", "2 skipped"),
    ("checkpoint cut", interrupted(spoil("checkpoint.pt", lambda b: b[: len(b) // 2])), "", "starts anew"),
    ("checkpoint empty", interrupted(spoil("checkpoint.pt", lambda _: b"")), "", "the cell starts anew"),
    ("checkpoint of other bytes", interrupted(spoil("checkpoint.pt", lambda b: b"\x80" * len(b))), "", "starts anew"),
    ("history shorter", interrupted(spoil("history.csv", lambda b: b[:-5])), "", "history.csv has"),
    ("history gone", interrupted(lambda folder: (folder / "history.csv").unlink()), "", "history.csv has 0 bytes"),
]

DAMAGES = [
    Damage(
        "a prediction edited",
        edit("predictions.csv", "classify", "none", swap("0.4", "0.5")),
        "predictions.csv was changed",
    ),
    Damage(
        "labels exchanged",
        edit("predictions.csv", "classify", "toy", swap("benign", "malignant")),
        "predictions.csv was changed",
    ),
    Damage(
        "predictions cut",
        edit("predictions.csv", "classify", "none", lambda b: b[: len(b) // 2]),
        "predictions.csv was changed",
    ),
    Damage(
        "predictions empty",
        edit("predictions.csv", "classify", "none", lambda b: b""),
        "predictions.csv was changed: 0 bytes",
    ),
    Damage(
        "predictions deleted", remove("predictions.csv", "classify", "none"), "predictions.csv is listed in done.json"
    ),
    Damage(
        "one row deleted",
        edit("predictions.csv", "classify", "toy", lambda b: b"\n".join(b.split(b"\n")[:-2]) + b"\n"),
        "predictions.csv was changed",
    ),
    Damage("a patient moved in the split", move_patient, "split.json was changed"),
    Damage("split of the same size", edit("split.json", "split", None, swap("b0_0", "b1_0")), "split.json was changed"),
    Damage("split deleted", remove("split.json", "split"), "split.json is listed"),
    Damage("a synthetic image deleted", remove("images/0/00000.png", "synthesize", "toy"), "00000.png is listed"),
    Damage(
        "a synthetic image replaced",
        lambda lab: shutil.copy(
            lab.folder("synthesize", "toy") / "images/1/00000.png",
            lab.folder("synthesize", "toy") / "images/0/00000.png",
        ),
        "00000.png was changed",
    ),
    Damage("manifest cut", edit("manifest.csv", "synthesize", "toy", lambda b: b[:60]), "manifest.csv was changed"),
    Damage(
        "generator edited in place",
        edit("means.npy", "fit", "toy", lambda b: b[:-8] + bytes(8)),
        "means.npy was changed: SHA-256",
    ),
    Damage("generator deleted", remove("means.npy", "fit", "toy"), "means.npy is listed"),
    Damage(
        "groups of the generator edited",
        edit("seen_groups.json", "fit", "toy", lambda b: b.replace(b'"b', b'"m', 1)),
        "seen_groups.json was changed",
    ),
    Damage(
        "classifier weights edited",
        edit("classifier.safetensors", "classify", "none", lambda b: b[:-4] + bytes(4)),
        "classifier.safetensors was changed",
    ),
    Damage(
        "copies table edited",
        edit("memorised.csv", "memorised", "toy", lambda b: b + b"x"),
        "memorised.csv was changed",
    ),
    Damage("done.json empty", edit("done.json", "classify", "none", lambda b: b""), "done.json cannot be read"),
    Damage("done.json cut", edit("done.json", "classify", "none", lambda b: b[:100]), "done.json cannot be read"),
    Damage("done.json null", done_json(lambda d: None), "done.json contains a NoneType"),
    Damage("done.json of an empty object", done_json(lambda d: {}), "done.json lacks metrics"),
    Damage("done.json a list", done_json(lambda d: [1]), "done.json contains a list"),
    Damage(
        "done.json not UTF-8",
        edit("done.json", "evaluate", "none", lambda b: b"\xff" + b[1:]),
        "done.json cannot be read",
    ),
    Damage(
        "done.json without its costs",
        done_json(lambda d: {k: v for k, v in d.items() if k != "costs"}),
        "done.json lacks costs",
    ),
    Damage(
        "done.json without its list of files",
        done_json(lambda d: {k: v for k, v in d.items() if k != "files"}),
        "done.json lacks files",
    ),
    Damage("done.json with other scores", done_json(better, "evaluate"), "done.json was changed: its checksum"),
    Damage("done.json deleted", remove("done.json", "evaluate", "toy"), "done.json does not exist"),
    Damage(
        "done.json of another cell",
        lambda lab: shutil.copy(
            lab.folder("classify", "toy") / "done.json", lab.folder("classify", "none") / "done.json"
        ),
        "was changed",
    ),
    *(Damage(name, do, says, 0, 0, run_says) for name, do, says, run_says in HEALED),
    Damage("an image cache with other bytes", lambda lab: other_bytes(lab, "images-*.npy"), "", 0, 0, ""),
    Damage("cached features with other bytes", lambda lab: other_bytes(lab, "features/*.npy"), "", 0, 0, ""),
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda d: d.name)
def test_damage_is_named_and_mended(damage: Damage, lab: Lab, finished: tuple[Lab, dict[str, Any]]) -> None:
    damage.do(lab)
    report = lab.call("report")
    assert (report.exit_code, damage.says in report.output) == (damage.report, True), report.output
    run = lab.call("run")
    says = damage.says if damage.run_says is None else damage.run_says
    assert (run.exit_code, says in run.output) == (damage.run, True), run.output
    assert lab.numbers() == finished[1]
    assert "all cells are done" in lab.call("run").output


def test_plan_and_status_name_a_damaged_cell_and_count_it_as_to_be_done(lab: Lab) -> None:
    edit("predictions.csv", "classify", "none", lambda b: b[:-9])(lab)
    plan, status = lab.call("plan"), lab.call("status")
    assert (plan.exit_code, status.exit_code) == (0, 0)
    for output in (plan.output, status.output):
        assert "classify none" in output
        assert "predictions.csv was changed" in output
    assert "1 failed" in status.output
    assert json.loads(lab.call("plan", "--json").stdout)["left"] == 1


def test_a_report_uses_no_number_that_rests_on_a_damaged_file(lab: Lab) -> None:
    edit("predictions.csv", "classify", "none", swap("benign", "malignant"))(lab)
    report = json.loads(lab.call("report", "--json").stdout)
    line = next(x for x in report["lines"] if x["method"] == "none")
    assert (line["pairs"], line["planned"]) == (1, 2)
    page = (lab.out / "reports" / "s" / "leaderboard.md").read_text(encoding="utf-8")
    assert "predictions.csv was changed" in page


def test_a_killed_attempt_leaves_nothing_temporary_in_a_finished_cell(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    with artifacts.work("fit", "k") as partial:
        for name in (".checkpoint.tmp", ".progress.tmp", ".a.1f.tmp.png", "checkpoint.pt", "kept.csv"):
            (partial / name).write_text("x")
        artifacts.commit("fit", "k", {"metrics": {}, "costs": {}, "facts": {}, "finished_at": ""})
    assert sorted(p.name for p in artifacts.folder("fit", "k").iterdir()) == ["done.json", "kept.csv"]
    assert list(artifacts.result("fit", "k")["files"]) == ["kept.csv"]


def test_an_undamaged_copy_has_nothing_to_say(lab: Lab, finished: tuple[Lab, dict[str, Any]]) -> None:
    assert (lab.call("report").exit_code, lab.numbers()) == (0, finished[1])
    run = lab.call("run")
    assert (run.exit_code, "all cells are done" in run.output) == (0, True)


def test_a_checkpoint_that_the_method_cannot_restore_fails_once_and_then_starts_anew(
    lab: Lab, finished: tuple[Lab, dict[str, Any]]
) -> None:
    interrupted(other_state)(lab)
    first = lab.call("run")
    assert (first.exit_code, "KeyError: 'step'" in first.output) == (1, True), first.output
    assert lab.call("run").exit_code == 0
    assert lab.numbers() == finished[1]


def test_a_store_of_a_newer_version_is_refused_by_file_and_line(lab: Lab) -> None:
    path = lab.out / "results.jsonl"
    path.write_bytes(b"".join(row(schema=2)(x) for x in path.read_bytes().splitlines()))
    before = path.read_bytes()
    for verb in ("report", "run"):
        result = lab.call(verb)
        assert result.exit_code == 2
        assert f"{path}, line 1: got schema 2, expected 1; the store was written by another version" in result.output
    assert path.read_bytes() == before


def test_what_cannot_be_read_is_kept_aside_and_said_once(lab: Lab) -> None:
    line(2, lambda b: b"\xff" + b)(lab)
    assert lab.call("run").output.count("1 skipped") == 1
    assert (lab.out / "results.jsonl.damaged").read_bytes().startswith(b"\xff{")
    assert "skipped (" not in lab.call("run").output


def report_files(lab: Lab) -> dict[str, bytes]:
    folder = lab.out / "reports" / "s"
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != ".state"]
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


REPORTS = {
    "page cut": lambda r: in_place(r / "report.html", lambda b: b[:1000]),
    "table emptied": lambda r: in_place(r / "leaderboard.csv", lambda b: b""),
    "number edited in place": lambda r: in_place(r / "leaderboard.md", swap("0", "1")),
    "JSON deleted": lambda r: (r / "leaderboard.json").unlink(),
    "settings edited": lambda r: in_place(r / "suite.yaml", swap("margin: 0.02", "margin: 0.50")),
    "state empty": lambda r: (r / ".state").write_text(""),
    "state of an earlier version": lambda r: (r / ".state").write_text("0123456789abcdef"),
    "state null": lambda r: (r / ".state").write_text("null"),
    "all deleted": shutil.rmtree,
}


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_that_is_not_whole_is_written_again(name: str, lab: Lab) -> None:
    lab.call("run")  # in its own folder, which the report names
    whole = report_files(lab)
    REPORTS[name](lab.out / "reports" / "s")
    run = lab.call("run")
    assert (run.exit_code, "all cells are done" in run.output) == (0, True)
    assert report_files(lab) == whole


def test_a_report_that_was_interrupted_is_written_by_the_next_run(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.call("run")
    whole = report_files(lab)
    with monkeypatch.context() as patch:
        patch.setattr("bench.report.build.document", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            lab.call("report", "--set", "margin=0.1")
    assert report_files(lab) != whole
    lab.call("run")
    assert report_files(lab) == whole


@pytest.mark.parametrize("setting", ["margin=0.5", "reference=toy", "description=Another"])
def test_the_report_follows_every_setting(setting: str, lab: Lab) -> None:
    """A verdict's setting changes no cell: 0.02 stood in the report and suite.yaml after --set margin=0.5."""
    lab.call("run")
    name, _, value = setting.partition("=")
    before = report_files(lab)
    run = lab.call("run", "--set", setting)
    assert (run.exit_code, "all cells are done" in run.output) == (0, True)
    after = report_files(lab)
    assert f"{name}: {value}" in after["suite.yaml"].decode()
    assert after["leaderboard.md"] != before["leaderboard.md"]
    lab.call("report")  # the stored settings are those of the last run
    assert report_files(lab) == after
    lab.call("run")  # without it: back again
    assert report_files(lab) == before


def test_the_report_follows_the_code(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.call("run")
    written: list[Path] = []
    monkeypatch.setattr(
        "bench.report.build.build_report", lambda *at: written.append(at[3]) or at[3] / "leaderboard.md"
    )
    lab.call("run")
    assert written == []
    monkeypatch.setattr("bench.report.writing.source_hash", lambda: "another version")
    lab.call("run")
    assert len(written) == 1


def test_a_row_of_the_store_with_another_number_is_not_believed(lab: Lab, finished: tuple[Lab, dict[str, Any]]) -> None:
    in_place(lab.out / "results.jsonl", lambda b: b.replace(b'"test/auroc": 0.', b'"test/auroc": 1.'))
    lab.call("report")
    assert lab.numbers() == finished[1]
    lab.call("run")
    rows = Store(lab.out).rows().values()
    assert {r.key: repr(sorted(r.metrics.items())) for r in rows} == {
        key: metrics for key, (_, metrics) in finished[1]["metrics"].items()
    }


def test_a_result_that_differs_takes_all_that_was_made_from_the_old_one_with_it(lab: Lab, monkeypatch: Any) -> None:
    """Elsewhere than on a CPU a cell done again may give other numbers; nothing may then rest on its old ones."""
    remove("means.npy", "fit", "toy")(lab)
    monkeypatch.setattr("toy.Toy.fit", lambda self, data, ctx, fit=Toy.fit: (fit(self, data, ctx), darker(ctx.folder)))
    before, evaluated = lab.folder("evaluate", "none").stat().st_ino, lab.cell("evaluate", "toy")
    run = lab.call("run")
    assert run.exit_code == 0, run.output
    session = lab.session()
    first = [c for c in session.plan.work if c.method == "toy" and c.fold == 0]
    assert f"{len(first)} done in" in run.output, "all of the generator's, in its fold alone"
    assert lab.folder("evaluate", "none").stat().st_ino == before
    assert Artifacts(lab.out).is_done(*evaluated.id)
    assert "all cells are done" in lab.call("run").output


def darker(folder: Path) -> None:
    np.save(folder / "means.npy", np.load(folder / "means.npy") / 2)


def test_an_image_changed_under_the_same_size_and_time_is_another_image(lab: Lab) -> None:
    lab.call("run")
    path = lab.data / "benign" / "b0_0.png"
    other = (lab.data / "benign" / "b0_1.png").read_bytes()
    pad = max(0, len(path.read_bytes()) - len(other))
    before = lab.session().plan.fingerprint
    in_place(path, lambda b: (other + bytes(pad))[: max(len(b), len(other))])
    assert lab.session().plan.fingerprint != before


def test_what_changed_in_the_data_is_said_before_anything_is_trained(lab: Lab) -> None:
    assert "the data changed" not in lab.call("plan").output
    copy, gone = lab.data / "benign" / "b0_0.png", lab.data / "malignant" / "m1_2.png"
    Image.fromarray(np.random.default_rng(5).integers(0, 255, (16, 16, 3), np.uint8)).save(copy)
    gone.unlink()
    Image.fromarray(np.random.default_rng(6).integers(0, 255, (16, 16, 3), np.uint8)).save(lab.data / "benign/b9_9.png")
    said = "images: 48 before, 48 now: 1 added, 1 removed, 1 with other content"
    assert said in lab.call("plan").output
    assert said in lab.call("run", "--only", "stage=split").output
    assert "the data changed" not in lab.call("run", "--only", "stage=split").output
