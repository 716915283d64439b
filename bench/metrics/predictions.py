"""The table of predictions of one fold, from which all classification metrics are computed.

``predictions.csv`` has one row per image: image, group, fold, repeat, part, y_true, y_pred, prob_<class> ...; classes
are written by name, in the order of the probability columns, and probabilities without loss of precision.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.errors import DataError, StoreError
from bench.store.csv_cells import Writer, neutralised, restored

COLUMNS = ("image", "group", "fold", "repeat", "part", "y_true", "y_pred")
HELD_OUT = "held_out"
PARTS = ("validation", "test", HELD_OUT)
PREFIX = "prob_"


@dataclass(frozen=True)
class Predictions:
    """Predictions of a classifier for N images of one fold.

    ``part`` is 'validation', 'test' or 'held_out' per image: 'held_out' in a learning curve without a fixed test part,
    where a classifier predicts every image outside its training set (``testing``). ``y_true`` int64 [N] indexes
    ``classes``; ``y_prob`` float64 [N, C] has rows that sum to 1. Raises ``DataError`` when lengths, labels or names
    are inconsistent.
    """

    image: tuple[str, ...]
    group: tuple[str, ...]
    part: tuple[str, ...]
    fold: int
    repeat: int
    y_true: npt.NDArray[np.int64]
    y_prob: npt.NDArray[np.float64]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        n, c = len(self.image), len(self.classes)
        got = (len(self.group), len(self.part), *self.y_true.shape, *self.y_prob.shape)
        if got != (n, n, n, n, c):
            raise DataError(
                f"predictions of {n} images and {c} classes need group, part, y_true [{n}] and y_prob [{n}, {c}]; "
                f"got {len(self.group)}, {len(self.part)}, {self.y_true.shape} and {self.y_prob.shape}"
            )
        if len(set(self.classes)) != c or c < 2:
            raise DataError(f"predictions need two or more classes of different names, got {self.classes}")
        if unknown := sorted(set(self.part) - set(PARTS)):
            raise DataError(f"predictions have parts {unknown}; expected {' or '.join(PARTS)}")
        if n and not (self.y_true.min() >= 0 and self.y_true.max() < c):
            raise DataError(f"y_true runs from {self.y_true.min()} to {self.y_true.max()}; expected 0 to {c - 1}")

    def select(self, part: str) -> Predictions:
        """Return the rows of one part, in order; none when the part is empty."""
        return self._rows([i for i, p in enumerate(self.part) if p == part])

    def testing(self, images: Collection[str]) -> Predictions:
        """Return the table of a fold that tests ``images``: these 'held_out' rows become 'test', the others are left
        out. A table without held-out rows is returned as it is.

        Raises ``DataError`` if some of ``images`` have no prediction.
        """
        if HELD_OUT not in self.part:
            return self
        wanted = set(images)
        if missing := sorted(wanted - {i for i, p in zip(self.image, self.part, strict=True) if p == HELD_OUT}):
            raise DataError(f"{len(missing)} tested images have no prediction, such as {missing[0]}")
        rows = [i for i, p in enumerate(self.part) if p != HELD_OUT or self.image[i] in wanted]
        found = self._rows(rows)
        return replace(found, part=tuple("test" if p == HELD_OUT else p for p in found.part))

    def _rows(self, rows: Sequence[int]) -> Predictions:
        chosen = list(rows)
        image, group, part = (tuple(column[i] for i in chosen) for column in (self.image, self.group, self.part))
        y_true, y_prob = self.y_true[chosen], self.y_prob[chosen]
        return Predictions(image, group, part, self.fold, self.repeat, y_true, y_prob, self.classes)


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write the table as CSV (see the module); probabilities by ``repr``, so that they are read back exactly."""
    p = predictions
    y_pred = p.y_prob.argmax(axis=1)
    with path.open("w", newline="", encoding="utf-8") as f:
        out = Writer(f, lineterminator="\n")
        out.writerow([*COLUMNS, *(PREFIX + c for c in p.classes)])
        for i, image in enumerate(p.image):
            names = [p.classes[p.y_true[i]], p.classes[y_pred[i]]]
            out.writerow([image, p.group[i], p.fold, p.repeat, p.part[i], *names, *map(repr, p.y_prob[i].tolist())])


def read_predictions(path: Path, part: str | None = None) -> Predictions:
    """Read what ``write_predictions`` wrote; with ``part``, only its rows (all lines are checked, only these are
    parsed).

    Raises ``StoreError``, with the path and line, on invalid content.
    """
    try:
        with path.open(newline="", encoding="utf-8") as f:
            text = f.read()
        header, widths, columns = _columns(text)
    except (OSError, ValueError, csv.Error) as e:
        raise StoreError(f"{path}: predictions cannot be read ({e}); delete the cell's folder to redo it") from e
    classes = _classes(path, header)
    for line, width in enumerate(widths, start=1):
        if width != len(header):
            raise StoreError(f"{path}, line {line}: {width} fields, expected {len(header)}; the file is cut or damaged")
    try:
        return _parse(columns, classes, part)
    except (ValueError, DataError) as e:
        raise StoreError(f"{path}: not a table of predictions: {e}") from e


Columns = Sequence[Sequence[str]]


def _columns(text: str) -> tuple[list[str], list[int], Columns]:
    """Return the header, the number of fields of every line, and the columns (invalid when the numbers differ).

    A report reads a million lines, so Python's csv reader is used only for files with quotes.
    """
    if '"' in text:
        rows = list(csv.reader(io.StringIO(text, newline="")))
        return rows[0], list(map(len, rows)), list(zip(*rows[1:], strict=False))
    lines = text.removesuffix("\n").split("\n")
    header = lines[0].split(",")
    fields = ",".join(lines[1:]).split(",") if len(lines) > 1 else []
    columns = [fields[i :: len(header)] for i in range(len(header))]
    return header, [line.count(",") + 1 for line in lines], columns


def _classes(path: Path, header: Sequence[str]) -> tuple[str, ...]:
    k = len(COLUMNS)
    if tuple(header[:k]) != COLUMNS or not all(h.startswith(PREFIX) for h in header[k:]):
        raise StoreError(f"{path}: header {header}, expected {[*COLUMNS, PREFIX + '<class>', '...']}")
    return tuple(h.removeprefix(PREFIX) for h in header[k:])


def _parse(columns: Columns, classes: tuple[str, ...], only: str | None) -> Predictions:
    _, _, fold, repeat, part, truth = columns[:6] if columns else [()] * 6
    if len(set(fold)) != 1 or len(set(repeat)) != 1:
        raise ValueError(f"expected one fold and repeat, got {sorted(set(zip(fold, repeat, strict=True)))}")
    if unknown := sorted(set(part) - set(PARTS)):
        raise ValueError(f"parts {unknown}; expected {' or '.join(PARTS)}")
    code = {str(neutralised(name)): i for i, name in enumerate(classes)}
    if unknown := sorted(set(truth) - set(code)):
        raise ValueError(f"y_true {unknown} not in {classes}")
    chosen = [only in (None, p) for p in part]
    n = sum(chosen)
    image, group, _, _, part, truth, _, *prob = (tuple(compress(column, chosen)) for column in columns)
    return Predictions(
        image=tuple(map(restored, image)),
        group=tuple(map(restored, group)),
        part=part,
        fold=int(fold[0]),
        repeat=int(repeat[0]),
        y_true=np.fromiter(map(code.__getitem__, truth), np.int64, n),
        y_prob=np.stack([np.fromiter(map(float, column), np.float64, n) for column in prob], axis=1),
        classes=classes,
    )
