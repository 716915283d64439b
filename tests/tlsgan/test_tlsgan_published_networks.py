"""The published networks and losses, written with plain torch and torchvision layers, compared with this package.

The reference networks below use no class of this package: they have the published layers under the published names.
Their state dicts are saved and loaded by the loader; outputs and all loss terms must agree to 1e-5.
"""

import copy
import re
from dataclasses import replace

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from tlsgan.image_pool import ImagePool
from tlsgan.networks import Optimisers
from tlsgan.published.checkpoint import load_networks
from tlsgan.published.names import read_discriminator, read_generator
from tlsgan.step import Pools, ReferenceStep, TrainState

TIGHT = {"atol": 1e-5, "rtol": 1e-5}
VGG16_LAYERS = [64, 64, "pool", 128, 128, "pool", *[256] * 3, "pool", *[512] * 3, "pool", *[512] * 3, "pool"]
SIDE, FILTERS, BLOCKS, WIDTH = 32, 4, 2, 12


class BaselineBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.block = nn.Sequential(*block_layers(channels, nn.InstanceNorm2d))

    def forward(self, x):
        return x + self.block(x)


class TransferBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv_block = nn.Sequential(*block_layers(channels, nn.BatchNorm2d))

    def forward(self, x):
        return x + self.conv_block(x)


def block_layers(channels, norm):
    once = [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), norm(channels)]
    return [*once, nn.ReLU(), nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), norm(channels)]


class Generator(nn.Module):
    def __init__(self, block, norm, f=FILTERS, blocks=BLOCKS):
        super().__init__()
        up = {"stride": 2, "padding": 1, "output_padding": 1}
        self.model = nn.Sequential(
            *[nn.ReflectionPad2d(3), nn.Conv2d(3, f, 7), norm(f), nn.ReLU()],
            *[nn.Conv2d(f, 2 * f, 3, stride=2, padding=1), norm(2 * f), nn.ReLU()],
            *[nn.Conv2d(2 * f, 4 * f, 3, stride=2, padding=1), norm(4 * f), nn.ReLU()],
            *[block(4 * f) for _ in range(blocks)],
            *[nn.ConvTranspose2d(4 * f, 2 * f, 3, **up), norm(2 * f), nn.ReLU()],
            *[nn.ConvTranspose2d(2 * f, f, 3, **up), norm(f), nn.ReLU()],
            *[nn.ReflectionPad2d(3), nn.Conv2d(f, 3, 7), nn.Tanh()],
        )

    def forward(self, x):
        return self.model(x)


class PatchGAN(nn.Module):
    def __init__(self, f=FILTERS):
        super().__init__()
        self.model = nn.Sequential(
            *[nn.Conv2d(3, f, 4, 2, 1), nn.LeakyReLU(0.2)],
            *[nn.Conv2d(f, 2 * f, 4, 2, 1), nn.InstanceNorm2d(2 * f), nn.LeakyReLU(0.2)],
            *[nn.Conv2d(2 * f, 4 * f, 4, 2, 1), nn.InstanceNorm2d(4 * f), nn.LeakyReLU(0.2)],
            *[nn.Conv2d(4 * f, 8 * f, 4, 1, 1), nn.InstanceNorm2d(8 * f), nn.LeakyReLU(0.2)],
            nn.Conv2d(8 * f, 1, 4, 1, 1),
        )

    def forward(self, x):
        return self.model(x), None


class ResNet50(nn.Module):
    def __init__(self, width=WIDTH):
        super().__init__()
        self.resnet = torchvision.models.resnet50(weights=None)
        self.resnet.fc = nn.Identity()
        self.adversary = nn.Sequential(*head(2048, width, 1, 0.4), nn.Sigmoid())
        self.classifier = nn.Sequential(*head(2048, width, 2, 0.4))

    def forward(self, x):
        features = self.resnet(x)
        return self.adversary(features), self.classifier(features)


class VGG16(nn.Module):
    def __init__(self, width=WIDTH, pixels=(SIDE // 32) ** 2):
        super().__init__()
        layers, before = [], 3
        for width_or_pool in VGG16_LAYERS:
            if width_or_pool == "pool":
                layers.append(nn.MaxPool2d(2, 2))
            else:
                layers += [nn.Conv2d(before, width_or_pool, 3, padding=1), nn.ReLU()]
                before = width_or_pool
        self.features = nn.Sequential(*layers)
        self.adversary = nn.Sequential(*head(512 * pixels, width, 1, 0.5, 2), nn.Sigmoid())
        self.classifier = nn.Sequential(*head(512 * pixels, width, 2, 0.5, 2))

    def forward(self, x):
        features = self.features(x).flatten(1)
        return self.adversary(features), self.classifier(features)


def head(features, width, outputs, dropout, hidden=1):
    layers = []
    for i in range(hidden):
        layers += [nn.Linear(width if i else features, width), nn.ReLU(), nn.Dropout(dropout)]
    return [*layers, nn.Linear(width, outputs)]


def published(variant):
    """Return the four reference networks by their published names."""
    torch.manual_seed(5)
    block, norm = (BaselineBlock, nn.InstanceNorm2d) if variant == "cyclegan" else (TransferBlock, nn.BatchNorm2d)
    discriminator = {"cyclegan": PatchGAN, "resnet50": ResNet50, "vgg16": VGG16}[variant]
    networks = {"netG_A2B": Generator(block, norm), "netG_B2A": Generator(block, norm)}
    networks |= {"netD_A": discriminator(), "netD_B": discriminator()}
    for network in networks.values():  # batch norm with values other than 0 and 1
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.running_mean, -0.1, 0.1)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, -0.1, 0.1)
    return networks


@pytest.fixture(scope="module", params=["cyclegan", "resnet50", "vgg16"])
def pair(request, tmp_path_factory):
    """Return the variant, the reference networks, and the networks loaded from their files."""
    folder, reference = tmp_path_factory.mktemp(request.param), published(request.param)
    for name, network in reference.items():
        torch.save(network.state_dict(), folder / f"{name}_epoch_24.pth")
    return request.param, reference, load_networks(folder)


def images(seed, count=2):
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_loaded_networks_give_the_published_outputs(pair):
    variant, reference, loaded = pair
    assert loaded.epoch == 24
    own, x = loaded.nets.named(), images(0, 3)
    with torch.inference_mode():
        for name, own_name in {"netG_A2B": "G_ab", "netG_B2A": "G_ba"}.items():
            expected = reference[name].eval()(x)
            assert expected.std() > 0.01
            torch.testing.assert_close(own[own_name](x), expected, **TIGHT)
        for name, own_name in {"netD_A": "D_a", "netD_B": "D_b"}.items():
            real, classes = reference[name].eval()(x)
            output = own[own_name](x)
            torch.testing.assert_close(output.real, real, **TIGHT)
            assert (classes is None) == (output.classes is None) == (variant == "cyclegan")
            if classes is not None:
                torch.testing.assert_close(output.classes, classes, **TIGHT)


def test_config_has_values_from_the_tensors_and_published_defaults(pair):
    variant, _, loaded = pair
    config = loaded.config
    assert (config.filters, config.blocks) == (FILTERS, BLOCKS)
    assert (config.norm, config.discriminator, config.lambda_cycle) == {
        "cyclegan": ("instance", "patchgan", 10.0),
        "resnet50": ("batch", "resnet50", 1.0),
        "vgg16": ("batch", "vgg16", 1.0),
    }[variant]
    read, expected = (config.disc_filters, FILTERS) if variant == "cyclegan" else (config.head_width, WIDTH)
    assert read == expected
    assert config.image_size_px == (SIDE if variant == "vgg16" else None)
    for network in loaded.nets.named().values():
        assert not any(module.training for module in network.modules())


def plain_losses(reference, real_a, real_b, lambda_cycle, lambda_identity):
    """Return the published losses, computed with separate passes in training mode."""
    g_ab, g_ba, d_a, d_b = (reference[n] for n in ("netG_A2B", "netG_B2A", "netD_A", "netD_B"))
    identity_b, identity_a = F.l1_loss(g_ab(real_b), real_b), F.l1_loss(g_ba(real_a), real_a)
    fake_b, fake_a = g_ab(real_a), g_ba(real_b)
    terms = {"loss_identity_a": identity_a, "loss_identity_b": identity_b}
    total = lambda_identity * (identity_a + identity_b)
    for direction, network, fake, label in (("ab", d_b, fake_b, 1), ("ba", d_a, fake_a, 0)):
        real, classes = network(fake)
        terms[f"loss_adv_{direction}"] = F.mse_loss(real, torch.ones_like(real))
        total = total + terms[f"loss_adv_{direction}"]
        if classes is not None:
            terms[f"loss_class_{direction}"] = F.cross_entropy(classes, torch.full((len(fake),), label))
            total = total + terms[f"loss_class_{direction}"]
    terms["loss_cycle_a"] = F.l1_loss(g_ba(fake_b), real_a)
    terms["loss_cycle_b"] = F.l1_loss(g_ab(fake_a), real_b)
    terms["loss_G"] = total + lambda_cycle * (terms["loss_cycle_a"] + terms["loss_cycle_b"])
    for side, network, real, fake, label in (("a", d_a, real_a, fake_a, 0), ("b", d_b, real_b, fake_b, 1)):
        (on_real, class_real), (on_fake, class_fake) = network(real), network(fake.detach())
        loss = F.mse_loss(on_real, torch.ones_like(on_real)) + F.mse_loss(on_fake, torch.zeros_like(on_fake))
        if class_real is not None:
            target = torch.full((len(real),), label)
            loss = loss + F.cross_entropy(class_real, target) + F.cross_entropy(class_fake, target)
        terms[f"loss_D_{side}"] = loss / 2
    return terms


def test_a_training_step_has_the_published_losses(pair):
    variant, reference, loaded = copy.deepcopy(pair)  # training changes networks that other tests read
    nets = loaded.nets.named()
    for network in (*reference.values(), *nets.values()):
        network.train()
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0  # removes the only random layer
    real_a, real_b = images(1), images(2)
    weights = (10.0, 1.0) if variant == "cyclegan" else (1.0, 1.0)
    with torch.no_grad():
        expected = plain_losses(reference, real_a, real_b, *weights)
    config = replace(loaded.config, step="reference")
    generators = [*nets["G_ab"].parameters(), *nets["G_ba"].parameters()]
    trained = (generators, nets["D_a"].parameters(), nets["D_b"].parameters())
    optimisers = Optimisers(*(torch.optim.SGD(p, lr=0.1) for p in trained))  # Adam's moments take most of the time
    train_state = TrainState(loaded.nets, optimisers, Pools(ImagePool(0, 0), ImagePool(0, 1)))
    got = ReferenceStep(train_state, config)(0, real_a, real_b)
    assert set(got) == set(expected)
    for name, value in expected.items():
        assert got[name].item() == pytest.approx(value.item(), abs=1e-5, rel=1e-5), name


def test_every_tensor_has_a_name(pair):
    _, reference, loaded = pair
    for name, own in {"netG_A2B": "G_ab", "netG_B2A": "G_ba", "netD_A": "D_a", "netD_B": "D_b"}.items():
        assert set(loaded.names[own]) == set(reference[name].state_dict())
        assert len(set(loaded.names[own].values())) == len(loaded.names[own])
    assert any(re.search("netD_A.*->", line) for line in loaded.summary)


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("resnet50", 23_508_032 + 2 * (2048 * 512 + 512) + 3 * 513),
        ("vgg16", 14_714_688 + 2 * (25_088 * 4096 + 4096 + 4096 * 4096 + 4096) + 3 * 4097),
        ("patchgan", 2_764_737),
    ],
)
def test_parameter_counts_match_the_published_networks(kind, parameters):
    with torch.device("meta"):
        constructors = {
            "resnet50": lambda: ResNet50(512),
            "vgg16": lambda: VGG16(4096, 49),
            "patchgan": lambda: PatchGAN(64),
        }
        plain = constructors[kind]()
        generator = Generator(TransferBlock, nn.BatchNorm2d, 64, 9)
    reading = read_discriminator(plain.state_dict())
    assert sum(p.numel() for p in reading.network.parameters()) == sum(p.numel() for p in plain.parameters())
    assert sum(p.numel() for p in plain.parameters()) == parameters
    if kind == "vgg16":
        assert reading.fields["image_size_px"] == 224
    reading = read_generator(generator.state_dict())
    assert reading.fields == {"filters": 64, "blocks": 9, "norm": "batch"}
    assert sum(p.numel() for p in reading.network.parameters()) == sum(p.numel() for p in generator.parameters())
