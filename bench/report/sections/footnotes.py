"""Footnotes: the definition of every column of the report."""

from __future__ import annotations

from bench.analysis.info import ReportInfo
from bench.analysis.report import Records
from bench.metrics.units import ScoredUnit
from bench.report.text import literal, number
from bench.stats.planning import LASTING_SHARE


def footnotes(records: Records, info: ReportInfo) -> str:
    """Return a Markdown list that defines the columns of all sections present, with the numbers of this run."""
    notes = _scores(info) | _statistics(info) if info.classifiers else {}
    if any(x.of_classes for x in records.lines):
        notes["Each class"] = (
            "precision, recall and F1 of the class (one-vs-rest), and its area under the ROC curve against the rest. "
            "*Mean* is the macro average: every class has the same weight. The precision of a class that is never "
            "predicted is 0. A class without test images in a pair has no recall there, and that pair has no mean."
        )
    if info.classifiers:
        notes["Generator, Synthesis, Classifier, Training"] = (
            "mean wall time per fold; training is their sum. One generator serves all ratios and classifiers; "
            "synthesis includes all images that the largest ratio needs."
        )
    if records.matches:
        notes |= _COMPUTE
    if records.memorised or records.survivals:
        notes |= _COPIES
    if records.quality:
        notes |= _QUALITY
    if records.translations:
        notes |= _TRANSLATIONS
    if records.costs:
        notes["Training (fold), In steps, Peak memory"] = (
            "wall time of the generator's training including data loading, and its part spent in steps; peak memory of "
            "the process (CPU) or allocated on the device, maximum over folds."
        )
        notes["Device, Generator share, GFLOP per step, Share of peak FLOP/s, Energy"] = (
            "CPU time, or the time for which a GPU was allocated; share of step time up to the generator update; "
            "floating-point operations of one step, forward and backward; achieved FLOP/s divided by those of a matrix "
            "product on this machine; energy of the whole GPU by its own counter. Columns without measurements are not "
            "shown."
        )
    if info.runs or records.predictions:
        notes["Overhead, Idle"] = (
            "shares of the workers' time: overhead is time neither in cells nor waiting (start-up, scheduling, "
            "counting FLOPs); idle is time in which no cell was ready. *In cells* is the sum over the cells of all "
            "workers."
        )
    if records.predictions:
        notes["Error"] = (
            "median over cells of the factor by which the prediction was too high or too low; memory likewise."
        )
    return "".join(f"- **{head}**: {text}\n" for head, text in notes.items())


def _scores(info: ReportInfo) -> dict[str, str]:
    sens, spec = "mean recall over classes", "mean over classes of the recall of the rest"
    positive, unit = "", info.unit
    if info.positive_class:
        shown, other = literal(info.positive_class), literal(info.classes[1 - info.positive_label])
        sens, spec = f"recall of {shown}", f"recall of {other}"
        positive = f" The positive class is {shown}."
    apart = (
        ", *without memorised samples* excludes those flagged as memorised"
        if any(a.exclude_memorised for a in info.arms)
        else ""
    )
    return {
        "Arm": (
            "one way of making the training set: a method, and for generative methods a ratio. ×r adds r synthetic "
            f"images per real one of each class, *balance* fills up the smaller classes{apart}. Every arm trains the "
            "same classifier for the same number of optimiser steps."
        ),
        "Pairs": (
            "pairs with a score, of those planned; one pair is one fold × repeat. Arms are paired: same split, same "
            "seeds."
        ),
        "Bal. acc., AUROC, F1, Sens., Spec.": (
            f"on test {unit.groups} used to train neither classifier nor generator: balanced accuracy, area under the "
            f"ROC curve, F1, sensitivity ({sens}) and specificity ({spec}).{positive} {_scored(unit)} Bold is the best "
            "mean among the lines with the most pairs; it is not a claim. The interval is a bootstrap over "
            f"{unit.groups} in each fold; there is none if all scores are equal."
        ),
    }


def _scored(unit: ScoredUnit) -> str:
    if not unit.per_group:
        return f"Every image is scored: {unit.note}"
    return f"{unit.each.capitalize()}, the mean probability over a {unit.group}'s images is scored once."


def _statistics(info: ReportInfo) -> dict[str, str]:
    apart = (
        "; arms without memorised samples are a separate family" if any(a.exclude_memorised for a in info.arms) else ""
    )
    return {
        "Difference": (
            "mean paired difference in points [95 % interval of the corrected resampled t test of Nadeau and Bengio, "
            f"n_test/n_train = {number(info.test_train_ratio)}, with {LASTING_SHARE:g} times the "
            "correlation between pairs that they assume, as measured (`bench selftest`); clipped to ±100]."
        ),
        "Verdict": (
            "*helps* or *hurts*: that test rejects the null hypothesis of no difference at 5 %, Holm-corrected over "
            "the arms of this classifier; *equivalent*: two one-sided tests, corrected likewise, show that the "
            f"difference lies within ±{100 * info.margin:g} points; *undecided*: neither."
        ),
        "Effect size": "Hedges' g_z, the mean difference over the sd of the differences, small-sample corrected.",
        "p, p Holm, p N&B, p Wilcoxon": (
            f"of that t test, before and after Holm's correction over this classifier's arms{apart}; "
            "uncorrected with the full correlation of Nadeau and Bengio, an upper bound; of Wilcoxon's "
            "signed-rank test, uncorrected, which assumes independent pairs and is at least 0.0625 with five."
        ),
        "Minimum detectable effect": (
            "MDE: the true difference, in points, that this spread and number of pairs detect with 80 % power."
        ),
    }


_COMPUTE = {
    "Device time, Of which tuning": (
        "over all folds: training of the generator, synthesis, training of the classifier, and hyperparameter tuning "
        "if there was any (`bench tune`). Seconds for which the GPU was allocated, or CPU time. The full cost of a "
        "generator is counted for each of its arms."
    ),
    "On the Pareto front": "no cheaper arm has an equal or better mean; means only, see the intervals.",
    "Reference, Reference device time": (
        "the reference with the closest device time, of the step multipliers set in the suite. Differences, verdicts "
        "and p as in the leaderboard, with Holm's correction over these arms."
    ),
    "Time to match": "the least device time with which the reference reached the mean of the arm, of those tried.",
}
_QUALITY = {
    "KID, FID": (
        "distance between the feature distributions of synthetic and real images, lower is closer. KID is unbiased for "
        "few images. FID is biased: compare it only with its real-vs-real baseline. *KID subset*: images per subset."
    ),
    "Precision, Density; Recall, Coverage": (
        "realism of the images; part of the real diversity that they cover. Precision is not informative if recall is "
        "near 0."
    ),
    "Images": "numbers of synthetic : real images behind the scores, mean over pairs.",
    "Inception score, Diversity": (
        "exp of the mutual information of image and predicted class, higher is better; mean perceptual distance "
        "between images of a class. In brackets the value of as many real training images."
    ),
}
_TRANSLATIONS = {
    "SSIM, PSNR, MSE, L1": (
        "similarity of two images: structural similarity (1 is identical), peak signal-to-noise ratio in dB, mean "
        "squared and mean absolute difference of intensities in [0, 1]."
    ),
    "IoU, Pixel accuracy, Class accuracy": (
        "of the segmentation: intersection over union, mean over foreground and background; share of correct pixels; "
        "mean over foreground and background of their shares."
    ),
    "Unpaired variant": "compares unrelated images; reported only because it was published.",
}
_COPIES = {
    "Flagged": (
        "share of synthetic images flagged as memorised: closer to a training image, in pixels or features, than "
        "all but a chosen share of unseen real images; in brackets the share of flagged validation images. *Other "
        "class*: the closest training image has another class. *Like one patient*: closer to a training image than "
        "images of other patients are."
    ),
    "AuthPct": "per cent of images further from their nearest training image than that image is from its own nearest.",
    "Nearest is source image": (
        "translations whose nearest training image, in pixels, is the one they were translated from."
    ),
    "Excluded": "images excluded from each training set, mean over pairs. *Without − all*: paired, uncorrected.",
}
