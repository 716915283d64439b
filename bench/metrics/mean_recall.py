"""The mean recall of selected classes, for studies in which only misses of these classes matter.

With benign and malignant it is ``recall_bm``, the model selection criterion of the reproduced study on breast
ultrasound (benign, malignant and normal). With all classes it is balanced accuracy (Brodersen et al. 2010, "The
balanced accuracy and its posterior distribution").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from bench.errors import ConfigError, nearest
from bench.types import Measure


@dataclass(frozen=True)
class MeanRecallConfig:
    """``classes``: names of the classes to average over, with equal weights."""

    classes: tuple[str, ...] = ("benign", "malignant")

    def __post_init__(self) -> None:
        if not self.classes or len(set(self.classes)) < len(self.classes):
            raise ConfigError(f"classes: got {self.classes}, expected one or more names, each once")


class MeanRecall:
    """Mean over the selected classes of the share of a class's images that are classified correctly."""

    version: ClassVar[int] = 1
    Config: ClassVar[type] = MeanRecallConfig
    per_patient: ClassVar[bool] = True

    def __init__(self, config: MeanRecallConfig) -> None:
        self.config = config

    def check(self, classes: Sequence[str]) -> None:
        """Raise ``ConfigError`` unless the data set has all of the selected classes."""
        for name in self.config.classes:
            if name not in classes:
                raise ConfigError(f"mean recall: no class is called {name!r}; {nearest(name, classes)}")

    def measures(self) -> Mapping[str, Measure]:
        """Return the one measure."""
        return {"mean_recall": Measure("higher", f"mean recall of {' and '.join(self.config.classes)}", 0.0, 1.0)}

    def compute(
        self,
        y_true: npt.NDArray[np.int64],
        y_prob: npt.NDArray[np.float64],
        groups: Sequence[str],
        classes: Sequence[str],
    ) -> Mapping[str, float]:
        """Return the mean recall; NaN if one of the classes has no image."""
        called = y_prob.argmax(axis=1)
        of_classes = [y_true == classes.index(name) for name in self.config.classes]
        recalls = [float((called[of] == y_true[of]).mean()) if of.any() else float("nan") for of in of_classes]
        return {"mean_recall": float(np.mean(recalls))}
