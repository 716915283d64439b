"""What each column of the report means: the text at its foot."""

from __future__ import annotations

from bench.analysis.info import ReportInfo
from bench.analysis.report import Records
from bench.metrics.units import ScoredUnit
from bench.report.text import literal, number
from bench.stats.planning import LASTING_SHARE


def footnotes(records: Records, info: ReportInfo) -> str:
    """Return a list that defines every column of the sections that there are, with this run's numbers in it."""
    notes = _scores(info) | _statistics(info) if info.classifiers else {}
    if any(x.of_classes for x in records.lines):
        notes["Each class"] = (
            "precision, the share of the images given a class that are of it; recall, the share of a class's images "
            "that are given it; F1, their harmonic mean; area under the ROC curve of the class against the rest. "
            "*Mean* counts every class alike (macro). The precision of a class that no image was given is 0; one "
            "without test images in a pair has no recall there, and that pair no mean."
        )
    if info.classifiers:
        notes["Generator, Synthesis, Classifier, Training"] = (
            "mean wall time a fold; training is their sum. One generator serves all ratios and classifiers; synthesis "
            "is of all images that the largest ratio needs."
        )
    if records.matches:
        notes |= _COMPUTE
    if records.copies or records.survivals:
        notes |= _COPIES
    if records.quality:
        notes |= _QUALITY
    if records.translations:
        notes |= _TRANSLATIONS
    if records.costs:
        notes["Training a fold, In steps, Peak memory"] = (
            "wall time of the generator's training with loading of data, and what of it went into steps; the highest "
            "memory of the process (CPU) or allocated on the device, over folds."
        )
        notes["Device, Generators' part, GFLOP a step, Of peak, Energy"] = (
            "processor seconds, or those for which a GPU was held; the share of the steps' seconds up to the update of "
            "the generators; floating-point operations of one step, forward and backward; those a second over what a "
            "matrix product reaches here; of the whole GPU, by its own counter. A column that was not measured is not "
            "shown."
        )
    if info.runs or records.predictions:
        notes["Harness, Idle"] = (
            "of the workers' time: what went into neither cells nor waiting (their start, scheduling, counting "
            "FLOPs), and what no cell was ready for. *In cells* adds up the cells of all workers."
        )
    if records.predictions:
        notes["Error"] = "the median cell took so many times as long, or as short, as was foretold; memory likewise."
    return "".join(f"- **{head}**: {text}\n" for head, text in notes.items())


def _scores(info: ReportInfo) -> dict[str, str]:
    sens, spec = "mean recall over classes", "mean over classes of the recall of the rest"
    positive, unit = "", info.unit
    if info.positive_class:
        shown, other = literal(info.positive_class), literal(info.classes[1 - info.positive_label])
        sens, spec = f"recall of {shown}", f"recall of {other}"
        positive = f" The positive class is {shown}."
    apart = (
        ", *without copies* leaves out those flagged as copies" if any(a.without_memorised for a in info.arms) else ""
    )
    return {
        "Arm": (
            "the augmentation method; ×r adds r synthetic images per real one of each class, *balance* fills the "
            f"smaller class{apart}. Every arm trains the same classifier for the same number of optimiser steps."
        ),
        "Pairs": "(fold, repeat) with a score, of those planned. Arms are paired: same split, same seeds.",
        "Bal. acc., AUROC, F1, Sens., Spec.": (
            f"on test {unit.groups} that neither classifier nor generator has seen: balanced accuracy, area under the "
            f"ROC curve, F1, sensitivity ({sens}) and specificity ({spec}).{positive} {_scored(unit)} Bold is the best "
            "mean among the lines with the most pairs; it is no claim. The interval comes from resampling "
            f"{unit.groups} within folds; there is none where all score alike."
        ),
    }


def _scored(unit: ScoredUnit) -> str:
    if not unit.per_group:
        return f"Every image is scored: {unit.note}"
    return f"{unit.each.capitalize()}, the mean probability over a {unit.group}'s images is scored once."


def _statistics(info: ReportInfo) -> dict[str, str]:
    apart = "; arms without copies are a family of their own" if any(a.without_memorised for a in info.arms) else ""
    return {
        "Difference": (
            "mean paired difference in points [95 % interval of the corrected resampled t test of Nadeau and Bengio, "
            f"n_test/n_train = {number(info.test_train_ratio)}, at {LASTING_SHARE:g} times the correlation of pairs "
            "that they assume, as measured (`bench selftest`); cut at ±100, the largest possible]."
        ),
        "Verdict": (
            "*helps* or *hurts*: that test rejects no difference at 5 %, Holm-corrected over this classifier's arms; "
            f"*equivalent*: two one-sided tests, corrected likewise, place it within ±{100 * info.margin:g} points; "
            "*undecided*: neither."
        ),
        "Effect size": "Hedges' g_z, the mean difference over the sd of the differences, small-sample corrected.",
        "p, p Holm, p N&B, p Wilcoxon": (
            f"of that t test, before and after Holm's correction over this classifier's arms{apart}; "
            "uncorrected at the whole of Nadeau and Bengio's correlation, an upper bound; of Wilcoxon's "
            "signed-rank test, uncorrected, which takes pairs as independent and cannot go below 0.0625 with five."
        ),
        "Smallest effect": (
            "the true difference, in points, that a design with this spread and number of pairs finds with 80 % power."
        ),
    }


_COMPUTE = {
    "Device time, Of it tuning": (
        "over all folds, of the generator's training, synthesis, the classifier's training, and the search for the "
        "arm's settings where there was one (`bench tune`): seconds that the device was held, on a CPU the processor's "
        "seconds. A generator is charged in full to each of its arms."
    ),
    "On the front": "no cheaper arm has as good a mean; means only, see the intervals.",
    "Reference, Its device time": (
        "the training of the reference whose device time is nearest, of the multiples of the steps that the suite "
        "gives it. Differences, verdicts and p as in the leaderboard, Holm's correction over these arms."
    ),
    "Time to match": "the least device time with which the reference reached the arm's mean, of those tried.",
}
_QUALITY = {
    "KID, FID": (
        "distance of features from those of real images, lower is nearer; KID is unbiased for few images, FID is not, "
        "and says nothing but beside its floor. *KID subset*: images drawn at a time."
    ),
    "Precision, Density; Recall, Coverage": (
        "how realistic the images are; how much of the real variety they reach. Precision says nothing where recall is "
        "near 0."
    ),
    "Images": "synthetic : real ones that the scores are of, mean over pairs.",
    "Inception score, Diversity": (
        "exp of the mutual information of image and predicted class, higher is better; mean perceptual distance "
        "between images of a class. Beside that of as many real training images."
    ),
}
_TRANSLATIONS = {
    "SSIM, PSNR, MSE, L1": (
        "likeness of two images: structural similarity (1 is identical), peak signal-to-noise ratio in dB, mean "
        "squared and mean absolute difference of intensities in [0, 1]."
    ),
    "IoU, Pixel accuracy, Class accuracy": (
        "of the segmentation: intersection over union, mean over foreground and background; share of pixels that are "
        "right; mean over foreground and background of their shares."
    ),
    "Unpaired variant": "compares images that have nothing to do with each other; it is here because it was published.",
}
_COPIES = {
    "Flagged": (
        "synthetic images nearer to a training image, in pixels or features, than all but a planned share of novel "
        "real images are; in brackets the validation images so flagged. *Other class*: copies of an image of another "
        "class than they claim. *Like one patient*: nearer to a training image than images of another patient are."
    ),
    "AuthPct": "share of images that are farther from their nearest training image than it is from its own nearest.",
    "Nearest is own source": "translations whose nearest training image, in pixels, is the one they were made from.",
    "Left out": "images dropped from each training set, mean over pairs. *Without − all*: paired, uncorrected.",
}
