"""The primary contrast of a suite: the one comparison that is declared before the run and tested first.

``contrast: cyclegan vs classical``, or ``contrast: {arm: cyclegan, against: none, train_patients: 40}``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.data.split_config import LEARNING_CURVE, Replicates, SplitConfig
from bench.errors import ConfigError, nearest
from bench.suite.arms import Arm, ratio_text

NONE = "none"  # the reference arm of every comparison: real images alone
NOISE = "noise"  # the negative control: images of noise
_VERSUS = " vs "


@dataclass(frozen=True)
class Contrast:
    """An arm against a reference arm.

    ``train_patients``: size of the training sets in a learning curve; by default the smallest, because augmentation is
    for scarce data. ``ratio`` is of the generative methods among the two: by default 1, or the first of the suite.
    ``classifier``: by default the first.
    """

    arm: str
    against: str = NONE
    train_patients: int | None = None
    ratio: float | str | None = None
    classifier: str | None = None

    def arms(self, generative: Collection[str]) -> tuple[Arm, Arm]:
        """Return the arm and its reference; the ratio is of those that are ``generative``. Defaults are filled in."""
        arm, against = (Arm(m, str(self.ratio) if m in generative else "0") for m in (self.arm, self.against))
        return arm, against


def as_mapping(contrast: Any) -> Any:
    """Return the mapping of a contrast given as text; other values unchanged. Raises ``ConfigError``."""
    if not isinstance(contrast, str):
        return contrast
    arm, versus, against = contrast.partition(_VERSUS)
    if not versus:
        raise ConfigError(f"contrast: got {contrast!r}; expected two methods, such as 'cyclegan vs none'")
    return {"arm": arm.strip(), "against": against.strip()}


def check_contrast(
    contrast: Contrast | None, split: SplitConfig, methods: Sequence[str], ratios: Sequence[float | str],
    classifiers: Sequence[str],
) -> Contrast | None:  # fmt: skip
    """Return the contrast with its defaults filled in. Raises ``ConfigError`` with the nearest name."""
    if split.reference_only and NONE not in methods:
        raise ConfigError(f"split.reference_only: the suite has no method {NONE!r}; add it, or remove the setting")
    if contrast is None:
        if isinstance(split.replicates, Replicates):
            raise ConfigError(
                "split.replicates is a range, so the run stops when the primary contrast is decided, but the suite "
                "declares none; add one, such as contrast: cyclegan vs none"
            )
        return None
    for key, name in (("arm", contrast.arm), ("against", contrast.against)):
        if name not in methods:
            raise ConfigError(f"contrast.{key}: unknown method {name!r}; {nearest(name, methods)}")
    if contrast.arm == contrast.against:
        raise ConfigError(f"contrast: {contrast.arm!r} is compared with itself; expected two methods")
    classifier = contrast.classifier or next(iter(classifiers), "")
    if classifier not in classifiers:
        raise ConfigError(f"contrast.classifier: unknown classifier {classifier!r}; {nearest(classifier, classifiers)}")
    known = [ratio_text(r) for r in ratios]
    ratio = ratio_text(contrast.ratio) if contrast.ratio is not None else "1" if "1" in known else known[0]
    if ratio not in known:
        raise ConfigError(f"contrast.ratio: {ratio} is none of the ratios; {nearest(ratio, known)}")
    return replace(contrast, train_patients=_size(contrast, split), ratio=ratio, classifier=classifier)


def _size(contrast: Contrast, split: SplitConfig) -> int | None:
    size = contrast.train_patients
    if split.protocol != LEARNING_CURVE:
        if size is not None:
            raise ConfigError(f"contrast.train_patients is {size}, but split.protocol is {split.protocol!r}; remove it")
        return None
    sizes = [n for n in split.train_patients if n not in split.reference_only]
    if size is not None and size not in sizes:
        raise ConfigError(
            f"contrast.train_patients: no arm but {NONE} is trained on {size} patients; "
            f"{nearest(str(size), map(str, sizes))}"
        )
    return size or sizes[0]
