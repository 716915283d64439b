"""Mapping of tensor names in published state dicts of CycleGAN and TL-S-CycleGAN to names in this package.

Two layouts of generators and three discriminators are known. Where order and shapes determine the mapping, attribute
names of the published modules do not matter. Where they do not, a ``WeightsError`` is raised; nothing is guessed. Only
names and shapes are used, so tensors may be on the meta device.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import isqrt
from typing import Any

import torch
from torch import nn

from bench.errors import WeightsError
from bench.weights import describe_mismatch
from tlsgan.config import PATCHGAN, CycleGANConfig, TLSGANResNet50Config, TLSGANVGG16Config
from tlsgan.discriminators import HIDDEN_LAYERS, NUM_CLASSES, PatchGAN, TransferDiscriminator, build_backbone
from tlsgan.generators import ResNetGenerator

State = Mapping[str, torch.Tensor]

CONFIGS = {PATCHGAN: CycleGANConfig, "resnet50": TLSGANResNet50Config, "vgg16": TLSGANVGG16Config}
BLOCK = re.compile(r"model\.(\d+)\.(block|conv_block)\.")
STEMS = {(64, 3, 7, 7): "resnet50", (64, 3, 3, 3): "vgg16"}  # shapes of the backbones' first convolutions
STEM_NAME = re.compile(r"(?P<prefix>(?:.+\.)?)(?P<stem>conv1|0)\.weight")
# named layers of a ResNet -> numbers
CHILDREN = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
CHANNELS = {"resnet50": 2048, "vgg16": 512}  # in the backbones' outputs
MOST = 8  # names listed per kind of mismatch


@dataclass(frozen=True)
class Reading:
    """The network that fits a state dict, without values, and the mapping of all tensor names."""

    network: nn.Module  # on the meta device
    names: Mapping[str, str]  # published name -> name in this package
    fields: Mapping[str, Any]  # config fields determined by the tensors
    summary: tuple[str, ...]  # the mapping in words


def read_generator(state: State) -> Reading:
    """Read a ResNet generator whose residual blocks are ``model.N.block.M`` or ``model.N.conv_block.M``.

    The state dict determines filters, blocks and norm (batch norm if it has running statistics). Raises
    ``WeightsError`` on any mismatch.
    """
    stem = state.get("model.1.weight")
    if stem is None or stem.ndim != 4:
        raise WeightsError(
            "not a generator: expected its first convolution model.1.weight [filters, 3, 7, 7], which is "
            f"{'missing' if stem is None else list(stem.shape)}; got {_some(list(state))}"
        )
    matches = [match for name in state if (match := BLOCK.match(name))]
    layouts, blocks, filters = {m[2] for m in matches}, len({m[1] for m in matches}), stem.shape[0]
    layout = layouts.pop() if len(layouts) == 1 else "conv_block"
    norm = "batch" if "model.2.running_mean" in state else "instance"
    with torch.device("meta"):
        network = ResNetGenerator(filters, blocks, norm)
    names = {own.replace(".conv_block.", f".{layout}."): own for own in network.state_dict()}
    what = f"generator of {filters} filters, {blocks} residual blocks, {norm} norm"
    _require_fit(what, network, names, state)
    summary = f"{what}: model.N.{layout}.M -> model.N.conv_block.M, all other names unchanged"
    return Reading(network, names, {"filters": filters, "blocks": blocks, "norm": norm}, (summary,))


def read_discriminator(state: State) -> Reading:
    """Read a 70×70 PatchGAN, or a ResNet-50 or VGG-16 with two heads. Raises ``WeightsError`` on any mismatch.

    The first convolution determines the architecture, and whether the backbone uses torchvision's names or numbers. The
    number of outputs determines the head: 1 (real or fake) or 2 (classes).
    """
    stems = [name for name, tensor in state.items() if tensor.ndim == 4 and tensor.shape[1] == 3]
    if len(stems) != 1:
        raise WeightsError(
            f"not a discriminator: expected one convolution with 3 input channels, got {len(stems)} ({_some(stems)}) "
            f"among {_some(list(state))}"
        )
    shape = tuple(state[stems[0]].shape)
    if shape[2:] == (4, 4):
        return _read_patchgan(shape[0], state)
    match = STEM_NAME.fullmatch(stems[0])
    if shape not in STEMS or match is None:
        raise WeightsError(
            f"unknown discriminator: its first convolution is {stems[0]} {list(shape)}; expected [filters, 3, 4, 4] "
            "(PatchGAN), or [64, 3, 7, 7] (ResNet-50) or [64, 3, 3, 3] (VGG-16) named ….conv1.weight or ….0.weight"
        )
    return _read_transfer(STEMS[shape], match["prefix"], match["stem"] == "0", state)


def _read_patchgan(filters: int, state: State) -> Reading:
    with torch.device("meta"):
        network = PatchGAN(filters)
    published, own = _modules(state), _modules(network.state_dict())
    what = f"PatchGAN of {filters} filters"
    if len(published) != len(own):
        raise WeightsError(
            f"read as a {what}: {len(published)} layers with weights, expected {len(own)}: {_some(published)}"
        )
    layers = dict(zip(own, published, strict=True))
    names = {f"{layers[path]}.{leaf}": f"{path}.{leaf}" for path, leaf in map(_split, network.state_dict())}
    _require_fit(what, network, names, state)
    summary = f"{what}: {', '.join(published)} -> {', '.join(own)}"
    return Reading(network, names, {"discriminator": PATCHGAN, "disc_filters": filters}, (summary,))


def _read_transfer(kind: str, prefix: str, numbered: bool, state: State) -> Reading:
    with torch.device("meta"):
        backbone = build_backbone(kind)
    names = {prefix + _published_name(kind, numbered, k): f"backbone.{k}" for k in backbone.state_dict()}
    heads, problem = _read_heads(kind, {k: v for k, v in state.items() if k not in names})
    if problem:
        expected = dict(zip(names, backbone.state_dict().values(), strict=True))
        mismatch = describe_mismatch(expected, {k: v for k, v in state.items() if k in names}, MOST)
        raise WeightsError(f"read as {kind} with two heads: {'; '.join(filter(None, (mismatch, problem)))}")
    features, width = _widths(heads["head_real"], state)[:2]
    config = CONFIGS[kind]()
    with torch.device("meta"):
        network = TransferDiscriminator(backbone, features, width, HIDDEN_LAYERS.get(kind, 1), config.head_dropout)
    summary = [f"{kind}: {prefix}* -> backbone.*"]
    for head, layers in heads.items():
        own = [f"{head}.{3 * i}" for i in range(len(layers))]  # linear, ReLU, dropout
        names |= {f"{t}.{leaf}": f"{o}.{leaf}" for t, o in zip(layers, own, strict=True) for leaf in ("weight", "bias")}
        summary.append(f"{', '.join(layers)} -> {', '.join(own)} ({_arrows(layers, state)})")
    _require_fit(f"{kind} with two heads", network, names, state)
    fields: dict[str, Any] = {"discriminator": kind, "head_width": width}
    if kind == "vgg16":  # the width of its feature map depends on the image size
        fields["image_size_px"] = 32 * isqrt(features // CHANNELS[kind])
    return Reading(network, names, fields, tuple(summary))


def _read_heads(kind: str, rest: State) -> tuple[dict[str, list[str]], str]:
    """Return the layers of ``head_real`` and ``head_class`` among the tensors outside the backbone; or the problem."""
    layers = list(_modules(rest))
    depth = HIDDEN_LAYERS.get(kind, 1) + 1
    halves = [layers[:depth], layers[depth:]]
    linear = all(f"{path}.weight" in rest and rest[f"{path}.weight"].ndim == 2 for path in layers)
    if linear and len(layers) == 2 * depth:
        first, second = (_widths(half, rest) for half in halves)
        ends = dict(zip((first[-1:], second[-1:]), halves, strict=True))
        if first[:-1] == second[:-1] and set(ends) == {(1,), (NUM_CLASSES,)} and _fits(kind, first):
            return {"head_real": ends[(1,)], "head_class": ends[(NUM_CLASSES,)]}, ""
    shapes = [f"{name} {list(tensor.shape)}" for name, tensor in rest.items() if not name.endswith(".bias")]
    channels = f"{CHANNELS[kind]}" if kind == "resnet50" else f"{CHANNELS[kind]}·h·w"
    arrows = " → ".join([channels, *["width"] * (depth - 1)])
    return {}, (
        f"the tensors outside the backbone do not form two heads: {_some(shapes, 2 * depth + MOST)}; expected the "
        f"linear layers of one head after those of the other, one {arrows} → 1 (real or fake) and one {arrows} → "
        f"{NUM_CLASSES} (classes), and no other tensors"
    )


def _fits(kind: str, widths: tuple[int, ...]) -> bool:
    """Return whether a head's hidden layers have equal widths and its input fits the backbone for a square image."""
    pixels, remainder = divmod(widths[0], CHANNELS[kind])
    fits = pixels == 1 if kind == "resnet50" else isqrt(pixels) ** 2 == pixels > 0
    return remainder == 0 and fits and len(set(widths[1:-1])) == 1


def _widths(layers: list[str], state: State) -> tuple[int, ...]:
    """Return input, hidden and output widths of consecutive linear layers; empty if widths do not match."""
    shapes = [state[f"{path}.weight"].shape for path in layers]
    chained = all(after[1] == before[0] for before, after in pairwise(shapes))
    return (shapes[0][1], *(s[0] for s in shapes)) if chained else ()


def _arrows(layers: list[str], state: State) -> str:
    return " → ".join(str(w) for w in _widths(layers, state))


def _published_name(kind: str, numbered: bool, own: str) -> str:
    """Return the published name of a backbone's tensor: torchvision's, or with the numbers of the child modules."""
    first, _, rest = own.partition(".")
    return f"{CHILDREN[first]}.{rest}" if numbered and kind == "resnet50" else own


def _require_fit(what: str, network: nn.Module, names: Mapping[str, str], state: State) -> None:
    own = network.state_dict()
    problem = describe_mismatch({published: own[name] for published, name in names.items()}, state, MOST)
    if problem:
        raise WeightsError(f"read as a {what}: {problem}")


def _modules(state: State) -> list[str]:
    """Return the modules of the tensors, in order."""
    return list(dict.fromkeys(_split(name)[0] for name in state))


def _split(name: str) -> tuple[str, str]:
    path, _, leaf = name.rpartition(".")
    return path, leaf


def _some(names: list[str], most: int = MOST) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}" if names else "nothing"
