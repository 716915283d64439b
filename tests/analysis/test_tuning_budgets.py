"""An arm is compared only with an arm that had the same tuning budget."""

from __future__ import annotations

from dataclasses import replace

from bench.analysis.comparison import Comparison, Scored, compared
from bench.analysis.info import FoldSize, ReportInfo
from bench.suite.arms import Arm

NONE, GAN = Arm("none"), Arm("gan", "1")
INFO = ReportInfo(
    suite="s",
    dataset="d",
    classes=("a", "b"),
    methods=("none", "gan"),
    generative=("gan",),
    classifiers=("c",),
    ratios=("1",),
    folds=tuple(FoldSize(fold, 0, 40, 10, 10) for fold in range(5)),
)


def comparison(budgets: dict[str, dict[str, str]], classifier: str = "c", plain: bool = False) -> Comparison:
    """Return the comparison of an arm that is 20 points better in every fold."""
    scored = {
        NONE: Scored({(f, 0): 0.60 + 0.001 * f for f in range(5)}),
        GAN: Scored({(f, 0): 0.80 + 0.002 * f for f in range(5)}),
    }
    info = replace(INFO, tuning_budgets=budgets)
    (found,) = compared(scored, [(GAN, NONE)], info, "auroc", classifier, "f", 0.02, plain)
    return found


def test_a_tuned_arm_is_not_compared_with_an_untuned_one() -> None:
    assert comparison({}).verdict.word == "helps"
    tuned = comparison({"gan": {"c": "40 trials"}}).verdict
    assert tuned.word == "undecided"
    assert "Not compared: gan was tuned with 40 trials, none with no tuning" in tuned.withheld
    assert tuned.difference == comparison({}).verdict.difference  # what was measured stays
    other = comparison({"gan": {"c": "40 trials"}, "none": {"c": "20 trials"}}).verdict
    assert (other.word, "none with 20 trials" in other.withheld) == ("undecided", True)


def test_equal_budgets_and_other_classifiers_are_compared() -> None:
    both = {m: {"c": "40 trials in every fold"} for m in ("none", "gan")}
    assert comparison(both) == comparison({})
    assert comparison({"gan": {"other": "40 trials"}}).verdict.word == "helps"
    assert comparison({"gan": {"other": "40 trials"}}, classifier="").verdict.word == "undecided"  # image quality
    assert comparison({"gan": {"c": "40 trials"}}, plain=True).verdict.word == "helps"  # seconds
