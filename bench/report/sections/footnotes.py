"""What each column of the leaderboard means: the text at its foot."""

from __future__ import annotations

from bench.metrics.planning import LASTING_SHARE
from bench.report.info import ReportInfo
from bench.report.sections.text import number


def footnotes(info: ReportInfo) -> str:
    """Return a list that defines every column, with this run's numbers in it."""
    sens, spec = "mean recall over classes", "mean over classes of the recall of the rest"
    if len(info.classes) == 2:
        sens, spec = f"recall of {info.classes[1]}", f"recall of {info.classes[0]}"
    notes = {
        "Arm": (
            "the augmentation method; ×r adds r synthetic images per real one of each class, *balance* fills the "
            "smaller class. Every arm trains the same classifier for the same number of optimiser steps."
        ),
        "Pairs": "(fold, repeat) with a score, of those planned. Arms are paired: same split, same seeds.",
        "Bal. acc., AUROC, F1, Sens., Spec.": (
            "on test patients that neither classifier nor generator has seen: balanced accuracy, area under the ROC "
            f"curve, F1, sensitivity ({sens}) and specificity ({spec}). Per patient, the mean probability over a "
            "patient's images is scored once. Bold is the best mean among the lines with the most pairs; it is no "
            "claim. The interval comes from resampling patients within folds; there is none where all score alike."
        ),
        "Δ none, Δ classical": (
            "mean paired difference in points [95 % interval of the corrected resampled t test of Nadeau and Bengio, "
            f"n_test/n_train = {number(info.test_train_ratio)}, at {LASTING_SHARE:g} times the correlation of pairs "
            "that they assume, as measured (`bench selftest`); cut at ±100, the largest possible]."
        ),
        "Verdict": (
            "*helps* or *hurts*: that test rejects no difference at 5 %, Holm-corrected over this classifier's arms; "
            f"*equivalent*: two one-sided tests, corrected likewise, place it within ±{100 * info.margin:g} points; "
            "*undecided*: neither."
        ),
        "Smallest effect": (
            "the true difference to `none`, in points, that a design with this spread and number of pairs finds with "
            "80 % power."
        ),
        "Generator, Synthesis, Classifier": (
            "mean wall time a fold. One generator serves all ratios and classifiers; synthesis is of all images that "
            "the largest ratio needs."
        ),
        "Training a fold, Peak memory": (
            "wall time of the generator's training with loading of data, and what of it went into steps; the highest "
            "memory of the process (CPU) or allocated on the device, over folds."
        ),
        "KID, FID": (
            "distance of features from those of real test (training) images, lower is nearer; KID is unbiased for few "
            "images, FID is not. *Precision*, *density*: how realistic; *recall*, *coverage*: how much of the real "
            "variety. Real training images against test images are the floor: what other patients' real images score."
        ),
    }
    return "".join(f"- **{head}**: {text}\n" for head, text in notes.items())
