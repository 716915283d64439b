"""Claims of cells: one holder at a time, taken over after its death, and a late holder changes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from bench.errors import ConfigError
from bench.store import claims, heartbeat
from bench.store.cell_folders import Artifacts
from bench.store.claims import Claims
from bench.store.clock import Stamp
from bench.store.heartbeat import Heartbeat, Holder, Watch, lease_seconds, living, seems_alive
from bench.store.live import live_cells, live_runs
from bench.store.unfinished_cells import CellBusy, ClaimLost

CELL = ("fit", "k")
DONE = {"metrics": {}, "costs": {}, "facts": {}, "finished_at": "2020-01-01T00:00:00+00:00"}


def on(host: str, lease_s: float = 60.0) -> Holder:
    """Return a holder on another machine; its process cannot be seen from here."""
    return Holder(os.urandom(4).hex(), host, host, 7, "1", lease_s, Stamp.now())


class Clock:
    """A monotonic clock that a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        monkeypatch.setattr(heartbeat.time, "monotonic", lambda: self.now_s)


def test_a_claim_has_one_holder_and_is_free_again_after_its_release(tmp_path: Path) -> None:
    seen, path, a, b = Claims(tmp_path), tmp_path / "cell.claim", Holder.here(), Holder.here()
    assert seen.take(path, a) == []
    assert seen.take(path, b) is None
    seen.release(path, b)
    assert [h.id for h in seen.holders(path)] == [a.id], "only the holder can release it"
    seen.release(path, a)
    assert not list(tmp_path.iterdir())
    assert seen.take(path, b) == []


def test_of_many_threads_that_take_a_claim_one_gets_it(tmp_path: Path) -> None:
    path, got = tmp_path / "cell.claim", []
    holders = [Holder.here() for _ in range(16)]
    start = threading.Barrier(len(holders))

    def take(holder: Holder) -> None:
        start.wait()
        if Claims(tmp_path).take(path, holder) is not None:
            got.append(holder.id)

    threads = [threading.Thread(target=take, args=(h,)) for h in holders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [h.id for h in Claims(tmp_path).holders(path)]
    assert len(got) == 1


def test_a_silent_holder_on_another_machine_is_dead_after_its_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, watch, holder = Clock(monkeypatch), Watch(tmp_path), on("far", lease_s=60)
    sender = Heartbeat(tmp_path, holder, {})
    (tmp_path / "live").mkdir()
    for _ in range(5):
        sender._write()
        assert not watch.is_dead(holder)
        clock.now_s += 59
        assert not watch.is_dead(holder), "its counter changes"
    assert not watch.is_dead(holder)
    clock.now_s += 2
    assert watch.is_dead(holder)
    sender._write()  # it was only suspended
    assert not watch.is_dead(holder)


def test_the_clocks_of_machines_are_not_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, watch, holder = Clock(monkeypatch), Watch(tmp_path), on("far")
    now = time.time()
    (tmp_path / "live").mkdir()
    for wrong_s in (-600, 600):
        monkeypatch.setattr(heartbeat.time, "time", lambda: now + wrong_s)  # noqa: B023
        Heartbeat(tmp_path, holder, {})._write()
        assert not watch.is_dead(holder)
        assert seems_alive(tmp_path, holder)
    clock.now_s += 61
    assert watch.is_dead(holder)


def test_an_ended_process_of_this_machine_is_dead_at_once(tmp_path: Path) -> None:
    code = "import sys; from bench.store.heartbeat import Holder; import json; print(json.dumps(Holder.here().plain()))"
    text = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    holder = Holder.of(json.loads(text))
    assert Watch(tmp_path).is_dead(holder)
    assert not Watch(tmp_path).is_dead(Holder.here())
    reused = Holder.here().plain() | {"process_start": "1"}
    assert Watch(tmp_path).is_dead(Holder.of(reused)), "another process has its number now"


def test_a_dead_holder_is_replaced_by_exactly_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, path, dead = Clock(monkeypatch), tmp_path / "cell.claim", on("far")
    assert Claims(tmp_path).take(path, dead) == []
    observers = [Claims(tmp_path) for _ in range(3)]
    mine = [Holder.here() for _ in observers]
    assert [o.take(path, h) for o, h in zip(observers, mine, strict=True)] == [None] * 3
    clock.now_s += 61
    taken = [o.take(path, h) for o, h in zip(observers, mine, strict=True)]
    assert [None if t is None else [h.id for h in t] for t in taken] == [[dead.id], None, None]
    Claims(tmp_path).release(path, dead)
    assert observers[0].holders(path)[-1].id == mine[0].id, "the dead one cannot release it any more"
    observers[0].release(path, mine[0])
    assert not list(tmp_path.glob("cell.claim*"))


@pytest.mark.parametrize("content", ["", "{", "null", '{"id": 3}'])
def test_a_damaged_claim_is_taken_over_after_a_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    clock, path, seen = Clock(monkeypatch), tmp_path / "cell.claim", Claims(tmp_path)
    path.write_text(content)
    assert seen.take(path, Holder.here()) is None
    clock.now_s += heartbeat.LEASE_S + 1
    mine = Holder.here()
    assert seen.take(path, mine) is not None
    seen.release(path, mine)
    assert not list(tmp_path.glob("cell.claim*"))


def test_a_link_whose_answer_was_lost_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network file system may repeat a request that succeeded, and report that the name exists."""
    real = os.link

    def link(source: Path, target: Path) -> None:
        real(source, target)
        raise FileExistsError

    monkeypatch.setattr(claims.os, "link", link)
    assert Claims(tmp_path).take(tmp_path / "cell.claim", Holder.here()) == []


def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(source: Path, target: Path) -> None:
        raise PermissionError("no hard links")

    monkeypatch.setattr(claims.os, "link", link)
    path, a = tmp_path / "cell.claim", Holder.here()
    assert Claims(tmp_path).take(path, a) == []
    assert Claims(tmp_path).take(path, Holder.here()) is None
    assert [h.id for h in Claims(tmp_path).holders(path)] == [a.id]


def test_a_cell_is_worked_on_by_one_and_its_state_is_handed_on(tmp_path: Path) -> None:
    first, second = Artifacts(tmp_path), Artifacts(tmp_path)
    with first.work(*CELL) as folder:
        (folder / "checkpoint.pt").write_text("half")
        assert second.is_claimed(*CELL)
        assert not second.free(*CELL)
        assert second.partial(*CELL) == folder
        with pytest.raises(CellBusy, match=f"is run by process {os.getpid()} on "), second.work(*CELL, wait=False):
            pass
        assert [c.key for c in live_cells(tmp_path)] == ["fit/k"]
        assert live_runs(tmp_path) == []
    assert second.free(*CELL)
    assert not second.is_claimed(*CELL)
    with second.work(*CELL) as folder:
        assert (folder / "checkpoint.pt").read_text() == "half"
        second.commit(*CELL, DONE)
    assert sorted(p.name for p in (tmp_path / "cells" / "fit").iterdir()) == ["k", "k.checked.json"]
    assert not list((tmp_path / "live").iterdir())


def test_a_late_holder_neither_commits_nor_mixes_its_files_with_those_of_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late, new, clock = Artifacts(tmp_path), Artifacts(tmp_path), Clock(monkeypatch)
    monkeypatch.setattr(heartbeat, "PER_LEASE", 1e-6)  # the late one is suspended: no heartbeat after the first
    with late.work(*CELL) as of_late:
        monkeypatch.setenv("BENCH_HOST", "another machine")  # from here on, its process cannot be seen
        (of_late / "history.csv").write_text("of the late one")
        with pytest.raises(CellBusy), new.work(*CELL, wait=False):
            pass
        clock.now_s += 61
        with new.work(*CELL, wait=False) as of_new:
            assert (of_new / "history.csv").read_text() == "of the late one", "it continues the attempt"
            with pytest.raises(FileNotFoundError):
                (of_late / "more.csv").write_text("late")
            with pytest.raises(ClaimLost, match="taken over"):
                late.commit(*CELL, DONE)
            of_late.mkdir()  # what code of a cell may do
            with pytest.raises(ClaimLost, match="taken over"):
                late.commit(*CELL, DONE)
            (of_new / "history.csv").write_text("of the new one")
            new.commit(*CELL, DONE)
        with pytest.raises(ClaimLost):
            late.commit(*CELL, DONE)
    assert Artifacts(tmp_path).is_done(*CELL)
    assert (Artifacts(tmp_path).folder(*CELL) / "history.csv").read_text() == "of the new one"


def test_a_dead_holder_s_claim_is_removed_and_its_checkpoint_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import os, sys; from pathlib import Path; from bench.store.cell_folders import Artifacts\n"
        "with Artifacts(Path(sys.argv[1])).work('fit', 'k') as folder:\n"
        "    (folder / 'checkpoint.pt').write_text('half'); os._exit(9)"
    )
    env = {**os.environ, "BENCH_HOST": "far", "BENCH_LEASE_S": "30"}
    assert subprocess.run([sys.executable, "-c", code, tmp_path], check=False, env=env).returncode == 9
    clock, artifacts = Clock(monkeypatch), Artifacts(tmp_path)
    assert [artifacts.free(*CELL), artifacts.is_claimed(*CELL)] == [False, True]
    assert artifacts.holder(*CELL).endswith(" on far")
    clock.now_s += 31
    assert artifacts.free(*CELL)
    assert (tmp_path / "cells" / "fit" / "k.partial" / "checkpoint.pt").read_text() == "half"
    assert Counter(p.suffix for p in (tmp_path / "cells" / "fit").iterdir()) == {".partial": 1}


def test_heartbeats_of_ended_processes_are_deleted(tmp_path: Path) -> None:
    ended = Holder.here().plain() | {"process_start": "1", "id": "ended"}
    (tmp_path / "live").mkdir()
    for content in ({"holder": ended, "count": 1}, {"holder": on("far").plain(), "count": 1}, {}, 3):
        (tmp_path / "live" / f"{len(str(content))}.json").write_text(json.dumps(content))
    with Heartbeat(tmp_path, mine := Holder.here(), {"cell": "fit/k"}):
        assert [(holder.id, facts["cell"]) for holder, facts in living(tmp_path)] == [(mine.id, "fit/k")]
    assert len(list((tmp_path / "live").glob("*.json"))) == 3


@pytest.mark.parametrize("text", ["0", "-1", "nan", "soon", "inf"])
def test_a_wrong_lease_is_an_error(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("BENCH_LEASE_S", text)
    with pytest.raises(ConfigError, match=f"BENCH_LEASE_S: got '{text}', expected a number of seconds above 0"):
        lease_seconds()
