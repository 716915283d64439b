"""Losses, steps and samplers of GANs, ``flow_matching`` and ``diffusion`` against their formulas written out."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from helpers import two_class_data
from torch import nn

from baselines.cgan import ConditionalGAN
from baselines.flow_processes import EDM, RectifiedFlow, denoised
from baselines.gan_loop import make_state, train_step, training_images
from baselines.hinge_gan import HingeGAN
from baselines.pixels import to_float
from baselines.projected_gan import ProjectedGAN

LABELS = torch.tensor([0, 1, 1, 0])


class Known(nn.Module):
    """A network for both processes: tanh(x) (1 + y) + cos(400 t), in double precision."""

    def forward(self, x: torch.Tensor, t: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return x.tanh() * (1 + labels)[:, None, None, None] + (400 * t.double()).cos()[:, None, None, None]


def known(x: np.ndarray, t: float, y: int) -> np.ndarray:
    return np.tanh(x) * (1 + y) + math.cos(400 * t)


class Scores(nn.Module):
    """Two scores of each image, of which some lie beyond the margins of the hinge loss."""

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        mean = images.mean((1, 2, 3)) * 3
        return torch.stack([mean + labels, mean - 2 * labels], 1)


@pytest.mark.parametrize(
    "gan", [ConditionalGAN(ConditionalGAN.Config()), ProjectedGAN(ProjectedGAN.Config(diffaug=""))]
)
def test_the_hinge_losses(gan: HingeGAN) -> None:
    draw = torch.Generator().manual_seed(0)
    real, fake = (2 * torch.randn(4, 1, 1, 1, generator=draw).expand(4, 3, 2, 2) for _ in range(2))
    other = 1 - LABELS
    loss, real_score, fake_score = gan.discriminator_loss(Scores(), real, LABELS, fake, other)
    terms, scores = [], []
    for image, generated, y, asked in zip(real, fake, LABELS.tolist(), other.tolist(), strict=True):
        r, f = 3 * image.mean().item(), 3 * generated.mean().item()
        terms += [max(0, 1 - s) for s in (r + y, r - 2 * y)]
        terms += [max(0, 1 + s) for s in (f + asked, f - 2 * asked)]
        scores += [f + asked, f - 2 * asked]
    assert 0 in terms
    assert loss.item() == pytest.approx(sum(terms) / 8, rel=1e-5)
    assert fake_score.flatten().tolist() == pytest.approx(scores, rel=1e-4)
    assert torch.equal(real_score, Scores()(real, LABELS))
    assert gan.generator_loss(Scores(), fake, other).item() == pytest.approx(-sum(scores) / 8, rel=1e-4)


def test_a_step_of_cgan() -> None:
    """Each network by its own loss and rate, the average by its decay; the generator's by the updated discriminator."""
    gan = ConditionalGAN(ConditionalGAN.Config(batch_size=4, filters=4, z_dim=8, learning_rate=1e-3, beta1=0.0))
    state, images = make_state(gan, 2, 16, "cpu", 0), training_images(gan, two_class_data(8, 16), "cpu")
    G, D, mean = (copy.deepcopy(network) for network in (state.G, state.D, state.G_mean))
    chosen, y, z, asked = gan.batch(images, torch.Generator().manual_seed(gan.seed("step", 0, 3)), 0, 3)
    found = train_step(gan, state, images, 0, 3).tolist()
    assert images.labels[chosen].tolist() == y.tolist() == asked.tolist()
    fake = G(z, asked)
    real_score, fake_score = D(to_float(images.pixels[chosen]), y), D(fake.detach(), asked)
    loss_D = (1 - real_score).clamp_min(0).mean() + (1 + fake_score).clamp_min(0).mean()
    loss_G = -state.D(fake, asked).mean()
    expected = [x.item() for x in (loss_D, loss_G, real_score.mean(), fake_score.mean())]
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)
    for loss, before, after, rate in ((loss_D, D, state.D, 4e-4), (loss_G, G, state.G, 1e-3)):
        for gradient, old, new in zip(
            torch.autograd.grad(loss, list(before.parameters())), before.parameters(), after.parameters(), strict=True
        ):
            clear = gradient.abs() > 1e-4  # the first step of Adam without momentum: rate · sign of the gradient
            torch.testing.assert_close((new - old)[clear], -rate * gradient.sign()[clear], atol=1e-3 * rate, rtol=0)
    assert state.G_mean is not None
    assert mean is not None
    decay = 4 / 13  # (1 + step) / (10 + step), less than ``ema``
    for average, old, new in zip(state.G_mean.parameters(), mean.parameters(), state.G.parameters(), strict=True):
        torch.testing.assert_close(average, decay * old + (1 - decay) * new)
    for other in (gan, ProjectedGAN(ProjectedGAN.Config())):
        assert [other.decay(state, step) for step in (0, 3, 10**6)] == pytest.approx([1 / 10, decay, 0.999])


def batch(seed: int) -> tuple[torch.Tensor, torch.Generator, torch.Generator]:
    """Return images, in double precision, and the generator of a loss twice."""
    images = torch.rand(4, 1, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1
    return images, torch.Generator().manual_seed(seed + 1), torch.Generator().manual_seed(seed + 1)


def test_the_loss_of_flow_matching() -> None:
    """‖v(x_t, t, y) − (x_1 − x_0)‖² on x_t = (1 − t) x_0 + t x_1 (Lipman et al. 2023, equation 23, σ_min = 0)."""
    images, draw, same = batch(0)
    noise, times = torch.randn(images.shape, generator=same).double().numpy(), torch.rand(4, generator=same).tolist()
    terms = [
        (known((1 - t) * x0 + t * x1, t, y) - (x1 - x0)) ** 2
        for x0, x1, t, y in zip(noise, images.numpy(), times, LABELS.tolist(), strict=True)
    ]
    loss = RectifiedFlow().loss(Known(), images, LABELS, draw)
    assert loss.item() == pytest.approx(np.mean(terms), rel=1e-5)


def test_the_sampler_of_flow_matching() -> None:
    noise, _, _ = batch(2)
    for made, x, y in zip(
        RectifiedFlow().sample(Known(), noise, LABELS, 5), noise.numpy(), LABELS.tolist(), strict=True
    ):
        for i in range(4):
            v = known(x, i / 5, y)
            x = x + (v + known(x + v / 5, (i + 1) / 5, y)) / 2 / 5  # Heun's method
        x = x + known(x, 4 / 5, y) / 5  # the last step: Euler's
        np.testing.assert_allclose(made.numpy(), x, atol=1e-10)


def edm_denoiser(x: np.ndarray, sigma: float, y: int) -> np.ndarray:
    """D(x; σ) = c_skip x + c_out F(c_in x; c_noise) (Karras et al. 2022, equation 7, and table 1 with σ_data = 0.5)."""
    c_skip = 0.5**2 / (sigma**2 + 0.5**2)
    c_out = sigma * 0.5 / math.sqrt(sigma**2 + 0.5**2)
    c_in = 1 / math.sqrt(sigma**2 + 0.5**2)
    c_noise = math.log(sigma) / 4
    return c_skip * x + c_out * known(c_in * x, c_noise / 1000, y)  # the network's times are in units of 1000


def test_the_preconditioning_of_edm() -> None:
    images, _, _ = batch(4)
    sigmas = torch.tensor([0.002, 0.3, 2.0, 80.0], dtype=torch.float64)
    found = denoised(Known(), images, sigmas, LABELS)
    for made, x, sigma, y in zip(found, images.numpy(), sigmas.tolist(), LABELS.tolist(), strict=True):
        np.testing.assert_allclose(made.numpy(), edm_denoiser(x, sigma, y), rtol=1e-10)


def test_the_loss_of_edm() -> None:
    """λ(σ) ‖D(y + n; σ) − y‖², ln σ from N(−1.2, 1.2²), λ = (σ² + σ_data²) / (σ σ_data)² (equations 2 and 8)."""
    images, draw, same = batch(6)
    noise = torch.randn(images.shape, generator=same).double().numpy()
    levels = torch.randn(4, generator=same).tolist()
    terms = []
    for x, n, level, y in zip(images.numpy(), noise, levels, LABELS.tolist(), strict=True):
        sigma = math.exp(-1.2 + 1.2 * level)
        weight = (sigma**2 + 0.5**2) / (sigma * 0.5) ** 2
        terms.append(weight * (edm_denoiser(x + sigma * n, sigma, y) - x) ** 2)
    assert EDM().loss(Known(), images, LABELS, draw).item() == pytest.approx(np.mean(terms), rel=1e-5)


def test_the_sampler_of_edm_is_algorithm_1() -> None:
    """With noise levels by equation 5: N = 6, ρ = 7, σ from 80 to 0.002."""
    noise, _, _ = batch(8)
    t = [(80 ** (1 / 7) + i / 5 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7 for i in range(6)] + [0.0]
    for made, n, y in zip(EDM().sample(Known(), noise, LABELS, 6), noise.numpy(), LABELS.tolist(), strict=True):
        x = t[0] * n
        for i in range(6):
            d = (x - edm_denoiser(x, t[i], y)) / t[i]
            following = x + (t[i + 1] - t[i]) * d
            if t[i + 1] != 0:
                d_end = (following - edm_denoiser(following, t[i + 1], y)) / t[i + 1]
                following = x + (t[i + 1] - t[i]) * (d / 2 + d_end / 2)
            x = following
        np.testing.assert_allclose(made.numpy(), x, rtol=1e-9)
