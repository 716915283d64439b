"""The fast step computes what the reference computes: losses, gradients and running statistics, for every variant.

Two float32 trainings that differ in the last bit drift apart: after 20 steps at the published rate the reference and
itself in float64 differ by 5 % (Adam turns the sign of a gradient that is all rounding into a whole step). So float32
is compared step by step from common states, and whole trainings of 20 steps in float64, where rounding does not grow
into the digits compared.
"""

import copy
import dataclasses
from collections import Counter

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tlsgan import config as configs
from tlsgan.config import CycleGANConfig, TLSGANResNet50Config
from tlsgan.discriminators import TransferDiscriminator
from tlsgan.fast_layers import ToFewChannels, has_batch_norm, quicken
from tlsgan.fast_step import FastStep
from tlsgan.networks import Networks, build_generator, build_networks, parameters_of
from tlsgan.step import ReferenceStep
from tlsgan.trainer import make_team

SIZE_PX = 24
TINY = {"filters": 2, "blocks": 1, "disc_filters": 2, "head_width": 4, "batch_size": 2}
ALL = {"spectral_norm": True, "diffaug": "color,translation,cutout", "r1_gamma": 1.0, "r1_every": 3}
SORTED = {"head": "classes_and_fake", "class_on_both": True, "label_fraction": 0.5}


def transfer(backbone: str, config: CycleGANConfig) -> TransferDiscriminator:
    """A small stand-in for ResNet-50 ('batch norm') or VGG-16 ('plain', two hidden layers a head), dropout and all."""
    norms = [nn.BatchNorm2d(4) if backbone == "batch norm" else nn.Identity() for _ in range(2)]
    first, second = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)
    layers = nn.Sequential(first, norms[0], nn.ReLU(inplace=True), second, norms[1], nn.Flatten())
    kept = 2 if config.trained_stages is None else config.trained_stages
    frozen = [first, norms[0], second, norms[1]][: 2 * (2 - kept)]
    for layer in frozen:
        layer.requires_grad_(False)
    return TransferDiscriminator(
        layers,
        features=4 * (SIZE_PX // 4) ** 2,
        head_width=4,
        hidden_layers=1 if backbone == "batch norm" else 2,
        head=config.head if config.lambda_class else None,
        frozen=frozen,
    )


def build(config: CycleGANConfig, backbone: str | Networks | None, dtype: torch.dtype):
    torch.manual_seed(0)
    if isinstance(backbone, Networks):
        nets = backbone
    elif backbone is None:
        nets = build_networks(config, SIZE_PX)
    else:
        discriminators = (transfer(backbone, config) for _ in "ab")
        nets = Networks(build_generator(config), build_generator(config), *discriminators)
    for net in nets.named().values():
        net.to(dtype)
    team = make_team(config, nets, "cpu", seed=0)
    return team, FastStep(team, config, "cpu") if config.step == "fast" else ReferenceStep(team, config)


def batches(config: CycleGANConfig, steps: int, dtype: torch.dtype, size_px: int = SIZE_PX):
    """Smooth pictures, the second domain darker; and which of them are labelled, if not all: none of some batches."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        coarse = torch.rand(2, config.batch_size, 3, 4, 4, generator=generator, dtype=dtype) * 1.6 - 0.8
        real_a, real_b = (F.interpolate(x, size=size_px, mode="bilinear") for x in coarse)
        masks = torch.rand(2, config.batch_size, generator=generator) < 0.5 if config.label_fraction < 1 else ()
        yield real_a, real_b - 0.2, *(mask.to(dtype) for mask in masks)


def largest_difference(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> float:
    assert set(one) == set(two)
    return max((abs(one[k] - two[k]) / one[k].abs().clamp(min=1e-3)).item() for k in one)


@pytest.mark.parametrize(
    ("backbone", "options"),
    [
        (None, {}),
        (None, {"lambda_identity": 0.0, "clip_grad_norm": 0.1, "disc_learning_rate": 4e-4}),
        (None, {"pool_size": 3, "norm": "batch"}),
        (None, ALL),
        ("batch norm", {"norm": "batch"}),
        ("batch norm", {"r1_gamma": 1.0, "r1_every": 3, "diffaug": "color"}),
        ("plain", {}),
        ("plain", {"pool_size": 3, "r1_gamma": 1.0, "r1_every": 3, "lambda_class": 0.0}),
        ("plain", {"diffaug": "translation,cutout", "clip_grad_norm": 0.1}),
        ("batch norm", {"trained_stages": 0}),
        ("batch norm", {"trained_stages": 1, "pool_size": 3}),
        ("batch norm", {"trained_stages": 0, "pool_size": 3, "r1_gamma": 1.0, "r1_every": 3}),
        ("batch norm", {"lambda_class": 0.0, "trained_stages": 1}),
        ("batch norm", {"label_fraction": 0.5, "pool_size": 3}),
        ("batch norm", {"class_on_both": True, "diffaug": "color"}),
        ("batch norm", {"head": "classes_and_fake", "r1_gamma": 1.0, "r1_every": 3}),
        ("batch norm", SORTED),
        ("plain", {**SORTED, "trained_stages": 1, "pool_size": 3}),
    ],
    ids=str,
)
def test_trainings_in_float64_agree_for_20_steps(backbone, options):
    cls = TLSGANResNet50Config if backbone else CycleGANConfig
    fast = cls(**{**TINY, "norm": "instance", **options})
    histories, ends = [], []
    for config in (dataclasses.replace(fast, step="reference"), fast):
        team, step = build(config, backbone, torch.float64)
        histories.append([step(i, *pair) for i, pair in enumerate(batches(config, 20, torch.float64))])
        ends.append([v for net in team.nets.named().values() for k, v in net.state_dict().items() if "num_" not in k])
    assert max(largest_difference(r, f) for r, f in zip(*histories, strict=True)) < 1e-5
    for reference, mine in zip(*ends, strict=True):  # weights, and running statistics of batch norm
        torch.testing.assert_close(mine, reference, rtol=1e-4, atol=1e-6)


def adopt(team, leader) -> None:
    """Take over the leader's weights and moments."""
    for name, net in team.nets.named().items():
        net.load_state_dict(leader.nets.named()[name].state_dict())
    for name, optimiser in team.optimisers.named().items():
        state = leader.optimisers.named()[name].state_dict()["state"]
        optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


def gradients(team) -> dict[str, torch.Tensor]:
    return {
        name: torch.cat([p.grad.flatten() for p in parameters_of(optimiser)])
        for name, optimiser in team.optimisers.named().items()
    }


@pytest.mark.parametrize(
    ("backbone", "options"),
    [
        (None, {}),
        (None, {**ALL, "norm": "batch", "pool_size": 3, "clip_grad_norm": 0.1}),
        ("batch norm", {"norm": "batch"}),
        ("plain", {"norm": "instance"}),
        ("batch norm", {**SORTED, "norm": "instance", "trained_stages": 1}),
    ],
    ids=str,
)
def test_20_float32_steps_from_the_references_states_agree(backbone, options):
    fast = (TLSGANResNet50Config if backbone else CycleGANConfig)(**{**TINY, **options})
    leader, reference = build(dataclasses.replace(fast, step="reference"), backbone, torch.float32)
    follower, step = build(fast, backbone, torch.float32)
    for i, pair in enumerate(batches(fast, 20, torch.float32)):
        adopt(follower, leader)
        random = torch.get_rng_state()
        expected = reference(i, *pair)
        torch.set_rng_state(random)
        assert largest_difference(expected, step(i, *pair)) < 1e-4


@pytest.mark.parametrize(
    ("cls", "size_px", "dtype", "loss_error", "gradient_error"),
    [
        (configs.TLSGANVGG16ScratchConfig, 32, torch.float32, 1e-4, 1e-2),
        # rounding in float32 changes the gradients of such deep random networks by 5 %, in either step
        (configs.TLSGANLite0ScratchConfig, 64, torch.float64, 1e-6, 1e-6),
        (configs.TLSGANResNet50ScratchConfig, 64, torch.float64, 1e-6, 1e-6),
    ],
    ids=lambda x: getattr(x, "__name__", str(x)),
)
def test_a_step_on_the_real_backbones_agrees(cls, size_px, dtype, loss_error, gradient_error):
    fast = cls(**TINY)
    nets = build_networks(fast, size_px)
    leader, reference = build(dataclasses.replace(fast, step="reference"), copy.deepcopy(nets), dtype)
    follower, step = build(fast, nets, dtype)
    pair, random = next(batches(fast, 1, dtype, size_px)), torch.get_rng_state()
    expected = reference(0, *pair)
    torch.set_rng_state(random)
    assert largest_difference(expected, step(0, *pair)) < loss_error
    mine = gradients(follower)
    for name, gradient in gradients(leader).items():
        assert (gradient - mine[name]).norm() < gradient_error * gradient.norm(), name


def test_passes_are_batched_where_that_is_exact_and_counted():
    """Instance norm: a generator runs twice a step, a discriminator twice; batch norm: three times, twice."""
    for norm, runs in (("instance", 2), ("batch", 3)):
        team, step = build(CycleGANConfig(**TINY, norm=norm), None, torch.float32)
        ran = []
        for name, net in team.nets.named().items():
            first = next(m for m in net.modules() if isinstance(m, nn.Conv2d))
            first.register_forward_hook(lambda *_, name=name, ran=ran: ran.append(name))
        step(0, *next(batches(step.config, 1, torch.float32)))
        assert Counter(ran) == {"G_ab": runs, "G_ba": runs, "D_a": 2, "D_b": 2}


@pytest.mark.parametrize(("stages", "runs"), [(None, 3), (0, 2)])
def test_a_frozen_backbones_passes_are_batched(stages, runs):
    """With an image pool: translations in the generators' phase, then real ones and translations, apart or together."""
    config = TLSGANResNet50Config(**TINY, trained_stages=stages, pool_size=2)
    team, step = build(config, "batch norm", torch.float32)
    ran = []
    team.nets.D_a.backbone[0].register_forward_hook(lambda *_: ran.append(1))
    step(0, *next(batches(config, 1, torch.float32)))
    assert len(ran) == runs


def test_joint_batch_statistics_batch_what_batch_norm_would_keep_apart():
    config = CycleGANConfig(**TINY, norm="batch", joint_batch_statistics=True)
    (_, joint), (_, apart) = (
        build(c, None, torch.float32) for c in (config, dataclasses.replace(config, joint_batch_statistics=False))
    )
    pair = next(batches(config, 1, torch.float32))
    one, two = joint(0, *pair), apart(0, *pair)
    assert one["loss_identity_a"] != two["loss_identity_a"]
    assert one["loss_identity_a"].item() == pytest.approx(two["loss_identity_a"].item(), rel=0.5)


def test_the_reference_is_torchs_own_layers_and_plain_adam():
    team, _ = build(CycleGANConfig(**TINY, step="reference"), None, torch.float32)
    assert {type(m) for m in team.nets.G_ab.modules()} >= {nn.InstanceNorm2d, nn.Conv2d}
    assert not any(isinstance(m, ToFewChannels) for m in team.nets.G_ab.modules())
    assert all(not group["fused"] for o in team.optimisers.named().values() for group in o.param_groups)


@pytest.mark.parametrize("layer", [nn.InstanceNorm2d(4), nn.Conv2d(4, 3, (7, 5)), nn.Conv2d(4, 2, 5, bias=False)])
def test_a_quicker_layer_is_the_layer(layer):
    torch.manual_seed(0)
    layer = layer.double()
    x = torch.rand(2, 4, 9, 8, dtype=torch.float64, requires_grad=True)
    wanted = [x, *layer.parameters()]
    names = set(layer.state_dict())
    before = layer(x)
    weights = torch.rand_like(before)
    expected = torch.autograd.grad(before, wanted, weights)
    kind = type(layer)
    after = quicken(layer, "cpu")(x)
    assert type(layer) is not kind
    assert set(layer.state_dict()) == names
    torch.testing.assert_close(after, before)
    for mine, theirs in zip(torch.autograd.grad(after, wanted, weights), expected, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_networks_with_batch_norm_are_channels_last_on_a_cpu():
    for norm in ("instance", "batch"):
        network = quicken(build_generator(CycleGANConfig(**TINY, norm=norm)), "cpu")
        assert has_batch_norm(network) == (norm == "batch")
        weight = network.model[4].weight
        assert weight.is_contiguous(memory_format=torch.channels_last) == (norm == "batch")
