"""The authors' own checkpoints of CycleGAN and TL-S-CycleGAN, strictly into our networks.

They saved plain state dicts every epoch: ``netG_A2B_epoch_24.pth``, ``netG_B2A_…``, ``netD_A_…``, ``netD_B_…``; A is
benign, B malignant. Files are never unpickled (``weights_only``); a tensor too many or too few is an error.

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
from tlsgan.published_names import CONFIGS, Reading, State, read_discriminator, read_generator

FILES = {"G_ab": "netG_A2B", "G_ba": "netG_B2A", "D_a": "netD_A", "D_b": "netD_B"}  # our names, theirs
GENERATORS, DISCRIMINATORS = ("G_ab", "G_ba"), ("D_a", "D_b")
FILE_NAME = re.compile(r"(netG_A2B|netG_B2A|netD_A|netD_B)_epoch_(\d+)\.pth")
ADVICE = (
    "each file must be the whole state dict of one published network, as torch.save(net.state_dict(), file) writes it: "
    "both generators of one layout, both discriminators of one kind"
)


@dataclass(frozen=True)
class PublishedFiles:
    """The files of one epoch, by our names of the networks."""

    epoch: int
    paths: Mapping[str, Path]


@dataclass(frozen=True)
class Published:
    """The networks of one epoch in evaluation mode, on the CPU in float32, and how they were read.

    ``config`` has what the tensors tell (filters, blocks, norm, heads), published values for the rest. ``names`` map
    the file's to ours for every tensor of each network, ``said`` tells the same in a few lines.
    """

    epoch: int
    nets: Networks
    config: CycleGANConfig
    names: Mapping[str, Mapping[str, str]]
    said: tuple[str, ...]


def find_checkpoint(folder: Path, epoch: int | None = None, networks: Sequence[str] = tuple(FILES)) -> PublishedFiles:
    """Return the files of an epoch, the last one in the folder by default; ``networks`` are those that are needed.

    Raises ``WeightsError`` when there are none, or when one of that epoch is missing.
    """
    found: dict[int, dict[str, Path]] = {}
    theirs = {name: ours for ours, name in FILES.items()}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if (match := FILE_NAME.fullmatch(path.name)) and theirs[match[1]] in networks:
            found.setdefault(int(match[2]), {})[theirs[match[1]]] = path
    wanted = ", ".join(f"{FILES[name]}_epoch_<n>.pth" for name in networks)
    if not found:
        raise WeightsError(f"no published checkpoint in {folder}; expected {wanted}")
    chosen = max(found) if epoch is None else epoch
    missing = [f"{FILES[name]}_epoch_{chosen}.pth" for name in networks if name not in found.get(chosen, {})]
    if missing:
        whole = [str(n) for n, paths in sorted(found.items()) if len(paths) == len(networks)]
        raise WeightsError(
            f"{folder} lacks {', '.join(missing)}; complete epochs there: {', '.join(whole) or 'none'}; "
            "add the file, or name another epoch"
        )
    return PublishedFiles(chosen, {name: found[chosen][name] for name in networks})


def load_networks(folder: Path, epoch: int | None = None) -> Published:
    """Load all four networks of an epoch, the last one by default.

    Raises ``WeightsError`` with everything that does not fit, file by file.
    """
    files = find_checkpoint(folder, epoch)
    networks, readings = _load(files)
    fields = {**readings["G_ab"].fields, **readings["D_a"].fields}
    said = tuple(f"{files.paths[name].name}: {line}" for name, r in readings.items() for line in r.said)
    names = {name: dict(r.names) for name, r in readings.items()}
    return Published(files.epoch, Networks(**networks), CONFIGS[fields["discriminator"]](**fields), names, said)


def convert(
    folder: Path,
    out: Path,
    image_size_px: Size = 256,
    classes: tuple[str, str] = ("benign", "malignant"),
    epoch: int | None = None,
) -> CycleGANConfig:
    """Write an epoch's generators as a fitted method leaves them, so that ``CycleGAN(config)`` can use ``out``.

    Files: ``G_ab.safetensors``, ``G_ba.safetensors`` and ``generator.json``; discriminators are not needed. Returns the
    config. ``image_size_px`` is of the images to translate (published: 256; with VGG-16 224; with ResNet-50 460 × 700,
    (height, width)), ``classes`` are domains A and B. Which patients these generators have seen nobody knows: what they
    make must not train a classifier that is tested on images of their data set. Raises ``WeightsError`` as
    ``load_networks`` does.
    """
    check_image_size(image_size_px)
    files = find_checkpoint(folder, epoch, GENERATORS)
    networks, readings = _load(files)
    config = CycleGANConfig(image_size_px=image_size_px, **readings["G_ab"].fields)
    out.mkdir(parents=True, exist_ok=True)
    for name, network in networks.items():
        save_file({k: v.contiguous() for k, v in network.state_dict().items()}, out / f"{name}.safetensors")
    origin = {
        "epoch": files.epoch,
        "sha256": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files.paths.values()},
        "read_as": list(readings["G_ab"].said),
    }
    described = {"classes": classes, "image_size_px": image_size_px, "config": asdict(config), "published": origin}
    (out / "generator.json").write_text(json.dumps(described, indent=2) + "\n")
    return config


def _load(files: PublishedFiles) -> tuple[dict[str, Any], dict[str, Reading]]:
    """Return networks with values, and their readings. Raises one ``WeightsError`` for all files."""
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
    for one, other in (GENERATORS, DISCRIMINATORS):
        if one in readings and other in readings and readings[one].fields != readings[other].fields:
            a, b = (f"{files.paths[n].name} {dict(readings[n].fields)}" for n in (one, other))
            problems.append(f"unlike each other: {a}, {b}")
    if problems:
        raise WeightsError("\n".join(["the published checkpoint does not fit our networks", *problems, ADVICE]))
    return networks, readings


def _fill(reading: Reading, state: State) -> nn.Module:
    """Give a network on the meta device the tensors of a state dict, in float32."""
    network = reading.network
    tensors = {ours: state[theirs] for theirs, ours in reading.names.items()}
    whole = {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
    network.load_state_dict(whole, strict=True, assign=True)
    if isinstance(network, TransferDiscriminator):  # not in the state dict; published networks see images as they are
        network.scale, network.shift = torch.ones(1, 3, 1, 1), torch.zeros(1, 3, 1, 1)
    return network.eval()
