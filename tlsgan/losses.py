"""The loss terms of CycleGAN (Zhu et al. 2017) and TL-S-CycleGAN with their formulas; each returns a scalar tensor.

G_ab translates A to B, G_ba translates B to A. D_a is the discriminator of domain A, D_b that of domain B.
TL-S-CycleGAN adds a class loss to the published terms of CycleGAN.

``head: classes_and_fake`` (TL-S-GAN, Amin et al. 2022) has n + 1 outputs: the n classes of real images, and fake. With
softmax p over the outputs (Odena 2016, section 2; split as in Salimans et al. 2016, section 5):

    labelled real      −log p(y | x)            = −log(1 − p(fake | x)) − log p(y | x, real)
    unlabelled real    −log(1 − p(fake | x)),   from the log-sum-exp of the class logits
    fake, loss of D    −log p(fake | x)
    fake, loss of G    −log p(target | x)       = −log(1 − p(fake | x)) − log p(target | x, real)

The terms with p(fake) are the adversarial loss of this head and replace least squares. The terms conditioned on real
are its class loss with weight λ_class. At weight 1 their sums are the left-hand sides.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from tlsgan import penalties
from tlsgan.config import TWO_HEADS, CycleGANConfig
from tlsgan.discriminators import Discriminator, DiscriminatorOutput


def least_squares(output: torch.Tensor, real: bool) -> torch.Tensor:
    """Mean of (D(x) − t)², t = 1 for real and 0 for fake (Mao et al. 2017, eq. 9 with a = 0, b = c = 1).

    ``output`` may have any shape: the PatchGAN's raw map, or sigmoid outputs [B, 1].
    """
    return (output.float() - float(real)).square().mean()


def cycle(rec: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Mean of |G_ba(G_ab(a)) − a| (Zhu et al. 2017, eq. 2)."""
    return F.l1_loss(rec, real)


def identity(idt: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Mean of |G_ab(b) − b|: images of the target domain should not change (Zhu et al. 2017, section 5.2)."""
    return F.l1_loss(idt, real)


def adversarial(output: torch.Tensor, real: bool, config: CycleGANConfig) -> torch.Tensor:
    """Least squares; with the head 'classes_and_fake' −log(1 − p(fake)) for real and −log p(fake) for fake.

    ``output`` is then the logit D = log((1 − p(fake)) / p(fake)), and the losses are softplus(−D) and softplus(D).
    """
    if config.head == TWO_HEADS:
        return least_squares(output, real)
    return F.softplus(-output.float() if real else output.float()).mean()


def classification(logits: torch.Tensor | None, label: int, labelled: torch.Tensor | None = None) -> torch.Tensor:
    """Mean of −log softmax(logits)[label] for logits [B, C] of images that all belong to one domain.

    Images with 0 in ``labelled`` [B] add 0 to the sum but count in the mean, so that the weight of a labelled image
    does not depend on the other images.
    """
    assert logits is not None, "a discriminator without class head has no class loss"
    each = -F.log_softmax(logits.float(), dim=1)[:, label]
    return each.mean() if labelled is None else (each * labelled).mean()


def generator_terms(
    fake: DiscriminatorOutput, direction: str, label: int, config: CycleGANConfig
) -> dict[str, torch.Tensor]:
    """A generator's adversarial and class loss from the output on its translations; ``label``: target class."""
    terms = {f"loss_adv_{direction}": adversarial(fake.real, True, config)}
    if config.lambda_class > 0:
        terms[f"loss_class_{direction}"] = classification(fake.classes, label)
    return terms


def penalty(
    network: Discriminator, real: torch.Tensor, side: str, due: bool, config: CycleGANConfig
) -> dict[str, torch.Tensor]:
    """γ · R1 of a discriminator, times ``r1_every`` on steps where it is due and 0 on others; empty dict at γ = 0."""
    if config.r1_gamma == 0:
        return {}
    weight = config.r1_gamma * config.r1_every
    return {f"loss_r1_{side}": weight * penalties.r1(network, real) if due else real.new_zeros(())}


def discriminator(
    real: DiscriminatorOutput,
    fake: DiscriminatorOutput,
    label: int,
    config: CycleGANConfig,
    labelled: torch.Tensor | None = None,
    other: DiscriminatorOutput | None = None,
    other_labelled: torch.Tensor | None = None,
    unlabelled: DiscriminatorOutput | None = None,
) -> torch.Tensor:
    """Half of (D(x) − 1)² + D(G(y))² + λ_class · (CE(real) + CE(fake)), each term a mean.

    Without class head this is the mean of the real and the fake term. ``label`` is the domain of the discriminator; as
    published, it is the label of both real images and translations. ``labelled`` [B] marks real images with a known
    label. ``other`` is the output on real images of the other domain: CE(real) is then the mean over both domains, each
    with its label. The head 'classes_and_fake' uses its adversarial loss, and no CE(fake): translations are fake.
    ``unlabelled`` is the output on real images without labels, of either domain: their −log(1 − p(fake)) and that of
    the labelled ones have equal weight.
    """
    is_real = adversarial(real.real, True, config)
    if unlabelled is not None:
        is_real = (is_real + adversarial(unlabelled.real, True, config)) / 2
    loss = is_real + adversarial(fake.real, False, config)
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

    ``terms`` are named ``loss_<kind>_<domain or direction>``; missing terms add nothing.
    """
    weights = {
        "loss_adv": 1.0,
        "loss_cycle": config.lambda_cycle,
        "loss_identity": config.lambda_identity,
        "loss_class": config.lambda_class,
    }
    weighted = [weights[name.rsplit("_", 1)[0]] * term for name, term in terms.items()]
    return torch.stack(weighted).sum()
