"""Which of two classes is the positive one, to which sensitivity, precision, F1, AUPRC and costs refer.

It never depends on the order of names. It comes from the suite (``dataset.positive``), from the data set
(``DatasetIndex.positive``), or from the meaning of the class names, such as malignant and benign.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from bench.errors import ConfigError, nearest
from bench.types import DatasetIndex

# Names that mean a finding, and names that mean no finding; in lower case, with blanks between words.
CASES = (
    "abnormal", "cancer", "carcinoma", "covid", "covid 19", "diseased", "infected", "malignant", "mel", "melanoma",
    "parasitized", "pathological", "pneumonia", "positive", "pos", "sick", "tuberculosis", "tumor", "tumour",
    "bösartig", "krank", "maligne", "maligno", "positiv", "1", "present", "true", "yes",
)  # fmt: skip
CONTROLS = (
    "benign", "control", "healthy", "neg", "negative", "no finding", "non tumor", "non tumour", "normal", "uninfected",
    "benigne", "benigno", "gesund", "gutartig", "negativ", "0", "absent", "false", "no",
)  # fmt: skip


def with_positive(index: DatasetIndex, asked: str | None) -> DatasetIndex:
    """Return the index with its positive class: ``asked`` if given, else the one implied by data set or class names.

    ``positive`` stays None if nothing implies it, and unless there are two classes. Raises ``ConfigError`` when
    ``asked`` is not a class, or when there are not two classes.
    """
    if asked is None:
        return index if index.positive else replace(index, positive=implied(index.classes))
    if len(index.classes) != 2:
        raise ConfigError(
            f"dataset.positive: got {asked!r}, but {index.name} has {len(index.classes)} classes, and only one of two "
            "can be the positive one: remove it, or choose two with dataset.classes"
        )
    if asked not in index.classes:
        raise ConfigError(f"dataset.positive: no class is called {asked!r}; {nearest(asked, index.classes)}")
    return replace(index, positive=asked)


def implied(classes: Sequence[str]) -> str | None:
    """Return the class whose name means a finding, or whose counterpart's name means none; None if neither does."""
    if len(classes) != 2:
        return None
    plain = {c: re.sub(r"[ _-]+", " ", c).strip().lower() for c in classes}
    cases = [c for c in classes if plain[c] in CASES]
    others = [c for c in classes if plain[c] not in CONTROLS]
    found = cases if len(cases) == 1 else others if not cases else []
    return found[0] if len(found) == 1 else None


def require_positive(index: DatasetIndex) -> None:
    """Raise ``ConfigError``, with the line to add, when the positive one of two classes is unknown."""
    if len(index.classes) == 2 and index.positive is None:
        a, b = index.classes
        raise ConfigError(
            f"dataset.positive: {a!r} or {b!r}? Nothing in {index.name} says which class is the positive one, to "
            "which sensitivity, specificity, precision, F1, AUPRC and costs refer. Add it to the suite "
            f"(dataset: {{positive: {b}}}) or to the command (--set 'dataset.positive={b}'), or the other name"
        )
