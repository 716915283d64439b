"""The public sets chest_xray, malaria and HAM10000: layouts, groups, tasks, and the real images where present."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest
from data_sets import LAYOUTS, chest_set, ham10000_set, jpeg, malaria_set, picture, png, write

from bench import registry
from bench.config import build
from bench.data.download import KAGGLE, download
from bench.data.positive import with_positive
from bench.data.sets.detect import detect
from bench.errors import ConfigError, DataError
from bench.metrics.units import scored_unit
from bench.types import DatasetIndex


def index(name: str, root: Path, tmp_path: Path, **options: object) -> DatasetIndex:
    cls = registry.load("dataset", name)
    return cls(build(cls.Config, options, name)).index(root, tmp_path / "cache")


def groups_of(found: DatasetIndex) -> dict[str, str]:
    return {r.path.rsplit("/", 1)[-1].rsplit(".", 1)[0]: r.group_id for r in found.records}


@pytest.mark.parametrize("name", ["chest_xray", "malaria", "ham10000"])
def test_a_set_is_recognised_and_downloaded(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = LAYOUTS[name](tmp_path / "set")
    assert detect(root) == name

    class Client:
        @staticmethod
        def dataset_download(handle: str) -> str:
            assert handle == KAGGLE[name].handle
            return str(root)

    monkeypatch.setenv("KAGGLEHUB_CACHE", "")
    monkeypatch.setitem(sys.modules, "kagglehub", Client)
    assert detect(download(name, tmp_path / "into")) == name


def test_parts_of_the_chest_set_are_merged_and_repeats_dropped(tmp_path: Path) -> None:
    root = chest_set(tmp_path / "set")
    again = root / "chest_xray" / "val" / "PNEUMONIA" / "person1_bacteria_1.jpeg"
    again.parent.mkdir(parents=True)
    shutil.copy(root / "chest_xray" / "train" / "PNEUMONIA" / "person1_bacteria_1.jpeg", again)
    write(root / "chest_xray" / "test" / "NORMAL" / "scan 7.jpeg", png(picture(99)))
    found = index("chest_xray", root, tmp_path)
    assert len(found.records) == 12
    assert Counter(p.kind for p in found.problems) == {"copy": 1, "foreign_name": 1}
    assert (found.classes, found.positive, found.group_name, found.grey) == (
        ("NORMAL", "PNEUMONIA"), "PNEUMONIA", "patients", True,
    )  # fmt: skip
    groups = groups_of(found)
    assert groups["IM-0115-0001"] == "IM-0115"  # in both parts
    assert groups["NORMAL2-IM-0115-0001"] == "NORMAL2-IM-0115"
    assert groups["IM-0128-0001-0002"] == "IM-0128"
    assert groups["person1_virus_2"] == groups["person1_bacteria_1"] == "person1"
    part = {dict(r.attributes)["part"] for r in found.records}
    assert part == {"train", "test"}


def test_the_later_version_of_the_chest_set(tmp_path: Path) -> None:
    names = (
        "NORMAL/NORMAL-28501-0001",
        "NORMAL/NORMAL-32326-0001",
        "PNEUMONIA/BACTERIA-30629-0001",
        "PNEUMONIA/VIRUS-7-1",
    )
    for i, name in enumerate(names):
        write(tmp_path / "set" / "ChestXRay2017" / "chest_xray" / "train" / f"{name}.jpeg", png(picture(i, mode="L")))
    assert detect(tmp_path / "set") == "chest_xray"
    found = index("chest_xray", tmp_path / "set", tmp_path)
    assert sorted(r.group_id for r in found.records) == ["28501", "30629", "32326", "7"]
    assert Counter(r.label for r in found.records) == {0: 2, 1: 2}


def test_bacteria_against_virus(tmp_path: Path) -> None:
    found = index("chest_xray", chest_set(tmp_path / "set"), tmp_path, task="bacteria_vs_virus")
    assert (found.classes, found.positive) == (("virus", "bacteria"), "bacteria")
    assert Counter(r.label for r in found.records) == {0: 4, 1: 2}
    assert [p.path for p in found.problems if p.kind == "group_with_two_labels"]  # person1 and person2 have both
    with pytest.raises(ConfigError, match="'pneumonia' or 'bacteria_vs_virus'"):
        index("chest_xray", tmp_path, tmp_path, task="virus")


def test_the_chest_set_in_one_folder(tmp_path: Path) -> None:
    one = chest_set(tmp_path / "set") / "chest_xray" / "train"
    found = index("chest_xray", one, tmp_path)
    assert len(found.records) == 6
    assert all("part" not in dict(r.attributes) for r in found.records)


def test_patients_of_malaria_are_found_anywhere_in_the_name(tmp_path: Path) -> None:
    found = index("malaria", malaria_set(tmp_path / "set"), tmp_path)
    assert sorted(groups_of(found).values()) == ["C1", "C100", "C2", "C236", "C37", "C9"]
    assert with_positive(found, None).positive == "Parasitized"
    write(tmp_path / "set" / "cell_images" / "Uninfected" / "cell_3.png", png(picture(77)))
    assert [p.kind for p in index("malaria", tmp_path / "set", tmp_path).problems] == ["foreign_name"]


def test_lesions_of_ham10000_come_from_the_table(tmp_path: Path) -> None:
    root = ham10000_set(tmp_path / "set")
    found = index("ham10000", root, tmp_path)
    assert (found.classes, found.positive, found.group_name) == (("other", "melanoma"), "melanoma", "lesions")
    assert Counter(r.label for r in found.records) == {0: 18, 1: 3}
    assert scored_unit(found).metric == "lesion-level balanced accuracy"
    groups = groups_of(found)
    assert groups["ISIC_0040"] == groups["ISIC_0041"] != groups["ISIC_0042"]
    seven = index("ham10000", root, tmp_path, task="seven")
    assert (len(seven.classes), seven.positive) == (7, None)
    shown = dict(next(r for r in seven.records if r.path.endswith("ISIC_0040.jpg")).attributes)
    assert shown == {"age": "unknown", "dx": "mel", "dx_type": "histo", "localization": "back", "sex": "female"}
    write(root / "stray.jpg", jpeg(picture(500)))
    (root / "HAM10000_images_part_1" / "ISIC_0040.jpg").unlink()
    kinds = {p.kind: p.path for p in index("ham10000", root, tmp_path).problems}
    assert kinds == {"foreign_name": "stray.jpg", "missing_file": "ISIC_0040"}


def test_a_tab_separated_table_and_foreign_tables(tmp_path: Path) -> None:
    root = ham10000_set(tmp_path / "set")
    table = root / "HAM10000_metadata.csv"
    write(root / "HAM10000_metadata", table.read_bytes().replace(b",", b"\t"))
    table.unlink()
    write(root / "notes.csv", "größe;Größe\n1;2".encode("latin-1"))
    assert len(index("ham10000", root, tmp_path).records) == 21
    write(tmp_path / "other" / "notes.csv", "größe;Größe\n1;2".encode("latin-1"))
    assert detect(tmp_path / "other") == "image_folder"


def test_isic_2018_and_the_flat_layout(tmp_path: Path) -> None:
    official = tmp_path / "isic"
    for i, code in enumerate(("1.0,0.0", "0.0,1.0")):
        write(official / "Input" / f"ISIC_{i}.jpg", jpeg(picture(i)))
        code_row = f"ISIC_{i},{code},0.0,0.0,0.0,0.0,0.0\n"
        table = official / "Truth" / "ISIC2018_Task3_Training_GroundTruth.csv"
        begin = table.read_text() if i else "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\n"
        write(table, (begin + code_row).encode())
    lesions = "image,lesion_id,diagnosis_confirm_type\nISIC_0,HAM_7,x\nISIC_1,HAM_8,x\n"
    write(official / "ISIC2018_Task3_Training_LesionGroupings.csv", lesions.encode())
    found = index("ham10000", official, tmp_path)
    assert [(r.label, r.group_id) for r in found.records] == [(1, "HAM_7"), (0, "HAM_8")]

    flat = tmp_path / "flat"
    for label, name in enumerate(("other", "melanoma")):
        for i in range(2):
            write(flat / name / f"HAM_{label}__ISIC_{label}{i}.jpg", jpeg(picture(10 + 2 * label + i)))
    found = index("ham10000", flat, tmp_path)
    assert detect(flat) == "ham10000"
    assert sorted({(r.label, r.group_id) for r in found.records}) == [(0, "HAM_0"), (1, "HAM_1")]
    with pytest.raises(DataError, match="needs the diagnoses in a table"):
        index("ham10000", flat, tmp_path, task="seven")


def test_what_groups_are_can_be_said(tmp_path: Path) -> None:
    root = LAYOUTS["image_folder"](tmp_path / "set")
    found = index("image_folder", root, tmp_path, group_regex="(?P<group>P[0-9]+)_", group_name="slides")
    assert scored_unit(found).group == "slide"
    assert index("image_folder", root, tmp_path, group_name="slides").group_name == "images"  # nothing is known
    with pytest.raises(ConfigError, match="expected a plural"):
        index("image_folder", root, tmp_path, group_name="<b>")


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "images", "groups", "foreign"),
    [("chest_xray", 4180, 2277, 0), ("malaria", 9530, 160, 0), ("ham10000", 5997, 5997, 0)],
)
def test_real_images_are_listed(name: str, images: int, groups: int, foreign: int, real_data: Path) -> None:
    dataset = registry.load("dataset", name)(registry.load("dataset", name).Config())
    listing = dataset.listing(real_data / name)
    assert len(listing.files) == images
    assert len({f.group for f in listing.files}) == groups
    assert len(listing.foreign) == foreign
    assert detect(real_data / name) == name
