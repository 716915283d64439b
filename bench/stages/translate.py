"""Evaluate a generator's translations of the fold's test images: cycle reconstruction, FCN score, unpaired variant.

For evaluation only: the translations are measured and discarded, except for a small picture, and no classifier sees
them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.abilities import Translator
from bench.data.loaders import FoldData, Part, check_generator
from bench.data.synthetic_files import load_seen
from bench.metrics.fcn_score import Counts, confusion, fcn_score
from bench.metrics.paired_quality import Values, mean_quality, paired_quality, unpaired_quality
from bench.plan.plan import Cell
from bench.stages.common import Inputs, Output, RunEnv
from bench.stages.context import CellContext
from bench.stages.fcn_network import NETWORK, NONE, TRUE, masked
from bench.stages.synthetic import require_image
from bench.store.cell_folders import Artifacts
from bench.store.csv_cells import DictWriter
from bench.types import Uint8Images

TABLE = "translations.csv"
SHOWN = 4  # number of images of each direction in the sample picture


@dataclass(frozen=True)
class Direction:
    """The test images of one class, at the generator's size: real, translated into the other class, and back.

    ``rows`` are their indices in the test part.
    """

    name: str
    rows: npt.NDArray[np.intp]
    real: Uint8Images
    translated: Uint8Images
    reconstructed: Uint8Images


@dataclass(frozen=True)
class Scores:
    """Values per image of one direction; ``unpaired`` may have fewer, ``confusions`` those of the rows ``scored``."""

    name: str
    rows: npt.NDArray[np.intp]
    cycle: Mapping[str, Values]
    unpaired: Mapping[str, Values]
    confusions: Counts
    scored: npt.NDArray[np.intp]  # rows of the test part


def run(cell: Cell, env: RunEnv, ctx: CellContext) -> Output:
    """Score translations of test images by their nuclei; return metrics, costs and facts of the cell."""
    inputs = Inputs(cell, env)
    fold, fitted = inputs.fold(), inputs.upstream("fit")
    check_generator(
        fitted, load_seen(fitted), fold.fold_parts
    )  # a generator that has seen test patients is not evaluated on them
    test = fold.part("test")
    with ctx.phase("sample"):
        directions = translate(inputs, fold, fitted, ctx)
    with ctx.phase("evaluate"):
        scorer = FCNScorer(inputs, test, env.device)
        targets = {d.name: other.real for d, other in zip(directions, directions[::-1], strict=True) if other != d}
        scores = [score(d, targets.get(d.name), scorer) for d in directions]
    write_table(ctx.folder / TABLE, scores, test, inputs.index.classes)
    strips = [_strips(d) for d in directions]
    ctx.save_images("real_translation_reconstruction", 0, np.concatenate(strips))
    facts = {**scorer.facts, "test_images": len(test.records)}
    return Output(metrics=summary(scores, directions[0].real[0].size), facts=facts)


def translate(inputs: Inputs, fold: FoldData, fitted: Path, ctx: CellContext) -> list[Direction]:
    """Return the cycle of the test images of each class with images, at the method's size."""
    method: Translator = inputs.env.suite.method(str(inputs.cell.method)).create()
    test = fold.part("test", method.translation_size_px(inputs.settings.image_size_px))
    found = []
    for label in (0, 1):
        rows = np.flatnonzero(test.labels == label)
        if len(rows):
            real = test.images[rows]
            made = method.cycle(real, label, fitted, ctx)
            for images in made:
                for image in images:
                    require_image(str(inputs.cell.method), image, (real.shape[1], real.shape[2]))
            found.append(Direction(_name(label, inputs.index.classes), rows, real, *made))
    return found


class FCNScorer:
    """The fold's segmentation network, and the reference mask of a translation: its source's mask or prediction.

    ``facts`` say which of the two, or why there is no FCN score.
    """

    def __init__(self, inputs: Inputs, test: Part, device: str) -> None:
        key = next(key for stage, key in inputs.cell.upstream if stage == "fcn_score")
        done = Artifacts(inputs.env.out).result("fcn_score", key)["facts"]
        self.facts: dict[str, Any] = {k: done[k] for k in ("masks", "fcn_reference", "no_fcn_score") if k in done}
        self._size_px, self._device = inputs.settings.image_size_px, device
        self._masked = np.zeros(0, np.intp)  # rows of the test part that have a reference
        if done["masks"] == NONE:
            return
        from bench.classifiers.weight_files import load_network
        from bench.segmentation.network import UNet
        from bench.segmentation.trainer import segment

        self._network = UNet(inputs.settings.segmentation.filters)
        load_network(self._network, inputs.upstream("fcn_score") / NETWORK)
        if done["masks"] == TRUE:
            self._masked = np.flatnonzero([bool(r.mask_paths) for r in test.records])
            self._reference = masked(test, TRUE, inputs).masks
        else:
            self._masked = np.arange(len(test.records))
            self._reference = segment(self._network, test.images, device)

    def confusions(self, direction: Direction) -> tuple[Counts, npt.NDArray[np.intp]]:
        """Return confusion matrices int64 [M, 2, 2] and their rows of the test part [M]."""
        chosen = np.flatnonzero(np.isin(direction.rows, self._masked))
        rows = direction.rows[chosen]
        if not len(rows):
            return np.zeros((0, 2, 2), np.int64), rows
        from bench.segmentation.trainer import segment

        images = at_size(direction.translated[chosen], self._size_px)
        reference = self._reference[np.searchsorted(self._masked, rows)]
        return confusion(reference, segment(self._network, images, self._device)), rows


def score(direction: Direction, target: Uint8Images | None, scorer: FCNScorer) -> Scores:
    """Evaluate one direction; ``target`` are the real test images of the target class, None without any."""
    cycle = paired_quality(direction.real, direction.reconstructed)
    unpaired = {} if target is None else unpaired_quality(direction.translated, target)
    return Scores(direction.name, direction.rows, cycle, unpaired, *scorer.confusions(direction))


def summary(scores: Sequence[Scores], samples: int) -> dict[str, float]:
    """Return the metrics of all test images, and under ``…/<class a>_to_<class b>`` those of each direction."""
    found: dict[str, float] = {}
    for suffix, of in (("", scores), *((f"/{s.name}", [s]) for s in scores)):
        for kind in ("cycle", "unpaired"):
            values = [v for v in (getattr(s, kind) for s in of) if v]
            joint = {k: np.concatenate([v[k] for v in values]) for k in (values[0] if values else ())}
            found |= {f"{kind}/{k}{suffix}": v for k, v in mean_quality(joint, samples).items()}
        confusions = np.concatenate([s.confusions for s in of])
        if len(confusions):
            found |= {f"fcn/{k}{suffix}": v for k, v in fcn_score(confusions.sum(axis=0)).items()}
    return found


def write_table(path: Path, scores: Sequence[Scores], test: Part, classes: Sequence[str]) -> None:
    """Write one row per test image: path and values; empty if a value is undefined."""
    rows: list[dict[str, Any]] = []
    for s in scores:
        matrices = dict(zip(s.scored.tolist(), s.confusions, strict=True))
        for i, row in enumerate(s.rows.tolist()):
            record = test.records[row]
            found = {"image": record.path, "group": record.group_id, "class": classes[record.label]}
            values = {f"cycle_{k}": v[i] for k, v in s.cycle.items()}
            values |= {f"unpaired_{k}": v[i] for k, v in s.unpaired.items() if i < len(v)}
            values |= {f"fcn_{k}": v for k, v in fcn_score(matrices[row]).items()} if row in matrices else {}
            rows.append(found | {k: repr(float(v)) for k, v in values.items() if not np.isnan(v)})
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as f:
        writer = DictWriter(f, columns)
        writer.writeheader()
        writer.writerows(rows)


def at_size(images: Uint8Images, size_px: int) -> Uint8Images:
    """Return the images at the suite's size, resized like synthetic images for classifiers."""
    from PIL import Image

    if images.shape[1:3] == (size_px, size_px):
        return images
    size, filter_ = (size_px, size_px), Image.Resampling.BICUBIC
    return np.stack([np.asarray(Image.fromarray(i).resize(size, filter_), dtype=np.uint8) for i in images])


def _name(label: int, classes: Sequence[str]) -> str:
    return f"{classes[label]}_to_{classes[1 - label]}"


def _strips(direction: Direction) -> Uint8Images:
    """Return real | translation | reconstruction of a few images, uint8 [n, H, 3 W, 3]."""
    shown = np.unique(np.linspace(0, len(direction.rows) - 1, SHOWN).astype(int))
    columns = (direction.real, direction.translated, direction.reconstructed)
    return np.concatenate([images[shown] for images in columns], axis=2)
