"""Stages segment and translate: a perfect translator reaches the upper reference, a bad one is below; missing data."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy import Toy, write_squares, write_suite

from bench import registry
from bench.data.sets.image_folder import ImageFolder
from bench.engine.cell_run import run_cell
from bench.engine.executors.local import limit_threads
from bench.engine.session import Session, prepare
from bench.plan.plan import Cell, Plan
from bench.plan.selection import select
from bench.store.cell_folders import Artifacts
from bench.types import ResultRow

PHANTOM = {
    "dataset": {"name": "phantom", "patients": 10, "images_per_patient": 5, "image_size_px": 48},
    "image_size_px": 48,
    "methods": {"keeps": {}, "inverts": {}, "smaller": {}},
    "segmentation": {"steps": 50, "batch_size": 4, "filters": 8, "learning_rate": 0.01, "evaluate_every": 25},
}
FCN = ("iou", "pixel_accuracy", "class_accuracy", "foreground_iou")


class Keeps(Toy):
    """A translator that changes nothing."""

    def translation_size_px(self, image_size_px: int) -> int:
        return image_size_px

    def cycle(self, images: np.ndarray, label: int, fitted: Path, ctx: Any) -> tuple[np.ndarray, np.ndarray]:
        return images.copy(), images.copy()


class Inverts(Keeps):
    """Translations are negatives; the way back is one level too dark."""

    def cycle(self, images: np.ndarray, label: int, fitted: Path, ctx: Any) -> tuple[np.ndarray, np.ndarray]:
        return 255 - images, np.where(images > 0, images - 1, 0).astype(np.uint8)


class Smaller(Keeps):
    """A translator for half the suite's image size."""

    def translation_size_px(self, image_size_px: int) -> int:
        return image_size_px // 2


class Stained(ImageFolder):
    """A folder whose images are declared as stained."""

    haematoxylin = True


def register(patch: pytest.MonkeyPatch) -> None:
    for name in ("Keeps", "Inverts", "Smaller"):
        patch.setitem(registry.REGISTRY["method"], name.lower(), f"{__name__}:{name}")
    patch.setitem(registry.REGISTRY["method"], "toy", "toy:Toy")
    patch.setitem(registry.REGISTRY["dataset"], "stained", f"{__name__}:Stained")


def session(folder: Path, **changes: Any) -> Session:
    data = folder / "data"
    if not data.is_dir():
        write_squares(data, size_px=24)
    return prepare(str(write_suite(folder / "s.yaml", **changes)), (), data, folder / "out")


def run(session: Session, **where: Any) -> dict[tuple[str, str | None], ResultRow]:
    """Run the translate cells of fold 0 with their inputs; return the rows by stage and method."""
    limit_threads(1)
    cells = select(session.plan.cells, ["stage=translate", "fold=0"])
    return {(c.stage, c.method): run_cell(c, session.env) for c in cells}


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        register(patch)
        made = session(tmp_path_factory.mktemp("phantom"), **PHANTOM)
        yield made, run(made)


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Session]:
    register(monkeypatch)
    return lambda **changes: session(tmp_path, **{"methods": {"none": {}, "keeps": {}}, **changes})


def folder(session: Session, row: ResultRow) -> Path:
    return session.env.out / row.folder


def test_the_network_segments_real_images_and_evaluates_translations(phantom: Any) -> None:
    _, rows = phantom
    real = rows["fcn_score", None]
    assert real.facts["masks"] == "true"
    assert real.metrics["fcn_score/real_test_iou"] > 0.6
    assert real.metrics["fcn_score/real_test_foreground_iou"] > 0.45
    for name in FCN:
        ceiling = real.metrics[f"fcn_score/real_test_{name}"]
        assert rows["translate", "keeps"].metrics[f"fcn/{name}"] == ceiling, "a translation that changes nothing"
    inverted = rows["translate", "inverts"].metrics["fcn/iou"]
    assert inverted < rows["translate", "smaller"].metrics["fcn/iou"] < real.metrics["fcn_score/real_test_iou"]
    assert rows["translate", "keeps"].facts["fcn_reference"] == "true masks"


def test_cycle_and_unpaired_quality_are_of_all_images_and_of_each_direction(phantom: Any) -> None:
    _, rows = phantom
    kept, inverted = rows["translate", "keeps"].metrics, rows["translate", "inverts"].metrics
    assert (kept["cycle/ssim"], kept["cycle/mse"], kept["cycle/l1"]) == (1, 0, 0)
    assert inverted["cycle/l1"] == pytest.approx(1 / 255, rel=0.01)
    assert inverted["cycle/psnr"] == pytest.approx(20 * np.log10(255), abs=0.1)
    assert kept["unpaired/ssim"] < 0.5
    assert kept["unpaired/mse"] > 0
    assert "unpaired/l1" not in kept
    for name in ("cycle/l1", "unpaired/ssim", "fcn/pixel_accuracy"):
        parts = [inverted[f"{name}/benign_to_malignant"], inverted[f"{name}/malignant_to_benign"]]
        assert min(parts) <= inverted[name] <= max(parts)


def test_a_picture_and_a_table_by_image_are_kept(phantom: Any) -> None:
    session, rows = phantom
    for name in ("keeps", "smaller"):
        row = rows["translate", name]
        with (folder(session, row) / "translations.csv").open(newline="") as f:
            table = list(csv.DictReader(f))
        assert len(table) == row.facts["test_images"] == rows["split", None].facts["test_images"]
        assert {r["class"] for r in table} == {"benign", "malignant"}
        assert np.mean([float(r["cycle_ssim"]) for r in table]) == pytest.approx(row.metrics["cycle/ssim"])
        right = np.mean([float(r["fcn_pixel_accuracy"]) for r in table])
        assert right == pytest.approx(row.metrics["fcn/pixel_accuracy"])
        assert len(list((folder(session, row) / "samples").glob("real_translation_reconstruction_*.png"))) == 1
    segment = folder(session, rows["fcn_score", None])
    assert len(list((segment / "samples").glob("image_mask_prediction_*.png"))) == 1


def test_a_generator_that_saw_test_patients_is_not_evaluated_on_them(phantom: Any) -> None:
    session, rows = phantom
    translate = next(c for c in session.plan.cells if (c.stage, c.method, c.fold) == ("translate", "keeps", 0))
    held_out = min(json.loads((folder(session, rows["split", None]) / "split.json").read_text())["parts"]["test"])
    seen = folder(session, rows["fit", "keeps"]) / "seen_groups.json"
    honest = seen.read_text()
    seen.write_text(json.dumps([*json.loads(honest), held_out]))
    moved = folder(session, rows["translate", "keeps"])
    moved.rename(moved.with_name("aside"))
    try:
        assert (run_cell(translate, session.env).error or "").startswith("LeakageError")
    finally:
        seen.write_text(honest)
        moved.with_name("aside").rename(moved)


def test_without_masks_or_stain_there_is_no_fcn_score_and_a_reason(make: Any) -> None:
    rows = run(make())
    row = rows["translate", "keeps"]
    assert row.status == rows["fcn_score", None].status == "done"
    assert "haematoxylin" in row.facts["no_fcn_score"]
    assert row.facts["masks"] == "none"
    assert not [k for k in row.metrics if k.startswith("fcn/")]
    assert row.metrics["cycle/ssim"] == 1


def test_stained_images_without_masks_are_compared_with_the_prediction_for_their_source(make: Any) -> None:
    dataset = {"name": "stained", "group_regex": r"(?P<group>[bm]\d+)_"}
    small = {"steps": 2, "batch_size": 2, "filters": 2}
    rows = run(make(dataset=dataset, segmentation=small))
    row = rows["translate", "keeps"]
    assert row.facts["masks"] == "haematoxylin threshold"
    assert row.facts["fcn_reference"] == "own prediction on the source image"
    assert row.metrics["fcn/pixel_accuracy"] == 1, "a translation that changes nothing"
    assert rows["fcn_score", None].metrics["fcn_score/real_test_pixel_accuracy"] < 1
    rows = run(make(dataset=dataset, segmentation={**small, "pseudo_masks": "off"}))
    assert "pseudo_masks is off" in rows["translate", "keeps"].facts["no_fcn_score"]


def test_grey_images_have_no_haematoxylin(make: Any, tmp_path: Path) -> None:
    from PIL import Image

    write_squares(tmp_path / "data", size_px=24)
    for path in (tmp_path / "data").rglob("*.png"):
        Image.open(path).convert("L").save(path)
    rows = run(make(dataset={"name": "stained", "group_regex": r"(?P<group>[bm]\d+)_"}))
    assert "grey" in rows["translate", "keeps"].facts["no_fcn_score"]


def keys(plan: Plan, stage: str) -> set[str]:
    return {c.key for c in plan.cells if c.stage == stage}


def test_one_network_per_fold_serves_all_translators(make: Any) -> None:
    plan = make(methods={"none": {}, "toy": {}, "keeps": {}, "inverts": {}}).plan
    assert [c.method for c in plan.cells if c.stage == "fcn_score"] == [None, None]
    assert sorted(str(c.method) for c in plan.cells if c.stage == "translate") == ["inverts"] * 2 + ["keeps"] * 2
    alone = make(methods={"none": {}, "toy": {}}).plan
    assert not keys(alone, "fcn_score") | keys(alone, "translate")
    chosen: list[Cell] = select(plan.cells, ["method=keeps", "fold=1"])
    assert {(c.stage, c.method) for c in chosen if c.stage in ("fcn_score", "translate")} == {
        ("fcn_score", None),
        ("translate", "keeps"),
    }


def test_another_network_or_other_masks_evaluate_again_and_train_no_generator(make: Any, tmp_path: Path) -> None:
    before, after = make().plan, make(segmentation={"steps": 7}).plan
    for stage in ("fcn_score", "translate"):
        assert not keys(before, stage) & keys(after, stage)
    for stage in ("fit", "classify"):
        assert keys(before, stage) == keys(after, stage)
    phantom = {**PHANTOM, "methods": {"keeps": {}}}
    before = make(**phantom).plan
    mask = before.index.root / before.index.records[0].mask_paths[0]
    mask.write_bytes((before.index.root / before.index.records[1].mask_paths[0]).read_bytes())
    after = make(**phantom).plan
    assert not keys(before, "fcn_score") & keys(after, "fcn_score")
    assert keys(before, "fit") == keys(after, "fit")


def test_a_finished_segmentation_is_found_by_its_folder(phantom: Any) -> None:
    session, rows = phantom
    again = run(session)
    assert {k: dict(r.metrics) for k, r in again.items()} == {k: dict(r.metrics) for k, r in rows.items()}
    artifacts = Artifacts(session.env.out)
    assert all(artifacts.is_done(*c.id) for c in select(session.plan.cells, ["stage=fcn_score", "fold=0"]))
