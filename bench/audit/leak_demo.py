"""How much leakage would raise accuracy: one classifier under an image-level and a patient-level split.

An image-level split puts images of one patient into training and test, the most common leak in published comparisons.
The classifier is a random forest (Breiman 2001) on colour and texture features. Both protocols test every image once
per repeat, in folds of the same size and with the same number of images of each class; they differ only in which
patients are in training together. Each repeat's out-of-fold predictions of all images are scored together. Intervals
are over patients in both protocols, because the images of a patient are one observation for any split. (With few
patients a patient-level score may be below chance: removing a patient shifts the training set away from his class.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.audit.colour_texture import colour_texture
from bench.cost.host import available_cpus
from bench.data.cache import ImageCache
from bench.data.partition import partition
from bench.data.splits import group_counts
from bench.errors import DataError
from bench.seeding import derive_seed
from bench.stats.bootstrap import Interval, ScoredFold, cluster_bootstrap_ci
from bench.types import DatasetIndex

Ints = npt.NDArray[np.int64]
IMAGE, PATIENT, DIFFERENCE = "image_level", "patient_level", "difference"
METRICS = ("balanced_accuracy", "accuracy")
IMAGE_SIZE_PX = 64
FOLDS, REPEATS, TREES = 5, 5, 200
LEAST_SHARED = 0.5  # share of images with another image of their patient; below it, the splits hardly differ


@dataclass(frozen=True)
class LeakDemo:
    """Effect of leakage on a dataset. ``scores[protocol][metric]``, protocols image_level, patient_level, difference.

    ``scores`` is empty if both splits are nearly the same; ``says`` is the conclusion in words. ``shared_images`` are
    those whose group has other images; ``chance`` is the balanced accuracy of guessing.
    """

    dataset: str
    images: int
    groups: int
    shared_images: int
    chance: float
    says: str
    folds: int = 0
    repeats: int = 0
    seed: int = 0
    image_size_px: int = IMAGE_SIZE_PX
    classifier: str = f"random forest of {TREES} trees on colour and texture"
    scores: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data; undefined numbers are None."""
        plain = asdict(self)
        for protocol in plain["scores"].values():
            for name, interval in protocol.items():
                protocol[name] = {k: None if v != v else v for k, v in interval.items()}
        return plain

    def lines(self) -> list[str]:
        """Return it as lines of text for a terminal."""
        if not self.scores:
            return [f"{self.dataset}: {self.images} images in {self.groups} groups", self.says]
        head = f"{self.dataset}: {self.images} images of {self.groups} patients"
        lines = [f"{head}; {self.classifier} at {self.image_size_px} px; {self.folds} folds × {self.repeats} repeats"]
        lines.append(f"{'':<22}" + "".join(f"{name.replace('_', ' '):<26}" for name in METRICS).rstrip())
        for protocol, title in (
            (IMAGE, "split by image"),
            (PATIENT, "split by patient"),
            (DIFFERENCE, "gained by leakage"),
        ):
            cells = [_text(self.scores[protocol][name], signed=protocol == DIFFERENCE) for name in METRICS]
            lines.append(f"{title:<22}" + "".join(f"{c:<26}" for c in cells).rstrip())
        return [*lines, self.says]


def leak_demo(
    index: DatasetIndex,
    cache: Path,
    groups_known: bool = True,
    folds: int = FOLDS,
    repeats: int = REPEATS,
    seed: int = 0,
) -> LeakDemo:
    """Score both protocols on a dataset. The same images and seed give the same numbers on any number of cores.

    ``groups_known``: whether the groups are patients (False: images, and clusters of near copies). Fewer ``folds`` are
    drawn if a class has fewer groups. Raises ``DataError`` when a class has a single group.
    """
    groups = [r.group_id for r in index.records]
    size = Counter(groups)
    shared = sum(size[g] > 1 for g in groups)
    facts: dict[str, Any] = {"dataset": index.name, "images": len(groups), "groups": len(size), "shared_images": shared}
    facts["chance"] = 1 / len(index.classes)
    if not groups_known or shared < LEAST_SHARED * len(groups):
        return LeakDemo(**facts, says=_nothing(shared, len(groups)))
    names, counts = group_counts(index)
    folds = min(folds, int((counts > 0).sum(axis=0).min()))
    if folds < 2:
        raise DataError(
            f"{index.name}: a class has images of one patient only, so a patient-level split cannot train and test on "
            "it; take more data"
        )
    truth = np.array([r.label for r in index.records], dtype=np.int64)
    row = {name: i for i, name in enumerate(names)}
    of = np.array([row[g] for g in groups], dtype=np.int64)
    features = colour_texture(ImageCache(cache).load(index, IMAGE_SIZE_PX))
    scored: dict[str, list[ScoredFold]] = {IMAGE: [], PATIENT: []}
    for repeat in range(repeats):
        rng = np.random.default_rng(derive_seed("leak demo", seed, repeat))
        by_patient = partition(counts, np.full(folds, 1 / folds), rng, min_groups=[1] * folds)[of]
        for protocol, fold_of in ((PATIENT, by_patient), (IMAGE, shuffled_within_class(by_patient, truth, rng))):
            y_prob = out_of_fold(features, truth, fold_of, derive_seed("leak demo forest", seed, repeat))
            scored[protocol].append(ScoredFold(truth, y_prob, groups, repeat))
    scores = {p: {m: cluster_bootstrap_ci(scored[p], m, seed=seed) for m in METRICS} for p in (IMAGE, PATIENT)}
    scores[DIFFERENCE] = {m: cluster_bootstrap_ci(scored[IMAGE], m, scored[PATIENT], seed=seed) for m in METRICS}
    says = _conclusion(scores, facts["chance"])
    return LeakDemo(**facts, says=says, folds=folds, repeats=repeats, seed=seed, scores=scores)


def shuffled_within_class(fold_of: Ints, labels: Ints, rng: np.random.Generator) -> Ints:
    """Return folds [N] of the same sizes per class, with the images assigned at random, independent of the patient."""
    dealt = fold_of.copy()
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        dealt[rows] = fold_of[rng.permutation(rows)]
    return dealt


def out_of_fold(features: npt.NDArray[np.float32], labels: Ints, fold_of: Ints, seed: int) -> npt.NDArray[np.float64]:
    """Return probabilities float64 [N, C] of every image, from a forest trained on the other folds."""
    from sklearn.ensemble import RandomForestClassifier

    y_prob = np.zeros((len(labels), int(labels.max()) + 1))
    for fold in np.unique(fold_of):
        test = fold_of == fold
        forest = RandomForestClassifier(
            TREES, class_weight="balanced", random_state=derive_seed("fold", seed, int(fold)), n_jobs=available_cpus()
        )
        forest.fit(features[~test], labels[~test])
        forest.set_params(n_jobs=1)  # threads would sum the trees' votes in any order, with different rounding
        y_prob[np.ix_(test, forest.classes_)] = forest.predict_proba(features[test])
    return y_prob


def _nothing(shared: int, images: int) -> str:
    if not shared:
        return "Every image is its own group: a split by patient equals a split by image, so there is nothing to show."
    return (
        f"Patients are unknown here ({shared} of {images} images share a group, mostly as near copies): a "
        "split by group hardly differs from a split by image, so there is nothing to show."
    )


def _conclusion(scores: Mapping[str, Mapping[str, Interval]], chance: float) -> str:
    by_image, by_patient, bought = (scores[p]["balanced_accuracy"] for p in (IMAGE, PATIENT, DIFFERENCE))
    ends = f"95 % interval {100 * bought.low:+.1f} to {100 * bought.high:+.1f}"
    text = f"Leakage would have changed the result by {100 * bought.value:+.1f} points of balanced accuracy ({ends})"
    if not bought.low > 0:
        return f"{text}: with {bought.patients} patients, this cannot be distinguished from zero."
    text += f": {by_image.value:.3f} by image, where patients unseen in training get {by_patient.value:.3f}"
    if by_patient.low <= chance:
        text += f", which with {bought.patients} patients cannot be distinguished from guessing ({chance:.3f})"
    return f"{text}."


def _text(interval: Interval, signed: bool) -> str:
    sign = "+" if signed else ""
    return f"{interval.value:{sign}.3f} [{interval.low:{sign}.3f}, {interval.high:{sign}.3f}]"
