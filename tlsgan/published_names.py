"""Which tensor of a published state dict is which of ours, told by names, order and shapes.

Two layouts of generators, three discriminators. How the published modules call their attributes is not relied on where
order and shapes decide; where these do not, a ``WeightsError`` says so, rather than a guess. No value is read here:
tensors may lie on the meta device.
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
STEMS = {(64, 3, 7, 7): "resnet50", (64, 3, 3, 3): "vgg16"}  # the backbones' first convolutions
STEM_NAME = re.compile(r"(?P<prefix>(?:.+\.)?)(?P<stem>conv1|0)\.weight")
CHILDREN = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}  # of a ResNet
CHANNELS = {"resnet50": 2048, "vgg16": 512}  # that the backbones end with
MOST = 8  # names told of each kind of misfit


@dataclass(frozen=True)
class Reading:
    """A state dict understood: our network for it, without values, and the name there of each of its tensors here."""

    network: nn.Module  # on the meta device
    names: Mapping[str, str]  # theirs -> ours, all tensors
    fields: Mapping[str, Any]  # of the config, as the tensors tell them
    said: tuple[str, ...]  # what was taken for what, for people


def read_generator(state: State) -> Reading:
    """Read a ResNet generator whose residual blocks are ``model.N.block.M`` or ``model.N.conv_block.M``.

    Filters and blocks are counted; running statistics mean batch norm. Raises ``WeightsError`` on any misfit.
    """
    stem = state.get("model.1.weight")
    if stem is None or stem.ndim != 4:
        raise WeightsError(
            "no generator: model.1.weight, its first convolution [filters, 3, 7, 7], is "
            f"{'missing' if stem is None else list(stem.shape)}; got {_some(list(state))}"
        )
    found = [match for name in state if (match := BLOCK.match(name))]
    layouts, blocks, filters = {m[2] for m in found}, len({m[1] for m in found}), stem.shape[0]
    layout = layouts.pop() if len(layouts) == 1 else "conv_block"
    norm = "batch" if "model.2.running_mean" in state else "instance"
    with torch.device("meta"):
        network = ResNetGenerator(filters, blocks, norm)
    names = {ours.replace(".conv_block.", f".{layout}."): ours for ours in network.state_dict()}
    what = f"generator of {filters} filters, {blocks} residual blocks, {norm} norm"
    _require_fit(what, network, names, state)
    said = f"{what}: model.N.{layout}.M -> model.N.conv_block.M, all else under its own name"
    return Reading(network, names, {"filters": filters, "blocks": blocks, "norm": norm}, (said,))


def read_discriminator(state: State) -> Reading:
    """Read a 70×70 PatchGAN, or a ResNet-50 or VGG-16 with two heads. Raises ``WeightsError`` on any misfit.

    The convolution that sees the image tells which of them it is, and whether a backbone has torchvision's names or
    numbers. Heads are told by what they end in: 1 unit (real or fake) or 2 (classes).
    """
    stems = [name for name, tensor in state.items() if tensor.ndim == 4 and tensor.shape[1] == 3]
    if len(stems) != 1:
        raise WeightsError(
            f"no discriminator: expected one convolution that sees RGB images, found {len(stems)} ({_some(stems)}) "
            f"among {_some(list(state))}"
        )
    shape = tuple(state[stems[0]].shape)
    if shape[2:] == (4, 4):
        return _read_patchgan(shape[0], state)
    match = STEM_NAME.fullmatch(stems[0])
    if shape not in STEMS or match is None:
        raise WeightsError(
            f"no known discriminator: its first convolution is {stems[0]} {list(shape)}; expected [filters, 3, 4, 4] "
            "(PatchGAN), or [64, 3, 7, 7] (ResNet-50) or [64, 3, 3, 3] (VGG-16) named ….conv1.weight or ….0.weight"
        )
    return _read_transfer(STEMS[shape], match["prefix"], match["stem"] == "0", state)


def _read_patchgan(filters: int, state: State) -> Reading:
    with torch.device("meta"):
        network = PatchGAN(filters)
    theirs, ours = _modules(state), _modules(network.state_dict())
    what = f"PatchGAN of {filters} filters"
    if len(theirs) != len(ours):
        raise WeightsError(
            f"read as a {what}: {len(theirs)} layers with weights, expected {len(ours)}: {_some(theirs)}"
        )
    layers = dict(zip(ours, theirs, strict=True))
    names = {f"{layers[path]}.{leaf}": f"{path}.{leaf}" for path, leaf in map(_split, network.state_dict())}
    _require_fit(what, network, names, state)
    said = f"{what}: {', '.join(theirs)} -> {', '.join(ours)}"
    return Reading(network, names, {"discriminator": PATCHGAN, "disc_filters": filters}, (said,))


def _read_transfer(kind: str, prefix: str, numbered: bool, state: State) -> Reading:
    with torch.device("meta"):
        backbone = build_backbone(kind)
    names = {prefix + _their_name(kind, numbered, k): f"backbone.{k}" for k in backbone.state_dict()}
    heads, problem = _read_heads(kind, {k: v for k, v in state.items() if k not in names})
    if problem:
        expected = dict(zip(names, backbone.state_dict().values(), strict=True))
        misfit = describe_mismatch(expected, {k: v for k, v in state.items() if k in names}, MOST)
        raise WeightsError(f"read as {kind} with two heads: {'; '.join(filter(None, (misfit, problem)))}")
    features, width = _widths(heads["head_real"], state)[:2]
    config = CONFIGS[kind]()
    with torch.device("meta"):
        network = TransferDiscriminator(backbone, features, width, HIDDEN_LAYERS.get(kind, 1), config.head_dropout)
    said = [f"{kind}: {prefix}* -> backbone.*"]
    for head, layers in heads.items():
        ours = [f"{head}.{3 * i}" for i in range(len(layers))]  # linear, ReLU, dropout
        names |= {
            f"{t}.{leaf}": f"{o}.{leaf}" for t, o in zip(layers, ours, strict=True) for leaf in ("weight", "bias")
        }
        said.append(f"{', '.join(layers)} -> {', '.join(ours)} ({_arrows(layers, state)})")
    _require_fit(f"{kind} with two heads", network, names, state)
    fields: dict[str, Any] = {"discriminator": kind, "head_width": width}
    if kind == "vgg16":  # its heads see the whole map, so they fit one size of images only
        fields["image_size_px"] = 32 * isqrt(features // CHANNELS[kind])
    return Reading(network, names, fields, tuple(said))


def _read_heads(kind: str, rest: State) -> tuple[dict[str, list[str]], str]:
    """Return the layers of ``head_real`` and ``head_class``, in order, among what is not backbone; or the problem."""
    layers = list(_modules(rest))
    depth = HIDDEN_LAYERS.get(kind, 1) + 1
    halves = [layers[:depth], layers[depth:]]
    linear = all(f"{path}.weight" in rest and rest[f"{path}.weight"].ndim == 2 for path in layers)
    if linear and len(layers) == 2 * depth:
        one, other = (_widths(half, rest) for half in halves)
        ends = dict(zip((one[-1:], other[-1:]), halves, strict=True))
        if one[:-1] == other[:-1] and set(ends) == {(1,), (NUM_CLASSES,)} and _fits(kind, one):
            return {"head_real": ends[(1,)], "head_class": ends[(NUM_CLASSES,)]}, ""
    shapes = [f"{name} {list(tensor.shape)}" for name, tensor in rest.items() if not name.endswith(".bias")]
    channels = f"{CHANNELS[kind]}" if kind == "resnet50" else f"{CHANNELS[kind]}·h·w"
    arrows = " → ".join([channels, *["width"] * (depth - 1)])
    return {}, (
        f"what is not backbone cannot be told apart into two heads: {_some(shapes, 2 * depth + MOST)}; expected the "
        f"linear layers of one head after those of the other, one {arrows} → 1 (real or fake) and one {arrows} → "
        f"{NUM_CLASSES} (classes), and nothing else"
    )


def _fits(kind: str, widths: tuple[int, ...]) -> bool:
    """Whether a head's hidden layers are alike, and its input is what the backbone gives for some square image."""
    pixels, left = divmod(widths[0], CHANNELS[kind])
    seen = pixels == 1 if kind == "resnet50" else isqrt(pixels) ** 2 == pixels > 0
    return left == 0 and seen and len(set(widths[1:-1])) == 1


def _widths(layers: list[str], state: State) -> tuple[int, ...]:
    """Return input, hidden and output widths of linear layers in a row; nothing when one does not take the last's."""
    shapes = [state[f"{path}.weight"].shape for path in layers]
    chained = all(after[1] == before[0] for before, after in pairwise(shapes))
    return (shapes[0][1], *(s[0] for s in shapes)) if chained else ()


def _arrows(layers: list[str], state: State) -> str:
    return " → ".join(str(w) for w in _widths(layers, state))


def _their_name(kind: str, numbered: bool, ours: str) -> str:
    """Return a backbone's tensor as the published module names it: as torchvision does, or by numbers of children."""
    first, _, rest = ours.partition(".")
    return f"{CHILDREN[first]}.{rest}" if numbered and kind == "resnet50" else ours


def _require_fit(what: str, network: nn.Module, names: Mapping[str, str], state: State) -> None:
    ours = network.state_dict()
    problem = describe_mismatch({theirs: ours[name] for theirs, name in names.items()}, state, MOST)
    if problem:
        raise WeightsError(f"read as a {what}: {problem}")


def _modules(state: State) -> list[str]:
    """Return the modules that tensors belong to, in order."""
    return list(dict.fromkeys(_split(name)[0] for name in state))


def _split(name: str) -> tuple[str, str]:
    path, _, leaf = name.rpartition(".")
    return path, leaf


def _some(names: list[str], most: int = MOST) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}" if names else "nothing"
