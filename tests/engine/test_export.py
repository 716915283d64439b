"""bench export: the lines of the docs give the predictions of the run; generators of every kind make images."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from bench.cli.main import main
from bench.engine.cell_run import run_cell
from bench.engine.session import Session, prepare
from bench.metrics.predictions import read_predictions
from bench.plan.selection import select
from bench.stages.common import Inputs
from bench.store.cell_folders import Artifacts

DOC = Path(__file__).parents[2] / "docs" / "models.md"
SUITE = """
dataset: {name: phantom, image_size_px: 32, patients: 8, images_per_patient: 3}
image_size_px: 32
threads: 1
split: {protocol: kfold, folds: 2, validation_fraction: 0.25}
explain: {images_per_class: 0}
methods:
  none:
  macenko: {use: stain, mode: macenko}
  noise:
  cgan: {steps: 1, batch_size: 4, filters: 4, z_dim: 8}
  flow_matching: {steps: 1, batch_size: 4, filters: 8, sample_steps: 2}
  cyclegan: {steps: 1, batch_size: 1, filters: 4, blocks: 1, disc_filters: 4}
classifiers:
  small_cnn: {steps: 4, batch_size: 8, width: 4, evaluate_every: 2}
  linear_probe: {steps: 20, input_size_px: 32, backbone: test_resnet.r160_in1k, pretrained: false}
"""


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A run with one fold's generators and two classifiers."""
    folder = tmp_path_factory.mktemp("export")
    (folder / "small.yaml").write_text(SUITE)
    session = prepare(str(folder / "small.yaml"), (), None, folder / "runs")
    fold = select(session.plan.cells, ("fold=0", "stage=fit,classify", "ratio=0"))
    fold += [c for c in select(session.plan.cells, ("fold=0", "stage=fit")) if c.stage == "fit"]
    wanted = {("none", "small_cnn"), ("macenko", "linear_probe")}
    for cell in fold:
        if cell.stage != "classify" or (cell.method, cell.classifier) in wanted:
            row = run_cell(cell, session.env)
            assert row.status == "done", row.error
    return session


def export(session: Session, to: Path, *words: str) -> Any:
    suite, out = session.env.out.parent / "small.yaml", session.env.out
    return CliRunner().invoke(main, ["export", "--suite", str(suite), "--out", str(out), "--to", str(to), *words])


def loaded(folder: Path, name: str) -> tuple[Any, dict[str, torch.Tensor]]:
    from safetensors.torch import load_file

    return torch.export.load(folder / f"{name}.pt2").module(), load_file(folder / f"{name}.safetensors")


def filters(**values: str) -> list[str]:
    return [word for key, value in values.items() for word in ("--only", f"{key}={value}")]


@pytest.mark.parametrize(("method", "classifier"), [("none", "small_cnn"), ("macenko", "linear_probe")])
def test_the_five_lines_of_the_docs_give_the_predictions_of_the_run(
    session: Session, method: str, classifier: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = export(session, tmp_path / "exported", *filters(method=method, classifier=classifier))
    assert result.exit_code == 0, result.output
    lines = re.search(r"<!-- tested by: tests/engine/test_export.py -->\n```python\n(.*?)```", DOC.read_text(), re.S)
    assert lines
    assert len([line for line in lines[1].splitlines() if line.strip()]) == 5
    assert "bench" not in lines[1]
    cells = [c for c in session.plan.cells if (c.stage, c.fold, c.method) == ("classify", 0, method)]
    cell = next(c for c in cells if c.classifier == classifier)
    test = Inputs(cell, session.env).fold().part("test")
    names: dict[str, Any] = {"images": torch.tensor(test.images).permute(0, 3, 1, 2) / 255}
    monkeypatch.chdir(tmp_path)
    exec(lines[1], names)
    table = read_predictions(Artifacts(session.env.out).folder(*cell.id) / "predictions.csv").select("test")
    expected = dict(zip(table.image, table.y_prob, strict=True))
    wanted = np.stack([expected[r.path] for r in test.records])
    np.testing.assert_allclose(names["probabilities"].numpy(), wanted, atol=1e-4)
    assert np.ptp(wanted, axis=0).max() > 1e-3, "the predictions differ between images"


def test_the_config_describes_input_classes_and_patients(session: Session, tmp_path: Path) -> None:
    assert export(session, tmp_path, *filters(method="none", classifier="small_cnn")).exit_code == 0
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["classes"] == list(session.plan.index.classes)
    assert config["preprocessing"]["size_px"] == 32
    assert config["networks"]["classifier"]["inputs"]["images"]["shape"] == ["batch", 3, 32, 32]
    assert config["classifier"]["config"]["width"] == 4
    split = next(s for s in session.plan.splits if s.fold == 0)
    group = {r.path: r.group_id for r in session.plan.index.records}
    assert config["trained_or_selected_on_groups"] == sorted({group[p] for p in (*split.train, *split.validation)})


@pytest.mark.parametrize("method", ["cgan", "flow_matching", "cyclegan"])
def test_an_exported_generator_makes_images(session: Session, method: str, tmp_path: Path) -> None:
    result = export(session, tmp_path, "--network", "generator", *filters(method=method))
    assert result.exit_code == 0, result.output
    networks = json.loads((tmp_path / "config.json").read_text())["networks"]
    assert set(networks) == ({"to_0", "to_1"} if method == "cyclegan" else {"generator"})
    for name, described in networks.items():
        network, weights = loaded(tmp_path, name)
        draw = torch.Generator().manual_seed(0)
        given = [
            torch.tensor([0, 1, 1, 0, 1]) if x["dtype"] == "int64" else torch.rand(5, *x["shape"][1:], generator=draw)
            for x in described["inputs"].values()
        ]
        images = network(weights, *given)
        assert images.shape == (5, 3, 32, 32)
        assert images.min() >= 0
        assert images.max() <= 1
        assert float(images.std()) > 0
        half = {k: v / 2 if v.is_floating_point() else v for k, v in weights.items()}
        assert not torch.equal(network(half, *given), images), "the graph has no weights of its own"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), r"2 trained classifiers are selected, expected one; .*\n  classify none small_cnn fold 0\n"),
        (("--only", "fold=1"), "no trained classifier of suite small is selected; train it: bench run --suite"),
        (("--network", "generator", "--only", "method=noise"), "noise has no networks to export"),
    ],
)
def test_what_cannot_be_exported_is_said(
    session: Session, words: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    result = export(session, tmp_path / "to", *words)
    assert result.exit_code == 2
    assert re.search(message, result.output)
    assert not (tmp_path / "to").exists()
