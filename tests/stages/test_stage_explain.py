"""Stage explain: the same test images for every arm, each arm's network, nothing from another fold; its picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import nn
from toy import write_squares, write_suite

from bench import registry
from bench.analysis.rows import Rows
from bench.classifiers.config import FineTuneConfig
from bench.classifiers.explain import grad_cam
from bench.classifiers.trainer import predict
from bench.data.loaders import Part
from bench.engine.cell_run import run_cell
from bench.engine.executors.local import limit_threads
from bench.engine.session import Session, prepare
from bench.forecast.workload import workloads
from bench.metrics.predictions import read_predictions
from bench.plan.plan import Cell
from bench.plan.selection import select
from bench.report.charts.explanations import CAPTION, draw_explanations
from bench.report.run_facts import report_info
from bench.stages.classify import NORMALISATION, trained_network
from bench.stages.common import Inputs
from bench.stages.explain import EXPLANATIONS, choose
from bench.store.cell_folders import Artifacts
from bench.tracking.rows import unit_name
from bench.types import ImageRecord, ResultRow

CNN = {"use": "small_cnn", "steps": 4, "evaluate_every": 2, "batch_size": 8, "width": 4, "normalisation": "training"}
FLAT = {"use": "flat", "steps": 2, "evaluate_every": 2, "batch_size": 8, "pretrained": False}


class Flat:
    """A classifier without a grid: weighted pixels of the image."""

    version = 1
    Config = FineTuneConfig

    def __init__(self, config: FineTuneConfig) -> None:
        self.config = config

    def check(self) -> None:
        pass

    def build(self, num_classes: int, image_size_px: int, weights: Path | None) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * image_size_px**2, num_classes))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Session, list[ResultRow]]:
    """Two arms without a generator and two classifiers, of which one cannot be explained; the first fold is done."""
    folder = tmp_path_factory.mktemp("explain")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.REGISTRY["classifier"], "flat", f"{__name__}:Flat")
        methods = {"none": {}, "classical": {}}
        suite = write_suite(folder / "s.yaml", methods=methods, classifiers={"cnn": CNN, "flat": FLAT})
        session = prepare(str(suite), (), write_squares(folder / "data"), folder / "out")
    limit_threads(1)
    return session, [run_cell(c, session.env) for c in session.plan.cells if c.fold == 0]


def cell(session: Session, stage: str, method: str, classifier: str = "cnn", fold: int = 0) -> Cell:
    at = (stage, method, classifier, fold)
    return next(c for c in session.plan.cells if (c.stage, c.method, c.classifier, c.fold) == at)


def explained(session: Session, method: str, classifier: str = "cnn") -> dict[str, np.ndarray]:
    folder = Artifacts(session.env.out).folder(*cell(session, "explain", method, classifier).id)
    with np.load(folder / EXPLANATIONS, allow_pickle=False) as stored:
        return dict(stored)


def test_every_arm_is_explained_on_the_same_test_images(finished: tuple[Session, list[ResultRow]]) -> None:
    session, rows = finished
    assert {(r.status, r.error) for r in rows} == {("done", None)}
    found, other = explained(session, "none"), explained(session, "classical")
    kinds = {name: (value.dtype.kind, value.shape) for name, value in found.items()}
    assert kinds == {
        "images": ("u", (6, 16, 16, 3)),
        "maps": ("f", (6, 16, 16)),
        "labels": ("i", (6,)),
        "probabilities": ("f", (6, 2)),
        "paths": ("U", (6,)),
    }
    assert found["labels"].tolist() == [0, 0, 0, 1, 1, 1]
    for same in ("images", "labels", "paths"):
        np.testing.assert_array_equal(found[same], other[same])
    assert not np.array_equal(found["maps"], other["maps"])
    fold = Inputs(cell(session, "explain", "none"), session.env).fold()
    test = fold.part("test")
    row = {r.path: i for i, r in enumerate(test.records)}
    np.testing.assert_array_equal(found["images"], test.images[[row[p] for p in found["paths"]]])
    assert len({test.groups[row[p]] for p in found["paths"]}) == 6, "as many patients as images"


def test_the_explained_network_is_that_of_the_arm(finished: tuple[Session, list[ResultRow]]) -> None:
    session, _ = finished
    for method in ("none", "classical"):
        found, inputs = explained(session, method), Inputs(cell(session, "explain", method), session.env)
        folder = inputs.upstream("classify")
        network = trained_network(inputs, folder)
        table = read_predictions(folder / "predictions.csv", "test")
        said = table.y_prob[[table.image.index(p) for p in found["paths"]]]
        np.testing.assert_array_equal(found["probabilities"], said)
        np.testing.assert_allclose(predict(network, found["images"], "cpu"), said, atol=1e-6)
        maps = grad_cam(network, found["images"], found["labels"])
        np.testing.assert_array_equal(found["maps"], maps.astype(np.float16))
        assert maps.max() > 0.99


def test_a_network_without_a_grid_is_reported_and_not_an_error(finished: tuple[Session, list[ResultRow]]) -> None:
    session, rows = finished
    (row,) = [r for r in rows if (r.stage, r.method, r.classifier) == ("explain", "none", "flat")]
    assert row.status == "done"
    assert "no layer with a grid" in row.facts["no_maps"]
    assert explained(session, "none", "flat")["maps"].shape == (0, 16, 16)
    (row,) = [r for r in rows if (r.stage, r.method, r.classifier) == ("explain", "none", "cnn")]
    assert (row.facts["layer"], row.facts["grid"], row.facts["images"]) == ("blocks.2.0", [4, 4], 6)


def test_the_harness_knows_the_stage(finished: tuple[Session, list[ResultRow]]) -> None:
    session, rows = finished
    by = {r.stage: r for r in rows if (r.method, r.classifier) == ("none", "cnn")}
    assert unit_name(by["explain"]) == unit_name(by["classify"])
    assert by["explain"].costs["elapsed_s"] > 0
    assert workloads(session.plan)[by["explain"].key].units == {"evaluate": 3.0}
    only = select(session.plan.cells, ["stage=explain", "method=none", "classifier=cnn"])
    assert [c.stage for c in only] == ["split", "classify", "explain"]


def injected(session: Session, change: Callable[[Path], None]) -> str:
    """Return the error of an explanation whose classifier's folder was changed; the folder is restored."""
    explain = cell(session, "explain", "none")
    folder = Artifacts(session.env.out).folder(*cell(session, "classify", "none").id)
    kept = {p: p.read_bytes() for p in folder.iterdir() if p.is_file()}
    done = Artifacts(session.env.out).folder(*explain.id)
    away = done.rename(done.with_suffix(".kept"))
    try:
        change(folder)
        return run_cell(explain, session.env).error or ""
    finally:
        for path, content in kept.items():
            path.write_bytes(content)
        away.rename(done)


def test_a_classifier_of_another_fold_is_refused(finished: tuple[Session, list[ResultRow]]) -> None:
    session, _ = finished

    def trained_elsewhere(folder: Path) -> None:  # the test images of fold 1 are training images here
        table = (folder / "predictions.csv").read_text()
        swapped = table.replace(",validation,", ",x,").replace(",test,", ",validation,").replace(",x,", ",test,")
        (folder / "predictions.csv").write_text(swapped)

    assert injected(session, trained_elsewhere).startswith("LeakageError")


def test_a_normalisation_fitted_on_test_patients_is_refused(finished: tuple[Session, list[ResultRow]]) -> None:
    session, _ = finished
    tested = Inputs(cell(session, "explain", "none"), session.env).fold().part("test").groups[0]

    def fitted_on_all(folder: Path) -> None:
        stored = json.loads((folder / NORMALISATION).read_text())
        (folder / NORMALISATION).write_text(json.dumps(stored | {"groups": [*stored["groups"], tested]}))

    error = injected(session, fitted_on_all)
    assert error.startswith("LeakageError")
    assert tested in error


def part(groups: list[str], labels: list[int]) -> Part:
    n = len(groups)
    records = tuple(ImageRecord(f"{i}.png", labels[i], groups[i], "") for i in range(n))
    return Part(records, np.zeros((n, 1, 1, 3), np.uint8), np.array(labels), tuple(groups))


def test_images_are_chosen_by_seed_and_of_many_patients() -> None:
    groups = ["a"] * 8 + ["b"] * 2 + ["c"] * 1 + ["d"] * 3
    test = part(groups, [0] * 11 + [1] * 3)
    for seed in range(20):
        rows = choose(test, 4, seed)
        assert test.labels[rows].tolist() == [0, 0, 0, 0, 1, 1, 1], "all of a class that has fewer"
        assert {groups[i] for i in rows[:3]} == {"a", "b", "c"}
        assert len(set(rows.tolist())) == 7
        assert choose(test, 2, seed)[:2].tolist() == rows[:2].tolist()
        assert choose(test, 4, seed).tolist() == rows.tolist()
    assert len({tuple(choose(test, 4, seed).tolist()) for seed in range(20)}) > 5


def test_the_report_draws_them(finished: tuple[Session, list[ResultRow]], tmp_path: Path) -> None:
    session, rows = finished
    info = report_info(session, rows)
    drawn = draw_explanations(Rows(rows), info, session.env.out, tmp_path / "a")
    assert drawn == {"pictures/explanations_cnn.png": "cnn: Grad-CAM"}, "nothing of the one without maps"
    assert "qualitative" in CAPTION.lower()
    path = next(iter(drawn))
    with Image.open(tmp_path / "a" / path) as picture:
        assert picture.width >= 640
        coloured = np.asarray(picture).astype(int)
    assert (np.ptp(coloured, axis=2) > 60).any(), "an overlay has colours"
    draw_explanations(Rows(rows), info, session.env.out, tmp_path / "b")
    assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()


def test_the_report_skips_missing_files(finished: tuple[Session, list[ResultRow]], tmp_path: Path) -> None:
    session, rows = finished
    info: Any = report_info(session, rows)
    assert draw_explanations(Rows(rows), info, tmp_path, tmp_path / "a") == {}
    assert draw_explanations(Rows([r for r in rows if r.stage != "explain"]), info, session.env.out, tmp_path) == {}


def test_many_arms_use_several_pages(tmp_path: Path) -> None:
    from report_rows import made_up, row

    rows, info = made_up(tmp_path, folds=1, classifiers=("net/1",), pictures=False, patients=4)
    rng = np.random.default_rng(0)
    for number, arm in enumerate(info.arms):
        folder = tmp_path / f"explain{number}"
        folder.mkdir()
        np.savez_compressed(
            folder / "explanations.npz",
            images=rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8),
            maps=rng.random((2, 32, 32)).astype(np.float16),
            labels=np.array([0, 1]),
            probabilities=np.array([[0.9, 0.1], [0.8, 0.2]]),
            paths=np.array(["a.png", "other.png" if number == 3 else "b.png"]),
        )
        at = {"ratio": arm.ratio, "classifier": "net/1", "folder": folder.name}
        rows.append(row("explain", arm.method, (0, 0), **at))
    drawn = draw_explanations(Rows(rows), info, tmp_path, tmp_path / "out")
    assert list(drawn) == [f"pictures/explanations_net_1{page}.png" for page in ("", "_2", "_3")]
    widths = [Image.open(tmp_path / "out" / p).width for p in drawn]
    step = 128 + 6  # arms: 15, one of them excluded for its other images; the first is on every page
    assert [round((w - min(widths)) / step) for w in widths] == [0, 0, 1]
