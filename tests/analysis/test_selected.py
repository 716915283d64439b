"""What selection alone brings: paired with the same arm without, a family of its own, and its section."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from report_rows import made_up, row

from bench.analysis.report import Records, collect
from bench.analysis.rows import Rows
from bench.report.sections.selected import sections, selection_sentence
from bench.report.sections.summary import summary
from bench.suite.arms import Arm

REALISM, DIVERSITY = "1-realism-keep0.5", "1-diversity-keep0.25"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Records, object]:
    root = tmp_path_factory.mktemp("selected")
    rows, info = made_up(root, folds=4, classifiers=("a",), ratios=("1", REALISM, DIVERSITY), generative=("cgan",),
                         pictures=False, per_patient=2)  # fmt: skip
    for fold in range(4):
        for ratio, drawn in ((REALISM, 320), (DIVERSITY, 640)):
            costs, facts = {"elapsed_s": 9.0, "device_s": 8.0 + fold}, {"images": 160, "drawn_images": drawn}
            rows.append(row("select", "cgan", (fold, 0), ratio=ratio, costs=costs, facts=facts))
            flagged = {"memorised/flagged_share": 0.25}
            rows.append(row("memorised", "cgan", (fold, 0), ratio=ratio, metrics=flagged))
    gain = {REALISM: (0.2, 0.25, 0.3, 0.25), DIVERSITY: (0.01, -0.02, 0.03, -0.01)}  # by fold
    rows = [
        replace(r, metrics={k: v + gain[str(r.ratio)][r.fold or 0] for k, v in r.metrics.items()})
        if r.stage == "evaluate" and r.ratio in gain
        else r
        for r in rows
    ]
    info = replace(info, design="holdout")  # the scores of the rows decide, not the tables
    return collect(Rows(rows), info, root), info


def test_each_selection_is_compared_with_the_same_arm_without(run: tuple[Records, object]) -> None:
    records, _ = run
    arms = [Arm.parse("cgan", r) for r in (REALISM, DIVERSITY)]
    assert [s.comparison.arm for s in records.selected] == arms
    assert {s.comparison.reference for s in records.selected} == {Arm("cgan", "1")}
    assert {s.comparison.family for s in records.selected} == {"patient_balanced_accuracy, with and without selection"}
    by_arm = {x.arm: x.by_pair for x in records.lines}
    for s in records.selected:
        base, v = by_arm[s.comparison.reference], s.comparison.verdict
        assert v.difference == pytest.approx(np.mean([x - base[p] for p, x in by_arm[s.comparison.arm].items()]))
        assert v.level == 0.025  # two comparisons
    assert records.selected[0].comparison.verdict.difference > 0.1
    assert [(s.drawn.mean, s.images.mean, s.device_s.mean) for s in records.selected] == [
        (320, 160, 9.5), (640, 160, 9.5),
    ]  # fmt: skip
    assert records.selected[0].reference_device_s.mean == 3.0


def test_they_take_no_power_from_the_other_arms(run: tuple[Records, object]) -> None:
    records, _ = run
    families = {
        x.arm.variant: {c.family for c in x.comparisons if c.metric == "patient_balanced_accuracy"}
        for x in records.lines
        if x.arm.method == "cgan"
    }
    plain, *chosen = families.values()
    assert plain == {f"patient_balanced_accuracy against {r}" for r in ("none", "classical")}
    assert chosen == [{f"{name}, with selected images" for name in plain}] * 2


def test_the_section_has_a_row_for_each_comparison(run: tuple[Records, object], tmp_path: Path) -> None:
    records, info = run
    (section,) = sections(records, info)  # type: ignore[arg-type]
    (table,) = section.tables
    assert [r[0] for r in table.rows] == [
        "`cgan` ×1 selected by realism (0.5)", "`cgan` ×1 selected by diversity (0.25)",
    ]  # fmt: skip
    assert "Classifier" not in table.heads
    assert [r[table.heads.index("Drawn")] for r in table.rows] == ["320", "640"]
    assert [r[table.heads.index("Memorised")] for r in table.rows] == ["25.0 (4.0)"] * 2
    assert [r[table.heads.index("Drawing and scoring")] for r in table.rows] == ["9.5 s (3.0 s)"] * 2
    sentence = selection_sentence(records.selected, info)  # type: ignore[arg-type]
    assert sentence.startswith("Against the same arm without selection, patient-level balanced accuracy")
    assert "3 comparisons" in summary(records, info)[0]  # type: ignore[arg-type]
    assert not list(sections(Records(), info))  # type: ignore[arg-type]
