"""Chest X-rays of children: normal, bacterial pneumonia and viral pneumonia.

Kermany, Goldbaum, Cai et al.: "Identifying medical diagnoses and treatable diseases by image-based deep learning",
Cell 172:1122-1131, 2018. CC BY 4.0. Names of files, and the group that they tell:

    person<n>_<bacteria|virus>_<m>.jpeg                 person<n>       pneumonia, on Kaggle
    IM-<n>-<m>.jpeg, NORMAL2-IM-<n>-<m>.jpeg            IM-<n>, NORMAL2-IM-<n>
    NORMAL-<n>-<m>.jpeg, BACTERIA-…, VIRUS-…            <n>             the publisher's later version

The same ``person<n>`` in two published parts is one group, because nothing published says that they are two people. The
parts train, val and test repeat images and are merged; copies are handled as ``on_duplicate`` says. Some persons have
images of bacterial and of viral pneumonia: with the task ``bacteria_vs_virus`` these groups have two labels.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from bench.data.listing import ImageChecks, Listed, Listing
from bench.data.records import index_listing
from bench.data.sets.finding import find_layout
from bench.data.walk import Walk
from bench.errors import DataError
from bench.types import DataProblem, DatasetIndex

HOMEPAGE = "https://data.mendeley.com/datasets/rscbjbr9sj/2"
FOLDERS = ("NORMAL", "PNEUMONIA")
PARTS = ("train", "val", "validation", "test")
TASKS = {"pneumonia": FOLDERS, "bacteria_vs_virus": ("virus", "bacteria")}  # the second class is the positive one
WHERE = f"""\
Expected layout (any of the parts train, val, test; or NORMAL and PNEUMONIA directly):
  chest_xray/
    train/NORMAL/IM-0115-0001.jpeg, NORMAL2-IM-0383-0001.jpeg, …
    train/PNEUMONIA/person1_bacteria_1.jpeg, person1000_virus_1681.jpeg, …
    test/…, val/…
What to do: download the set (1.2 GB, free) from {HOMEPAGE}
or with `bench data download chest_xray`, unpack it anywhere, and name that folder with `--data DIR` or the variable
BENCH_DATA, e.g. `--data data/chest_xray`."""
_EXAMPLES = {"NORMAL": "IM-0115-0001.jpeg", "PNEUMONIA": "person1_bacteria_1.jpeg"}
_NAMES = {
    "NORMAL": re.compile(r"((?P<group>(NORMAL2-)?IM-\d+)(-\d+)+|NORMAL-(?P<number>\d+)-\d+)\.\w+", re.IGNORECASE),
    "PNEUMONIA": re.compile(
        r"((?P<group>person\d+)_(?P<infection>bacteria|virus)_\d+|(?P<kind>BACTERIA|VIRUS)-(?P<number>\d+)-\d+)\.\w+",
        re.IGNORECASE,
    ),
}


@dataclass(frozen=True)
class ChestXrayConfig(ImageChecks):
    """``task``: 'pneumonia' (NORMAL, PNEUMONIA), or 'bacteria_vs_virus' (of the images of pneumonia)."""

    task: Literal["pneumonia", "bacteria_vs_virus"] = "pneumonia"


class ChestXray:
    """Normal against pneumonia, or bacteria against virus, grouped by patient. Attributes: part, infection."""

    Config = ChestXrayConfig
    licence: ClassVar[str] = "CC BY 4.0"
    modality: ClassVar[str] = "chest"

    def __init__(self, config: Any) -> None:
        self.config: ChestXrayConfig = config

    def index(self, root: Path | None, cache: Path) -> DatasetIndex:
        """Read the images. ``root`` is the folder of the parts or of the classes, or up to two above it.

        Raises ``DataError``.
        """
        found = index_listing("chest_xray", self.listing(root), self.config, cache, WHERE)
        return replace(found, positive=found.classes[1])

    def listing(self, root: Path | None) -> Listing:
        """Return the images of the task's classes, unread. Raises ``DataError`` if there are none."""
        folder = find_chest_folder(root)
        classes = TASKS[self.config.task]
        files: list[Listed] = []
        foreign: list[DataProblem] = []
        walk = Walk(folder)
        parts = [part for part in PARTS if (folder / part).is_dir()] if not _has_classes(folder) else [""]
        for part, name in ((part, name) for part in parts for name in FOLDERS):
            inside = f"{part}/{name}" if part else name
            for path in walk.pictures(inside) if (folder / inside).is_dir() else ():
                match = _NAMES[name].fullmatch(path.rsplit("/", 1)[-1])
                if match is None:
                    detail = f"expected a name such as {_EXAMPLES[name]}, which tells the patient"
                    foreign.append(DataProblem(path, "foreign_name", detail))
                    continue
                infection = (match["infection"] or match["kind"]).lower() if name == "PNEUMONIA" else ""
                label_of = name if self.config.task == "pneumonia" else infection
                if label_of in classes:
                    attributes = tuple((k, v) for k, v in (("infection", infection), ("part", part)) if v)
                    group = match["group"] or match["number"]
                    files.append(Listed(path, classes.index(label_of), group, attributes=attributes))
        walk.leave(parts if parts != [""] else FOLDERS)
        if not files:
            raise DataError(f"no chest X-rays with known names under {folder}.\n{WHERE}")
        return Listing(folder, classes, tuple(files), tuple(foreign), stain="", skipped=walk.skipped)


def find_chest_folder(root: Path | None) -> Path:
    """Return the folder of the parts, or of NORMAL and PNEUMONIA. Raises ``DataError`` with instructions."""
    missing = "the chest X-rays: no folders NORMAL and PNEUMONIA with names such as person1_bacteria_1.jpeg"
    inside = ("chest_xray", "chest_xray/chest_xray", "ChestXRay2017/chest_xray")
    return find_layout(root, "chest X-ray", _is_set, inside, missing, WHERE)


def _is_set(folder: Path) -> bool:
    return any(
        _has_classes(folder / part)
        and any(_NAMES["PNEUMONIA"].fullmatch(p.name) for p in (folder / part / "PNEUMONIA").iterdir())
        for part in ("", *PARTS)
    )


def _has_classes(folder: Path) -> bool:
    return all((folder / name).is_dir() for name in FOLDERS)
