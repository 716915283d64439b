"""Similarity of images by the suite's feature extractor: cosine distance, computed in the background.

Distance: 1 - cos of the angle between two feature vectors; 0 for the same direction, 1 for orthogonal, 2 for opposite
vectors. For non-negative features, such as those of ``tf_efficientnet_lite0`` and ``inception``, it is at most 1.
Distances are rounded to six decimals, because the last digits of features depend on the other images in a batch.

Features come from the run's cache, which the stages ``fidelity`` and ``memorised`` fill; missing ones are computed once
and added. Nothing is downloaded.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from threading import Thread, main_thread
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bench.errors import BenchError
from bench.metrics.backbones import View
from bench.metrics.features import FeatureExtractor, Features, batches_of, cached_features
from bench.pages.serve.models import KEPT
from bench.pages.serve.neighbours import Distances, Floats, Seen, chunks, real_pixels
from bench.stages.common import Inputs
from bench.types import Uint8Images

if TYPE_CHECKING:
    import torch

DECIMALS = 6
OFFLINE = "HF_HUB_OFFLINE"  # if set, ``bench.weights`` contacts no host


class Watched(FeatureExtractor):
    """The suite's feature extractor with a counter ``done`` of images; it stops when the program ends."""

    done = 0

    def extract(self, images: Uint8Images, device: str = "cpu", batch_size: int = 32) -> Features:
        """Return the features of images uint8 [N, H, W, 3], float32 [N, D], batch by batch."""
        return self.embed(self._counted(batches_of(images, batch_size)), [0] * len(images), device).features

    def _counted(self, batches: Iterable[Uint8Images]) -> Iterator[Uint8Images]:
        for batch in batches:
            if not main_thread().is_alive():
                raise BenchError("the server was stopped")
            yield batch
            self.done += len(batch)

    def _look(self, network: torch.nn.Module, batch: torch.Tensor) -> View:
        return super()._look(network, batch)._replace(maps=())  # not needed without diversity; saves memory and time


@dataclass(frozen=True)
class ByFeatures:
    """Comparison by features float32 [N, D]. ``extractor`` computes those of the query image."""

    extractor: FeatureExtractor
    device: str
    real: Features
    synthetic: Features | None

    def distances(self, image: Uint8Images) -> Distances:
        """Return the cosine distances of one image uint8 [1, H, W, 3], 0 to 2."""
        wanted = self.extractor.extract(image, self.device, 1)[0].astype(np.float64)
        synthetic = None if self.synthetic is None else cosine_distances(self.synthetic, wanted)
        return Distances(cosine_distances(self.real, wanted), synthetic)


def cosine_distances(features: Features, wanted: Floats) -> Floats:
    """Return 1 - cos of the angles between rows [N, D] and a vector [D]; 1 if either is zero."""
    found = []
    for chunk in chunks(features, np.float64):
        lengths = np.linalg.norm(chunk, axis=1) * np.linalg.norm(wanted)
        cosine = np.divide(chunk @ wanted, lengths, out=np.zeros(len(chunk)), where=lengths > 0)
        found.append(1 - np.clip(cosine, -1, 1))
    return np.concatenate(found)


class Making:
    """The features of one classifier's training images, computed in a separate thread.

    ``found`` is None until they are computed. If they cannot be computed it stays None, and ``why`` has the reason.
    """

    def __init__(self, key: str, inputs: Inputs, seen: Seen) -> None:
        self.key = key
        self.found: ByFeatures | None = None
        self.why = ""
        self.total = len(seen.real) + len(seen.made)
        self._before = 0
        self._extractor: Watched | None = None
        Thread(target=self._work, args=(inputs, seen), name="features").start()

    @property
    def over(self) -> bool:
        """Whether the job has ended."""
        return self.found is not None or bool(self.why)

    @property
    def done(self) -> int:
        """Number of images of ``total`` that have features."""
        return self._before + (self._extractor.done if self._extractor else 0)

    def _work(self, inputs: Inputs, seen: Seen) -> None:
        try:
            self.found = self._make(inputs, seen)
        except (BenchError, OSError) as e:
            self.why = (str(e) or type(e).__name__).splitlines()[0]
        except Exception:  # the page must not wait forever
            traceback.print_exc()
            self.why = "internal error of the server; see its terminal"

    def _make(self, inputs: Inputs, seen: Seen) -> ByFeatures:
        env, config, size = inputs.env, inputs.settings.fidelity, inputs.settings.image_size_px
        with no_downloads():
            extractor = self._extractor = Watched(config.extractor, env.weights_folder, config.input_size_px)

        def features(images: Iterable[npt.NDArray[np.uint8]], count: int) -> Features:
            if not count:
                return np.zeros((0, 1), np.float32)
            with on_disk(images, (count, size, size, 3), env.out / "cache") as stacked:
                found = cached_features(
                    extractor, stacked, env.out / "cache" / "features", env.device, config.batch_size
                )
            self._before, extractor.done = self._before + count, 0
            return np.asarray(found, dtype=np.float32)

        real = features(real_pixels(inputs, seen), len(seen.real))
        if seen.synthetic is None:
            return ByFeatures(extractor, env.device, real, None)
        made = features((known.read(size) for known in seen.made), len(seen.made))
        row = {known.name: i for i, known in enumerate(seen.made)}
        return ByFeatures(extractor, env.device, real, made[[row[known.name] for known in seen.synthetic]])


class Workshop:
    """Computes features for one classifier after another; keeps the most recently used ones."""

    def __init__(self) -> None:
        self._jobs: dict[str, Making] = {}

    def job(self, key: str, inputs: Inputs, seen: Seen) -> Making:
        """Return the job of that classifier, or the job that must end before (it has another key)."""
        job = self._jobs.pop(key, None)
        if job is None:
            before = next((j for j in self._jobs.values() if not j.over), None)
            if before is not None:
                return before
            job = Making(key, inputs, seen)
        self._jobs[key] = job
        while len(self._jobs) > KEPT:
            del self._jobs[next(iter(self._jobs))]
        return job


@contextmanager
def on_disk(
    images: Iterable[npt.NDArray[np.uint8]], shape: tuple[int, ...], folder: Path
) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield images as one array mapped to a temporary file, so that few of them are in memory."""
    with TemporaryFile(dir=folder) as f:
        for image in images:
            f.write(np.ascontiguousarray(image).data)
        f.flush()
        yield np.memmap(f, np.uint8, "r", shape=shape)


@contextmanager
def no_downloads() -> Iterator[None]:
    """Prevent downloads by ``bench.weights`` inside the block: only weights on this machine are used."""
    import timm  # noqa: F401  # reads the variable once, at its first import

    before = os.environ.get(OFFLINE)
    os.environ[OFFLINE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[OFFLINE]
        else:
            os.environ[OFFLINE] = before
