"""Reading of listed files: bad images, copies, caching, fingerprint."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from data_sets import picture, png, two_classes, write
from PIL import Image

import bench.data.records as records_module
from bench.data.pixels import as_rgb, is_grey, open_image
from bench.data.records import Listed, decode, fingerprint, scan
from bench.data.sets.image_folder import ImageFolder, ImageFolderConfig
from bench.errors import ConfigError, DataError
from bench.types import DatasetIndex, GreyWindow


def folder_index(root: Path, cache: Path, **options: object) -> DatasetIndex:
    return ImageFolder(ImageFolderConfig(**options)).index(root, cache)  # type: ignore[arg-type]


@pytest.fixture
def four_bad(tmp_path: Path) -> Path:
    root = two_classes(tmp_path / "set")
    write(root / "a" / "cut.png", png(picture(1, (64, 64)))[:2000])
    write(root / "a" / "text.png", b"this is not an image\n")
    write(root / "b" / "dot.png", png(picture(2, (1, 1))))
    write(root / "b" / "alpha.png", png(picture(3, (32, 32), "RGBA")))
    return root


def test_four_bad_images_are_named_and_the_rest_is_used(four_bad: Path, tmp_path: Path) -> None:
    index = folder_index(four_bad, tmp_path / "cache")
    assert {(p.path, p.kind) for p in index.problems} == {
        ("a/cut.png", "truncated"),
        ("a/text.png", "not_an_image"),
        ("b/dot.png", "too_small"),
        ("b/alpha.png", "channels"),
    }
    assert len(index.records) == 24
    assert all(p.detail for p in index.problems)


def test_refuse_names_every_bad_image(four_bad: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError) as e:
        folder_index(four_bad, tmp_path / "cache", on_bad_image="refuse")
    for name in ("a/cut.png", "a/text.png", "b/dot.png", "b/alpha.png"):
        assert name in str(e.value)


def test_every_cut_of_a_png_or_jpeg_is_found() -> None:
    import io

    jpeg = io.BytesIO()
    picture(5, (64, 64)).save(jpeg, "JPEG")
    for whole in (png(picture(4, (64, 64))), jpeg.getvalue()):
        assert decode(whole)[:2] == ("", "")
        for share in (0.1, 0.5, 0.9, 0.99):
            assert decode(whole[: int(len(whole) * share)])[0] in ("truncated", "not_an_image"), share


def test_a_png_without_its_last_chunk_is_found() -> None:
    assert decode(png(picture(4, (64, 64)))[:-12])[0] == "truncated"


def test_a_flipped_byte_in_a_png_is_found() -> None:
    content = bytearray(png(picture(4, (64, 64))))
    content[len(content) // 2] ^= 0xFF
    assert decode(bytes(content))[0] == "truncated"


def test_decompression_bombs_are_refused_without_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records_module, "MAX_PIXELS", 1000)
    monkeypatch.setattr(records_module, "open_image", lambda content: pytest.fail("decoded"))
    assert decode(png(picture(1, (64, 64))))[0] == "too_large"


@pytest.mark.parametrize(("mode", "kind"), [("L", ""), ("1", ""), ("P", ""), ("LA", "channels"), ("RGBA", "channels")])
def test_grey_and_palette_are_used_and_transparency_is_not(mode: str, kind: str) -> None:
    image = picture(1, (32, 32)).convert("L").convert(mode) if mode in ("1", "LA") else picture(1, (32, 32), mode)
    assert decode(png(image))[0] == kind


def test_palette_with_transparency_and_cmyk_are_refused() -> None:
    import io

    out = io.BytesIO()
    picture(1, (32, 32), "P").save(out, "PNG", transparency=0)
    assert decode(out.getvalue())[0] == "channels"
    out = io.BytesIO()
    picture(1, (32, 32), "CMYK").save(out, "TIFF")
    assert decode(out.getvalue())[0] == "channels"


def test_sixteen_bit_grey_keeps_its_upper_byte() -> None:
    grey = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
    image = open_image(png(Image.fromarray(grey)))
    assert decode(png(Image.fromarray(grey)))[:2] == ("", "")
    with pytest.raises(DataError, match="no window"):
        as_rgb(image)
    rgb = np.asarray(as_rgb(image, GreyWindow(0, 65535)))
    assert rgb.shape == (32, 32, 3)
    np.testing.assert_array_equal(rgb[..., 1], grey // 256)


def test_a_second_scan_reads_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = two_classes(tmp_path / "set")
    first = folder_index(root, tmp_path / "cache")
    monkeypatch.setattr(records_module, "decode", lambda content: pytest.fail("decoded again"))
    assert folder_index(root, tmp_path / "cache") == first


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    root = two_classes(tmp_path / "set")
    first = folder_index(root, tmp_path / "cache")
    write(root / "a" / "P000_0.png", png(picture(777)))
    second = folder_index(root, tmp_path / "cache")
    assert first.by_path()["a/P000_0.png"].sha256 != second.by_path()["a/P000_0.png"].sha256
    assert fingerprint(first) != fingerprint(second)


def test_a_damaged_cache_is_not_fatal(tmp_path: Path) -> None:
    root = two_classes(tmp_path / "set")
    first = folder_index(root, tmp_path / "cache")
    (memory,) = (tmp_path / "cache").glob("scan-*.json")
    memory.write_text('{"version": 1, "files": {"a/P0')
    assert folder_index(root, tmp_path / "cache") == first


def test_copies_within_a_class_leave_one_and_two_labels_leave_none(tmp_path: Path) -> None:
    root = two_classes(tmp_path / "set")
    once = png(picture(50))
    for name in ("a/P000_7.png", "a/P000_8.png", "a/P003_9.png"):
        write(root / name, once)
    twice = png(picture(51))
    for name in ("a/P000_x.png", "b/P100_x.png"):
        write(root / name, twice)
    index = folder_index(root, tmp_path / "cache", group_regex="(?P<group>P[0-9]+)_")
    kinds = {p.path: p.kind for p in index.problems}
    assert kinds == {
        "a/P000_8.png": "copy_across_groups",
        "a/P003_9.png": "copy_across_groups",
        "a/P000_x.png": "copy_under_two_labels",
        "b/P100_x.png": "copy_under_two_labels",
    }
    paths = set(index.by_path())
    assert "a/P000_7.png" in paths
    assert not paths & set(kinds)
    kept = folder_index(root, tmp_path / "cache", on_duplicate="keep")
    assert set(kinds) <= set(kept.by_path())
    assert {p.path for p in kept.problems} == set(kinds)
    with pytest.raises(DataError, match=r"b/P100_x\.png"):
        folder_index(root, tmp_path / "cache", on_duplicate="refuse")


def test_copies_in_one_group_keep_the_first(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for name in ("z.png", "y.png"):
        write(root / name, png(picture(1)))
    files = [Listed(n, 0, "p") for n in ("z.png", "y.png")]
    records, problems = scan(root, files, classes=("a",), cache=tmp_path / "cache")
    assert [r.path for r in records] == ["y.png"]
    assert [(p.path, p.kind) for p in problems] == [("z.png", "copy")]


def test_a_group_with_two_labels_is_reported_and_kept(tmp_path: Path) -> None:
    root = two_classes(tmp_path / "set")
    write(root / "b" / "P000_9.png", png(picture(99)))
    index = folder_index(root, tmp_path / "cache", group_regex="(?P<group>P[0-9]+)_")
    (problem,) = index.problems
    assert problem.kind == "group_with_two_labels"
    assert "3 a, 1 b" in problem.detail
    assert sum(r.group_id == "P000" for r in index.records) == 4


def test_fingerprint_ignores_root_and_order_only(tmp_path: Path) -> None:
    one = folder_index(two_classes(tmp_path / "one"), tmp_path / "cache")
    two = folder_index(two_classes(tmp_path / "two"), tmp_path / "cache")
    assert len(fingerprint(one)) == 16
    assert fingerprint(one) == fingerprint(two)
    assert fingerprint(dataclasses.replace(one, records=one.records[::-1])) == fingerprint(one)
    moved = dataclasses.replace(one.records[0], group_id="other")
    assert fingerprint(dataclasses.replace(one, records=(moved, *one.records[1:]))) != fingerprint(one)
    assert fingerprint(dataclasses.replace(one, classes=("b", "a"))) != fingerprint(one)


def test_options_are_checked() -> None:
    with pytest.raises(ConfigError, match="skip, refuse"):
        ImageFolderConfig(on_bad_image="ignore")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="drop, keep, refuse"):
        ImageFolderConfig(on_duplicate="no")  # type: ignore[arg-type]


@pytest.mark.parametrize(("modes", "grey"), [("LL", True), ("1L", True), ("LR", False)])
def test_the_index_knows_whether_all_images_are_grey(tmp_path: Path, modes: str, grey: bool) -> None:
    for i, mode in enumerate(modes * 2):
        shown = picture(i, mode="RGB" if mode == "R" else mode)
        write(tmp_path / "set" / "ab"[i // 2] / f"{i}.png", png(shown))
    for _ in range(2):  # from the pixels, then from the cache
        assert folder_index(tmp_path / "set", tmp_path / "cache").grey is grey


def test_rounding_in_jpeg_is_not_colour() -> None:
    rgb = np.repeat(np.random.default_rng(0).integers(5, 250, (40, 40, 1), dtype=np.uint8), 3, axis=2)
    rgb[3, 4, 0] += 2
    assert is_grey(Image.fromarray(rgb))
    rgb[3, 4, 0] += 1
    assert not is_grey(Image.fromarray(rgb))
