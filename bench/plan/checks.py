"""Checks of a plan for settings that a stage would refuse: image sizes, batch sizes and networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from bench import registry
from bench.abilities import ChecksSize
from bench.classifiers.timm_names import is_timm_model
from bench.errors import BenchError, ConfigError, WeightsError, nearest
from bench.segmentation.network_config import SegmentationNetworkConfig
from bench.suite.suite import PluginSpec, Suite

INCEPTION = "inception"
INCLUDED = {*registry.REGISTRY["classifier"].values(), registry.FALLBACK["classifier"]}
QUICK_ENCODERS = (
    "vgg11_bn",
    "resnet18",
    "resnet34",
    "tu-vgg11_bn",
    "tu-resnet10t",
)  # valid for all sizes that check_size allows


def check_trainable(suite: Suite) -> None:
    """Raise ``ConfigError`` with each method, classifier, segmentation network and extractor that cannot be used.

    Imports torch only for networks that may not support all sizes. Weights are not checked.
    """
    refused = {name: reason for name, check in _checks(suite) if (reason := _reason(check))}
    if refused:
        reasons = "\n".join(f"  {name}: {reason}" for name, reason in refused.items())
        raise ConfigError(f"suite {suite.name} cannot be run:\n{reasons}")


def _checks(suite: Suite) -> Iterator[tuple[str, Callable[[], object]]]:
    for own in suite.by_fold.values():
        yield from _checks(own)
    side = suite.settings.image_size_px
    for method in suite.methods:
        made = method.create()
        if isinstance(made, ChecksSize):
            yield f"methods.{method.name}", partial(made.check_size, side)
    for spec in (*suite.classifiers, *(own for _, own in suite.tuned)):
        classifier = spec.create()
        yield f"classifiers.{spec.name}", classifier.check
        if isinstance(classifier, ChecksSize):
            yield f"classifiers.{spec.name}", partial(classifier.check_size, side)
        elif spec.target not in INCLUDED:  # a plug-in
            yield f"classifiers.{spec.name}", partial(_try_network, spec, side)
    for name, config in suite.settings.segmentation_networks.items():
        if config.encoder not in QUICK_ENCODERS:
            yield f"segmentation_networks.{name}", partial(_build_network, config)
    if any(m.kind == "generative" for m in suite.methods):
        yield "fidelity.extractor", partial(_check_extractor, suite.settings.fidelity.extractor)


def _reason(check: Callable[[], object]) -> str:
    try:
        check()
    except (ConfigError, WeightsError) as e:
        return str(e)
    return ""


def _build_network(config: SegmentationNetworkConfig) -> None:
    from bench.segmentation.smp_unet import build_segmentation_network

    build_segmentation_network(replace(config, encoder_weights="none"))


def _try_network(spec: PluginSpec, image_size_px: int) -> None:
    """Raise ``ConfigError`` unless a plug-in's network, without pretrained weights, returns logits for a batch.

    Two images stand for a larger batch; batch norm, for example, may refuse a batch of one.
    """
    import torch

    images = torch.rand(min(2, spec.config.batch_size), 3, image_size_px, image_size_px)
    what = f"{len(images)} of {image_size_px} px"
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            classifier = replace(spec, config=replace(spec.config, pretrained=False)).create()
            logits = classifier.build(2, image_size_px, None).train()(images)
    except BenchError:
        raise
    except Exception as e:
        raise ConfigError(f"the network cannot be trained on batches of {what}: {type(e).__name__}: {e}") from e
    if tuple(logits.shape) != (len(images), 2):
        raise ConfigError(f"the network returns {list(logits.shape)} for {what}, expected logits [{len(images)}, 2]")


def _check_extractor(name: str) -> None:
    if name != INCEPTION and not is_timm_model(name):
        import timm

        raise ConfigError(f"unknown feature extractor {name!r}; {nearest(name, [INCEPTION, *timm.list_models()])}")
