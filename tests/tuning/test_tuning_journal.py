"""The journal of a study: damage of every kind heals, and no lock that a dead process left stops anything."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.study import Study

from bench.errors import StoreError
from bench.store import lines
from bench.tuning.journal import Journal

optuna.logging.set_verbosity(optuna.logging.ERROR)


def study(path: Path) -> Study:
    sampler = optuna.samplers.RandomSampler(seed=0)
    storage = JournalStorage(Journal(path))
    return optuna.create_study(study_name="s", storage=storage, sampler=sampler, load_if_exists=True)


def work(opened: Study, trials: int) -> Study:
    opened.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=trials)
    return opened


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """A study of three trials."""
    work(study(tmp_path / "journal.log"), 3)
    return tmp_path / "journal.log"


def numbers(opened: Study) -> list[int]:
    return [t.number for t in opened.get_trials() if t.state.name == "COMPLETE"]


@pytest.mark.parametrize("cut", [1, 7, 40])
def test_a_torn_last_line_is_cut_off_and_nothing_is_appended_to_it(journal: Path, cut: int) -> None:
    journal.write_bytes(journal.read_bytes()[:-cut])  # within the operation that told the value of trial 2
    assert numbers(study(journal)) == [0, 1]
    assert numbers(work(study(journal), 1)) == [0, 1, 3]
    assert numbers(study(journal)) == [0, 1, 3]
    assert not journal.with_name("journal.log.damaged").exists()


def test_a_line_torn_while_the_study_is_open_heals_with_the_next_operation(journal: Path) -> None:
    opened = study(journal)
    with journal.open("ab") as f:
        f.write(b'{"op_code":4,"worker')  # another worker, killed
    assert numbers(opened) == [0, 1, 2]
    assert numbers(work(opened, 1)) == [0, 1, 2, 3]
    assert numbers(study(journal)) == [0, 1, 2, 3]


def _at_trial_1(journal: Path) -> int:
    """Return the index of the line that began trial 1."""
    creates = [i for i, line in enumerate(journal.read_bytes().splitlines()) if b'"op_code":4' in line]
    return creates[1]


@pytest.mark.parametrize(
    "damage",
    [lambda b: b"\xff\xfe" + b, lambda b: b"null\n", lambda b: b"{}\n", lambda b: b[:9] + b"\n", lambda b: b"\n"],
)
def test_what_follows_a_damaged_line_is_moved_aside_and_said(
    journal: Path, damage: Callable[[bytes], bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    found, at = journal.read_bytes().splitlines(keepends=True), _at_trial_1(journal)
    found[at] = damage(found[at])
    journal.write_bytes(b"".join(found))
    opened = study(journal)
    assert numbers(opened) == [0]
    said = capsys.readouterr().err
    assert f"{journal}, line {at + 1}: cannot be read; it and the {len(found) - at - 1} lines after it" in said
    assert journal.with_name("journal.log.damaged").read_bytes() == b"".join(found[at:])
    assert numbers(work(opened, 2)) == [0, 1, 2]
    study(journal)
    assert capsys.readouterr().err == ""


def test_damage_under_an_open_study_names_file_line_and_remedy(journal: Path) -> None:
    opened = study(journal)
    with journal.open("ab") as f:
        f.write(b"\x00\x01\n")
    with pytest.raises(StoreError, match=r"journal\.log, line \d+: got .*; run the same command again"):
        opened.get_trials()


def test_an_append_that_fails_leaves_no_part_of_itself(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, before = study(journal), journal.read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            opened.ask()
    assert journal.read_bytes() == before
    assert numbers(work(opened, 1)) == [0, 1, 2, 3]


@pytest.mark.parametrize("target", ["nowhere", "journal.log"])
def test_a_lock_file_that_optuna_left_behind_is_no_lock(journal: Path, target: str) -> None:
    """A dangling one made Optuna's backend try again without a pause, for ever; another one cost 30 silent seconds."""
    journal.with_name("journal.log.lock").symlink_to(target)
    start = time.monotonic()
    assert numbers(work(study(journal), 1)) == [0, 1, 2, 3]
    assert time.monotonic() - start < 20


def test_a_process_that_dies_with_the_lock_gives_it_back(journal: Path) -> None:
    code = "import os, sys; from pathlib import Path; from bench.store.lines import locked\n"
    code += "with locked(Path(sys.argv[1])): os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code, journal], check=False).returncode == 9
    assert numbers(work(study(journal), 1)) == [0, 1, 2, 3]


def test_waiting_for_a_lock_is_said(
    journal: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, held = fcntl.flock, journal.open("ab")
    real(held, fcntl.LOCK_EX)
    said = []

    def flock(f: object, how: int) -> None:
        if how == fcntl.LOCK_EX:
            said.append(_wait_for(capsys, "locked by another process"))
            held.close()  # the other process goes on
        real(f, how)

    monkeypatch.setattr(lines, "TELL_S", 0.05)
    monkeypatch.setattr(fcntl, "flock", flock)
    study(journal)
    assert f"waiting for {journal}" in said[0]


def _wait_for(capsys: pytest.CaptureFixture[str], text: str) -> str:
    said = ""
    for _ in range(1000):
        said += capsys.readouterr().err
        if text in said:
            break
        time.sleep(0.01)
    return said
