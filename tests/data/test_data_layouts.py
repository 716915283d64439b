"""BreakHis and plain image folders: the files listed, the files refused, and the messages."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from data_sets import picture, png, two_classes, write

from bench.data.download import download
from bench.data.records import fingerprint
from bench.data.sets.breakhis import BreakHis, BreakHisConfig
from bench.data.sets.folder_layout import CLASS_INSIDE
from bench.data.sets.image_folder import ImageFolder, ImageFolderConfig
from bench.errors import BenchError, ConfigError, DataError
from bench.types import DatasetIndex

FILES = {
    "benign/SOB/adenosis/SOB_B_A_14-22549AB/40X/SOB_B_A-14-22549AB-40-001.png",
    "benign/SOB/adenosis/SOB_B_A_14-22549AB/100X/SOB_B_A-14-22549AB-100-001.png",
    "benign/SOB/adenosis/SOB_B_A_14-22549CD/100X/SOB_B_A-14-22549CD-100-002.png",
    "benign/SOB/fibroadenoma/SOB_B_F_14-9133/100X/SOB_B_F-14-9133-100-001.png",
    "malignant/SOB/ductal_carcinoma/SOB_M_DC_14-12312/100X/SOB_M_DC-14-12312-100-001.png",
    "malignant/SOB/papillary_carcinoma/SOB_M_PC_15-190EF/100X/SOB_M_PC-15-190EF-100-031.png",
    "malignant/SOB/papillary_carcinoma/SOB_M_PC_15-190EF/400X/SOB_M_PC-15-190EF-400-031.png",
}


@pytest.fixture
def breast(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "BreaKHis_v1" / "histology_slides" / "breast"
    for i, name in enumerate(sorted(FILES)):
        write(folder / name, png(picture(i)))
    return folder


def index(root: Path | None, tmp_path: Path, **options: object) -> DatasetIndex:
    return BreakHis(BreakHisConfig(**options)).index(root, tmp_path / "cache")  # type: ignore[arg-type]


def test_breakhis_from_any_folder_above_is_the_same(breast: Path, tmp_path: Path) -> None:
    found = [index(breast.parents[up], tmp_path) for up in range(3)] + [index(breast, tmp_path)]
    assert {r.path for r in found[0].records} == FILES
    assert len({fingerprint(i) for i in found}) == 1


def test_breakhis_doubly_nested_as_kaggle_packs_it(breast: Path, tmp_path: Path) -> None:
    outer = tmp_path / "kaggle" / "BreaKHis_v1"
    outer.mkdir(parents=True)
    shutil.move(tmp_path / "data" / "BreaKHis_v1", outer / "BreaKHis_v1")
    assert len(index(tmp_path / "kaggle", tmp_path).records) == len(FILES)


def test_breakhis_groups_and_attributes(breast: Path, tmp_path: Path) -> None:
    by_patient = index(breast, tmp_path).by_path()
    name = "benign/SOB/adenosis/SOB_B_A_14-22549CD/100X/SOB_B_A-14-22549CD-100-002.png"
    assert by_patient[name].group_id == "22549"
    assert by_patient[name].label == 0
    assert dict(by_patient[name].attributes) == {"magnification": "100", "slide": "14-22549CD", "subtype": "adenosis"}
    assert len({r.group_id for r in by_patient.values()}) == 4
    by_slide = index(breast, tmp_path, group_by="slide").by_path()
    assert by_slide[name].group_id == "14-22549CD"
    assert len({r.group_id for r in by_slide.values()}) == 5


@pytest.mark.parametrize(("magnification", "n"), [(None, 7), (100, 5), ((40, 100), 6), ((100, 400), 6)])
def test_breakhis_magnifications(breast: Path, tmp_path: Path, magnification: object, n: int) -> None:
    assert len(index(breast, tmp_path, magnification=magnification).records) == n


def test_breakhis_missing_magnification_lists_the_present_ones(breast: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"200.*40X \(1\), 100X \(5\), 400X \(1\)"):
        index(breast, tmp_path, magnification=200)
    with pytest.raises(ConfigError, match="40, 100, 200, 400"):
        BreakHisConfig(magnification=50)


@pytest.mark.parametrize(
    "name",
    [
        "benign/SOB/adenosis/SOB_B_A_14-22549AB/100X/IMG_0001.png",
        "benign/SOB/adenosis/SOB_B_A_14-22549AB/100X/SOB_M_DC-14-22549AB-100-009.png",  # class against folder
        "benign/SOB/adenosis/SOB_B_A_14-22549AB/100X/SOB_B_F-14-22549AB-100-009.png",  # subtype against folder
        "benign/SOB/adenosis/SOB_B_A_14-22549AB/100X/SOB_B_A-14-22549AB-200-009.png",  # magnification against folder
        "benign/SOB/adenosis/SOB_B_A_14-22549AB/50X/SOB_B_A-14-22549AB-50-009.png",
        "malignant/photo.jpg",
    ],
)
def test_breakhis_foreign_names_are_reported_or_refused(breast: Path, tmp_path: Path, name: str) -> None:
    write(breast / name, png(picture(900)))
    found = index(breast, tmp_path)
    assert [(p.path, p.kind) for p in found.problems] == [(name, "foreign_name")]
    assert {r.path for r in found.records} == FILES
    with pytest.raises(DataError, match=name.replace(".", r"\.")):
        index(breast, tmp_path, on_bad_image="refuse")


def test_breakhis_missing_data_messages_can_be_acted_on(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for root in (None, tmp_path / "absent", tmp_path / "empty"):
        with pytest.raises(DataError) as e:
            index(root, tmp_path)
        message = str(e.value)
        for needed in ("--data", "BENCH_DATA", "web.inf.ufpr.br", "bench data download breakhis", "histology_slides"):
            assert needed in message
        assert root is None or str(root) in message


def test_breakhis_of_foreign_names_only_is_an_error(tmp_path: Path) -> None:
    breast = tmp_path / "histology_slides" / "breast"
    write(breast / "benign" / "SOB" / "cat.png", png(picture(1)))
    with pytest.raises(DataError, match=r"benign/SOB/cat\.png"):
        index(tmp_path, tmp_path)


def test_breakhis_without_a_class_is_an_error(breast: Path, tmp_path: Path) -> None:
    shutil.rmtree(breast / "benign")
    with pytest.raises(DataError, match="no usable benign images"):
        index(breast, tmp_path)


def test_missing_data_are_reported_at_once_without_heavy_imports() -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "import bench.data.sets.phantom, bench.data.sets.image_folder, bench.data.loaders, bench.data.download\n"
        "from bench.data.sets.breakhis import BreakHis, BreakHisConfig\n"
        "from bench.errors import DataError\n"
        "try: BreakHis(BreakHisConfig()).index(None, Path('/nonexistent'))\n"
        "except DataError: pass\n"
        "heavy = {'torch', 'torchvision', 'timm', 'mlflow', 'sklearn', 'scipy', 'matplotlib', 'pandas', 'kagglehub'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    start = time.monotonic()
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
    assert time.monotonic() - start < 5


def test_image_folder_classes_groups_and_extensions(tmp_path: Path) -> None:
    root = two_classes(tmp_path / "set")
    write(root / "a" / "deep" / "P009_0.PNG", png(picture(321)))
    write(root / "a" / "notes.txt", b"not listed")
    write(root / "a" / "._P000_0.png", b"a Mac's leavings")
    plain = ImageFolder(ImageFolderConfig()).index(root, tmp_path / "cache")
    assert plain.classes == ("a", "b")
    assert plain.problems == ()
    assert all(r.group_id == r.path for r in plain.records)
    assert "a/deep/P009_0.PNG" in plain.by_path()
    config = ImageFolderConfig(classes=("b", "a"), group_regex=r"/(?P<group>P\d+)_")
    grouped = ImageFolder(config).index(root, tmp_path / "cache")
    assert grouped.classes == ("b", "a")
    assert grouped.by_path()["a/P003_1.png"].group_id == "P003"
    assert grouped.by_path()["a/P003_1.png"].label == 1


def test_image_folder_messages_show_the_layout(tmp_path: Path) -> None:
    (tmp_path / "empty" / "a").mkdir(parents=True)
    (tmp_path / "half" / "a").mkdir(parents=True)
    write(tmp_path / "half" / "b" / "x.png", png(picture(1)))
    write(tmp_path / "half" / "a" / "bad.png", b"nothing")
    cases = {None: "none was given", tmp_path / "absent": "does not exist", tmp_path / "empty": "1 class folders"}
    for root, text in {**cases, tmp_path / "half": "no usable a images"}.items():
        with pytest.raises(DataError) as e:
            ImageFolder(ImageFolderConfig()).index(root, tmp_path / "cache")
        assert text in str(e.value)
        assert "--data DIR" in str(e.value)
        assert "<class a>" in str(e.value)
    assert "a/bad.png" in str(e.value)
    with pytest.raises(DataError, match="has no folder c; it has a, b"):
        ImageFolder(ImageFolderConfig(classes=("a", "c"))).index(tmp_path / "half", tmp_path / "cache")


def test_image_folder_group_regex_must_be_valid_and_match(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\(\?P<group>"):
        ImageFolderConfig(group_regex=r"P\d+")
    with pytest.raises(ConfigError, match="not a regular expression"):
        ImageFolderConfig(group_regex="(?P<group>")
    root = two_classes(tmp_path / "set")
    with pytest.raises(DataError, match="finds no patient in"):
        ImageFolder(ImageFolderConfig(group_regex="Q(?P<group>[0-9])")).index(root, tmp_path / "cache")


def test_download_without_the_client_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLEHUB_CACHE", "")
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(BenchError, match=r"pip install 'augbench\[download\]'"):
        download("breakhis", tmp_path)
    with pytest.raises(ConfigError, match="did you mean 'breakhis'"):
        download("breakhs", tmp_path)


def test_download_returns_the_data_folder(breast: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Client:
        @staticmethod
        def dataset_download(handle: str) -> str:
            assert handle == "ambarish/breakhis"
            return str(tmp_path / "data")

    monkeypatch.setenv("KAGGLEHUB_CACHE", "")
    monkeypatch.setitem(sys.modules, "kagglehub", Client)
    assert download("breakhis", tmp_path / "into") == breast
    shutil.rmtree(breast)
    with pytest.raises(DataError, match="not breakhis as expected"):
        download("breakhis", tmp_path / "into")


@pytest.mark.realdata
def test_real_breakhis(real_data: Path, tmp_path: Path) -> None:
    found = index(real_data / "BreaKHis_v1", tmp_path)
    assert len(found.records) == 353
    assert found.problems == ()
    groups = [{r.group_id for r in found.records if r.label == c} for c in (0, 1)]
    assert [len(g) for g in groups] == [6, 12]
    assert {dict(r.attributes)["magnification"] for r in found.records} == {"100"}
    start = time.monotonic()
    assert index(real_data / "BreaKHis_v1", tmp_path) == found
    assert time.monotonic() - start < 1
    with pytest.raises(DataError, match=r"100X \(353\)"):
        index(real_data / "BreaKHis_v1", tmp_path, magnification=40)


def of_classes(root: Path, **options: object) -> dict[str, int]:
    listing = ImageFolder(ImageFolderConfig(**options)).listing(root)  # type: ignore[arg-type]
    return {name: sum(f.label == i for f in listing.files) for i, name in enumerate(listing.classes)}


def test_folders_that_are_no_classes_are_refused_and_not_trained_on(tmp_path: Path) -> None:
    for p in range(6):
        for name in "01":
            write(tmp_path / "patients" / f"1{p}" / name / "x.png", b"")
    with pytest.raises(DataError, match=r"6 folders .*, such as 10, seem to be no classes: they share the .* 0, 1"):
        of_classes(tmp_path / "patients")
    assert of_classes(tmp_path / "patients", class_regex=CLASS_INSIDE) == {"0": 6, "1": 6}
    assert of_classes(tmp_path / "patients", classes=("10", "11")) == {"10": 2, "11": 2}  # as the user says
    for kind in ("train_images", "test_images"):
        write(tmp_path / "parts" / kind / "x.png", b"")
    with pytest.raises(DataError, match="test_images, train_images, which are no classes"):
        of_classes(tmp_path / "parts")


def test_grades_with_parts_or_kinds_inside_are_classes(tmp_path: Path) -> None:
    for grade in range(6):
        for kind in ("images", "masks"):
            write(tmp_path / f"grade_{grade}" / kind / f"{grade}.png", b"")
    assert of_classes(tmp_path) == {f"grade_{grade}": 1 for grade in range(6)}


def test_a_folder_that_wraps_the_classes_is_opened_but_not_the_only_class(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / "wrapped" / "set" / "again" / name / "x.png", b"")
    assert of_classes(tmp_path / "wrapped") == {"a": 1, "b": 1}
    for p in range(9):
        write(tmp_path / "one" / "benign" / f"P{p}" / "x.png", b"")
    with pytest.raises(DataError, match="has 1 class folders; at least 2 are needed"):
        of_classes(tmp_path / "one")


def test_a_class_called_like_masks_is_a_class(tmp_path: Path) -> None:
    for name in ("annotations", "other"):  # with the same names of files
        write(tmp_path / name / "1.png", b"")
    assert of_classes(tmp_path) == {"annotations": 1, "other": 1}


def test_class_regex_must_be_valid_and_match(tmp_path: Path) -> None:
    for name in ("a_1", "b_1", "odd"):
        write(tmp_path / f"{name}.png", b"")
    with pytest.raises(ConfigError, match=r"class_regex .* needs a part named"):
        ImageFolderConfig(class_regex="x")
    with pytest.raises(DataError, match=r"(?s)finds no class in 1 of 3 images:\n  odd.png\ncorrect it, or move"):
        of_classes(tmp_path, class_regex=r"(?P<class>[ab])_\d")
    with pytest.raises(DataError, match=r"finds no images of c in .*; it finds a, b, o"):
        of_classes(tmp_path, class_regex="^(?P<class>.)", classes=("a", "c"))
    assert of_classes(tmp_path, class_regex="^(?P<class>.)", classes=("b", "a")) == {"b": 1, "a": 1}
