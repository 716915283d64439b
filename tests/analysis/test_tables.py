"""The tidy tables: every number of a report that compares two arms is a row of comparisons.parquet."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from curve_rows import made_curve
from report_rows import made_up

from bench.analysis.differences import Difference
from bench.analysis.info import ReportInfo
from bench.analysis.report import Records, collect
from bench.analysis.rows import Rows
from bench.analysis.tables import COMPARISONS, SCORES, comparisons_table, scores_table
from bench.stats.decide import Verdict
from bench.suite.contrast import Contrast
from bench.suite.roles import Counterpart, Roles
from bench.types import Measure, ResultRow

Run = tuple[list[ResultRow], ReportInfo, Path]
NUMBERS = (
    "word",
    "difference",
    "low",
    "high",
    "p",
    "p_adjusted",
    "minimum_detectable_effect",
    "test",
    "family",
    "level",
)
GANS = ("cgan", "cyclegan", "tlsgan_lite0", "tlsgan_lite0_scratch")
ROLES = Roles(
    ("tlsgan_lite0",), ("tlsgan_lite0_scratch",), ("cyclegan",), ("cgan",),
    (("tlsgan_lite0", "tlsgan_lite0_scratch"),), (Counterpart("tlsgan_lite0", "cyclegan", ()),),
)  # fmt: skip


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """K-fold with a reference arm, questions, memorised samples, selection, trained longer, and a custom metric."""
    root = tmp_path_factory.mktemp("folds")
    ratios = ("1", "1-without-memorised", "1-realism-keep0.5")
    rows, info = made_up(root, folds=3, classifiers=("a",), ratios=ratios, generative=GANS,
                         pictures=False, per_patient=2, train_multipliers=(2,))  # fmt: skip
    rows = [
        replace(r, metrics={**r.metrics, "test/own": r.metrics["test/brier"] ** 2}) if r.stage == "evaluate" else r
        for r in rows
    ]
    measures = {"own": Measure("Own", "lower")}
    return rows, replace(info, reference="cyclegan", roles=ROLES, measures=measures), root


@pytest.fixture(scope="module")
def curve(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("curve")
    return *made_curve(root, contrast=Contrast("toy", "none", 20, "1", "a")), root


def found_in(value: Any) -> Iterator[Verdict | Difference]:
    """Yield every verdict and difference in the records, however deep."""
    if isinstance(value, Verdict | Difference):
        yield value
    elif is_dataclass(value):
        for f in fields(value):
            yield from found_in(getattr(value, f.name))
    elif isinstance(value, Mapping):
        for x in value.values():
            yield from found_in(x)
    elif isinstance(value, tuple | list):
        for x in value:
            yield from found_in(x)


def numbers(x: Any) -> tuple[str, ...]:
    return tuple(str(getattr(x, n)) for n in NUMBERS)


def records_and_table(run: Run) -> tuple[Records, pd.DataFrame]:
    rows, info, root = run
    records = collect(Rows(rows), info, root)
    return records, comparisons_table(records, info)


@pytest.mark.parametrize("run", ["folds", "curve"])
def test_every_verdict_of_a_report_is_a_row_of_the_comparisons(run: str, request: pytest.FixtureRequest) -> None:
    records, table = records_and_table(request.getfixturevalue(run))
    known = {tuple(map(str, row)) for row in table[list(NUMBERS)].itertuples(index=False)}
    found = list(found_in(records))
    verdicts = [x for x in found if isinstance(x, Verdict)]
    assert len(verdicts) > 20
    assert {numbers(v) for v in verdicts} == known - {numbers(d.comparison.verdict) for d in found_differences(found)}
    assert {numbers(d.comparison.verdict) for d in found_differences(found)} <= known
    for d in found_differences(found):  # what a section shows is what the table has
        v = d.comparison.verdict
        assert (str(d.mean), str(d.low), str(d.high), str(d.p)) == tuple(map(str, (v.difference, v.low, v.high, v.p)))


def found_differences(found: list[Verdict | Difference]) -> list[Difference]:
    return [x for x in found if isinstance(x, Difference)]


def test_the_comparisons_of_a_report_with_every_section(folds: Run) -> None:
    records, table = records_and_table(folds)
    assert list(table.columns) == list(COMPARISONS)
    assert set(table["kind"]) == {
        "score", "compute-matched", "without memorised samples", "selection", "custom metric", "reference", "question",
        "cost ratio",
    }  # fmt: skip
    assert not table.duplicated(["kind", "family", "metric", "classifier", "method", "ratio", "exclude_memorised",
                                 "train_multiplier", "selection", "keep", "reference",
                                 "reference_ratio"]).any()  # fmt: skip
    assert (table["family"] != "").all()
    assert (table["test"] != "").all()
    tested = table[table["p"].notna()]
    counts = tested.groupby("family")["level"].agg(["count", "first", "nunique"])
    assert (counts["nunique"] == 1).all()
    one = tested[(tested["kind"] == "score") & (tested["family"] == "patient_balanced_accuracy against none")]
    assert one["level"].tolist() == pytest.approx([0.05 / len(one)] * len(one))
    line = next(x for x in records.lines if x.arm.method == "cyclegan" and not x.arm.exclude_memorised)
    (row,) = (r for r in one.itertuples() if r.method == "cyclegan")
    assert (row.difference, row.p) == (line.verdict("none").difference, line.verdict("none").p)


def test_a_curve_has_its_sizes_and_its_control(curve: Run) -> None:
    _, table = records_and_table(curve)
    primary = table[table["metric"] == "patient_auroc"]
    against_none = primary[(primary["kind"] == "score") & (primary["reference"] == "none")]
    assert sorted(zip(against_none["method"], against_none["train_patients"], strict=True)) == [
        (m, n) for m in ("classical", "noise", "toy") for n in (20, 40)
    ]
    control = primary[primary["kind"] == "control"]
    assert control[["train_patients", "reference_patients"]].to_numpy().tolist() == [[40, 20], [80, 40]]
    (alone,) = (r for r in primary.itertuples() if r.family == "primary contrast")
    assert (alone.method, alone.train_patients, alone.level) == ("toy", 20, 0.05)


def test_scores_have_every_metric_of_the_finished_cells_in_any_order_of_rows(curve: Run) -> None:
    rows, info, _ = curve
    table = scores_table(Rows(rows), info)
    assert list(table.columns) == list(SCORES)
    assert len(table) == sum(len(r.metrics) for r in rows)
    at = table[(table["method"] == "toy") & (table["train_patients"] == 40) & (table["fold"] == 3)]
    (row,) = (r for r in rows if (r.stage, r.method, r.train_patients, r.fold) == ("evaluate", "toy", 40, 3))
    assert dict(zip(at["metric"], at["value"], strict=True)) == dict(row.metrics)
    mixed = [replace(r, metrics=dict(reversed(list(r.metrics.items())))) for r in rows]
    random.Random(0).shuffle(mixed)
    pd.testing.assert_frame_equal(scores_table(Rows(mixed), info), table)
    failed = [replace(r, status="failed") if r is row else r for r in rows]
    assert len(scores_table(Rows(failed), info)) == len(table) - len(row.metrics)
