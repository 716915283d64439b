"""Networks of the label-conditional GANs and of ``flow_matching`` against plain layers with the same weights."""

from __future__ import annotations

from typing import TypeVar

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from baselines import cgan_skin_networks, medsyngan_networks
from baselines.cgan_networks import Discriminator, Generator
from baselines.cgan_progressive import ProgressiveDiscriminator, ProgressiveGenerator
from baselines.flow_networks import VelocityUNet

State = dict[str, torch.Tensor]
ATTENTION = ("key", "query", "value")
Network = TypeVar("Network", bound=nn.Module)
LABELS = torch.tensor([0, 2, 1, 2])
TIGHT = {"atol": 1e-5, "rtol": 1e-4}


def randomised(network: Network) -> Network:
    """Move every weight away from its initial value: zeros and ones would hide a layer."""
    torch.manual_seed(1)
    for parameter in network.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return network.train()


def copied(plain: nn.Module, network: nn.Module) -> nn.Module:
    """Give a plain network the weights of another, in the order of the layers."""
    for mine, theirs in zip(plain.parameters(), network.parameters(), strict=True):
        mine.data.copy_(theirs)
    return plain.train()


def layer(state: State, key: str) -> tuple[torch.Tensor, torch.Tensor]:
    return state[f"{key}.weight"], state[f"{key}.bias"]


def doubled(x: torch.Tensor) -> torch.Tensor:
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def attended(state: State, key: str, x: torch.Tensor) -> torch.Tensor:
    f, g, h = (torch.einsum("oi,bixy->boxy", state[f"{key}.{n}.weight"][..., 0, 0], x).flatten(2) for n in ATTENTION)
    shares = torch.einsum("bci,bcj->bij", f, g).softmax(dim=1)
    o = torch.einsum("bci,bij->bcj", h, shares).reshape(len(x), -1, *x.shape[2:])
    return state[f"{key}.gamma"] * F.conv2d(o, state[f"{key}.out.weight"]) + x


def modulated(state: State, i: int, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
    """The i-th map: normed over the batch but for the first, scaled and shifted by noise and label, ReLU."""
    x = F.batch_norm(x, None, None, training=True) if i else x
    scale, shift = F.linear(condition, *layer(state, f"modulations.{i}"))[..., None, None].chunk(2, 1)
    return (x * (1 + scale) + shift).relu()


def first_map(state: State, z: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    condition = torch.cat([z, state["label.weight"][labels]], 1)
    units = F.linear(condition, state["dense.weight"])
    units = (units - units.mean(0)) / (units.var(0, unbiased=False) + 1e-5).sqrt()
    return units.view(len(z), -1, 8, 8), condition


@pytest.mark.parametrize(("upsample", "attention"), [("transposed", False), ("resize", True)])
def test_the_generator_of_cgan(upsample: str, attention: bool) -> None:
    """For 32 px: 8·2 units of 8×8, two doublings, attention on the map of 16 px."""
    G, z = randomised(Generator(3, 32, 8, 8, attention, 1, upsample)), torch.randn(4, 8)
    state = dict(G.state_dict())
    x, condition = first_map(state, z, LABELS)
    assert x.shape[1] == 16
    for i in (0, 1):
        x = modulated(state, i, x, condition)
        x = attended(state, "attention", x) if attention and i else x
        if upsample == "resize":
            x = F.conv2d(doubled(x), *layer(state, f"ups.{i}.1"), padding=1)
        else:
            x = F.conv_transpose2d(x, *layer(state, f"ups.{i}"), stride=2, padding=1)
    assert x.shape == (4, 1, 32, 32)
    torch.testing.assert_close(G(z, LABELS), x.tanh(), **TIGHT)


@pytest.mark.parametrize("attention", [False, True])
def test_the_discriminator_of_cgan(attention: bool) -> None:
    D, x = randomised(Discriminator(3, 32, 8, attention)), torch.randn(4, 3, 32, 32)
    first = nn.Sequential(nn.Conv2d(3, 8, 4, 2, 1), nn.LeakyReLU(0.2))
    rest = nn.Sequential(
        *[nn.Conv2d(8, 16, 4, 2, 1), nn.InstanceNorm2d(16, affine=True), nn.LeakyReLU(0.2)],
        *[nn.Conv2d(16, 16, 3, 1, 1), nn.LeakyReLU(0.2)],
    )
    state = dict(D.state_dict())
    start = 2 + attention
    copied(first, D.layers[:2])
    copied(rest, D.layers[start:])
    y = first(x)
    y = rest(attended(state, "layers.2", y) if attention else y)
    features = torch.stack([image.flatten(1).sum(1) / 64 for image in y])  # 8×8 places
    expected = [
        state["score.weight"][0] @ f + state["score.bias"][0] + state["label.weight"][label] @ f
        for f, label in zip(features, LABELS, strict=True)
    ]
    torch.testing.assert_close(D(x, LABELS), torch.stack(expected), **TIGHT)


def test_the_growing_networks_of_cgan_while_a_size_fades_in() -> None:
    G, D = randomised(ProgressiveGenerator(3, 32, 8, 4)), randomised(ProgressiveDiscriminator(3, 32, 4))
    z, images = torch.randn(4, 8), torch.randn(4, 3, 32, 32)
    for network in (G, D):
        network.grow(2, 0.25)
    state = dict(G.state_dict())
    x, condition = first_map(state, z, LABELS)
    maps = [modulated(state, 0, x, condition)]
    for i in (1, 2):
        x = F.conv_transpose2d(maps[-1], *layer(state, f"ups.{i - 1}"), stride=2, padding=1)
        maps.append(modulated(state, i, x, condition))
    small, large = (F.conv2d(maps[i], *layer(state, f"to_rgb.{i - 1}")).tanh() for i in (1, 2))
    torch.testing.assert_close(G(z, LABELS), 0.75 * doubled(small) + 0.25 * large, **TIGHT)

    state = dict(D.state_dict())
    halved = (images[..., ::2, ::2] + images[..., 1::2, ::2] + images[..., ::2, 1::2] + images[..., 1::2, 1::2]) / 4
    old = F.leaky_relu(F.conv2d(halved, *layer(state, "from_rgb.0")), 0.2)
    x = F.leaky_relu(F.conv2d(images, *layer(state, "from_rgb.1")), 0.2)
    x = 0.75 * old + 0.25 * F.leaky_relu(F.conv2d(x, *layer(state, "downs.1"), stride=2, padding=1), 0.2)
    x = F.leaky_relu(F.conv2d(x, *layer(state, "downs.0"), stride=2, padding=1), 0.2)
    f = F.leaky_relu(F.conv2d(x, *layer(state, "last"), padding=1), 0.2).mean((2, 3))
    expected = f @ state["score.weight"][0] + state["score.bias"] + (state["label.weight"][LABELS] * f).sum(1)
    torch.testing.assert_close(D(images, LABELS), expected, **TIGHT)


def test_the_networks_of_cgan_skin() -> None:
    """Batch norm with Keras' ε of 1e-3; labels as one-hot vectors, and as one constant map for each class."""
    G, D = randomised(cgan_skin_networks.Generator(3, 8)), randomised(cgan_skin_networks.Discriminator(3))
    halving, slope = {"stride": 2, "padding": 1}, 0.2
    plain_G = nn.Sequential(
        *[nn.Linear(11, 16384), nn.BatchNorm1d(16384, 1e-3), nn.Unflatten(1, (256, 8, 8)), nn.LeakyReLU(slope)],
        *[nn.ConvTranspose2d(256, 128, 4, **halving), nn.BatchNorm2d(128, 1e-3), nn.LeakyReLU(slope)],
        *[nn.ConvTranspose2d(128, 64, 4, **halving), nn.BatchNorm2d(64, 1e-3), nn.LeakyReLU(slope)],
        *[nn.ConvTranspose2d(64, 3, 4, **halving), nn.Tanh()],
    )
    plain_D = nn.Sequential(
        *[nn.Conv2d(6, 64, 4, **halving), nn.LeakyReLU(slope)],
        *[nn.Conv2d(64, 128, 4, **halving), nn.BatchNorm2d(128, 1e-3), nn.LeakyReLU(slope)],
        *[nn.Conv2d(128, 256, 4, **halving), nn.BatchNorm2d(256, 1e-3), nn.LeakyReLU(slope)],
        *[nn.Flatten(), nn.Linear(16384, 1)],
    )
    z, images, labels = torch.randn(4, 8), torch.randn(4, 3, 64, 64), torch.eye(3)[LABELS]
    expected = copied(plain_G, G)(torch.cat([z, labels], 1))
    torch.testing.assert_close(G(z, LABELS), expected, **TIGHT)
    maps = torch.stack([torch.stack([torch.full((64, 64), float(v)) for v in label]) for label in labels])
    expected = copied(plain_D, D)(torch.cat([images, maps], 1))[:, 0]
    torch.testing.assert_close(D(images, LABELS), expected, **TIGHT)


def test_the_networks_of_medsyngan() -> None:
    """The label is a vector beside the noise, and one more channel of the image."""
    G, D = randomised(medsyngan_networks.Generator(3, 8)), randomised(medsyngan_networks.Discriminator(3))
    z, images = torch.randn(4, 8), torch.randn(4, 3, 128, 128)
    s = dict(G.state_dict())
    x = F.linear(torch.cat([z, s["label.weight"][LABELS]], 1), *layer(s, "dense")).view(4, 256, 16, 16).relu()
    for i, activation in ((1, F.relu), (3, F.relu), (5, torch.tanh)):
        x = activation(F.conv_transpose2d(x, *layer(s, f"ups.{i}"), stride=2, padding=1))
    torch.testing.assert_close(G(z, LABELS), x, **TIGHT)
    s = dict(D.state_dict())
    x = torch.cat([images, s["label.weight"][LABELS].view(4, 1, 128, 128)], 1)
    for i in (0, 2, 4):
        x = F.leaky_relu(F.conv2d(x, *layer(s, f"layers.{i}"), stride=2, padding=1), 0.2)
    expected = F.linear(x.flatten(1), *layer(s, "layers.7"))[:, 0]
    torch.testing.assert_close(D(images, LABELS), expected, **TIGHT)


def plain_block(state: State, key: str, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
    """skip(x) + conv(SiLU(norm(conv(SiLU(norm(x)))) · (1 + scale) + shift)), group norms of 8."""
    y = F.silu(F.group_norm(x, 8, *layer(state, f"{key}.norm_in")))
    y = F.group_norm(F.conv2d(y, *layer(state, f"{key}.conv_in"), padding=1), 8)
    scale, shift = F.linear(embedding, *layer(state, f"{key}.modulation"))[..., None, None].chunk(2, 1)
    y = F.conv2d(F.silu(y * (1 + scale) + shift), *layer(state, f"{key}.conv_out"), padding=1)
    return y + (F.conv2d(x, *layer(state, f"{key}.skip")) if f"{key}.skip.weight" in state else x)


def test_the_u_net_of_flow_matching_and_diffusion() -> None:
    """For 32 px: maps of 32, 16 and 8 px with 8, 16 and 16 channels; each is concatenated on the way back."""
    network, x, times = randomised(VelocityUNet(3, 32, 8, 1)), torch.randn(4, 1, 32, 32), torch.rand(4)
    state = dict(network.state_dict())
    torch.testing.assert_close(network.frequencies, 10 ** (torch.arange(16) / 5))  # 1 to 1000
    angles = times[:, None] * network.frequencies
    e = F.linear(torch.cat([angles.sin(), angles.cos()], 1), *layer(state, "time.0"))
    e = F.silu(F.linear(F.silu(e), *layer(state, "time.2")) + state["label.weight"][LABELS])
    large = plain_block(state, "down.0", F.conv2d(x, *layer(state, "first"), padding=1), e)
    middle = F.conv2d(large, *layer(state, "halve.0"), stride=2, padding=1)
    middle = plain_block(state, "down.1", middle, e)
    y = plain_block(state, "middle", F.conv2d(middle, *layer(state, "halve.1"), stride=2, padding=1), e)
    assert [m.shape[1:] for m in (large, middle, y)] == [(8, 32, 32), (16, 16, 16), (16, 8, 8)]
    for i, kept in enumerate((middle, large)):
        y = F.conv2d(doubled(y), *layer(state, f"enlarge.{i}"), padding=1)
        y = plain_block(state, f"up.{i}", torch.cat([y, kept], 1), e)
    y = F.conv2d(F.silu(F.group_norm(y, 8, *layer(state, "norm"))), *layer(state, "last"), padding=1)
    torch.testing.assert_close(network(x, times, LABELS), y, **TIGHT)
