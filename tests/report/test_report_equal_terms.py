"""The generative arms on equal terms in the report: table, title without transfer learning, chart and its labels."""

from __future__ import annotations

import csv
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_rows import TAG, made_up
from report_text import whole

from bench.analysis.equal_terms import ArmTerms
from bench.analysis.info import ReportInfo
from bench.analysis.report import Records, collect
from bench.analysis.rows import Rows, Score
from bench.report.build import build_report
from bench.report.charts import equal_terms, style
from bench.report.charts.labels import Named, label_marks
from bench.report.content import Details, Section, Table
from bench.report.sections import questions
from bench.report.sections.equal_terms import TITLE
from bench.report.text import DASH, number, percent, seconds
from bench.suite.arms import Arm
from bench.suite.roles import Roles
from bench.types import ResultRow

GANS = ("cgan", "cyclegan", "tlsgan_lite0", "noise")
ROLES = Roles(("tlsgan_lite0",), (), ("cyclegan",), ("cgan",))
Run = tuple[list[ResultRow], ReportInfo, Path]


def run_of(root: Path, **options: Any) -> Run:
    options = {"folds": 3, "classifiers": ("a",), "ratios": ("1",), "per_patient": 2, "pictures": False} | options
    rows, info = made_up(root, generative=GANS, **options)
    far = {f"synthetic/test/kid_{TAG}": 4.0}
    rows = [replace(r, metrics={**r.metrics, **far}) if (r.stage, r.method) == ("fidelity", "noise") else r
            for r in rows]  # fmt: skip
    return rows, info, root


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_of(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def records(run: Run) -> Records:
    return collect(Rows(run[0]), run[1], run[2])


def section(records: Records, info: ReportInfo) -> Section:
    return next(questions.sections(records, info))


def table_of(records: Records, info: ReportInfo) -> Table:
    (table,) = (b for b in section(records, info).blocks if isinstance(b, Table) and b.title == TITLE)
    return table


def test_the_table_shows_every_arm_with_its_numbers(run: Run, records: Records) -> None:
    table = table_of(records, run[1])
    assert table.heads == ["Arm", "KID", "Coverage", "Memorised", "Device time", "Steps", "Difference to `none`"]
    assert [r[0] for r in table.rows] == [f"`{m}` ×1" for m in ("cgan", "cyclegan", "tlsgan_lite0", "noise")]
    for text, x in zip(table.rows, records.equal_terms, strict=True):
        line = next(line for line in records.lines if line.arm == x.arm)
        v = line.verdict("none")
        assert text[1:6] == (
            f"{number(x.kid.mean)} (×{number(x.kid.mean / x.real_kid.mean)})",
            percent(x.coverage.mean),
            percent(x.memorised.mean),
            seconds(x.device_s.mean),
            "400",
        )
        assert text[6].replace("*", "").startswith(v.word)


def test_a_report_without_roles_compares_the_generative_methods(run: Run, records: Records) -> None:
    for roles in (None, Roles()):
        info = replace(run[1], roles=roles)
        text = whole([section(collect(Rows(run[0]), info, run[2]), info)])
        assert f"### {questions.WITHOUT_TRANSFER}\n\nSorted by KID (`{TAG}`; " in text
        assert "transfer" not in text.replace("tlsgan", "").replace(questions.WITHOUT_TRANSFER, "")
        assert "Not answered" not in text
    assert section(replace(records, equal_terms=()), run[1]).blocks == ()


def test_with_transfer_learning_the_table_follows_the_answer_and_the_rest_is_collapsed(run: Run) -> None:
    info = replace(run[1], roles=ROLES)
    found = section(collect(Rows(run[0]), info, run[2]), info)
    title, plainly, caption, table, details, rest = found.blocks
    assert title == f"### {questions.TITLES['others']}"
    assert str(plainly).startswith("**Compared with other generators, ")
    assert str(caption).startswith("Sorted by KID")
    assert isinstance(table, Table)
    assert isinstance(details, Details)
    assert any("`tlsgan_lite0` compared with `cgan`" in b for b in details.blocks if isinstance(b, str))
    assert str(rest).startswith("Not answered by this run: the effect of transfer learning")
    assert "other generative methods" not in str(rest)
    assert found.claims == ("charts/equal_terms.png", "charts/equal_terms_[0-9]*.png")
    assert set(found.definitions) == {"Device time", "Difference"}


def test_marks_dashes_and_a_column_for_each_classifier(tmp_path: Path) -> None:
    rows, info, root = run_of(tmp_path, classifiers=("a", "b"))
    gone = {("fidelity", "tlsgan_lite0"), ("memorised", "cyclegan")}
    rows = [r for r in rows if (r.stage, r.method) not in gone and (r.method, r.classifier) != ("cgan", "b")]
    changed = {
        "cgan": {f"synthetic/test/kid_{TAG}": 1.0},
        "cyclegan": {f"synthetic/diversity_{TAG}": 0.1, f"synthetic/label_agreement_{TAG}": 0.2},
    }
    rows = [replace(r, metrics={**r.metrics, **changed.get(r.method or "", {})}) if r.stage == "fidelity" else r
            for r in rows]  # fmt: skip
    rows = [replace(r, status="failed", costs={}, facts={}) if (r.stage, r.method) == ("fit", "cyclegan") else r
            for r in rows]  # fmt: skip
    info = replace(info, tuned_s={"cgan": {"a": 600.0}})
    table = table_of(collect(Rows(rows), info, root), info)
    assert table.heads[5:] == ["Tuning", "Steps", "Difference to `none`, a", "Difference to `none`, b"]
    of = {r[0]: dict(zip(table.heads, r, strict=True)) for r in table.rows}
    cyclegan, cgan = of["`cyclegan` ×1 (low diversity) (wrong labels)"], of["`cgan` ×1 (untrained)"]
    assert (cyclegan["Memorised"], cyclegan["Device time"], cyclegan["Steps"], cyclegan["Tuning"]) == (DASH,) * 4
    assert cgan["Tuning"] == "3.3 min"
    assert cgan["Difference to `none`, a"].startswith("not compared")
    assert cgan["Difference to `none`, b"] == DASH
    assert (of["`tlsgan_lite0` ×1"]["KID"], of["`tlsgan_lite0` ×1"]["Coverage"]) == (DASH, DASH)


def test_the_table_is_exported(run: Run, tmp_path: Path) -> None:
    rows, info, root = run
    md = build_report(rows, info, root, tmp_path)
    with (tmp_path / "tables" / "generative-arms-on-equal-terms.csv").open() as f:
        found = list(csv.DictReader(f))
    assert [r["Arm"] for r in found] == ["cgan ×1", "cyclegan ×1", "tlsgan_lite0 ×1", "noise ×1"]
    assert r"\label{tab:tiny-generative-arms-on-equal-terms}" in (tmp_path / "leaderboard.tex").read_text()
    assert "](charts/equal_terms.png)" in md.read_text()


def drawn(found: Records, info: ReportInfo, patch: pytest.MonkeyPatch, path: Path) -> Any:
    """Return the figure of the chart."""
    figures: list[Any] = []
    patch.setattr(style, "save", lambda fig, path: figures.append(fig))
    equal_terms.draw_equal_terms(equal_terms.shown_terms(found.equal_terms, info), info, path)
    return figures[0]


def test_the_chart_shows_the_numbers_of_the_table(
    run: Run, records: Records, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kid, change = drawn(records, run[1], monkeypatch, tmp_path / "x.png").axes
    arms = records.equal_terms[:3]
    looks = style.method_looks(run[1].methods)
    marks = {line.get_color(): line.get_xydata()[0] for line in kid.lines if line.get_marker() not in ("None", "")}
    shown = {looks[x.arm.method].colour: (x.device_s.mean, x.kid.mean) for x in arms}
    assert {c: tuple(xy) for c, xy in marks.items()} == {c: pytest.approx(xy) for c, xy in shown.items()}
    assert kid.get_yscale() == "log"
    assert kid.get_xscale() == change.get_xscale() == "linear"
    levels = [
        line.get_ydata()[0] for line in kid.lines if len(set(line.get_ydata())) == 1 and len(line.get_xdata()) == 2
    ]
    real = np.mean([x.real_kid.mean for x in arms])
    assert levels[:2] == pytest.approx([records.equal_terms[3].kid.mean, real])
    verdicts = [x.changes[0].verdict for x in arms]
    marks = {line.get_color(): line.get_ydata()[0] for line in change.lines if line.get_marker() not in ("None", "")}
    assert sorted(marks.values()) == pytest.approx(sorted(100 * v.difference for v in verdicts))
    assert {t.get_text() for t in kid.texts} == {*GANS, "real-vs-real baseline"}
    assert {t.get_text() for t in change.texts} == {*GANS, "none"}


def test_times_and_kid_decide_the_axes(
    run: Run, records: Records, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first, *rest = records.equal_terms
    slow = replace(first, device_s=Score.of([4000.0]), kid=Score.of([-0.01]))
    fig = drawn(replace(records, equal_terms=(slow, *rest)), run[1], monkeypatch, tmp_path / "x.png")
    assert {ax.get_xscale() for ax in fig.axes} == {"log"}
    assert fig.axes[0].get_yscale() == "linear", "a KID below 0 has no logarithm"
    assert "(min, log scale)" in fig.get_supxlabel()
    free = tuple(replace(x, device_s=Score.of([])) for x in records.equal_terms)
    assert equal_terms.shown_terms(free, run[1]) == []


def test_the_chart_has_the_largest_ratio_and_says_so(tmp_path: Path) -> None:
    rows, info, root = run_of(tmp_path, ratios=("0.5", "1", "1-without-memorised"))
    shown = equal_terms.shown_terms(collect(Rows(rows), info, root).equal_terms, info)
    assert {x.arm for x in shown} == {Arm(m, "1") for m in GANS}
    assert "KID of arms at ×1 (lower is better)" in equal_terms.caption(shown, info)


def crowded(records: Records) -> tuple[ArmTerms, ...]:
    """Return twelve arms at nearly one place, and noise."""
    first, noise = records.equal_terms[0], records.equal_terms[3]
    arms = [replace(first, arm=Arm(f"method_{i}", "1"), kid=Score.of([0.05 * (1 + 0.03 * i)])) for i in range(12)]
    return (*arms, noise)


def test_labels_cover_each_other_nowhere(
    run: Run, records: Records, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = crowded(records)
    info = replace(run[1], methods=("none", *(x.arm.method for x in found)))
    for figure in (
        drawn(records, run[1], monkeypatch, tmp_path / "x.png"),
        drawn(replace(records, equal_terms=found), info, monkeypatch, tmp_path / "y.png"),
    ):
        for ax in figure.axes:
            boxes = [t.get_window_extent() for t in ax.texts]
            assert len(boxes) > 4
            assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
            whole_axes = ax.get_window_extent().padded(1)
            assert all(whole_axes.contains(*b.min) and whole_axes.contains(*b.max) for b in boxes)


def test_a_distant_label_is_joined_to_its_mark(tmp_path: Path) -> None:
    with style.figure(tmp_path / "x.png", 1, 1, 3, 3) as (_, axes):
        ax = axes[0][0]
        ax.set(xlim=(0, 1), ylim=(0, 1))
        label_marks(ax, [Named(f"a long name {i}", 0.5, 0.5, 0.1, 0.9) for i in range(9)], [("line", 0.5)])
        assert ax.get_xlim() == (0, 1)
        assert len(ax.lines) > 0, "thin lines to the labels that found no place beside the mark"
        boxes = [t.get_window_extent() for t in ax.texts]
        assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
