"""The choices on the page: the runs in an output folder, and their finished cells."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.abilities import Translator
from bench.engine.session import Session, prepare
from bench.engine.stored import stored_runs, stored_session
from bench.errors import BenchError
from bench.pages.server import RequestError
from bench.plan.plan import Cell, fold_title, unique
from bench.stages.fcn_network import NONE
from bench.store.cell_folders import Artifacts
from bench.suite.shipped import shipped_suites


@dataclass(frozen=True)
class Network:
    """A trained segmentation network. ``dice`` is the mean over its fold's validation images, None if unknown."""

    cell: Cell
    dice: float | None = None

    @property
    def compared(self) -> bool:
        """Whether it is a network of an arm (stage `segmentation`) and not the FCN score network."""
        return self.cell.stage == "segmentation"

    def described(self) -> dict[str, Any]:
        """Return its description for the page, as JSON values."""
        name = f"{self.cell.classifier}, {arm(self.cell)}" if self.compared else "the FCN score network"
        return {"key": self.cell.key, "network": name, "validation_dice": self.dice}


@dataclass(frozen=True)
class Run:
    """A suite and the finished cells in its output folder. The folder is read each time, as a run may be active."""

    session: Session

    def cells(self, stage: str) -> list[Cell]:
        """Return the finished cells of a stage, each id once, in the plan's order."""
        artifacts = Artifacts(self.session.env.out)
        of_stage = [c for c in self.session.plan.cells if c.stage == stage]
        return [c for c in unique(of_stage) if artifacts.is_done(*c.id)]

    def cell(self, stage: str, key: str) -> Cell:
        """Return the finished cell of that key. Raises ``RequestError`` if there is none."""
        found = next((c for c in self.cells(stage) if c.key == key), None)
        if found is None:
            raise RequestError(404, f"this run has no finished {stage} cell {key[:40]!r}; reload the page")
        return found

    def networks(self) -> list[Network]:
        """Return the finished segmentation networks, sorted by validation Dice, the best first.

        A fold without networks of arms (stage `segmentation`) has its FCN score network (`fcn_score`), if any.
        """
        artifacts = Artifacts(self.session.env.out)
        found = [Network(c, _validation_dice(artifacts.result(*c.id))) for c in self.cells("segmentation")]
        found.sort(key=lambda n: -1.0 if n.dice is None else n.dice, reverse=True)  # ties stay in the plan's order
        covered = {n.cell.at for n in found}
        fcn = [c for c in self.cells("fcn_score") if c.at not in covered]
        return found + [Network(c) for c in fcn if artifacts.result(*c.id)["facts"].get("masks", NONE) != NONE]

    def segmentation_network(self, classify: Cell, key: str | None = None) -> Network | None:
        """Return the segmentation network of that key, or the best one for a classifier, in its fold.

        The best has the highest validation Dice in the classifier's arm, else in any arm; None if the fold has none.
        Raises ``RequestError`` for a key that is not in the fold.
        """
        found = _for(classify, self.networks())
        if key is None:
            return found[0] if found else None
        chosen = next((n for n in found if n.cell.key == key), None)
        if chosen is None:
            raise RequestError(404, f"this fold has no finished segmentation network {key[:40]!r}; reload the page")
        return chosen

    def described(self) -> dict[str, Any]:
        """Return the choices of this run for the page, as JSON values."""
        session, networks = self.session, self.networks()
        places = {n.cell.key: i for i, n in enumerate(networks)}
        return {
            "suite": session.suite.name,
            "classes": list(session.plan.index.classes),
            "image_size_px": session.suite.settings.image_size_px,
            "classifiers": [
                {
                    "key": c.key,
                    "classifier": c.classifier,
                    "arm": arm(c),
                    "fold": fold_name(c),
                    "segmentation_networks": [places[n.cell.key] for n in _for(c, networks)],
                }
                for c in self.cells("classify")
            ],
            "segmentation_networks": [n.described() for n in networks],
            "generators": [
                {"key": c.key, "method": c.method, "fold": fold_name(c), "translates": self._translates(c)}
                for c in self.cells("fit")
            ],
        }

    def _translates(self, cell: Cell) -> bool:
        return isinstance(self.session.suite.method(str(cell.method)).create(), Translator)


class Runs:
    """The requested run, and others in the same folder: stored ones, and reports of shipped suites.

    The others are prepared when first selected, on the same ``device``.
    """

    def __init__(self, session: Session) -> None:
        self._first = session
        self._ready = {session.suite.name: Run(session)}

    def names(self) -> list[str]:
        """Return the names of the runs, starting with the requested one."""
        return [self._first.suite.name, *self._others()]

    def get(self, name: str) -> Run:
        """Return the run of that name. Raises ``RequestError`` if it does not exist or its images are not found."""
        if name not in self._ready:
            if name not in self._others():
                raise RequestError(404, f"unknown run {name[:40]!r}; reload the page")
            env = self._first.env
            stored = stored_runs(env.out).get(name)
            try:
                session = stored_session(stored, env.out) if stored else prepare(name, (), env.data, env.out)
            except BenchError as e:
                reason, option = str(e).splitlines()[0], "--name" if stored else "--suite"
                raise RequestError(
                    409, f"{name}: {reason}; start `bench serve {option} {name}` with the right --data"
                ) from e
            self._ready[name] = Run(session.on_device(env.device))
        return self._ready[name]

    def _others(self) -> Iterator[str]:
        out, shipped = self._first.env.out, shipped_suites()
        reports = (p.name for p in (out / "reports").glob("*") if p.name in shipped)
        yield from sorted({*stored_runs(out), *reports} - {self._first.suite.name})


def arm(cell: Cell) -> str:
    """Return the arm as text: 'cyclegan ×1'."""
    return cell.arm.label


def fold_name(cell: Cell) -> str:
    """Return '0', '0.1' for repeat 1, or '0 of 40 patients' for a set of a learning curve."""
    return fold_title(*cell.at).partition(" ")[2]


def _for(classify: Cell, networks: Sequence[Network]) -> list[Network]:
    """Return the networks of a classifier's fold, those of its arm first, then in the given order."""
    own = (classify.method, classify.ratio)
    of_fold = [n for n in networks if n.cell.at == classify.at]
    return sorted(of_fold, key=lambda n: (n.cell.method, n.cell.ratio) != own)


def _validation_dice(result: Mapping[str, Any]) -> float | None:
    found = float(result["metrics"].get("validation/dice", math.nan))
    return found if math.isfinite(found) else None
