"""Promises held by every registered dataset and classifier, and by every shipped suite."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from data_sets import LAYOUTS

from bench import registry
from bench.config import build
from bench.data.records import fingerprint
from bench.errors import BenchError, ConfigError, DataError
from bench.suite.shipped import sub_suite_names, suite_files
from bench.suite.suite import load_suite

MADE_HERE = ("phantom", "phantom_ihc")  # needs no folder from the user


@pytest.mark.parametrize("name", registry.names("dataset"))
def test_a_dataset_lists_its_images_or_says_what_it_expects(name: str, tmp_path: Path) -> None:
    cls = registry.load("dataset", name)
    small = {"patients": 6, "images_per_patient": 2} if name in MADE_HERE else {}
    dataset = cls(build(cls.Config, small, name))
    if name not in MADE_HERE:
        with pytest.raises(DataError, match="--data"):
            dataset.index(None, tmp_path)
        with pytest.raises(DataError, match="nowhere"):
            dataset.index(tmp_path / "nowhere", tmp_path)
        return
    index = dataset.index(None, tmp_path)
    paths = [r.path for r in index.records]
    assert paths == sorted(set(paths))
    assert {r.label for r in index.records} == set(range(len(index.classes)))
    assert all((index.root / p).is_file() for p in paths)
    assert fingerprint(index) == fingerprint(dataset.index(None, tmp_path))


@pytest.mark.parametrize("name", [n for n in registry.names("dataset") if n not in MADE_HERE])
def test_a_dataset_of_files_reads_its_layout(name: str, tmp_path: Path) -> None:
    assert name in LAYOUTS, f"tests/data_sets.py needs a small {name} in LAYOUTS"
    root = LAYOUTS[name](tmp_path / "set")
    dataset = registry.load("dataset", name)(build(registry.load("dataset", name).Config, {}, name))
    index, listing = dataset.index(root, tmp_path / "cache"), dataset.listing(root)
    assert index.name == name
    assert index.problems == listing.foreign == ()
    assert index.classes == listing.classes
    assert [r.path for r in index.records] == sorted(f.path for f in listing.files)
    assert {r.label for r in index.records} == set(range(len(index.classes)))
    masks = {m for r in index.records for m in r.mask_paths}
    assert all((index.root / p).is_file() for p in masks | {r.path for r in index.records})
    assert not masks & {r.path for r in index.records}  # a mask is never an image
    assert bool(masks) == listing.has_masks
    assert listing.knows_groups or all(f.group == f.path for f in listing.files)
    assert dataset.index(root, tmp_path / "cache") == index
    with pytest.raises(ConfigError, match=r"on_near_duplicate.*'group'"):
        build(type(dataset).Config, {"on_near_duplicate": "ignore"}, name)


@pytest.mark.parametrize("name", [*registry.names("classifier"), "test_resnet"])
def test_a_classifier_maps_images_to_logits(name: str) -> None:
    cls = registry.load("classifier", name)
    fields = {f.name for f in dataclasses.fields(cls.Config)}
    config = build(cls.Config, {"pretrained": False, **({"model": name} if "model" in fields else {})}, name)
    classifier = cls(config)
    classifier.check()
    network = classifier.build(3, 32, None).eval()
    with torch.no_grad():
        logits = network(torch.rand(2, 3, 32, 32))
    assert logits.shape == (2, 3)
    assert np.isfinite(logits.numpy()).all()


def test_an_unknown_network_is_named_with_its_nearest() -> None:
    cls = registry.load("classifier", "resnet19")
    with pytest.raises(ConfigError, match="resnet18"):
        cls(cls.Config(model="resnet19")).check()


@pytest.mark.parametrize("name", sorted(s for name in suite_files() for s in sub_suite_names(name) or (name,)))
def test_a_shipped_suite_can_be_built(name: str) -> None:
    suite = load_suite(name)
    assert suite.settings.description
    assert "none" in {m.name for m in suite.methods} or not suite.classifiers  # where nothing is augmented
    for spec in (*suite.methods, *suite.classifiers):
        assert spec.create() is not None


def test_a_registered_name_that_cannot_be_imported_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.REGISTRY["method"], "broken", "nowhere.at_all:X")
    with pytest.raises(BenchError, match=r"nowhere\.at_all"):
        registry.load("method", "broken")
