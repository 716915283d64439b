"""Features of images by a named pretrained network, for FID, KID and their kin; cached by content.

The name of a number carries ``FeatureExtractor.tag``: network, input size where it is not the network's own, and the
first 8 hex digits of its weights' SHA-256. Extractors: ``inception``, the network and resize of the FID papers as
torch-fidelity ports them (its tag with the standard weights is ``inception-6726825d``; only that one gives the FID
that papers report); ``tf_efficientnet_lite0``, whose ImageNet weights come with a package, no download; any timm name.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bench.errors import ConfigError, DataError, WeightsError, nearest
from bench.types import Uint8Images

if TYPE_CHECKING:
    import torch

Features = npt.NDArray[np.float32]
INCEPTION = "inception"
INCEPTION_SIZE_PX = 299
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
PREPROCESSING = 1  # raise it when ``extract`` would give other features for the same images: cached ones are then stale


class FeatureExtractor:
    """A pretrained network as a function from images to features.

    ``weights`` is a local file or folder (see ``bench.weights``); ``input_size_px`` the side that images are resized
    to, None for the network's own (inception allows no other). Raises ``ConfigError`` for an unknown name or size and
    ``WeightsError`` when the weights can be had in no way.
    """

    def __init__(self, name: str, weights: Path | None = None, input_size_px: int | None = None) -> None:
        self.name = name
        if name == INCEPTION:
            if input_size_px not in (None, INCEPTION_SIZE_PX):
                raise ConfigError(f"inception takes {INCEPTION_SIZE_PX} px only, got {input_size_px}: drop the size")
            self.network, self.sha256 = _load_inception(weights)
            own_size_px, self._mean, self._std = INCEPTION_SIZE_PX, (0.0,) * 3, (1.0,) * 3
        else:
            self.network, self.sha256 = _load_timm(name, weights)
            config: dict[str, Any] = self.network.pretrained_cfg  # type: ignore[assignment]
            own_size_px, self._mean, self._std = config["input_size"][-1], config["mean"], config["std"]
        self.input_size_px = input_size_px or own_size_px
        size = "" if self.input_size_px == own_size_px else f"-{self.input_size_px}px"
        self.tag = f"{name}{size}-{self.sha256[:8]}"  # signs that MLflow takes in a metric's name

    def extract(self, images: Uint8Images, device: str = "cpu", batch_size: int = 32) -> Features:
        """Return features float32 [N, D] of uint8 [N, H, W, 3].

        timm networks: antialiased bilinear resize to ``input_size_px`` in float (not rounded), the network's own
        normalisation, pooled features before the classifier. inception: torch-fidelity's own resize, 2048 features.
        Raises ``DataError`` for images of another kind.
        """
        import torch

        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or len(images) == 0:
            raise DataError(f"expected images uint8 [N, H, W, 3], N >= 1; got {images.dtype} {images.shape}")
        network = self.network.to(device).eval()
        with torch.inference_mode():
            parts = [
                self._forward(network, torch.from_numpy(np.array(images[i : i + batch_size])).to(device)).float().cpu()
                for i in range(0, len(images), batch_size)
            ]
        return torch.cat(parts).numpy()

    def _forward(self, network: torch.nn.Module, batch: torch.Tensor) -> torch.Tensor:
        import torch
        from torch.nn.functional import interpolate

        pixels = batch.permute(0, 3, 1, 2)
        if self.name == INCEPTION:
            return network(pixels)[0]
        x = pixels.float() / 255
        size = (self.input_size_px, self.input_size_px)
        if x.shape[-2:] != size:
            x = interpolate(x, size=size, mode="bilinear", align_corners=False, antialias=True)
        mean, std = (torch.tensor(v, device=x.device).view(1, 3, 1, 1) for v in (self._mean, self._std))
        return network((x - mean) / std)


def cached_features(
    extractor: FeatureExtractor, images: Uint8Images, cache: Path, device: str = "cpu", batch_size: int = 32
) -> Features:
    """Return ``extractor.extract(images)``, kept in folder ``cache`` under a hash of pixels, weights, preprocessing.

    Other pixels, weights, size or device never meet an old entry; writing is atomic, a damaged entry is made anew.
    """
    key = hashlib.sha256(
        repr((PREPROCESSING, extractor.tag, extractor.sha256, images.shape, device, batch_size)).encode()
    )
    key.update(np.ascontiguousarray(images).data)
    path = cache / f"{extractor.tag}-{key.hexdigest()[:32]}.npy"
    try:
        features = np.load(path, allow_pickle=False)
        if features.dtype == np.float32 and features.ndim == 2 and len(features) == len(images):
            return features
    except (OSError, ValueError, EOFError):
        pass  # not there yet, or cut short
    features = extractor.extract(images, device, batch_size)
    cache.mkdir(parents=True, exist_ok=True)
    temp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temp.open("wb") as f:
        np.save(f, features)
    os.replace(temp, path)
    return features


def _load_timm(name: str, weights: Path | None) -> tuple[torch.nn.Module, str]:
    import timm

    from bench.weights import backbone_state_dict

    if not timm.is_model(name):
        raise ConfigError(f"no feature extractor is called {name!r}; {nearest(name, [INCEPTION, *timm.list_models()])}")
    state, provenance = backbone_state_dict(name, weights)
    network = timm.create_model(name, pretrained=False, num_classes=0)
    body = {k: v for k, v in state.items() if k in network.state_dict()}  # leaves the classifier out
    try:
        network.load_state_dict(body)
    except RuntimeError as e:
        raise WeightsError(f"weights from {provenance['source']} do not fit {name!r}: {e}") from e
    return network, provenance["sha256"]


def _load_inception(weights: Path | None) -> tuple[torch.nn.Module, str]:
    """Load torch-fidelity's inception from a local file or folder, the cache of torch.hub, or its release page."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    from bench.weights import backbone_state_dict

    path = _find_inception(weights)
    backbone_state_dict(INCEPTION, path)  # torch-fidelity unpickles what it is given: read it first as plain weights
    try:
        network = FeatureExtractorInceptionV3(INCEPTION, ["2048"], feature_extractor_weights_path=str(path))
    except (RuntimeError, AttributeError, TypeError) as e:
        raise WeightsError(f"{path} does not fit torch-fidelity's inception: {e}") from e
    with path.open("rb") as f:
        return network, hashlib.file_digest(f, "sha256").hexdigest()


def _find_inception(weights: Path | None) -> Path:
    import torch
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    from bench.weights import _require_reachable

    if weights is not None and weights.is_file():
        return weights
    if weights is not None and (weights / INCEPTION_FILE).is_file():
        return weights / INCEPTION_FILE
    path = Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_FILE
    if not path.is_file():
        _require_reachable(INCEPTION, URL_INCEPTION_V3)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(URL_INCEPTION_V3, str(path), hash_prefix="6726825d", progress=False)
        except (OSError, RuntimeError) as e:
            raise WeightsError(f"the download of {URL_INCEPTION_V3} failed ({e}); put the file into `weights:`") from e
    return path
