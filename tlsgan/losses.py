"""The loss terms of CycleGAN and TL-S-CycleGAN, each with its formula; every one returns a scalar tensor.

G_ab translates A to B, G_ba back; D_a and D_b judge images of A and of B.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from tlsgan import penalties
from tlsgan.config import CycleGANConfig
from tlsgan.discriminators import Discriminator, Verdict


def least_squares(verdict: torch.Tensor, real: bool) -> torch.Tensor:
    """Mean of (D(x) − t)², t = 1 for real and 0 for fake (Mao et al. 2017, eq. 9 with a = 0, b = c = 1).

    ``verdict`` is any shape: the PatchGAN's raw map, or a sigmoid's output.
    """
    return (verdict.float() - float(real)).square().mean()


def cycle(reconstruction: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Mean of |G_ba(G_ab(a)) − a| (Zhu et al. 2017, eq. 2)."""
    return F.l1_loss(reconstruction, real)


def identity(same: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Mean of |G_ab(b) − b|: an image of the target domain is left alone (Zhu et al. 2017, section 5.2)."""
    return F.l1_loss(same, real)


def classification(logits: torch.Tensor | None, label: int) -> torch.Tensor:
    """Mean of −log softmax(logits)[label]: all images of the batch [B, C] belong to one domain."""
    assert logits is not None, "a discriminator without class head has no class loss"
    return -F.log_softmax(logits.float(), dim=1)[:, label].mean()


def critics(verdict: Verdict, direction: str, label: int, lambda_class: float) -> dict[str, torch.Tensor]:
    """What a discriminator's verdict on translations costs their generator: to look real, and of domain ``label``."""
    terms = {f"loss_adv_{direction}": least_squares(verdict.real, True)}
    if lambda_class > 0:
        terms[f"loss_class_{direction}"] = classification(verdict.classes, label)
    return terms


def penalty(
    network: Discriminator, real: torch.Tensor, side: str, due: bool, config: CycleGANConfig
) -> dict[str, torch.Tensor]:
    """γ · R1 of a discriminator, counted for the steps that go without it; 0 on those; nothing at γ = 0."""
    if config.r1_gamma == 0:
        return {}
    weight = config.r1_gamma * config.r1_every
    return {f"loss_r1_{side}": weight * penalties.r1(network, real) if due else real.new_zeros(())}


def discriminator(real: Verdict, fake: Verdict, label: int, lambda_class: float) -> torch.Tensor:
    """Half of (D(x) − 1)² + D(G(y))² + λ_class · (CE(real) + CE(fake)), each term a mean.

    Without class head that is the mean of the real and the fake term. ``label`` is the discriminator's own domain:
    real images and translations alike carry it, as published.
    """
    loss = least_squares(real.real, True) + least_squares(fake.real, False)
    if lambda_class > 0:
        loss = loss + lambda_class * (classification(real.classes, label) + classification(fake.classes, label))
    return loss / 2


def generators(terms: dict[str, torch.Tensor], config: CycleGANConfig) -> torch.Tensor:
    """Sum of adversarial terms + λ_cycle · cycle + λ_identity · identity + λ_class · class, both directions.

    ``terms`` are named ``loss_<kind>_<domain or direction>``; a kind that is absent counts nothing.
    """
    weights = {
        "loss_adv": 1.0,
        "loss_cycle": config.lambda_cycle,
        "loss_identity": config.lambda_identity,
        "loss_class": config.lambda_class,
    }
    weighted = [weights[name.rsplit("_", 1)[0]] * term for name, term in terms.items()]
    return torch.stack(weighted).sum()
