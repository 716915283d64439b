"""The research questions: comparisons by role, numbers by the correct test, text that follows them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from report_rows import PRIMARY, TAG, made_up
from report_text import text as section_text
from report_text import whole
from scipy import stats

from bench.analysis.info import FoldSize, OtherFinding, ReportInfo
from bench.analysis.lines import leaderboard
from bench.analysis.questions import Question, questions
from bench.analysis.report import collect
from bench.analysis.rows import Rows
from bench.report.export import as_json
from bench.report.page import sections
from bench.report.run_facts import other_findings
from bench.report.sections import questions as section
from bench.stats.decide import decide
from bench.stats.folds_test import resampled_test
from bench.stats.inference import holm
from bench.suite.arms import Arm
from bench.suite.roles import Counterpart, Roles, roles_of, suites_that_answer
from bench.suite.suite import Suite, load_suite, parse_suite
from bench.types import ResultRow

SMALL = {"steps": 2, "filters": 2, "blocks": 1}
ROLES = Roles(
    transfer=("tl", "tl2"), random=("rnd",), plain=("plain",), others=("other",), ablation_pairs=(("tl", "rnd"),),
    counterparts=(Counterpart("tl", "plain", ("norm batch (instance)",)), Counterpart("tl2", "plain", ()),
                  Counterpart("rnd", "plain", ("norm batch (instance)",))),
)  # fmt: skip
METHODS = ("tl", "tl2", "rnd", "plain", "other")
PLAN = ReportInfo(
    "s", "phantom", ("benign", "malignant"), ("none", *METHODS), METHODS, ("a",), ("1",),
    tuple(FoldSize(f, 0, 160, 40, 50, 32, 8, 10) for f in range(5)), roles=ROLES, modality="histology",
)  # fmt: skip
RNG = np.random.default_rng(3)
BASE = {"tl": 0.03, "tl2": 0.05, "rnd": 0.06, "plain": 0.05, "other": 0.20}
KID = {m: [b + x for x in RNG.normal(0, 0.004, 5)] for m, b in BASE.items()}
ACCURACY = {m: [0.8 + x for x in RNG.normal(0, 0.03, 5)] for m in ("none", *METHODS)}
SECONDS = {"tl": 30.0, "tl2": 12.0, "rnd": 29.0, "plain": 10.0, "other": 15.0}


def seconds(method: str, fold: int) -> float:
    return SECONDS[method] * (1 + 0.01 * fold * len(method))


def rows_of(method: str, fold: int, steps: int = 100) -> list[ResultRow]:
    at, same = (method, fold, 0), {"ratio": "0" if method == "none" else "1", "classifier": "a"}
    score = {f"test/{PRIMARY}": ACCURACY[method][fold]}
    found = [ResultRow(f"e{at}", "evaluate", "s", "d", "done", *at, **same, metrics=score)]  # type: ignore[arg-type]
    if method == "none":
        return found
    step_s = seconds(method, fold)
    costs = {"device_s": step_s + 1, "step_device_s": step_s, "peak_memory_bytes": 1e9, "flops_per_step": 2e9}
    facts = {"steps": steps, "parameters": 3_000_000 if method == "plain" else 6_000_000}
    images = {f"synthetic/test/kid_{TAG}": KID[method][fold], f"synthetic/diversity_{TAG}": 1 + 0.1 * fold}
    images |= {f"synthetic/test/recall_{TAG}": 0.5, f"synthetic/test/coverage_{TAG}": 0.5 + KID[method][fold]}
    images |= {f"real_baseline/test/kid_{TAG}": 0.002, f"synthetic/test/kid_subset_size_{TAG}": 40.0}
    return [
        *found,
        ResultRow(f"f{at}", "fit", "s", "d", "done", *at, costs=costs, facts=facts),
        ResultRow(f"s{at}", "synthesize", "s", "d", "done", *at),
        ResultRow(f"k{at}", "fidelity", "s", "d", "done", *at, metrics=images),
        ResultRow(f"c{at}", "memorised", "s", "d", "done", *at, metrics={"memorised/flagged_share": 0.01 * fold}),
    ]


ROWS = [r for m in ("none", *METHODS) for f in range(5) for r in rows_of(m, f)]


def asked(rows: list[ResultRow] = ROWS, info: ReportInfo = PLAN) -> dict[str, Question]:
    table = Rows(rows)
    return {q.name: q for q in questions(leaderboard(table, info, Path("nowhere")), table, info)}


def text_of(rows: list[ResultRow] = ROWS, info: ReportInfo = PLAN) -> dict[str, str]:
    """Return the text of each answer by question."""
    text = section_text(section, info, questions=tuple(asked(rows, info).values()))
    parts = dict(part.split("\n", 1) for part in text.split("\n### ")[1:])
    return {name: parts[title] for name, title in section.TITLES.items() if title in parts}


def suite(**methods: dict[str, object]) -> Suite:
    return parse_suite("x", {"dataset": {"name": "phantom"}, "methods": {"none": {}, **methods},
                             "classifiers": {"small_cnn": {}}})  # fmt: skip


def test_roles_are_read_from_classes_and_configs_whatever_the_names() -> None:
    tl = {"use": "tlsgan_lite0", **SMALL}
    found = roles_of(
        suite(
            other={"use": "cgan"}, plain={"use": "cyclegan", **SMALL}, a=tl, b={**tl, "pretrained": False},
            c={"use": "tlsgan_lite0_scratch", **SMALL}, d={**tl, "pretrained": False, "steps": 3},
            frozen={**tl, "trained_stages": 0}, e={"use": "tlsgan_vgg16_scratch", **SMALL},
        )
    )  # fmt: skip
    assert (found.transfer, found.random) == (("a", "frozen"), ("b", "c", "d", "e"))
    assert (found.plain, found.others) == (("plain",), ("other",))
    assert found.ablation_pairs == (
        ("a", "b"),
        ("a", "c"),
    )  # not d, which trains longer, nor e, which is another network
    assert [c.plain for c in found.counterparts] == ["plain"] * 6
    assert "discriminator tf_efficientnet_lite0 (patchgan)" in found.counterparts[0].differs
    assert found.answers == {"transfer", "cost", "others"}


def test_the_negative_control_is_no_method_to_compare_with() -> None:
    found = roles_of(suite(a={"use": "tlsgan_lite0", **SMALL}, control={"use": "noise"}))
    assert (found.transfer, found.others) == (("a",), ())
    assert "others" not in found.answers


def test_arms_with_different_classifiers_are_not_counterparts() -> None:
    tl = {"use": "tlsgan_lite0", **SMALL}
    own = {"classifiers": {"small_cnn": {"learning_rate": 0.5}}}
    assert roles_of(suite(a={**tl, **own}, b={**tl, "pretrained": False})).ablation_pairs == ()
    assert roles_of(suite(a={**tl, **own}, b={**tl, "pretrained": False, **own})).ablation_pairs == (("a", "b"),)


def test_shipped_suites_have_what_their_questions_need() -> None:
    assert roles_of(load_suite("ablation-transfer")).ablation_pairs == (("pretrained", "scratch"),)
    assert len(roles_of(load_suite("breakhis")).ablation_pairs) == 3
    assert roles_of(load_suite("ablation-training")).answers == set()
    found = suites_that_answer(("transfer", "others"), "breakhis")
    assert set(found["transfer"][:2]) == {"breakhis", "breakhis-small"}  # its own data first
    assert "ablation-transfer" in found["transfer"]
    assert "ablation-transfer" not in found["others"]
    assert suites_that_answer((), "phantom") == {}


def corrected_p(a: str, b: str) -> float:
    """Return p of Nadeau & Bengio's test of KID, with half of their correlation: one repeat of five folds."""
    rho = 50 / 210 / 2
    t = stats.ttest_rel(KID[a], KID[b]).statistic / math.sqrt(1 + 5 * rho / (1 - rho))
    return float(2 * stats.t.sf(abs(t), 4))


def test_counterparts_are_paired_with_the_correct_test() -> None:
    found = {f.difference.kind: f for f in asked()["transfer"].findings}
    assert list(found) == ["kid", "diversity", "recall", "coverage", "memorised", "accuracy"]
    kid, test = found["kid"].difference, resampled_test(np.subtract(KID["tl"], KID["rnd"]), PLAN.test_train_ratio)
    assert (kid.p, kid.low, kid.high) == pytest.approx((test.p, test.low, test.high))
    assert kid.p == pytest.approx(corrected_p("tl", "rnd"))
    assert (kid.word, kid.reference, kid.pairs) == ("lower", "rnd", 5)
    change = list(np.subtract(ACCURACY["tl"], ACCURACY["rnd"]))
    verdict = decide({"": resampled_test(change, PLAN.test_train_ratio)}, PLAN.margin)[""]
    accuracy = found["accuracy"]
    assert (accuracy.difference.word, accuracy.minimum_detectable) == (
        verdict.word,
        pytest.approx(verdict.minimum_detectable_effect),
    )
    assert math.isnan(found["recall"].minimum_detectable)  # equal in every fold: no spread
    assert found["recall"].difference.word == "undecided"


def test_every_transfer_arm_meets_every_other_generator_and_holm_runs_over_all_of_them() -> None:
    q = asked()["others"]
    kid = [f.difference for f in q.findings if f.difference.kind == "kid"]
    assert [(d.arm.method, d.reference) for d in kid] == [("tl", "other"), ("tl2", "other")]
    p = [corrected_p(m, "other") for m in ("tl", "tl2")]
    assert [d.p_adjusted for d in kid] == pytest.approx(list(holm(p)))
    assert {f.difference.kind for f in q.findings} >= {"accuracy", "training", "coverage"}
    decided = [f.difference for f in q.findings if f.difference.word in ("higher", "lower", "helps", "hurts")]
    overall = holm([f.difference.p for f in q.findings])
    words = [f.difference in decided for f in q.findings]
    assert (q.decided, q.overall) == (len(decided), sum(w and p < 0.05 for w, p in zip(words, overall, strict=True)))


def test_costs_are_ratios_with_a_geometric_mean() -> None:
    found = {(r.kind, r.method): r for r in asked()["cost"].costs}
    tl = found["training", "tl"]
    logs = [math.log((seconds("tl", f) + 1) / (seconds("plain", f) + 1)) for f in range(5)]
    ends = stats.ttest_1samp(logs, 0).confidence_interval(0.95)
    assert tl.ratio == pytest.approx(math.exp(np.mean(logs)))
    assert (tl.low, tl.high) == (pytest.approx(math.exp(ends.low)), pytest.approx(math.exp(ends.high)))
    assert (tl.word, tl.plain, tl.pairs) == ("higher", "plain", 5)
    assert tl.comparison is not None
    assert (tl.comparison.verdict.test, tl.comparison.verdict.level) == ("paired t test", 0.05 / 3)  # of three arms
    steps = [seconds("tl", f) / seconds("plain", f) for f in range(5)]
    assert found["step", "tl"].ratio == pytest.approx(stats.gmean(steps))
    assert (found["memory", "tl"].word, found["flops", "tl"].word) == ("undecided", "equal")  # measured, and counted
    parameters = found["parameters", "tl"]
    assert (parameters.ratio, parameters.word) == (2.0, "higher")
    assert math.isnan(parameters.low)
    assert parameters.comparison is None, "counted, not tested"


def test_the_text_follows_the_numbers() -> None:
    found = text_of()
    assert list(found) == ["transfer", "cost", "others"]
    transfer, cost, others = found.values()
    kid = asked()["transfer"].findings[0].difference
    assert f"Decided in {asked()['transfer'].decided} of 6 comparisons." in transfer
    assert f"- `tl` compared with `rnd`: images closer to real ones (KID −{abs(kid.mean):.4f}" in transfer
    assert transfer.strip().startswith("**With transfer learning, images are closer to real ones (KID −")
    assert others.strip().startswith("**Compared with other generators, with transfer learning, images are ")
    assert cost.strip().startswith("**Transfer learning takes 1.16 to 2.84 times the device time, ")
    assert "All of these images are far from real ones after 100 steps" in transfer
    assert "| KID, test | **lower** |" in transfer  # one couple: the sentence names it
    assert "| KID, test | `tl2` | `other` | **lower** |" in others
    minimum = asked()["transfer"].findings[-1].minimum_detectable
    detectable = f"minimum detectable effect of the undecided comparisons {100 * minimum:.1f} points"
    assert f"balanced accuracy: {detectable}" in transfer
    assert "| `plain`, plain |" in cost
    assert "parameters ×2.00, **higher** for all." in cost
    assert "operations per step ×1.00, **equal** for all" in cost
    assert "device time of a step ×1.16 (`tl2`) to ×2.84 (`tl`), **higher** for all" in cost
    assert "all but `tl2`: norm batch (instance)" in cost
    assert "`tl` compared with `other`: images closer to real ones" in others
    assert "Not answered by this run: other imaging modalities." in others


def test_trainings_of_other_lengths_are_compared_by_their_steps_alone() -> None:
    rows = [r for r in ROWS if r.method != "rnd"] + [r for f in range(5) for r in rows_of("rnd", f, steps=50)]
    cost = text_of(rows)["cost"]
    assert (
        "Trained for other numbers of steps, so that only the cost of a step is comparable: `rnd` 50 steps against 100."
        in cost
    )
    span = cost.split("device time of training ")[1].split(";")[0]
    assert "rnd" not in span
    assert "(`rnd`)" in cost.split("device time of a step ")[1].split(";")[0]  # twice as long a step


def test_only_answered_questions_are_shown_and_the_others_named_with_suitable_suites() -> None:
    elsewhere = {"transfer": ("tiny",), "others": ("tiny", "ci")}
    some = replace(PLAN, roles=replace(ROLES, ablation_pairs=(), others=(), elsewhere=elsewhere))
    found = text_of(info=some)
    assert list(found) == ["cost"]
    assert (
        "Not answered by this run: the effect of transfer learning (suites that can: `tiny`), other imaging modalities "
        "and other generative methods (suites that can: `tiny` and `ci`)." in found["cost"]
    )
    assert text_of(info=replace(PLAN, roles=Roles(plain=("plain",), elsewhere=elsewhere))) == {}
    assert questions((), Rows(()), replace(PLAN, roles=None)) == ()


def test_a_failed_fit_removes_a_pair_and_is_named() -> None:
    broken = [
        replace(r, status="failed" if r.stage == "fit" else "skipped", metrics={}, costs={}, error="Memory: 80 GiB")
        if (r.method, r.fold) == ("rnd", 2) else r for r in ROWS
    ]  # fmt: skip
    q = asked(broken)
    assert {f.difference.pairs for f in q["transfer"].findings} == {4}
    (lack,) = q["transfer"].lacks
    assert (lack.method, lack.stage, lack.status, lack.pairs) == ("rnd", "fit", "failed", ((2, 0),))
    assert "**Incomplete:** `fit` of `rnd` failed (Memory: 80 GiB) in fold 2." in text_of(broken)["transfer"]
    assert "4 of 5" in text_of(broken)["transfer"]
    assert q["others"].lacks == ()
    gone = [r for r in ROWS if r.method != "rnd"]
    assert list(text_of(gone)) == ["cost", "others"]


def test_an_unmeasured_stage_removes_only_its_measure() -> None:
    broken = [replace(r, status="failed", metrics={}, error="E: x") if r.stage == "fidelity" else r for r in ROWS]
    q = asked(broken)["transfer"]
    assert [f.difference.kind for f in q.findings] == ["memorised", "accuracy"]
    assert "`fidelity` of `tl` and `rnd` failed (E: x) in folds 0, 1, 2, 3 and 4" in text_of(broken)["transfer"]


def finding(dataset: str, modality: str, word: str, kind: str = "accuracy") -> OtherFinding:
    return OtherFinding("other", dataset, modality, "tl", "rnd", kind, "a", "1", -0.05, -0.08, -0.02, word, 5)


def test_reports_on_other_data_sets_are_compared_with_this_one() -> None:
    better = {**ACCURACY, "tl": [x + 0.2 + 0.001 * i for i, x in enumerate(ACCURACY["rnd"])]}
    rows = [replace(r, metrics={f"test/{PRIMARY}": better["tl"][r.fold or 0]})
            if (r.stage, r.method) == ("evaluate", "tl") else r for r in ROWS]  # fmt: skip
    against = replace(
        PLAN, other_findings=(finding("busi", "ultrasound", "hurts"), finding("busi", "ultrasound", "undecided", "kid"))
    )
    text = text_of(rows, against)["modalities"]
    assert "Effect of transfer learning on `phantom` (histology) and `busi` (ultrasound)." in text
    assert "Accuracy: helps on `phantom`, hurts on `busi`; it does **not generalise** unchanged." in text
    assert "decided on 1 data set, so whether it generalises is **undecided**" in text  # KID
    assert (
        "| `busi` (ultrasound) | `other` | `tl` ×1 | `rnd` | accuracy a | **hurts** | −5.0 [−8.0, −2.0] | 5 |" in text
    )
    same = replace(PLAN, other_findings=(finding("breakhis", "histology", "helps"),))
    assert "another data set, but not another modality" in text_of(rows, same)["modalities"]
    assert (
        "Accuracy: helps on `phantom`, helps on `breakhis`; it **generalises** to them."
        in text_of(rows, same)["modalities"]
    )


def test_results_of_other_reports_are_read_from_their_json(tmp_path: Path) -> None:
    table = Rows(ROWS)
    other = replace(PLAN, suite="scans", dataset="busi", modality="ultrasound")
    records = collect(table, other, tmp_path)
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "leaderboard.json").write_text(json.dumps(as_json(records, other)))
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "leaderboard.json").write_text("{}")
    found = list(other_findings(tmp_path, "phantom"))
    assert [(c.suite, c.dataset, c.modality, c.method, c.from_scratch, c.kind, c.ratio) for c in found] == [
        ("scans", "busi", "ultrasound", "tl", "rnd", "kid", ""),
        ("scans", "busi", "ultrasound", "tl", "rnd", "accuracy", "1"),
    ]
    kid = asked()["transfer"].findings[0].difference
    assert (found[0].difference, found[0].low, found[0].word) == (kid.mean, kid.low, kid.word)
    assert list(other_findings(tmp_path, "busi")) == []  # reports on the same data are ignored


def test_the_whole_report_has_them_before_the_comparisons(tmp_path: Path) -> None:
    gans = ("cgan", "cyclegan", "tlsgan_lite0", "tlsgan_lite0_scratch")
    rows, info = made_up(tmp_path, patients=8, per_patient=2, generative=gans, classifiers=("a",), pictures=False)
    info = replace(info, roles=roles_of(load_suite("tiny")))
    records = collect(Rows(rows), info, tmp_path)
    text = whole(sections(records, info, {}, {}))
    assert 0 < text.index("## Research questions") < text.index("## Scores and comparisons: a\n")
    assert "#### All 7 comparisons" in text
    exported = as_json(records, info)["questions"]
    assert [q["name"] for q in exported] == ["transfer", "cost", "modalities", "others"]
    json.dumps(exported, allow_nan=False)
    assert Arm("tlsgan_lite0", "0.5") in {f.difference.arm for f in records.questions[0].findings}
