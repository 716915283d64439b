"""`bench leaderboard merge`: stores of several machines become one, whole; or are refused, and nothing is written."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from made_stores import AT, finish, made_score
from toy import register, write_squares, write_suite

import bench.merge.merge as merging
from bench.analysis.report import collect
from bench.analysis.rows import Rows
from bench.cli.main import main
from bench.engine.executors.local import InProcess
from bench.engine.plan_rows import rows_of
from bench.engine.scheduler import Runner
from bench.engine.session import Session, prepare
from bench.errors import ConfigError, StoreError
from bench.merge.merge import merge
from bench.plan.plan import Cell
from bench.plan.selection import select
from bench.report.export import as_json, tidy_csv
from bench.report.run_facts import report_info
from bench.store.cell_folders import Artifacts
from bench.store.results import Store
from bench.store.run_records import RunRecord, keep_run, read_runs

LATER = "2026-01-02T00:00:00+00:00"
Make = Callable[..., Session]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Return a function that opens the toy suite on one of several output folders."""
    register(monkeypatch)
    data = write_squares(tmp_path / "data")

    def session(out: str, **changes: Any) -> Session:
        suite = write_suite(tmp_path / "s.yaml", ratios=[1.0], methods={"none": {}, "toy": {}}, **changes)
        return prepare(str(suite), (), data, tmp_path / out)

    return session


def half(session: Session, fold: int) -> list[Cell]:
    return select(session.plan.work, [f"fold={fold}"])


def halves(make: Make, **second: Any) -> tuple[Path, Path]:
    """Return two stores with a fold each."""
    a, b = make("a"), make("b")
    return finish(a, half(a, 0)), finish(b, half(b, 1), **{"host": "machine 2", "commit": "def5678", **second})


def content(out: Path) -> dict[str, bytes]:
    """Return every file of a store that is not a lock or a note of when files were verified."""
    files = (p for p in out.rglob("*") if p.is_file() and p.suffix != ".lock")
    kept = (p for p in files if "cache" not in p.parts and not p.name.endswith(".checked.json"))
    return {str(p.relative_to(out)): p.read_bytes() for p in kept}


def reported(session: Session) -> tuple[str, str]:
    """Return a store's leaderboard.json and leaderboard.csv, without their figures."""
    rows = rows_of(session.plan, session.env)
    info = replace(report_info(session, rows), command="")  # it names the output folder
    records = collect(Rows(rows), info, session.env.out)
    return json.dumps(as_json(records, info)), tidy_csv(records)


def scored(session: Session) -> dict[str, Any]:
    return {r.key: (r.status, repr(sorted(r.metrics.items()))) for r in rows_of(session.plan, session.env)}


def evaluated(session: Session) -> Cell:
    return next(c for c in session.plan.work if c.stage == "evaluate")


def test_two_halves_of_a_real_run_report_the_numbers_of_the_unbroken_run_and_leave_nothing_to_do(
    make: Make, tmp_path: Path
) -> None:
    numbers, left = {}, {}
    for out, only in (("a", ["fold=0"]), ("b", ["fold=1"]), ("whole", [])):
        session = make(out)
        cells = select(session.plan.cells, [*only, "method=none"])
        runner = Runner(cells, session.env)
        runner.reuse()
        runner.run(lambda: InProcess(1))
    merge([tmp_path / "a", tmp_path / "b"], tmp_path / "merged")
    for out in ("whole", "merged"):
        session = make(out)
        again = Runner(select(session.plan.cells, ["method=none"]), session.env)
        left[out] = again.reuse()
        report = json.loads(reported(session)[0])
        line = next(x for x in report["lines"] if x["method"] == "none")
        assert line["pairs"] == 2
        numbers[out] = [line["scores"], line["values"], report["failures"]]
    assert left == {"whole": 0, "merged": 0}
    assert numbers["merged"] == numbers["whole"]


def test_the_merged_report_is_that_of_the_unbroken_run_byte_for_byte(make: Make, tmp_path: Path) -> None:
    a, b = halves(make, host="machine 1", commit="abc1234")
    finish(make("whole"))
    merge([a, b], tmp_path / "merged")
    whole, merged = (reported(make(out)) for out in ("whole", "merged"))
    assert whole == merged
    assert json.loads(merged[0])["lines"][0]["pairs"] == 2
    runner = Runner(make("merged").plan.cells, make("merged").env)
    assert runner.reuse() == 0


def test_the_merged_store_names_every_machine_and_commit(make: Make, tmp_path: Path) -> None:
    merge(halves(make), tmp_path / "merged")
    session = make("merged")
    info = report_info(session, rows_of(session.plan, session.env))
    assert (info.host, info.git_commit) == ("machine 1; machine 2", "abc1234, def5678")


def test_a_merged_store_is_merged_again_and_what_it_has_stays(make: Make, tmp_path: Path) -> None:
    a, b = halves(make)
    merge([a], tmp_path / "one")
    before = content(tmp_path / "one")
    found = merge([b], tmp_path / "one")
    assert [t.path.name for t in found.taken] == ["one", "b"]
    after = content(tmp_path / "one")
    assert {k: v for k, v in after.items() if k in before and k != "results.jsonl"} == {
        k: v for k, v in before.items() if k != "results.jsonl"
    }
    merge([a, b, tmp_path / "one"], tmp_path / "two")
    assert scored(make("one")) == scored(make("two")) == scored_whole(make)
    again = merge([a, b], tmp_path / "two")
    assert [(t.rows, t.cells) for t in again.taken[1:]] == [(0, 0), (0, 0)]
    assert content(tmp_path / "two")["results.jsonl"].count(b"\n") == len(make("two").plan.work)


def scored_whole(make: Make) -> dict[str, Any]:
    finish(make("unbroken"))
    return scored(make("unbroken"))


def test_equal_results_are_one_row_and_counted(make: Make, tmp_path: Path) -> None:
    a, b = finish(make("a")), finish(make("b"), host="machine 2", at=LATER)
    found = merge([a, b], tmp_path / "merged")
    cells = len(make("a").plan.work)
    assert [(t.rows, t.duplicates, t.conflicts, t.cells) for t in found.taken] == [
        (cells, 0, 0, cells),
        (0, cells, 0, 0),
    ]
    rows = Store(tmp_path / "merged").rows()
    assert {r.facts["host"] for r in rows.values()} == {"machine 1"}
    assert len(rows) == cells


def test_different_results_are_refused_and_nothing_is_written(make: Make, tmp_path: Path) -> None:
    a, b = conflicting(make)
    cell = evaluated(make("a"))
    with pytest.raises(StoreError) as e:
        merge([a, b], tmp_path / "merged")
    assert f"{cell.row_key} (none 0 small_cnn fold 0): test/balanced_accuracy 0.25 in {a}, 0.75 in {b}" in str(e.value)
    assert "1 cell has different results" in str(e.value)
    assert not (tmp_path / "merged").exists()


@pytest.mark.parametrize(("policy", "score"), [("first", 0.25), ("last", 0.75), ("newest", 0.25)])
def test_an_option_keeps_one_of_different_results(make: Make, tmp_path: Path, policy: Any, score: float) -> None:
    a, b = conflicting(make)
    found = merge([a, b], tmp_path / "merged", policy)
    cell = evaluated(make("a"))
    assert Store(tmp_path / "merged").rows()[cell.row_key].metrics["test/balanced_accuracy"] == score
    done = Artifacts(tmp_path / "merged").result(*cell.id)
    assert done["metrics"]["test/balanced_accuracy"] == score
    assert sum(t.conflicts for t in found.taken) == 1
    other = merge([b], tmp_path / "merged", "last")  # what is finished is never overwritten
    assert Artifacts(tmp_path / "merged").result(*cell.id) == done
    assert other.taken[1].conflicts == (0 if score == 0.75 else 1)


def conflicting(make: Make) -> tuple[Path, Path]:
    """Return two stores that differ in one score; the first was finished later."""

    def injected(value: float) -> Callable[[Cell], dict[str, float]]:
        return lambda c: {**made_score(c), **({"test/balanced_accuracy": value} if c.id == evaluated(a).id else {})}

    a, b = make("a"), make("b")
    return finish(a, metrics=injected(0.25), at=LATER), finish(b, metrics=injected(0.75), at=AT)


def test_a_failure_loses_against_a_result_and_the_latest_failure_stays(make: Make, tmp_path: Path) -> None:
    a, b = make("a"), make("b")
    cell, other = [c for c in a.plan.work if c.stage == "evaluate"][:2]
    finish(b, [cell])
    for session, error, at in ((a, "old", AT), (b, "new", LATER)):
        finish(session, [a.plan.work[0]])
        blank = next(r for r in rows_of(session.plan, session.env) if r.key == other.row_key)
        Store(session.env.out).append([replace(blank, status="failed", error=error, finished_at=at)])
    Store(a.env.out).append([replace(Store(b.env.out).rows()[cell.row_key], status="failed", error="died", folder="")])
    found = merge([a.env.out, b.env.out], tmp_path / "merged")
    rows = Store(tmp_path / "merged").rows()
    assert (rows[cell.row_key].status, rows[other.row_key].error) == ("done", "new")
    assert found.taken[0].outdone == 2
    merge([a.env.out], tmp_path / "merged")
    assert Store(tmp_path / "merged").rows() == rows


def test_another_schema_is_refused_by_file_and_line_before_anything_is_written(make: Make, tmp_path: Path) -> None:
    a, b = halves(make)
    lines = (b / "results.jsonl").read_text().splitlines()
    lines[2] = lines[2].replace('"schema": 1', '"schema": 7')
    (b / "results.jsonl").write_text("\n".join(lines) + "\n")
    found = bench("leaderboard", "merge", a, b, "--out", tmp_path / "merged")
    said = " ".join(found.stderr.split())
    assert found.exit_code == 2
    assert f"{b / 'results.jsonl'}, line 3: got schema 7, expected 1" in said
    assert "use that version" in said
    assert not (tmp_path / "merged").exists()


def test_torn_lines_torn_cells_and_cells_in_work_are_left_behind(make: Make, tmp_path: Path) -> None:
    a, b = halves(make)
    whole = (b / "results.jsonl").read_bytes()
    (b / "results.jsonl").write_bytes(whole[:-40])  # killed while writing: the last cell's folder holds its result
    torn = Artifacts(b).folder(*half(make("b"), 1)[0].id)
    (torn / "done.json").write_text('{"metrics": {}')
    working = Artifacts(b).partial("fit", "abc")
    working.mkdir()
    (working / "done.json").write_text("{}")
    found = merge([a, b], tmp_path / "merged")
    assert found.taken[1].torn == 1
    done = Artifacts(tmp_path / "merged")
    assert not done.folder("split", torn.name).exists()
    assert not done.folder("fit", "abc.partial").exists()
    last = half(make("b"), 1)[-1]
    assert last.row_key not in Store(tmp_path / "merged").rows()
    assert done.is_done(*last.id)
    session = make("merged")
    assert scored(session)[last.row_key][0] == "done"
    runner = Runner(session.plan.cells, session.env)
    assert runner.reuse() == 1  # the torn one alone is done again


def test_a_row_comes_from_elsewhere_where_its_own_store_lost_it(make: Make, tmp_path: Path) -> None:
    a, b = make("a"), make("b")
    cell = evaluated(a)
    finish(a, rows=False)
    blank = next(r for r in rows_of(b.plan, b.env) if r.key == cell.row_key)
    failed = replace(blank, status="failed", error="died")
    Store(b.env.out).append([failed])
    merge([a.env.out, b.env.out], tmp_path / "merged")
    (row,) = Store(tmp_path / "merged").rows().values()
    assert (row.status, row.error, row.method, row.fold) == ("done", None, "none", 0)
    assert row.metrics["test/balanced_accuracy"] == made_score(cell)["test/balanced_accuracy"]


def test_an_interrupted_merge_is_continued_by_the_same_command(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = halves(make)
    merge([a, b], tmp_path / "unbroken")
    copy, calls = merging._copy, []

    def ctrl_c(source: Path, target: Path) -> tuple[int, int]:
        calls.append(source)
        found = copy(source, target)
        if len(calls) == 5:
            raise KeyboardInterrupt  # the folder lies there whole, but not at its address yet
        return found

    monkeypatch.setattr(merging, "_copy", ctrl_c)
    stopped = bench("leaderboard", "merge", a, b, "--out", tmp_path / "merged")
    assert stopped.exit_code == 130
    assert "run the same command to continue" in stopped.stderr
    assert sum(1 for k in content(tmp_path / "merged") if k.startswith("cells/") and k.endswith("done.json")) == 4
    monkeypatch.undo()
    assert not (tmp_path / "merged" / "results.jsonl").exists()
    assert merge([a, b], tmp_path / "merged").taken[0].path == tmp_path / "merged"
    whole, continued = (content(tmp_path / name) for name in ("unbroken", "merged"))
    assert continued.keys() == whole.keys()
    assert all(continued[k] == whole[k] for k in whole if k != "results.jsonl")
    assert sorted(continued["results.jsonl"].splitlines()) == sorted(whole["results.jsonl"].splitlines())


def test_a_source_may_be_in_use_the_merged_store_may_not(make: Make, tmp_path: Path) -> None:
    a, b = halves(make)
    key = half(make("b"), 1)[-1].id
    finish(make("merged"), half(make("a"), 0)[:1])
    with Artifacts(b).work("classify", "in-work"):
        merge([a, b], tmp_path / "first")
    with Artifacts(tmp_path / "merged").work(*key), pytest.raises(StoreError, match="is in use"):
        merge([a, b], tmp_path / "merged")
    merge([a, b], tmp_path / "merged")


def test_a_finished_cell_is_never_replaced_and_an_attempt_gives_way_to_a_finished_one(tmp_path: Path) -> None:
    artifacts, finished = Artifacts(tmp_path / "merged"), []
    for name in ("first", "second"):
        other = Artifacts(tmp_path / name)
        with other.work("fit", "k"):
            done = {"metrics": {}, "costs": {}, "facts": {}, "finished_at": name}
            finished.append(other.commit("fit", "k", done))
    with artifacts.work("fit", "k") as partial:
        (partial / "checkpoint.pt").write_text("half-way")
    artifacts.fail("fit", "k", "died")
    assert artifacts.adopt("fit", "k", finished[0])
    assert not artifacts.adopt("fit", "k", finished[1])
    assert artifacts.result("fit", "k")["finished_at"] == "first"
    assert {p.name for p in artifacts.folder("fit", "k").parent.iterdir()} == {"k", "k.checked.json"}


def test_files_are_linked_and_where_they_cannot_be_copied(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = halves(make)
    name = f"cells/fit/{next(c.key for c in half(make('a'), 0) if c.stage == 'fit')}/sub/network.bin"
    found = merge([a, b], tmp_path / "linked")
    assert (tmp_path / "linked" / name).stat().st_ino == (a / name).stat().st_ino
    assert all(t.linked_bytes > 0 and t.copied_bytes == 0 for t in found.taken)

    def other_disk(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", other_disk)
    copied = merge([a, b], tmp_path / "copied")
    assert [t.copied_bytes for t in copied.taken] == [t.linked_bytes for t in found.taken]
    assert content(tmp_path / "copied") == content(tmp_path / "linked")
    shutil.rmtree(a)
    assert scored(make("linked")) == scored(make("copied"))


def test_run_records_studies_profiles_and_configs_come_along(make: Make, tmp_path: Path) -> None:
    a, b = halves(make)
    record = RunRecord("s", AT, "machine 1", 1, 1, 7, 0, 9.0, 8.0, 7.0, 6.0, 5.0)
    keep_run(a, record)
    keep_run(a, replace(record, closing_s=1.0))
    keep_run(b, replace(record, host="machine 2"))  # two machines may start in the same second
    for source, journal, profile in ((a, "one\n", "p1"), (b, "other\n", "p2")):
        files = {
            "tuning/s-toy/journal.log": journal,
            "tuning/s-toy/tuning_cost.json": journal,
            "profile/s-cpu.json": profile,
        }
        for name, text in {**files, "reports/s/suite.yaml": "seed: 0\n"}.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_text(text)
    found = merge([a, b], tmp_path / "merged")
    out = tmp_path / "merged"
    assert read_runs(out, "s") == [replace(record, closing_s=1.0), replace(record, host="machine 2")]
    assert (out / "tuning" / "s-toy@2" / "tuning_cost.json").read_text() == "other\n"  # what it cost is owed as well
    assert (out / "profile" / "s-cpu.json").read_text() == "p1"
    assert len(found.notes) == 2
    with (a / "tuning/s-toy/journal.log").open("a") as f:
        f.write("two\n")  # the study went on
    before = content(out)
    merge([a, b], out)
    after = content(out)
    assert {k for k in after if after[k] != before.get(k)} == {"tuning/s-toy/journal.log"}
    assert after["tuning/s-toy/journal.log"] == b"one\ntwo\n"
    assert after.keys() == before.keys()


def test_what_cannot_be_merged_is_said_clearly(make: Make, tmp_path: Path) -> None:
    a, b = halves(make)
    (tmp_path / "empty").mkdir()
    for sources, message in (
        ([a, tmp_path / "empty"], "not a store"),
        ([a, a], "given twice"),
        ([a, b], "one of the sources"),
    ):
        with pytest.raises((StoreError, ConfigError), match=message):
            merge(sources, b if message.startswith("one of") else tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_the_command_shows_what_came_from_where(make: Make, tmp_path: Path) -> None:
    a, b = conflicting(make)
    refused = bench("leaderboard", "merge", a, b, "--out", tmp_path / "merged")
    assert refused.exit_code == 2
    assert "--on-duplicate" in refused.stderr
    found = bench("leaderboard", "merge", a, b, "--out", tmp_path / "merged", "--on-duplicate", "newest")
    assert found.exit_code == 0, found.output
    said = " ".join(found.output.split())
    assert "duplicates conflicts cells size" in said
    assert f"bench report --suite s --out {tmp_path / 'merged'}" in said


def bench(*args: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in args])
