"""Independent leakage check: training and test patients are read from a run's files, without the run's own checks.

Patients are those of the dataset index. Each row counts a kind of leak; the baseline has 0.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from bench.check.rows import Row
from bench.data.cache import ImageCache
from bench.data.published_split import PUBLISHED
from bench.data.synthetic_files import MANIFEST, SEEN
from bench.engine.session import Session
from bench.leakage import pixel_sums
from bench.plan.plan import Cell
from bench.store.cell_folders import Artifacts
from bench.store.csv_cells import read_rows
from bench.types import At

PARTS = ("train", "validation", "test", "unlabelled")  # the last in learning curves only


def disjoint_rows(session: Session) -> list[Row]:
    """Return the counts of every existing split, generator, synthetic folder and table of predictions.

    Empty for the protocol 'published', half of whose folds share patients by design.
    """
    if session.suite.settings.split.protocol == PUBLISHED:
        return []
    artifacts, reader = Artifacts(session.env.out), _Reader(session)
    rows: dict[tuple[str, str, str], Row] = {}
    for cell in session.plan.cells:
        if not artifacts.is_done(*cell.id) or not reader.knows(cell, artifacts):
            continue
        for what, count in reader.counts(cell, artifacts.folder(*cell.id)):
            row = Row("leak", cell.title, what, float(count))
            rows.setdefault(row.key, row)
    return list(rows.values())


class _Reader:
    def __init__(self, session: Session) -> None:
        self._index = session.plan.index
        self._group = {r.path: r.group_id for r in self._index.records}
        self._session = session
        self._parts: dict[At, dict[str, set[str]]] = {}  # paths
        self._held_out: dict[At, set[str]] = {}

    def knows(self, cell: Cell, artifacts: Artifacts) -> bool:
        """Read the split of the cell's fold; return whether it exists."""
        at = cell.at
        if at not in self._parts:
            split = next(c for c in self._session.plan.cells if c.stage == "split" and c.at == at)
            path = artifacts.folder(*split.id) / "split.json"
            if not path.is_file():
                return False
            parts = json.loads(path.read_text(encoding="utf-8"))["parts"]
            self._parts[at] = {p: {x for paths in parts.get(p, {}).values() for x in paths} for p in PARTS}
        return True

    def counts(self, cell: Cell, folder: Path) -> Iterator[tuple[str, int]]:
        """Yield (kind of leak, count) of a cell's files; all counts should be 0."""
        parts = self._parts[cell.at]
        groups = {p: {self._group[x] for x in parts[p]} for p in PARTS}
        held_out = groups["validation"] | groups["test"]
        trained = groups["train"] | groups["validation"] | groups["unlabelled"]
        if cell.stage == "split":
            yield "patients in two parts", len(set.union(*(groups[a] & groups[b] for a, b in combinations(PARTS, 2))))
        if (folder / SEEN).is_file():
            seen = set(json.loads((folder / SEEN).read_text(encoding="utf-8")))
            yield "held-out patients that its generator saw", len(seen & held_out)
            yield "patients it saw that training has not", len(seen - groups["train"] - groups["unlabelled"])
        if (folder / MANIFEST).is_file():
            with (folder / MANIFEST).open(newline="", encoding="utf-8") as f:
                lines = read_rows(f)
            sources = {self._group.get(x["source_path"], x["source_group"]) for x in lines if x["source_path"]}
            yield "held-out patients among its sources", len((sources | {x["source_group"] for x in lines}) & held_out)
            yield "held-out images among its images", self._copies(cell, [folder / x["path"] for x in lines])
        if (folder / "predictions.csv").is_file():
            with (folder / "predictions.csv").open(newline="", encoding="utf-8") as f:
                of_part = [(x["image"], x["part"]) for x in read_rows(f) if x["part"] != "validation"]
            # A learning curve may predict images of other sets too, in the part 'held_out'.
            tested = [image for image, part in of_part if part == "test" or image in parts["test"]]
            yield (
                "tested images of patients in training",
                sum(self._group[x] in trained for x, _ in of_part),
            )
            yield (
                "images of the test part tested not once",
                len(parts["test"] ^ set(tested)) + len(tested) - len(set(tested)),
            )

    def _copies(self, cell: Cell, paths: list[Path]) -> int:
        import numpy as np
        from PIL import Image

        at = cell.at
        if at not in self._held_out:
            settings = self._session.suite.settings
            images = ImageCache(self._session.env.out / "cache").load(
                self._index, settings.image_size_px, settings.resize
            )
            apart = self._parts[at]["validation"] | self._parts[at]["test"]
            rows = [i for i, r in enumerate(self._index.records) if r.path in apart]
            self._held_out[at] = set(pixel_sums(images[i] for i in rows))
        shown = (np.asarray(Image.open(p).convert("RGB"), dtype=np.uint8) for p in paths)
        return sum(s in self._held_out[at] for s in pixel_sums(shown))
