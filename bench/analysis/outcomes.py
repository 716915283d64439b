"""Outcomes of a few arms on the test images, from predictions tables: the numbers behind the curves. Pure.

Each table is read once, and only the numbers needed for charts are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.analysis.info import ReportInfo
from bench.analysis.lines import Line
from bench.analysis.rows import Pair, Rows, Score
from bench.metrics.calibration import ReliabilityCurve, expected_calibration_error, reliability_curve
from bench.metrics.classification import check_arrays, confusion_matrix, patient_predictions
from bench.metrics.curves import Curve, precision_recall, prevalence, roc
from bench.metrics.predictions import Predictions, read_predictions
from bench.suite.arms import Arm
from bench.suite.suite import REFERENCES

Floats = npt.NDArray[np.float64]
Patient = tuple[str, int]  # group, label; label = number of classes for a group with several
Counts = dict[Patient, tuple[int, int]]  # correct images, images


def rule(info: ReportInfo) -> str:
    """Return a sentence on the arms that ``chosen_arms`` selects."""
    return (
        f"Arms: {' and '.join(f'`{r}`' for r in REFERENCES)}, the best generative arm and the best of the other "
        f"methods, by mean {info.unit.level} balanced accuracy over all classifiers on the same images: part of "
        "their advantage is selection bias."
    )


@dataclass(frozen=True, eq=False)
class PairOutcome:
    """Outcome of one table: curves, calibration error, and correct images by patient."""

    pair: Pair
    roc: Curve
    precision_recall: Curve
    prevalence: float
    ece: float
    reliability: ReliabilityCurve
    confusion: Floats  # [C, C] images: rows are the true class
    patient_confusion: Floats | None  # [C, C] patients; None where images are scored
    patients: Counts


@dataclass(frozen=True, eq=False)
class Outcome:
    """An arm with one classifier over its pairs (at least one)."""

    classifier: str
    arm: Arm
    pairs: tuple[PairOutcome, ...]

    def curves(self, kind: str) -> list[Curve]:
        """Return the pairs' curves of a kind, 'roc' or 'precision_recall', without undefined ones."""
        found: list[Curve] = [getattr(p, kind) for p in self.pairs]
        return [c for c in found if np.isfinite(c.area)]

    @property
    def ece(self) -> float:
        """The expected calibration error, mean over pairs."""
        return Score.of(p.ece for p in self.pairs).mean

    @property
    def reliability(self) -> ReliabilityCurve:
        """The bins pooled over pairs: means weighted by the images in the bins, NaN in an empty bin."""
        curves = [p.reliability for p in self.pairs]
        images = np.sum([c.images for c in curves], axis=0)
        with np.errstate(invalid="ignore"):
            confidence, accuracy = (
                np.nansum([values * c.images for values, c in zip(of_pair, curves, strict=True)], axis=0) / images
                for of_pair in ([c.confidence for c in curves], [c.accuracy for c in curves])
            )
        return ReliabilityCurve(confidence, accuracy, images)

    def confusion(self, per_patient: bool) -> Floats:
        """Return the sum over pairs, [C, C]: rows are the true class. ``per_patient`` only if patients are scored."""
        found = [p.patient_confusion if per_patient else p.confusion for p in self.pairs]
        total: Floats = np.sum([matrix for matrix in found if matrix is not None], axis=0)
        return total

    @property
    def shares(self) -> dict[Patient, float]:
        """The share of correct images of each patient, over all pairs that test the patient."""
        counts: Counts = {}
        for p in self.pairs:
            for patient, (right, images) in p.patients.items():
                before = counts.get(patient, (0, 0))
                counts[patient] = (before[0] + right, before[1] + images)
        return {patient: right / images for patient, (right, images) in counts.items()}


def chosen_arms(lines: Sequence[Line], generative: Sequence[str]) -> tuple[Arm, ...]:
    """Return the arms described by ``rule``, each method at its best ratio, in the order of the lines."""
    scores: dict[Arm, list[float]] = {}
    for x in lines:
        if x.pairs and not x.arm.subset:
            scores.setdefault(x.arm, []).append(x.score.mean)
    ranked = sorted(scores, key=lambda arm: -float(np.mean(scores[arm])))  # stable: ties keep the order of the suite
    kept = [arm for arm in scores if arm.method in REFERENCES]
    for allowed in (generative, [arm.method for arm in ranked]):
        taken = {arm.method for arm in kept}
        kept += [arm for arm in ranked if arm.method in allowed and arm.method not in taken][:1]
    return tuple(arm for arm in scores if arm in kept)


def outcomes(rows: Rows, info: ReportInfo, root: Path, arms: Sequence[Arm]) -> tuple[Outcome, ...]:
    """Return the outcome of each classifier and arm, in the suite's order; table paths are relative to ``root``.

    Raises ``StoreError`` for a table that cannot be read.
    """
    found = []
    for classifier in info.classifiers:
        for arm in arms:
            if pairs := tuple(_pairs(rows, info, root, classifier, arm)):
                found.append(Outcome(classifier, arm, pairs))
    return tuple(found)


def _pairs(rows: Rows, info: ReportInfo, root: Path, classifier: str, arm: Arm) -> Iterator[PairOutcome]:
    for pair in info.pairs:
        row = rows.classifier("evaluate", arm, classifier, pair)
        if row and row.status == "done" and (path := row.facts.get("predictions")):
            yield _outcome(pair, read_predictions(root / str(path), "test"), info)


def _outcome(pair: Pair, table: Predictions, info: ReportInfo) -> PairOutcome:
    truth, prob = check_arrays(table.y_true, table.y_prob, table.group)
    positive, per_group = info.positive_label, info.unit.per_group
    return PairOutcome(
        pair=pair,
        roc=roc(truth, prob, positive),
        precision_recall=precision_recall(truth, prob, positive),
        prevalence=prevalence(truth, prob.shape[1], positive),
        ece=expected_calibration_error(truth, prob),
        reliability=reliability_curve(truth, prob),
        confusion=confusion_matrix(truth, prob),
        patient_confusion=confusion_matrix(*patient_predictions(truth, prob, table.group)) if per_group else None,
        patients=_patients(table.group, truth, prob),
    )


def _patients(groups: Sequence[str], truth: npt.NDArray[np.int64], prob: Floats) -> Counts:
    """Return the numbers of correct images and of images by patient."""
    labels: dict[str, set[int]] = {}
    for group, label in zip(groups, truth.tolist(), strict=True):
        labels.setdefault(group, set()).add(label)
    counts: Counts = {}
    for group, hit in zip(groups, (prob.argmax(axis=1) == truth).tolist(), strict=True):
        patient = (group, min(labels[group]) if len(labels[group]) == 1 else prob.shape[1])
        before = counts.get(patient, (0, 0))
        counts[patient] = (before[0] + hit, before[1] + 1)
    return counts
