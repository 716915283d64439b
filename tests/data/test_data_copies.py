"""Handling of copies before any split: grouped, dropped, refused or kept, and always reported."""

from __future__ import annotations

from pathlib import Path

import pytest
from data_sets import jpeg, png, scene, write

import bench.data.records as records_module
from bench.data.sets.image_folder import ImageFolder, ImageFolderConfig
from bench.data.splits import PARTS, SplitConfig, make_splits
from bench.errors import DataError
from bench.types import DatasetIndex


def index(root: Path, **options: object) -> DatasetIndex:
    config = ImageFolderConfig(group_regex=r"/(?P<group>P\d+)_", **options)  # type: ignore[arg-type]
    return ImageFolder(config).index(root, root.parent / "cache")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six patients per class with two images each, and the copies used in the tests."""
    root = tmp_path / "set"
    for label, name in enumerate("ab"):
        for patient in range(6):
            for i in range(2):
                write(root / name / f"P{label}{patient}_{i}.png", png(scene(100 * label + 10 * patient + i)))
    write(root / "a" / "P00_copy.jpg", jpeg(scene(0)))  # of P00_0, same patient: allowed
    write(root / "a" / "P05_copy.jpg", jpeg(scene(10).rotate(90, expand=True)))  # of P01_0
    write(root / "a" / "P04_copy.jpg", jpeg(scene(10).resize((100, 80))))  # of P01_0 too
    write(root / "b" / "P15_copy.jpg", jpeg(scene(20)))  # of P02_0, which is an a
    return root


CONFLICT = {"a/P02_0.png", "b/P15_copy.jpg"}
CROSSING = {"a/P04_copy.jpg", "a/P05_copy.jpg"}


def test_group_merges_patients_and_excludes_conflicts(folder: Path) -> None:
    found = index(folder)
    kinds = {p.path: p.kind for p in found.problems}
    assert {p for p, k in kinds.items() if k == "near_copy_under_two_labels"} == CONFLICT
    assert {p for p, k in kinds.items() if k == "near_copy_across_groups"} == CROSSING
    assert len(kinds) == 4
    records = found.by_path()
    assert not CONFLICT & set(records)
    assert len(records) == 24 + 4 - 2
    for patient in ("P01", "P04", "P05"):
        assert records[f"a/{patient}_1.png"].group_id == "P01"
    assert {r.group_id for r in records.values()} == {f"P{i:02d}" for i in range(16)} - {
        f"P{i:02d}" for i in range(4, 10)
    }


def test_no_split_separates_near_copies(folder: Path) -> None:
    found = index(folder)
    for split in make_splits(found, SplitConfig(folds=3, repeats=3)):
        part = {path: name for name in PARTS for path in getattr(split, name)}
        assert len({part[p] for p in ("a/P01_0.png", "a/P04_copy.jpg", "a/P05_copy.jpg")}) == 1


def test_messages_name_the_finding_and_the_action(folder: Path) -> None:
    details = {p.path: p.detail for p in index(folder).problems}
    assert "near copy of a/P01_0.png" in details["a/P05_copy.jpg"]
    assert "turned 270°" in details["a/P05_copy.jpg"]
    assert "both are of group 'P01' now" in details["a/P05_copy.jpg"]
    assert "a/P02_0.png, which is labelled a" in details["b/P15_copy.jpg"]


def test_drop_keeps_the_first_by_path_and_every_patient(folder: Path) -> None:
    found = index(folder, on_near_duplicate="drop")
    assert not (CONFLICT | CROSSING) & set(found.by_path())
    assert "a/P00_copy.jpg" in found.by_path()  # within one patient
    assert len({r.group_id for r in found.records}) == 12
    assert {p.path for p in found.problems} == CONFLICT | CROSSING


def test_keep_reports_and_keeps(folder: Path) -> None:
    found = index(folder, on_near_duplicate="keep")
    assert len(found.records) == 28
    assert len({r.group_id for r in found.records}) == 12
    assert {p.path for p in found.problems} == CONFLICT | CROSSING


def test_refuse_names_them_all(folder: Path) -> None:
    with pytest.raises(DataError, match="on_near_duplicate") as e:
        index(folder, on_near_duplicate="refuse")
    assert all(path in str(e.value) for path in CONFLICT | CROSSING)
    for path in CONFLICT | CROSSING:
        (folder / path).unlink()
    assert len(index(folder, on_near_duplicate="refuse").records) == 24


def test_an_image_similar_to_one_with_two_labels_is_excluded(folder: Path) -> None:
    twice = png(scene(500))
    write(folder / "a" / "P03_x.png", twice)
    write(folder / "b" / "P13_x.png", twice)
    write(folder / "b" / "P13_y.jpg", jpeg(scene(500)))
    found = index(folder)
    kinds = {p.path: p.kind for p in found.problems}
    assert kinds["b/P13_y.jpg"] == "near_copy_under_two_labels"
    assert not {"a/P03_x.png", "b/P13_x.png", "b/P13_y.jpg"} & set(found.by_path())


def test_a_second_start_reads_no_image(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = index(folder)
    monkeypatch.setattr(records_module, "decode", lambda content: pytest.fail("decoded again"))
    monkeypatch.setattr(records_module, "look_at", lambda image: pytest.fail("looked at again"))
    assert index(folder) == first


def test_pairs_are_found_again_from_cached_hashes(folder: Path) -> None:
    first = index(folder)
    for memory in (folder.parent / "cache").glob("near-*.json"):
        memory.unlink()
    assert index(folder) == first  # the thumbnails of candidates are computed again from their files
