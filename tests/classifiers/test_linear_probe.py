"""The linear probe: it solves its convex problem, repeats to the bit, and its features are cached and frozen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import ArrayData, FakeContext, KnownPart, two_class_data
from sklearn.linear_model import LogisticRegression

from baselines.classical import Classical
from baselines.none import NoAugmentation
from baselines.oversample import Oversample
from bench.classifiers.linear_probe import LinearProbe, LinearProbeConfig
from bench.classifiers.linear_probe_network import LinearProbeNetwork, Regression
from bench.classifiers.trainer import predict, train_classifier
from bench.classifiers.weight_files import load_network, save_network
from bench.errors import BenchError, ConfigError, LeakageError, WeightsError

TRAIN, VALIDATION = two_class_data(24, 32, seed=1), two_class_data(12, 32, seed=2)
CONFIG = LinearProbeConfig(pretrained=False, backbone="test_resnet", input_size_px=32, steps=300, views=2)
NONE, CLASSICAL = NoAugmentation(NoAugmentation.Config()), Classical(Classical.Config())


def probe(**options: Any) -> LinearProbeNetwork:
    network = LinearProbe(replace(CONFIG, **options)).build(2, 32, None)
    assert isinstance(network, LinearProbeNetwork)
    return network


def fitted(ctx: FakeContext, augmenter: Any = NONE, train: KnownPart | None = None, **options: Any) -> Any:
    network = probe(**options)
    held_out = KnownPart(VALIDATION, "validation")
    train = train or KnownPart(TRAIN, "train")
    return network, train_classifier(network, train, held_out, 2, replace(CONFIG, **options), augmenter, ctx)


def test_it_learns_two_colours_and_logs(tmp_path: Path) -> None:
    ctx = FakeContext(tmp_path)
    network, result = fitted(ctx)
    p = predict(network, VALIDATION.images(), "cpu")
    assert p.dtype == np.float64
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-12)
    assert (p.argmax(axis=1) == VALIDATION.labels).all()
    assert 9 <= result.steps_run <= 300
    assert result.images_seen == 24
    assert result.best_validation["balanced_accuracy"] == 1.0
    assert {"data", "step", "evaluate"} <= set(ctx.phases)
    losses = [m["validation/loss"] for _, m in ctx.history]
    assert result.best_validation["loss"] == min(losses)


def test_forward_and_predict_agree(tmp_path: Path) -> None:
    network, _ = fitted(FakeContext(tmp_path))
    x = torch.tensor(VALIDATION.images()).permute(0, 3, 1, 2).float() / 255
    network.train()  # the backbone stays in eval mode
    direct = network(x).softmax(dim=1).detach().numpy()
    np.testing.assert_allclose(predict(network, VALIDATION.images(), "cpu"), direct, atol=1e-5)


@pytest.mark.parametrize("augmenter", [NONE, Oversample(Oversample.Config())])
def test_unchanged_images_have_no_seed_noise(tmp_path: Path, augmenter: Any) -> None:
    a, b = (predict(fitted(FakeContext(tmp_path, seed=s), augmenter)[0], VALIDATION.images(), "cpu") for s in (0, 1))
    np.testing.assert_allclose(a, b, atol=1e-9)  # another order of the sum


def test_augmented_views_depend_on_the_seed_only(tmp_path: Path) -> None:
    runs = [fitted(FakeContext(tmp_path, seed=s), CLASSICAL) for s in (3, 3, 4)]
    assert runs[0][1].images_seen == 48
    a, b, c = (predict(network, VALIDATION.images(), "cpu") for network, _ in runs)
    assert (a == b).all()
    assert (a != c).any()


def test_soft_targets_of_mixed_images_are_fitted(tmp_path: Path) -> None:
    class Swap(NoAugmentation):
        def transform(self, images: Any, targets: Any, generator: Any) -> Any:
            return images, targets.flip(1)  # all labels wrong: the fit must follow the targets, not the labels

    network, _ = fitted(FakeContext(tmp_path), Swap(NoAugmentation.Config()))
    p = predict(network, TRAIN.images(), "cpu")
    assert (p.argmax(axis=1) != TRAIN.labels).mean() >= 0.5


def test_oversampling_weights_move_predictions_to_the_rare_class(tmp_path: Path) -> None:
    grey = np.full((40, 32, 32, 3), 128, np.uint8)  # nothing to learn but the class frequencies
    train = KnownPart(ArrayData(grey, np.array([0] * 36 + [1] * 4)), "train")
    plain, balanced = (
        predict(fitted(FakeContext(tmp_path), a, train)[0], grey[:1], "cpu")[0, 1]
        for a in (NONE, Oversample(Oversample.Config()))
    )
    weighted = predict(fitted(FakeContext(tmp_path), NONE, train, class_weights=True)[0], grey[:1], "cpu")[0, 1]
    assert plain == pytest.approx(0.1, abs=0.01)
    assert balanced == pytest.approx(0.5, abs=0.01)
    assert weighted == pytest.approx(0.5, abs=0.01)


def test_the_solution_is_that_of_scikit_learn(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(60, 5)), rng.integers(0, 3, 60)
    x[:, 0] += labels
    penalty = 0.1
    problem = Regression(
        torch.tensor(x), torch.eye(3, dtype=torch.float64)[labels], torch.full((60,), 1 / 60).double(), CONFIG,
        FakeContext(tmp_path),
    )  # fmt: skip
    problem.solve(penalty, limit=300)
    z = (x - x.mean(0)) / x.std(0)
    theirs = LogisticRegression(C=1 / (penalty * 60), tol=1e-8, max_iter=1000).fit(z, labels)
    ours = torch.softmax(torch.tensor(x) @ problem.weight.T + problem.bias, dim=1).numpy()
    np.testing.assert_allclose(ours, theirs.predict_proba(z), atol=1e-3)


def test_features_are_cached_and_independent_of_other_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, images = probe(), TRAIN.images()
    whole = network.cached(images, "cpu", tmp_path)
    np.testing.assert_array_equal(network.extract(images[5:6]), whole[5:6].numpy())
    passes = []
    monkeypatch.setattr(network, "features", passes.append)
    assert torch.equal(network.cached(images, "cpu", tmp_path), whole)
    assert passes == []


def test_saved_weights_hold_the_linear_layer_and_refuse_another_backbone(tmp_path: Path) -> None:
    network, path = fitted(FakeContext(tmp_path))[0], tmp_path / "probe.safetensors"
    save_network(network, path)
    assert path.stat().st_size < 20_000
    again = probe()
    load_network(again, path)
    assert (predict(again, TRAIN.images(), "cpu") == predict(network, TRAIN.images(), "cpu")).all()
    other = probe()
    other.sha256 = "0" * 64  # as of other pretrained weights
    with pytest.raises(WeightsError, match="use the backbone"):
        load_network(other, path)


def test_only_the_right_parts_of_the_fold_are_used(tmp_path: Path) -> None:
    with pytest.raises(LeakageError):
        fitted(FakeContext(tmp_path), train=KnownPart(TRAIN, "test"))


def test_images_that_are_not_numbers_are_a_typed_error(tmp_path: Path) -> None:
    class Poison(NoAugmentation):
        def transform(self, images: Any, targets: Any, generator: Any) -> Any:
            return images * float("nan"), targets

    with pytest.raises(BenchError, match=r"Poison.transform returned .* values nan to nan; expected"):
        fitted(FakeContext(tmp_path), Poison(NoAugmentation.Config()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"views": 0}, "views: got 0"),
        ({"input_size_px": 16}, "input_size_px: got 16"),
        ({"learning_rate": 0.1}, "learning_rate: got 0.1"),
        ({"steps": 0}, "steps: got 0"),
    ],
)
def test_unusable_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LinearProbeConfig(**options)


def test_an_unknown_backbone_is_refused() -> None:
    with pytest.raises(ConfigError, match="resnet19"):
        LinearProbe(LinearProbeConfig(backbone="resnet19")).check()
