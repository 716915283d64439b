"""Names of datasets, methods and classifiers -> "module:Class", imported only when asked for.

Other people's packages add names through the entry-point groups ``bench.datasets``, ``bench.methods`` and
``bench.classifiers``.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Literal

from bench.errors import RegistryError, nearest

Kind = Literal["dataset", "method", "classifier"]

REGISTRY: dict[str, dict[str, str]] = {
    "dataset": {
        "phantom": "bench.data.phantom:Phantom",
        "breakhis": "bench.data.breakhis:BreakHis",
        "busi": "bench.data.busi:Busi",
        "isic9": "bench.data.isic9:Isic9",
        "image_folder": "bench.data.image_folder:ImageFolder",
    },
    "method": {
        "none": "baselines.none:NoAugmentation",
        "classical": "baselines.classical:Classical",
        "oversample": "baselines.oversample:Oversample",
        "cgan": "baselines.cgan:ConditionalGAN",
        "cyclegan": "tlsgan.augmenter:CycleGAN",
        "tlsgan_resnet50": "tlsgan.augmenter:TLSGANResNet50",
        "tlsgan_resnet50_scratch": "tlsgan.augmenter:TLSGANResNet50Scratch",
        "tlsgan_vgg16": "tlsgan.augmenter:TLSGANVGG16",
        "tlsgan_vgg16_scratch": "tlsgan.augmenter:TLSGANVGG16Scratch",
        "tlsgan_lite0": "tlsgan.augmenter:TLSGANLite0",
        "tlsgan_lite0_scratch": "tlsgan.augmenter:TLSGANLite0Scratch",
    },
    "classifier": {
        "small_cnn": "bench.classifiers.small_cnn:SmallCNN",
    },
}
FALLBACK = {"classifier": "bench.classifiers.timm_classifier:TimmClassifier"}  # any other name is timm's


@cache
def _plugins(kind: str) -> dict[str, str]:
    return {e.name: e.value for e in entry_points(group=f"bench.{kind}s")}


def names(kind: Kind) -> list[str]:
    """Return the registered names of a kind, plug-ins included, sorted."""
    return sorted({**REGISTRY[kind], **_plugins(kind)})


def resolve(kind: Kind, name: str) -> str:
    """Return the "module:Class" behind a name. Raises ``RegistryError`` with the nearest valid name."""
    known = {**REGISTRY[kind], **_plugins(kind)}
    if name in known:
        return known[name]
    if kind in FALLBACK:
        return FALLBACK[kind]
    raise RegistryError(f"no {kind} is called {name!r}; {nearest(name, known)}")


def load(kind: Kind, name: str) -> Any:
    """Import and return the class behind a name."""
    target = resolve(kind, name)
    module, _, attribute = target.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as e:
        raise RegistryError(f"{kind} {name!r} is registered as {target!r}, which cannot be imported: {e}") from e
