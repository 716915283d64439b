"""Strict loading of the published checkpoints of CycleGAN and TL-S-CycleGAN into this package's networks.

The authors saved plain state dicts after every epoch: ``netG_A2B_epoch_24.pth``, ``netG_B2A_…``, ``netD_A_…``,
``netD_B_…``. A is benign, B is malignant. Files are loaded with ``weights_only``, which runs no code from them. A
missing or additional tensor is an error.

    published = load_networks(Path("checkpoints"))          # the last epoch
    fake_b = published.nets.G_ab(real_a)                    # float [B, 3, H, W] in [-1, 1]
    convert(Path("checkpoints"), Path("converted"))         # for CycleGAN.synthesize and CycleGAN.cycle
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from bench.errors import WeightsError
from bench.types import Size
from bench.weights import read_state_dict
from tlsgan.config import CycleGANConfig, check_image_size
from tlsgan.discriminators import TransferDiscriminator
from tlsgan.networks import Networks
from tlsgan.published.names import CONFIGS, Reading, State, read_discriminator, read_generator

# names in this package -> published names
FILES = {"G_ab": "netG_A2B", "G_ba": "netG_B2A", "D_a": "netD_A", "D_b": "netD_B"}
GENERATORS, DISCRIMINATORS = ("G_ab", "G_ba"), ("D_a", "D_b")
FILE_NAME = re.compile(r"(netG_A2B|netG_B2A|netD_A|netD_B)_epoch_(\d+)\.pth")
ADVICE = (
    "each file must be the complete state dict of one network, written by torch.save(net.state_dict(), file); "
    "both generators must have the same layout, and both discriminators the same architecture"
)


@dataclass(frozen=True)
class PublishedFiles:
    """The files of one epoch, by this package's network names."""

    epoch: int
    paths: Mapping[str, Path]


@dataclass(frozen=True)
class Published:
    """The networks of one epoch in evaluation mode, on the CPU in float32, and how they were read.

    ``config`` has filters, blocks, norm and heads from the tensors, and published values for the other fields.
    ``names`` maps the tensor names in the file to this package's for each network. ``summary`` describes this mapping
    in a few lines.
    """

    epoch: int
    nets: Networks
    config: CycleGANConfig
    names: Mapping[str, Mapping[str, str]]
    summary: tuple[str, ...]


def find_checkpoint(folder: Path, epoch: int | None = None, networks: Sequence[str] = tuple(FILES)) -> PublishedFiles:
    """Return the files of the required ``networks`` for an epoch, by default the last one in the folder.

    Raises ``WeightsError`` when the folder has no such files, or lacks one of that epoch.
    """
    epochs: dict[int, dict[str, Path]] = {}
    own_names = {published: own for own, published in FILES.items()}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if (match := FILE_NAME.fullmatch(path.name)) and own_names[match[1]] in networks:
            epochs.setdefault(int(match[2]), {})[own_names[match[1]]] = path
    expected = ", ".join(f"{FILES[name]}_epoch_<n>.pth" for name in networks)
    if not epochs:
        raise WeightsError(f"no published checkpoint in {folder}; expected {expected}; name a folder with these files")
    chosen = max(epochs) if epoch is None else epoch
    missing = [f"{FILES[name]}_epoch_{chosen}.pth" for name in networks if name not in epochs.get(chosen, {})]
    if missing:
        complete = [str(n) for n, paths in sorted(epochs.items()) if len(paths) == len(networks)]
        raise WeightsError(
            f"{folder} lacks {', '.join(missing)}; complete epochs there: {', '.join(complete) or 'none'}; "
            "add the missing files, or choose another epoch"
        )
    return PublishedFiles(chosen, {name: epochs[chosen][name] for name in networks})


def load_networks(folder: Path, epoch: int | None = None) -> Published:
    """Load all four networks of an epoch, the last one by default.

    Raises one ``WeightsError`` that lists every mismatch of every file.
    """
    files = find_checkpoint(folder, epoch)
    networks, readings = _load(files)
    fields = {**readings["G_ab"].fields, **readings["D_a"].fields}
    summary = tuple(f"{files.paths[name].name}: {line}" for name, r in readings.items() for line in r.summary)
    names = {name: dict(r.names) for name, r in readings.items()}
    return Published(files.epoch, Networks(**networks), CONFIGS[fields["discriminator"]](**fields), names, summary)


def convert(
    folder: Path,
    out: Path,
    image_size_px: Size = 256,
    classes: tuple[str, str] = ("benign", "malignant"),
    epoch: int | None = None,
) -> CycleGANConfig:
    """Write an epoch's generators in the format of a fitted method, so that ``CycleGAN(config)`` can use ``out``.

    Writes ``G_ab.safetensors``, ``G_ba.safetensors`` and ``generator.json``; the discriminators are not needed. Returns
    the config. ``image_size_px`` is the side or (height, width) of the images to translate (published: 256; VGG-16 224;
    ResNet-50 (460, 700)), ``classes`` are the names of domains A and B. The training patients of these generators are
    not known: do not train a classifier on their images if it is tested on the same data set. Raises ``ConfigError``
    for an unsuitable size, and ``WeightsError`` as ``load_networks`` does.
    """
    check_image_size(image_size_px)
    files = find_checkpoint(folder, epoch, GENERATORS)
    networks, readings = _load(files)
    config = CycleGANConfig(image_size_px=image_size_px, **readings["G_ab"].fields)
    out.mkdir(parents=True, exist_ok=True)
    for name, network in networks.items():
        save_file({k: v.contiguous() for k, v in network.state_dict().items()}, out / f"{name}.safetensors")
    source = {
        "epoch": files.epoch,
        "sha256": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files.paths.values()},
        "read_as": list(readings["G_ab"].summary),
    }
    described = {"classes": classes, "image_size_px": image_size_px, "config": asdict(config), "published": source}
    (out / "generator.json").write_text(json.dumps(described, indent=2) + "\n")
    return config


def _load(files: PublishedFiles) -> tuple[dict[str, Any], dict[str, Reading]]:
    """Return the loaded networks and their readings. Raises one ``WeightsError`` for all files."""
    networks: dict[str, nn.Module] = {}
    readings: dict[str, Reading] = {}
    problems = []
    for name, path in files.paths.items():
        try:
            state = read_state_dict(path)
            readings[name] = read_generator(state) if name in GENERATORS else read_discriminator(state)
            networks[name] = _fill(readings[name], state)
        except WeightsError as e:
            problems.append(f"{path.name}: {e}")
    for first, second in (GENERATORS, DISCRIMINATORS):
        if first in readings and second in readings and readings[first].fields != readings[second].fields:
            a, b = (f"{files.paths[n].name} {dict(readings[n].fields)}" for n in (first, second))
            problems.append(f"the two networks differ: {a}, {b}")
    if problems:
        raise WeightsError(
            "\n".join(["the published checkpoint does not fit the networks of this package", *problems, ADVICE])
        )
    return networks, readings


def _fill(reading: Reading, state: State) -> nn.Module:
    """Load a state dict, converted to float32, into the reading's network on the meta device."""
    network = reading.network
    tensors = {own: state[published] for published, own in reading.names.items()}
    converted = {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
    network.load_state_dict(converted, strict=True, assign=True)
    if isinstance(network, TransferDiscriminator):
        # not in the state dict; the published networks do not normalise images
        network.scale, network.shift = torch.ones(1, 3, 1, 1), torch.zeros(1, 3, 1, 1)
    return network.eval()
