"""Data sets given as a table: every fault and every correction is named with its row, and nothing is lost silently."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest
from data_sets import picture, png, two_classes, write

from bench.data.left_out import data_lines
from bench.data.records import fingerprint
from bench.data.sets.detect import detect
from bench.data.sets.table import Table, TableConfig
from bench.data.split_config import SplitConfig
from bench.data.splits import make_splits
from bench.data.tables import read_table
from bench.errors import ConfigError, DataError, LeakageError
from bench.types import DatasetIndex

COLUMNS = {"image": "path", "label": "diagnosis", "group": "patient", "split": "split"}
FAULTS = {  # row -> kind
    5: "missing_file",
    8: "unknown_split",
    9: "group_in_several_parts",
    10: "group_in_several_parts",
    11: "two_labels",
    12: "two_labels",
    13: "empty_group",
}
NOTES = {
    1: {"byte_order_mark", "separator"},
    3: {"blanks"},
    4: {"windows_separators"},
    6: {"repeated_row"},
    7: {"absolute_path"},
}


def index_of(root: Path, tmp_path: Path, **options: object) -> DatasetIndex:
    return Table(TableConfig(**(COLUMNS | options))).index(root, tmp_path / "cache")  # type: ignore[arg-type]


def images(root: Path, n: int) -> list[str]:
    names = [f"scans/s{i:02d}.png" for i in range(n)]
    for i, name in enumerate(names):
        write(root / name, png(picture(i)))
    return names


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    """A table with twelve injected faults and eight rows without any; row 1 is the header."""
    root = tmp_path / "set"
    s = images(root, 24)
    write(root / s[14], b"no image")
    rows = [
        f"{s[0]};Benign;P0;train",
        f"{s[1]};Benign ;P1;train",  # a blank
        s[2].replace("/", "\\") + ";Benign;P2;train",  # Windows separators
        "scans/nowhere.png;Benign;P3;train",
        f"{s[0]};Benign;P0;train",  # a duplicate row
        f"{root / s[3]};Benign;P4;train",  # an absolute path
        f"{s[4]};Benign;P5;tset",
        f"{s[5]};Benign;P6;train",
        f"{s[6]};Benign;P6;test",  # the same patient in another part
        f"{s[7]};Benign;P7;train",
        f"{s[7]};malignant;P7;train",  # two labels for one image
        f"{s[8]};Benign;;train",
        f"{s[14]};Benign;P8;train",  # unreadable
        *(f"{s[15 + i]};malignant;Q{i};{'test' if i % 2 else 'train'}" for i in range(8)),
        f"{s[23]};Benign;P9;test",
    ]
    text = "\n".join(["path;diagnosis;patient;split", *rows]) + "\n"
    write(root / "labels.csv", b"\xef\xbb\xbf" + text.encode())
    return root


def test_all_faults_of_a_table_are_listed_at_once_with_their_rows(faulty: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError) as e:
        index_of(faulty, tmp_path)
    message = str(e.value)
    assert message.startswith(f"{faulty / 'labels.csv'}: 7 rows have faults:")
    for row, kind in FAULTS.items():
        assert f"labels.csv, row {row}: {kind}: " in message
    for row, kinds in NOTES.items():
        assert all(f"labels.csv, row {row}: {kind}: " in message for kind in kinds)
    assert "dataset.on_bad_row=skip" in message


def test_a_table_with_faults_can_be_read_without_these_rows(faulty: Path, tmp_path: Path) -> None:
    index = index_of(faulty, tmp_path, on_bad_row="skip")
    found: dict[int, set[str]] = {}
    for p in index.problems:
        if p.path.startswith("labels.csv"):
            found.setdefault(int(p.path.rpartition(" ")[2]), set()).add(p.kind)
    assert found == {row: {kind} for row, kind in FAULTS.items()} | NOTES
    (unreadable,) = [p for p in index.problems if p.path.startswith("scans")]
    assert (unreadable.path, unreadable.kind) == ("scans/s14.png", "not_an_image")
    assert unreadable.detail.endswith("(labels.csv, row 14)")
    # 22 rows: 7 with faults, one repeated, one unreadable
    assert len(index.records) == 22 - len(FAULTS) - 1 - 1
    assert {index.classes[r.label] for r in index.records} == {"Benign", "malignant"}
    assert len({r.group_id for r in index.records}) == len(index.records)
    lines = "\n".join(data_lines(index))
    assert "group_in_several_parts: 2 images, such as labels.csv, row 9" in lines
    assert "images that no usable row names" in lines
    assert "scans/s09.png" not in index.by_path()
    (split,) = make_splits(index, SplitConfig(protocol="given", validation_fraction=0.4))
    assert "scans/s23.png" in split.test
    assert set(split.train) | set(split.validation) == {r.path for r in index.records} - set(split.test)


def sheet(rows: list[tuple[object, ...]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["path", "diagnosis", "patient"])


def test_the_formats_of_a_table_give_the_same_images(tmp_path: Path) -> None:
    root = tmp_path / "set"
    rows: list[tuple[object, ...]] = [
        (name, "no" if i % 2 else "yes", i // 2) for i, name in enumerate(images(root, 6))
    ]
    sheet(rows).to_csv(root / "a.csv", index=False)
    sheet(rows).to_csv(root / "b.tsv", index=False, sep="\t")
    sheet(rows).to_csv(root / "c.csv", index=False, encoding="utf-16")
    sheet(rows).to_csv(root / "d.csv", index=False, sep=";", encoding="cp1252")
    sheet(rows).astype({"patient": float}).to_parquet(root / "e.parquet")
    sheet(rows).to_excel(root / "f.xlsx", index=False)
    write(root / "g.csv", b"sep=;\n" + (root / "d.csv").read_bytes())
    found = [index_of(root, tmp_path, file=p.name, split=None) for p in sorted(root.glob("?.*"))]
    assert len(found) == 7
    assert len({fingerprint(index) for index in found}) == 1
    assert {r.group_id for r in found[0].records} == {"0", "1", "2"}
    assert detect(root / "a.csv") == "table"
    for broken in ("h.xlsx", "i.parquet"):
        write(root / broken, b"nothing")
        with pytest.raises(DataError, match=f"{broken} cannot be read as a table"):
            read_table(root / broken)


def test_names_without_folder_or_extension_spellings_masks_and_selected_classes(tmp_path: Path) -> None:
    root = tmp_path / "set"
    s = images(root, 8)
    write(root / "deep" / "s00.png", png(picture(90)))
    write(root / "masks" / "m1.png", png(picture(91)))
    lines = [
        "Path, Diagnosis,patient,mask",
        "s01,mel,P1,masks/m1.png",
        f"{s[1]},mel,P1,",
        "S02.PNG,MEL,p1,",
        f"{s[3]},mel,P2,",
        f"{s[4]},nv,P3,",
        f"{s[5]},nv,P3,",
        "",
        f"{s[6]},df,P4,",
    ]
    write(root / "labels.csv", "\n".join(lines).encode())
    index = index_of(root, tmp_path, split=None, mask="mask", classes=("nv", "mel"))
    assert index.classes == ("nv", "mel")
    assert len(index.records) == 5
    assert {r.group_id for r in index.records} == {"P1", "P2", "P3"}
    assert index.by_path()[s[1]].mask_paths == ("masks/m1.png",)
    kinds = [(p.path, p.kind) for p in index.problems]
    at = "labels.csv, row"
    assert kinds == [
        (f"{at} 1", "blanks"), (f"{at} 8", "empty_row"), (f"{at} 2", "found_by_name"), (f"{at} 3", "repeated_row"),
        (f"{at} 4", "found_by_name"), (f"{at} 4", "spelling"), (f"{at} 4", "spelling"),
    ]  # fmt: skip
    assert {(x.kind, x.count) for x in index.skipped} >= {("images of df, which is not selected", 1)}
    write(root / "labels.csv", f"path,diagnosis,patient\ns00.png,mel,P1\n{s[1]},nv,P2,x\n".encode())
    with pytest.raises(DataError, match=r"row 2: ambiguous_file(.|\n)*row 3: too_many_cells"):
        index_of(root, tmp_path, split=None)
    with pytest.raises(DataError, match=r"'pacient'; did you mean 'patient'(.|\n)*no column is called 'split'"):
        index_of(root, tmp_path, group="pacient")
    with pytest.raises(ConfigError, match="on_bad_row is 'ignore'"):
        TableConfig(on_bad_row="ignore")  # type: ignore[arg-type]


@pytest.mark.parametrize("file", ["titled.csv", "titled.xlsx"])
def test_titles_above_the_header_are_left_out_and_said(tmp_path: Path, file: str) -> None:
    root = tmp_path / "set"
    rows = [["Study 7"], [], ["path", "diagnosis"]]
    rows += [[name, "no" if i % 2 else "yes"] for i, name in enumerate(images(root, 4))]
    if file.endswith(".csv"):
        write(root / file, "\n".join(";".join(row) for row in rows).encode())
    else:
        pd.DataFrame(rows).to_excel(root / file, index=False, header=False)
    index = index_of(root, tmp_path, file=file, split=None, group=None)
    assert len(index.records) == 4
    notes = {(p.path, p.kind): p.detail for p in index.problems}
    assert notes.pop((f"{file}, row 1", "title_rows")).startswith("2 above the names of the columns, such as 'Study 7'")
    assert notes.keys() <= {(f"{file}, row 1", "separator")}
    table = read_table(write(root / "one.csv", b"path\na.png\nb.png\n"))  # a single column is no title
    assert (table.columns, len(table.rows)) == (("path",), 2)


def test_patients_from_the_paths_of_a_table(tmp_path: Path) -> None:
    root = tmp_path / "set"
    rows = [f"{name},{'no' if i % 2 else 'yes'}" for i, name in enumerate(images(root, 6))]
    write(root / "labels.csv", "\n".join(["path,diagnosis", *rows]).encode())
    index = index_of(root, tmp_path, split=None, group=None, group_regex=r"s(?P<group>\d)\d")
    assert ({r.group_id for r in index.records}, index.group_name) == ({"0"}, "patients")
    with pytest.raises(DataError, match=r"finds no patient in 5 of 6 images"):
        index_of(root, tmp_path, split=None, group=None, group_regex=r"(?P<group>s00)")
    with pytest.raises(ConfigError, match=r"both group \(patient\) and group_regex are given"):
        TableConfig(group="patient", group_regex=r"(?P<group>s)")


def test_one_column_for_each_class(tmp_path: Path) -> None:
    root = tmp_path / "set"
    s = images(root, 6)
    rows = [(1, 0), ("1.0", "0.0"), (0, 1), ("", 1), (1, 1), (0, 0)]
    lines = ["path,mel,nv", *(f"{s[i]},{a},{b}" for i, (a, b) in enumerate(rows))]
    write(root / "labels.csv", "\n".join(lines).encode())
    columns = {"split": None, "group": None, "label": ("mel", "nv")}
    index = index_of(root, tmp_path, **columns, on_bad_row="skip")
    assert (index.classes, [r.label for r in index.records]) == (("mel", "nv"), [0, 0, 1, 1])
    with pytest.raises(DataError) as e:
        index_of(root, tmp_path, **columns)
    for row, values in ((6, "mel '1', nv '1'"), (7, "mel '0', nv '0'")):
        assert f"row {row}: not_one_class: {values}; expected 1 for one class and 0 for the others" in str(e.value)
    with pytest.raises(DataError, match="no column is called 'vn'; did you mean 'nv'"):
        index_of(root, tmp_path, **(columns | {"label": ("mel", "vn")}))


def test_images_outside_the_folder_of_the_table(tmp_path: Path) -> None:
    s = images(tmp_path / "disk", 2)
    rows = "".join(f"{tmp_path / 'disk' / name},{i}\n" for i, name in enumerate(s))
    table = write(tmp_path / "project" / "labels.csv", f"path,diagnosis\n{rows}".encode())
    index = index_of(table, tmp_path, group=None, split=None)
    assert index.root == tmp_path
    assert [r.path for r in index.records] == [f"disk/{name}" for name in s]
    same = index_of(tmp_path, tmp_path, group=None, split=None, file=str(table))
    assert fingerprint(same) == fingerprint(index)


def test_folders_train_val_and_test_are_parts(tmp_path: Path) -> None:
    from bench.data.sets.image_folder import ImageFolder, ImageFolderConfig

    root = tmp_path / "set"
    for number, part in enumerate(("Training", "val", "test")):
        two_classes(root / part, patients=2)
        for i, path in enumerate(sorted((root / part).rglob("*.png"))):
            path.unlink()
            write(path.with_name(path.name.replace("P", f"P{number}")), png(picture(1000 * number + i)))
    write(root / "val" / "notes.txt", b"x")
    os.symlink(tmp_path / "more", root / "test" / "b" / "more")
    write(tmp_path / "more" / "P2900_0.JPEG", png(picture(5000)))

    def index(regex: str) -> DatasetIndex:
        return ImageFolder(ImageFolderConfig(group_regex=regex)).index(root, tmp_path / "cache")

    found = index(r"/(?P<group>P\d+)_")
    assert found.classes == ("a", "b")
    assert [(x.kind, x.count) for x in found.skipped] == [("files outside the class folders", 1)]
    splits = make_splits(found, SplitConfig(protocol="given", repeats=2))
    assert [s.at for s in splits] == [(0, 0, None), (0, 1, None)]
    for split in splits:
        assert {p.split("/")[0] for p in split.train} == {"Training"}
        assert {p.split("/")[0] for p in split.validation} == {"val"}
        assert "test/b/more/P2900_0.JPEG" in split.test
    with pytest.raises(LeakageError) as e:  # one 'patient' of each class in all three parts
        make_splits(index(r"/(?P<group>[ab])/"), SplitConfig(protocol="given"))
    assert "2 of 2 groups" in str(e.value)
    assert all(f"\n  {group}: train 6 (such as Training/" in str(e.value) for group in "ab")
    plain = ImageFolder(ImageFolderConfig()).index(two_classes(tmp_path / "plain"), tmp_path / "cache")
    with pytest.raises(DataError, match="24 of 24 images have no part"):
        make_splits(plain, SplitConfig(protocol="given"))
