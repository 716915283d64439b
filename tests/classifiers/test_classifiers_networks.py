"""Networks and their configs: shapes, normalisation, pretrained weights, and errors before anything is trained."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from bench.classifiers.config import FineTuneConfig
from bench.classifiers.small_cnn import SmallCNN
from bench.classifiers.timm_classifier import TimmClassifier
from bench.errors import ConfigError, WeightsError


def timm_classifier(model: str, **options: Any) -> TimmClassifier:
    return TimmClassifier(TimmClassifier.Config(model=model, **options))


@pytest.mark.parametrize("size", [16, 48, 96])
def test_small_cnn_takes_any_size(size: int) -> None:
    network = SmallCNN(SmallCNN.Config(width=4)).build(5, size, None)
    assert network(torch.rand(2, 3, size, size)).shape == (2, 5)


@pytest.mark.parametrize(("model", "size"), [("test_resnet", 48), ("test_vit", 64)])
def test_timm_networks_get_a_head_and_the_image_size(model: str, size: int) -> None:
    network = timm_classifier(model, pretrained=False).build(4, size, None)
    assert network(torch.rand(2, 3, size, size)).shape == (2, 4)


def test_input_is_normalised_by_the_models_own_statistics() -> None:
    network: Any = timm_classifier("convnext_atto", pretrained=False).build(2, 32, None).eval()
    mean, std = (torch.tensor(network.model.pretrained_cfg[k]).view(1, 3, 1, 1) for k in ("mean", "std"))
    assert mean.flatten()[0] == pytest.approx(0.485)
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(network(x), network.model((x - mean) / std))


@pytest.mark.parametrize(("typo", "meant"), [("resnet81", "resnet18"), ("smal_cnn", "small_cnn")])
def test_unknown_names_get_the_nearest(typo: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=f"{typo}.*did you mean.*{meant}"):
        timm_classifier(typo).check()


def test_an_impossible_size_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="'test_vit' cannot take images of 50 px"):
        timm_classifier("test_vit", pretrained=False).build(2, 50, None)
    with pytest.raises(ConfigError, match="small_cnn: got images of 12 px"):
        SmallCNN(SmallCNN.Config()).build(2, 12, None)


def test_unavailable_weights_fail_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    start = time.monotonic()
    with pytest.raises(WeightsError, match="convnext_atto"):
        timm_classifier("convnext_atto").build(2, 32, None)
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("classes_in_file", [7, 0])
@pytest.mark.parametrize("model", ["test_resnet", "test_vit"])
def test_weights_from_a_file_are_used_and_the_head_is_new(tmp_path: Path, model: str, classes_in_file: int) -> None:
    torch.manual_seed(1)
    source = timm.create_model(model, num_classes=classes_in_file)
    save_file(source.state_dict(), tmp_path / f"{model}.safetensors")
    network: Any = timm_classifier(model).build(3, 64 if model == "test_vit" else 48, tmp_path)
    loaded = network.model.state_dict()
    same = [k for k, v in source.state_dict().items() if loaded[k].shape == v.shape and torch.equal(loaded[k], v)]
    head = {"fc.weight", "fc.bias", "head.weight", "head.bias"}
    resized = {"pos_embed"} if model == "test_vit" else set()  # 160 px's grid of positions resampled to 64 px's
    assert set(source.state_dict()) - set(same) <= head | resized
    assert network(torch.rand(1, 3, *([64] * 2 if model == "test_vit" else [48] * 2))).shape == (1, 3)


def test_weights_of_another_network_do_not_pass_for_pretraining(tmp_path: Path) -> None:
    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "test_resnet.safetensors")
    with pytest.raises(WeightsError, match="do not fit 'test_resnet'"):
        timm_classifier("test_resnet").build(2, 48, tmp_path)


def test_imagenet_weights_without_a_download() -> None:
    network: Any = timm_classifier("tf_efficientnet_lite0").build(2, 32, None).eval()
    with torch.no_grad():
        assert network(torch.rand(1, 3, 32, 32)).shape == (1, 2)
    first = network.model.conv_stem.weight
    assert float(first.detach().std()) > 0.3  # learned filters; a random start has 0.08


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps: got 0, expected at least 1"),
        ({"learning_rate": 0.0}, "learning_rate: got 0.0"),
        ({"warmup_fraction": 1.0}, "warmup_fraction"),
        ({"label_smoothing": -0.1}, "label_smoothing"),
        ({"patience": 0}, "patience: got 0"),
        ({"select_by": "accuracy"}, "select_by: got 'accuracy'"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_values_out_of_range_are_config_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FineTuneConfig(**options)


def test_small_cnn_refuses_pretraining() -> None:
    with pytest.raises(ConfigError, match="no pretrained weights"):
        SmallCNN.Config(pretrained=True)
