"""R1 gradient penalty of discriminators (Mescheder et al. 2018), and gradient clipping (Pascanu et al. 2013)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


def r1(discriminator: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Half the mean of |∇x D(x)|² over real images (Mescheder et al. 2018, eq. 9 without γ); a scalar.

    D(x) is the discriminator's ``real`` output. Change to the paper: a PatchGAN's map is averaged, so that γ does not
    depend on the image size. Differentiable with respect to the discriminator's weights.
    """
    images = images.detach().to(next(discriminator.parameters()).dtype).requires_grad_(True)
    with torch.autocast(images.device.type, enabled=False):  # squared gradients need float32
        output = discriminator(images).real.flatten(1).mean(dim=1)
    (gradient,) = torch.autograd.grad(output.sum(), images, create_graph=True)
    return gradient.square().flatten(1).sum(dim=1).mean() / 2


def r1_is_due(step: int, gamma: float, every: int) -> bool:
    """Return whether a step has the penalty: every ``every``-th step (Karras et al. 2020, appendix B, lazy)."""
    return gamma > 0 and step % every == 0


def clip(parameters: Sequence[nn.Parameter], largest_norm: float) -> None:
    """Scale the gradients down to a total norm of at most ``largest_norm`` (Pascanu et al. 2013); 0: no clipping."""
    if largest_norm > 0:
        nn.utils.clip_grad_norm_(parameters, largest_norm)
