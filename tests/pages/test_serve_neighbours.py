"""The nearest images on the page of `bench serve`: by features, and while features are made."""

from __future__ import annotations

import io
import shutil
import threading
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from serve_client import Client, ask, image_of, pixels
from toy import write_suite

from bench.data.synthetic_files import load_synthetic
from bench.engine.cell_run import run_cell
from bench.engine.executors.local import limit_threads
from bench.engine.session import Session, prepare
from bench.metrics.features import FeatureExtractor
from bench.pages.serve import alike
from bench.pages.serve.neighbours import nearest
from bench.plan.selection import select
from bench.store.cell_folders import Artifacts

SUITE: dict[str, Any] = {
    "dataset": {"name": "phantom", "patients": 8, "images_per_patient": 3, "image_size_px": 64},
    "image_size_px": 64,
    "split": {"protocol": "holdout", "validation_fraction": 0.3},
    "ratios": [0.5, 1.0],
    "fidelity": {"input_size_px": 64},
    "methods": {"none": {}, "cgan": {"steps": 1, "batch_size": 4, "filters": 4, "z_dim": 4}},
    "classifiers": {"small_cnn": {"steps": 2, "evaluate_every": 2, "batch_size": 8, "width": 4}},
}


class Finished(NamedTuple):
    suite: Path
    session: Session


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run whose synthetic images are scored: their features and those of the training images are in its cache."""
    folder = tmp_path_factory.mktemp("serve")
    suite = write_suite(folder / "near.yaml", **SUITE)
    session = prepare(str(suite), (), None, folder / "out")
    limit_threads(1)
    for cell in select(session.plan.cells, ["stage=split,fit,synthesize,memorised,classify"]):
        row = run_cell(cell, session.env)
        assert row.status == "done", row.error
    return Finished(suite, session)


@pytest.fixture(scope="module")
def client(finished: Finished) -> Client:
    return Client(finished.session)


@pytest.fixture
def copied(finished: Finished, tmp_path: Path) -> Session:
    """The same run in a folder of its own, without features."""
    shutil.copytree(finished.session.env.out, tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "cache" / "features")
    return prepare(str(finished.suite), (), None, tmp_path / "out")


def features_in(session: Session) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in (session.env.out / "cache" / "features").iterdir()}


def changed(content: bytes, how: str) -> bytes:
    image = Image.open(io.BytesIO(content)).convert("RGB")
    image = ImageOps.mirror(image) if how == "flipped" else ImageEnhance.Brightness(image).enhance(1.1)
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def test_neighbours_are_what_the_classifier_was_trained_on(client: Client, finished: Finished) -> None:
    content = image_of(finished.session, "train")
    seen = client.classify(content, arm="cgan ×0.5").json
    found = client.neighbours(content, "cgan ×0.5")
    assert found["why"] == ""
    first = found["training"][0]
    assert (first["name"], first["distance"]) == (seen["known"]["path"], 0)
    assert (pixels(first["image"]) == pixels(seen["image"])).all()
    for images in (found["training"], found["synthetic"]):
        distances = [n["distance"] for n in images]
        assert len(images) == 4
        assert distances == sorted(distances)
    assert found["training"][1]["distance"] > 0
    (made,) = (c for c in finished.session.plan.cells if c.stage == "synthesize" and c.method == "cgan")
    records = load_synthetic(Artifacts(finished.session.env.out).folder(*made.id)).records
    by_class = [[r.path for r in records if r.label == label] for label in (0, 1)]
    used = {path for paths in by_class for path in paths[: (len(paths) + 1) // 2]}
    names = {n["name"] for n in found["synthetic"]}
    assert names <= used < {r.path for r in records}
    assert client.neighbours(content, "none")["synthetic"] is None


@pytest.mark.parametrize("how", ["flipped", "brightened"])
def test_a_changed_copy_is_found_by_features(client: Client, finished: Finished, how: str) -> None:
    content = image_of(finished.session, "train")
    name = client.neighbours(content)["training"][0]["name"]
    first, second, *_ = client.neighbours(changed(content, how))["training"]
    assert first["name"] == name
    assert 0 < first["distance"] < second["distance"] / 2


def test_features_of_a_finished_run_are_not_made_again(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[int] = []
    embed = FeatureExtractor.embed

    def counted(self: FeatureExtractor, batches: Any, labels: Any, *rest: Any) -> Any:
        looked_at.append(len(labels))
        return embed(self, batches, labels, *rest)

    monkeypatch.setattr(FeatureExtractor, "embed", counted)
    before, client = features_in(finished.session), Client(finished.session)
    assert client.neighbours(image_of(finished.session, "test"), "cgan ×1")["extractor"]
    assert looked_at == [1]  # the image that was sent
    assert features_in(finished.session) == before


def test_missing_features_are_made_once_and_kept(client: Client, finished: Finished, copied: Session) -> None:
    content = image_of(copied, "test")
    found = Client(copied).neighbours(content, "cgan ×1")
    assert found == client.neighbours(content, "cgan ×1")
    made, before = features_in(copied), features_in(finished.session)
    assert made.items() <= before.items()  # the same entries, bit for bit
    assert len(made) == 2  # of training and of synthetic images
    assert not [p for p in (copied.env.out / "cache").iterdir() if "tmp" in p.name]


def test_others_are_answered_while_features_are_made(copied: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, embed = threading.Event(), FeatureExtractor.embed

    def slow(self: FeatureExtractor, *of: Any) -> Any:
        assert go_on.wait(60)
        return embed(self, *of)

    monkeypatch.setattr(FeatureExtractor, "embed", slow)
    client, content = Client(copied), image_of(copied, "test")

    def once(arm: str) -> Any:
        values: dict[str, Any] = {"run": client.run, "cell": client.cell("classifiers", arm=arm)}
        return ask(client.app, "POST", "/api/neighbours", content, **values).json

    try:
        making = once("cgan ×1")
        assert making["making"]["done"] == 0 < making["making"]["total"]
        assert once("none") == once("cgan ×1") == making  # one at a time, and each once
        assert client.classify(content).status == 200
    finally:
        go_on.set()
    assert client.neighbours(content, "cgan ×1")["extractor"] == client.neighbours(content)["extractor"]


def test_without_weights_it_says_so(
    finished: Finished, copied: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def forbidden(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a host was asked")

    monkeypatch.setattr(urllib.request, "urlopen", forbidden)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    suite = write_suite(tmp_path / "other.yaml", **{**SUITE, "fidelity": {"extractor": "repvgg_a0"}})
    session = prepare(str(suite), (), None, copied.env.out)
    client, content = Client(session), image_of(session, "train")
    found = client.neighbours(content, "cgan ×1")
    assert list(found) == ["why"]
    assert found["why"].startswith("no pretrained weights for 'repvgg_a0' on this machine")


def test_cosine_distances() -> None:
    rows = np.array([[2, 0], [0, 3], [-1, 0], [1, 1], [0, 0]], dtype=np.float32)
    found = alike.cosine_distances(rows, np.array([5.0, 0.0]))
    assert found == pytest.approx([0, 1, 2, 1 - np.sqrt(0.5), 1])
    assert alike.cosine_distances(rows[:0], np.array([5.0, 0.0])).shape == (0,)
    assert nearest((), np.zeros(0), 4) == []
