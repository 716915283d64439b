"""Image features from a named pretrained network, for FID, KID and similar metrics; cached by content.

The name of a metric contains ``FeatureExtractor.tag``: network, input size if it is not the network's default, and the
first 8 hex digits of the SHA-256 of its weights. Extractors: ``inception``, the network and resize of the FID papers as
ported by torch-fidelity (its tag with the standard weights is ``inception-6726825d``; only this one gives the FID that
papers report); ``tf_efficientnet_lite0``, whose ImageNet weights are in a package and need no download; any timm name.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from bench.errors import ConfigError, DataError
from bench.files import write_atomic
from bench.metrics.backbones import (
    INCEPTION,
    INCEPTION_SIZE_PX,
    View,
    load_inception,
    load_timm,
    view_inception,
    view_timm,
)
from bench.metrics.diversity import PairwiseDistance
from bench.types import Uint8Images

if TYPE_CHECKING:
    import torch

Features = npt.NDArray[np.float32]
PREPROCESSING = 1  # increase it when ``extract`` would give other features for the same images
DIGEST = hashlib.sha256().digest_size  # bytes at the end of a cached entry


@dataclass(frozen=True)
class Embedding:
    """Output of a network for N images.

    ``features`` float32 [N, D]; ``logits`` float32 [N, K] of its ImageNet classes, K = 0 if the weights have no
    classifier; ``diversity`` of each label with two or more images (see ``bench.metrics.diversity``).
    """

    features: Features
    logits: Features
    diversity: dict[int, float]


class Extracts(Protocol):
    """Features of images as a pure function; ``sha256`` changes with the weights, ``tag`` with the preprocessing."""

    tag: str
    sha256: str

    def extract(self, images: Uint8Images, device: str = "cpu", batch_size: int = 32) -> Features:
        """Return features float32 [N, D] of uint8 [N, H, W, 3]."""
        ...


class FeatureExtractor:
    """A pretrained network as a function from images to features.

    ``weights`` is a local file or folder (see ``bench.weights``); ``input_size_px`` is the side that images are resized
    to, None for the network's default (inception allows no other). Raises ``ConfigError`` for an unknown name or size
    and ``WeightsError`` when the weights cannot be found.
    """

    def __init__(self, name: str, weights: Path | None = None, input_size_px: int | None = None) -> None:
        self.name = name
        if name == INCEPTION:
            if input_size_px not in (None, INCEPTION_SIZE_PX):
                raise ConfigError(f"inception takes {INCEPTION_SIZE_PX} px only, got {input_size_px}: remove the size")
            self.network, self.sha256 = load_inception(weights)
            own_size_px, self._mean, self._std = INCEPTION_SIZE_PX, (0.0,) * 3, (1.0,) * 3
        else:
            self.network, self.sha256 = load_timm(name, weights)
            config: dict[str, Any] = self.network.pretrained_cfg  # type: ignore[assignment]
            own_size_px, self._mean, self._std = config["input_size"][-1], config["mean"], config["std"]
        self.input_size_px = input_size_px or own_size_px
        size = "" if self.input_size_px == own_size_px else f"-{self.input_size_px}px"
        self.tag = f"{name}{size}-{self.sha256[:8]}"  # characters that MLflow allows in a metric's name

    def extract(self, images: Uint8Images, device: str = "cpu", batch_size: int = 32) -> Features:
        """Return features float32 [N, D] of uint8 [N, H, W, 3].

        timm networks: antialiased bilinear resize to ``input_size_px`` in float (not rounded), the network's
        normalisation, pooled features before the classifier. inception: torch-fidelity's resize, 2048 features. Raises
        ``DataError`` for other input.
        """
        return self.embed(batches_of(images, batch_size), [0] * len(images), device).features

    def embed(self, batches: Iterable[Uint8Images], labels: Sequence[int], device: str = "cpu") -> Embedding:
        """Return features, logits and each label's diversity of images uint8 [B, H, W, 3], batch by batch.

        Batches may differ in image size. ``labels`` [N] are in the order of all the images. Raises ``DataError`` for
        other input, or no images.
        """
        import torch

        features, logits, distances, done = [], [], PairwiseDistance(), 0
        network = self.network.to(device).eval()
        with torch.inference_mode():
            for batch in batches:
                # Always in C order: the memory layout of pixels changes the last digits (this is also faster).
                pixels = torch.from_numpy(np.array(_checked(batch), order="C")).to(device)
                view = self._look(network, pixels)
                features.append(view.features.float().cpu())
                logits.append(view.logits.float().cpu())
                distances.add(view.maps, labels[done : done + len(batch)])
                done += len(batch)
        if done != len(labels) or not done:
            raise DataError(f"expected images and one label for each; got {done} and {len(labels)} labels")
        return Embedding(torch.cat(features).numpy(), torch.cat(logits).numpy(), distances.means())

    def _look(self, network: torch.nn.Module, batch: torch.Tensor) -> View:
        import torch
        from torch.nn.functional import interpolate

        pixels = batch.permute(0, 3, 1, 2)
        if self.name == INCEPTION:
            return view_inception(network, pixels)
        x = pixels.float() / 255
        size = (self.input_size_px, self.input_size_px)
        if x.shape[-2:] != size:
            x = interpolate(x, size=size, mode="bilinear", align_corners=False, antialias=True)
        mean, std = (torch.tensor(v, device=x.device).view(1, 3, 1, 1) for v in (self._mean, self._std))
        return view_timm(network, (x - mean) / std)


def batches_of(images: Uint8Images, batch_size: int) -> Iterator[Uint8Images]:
    """Yield the images in order, in batches of ``batch_size``; one empty batch if there are none."""
    for i in range(0, max(len(images), 1), batch_size):
        yield images[i : i + batch_size]


def _checked(images: Uint8Images) -> Uint8Images:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or len(images) == 0:
        raise DataError(f"expected images uint8 [N, H, W, 3], N >= 1; got {images.dtype} {images.shape}")
    return images


def cached_features(
    extractor: Extracts, images: Uint8Images, cache: Path, device: str = "cpu", batch_size: int = 32
) -> Features:
    """Return ``extractor.extract(images)``, cached in folder ``cache`` under a hash of pixels, weights, preprocessing.

    Other pixels, weights, size or device have another hash; writing is atomic, and a damaged entry is computed again.
    """
    path = cache / f"{_entry(extractor, images, device, batch_size)}.npy"
    features = _load(path, len(images))
    if features is None:
        features = extractor.extract(images, device, batch_size)
        _save(path, features)
    return features


def cached_embedding(
    extractor: FeatureExtractor,
    images: Uint8Images,
    labels: npt.NDArray[np.int64],
    cache: Path,
    device: str = "cpu",
    batch_size: int = 32,
) -> Embedding:
    """Return ``extractor.embed(images, labels)``, cached like ``cached_features`` and sharing its entries.

    The maps are not stored (they are a thousand times the size of the features), the labels' diversity is.
    """
    entry = _entry(extractor, images, device, batch_size)
    whose = hashlib.sha256(labels.astype(np.int64).tobytes()).hexdigest()[:16]
    paths = [cache / f"{entry}{kind}.npy" for kind in ("", "-logits", f"-diversity-{whose}")]
    features, logits, means = (_load(p, n) for p, n in zip(paths, (len(images), len(images), None), strict=True))
    if features is not None and logits is not None and means is not None:
        return Embedding(features, logits, {int(y): float(v) for y, v in means})
    found = extractor.embed(batches_of(images, batch_size), labels.tolist(), device)
    table = np.array(list(found.diversity.items()), dtype=np.float64).reshape(-1, 2)
    arrays: tuple[npt.NDArray[Any], ...] = (found.features, found.logits, table)
    for path, values in zip(paths, arrays, strict=True):
        _save(path, values)
    return found


def _entry(extractor: Extracts, images: Uint8Images, device: str, batch_size: int) -> str:
    key = hashlib.sha256(
        repr((PREPROCESSING, extractor.tag, extractor.sha256, images.shape, device, batch_size)).encode()
    )
    key.update(np.ascontiguousarray(images).data)
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '_', extractor.tag)}-{key.hexdigest()[:32]}"  # a network may be a path


def _load(path: Path, rows: int | None) -> Any:
    """Return the array of an entry, or None if it is missing, damaged, or of another shape."""
    try:
        content = path.read_bytes()
        if hashlib.sha256(content[:-DIGEST]).digest() != content[-DIGEST:]:
            return None
        values = np.load(io.BytesIO(content), allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    kind = np.float64 if rows is None else np.float32
    return values if values.dtype == kind and values.ndim == 2 and rows in (None, len(values)) else None


def _save(path: Path, values: npt.NDArray[Any]) -> None:
    """Write an array as .npy, followed by its SHA-256."""
    content = io.BytesIO()
    np.save(content, values)
    write_atomic(path, content.getvalue() + hashlib.sha256(content.getvalue()).digest())
