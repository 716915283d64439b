"""Inception score: closed forms, torch-fidelity's value, and too few images."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch_fidelity.metric_isc import isc_features_to_metric

from bench.metrics.inception_score import inception_score


def test_equals_torch_fidelity() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (97, 12)).astype(np.float32)
    assert inception_score(logits) == isc_features_to_metric(torch.from_numpy(logits))["inception_score_mean"]


def test_closed_forms() -> None:
    sure = 40 * np.eye(5, dtype=np.float32)[np.arange(200) % 5]
    assert inception_score(sure, splits=1) == pytest.approx(5)  # certain of each image, uniform over the set
    assert inception_score(np.zeros((40, 5), np.float32)) == pytest.approx(1)  # uniform for each image
    assert inception_score(sure[:1].repeat(40, axis=0)) == pytest.approx(1)  # the same image several times


def test_it_falls_with_the_number_of_images() -> None:
    sure = 40 * np.eye(50, dtype=np.float32)[np.random.default_rng(0).integers(0, 50, 1000)]
    assert inception_score(sure[:40]) <= 4 < 25 < inception_score(sure)


def test_nan_where_undefined() -> None:
    logits = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    assert math.isfinite(inception_score(logits))
    assert math.isnan(inception_score(logits[:19]))
    assert math.isnan(inception_score(logits[:0]))
    assert math.isnan(inception_score(np.zeros((40, 0), np.float32)))
