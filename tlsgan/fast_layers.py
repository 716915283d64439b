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
    if kind is nn.ReflectionPad2d:
        return ReflectionPad2d
    if isinstance(module, nn.Conv2d) and kind is nn.Conv2d and _is_plain(module):
        if module.out_channels <= FEW_CHANNELS:
            return ToFewChannels
        if module.in_channels <= FEW_CHANNELS:
            return FromFewChannels
    return kind


def _is_plain(conv: nn.Conv2d) -> bool:
    steps = conv.stride == (1, 1) and conv.padding == (0, 0) and conv.dilation == (1, 1) and conv.groups == 1
    return steps and min(conv.kernel_size) >= LARGE_KERNEL


class InstanceNorm2d(nn.InstanceNorm2d):
    """Instance norm as group norm with one channel a group: the same formula, a kernel of its own (5 % of a step)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.group_norm(x, x.shape[1], eps=self.eps)


class ReflectionPad2d(nn.ReflectionPad2d):
    """Reflection padding whose backward pass folds the borders back by rows and columns (1 % of a step)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left, right, top, bottom = self.padding
        return _ReflectionPad.apply(x, self.padding) if left == right == top == bottom else super().forward(x)


class _ReflectionPad(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, padding: tuple[int, ...]) -> torch.Tensor:
        ctx.reach = padding[0]
        return F.pad(x, padding, mode="reflect")

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        for side in (-2, -1):
            gradient = _fold(gradient, ctx.reach, side)
        return gradient, None


def _fold(padded: torch.Tensor, reach: int, side: int) -> torch.Tensor:
    """Add the mirrored borders of one side onto the rows (or columns) that they were copied from."""
    size = padded.shape[side] - 2 * reach
    folded = padded.narrow(side, reach, size).clone(memory_format=torch.contiguous_format)
    folded.narrow(side, 1, reach).add_(padded.narrow(side, 0, reach).flip(side))
    folded.narrow(side, size - 1 - reach, reach).add_(padded.narrow(side, size + reach, reach).flip(side))
    return folded


class ToFewChannels(nn.Conv2d):
    """A convolution to at most 4 channels, which oneDNN computes as if they were 16 (4 % of a step)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = _ToFewChannels.apply(x, self.weight)
        return out if self.bias is None else out + self.bias.view(-1, 1, 1)


class FromFewChannels(nn.Conv2d):
    """A convolution from at most 4 channels, whose gradient by its input is one to few channels (1 % of a step)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = _FromFewChannels.apply(x, self.weight)
        return out if self.bias is None else out + self.bias.view(-1, 1, 1)


class _ToFewChannels(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        return convolve_by_rows(x, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        channels, _, height, _ = weight.shape
        count, _, rows, columns = gradient.shape
        spread = gradient.new_zeros(count, channels, height, x.shape[2], columns)
        for k in range(height):
            spread[:, :, k, k : k + rows] = gradient
        by_x, by_rows = _convolution_backward(spread.flatten(1, 2), x, _rows_as_channels(weight), ctx.needs_input_grad)
        return by_x, by_rows.view(channels, height, *weight.shape[1::2]).transpose(1, 2)


class _FromFewChannels(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        by_x = None
        if ctx.needs_input_grad[0]:  # the full correlation with the turned kernel
            height, width = weight.shape[2:]
            padded = F.pad(gradient, (width - 1, width - 1, height - 1, height - 1))
            by_x = convolve_by_rows(padded, weight.flip(2, 3).transpose(0, 1))
        _, by_weight = _convolution_backward(gradient, x, weight, (False, True))
        return by_x, by_weight


def convolve_by_rows(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """``conv2d(x, weight)`` as a convolution of every kernel row for itself, and the sum of the shifted rows.

    x [B, I, H, W], weight [O, I, K, L]: the first gives O · K channels instead of O, and no more multiplications.
    """
    channels, _, height, _ = weight.shape
    by_row = F.conv2d(x, _rows_as_channels(weight)).unflatten(1, (channels, height))
    rows = by_row.shape[3] - height + 1
    out = by_row[:, :, 0, :rows].clone(memory_format=torch.contiguous_format)
    for k in range(1, height):
        out += by_row[:, :, k, k : k + rows]
    return out


def _rows_as_channels(weight: torch.Tensor) -> torch.Tensor:
    """[O, I, K, L] to [O · K, I, 1, L]."""
    return weight.transpose(1, 2).flatten(0, 1).unsqueeze(2)


def _convolution_backward(
    gradient: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, wanted: tuple[bool, ...]
) -> tuple[torch.Tensor, torch.Tensor]:
    plain = ([1, 1], [0, 0], [1, 1], False, [0, 0], 1)  # stride, padding, dilation, transposed, output padding, groups
    mask = [wanted[0], wanted[1], False]
    by_x, by_weight, _ = torch.ops.aten.convolution_backward(gradient, x, weight, None, *plain, mask)
    return by_x, by_weight
