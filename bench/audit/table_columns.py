"""Which columns of a table hold the image, the label, the patient, the split and the mask: by name, else by content."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.data.given_split import part_named
from bench.data.sets.folder_layout import MOST_CLASSES
from bench.data.table_rows import ONES, ZEROS, FileFinder
from bench.data.tables import TextTable, is_empty, read_table
from bench.data.walk import PICTURES
from bench.errors import ConfigError

NAMES = {  # names of columns in lower case, without separators; the first that exists is taken
    "image": ("image", "file", "filename", "filepath", "path", "imagepath", "imagefile", "imageid", "img", "picture"),
    "label": (
        "label", "diagnosis", "class", "dx", "target", "finding", "findinglabels", "category", "labels", "diagnose",
        "classname", "groundtruth", "pathology", "diagnostic", "diagnostico", "diagnosi",
    ),
    "group": (
        "patient", "patientid", "subject", "subjectid", "person", "personid", "pid", "case", "caseid", "participant",
        "participantid", "mrn", "lesion", "lesionid", "slide", "slideid", "donor", "group", "groupid",
    ),
    "split": ("split", "part", "partition", "subset", "set", "dataset"),
    "mask": ("mask", "maskpath", "maskfile", "segmentation"),
}  # fmt: skip
_NUMBER = r"(ids?|no|nr|num|number|nummer|code|key|name|uid|index)"
ALIKE = {  # what else a column may be called, in the same spelling
    "image": rf"(image|img|picture|pic|photo|scan|file|bild|isic)s?{_NUMBER}?",
    "label": r".*(label|diagnos[a-z]*|class)(name)?",
    "group": rf".*(patient(en|in)?|paciente|paziente|subject|participant|donor|lesion|slide){_NUMBER}?",
}
_OFTEN_LABELS = (  # also called so: other facts about the patient or the image; taken if there is only one
    r"(abnormal|birads|cancer|condition|disease|grade|level|malignan(t|cy)|outcome|result|severity|stage|status|"
    r"(tumou?r)?(sub)?type)"
)
_SAMPLE = 50  # rows whose files are looked for
Columns = dict[str, str | tuple[str, ...]]


def with_columns(file: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the data set ``table`` with the columns of a file, where they are not given.

    An option that is None stays so. Raises ``DataError`` and ``ConfigError`` as ``read_table`` and ``guess_columns``.
    """
    given = {name: options[name] for name in NAMES if options.get(name)}
    found = guess_columns(read_table(file), given)
    return {**options, **{name: column for name, column in found.items() if options.get(name, column) is not None}}


def guess_columns(table: TextTable, given: Mapping[str, Any]) -> Columns:
    """Return the column for each of 'image', 'label' and, where there is one, 'group', 'split' and 'mask'.

    ``given`` are columns that the user gave. Several columns of which one is 1 in each row are the label together.
    Raises ``ConfigError`` if the column of images or labels is not found.
    """
    found: Columns = {name: column if isinstance(column, str) else tuple(column) for name, column in given.items()}
    for name in NAMES:
        left = _named(table, name, _taken(found))
        if name not in found and left and (name != "split" or _names_parts(_texts(table, left))):
            found[name] = left
    left_over = [column for column in table.columns if column not in _taken(found)]
    if "image" not in found:
        group = None if "group" in given else found.get("group")
        found |= _images(table, [*left_over, group] if isinstance(group, str) else left_over)
        if group is not None and found.get("image") == group:
            del found["group"]  # each patient has one image, which is named by the patient
    if "label" not in found:
        others = [c for c in left_over if c not in _taken(found)]
        few = [c for c in others if 2 <= len(set(_texts(table, c))) <= MOST_CLASSES]
        often = [c for c in few if re.fullmatch(_OFTEN_LABELS, _plain(c))]
        only = few if len(few) == 1 else often
        found |= {"label": only[0]} if len(only) == 1 else _one_of(table, few)
    for name in ("image", "label"):
        if name not in found:
            raise ConfigError(
                f"{table.path}: no column of {name}s was recognised among {', '.join(table.columns)}; name it with "
                f"--set dataset.{name}=COLUMN"
            )
    return found


def _taken(found: Columns) -> set[str]:
    return {name for column in found.values() for name in ([column] if isinstance(column, str) else column)}


def _named(table: TextTable, name: str, taken: set[str]) -> str | None:
    """Return the first column that is called as the columns of this kind usually are."""
    plain = {_plain(c): c for c in reversed(table.columns) if c not in taken}
    exact = (plain[k] for k in NAMES[name] if k in plain)
    alike = (c for k, c in reversed(plain.items()) if name in ALIKE and re.fullmatch(ALIKE[name], k))
    return next(exact, None) or next(alike, None)


def _plain(column: str) -> str:
    return re.sub(r"[\W_]", "", column.lower())


def _images(table: TextTable, columns: Sequence[str]) -> Columns:
    """Return the first column of names with a picture's extension, else the first whose texts are found as files."""
    texts = {c: _texts(table, c) for c in columns}
    for column, of in texts.items():
        if of and all(text.lower().endswith(PICTURES) for text in of):
            return {"image": column}
    finder = FileFinder([table.path.parent])
    for column, of in texts.items():
        if of and len(set(of)) > 1 and all(finder.find(text)[0] for text in of[:_SAMPLE]):
            return {"image": column}
    return {}


def _one_of(table: TextTable, columns: Sequence[str]) -> Columns:
    """Return as label the columns of zeros and ones of which exactly one is 1 in each row; empty if they are not so."""
    flags = [c for c in columns if set(_texts(table, c)) <= {*ZEROS, *ONES}]
    at = [table.column(c) for c in flags]
    ones = [sum(cells[i].strip() in ONES for i in at if i < len(cells)) for _, cells in table.rows]
    return {"label": tuple(flags)} if len(flags) > 1 and set(ones) == {1} else {}


def _texts(table: TextTable, column: str) -> list[str]:
    at = table.column(column)
    return [cells[at].strip() for _, cells in table.rows if at < len(cells) and not is_empty(cells[at])]


def _names_parts(texts: Sequence[str]) -> bool:
    """Whether at least half of the texts name a part, train and test among them."""
    parts = [part_named(text) for text in texts]
    return {"train", "test"} <= set(parts) and parts.count(None) <= len(parts) / 2
