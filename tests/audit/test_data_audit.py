"""The audit finds injected faults, its counts match an independent count, and it changes nothing."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from breakhis_part import part_of_breakhis
from click.testing import CliRunner
from data_sets import LAYOUTS, busi_set, jpeg, png, scene, write
from PIL import Image

from bench.audit.appearance import Appearance, group_means, measure, modified_z, outliers
from bench.audit.audit import audit_listing
from bench.audit.folds import audit_folds
from bench.audit.masks import audit_masks
from bench.audit.text import find_marks
from bench.cli.audit import audit_subject, find_subject
from bench.cli.main import main
from bench.data.listing import Listed
from bench.data.sets.busi import Busi, BusiConfig
from bench.data.sets.image_folder import ImageFolder, ImageFolderConfig
from bench.data.split_config import SplitConfig
from bench.data.splits import make_splits

REGEX = r"/(?P<group>P\d+)_"


def audit(root: Path, tmp_path: Path, **options: Any) -> dict[str, Any]:
    dataset = ImageFolder(ImageFolderConfig(group_regex=REGEX, **options))
    return audit_listing("image_folder", dataset.listing(root), tmp_path / "cache")


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight patients per class, one image each, and one example of every fault."""
    root = tmp_path_factory.mktemp("dirty") / "set"
    for label, name in enumerate("ab"):
        for patient in range(8):
            write(root / name / f"P{label}{patient}_0.png", png(scene(10 * label + patient)))
    write(root / "a" / "P00_same.png", png(scene(0)))  # exact, one class, one patient
    write(root / "a" / "P02_same.png", png(scene(1)))  # exact, one class, two patients
    write(root / "b" / "P17_same.png", png(scene(2)))  # exact, two classes
    write(root / "a" / "P04_turned.jpg", jpeg(scene(3).rotate(90, expand=True), 40))  # near, two patients
    write(root / "b" / "P10_small.png", png(scene(11).resize((90, 70))))  # near, two patients
    write(root / "b" / "P16_near.jpg", jpeg(scene(5)))  # near, two classes
    write(root / "b" / "P06_other.png", png(scene(50)))  # patient P06 is of class a
    write(root / "a" / "P05_cut.png", png(scene(60))[:4000])
    write(root / "a" / "P05_dot.png", png(scene(61, (1, 1))))
    write(root / "a" / "P05_lab.tif", _encoded(Image.new("LAB", (160, 120))))
    write(root / "a" / "P05_text.png", b"not an image")
    write(root / "a" / "P05_grey.png", png(scene(63).convert("L")))
    write(root / "a" / "P05_deep.tif", _encoded(Image.fromarray(np.arange(19200, dtype=np.uint16).reshape(120, 160))))
    write(root / "a" / "P05_flat.png", png(Image.new("RGB", (160, 120), (9, 9, 9))))
    write(root / "a" / "P05_large.png", png(scene(64, (640, 480))))
    write(root / "a" / "P05_lies.png", jpeg(scene(65)))
    write(root / "a" / "P05_lying.jpg", _encoded(scene(66), "JPEG", exif=_turned_exif()))
    return root


@pytest.fixture(scope="module")
def audited(dirty: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """What the audit of ``dirty`` found, and the folder of its cache."""
    folder = tmp_path_factory.mktemp("audited")
    return audit(dirty, folder), folder


def _encoded(image: Image.Image, kind: str = "TIFF", **options: Any) -> bytes:
    import io

    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def _turned_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def test_injected_copies_are_found(audited: tuple[dict[str, Any], Path]) -> None:
    found, _ = audited
    exact, near = found["exact"], found["near"]
    ablation_pairs = [
        ["a/P00_0.png", "a/P00_same.png"],
        ["a/P01_0.png", "a/P02_same.png"],
        ["a/P02_0.png", "b/P17_same.png"],
    ]
    assert exact["pairs"] == exact["clusters"] == ablation_pairs
    assert exact["label_conflicts"] == [ablation_pairs[2]]
    assert exact["across_groups"] == ablation_pairs[1:]
    pairs = [[p["first"], p["second"]] for p in near["pairs"]]
    assert pairs == [
        ["a/P03_0.png", "a/P04_turned.jpg"],
        ["a/P05_0.png", "b/P16_near.jpg"],
        ["b/P10_small.png", "b/P11_0.png"],
    ]
    assert [p["orientation"] for p in near["pairs"]] == ["turned 270°", "same", "same"]
    assert near["label_conflicts"] == [pairs[1]]
    assert near["across_groups"] == pairs
    assert near["too_flat"] == ["a/P05_flat.png"]
    assert found["mixed_groups"] == [{"group": "P06", "images": {"a": 1, "b": 1}}]


def test_injected_oddities_are_named(audited: tuple[dict[str, Any], Path]) -> None:
    found, _ = audited
    assert {(p["path"], p["kind"]) for p in found["unusable"]} == {
        ("a/P05_cut.png", "truncated"),
        ("a/P05_dot.png", "too_small"),
        ("a/P05_lab.tif", "channels"),
        ("a/P05_text.png", "not_an_image"),
    }
    assert {(p["path"], p["kind"]) for p in found["odd"]} == {
        ("a/P05_grey.png", "mode"),
        ("a/P05_deep.tif", "mode"),
        ("a/P05_deep.tif", "sixteen_bit"),
        ("a/P05_flat.png", "constant"),
        ("a/P05_large.png", "size"),
        ("a/P05_lies.png", "extension"),
        ("a/P05_lying.jpg", "exif_rotation"),
    }


def test_counts_and_tables_add_up(dirty: Path, audited: tuple[dict[str, Any], Path]) -> None:
    found, _ = audited
    files = sorted(p.relative_to(dirty).as_posix() for p in dirty.rglob("*.*"))
    counts = found["counts"]
    assert counts["files"] == len(files) == sum(row["images"] for row in found["table"])
    assert counts["usable"] == len(files) - 4
    assert counts["contents"] == len({(dirty / f).read_bytes() for f in files}) == len(files) - 3
    assert counts["groups"] == 16
    for kind in ("exact", "near"):
        for part in ("pairs", "clusters", "label_conflicts", "across_groups"):
            assert counts[f"{kind}_{part}"] == len(found[kind][part])
    assert (counts["unusable"], counts["odd"], counts["mixed_groups"]) == (4, 7, 1)
    row = next(r for r in found["table"] if r["group"] == "P03")
    assert row == {"class": "a", "group": "P03", "size": "160×120", "magnification": None, "images": 1}
    assert sum(found["sizes"].values()) == counts["usable"]
    assert set(found["appearance"]["groups"]) == {f["group"] for f in found["table"]}


def test_the_policy_hides_nothing_and_a_second_audit_is_the_same(
    dirty: Path, tmp_path: Path, audited: tuple[dict[str, Any], Path]
) -> None:
    first, folder = audited
    assert audit(dirty, tmp_path / "other") == first
    assert audit(dirty, folder, on_duplicate="refuse", on_near_duplicate="drop") == first
    json.dumps(first)


def test_magnifications_are_all_audited_whatever_is_chosen(tmp_path: Path) -> None:
    from bench.data.sets.breakhis import BreakHis, BreakHisConfig

    root = LAYOUTS["breakhis"](tmp_path / "set")
    found = audit_listing("breakhis", BreakHis(BreakHisConfig(magnification=40)).listing(root), tmp_path / "cache")
    assert found["magnifications"] == {"100": 8, "40": 2}


def test_a_foreign_picture_that_copies_an_image_is_found(tmp_path: Path) -> None:
    from bench.data.sets.breakhis import BreakHis, BreakHisConfig

    root = LAYOUTS["breakhis"](tmp_path / "set")
    breast = root / "BreaKHis_v1" / "histology_slides" / "breast"
    image = next(breast.rglob("*12312-100-001.png"))
    write(breast / "malignant" / "photo.png", image.read_bytes())
    found = audit_listing("breakhis", BreakHis(BreakHisConfig()).listing(root), tmp_path / "cache")
    assert found["exact"]["pairs"] == [[image.relative_to(breast).as_posix(), "malignant/photo.png"]]
    assert found["exact"]["label_conflicts"] == []
    assert [p["kind"] for p in found["unusable"]] == ["foreign_name"]


def test_mask_problems_are_found(tmp_path: Path) -> None:
    root = busi_set(tmp_path / "set")
    folder = root / "Dataset_BUSI_with_GT"
    (folder / "benign" / "benign (1)_mask.png").unlink()
    write(folder / "benign" / "benign (3)_mask.png", png(Image.new("1", (40, 30))))
    write(folder / "malignant" / "malignant (1)_mask.png", png(Image.new("1", (20, 30), 1)))
    write(folder / "malignant" / "malignant (3)_mask.png", b"broken")
    write(folder / "normal" / "normal (9)_mask.png", png(Image.new("1", (40, 30))))
    copied = (folder / "benign" / "benign (2)_mask_1.png").read_bytes()
    write(folder / "malignant" / "malignant (2)_mask.png", copied)
    found = audit_listing("busi", Busi(BusiConfig()).listing(root), tmp_path / "cache")
    masks = found["masks"]
    assert masks["files"] == 11
    assert masks["missing"] == ["benign/benign (1).png"]
    assert masks["unreadable"] == ["malignant/malignant (3)_mask.png"]
    assert masks["empty_by_class"] == {"benign": 1, "normal": 3}
    assert [m["path"] for m in masks["several"]] == [f"{c}/{c} (2).png" for c in ("benign", "malignant", "normal")]
    assert [(m["mask_size"], m["image_size"]) for m in masks["other_size"]] == [([20, 30], [40, 30])]
    drawn = [m["paths"] for m in masks["identical"] if not m["empty"]]
    assert drawn == [["benign/benign (2)_mask_1.png", "malignant/malignant (2)_mask.png"]]
    assert masks["identical_pairs"] == 1 + 10  # and five empty ones, of benign (3) and of normal images
    assert [p["path"] for p in found["unusable"]] == ["normal/normal (9)_mask.png"]
    assert found["exact"]["pairs"] == []  # masks are not images


def test_a_missing_mask_is_unreadable(tmp_path: Path) -> None:
    found = audit_masks(tmp_path, [Listed("x.png", 0, "x", ("x_mask.png",))], ("a",), {})
    assert found["unreadable"] == ["x_mask.png"]


# --- appearance of an image


def test_measures_have_expected_values() -> None:
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[:, 30:] = (200, 200, 200)
    seen = measure(png(Image.fromarray(picture)))
    assert (seen.width, seen.height, seen.format, seen.mode) == (60, 40, "PNG", "RGB")
    assert (seen.lowest, seen.highest, seen.is_grey) == (0, 200, True)
    assert seen.brightness == seen.contrast == 100
    laplacian = np.zeros((40, 60))
    laplacian[:, 29], laplacian[:, 30] = 200, -200
    assert seen.sharpness == pytest.approx(laplacian.var(), abs=1e-2)
    assert seen.haematoxylin_od is None


def test_stain_is_the_optical_density_of_the_dyes() -> None:
    """A patch of pure haematoxylin, by the published vectors, gives its density and no eosin."""
    from skimage.color import rgb_from_hed

    for dye, name in ((0, "haematoxylin_od"), (1, "eosin_od")):
        patch = np.round(255 * 10 ** (-0.5 * rgb_from_hed[dye]))
        image = np.broadcast_to(patch, (32, 32, 3)).astype(np.uint8)
        seen = measure(png(Image.fromarray(image)))
        assert getattr(seen, name) == pytest.approx(0.5, abs=0.02)
        assert (seen.eosin_od if dye == 0 else seen.haematoxylin_od) == pytest.approx(0, abs=0.02)
        assert measure(png(Image.fromarray(image)), stain="").haematoxylin_od is None


def test_outlier_groups_are_named() -> None:
    values = [10.0, 11.0, 9.0, 10.5, 9.5, 30.0]
    base = measure(png(scene(1)))
    seen = {f"g{i}/x.png": dataclasses.replace(base, brightness=v) for i, v in enumerate(values)}
    means = group_means(seen, {p: p.split("/")[0] for p in seen}, ("brightness", "haematoxylin_od"))
    (found,) = outliers(means, ("brightness", "haematoxylin_od"))
    assert (found["group"], found["measure"], found["mean"]) == ("g5", "brightness", 30.0)
    assert found["z"] == pytest.approx(0.6745 * (30 - 10.25) / 0.75, abs=0.01)
    few = dict(list(means.items())[-4:])
    assert outliers(few, ("brightness",)) == []
    np.testing.assert_array_equal(modified_z([1, 1, 1, 5]), 0)


def test_burned_in_marks_are_searched_in_grey_images_only() -> None:
    from PIL import ImageDraw

    grey = scene(3, (256, 200)).convert("L").point(lambda v: v // 3 + 20)
    assert find_marks(np.asarray(grey)) == ""
    written, crossed = grey.copy(), grey.copy()
    ImageDraw.Draw(written).text((30, 150), "RT AXILLA", fill=255)
    draw = ImageDraw.Draw(crossed)
    draw.line((96, 100, 104, 100), fill=255)
    draw.line((100, 96, 100, 104), fill=255)
    assert find_marks(np.asarray(written)) == "text"
    assert find_marks(np.asarray(crossed)) == "cross"
    assert measure(png(written)).marks == "text"
    assert measure(png(Image.merge("RGB", (written, grey, grey)))).marks == ""


# --- folds and the command


def test_folds_after_the_policy_have_no_crossing_copy_and_without_it_do(
    dirty: Path, audited: tuple[dict[str, Any], Path]
) -> None:
    found, folder = audited
    exact = [tuple(p) for p in found["exact"]["pairs"]]
    near = [(p["first"], p["second"]) for p in found["near"]["pairs"]]
    config = ImageFolderConfig(group_regex=REGEX)
    crossed = []
    for options in ({}, {"on_near_duplicate": "keep"}):
        index = ImageFolder(dataclasses.replace(config, **options)).index(dirty, folder / "cache")
        splits = make_splits(index, SplitConfig(folds=4))
        folds = audit_folds(index, splits, exact, near)
        crossed.append(sum(len(f["exact_crossing"]) + len(f["near_crossing"]) for f in folds))
        for fold, split in zip(folds, splits, strict=True):
            part = {p: n for n in ("train", "validation", "test") for p in getattr(split, n)}
            for a, part_a, b, part_b in fold["exact_crossing"] + fold["near_crossing"]:
                assert (part[a], part[b]) == (part_a, part_b)
                assert part_a != part_b
            seen = {r.group_id for r in index.records if r.path in split.train}
            assert fold["generator"]["group_ids"] == sorted(seen)
            assert fold["generator"]["groups"] == len(seen) == fold["groups"]["train"]
            assert not seen & {r.group_id for r in index.records if r.path in split.test + split.validation}
    assert crossed[0] == 0
    assert crossed[1] > 0


def suite_file(tmp_path: Path, options: str = "") -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(
        f"description: d\ndataset: {{name: image_folder, group_regex: '{REGEX}'{options}}}\nsplit: {{folds: 4}}\n"
        "methods: {none: {}}\nclassifiers: {small_cnn: {}}\n"
    )
    return path


def test_the_command_prints_everything_as_json_and_counts_in_the_terminal(dirty: Path, tmp_path: Path) -> None:
    suite, out = str(suite_file(tmp_path)), str(tmp_path / "runs")
    done = CliRunner().invoke(main, ["data", "audit", str(dirty), "--suite", suite, "--out", out, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    subject = find_subject(dirty, None, suite, Path(out))
    assert json.loads(json.dumps(audit_subject(subject))) == found
    assert (found["dataset"], found["suite"], len(found["folds"])) == ("image_folder", "mine", 4)
    assert found["run"]["images"] == len(subject.index().records)
    assert sum(found["run"]["problems"].values()) == len(subject.index().problems)
    done = CliRunner().invoke(main, ["data", "audit", "--data", str(dirty), "--suite", suite, "--out", out])
    assert done.exit_code == 0, done.output
    for text in ("a/P02_0.png  =  b/P17_same.png", "exact copies: 3 pairs in 3 clusters", "groups with two labels: 1",
                 "cannot be used: 4", "fold 0: no copy crosses its parts", "its generators may see"):  # fmt: skip
        assert text in done.stdout


def test_folds_that_would_separate_exact_copies_are_reported_not_drawn(dirty: Path, tmp_path: Path) -> None:
    suite = str(suite_file(tmp_path, ", on_duplicate: keep"))
    found = audit_subject(find_subject(dirty, None, suite, tmp_path / "runs"))
    assert "have exact duplicates in" in found["folds"]["error"]
    done = CliRunner().invoke(main, ["data", "audit", str(dirty), "--suite", suite, "--out", str(tmp_path / "runs")])
    assert "no folds can be used" in done.stdout


def test_strict_refuses_conflicts_and_crossing_copies_only(dirty: Path, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "runs"), "--strict"]
    done = CliRunner().invoke(main, ["data", "audit", str(dirty), *out])
    assert done.exit_code == 3
    assert "recognised by its layout" in done.stdout
    clean = LAYOUTS["isic9"](tmp_path / "clean")
    done = CliRunner().invoke(main, ["data", "audit", str(clean), *out])
    assert done.exit_code == 0, done.output
    assert "isic9 (recognised by its layout)" in done.stdout


def test_wrong_arguments_are_clear_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENCH_DATA", raising=False)
    suite = str(suite_file(tmp_path))
    cases = {
        (): "no image folder given",
        (str(tmp_path / "nowhere"),): "nowhere",
        (str(tmp_path), "--dataset", "bussi"): "did you mean 'busi'",
        (str(tmp_path), "--dataset", "busi"): "does not hold BUSI",
        (str(tmp_path), "--dataset", "busi", "--suite", suite): "uses dataset image_folder",
    }
    for words, text in cases.items():
        done = CliRunner().invoke(main, ["data", "audit", *words, "--out", str(tmp_path / "runs")])
        assert done.exit_code == 2, words
        assert text in done.output


def test_a_set_too_small_to_run_can_be_audited(tmp_path: Path) -> None:
    root = tmp_path / "set"
    write(root / "a" / "P00_0.png", png(scene(1)))
    write(root / "b" / "P10_0.png", b"broken")
    subject = find_subject(root, None, str(suite_file(tmp_path)), tmp_path / "runs")
    found = audit_subject(subject)
    assert found["counts"]["unusable"] == 1
    assert "no usable b images" in found["run"]["error"]
    assert found["folds"] is None


def test_a_set_made_by_the_harness_can_be_audited(tmp_path: Path) -> None:
    from bench.cli.audit import Subject
    from bench.data.sets.phantom import Phantom, PhantomConfig

    dataset = Phantom(PhantomConfig(image_size_px=32, patients=4, images_per_patient=2))
    found = audit_subject(Subject("phantom", dataset, None, tmp_path / "cache"))
    assert found["counts"]["files"] == found["run"]["images"] == found["masks"]["files"]
    assert found["counts"]["exact_pairs"] == found["counts"]["near_pairs"] == 0


# --- real images: figures against a plain count of the bytes

REAL = {  # folder: byte-identical pairs, those across class folders; least and most near pairs (assessed by eye)
    "BreaKHis_v1": (0, 0, 1, 1),
    "Dataset_BUSI_with_GT": (1, 1, 117, 140),
    "chest_xray": (22, 0, 4, 10),  # aligned anatomy: all images are alike
}
SLIDES = {  # a third of the images of BreakHis: three slides of each class, one with the near pair
    *("SOB_B_A_14-22549CD", "SOB_B_TA_14-3411F", "SOB_B_F_14-21998CD"),
    *("SOB_M_DC_14-12312", "SOB_M_MC_14-12773", "SOB_M_PC_14-15687B"),
}


@pytest.mark.realdata
@pytest.mark.parametrize("folder", ["BreaKHis_v1", *(pytest.param(f, marks=pytest.mark.slow) for f in list(REAL)[1:])])
def test_real_sets_against_a_plain_count(real_data: Path, tmp_path: Path, folder: str) -> None:
    given = part_of_breakhis(real_data, tmp_path, slides=SLIDES) if folder == "BreaKHis_v1" else real_data / folder
    top = given.resolve()  # where the checkout has a link, so that paths compare
    pictures = [p for p in top.rglob("*.*") if p.suffix in (".png", ".jpg") and "_mask" not in p.name]
    digest = {p: hashlib.md5(p.read_bytes()).hexdigest() for p in pictures}
    same = {d: sorted(p for p in digest if digest[p] == d) for d, n in Counter(digest.values()).items() if n > 1}
    plain = [pair for files in same.values() for pair in combinations(files, 2)]
    labels = ("benign", "malignant", "normal")
    label = {p: next((part for part in p.parts[-7:] if part in labels), p.parent.name) for p in pictures}
    conflicts = [pair for pair in plain if label[pair[0]] != label[pair[1]]]
    found = audit_subject(find_subject(top, None, None, tmp_path / "out"))
    root = Path(found["root"])
    assert {tuple(sorted((root / a, root / b))) for a, b in found["exact"]["pairs"]} == set(plain)
    assert {tuple(sorted((root / a, root / b))) for a, b in found["exact"]["label_conflicts"]} == set(conflicts)
    assert (len(plain), len(conflicts)) == REAL[folder][:2]
    assert REAL[folder][2] <= found["counts"]["near_pairs"] <= REAL[folder][3]
    assert folder != "chest_xray" or found["counts"]["near_label_conflicts"] == 0
    assert found["counts"]["files"] == len(pictures)


def test_appearances_are_cached_by_content(
    dirty: Path, audited: tuple[dict[str, Any], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import bench.audit.appearance as appearance_module

    first, folder = audited
    monkeypatch.setattr(appearance_module, "measure", lambda *a: pytest.fail("measured again"))
    assert audit(dirty, folder) == first
    assert {f.name for f in dataclasses.fields(Appearance)} >= set(first["appearance"]["measures"])
