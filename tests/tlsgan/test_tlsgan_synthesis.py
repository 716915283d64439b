"""Synthetic images of a fitted CycleGAN: sources, order, reproducibility."""

import importlib
import json

import numpy as np
import pytest
import torch
from helpers import ArrayData, FakeContext, two_class_data

from bench.errors import ConfigError, DataError, WeightsError
from bench.registry import REGISTRY
from tlsgan.augmenter import CycleGAN, TLSGANLite0Scratch
from tlsgan.config import CycleGANConfig, TLSGANLite0ScratchConfig
from tlsgan.synthesis import Recipe, cycle, prepare, recipe

DATA = two_class_data(10, 32)


@pytest.fixture(scope="module", params=["instance", "batch"])
def fitted(request, tmp_path_factory):
    ctx = FakeContext(tmp_path_factory.mktemp(request.param))
    method = CycleGAN(CycleGANConfig(steps=2, filters=4, blocks=1, disc_filters=4, norm=request.param))
    method.fit(DATA, ctx)
    return method, ctx


def test_the_first_images_do_not_depend_on_the_count(fitted):
    method, ctx = fitted
    few = list(method.synthesize(DATA, {1: 3}, ctx.folder, ctx))
    many = [s for s in method.synthesize(DATA, {0: 2, 1: 60}, ctx.folder, ctx) if s.label == 1]
    assert (len(few), len(many)) == (3, 60)
    for a, b in zip(few, many, strict=False):
        assert (a.image == b.image).all()
        assert (a.seed, a.source_path) == (b.seed, b.source_path)


def test_every_image_names_a_source_of_the_other_class(fitted):
    method, ctx = fitted
    label_of = {r.path: r.label for r in DATA.records}
    made = list(method.synthesize(DATA, {0: 5, 1: 5}, ctx.folder, ctx))
    assert [s.label for s in made] == [0] * 5 + [1] * 5
    assert all(label_of[s.source_path] == 1 - s.label for s in made)
    assert len({s.source_path for s in made}) == 10  # each source once before any is used again
    assert all(s.image.shape == (32, 32, 3) and s.image.dtype == np.uint8 for s in made)


def test_a_translation_is_computed_from_its_source(fitted):
    from tlsgan.checkpoint import load_generator
    from tlsgan.data import to_device, to_float, to_uint8

    method, ctx = fitted
    made = next(iter(method.synthesize(DATA, {1: 1}, ctx.folder, ctx)))
    source = next(i for i, r in enumerate(DATA.records) if r.path == made.source_path)
    generator = load_generator(ctx.folder, "G_ab", method.config, "cpu")
    expected = to_uint8(generator(to_float(to_device(DATA.images()[[source]], "cpu"))))[0]
    assert np.abs(expected.astype(int) - made.image).max() <= 1


@pytest.mark.parametrize(("label", "names"), [(0, ("G_ab", "G_ba")), (1, ("G_ba", "G_ab"))])
def test_a_cycle_returns_translation_and_reconstruction(fitted, label, names):
    from tlsgan.checkpoint import load_generator
    from tlsgan.data import to_device, to_float, to_uint8

    method, ctx = fitted
    sources = DATA.images()[DATA.labels == label]
    forward, backward = (load_generator(ctx.folder, name, method.config, "cpu") for name in names)
    with torch.inference_mode():
        fake = forward(to_float(to_device(sources, "cpu")))
        expected = to_uint8(fake), to_uint8(backward(fake))
    for made, wanted in zip(method.cycle(sources, label, ctx.folder, ctx), expected, strict=True):
        assert np.abs(made.astype(int) - wanted).max() <= 1  # another batch size changes the order of summation
    assert [len(x) for x in method.cycle(sources[:0], label, ctx.folder, ctx)] == [0, 0]


def test_the_reconstruction_uses_the_float_translation():
    sources = DATA.images()
    translations, reconstructions = cycle(lambda x: x / 50, lambda x: x * 50, sources, "cpu")
    assert len(np.unique(translations)) < 8  # rounding to 8 bits removes almost all information
    assert (reconstructions == sources).all()


def test_seeds_differ(fitted):
    method, ctx = fitted
    other = FakeContext(ctx.folder, seed=9)
    first, second = ([s.source_path for s in method.synthesize(DATA, {1: 5}, ctx.folder, c)] for c in (ctx, other))
    assert sorted(first) == sorted(second)
    assert first != second
    assert len({s.seed for s in method.synthesize(DATA, {0: 20, 1: 20}, ctx.folder, ctx)}) == 40


def test_eight_passes_use_each_source_in_eight_variants():
    recipes = [recipe(i, 5, 32, 0) for i in range(40)]
    assert all(r.variant == 0 for r in recipes[:5])
    assert {(r.source, r.variant) for r in recipes} == {(s, v) for s in range(5) for v in range(8)}
    assert all(r.shift == (0, 0) for r in recipes)
    later = [recipe(i, 5, 32, 0) for i in range(40, 80)]
    assert len({(r.source, r.variant, r.shift) for r in later}) > 30
    assert max(abs(d) for r in later for d in r.shift) <= 4


def test_the_variants_are_the_dihedral_group():
    image = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    made = [prepare(image, Recipe(0, v, (0, 0), 0)).tobytes() for v in range(8)]
    assert made[0] == image.tobytes()
    assert len(set(made)) == 8


def test_a_shift_fills_by_reflection():
    image = np.arange(16, dtype=np.uint8).reshape(4, 4, 1).repeat(3, axis=2)
    moved = prepare(image, Recipe(0, 0, (1, 0), 0))
    assert (moved[:3] == image[1:]).all()
    assert (moved[3] == image[2]).all()


def test_the_image_size_may_differ_from_the_suites(tmp_path):
    method = CycleGAN(CycleGANConfig(image_size_px=24, steps=1, filters=4, blocks=1, disc_filters=4))
    ctx = FakeContext(tmp_path)
    method.fit(DATA, ctx)
    assert next(iter(method.synthesize(DATA, {0: 1}, tmp_path, ctx))).image.shape == (24, 24, 3)
    assert json.loads((tmp_path / "generator.json").read_text())["image_size_px"] == 24


def test_the_translation_size_is_the_configs_or_the_suites():
    assert CycleGAN(CycleGANConfig()).translation_size_px(48) == 48
    assert CycleGAN(CycleGANConfig(image_size_px=64)).translation_size_px(48) == 64


def test_three_classes_raise_an_error():
    method = CycleGAN(CycleGANConfig())
    method.check(("benign", "malignant"))
    with pytest.raises(ConfigError, match=r"2 classes, this dataset has 3 \(a, b, c\)"):
        method.check(("a", "b", "c"))


def test_a_class_without_images_raises_an_error(tmp_path):
    data = ArrayData(DATA.images(), np.zeros(10))
    with pytest.raises(DataError, match="malignant"):
        CycleGAN(CycleGANConfig(steps=1, filters=4, blocks=1)).fit(data, FakeContext(tmp_path))


def test_generators_of_another_shape_raise_an_error(fitted, tmp_path):
    method, ctx = fitted
    wider = CycleGAN(CycleGANConfig(steps=2, filters=8, blocks=1, norm=method.config.norm))
    with pytest.raises(WeightsError, match="wrong shape: model"):
        list(wider.synthesize(DATA, {1: 1}, ctx.folder, ctx))
    with pytest.raises(WeightsError, match="no trained generator"):
        list(method.synthesize(DATA, {1: 1}, tmp_path, ctx))


def test_the_fit_folder_records_the_source_of_its_weights(tmp_path):
    config = TLSGANLite0ScratchConfig(steps=1, filters=4, blocks=1, head_width=8, batch_size=2)
    TLSGANLite0Scratch(config).fit(DATA, FakeContext(tmp_path))
    source = json.loads((tmp_path / "weights.json").read_text())
    assert source == {"discriminator": "tf_efficientnet_lite0", "source": "random initialisation"}


def test_every_registered_method_exists():
    targets = [t for t in REGISTRY["method"].values() if t.startswith("tlsgan.")]
    assert len(targets) == 9
    for target in targets:
        module, name = target.split(":")
        method = getattr(importlib.import_module(module), name)
        method(method.Config())
