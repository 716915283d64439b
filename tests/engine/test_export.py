"""bench export: the lines of the docs give the predictions of the run; generators of every kind make images."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from bench.cli.main import main
from bench.engine.cell_run import run_cell
from bench.engine.export import Program, write_program
from bench.engine.session import Session, prepare
from bench.errors import BenchError
from bench.metrics.predictions import read_predictions
from bench.stages.common import Inputs
from bench.store.cell_folders import Artifacts

DOC = Path(__file__).parents[2] / "docs" / "models.md"
SUITE = """
dataset: {name: phantom, image_size_px: 32, patients: 8, images_per_patient: 2}
image_size_px: 32
threads: 1
split: {protocol: kfold, folds: 2, validation_fraction: 0.25}
explain: {images_per_class: 0}
methods:
  none:
  macenko: {use: stain, mode: macenko}
  noise:
  cgan: {steps: 1, batch_size: 4, filters: 4, z_dim: 8}
classifiers:
  small_cnn: {steps: 4, batch_size: 8, width: 4, evaluate_every: 2}
"""
DONE = {("split", None), ("fit", "cgan"), ("fit", "noise"), ("classify", "none"), ("classify", "macenko")}


@pytest.fixture(autouse=True)
def _no_trace_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch logs every traced tensor; pytest would format and keep each line."""
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "disabled", True)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A run with two generators and two classifiers of one fold."""
    folder = tmp_path_factory.mktemp("export")
    (folder / "small.yaml").write_text(SUITE)
    session = prepare(str(folder / "small.yaml"), (), None, folder / "runs")
    for cell in session.plan.cells:
        if cell.fold == 0 and (cell.stage, cell.method) in DONE and cell.ratio in (None, "0"):
            row = run_cell(cell, session.env)
            assert row.status == "done", row.error
    return session


def export(session: Session, to: Path, *words: str) -> Any:
    suite, out = session.env.out.parent / "small.yaml", session.env.out
    return CliRunner().invoke(main, ["export", "--suite", str(suite), "--out", str(out), "--to", str(to), *words])


def test_the_five_lines_of_the_docs_give_the_predictions_of_the_run(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a classifier whose images are stain-normalised, which the graph does too."""
    result = export(session, tmp_path / "exported", "--only", "method=macenko")
    assert result.exit_code == 0, result.output
    lines = re.search(r"<!-- tested by: tests/engine/test_export.py -->\n```python\n(.*?)```", DOC.read_text(), re.S)
    assert lines
    assert len([line for line in lines[1].splitlines() if line.strip()]) == 5
    assert "bench" not in lines[1]
    cell = next(c for c in session.plan.cells if (c.stage, c.fold, c.method) == ("classify", 0, "macenko"))
    fold = Inputs(cell, session.env).fold()
    test = fold.part("test")
    names: dict[str, Any] = {"images": torch.tensor(test.images).permute(0, 3, 1, 2) / 255}
    monkeypatch.chdir(tmp_path)
    exec(lines[1], names)
    table = read_predictions(Artifacts(session.env.out).folder(*cell.id) / "predictions.csv").select("test")
    expected = dict(zip(table.image, table.y_prob, strict=True))
    wanted = np.stack([expected[r.path] for r in test.records])
    np.testing.assert_allclose(names["probabilities"].numpy(), wanted, atol=1e-4)
    assert np.ptp(wanted, axis=0).max() > 1e-3, "the predictions differ between images"

    config = json.loads((tmp_path / "exported" / "config.json").read_text())
    assert config["classes"] == list(session.plan.index.classes)
    assert config["preprocessing"]["size_px"] == 32
    assert config["networks"]["classifier"]["inputs"]["images"]["shape"] == ["batch", 3, 32, 32]
    assert (config["classifier"]["config"]["width"], config["method"]["config"]["mode"]) == (4, "macenko")
    seen = fold.fold_parts.parts["train"].groups | fold.fold_parts.parts["validation"].groups
    assert config["trained_or_selected_on_groups"] == sorted(seen)


def test_an_exported_generator_makes_images_from_the_weights_that_are_given(session: Session, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    result = export(session, tmp_path, "--network", "generator", "--only", "method=cgan")
    assert result.exit_code == 0, result.output
    network = torch.export.load(tmp_path / "generator.pt2").module()
    weights = load_file(tmp_path / "generator.safetensors")
    noise, labels = torch.randn(5, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 1, 0, 1])
    images = network(weights, noise, labels)
    assert images.shape == (5, 3, 32, 32)
    assert images.min() >= 0
    assert images.max() <= 1
    halved = {k: v / 2 if v.is_floating_point() else v for k, v in weights.items()}
    assert not torch.equal(network(halved, noise, labels), images), "the graph has no weights of its own"


def test_a_network_with_a_fixed_batch_size_is_an_error(tmp_path: Path) -> None:
    class Fixed(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images * len(images)

    program = Program(Fixed(), {"images": torch.ones(2, 1)}, {"images": ""}, "")
    with pytest.raises(BenchError, match=r"fixed: torch\.export cannot export this network"):
        write_program(program, tmp_path, "fixed")


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
