"""Incomplete stores: the report is written, lists missing cells and their effect on every verdict."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.analysis.info import FoldSize, ReportInfo
from bench.analysis.report import Records, collect
from bench.analysis.rows import Rows
from bench.report.export import as_json
from bench.report.sections.failures import failure_section
from bench.report.sections.page import markdown, sections
from bench.report.sections.summary import summary
from bench.stats.planning import minimum_detectable_effect, pair_ratio
from bench.suite.arms import Arm
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
    """Return the records, the section on missing cells, and the last sentence of the summary."""
    records = collect(Rows(rows), info, Path("nowhere"))
    return records, "\n".join(failure_section(records, info)), summary(records.lines, info)[-1]


def row(text: str, *begins: str) -> list[str]:
    """Return the cells of the only table row with this beginning."""
    (found,) = [x for x in text.splitlines() if x.startswith("| " + " | ".join(begins) + " |")]
    return [c.strip() for c in found.strip("|").split("|")]


def test_a_complete_store_has_no_section() -> None:
    records, text, last = read(ROWS)
    assert (records.losses, records.families, records.shortfalls, text) == ((), (), (), "")
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
    assert "**Incomplete:** 6 scores of 30 are missing, in 5 lines (0 without any score)." in last
    assert {(x.arm.method, x.reference): (x.pairs, x.planned) for x in records.losses} == {
        ("classical", "none"): (4, 5), ("cgan", "none"): (3, 5), ("cyclegan", "none"): (4, 5), ("tl", "none"): (4, 5),
        ("rnd", "none"): (4, 5), ("cgan", "classical"): (3, 5), ("cyclegan", "classical"): (3, 5),
        ("tl", "classical"): (3, 5), ("rnd", "classical"): (3, 5),
    }  # fmt: skip
    cgan = next(x for x in records.losses if (x.arm.method, x.reference) == ("cgan", "none"))
    change = [SCORE["cgan"][f] - SCORE["none"][f] for f in (2, 3, 4)]
    sd, ratio = float(np.std(change, ddof=1)), pair_ratio(PLAN.test_train_ratio)
    assert cgan.smallest == pytest.approx(minimum_detectable_effect(sd, 3, ratio))
    assert cgan.whole == pytest.approx(minimum_detectable_effect(sd, 5, ratio))
    cells = row(text, "`cgan` ×1", "`none`")
    assert cells[3] == "3 of 5"
    assert cells[4:6] == [f"{100 * cgan.smallest:.1f}", f"{100 * cgan.whole:.1f}"]
    assert cells[6] == "folds 0 and 1 (fit failed)"
    assert cells[7] == f"the minimum detectable effect grew by {100 * (cgan.smallest - cgan.whole):.1f} points"
    assert records.families == ()  # every arm has at least two pairs: Holm's correction covers all of them
    assert "`tl` ×1 helps against `none` on 4 pairs" in text
    assert "**`classical` itself lacks fold 0** (evaluate was not run), so all 4 verdicts against it" in text
    assert "- `cgan`: folds 0 and 1 missing, 3 of 5 pairs left, for the cost of training, the images, the" in text
    assert (
        "- `rnd`: fold 3 missing, 4 of 5 pairs left, for the search for memorised samples; it is used in question 1 "
        "above" in text
    )
    assert "- `tl`: fold 4 missing" in text
    assert "it is used in questions 1, 2 and 4 above" in text
    assert row(text, "failed", "fit", "2")[3:] == ["`cgan`", "–", "0, 1", REASON]
    assert row(text, "missing", "evaluate", "2")[3:5] == ["`classical`, `rnd`", "a, a ×1"]
    whole = markdown(sections(records, PLAN, {}, {}), PLAN)
    assert "## Failed, skipped and missing" in whole
    assert "**Incomplete:** `fit` of `tl` failed" in whole  # also listed in the questions
    assert len(as_json(records, PLAN)["losses"]) == 9


def test_a_missing_pair_of_none_affects_every_verdict() -> None:
    records, text, last = read(injected(missing={("classify", "none", 2)}))
    of_none = [x for x in records.losses if x.reference == "none"]
    assert [x.arm.method for x in of_none] == ["classical", *GANS]
    assert {(x.pairs, len(x.own), len(x.theirs)) for x in of_none} == {(4, 0, 1)}
    assert all(x.smallest > x.whole for x in of_none)
    assert not [x for x in records.losses if x.reference == "classical"]  # that reference is complete
    expected = (
        "**`none` itself lacks fold 2** (classify was not run), so all 5 verdicts against it can use at most 4 of 5"
    )
    assert expected in text
    assert "`none` itself has 4 of 5 pairs, so no verdict against it uses more." in last
    grown = [100 * (x.smallest - x.whole) for x in of_none]
    assert f"{min(grown):.1f} to {max(grown):.1f} more than with all planned pairs of this spread" in text


def test_a_generator_that_failed_in_one_fold() -> None:
    records, text, _ = read(injected(failed={("fit", "tl", 1)}))
    assert [(x.arm.method, x.reference, x.pairs) for x in records.losses] == [("tl", "none", 4), ("tl", "classical", 4)]
    assert [(s.stage, s.method, s.pairs) for s in records.shortfalls] == [
        (stage, "tl", ((1, 0),)) for stage in ("fit", "synthesize", "fidelity", "memorised")
    ]
    assert "**`none` itself" not in text
    others = {q.name: {x.method for x in q.lacks} for q in records.questions}
    assert others == {"transfer": {"tl"}, "cost": {"tl"}, "modalities": set(), "others": {"tl"}}
    reference = replace(PLAN, reference="tl")
    assert "every difference to it lacks these pairs" in read(injected(failed={("fit", "tl", 1)}), reference)[1]


def test_an_arm_without_scores_is_not_counted_in_holms_correction() -> None:
    rows = injected(failed={("fit", "cgan", f) for f in range(5)})
    records, text, last = read(rows)
    assert [(f.reference, f.planned, f.lost) for f in records.families] == [
        ("none", 5, (Arm("cgan", "1"),)),
        ("classical", 4, (Arm("cgan", "1"),)),
    ]
    expected = "Holm's correction against `none` covers at most 4 of 5 comparisons, without `cgan` ×1"
    assert expected in text
    assert "multiplied by 4 instead of 5" in text
    cells = row(text, "`cgan` ×1", "`none`")
    assert cells[2:4] == ["–", "0 of 5"]
    assert cells[7] == "no verdict; not counted in Holm's correction"
    assert "(1 without any score)" in last
    whole = collect(Rows(ROWS), PLAN, Path("nowhere")).lines
    less = {x.arm: x.versus["none"]["patient_balanced_accuracy"].p_holm for x in records.lines if "none" in x.versus}
    before = {x.arm: x.versus["none"]["patient_balanced_accuracy"].p_holm for x in whole if "none" in x.versus}
    assert all(p <= before[arm] for arm, p in less.items())  # decided more easily, as stated in the text
    assert any(p < before[arm] for arm, p in less.items())
    assert "`cgan`: every fold missing for the cost of training" in text


def test_one_remaining_pair_decides_nothing() -> None:
    records, text, _ = read(injected(failed={("fit", "tl", f) for f in range(4)}))
    (loss,) = [x for x in records.losses if x.reference == "none"]
    assert (loss.pairs, loss.word) == (1, "undecided")
    assert math.isnan(loss.smallest)
    assert math.isnan(loss.whole)
    assert "one pair has no spread: always undecided" in row(text, "`tl` ×1", "`none`")[7]
    assert [f.lost for f in records.families] == [(Arm("tl", "1"),)] * 2


def test_everything_failed() -> None:
    stages = ("fit", "classify")
    rows = injected(failed={(s, m, f) for s in stages for m in METHODS for f in range(5) if s != "fit" or m in GANS})
    records, text, last = read(rows)
    first = summary(records.lines, PLAN)[0]
    assert first.startswith("No score could be computed: every arm lacks all of its pairs. The first cause: ")
    assert REASON in first
    assert "so nothing is compared with them" in last
    assert "**`none` itself lacks folds 0, 1, 2, 3 and 4** (classify failed), so there is no verdict against it" in text
    assert "None of 5 comparisons against `none` is left" in text
    whole = markdown(sections(records, PLAN, {}, {}), PLAN)
    assert whole.count("**This run cannot answer it**") == 4
    as_json(records, PLAN)


def test_a_suite_without_classifiers_loses_images_and_no_verdicts() -> None:
    info = replace(PLAN, classifiers=())
    rows = [r for r in injected(failed={("fit", "tl", 1)}) if r.classifier is None]
    records = collect(Rows(rows), info, Path("nowhere"))
    text = "\n".join(failure_section(records, info))
    assert records.losses == ()
    assert "verdicts" not in text
    assert "- `tl`: fold 1 missing, 4 of 5 pairs left" in text


def test_equally_affected_classifiers_are_named_in_one_sentence() -> None:
    info = replace(PLAN, classifiers=("a", "b", "c"))
    holes = injected(missing={("evaluate", "none", 2)}, failed={("fit", "cgan", f) for f in range(5)})
    whole = injected(failed={("fit", "cgan", f) for f in range(5)})

    def named(rows: list[ResultRow], name: str) -> list[ResultRow]:
        return [replace(r, key=r.key + name, classifier=name) for r in rows if r.classifier]

    shared = [r for r in holes if not r.classifier]
    some = [*shared, *named(holes, "a"), *named(holes, "b"), *named(whole, "c")]
    text, last = read(some, info)[1:]
    assert "**`none` itself lacks fold 2** with a and b (evaluate was not run), so all 10 verdicts against it" in text
    assert text.count("Holm's correction against `none` with every classifier covers at most 4 of 5") == 1
    assert "`none` itself has 4 of 5 pairs with a and b, so no verdict against it uses more." in last
    every = read([*shared, *named(holes, "a"), *named(holes, "b"), *named(holes, "c")], info)
    assert "**`none` itself lacks fold 2** with every classifier" in every[1]
    assert "`none` itself has 4 of 5 pairs, so no verdict" in every[2]


def test_missing_cells_without_effect_on_verdicts() -> None:
    extra = ResultRow("x", "explain", "s", "d", "missing", "tl", 0, 0, "1", "a")
    text = read([*ROWS, extra])[1]
    assert "1 cell was not run." in text
    assert "No verdict and no metric of a generator is affected." in text


def test_cells_without_a_row_count_as_not_run() -> None:
    records, text, _ = read([r for r in ROWS if (r.stage, r.method, r.fold) != ("evaluate", "cgan", 3)])
    assert records.failures == ()  # the store has no row for it
    assert "fold 3 (evaluate was not run)" in row(text, "`cgan` ×1", "`none`")[6]
