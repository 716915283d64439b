"""Stages of the backbones and freezing: what trains, and that it saves work."""

import pytest
import torch
from torch import nn

from bench.errors import ConfigError
from bench.forecast.step_profile import count_flops
from tlsgan import accelerate
from tlsgan.config import TLSGANLite0Config
from tlsgan.discriminators import build_backbone, build_discriminator, feature_width
from tlsgan.freezing import freeze, stages
from tlsgan.networks import build_networks, parameters_of
from tlsgan.trainer import make_train_state

TINY = {"filters": 2, "blocks": 1, "head_width": 4, "batch_size": 2, "compile": "off"}


def test_stages_match_the_papers():
    with torch.device("meta"):
        groups = {name: stages(build_backbone(name), name) for name in ("resnet50", "vgg16", "tf_efficientnet_lite0")}
        backbones = {name: build_backbone(name) for name in groups}
    assert {name: len(group) for name, group in groups.items()} == {
        "resnet50": 5,
        "vgg16": 5,
        "tf_efficientnet_lite0": 8,
    }
    for name, group in groups.items():  # every parameter is in exactly one stage
        parameters = [p for stage in group for layer in stage for p in layer.parameters()]
        assert len({id(p) for p in parameters}) == len(parameters) == len(list(backbones[name].parameters())), name
    assert [len(stage) for stage in groups["vgg16"]] == [2, 2, 3, 3, 3]
    assert [layer.out_channels for layer in groups["resnet50"][0] if isinstance(layer, nn.Conv2d)] == [64]
    assert [layer.out_channels for layer in groups["tf_efficientnet_lite0"][-1] if isinstance(layer, nn.Conv2d)][
        -1
    ] == 1280


def test_too_many_stages_raise_an_error():
    with pytest.raises(ConfigError, match="trained_stages is 6, but vgg16 has 5 stages"), torch.device("meta"):
        freeze(build_backbone("vgg16"), "vgg16", 6)
    assert freeze(nn.Identity(), "whatever", None) == ()


@pytest.mark.parametrize(("step", "trained"), [("fast", 0), ("fast", 2), ("reference", 2)])
def test_frozen_layers_do_not_change_and_the_others_train(step, trained):
    torch.manual_seed(0)
    config = TLSGANLite0Config(**TINY, trained_stages=trained, step=step, learning_rate=1e-2)
    nets = build_networks(config, 32)
    train_state = make_train_state(config, nets, "cpu", 0)
    train_step, _ = accelerate.make_step(train_state, config, "cpu", 32, 2, None)
    before = {k: v.clone() for k, v in nets.D_a.state_dict().items()}
    train_step(0, *(torch.rand(2, 3, 32, 32) * 2 - 1 for _ in "ab"))
    changed = {k for k, v in nets.D_a.state_dict().items() if not torch.equal(v, before[k])}
    last = [f"backbone.{name}" for name in ("blocks.5", "blocks.6", "conv_head", "bn2")[: 4 * (trained > 0)]]
    trainable = {k for k in before if k.startswith("head_") or (trained and k.startswith(tuple(last)))}
    assert changed <= trainable, "weights or running statistics of frozen layers changed"
    assert {k for k in trainable if k.endswith("weight") and k.startswith("head_")} <= changed
    assert any(k.startswith("backbone") for k in changed) == (trained > 0)
    assert {id(p) for p in parameters_of(train_state.optimisers.D_a)} == {
        id(p) for k, p in nets.D_a.named_parameters() if k in trainable
    }
    assert all(p.grad is None for k, p in nets.D_a.named_parameters() if k not in trainable)
    assert all(p.requires_grad == (k in trainable) for k, p in nets.D_a.named_parameters())


def test_a_frozen_backbone_uses_imagenet_statistics_and_accepts_one_image():
    """In evaluation mode batch norm does not mix the images of a batch."""
    assert feature_width("tf_efficientnet_lite0", 32, 1, trained_stages=0) == 1280
    torch.manual_seed(0)
    network = build_discriminator(TLSGANLite0Config(head_width=4, batch_size=1, trained_stages=0), 32).train()
    two = torch.rand(2, 3, 32, 32) * 2 - 1
    torch.testing.assert_close(network.features(two)[:1], network.features(two[:1]), rtol=1e-3, atol=1e-4)
    assert network.head_real.training


def test_freezing_reduces_multiplications():
    """Count the multiplications of a step on full networks."""
    flops = []
    for trained in (None, 2, 0):
        config = TLSGANLite0Config(**TINY, trained_stages=trained)
        train_state = make_train_state(config, build_networks(config, 32), "cpu", 0)
        train_step, _ = accelerate.make_step(train_state, config, "cpu", 32, 2, None)
        batch = [torch.rand(2, 3, 32, 32) * 2 - 1 for _ in "ab"]
        flops.append(count_flops(lambda step=train_step, batch=batch: step(1, *batch)))
    assert flops[0] > flops[1] > flops[2]
