"""`bench plan` refuses what a stage would refuse: sizes, batch sizes, networks that nobody knows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from data_sets import two_classes

from bench.classifiers.timm_classifier import TAKES, TimmClassifier, TimmConfig
from bench.classifiers.timm_names import is_timm_model
from bench.classifiers.timm_network import TimmNetwork, create, require_size
from bench.cli.main import main
from bench.errors import ConfigError
from bench.plan.checks import QUICK_ENCODERS, check_trainable
from bench.suite.suite import parse_suite
from tlsgan.augmenter import STAGES
from tlsgan.discriminators import feature_width


def refusal(**changes: object) -> str:
    suite = {
        "dataset": {"name": "phantom"},
        "image_size_px": 48,
        "methods": {"none": {}},
        "classifiers": {"small_cnn": {}},
        **changes,
    }
    with pytest.raises(ConfigError) as e:
        check_trainable(parse_suite("mine", suite))
    return str(e.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image_size_px": 12}, ("classifiers.small_cnn", "12 px, expected 16 or more")),
        ({"image_size_px": 52, "methods": {"cgan": {}}}, ("methods.cgan", "52 px, expected a multiple of 8")),
        ({"image_size_px": 50, "methods": {"cyclegan": {}}}, ("methods.cyclegan", "multiple of 4, at least 24")),
        (
            {"image_size_px": 32, "methods": {"tlsgan_lite0": {"batch_size": 1}}},
            ("methods.tlsgan_lite0", "32 px images with batch size 1"),
        ),
        ({"methods": {"tlsgan_lite0": {"trained_stages": 9}}}, ("methods.tlsgan_lite0", "has 8 stages")),
        ({"methods": {"tlsgan_lite0": {"discriminator": "resnet19"}}}, ("unknown discriminator 'resnet19'",)),
        ({"classifiers": {"resnet19": {}}}, ("classifiers.resnet19", "did you mean")),
        ({"image_size_px": 50, "classifiers": {"test_vit": {}}}, ("classifiers.test_vit", "50 px")),
        (
            {"image_size_px": 32, "classifiers": {"resnet18": {"batch_size": 1}}},
            ("classifiers.resnet18", "32 px, one at a time"),
        ),
        ({"methods": {"cgan": {}}, "fidelity": {"extractor": "efficientnet_lit0"}}, ("unknown feature extractor",)),
        (
            {"segmentation_networks": {"unet": {"encoder": "resnet35", "decoder_filters": [32, 16, 16]}}},
            ("segmentation_networks.unet",),
        ),
        (
            {"classifiers": {"net": {"use": "mistaken:BatchNorm", "batch_size": 1}}},
            ("classifiers.net", "batches of 1 of 48 px: ValueError: Expected more than 1 value per channel"),
        ),
        (
            {"classifiers": {"net": {"use": "mistaken:SevenOutputs"}}},
            ("returns [2, 7] for 2 of 48 px, expected logits [2, 2]",),
        ),
    ],
)  # fmt: skip
def test_what_a_stage_would_refuse_is_named(changes: dict[str, object], words: tuple[str, ...]) -> None:
    found = refusal(**changes)
    assert all(word in found for word in words), found


def test_what_a_plug_in_prints_is_not_in_the_json(tmp_path: Path) -> None:
    suite = tmp_path / "mine.yaml"
    suite.write_text(
        "dataset: {name: phantom, patients: 12, images_per_patient: 1}\nimage_size_px: 32\nsplit: {folds: 2}\n"
        "methods: {none: {}, mine: {use: 'mistaken:NoBatches'}}\nclassifiers: {net: {use: 'mistaken:BatchNorm'}}\n"
    )
    sys.modules.pop("mistaken", None)
    done = CliRunner().invoke(main, ["plan", "--suite", str(suite), "--out", str(tmp_path / "runs"), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["suite"] == "mine"
    assert "the module of a plug-in prints\n" in done.stderr
    assert "the class of a plug-in prints\n" in done.stderr


def test_all_that_cannot_be_used_is_named_at_once() -> None:
    found = refusal(image_size_px=12, methods={"cgan": {}, "cyclegan": {}})
    assert [name in found for name in ("methods.cgan", "methods.cyclegan", "classifiers.small_cnn")] == [True] * 3


def test_segmentation_networks_of_one_pixel_and_foreign_extractor_sizes_are_refused() -> None:
    segmentation_network = {"decoder_filters": [64, 32, 32, 16, 16], "batch_size": 1}
    with pytest.raises(ConfigError, match="leave one pixel of an image of 32 px"):
        parse_suite(
            "mine", {"image_size_px": 32, "segmentation_networks": {"unet": segmentation_network}, "classifiers": {}}
        )
    with pytest.raises(ConfigError, match="inception needs 299 px"):
        parse_suite("mine", {"fidelity": {"extractor": "inception", "input_size_px": 64}})


def test_plan_refuses_and_plans_of_shipped_networks_import_no_torch(tmp_path: Path) -> None:
    suite = tmp_path / "mine.yaml"
    suite.write_text(
        "dataset: {name: image_folder, group_regex: '/(?P<group>P[0-9]+)_', positive: b}\nimage_size_px: 52\n"
        "split: {folds: 3}\nmethods: {cgan: {}}\nclassifiers: {small_cnn: {}}\n"
    )
    data = two_classes(tmp_path / "set")
    command = ["plan", "--suite", str(suite), "--data", str(data), "--out", str(tmp_path / "runs")]
    done = CliRunner().invoke(main, command)
    assert done.exit_code != 0
    assert "methods.cgan: cgan: got images of 52 px" in str(done.exception) + done.output
    code = (
        "import sys; from bench.suite.shipped import shipped_suites\nfrom bench.suite.suite import load_suite\n"
        "from bench.plan.checks import check_trainable\n"
        "[check_trainable(load_suite(name)) for name in shipped_suites()]\n"
        "print([m for m in ('torch', 'timm', 'torchvision') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize(("name", "multiple"), TAKES.items())
def test_networks_known_to_take_a_size_do(name: str, multiple: int) -> None:
    least = multiple * -(-33 // multiple)
    with torch.device("meta"):  # shapes only
        network = TimmNetwork(create(name, 2, least))
        require_size(network, name, least, training=True)
        if multiple > 1:  # built for one size
            network = TimmNetwork(create(name, 2, 32))
        require_size(network, name, 32)


@pytest.mark.parametrize("name", STAGES)
def test_backbones_known_to_take_any_size_do(name: str) -> None:
    assert feature_width(name, 36, 1, STAGES[name]) > 0
    assert feature_width(name, 32, 2) > 0
    with pytest.raises(ConfigError, match="stages"):
        feature_width(name, 64, 2, STAGES[name] + 1)


def test_names_of_timm_are_known_without_it() -> None:
    import timm

    from bench.classifiers.timm_names import _declared

    assert set(_declared()) <= set(timm.list_models())
    assert len(_declared()) > 0.95 * len(timm.list_models())
    assert is_timm_model("resnet18")
    assert is_timm_model("resnet18.a1_in1k")
    assert not is_timm_model("resnet19")
    assert not TimmClassifier(TimmConfig(model="resnet50")).check()


def test_encoders_that_are_not_tried_can_be_built() -> None:
    from bench.segmentation.network_config import SegmentationNetworkConfig
    from bench.segmentation.smp_unet import build_segmentation_network

    for i, name in enumerate(QUICK_ENCODERS):  # three or five stages, by turns
        filters = (16,) * (3 if i % 2 else 5)
        with torch.device("meta"):  # VGG's classifier has 100 million weights until the library removes it
            build_segmentation_network(SegmentationNetworkConfig(encoder=name, decoder_filters=filters))
