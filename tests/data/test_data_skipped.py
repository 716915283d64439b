"""Files of a data folder that are not images: counted by kind, reported by plan, run, audit and errors."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from data_sets import LAYOUTS, breakhis_set, busi_set, picture, png, two_classes, write
from PIL import Image
from rich.console import Console

from bench.audit.audit import audit_listing
from bench.cli.main import main
from bench.data.left_out import data_lines
from bench.data.sets.breakhis import BreakHis, BreakHisConfig
from bench.data.sets.busi import Busi, BusiConfig
from bench.data.sets.detect import read_index
from bench.data.sets.image_folder import ImageFolder, ImageFolderConfig
from bench.data.sets.isic9 import Isic9, Isic9Config
from bench.data.split_config import SplitConfig
from bench.data.splits import make_splits
from bench.engine.console import print_data
from bench.errors import DataError
from bench.types import DatasetIndex


def index_of(root: Path, tmp_path: Path, **options: object) -> DatasetIndex:
    return read_index(ImageFolder(ImageFolderConfig(**options)), "image_folder", root, tmp_path / "cache")  # type: ignore[arg-type]


def counted(index: DatasetIndex) -> dict[str, int]:
    return {s.kind: s.count for s in index.skipped}


def mask() -> bytes:
    drawn = np.zeros((20, 24), np.uint8)
    drawn[5:15, 5:15] = 255
    return png(Image.fromarray(drawn))


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """24 images, and one or more examples of every other kind."""
    root = two_classes(tmp_path / "set")
    for name in ("a/notes.txt", "a/deep/table.CSV", "b/scan.nii", "b/more.nii", "b/README", "top.txt", "top.png"):
        write(root / name, b"x")
    for name in ("a/._P000_0.png", "b/.DS_Store"):
        write(root / name, b"x")
    write(root / "a" / ".ipynb_checkpoints" / "P000_0-checkpoint.png", png(picture(500)))
    write(root / "b" / ".cache" / "P100_0.png", png(picture(501)))
    write(root / "__MACOSX" / "a" / "P000_0.png", png(picture(502)))
    os.symlink(root / "gone.png", root / "a" / "broken.png")
    os.symlink(root / "a", root / "a" / "loop")
    return root


def test_everything_beside_the_images_is_counted_by_kind(odd: Path, tmp_path: Path) -> None:
    index = index_of(odd, tmp_path)
    assert len(index.records) == 24
    assert index.problems == ()
    assert counted(index) == {
        ".nii files": 2,
        ".txt files": 1,
        ".csv files": 1,
        "extensionless files": 1,
        "hidden files": 2,
        "files in .ipynb_checkpoints": 1,
        "files in hidden folders": 1,
        "files in __MACOSX": 1,
        "files outside the class folders": 2,
        "broken links": 1,
        "links to a folder that they lie in": 1,
    }
    (line,) = data_lines(index)
    assert line.startswith("files not used: 2 .nii files (such as b/more.nii)")
    assert line.endswith("others")


def test_links_are_followed_and_extensions_may_be_upper_case(tmp_path: Path) -> None:
    root = two_classes(tmp_path / "set")
    write(tmp_path / "elsewhere" / "one.PNG", png(picture(700)))
    write(tmp_path / "elsewhere" / "folder" / "two.png", png(picture(701)))
    os.symlink(tmp_path / "elsewhere" / "one.PNG", root / "a" / "linked.PNG")
    os.symlink(tmp_path / "elsewhere" / "folder", root / "b" / "linked")
    index = index_of(root, tmp_path)
    assert {"a/linked.PNG", "b/linked/two.png"} <= set(index.by_path())
    assert index.skipped == ()


@pytest.mark.parametrize("parts", [(), ("train", "test")])
def test_links_to_any_folder_above_are_no_images(parts: tuple[str, ...], tmp_path: Path) -> None:
    root = tmp_path / "set"
    for number, folder in enumerate([root / part for part in parts] or [root]):
        two_classes(folder, patients=2)
        for i, path in enumerate(sorted(folder.rglob("*.png"))):
            write(path, png(picture(1000 * number + i)))
    before = index_of(root, tmp_path)
    first = root / (parts[0] if parts else "")
    (first / "a" / "deep").mkdir()
    os.symlink(root, first / "a" / "root")
    os.symlink(first / "a", first / "a" / "deep" / "class")
    os.symlink(root, first / "also")
    os.symlink(root, root / "again")
    index = index_of(root, tmp_path)
    assert index.classes == ("a", "b")
    assert index.records == before.records
    assert counted(index) == {"links to a folder that they lie in": 4}


def test_upper_case_extensions_in_the_known_layouts(tmp_path: Path) -> None:
    for name, dataset in (("breakhis", BreakHis(BreakHisConfig())), ("busi", Busi(BusiConfig()))):
        root = LAYOUTS[name](tmp_path / name)
        before = dataset.index(root, tmp_path / "cache")
        for path in sorted(root.rglob("*.png")):
            path.rename(path.with_suffix(".PNG"))
        after = dataset.index(root, tmp_path / "other")
        assert len(after.records) == len(before.records)
        assert sum(len(r.mask_paths) for r in after.records) == sum(len(r.mask_paths) for r in before.records)


def test_suspected_masks_are_never_images(tmp_path: Path) -> None:
    root = two_classes(tmp_path / "set")
    for name in ("a/P000_0_mask.png", "a/P000_0_mask_1.png", "a/P001_0_seg.png", "b/stray_mask.png"):
        write(root / name, png(picture(2000 + len(name))))  # by their names, for any content
    for name in ("masks/P000_1.png", "masks/P100_1.png", "masks/empty/P100_2.png"):
        content = png(Image.new("L", (24, 20))) if "empty" in name else mask()
        write(root / name, content)  # two colours, and the name of an image
    write(root / "b" / "P_seg.png", png(picture(3000)))  # P.png does not exist
    for name in ("a/drawing.png", "masks/photo.png"):
        write(root / name, mask() if "drawing" in name else png(picture(3001)))
    index = index_of(root, tmp_path)
    left_out = {p.path for p in index.problems if p.kind == "suspected_mask"}
    assert left_out == {
        "a/P000_0_mask.png", "a/P000_0_mask_1.png", "a/P001_0_seg.png", "b/stray_mask.png",
        "masks/P000_1.png", "masks/P100_1.png", "masks/empty/P100_2.png",
    }  # fmt: skip
    assert not left_out & set(index.by_path())
    assert {"b/P_seg.png", "a/drawing.png"} <= set(index.by_path())
    assert sum("suspected_mask: 7 images" in line for line in data_lines(index)) == 1
    with pytest.raises(DataError, match=r"a/P000_0_mask\.png"):
        index_of(root, tmp_path, on_bad_image="refuse")
    (root / "masks" / "photo.png").unlink()
    with pytest.raises(DataError, match=r"no usable masks images(.|\n)*suspected_mask"):
        index_of(root, tmp_path)
    found = audit_listing("image_folder", ImageFolder(ImageFolderConfig()).listing(root), tmp_path / "cache")
    assert {u["path"] for u in found["unusable"]} == left_out


def test_unreadable_images_are_one_line_with_a_count(tmp_path: Path) -> None:
    root = two_classes(tmp_path / "set")
    for i in range(15):
        write(root / "a" / f"bad_{i:02d}.png", b"nothing")
    console = Console(record=True, width=400, quiet=False, file=open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    print_data(console, index_of(root, tmp_path))
    (line,) = console.export_text().strip().splitlines()
    assert line.startswith("not_an_image: 15 images, such as a/bad_00.png, a/bad_01.png, a/bad_02.png: ")


@pytest.mark.parametrize("name", ["breakhis", "busi", "isic9"])
def test_other_layouts_are_named(name: str, tmp_path: Path) -> None:
    root = LAYOUTS[name](tmp_path / "set")
    others = {"breakhis": BreakHis(BreakHisConfig()), "busi": Busi(BusiConfig()), "isic9": Isic9(Isic9Config())}
    del others[name]
    for other, dataset in others.items():
        with pytest.raises(DataError, match=rf"layout of {name}: use dataset\.name={name}"):
            read_index(dataset, other, root, tmp_path / "cache")


def test_a_known_layout_read_as_a_plain_folder_is_a_warning(tmp_path: Path) -> None:
    busi = busi_set(tmp_path / "busi") / "Dataset_BUSI_with_GT"
    index = index_of(busi, tmp_path)
    assert {p.kind for p in index.problems} == {"known_layout", "suspected_mask"}
    assert "layout of busi" in index.problems[0].detail
    assert len(index.records) == 9
    breast = breakhis_set(tmp_path / "breakhis") / "BreaKHis_v1" / "histology_slides" / "breast"
    assert [p.kind for p in index_of(breast, tmp_path).problems] == ["known_layout"]
    assert index_of(two_classes(tmp_path / "plain"), tmp_path).problems == ()


def test_unknown_patients_are_counted(tmp_path: Path) -> None:
    root = two_classes(tmp_path / "set")
    for i in range(5):
        write(root / "b" / f"nobody{i}.png", png(picture(900 + i)))
    with pytest.raises(DataError, match=r"finds no patient in 5 of 29 images:(\n  b/nobody[0-4]\.png){5}\n"):
        index_of(root, tmp_path, group_regex="/(?P<group>P[0-9]+)_")


def test_too_few_groups_first_list_what_was_excluded(odd: Path, tmp_path: Path) -> None:
    same = png(picture(50))
    for name in ("a/P000_7.png", "b/P100_7.png"):
        write(odd / name, same)
    index = index_of(odd, tmp_path, group_regex="/(?P<group>P[0-9]+)_")
    with pytest.raises(DataError) as e:
        make_splits(index, SplitConfig(folds=5))
    message = str(e.value)
    order = [message.index(text) for text in ("copy_under_two_labels: 2 images", "2 .nii files", "a has 4", "folds=4")]
    assert order == sorted(order)


@pytest.mark.parametrize(("patients", "folds", "advice"), [(4, 5, "split.folds=4"), (2, 3, ""), (3, 2, ""), (2, 5, "")])
def test_fewer_folds_are_advised_only_where_they_would_do(
    patients: int, folds: int, advice: str, tmp_path: Path
) -> None:
    index = index_of(two_classes(tmp_path / "set", patients), tmp_path, group_regex="/(?P<group>P[0-9]+)_")
    with pytest.raises(DataError) as e:
        make_splits(index, SplitConfig(folds=folds))
    assert ("folds=" in str(e.value)) == bool(advice)
    assert advice in str(e.value)
    if advice:
        assert make_splits(index, SplitConfig(folds=4))


def test_plan_and_audit_report_it(odd: Path, tmp_path: Path) -> None:
    suite = write(
        tmp_path / "mine.yaml",
        b"dataset: {name: image_folder, group_regex: '/(?P<group>P[0-9]+)_', positive: b}\nimage_size_px: 32\n"
        b"split: {folds: 3}\nmethods: {none: {}}\nclassifiers: {small_cnn: {steps: 1}}\n",
    )
    where = ["--suite", str(suite), "--data", str(odd), "--out", str(tmp_path / "runs")]
    done = CliRunner().invoke(main, ["plan", *where])
    assert done.exit_code == 0, done.output
    assert done.output.count("2 .nii files (such as b/more.nii)") == 1
    done = CliRunner().invoke(main, ["plan", *where, "--json"])
    assert any("2 .nii files" in line for line in json.loads(done.output)["data"])
    done = CliRunner().invoke(main, ["data", "audit", *where])
    assert "2 .nii files (such as b/more.nii)" in done.output
    found = json.loads(CliRunner().invoke(main, ["data", "audit", *where, "--json"]).stdout)
    assert {"kind": ".nii files", "count": 2, "example": "b/more.nii"} in found["skipped"]
