"""The line that shows how far a large data set is read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from data_sets import picture

from bench.cli import reading_line
from bench.cli.reading_line import ReadingLine
from bench.data.reading_progress import counted, listening
from bench.data.records import read_files


def test_counted_reports_each_item_and_never_more_than_the_total() -> None:
    seen: list[tuple[str, int, int]] = []
    with listening(lambda *report: seen.append(report)):
        assert list(counted("reading", iter("abc"), 5, each=2)) == ["a", "b", "c"]
    assert seen == [("reading", 2, 5), ("reading", 4, 5), ("reading", 5, 5)]
    assert list(counted("reading", iter("ab"), 2)) == ["a", "b"]
    assert len(seen) == 3


def test_reading_files_reports_every_block(tmp_path: Path) -> None:
    paths = [f"{i}.png" for i in range(70)]
    for i, path in enumerate(paths):
        picture(i).save(tmp_path / path)
    seen: list[tuple[str, int, int]] = []
    with listening(lambda *report: seen.append(report)):
        read_files(tmp_path, paths, tmp_path / "cache")
    assert seen == [("reading images", 64, 70), ("reading images", 70, 70)]


def test_without_a_terminal_a_line_is_printed_every_ten_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(reading_line.time, "monotonic", lambda: now)
    line = ReadingLine()
    for done in range(0, 50_000, 1_000):  # one second each
        line("reading images", done, 50_000)
        now += 1.0
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [f"reading images: {n},000 of 50,000" for n in (10, 20, 30, 40)]


def test_the_bar_appears_on_a_terminal_after_two_seconds_and_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(reading_line.time, "monotonic", lambda: now)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    line = ReadingLine()
    line("reading images", 1, 9)
    assert line._bar is None
    now = 2.0
    line("reading images", 2, 9)
    assert line._bar is not None
    progress, task = line._bar
    now = 3.0
    line("reading images", 5, 9)
    assert progress.tasks[task].completed == 5
    assert progress.tasks[task].total == 9
    line("comparing similar images", 0, 3)
    assert line._bar is None
    assert progress.live.is_started is False
