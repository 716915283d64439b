"""Components of transfer learning: frozen layers, heads and label masks; each resumes exactly."""

import dataclasses
import math

import pytest
import torch
from helpers import FakeContext, Interrupt, two_class_data
from torch import nn

from bench.errors import ConfigError
from tlsgan import accelerate, cuda_graphs, losses
from tlsgan.config import CycleGANConfig, TLSGANLite0Config, TLSGANLite0ScratchConfig, TLSGANResNet50Config
from tlsgan.data import UnpairedStream, labelled_share
from tlsgan.discriminators import (
    DiscriminatorOutput,
    TransferDiscriminator,
    build_discriminator,
)
from tlsgan.networks import Networks, build_generator, build_networks
from tlsgan.trainer import labels, make_train_state, train

TINY = {"filters": 2, "blocks": 1, "head_width": 4, "batch_size": 2, "compile": "off"}
SORTED = TLSGANResNet50Config(head="classes_and_fake")
FACTORS = [
    {"trained_stages": 2, "lambda_class": 0.0},
    {"head": "classes_and_fake", "class_on_both": True, "label_fraction": 0.5, "pool_size": 3, "flip": True},
    {"step": "reference", "trained_stages": 0, "class_on_both": True, "label_fraction": 0.5},
]


def small_networks(config: CycleGANConfig) -> Networks:
    """Return generators, and discriminators with two stages of a convolution with batch norm."""
    torch.manual_seed(0)
    discriminators = []
    for _ in "ab":
        stages = [nn.Sequential(nn.Conv2d(i, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU()) for i in (3, 4)]
        frozen = stages[: 2 - (2 if config.trained_stages is None else config.trained_stages)]
        for stage in frozen:
            stage.requires_grad_(False)
        backbone, head = nn.Sequential(*stages), config.head if config.lambda_class else None
        discriminators.append(TransferDiscriminator(backbone, 4 * 8 * 8, 4, head=head, frozen=frozen))
    return Networks(build_generator(config), build_generator(config), *discriminators)


@pytest.mark.parametrize("options", FACTORS, ids=str)
def test_resumed_equals_uninterrupted(options, tmp_path):
    data = two_class_data(12, 32)
    images = [data.images()[data.labels == y] for y in (0, 1)]
    counts = {"steps": 4, "log_every": 2, "checkpoint_every": 3, "sample_every": 9}
    config = TLSGANResNet50Config(**{**TINY, **counts, **options})
    whole, broken = FakeContext(tmp_path / "whole"), FakeContext(tmp_path / "broken", interrupt_at=4)
    first = small_networks(config)
    train(config, first, *images, whole)
    second = small_networks(config)
    with pytest.raises(Interrupt):
        train(config, second, *images, broken)
    assert broken.checkpoint["step"] == 3
    broken.interrupt_at = None
    third = small_networks(config)
    torch.manual_seed(1)
    train(config, third, *images, broken)
    for name, net in first.named().items():
        resumed = third.named()[name].state_dict()
        assert all(torch.equal(v, resumed[k]) for k, v in net.state_dict().items()), name
    assert whole.history == broken.history


def test_no_class_head_is_built_at_lambda_class_zero():
    config = TLSGANLite0ScratchConfig(discriminator="test_resnet", head_width=4, lambda_class=0.0)
    network = build_discriminator(config, 64)
    assert not any("head_class" in name for name in network.state_dict())
    assert network.eval()(torch.zeros(1, 3, 64, 64)).classes is None


def head_of_three(logits: torch.Tensor) -> DiscriminatorOutput:
    """Return the output of the head 'classes_and_fake' for logits [B, 3]."""
    network = TransferDiscriminator(nn.Flatten(), 3, 4, head="classes_and_fake").eval()
    network.head_class = nn.Identity()
    return network.heads(logits)


def test_one_head_of_classes_and_fake_by_hand():
    logits = torch.tensor([[2.0, -1.0, 0.5], [0.3, 0.1, 3.0]])
    p = logits.softmax(1)
    output = head_of_three(logits)
    torch.testing.assert_close(torch.sigmoid(output.real[:, 0]), 1 - p[:, 2])  # log-sum-exp of the classes - fake
    real, fake = (head_of_three(x) for x in logits.split(1))
    labelled = losses.discriminator(real, fake, 1, SORTED).item()
    assert labelled == pytest.approx((-math.log(p[0, 1]) - math.log(p[1, 2])) / 2, rel=1e-5)
    unlabelled = losses.discriminator(real, fake, 1, SORTED, torch.zeros(1)).item()
    assert unlabelled == pytest.approx((-math.log(1 - p[0, 2]) - math.log(p[1, 2])) / 2, rel=1e-5)
    terms = losses.generator_terms(fake, "ab", 1, SORTED)
    assert sum(terms.values()).item() == pytest.approx(-math.log(p[1, 1]), rel=1e-5)


def test_classes_of_both_domains_by_hand():
    config = TLSGANResNet50Config(class_on_both=True)
    real = DiscriminatorOutput(torch.tensor([[1.0]]), torch.tensor([[2.0, 0.0]]))
    other = DiscriminatorOutput(torch.tensor([[0.3]]), torch.tensor([[1.0, 0.0]]))  # its real output is not used
    fake = DiscriminatorOutput(torch.tensor([[0.0]]), torch.tensor([[0.0, 1.0]]))
    # labels for D_a: real images of its domain class 0, of the other domain class 1
    of_real, of_other = math.log(1 + math.e**-2), math.log(1 + math.e)
    of_fake = math.log(1 + math.e)
    loss = losses.discriminator(real, fake, 0, config, None, other, None)
    assert loss.item() == pytest.approx(((of_real + of_other) / 2 + of_fake) / 2)
    unknown = losses.discriminator(real, fake, 0, config, torch.ones(1), other, torch.zeros(1))
    assert unknown.item() == pytest.approx((of_real / 2 + of_fake) / 2)


def test_the_weight_of_a_labelled_image_does_not_depend_on_the_others():
    logits = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    each = [losses.classification(logits[i : i + 1], 0).item() for i in (0, 1)]
    assert losses.classification(logits, 0, torch.tensor([1.0, 0.0])).item() == pytest.approx(each[0] / 2)
    assert losses.classification(logits, 0, torch.ones(2)).item() == losses.classification(logits, 0).item()
    assert losses.classification(logits, 0, torch.zeros(2)).item() == 0


def test_class_on_both_trains_a_useful_class_head():
    """A published class head gets one label and always predicts it; with both domains it separates the classes."""
    data, accuracies = two_class_data(8, 24), []
    for both in (False, True):
        torch.manual_seed(0)
        config = TLSGANResNet50Config(**TINY, class_on_both=both, learning_rate=2e-2, norm="instance", lambda_class=4.0)
        layers = [nn.Sequential(nn.AvgPool2d(8), nn.Flatten()) for _ in "ab"]
        heads = (TransferDiscriminator(backbone, 27, 8, dropout=0.0) for backbone in layers)
        nets = Networks(build_generator(config), build_generator(config), *heads)
        train_state = make_train_state(config, nets, "cpu", 0)
        train_step, _ = accelerate.make_step(train_state, config, "cpu", 24, 60, None)
        domains = [torch.from_numpy(data.images()[data.labels == y]).permute(0, 3, 1, 2).contiguous() for y in (0, 1)]
        stream = UnpairedStream(*domains, 2, False, (1, 2))
        for i in range(20):
            train_step(i, *stream.next())
        predicted = [nets.D_a(x.float() / 127.5 - 1).classes.argmax(1) for x in domains]
        accuracies.append([(p == y).float().mean().item() for y, p in enumerate(predicted)])
    assert accuracies[0] == [1.0, 0.0]
    assert min(accuracies[1]) > 0.8


@pytest.mark.parametrize(("count", "fraction", "known"), [(40, 0.25, 10), (40, 1.0, 40), (3, 0.01, 1), (10, 0.26, 3)])
def test_a_share_of_each_domain_is_labelled(count, fraction, known):
    mask = labelled_share(count, fraction, 7)
    assert (mask.sum().item(), set(mask.tolist()) <= {0.0, 1.0}) == (known, True)
    assert torch.equal(mask, labelled_share(count, fraction, 7))
    if known < count and count > 10:
        assert not torch.equal(mask, labelled_share(count, fraction, 8))


def test_masks_have_the_order_of_their_images():
    a = torch.arange(8, dtype=torch.uint8).view(8, 1, 1, 1).expand(8, 3, 2, 2)
    known = (torch.arange(8) % 2).float()
    stream = UnpairedStream(a, a, 2, True, (1, 2), (known, 1 - known))
    for _ in range(9):
        real_a, real_b, labelled_a, labelled_b = stream.next()
        for real, labelled, odd in ((real_a, labelled_a, 1), (real_b, labelled_b, 0)):
            numbers = ((real[:, 0, 0, 0] + 1) * 127.5).round().long()
            assert labelled.tolist() == [float(n % 2 == odd) for n in numbers.tolist()]


def test_label_masks_depend_on_the_seed_and_exist_only_below_a_fraction_of_one():
    domains = (torch.zeros(20, 1), torch.zeros(40, 1))
    config = TLSGANLite0Config(label_fraction=0.25)
    a, b = labels(config, domains, 3)
    assert (a.sum(), b.sum()) == (5, 10)
    assert torch.equal(b, labels(config, domains, 3)[1])
    assert not torch.equal(b, labels(config, domains, 4)[1])
    assert labels(TLSGANLite0Config(), domains, 3) is None


@pytest.mark.parametrize("pool_size", [0, 3])
def test_a_recorded_step_gets_the_masks(pool_size, monkeypatch):
    """Without CUDA: recorded functions are called with the whole batch and compute what the eager step computes."""

    class Called:
        def __init__(self, function, *inputs):
            self.function, self.count = function, len(inputs)

        def __call__(self, *inputs):
            assert len(inputs) == self.count
            return self.function(*inputs)

    monkeypatch.setattr(cuda_graphs, "Recorded", Called)
    options = {"head": "classes_and_fake", "class_on_both": True, "label_fraction": 0.5, "pool_size": pool_size}
    config = TLSGANResNet50Config(**TINY, **options)
    histories = []
    for mode in (accelerate.EAGER, accelerate.GRAPHS):
        builder = accelerate.Builder(make_train_state(config, small_networks(config), "cpu", 0), config, "cpu", 32)
        assert len(builder._images()) == 4
        step = builder._build(mode)
        for optimiser in builder.train_state.optimisers.named().values():
            for group in optimiser.param_groups:  # settings for CUDA only
                group.update(lr=config.learning_rate, capturable=False)
        torch.manual_seed(2)
        histories.append([])
        for i in range(2):
            batch = [*(torch.rand(2, 3, 32, 32) * 2 - 1 for _ in "ab"), *(torch.tensor([1.0, i % 2]) for _ in "ab")]
            histories[-1].append({k: v.item() for k, v in step(i, *batch).items()})
    assert histories[0] == histories[1]


@pytest.mark.parametrize(
    ("cls", "bad"),
    [
        (CycleGANConfig, {"trained_stages": 1}),
        (CycleGANConfig, {"head": "classes_and_fake"}),
        (CycleGANConfig, {"class_on_both": True}),
        (CycleGANConfig, {"label_fraction": 0.5}),
        (TLSGANLite0ScratchConfig, {"trained_stages": 0}),
        (TLSGANLite0Config, {"trained_stages": -1}),
        (TLSGANLite0Config, {"label_fraction": 0.0}),
        (TLSGANLite0Config, {"label_fraction": 1.5}),
        (TLSGANLite0Config, {"label_fraction": 0.5, "lambda_class": 0.0}),
        (TLSGANLite0Config, {"head": "classes_and_fake", "lambda_class": 0.0}),
        (TLSGANLite0Config, {"class_on_both": True, "lambda_class": 0.0}),
        (TLSGANLite0Config, {"head": "three_heads"}),
    ],
    ids=str,
)
def test_invalid_combinations_raise_an_error_with_the_field(cls, bad):
    with pytest.raises(ConfigError, match=f"{next(iter(bad))} is "):
        cls(**bad)


@pytest.mark.parametrize(
    "change",
    [
        {"trained_stages": 0},
        {"head": "classes_and_fake"},
        {"class_on_both": True},
        {"label_fraction": 0.5},
        {"lambda_class": 0.0},
    ],
    ids=str,
)
def test_options_that_change_the_time_have_a_separate_measurement(change):
    plain = TLSGANLite0Config(**TINY)
    train_state = make_train_state(
        plain, build_networks(CycleGANConfig(filters=2, blocks=1, disc_filters=2), 32), "cpu", 0
    )
    keys = [
        accelerate.shape_key(accelerate.Builder(train_state, c, "cpu", 32))
        for c in (plain, dataclasses.replace(plain, **change))
    ]
    assert keys[0] != keys[1]
