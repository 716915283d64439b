"""Label agreement: whether synthetic images show the class of their label, on plain arrays of features.

This is GAN-test (Shmelkov et al. 2018, "How good is my GAN?", section 3.2): the accuracy, on generated images, of a
classifier trained on real images. Here the classifier is L2-penalised logistic regression on standardised features of
the training images, and the accuracy is a mean over the classes of the generated images. References are real images of
other patients: with their own label, and (``mistaken_share``) with the label of another class. A translation that
copies its source keeps the source's class and gets the other label: its agreement is that of the second reference.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bench.errors import DataError

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]
ITERATIONS = 1000  # of L-BFGS


def feature_classifier(real: Floats, labels: Ints) -> Pipeline:
    """Return logistic regression with balanced classes, fitted to standardised features [N, D] with labels [N]."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regression = LogisticRegression(class_weight="balanced", max_iter=ITERATIONS)
    return make_pipeline(StandardScaler(), regression).fit(np.asarray(real, np.float64), labels)


def label_agreement(classifier: Pipeline, features: Floats, labels: Ints) -> float:
    """Return the share of images [M, D] whose predicted class is their label [M], in [0, 1], a mean over classes.

    NaN without images. Raises ``DataError`` if features and labels differ in number.
    """
    if len(features) != len(labels):
        raise DataError(f"label agreement: got {len(features)} images and {len(labels)} labels; expected one each")
    if not len(labels):
        return float("nan")
    right = classifier.predict(np.asarray(features, np.float64)) == labels
    return float(np.mean([right[labels == y].mean() for y in np.unique(labels)]))


def mistaken_share(classifier: Pipeline, features: Floats, labels: Ints, classes: Iterable[int]) -> float:
    """Return the share of images of other classes that the classifier takes for a class, in [0, 1], a mean over
    ``classes``.

    It is what label agreement would be if real images of the other classes had these labels. NaN where a class has no
    images of others.
    """
    predicted = classifier.predict(np.asarray(features, np.float64)) if len(labels) else labels
    others = [predicted[labels != y] == y for y in classes]
    return float(np.mean([x.mean() for x in others])) if others and all(map(len, others)) else float("nan")
