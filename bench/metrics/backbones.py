"""The networks of the feature extractors, what they return for a batch, and the source of their weights.

``inception`` is the network and resize of the FID papers (Szegedy et al. 2015) as ported by torch-fidelity; every other
name is a timm model.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.errors import ConfigError, WeightsError, nearest

if TYPE_CHECKING:
    import torch

INCEPTION = "inception"
INCEPTION_SIZE_PX = 299
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION_MAPS = ("MaxPool_1", "MaxPool_2", "Mixed_5d", "Mixed_6e", "Mixed_7c")  # the last layer of each resolution


class View(NamedTuple):
    """Output for a batch: features [B, D]; logits [B, K], K = 0 without a classifier; maps [B, C, H, W].

    The maps are those of the network's depths, shallow first; none if timm does not provide them.
    """

    features: torch.Tensor
    logits: torch.Tensor
    maps: tuple[torch.Tensor, ...]


def view_timm(network: Any, pixels: torch.Tensor) -> View:
    """Forward pass of a timm network on normalised pixels [B, 3, H, W]; pooled features before the classifier."""
    if hasattr(network, "forward_intermediates"):
        last, maps = network.forward_intermediates(pixels)
    else:
        last, maps = network.forward_features(pixels), []
    features = network.forward_head(last, pre_logits=True)
    logits = network.forward_head(last) if network.num_classes else features[:, :0]
    return View(features, logits, tuple(m for m in maps if m.ndim == 4))


def view_inception(network: torch.nn.Module, pixels: torch.Tensor) -> View:
    """Forward pass on uint8 [B, 3, H, W]: 2048 features, the logits without bias (as for the papers' IS), maps."""
    maps: list[torch.Tensor] = []
    layers = [network.get_submodule(name) for name in INCEPTION_MAPS]
    hooks = [layer.register_forward_hook(lambda _, __, out: maps.append(out)) for layer in layers]
    try:
        features, logits = network(pixels)
    finally:
        for hook in hooks:
            hook.remove()
    return View(features, logits, tuple(maps))


def load_timm(name: str, weights: Path | None) -> tuple[torch.nn.Module, str]:
    """Return a timm network with its classifier, if the weights contain it, and the SHA-256 of their file.

    Raises ``ConfigError`` for an unknown name, ``WeightsError`` when the weights are unavailable or do not fit.
    """
    import timm

    from bench.weights import backbone_state_dict

    if not timm.is_model(name):
        raise ConfigError(f"no feature extractor is called {name!r}; {nearest(name, [INCEPTION, *timm.list_models()])}")
    state, provenance = backbone_state_dict(name, weights)
    config = timm.models.get_pretrained_cfg(name)
    classifier = state.get(f"{config.classifier}.weight") if config else None
    network = timm.create_model(name, pretrained=False, num_classes=0 if classifier is None else len(classifier))
    known = network.state_dict()
    try:
        network.load_state_dict({k: v for k, v in state.items() if k in known})
    except RuntimeError as e:
        raise WeightsError(f"weights from {provenance['source']} do not fit {name!r}: {e}") from e
    return network, provenance["sha256"]


def load_inception(weights: Path | None) -> tuple[torch.nn.Module, str]:
    """Load torch-fidelity's inception from a local file or folder, the cache of torch.hub, or its release page.

    Returns the network and the SHA-256 of the file. Raises ``WeightsError``.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    from bench.weights import backbone_state_dict

    path = _find_inception(weights)
    backbone_state_dict(
        INCEPTION, path
    )  # torch-fidelity unpickles its input, so the file is first read as weights only
    layers = ["2048", "logits_unbiased"]
    try:
        network = FeatureExtractorInceptionV3(INCEPTION, layers, feature_extractor_weights_path=str(path))
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
