"""Names of datasets, methods, classifiers and metrics -> "module:Class", imported only when needed.

Other packages add names through the entry-point groups ``bench.datasets``, ``bench.methods``, ``bench.classifiers``
and ``bench.metrics``. A class that is not registered is given as "module:Class"; its module is searched on Python's
path and then in the folder of the suite's file (``look_in``).
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import is_dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal

from bench.errors import ConfigError, RegistryError, nearest

Kind = Literal["dataset", "method", "classifier", "metric"]
KINDS: tuple[Kind, ...] = ("dataset", "method", "classifier", "metric")

REGISTRY: dict[str, dict[str, str]] = {
    "dataset": {
        "phantom": "bench.data.sets.phantom:Phantom",
        "phantom_ihc": "bench.data.sets.phantom_ihc:PhantomIHC",
        "breakhis": "bench.data.sets.breakhis:BreakHis",
        "busi": "bench.data.sets.busi:Busi",
        "isic9": "bench.data.sets.isic9:Isic9",
        "chest_xray": "bench.data.sets.chest_xray:ChestXray",
        "malaria": "bench.data.sets.malaria:Malaria",
        "ham10000": "bench.data.sets.ham10000:Ham10000",
        "ihc": "bench.data.sets.ihc:IHC",
        "image_folder": "bench.data.sets.image_folder:ImageFolder",
    },
    "method": {
        "none": "baselines.none:NoAugmentation",
        "classical": "baselines.classical:Classical",
        "oversample": "baselines.oversample:Oversample",
        "noise": "baselines.noise:Noise",
        "cgan": "baselines.cgan:ConditionalGAN",
        "flow_matching": "baselines.flow_matching:FlowMatching",
        "cgan_skin": "baselines.cgan_skin:SkinGAN",
        "medsyngan": "baselines.medsyngan:MedSynGAN",
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
        "simple_cnn": "bench.classifiers.simple_cnn:SimpleCNN",
        "linear_probe": "bench.classifiers.linear_probe:LinearProbe",
    },
    "metric": {
        "expected_cost": "bench.metrics.expected_cost:ExpectedCost",
        "recall_bm": "bench.metrics.mean_recall:MeanRecall",
    },
}
FALLBACK = {"classifier": "bench.classifiers.timm_classifier:TimmClassifier"}  # any other name is timm's
FALLBACK_NAME = "timm"
OFFERS = {  # attributes that a class of each kind must have; checked before training starts
    "dataset": ("index",),
    "online": ("sampling_weights", "transform"),
    "generative": ("check", "fit", "synthesize"),
    "classifier": ("check", "build"),
    "metric": ("check", "measures", "compute", "per_patient"),
}
_FOLDERS: list[str] = []


@cache
def _plugins(kind: str) -> dict[str, str]:
    return {e.name: e.value for e in entry_points(group=f"bench.{kind}s")}


def names(kind: Kind) -> list[str]:
    """Return the registered names of a kind, plug-ins included, sorted."""
    return sorted({**REGISTRY[kind], **_plugins(kind)})


def look_in(folder: Path) -> None:
    """Add a folder to search for modules of "module:Class" names, after Python's path."""
    if (name := str(folder.resolve())) not in _FOLDERS:
        _FOLDERS.append(name)


def resolve(kind: Kind, name: str) -> str:
    """Return the "module:Class" of a name, or the name itself if it has that form.

    Raises ``RegistryError`` with the nearest valid name.
    """
    known = {**REGISTRY[kind], **_plugins(kind)}
    if name in known:
        return known[name]
    if is_target(name):
        return name
    if kind in FALLBACK:
        return FALLBACK[kind]
    raise RegistryError(f"unknown {kind} {name!r}; {nearest(name, known)}")


def identity(kind: Kind, name: str) -> str:
    """Return the identifier of a class in the keys of cells.

    It is the registered name, 'timm' for a timm model, or "module:Class" for a class that is not registered. Finished
    cells of a registered class remain valid when the class moves to another module.
    """
    known = name in REGISTRY[kind] or name in _plugins(kind) or is_target(name)
    return name if known or kind not in FALLBACK else FALLBACK_NAME


def is_target(name: str) -> bool:
    """Whether a name has the form "module:Class"."""
    module, _, attribute = name.partition(":")
    return attribute.isidentifier() and all(part.isidentifier() for part in module.split("."))


def load(kind: Kind, name: str) -> Any:
    """Import and return the class of a name.

    Raises ``RegistryError`` if it cannot be imported, ``ConfigError`` if it lacks an attribute that its kind needs.
    """
    target = resolve(kind, name)
    if name == target:  # extend sys.path, which worker processes inherit, so that they can import the module by name
        sys.path += [folder for folder in _FOLDERS if folder not in sys.path]
    module, _, attribute = target.partition(":")
    try:
        cls = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as e:
        if name != target:
            raise RegistryError(f"{kind} {name!r} is registered as {target!r}, which cannot be imported: {e}") from e
        places = ", ".join([*_FOLDERS, "PYTHONPATH"])
        raise RegistryError(f"{kind} {name!r} cannot be imported: {e}; its module was searched in {places}") from e
    _check(kind, target, cls)
    return cls


@contextmanager
def no_exit(doing: str) -> Iterator[None]:
    """Run plug-ins in the block: ``sys.exit`` raises ``ConfigError``, as it must not end the command with code 0.

    What they print goes to stderr: stdout may be read as JSON.
    """
    try:
        with redirect_stdout(sys.stderr):
            yield
    except SystemExit as e:
        place = traceback.extract_tb(e.__traceback__)[-1]
        raise ConfigError(
            f"{place.filename}, line {place.lineno}: sys.exit({e.code!r}) was called while {doing}; raise ConfigError "
            "there instead"
        ) from e


def _check(kind: Kind, target: str, cls: Any) -> None:
    """Raise ``ConfigError`` unless the class has the attributes that the harness uses (``bench.interfaces``)."""
    offered = getattr(cls, "kind", None) if kind == "method" else kind
    if offered not in OFFERS:
        raise ConfigError(f"{target} has kind = {offered!r}; expected 'online' or 'generative' for a method")
    missing = [name for name in OFFERS[offered] if not hasattr(cls, name)]
    if not is_dataclass(getattr(cls, "Config", None)):
        missing.append("Config, a frozen dataclass")
    if missing:
        what = f"{offered} {kind}" if kind == "method" else kind
        raise ConfigError(f"{target} is not a valid {what}: missing {', '.join(missing)}; see docs/extending.md")
