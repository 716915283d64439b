"""The fidelity stage: which images are compared with which, and under what names."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bench.metrics.features import Embedding
from bench.stages.fidelity import _evaluate


class Seen:
    """Replaces the extractor: an image's features are noise around the value of its first pixel."""

    def embed(self, images: np.ndarray, labels: np.ndarray) -> Embedding:
        assert len(images) == len(labels) > 0
        rng = np.random.default_rng(images[:, 0, 0, 0].astype(int))
        features = (rng.normal(size=(len(images), 8)) + images[:, :1, 0, 0] / 50).astype(np.float32)
        return Embedding(features, 4 * features, {int(y): float(images[:, 0, 0, 0].mean()) for y in set(labels)})


def images(n: int, value: int) -> np.ndarray:
    return np.full((n, 2, 2, 3), value, np.uint8)


def part(counts: dict[int, int], value: int) -> Any:
    labels = np.repeat(list(counts), list(counts.values())).astype(np.int64)
    return SimpleNamespace(images=images(len(labels), value), labels=labels)


def compare(synthetic: dict[int, int], **parts: Any) -> dict[str, float]:
    made = part(synthetic, 50)
    seen: Any = Seen()
    fold: Any = SimpleNamespace(part=parts.__getitem__)
    return _evaluate(seen, made.images, made.labels, fold, np.random.default_rng(0))


@pytest.fixture(scope="module")
def scores() -> dict[str, float]:
    return compare(
        {0: 20, 1: 40},
        train=part({0: 20, 1: 60}, 100),
        validation=part({0: 5, 1: 9}, 101),
        test=part({0: 10, 1: 20}, 102),
    )


def sizes(scores: dict[str, float], where: str) -> tuple[float, float]:
    return scores[f"{where}/n_synthetic"], scores[f"{where}/n_real"]


def test_baselines_have_the_sizes_of_their_scores(scores: dict[str, float]) -> None:
    assert (
        sizes(scores, "synthetic/test")
        == sizes(scores, "real_baseline/test")
        == sizes(scores, "at_real_baseline/test")
        == (60, 30)
    )
    assert sizes(scores, "synthetic/train") == (60, 80)
    # held out are 15 and 29 images: 14 and 29 keep the proportions of 20 to 40, against the same 80
    assert sizes(scores, "real_baseline/train") == sizes(scores, "at_real_baseline/train") == (43, 80)


def test_real_images_score_better_in_their_place(scores: dict[str, float]) -> None:
    for where in ("train", "test"):
        assert scores[f"real_baseline/{where}/kid"] < scores[f"at_real_baseline/{where}/kid"] / 2
        assert scores[f"real_baseline/{where}/fid"] < scores[f"at_real_baseline/{where}/fid"]
        assert scores[f"synthetic/{where}/fid"] > 5


def test_names(scores: dict[str, float]) -> None:
    prefixes = {k.rpartition("/")[0] for k in scores}
    against = {
        f"{who}/{part}" for who in ("synthetic", "real_baseline", "at_real_baseline") for part in ("train", "test")
    }
    assert prefixes == {*against, "synthetic", "real/train", "real/test", "other_class/test"}
    assert (scores["synthetic/diversity"], scores["real/train/diversity"]) == (50, 100)
    assert scores["synthetic/is"] > 1 < scores["real/train/is"]


def test_classes_without_synthetic_images_are_left_out() -> None:
    found = compare({1: 8}, train=part({0: 9, 1: 12}, 100), validation=part({0: 3}, 100), test=part({0: 4, 1: 6}, 100))
    assert sizes(found, "synthetic/train") == (8, 12)
    assert sizes(found, "real_baseline/train") == (6, 12)
    assert sizes(found, "real_baseline/test") == (8, 6)
    assert np.isnan(found["synthetic/is"])  # eight images
    assert 0 <= found["synthetic/label_agreement"] <= 1, "of the training images of both classes"


def test_labels_agree_where_a_class_has_its_own_images() -> None:
    def of_both(zeros: int, ones: int, n: int = 20) -> Any:
        labels = np.repeat([0, 1], n).astype(np.int64)
        return SimpleNamespace(images=np.concatenate([images(n, zeros), images(n, ones)]), labels=labels)

    real = {"train": of_both(0, 250), "validation": of_both(1, 249, 5), "test": of_both(2, 248)}
    seen: Any = Seen()
    fold: Any = SimpleNamespace(part=real.__getitem__)
    for made, expected in ((of_both(3, 247), 1.0), (of_both(247, 3), 0.0), (of_both(247, 247), 0.5)):
        found = _evaluate(seen, made.images, made.labels, fold, np.random.default_rng(0))
        assert found["synthetic/label_agreement"] == pytest.approx(expected, abs=0.03)
        assert found["real/test/label_agreement"] == pytest.approx(1.0, abs=0.03)
        assert found["other_class/test/label_agreement"] == pytest.approx(0.0, abs=0.03)
