"""One image of each unusual kind: nothing is lost, nothing becomes black, and the pixels are the expected ones."""

from __future__ import annotations

import dataclasses
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from data_sets import png, write
from helpers import FakeContext
from PIL import Image

from baselines.none import NoAugmentation
from bench.audit.audit import audit_listing
from bench.classifiers.small_cnn import SmallCNN
from bench.classifiers.trainer import train_classifier
from bench.data.cache import ImageCache
from bench.data.examine import decode
from bench.data.image_files import header_of, open_image
from bench.data.left_out import data_lines
from bench.data.loaders import FoldData, assemble_training_set
from bench.data.pixels import as_rgb
from bench.data.records import fingerprint
from bench.data.sets.image_folder import ImageFolder, ImageFolderConfig
from bench.data.splits import SplitConfig, make_splits
from bench.leakage import PARTS
from bench.pages.uploads import read_upload
from bench.types import DatasetIndex, GreyWindow, PixelPolicy

SIDE = 32
Levels = npt.NDArray[np.integer[Any]]
RAMP = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)  # 0 to 1023, increasing to the right and downwards
COLOURS = np.stack([RAMP // 4, 255 - RAMP // 4, RAMP % 256], axis=-1).astype(np.uint8)
ALPHA = np.where(np.arange(SIDE) < SIDE // 2, 255, 51).astype(np.uint8)[None].repeat(SIDE, axis=0)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def on_white(colours: Levels) -> Levels:
    share = ALPHA[..., None] / 255
    return np.round(colours * share + 255 * (1 - share)).astype(int)


def rgba() -> bytes:
    return png(Image.fromarray(np.dstack([COLOURS, ALPHA])))


def la() -> bytes:
    return png(Image.fromarray(np.dstack([COLOURS[..., 0], ALPHA])))


def palette() -> bytes:
    image = Image.fromarray((RAMP // 4).astype(np.uint8))
    image = image.convert("P")
    image.putpalette([v for i in range(256) for v in (i, 255 - i, 10)])
    return saved(image, "PNG", transparency=7)


def cmyk() -> bytes:
    return saved(Image.fromarray(np.dstack([COLOURS, np.zeros_like(ALPHA)]), "CMYK"), "TIFF")


def turned(kind: str, orientation: int = 6) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(Image.fromarray(COLOURS[:20]), kind, exif=exif)


def pages() -> bytes:
    first, second = Image.fromarray(COLOURS), Image.fromarray(255 - COLOURS)
    return saved(first, "TIFF", save_all=True, append_images=[second])


def twelve_bits() -> bytes:
    return saved(Image.fromarray((4 * RAMP).astype(np.uint16)), "TIFF")


def sixteen_bits() -> bytes:
    return png(Image.fromarray((64 * RAMP).astype(np.uint16)))


def floats() -> bytes:
    return saved(Image.fromarray((RAMP / 1023).astype(np.float32)), "TIFF")


def dicom(values: Levels, photometric: str = "MONOCHROME2", **tags: Any) -> bytes:
    """An uncompressed DICOM file of 12 bits in 16, or of 8 bits, signed as the type of ``values``."""
    pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed (extra dicom)")
    from pydicom.uid import ExplicitVRLittleEndian

    ds = pydicom.Dataset()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2"
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2"
    ds.Rows, ds.Columns = values.shape[-2:] if values.ndim == 2 or photometric[0] == "M" else values.shape[:2]
    ds.SamplesPerPixel = 3 if photometric == "RGB" else 1
    ds.PhotometricInterpretation = photometric
    ds.BitsAllocated = 8 * values.dtype.itemsize
    ds.BitsStored = 12 if ds.BitsAllocated == 16 else 8
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(values.dtype.kind == "i")
    if photometric == "RGB":
        ds.PlanarConfiguration = 0
    for name, value in tags.items():
        setattr(ds, name, value)
    ds.PixelData = values.tobytes()
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


def windowed() -> bytes:
    return dicom((4 * RAMP).astype(np.uint16), WindowCenter=1024, WindowWidth=1025)


def expected_pixels() -> dict[str, tuple[Callable[[], bytes], Levels, int]]:
    """File -> (its bytes, the RGB or grey levels that it must have in a set of all kinds, tolerance)."""
    grey = RAMP // 4
    p = np.stack([grey, 255 - grey, np.full_like(grey, 10)], axis=-1)
    p[grey == 7] = 255
    own = np.clip((RAMP / 1023 - 0.005) / 0.99 * 256, 0, 255)
    window = np.clip((4 * RAMP - 511.5) / 1024 * 255, 0, 255)
    return {
        "rgba.png": (rgba, on_white(COLOURS), 1),
        "la.png": (la, on_white(COLOURS[..., :1].repeat(3, axis=2)), 1),
        "palette.png": (palette, p, 0),
        "cmyk.tif": (cmyk, 255 - COLOURS.astype(int), 0),
        "pages.tif": (pages, COLOURS, 0),
        "webp.webp": (lambda: saved(Image.fromarray(COLOURS), "WEBP", lossless=True), COLOURS, 0),
        "twelve.tif": (twelve_bits, grey, 0),  # 12 bits are nearly black beside 16 bits: by their own number of bits
        "sixteen.png": (sixteen_bits, grey, 0),
        "float.tif": (floats, own, 2),
        "scan.dcm": (windowed, window, 1),
    }


def folder(root: Path) -> dict[str, Levels]:
    """Write every kind to both classes, and return what is expected of each file."""
    found = {}
    for name, (content, levels, _) in expected_pixels().items():
        for c in "ab":
            write(root / c / f"{c}_{name}", content())
            found[f"{c}/{c}_{name}"] = levels
    return found


def index_of(root: Path, tmp_path: Path, **options: object) -> DatasetIndex:
    keep = {"on_duplicate": "keep", "on_near_duplicate": "keep"}  # all files show the same ramps
    return ImageFolder(ImageFolderConfig(**{**keep, **options})).index(root, tmp_path / "cache")  # type: ignore[arg-type]


def test_no_image_of_an_odd_kind_is_lost_or_black_and_pixels_are_as_expected(tmp_path: Path) -> None:
    root, known = tmp_path / "set", expected_pixels()
    levels = folder(root)
    index = index_of(root, tmp_path)
    assert [r.path for r in index.records] == sorted(levels)
    images = np.asarray(ImageCache(tmp_path / "cache").load(index, SIDE)).astype(int)
    for record, image in zip(index.records, images, strict=True):
        wanted = np.asarray(levels[record.path])
        wanted = wanted if wanted.ndim == 3 else wanted[..., None].repeat(3, axis=2)
        tolerance = known[record.path[4:]][2]
        assert np.abs(image - wanted).max() <= tolerance, record.path
        assert image.max() > 200, record.path
        content = (root / record.path).read_bytes()  # the page sees the same
        assert (np.asarray(read_upload(content, index.pixels).picture) == image).all(), record.path
    said = "\n".join(data_lines(index))
    kinds = ("6 images, such as a/a_la.png, are transparent", "CMYK", "page", "window of the file", "own number of")
    for text in kinds:
        assert text in said
    assert {c.kind: c.count for c in index.conversions} == {
        "alpha": 6, "colour_space": 2, "pages": 2, "file_window": 2, "own_window": 4,
    }  # fmt: skip
    assert index_of(root, tmp_path) == index  # from the cache
    found = audit_listing("image_folder", ImageFolder(ImageFolderConfig()).listing(root), tmp_path / "audit")
    assert [c["kind"] for c in found["conversions"]] == [c.kind for c in index.conversions]
    assert not found["unusable"]
    assert not [o for o in found["odd"] if o["kind"] == "constant"]


def test_a_folder_of_odd_kinds_trains(tmp_path: Path) -> None:
    folder(tmp_path / "set")
    index = index_of(tmp_path / "set", tmp_path, group_regex=r"_(?P<group>\w+)\.")  # equal files stay together
    split = make_splits(index, SplitConfig(folds=2))[0]
    fold = FoldData(index, split, ImageCache(tmp_path / "cache"), SIDE)
    seen = sum(len(fold.part(name).labels) for name in PARTS)
    assert seen == len(index.records) == 2 * len(expected_pixels())
    config = SmallCNN.Config(steps=3, batch_size=4, width=4, evaluate_every=3)
    network, augmenter = SmallCNN(config).build(2, SIDE, None), NoAugmentation(NoAugmentation.Config())
    training, validation, ctx = assemble_training_set(fold, None, {}), _Known(fold), FakeContext(tmp_path / "cell")
    assert train_classifier(network, training, validation, 2, config, augmenter, ctx).steps_run == 3


class _Known:
    """The validation part of a fold, as the trainer takes it."""

    def __init__(self, fold: FoldData) -> None:
        part = fold.part("validation")
        self.images, self.labels, self.source_images, self.fold_parts = (
            part.images, part.labels, part.source_images, fold.fold_parts,
        )  # fmt: skip


def test_alpha_and_page_are_options_of_the_set(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for c in "ab":
        write(root / c / f"{c}_alpha.png", rgba())
        write(root / c / f"{c}_pages.tif", pages())
    index = index_of(root, tmp_path, alpha="drop", page=2)
    assert {p.kind for p in index.problems if p.kind != "copy_under_two_labels"} == {"no_page"}  # the PNG has one page
    assert len(index.records) == 2
    assert (ImageCache(tmp_path / "cache").load(index, SIDE)[0] == 255 - COLOURS).all()
    dropped = index_of(root, tmp_path, alpha="drop")
    assert (ImageCache(tmp_path / "cache").load(dropped, SIDE)[0] == COLOURS).all()
    white = index_of(root, tmp_path)
    assert len({fingerprint(i) for i in (index, dropped, white)}) == 3
    assert np.abs(np.asarray(ImageCache(tmp_path / "cache").load(white, SIDE)[0]) - on_white(COLOURS)).max() <= 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_tags_are_applied(kind: str, orientation: int) -> None:
    content = turned(kind, orientation)
    header, image = header_of(content), open_image(content)
    assert (header.width, header.height) == image.size == ((20, 32) if orientation > 4 else (32, 20))
    stored = COLOURS[:20].astype(int)
    turn: dict[int, Callable[[Levels], Levels]] = {
        1: lambda x: x, 2: lambda x: x[:, ::-1], 3: lambda x: x[::-1, ::-1], 4: lambda x: x[::-1],
        5: lambda x: x.swapaxes(0, 1), 6: lambda x: x.swapaxes(0, 1)[:, ::-1],
        7: lambda x: x[::-1, ::-1].swapaxes(0, 1), 8: lambda x: x.swapaxes(0, 1)[::-1],
    }  # fmt: skip
    limit = 0 if kind in ("PNG", "TIFF") else 12  # mean levels of compression
    assert np.abs(np.asarray(image.convert("RGB")).astype(int) - turn[orientation](stored)).mean() <= limit
    assert ("orientation" in decode(content).converted) == (orientation > 1)


def shown(content: bytes, window: GreyWindow | None = None) -> Levels:
    rgb = np.asarray(as_rgb(open_image(content), PixelPolicy(window))).astype(int)
    assert (rgb == rgb[..., :1]).all()
    return rgb[..., 0]


def test_dicom_without_a_window_is_scaled_by_bits_and_monochrome1_is_inverted() -> None:
    values = (4 * RAMP).astype(np.uint16)
    plain, inverted = (shown(dicom(values, f"MONOCHROME{i}")) for i in (2, 1))
    np.testing.assert_array_equal(plain, RAMP // 4)
    np.testing.assert_array_equal(inverted, 255 - plain)
    eight = dicom((RAMP // 4).astype(np.uint8), "MONOCHROME1")
    np.testing.assert_array_equal(shown(eight), 255 - RAMP // 4)
    assert decode(eight).values is None  # 8 bits need no window


def test_dicom_windows_and_rescaling_are_those_of_the_standard() -> None:
    from_standard = np.clip(((RAMP - 1000.0 - 39.5) / 399 + 0.5) * 255, 0, 255)  # C.11.2.1.2.1, centre 40, width 400
    window = {"WindowCenter": ["40", "300"], "WindowWidth": ["400", "1500"]}
    for values, intercept in ((RAMP.astype(np.uint16), -1000), ((RAMP - 1000).astype(np.int16), 0)):
        content = dicom(values, RescaleSlope=1, RescaleIntercept=intercept, **window)
        assert np.abs(shown(content) - from_standard).max() <= 1
        one = dicom(values, "MONOCHROME1", RescaleSlope=1, RescaleIntercept=intercept, **window)
        assert np.abs(shown(one) - (255 - from_standard)).max() <= 1
        declared = GreyWindow(-1000, 23, declared=True)  # by the user: it has priority over the file's
        np.testing.assert_array_equal(shown(content, declared), RAMP // 4)
    half = dicom(RAMP.astype(np.uint16), RescaleSlope="0.5", RescaleIntercept=0, WindowCenter=256, WindowWidth=512)
    assert np.abs(shown(half) - RAMP / 4).max() <= 1
    nothing = dicom((4 * RAMP).astype(np.uint16), WindowCenter=60_000, WindowWidth=100)
    np.testing.assert_array_equal(shown(nothing), RAMP // 4)  # a window that leaves one level is not used


def test_colour_and_frames_of_dicom() -> None:
    np.testing.assert_array_equal(np.asarray(open_image(dicom(COLOURS, "RGB"))), COLOURS)
    frames = np.stack([RAMP // 4, 255 - RAMP // 4]).astype(np.uint8)
    content = dicom(frames, NumberOfFrames=2)
    assert dataclasses.astuple(header_of(content))[:4] == ("DICOM", SIDE, SIDE, 2)
    np.testing.assert_array_equal(np.asarray(open_image(content, page=2)), frames[1])
    assert decode(content, PixelPolicy(page=3))[0] == "no_page"
    assert "pages" in decode(content).converted


def test_compressed_dicom_gives_the_same_pixels() -> None:
    pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed (extra dicom)")
    ds = pydicom.dcmread(io.BytesIO(dicom((4 * RAMP).astype(np.uint16))))
    ds.compress(pydicom.uid.RLELossless)
    out = io.BytesIO()
    ds.save_as(out)
    np.testing.assert_array_equal(shown(out.getvalue()), RAMP // 4)


def test_dicom_without_a_preamble_is_read() -> None:
    whole = dicom((4 * RAMP).astype(np.uint16))
    np.testing.assert_array_equal(shown(whole[132:]), RAMP // 4)
    assert decode(whole[132:300])[0]


def test_dicom_without_pydicom_is_named_once_with_a_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = windowed()
    root = tmp_path / "set"
    for i in range(3):
        write(root / "a" / f"{i}.dcm", content + bytes(i))
    for c in "ab":
        write(root / c / f"{c}.png", png(Image.fromarray(COLOURS if c == "a" else COLOURS[::-1].copy())))
    monkeypatch.setitem(sys.modules, "pydicom", None)
    (line,) = (line for line in data_lines(index_of(root, tmp_path)) if ".dcm" in line)
    assert line.startswith("needs_pydicom: 3 images, such as a/0.dcm")
    assert "pip install 'augbench[dicom]'" in line


def test_every_cut_of_a_dicom_file_is_refused() -> None:
    whole = windowed()
    for share in (0.3, 0.6, 0.99):
        assert decode(whole[: int(len(whole) * share)])[0], share


def test_an_opaque_alpha_channel_is_not_worth_a_note() -> None:
    assert decode(png(Image.fromarray(COLOURS).convert("RGBA"))).converted == ()
