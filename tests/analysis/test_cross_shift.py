"""A shift in one data set: paired comparison of sub-suites, error rates of the tests, and text of the page."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cross_reports import folders, made, shift_report
from data_sets import picture, png, write
from shift_studies import Design, claims, learnt, missed, ready_of, studies

from bench.analysis.datasets.effects import SubSuite, read_sub_suite
from bench.analysis.datasets.shift import Compared, Shifted, shifts
from bench.cli.plan import plan_facts
from bench.engine.session import prepare
from bench.report.pages.datasets.build import build_cross_dataset
from bench.stats.decide import decide
from bench.stats.folds_test import resampled_test
from bench.suite.shipped import sub_suite_names
from bench.suite.suite import load_suite

NEAR = {
    "none": [0.80, 0.82, 0.81, 0.79, 0.83],
    "classical": [0.81, 0.82, 0.83, 0.80, 0.83],
    "tl": [0.82, 0.84, 0.82, 0.81, 0.85],
    "rnd": [0.80, 0.83, 0.81, 0.79, 0.84],
}
FAR = {
    "none": [0.60, 0.63, 0.60, 0.60, 0.62],
    "classical": [0.61, 0.64, 0.62, 0.61, 0.62],
    "tl": [0.72, 0.75, 0.71, 0.72, 0.76],
    "rnd": [0.61, 0.63, 0.62, 0.60, 0.64],
}
SAME_PICTURE = {"tl": "rnd"}


def two(**far: Any) -> dict[str, dict[str, Any]]:
    """Return two reports, the shifted one first: the control depends neither on the order nor on names."""
    return {
        "b": shift_report("b", FAR, test=["B"], ablation_pairs=SAME_PICTURE, **far),
        "a": shift_report("a", NEAR, ablation_pairs=SAME_PICTURE, test_images=12),
    }


def read(root: Path, reports: Mapping[str, dict[str, Any]]) -> list[SubSuite]:
    return [read_sub_suite(name.removeprefix("cross-"), folder) for name, folder in folders(root, reports).items()]


def compared(root: Path, reports: Mapping[str, dict[str, Any]]) -> tuple[tuple[Shifted, ...], tuple[str, ...]]:
    return shifts(read(root, reports))


def by_arm(s: Shifted, kind: Any) -> dict[str, Compared]:
    return {x.arm.label: x for x in s.of(kind)}


def test_drops_and_changes_are_paired_differences_tested_as_in_other_reports(tmp_path: Path) -> None:
    [s], left = compared(tmp_path, two())
    assert left == ()
    assert (s.control, s.sub_suite, s.in_distribution, s.out_of_distribution, s.tested) == (
        "a",
        "b",
        ("A",),
        ("B",),
        (20, 20, 12),
    )
    assert s.ratio == pytest.approx(12 / 40)  # the control's: it is the larger one
    drop = {m: np.subtract(FAR[m], NEAR[m]) for m in NEAR}
    gains = {m: drop[m] - drop["none"] for m in NEAR if m != "none"}
    labels = {"none": "none", "classical": "classical", "tl": "tl ×1", "rnd": "rnd ×1"}
    cases: dict[Any, Any] = {"performance_drop": drop, "gain": gains, "from_scratch": {"tl": drop["tl"] - drop["rnd"]}}
    for kind, differences in cases.items():
        protocol = (
            "holdout" if kind == "performance_drop" else "kfold"
        )  # the whole ratio, or half of it: there is one repeat
        expected = decide({m: resampled_test(d, s.ratio, protocol) for m, d in differences.items()}, 0.02)
        found = by_arm(s, kind)
        assert found.keys() == {labels[m] for m in differences}
        for m, v in expected.items():
            one = found[labels[m]].found
            assert (one.difference, one.low, one.p, one.p_adjusted) == pytest.approx(
                (v.difference, v.low, v.p, v.p_adjusted)
            )
            assert one.word == v.word
    drops, changes = by_arm(s, "performance_drop"), by_arm(s, "gain")
    assert {x.word for x in drops.values()} == {"costs"}
    assert (drops["none"].in_distribution, drops["none"].out_of_distribution) == pytest.approx((0.81, 0.61))
    assert [changes[a].word for a in ("classical", "tl ×1")] == ["equivalent", "helps more"]
    assert (changes["tl ×1"].in_distribution, changes["tl ×1"].out_of_distribution) == pytest.approx((0.018, 0.122))
    assert by_arm(s, "from_scratch")["tl ×1"].word == "helps more"


def test_the_other_words(tmp_path: Path) -> None:
    turned = {"b": shift_report("b", NEAR, test=["B"]), "a": shift_report("a", FAR)}
    [s], _ = compared(tmp_path, turned)
    assert by_arm(s, "performance_drop")["none"].word == "easier"
    assert by_arm(s, "gain")["tl ×1"].word == "helps less"


def test_only_pairs_that_all_sides_have_count(tmp_path: Path) -> None:
    reports = two()
    line = next(x for x in reports["b"]["lines"] if x["method"] == "tl")
    del line["values"]["patient_balanced_accuracy"]["2.0"]
    [s], _ = compared(tmp_path, reports)
    assert {x.found.sets for x in s.compared if x.arm.method == "tl"} == {4}
    assert by_arm(s, "performance_drop")["tl ×1"].in_distribution == pytest.approx(np.mean([0.82, 0.84, 0.81, 0.85]))
    assert by_arm(s, "performance_drop")["none"].found.sets == 5


def test_several_shifts_share_one_control_and_have_separate_families(tmp_path: Path) -> None:
    reports = two() | {"c": shift_report("c", NEAR, test=["C"], ablation_pairs=SAME_PICTURE)}
    found, left = compared(tmp_path / "three", reports)
    assert [(s.control, s.sub_suite, s.out_of_distribution) for s in found] == [("a", "b", ("B",)), ("a", "c", ("C",))]
    assert left == ()
    [alone], _ = compared(tmp_path / "two", two())
    assert found[0].compared == alone.compared


def no_control(reports: dict[str, Any]) -> None:
    reports["a"]["config"]["split"]["shift"]["test"] = ["C"]


def trained_elsewhere(reports: dict[str, Any]) -> None:
    reports["b"]["config"]["split"]["shift"]["train"] = ["A", "C"]


def other_images(reports: dict[str, Any]) -> None:
    reports["b"]["info"]["fingerprint"] = "beef"


def other_folds(reports: dict[str, Any]) -> None:
    reports["b"]["config"]["split"]["seed"] = 1


def other_sizes(reports: dict[str, Any]) -> None:
    reports["b"]["info"]["folds"][3]["train_images"] = 41


def other_size_px(reports: dict[str, Any]) -> None:
    reports["b"]["config"]["image_size_px"] = 64


def no_settings(reports: dict[str, Any]) -> None:
    del reports["b"]["config"]
    reports["b"]["info"]["protocol"] += "; trained on laboratory A, tested on B"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (no_control, "b: no sub-suite is its control, with the shift {attribute: laboratory, train: [A], test: [A]}"),
        (trained_elsewhere, "b: no sub-suite is its control, with the shift {attribute: laboratory, train: [A, C]"),
        (other_images, "b is not compared with a: their images differ (fingerprints f00d, beef)"),
        (other_folds, "b is not compared with a: their settings `split` differ"),
        (other_sizes, "b is not compared with a: they train on other images in pair 3.0"),
        (other_size_px, "b is not compared with a: their settings `image_size_px` differ"),
        (no_settings, "b: its report has no suite.yaml"),
    ],
)
def test_unpaired_sub_suites_are_named_and_not_compared(change: Any, expected: str, tmp_path: Path) -> None:
    reports = two()
    change(reports)
    there = folders(tmp_path, reports)
    found, left = shifts([read_sub_suite(name.removeprefix("cross-"), folder) for name, folder in there.items()])
    assert found == ()
    assert left[0].startswith(expected)
    page = build_cross_dataset("cross", there, {}, "bench run", tmp_path / "cross")
    assert f"- {expected}" in page.read_text()
    assert "How large is the performance drop" not in page.read_text()
    assert not (page.parent / "charts" / "shift.png").exists()


def test_arms_with_other_settings_are_excluded_and_other_sub_suites_ignored(tmp_path: Path) -> None:
    reports = two()
    reports["b"]["config"]["methods"]["classical"] = {"flip": False}
    [s], left = compared(tmp_path / "a", reports)
    assert left == ("b: `classical` has other settings than in a and is not compared",)
    assert "classical" not in by_arm(s, "performance_drop")
    assert compared(tmp_path / "b", made({"one": 0.1, "two": 0.1})) == ((), ())


def test_the_page_has_answers_a_table_and_a_figure(tmp_path: Path) -> None:
    there = folders(tmp_path, two())
    page = build_cross_dataset("cross", there, {}, "bench run", tmp_path / "cross")
    text, html = page.read_text(), page.with_name("cross.html").read_text()
    assert text.startswith(
        "# cross: how large is the performance drop under the shift, and does augmentation reduce it?"
    )
    assert (
        "**How large is the performance drop under the shift?** Trained on laboratory A and tested on B instead, "
        "`none` goes from 81.0 to 61.0 %"
    ) in text
    assert "points: **costs**). Other arms: it **costs** `classical` with net (−" in text
    assert re.search(
        r"\*\*Does augmentation reduce it\?\*\* On laboratory B instead of A: \*\*equivalent\*\* for", text
    )
    assert "**helps more**: `tl ×1` with net (+1.8 in-distribution, +12.2 out-of-distribution: +10.4 [" in text
    assert "**Does transfer learning help more under the shift?**" in text
    assert "| `none` | net | 81.0 | 61.0 | −20.0 [" in text
    assert text.index("How large is the") < text.index("charts/shift.png") < text.index("## Sub-suites")
    assert "Of 12 patients a tests 20 and b 20: a performance drop is partly due to other patients." in text
    assert "the larger of the two sub-suites (0.30)" in text
    assert html.count("<figure") == 2
    assert re.search(r'<td class="num verdict hurts">\s*<strong>costs', html)
    assert re.search(r'<td class="num verdict helps">\s*<strong>helps more', html)
    assert re.search(
        r'<th scope="col" class="num" title="Performance drop: out-of-distribution − in-distribution', html
    )
    figure = page.parent / "charts" / "shift.png"
    assert figure.stat().st_size > 10_000
    rows = list(csv.DictReader((page.parent / "cross.csv").open()))
    [row] = [r for r in rows if r["measure"] == "shift_gain" and r["arm"] == "tl ×1"]
    assert (row["sub_suite"], row["control"], row["reference"], row["verdict"]) == ("b", "a", "none", "helps more")
    assert float(row["low"]) < float(row["difference"]) < float(row["high"])
    assert float(row["difference"]) == pytest.approx(float(row["out_of_distribution"]) - float(row["in_distribution"]))
    stored = json.loads((page.parent / "cross.json").read_text())
    assert [(s["control"], s["sub_suite"]) for s in stored["shifts"]] == [("a", "b")]
    assert list(stored["answers"])[:3] == ["shift_performance_drop", "shift_gain", "shift_from_scratch"]
    before = {p: p.read_bytes() for p in page.parent.rglob("*") if p.is_file()}
    build_cross_dataset("cross", there, {}, "bench run", page.parent)
    assert before == {p: p.read_bytes() for p in before}


def test_many_equal_verdicts_are_given_as_a_range(tmp_path: Path) -> None:
    reports = {"b": shift_report("b", FAR | {"more": FAR["none"]}, test=["B"]),
               "a": shift_report("a", NEAR | {"more": NEAR["none"]})}  # fmt: skip
    text = build_cross_dataset("cross", folders(tmp_path, reports), {}, "bench run", tmp_path / "cross").read_text()
    assert "Other arms: it **costs** 4 of 4 (−20.0 to −9.6 points).\n" in text


def test_equal_patients_are_reported_as_the_same(tmp_path: Path) -> None:
    reports = two()
    for report in reports.values():
        report["info"]["data"]["classes"] = [{"images": 50, "groups": 10}, {"images": 50, "groups": 10}]
    page = build_cross_dataset("cross", folders(tmp_path, reports), {}, "bench run", tmp_path / "cross")
    assert "Of 20 patients a tests 20 and b 20, the same ones." in page.read_text()


@pytest.mark.parametrize(
    "design",
    [
        Design("3 folds, few patients, others out-of-distribution", (11, 11), 3, 1, same=False),
        Design("3 folds, few patients, and a performance drop", (11, 11), 3, 1, same=True, drop=0.8),
        Design("5 folds, BreakHis' patients", (24, 58), 5, 1, same=True),
    ],
    ids=lambda d: d.name,
)
def test_without_an_effect_at_most_one_comparison_in_twenty_claims_one(design: Design) -> None:
    ready = ready_of(design)
    within, across = studies(design, ready, 300, 4, np.random.default_rng(0))
    changes = (across[:, 1:] - across[:, :1]) - (within[:, 1:] - within[:, :1])
    alone, family = claims("gain", changes, ready.ratio)
    assert alone <= 0.05
    assert family <= 0.05
    alone, family = claims("performance_drop", across - within, ready.ratio)
    if design.drop:
        assert alone > 0.05  # a true effect is found more often
    else:
        assert alone <= 0.05
        assert family <= 0.05


def test_intervals_hold_if_the_performance_drop_depends_on_the_training_set() -> None:
    design = Design("few patients, others out-of-distribution", (11, 11), 3, 1, same=False)
    within, across = learnt(design, 500, np.random.default_rng(0))
    drop = (across - within)[:, 0]
    centred = drop - drop.mean(axis=0)
    assert np.corrcoef(centred.T)[np.triu_indices(3, 1)].mean() > 0.03  # folds are correlated
    ratio = 1 / (2 * 0.8)
    assert missed(drop, ratio, 1.0) <= 0.05 < missed(drop, ratio, 0.5)
    change = (across - within)[:, 1] - drop
    assert missed(change, ratio, 0.5) <= 0.05


def breakhis_zoomed(root: Path) -> Path:
    """Write a copy of the BreakHis layout: six patients of each class at 40X, 100X, 200X and 400X."""
    for p in range(6):
        for x in (40, 100, 200, 400):
            for at, name in (
                ("benign/SOB/adenosis/SOB_B_A", "SOB_B_A"),
                ("malignant/SOB/ductal_carcinoma/SOB_M_DC", "SOB_M_DC"),
            ):
                slide = f"14-{10000 + p + 100 * at.startswith('m')}"
                seed = 1000 * p + x + 100_000 * at.startswith("m")
                path = Path(f"{at}_{slide}") / f"{x}X" / f"{name}-{slide}-{x}-001.png"
                write(root / "BreaKHis_v1" / "histology_slides" / "breast" / path, png(picture(seed, (64, 64))))
    return root


def test_the_shipped_shift_plans_the_same_folds_and_training_images(tmp_path: Path) -> None:
    data = breakhis_zoomed(tmp_path / "data")
    assert sub_suite_names("shift") == ("shift-within", "shift-across")
    quick = ("methods.tlsgan_resnet50=false", "methods.tlsgan_resnet50_scratch=false", "classifiers.resnet18=false")
    near, far = (prepare(name, quick, data, tmp_path / "out") for name in sub_suite_names("shift"))
    assert near.plan.fingerprint == far.plan.fingerprint
    index = near.plan.index
    zoom = {r.path: dict(r.attributes)["magnification"] for r in index.records}
    patient = {r.path: r.group_id for r in index.records}
    assert set(zoom.values()) == {"40", "100", "400"}
    from bench.data.splits import make_splits

    splits = [make_splits(index, s.suite.settings.split) for s in (near, far)]
    assert len(splits[0]) == 5
    for within, across in zip(*splits, strict=True):
        assert (within.train, within.validation) == (across.train, across.validation)
        assert {patient[p] for p in within.test} == {patient[p] for p in across.test}
        assert {zoom[p] for p in (*within.train, *within.validation, *within.test)} == {"40", "100"}
        assert {zoom[p] for p in across.test} == {"400"}
    cells = [{(c["stage"], c["method"]) for c in plan_facts(s, ())["cells"]} for s in (near, far)]
    assert cells[0] == cells[1] >= {("fit", m) for m in ("cyclegan", "tlsgan_lite0", "tlsgan_lite0_scratch")}


def test_shift_and_cross_modality_have_equal_methods() -> None:
    stains = ("stain_hed", "randstainna", "macenko")  # for slides only
    other_sets, wide = load_suite("cross-modality-breakhis"), load_suite("shift-across")
    assert [m.name for m in wide.methods] == [
        "none", "classical", "trivialaugment", *stains, "cyclegan", "tlsgan_resnet50",
        "tlsgan_resnet50_scratch", "tlsgan_lite0",
        "tlsgan_lite0_scratch",
    ]  # fmt: skip
    assert {m for m in wide.methods if m.name not in stains} <= set(other_sets.methods)
    assert wide.classifiers == other_sets.classifiers
    small, other = load_suite("shift-small-across"), load_suite("cross-modality-small-breakhis")
    assert [m.name for m in small.methods] == [m.name for m in other.methods]
    assert set(small.methods) <= set(other.methods)
