"""Uploads are read as data sets' files are; what cannot be used is refused in one sentence, in little memory."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path

import numpy as np
import pytest
from bad_uploads import EITHER, KINDS, USABLE, bad_uploads, png, read_in_child, saved
from PIL import Image

from bench.data.cache import resized
from bench.data.pixels import as_rgb
from bench.pages.server import RequestError
from bench.pages.uploads import MAX_BYTES, fitted, read_upload, shown_name, sniff
from bench.types import GreyWindow, PixelPolicy, Resize

GREY16 = np.linspace(0, 65535, 48 * 40).reshape(48, 40).astype(np.uint16)


def refusal(content: bytes) -> tuple[int, str]:
    with pytest.raises(RequestError) as e:
        read_upload(content)
    return e.value.status, str(e.value)


def colours(seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (48, 40, 3), dtype=np.uint8))


@pytest.mark.parametrize("resize", ["squash", "crop"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "orientation", "16-bit", "16-bit big-endian"])
def test_pixels_are_those_of_the_data_loaders(tmp_path: Path, mode: str, resize: Resize) -> None:
    image = Image.fromarray(GREY16) if mode.startswith("16") else colours()
    options: dict[str, object] = {}
    if mode in ("1", "L", "P", "RGBA", "CMYK"):
        image = image.convert(mode)
    if mode == "RGBA":
        image.putalpha(90)
    if mode == "orientation":
        exif = Image.Exif()
        exif[0x0112] = 6
        options = {"exif": exif}
    if mode == "16-bit big-endian":
        image = Image.frombytes("I;16B", (40, 48), GREY16.astype(">u2").tobytes())
    content = saved(image, "TIFF" if mode in ("CMYK", "16-bit big-endian") else "PNG", **options)
    path = tmp_path / "image"
    path.write_bytes(content)
    policy = PixelPolicy(GreyWindow(100, 60_000) if mode.startswith("16") else None)  # of the data set
    expected = resized(path, hashlib.sha256(content).hexdigest(), 24, resize, policy)
    upload = read_upload(content, policy)
    assert (fitted(upload.picture, 24, resize)[0] == expected).all()
    assert bool(upload.notes) == (mode in ("RGBA", "CMYK", "orientation", "16-bit", "16-bit big-endian"))


def test_sixteen_bit_strips_join_as_the_whole() -> None:
    rng = np.random.default_rng(0)
    for high, bits in ((200, 8), (4096, 12), (65536, 16)):  # of a data set of 8 bits: the whole upload tells its bits
        image = Image.fromarray(rng.integers(high // 2, high, (700, 20)).astype(np.uint16))
        expected = np.asarray(as_rgb(image, PixelPolicy(GreyWindow(0, 2**bits - 1))))
        assert (np.asarray(read_upload(saved(image, "PNG")).picture) == expected).all()
    low_then_high = np.zeros((700, 20), np.uint16)
    low_then_high[:300], low_then_high[600:] = 77, 40_000
    image = Image.fromarray(low_then_high)
    expected = np.asarray(as_rgb(image, PixelPolicy(GreyWindow(0, 65535))))
    assert (np.asarray(read_upload(saved(image, "PNG")).picture) == expected).all()


@pytest.mark.parametrize("kind", sorted(set(KINDS) - USABLE - EITHER))
def test_what_cannot_be_used_is_refused_in_one_sentence(kind: str) -> None:
    for seed in range(4):
        status, message = refusal(KINDS[kind](np.random.default_rng(seed)))
        assert 400 <= status < 500
        assert "\n" not in message
        assert 15 < len(message) < 160


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"", 400, "empty"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "SVG"),
        (b"PK\x03\x04....", 415, "zip archive; supported formats: PNG, JPEG, TIFF, BMP, GIF, WebP, DICOM"),
        (b"GIF89a....", 422, "this GIF file is damaged"),
        (bytes(MAX_BYTES + 1), 413, "20 MB"),
        (png(60_000, 60_000, b""), 413, "the maximum is 40 million"),
        (png(7000, 7000, b""), 413, "7000 × 7000 pixels"),
        (saved(colours(), "PNG")[:-500], 422, "damaged or incomplete"),
        (saved(colours().resize((8, 40)), "BMP"), 422, "8 × 40 pixels; each side needs at least 16"),
        (saved(Image.new("LAB", (20, 20)), "TIFF"), 422, "mode LAB"),
    ],
)
def test_refusals_say_why(content: bytes, status: int, words: str) -> None:
    found, message = refusal(content)
    assert found == status
    assert words in message


def test_the_name_is_not_believed() -> None:
    assert sniff(saved(colours(), "BMP")) == "BMP"
    assert shown_name("../../etc/passwd") == "passwd"
    assert shown_name("C:\\scans\\a\x00\x1b[31mb.png") == "a[31mb.png"
    assert shown_name("") == shown_name("///") == "image"
    assert len(shown_name("x" * 500)) == 80


def test_the_largest_picture_that_is_taken_needs_less_than_a_gigabyte() -> None:
    side = 6320  # 39.9 million pixels
    packer = zlib.compressobj(1)
    data = b"".join(packer.compress(bytes(1 + side * 2)) for _ in range(side)) + packer.flush()
    peak_bytes, [read] = read_in_child(png(side, side, data, bits=16, colour=0))
    assert read is not None
    assert read[0] == (side, side)
    assert 100e6 < peak_bytes < 1e9


def test_the_largest_progressive_cmyk_jpeg_needs_less_than_a_gigabyte() -> None:
    """Of all that is taken it is the worst: its decoder holds every coefficient of four channels until the last scan.

    It is near both limits, of bytes and of pixels, and takes seconds to write.
    """
    side = 6320
    noise = np.random.default_rng(0).integers(0, 256, (side // 4, side // 4, 4), dtype=np.uint8)
    inks = Image.frombytes("CMYK", (side // 4, side // 4), noise.tobytes())
    content = saved(inks.resize((side, side), Image.Resampling.BILINEAR), "JPEG", quality=30, progressive=True)
    assert 0.9 * MAX_BYTES < len(content) < MAX_BYTES
    peak_bytes, read = read_in_child(content)
    assert read == [((side, side), ("it was converted from CMYK to RGB without a colour profile",))]
    assert 100e6 < peak_bytes < 1e9


def test_malformed_files_need_little_memory() -> None:
    peak_bytes, read = read_in_child(*(content for _, _, content in bad_uploads(44, seed=1)))
    assert None in read
    assert peak_bytes < 500e6


def test_a_camera_picture_with_a_preview_is_one_picture() -> None:
    dark, bright = (Image.new("RGB", (40, 48), colour) for colour in ("navy", "yellow"))
    content = saved(dark, "MPO", save_all=True, append_images=[bright])
    assert np.abs(np.asarray(read_upload(content).picture).astype(int) - np.asarray(dark)).max() < 8
