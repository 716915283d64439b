"""Terminal output of a run: a live panel in a terminal, plain lines in a pipe or a file."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from bench.config import to_plain
from bench.cost.keys import CostKey
from bench.data.left_out import data_lines
from bench.engine.progress import WallLeft, Work, wall_left, work_of
from bench.engine.ready import CellId
from bench.engine.scheduler import Listener
from bench.forecast.cost_model import CostModel, duration
from bench.plan.plan import Cell
from bench.store.cell_folders import Artifacts
from bench.types import DatasetIndex, ResultRow

PROBLEM_STYLES = ("yellow", "red")


class Detail(Enum):
    """How much a run prints: problems only, also trainings, or every cell."""

    PROBLEMS = 0
    NORMAL = 1
    ALL = 2


class PlainConsole(Console):
    """A console without markup: a file name or an error may contain ``[brackets]``."""

    def __init__(self, detail: Detail) -> None:
        super().__init__(soft_wrap=True, markup=False, highlight=False)
        self.detail = detail

    def print(self, *objects: Any, **options: Any) -> None:
        """Print; with ``Detail.PROBLEMS`` only what is styled as a warning or an error."""
        if self.detail is not Detail.PROBLEMS or options.get("style") in PROBLEM_STYLES:
            super().print(*objects, **options)


def plain_console(detail: Detail = Detail.NORMAL) -> PlainConsole:
    """Return a console for a command's output."""
    return PlainConsole(detail)


class ConsoleListener(Listener):
    """Progress of a run: a bar, the running cells with their step and losses, and every failure when it happens."""

    def __init__(
        self, console: PlainConsole, artifacts: Artifacts, todo: list[Cell], costs: CostModel, jobs: int
    ) -> None:
        self.console, self.artifacts, self.costs, self.jobs = console, artifacts, costs, jobs
        self.left = {c.id: c for c in todo}
        self.total = len(self.left)
        self.running: dict[CellId, Cell] = {}
        self.started_at = time.monotonic()
        self._wall_left = WallLeft(0.0, 0)
        self._asked_at = self._ask_again_at = 0.0
        self._live = Live(get_renderable=self._panel, console=console, refresh_per_second=2, transient=True)

    def __enter__(self) -> ConsoleListener:
        if self._shows_panel:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        if self._shows_panel:
            self._live.stop()

    @property
    def _shows_panel(self) -> bool:
        return self.console.is_terminal and self.console.detail is not Detail.PROBLEMS

    def started(self, cell: Cell) -> None:
        """Show the cell as running."""
        self.running[cell.id] = cell

    def taken_elsewhere(self, cell: Cell) -> None:
        """Do not show the cell as running here."""
        self.running.pop(cell.id, None)

    def ended_elsewhere(self, cell: Cell, row: ResultRow) -> None:
        """Count the cell; print its outcome."""
        self.finished(cell, row)

    def finished(self, cell: Cell, row: ResultRow) -> None:
        """Count the cell; print its outcome."""
        self.running.pop(cell.id, None)
        self.left.pop(cell.id, None)
        self.costs.add(row)
        at = f"[{self.total - len(self.left)}/{self.total}]"
        if row.status == "done":
            if cell.stage in ("fit", "classify") or self.console.detail is Detail.ALL:
                self.console.print(f"{at} {cell.title}: {self._outcome(row)}")
        elif row.status == "failed":  # cells skipped because of it are counted at the end, not listed
            self.console.print(f"{at} {cell.title}: FAILED: {(row.error or '').splitlines()[0]}", style="red")

    def _outcome(self, row: ResultRow) -> str:
        left = f", {self._eta(self._works())} left" if self.left else ""
        return f"done in {duration(row.costs[CostKey.ELAPSED_S])}{left}"

    def _works(self) -> list[Work]:
        return [work_of(cell, self.artifacts, self.costs) for cell in list(self.running.values())]

    def _eta(self, works: Sequence[Work]) -> WallLeft:
        """Expected wall time left; recomputed so rarely that it takes at most 5 % of the time."""
        now = time.monotonic()
        if now >= self._ask_again_at:
            self._wall_left = wall_left(list(self.left.values()), works, self.costs, self.jobs)
            took_s = time.monotonic() - now
            self._asked_at, self._ask_again_at = now, now + 20 * took_s
        return replace(self._wall_left, seconds=max(0.0, self._wall_left.seconds - (now - self._asked_at)))

    def _panel(self) -> Group:
        bar = Progress(TextColumn("{task.description}"), BarColumn(bar_width=40), TextColumn("{task.fields[note]}"))
        works = self._works()
        done = self.total - len(self.left)
        elapsed = duration(time.monotonic() - self.started_at)
        note = f"{done}/{self.total}, {elapsed}, {self._eta(works)} left"
        bar.add_task("cells", total=self.total, completed=done, note=note)
        return Group(bar, works_table(works))


def works_table(works: Sequence[Work]) -> Group:
    """Return one line per running cell: step, elapsed, left, peak memory, other machine, and losses if they fit."""
    table = [(f"  {work.cell.title}", *work.columns()) for work in works]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for name, *facts, losses in table:
        cells = [name.ljust(widths[0]), *(fact.rjust(width) for fact, width in zip(facts, widths[1:-1], strict=True))]
        lines.append(Text("  ".join([*cells, losses]).rstrip(), no_wrap=True, overflow="ellipsis"))
    return Group(*lines)


def print_data(console: Console, index: DatasetIndex) -> None:
    """Print how pixel values are rescaled, if they are, and which files of the folder are unused or have problems."""
    for line in data_lines(index):
        console.print(line, style="yellow")


def echo_json(value: Any) -> None:
    """Print a value as JSON; it may contain frozen dataclasses and paths."""
    print(json.dumps(to_plain(value), indent=1, sort_keys=True))
