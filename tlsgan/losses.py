"""The loss terms of CycleGAN and TL-S-CycleGAN, each with its formula; every one returns a scalar tensor.

G_ab translates A to B, G_ba back; D_a and D_b judge images of A and of B.

``head: classes_and_fake`` (TL-S-GAN, Amin et al. 2022) sorts real images into the n classes and everything generated
into one more. With p over the n + 1 outputs (Odena 2016, section 2; Salimans et al. 2016, section 5, who split it):

    labelled real      −log p(y | x)            = −log(1 − p(fake | x)) − log p(y | x, real)
    unlabelled real    −log(1 − p(fake | x)),   by the log-sum-exp of the class logits
    generated, to D    −log p(fake | x)
    generated, to G    −log p(target | x)       = −log(1 − p(fake | x)) − log p(target | x, real)

The terms with p(fake) are this head's adversarial loss, in place of least squares; those given real its class loss, of
weight λ_class. At weight 1 they are the sums on the left.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from tlsgan import penalties
from tlsgan.config import TWO_HEADS, CycleGANConfig
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


def adversarial(verdict: torch.Tensor, real: bool, config: CycleGANConfig) -> torch.Tensor:
    """Least squares; of the logit D = log (1 − p(fake)) / p(fake): −log(1 − p(fake)) for real, −log p(fake) for fake.

    These are softplus(−D) and softplus(D).
    """
    if config.head == TWO_HEADS:
        return least_squares(verdict, real)
    return F.softplus(-verdict.float() if real else verdict.float()).mean()


def classification(logits: torch.Tensor | None, label: int, labelled: torch.Tensor | None = None) -> torch.Tensor:
    """Mean of −log softmax(logits)[label]: all images of the batch [B, C] belong to one domain.

    Images whose place in ``labelled`` [B] is 0 have no such term; they count in the mean, so that a labelled image
    weighs the same whatever the others are.
    """
    assert logits is not None, "a discriminator without class head has no class loss"
    each = -F.log_softmax(logits.float(), dim=1)[:, label]
    return each.mean() if labelled is None else (each * labelled).mean()


def critics(verdict: Verdict, direction: str, label: int, config: CycleGANConfig) -> dict[str, torch.Tensor]:
    """What a discriminator's verdict on translations costs their generator: to look real, and of domain ``label``."""
    terms = {f"loss_adv_{direction}": adversarial(verdict.real, True, config)}
    if config.lambda_class > 0:
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


def discriminator(
    real: Verdict,
    fake: Verdict,
    label: int,
    config: CycleGANConfig,
    labelled: torch.Tensor | None = None,
    other: Verdict | None = None,
    other_labelled: torch.Tensor | None = None,
) -> torch.Tensor:
    """Half of (D(x) − 1)² + D(G(y))² + λ_class · (CE(real) + CE(fake)), each term a mean.

    Without class head that is the mean of the real and the fake term. ``label`` is the discriminator's own domain:
    real images and translations alike carry it, as published. ``labelled`` [B]: which real images' label is known.
    ``other`` is the verdict on real images of the other domain: then CE(real) is the mean over both domains, each with
    its own label. The head 'classes_and_fake' has its adversarial loss, and no CE(fake): translations are fake to it.
    """
    loss = adversarial(real.real, True, config) + adversarial(fake.real, False, config)
    if config.lambda_class > 0:
        classes = classification(real.classes, label, labelled)
        if other is not None:
            classes = (classes + classification(other.classes, 1 - label, other_labelled)) / 2
        if config.head == TWO_HEADS:
            classes = classes + classification(fake.classes, label)
        loss = loss + config.lambda_class * classes
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
