"""Which columns of a table hold the image, the label, the patient, the split and the mask: by name, else by content."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.data.given_split import part_named
from bench.data.tables import TextTable, is_empty, read_table
from bench.data.walk import PICTURES
from bench.errors import ConfigError

NAMES = {  # names of columns in lower case, without separators; the first that exists is taken
    "image": ("image", "file", "filename", "filepath", "path", "imagepath", "imagefile", "imageid", "img", "picture"),
    "label": ("label", "diagnosis", "class", "dx", "target", "finding", "category", "labels", "diagnose", "classname"),
    "group": (
        "patient", "patientid", "subject", "subjectid", "person", "personid", "pid", "case", "caseid", "participant",
        "participantid", "lesion", "lesionid", "slide", "slideid", "donor", "group", "groupid",
    ),
    "split": ("split", "part", "partition", "subset", "set", "dataset"),
    "mask": ("mask", "maskpath", "maskfile", "segmentation"),
}  # fmt: skip
MOST_CLASSES = 30  # different texts of a column of labels that is found by content


def with_columns(file: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the data set ``table`` with the columns of a file, where they are not given.

    An option that is None stays so. Raises ``DataError`` and ``ConfigError`` as ``read_table`` and ``guess_columns``.
    """
    given = {name: str(options[name]) for name in NAMES if options.get(name)}
    found = guess_columns(read_table(file), given)
    return {**options, **{name: column for name, column in found.items() if options.get(name, column) is not None}}


def guess_columns(table: TextTable, given: Mapping[str, str]) -> dict[str, str]:
    """Return the name of the column for each of 'image', 'label' and, where there is one, 'group', 'split' and 'mask'.

    ``given`` are names that the user gave. Raises ``ConfigError`` if the column of images or labels is not found.
    """
    found = dict(given)
    plain = {re.sub(r"[^a-z0-9]", "", column.lower()): column for column in reversed(table.columns)}
    for name, known in NAMES.items():
        left = [plain[k] for k in known if k in plain and plain[k] not in found.values()]
        if name not in found and left and (name != "split" or _names_parts(_texts(table, left[0]))):
            found[name] = left[0]
    others = [column for column in table.columns if column not in found.values()]
    if "image" not in found:
        pictures = [
            c for c in others if all(t.lower().endswith(PICTURES) for t in _texts(table, c)) and _texts(table, c)
        ]
        found |= {"image": pictures[0]} if pictures else {}
    if "label" not in found:
        few = [c for c in others if c != found.get("image") and 2 <= len(set(_texts(table, c))) <= MOST_CLASSES]
        found |= {"label": few[0]} if len(few) == 1 else {}
    for name in ("image", "label"):
        if name not in found:
            raise ConfigError(
                f"{table.path}: no column of {name}s was recognised among {', '.join(table.columns)}; name it with "
                f"--set dataset.{name}=COLUMN"
            )
    return found


def _texts(table: TextTable, column: str) -> list[str]:
    at = table.column(column)
    return [cells[at].strip() for _, cells in table.rows if at < len(cells) and not is_empty(cells[at])]


def _names_parts(texts: Sequence[str]) -> bool:
    """Whether at least half of the texts name a part, train and test among them."""
    parts = [part_named(text) for text in texts]
    return {"train", "test"} <= set(parts) and parts.count(None) <= len(parts) / 2
