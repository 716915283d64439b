"""One set of promises, held by every registered augmentation method; a new one is picked up by its registry line."""

from __future__ import annotations

import dataclasses
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import FakeContext, Interrupt, two_class_data

from baselines import flow_loop, gan_sampling
from bench import registry
from bench.abilities import Exportable, Translator
from bench.config import build
from bench.errors import ConfigError, WeightsError

METHODS = registry.names("method")
GENERATIVE = [m for m in METHODS if registry.load("method", m).kind == "generative"]
TRAINED = [m for m in GENERATIVE if f"{m}_scratch" not in GENERATIVE]  # without weights a method is its scratch twin
STEPPED = [m for m in TRAINED if "steps" in registry.load("method", m).Config.__dataclass_fields__]  # not noise
LARGE = ("tlsgan_resnet50_scratch", "tlsgan_vgg16_scratch")  # they resume by the code of tlsgan_lite0_scratch
TRANSLATORS = [m for m in TRAINED if issubclass(registry.load("method", m), Translator)]
ONLINE = [m for m in METHODS if registry.load("method", m).kind == "online"]
SMALL = {
    "steps": 2, "batch_size": 2, "filters": 8, "disc_filters": 8, "blocks": 1, "head_width": 8, "z_dim": 8,
    "log_every": 1, "sample_every": 3, "checkpoint_every": 1, "pretrained": False, "pool_size": 4, "flip": True,
    "sample_steps": 4,
    "norm": "instance",  # batch norm by running statistics paints one grey for all sources after a few steps
}  # fmt: skip
COUNTS = {0: 5, 1: 12}  # more than there are sources of a class, so that sources are used again


def small(name: str, **changes: Any) -> Any:
    """Build the method at its smallest: of the usual fields those that its config has."""
    cls = registry.load("method", name)
    fields = {f.name for f in dataclasses.fields(cls.Config)}
    steps = {"steps": 1} if name in LARGE else {}
    return cls(cls.Config(**{k: v for k, v in {**SMALL, **steps, **changes}.items() if k in fields}))


def fitted(method: Any, folder: Path, seed: int = 0, **context: Any) -> FakeContext:
    ctx = FakeContext(folder, seed=seed, **context)
    method.fit(two_class_data(16, 32), ctx)
    return ctx


@pytest.fixture(scope="module", autouse=True)
def _small_blocks() -> Iterator[None]:
    """Images are made in full blocks; with blocks of 4 the counts cross several borders, in less time."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (gan_sampling, flow_loop):
            patch.setattr(module, "BLOCK", 4)
            patch.setattr(module, "GRID_IMAGES", 2)
        yield


@pytest.fixture(scope="module")
def fit_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], FakeContext]:
    """Return what the fitted method of a name left, fitted at the first call."""

    @cache
    def fit(name: str) -> FakeContext:
        return fitted(small(name), tmp_path_factory.mktemp(name) / "fit")

    return fit


@pytest.fixture(scope="module")
def made_once(fit_once: Callable[[str], FakeContext]) -> Callable[[str], list[Any]]:
    """Return the images that the fitted method of a name makes, made at the first call."""
    return cache(lambda name: images(small(name), fit_once(name).folder))


def images(method: Any, folder: Path, counts: dict[int, int] = COUNTS, seed: int = 0) -> list[Any]:
    ctx = FakeContext(folder.with_name(folder.name + "_out"), seed=seed)
    return list(method.synthesize(two_class_data(16, 32), counts, folder, ctx))


@pytest.mark.parametrize("name", METHODS)
def test_its_config_has_a_default_for_everything_and_is_frozen(name: str) -> None:
    cls = registry.load("method", name)
    config = build(cls.Config, {}, name)
    assert dataclasses.is_dataclass(config)
    assert cls.Config.__dataclass_params__.frozen
    assert isinstance(cls.version, int)
    assert cls(config) is not None


def test_no_method_and_no_classifier_needs_torch_to_be_planned() -> None:
    named = {registry.resolve(kind, name) for kind in ("method", "classifier") for name in registry.names(kind)}
    modules = sorted({path.split(":")[0] for path in named})
    code = f"import sys, importlib; [importlib.import_module(m) for m in {modules}]; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


@pytest.mark.parametrize("name", METHODS)
def test_its_header_names_a_source(name: str) -> None:
    module = sys.modules[registry.load("method", name).__module__]
    assert module.__doc__
    assert any(c.isdigit() for c in module.__doc__) or name in ("none",), f"{module.__name__}: name the paper and year"


def refusal(method: Any) -> str | None:
    """Return what the method says to three classes, or None when it takes them."""
    try:
        method.check(("a", "b", "c"))
    except ConfigError as e:
        return str(e)
    return None


@pytest.mark.parametrize("name", GENERATIVE)
def test_it_takes_its_classes_or_refuses_them_by_name(name: str) -> None:
    method = small(name)
    method.check(("benign", "malignant"))
    if (message := refusal(method)) is not None:
        assert "3" in message


@pytest.mark.parametrize("name", TRAINED)
def test_it_makes_what_was_asked_for_and_says_from_what(name: str, made_once: Callable[[str], list[Any]]) -> None:
    method, data, made = small(name), two_class_data(16, 32), made_once(name)
    assert Counter(i.label for i in made) == COUNTS
    side = getattr(method, "side_px", None) or 32  # a method may have a size of its own
    assert all(i.image.shape == (side, side, 3) and i.image.dtype == np.uint8 for i in made)
    assert len({i.image.tobytes() for i in made}) == len(made), "every image is another one"
    label_of = {r.path: r.label for r in data.records}
    for item in made:
        if item.source_path is not None:
            assert label_of[item.source_path] != item.label, "a translation comes from the other class"


@pytest.mark.parametrize("name", STEPPED)
def test_it_logs_its_losses_and_keeps_a_sample_grid(name: str, fit_once: Callable[[str], FakeContext]) -> None:
    ctx = fit_once(name)
    assert small(name).config.steps in {step for step, _ in ctx.history}, "the last step is logged"
    assert all(np.isfinite(v) for _, losses in ctx.history for v in losses.values())
    assert ctx.images, "a sample grid is kept"
    assert "step" in ctx.phases


@pytest.mark.parametrize("name", [n for n in STEPPED if n not in LARGE])
def test_killed_and_resumed_it_makes_the_same_images(
    name: str, made_once: Callable[[str], list[Any]], tmp_path: Path
) -> None:
    method, ctx = small(name), FakeContext(tmp_path / "broken", interrupt_at=2)
    with pytest.raises(Interrupt):
        method.fit(two_class_data(16, 32), ctx)
    assert ctx.checkpoint is not None
    ctx.interrupt_at = None
    small(name).fit(two_class_data(16, 32), ctx)
    whole = {(i.label, i.seed, i.source_path): i.image.tobytes() for i in made_once(name)}
    broken = images(method, tmp_path / "broken", {0: 2, 1: 3})
    assert all(whole[i.label, i.seed, i.source_path] == i.image.tobytes() for i in broken)


@pytest.mark.parametrize("name", TRAINED)
def test_its_first_images_do_not_depend_on_how_many_are_asked_for(
    name: str, fit_once: Callable[[str], FakeContext], made_once: Callable[[str], list[Any]]
) -> None:
    few, many = images(small(name), fit_once(name).folder, {0: 2, 1: 3}), made_once(name)
    for label, n in ((0, 2), (1, 3)):
        first = [i for i in many if i.label == label][:n]
        assert [(i.seed, i.source_path, i.image.tobytes()) for i in first] == [
            (i.seed, i.source_path, i.image.tobytes()) for i in few if i.label == label
        ]


@pytest.mark.parametrize("name", STEPPED)
def test_the_networks_that_it_exports_make_its_images(name: str, fit_once: Callable[[str], FakeContext]) -> None:
    """Of two images at once, and of each alone."""
    method, folder = small(name), fit_once(name).folder
    assert isinstance(method, Exportable)
    side = getattr(method, "side_px", None) or 32
    networks = method.exported_networks(two_class_data(16, 32), folder)
    assert len(networks) == (2 if name in TRANSLATORS else 1)
    for exported in networks.values():
        assert exported.inputs.keys() == exported.meanings.keys()
        with torch.no_grad():
            made = exported.network(*exported.inputs.values())
            alone = exported.network(*(x[1:] for x in exported.inputs.values()))
        assert made.shape == (2, 3, side, side)
        torch.testing.assert_close(alone, made[1:], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", TRANSLATORS)
def test_it_translates_there_and_back_image_by_image(
    name: str, fit_once: Callable[[str], FakeContext], tmp_path: Path
) -> None:
    method, data, folder = small(name), two_class_data(20, 32, seed=3), fit_once(name).folder
    assert method.translation_size_px(32) == 32
    ctx = FakeContext(tmp_path)
    for label in (0, 1):
        sources = data.images()[data.labels == label]
        both = method.cycle(sources, label, folder, ctx)
        assert all(made.dtype == np.uint8 and made.shape == sources.shape for made in both)
        alone = method.cycle(sources[[9, 2, 5]], label, folder, ctx)
        for some, made in zip(alone, both, strict=True):
            assert (some == made[[9, 2, 5]]).all(), "an image does not depend on those beside it"
    (there, _), (back, _) = (method.cycle(data.images()[:2], label, folder, ctx) for label in (0, 1))
    assert (there != back).any(), "each class has its own way"
    assert (there[0] != there[1]).any(), "each image has its own translation"


@pytest.mark.parametrize("name", ["tlsgan_resnet50", "tlsgan_vgg16"])
def test_without_weights_it_fails_in_one_sentence_and_at_once(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: asked.append(address))
    with pytest.raises(WeightsError, match="BENCH_WEIGHTS"):
        fitted(small(name, pretrained=True), tmp_path / "fit", weights=tmp_path)
    assert asked == [], "it waits for no server"


@pytest.mark.parametrize("name", ONLINE)
def test_an_online_method_keeps_shapes_ranges_and_targets(name: str) -> None:
    method = small(name)
    x = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    y = torch.eye(2)[torch.tensor([0, 1, 0, 1, 1, 0])]
    out, targets = method.transform(x.clone(), y.clone(), torch.Generator().manual_seed(2))
    again, _ = method.transform(x.clone(), y.clone(), torch.Generator().manual_seed(2))
    assert out.shape == x.shape
    assert out.dtype == x.dtype
    assert float(out.min()) >= 0
    assert float(out.max()) <= 1
    assert torch.equal(out, again)
    assert targets.shape == y.shape
    assert torch.allclose(targets.sum(1), torch.ones(6))


@pytest.mark.parametrize("name", ONLINE)
def test_an_online_method_weighs_every_image_or_none(name: str) -> None:
    weights = small(name).sampling_weights(np.array([0, 0, 0, 1]))
    assert weights is None or (weights.shape == (4,) and (weights > 0).all())
