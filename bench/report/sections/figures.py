"""Sections that consist of figures only."""

from __future__ import annotations

from collections.abc import Iterator

from bench.analysis.info import ReportInfo
from bench.analysis.report import Records
from bench.report.content import Section, charts


def sections(_: Records, info: ReportInfo) -> Iterator[Section]:
    """Yield the sections; those without figures are omitted later."""
    made = ("pictures/overview*.png", *(f"pictures/{method}.png" for method in info.generative))
    yield Section("Differences to `none`", order=109, claims=charts("forest"))
    yield Section("Scores of each pair", order=110, claims=charts("folds"))
    yield Section("Amount of synthetic data", order=111, claims=charts("sweep"))
    yield Section("Curves and calibration", order=112, claims=charts("roc", "pr", "reliability"))
    yield Section(
        "Errors, by class and by patient", order=113, claims=charts("confusion", "confusion_patients", "patients")
    )
    yield Section("Grad-CAM of the classifiers", order=114, claims=("pictures/explanations*.png",))
    yield Section("Examples of synthetic images", order=200, claims=made)
    yield Section("Training curves", order=300, claims=charts("losses", "training_fidelity", "classifier_losses"))
