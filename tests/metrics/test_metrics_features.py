"""Feature extractors: names, weights and sizes in the tag; caching by content; clear errors without weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from bench.errors import ConfigError, DataError, WeightsError
from bench.metrics.features import FeatureExtractor, batches_of, cached_embedding, cached_features
from bench.metrics.fidelity import fidelity_metrics


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 48, 40, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> FeatureExtractor:
    """A small network with weights from a local file."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "test_resnet.pth"
    torch.save(timm.create_model("test_resnet", pretrained=False).state_dict(), path)
    return FeatureExtractor("test_resnet", path, input_size_px=32)


@pytest.fixture(scope="module")
def lite0() -> FeatureExtractor:
    return FeatureExtractor("tf_efficientnet_lite0", input_size_px=64)


def test_tag_names_network_size_and_weights(tiny: FeatureExtractor, lite0: FeatureExtractor, tmp_path: Path) -> None:
    assert lite0.tag == f"tf_efficientnet_lite0-64px-{lite0.sha256[:8]}"
    assert FeatureExtractor("tf_efficientnet_lite0").tag == f"tf_efficientnet_lite0-{lite0.sha256[:8]}"
    assert len(tiny.sha256) == 64
    path = tmp_path / "other.pth"
    torch.save(timm.create_model("test_resnet", pretrained=False).state_dict(), path)
    assert FeatureExtractor("test_resnet", path, input_size_px=32).tag != tiny.tag


def test_tag_may_stand_in_an_mlflow_metric_name(tiny: FeatureExtractor) -> None:
    from mlflow.utils.validation import _validate_metric_name

    _validate_metric_name(f"synthetic/test/fid_{tiny.tag}")


def test_features_are_the_networks_own(lite0: FeatureExtractor, images: np.ndarray) -> None:
    """By hand: antialiased bilinear to 64 px, (x / 255 - 0.5) / 0.5, pooled features of the ImageNet network."""
    got = lite0.extract(images, batch_size=4)
    assert got.shape == (6, 1280)
    assert got.dtype == np.float32
    x = torch.tensor(images).permute(0, 3, 1, 2) / 255
    x = torch.nn.functional.interpolate(x, size=(64, 64), mode="bilinear", antialias=True)
    network = lite0.network
    with torch.inference_mode():
        wanted = network.global_pool(network.forward_features(x * 2 - 1))
    np.testing.assert_allclose(got, wanted.numpy(), atol=1e-4)


def test_extraction_is_repeatable_and_leaves_no_gradient(tiny: FeatureExtractor, images: np.ndarray) -> None:
    np.testing.assert_array_equal(tiny.extract(images), tiny.extract(images))
    np.testing.assert_allclose(tiny.extract(images, batch_size=1), tiny.extract(images), atol=1e-5)
    images.setflags(write=False)  # a memory-mapped cache is read-only
    assert tiny.extract(images[1:3]).shape[0] == 2


@pytest.mark.parametrize(
    "bad", [np.zeros((2, 8, 8, 3), np.float32), np.zeros((2, 3, 8, 8), np.uint8), np.zeros((0, 8, 8, 3), np.uint8)]
)
def test_other_images_are_refused(tiny: FeatureExtractor, bad: np.ndarray) -> None:
    with pytest.raises(DataError, match="uint8"):
        tiny.extract(bad)


def test_cache_is_by_content_and_survives_damage(
    tiny: FeatureExtractor, images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = cached_features(tiny, images, tmp_path)
    (entry,) = tmp_path.iterdir()
    with monkeypatch.context() as m:
        m.setattr(tiny, "extract", lambda *a: pytest.fail("extracted again"))
        np.testing.assert_array_equal(cached_features(tiny, images.copy(), tmp_path), first)
    changed = images.copy()
    changed[0, 0, 0, 0] ^= 1
    assert not np.array_equal(cached_features(tiny, changed, tmp_path), first)
    assert len(list(tmp_path.iterdir())) == 2
    entry.write_bytes(entry.read_bytes()[:-7])
    np.testing.assert_array_equal(cached_features(tiny, images, tmp_path), first)
    entry.write_bytes(b"")
    np.testing.assert_array_equal(cached_features(tiny, images, tmp_path), first)
    assert len(list(tmp_path.iterdir())) == 2  # no partially written file remains


def test_one_pass_gives_features_logits_and_diversity(lite0: FeatureExtractor, images: np.ndarray) -> None:
    got = lite0.embed(batches_of(images, 4), [0, 0, 1, 0, 1, 2])
    np.testing.assert_array_equal(got.features, lite0.extract(images, batch_size=4))
    x = torch.nn.functional.interpolate(torch.tensor(images).permute(0, 3, 1, 2) / 255, (64, 64), mode="bilinear",
                                        antialias=True)  # fmt: skip
    with torch.inference_mode():
        np.testing.assert_allclose(got.logits, lite0.network(x * 2 - 1).numpy(), atol=1e-3)
    assert got.logits.shape == (6, 1000)
    assert set(got.diversity) == {0, 1}
    assert min(got.diversity.values()) > 0
    with pytest.raises(DataError, match="one label for each"):
        lite0.embed(batches_of(images, 4), [0])


def test_the_memory_layout_of_pixels_has_no_effect(lite0: FeatureExtractor, images: np.ndarray) -> None:
    transposed = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(lite0.extract(transposed), lite0.extract(images))


def test_weights_without_a_classifier_have_no_logits(images: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "body.pth"
    torch.save(timm.create_model("test_resnet", pretrained=False, num_classes=0).state_dict(), path)
    got = FeatureExtractor("test_resnet", path, input_size_px=32).embed([images], [0] * 6)
    assert got.logits.shape == (6, 0)
    assert got.features.shape == (6, 96)


def test_embeddings_are_cached_and_share_the_features(
    tiny: FeatureExtractor, images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.array([0, 0, 1, 1, 1, 2])
    first = cached_embedding(tiny, images, labels, tmp_path)
    with monkeypatch.context() as m:
        m.setattr(tiny, "embed", lambda *a: pytest.fail("looked again"))
        again = cached_embedding(tiny, images, labels, tmp_path)
        np.testing.assert_array_equal(cached_features(tiny, images, tmp_path), first.features)
    np.testing.assert_array_equal(again.features, first.features)
    np.testing.assert_array_equal(again.logits, first.logits)
    assert again.diversity == first.diversity
    assert set(first.diversity) == {0, 1}
    other = cached_embedding(tiny, images, np.zeros(6, dtype=np.int64), tmp_path)
    assert set(other.diversity) == {0}
    for entry in tmp_path.iterdir():
        entry.write_bytes(entry.read_bytes()[:-7])
    assert cached_embedding(tiny, images, labels, tmp_path).diversity == first.diversity


def test_other_weights_and_sizes_do_not_use_old_entries(images: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    for seed, size_px in ((0, 32), (1, 32), (1, 24)):
        torch.manual_seed(seed)
        torch.save(timm.create_model("test_resnet", pretrained=False).state_dict(), path)
        extractor = FeatureExtractor("test_resnet", path, input_size_px=size_px)
        got = cached_features(extractor, images, tmp_path / "cache")
        np.testing.assert_array_equal(got, extractor.extract(images))
    assert len(list((tmp_path / "cache").iterdir())) == 3


def test_unknown_names_are_reported_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="tf_efficientnet_lite0"):
        FeatureExtractor("tf_eficientnet_lite0")


def test_weights_that_do_not_fit_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="do not fit"):
        FeatureExtractor("test_resnet", path)
    with pytest.raises(WeightsError, match="inception"):
        FeatureExtractor("inception", path)


def test_inception_without_weights_fails_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(WeightsError, match="inception"):
        FeatureExtractor("inception")
    with pytest.raises(ConfigError, match="299"):
        FeatureExtractor("inception", input_size_px=64)


def test_inception_from_a_file_is_torch_fidelitys(tmp_path: Path, images: np.ndarray) -> None:
    """The weights are random: this tests the integration, not the values."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    path = tmp_path / "weights-inception-2015-12-05-6726825d.pth"
    bare = FeatureExtractorInceptionV3.__new__(FeatureExtractorInceptionV3)
    torch.manual_seed(0)
    original = FeatureExtractorInceptionV3.load_state_dict
    try:
        FeatureExtractorInceptionV3.load_state_dict = lambda self, state: None
        torch.save({}, path)
        bare.__init__("inception", ["2048"], feature_extractor_weights_path=str(path))
    finally:
        FeatureExtractorInceptionV3.load_state_dict = original
    torch.save(bare.state_dict(), path)
    extractor = FeatureExtractor("inception", tmp_path)  # found in the folder by its published name
    assert extractor.tag == f"inception-{extractor.sha256[:8]}"
    layers = FeatureExtractorInceptionV3(
        "inception", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(path)
    )
    with torch.inference_mode():
        features, logits = layers(torch.tensor(images[:2]).permute(0, 3, 1, 2))
    got = extractor.embed([images[:2]], [0, 0])
    np.testing.assert_array_equal(got.features, features.numpy())
    np.testing.assert_array_equal(got.logits, logits.numpy())
    assert got.logits.shape == (2, 1008)
    assert 0 <= got.diversity[0] <= 20  # five depths
    assert not any(m._forward_hooks for m in extractor.network.modules())


@pytest.mark.realdata
def test_real_classes_lie_further_apart_than_halves_of_one(
    real_data: Path, lite0: FeatureExtractor, tmp_path: Path
) -> None:
    def load(kind: str) -> np.ndarray:
        paths = sorted((real_data / "BreaKHis_v1").rglob(f"SOB_{kind}_*.png"))[:60]
        if len(paths) < 60:
            pytest.skip(f"fewer than 60 {kind} images of BreakHis under {real_data}")
        return np.stack([np.asarray(Image.open(p).convert("RGB").resize((64, 64))) for p in paths])

    benign, malignant = (cached_features(lite0, load(k), tmp_path) for k in "BM")
    halves = fidelity_metrics(benign[::2], benign[1::2])
    classes = fidelity_metrics(benign[::2], malignant[::2])
    assert classes["kid"] > halves["kid"]
    assert classes["fid"] > halves["fid"]
