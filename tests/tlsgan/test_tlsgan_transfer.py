"""Transfer learning as factors: what trains, what the heads say, who has a label; and that each resumes exactly."""

import dataclasses
import math

import pytest
import torch
from helpers import FakeContext, Interrupt, two_class_data
from torch import nn

from bench.cost.step_profile import count_flops
from bench.errors import ConfigError
from tlsgan import accelerate, losses
from tlsgan.config import CycleGANConfig, TLSGANLite0Config, TLSGANLite0ScratchConfig, TLSGANResNet50Config
from tlsgan.data import UnpairedStream, labelled_share
from tlsgan.discriminators import TransferDiscriminator, Verdict, build_backbone, build_discriminator, feature_width
from tlsgan.freezing import freeze, stages
from tlsgan.networks import Networks, build_generator, build_networks, parameters_of
from tlsgan.trainer import labels, make_team, train

TINY = {"filters": 2, "blocks": 1, "head_width": 4, "batch_size": 2, "compile": "off"}
SORTED = TLSGANResNet50Config(head="classes_and_fake")
FACTORS = [
    {"trained_stages": 2, "lambda_class": 0.0},
    {"head": "classes_and_fake", "class_on_both": True, "label_fraction": 0.5, "pool_size": 3, "flip": True},
    {"step": "reference", "trained_stages": 0, "class_on_both": True, "label_fraction": 0.5},
]


def small_networks(config: CycleGANConfig) -> Networks:
    """Generators, and discriminators of two stages of a convolution with batch norm."""
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
    counts = {"steps": 6, "log_every": 2, "checkpoint_every": 5, "sample_every": 9}
    config = TLSGANResNet50Config(**{**TINY, **counts, **options})
    whole, broken = FakeContext(tmp_path / "whole"), FakeContext(tmp_path / "broken", interrupt_at=6)
    first = small_networks(config)
    train(config, first, *images, whole)
    second = small_networks(config)
    with pytest.raises(Interrupt):
        train(config, second, *images, broken)
    assert broken.checkpoint["step"] == 5
    broken.interrupt_at = None
    third = small_networks(config)
    torch.manual_seed(1)
    train(config, third, *images, broken)
    for name, net in first.named().items():
        resumed = third.named()[name].state_dict()
        assert all(torch.equal(v, resumed[k]) for k, v in net.state_dict().items()), name
    assert whole.history == broken.history


def test_stages_are_those_of_the_papers():
    with torch.device("meta"):
        found = {name: stages(build_backbone(name), name) for name in ("resnet50", "vgg16", "tf_efficientnet_lite0")}
        everything = {name: build_backbone(name) for name in found}
    assert {name: len(of) for name, of in found.items()} == {"resnet50": 5, "vgg16": 5, "tf_efficientnet_lite0": 8}
    for name, of in found.items():  # nothing is left over, nothing is there twice
        held = [p for stage in of for layer in stage for p in layer.parameters()]
        assert len({id(p) for p in held}) == len(held) == len(list(everything[name].parameters())), name
    assert [len(stage) for stage in found["vgg16"]] == [2, 2, 3, 3, 3]
    assert [layer.out_channels for layer in found["resnet50"][0] if isinstance(layer, nn.Conv2d)] == [64]
    assert [layer.out_channels for layer in found["tf_efficientnet_lite0"][-1] if isinstance(layer, nn.Conv2d)][
        -1
    ] == 1280


def test_more_stages_than_there_are_are_refused():
    with pytest.raises(ConfigError, match="trained_stages is 6, but vgg16 has 5 stages"), torch.device("meta"):
        freeze(build_backbone("vgg16"), "vgg16", 6)
    assert freeze(nn.Identity(), "whatever", None) == ()


@pytest.mark.parametrize(("step", "trained"), [("fast", 0), ("fast", 2), ("reference", 2)])
def test_frozen_layers_stay_as_they_are_and_the_others_learn(step, trained):
    torch.manual_seed(0)
    config = TLSGANLite0Config(**TINY, trained_stages=trained, step=step, learning_rate=1e-2)
    nets = build_networks(config, 32)
    team = make_team(config, nets, "cpu", 0)
    train_step, _ = accelerate.make_step(team, config, "cpu", 32, 2, None)
    before = {k: v.clone() for k, v in nets.D_a.state_dict().items()}
    train_step(0, *(torch.rand(2, 3, 32, 32) * 2 - 1 for _ in "ab"))
    changed = {k for k, v in nets.D_a.state_dict().items() if not torch.equal(v, before[k])}
    last = [f"backbone.{name}" for name in ("blocks.5", "blocks.6", "conv_head", "bn2")[: 4 * (trained > 0)]]
    free = {k for k in before if k.startswith("head_") or (trained and k.startswith(tuple(last)))}
    assert changed <= free, "weights and running statistics of frozen layers"
    assert {k for k in free if k.endswith("weight") and k.startswith("head_")} <= changed
    assert any(k.startswith("backbone") for k in changed) == (trained > 0)
    assert {id(p) for p in parameters_of(team.optimisers.D_a)} == {
        id(p) for k, p in nets.D_a.named_parameters() if k in free
    }
    assert all(p.grad is None for k, p in nets.D_a.named_parameters() if k not in free)
    assert all(p.requires_grad == (k in free) for k, p in nets.D_a.named_parameters())


def test_a_frozen_backbone_needs_no_second_image_and_is_what_imagenet_taught():
    """Batch norm in evaluation mode: an image is judged as if it were alone."""
    assert feature_width("tf_efficientnet_lite0", 32, 1, trained_stages=0) == 1280
    torch.manual_seed(0)
    network = build_discriminator(TLSGANLite0Config(head_width=4, batch_size=1, trained_stages=0), 32).train()
    two = torch.rand(2, 3, 32, 32) * 2 - 1
    torch.testing.assert_close(network.features(two)[:1], network.features(two[:1]), rtol=1e-3, atol=1e-4)
    assert network.head_real.training


def test_freezing_saves_work():
    """Multiplications of a step on real networks, counted: less when fewer layers train."""
    flops = []
    for trained in (None, 2, 0):
        config = TLSGANLite0Config(**TINY, trained_stages=trained)
        team = make_team(config, build_networks(config, 32), "cpu", 0)
        train_step, _ = accelerate.make_step(team, config, "cpu", 32, 2, None)
        batch = [torch.rand(2, 3, 32, 32) * 2 - 1 for _ in "ab"]
        flops.append(count_flops(lambda step=train_step, batch=batch: step(1, *batch)))
    assert flops[0] > flops[1] > flops[2]


def test_real_or_fake_alone_builds_no_class_head():
    network = build_discriminator(TLSGANLite0ScratchConfig(head_width=4, lambda_class=0.0), 64)
    assert not any("head_class" in name for name in network.state_dict())
    assert network.eval()(torch.zeros(1, 3, 64, 64)).classes is None


def head_of_three(logits: torch.Tensor) -> Verdict:
    """What the head 'classes_and_fake' says when its layer gives these logits [B, 3]."""
    network = TransferDiscriminator(nn.Flatten(), 3, 4, head="classes_and_fake").eval()
    network.head_class = nn.Identity()
    return network.heads(logits)


def test_one_head_of_classes_and_fake_by_hand():
    logits = torch.tensor([[2.0, -1.0, 0.5], [0.3, 0.1, 3.0]])
    p = logits.softmax(1)
    verdict = head_of_three(logits)
    torch.testing.assert_close(torch.sigmoid(verdict.real[:, 0]), 1 - p[:, 2])  # log-sum-exp of the classes - fake
    real, fake = (head_of_three(x) for x in logits.split(1))
    labelled = losses.discriminator(real, fake, 1, SORTED).item()
    assert labelled == pytest.approx((-math.log(p[0, 1]) - math.log(p[1, 2])) / 2, rel=1e-5)
    unlabelled = losses.discriminator(real, fake, 1, SORTED, torch.zeros(1)).item()
    assert unlabelled == pytest.approx((-math.log(1 - p[0, 2]) - math.log(p[1, 2])) / 2, rel=1e-5)
    wanted = losses.critics(fake, "ab", 1, SORTED)
    assert sum(wanted.values()).item() == pytest.approx(-math.log(p[1, 1]), rel=1e-5)


def test_classes_of_both_domains_by_hand():
    config = TLSGANResNet50Config(class_on_both=True)
    real = Verdict(torch.tensor([[1.0]]), torch.tensor([[2.0, 0.0]]))
    other = Verdict(torch.tensor([[0.3]]), torch.tensor([[1.0, 0.0]]))  # whether it is real is not asked
    fake = Verdict(torch.tensor([[0.0]]), torch.tensor([[0.0, 1.0]]))
    of_real, of_other = math.log(1 + math.e**-2), math.log(1 + math.e)  # D_a: real ones are of class 0, others of 1
    of_fake = math.log(1 + math.e)
    loss = losses.discriminator(real, fake, 0, config, None, other, None)
    assert loss.item() == pytest.approx(((of_real + of_other) / 2 + of_fake) / 2)
    unknown = losses.discriminator(real, fake, 0, config, torch.ones(1), other, torch.zeros(1))
    assert unknown.item() == pytest.approx((of_real / 2 + of_fake) / 2)


def test_a_labelled_image_weighs_the_same_whatever_the_others_are():
    logits = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    each = [losses.classification(logits[i : i + 1], 0).item() for i in (0, 1)]
    assert losses.classification(logits, 0, torch.tensor([1.0, 0.0])).item() == pytest.approx(each[0] / 2)
    assert losses.classification(logits, 0, torch.ones(2)).item() == losses.classification(logits, 0).item()
    assert losses.classification(logits, 0, torch.zeros(2)).item() == 0


def test_class_term_of_both_domains_teaches_classes():
    """As published a class head sees one label only, and says it of everything; on both domains it tells them apart."""
    data, right = two_class_data(16, 24), []
    for both in (False, True):
        torch.manual_seed(0)
        config = TLSGANResNet50Config(**TINY, class_on_both=both, learning_rate=1e-2, norm="instance", lambda_class=4.0)
        layers = [nn.Sequential(nn.AvgPool2d(8), nn.Flatten()) for _ in "ab"]
        heads = (TransferDiscriminator(backbone, 27, 8, dropout=0.0) for backbone in layers)
        nets = Networks(build_generator(config), build_generator(config), *heads)
        team = make_team(config, nets, "cpu", 0)
        train_step, _ = accelerate.make_step(team, config, "cpu", 24, 60, None)
        domains = [torch.from_numpy(data.images()[data.labels == y]).permute(0, 3, 1, 2).contiguous() for y in (0, 1)]
        stream = UnpairedStream(*domains, 2, False, (1, 2))
        for i in range(40):
            train_step(i, *stream.next())
        said = [nets.D_a(x.float() / 127.5 - 1).classes.argmax(1) for x in domains]
        right.append([(s == y).float().mean().item() for y, s in enumerate(said)])
    assert right[0] == [1.0, 0.0]
    assert min(right[1]) > 0.8


@pytest.mark.parametrize(("count", "fraction", "known"), [(40, 0.25, 10), (40, 1.0, 40), (3, 0.01, 1), (10, 0.26, 3)])
def test_a_share_of_each_domain_is_labelled(count, fraction, known):
    mask = labelled_share(count, fraction, 7)
    assert (mask.sum().item(), set(mask.tolist()) <= {0.0, 1.0}) == (known, True)
    assert torch.equal(mask, labelled_share(count, fraction, 7))
    if known < count and count > 10:
        assert not torch.equal(mask, labelled_share(count, fraction, 8))


def test_masks_follow_their_images():
    a = torch.arange(8, dtype=torch.uint8).view(8, 1, 1, 1).expand(8, 3, 2, 2)
    known = (torch.arange(8) % 2).float()
    stream = UnpairedStream(a, a, 2, True, (1, 2), (known, 1 - known))
    for _ in range(9):
        real_a, real_b, labelled_a, labelled_b = stream.next()
        for real, labelled, odd in ((real_a, labelled_a, 1), (real_b, labelled_b, 0)):
            numbers = ((real[:, 0, 0, 0] + 1) * 127.5).round().long()
            assert labelled.tolist() == [float(n % 2 == odd) for n in numbers.tolist()]


def test_labels_are_drawn_from_the_seed_and_only_where_some_are_missing():
    domains = (torch.zeros(20, 1), torch.zeros(40, 1))
    config = TLSGANLite0Config(label_fraction=0.25)
    a, b = labels(config, domains, 3)
    assert (a.sum(), b.sum()) == (5, 10)
    assert torch.equal(b, labels(config, domains, 3)[1])
    assert not torch.equal(b, labels(config, domains, 4)[1])
    assert labels(TLSGANLite0Config(), domains, 3) is None


@pytest.mark.parametrize("pool_size", [0, 3])
def test_a_recorded_step_is_given_the_masks(pool_size, monkeypatch):
    """Without a graph: what is recorded is called with all of a batch, and computes what the step as it is does."""

    class Called:
        def __init__(self, function, *inputs):
            self.function, self.count = function, len(inputs)

        def __call__(self, *inputs):
            assert len(inputs) == self.count
            return self.function(*inputs)

    monkeypatch.setattr(accelerate, "Recorded", Called)
    options = {"head": "classes_and_fake", "class_on_both": True, "label_fraction": 0.5, "pool_size": pool_size}
    config = TLSGANResNet50Config(**TINY, **options)
    histories = []
    for way in (accelerate.EAGER, accelerate.GRAPHS):
        builder = accelerate.Builder(make_team(config, small_networks(config), "cpu", 0), config, "cpu", 32)
        assert len(builder._images()) == 4
        step = builder._build(way)
        for optimiser in builder.team.optimisers.named().values():
            for group in optimiser.param_groups:  # what only CUDA knows
                group.update(lr=config.learning_rate, capturable=False)
        torch.manual_seed(2)
        histories.append([])
        for i in range(3):
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
def test_what_makes_no_sense_is_named(cls, bad):
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
def test_a_factor_that_changes_the_work_is_measured_for_itself(change):
    plain = TLSGANLite0Config(**TINY)
    team = make_team(plain, build_networks(CycleGANConfig(filters=2, blocks=1, disc_filters=2), 32), "cpu", 0)
    keys = [
        accelerate.shape_key(accelerate.Builder(team, c, "cpu", 32))
        for c in (plain, dataclasses.replace(plain, **change))
    ]
    assert keys[0] != keys[1]
