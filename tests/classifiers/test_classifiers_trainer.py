"""The fine-tuning loop: it learns, is reproducible, resumes exactly, and selects on validation images only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import ArrayData, FakeContext, Interrupt, KnownPart, two_class_data

from baselines.classical import Classical
from baselines.none import NoAugmentation
from baselines.oversample import Oversample
from bench.classifiers.small_cnn import SmallCNN
from bench.classifiers.trainer import inverse_frequency, learning_rate, predict, train_classifier
from bench.classifiers.training_set import FineTuneResult
from bench.classifiers.weight_files import save_network
from bench.errors import DataError, DivergedError

TRAIN, VALIDATION = two_class_data(24, 32, seed=1), two_class_data(12, 32, seed=2)


def small_cnn(seed: int = 0, **options: Any) -> tuple[torch.nn.Module, Any]:
    config = SmallCNN.Config(**{"steps": 30, "batch_size": 8, "width": 4, "evaluate_every": 10, **options})
    torch.manual_seed(seed)
    return SmallCNN(config).build(2, 32, None), config


def fine_tune(
    ctx: FakeContext,
    augmenter: Any = None,
    train: KnownPart | None = None,
    validation: KnownPart | None = None,
    **options: Any,
) -> tuple[torch.nn.Module, FineTuneResult]:
    network, config = small_cnn(**options)
    augmenter = augmenter or NoAugmentation(NoAugmentation.Config())
    result = train_classifier(
        network,
        train or KnownPart(TRAIN, "train"),
        validation or KnownPart(VALIDATION, "validation"),
        2,
        config,
        augmenter,
        ctx,
    )
    return network, result


def test_learns_two_colours_and_logs(tmp_path: Path) -> None:
    ctx = FakeContext(tmp_path)
    network, result = fine_tune(ctx)
    p = predict(network, VALIDATION.images(), "cpu")
    assert p.shape == (12, 2)
    assert p.dtype == np.float64
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-12)
    assert (p.argmax(axis=1) == VALIDATION.labels).all()
    assert (result.steps_run, result.images_seen) == (30, 240)
    assert result.best_validation["balanced_accuracy"] == 1.0
    names = {name for _, metrics in ctx.history for name in metrics}
    assert names == {"train/loss", "validation/balanced_accuracy", "validation/loss"}
    assert {"step", "evaluate"} <= set(ctx.phases)


def test_budget_is_steps_for_any_size_of_the_set(tmp_path: Path) -> None:
    bigger = two_class_data(200, 32)
    small = fine_tune(FakeContext(tmp_path), steps=12)[1]
    large = fine_tune(FakeContext(tmp_path), train=KnownPart(bigger, "train"), steps=12)[1]
    assert small.images_seen == large.images_seen == 96


def test_same_seed_same_predictions_to_the_bit(tmp_path: Path) -> None:
    jitter = Classical(Classical.Config())
    runs = [
        predict(fine_tune(FakeContext(tmp_path, seed=s), jitter, steps=10)[0], VALIDATION.images(), "cpu")
        for s in (3, 3, 4)
    ]
    assert (runs[0] == runs[1]).all()
    assert (runs[0] != runs[2]).any()


@pytest.mark.parametrize("augmenter", [Classical(Classical.Config()), Oversample(Oversample.Config())])
def test_interrupted_and_resumed_equals_uninterrupted(tmp_path: Path, augmenter: Any) -> None:
    options = {"steps": 24, "checkpoint_every": 7, "dropout": 0.5, "batch_size": 7}
    whole, expected = fine_tune(FakeContext(tmp_path / "a"), augmenter, **options)
    ctx = FakeContext(tmp_path / "b", interrupt_at=18)
    with pytest.raises(Interrupt):
        fine_tune(ctx, augmenter, **options)
    assert ctx.checkpoint is not None
    assert ctx.checkpoint["progress"]["step"] == 14
    ctx.interrupt_at = None
    resumed, result = fine_tune(
        ctx, augmenter, seed=99, **options
    )  # other initial weights: the checkpoint must replace them
    assert result == expected
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_best_weights_on_validation_are_the_ones_returned(tmp_path: Path) -> None:
    ctx = FakeContext(tmp_path)
    flipped = KnownPart(
        VALIDATION, "validation", 1 - VALIDATION.labels
    )  # the better it learns, the lower the score here
    network, result = fine_tune(ctx, validation=flipped, select_by="loss", steps=40, evaluate_every=5)
    losses = {s: m["validation/loss"] for s, m in ctx.history if "validation/loss" in m}
    assert result.best_step == min(losses, key=lambda s: losses[s])
    assert result.best_step < 40
    p = predict(network, flipped.images, "cpu")
    loss = -np.log(p[np.arange(12), flipped.labels]).mean()
    assert loss == pytest.approx(result.best_validation["loss"], rel=1e-6)


def test_stops_early_on_validation_only(tmp_path: Path) -> None:
    flipped = KnownPart(VALIDATION, "validation", 1 - VALIDATION.labels)
    options: dict[str, Any] = {"select_by": "loss", "steps": 60, "evaluate_every": 5, "patience": 2}
    stopped = fine_tune(FakeContext(tmp_path), validation=flipped, **options)[1]
    assert stopped.steps_run == stopped.best_step + 10 < 60
    assert fine_tune(FakeContext(tmp_path), validation=flipped, **{**options, "patience": None})[1].steps_run == 60


def test_class_weights_move_predictions_to_the_rare_class(tmp_path: Path) -> None:
    grey = np.full((40, 16, 16, 3), 128, np.uint8)  # nothing to learn but the class frequencies
    data = ArrayData(grey, np.array([0] * 36 + [1] * 4))
    validation = KnownPart(data, "validation")
    options: dict[str, Any] = {"train": KnownPart(data, "train"), "steps": 150, "learning_rate": 0.05, "batch_size": 20}
    plain, weighted = (
        predict(fine_tune(FakeContext(tmp_path), validation=validation, class_weights=w, **options)[0], grey, "cpu")[
            0, 1
        ]
        for w in (False, True)
    )
    assert plain == pytest.approx(0.1, abs=0.05)
    assert weighted == pytest.approx(0.5, abs=0.1)


def test_inverse_frequency_has_mean_one_over_the_images() -> None:
    labels = np.array([0, 0, 0, 1, 3, 3])
    weights = inverse_frequency(labels, 4)
    np.testing.assert_allclose(weights, [2 / 3, 2, 0, 1], rtol=1e-6)
    assert weights[labels].mean() == pytest.approx(1)


def test_learning_rate_warms_up_and_ends_near_zero() -> None:
    config = SmallCNN.Config(steps=100, learning_rate=1.0, warmup_fraction=0.1)
    rates = [learning_rate(config, s) for s in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert 0 < rates[-1] < 0.001


def test_diverging_is_a_typed_error(tmp_path: Path) -> None:
    class Poison(NoAugmentation):
        def transform(self, images: Any, targets: Any, generator: Any) -> Any:
            return images, targets * float("nan")

    with pytest.raises(DivergedError, match=r"nan at step 1; lower"):
        fine_tune(FakeContext(tmp_path), Poison(NoAugmentation.Config()))


def test_unusable_sets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="validation labels span 0 to 2"):
        fine_tune(FakeContext(tmp_path), validation=KnownPart(VALIDATION, "validation", np.arange(12) % 3))
    empty = KnownPart(ArrayData(np.zeros((0, 32, 32, 3), np.uint8), np.zeros(0, np.int64)), "validation")
    with pytest.raises(DataError, match="no validation images"):
        fine_tune(FakeContext(tmp_path), validation=empty)
    with pytest.raises(DataError, match=r"training images: got uint8 \(24, 32, 32, 3\) with 3 labels"):
        fine_tune(FakeContext(tmp_path), train=KnownPart(TRAIN, "train", np.arange(3)))


def test_saved_network_predicts_the_same(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    network = fine_tune(FakeContext(tmp_path), steps=5)[0]
    save_network(network, tmp_path / "network.safetensors")
    other = small_cnn(seed=5)[0]
    other.load_state_dict(load_file(tmp_path / "network.safetensors"))
    images = VALIDATION.images()
    assert (predict(network, images, "cpu", 5) == predict(other, images, "cpu", 5)).all()
