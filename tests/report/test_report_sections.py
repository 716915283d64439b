"""The sections of a report, each checked on handmade records or rows."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from report_rows import PRIMARY, made_up
from report_text import shown
from report_text import text as said

from bench.analysis.info import ClassSize, DataFacts, FoldSize, ReportInfo
from bench.analysis.lines import Line, leaderboard
from bench.analysis.memorised import MemorisedSamples, Survival, memorised_samples, survivals
from bench.analysis.quality import Quality, Untrained, collapsed, wrong_labels
from bench.analysis.report import Records
from bench.analysis.rows import Rows, Score
from bench.analysis.translations import CEILING, Translation, translations
from bench.report.charts.pages import MOST, even, numbered, pages
from bench.report.sections import data as data_section
from bench.report.sections import leaderboard as leaderboard_section
from bench.report.sections import memorised as memorised_section
from bench.report.sections import quality as quality_section
from bench.report.sections import translations as translation_section
from bench.report.sections.board import board, verdict_overview
from bench.report.sections.memorised import survival_sentence
from bench.report.sections.summary import summary
from bench.report.text import p_value, percent
from bench.stats.decide import decide
from bench.stats.folds_test import resampled_test
from bench.suite.arms import Arm
from bench.types import ResultRow

SIZES = (160, 40, 50, 32, 8, 10)
PLAN = ReportInfo(
    "tiny", "phantom", ("benign", "malignant"), ("none", "classical", "cgan"), ("cgan",), ("a",),
    ("1", "1-without-memorised"), tuple(FoldSize(f, 0, *SIZES) for f in range(5)),
)  # fmt: skip
NONE = (0.700, 0.702, 0.704, 0.703, 0.701)


def cells(text: str, head: str) -> list[list[str]]:
    """Return the rows of the first table whose header contains ``head``."""
    lines = text[text.index(head) :].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([c.strip() for c in line.strip("|").split("|")])
    return rows


def scored(method: str, values: tuple[float, ...], ratio: str = "0") -> list[ResultRow]:
    same = {"ratio": ratio, "classifier": "a"}
    rows = []
    for f, v in enumerate(values):
        at = (method, f, 0)
        facts = {"memorised_dropped": 10 + f} if ratio.endswith("-without-memorised") else {}
        rows.append(ResultRow(f"c{at}{ratio}", "classify", "s", "d", "done", *at, **same, facts=facts))
        rows.append(
            ResultRow(f"e{at}{ratio}", "evaluate", "s", "d", "done", *at, **same, metrics={f"test/{PRIMARY}": v})
        )
    return rows


def plus(by: float, spread: float = 0.002) -> tuple[float, ...]:
    return tuple(b + by + spread * i for i, b in enumerate(NONE))


def survived(with_copies: tuple[float, ...], without: tuple[float, ...]) -> tuple[list[Line], Survival]:
    rows = Rows(
        scored("none", NONE) + scored("cgan", with_copies, "1") + scored("cgan", without, "1-without-memorised")
    )
    lines = list(leaderboard(rows, PLAN, Path("nowhere")))
    (found,) = survivals(lines, rows, PLAN)
    return lines, found


def test_a_collapsed_generator_is_marked_and_named_in_the_answer() -> None:
    def quality(method: str, synthetic: float) -> Quality:
        measured = {"synthetic/diversity": synthetic, "real/train/diversity": 0.2}
        return Quality(method, "net-1", {key: Score.of([value]) for key, value in measured.items()})

    lines = leaderboard(Rows(scored("none", NONE) + scored("cgan", plus(0.1), "1")), PLAN, Path("nowhere"))
    low = Records(lines=lines, quality=(quality("cgan", 0.06), quality("noise", 0.01), quality("flow_matching", 0.19)))
    assert list(collapsed(low.quality)) == ["cgan"], "0.30 of the real diversity; noise is a control"
    assert collapsed(low.quality)["cgan"].diversity_share == pytest.approx(0.3)
    (sentence,) = [s for s in summary(low, PLAN) if s.startswith("**Low diversity:**")]
    assert "`cgan` 30.0 % by net-1 of the real diversity" in sentence
    assert "flow_matching" not in sentence
    names = list(board(low, PLAN).frame["Arm"])
    assert "`cgan` ×1 (low diversity)" in names
    assert "`none`" in names
    fine = replace(low, quality=(quality("cgan", 0.15),))
    assert not [s for s in summary(fine, PLAN) if "diversity" in s]
    assert "`cgan` ×1" in list(board(fine, PLAN).frame["Arm"])
    assert math.isnan(Quality("cgan", "net-1", {}).diversity_share), "nothing was measured"


def test_images_with_wrong_labels_are_marked_and_named_in_the_answer() -> None:
    def quality(method: str, agreement: float, tag: str = "net-1") -> Quality:
        measured = {"synthetic": agreement, "real/test": 0.9, "other_class/test": 0.125}
        return Quality(method, tag, {f"{where}/label_agreement": Score.of([x]) for where, x in measured.items()})

    lines = leaderboard(Rows(scored("none", NONE) + scored("cgan", plus(0.1), "1")), PLAN, Path("nowhere"))
    found = Records(lines=lines, quality=(quality("cgan", 0.02), quality("flow_matching", 0.2), quality("noise", 0.1)))
    assert list(wrong_labels(found.quality)) == ["cgan"]
    (sentence,) = [s for s in summary(found, PLAN) if s.startswith("**Wrong labels:**")]
    assert "takes 2.0 % of `cgan` for the class of their label" in sentence
    assert "of other patients 90.0 %, of real images of other classes 12.5 %" in sentence
    assert "`cgan` ×1 (wrong labels)" in list(board(found, PLAN).frame["Arm"])
    text = said(quality_section, PLAN, quality=found.quality)
    assert cells(text, "| Method | Label agreement")[0] == ["`cgan`", "0.0200 (0.900, 0.125)"]
    fine = replace(found, quality=(quality("cgan", 0.02), quality("cgan", 0.7, tag="net-2")))
    assert not [s for s in summary(fine, PLAN) if "Wrong labels" in s], "by another network they agree"
    assert "`cgan` ×1" in list(board(fine, PLAN).frame["Arm"])
    assert not wrong_labels((Quality("cut", "net-1", {}),)), "nothing was measured"


def test_several_untrained_generators_are_named_in_one_sentence() -> None:
    def said_of(**shares: float) -> list[str]:
        both = ("cgan", "cyclegan")
        info = replace(PLAN, methods=("none", *both), generative=both, untrained=shares)
        rows = [r for m in both for r in scored(m, plus(0.1), "1")]
        lines = leaderboard(Rows(scored("none", NONE) + rows), info, Path("nowhere"))
        named = tuple(Untrained(method, share) for method, share in shares.items())
        return [s for s in summary(Records(lines=lines, untrained=named), info) if s.startswith("Not compared")]

    why = "excess KID in % of that of noise"
    expected = f"cgan (67 %) and cyclegan (94 %), whose generators are untrained ({why})"
    assert said_of(cgan=0.67, cyclegan=0.94) == [f"Not compared: {expected}; train them for more steps."]
    (one,) = said_of(cgan=0.67)
    assert (
        one == "Not compared: cgan is untrained, the excess KID of its images is 67 % of that of noise; "
        "train it for more steps."
    )


def test_a_gain_that_remains_without_memorised_samples() -> None:
    lines, found = survived(plus(0.1), plus(0.09))
    assert (found.arm, found.classifier, found.survives) == (Arm("cgan", "1"), "a", True)
    assert found.change.difference == pytest.approx(-0.01)
    assert found.dropped.mean == 12
    sentence = survival_sentence([found], PLAN)
    assert sentence == (
        "Without the images flagged as memorised, the gain remains for cgan ×1 (+10.4 points with, +9.4 without)."
    )
    text = said(memorised_section, PLAN, survivals=(found,))
    assert cells(text, "| Arm")[0][:2] == ["`cgan` ×1", "12 images"]
    assert "without" not in summary(Records(lines=tuple(lines)), PLAN)[0]


def test_a_gain_that_is_lost_without_memorised_samples_and_no_gain_at_all() -> None:
    _, lost = survived(plus(0.1), plus(0.01, spread=0.02))
    assert (lost.all_images.word, lost.survives) == ("helps", False)
    assert "it is no longer shown for cgan ×1 (+10.4 points with, +5.0 without)" in survival_sentence([lost], PLAN)
    _, never = survived(plus(0.0, spread=0.02), plus(-0.01, spread=0.02))
    assert survival_sentence([never], PLAN).endswith("Excluding the flagged images changed the means by −1.0 points.")


def test_arms_without_memorised_samples_are_a_separate_family() -> None:
    arms = scored("none", NONE) + scored("classical", plus(0.02, 0.004)) + scored("cgan", plus(0.03, 0.005), "1")
    alone = leaderboard(Rows(arms), PLAN, Path("nowhere"))
    more = leaderboard(Rows(arms + scored("cgan", plus(0.03, 0.006), "1-without-memorised")), PLAN, Path("nowhere"))

    def p_adjusted(lines: tuple[Line, ...]) -> list[float]:
        return [
            x.versus["none"][PRIMARY].p_adjusted for x in lines if "none" in x.versus and not x.arm.exclude_memorised
        ]

    assert p_adjusted(more) == p_adjusted(alone)
    apart = next(x for x in more if x.arm.exclude_memorised).versus["none"][PRIMARY]
    assert apart.p_adjusted == apart.p


def test_memorised_samples_are_read_by_name_and_compared_with_real_images(tmp_path: Path) -> None:
    rows, plan = made_up(tmp_path, generative=("cgan", "cyclegan"), pictures=False, classifiers=("a",), ratios=("1",))
    found = memorised_samples(Rows(rows), plan)
    assert [(c.method, c.extractor) for c in found] == [(m, "tf_efficientnet_lite0-1a2b3c4d") for m in plan.generative]
    first, second = cells(said(memorised_section, plan, memorised=found), "| Method")
    assert first == ["`cgan`", "4.0 (1.0)", "91.0 (93.0)", "97.0 (98.0)", "0.0", "2.0", "–"]
    assert second[1:3] + second[-1:] == ["5.0 (1.0)", "90.0 (93.0)", "60.0"]
    assert said(memorised_section, plan) == ""
    undefined = MemorisedSamples(
        "x", "t", {"flagged_share": Score.of([math.nan]), "patient_like_share": Score.of([0.1])}
    )
    rows_of_both = cells(said(memorised_section, plan, memorised=(*found, undefined)), "| Method")
    assert rows_of_both[2] == ["`x`", "–", "–", "–", "–", "10.0", "–"]


def test_every_fid_has_its_real_vs_real_baseline_and_number_of_images() -> None:
    sizes = {"n_synthetic": Score.of([160.0]), "n_real": Score.of([100.0]), "kid_subset_size": Score.of([100.0])}
    scores = {f"synthetic/test/{k}": s for k, s in sizes.items()}
    scores |= {f"at_real_baseline/train/{k}": s for k, s in (sizes | {"n_synthetic": Score.of([60.0])}).items()}
    scores |= {"synthetic/test/fid": Score.of([90.0]), "real_baseline/test/fid": Score.of([30.0])}
    scores |= {"at_real_baseline/train/fid": Score.of([95.0]), "real_baseline/train/fid": Score.of([35.0])}
    scores |= {"synthetic/test/kid": Score.of([0.5]), "real_baseline/test/kid": Score.of([math.nan])}
    scores |= {"synthetic/is": Score.of([1.5]), "real/train/is": Score.of([2.0])}
    text = said(quality_section, PLAN, quality=(Quality("cgan", "net-1", scores),))
    test, train = text.split("Against training images:")
    assert cells(test, "| Method") == [["`cgan`", "160 : 100", "**0.500**", "**90.0** (30.0)", "100"]]
    assert cells(train, "| Method | Images") == [["`cgan`", "60 : 100", "**95.0** (35.0)", "100"]]
    assert cells(text, "| Method | Inception") == [["`cgan`", "**1.50** (2.00)"]]
    assert "not the Inception scores" in text
    assert "not the Inception" not in said(
        quality_section, PLAN, quality=(Quality("cgan", "inception-6726825d", scores),)
    )


def test_translations_have_an_upper_bound_a_reference_and_the_published_variant(tmp_path: Path) -> None:
    rows, plan = made_up(tmp_path, generative=("cgan", "cyclegan"), pictures=False, classifiers=("a",), ratios=("1",))
    found = translations(Rows(rows), plan)
    assert [t.method for t in found] == [CEILING, "cyclegan"]
    text = said(translation_section, PLAN, translations=found)
    assert cells(text, "| Method | IoU") == [
        [f"*{CEILING}*", "70.5", "89.5", "85.5"],
        ["`cyclegan`", "57.0", "85.0", "80.0"],
    ]
    assert cells(text, "| Method | SSIM | PSNR | MSE | L1") == [["`cyclegan`", "0.850", "26.0", "0.00400", "0.0600"]]
    assert "compared with true masks" in text
    assert "published unpaired variant" in text
    assert translations(Rows([r for r in rows if r.stage != "translate"]), plan) == ()
    assert said(translation_section, PLAN) == ""


def test_a_missing_fcn_score_has_a_reason() -> None:
    found = (Translation("cyclegan", {"cycle/ssim": Score.of([0.9, math.nan])}, "no true masks"),)
    text = said(translation_section, PLAN, translations=found)
    assert "There is no FCN score: no true masks." in text
    assert "| `cyclegan` | 0.900 | – |" in text


def test_the_data_its_problems_and_its_leakage_checks() -> None:
    facts = DataFacts(
        (ClassSize("benign", 80, 9), ClassSize("malignant", 120, 9)), {"copy_under_two_labels": 4}, "groups"
    )
    folds = (FoldSize(0, 0, 100, 40, 60, 9, 4, 5), FoldSize(1, 0, 104, 36, 60, 9, 4, 5))
    text = said(data_section, replace(PLAN, data=facts, folds=folds))
    assert cells(text, "| Class") == [["benign", "80", "9"], ["malignant", "120", "9"]]
    assert cells(text, "| Part")[0] == ["train", "100 to 104", "9"]
    assert "- **File problems**: copy under two labels 4\n" in text
    assert "**Leakage checks**: group-disjoint (no group" in text
    assert "Near duplicates" not in text
    assert said(data_section, replace(PLAN, folds=())) == ""


def test_each_class_has_its_scores_only_where_there_are_more_than_two(tmp_path: Path) -> None:
    three = made_up(
        tmp_path, classes=("akiec", "bcc", "nv"), generative=(), classifiers=("a",), pictures=False, patients=9
    )
    undefined = next(r for r in three[0] if r.stage == "evaluate" and r.method == "none" and r.fold == 0)
    undefined.metrics["test/precision_akiec"] = undefined.metrics["test/precision"] = math.nan
    lines = leaderboard(Rows(three[0]), three[1], tmp_path)
    text = said(leaderboard_section, three[1], lines=lines)
    tables = text.partition("Each class")[2].split("\n| Arm | Mean | akiec | bcc | nv")
    assert [t.rstrip(":\n").rsplit("\n", 1)[-1] for t in tables[:4]] == [
        *("Precision", "Recall", "F1", "AUROC, against the rest"),
    ]
    none = next(x for x in lines if x.arm.method == "none")
    of_none = [r.metrics for r in three[0] if r.stage == "evaluate" and r.method == "none"]
    for part, (metric, macro) in zip(
        tables[1:],
        [("precision", "precision"), ("recall", "sensitivity"), ("f1", "f1"), ("auroc", "auroc")],
        strict=True,
    ):
        shown = next(line for line in part.split("\n") if line.startswith("| `none`")).replace("*", "").split("|")[2:-1]
        for cell, key in zip(shown, [macro, *(f"{metric}_{c}" for c in three[1].classes)], strict=True):
            values = [m[f"test/{key}"] for m in of_none if math.isfinite(m[f"test/{key}"])]
            assert cell.strip().startswith(percent(sum(values) / len(values)))
            assert cell.strip().endswith("(1)") == (len(values) == 1 < len(of_none))
    assert none.recalls["bcc"].mean == pytest.approx(sum(m["test/recall_bcc"] for m in of_none) / 2)
    two = leaderboard(Rows(scored("none", NONE)), PLAN, tmp_path)
    assert "Each class" not in said(leaderboard_section, PLAN, lines=two)


def test_the_statistics_table_has_the_values_of_the_verdict() -> None:
    lines = leaderboard(Rows(scored("none", NONE) + scored("classical", plus(0.1))), PLAN, Path("nowhere"))
    row = cells(said(leaderboard_section, PLAN, lines=lines), "| Arm | Verdict")[0]
    tested = resampled_test([0.1 + 0.002 * i for i in range(5)], PLAN.test_train_ratio)
    v = decide({"": tested}, PLAN.margin)[""]
    assert row[:3] == ["`classical`", "**helps**", f"+10.4 [+{100 * v.low:.1f}, +{100 * v.high:.1f}]"]
    detectable = f"{100 * v.minimum_detectable_effect:.1f}"
    family = f"{PRIMARY} against none"
    assert row[3:] == ["< 0.001", "< 0.001", detectable, "corrected resampled t test", family, "0.0500"]
    assert [p_value(p) for p in (0.5, 0.0994, 0.0996, 0.00099, math.nan)] == ["0.50", "0.099", "0.10", "< 0.001", "–"]


def test_verdicts_of_all_classifiers_side_by_side() -> None:
    lines = leaderboard(Rows(scored("none", NONE) + scored("classical", plus(0.1))), PLAN, Path("nowhere"))
    assert verdict_overview(lines, PLAN) is None
    both = [*lines, *(replace(x, classifier="b") for x in lines)]
    overview = verdict_overview(both, replace(PLAN, classifiers=("a", "b")))
    assert overview is not None
    assert "| `classical` | **helps** +10.4 | **helps** +10.4 |" in shown(overview)


def test_the_summary_names_the_largest_of_many() -> None:
    methods = tuple(f"m{i}" for i in range(9))
    rows = scored("none", NONE) + [r for i, m in enumerate(methods) for r in scored(m, plus(0.1 + i / 100, 0.001))]
    plan = replace(PLAN, methods=("none", *methods), generative=(), ratios=())
    sentence = summary(Records(lines=leaderboard(Rows(rows), plan, Path("nowhere"))), plan)[0]
    assert "**helps**: m8 (+18.2), m7 (+17.2), m6 (+16.2), m5 (+15.2), m4 (+14.2) and 4 more." in sentence


def test_charts_of_many_arms_are_cut_into_pages() -> None:
    line = leaderboard(Rows(scored("none", NONE)), PLAN, Path("nowhere"))[0]
    lines = [replace(line, classifier=c, arm=Arm(f"m{i}")) for c in "abcd" for i in range(50)]
    found = pages(lines)
    assert [(p.classifiers, len(p.arms)) for p in found] == [
        (("a", "b"), 25),
        (("a", "b"), 25),
        (("c", "d"), 25),
        (("c", "d"), 25),
    ]
    assert sum(len(p.panel(c)) for p in found for c in p.classifiers) == len(lines)
    many = pages([replace(line, arm=Arm(f"m{i}")) for i in range(1000)])
    assert (len(many), many[0].of) == (MOST, 25)
    assert [list(x) for x in even("abcde", 2)] == [["a"], ["b", "c"], ["d", "e"]]
    assert [numbered("charts/x", n) for n in (1, 2)] == ["charts/x.png", "charts/x_2.png"]
