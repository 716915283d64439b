"""A finished store, damaged in many ways: what `report` and `run` say, and that `run` restores every number.

A round of ``DAMAGES`` damages a copy of one finished store in several places. `bench report` must then name each file
and leave its numbers out, and `bench run` must end with the numbers of the undisturbed store. Nothing here starts a
process.
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
from bench.engine.scheduler import Runner
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
    return copy_of(finished[0], tmp_path / "copy")


@pytest.fixture(scope="module")
def reported(finished: tuple[Lab, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A copy with its report in its own folder, which the report names; each test leaves the report as it was."""
    lab = copy_of(finished[0], tmp_path_factory.mktemp("reported") / "copy")
    lab.call("run")
    return lab


def copy_of(lab: Lab, root: Path) -> Lab:
    shutil.copytree(lab.root, root)
    for path in (root / "out" / "configs").glob("*.yaml"):  # its images are the copied ones
        path.write_text(path.read_text().replace(str(lab.root), str(root)))
    return Lab(root)


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

    The output of `report` must have ``says``, and that of `run` ``run_says``; of a damaged cell in the line that names
    the cell's folder.
    """

    do: Callable[[Lab], object]
    says: str
    run_says: str
    cell: tuple[str, str | None, int] | None = None

    def is_said(self, lab: Lab, says: str, output: str) -> bool:
        where = lab.cell(*self.cell).key if self.cell else ""
        return not says or any(where in text and says in text for text in output.splitlines())


def in_cell(stage: str, method: str | None, fold: int, change: Callable[[Path], object], says: str) -> Damage:
    """Return a damage in the folder of a finished cell."""
    return Damage(lambda lab: change(lab.folder(stage, method, fold)), says, says, (stage, method, fold))


def edited(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda folder: in_place(folder / name, change)


def removed(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def edit(name: str, stage: str, method: str | None, change: Callable[[bytes], bytes]) -> Callable[[Lab], object]:
    return lambda lab: edited(name, change)(lab.folder(stage, method))


def move_patient(folder: Path) -> None:
    """Move a patient of the test part to the training part of a saved split."""
    path = folder / "split.json"
    split = json.loads(path.read_text(encoding="utf-8"))
    group = next(iter(split["parts"]["test"]))
    split["parts"]["train"][group] = split["parts"]["test"].pop(group)
    path.write_text(json.dumps(split), encoding="utf-8")


def other_bytes(lab: Lab, pattern: str) -> None:
    """Change the last numbers of all cached arrays, and have the cells that read them done again."""
    for path in (lab.out / "cache").glob(pattern):
        in_place(path, lambda b: b[:-200] + bytes(100) + b[-100:])
    for stage in ("classify", "fidelity", "memorised"):
        shutil.rmtree(lab.out / "cells" / stage, ignore_errors=True)  # the other kind of cache may have been first


def record(change: Callable[[Any], Any]) -> Callable[[Path], object]:
    """Return a change of the content of a done.json."""

    def do(folder: Path) -> None:
        path = folder / "done.json"
        path.write_text(json.dumps(change(json.loads(path.read_text(encoding="utf-8")))), encoding="utf-8")

    return do


def without(field: str) -> Callable[[Any], Any]:
    return lambda done: {k: v for k, v in done.items() if k != field}


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


def interrupted(spoil: Callable[[Path], object], fold: int = 0) -> Callable[[Lab], None]:
    """Return a damage that leaves a generator in the middle, by a state that is not its own, and then spoils that."""

    def do(lab: Lab) -> None:
        cell, artifacts = lab.cell("fit", "toy", fold), Artifacts(lab.out)
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


def another_image(folder: Path) -> None:
    shutil.copy(folder / "images/1/00000.png", folder / "images/0/00000.png")


def of_another_cell(lab: Lab) -> None:
    shutil.copy(lab.folder("classify", "toy", 1) / "done.json", lab.folder("classify", "none", 1) / "done.json")


def started_anew(fold: int, spoil: Callable[[Path], object], run_says: str = "the cell starts anew") -> Damage:
    return Damage(interrupted(spoil, fold), "", run_says)


PREDICTIONS = "predictions.csv was changed"
CELLS = [  # rounds; no cell is in one of them twice
    [
        in_cell("split", None, 0, move_patient, "split.json was changed"),
        in_cell("split", None, 1, edited("split.json", swap("b0_0", "b1_0")), "split.json was changed: SHA-256"),
        in_cell("fit", "toy", 0, edited("means.npy", lambda b: b[:-8] + bytes(8)), "means.npy was changed: SHA-256"),
        in_cell("fit", "toy", 1, removed("means.npy"), "means.npy is listed in done.json"),
        in_cell("synthesize", "toy", 0, removed("images/0/00000.png"), "00000.png is listed"),
        in_cell("synthesize", "toy", 1, another_image, "00000.png was changed"),
        in_cell("memorised", "toy", 0, edited("memorised.csv", lambda b: b + b"x"), "memorised.csv was changed"),
        in_cell("classify", "none", 0, edited("predictions.csv", swap("0.4", "0.5")), PREDICTIONS),
        in_cell("classify", "none", 1, edited("predictions.csv", lambda b: b[: len(b) // 2]), PREDICTIONS),
        in_cell("classify", "toy", 0, edited("predictions.csv", swap("benign", "malignant")), PREDICTIONS),
        in_cell("classify", "toy", 1, edited("predictions.csv", lambda b: b""), f"{PREDICTIONS}: 0 bytes"),
        in_cell("evaluate", "none", 0, edited("done.json", lambda b: b"\xff" + b[1:]), "done.json cannot be read"),
        in_cell("evaluate", "none", 1, record(better), "done.json was changed: its checksum"),
        in_cell("evaluate", "toy", 0, removed("done.json"), "done.json does not exist"),
        in_cell("evaluate", "toy", 1, record(lambda d: None), "done.json contains a NoneType"),
    ],
    [
        in_cell("split", None, 0, removed("split.json"), "split.json is listed"),
        in_cell(
            "fit", "toy", 0, edited("seen_groups.json", lambda b: b.replace(b'"b', b'"m', 1)), "groups.json was changed"
        ),
        in_cell("synthesize", "toy", 0, edited("manifest.csv", lambda b: b[:60]), "manifest.csv was changed"),
        in_cell("classify", "none", 0, removed("predictions.csv"), "predictions.csv is listed in done.json"),
        in_cell(
            "classify",
            "none",
            1,
            edited("classifier.safetensors", lambda b: b[:-4] + bytes(4)),
            "safetensors was changed",
        ),
        in_cell("classify", "toy", 0, edited("predictions.csv", lambda b: b[: b[:-1].rindex(b"\n") + 1]), PREDICTIONS),
        in_cell("classify", "toy", 1, edited("done.json", lambda b: b[:100]), "done.json cannot be read"),
        in_cell("evaluate", "none", 0, record(lambda d: {}), "done.json lacks metrics"),
        in_cell("evaluate", "none", 1, record(lambda d: [1]), "done.json contains a list"),
        in_cell("evaluate", "toy", 0, record(without("costs")), "done.json lacks costs"),
        in_cell("evaluate", "toy", 1, record(without("files")), "done.json lacks files"),
    ],
    [
        in_cell("classify", "none", 0, edited("done.json", lambda b: b""), "done.json cannot be read"),
        Damage(of_another_cell, "was changed", "was changed", ("classify", "none", 1)),
    ],
]
ROWS: list[tuple[str, Callable[[Lab], None]]] = [  # what is said of a line, and what is done to it
    ("1 list instead of an object", line(0, lambda _: b"[1]\n")),
    ("1 without 'key'", line(1, row(key=...))),
    ("1 not UTF-8", line(2, lambda b: b"\xff" + b)),
    ("1 NoneType instead of an object", line(3, lambda _: b"null\n")),
    ("3 incomplete or invalid JSON", line(4, lambda b: b[:40] + b"\n")),
    ("3 incomplete or invalid JSON", line(5, lambda b: b[:-1] + b)),  # two rows in one line
    ("3 incomplete or invalid JSON", line(-1, lambda b: b[:-30])),  # the last line torn
    ("1 without 'schema'", line(6, lambda _: b"{}\n")),
    ("1 with a int as 'key'", line(7, row(key=5))),
    ("1 got schema 9, expected 1", line(8, row(schema=9))),
    ("12 skipped (lines 1, 2, 3, 4, 5, …)", line(9, row(metrics=["x"]))),
    ("could not convert string to float: 'high'", line(10, row(metrics={"test/auroc": "high"}))),
]
HEALED = [
    [
        *(Damage(do, says, says) for says, do in ROWS),
        Damage(line(0, lambda b: b"null\n\xff\n" + b, "runs.jsonl"), ": 2 skipped", ": 2 skipped"),
    ],
    [
        Damage(line(-1, lambda b: b + bytes(512)), ": 1 skipped (line", ": 1 skipped (line"),  # zeros at the end
        started_anew(0, spoil("checkpoint.pt", lambda b: b[: len(b) // 2])),
        started_anew(1, spoil("checkpoint.pt", lambda _: b"")),
    ],
    [
        Damage(lambda lab: (lab.out / "results.jsonl").unlink(), "", ""),
        started_anew(0, spoil("checkpoint.pt", lambda b: b"\x80" * len(b))),
        started_anew(1, spoil("history.csv", lambda b: b[:-5]), "history.csv has"),
    ],
    [
        started_anew(0, lambda folder: (folder / "history.csv").unlink(), "history.csv has 0 bytes"),
        Damage(lambda lab: other_bytes(lab, "images-*.npy"), "", ""),
        Damage(lambda lab: other_bytes(lab, "features/*.npy"), "", ""),
    ],
]


@pytest.mark.parametrize(
    ("damages", "exit_code"),
    [*((damages, 1) for damages in CELLS), *((damages, 0) for damages in HEALED)],
    ids=lambda found: "" if isinstance(found, list) else None,
)
def test_damage_is_named_and_mended(
    damages: list[Damage], exit_code: int, lab: Lab, finished: tuple[Lab, dict[str, Any]]
) -> None:
    for damage in damages:
        damage.do(lab)
    report = lab.call("report")
    run = lab.call("run")
    assert (report.exit_code, run.exit_code) == (exit_code, 0), report.output + run.output
    assert [d.says for d in damages if not d.is_said(lab, d.says, report.output)] == [], report.output
    assert [d.run_says for d in damages if not d.is_said(lab, d.run_says, run.output)] == [], run.output
    assert lab.numbers() == finished[1]
    session = lab.session()
    assert Runner(session.plan.cells, session.env).reuse() == 0, "all cells are done"


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
    result = lab.call("report", "--json")
    assert result.exit_code == 1
    line = next(x for x in json.loads(result.stdout)["lines"] if x["method"] == "none")
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
def test_a_report_that_is_not_whole_is_written_again(name: str, reported: Lab) -> None:
    whole = report_files(reported)
    REPORTS[name](reported.out / "reports" / "s")
    run = reported.call("run")
    assert (run.exit_code, "all cells are done" in run.output) == (0, True)
    assert report_files(reported) == whole


def test_a_report_that_was_interrupted_is_written_by_the_next_run(
    reported: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, whole = reported, report_files(reported)
    with monkeypatch.context() as patch:
        patch.setattr("bench.report.build.document", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            lab.call("report", "--set", "margin=0.1")
    assert report_files(lab) != whole
    lab.call("run")
    assert report_files(lab) == whole


def test_the_report_follows_every_setting(reported: Lab) -> None:
    """A verdict's setting changes no cell: 0.02 stood in the report and suite.yaml after --set margin=0.5."""
    lab, whole = reported, report_files(reported)
    before = whole
    for setting in ("margin=0.5", "reference=toy", "description=Another"):
        name, _, value = setting.partition("=")
        run = lab.call("run", "--set", setting)
        assert (run.exit_code, "all cells are done" in run.output) == (0, True)
        after = report_files(lab)
        assert f"{name}: {value}" in after["suite.yaml"].decode()
        assert after["leaderboard.md"] not in (before["leaderboard.md"], whole["leaderboard.md"])
        before = after
    lab.call("report")  # the stored settings are those of the last run
    assert report_files(lab) == before
    lab.call("run")  # without it: back again
    assert report_files(lab) == whole


def test_the_report_follows_the_code(reported: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = reported
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
    (lab.folder("fit", "toy") / "means.npy").unlink()
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
