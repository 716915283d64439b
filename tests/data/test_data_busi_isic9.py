"""BUSI and ISIC9: images and masks are separated, nested folders are found, layouts are recognised."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from data_sets import busi_set, isic9_set, picture, png, two_classes, write

from bench.data.records import fingerprint
from bench.data.sets.breakhis import BreakHis, BreakHisConfig
from bench.data.sets.busi import Busi, BusiConfig
from bench.data.sets.detect import detect
from bench.data.sets.isic9 import CLASSES, Isic9, Isic9Config
from bench.errors import ConfigError, DataError
from bench.types import DatasetIndex


def busi(root: Path, tmp_path: Path, **options: object) -> DatasetIndex:
    return Busi(BusiConfig(**options)).index(root, tmp_path / "cache")  # type: ignore[arg-type]


def isic9(root: Path, tmp_path: Path, **options: object) -> DatasetIndex:
    return Isic9(Isic9Config(**options)).index(root, tmp_path / "cache")  # type: ignore[arg-type]


def test_busi_masks_belong_to_their_image_in_order(tmp_path: Path) -> None:
    root = busi_set(tmp_path / "set")
    folder = root / "Dataset_BUSI_with_GT"
    write(folder / "benign" / "benign (2)_mask_10.png", png(picture(7, (40, 30), "1")))
    found = busi(root, tmp_path)
    assert len(found.records) == 9
    record = found.by_path()["benign/benign (2).png"]
    stem = "benign/benign (2)_mask"
    assert record.mask_paths == (f"{stem}.png", f"{stem}_1.png", f"{stem}_10.png")
    assert found.by_path()["benign/benign (1).png"].mask_paths == ("benign/benign (1)_mask.png",)


def test_busi_from_any_folder_above_is_the_same(tmp_path: Path) -> None:
    root = busi_set(tmp_path / "set")
    outer = tmp_path / "kaggle" / "Dataset_BUSI_with_GT"
    shutil.copytree(root, outer)
    found = [busi(r, tmp_path) for r in (root, root / "Dataset_BUSI_with_GT", outer.parent)]
    assert len({fingerprint(i) for i in found}) == 1


def test_busi_mask_without_an_image_is_named_or_refused(tmp_path: Path) -> None:
    root = busi_set(tmp_path / "set")
    (root / "Dataset_BUSI_with_GT" / "benign" / "benign (3).png").unlink()
    found = busi(root, tmp_path)
    assert [(p.path, p.kind) for p in found.problems] == [("benign/benign (3)_mask.png", "mask_without_image")]
    with pytest.raises(DataError, match=r"benign \(3\)_mask"):
        busi(root, tmp_path, on_bad_image="refuse")


def test_busi_classes_can_be_chosen(tmp_path: Path) -> None:
    root = busi_set(tmp_path / "set")
    found = busi(root, tmp_path, classes=("malignant", "benign"))
    assert found.classes == ("malignant", "benign")
    assert {r.path.split("/")[0]: r.label for r in found.records} == {"malignant": 0, "benign": 1}
    with pytest.raises(ConfigError, match="did you mean 'benign'"):
        BusiConfig(classes=("benig", "normal"))
    with pytest.raises(ConfigError, match="at least 2"):
        BusiConfig(classes=("benign", "benign"))


@pytest.mark.parametrize("above", ["", "Skin cancer ISIC", "ISIC9/Skin cancer ISIC"])
def test_isic9_train_folder_is_found_at_any_depth(tmp_path: Path, above: str) -> None:
    plain = isic9_set(tmp_path / "plain")
    nested = tmp_path / "nested" / above
    nested.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(plain, nested, dirs_exist_ok=True)
    write(nested / "Test" / "nevus" / "ISIC_9.png", png(picture(999)))
    found = isic9(tmp_path / "nested", tmp_path)
    assert fingerprint(found) == fingerprint(isic9(plain / "Train", tmp_path))
    assert len(found.records) == 18
    assert found.classes == CLASSES


def test_isic9_classes_can_be_chosen(tmp_path: Path) -> None:
    root = isic9_set(tmp_path / "set")
    assert {r.label for r in isic9(root, tmp_path, classes=("nevus", "melanoma")).records} == {0, 1}
    with pytest.raises(ConfigError, match="did you mean 'melanoma'"):
        Isic9Config(classes=("melanom", "nevus"))


def test_isic9_an_image_also_in_an_unselected_class_is_excluded(tmp_path: Path) -> None:
    folder = isic9_set(tmp_path / "set")
    train = next(p.parent for p in folder.rglob("melanoma"))
    two = ("melanoma", "nevus")
    before = isic9(folder, tmp_path, classes=two)
    first = sorted((train / "melanoma").iterdir())[0]
    shutil.copy(first, train / "seborrheic keratosis" / "again.jpg")
    found = isic9(folder, tmp_path, classes=two)
    assert found.classes == two
    assert {r.path for r in before.records} - {r.path for r in found.records} == {f"melanoma/{first.name}"}
    assert {(p.path, p.kind) for p in found.problems} - {(p.path, p.kind) for p in before.problems} == {
        (f"melanoma/{first.name}", "copy_under_two_labels")
    }
    shutil.rmtree(train / "seborrheic keratosis")
    assert fingerprint(isic9(folder, tmp_path, classes=two)) == fingerprint(before)


def test_messages_can_be_acted_on(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for dataset in (Busi(BusiConfig()), Isic9(Isic9Config())):
        for root in (None, tmp_path / "absent", tmp_path / "empty"):
            with pytest.raises(DataError) as e:
                dataset.index(root, tmp_path)
            for needed in ("--data", "BENCH_DATA", "https://", "Expected layout"):
                assert needed in str(e.value)
            assert root is None or str(root) in str(e.value)


def test_layouts_are_recognised(tmp_path: Path) -> None:
    breast = tmp_path / "b" / "histology_slides" / "breast" / "benign" / "SOB"
    breast.mkdir(parents=True)
    assert detect(tmp_path / "b") == "breakhis"
    assert detect(busi_set(tmp_path / "u")) == "busi"
    assert detect(isic9_set(tmp_path / "i")) == "isic9"
    assert detect(two_classes(tmp_path / "f")) == "image_folder"
    with pytest.raises(DataError, match="nowhere"):
        detect(tmp_path / "nowhere")


@pytest.mark.realdata
def test_real_sets(real_data: Path, tmp_path: Path) -> None:
    names = {"BreaKHis_v1": "breakhis", "Dataset_BUSI_with_GT": "busi", "ISIC9": "isic9"}
    assert {folder: detect(real_data / folder) for folder in names} == names
    scans = Busi(BusiConfig()).listing(real_data / "Dataset_BUSI_with_GT")
    assert len(scans.files) == 586
    assert sum(len(f.masks) for f in scans.files) == 599
    assert not scans.foreign
    assert len(Isic9(Isic9Config()).listing(real_data / "ISIC9").files) == 2241
    assert len(BreakHis(BreakHisConfig(magnification=40)).listing(real_data / "BreaKHis_v1").files) == 353
