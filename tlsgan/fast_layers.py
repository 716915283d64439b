"""Layers that compute what torch's own do, up to rounding, and are quicker on a CPU; measured, see each docstring.

``quicken`` puts them in a network in place. Parameters, their names and the state dict stay as they are. On CUDA
torch's layers stay too: cuDNN, and torch.compile after it, do better than these.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

FEW_CHANNELS, LARGE_KERNEL = 4, 5


def quicken(network: nn.Module, device: str) -> nn.Module:
    """Move a network to the device, in the memory format and with the layers that are quickest there; return it."""
    on_cuda = torch.device(device).type == "cuda"
    format_ = torch.channels_last if on_cuda or has_batch_norm(network) else torch.contiguous_format
    network.to(device).to(memory_format=format_)
    if not on_cuda:
        for module in network.modules():
            module.__class__ = _quicker(module)  # a subclass with another forward: nothing else of the layer changes
    return network


def has_batch_norm(network: nn.Module) -> bool:
    """Whether an image's output depends on the other images of its batch.

    Such networks also gain by channels-last on a CPU (1.1 to 2 times for the backbones), where batch norm has a kernel
    for it; instance norm has none, and loses what the convolutions gain.
    """
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules())


def _quicker(module: nn.Module) -> type[nn.Module]:
    kind = type(module)
    if kind is nn.InstanceNorm2d and not (module.affine or module.track_running_stats):
        return InstanceNorm2d
    if kind is nn.Conv2d and isinstance(module, nn.Conv2d) and module.out_channels <= FEW_CHANNELS:
        plain = module.stride == module.dilation == (1, 1) and module.padding == (0, 0) and module.groups == 1
        return ToFewChannels if plain and min(module.kernel_size) >= LARGE_KERNEL else kind
    return kind


class InstanceNorm2d(nn.InstanceNorm2d):
    """Instance norm as group norm with one channel a group: the same formula, a kernel of its own (5 % of a step)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.group_norm(x, x.shape[1], eps=self.eps)


class ToFewChannels(nn.Conv2d):
    """A convolution to at most 4 channels, which oneDNN computes as if they were 16 (4 % of a step)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
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
        # the same by columns, whose two gradients are quicker: spread the output's over the columns' shifts
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
    """``conv2d(x, weight)`` as a convolution of every kernel row for itself, and the sum of the shifted rows.

    x [B, I, H, W], weight [O, I, K, L]: the first gives O · K channels instead of O, and no more multiplications.
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
