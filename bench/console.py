"""What a run shows in the terminal: a live panel where there is one, plain lines elsewhere."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from bench.artifacts import Artifacts
from bench.config import to_plain
from bench.estimate import CostModel, duration
from bench.plan import Cell
from bench.runner import CellId, Listener
from bench.types import DataProblem, ResultRow


def plain_console() -> Console:
    """Return a console that prints texts as they are: a file name or an error may hold ``[brackets]``."""
    return Console(soft_wrap=True, markup=False, highlight=False)


class ConsoleListener(Listener):
    """Progress of a run: one bar, the cells in work with their step and losses, and every failure as it comes."""

    def __init__(self, console: Console, artifacts: Artifacts, todo: list[Cell], costs: CostModel, jobs: int) -> None:
        self.console, self.artifacts, self.costs, self.jobs = console, artifacts, costs, jobs
        self.left = {c.id: c for c in todo}
        self.total = len(self.left)
        self.running: dict[CellId, Cell] = {}
        self.started_at = time.monotonic()
        self._live = Live(get_renderable=self._panel, console=console, refresh_per_second=2, transient=True)

    def __enter__(self) -> ConsoleListener:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def started(self, cell: Cell) -> None:
        """Show the cell as in work."""
        self.running[cell.id] = cell

    def finished(self, cell: Cell, row: ResultRow) -> None:
        """Count the cell; print its outcome."""
        self.running.pop(cell.id, None)
        self.left.pop(cell.id, None)
        self.costs.add(row)
        at = f"[{self.total - len(self.left)}/{self.total}]"
        if row.status == "done":
            if cell.stage in ("fit", "classify"):
                self.console.print(f"{at} {cell.title}: {self._outcome(row)}")
        elif row.status == "failed":  # what is skipped because of it is counted at the end, not listed
            self.console.print(f"{at} {cell.title}: FAILED: {(row.error or '').splitlines()[0]}", style="red")

    def _outcome(self, row: ResultRow) -> str:
        return f"done in {duration(row.costs['elapsed_s'])}" + (f", {self._eta()} left" if self.left else "")

    def _eta(self) -> str:
        """Expected wall time left, from like cells of this run and of earlier ones in the store."""
        expected = self.costs.estimate(list(self.left.values()))
        sign = ">" if expected.unknown else "~"  # a stage that was never measured is still to come
        return f"{sign}{duration(expected.known_s / self.jobs)}"

    def _panel(self) -> Group:
        bar = Progress(TextColumn("{task.description}"), BarColumn(bar_width=40), TextColumn("{task.fields[note]}"))
        done = self.total - len(self.left)
        elapsed = duration(time.monotonic() - self.started_at)
        bar.add_task(
            "cells", total=self.total, completed=done, note=f"{done}/{self.total}, {elapsed}, {self._eta()} left"
        )
        return Group(bar, *(Text(f"  {cell.title}  {self._state(cell)}") for cell in list(self.running.values())))

    def _state(self, cell: Cell) -> str:
        state = self.artifacts.progress(*cell.id)
        return describe_progress(state) if state else "starting"


def describe_progress(state: dict[str, object]) -> str:
    """Return 'step 120/400, loss_G 1.23, loss_cycle_a 0.41' from a cell's progress file."""
    metrics = state.get("metrics")
    shown = list(metrics.items())[:3] if isinstance(metrics, dict) else []
    return ", ".join([f"step {state['step']}/{state['total']}", *(f"{k} {v:.3g}" for k, v in shown)])


def print_problems(console: Console, problems: Sequence[DataProblem], most: int = 10) -> None:
    """Print what is odd about files, a line each, and how many more there are."""
    for problem in problems[:most]:
        console.print(f"{problem.kind} {problem.path}: {problem.detail}", style="yellow")
    if len(problems) > most:
        console.print(f"… and {len(problems) - most} more images with problems", style="yellow")


def echo_json(value: Any) -> None:
    """Print a value, frozen dataclasses and paths in it too, as JSON."""
    print(json.dumps(to_plain(value), indent=1, sort_keys=True))
