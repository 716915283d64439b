"""From files to 8-bit RGB: one window of grey values for a whole data set, reported, part of its fingerprint."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from data_sets import picture, png, two_classes, write
from PIL import Image

from bench.audit.appearance import measure
from bench.audit.audit import audit_listing
from bench.cli.fidelity import image_files
from bench.data.cache import ImageCache
from bench.data.left_out import data_lines
from bench.data.pixels import window_of_files
from bench.data.records import fingerprint
from bench.data.sets.image_folder import ImageFolder, ImageFolderConfig
from bench.errors import ConfigError, DataError
from bench.types import DatasetIndex, GreyWindow, PixelPolicy

SIDE = 20
Values = npt.NDArray[np.generic]


def tiff(values: Values) -> bytes:
    out = io.BytesIO()
    Image.fromarray(values).save(out, "TIFF")
    return out.getvalue()


def signed_tiff(values: npt.NDArray[np.int16]) -> bytes:
    """A TIFF of signed 16 bits, as CT is stored; Pillow can read but not write it."""
    import tifffile

    out = io.BytesIO()
    tifffile.imwrite(out, values)
    return out.getvalue()


def ramp(low: float, high: float, seed: int) -> npt.NDArray[np.float64]:
    """Values from low to high, in a different order for each image."""
    values = np.linspace(low, high, SIDE * SIDE)
    return np.random.default_rng(seed).permutation(values).reshape(SIDE, SIDE)


def folder(root: Path, content: Callable[[int], bytes], extension: str = "tif") -> Path:
    for i in range(8):
        write(root / "ab"[i % 2] / f"{i}.{extension}", content(i))
    return root


def index_of(root: Path, tmp_path: Path, **options: object) -> DatasetIndex:
    return ImageFolder(ImageFolderConfig(**options)).index(root, tmp_path / "cache")  # type: ignore[arg-type]


def levels(index: DatasetIndex, tmp_path: Path) -> npt.NDArray[np.uint8]:
    """The images at their original size, uint8 [N, H, W], as stages read them."""
    return np.asarray(ImageCache(tmp_path / "cache").load(index, SIDE))[..., 0]


def test_twelve_bits_in_sixteen_have_one_scale(tmp_path: Path) -> None:
    tops = (
        4095,
        700,
        1000,
        2000,
        3000,
        3500,
        4000,
        600,
    )  # the second was read as an 8-bit image, others were nearly black
    images = [ramp(0, top, i).astype(np.uint16) for i, top in enumerate(tops)]
    index = index_of(folder(tmp_path / "set", lambda i: png(Image.fromarray(images[i])), "png"), tmp_path)
    assert index.pixels.window == GreyWindow(0, 4095)
    assert {p.kind for p in index.problems} == set()
    for record, found in zip(index.records, levels(index, tmp_path), strict=True):
        np.testing.assert_array_equal(found, images[int(Path(record.path).stem)] >> 4)
    (line,) = data_lines(index)
    assert "0 to 4095 become 0 to 255" in line
    assert "12 bits" in line


def test_eight_bits_in_sixteen_stay_as_they_are(tmp_path: Path) -> None:
    images = [ramp(0, 255 - i, i).astype(np.uint16) for i in range(8)]
    index = index_of(folder(tmp_path / "set", lambda i: tiff(images[i])), tmp_path)
    assert index.pixels.window == GreyWindow(0, 255)
    np.testing.assert_array_equal(levels(index, tmp_path)[0], images[0])


def test_signed_values_lie_between_percentiles_of_the_set(tmp_path: Path) -> None:
    images = [ramp(-1000, 1000 + 100 * i, i).astype(np.int16) for i in range(8)]
    images[3][0, 0] = 30_000  # a metal implant
    index = index_of(folder(tmp_path / "set", lambda i: signed_tiff(images[i])), tmp_path)
    assert index.pixels.window is not None
    everything = np.stack(images)
    assert index.pixels.window.low == pytest.approx(np.quantile(everything, 0.005), abs=15)
    assert index.pixels.window.high == pytest.approx(np.quantile(everything, 0.995), abs=50)
    shown = levels(index, tmp_path)
    order = [int(Path(r.path).stem) for r in index.records]
    same_value = [shown[row][np.abs(images[i] - 500.0) <= 4] for row, i in enumerate(order)]
    assert np.ptp(np.concatenate(same_value)) <= 2  # equal values give equal levels, in every image
    assert len(np.unique(shown)) > 200
    declared = index_of(tmp_path / "set", tmp_path, intensity=(-160, 240))
    soft = levels(declared, tmp_path)[0]
    np.testing.assert_array_equal(soft, np.clip((images[order[0]].astype(int) + 160) * 256 // 401, 0, 255))


def test_float_images_have_one_scale(tmp_path: Path) -> None:
    images = [ramp(0, 1 - i / 16, i).astype(np.float32) for i in range(8)]
    index = index_of(folder(tmp_path / "set", lambda i: tiff(images[i])), tmp_path)
    shown = levels(index, tmp_path)
    order = [int(Path(r.path).stem) for r in index.records]
    brightest = [int(shown[row].max()) for row in np.argsort(order)]
    assert brightest == sorted(brightest, reverse=True)
    assert brightest[0] == 255
    assert brightest[7] == pytest.approx(256 * images[7].max(), abs=8)


def test_values_that_are_not_finite_are_named(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", lambda i: tiff(ramp(0, 1, i).astype(np.float32)))
    bad = ramp(0, 1, 9).astype(np.float32)
    bad[0, 0] = np.nan
    write(root / "a" / "9.tif", tiff(bad))
    assert [(p.path, p.kind) for p in index_of(root, tmp_path).problems] == [("a/9.tif", "not_finite")]


def test_hot_pixels_do_not_make_a_set_black(tmp_path: Path) -> None:
    def content(i: int) -> bytes:
        values = ramp(0, 900, i).astype(np.uint16)
        values[0, 0] = 65_535  # one hot pixel would leave 4 levels for all others
        return png(Image.fromarray(values))

    index = index_of(folder(tmp_path / "set", content, "png"), tmp_path)
    assert index.pixels.window is not None
    assert index.pixels.window.high == pytest.approx(900, abs=10)
    assert "quantiles" in data_lines(index)[0]
    assert len(np.unique(levels(index, tmp_path))) > 200
    assert index.conversions == ()


def test_few_levels_are_refused_with_what_to_declare(tmp_path: Path) -> None:
    labels = folder(tmp_path / "numbers", lambda i: tiff((ramp(0, 3, i).round() * 700).astype(np.uint16)))
    with pytest.raises(DataError, match="keep 4 grey levels"):  # a label map is not an image
        index_of(labels, tmp_path)
    full = folder(tmp_path / "full", lambda i: tiff(ramp(0, 65_535, i).astype(np.uint16)))
    with pytest.raises(DataError, match=r"keep 1 grey levels of 256.*dataset\.intensity=\[\d+,65\d+\]"):
        index_of(full, tmp_path, intensity=(70_000, 80_000))


def test_one_deep_image_of_few_levels_among_many_does_not_stop_a_run(tmp_path: Path) -> None:
    root = two_classes(tmp_path / "set")
    flat = (np.arange(SIDE) // 2 * 100).astype(np.uint16)[None].repeat(SIDE, axis=0)  # 10 values
    write(root / "a" / "P009_0.png", png(Image.fromarray(flat)))
    index = index_of(root, tmp_path)
    row = [r.path for r in index.records].index("a/P009_0.png")
    shown = np.asarray(ImageCache(tmp_path / "cache").load(index, SIDE))[row, ..., 0]
    assert len(np.unique(shown)) == 10
    assert shown.max() > 200


def test_dim_images_of_a_set_have_their_own_window_and_this_is_said(tmp_path: Path) -> None:
    tops = (65_535, 4095, 60_000, 65_000, 62_000, 64_000, 63_000, 60_000)
    images = [ramp(0, top, i).astype(np.uint16) for i, top in enumerate(tops)]
    index = index_of(folder(tmp_path / "set", lambda i: tiff(images[i])), tmp_path)
    for record, found in zip(index.records, levels(index, tmp_path), strict=True):
        number = int(Path(record.path).stem)
        np.testing.assert_array_equal(found, images[number] >> (4 if number == 1 else 8))
    assert [(c.kind, c.count, c.example) for c in index.conversions] == [("own_window", 1, "b/1.tif")]
    assert "b/1.tif is scaled by the image's own number of bits" in "\n".join(data_lines(index))


def test_sixteen_bit_colour_that_keeps_few_levels_is_refused(tmp_path: Path) -> None:
    import tifffile

    def content(top: int) -> Callable[[int], bytes]:
        def made(i: int) -> bytes:
            out = io.BytesIO()
            values = np.stack([ramp(0, top, 3 * i + c) for c in range(3)], axis=-1).astype(np.uint16)
            tifffile.imwrite(out, values, photometric="rgb")
            return out.getvalue()

        return made

    with pytest.raises(DataError, match=r"16 bits a colour channel.*16 grey levels"):
        index_of(folder(tmp_path / "dark", content(4095)), tmp_path)
    assert index_of(folder(tmp_path / "full", content(65_535)), tmp_path).pixels.window is None


def test_the_window_is_part_of_the_identity_and_of_the_cache(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", lambda i: tiff(ramp(0, 4000, i).astype(np.uint16)))
    auto, narrow = index_of(root, tmp_path), index_of(root, tmp_path, intensity=(0, 2000))
    assert fingerprint(auto) != fingerprint(narrow)
    assert levels(auto, tmp_path).max() == 4000 >> 4
    assert levels(narrow, tmp_path).max() == 255  # no row of the other window is reused
    assert index_of(root, tmp_path) == auto  # the cached results include the values


def test_eight_bit_sets_are_untouched(tmp_path: Path) -> None:
    root = two_classes(tmp_path / "set")
    index = index_of(root, tmp_path)
    assert index.pixels.window is None
    assert data_lines(index) == []
    assert fingerprint(index) == "353c17c20c41a69e"  # as in versions without windows
    with pytest.raises(DataError, match="no image is grey of more than 8 bits"):
        index_of(root, tmp_path, intensity=(0, 100))
    with pytest.raises(ConfigError, match="expected auto, or"):
        ImageFolderConfig(intensity=(5, 5))


def test_audit_and_fidelity_see_the_same_pixels(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", lambda i: tiff(ramp(0, 4095 if i else 700, i).astype(np.uint16)))
    dataset = ImageFolder(ImageFolderConfig())
    found = audit_listing("image_folder", dataset.listing(root), tmp_path / "cache")
    assert found["intensity"] == {"low": 0.0, "high": 4095.0, "how": found["intensity"]["how"]}
    assert {o["kind"] for o in found["odd"]} == {"sixteen_bit"}
    assert window_of_files(image_files(root)) == GreyWindow(0, 4095)
    assert measure((root / "a" / "0.tif").read_bytes(), "", PixelPolicy(GreyWindow(0, 4095))).highest == 700 >> 4
    assert window_of_files([write(tmp_path / "x.png", png(picture(1)))]) is None
