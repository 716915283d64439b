"""The fast step computes the same as the reference: losses, gradients and running statistics, for every variant.

Two float32 trainings that differ in the last bit diverge: after 20 steps at the published learning rate, the reference
differs by 5 % from itself in float64, because Adam turns the sign of a gradient that is only rounding into a full step.
Float32 is therefore compared step by step from common states, and trainings of 5 steps are compared in float64, where
rounding does not reach the compared digits.
"""

import copy
import dataclasses
from collections import Counter

import pytest
import torch
from timm.models import efficientnet
from torch import nn
from torch.nn import functional as F
from torchvision.models import vgg

from tlsgan import config as configs
from tlsgan.config import CycleGANConfig, TLSGANResNet50Config
from tlsgan.discriminators import TransferDiscriminator, feature_width
from tlsgan.fast_layers import ToFewChannels, has_batch_norm, to_fast_layout
from tlsgan.fast_step import FastStep
from tlsgan.networks import Networks, build_generator, build_networks, parameters_of
from tlsgan.step import ReferenceStep
from tlsgan.trainer import make_train_state

SIZE_PX = 24
STEPS = 5  # R1 at every second step acts three times, and a pool of 3 images is full after two steps
TINY = {"filters": 2, "blocks": 1, "disc_filters": 2, "head_width": 4, "batch_size": 2}
ALL = {"spectral_norm": True, "diffaug": "color,translation,cutout", "r1_gamma": 1.0, "r1_every": 2}
SORTED = {"head": "classes_and_fake", "class_on_both": True, "label_fraction": 0.5}


def transfer(backbone: str, config: CycleGANConfig) -> TransferDiscriminator:
    """A small substitute for ResNet-50 ('batch norm') or VGG-16 ('plain', two hidden layers per head), with dropout."""
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
    train_state = make_train_state(config, nets, "cpu", seed=0)
    step = FastStep(train_state, config, "cpu") if config.step == "fast" else ReferenceStep(train_state, config)
    return train_state, step


def batches(config: CycleGANConfig, steps: int, dtype: torch.dtype, size_px: int = SIZE_PX):
    """Yield smooth images, the second domain darker, with label masks if not all are labelled (some are all 0)."""
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
        ("batch norm", {"r1_gamma": 1.0, "r1_every": 2, "diffaug": "color", "class_on_both": True}),
        ("plain", {}),
        ("plain", {"pool_size": 3, "diffaug": "cutout", "r1_gamma": 1.0, "lambda_class": 0.0, "clip_grad_norm": 0.1}),
        ("batch norm", {"trained_stages": 0}),
        ("batch norm", {"trained_stages": 1, "pool_size": 3, "label_fraction": 0.5}),
        ("batch norm", {"trained_stages": 0, "pool_size": 3, "r1_gamma": 1.0, "r1_every": 2}),
        ("batch norm", {"trained_stages": 1, "lambda_class": 0.0}),
        ("batch norm", {**SORTED, "r1_gamma": 1.0, "r1_every": 2}),
        ("plain", {**SORTED, "trained_stages": 1, "pool_size": 3}),
    ],
    ids=str,
)
def test_trainings_in_float64_agree(backbone, options):
    cls = TLSGANResNet50Config if backbone else CycleGANConfig
    fast = cls(**{**TINY, "norm": "instance", **options})
    histories, ends = [], []
    for config in (dataclasses.replace(fast, step="reference"), fast):
        train_state, step = build(config, backbone, torch.float64)
        histories.append([step(i, *pair) for i, pair in enumerate(batches(config, STEPS, torch.float64))])
        ends.append(
            [v for net in train_state.nets.named().values() for k, v in net.state_dict().items() if "num_" not in k]
        )
    assert max(largest_difference(r, f) for r, f in zip(*histories, strict=True)) < 1e-5
    for reference, result in zip(*ends, strict=True):  # weights, and running statistics of batch norm
        torch.testing.assert_close(result, reference, rtol=1e-4, atol=1e-6)


def copy_state(train_state, source) -> None:
    """Copy weights and moments from ``source``."""
    for name, net in train_state.nets.named().items():
        net.load_state_dict(source.nets.named()[name].state_dict())
    for name, optimiser in train_state.optimisers.named().items():
        state = source.optimisers.named()[name].state_dict()["state"]
        optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


def gradients(train_state) -> dict[str, torch.Tensor]:
    return {
        name: torch.cat([p.grad.flatten() for p in parameters_of(optimiser)])
        for name, optimiser in train_state.optimisers.named().items()
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
def test_float32_steps_from_the_references_states_agree(backbone, options):
    fast = (TLSGANResNet50Config if backbone else CycleGANConfig)(**{**TINY, **options})
    reference_state, reference = build(dataclasses.replace(fast, step="reference"), backbone, torch.float32)
    fast_state, step = build(fast, backbone, torch.float32)
    for i, pair in enumerate(batches(fast, STEPS, torch.float32)):
        copy_state(fast_state, reference_state)
        random = torch.get_rng_state()
        expected = reference(i, *pair)
        torch.set_rng_state(random)
        assert largest_difference(expected, step(i, *pair)) < 1e-4


@pytest.fixture
def narrow(monkeypatch):
    """VGG-16 and EfficientNet-Lite0 with all layers, but an eighth or a quarter of their channels."""
    widths = [w if w == "M" else w // 8 for w in vgg.cfgs["D"]]
    monkeypatch.setitem(vgg.cfgs, "D", widths)
    monkeypatch.setattr(efficientnet, "round_channels", lambda channels, *args, **rest: max(8, channels // 4))
    feature_width.cache_clear()
    yield
    feature_width.cache_clear()


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize(
    ("cls", "size_px"),
    [
        (configs.TLSGANVGG16ScratchConfig, 32),
        (configs.TLSGANLite0ScratchConfig, 64),
        pytest.param(configs.TLSGANResNet50ScratchConfig, 64, marks=pytest.mark.slow),
    ],
    ids=lambda x: getattr(x, "__name__", str(x)),
)
def test_a_step_on_the_layers_of_the_real_backbones_agrees(cls, size_px):
    """In float64: in float32, rounding changes the gradients of deep random networks by 5 % in both steps."""
    fast = cls(**TINY)
    nets = build_networks(fast, size_px)
    reference_state, reference = build(dataclasses.replace(fast, step="reference"), copy.deepcopy(nets), torch.float64)
    fast_state, step = build(fast, nets, torch.float64)
    pair, random = next(batches(fast, 1, torch.float64, size_px)), torch.get_rng_state()
    expected = reference(0, *pair)
    torch.set_rng_state(random)
    assert largest_difference(expected, step(0, *pair)) < 1e-6
    fast_gradients = gradients(fast_state)
    for name, gradient in gradients(reference_state).items():
        assert (gradient - fast_gradients[name]).norm() < 1e-6 * gradient.norm(), name


def test_passes_are_joined_where_that_is_exact():
    """Passes per step. Instance norm: 2 per generator, 2 per discriminator. Batch norm: 3 and 2."""
    for norm, runs in (("instance", 2), ("batch", 3)):
        train_state, step = build(CycleGANConfig(**TINY, norm=norm), None, torch.float32)
        ran = []
        for name, net in train_state.nets.named().items():
            first = next(m for m in net.modules() if isinstance(m, nn.Conv2d))
            first.register_forward_hook(lambda *_, name=name, ran=ran: ran.append(name))
        step(0, *next(batches(step.config, 1, torch.float32)))
        assert Counter(ran) == {"G_ab": runs, "G_ba": runs, "D_a": 2, "D_b": 2}


@pytest.mark.parametrize(("stages", "runs"), [(None, 3), (0, 2)])
def test_passes_of_a_frozen_backbone_are_joined(stages, runs):
    """With an image pool: fakes in the generators' phase, then real images and fakes in one pass or two."""
    config = TLSGANResNet50Config(**TINY, trained_stages=stages, pool_size=2)
    train_state, step = build(config, "batch norm", torch.float32)
    ran = []
    train_state.nets.D_a.backbone[0].register_forward_hook(lambda *_: ran.append(1))
    step(0, *next(batches(config, 1, torch.float32)))
    assert len(ran) == runs


def test_joint_batch_statistics_joins_passes_with_batch_norm():
    config = CycleGANConfig(**TINY, norm="batch", joint_batch_statistics=True)
    (_, joint), (_, separate) = (
        build(c, None, torch.float32) for c in (config, dataclasses.replace(config, joint_batch_statistics=False))
    )
    pair = next(batches(config, 1, torch.float32))
    loss, expected = (step(0, *pair)["loss_identity_a"] for step in (joint, separate))
    assert loss != expected
    assert loss.item() == pytest.approx(expected.item(), rel=0.5)


def test_the_reference_uses_torchs_layers_and_adam_without_fused_kernels():
    train_state, _ = build(CycleGANConfig(**TINY, step="reference"), None, torch.float32)
    assert {type(m) for m in train_state.nets.G_ab.modules()} >= {nn.InstanceNorm2d, nn.Conv2d}
    assert not any(isinstance(m, ToFewChannels) for m in train_state.nets.G_ab.modules())
    assert all(not group["fused"] for o in train_state.optimisers.named().values() for group in o.param_groups)


@pytest.mark.parametrize("layer", [nn.InstanceNorm2d(4), nn.Conv2d(4, 3, (7, 5)), nn.Conv2d(4, 2, 5, bias=False)])
def test_a_fast_layer_equals_torchs_layer(layer):
    torch.manual_seed(0)
    layer = layer.double()
    x = torch.rand(2, 4, 9, 8, dtype=torch.float64, requires_grad=True)
    inputs = [x, *layer.parameters()]
    names = set(layer.state_dict())
    before = layer(x)
    weights = torch.rand_like(before)
    expected = torch.autograd.grad(before, inputs, weights)
    kind = type(layer)
    after = to_fast_layout(layer, "cpu")(x)
    assert type(layer) is not kind
    assert set(layer.state_dict()) == names
    torch.testing.assert_close(after, before)
    for result, gradient in zip(torch.autograd.grad(after, inputs, weights), expected, strict=True):
        torch.testing.assert_close(result, gradient)


def test_networks_with_batch_norm_are_channels_last_on_a_cpu():
    for norm in ("instance", "batch"):
        network = to_fast_layout(build_generator(CycleGANConfig(**TINY, norm=norm)), "cpu")
        assert has_batch_norm(network) == (norm == "batch")
        weight = network.model[4].weight
        assert weight.is_contiguous(memory_format=torch.channels_last) == (norm == "batch")
