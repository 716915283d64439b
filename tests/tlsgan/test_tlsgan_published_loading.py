"""Published checkpoints: choice of files, mapping of names, errors, and use as a method."""

import json
import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from helpers import FakeContext, two_class_data
from torch import nn

from bench.errors import ConfigError, WeightsError
from tlsgan.augmenter import CycleGAN
from tlsgan.config import CycleGANConfig
from tlsgan.data import to_device, to_float, to_uint8
from tlsgan.discriminators import PatchGAN
from tlsgan.generators import ResNetGenerator
from tlsgan.published.checkpoint import convert, find_checkpoint, load_networks
from tlsgan.published.names import read_discriminator, read_generator

NAMES = ("netG_A2B", "netG_B2A", "netD_A", "netD_B")


def generator_state(norm="instance", layout="block", filters=4, blocks=2, seed=0):
    torch.manual_seed(seed)
    state = ResNetGenerator(filters, blocks, norm).state_dict()
    return {name.replace(".conv_block.", f".{layout}."): tensor for name, tensor in state.items()}


def patchgan_state(filters=4):
    return {name.replace("model.", "net."): tensor for name, tensor in PatchGAN(filters).state_dict().items()}


def write(folder: Path, epoch=24, **states):
    """Save the four published files; keyword arguments replace state dicts."""
    folder.mkdir(exist_ok=True)
    networks = {"netG_A2B": generator_state(seed=1), "netG_B2A": generator_state(seed=2)}
    networks |= {"netD_A": patchgan_state(), "netD_B": patchgan_state(), **states}
    for name, state in networks.items():
        torch.save(state, folder / f"{name}_epoch_{epoch}.pth")
    return folder


# --- choice of files ---


def test_the_largest_epoch_number_is_the_default(tmp_path):
    for epoch in (3, 24, 9):
        write(tmp_path, epoch)
    (tmp_path / "notes_epoch_99.pth").touch()
    assert find_checkpoint(tmp_path).epoch == 24
    chosen = find_checkpoint(tmp_path, 9)
    assert chosen.paths["D_b"] == tmp_path / "netD_B_epoch_9.pth"


def test_the_error_of_an_incomplete_epoch_lists_missing_files_and_complete_epochs(tmp_path):
    write(tmp_path, 3)
    write(tmp_path, 24)
    (tmp_path / "netG_B2A_epoch_24.pth").unlink()
    with pytest.raises(WeightsError, match=r"lacks netG_B2A_epoch_24\.pth; complete epochs there: 3;"):
        find_checkpoint(tmp_path)


@pytest.mark.parametrize("folder", ["empty", "absent"])
def test_the_error_of_a_folder_without_checkpoints_lists_expected_files(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match=r"no published checkpoint in .*netG_A2B_epoch_<n>\.pth"):
        load_networks(tmp_path / folder)


# --- mapping of names ---


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("layout", ["block", "conv_block"])
def test_layout_norm_and_size_are_read_from_the_tensors(norm, layout):
    reading = read_generator(generator_state(norm, layout, 6, 3))
    assert reading.fields == {"filters": 6, "blocks": 3, "norm": norm}
    assert reading.names[f"model.11.{layout}.5.bias"] == "model.11.conv_block.5.bias"


def test_data_parallel_prefix_is_removed(tmp_path):
    def wrapped(state):
        return {f"module.{name}": tensor for name, tensor in state.items()}

    plain = write(tmp_path / "plain")
    parallel = write(tmp_path / "parallel", netG_A2B=wrapped(generator_state(seed=1)), netD_B=wrapped(patchgan_state()))
    a, b = (load_networks(folder).nets.G_ab.state_dict() for folder in (plain, parallel))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_half_precision_is_read_as_float32(tmp_path):
    halved = {name: tensor.half() for name, tensor in generator_state(seed=1).items()}
    loaded = load_networks(write(tmp_path, netG_A2B=halved)).nets.G_ab
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}


def heads(width, features, hidden=1, outputs=(1, 2)):
    def one(last):
        sizes = [features, *[width] * hidden]
        layers = [[nn.Linear(a, b), nn.ReLU(), nn.Dropout()] for a, b in pairwise(sizes)]
        return nn.Sequential(*[layer for three in layers for layer in three], nn.Linear(width, last))

    return [one(last) for last in outputs]


def meta_state(kind, layout, **head):
    """Return the state dict, without values, of a two-headed discriminator in one of several layouts."""
    with torch.device("meta"):
        module, network = nn.Module(), torchvision.models.get_model(kind, weights=None)
        features = 2048 if kind == "resnet50" else 512 * 49
        real, classes = heads(8, features, hidden=1 if kind == "resnet50" else 2, **head)
    if layout == "heads first":
        module.classes, module.real = classes, real
    if kind == "vgg16":
        module.extractor = (
            nn.Sequential(network.features, network.avgpool) if layout == "children" else network.features
        )
    elif layout == "children":
        module.extractor = nn.Sequential(*list(network.children())[:-1])
    else:
        network.fc = nn.Identity()
        module.extractor = network
    if layout == "flat":
        for i, layer in enumerate(m for part in (real, classes) for m in part if isinstance(m, nn.Linear)):
            setattr(module, f"fc{i + 1}", layer)
    elif layout != "heads first":
        module.real, module.classes = real, classes
    return module.state_dict()


@pytest.mark.parametrize("kind", ["resnet50", "vgg16"])
@pytest.mark.parametrize("layout", ["named", "children", "heads first", "flat"])
def test_discriminators_are_identified_by_order_and_shape(kind, layout):
    reading = read_discriminator(meta_state(kind, layout))
    assert reading.fields["discriminator"] == kind
    assert reading.fields["head_width"] == 8
    last = 3 if kind == "resnet50" else 6
    ends = {own: published for published, own in reading.names.items() if own.startswith("head_")}
    flat = (f"fc{last // 3 + 1}", f"fc{2 * (last // 3 + 1)}")
    expected = flat if layout == "flat" else (f"real.{last}", f"classes.{last}")
    assert (ends[f"head_real.{last}.weight"], ends[f"head_class.{last}.weight"]) == tuple(
        f"{name}.weight" for name in expected
    )
    if kind == "resnet50":
        stage = "extractor.7.2.bn3" if layout == "children" else "extractor.layer4.2.bn3"
        assert reading.names[f"{stage}.running_var"] == "backbone.layer4.2.bn3.running_var"
    assert any("-> head_real.0" in line for line in reading.summary)


# --- errors ---


def test_one_error_lists_all_mismatches(tmp_path):
    lacking, wider = generator_state("batch", "conv_block"), generator_state()
    del lacking["model.2.running_var"], lacking["model.11.conv_block.5.bias"]
    wider["model.4.bias"] = torch.zeros(5)
    extra = patchgan_state() | {"net.3.weight": torch.ones(8)}
    folder = write(tmp_path, netG_A2B=lacking, netG_B2A=wider, netD_A=extra, netD_B=generator_state())
    with pytest.raises(WeightsError) as caught:
        load_networks(folder)
    lines = str(caught.value).splitlines()
    assert lines[1] == (
        "netG_A2B_epoch_24.pth: read as a generator of 4 filters, 2 residual blocks, batch norm: "
        "missing: model.2.running_var, model.11.conv_block.5.bias"
    )
    assert lines[2].endswith("instance norm: wrong shape: model.4.bias (5,) instead of (8,)")
    assert lines[3].startswith(
        "netD_A_epoch_24.pth: read as a PatchGAN of 4 filters: 6 layers with weights, expected 5"
    )
    assert lines[4].startswith(
        "netD_B_epoch_24.pth: unknown discriminator: its first convolution is model.1.weight [4, 3"
    )
    assert "torch.save(net.state_dict(), file)" in lines[5]
    assert len(lines) == 6


def test_unexpected_tensors_raise_an_error():
    with pytest.raises(WeightsError, match=r"instance norm: unexpected: model\.2\.weight"):
        read_generator(generator_state() | {"model.2.weight": torch.ones(4)})
    mixed = generator_state()
    mixed["model.11.conv_block.1.weight"] = mixed.pop("model.11.block.1.weight")
    with pytest.raises(WeightsError, match=r"missing: .*model\.10\.conv_block.*unexpected: .*model\.10\.block"):
        read_generator(mixed)


@pytest.mark.parametrize("state", [{}, {"main.1.weight": torch.zeros(4, 3, 7, 7)}, {"model.1.weight": torch.zeros(4)}])
def test_a_file_without_a_generator_raises_an_error(state):
    with pytest.raises(WeightsError, match=r"not a generator: expected its first convolution model\.1\.weight"):
        read_generator(state)


def test_the_two_networks_of_a_kind_must_have_the_same_architecture(tmp_path):
    folder = write(tmp_path, netG_B2A=generator_state(blocks=3), netD_B=patchgan_state(6))
    with pytest.raises(
        WeightsError, match=r"(?s)the two networks differ: .*'blocks': 2.*'blocks': 3.*'disc_filters': 6"
    ):
        load_networks(folder)


@pytest.mark.parametrize("kind", ["resnet50", "vgg16"])
@pytest.mark.parametrize("outputs", [(1, 1), (2, 2), (1, 3)])
def test_heads_with_other_numbers_of_outputs_raise_an_error(kind, outputs):
    with pytest.raises(WeightsError, match=r"do not form two heads: .*real\.0\.weight \[8, "):
        read_discriminator(meta_state(kind, "named", outputs=outputs))


def test_heads_with_interleaved_layers_raise_an_error():
    state = meta_state("resnet50", "flat")
    backbone = {name: tensor for name, tensor in state.items() if not name.startswith("fc")}
    order = ["fc1", "fc3", "fc2", "fc4"]  # both hidden layers, then both outputs
    interleaved = backbone | {f"{fc}.{leaf}": state[f"{fc}.{leaf}"] for fc in order for leaf in ("weight", "bias")}
    with pytest.raises(WeightsError, match=r"do not form two heads.*fc1\.weight \[8, 2048\], fc3\.weight \[8, 2048\]"):
        read_discriminator(interleaved)


def test_a_remaining_imagenet_classifier_raises_an_error():
    state = meta_state("resnet50", "named")
    with torch.device("meta"):
        state |= {"extractor.fc.weight": torch.empty(1000, 2048), "extractor.fc.bias": torch.empty(1000)}
    with pytest.raises(WeightsError, match=r"extractor\.fc\.weight \[1000, 2048\].*and no other tensors"):
        read_discriminator(state)


def test_the_error_names_a_missing_backbone_tensor():
    state = meta_state("vgg16", "named")
    del state["extractor.28.bias"]
    with pytest.raises(WeightsError, match=r"read as a vgg16 with two heads: missing: extractor\.28\.bias"):
        read_discriminator(state)
    state["extractor.30.weight"] = state.pop("extractor.28.weight")
    with pytest.raises(WeightsError, match=r"missing: extractor\.28\.weight, extractor\.28\.bias; .*extractor\.30"):
        read_discriminator(state)


def test_two_backbones_raise_an_error():
    both = meta_state("vgg16", "named") | {f"b.{k}": v for k, v in meta_state("vgg16", "named").items()}
    with pytest.raises(WeightsError, match="expected one convolution with 3 input channels, got 2"):
        read_discriminator(both)


class Trap:  # unpickling it creates a file
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_code_in_a_file_is_not_executed(tmp_path):
    write(tmp_path)
    marker = tmp_path / "marker"
    (tmp_path / "netD_A_epoch_24.pth").write_bytes(pickle.dumps(Trap(marker)))
    with pytest.raises(WeightsError, match=r"netD_A_epoch_24\.pth is not a file of plain weights"):
        load_networks(tmp_path)
    torch.save(Trap(marker), tmp_path / "netD_A_epoch_24.pth")
    with pytest.raises(WeightsError, match=r"netD_A_epoch_24\.pth is not a file of plain weights"):
        load_networks(tmp_path)
    assert not marker.exists()


# --- use as a method ---


def test_the_method_uses_converted_generators(tmp_path):
    folder = write(tmp_path / "published")
    for name in ("netD_A", "netD_B"):
        (folder / f"{name}_epoch_24.pth").unlink()  # not needed for translation
    config = convert(folder, tmp_path / "converted", image_size_px=32)
    described = json.loads((tmp_path / "converted" / "generator.json").read_text())
    assert CycleGANConfig(**described["config"]) == config
    assert (config.filters, config.blocks, config.norm, config.image_size_px) == (4, 2, "instance", 32)
    assert described["published"]["epoch"] == 24
    data, ctx = two_class_data(8, 32), FakeContext(tmp_path / "run")
    made = list(CycleGAN(config).synthesize(data, {0: 0, 1: 4}, tmp_path / "converted", ctx))
    assert len(made) == 4
    generator = ResNetGenerator(4, 2, "instance").eval()
    generator.load_state_dict(generator_state(layout="conv_block", seed=1))
    sources = {record.path: image for record, image in zip(data.records, data.images(), strict=True)}
    for image in made:
        with torch.inference_mode():
            expected = to_uint8(generator(to_float(to_device(sources[image.source_path][None], "cpu"))))[0]
        difference = np.abs(image.image.astype(int) - expected.astype(int))
        assert difference.max() <= 1  # floats that differ by 1e-6 may round differently


def test_the_image_size_may_be_rectangular(tmp_path):
    config = convert(write(tmp_path / "published"), tmp_path / "converted", image_size_px=(460, 700))
    described = json.loads((tmp_path / "converted" / "generator.json").read_text())
    assert described["image_size_px"] == [460, 700]
    assert config.image_size_px == (460, 700)


def test_conversion_checks_the_size_before_it_writes(tmp_path):
    with pytest.raises(ConfigError, match="image_size_px is 30"):
        convert(tmp_path, tmp_path / "out", image_size_px=30)
    assert not (tmp_path / "out").exists()
