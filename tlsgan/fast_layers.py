"""Layers that compute the same as torch's layers, up to rounding, in less CPU time; docstrings give the measured gain.

``to_fast_layout`` replaces the layers of a network in place. Parameters, their names and the state dict do not change.
On CUDA torch's layers are kept, because cuDNN and torch.compile are faster.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

FEW_CHANNELS, LARGE_KERNEL = 4, 5


def to_fast_layout(network: nn.Module, device: str) -> nn.Module:
    """Move a network to the device, with the memory format and the layers that are fastest there; return it."""
    on_cuda = torch.device(device).type == "cuda"
    format_ = torch.channels_last if on_cuda or has_batch_norm(network) else torch.contiguous_format
    network.to(device).to(memory_format=format_)
    if not on_cuda:
        for module in network.modules():
            module.__class__ = _fast_layer(module)  # a subclass that only changes ``forward``
    return network


def has_batch_norm(network: nn.Module) -> bool:
    """Return whether a network has batch norm, so that an image's output depends on the other images of its batch.

    Networks with batch norm are 1.1 to 2 times faster in channels-last format on a CPU (measured on the backbones),
    because batch norm has a kernel for it. Instance norm has none and loses what the convolutions gain.
    """
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules())


def _fast_layer(module: nn.Module) -> type[nn.Module]:
    kind = type(module)
    if kind is nn.InstanceNorm2d and not (module.affine or module.track_running_stats):
        return InstanceNorm2d
    if kind is nn.Conv2d and isinstance(module, nn.Conv2d) and module.out_channels <= FEW_CHANNELS:
        plain = module.stride == module.dilation == (1, 1) and module.padding == (0, 0) and module.groups == 1
        return ToFewChannels if plain and min(module.kernel_size) >= LARGE_KERNEL else kind
    return kind


class InstanceNorm2d(nn.InstanceNorm2d):
    """Instance norm as group norm with one channel per group: same formula, faster kernel (saves 5 % of a step)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the normalised maps, [B, C, H, W]."""
        return F.group_norm(x, x.shape[1], eps=self.eps)


class ToFewChannels(nn.Conv2d):
    """A convolution to at most 4 channels, which oneDNN would compute as 16 (saves 4 % of a step)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the convolved maps, [B, O, H, W]."""
        out = _ToFewChannels.apply(x, self.weight)
        return out if self.bias is None else out + self.bias.view(-1, 1, 1)


class _ToFewChannels(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        return convolve_by_rows(x, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        # as convolutions of single kernel columns, whose gradients are faster: copy the output's gradient at each shift
        x, weight = ctx.saved_tensors
        outputs, inputs, height, width = weight.shape
        count, _, rows, columns = gradient.shape
        spread = gradient.new_zeros(count, outputs, width, rows, x.shape[3])
        for k in range(width):
            spread[:, :, k, :, k : k + columns] = gradient
        by_column = weight.permute(0, 3, 1, 2).reshape(outputs * width, inputs, height, 1)
        by_x, by_weight = _convolution_backward(spread.flatten(1, 2), x, by_column, ctx.needs_input_grad)
        return by_x, by_weight.view(outputs, width, inputs, height).permute(0, 2, 3, 1)


def convolve_by_rows(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Compute ``conv2d(x, weight)`` as one convolution per kernel row and the sum of the shifted results.

    x [B, I, H, W], weight [O, I, K, L]. The convolution has O · K output channels instead of O, and as many
    multiplications.
    """
    outputs, inputs, height, width = weight.shape
    by_row = F.conv2d(x, weight.transpose(1, 2).reshape(outputs * height, inputs, 1, width))
    by_row = by_row.unflatten(1, (outputs, height))
    rows = by_row.shape[3] - height + 1
    out = by_row[:, :, 0, :rows].clone(memory_format=torch.contiguous_format)
    for k in range(1, height):
        out += by_row[:, :, k, k : k + rows]
    return out


def _convolution_backward(
    gradient: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, wanted: tuple[bool, ...]
) -> tuple[torch.Tensor, torch.Tensor]:
    plain = ([1, 1], [0, 0], [1, 1], False, [0, 0], 1)  # stride, padding, dilation, transposed, output padding, groups
    mask = [wanted[0], wanted[1], False]
    by_x, by_weight, _ = torch.ops.aten.convolution_backward(gradient, x, weight, None, *plain, mask)
    return by_x, by_weight
