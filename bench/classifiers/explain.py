"""Grad-CAM: which image regions support a class in a classifier.

Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization": the mean
gradient of the class's logit weights each channel of a deep layer (eq. 1), and the positive part of the weighted sum is
the map (eq. 2). Computed by the library grad-cam, which scales a map to [0, 1] by its minimum and maximum and resizes
it bilinearly to the image. A map is qualitative: it shows where the network looked, not whether that was correct.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from bench.errors import BenchError, DataError
from bench.types import Uint8Images

LEAST_CELLS = 4  # per side: a coarser layer's map has little information
Layout = Literal["channels first", "channels last", "tokens"]
ScalarOutput = Callable[[torch.Tensor], torch.Tensor]  # output of a network for one image -> the number to explain


class NoLayerError(BenchError):
    """A network has no layer on which Grad-CAM can be computed; the message says why."""


@dataclass(frozen=True)
class Layer:
    """The layer of a map: a module, and how its output stores channels on a grid of (rows, columns)."""

    name: str
    module: nn.Module
    layout: Layout
    grid: tuple[int, int]

    def maps(self, output: torch.Tensor) -> torch.Tensor:
        """Return an output of the module as [B, C, rows, columns]."""
        rows, columns = self.grid
        if self.layout == "tokens":  # tokens that are not patches, such as the class token, come first
            output = output[:, -rows * columns :].transpose(1, 2).unflatten(2, self.grid)
        elif self.layout == "channels last":
            output = output.permute(0, 3, 1, 2)
        return output.clone()  # the network may modify it in place afterwards


def grad_cam(
    network: nn.Module, images: Uint8Images, targets: npt.ArrayLike, device: str = "cpu", layer: Layer | None = None
) -> npt.NDArray[np.float32]:
    """Return the maps of class ``targets`` [N] in images uint8 [N, H, W, 3], float32 [N, H, W] in [0, 1].

    ``network`` takes float [B, 3, H, W] in [0, 1] and gives logits [B, C]; it is set to eval. ``layer`` is the result
    of ``find_layer``. Images are processed one by one, so that each map depends on its image only; a map is all zero if
    the weighted sum is positive nowhere. Raises ``NoLayerError``, and ``DataError`` for other images or targets.
    """
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    classes = np.asarray(targets, dtype=np.int64)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or classes.shape != (len(images),):
        raise DataError(
            f"Grad-CAM: got {images.dtype} {images.shape} with targets {classes.shape}, expected uint8 [N, H, W, 3] "
            "with N targets"
        )
    found = layer or find_layer(network, images.shape[1:3], device)
    return maps_of(network, images, [ClassifierOutputTarget(target) for target in classes.tolist()], found, device)


def maps_of(
    network: nn.Module, images: Uint8Images, outputs: Sequence[ScalarOutput], layer: Layer, device: str = "cpu"
) -> npt.NDArray[np.float32]:
    """Return the maps, float32 [N, H, W] in [0, 1], of N scalars, each computed from the output for its image."""
    from pytorch_grad_cam import GradCAM

    network.to(device).eval()
    maps = np.zeros(images.shape[:3], np.float32)
    with torch.enable_grad(), _frozen(network):  # only gradients of activations are needed, not of weights
        cam = GradCAM(network, [layer.module], reshape_transform=layer.maps)
        try:
            for i, number in enumerate(outputs):
                x = torch.tensor(np.ascontiguousarray(images[i : i + 1]), device=device).permute(0, 3, 1, 2)
                maps[i] = cam((x.float() / 255).requires_grad_(), [number])[0]
        finally:
            cam.activations_and_grads.release()
    return np.clip(maps, 0, 1)


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    learning = [p for p in network.parameters() if p.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_()


def find_layer(network: nn.Module, size_px: tuple[int, ...], device: str = "cpu") -> Layer:
    """Return the deepest layer with spatial resolution, for images of ``size_px`` (height, width).

    For timm networks it is one of the stages in their ``feature_info``; in transformers before the block's attention,
    because only the class token is used after the last block; for others, a convolution. Layers whose grid has fewer
    than ``LEAST_CELLS`` per side are skipped. Raises ``NoLayerError`` when there is none.
    """
    network.to(device).eval()
    stages, convolutions = _stages(network), _convolutions(network)
    outputs = outputs_of(network, {*stages, *convolutions}, size_px, device)
    prefix = int(getattr(getattr(network, "model", network), "num_prefix_tokens", 0))
    seen = []
    for known, order in ((stages, stages), (convolutions, outputs)):  # convolutions in execution order
        for name in reversed([n for n in order if n in known and n in outputs]):
            read = layout_of(outputs[name], known[name], prefix)
            if read is not None and min(read[1]) >= LEAST_CELLS:
                return Layer(name, network.get_submodule(name), *read)
            seen += [f"{name}: {read[1][0]} × {read[1][1]}"] if read else []
    raise NoLayerError(
        f"no layer with a grid of {LEAST_CELLS} × {LEAST_CELLS} cells or more for images of {size_px[0]} × "
        f"{size_px[1]} px; {', '.join(seen[:3]) or 'none with a grid'}"
    )


def _stages(network: nn.Module) -> dict[str, int]:
    """Return the stages of a timm network, by module name with their number of channels, the deepest last."""
    modules = {name for name, _ in network.named_modules()}
    found: dict[str, int] = {}
    for prefix, model in (("", network), ("model.", getattr(network, "model", None))):
        known: Any = getattr(model, "feature_info", None)
        for stage in known if isinstance(known, list) else ():
            name, channels = prefix + str(stage["module"]), int(stage["num_chs"])
            found |= {n: channels for n in (name, f"{name}.norm1") if n in modules}
    return found


def _convolutions(network: nn.Module) -> dict[str, int]:
    return {n: m.out_channels for n, m in network.named_modules() if isinstance(m, nn.Conv2d)}


def outputs_of(
    network: nn.Module, names: Iterable[str], size_px: tuple[int, ...], device: str
) -> dict[str, torch.Size]:
    """Return the output shapes of modules for one image, in the order in which they finish.

    An output that is not a tensor, or of a module that runs more than once, has the shape ().
    """
    shapes: dict[str, torch.Size] = {}

    def hook(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def keep(module: nn.Module, inputs: Any, output: Any) -> None:
            alone = isinstance(output, torch.Tensor) and name not in shapes
            shapes[name] = output.shape if alone else torch.Size()

        return keep

    handles = [network.get_submodule(name).register_forward_hook(hook(name)) for name in names]
    try:
        with torch.no_grad():
            network(torch.zeros(1, 3, *size_px, device=device))
    finally:
        for handle in handles:
            handle.remove()
    return shapes


def layout_of(shape: torch.Size, channels: int, prefix: int = 0) -> tuple[Layout, tuple[int, int]] | None:
    """Return the layout and the grid of an output of that shape, None if it is not a grid of square cells.

    ``prefix`` is the possible number of tokens before those of the patches.
    """
    if len(shape) == 4 and shape[1] == channels:
        return "channels first", (shape[2], shape[3])
    if len(shape) == 4 and shape[3] == channels:
        return "channels last", (shape[1], shape[2])
    if len(shape) == 3 and shape[2] == channels:
        for patches in (shape[1] - prefix, shape[1]):
            side = math.isqrt(max(0, patches))
            if side**2 == patches:
                return "tokens", (side, side)
    return None
