"""The verb `bench fidelity`: image metrics of two folders, equal to those of torch-fidelity's command line.

Files are found recursively and processed in the order of their real paths, in batches of 64, as with ``fidelity
--samples-find-deep``, so the values are the same. If sizes differ, images of the same size are batched.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from bench.cli.options import Command, device_option, json_option
from bench.data.walk import PICTURES
from bench.engine.session import pick_device
from bench.errors import DataError
from bench.types import GreyWindow, PixelPolicy, Uint8Images

if TYPE_CHECKING:
    from bench.metrics.features import Embedding

BATCH = 64  # default of torch-fidelity
SEED = 2020  # default of torch-fidelity
SHOWN = ("kid", "fid", "precision", "recall", "density", "coverage")
Scores = Mapping[str, float]


@dataclass(frozen=True)
class Comparison:
    """Scores by name, without the extractor's tag: ``synthetic`` and ``real`` of all images of the folders.

    ``real_baseline`` is of real images in the place of synthetic ones, ``at_real_baseline`` of as many synthetic
    images. Both carry their sizes (``bench.metrics.real_baseline.real_baseline_of_halves``).
    ``dimensions`` is the number of features.
    """

    tag: str
    dimensions: int
    synthetic: Scores
    real: Scores
    real_baseline: Scores
    at_real_baseline: Scores


def compare(
    real: Path, synthetic: Path, extractor: str, input_size_px: int | None, weights: Path | None, device: str
) -> Comparison:
    """Score a folder of synthetic images against one of real images.

    Raises ``DataError`` for a folder without readable images, ``ConfigError`` for an unknown extractor or size, and
    ``WeightsError`` if the extractor's weights are not available.
    """
    from bench.data.pixels import window_of_files
    from bench.metrics.features import FeatureExtractor
    from bench.metrics.fidelity import fidelity_metrics
    from bench.metrics.real_baseline import real_baseline_of_halves

    files = [image_files(folder) for folder in (real, synthetic)]
    network = FeatureExtractor(extractor, weights, input_size_px)
    window = window_of_files(path for found in files for path in found)
    true, made = (network.embed(_batches(found, window), [0] * len(found), device) for found in files)
    as_many = np.sort(np.random.default_rng(SEED).permutation(len(true.logits))[: len(made.logits)])
    baseline, at_real_baseline = real_baseline_of_halves(true.features, made.features, SEED)
    return Comparison(
        tag=network.tag,
        dimensions=true.features.shape[1],
        synthetic=fidelity_metrics(true.features, made.features) | _alone(made, np.arange(len(made.logits))),
        real=_alone(true, as_many),
        real_baseline=baseline,
        at_real_baseline=at_real_baseline,
    )


def _alone(embedding: Embedding, rows: Any) -> dict[str, float]:
    """Return the scores of one set: diversity, and the inception score (depends on set size) of ``rows``."""
    from bench.metrics.diversity import mean_diversity
    from bench.metrics.inception_score import inception_score

    return {"is": inception_score(embedding.logits[rows]), "diversity": mean_diversity(embedding.diversity, [0])}


def image_files(folder: Path) -> list[Path]:
    """Return the images below a folder, by real path. Raises ``DataError`` when there are none."""
    from PIL import Image

    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; expected a folder of images")
    known = {ext for ext, kind in Image.registered_extensions().items() if kind in Image.OPEN} | {*PICTURES}
    found = (p for p in folder.rglob("*") if p.suffix.lower() in known and not p.name.startswith(".") and p.is_file())
    files = sorted((Path(os.path.realpath(p)) for p in found), key=str)
    if not files:
        raise DataError(f"no images below {folder}; expected files such as .png, .jpg, .tif or .bmp")
    return files


def _batches(files: Sequence[Path], window: GreyWindow | None) -> Iterator[Uint8Images]:
    """Yield batches of up to ``BATCH`` consecutive images of one size; ``window`` is that of both folders."""
    from rich.console import Console
    from rich.progress import track

    from bench.data.image_files import open_image
    from bench.data.pixels import as_rgb

    pending: list[np.ndarray] = []
    for path in track(files, "features", console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True):
        try:
            image = np.asarray(as_rgb(open_image(path.read_bytes()), PixelPolicy(window)), dtype=np.uint8)
        except (OSError, SyntaxError, ValueError) as e:
            raise DataError(f"{path} cannot be read as an image ({e}); repair or remove it") from e
        if pending and (len(pending) == BATCH or pending[0].shape != image.shape):
            yield np.stack(pending)
            pending = []
        pending.append(image)
    yield np.stack(pending)


def as_json_text(found: Comparison) -> str:
    """Return the comparison as JSON; metric names end with the tag, undefined values are null."""

    def named(scores: Scores) -> dict[str, float | None]:
        return {f"{name}_{found.tag}": v if math.isfinite(v) else None for name, v in scores.items()}

    groups = {name: named(getattr(found, name)) for name in ("synthetic", "real", "real_baseline", "at_real_baseline")}
    return json.dumps({"extractor": found.tag, "features": found.dimensions, **groups}, indent=1)


def show(found: Comparison) -> None:
    """Print the comparison as a table, with notes on how to read it."""
    from rich.table import Table

    from bench.engine.console import plain_console

    console = plain_console()
    sizes = [f"{s['n_synthetic']:.0f} vs {s['n_real']:.0f}" for s in (found.synthetic, found.at_real_baseline)]
    table = Table("", "synthetic", "synthetic, subset", "real vs real", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row("images", sizes[0], sizes[1], sizes[1])
    for name in SHOWN:
        table.add_row(
            name, *(_text(scores[name]) for scores in (found.synthetic, found.at_real_baseline, found.real_baseline))
        )
    for name in ("is", "diversity"):
        table.add_row(name, _text(found.synthetic[name]), "", _text(found.real[name]))
    console.print(f"full metric names end in _{found.tag}")
    console.print(table)
    subset = found.synthetic["kid_subset_size"]
    console.print(f"KID over 100 subsets of {subset:.0f} images: torch-fidelity's --kid-subset-size {subset:.0f}.")
    console.print("FID depends on the number of images: compare the last two columns, which have equal sizes.")
    if min(found.synthetic["n_real"], found.synthetic["n_synthetic"]) <= found.dimensions:
        console.print(f"Not more images than features ({found.dimensions}): use KID, recall and coverage, not FID.")


def _text(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else "–"


@click.command(cls=Command)
@click.argument("real", type=click.Path(path_type=Path))
@click.argument("synthetic", type=click.Path(path_type=Path))
@click.option("--extractor", default="tf_efficientnet_lite0", show_default=True, help="inception, or a timm network.")
@click.option("--input-size", type=click.IntRange(min=8), help="Side in pixels. Default: that of the network.")
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    envvar="BENCH_WEIGHTS",
    show_envvar=True,
    help="File of the extractor's weights, or a folder of weights.",
)
@device_option
@json_option
def fidelity(
    real: Path, synthetic: Path, extractor: str, input_size: int | None, weights: Path | None, device: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Compare a folder of SYNTHETIC images with a folder of REAL images: FID, KID, precision, recall."""

    found = compare(real, synthetic, extractor, input_size, weights, pick_device(device))
    if as_json:
        click.echo(as_json_text(found))
    else:
        show(found)
