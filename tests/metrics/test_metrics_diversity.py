"""Diversity against LPIPS's formula pair by pair; for copies, blur and two classes."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from bench.data.sets.phantom import Phantom, PhantomConfig
from bench.metrics.diversity import PairwiseDistance, mean_diversity
from bench.metrics.features import FeatureExtractor, batches_of


def by_pairs(maps: list[torch.Tensor]) -> float:
    """Zhang et al. (2018), eq. 1, with all weights 1, computed separately for every pair."""
    total = []
    for i, j in itertools.combinations(range(len(maps[0])), 2):
        d = 0.0
        for m in maps:
            a, b = (m[k] / (m[k].square().sum(0).sqrt() + 1e-10) for k in (i, j))
            d += float((a - b).square().sum(0).mean())
        total.append(d)
    return float(np.mean(total))


def measured(maps: list[torch.Tensor], batch: int = 100) -> float:
    distance = PairwiseDistance()
    for i in range(0, len(maps[0]), batch):
        part = [m[i : i + batch] for m in maps]
        distance.add(part, [0] * len(part[0]))
    return distance.means()[0]


@pytest.mark.parametrize("batch", [100, 3])
def test_all_pairs_at_once_equal_pair_by_pair(batch: int) -> None:
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(7, c, s, s + 1, generator=generator) for c, s in ((4, 6), (9, 3), (2, 1))]
    maps[1][2] = 0  # an image without activation at one depth
    assert measured(maps, batch) == pytest.approx(by_pairs(maps), rel=1e-6)


def test_range() -> None:
    up = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1).expand(2, 3, 4, 4)
    assert measured([up, up]) == pytest.approx(8)  # opposite everywhere: 4 per depth
    apart = torch.eye(2).view(2, 2, 1, 1)
    assert measured([apart]) == pytest.approx(2)  # orthogonal maps
    assert measured([apart, 5 * up]) == pytest.approx(6)  # the scale of a map has no effect


def test_labels_are_separate() -> None:
    maps = torch.randn(6, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    distance = PairwiseDistance()
    distance.add([maps], [0, 1, 0, 1, 1, 2])
    means = distance.means()
    assert set(means) == {0, 1}  # label 2 has no pair
    assert means[0] == pytest.approx(by_pairs([maps[[0, 2]]]), rel=1e-6)
    assert means[1] == pytest.approx(by_pairs([maps[[1, 3, 4]]]), rel=1e-6)
    assert mean_diversity(means, [0, 1]) == pytest.approx((means[0] + means[1]) / 2)
    assert math.isnan(mean_diversity(means, [0, 2]))
    assert math.isnan(mean_diversity({}, []))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """Phantom histology, 16 images of one class, 64 px."""
    config = PhantomConfig(patients=4, images_per_patient=8, image_size_px=64)
    index = Phantom(config).index(None, tmp_path_factory.mktemp("phantom"))
    files = [index.root / r.path for r in index.records if r.label == 0][:16]
    return np.stack([np.asarray(Image.open(f).convert("RGB").resize((64, 64))) for f in files])


def test_a_collapsed_generator_scores_0_and_real_images_more_than_blurred_ones(real: np.ndarray) -> None:
    extractor = FeatureExtractor("tf_efficientnet_lite0", input_size_px=64)

    def score(images: np.ndarray) -> float:
        return extractor.embed(batches_of(images, 8), [0] * len(images)).diversity[0]

    blurred = np.stack([np.asarray(Image.fromarray(i).filter(ImageFilter.GaussianBlur(4))) for i in real])
    assert score(np.repeat(real[:1], 16, axis=0)) == pytest.approx(0, abs=1e-6)
    collapsed = np.repeat(real[:2], 8, axis=0)
    assert 0.1 < score(collapsed) < score(real)
    assert 0.1 < score(blurred) < score(real)
    assert score(real) == pytest.approx(score(real[::-1]), rel=1e-5)  # order and batches do not matter
