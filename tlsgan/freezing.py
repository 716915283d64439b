"""Stages of a backbone, and freezing of the first ones.

The first layers of a network learn general image features, the last ones features of their task (Yosinski et al. 2014),
so the last ones train. In discriminators: "Freeze the Discriminator" (Mo et al. 2020) freezes lower layers, Projected
GANs (Sauer et al. 2021) the whole backbone. Here whole stages are frozen, with their batch norm statistics.
"""

from __future__ import annotations

from torch import nn

from bench.errors import ConfigError

Stage = list[nn.Module]
RESNET_STAGES = (("conv1", "bn1"), ("layer1",), ("layer2",), ("layer3",), ("layer4",))


def stages(backbone: nn.Module, name: str) -> list[Stage]:
    """Return all layers with weights of a backbone by stage, in the order from the input.

    - resnet50: five (He et al. 2016, table 1): conv1 with its norm, layer1 (conv2_x), …, layer4 (conv5_x).
    - vgg16: five (Simonyan & Zisserman 2015, table 1): the convolutions between two pooling layers.
    - timm's networks: the coarse groups of timm. An EfficientNet has eight: the stem, blocks.0, …, blocks.6 (the last
      with the convolution after it), stages 1 to 8 of Tan & Le 2019, table 1.

    Raises ``ConfigError`` for a timm network without groups.
    """
    if name == "resnet50":
        return [[backbone.get_submodule(layer) for layer in stage] for stage in RESNET_STAGES]
    if name == "vgg16":
        return _between_poolings(backbone)
    from timm.models import group_modules

    matcher = getattr(backbone, "group_matcher", None)
    if matcher is None:
        raise ConfigError(f"timm defines no stages for {name!r}; set trained_stages to null (all layers train)")
    names = group_modules(backbone, matcher(coarse=True)).values()
    return [[backbone.get_submodule(layer) for layer in stage] for stage in names]


def freeze(backbone: nn.Module, name: str, trained_stages: int | None) -> tuple[nn.Module, ...]:
    """Freeze all but the last ``trained_stages`` stages (None: freeze nothing), and return the frozen layers.

    Frozen weights have no gradient. After ``train()`` the caller must set these layers to evaluation mode again, in
    which batch norm uses its running statistics and does not update them. Raises ``ConfigError`` when the backbone has
    fewer stages.
    """
    if trained_stages is None:
        return ()
    all_stages = stages(backbone, name)
    if trained_stages > len(all_stages):
        raise ConfigError(f"trained_stages is {trained_stages}, but {name} has {len(all_stages)} stages with its stem")
    layers = tuple(layer for stage in all_stages[: len(all_stages) - trained_stages] for layer in stage)
    for layer in layers:
        layer.requires_grad_(False).eval()
    return layers


def _between_poolings(backbone: nn.Module) -> list[Stage]:
    groups: list[Stage] = [[]]
    for layer in backbone.children():
        if isinstance(layer, nn.MaxPool2d):
            groups.append([])
        elif isinstance(layer, nn.Conv2d):
            groups[-1].append(layer)
    return [stage for stage in groups if stage]
