"""Incomplete stores: the report is written, and lists missing cells and the pairs that are left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from report_text import text as section_text
from report_text import whole

from bench.analysis.info import FoldSize, ReportInfo
from bench.analysis.report import Records, collect
from bench.analysis.rows import Rows
from bench.report.export import as_json
from bench.report.page import sections
from bench.report.sections import failures
from bench.report.sections.summary import summary
from bench.suite.roles import Counterpart, Roles
from bench.types import ResultRow

GANS = ("cgan", "cyclegan", "tl", "rnd")
METHODS = ("none", "classical", *GANS)
ROLES = Roles(("tl",), ("rnd",), ("cyclegan",), ("cgan",), (("tl", "rnd"),), (Counterpart("tl", "cyclegan", ()),))
PLAN = ReportInfo(
    "tiny", "phantom", ("benign", "malignant"), METHODS, GANS, ("a",), ("1",),
    tuple(FoldSize(f, 0, 160, 40, 50, 32, 8, 10) for f in range(5)), roles=ROLES,
)  # fmt: skip
RNG = np.random.default_rng(0)
SCORE = {m: [0.7 + x for x in RNG.normal(0, 0.03, 5)] for m in METHODS} | {"tl": [0.9, 0.91, 0.92, 0.91, 0.9]}
REASON = "DivergedError: g_loss is nan at step 40"
At = tuple[str, str, int]  # stage, method, fold


def chain(method: str) -> list[ResultRow]:
    """Return all cells of a method."""
    made = ("fit", "synthesize", "fidelity", "memorised") if method in GANS else ()
    found = [ResultRow(f"{s}{method}{f}", s, "s", "d", "done", method, f, 0) for s in made for f in range(5)]
    for f in range(5):
        ratio = "1" if method in GANS else "0"
        scores = {"test/patient_balanced_accuracy": SCORE[method][f]}
        at = (method, f, 0, ratio, "a")
        found.append(ResultRow(f"c{at}", "classify", "s", "d", "done", *at))
        found.append(ResultRow(f"e{at}", "evaluate", "s", "d", "done", *at, metrics=scores))
    return found


ROWS = [r for m in METHODS for r in chain(m)]


def injected(failed: set[At] = frozenset(), missing: set[At] = frozenset()) -> list[ResultRow]:  # type: ignore[assignment]
    """Return the rows with these cells failed or missing; dependent cells are skipped or missing."""
    stages = ("fit", "synthesize", "fidelity", "memorised", "classify", "evaluate")
    behind = {"fit": stages, "synthesize": stages[1:], "classify": ("classify", "evaluate")}
    found = []
    for r in ROWS:
        status = "done"
        for kind, holes in (("missing", missing), ("failed", failed)):
            for stage, method, fold in holes:
                if (r.method, r.fold) == (method, fold) and r.stage in behind.get(stage, (stage,)):
                    after = "skipped" if kind == "failed" else kind
                    status = kind if r.stage == stage else after
        error = {"failed": REASON, "skipped": f"fit of {r.method} failed"}.get(status)
        found.append(r if status == "done" else replace(r, status=status, metrics={}, error=error))
    return found


def read(rows: list[ResultRow], info: ReportInfo = PLAN) -> tuple[Records, str, str]:
    """Return the records, the section on missing cells, and the last sentence of the answer."""
    records = collect(Rows(rows), info, Path("nowhere"))
    return records, section_text(failures, info, **vars(records)), summary(records, info)[-1]


def row(text: str, *begins: str) -> list[str]:
    """Return the cells of the only table row with this beginning."""
    (found,) = [x for x in text.splitlines() if x.startswith("| " + " | ".join(begins) + " |")]
    return [c.strip() for c in found.strip("|").split("|")]


def test_a_complete_store_has_no_section() -> None:
    records, text, last = read(ROWS)
    assert (records.failures, records.shortfalls, text) == ((), (), "")
    assert "Incomplete" not in last


def test_five_failed_and_three_missing_cells() -> None:
    failed = {
        ("fit", "cgan", 0),
        ("fit", "cgan", 1),
        ("classify", "cyclegan", 2),
        ("memorised", "rnd", 3),
        ("fit", "tl", 4),
    }
    missing = {("evaluate", "classical", 0), ("evaluate", "rnd", 1), ("memorised", "cyclegan", 0)}
    records, text, last = read(injected(failed, missing))
    assert "5 cells failed, 16 skipped after a failure and 3 not run." in text
    assert "**Incomplete:** 6 scores of 30 are missing, in 5 lines (0 without any score)" in last
    left = {line.split(" | ")[0].strip("| `×1"): line.split(" | ")[1:] for line in text.split("Causes")[0].splitlines()}
    assert left["classical"] == ["fold 0 (evaluate was not run)", "4 of 5 |"]
    assert row(text, "`cgan` ×1")[1:] == ["folds 0 and 1 (fit failed)", "3 of 5"]
    assert row(text, "`cyclegan` ×1")[1:] == ["fold 2 (classify failed)", "4 of 5"]
    assert "**`classical` itself has only 4 of 5 pairs**: no verdict against it uses more." in text
    assert "`none` itself" not in text
    assert row(text, "`cgan`", "fit")[2:] == ["folds 0 and 1", "3 of 5"]
    assert row(text, "`rnd`", "memorised")[2:] == ["fold 3", "4 of 5"]
    assert row(text, "failed", "fit", "2")[3:] == ["`cgan`", "–", "0, 1", REASON]
    assert row(text, "missing", "evaluate", "2")[3:5] == ["`classical`, `rnd`", "a, a ×1"]
    everything = whole(sections(records, PLAN, {}, {}))
    assert "## Failed, skipped and missing" in everything
    assert "**Incomplete:** `fit` of `tl` failed" in everything  # also listed in the questions


def test_a_missing_pair_of_none_limits_every_verdict() -> None:
    records, text, last = read(injected(missing={("classify", "none", 2)}))
    assert "**`none` itself has only 4 of 5 pairs**: no verdict against it uses more." in text
    assert row(text, "`none`")[1:] == ["fold 2 (classify was not run)", "4 of 5"]
    assert {x.verdict("none").sets for x in records.lines if "none" in x.versus} == {4}
    assert "1 score of 30 are missing, in 1 line" in last


def test_a_generator_that_failed_in_one_fold() -> None:
    records, text, _ = read(injected(failed={("fit", "tl", 1)}))
    assert [(s.stage, s.method, s.pairs) for s in records.shortfalls] == [
        (stage, "tl", ((1, 0),)) for stage in ("fit", "synthesize", "fidelity", "memorised")
    ]
    assert "itself" not in text
    others = {q.name: {x.method for x in q.lacks} for q in records.questions}
    assert others == {"transfer": {"tl"}, "cost": {"tl"}, "modalities": set(), "others": {"tl"}}


def test_an_arm_without_scores_is_not_counted_in_holms_correction() -> None:
    records, text, last = read(injected(failed={("fit", "cgan", f) for f in range(5)}))
    assert row(text, "`cgan` ×1")[1:] == ["folds 0, 1, 2, 3 and 4 (fit failed)", "0 of 5"]
    assert "Holm's correction counts the arms with two pairs or more" in text
    assert "(1 without any score)" in last
    complete = collect(Rows(ROWS), PLAN, Path("nowhere")).lines
    less = {
        x.arm: x.versus["none"]["patient_balanced_accuracy"].p_adjusted for x in records.lines if "none" in x.versus
    }
    before = {x.arm: x.versus["none"]["patient_balanced_accuracy"].p_adjusted for x in complete if "none" in x.versus}
    assert all(p <= before[arm] for arm, p in less.items())  # decided more easily
    assert any(p < before[arm] for arm, p in less.items())


def test_everything_failed() -> None:
    stages = ("fit", "classify")
    rows = injected(failed={(s, m, f) for s in stages for m in METHODS for f in range(5) if s != "fit" or m in GANS})
    records, text, _ = read(rows)
    first = summary(records, PLAN)[0]
    assert first.startswith("No score could be computed: every arm lacks all of its pairs. The first cause: ")
    assert REASON in first
    assert "**`none` itself has only 0 of 5 pairs**" in text
    assert "Research questions" not in whole(sections(records, PLAN, {}, {}))
    as_json(records, PLAN)


def test_a_suite_without_classifiers_loses_images_and_no_verdicts() -> None:
    info = replace(PLAN, classifiers=())
    rows = [r for r in injected(failed={("fit", "tl", 1)}) if r.classifier is None]
    records = collect(Rows(rows), info, Path("nowhere"))
    text = section_text(failures, info, **vars(records))
    assert "verdict" not in text
    assert row(text, "`tl`", "fit")[2:] == ["fold 1", "4 of 5"]


def test_several_classifiers_are_named() -> None:
    info = replace(PLAN, classifiers=("a", "b"))
    holes = injected(missing={("evaluate", "none", 2)})
    both = [r for r in holes if not r.classifier]
    both += [replace(r, key=r.key + name, classifier=name) for r in holes if r.classifier for name in "ab"]
    text = read(both, info)[1]
    assert text.count("**`none` itself has only 4 of 5 pairs**") == 1
    assert [row(text, "`none`", name)[2] for name in "ab"] == ["fold 2 (evaluate was not run)"] * 2


def test_missing_cells_without_effect_on_scores() -> None:
    extra = ResultRow("x", "explain", "s", "d", "missing", "tl", 0, 0, "1", "a")
    text = read([*ROWS, extra])[1]
    assert "1 cell was not run." in text
    assert "Pairs left" not in text


def test_cells_without_a_row_count_as_not_run() -> None:
    records, text, _ = read([r for r in ROWS if (r.stage, r.method, r.fold) != ("evaluate", "cgan", 3)])
    assert records.failures == ()  # the store has no row for it
    assert "fold 3 (evaluate was not run)" in row(text, "`cgan` ×1")[1]


def test_an_arm_with_another_tuning_budget_has_no_verdict() -> None:
    said = summary(collect(Rows(ROWS), PLAN, Path("nowhere")), PLAN)
    assert "Not compared" not in " ".join(said)
    assert "**helps**: tl ×1" in said[0]
    info = replace(PLAN, tuning_budgets={"tl": {"a": "40 trials in every fold"}})
    said = summary(collect(Rows(ROWS), info, Path("nowhere")), info)
    assert "tl" not in said[0]
    assert said[1] == (
        "Not compared: tl was tuned with 40 trials in every fold, none with no tuning; tune both with one budget."
    )
