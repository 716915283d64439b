"""A pilot's saved predictions -> its paired comparisons with none, and their variance components over patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bench.engine.plan_rows import rows_of
from bench.engine.session import Session
from bench.errors import ConfigError, DataError, StoreError
from bench.metrics.classification import patient_predictions
from bench.metrics.predictions import Predictions, read_predictions
from bench.metrics.units import ScoredUnit
from bench.stats.pilot import clustered_components, estimate_components
from bench.stats.planning import NAN, Components
from bench.store.cell_folders import Artifacts
from bench.store.results import Store
from bench.types import ResultRow

Arm = tuple[str, str, str]  # method, ratio, classifier
Pair = tuple[int, int]  # fold, repeat


@dataclass(frozen=True)
class Comparison:
    """A pilot's arm against none: number of pairs, mean and sd of the differences; components if patients are known."""

    arm: Arm
    pairs: int
    difference: float
    sd: float
    components: Components | None


def pilot_rows(session: Session, pilot: Path | None, unit: ScoredUnit) -> tuple[list[ResultRow], Path]:
    """Return the finished scores of the pilot and the folder that their prediction paths are relative to."""
    if pilot is None:
        return [r for r in rows_of(session.plan, session.env) if _is_score(r, unit)], session.env.out
    root = pilot.parent if pilot.name == "results.jsonl" else pilot
    rows = [r for r in Store(root).rows().values() if _is_score(r, unit)]
    suites = sorted({r.suite for r in rows})
    if len(suites) > 1 and session.suite.name not in suites:
        raise ConfigError(f"--pilot {pilot}: contains suites {', '.join(suites)}, but not {session.suite.name}")
    return [r for r in rows if len(suites) < 2 or r.suite == session.suite.name], root


def _is_score(row: ResultRow, unit: ScoredUnit) -> bool:
    return (
        row.stage == "evaluate" and row.status == "done" and np.isfinite(row.metrics.get(f"test/{unit.primary}", NAN))
    )


@dataclass(frozen=True)
class Pilot:
    """A pilot's predictions under ``root``, used to plan for a data set of ``patients`` patients."""

    root: Path
    unit: ScoredUnit
    patients: int

    def comparisons(self, rows: Sequence[ResultRow], asked: set[Arm] | None) -> list[Comparison]:
        """Return the comparisons with none of the arms in ``asked``; None: of all arms."""
        scores: dict[Arm, dict[Pair, ResultRow]] = {}
        for r in sorted(rows, key=lambda r: r.finished_at):  # of equal coordinates the last one is used
            arm = (r.method or "", r.ratio or "", r.classifier or "")
            scores.setdefault(arm, {})[r.fold or 0, r.repeat or 0] = r
        metric, found = f"test/{self.unit.primary}", []
        for arm, of_arm in sorted(scores.items()):
            base = scores.get(("none", "0", arm[2]), {})
            common = sorted(of_arm.keys() & base.keys())
            if arm[0] == "none" or len(common) < 2 or (asked is not None and arm not in asked):
                continue
            differences = np.array([of_arm[p].metrics[metric] - base[p].metrics[metric] for p in common])
            parts = self._components({p: (of_arm[p], base[p]) for p in common})
            found.append(Comparison(arm, len(common), float(differences.mean()), float(differences.std(ddof=1)), parts))
        return found

    def _components(self, pairs: dict[Pair, tuple[ResultRow, ResultRow]]) -> Components | None:
        """Return the variance components over all patients.

        None if there are too few patients or no prediction tables, as with a copied ``results.jsonl``. Raises
        ``StoreError`` if only some tables exist or one is damaged.
        """
        paths = [r.facts.get("predictions") for rows in pairs.values() for r in rows]
        if not all(paths) or not any((self.root / str(path)).is_file() for path in paths):
            return None
        artifacts = Artifacts(self.root)
        tables = {p: tuple(self._right(_read(r, self.root, artifacts)) for r in rows) for p, rows in pairs.items()}
        images = {group: right.images for arm, base in tables.values() for group, right in {**arm, **base}.items()}
        groups, repeats = sorted(images), sorted({repeat for _, repeat in tables})
        place = {group: i for i, group in enumerate(groups)}
        counts = np.array([images[group] for group in groups])  # [P, C]
        arm, base = (np.full((len(repeats), *counts.shape), np.nan) for _ in range(2))
        fold_of = np.full(arm.shape[:2], -1)
        for (fold, repeat), (of_arm, of_base) in tables.items():
            r, at = repeats.index(repeat), [place[group] for group in of_arm]
            if of_arm.keys() != of_base.keys() or (fold_of[r, at] >= 0).any():
                raise ConfigError(
                    f"--pilot: the test patients of fold {fold}, repeat {repeat} differ between arms or overlap with "
                    "another fold; the folder mixes runs of different splits: give the folder of a single run"
                )
            fold_of[r, at] = fold
            arm[r, at] = [right.right for right in of_arm.values()]
            base[r, at] = [of_base[group].right for group in of_arm]
        try:
            if self.unit.per_group:  # one row per patient
                found = estimate_components(arm.sum(axis=2), base.sum(axis=2), counts.argmax(axis=1), fold_of)
            else:
                found = clustered_components(arm, base, counts, fold_of)
        except DataError:
            return None
        return found.with_patients(self.patients / len(groups))

    def _right(self, table: Predictions) -> dict[str, _Right]:
        """Count correct predictions per patient: of the patient (mean probability of its images) or of its images."""
        labels, prob, groups = table.y_true, table.y_prob, table.group
        if self.unit.per_group:
            (labels, prob), groups = patient_predictions(labels, prob, groups), tuple(sorted(set(groups)))
        found = {group: _Right(np.zeros(prob.shape[1]), np.zeros(prob.shape[1])) for group in sorted(set(groups))}
        for group, label, predicted in zip(groups, labels.tolist(), prob.argmax(axis=1).tolist(), strict=True):
            found[group].right[label] += predicted == label
            found[group].images[label] += 1
        return found


class _Right(NamedTuple):
    """Number of correct predictions and number of images (or patients) by class: float [C] each."""

    right: npt.NDArray[np.float64]
    images: npt.NDArray[np.float64]


def _read(row: ResultRow, root: Path, artifacts: Artifacts) -> Predictions:
    path = root / str(row.facts["predictions"])
    if damage := artifacts.damage(path.parent.parent.name, path.parent.name):
        raise StoreError(f"{damage}; run the suite of this pilot again to repair it")
    return read_predictions(path, "test")
