"""What can be chosen on the page: the runs in an output folder, and of each the cells that are done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bench.artifacts import Artifacts
from bench.errors import BenchError
from bench.interfaces import Translator
from bench.plan import Cell, unique
from bench.ratios import ratio_label
from bench.session import Session, prepare
from bench.stages.segment import NONE
from bench.suite import shipped_suites
from bench.web.server import RequestError


@dataclass(frozen=True)
class Run:
    """A suite with what is done of it in its output folder. The folder is asked anew each time: a run may go on."""

    session: Session

    def cells(self, stage: str) -> list[Cell]:
        """Return the finished cells of a stage, each piece of work once, in the plan's order."""
        artifacts = Artifacts(self.session.env.out)
        of_stage = [c for c in self.session.plan.cells if c.stage == stage]
        return [c for c in unique(of_stage) if artifacts.is_done(*c.id)]

    def cell(self, stage: str, key: str) -> Cell:
        """Return the finished cell of that key. Raises ``RequestError`` when there is none."""
        found = next((c for c in self.cells(stage) if c.key == key), None)
        if found is None:
            raise RequestError(404, f"this run has no finished {stage} cell {key[:40]!r}; load the page again")
        return found

    def segmenter(self, classify: Cell) -> Cell | None:
        """Return the finished cell of a segmentation network of that cell's fold; None where none was trained.

        Best of its own arm, then of any (stage `segmenter`); else the one that judges translations (`segment`).
        """
        at, own = (classify.fold, classify.repeat), (classify.method, classify.ratio)
        of_fold = [c for c in self.cells("segmenter") if (c.fold, c.repeat) == at]
        found = next((c for c in of_fold if (c.method, c.ratio) == own), next(iter(of_fold), None))
        if found is not None:
            return found
        artifacts = Artifacts(self.session.env.out)
        judges = [c for c in self.cells("segment") if (c.fold, c.repeat) == at]
        return next((c for c in judges if artifacts.result(*c.id)["facts"].get("masks", NONE) != NONE), None)

    def described(self) -> dict[str, Any]:
        """Return what the page offers of this run, ready for JSON."""
        session = self.session
        return {
            "suite": session.suite.name,
            "classes": list(session.plan.index.classes),
            "image_size_px": session.suite.settings.image_size_px,
            "classifiers": [
                {"key": c.key, "classifier": c.classifier, "arm": arm(c), "fold": fold_name(c)}
                for c in self.cells("classify")
            ],
            "generators": [
                {"key": c.key, "method": c.method, "fold": fold_name(c), "translates": self._translates(c)}
                for c in self.cells("fit")
            ],
        }

    def _translates(self, cell: Cell) -> bool:
        return isinstance(self.session.suite.method(str(cell.method)).create(), Translator)


class Runs:
    """The run that was asked for, and others with a report in the same folder whose suites are known by name.

    These are made ready when they are first chosen, on the same ``device``.
    """

    def __init__(self, session: Session) -> None:
        self._first = session
        self._ready = {session.suite.name: Run(session)}

    def names(self) -> list[str]:
        """Return the names of the runs, that which was asked for first."""
        return [self._first.suite.name, *self._others()]

    def get(self, name: str) -> Run:
        """Return the run of that name. Raises ``RequestError`` when there is none, or its images cannot be found."""
        if name not in self._ready:
            if name not in self._others():
                raise RequestError(404, f"no run is called {name[:40]!r}; load the page again")
            env = self._first.env
            try:
                session = prepare(name, (), env.data, env.out)
            except BenchError as e:
                reason = str(e).splitlines()[0]
                raise RequestError(
                    409, f"{name}: {reason}; start `bench serve --suite {name}` with its own --data"
                ) from e
            self._ready[name] = Run(session.on_device(env.device))
        return self._ready[name]

    def _others(self) -> Iterator[str]:
        known = shipped_suites()
        reports = self._first.env.out / "reports"
        for folder in sorted(reports.iterdir()) if reports.is_dir() else []:
            if folder.name in known and folder.name != self._first.suite.name:
                yield folder.name


def arm(cell: Cell) -> str:
    """'cyclegan ×1'."""
    return f"{cell.method} {ratio_label(cell.ratio)}".strip()


def fold_name(cell: Cell) -> str:
    """'0', and '0.1' for another repeat."""
    return f"{cell.fold}" + (f".{cell.repeat}" if cell.repeat else "")
