"""Trained networks of a run as files that plain PyTorch loads: a graph, its weights, and a description.

``<name>.pt2`` is a graph of ``torch.export`` without weights, ``<name>.safetensors`` has the weights, which are the
graph's first input; ``config.json`` describes the inputs, the preprocessing, and what the networks were trained on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.abilities import Exportable, FitsStatistics
from bench.config import to_plain
from bench.data.synthetic_files import load_seen
from bench.errors import BenchError, ConfigError
from bench.files import atomic_path, write_atomic
from bench.plan.plan import classifier_of
from bench.stages.augmentation import augmenter_of
from bench.stages.classify import trained_network
from bench.stages.common import Inputs
from bench.suite.suite import PluginSpec

if TYPE_CHECKING:
    import torch
    from torch import nn

CONFIG = "config.json"
TOLERANCE = 1e-4  # largest difference between a network's outputs and those of its exported graph
RESAMPLING = "bicubic with antialiasing (Pillow)"
CHECKED_BATCH = 3  # images; the graph was traced with 2, so that a fixed batch size would be found


@dataclass(frozen=True)
class Program:
    """A network to export: examples with a batch of 2, and what inputs and output are, in words."""

    network: nn.Module
    inputs: Mapping[str, torch.Tensor]
    meanings: Mapping[str, str]
    output: str


def export_cell(inputs: Inputs, to: Path) -> Path:
    """Export the networks of a finished ``classify`` or ``fit`` cell to the folder ``to``; return ``config.json``.

    Raises ``ConfigError`` for a method without exportable networks, ``BenchError`` for a network that ``torch.export``
    cannot trace, or whose graph gives other outputs.
    """
    classifies = inputs.cell.stage == "classify"
    programs = {"classifier": _classifier(inputs)} if classifies else _generators(inputs)
    to.mkdir(parents=True, exist_ok=True)
    for name, program in programs.items():
        write_program(program, to, name)
    text = json.dumps(_description(inputs, programs), indent=1, ensure_ascii=False) + "\n"
    write_atomic(to / CONFIG, text)
    return to / CONFIG


def write_program(program: Program, folder: Path, name: str) -> None:
    """Write graph and weights of a network, and check that they give its outputs. Raises ``BenchError``."""
    import torch
    from safetensors.torch import load_file, save_file

    network, examples = program.network.cpu().eval(), tuple(program.inputs.values())
    found = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    weights_path, graph_path = folder / f"{name}.safetensors", folder / f"{name}.pt2"
    with atomic_path(weights_path) as path:
        save_file({k: v.detach().contiguous().clone() for k, v in found.items()}, path)
    weights = load_file(weights_path)
    shapes = (dict.fromkeys(weights), tuple({0: torch.export.Dim.AUTO} for _ in examples))
    more = tuple(torch.cat([x, x])[:CHECKED_BATCH] for x in examples)
    with torch.no_grad():
        expected = network(*more)
        try:
            graph = torch.export.export(
                _with_weights(network), (weights, *examples), dynamic_shapes=shapes, strict=False
            )
            graph.example_inputs = None  # they contain the weights
            with atomic_path(graph_path) as path:
                torch.export.save(graph, path)
            got = torch.export.load(graph_path).module()(weights, *more)
        except Exception as e:  # torch raises many types for what it cannot trace, and for a fixed batch size
            first = (str(e).strip() or type(e).__name__).splitlines()[0]
            raise BenchError(f"{name}: torch.export cannot export this network: {type(e).__name__}: {first}") from e
    if (difference := float((expected - got).abs().max())) > TOLERANCE:
        raise BenchError(f"{name}: outputs of the exported graph differ by {difference:.2g}, expected {TOLERANCE:.0e}")


def _with_weights(network: nn.Module) -> nn.Module:
    """Return a module whose first input is the weights of ``network`` by name."""
    from torch import nn
    from torch.func import functional_call

    class WithWeights(nn.Module):
        def forward(self, weights: dict[str, torch.Tensor], *inputs: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = functional_call(network, weights, inputs)
            return result

    return WithWeights()


def _classifier(inputs: Inputs) -> Program:
    import torch
    from torch import nn

    folder = inputs.artifacts.folder(*inputs.cell.id)
    augmenter = augmenter_of(inputs.env.suite.method(str(inputs.cell.method)), inputs.fold(), folder)

    class Probabilities(nn.Module):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if isinstance(augmenter, FitsStatistics):
                images = (augmenter.prepare(images) * 255).round() / 255
            return torch.softmax(self.network(images), dim=1)

    side = inputs.settings.image_size_px
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    return Program(
        Probabilities(trained_network(inputs, folder).cpu().eval()),
        {"images": images},
        {"images": "RGB in [0, 1]"},
        "probabilities float32 [batch, classes], in the order of the classes; rows sum to 1",
    )


def _generators(inputs: Inputs) -> dict[str, Program]:
    from torch import nn

    method = inputs.env.suite.method(str(inputs.cell.method))
    made = method.create()
    if not isinstance(made, Exportable):
        raise ConfigError(f"{method.name} has no networks to export: its class does not define exported_networks")

    class Images(nn.Module):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, *given: torch.Tensor) -> torch.Tensor:
            images: torch.Tensor = ((self.network(*given) + 1) / 2).clamp(0, 1)
            return images.expand(-1, 3, -1, -1)

    folder = inputs.artifacts.folder(*inputs.cell.id)
    output = "images float32 [batch, 3, height, width], RGB in [0, 1]"
    return {
        name: Program(Images(x.network), x.inputs, x.meanings, output)
        for name, x in made.exported_networks(inputs.fold().training, folder).items()
    }


def _description(inputs: Inputs, programs: Mapping[str, Program]) -> dict[str, Any]:
    import torch

    cell, suite, index, folder = inputs.cell, inputs.env.suite, inputs.index, inputs.artifacts.folder(*inputs.cell.id)
    parts = inputs.fold().fold_parts.parts
    spec = classifier_of(suite, cell.classifier, cell.method, cell.ratio) if cell.classifier else None
    seen = parts["train"].groups | parts["validation"].groups if cell.stage == "classify" else set(load_seen(folder))
    return {
        "suite": suite.name,
        "cell": f"{cell.stage}/{cell.key}",
        "title": cell.title,
        "method": _plugin(suite.method(str(cell.method))),
        "classifier": _plugin(spec) if spec else None,
        "dataset": suite.dataset.name,
        "licence_of_the_data_set": getattr(suite.dataset.create(), "licence", "unknown: ask the publisher"),
        "classes": list(index.classes),
        "preprocessing": {
            "size_px": inputs.settings.image_size_px,
            "resize": inputs.resize,
            "resampling": RESAMPLING,
            "range": "RGB, 8 bits divided by 255; normalisation is part of the network",
            "files": to_plain(asdict(index.pixels)),
        },
        "networks": {name: dict(_networks(name, program)) for name, program in programs.items()},
        "trained_or_selected_on_groups": sorted(seen),
        "torch": torch.__version__,
    }


def _networks(name: str, program: Program) -> Iterator[tuple[str, Any]]:
    yield "graph", f"{name}.pt2"
    yield "weights", f"{name}.safetensors"
    yield (
        "inputs",
        {
            key: {
                "shape": ["batch", *x.shape[1:]],
                "dtype": str(x.dtype).removeprefix("torch."),
                "meaning": program.meanings[key],
            }
            for key, x in program.inputs.items()
        },
    )
    yield "output", program.output


def _plugin(spec: PluginSpec) -> dict[str, Any]:
    return {"name": spec.name, "class": spec.registered, "config": to_plain(asdict(spec.config))}
