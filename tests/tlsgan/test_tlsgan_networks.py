"""Architectures compared with plain torch code, losses compared with values computed by hand."""

import dataclasses
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bench.errors import ConfigError
from tlsgan import config as configs
from tlsgan import losses
from tlsgan.config import CycleGANConfig
from tlsgan.discriminators import (
    DiscriminatorOutput,
    PatchGAN,
    TransferDiscriminator,
    build_discriminator,
    feature_width,
)
from tlsgan.generators import ResNetGenerator
from tlsgan.networks import build_networks, learning_rates


def plain_generator(state: dict[str, torch.Tensor], x: torch.Tensor, blocks: int, norm: str) -> torch.Tensor:
    """Compute the generator layer by layer with torch functions and weights by their published names."""

    def normed(x: torch.Tensor, key: str) -> torch.Tensor:
        if norm == "instance":
            return F.instance_norm(x)
        return F.batch_norm(x, None, None, state[f"{key}.weight"], state[f"{key}.bias"], training=True)

    def conv(x: torch.Tensor, key: str, **kw: int) -> torch.Tensor:
        return F.conv2d(x, state[f"{key}.weight"], state[f"{key}.bias"], **kw)

    x = normed(conv(F.pad(x, (3,) * 4, "reflect"), "model.1"), "model.2").relu()
    for i in (4, 7):
        x = normed(conv(x, f"model.{i}", stride=2, padding=1), f"model.{i + 1}").relu()
    for i in range(10, 10 + blocks):
        block = f"model.{i}.conv_block"
        y = normed(conv(F.pad(x, (1,) * 4, "reflect"), f"{block}.1"), f"{block}.2").relu()
        x = x + normed(conv(F.pad(y, (1,) * 4, "reflect"), f"{block}.5"), f"{block}.6")
    for i in (10 + blocks, 13 + blocks):
        w, b = state[f"model.{i}.weight"], state[f"model.{i}.bias"]
        x = normed(F.conv_transpose2d(x, w, b, stride=2, padding=1, output_padding=1), f"model.{i + 1}").relu()
    return conv(F.pad(x, (3,) * 4, "reflect"), f"model.{17 + blocks}").tanh()


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_generator_has_the_published_layers(norm):
    torch.manual_seed(0)
    generator = ResNetGenerator(4, 2, norm).train()
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    expected = plain_generator(dict(generator.state_dict()), x, 2, norm)
    out = generator(x)
    assert out.shape == x.shape
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-4)


def test_generator_has_the_published_number_of_parameters():
    with torch.device("meta"):
        generator = ResNetGenerator()
    assert sum(p.numel() for p in generator.parameters()) == 11_378_179  # the 11.378 M of 64 filters, 9 blocks, biases
    keys = set(generator.state_dict())
    assert {"model.1.weight", "model.10.conv_block.1.weight", "model.18.conv_block.5.bias", "model.26.weight"} <= keys


def test_patchgan_has_a_receptive_field_of_70_pixels():
    torch.manual_seed(0)
    network = PatchGAN(4)
    for module in network.modules():  # instance norm mixes all positions; keep the convolutions only
        if isinstance(module, nn.InstanceNorm2d):
            module.forward = lambda x: x  # type: ignore[method-assign]
    x = torch.rand(1, 3, 160, 160, requires_grad=True)
    out = network(x).real
    assert out.shape == (1, 1, 18, 18)
    out[0, 0, 9, 9].backward()
    touched = x.grad[0].abs().sum(0) > 0
    rows, columns = touched.any(1).nonzero(), touched.any(0).nonzero()
    assert rows.max() - rows.min() + 1 == 70
    assert columns.max() - columns.min() + 1 == 70


def test_patchgan_has_the_published_number_of_parameters():
    with torch.device("meta"):
        network = PatchGAN()
    assert sum(p.numel() for p in network.parameters()) == 2_764_737


@pytest.mark.parametrize(
    ("name", "features"), [("resnet50", 2048), ("vgg16", 512 * 4), ("tf_efficientnet_lite0", 1280)]
)
def test_backbone_features(name, features):
    assert feature_width(name, 64, 1) == features


def test_vgg_heads_have_the_layers_of_vggs_classifier():
    assert feature_width("vgg16", 224, 1) == 512 * 7 * 7
    config = configs.TLSGANVGG16ScratchConfig(head_width=16)
    network = build_discriminator(config, 32)
    kinds = [type(layer) for layer in network.head_real]
    assert kinds == [nn.Linear, nn.ReLU, nn.Dropout, nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]


def test_two_heads_give_a_probability_and_logits():
    torch.manual_seed(0)
    network = build_discriminator(configs.TLSGANLite0ScratchConfig(head_width=8), 64).eval()
    x = torch.rand(3, 3, 64, 64) * 2 - 1
    output = network(x)
    features = network.backbone(x)
    first, last = network.head_real[0], network.head_real[3]
    torch.testing.assert_close(output.real, torch.sigmoid(last(first(features).relu())))
    assert output.real.shape == (3, 1)
    assert output.classes.shape == (3, 2)
    assert network.head_real[2].p == 0.4


def test_imagenet_normalisation_matches_the_backbone():
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    network = TransferDiscriminator(nn.Flatten(), 12, 4, mean=mean, std=std).eval()
    inputs = []
    network.backbone.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    x = torch.rand(2, 3, 2, 2) * 2 - 1
    network(x)
    expected = ((x + 1) / 2 - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)
    torch.testing.assert_close(inputs[0], expected)
    assert TransferDiscriminator(nn.Flatten(), 12, 4).identity_normalisation  # published: no normalisation


def test_discriminators_share_no_weights():
    nets = build_networks(configs.TLSGANLite0ScratchConfig(filters=4, blocks=1, head_width=8), 64)
    a, b = nets.D_a.state_dict(), nets.D_b.state_dict()
    assert not any(a[k].data_ptr() == b[k].data_ptr() for k in a if a[k].ndim)


def test_least_squares_by_hand():
    output = torch.tensor([0.5, -1.0])
    assert losses.least_squares(output, True).item() == pytest.approx((0.25 + 4.0) / 2)
    assert losses.least_squares(output, False).item() == pytest.approx((0.25 + 1.0) / 2)


def test_discriminator_loss_by_hand():
    real = DiscriminatorOutput(torch.tensor([[0.8]]), torch.tensor([[2.0, 0.0]]))
    fake = DiscriminatorOutput(torch.tensor([[0.3]]), torch.tensor([[0.0, 1.0]]))
    plain = (0.2**2 + 0.3**2) / 2
    real_fake_only = configs.TLSGANResNet50Config(lambda_class=0.0)
    assert losses.discriminator(real, fake, 1, real_fake_only).item() == pytest.approx(plain)
    classes = math.log(1 + math.e**2) + math.log(1 + math.e**-1)  # −log softmax at class 1
    assert losses.discriminator(real, fake, 1, configs.TLSGANResNet50Config()).item() == pytest.approx(
        plain + classes / 2
    )


def test_generator_loss_weights_every_term():
    terms = {
        f"loss_{kind}": torch.tensor(value)
        for kind, value in [
            ("adv_ab", 1.0),
            ("cycle_a", 0.5),
            ("cycle_b", 0.25),
            ("identity_a", 2.0),
            ("class_ab", 3.0),
        ]
    }
    config = configs.TLSGANResNet50Config(lambda_cycle=10, lambda_identity=0.5, lambda_class=2)
    assert losses.generators(terms, config).item() == pytest.approx(1 + 10 * 0.75 + 0.5 * 2 + 2 * 3)


def test_published_defaults():
    plain, resnet, vgg = CycleGANConfig(), configs.TLSGANResNet50Config(), configs.TLSGANVGG16Config()
    assert (plain.lambda_cycle, plain.lambda_identity, plain.lambda_class, plain.norm) == (10, 1, 0, "instance")
    for config in (resnet, vgg):
        assert (config.lambda_cycle, config.lambda_identity, config.lambda_class) == (1, 1, 1)
        assert (config.norm, config.pretrained, config.imagenet_normalisation) == ("batch", True, False)
    assert (resnet.head_width, resnet.head_dropout, vgg.head_width) == (512, 0.4, 4096)
    for config in (plain, resnet, vgg):
        assert (config.learning_rate, config.beta1, config.beta2, config.batch_size) == (2e-4, 0.5, 0.999, 1)
        assert (config.pool_size, config.lr_decay_start, config.filters, config.blocks) == (0, 1.0, 64, 9)


def test_scratch_differs_in_pretraining_only():
    for name in ("TLSGANResNet50", "TLSGANVGG16", "TLSGANLite0"):
        transfer = dataclasses.asdict(getattr(configs, f"{name}Config")())
        scratch = dataclasses.asdict(getattr(configs, f"{name}ScratchConfig")())
        assert transfer == {**scratch, "pretrained": True}


def test_learning_rate_falls_linearly_to_zero():
    config = CycleGANConfig(steps=100, lr_decay_start=0.5, learning_rate=1.0)
    assert [learning_rates(s, config) for s in (0, 50, 75, 99)] == [
        pytest.approx((rate, rate)) for rate in (1.0, 1.0, 0.5, 0.02)
    ]
    constant = CycleGANConfig(steps=100, learning_rate=1.0)
    assert learning_rates(99, constant) == (1.0, 1.0)


def test_discriminators_can_have_a_separate_learning_rate():
    config = CycleGANConfig(steps=100, lr_decay_start=0.5, learning_rate=1.0, disc_learning_rate=4.0)
    assert learning_rates(75, config) == pytest.approx((0.5, 2.0))


@pytest.mark.parametrize(
    "bad",
    [
        {"image_size_px": 30},
        {"image_size_px": 16},
        {"steps": 0},
        {"norm": "layer"},
        {"lambda_cycle": -1.0},
        {"lr_decay_start": 1.5},
        {"head_dropout": 1.0},
        {"lambda_class": 1.0},
        {"pretrained": True},
        {"step": "quick"},
        {"compile": "yes"},
        {"diffaug": "color, blur"},
        {"ema_decay": 1.0},
        {"disc_learning_rate": 0.0},
        {"r1_every": 0},
        {"r1_gamma": -1.0},
        {"clip_grad_norm": -1.0},
        {"sample_every": 0},
    ],
)
def test_an_invalid_value_raises_an_error_with_its_field(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        CycleGANConfig(**bad)


def test_a_network_too_deep_for_the_images_raises_an_error():
    with pytest.raises(ConfigError, match="batch_size 2"):
        build_networks(configs.TLSGANLite0ScratchConfig(), 32)


def test_an_unknown_discriminator_raises_an_error():
    with pytest.raises(ConfigError, match="did you mean 'resnet50'"):
        build_networks(configs.TLSGANResNet50ScratchConfig(discriminator="resnet5o"), 64)
