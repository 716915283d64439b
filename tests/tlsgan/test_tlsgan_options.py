"""Training options: each compared with values by hand, resumed exactly, and with divergence detected."""

from typing import Any

import numpy as np
import pytest
import torch
from helpers import ArrayData, FakeContext, Interrupt, two_class_data
from torch import nn
from torch.nn import functional as F

from bench.errors import ConfigError, DivergedError
from tlsgan import augmenter, diffaug, losses, penalties, spectral_norm
from tlsgan.checkpoint import load_generator
from tlsgan.config import CycleGANConfig, TLSGANLite0ScratchConfig
from tlsgan.diffaug import DiffAugment
from tlsgan.discriminators import DiscriminatorOutput, PatchGAN
from tlsgan.ema import GeneratorAverage
from tlsgan.generators import ResNetGenerator
from tlsgan.networks import build_networks

TINY = {"filters": 2, "blocks": 1, "disc_filters": 2, "head_width": 4, "batch_size": 2}
OPTIONS: list[dict[str, Any]] = [
    {"ema_decay": 0.9},
    {"spectral_norm": True},
    {"diffaug": "color,translation,cutout"},
    {"r1_gamma": 1.0, "r1_every": 2},
    {"disc_learning_rate": 1e-3, "lr_decay_start": 0.5},
    {"clip_grad_norm": 0.1},
    {"upsample": "resize", "residual": True},
    {"norm": "batch", "joint_batch_statistics": True},
    {"step": "reference", "ema_decay": 0.9, "spectral_norm": True, "diffaug": "color", "r1_gamma": 1.0, "r1_every": 2},
]
RESUMED = [  # every option above: one without exact state would change the weights also beside others
    {**OPTIONS[0], **OPTIONS[1], **OPTIONS[2], **OPTIONS[3], **OPTIONS[4], **OPTIONS[5]},
    {**OPTIONS[6], **OPTIONS[7]},
    OPTIONS[8],
]


def weights_of(folder):
    return [(folder / f"{name}.safetensors").read_bytes() for name in ("G_ab", "G_ba")]


@pytest.mark.parametrize("options", RESUMED, ids=str)
def test_resumed_equals_uninterrupted(options, tmp_path):
    data = two_class_data(6, 24)
    counts = {"steps": 5, "log_every": 2, "checkpoint_every": 3, "sample_every": 9}
    method = augmenter.CycleGAN(CycleGANConfig(**{**TINY, **counts, **options}))
    whole, broken = FakeContext(tmp_path / "whole"), FakeContext(tmp_path / "broken", interrupt_at=4)
    method.fit(data, whole)
    with pytest.raises(Interrupt):
        method.fit(data, broken)
    assert broken.checkpoint["step"] == 3
    broken.interrupt_at = None
    method.fit(data, broken)
    assert weights_of(whole.folder) == weights_of(broken.folder)
    assert whole.history == broken.history
    assert (whole.images[-1][2] == broken.images[-1][2]).all()


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_divergence_is_detected_with_every_option(options, tmp_path):
    rates = {"learning_rate": 1e30, "disc_learning_rate": 1e30}
    config = CycleGANConfig(**{**TINY, "steps": 3, "log_every": 3, **options, **rates})
    with pytest.raises(DivergedError, match=r"became non-finite at step \d"):
        augmenter.CycleGAN(config).fit(two_class_data(6, 24), FakeContext(tmp_path))


@pytest.mark.parametrize("discriminator", ["patchgan", "test_resnet"])
def test_grey_data_are_trained_with_one_channel(discriminator, tmp_path):
    colour = two_class_data(6, 32)
    grey = ArrayData(colour.images()[..., :1].repeat(3, axis=3), colour.labels)
    options = {"steps": 2, "discriminator": discriminator, "keep_discriminator": True, "upsample": "resize"}
    method, ctx = augmenter.CycleGAN(CycleGANConfig(**{**TINY, **options})), FakeContext(tmp_path)
    method.fit(grey, ctx)
    images = [s.image for s in method.synthesize(grey, {0: 3, 1: 3}, tmp_path, ctx)]
    images += [ctx.images[-1][2][0], *method.cycle(grey.images()[:2], 0, tmp_path, ctx)[0]]
    assert all(image.shape[-1] == 3 and np.ptp(image, axis=2).max() == 0 for image in images)
    assert method.classify(grey.images(), tmp_path, ctx).shape == (6, 2)
    assert load_generator(tmp_path, "G_ab", method.config, "cpu").channels == 1


def test_a_residual_generator_changes_its_input_before_tanh():
    torch.manual_seed(0)
    generator, plain = ResNetGenerator(4, 1, residual=True), ResNetGenerator(4, 1)
    x = torch.rand(2, 3, 24, 24) * 2 - 1
    x[0, 0, 0, :2] = torch.tensor([-1.0, 1.0])
    torch.testing.assert_close(generator(x), 0.99 * x)  # training begins at the identity
    nn.init.normal_(generator.model[-1].weight, 0.0, 0.02)
    plain.load_state_dict(generator.state_dict())
    change = torch.atanh(plain(x))  # the output before tanh
    torch.testing.assert_close(generator(x), torch.tanh(torch.atanh(0.99 * x) + change), atol=1e-5, rtol=1e-4)
    assert [k for k, _ in generator.named_parameters()] == [k for k, _ in plain.named_parameters()]


def test_resize_upsampling_is_nearest_neighbours_and_a_convolution():
    torch.manual_seed(0)
    generator = ResNetGenerator(4, 1, "instance", 1, "resize")
    first = next(i for i, m in enumerate(generator.model) if isinstance(m, nn.Upsample))
    x, conv = torch.rand(1, 16, 6, 6), generator.model[first + 2]
    doubled = F.pad(x.repeat_interleave(2, 2).repeat_interleave(2, 3), (1,) * 4, "reflect")
    torch.testing.assert_close(generator.model[first : first + 3](x), F.conv2d(doubled, conv.weight, conv.bias))
    assert not any(isinstance(m, nn.ConvTranspose2d) for m in generator.modules())
    flat = generator.model[first : first + 3](torch.ones(1, 16, 6, 6))
    assert (flat.amax((2, 3)) - flat.amin((2, 3))).max() < 1e-5, "a flat map stays flat: no checkerboard"
    assert generator(torch.rand(2, 1, 32, 32)).shape == (2, 1, 32, 32)


def test_spectral_norm_needs_the_patchgan():
    with pytest.raises(ConfigError, match="spectral_norm"):
        TLSGANLite0ScratchConfig(spectral_norm=True)


def test_spectral_norm_divides_by_the_largest_singular_value():
    torch.manual_seed(0)
    network = PatchGAN(4, spectral=True)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 5
    assert not any(isinstance(m, nn.InstanceNorm2d) for m in network.modules())
    for _ in range(100):
        spectral_norm.advance((network,))
    for conv in convolutions:
        assert torch.linalg.matrix_norm(conv.weight.flatten(1), 2).item() == pytest.approx(1.0, rel=1e-3)
    before = convolutions[1].weight.clone()
    network(torch.rand(1, 3, 32, 32))
    assert torch.equal(before, convolutions[1].weight), "a forward pass makes no power iteration"
    convolutions[1].weight.sum().backward()
    assert convolutions[1].parametrizations.weight.original.grad.abs().sum() > 0


class Linear(nn.Module):
    """D(x) is a map with mean w · x, so the gradient with respect to x is w."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x):
        value = (x * self.weight).flatten(1).sum(1)
        return DiscriminatorOutput(torch.stack([value + 1, value - 1], dim=1), None)


def test_r1_is_half_the_squared_gradient_and_differentiable():
    torch.manual_seed(0)
    network = Linear(torch.rand(3, 4, 4))
    penalty = penalties.r1(network, torch.rand(2, 3, 4, 4))
    assert penalty.item() == pytest.approx(network.weight.square().sum().item() / 2)
    penalty.backward()
    torch.testing.assert_close(network.weight.grad, network.weight.detach())


def test_r1_is_computed_every_few_steps_with_a_larger_weight():
    assert [penalties.r1_is_due(step, 1.0, 4) for step in range(6)] == [True, False, False, False, True, False]
    assert not penalties.r1_is_due(0, 0.0, 4)
    network, real = Linear(torch.ones(3, 4, 4)), torch.rand(2, 3, 4, 4)
    config = CycleGANConfig(r1_gamma=0.5, r1_every=4)
    assert losses.penalty(network, real, "a", True, config)["loss_r1_a"].item() == pytest.approx(0.5 * 4 * 48 / 2)
    assert losses.penalty(network, real, "a", False, config)["loss_r1_a"].item() == 0
    assert losses.penalty(network, real, "a", True, CycleGANConfig()) == {}


def test_clipping_scales_to_the_largest_norm():
    parameter = nn.Parameter(torch.zeros(4))
    parameter.grad = torch.full((4,), 3.0)
    penalties.clip([parameter], 0.0)
    assert parameter.grad.norm().item() == pytest.approx(6.0)
    penalties.clip([parameter], 1.5)
    assert parameter.grad.norm().item() == pytest.approx(1.5, rel=1e-4)


def test_averages_have_the_stated_decay():
    torch.manual_seed(0)
    nets = build_networks(CycleGANConfig(**TINY, norm="batch"), 24)
    average = GeneratorAverage(nets, 0.5)
    weight, averaged = nets.G_ab.model[1].weight, average.G_ab.model[1].weight
    expected = weight.detach().clone()
    for step, decay in enumerate((0.1, 2 / 11, 3 / 12, 4 / 13, 5 / 14, 6 / 15, 7 / 16, 8 / 17, 0.5, 0.5)):
        with torch.no_grad():
            weight.fill_(float(step))
            nets.G_ab.model[2].running_mean.fill_(float(step))
        average.update(nets)
        expected = decay * expected + (1 - decay) * step
        torch.testing.assert_close(averaged, expected)
        assert (average.G_ab.model[2].running_mean == step).all()
    average.copy_to(nets)
    assert torch.equal(weight, averaged)


def test_averaged_generators_are_saved_and_sampled(tmp_path):
    data, folders = two_class_data(6, 24), []
    for decay in (0.0, 0.999):
        ctx = FakeContext(tmp_path / str(decay))
        augmenter.CycleGAN(CycleGANConfig(**TINY, steps=3, ema_decay=decay)).fit(data, ctx)
        folders.append(ctx)
    plain, averaged = folders
    assert plain.history == averaged.history, "the average must not affect training"
    assert weights_of(plain.folder) != weights_of(averaged.folder)
    assert (plain.images[-1][2] != averaged.images[-1][2]).any()


def test_augmentation_is_random_and_differentiable():
    torch.manual_seed(0)
    augment = DiffAugment(("cutout", "color", "translation"))
    assert augment.changes == [diffaug.color, diffaug.translation, diffaug.cutout]
    assert not DiffAugment(())
    images = (torch.rand(4, 3, 16, 16) * 2 - 1).requires_grad_()
    first, second = augment(images), augment(images)
    assert first.shape == images.shape
    assert not torch.equal(first, second)
    (gradient,) = torch.autograd.grad(first.square().sum(), images)
    assert (gradient.flatten(1).abs().sum(1) > 0).all()


def test_translation_shifts_and_fills_with_zero():
    torch.manual_seed(0)
    images = torch.arange(1.0, 257.0).view(1, 1, 16, 16).expand(64, 3, 16, 16)
    moved = diffaug.translation(images)
    shifts = set()
    for image in moved[:, 0]:
        rows, columns = image.nonzero()[0].tolist()
        dy, dx = divmod(int(image[rows, columns]) - 1, 16)
        shifts.add((dy - rows, dx - columns))
        expected = torch.zeros(20, 20)
        expected[2:18, 2:18] = images[0, 0]
        top, left = 2 + dy - rows, 2 + dx - columns
        assert torch.equal(image, expected[top : top + 16, left : left + 16])
    assert {dy for dy, _ in shifts} == {dx for _, dx in shifts} == {-2, -1, 0, 1, 2}


def test_cutout_has_half_of_each_side():
    torch.manual_seed(0)
    holes = (diffaug.cutout(torch.ones(200, 3, 16, 16)) == 0)[:, 0]
    heights, widths = holes.any(2).sum(1), holes.any(1).sum(1)
    assert heights.max() == widths.max() == 8
    assert heights.min() >= 4, "with its centre at the border, half of it is inside"
    assert torch.equal(holes.flatten(1).sum(1), heights * widths)


def test_color_changes_brightness_within_limits_and_keeps_grey_images_grey():
    torch.manual_seed(0)
    images = torch.rand(100, 3, 8, 8) * 2 - 1
    changed = diffaug.color(images)
    shift = (changed.mean((1, 2, 3)) - images.mean((1, 2, 3))).numpy()
    assert np.abs(shift).max() <= 0.5 + 1e-5
    assert shift.std() == pytest.approx(1 / np.sqrt(12), rel=0.2)  # uniform brightness
    flat = diffaug.color(torch.full((5, 3, 4, 4), 0.25))
    torch.testing.assert_close(flat, flat[:, :1, :1, :1].expand_as(flat))
