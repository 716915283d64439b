"""bench generate: images of a run's generator or of one trained on all images, always the same ones, with a note."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from click.testing import CliRunner
from PIL import Image

from bench import registry
from bench.cli.main import main
from bench.data.splits import load_split
from bench.engine.cell_run import run_cell
from bench.engine.session import prepare
from bench.types import SyntheticImage


class Translating(toy.Toy):
    """A toy method whose images come from images of the other class."""

    def synthesize(self, data: Any, counts: Any, fitted: Path, ctx: Any) -> Iterator[SyntheticImage]:
        for item in super().synthesize(data, counts, fitted, ctx):
            source = next(r.path for r in data.records if r.label != item.label)
            yield SyntheticImage(item.image, item.label, item.seed, source)


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A suite of the toy method, which imports as 'toy', and its images in data/."""
    toy.register(monkeypatch)
    monkeypatch.setattr(toy, "Translating", Translating, raising=False)
    monkeypatch.setitem(registry.REGISTRY["method"], "translating", "toy:Translating")
    toy.write_squares(tmp_path / "data")
    return toy.write_suite(tmp_path / "toy.yaml", methods={"none": {}, "toy": {}, "translating": {}})


def generate(suite: Path, out: str, *words: str, method: str = "toy", count: int = 3) -> Any:
    folder = suite.parent
    common = ("--suite", str(suite), "--data", str(folder / "data"), "--store", str(folder / "runs"))
    wanted = ("--method", method, "--class", "malignant", "--count", str(count), "--device", "cpu")
    return CliRunner().invoke(main, ["generate", "--out", str(folder / out), *common, *wanted, *words])


def succeeded(result: Any) -> None:
    assert result.exit_code == 0, result.output


def manifest(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(newline="") as f:
        return list(csv.DictReader(f))


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_same_command_gives_the_same_images_and_trains_once(suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = suite.parent
    succeeded(generate(suite, "a"))
    rows = manifest(folder / "a")
    assert [row["file"] for row in rows] == [f"images/1/seed0_0000{i}.png" for i in range(3)]
    assert {(row["class"], row["source_image"]) for row in rows} == {("malignant", "")}
    shown = [np.asarray(Image.open(folder / "a" / row["file"])) for row in rows]
    assert all(image.shape == (16, 16, 3) for image in shown)
    assert len({image.tobytes() for image in shown}) == 3
    monkeypatch.setattr(toy.Toy, "fit", None)  # a second training would fail
    succeeded(generate(suite, "a"))
    succeeded(generate(suite, "b"))
    assert content(folder / "a") == content(folder / "b")
    succeeded(generate(suite, "b", "--seed", "1", "--class", "benign", count=2))
    more = content(folder / "b")
    assert len(manifest(folder / "b")) == 7
    assert {name: more[name] for name in content(folder / "a") if name.startswith("images")} == {
        name: data for name, data in content(folder / "a").items() if name.startswith("images")
    }


def test_the_note_lists_every_patient_that_the_generator_has_seen(suite: Path) -> None:
    succeeded(generate(suite, "a", "--set", "methods.toy.steps=3"))
    note = json.loads((suite.parent / "a" / "note.json").read_text())
    patients = [f"{letter}{i}" for letter in "bm" for i in range(toy.PATIENTS)]
    assert note["training_groups"] == patients
    assert (note["trained_on"], note["training_images"]) == ("all images", len(patients) * toy.IMAGES)
    assert note["config"]["steps"] == 3
    assert note["licence_of_the_data_set"].startswith("unknown")
    text = (suite.parent / "a" / "note.txt").read_text()
    assert text.split("Groups:\n")[1].split() == patients


def test_an_interrupted_training_is_resumed_and_gives_the_same_images(
    suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = suite.parent
    words = ("--set", "methods.toy.fail_at=4")
    assert generate(suite, "a", *words).exit_code != 0
    assert not (folder / "a").exists()
    (folder / "runs" / "cells" / "generator" / "mended").touch()
    steps: list[int] = []
    from bench.stages.context import CellContext

    log = CellContext.log
    monkeypatch.setattr(CellContext, "log", lambda self, step, *rest: (steps.append(step), log(self, step, *rest))[1])
    succeeded(generate(suite, "a", *words))
    assert steps == [5, 6], "the first four steps are not done again"
    succeeded(generate(suite, "b"))
    images = [[d for n, d in content(folder / name).items() if n.startswith("images")] for name in "ab"]
    assert images[0] == images[1]


def test_a_run_s_generator_is_used_with_the_patients_of_its_fold(suite: Path) -> None:
    folder = suite.parent
    refused = generate(suite, "a", "--fold", "0")
    assert refused.exit_code == 2
    assert "toy, fold 0: not trained in" in refused.output
    session = prepare(str(suite), (), folder / "data", folder / "runs")
    cells = [c for c in session.plan.cells if c.stage in ("split", "fit") and c.fold == 0 and c.method != "translating"]
    for cell in cells:
        assert run_cell(cell, session.env).status == "done"
    succeeded(generate(suite, "a", "--fold", "0"))
    note = json.loads((folder / "a" / "note.json").read_text())
    split = load_split(folder / "runs" / "cells" / "split" / cells[0].key / "split.json")
    assert note["trained_on"] == "the training part of fold 0"
    assert note["training_groups"] == sorted({Path(p).name.split("_")[0] for p in split.train})
    assert not (folder / "runs" / "cells" / "generator").exists()
    other = generate(suite, "a")
    assert other.exit_code == 2
    assert "has images of the generator" in other.output


def test_translations_name_their_source_image_and_its_patient(suite: Path) -> None:
    succeeded(generate(suite, "a", method="translating"))
    for row in manifest(suite.parent / "a"):
        assert row["source_image"].startswith("benign/")
        assert row["source_group"] == Path(row["source_image"]).name.split("_")[0]


def test_a_folder_without_a_suite_needs_the_method_only(suite: Path) -> None:
    folder = suite.parent
    words = ["--out", str(folder / "a"), "--data", str(folder / "data"), "--store", str(folder / "runs")]
    words += ["--method", "noise", "--class", "benign", "--count", "1", "--set", "image_size_px=24"]
    succeeded(CliRunner().invoke(main, ["generate", *words]))
    assert Image.open(folder / "a" / manifest(folder / "a")[0]["file"]).size == (24, 24)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--class", "malignent"), "no such class; did you mean 'malignant'?"),
        (("--method", "none"), "not a generative method of this suite"),
    ],
)
def test_what_is_not_there_is_named(suite: Path, words: tuple[str, ...], message: str) -> None:
    result = generate(suite, "a", *words)
    assert result.exit_code == 2
    assert message in result.output
    assert not (suite.parent / "a").exists()
