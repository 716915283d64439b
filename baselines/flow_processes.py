"""The two processes between noise and images: straight paths (``flow_matching``) and EDM (``diffusion``).

Both use the network of ``flow_networks``, and Heun's method, whose last step is Euler's.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from baselines.flow_networks import HIGHEST

SIGMA_DATA = 0.5  # standard deviation of images in [-1, 1], as in the paper
SIGMA_MIN, SIGMA_MAX = 0.002, 80.0  # first and last noise level of the sampler
RHO = 7.0  # the larger, the more steps are spent on low noise
LOG_SIGMA_MEAN, LOG_SIGMA_SD = -1.2, 1.2  # of the noise levels of the training


class RectifiedFlow:
    """Straight paths x_t = (1 − t) x_0 + t x_1 from noise x_0 to images x_1 (Lipman et al. 2023; Liu et al. 2023)."""

    name = "flow_matching"
    logged = "loss/flow"

    def loss(
        self, network: nn.Module, images: torch.Tensor, labels: torch.Tensor, draw: torch.Generator
    ) -> torch.Tensor:
        """Return ‖v(x_t, t, y) − (x_1 − x_0)‖² with uniform t, a mean over batch and pixels.

        Lipman et al. 2023, equation 23 with σ_min = 0; Liu et al. 2023, equation 1.
        """
        noise = torch.randn(images.shape, generator=draw).to(images.device)
        t = torch.rand(len(images), generator=draw).to(images.device)
        along = t[:, None, None, None]
        velocity = network((1 - along) * noise + along * images, t, labels)
        return F.mse_loss(velocity, images - noise)

    def sample(self, network: nn.Module, noise: torch.Tensor, labels: torch.Tensor, steps: int) -> torch.Tensor:
        """Return images float [B, C, S, S]: the noise moved from t = 0 to 1 by Heun's method in equal steps.

        Each step evaluates the network twice and moves along the mean of both velocities. The last one is Euler's, as
        in Karras et al. 2022, algorithm 1: next to t = 1 the noise cannot be seen, and its velocity would add grain
        (measured on 150 chest X-rays of 32 px: KID 25 with it, 6 without).
        """
        x = noise
        for i in range(steps):
            now, then = (noise.new_full(noise.shape[:1], j / steps) for j in (i, i + 1))
            velocity = network(x, now, labels)
            if i + 1 < steps:
                velocity = (velocity + network(x + velocity / steps, then, labels)) / 2
            x = x + velocity / steps
        return x


class EDM:
    """Preconditioned denoising of images with Gaussian noise of any level σ (Karras et al. 2022)."""

    name = "diffusion"
    logged = "loss/denoising"

    def loss(
        self, network: nn.Module, images: torch.Tensor, labels: torch.Tensor, draw: torch.Generator
    ) -> torch.Tensor:
        """Return λ(σ) ‖D(x + n, σ, y) − x‖² with n of standard deviation σ, ln σ normal; a mean over batch and pixels.

        Karras et al. 2022, equation 2 and table 1: λ(σ) = (σ² + σ_data²) / (σ σ_data)².
        """
        noise = torch.randn(images.shape, generator=draw).to(images.device)
        level = torch.randn(len(images), generator=draw).to(images.device)
        sigma = (LOG_SIGMA_MEAN + LOG_SIGMA_SD * level).exp()
        weight = (sigma**2 + SIGMA_DATA**2) / (sigma * SIGMA_DATA) ** 2
        error = denoised(network, images + noise * sigma[:, None, None, None], sigma, labels) - images
        return (weight * error.square().mean(dim=(1, 2, 3))).mean()

    def sample(self, network: nn.Module, noise: torch.Tensor, labels: torch.Tensor, steps: int) -> torch.Tensor:
        """Return images float [B, C, S, S]: deterministic Heun steps from σ_max to 0 (Karras et al. 2022, algorithm 1).

        Two evaluations of the network for each step, one for the last.
        """
        sigmas = noise_levels(steps)
        x = noise * sigmas[0]
        for now, then in pairwise(sigmas):
            slope = (x - denoised(network, x, noise.new_full(noise.shape[:1], now), labels)) / now
            euler = x + (then - now) * slope
            if then > 0:
                at_end = (euler - denoised(network, euler, noise.new_full(noise.shape[:1], then), labels)) / then
                slope = (slope + at_end) / 2
            x = x + (then - now) * slope
        return x


def noise_levels(steps: int) -> list[float]:
    """Return steps + 1 levels from σ_max down to σ_min, then 0 (Karras et al. 2022, equation 5).

    >>> [round(sigma, 3) for sigma in noise_levels(3)]
    [80.0, 2.515, 0.002, 0.0]
    """
    first, last = SIGMA_MAX ** (1 / RHO), SIGMA_MIN ** (1 / RHO)
    share = [i / max(1, steps - 1) for i in range(steps)]
    return [*((first + s * (last - first)) ** RHO for s in share), 0.0]


def denoised(network: nn.Module, x: torch.Tensor, sigma: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return D(x, σ, y) = c_skip x + c_out F(c_in x, ln σ / 4, y), float [B, C, S, S] (Karras et al. 2022, table 1).

    ``sigma`` is float [B]. The input of the network F and its training target then have unit variance. The time that F
    gets is scaled so that its highest frequency is 1, as in the paper's code: the training rarely draws the high noise
    levels with which sampling begins, so F must be smooth in σ.
    """
    s = sigma[:, None, None, None]
    total = s**2 + SIGMA_DATA**2
    inner = network(x * total.rsqrt(), sigma.log() / 4 / HIGHEST, labels)
    return x * SIGMA_DATA**2 / total + inner * s * SIGMA_DATA * total.rsqrt()
