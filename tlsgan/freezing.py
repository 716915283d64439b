"""Which of a backbone's layers train: its stages, and freezing the first of them.

The first layers of a network see what all pictures have in common, the last ones what their task was about (Yosinski et
al. 2014), so the last ones are let go on learning. In discriminators: "Freeze the Discriminator" (Mo et al. 2020),
lower layers frozen; Projected GANs (Sauer et al. 2021), all of the backbone frozen.
"""

from __future__ import annotations

from torch import nn

from bench.errors import ConfigError

Stage = list[nn.Module]
RESNET_STAGES = (("conv1", "bn1"), ("layer1",), ("layer2",), ("layer3",), ("layer4",))


def stages(backbone: nn.Module, name: str) -> list[Stage]:
    """Return the layers with weights of a backbone, stage by stage, the input's first. Together they are all of it.

    - resnet50, five (He et al. 2016, table 1): conv1 with its norm, layer1 (conv2_x), …, layer4 (conv5_x).
    - vgg16, five (Simonyan & Zisserman 2015, table 1): the convolutions between two poolings.
    - timm's networks: what timm calls their coarse groups; of an EfficientNet eight, the stem, blocks.0, …, blocks.6
      (the last with the head's convolution), stages 1 to 8 of Tan & Le 2019, table 1.

    Raises ``ConfigError`` for a timm network that names no groups.
    """
    if name == "resnet50":
        return [[backbone.get_submodule(layer) for layer in stage] for stage in RESNET_STAGES]
    if name == "vgg16":
        return _between_poolings(backbone)
    from timm.models import group_modules

    matcher = getattr(backbone, "group_matcher", None)
    if matcher is None:
        raise ConfigError(f"timm knows no stages of {name!r}: trained_stages must be null (all) for it")
    names = group_modules(backbone, matcher(coarse=True)).values()
    return [[backbone.get_submodule(layer) for layer in stage] for stage in names]


def freeze(backbone: nn.Module, name: str, trained_stages: int | None) -> tuple[nn.Module, ...]:
    """Let the last ``trained_stages`` stages train (None: all), and return the layers of the others.

    No gradient is computed by a frozen layer's weights; whoever calls ``train()`` must put these layers back in
    evaluation mode, in which a batch norm uses its running statistics and leaves them as they are. Raises
    ``ConfigError`` when there are fewer stages.
    """
    if trained_stages is None:
        return ()
    found = stages(backbone, name)
    if trained_stages > len(found):
        raise ConfigError(f"trained_stages is {trained_stages}, but {name} has {len(found)} stages, its stem included")
    layers = tuple(layer for stage in found[: len(found) - trained_stages] for layer in stage)
    for layer in layers:
        layer.requires_grad_(False).eval()
    return layers


def _between_poolings(backbone: nn.Module) -> list[Stage]:
    found: list[Stage] = [[]]
    for layer in backbone.children():
        if isinstance(layer, nn.MaxPool2d):
            found.append([])
        elif isinstance(layer, nn.Conv2d):
            found[-1].append(layer)
    return [stage for stage in found if stage]
