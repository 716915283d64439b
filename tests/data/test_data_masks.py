"""Masks as published: several files, unusual modes, wrong sizes; and resized like their images."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data.cache import resized
from bench.data.masks import load_masks, masks_fingerprint, pixel_spacing
from bench.data.sets.phantom import Phantom, PhantomConfig
from bench.errors import DataError
from bench.metrics.overlap import hausdorff95
from bench.types import ImageRecord

H, W = 30, 40


def record(root: Path, *masks: Image.Image, size: tuple[int, int] = (W, H)) -> ImageRecord:
    """Write a grey image and its masks; return the record."""
    Image.new("RGB", size, (90, 90, 90)).save(root / "image.png")
    for i, mask in enumerate(masks):
        mask.save(root / f"mask_{i}.png")
    return ImageRecord("image.png", 0, "p", "0", tuple(f"mask_{i}.png" for i in range(len(masks))))


def spot(rows: slice, columns: slice) -> np.ndarray:
    found = np.zeros((H, W), np.bool_)
    found[rows, columns] = True
    return found


A, B = spot(slice(2, 12), slice(3, 20)), spot(slice(8, 25), slice(15, 38))


def test_several_masks_are_one(tmp_path: Path) -> None:
    r = record(tmp_path, Image.fromarray(A), Image.fromarray(B))
    made = load_masks(tmp_path, [r, r], 20)
    expected = np.asarray(Image.fromarray((A | B).astype(np.uint8)).resize((20, 20), Image.Resampling.NEAREST))
    assert (made.dtype, made.shape) == (np.uint8, (2, 20, 20))
    assert (made == expected).all()
    assert made.max() == 1


def modes() -> dict[str, Image.Image]:
    grey = Image.fromarray((A * 255).astype(np.uint8))
    palette = Image.fromarray(A.astype(np.uint8), "P")
    palette.putpalette([0, 0, 0, 200, 30, 30])
    opaque = np.dstack([A * 255] * 3 + [np.full((H, W), 255)]).astype(np.uint8)
    return {
        "1-bit": Image.fromarray(A),
        "8-bit grey": grey,
        "faint": Image.fromarray(A.astype(np.uint8)),
        "16-bit instances": Image.fromarray((A * 700).astype(np.uint16)),
        "colour": Image.merge("RGB", [grey.point(lambda v: v and 10), grey, grey.point(lambda v: 0)]),
        "with opacity": Image.fromarray(opaque, "RGBA"),
        "grey with opacity": Image.fromarray(opaque[..., 2:], "LA"),
        "palette": palette,
    }


@pytest.mark.parametrize("mode", list(modes()))
def test_whatever_is_not_zero_is_foreground(mode: str, tmp_path: Path) -> None:
    made = load_masks(tmp_path, [record(tmp_path, modes()[mode])], W)[0]
    expected = np.asarray(Image.fromarray(A).resize((W, W), Image.Resampling.NEAREST))
    assert (made == expected).all()


def test_spacing_is_that_of_the_original_image(tmp_path: Path) -> None:
    """Spots 12 px apart horizontally, or 6 vertically, in an image of 60 × 30: resizing keeps the original distance."""

    def at(y: int, x: int) -> Image.Image:
        spots = np.zeros((30, 60), np.bool_)
        spots[y : y + 6, x : x + 6] = True
        return Image.fromarray(spots)

    for name, where in (("a", (6, 24)), ("across", (6, 36)), ("down", (12, 24))):
        (tmp_path / name).mkdir()
        r = record(tmp_path / name, at(*where), size=(60, 30))
        squashed = load_masks(tmp_path / name, [r], 20)[0]
        cropped = load_masks(tmp_path / name, [r], 20, "crop")[0]
        if name == "a":
            before = squashed, cropped
            continue
        far = {"across": 12, "down": 6}[name]
        (squash,), (crop,) = pixel_spacing(tmp_path / name, [r], 20), pixel_spacing(tmp_path / name, [r], 20, "crop")
        assert (squash, crop) == ((1.5, 3.0), (1.5, 1.5))
        assert hausdorff95(before[0], squashed, squash) == far
        assert hausdorff95(before[1], cropped, crop) == far
    assert pixel_spacing(tmp_path / "a", [r], (10, 60)) == [(3.0, 1.0)]
    assert pixel_spacing(tmp_path / "a", [r], (10, 60), "crop") == [(1.0, 1.0)], "all of its width is seen"
    (tmp_path / "a" / "image.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="cannot be read"):
        pixel_spacing(tmp_path / "a", [r], 20)


@pytest.mark.parametrize("resize", ["squash", "crop"])
def test_masks_are_aligned_with_resized_images(resize: str, tmp_path: Path) -> None:
    large = np.kron(B, np.ones((4, 4), np.bool_))
    r = record(tmp_path, Image.fromarray(large), size=(4 * W, 4 * H))
    Image.fromarray((large * 255).astype(np.uint8)).save(tmp_path / "image.png")
    sha256 = hashlib.sha256((tmp_path / "image.png").read_bytes()).hexdigest()
    image = resized(tmp_path / "image.png", sha256, 32, resize)[..., 0] > 127  # type: ignore[arg-type]
    mask = load_masks(tmp_path, [r], 32, resize)[0]  # type: ignore[arg-type]
    assert (mask == image).mean() > 0.96
    assert 0.2 < mask.mean() < 0.8


def test_a_mask_of_another_size_is_named(tmp_path: Path) -> None:
    r = record(tmp_path, Image.fromarray(A), Image.fromarray(B[:, 1:]))
    with pytest.raises(DataError, match=r"mask_1\.png has 39×30 pixels, its image 40×30"):
        load_masks(tmp_path, [r], 16)


def test_a_mask_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    r = record(tmp_path, Image.fromarray(A))
    content = (tmp_path / "mask_0.png").read_bytes()
    (tmp_path / "mask_0.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"mask_0\.png cannot be read"):
        load_masks(tmp_path, [r], 16)
    (tmp_path / "mask_0.png").unlink()
    with pytest.raises(DataError, match=r"mask_0\.png cannot be read"):
        load_masks(tmp_path, [r], 16)
    with pytest.raises(DataError, match=r"image\.png has no mask"):
        load_masks(tmp_path, [record(tmp_path)], 16)


def test_no_records_give_no_masks() -> None:
    assert load_masks(Path(), [], 16).shape == (0, 16, 16)


def test_other_masks_have_another_fingerprint(tmp_path: Path) -> None:
    r = record(tmp_path, Image.fromarray(A))
    before = masks_fingerprint(tmp_path, [r])
    assert before == masks_fingerprint(tmp_path, [r])
    record(tmp_path, Image.fromarray(B))
    assert masks_fingerprint(tmp_path, [r]) not in (before, None)
    assert masks_fingerprint(tmp_path, [record(tmp_path)]) is None


def test_a_phantoms_masks_are_its_nuclei(tmp_path: Path) -> None:
    config = PhantomConfig(image_size_px=48, patients=2, images_per_patient=3)
    index = Phantom(config).index(None, tmp_path)
    masks = load_masks(index.root, index.records, 48)
    images = np.stack([np.asarray(Image.open(index.root / r.path)) for r in index.records])
    assert masks.shape == images.shape[:3]
    assert images[masks == 1].mean() < images[masks == 0].mean() - 20, "nuclei are darker than what is around them"


@pytest.mark.realdata
def test_lesions_of_breast_ultrasound(real_data: Path) -> None:
    """Two images of each class; one with several masks, whose union is larger than each of them."""
    root = real_data / "Dataset_BUSI_with_GT"
    paths = [p for c in ("benign", "malignant", "normal") for p in sorted((root / c).glob("*).png"))[:2]]
    several = next(p for p in sorted(root.glob("benign/*_mask_1.png")))
    paths.append(several.with_name(several.name.replace("_mask_1", "")))
    records = []
    for p in paths:
        masks = sorted(
            m.relative_to(root).as_posix() for m in p.parent.iterdir() if m.name.startswith(p.stem + "_mask")
        )
        records.append(ImageRecord(p.relative_to(root).as_posix(), 0, p.stem, "0", tuple(masks)))
    made = load_masks(root, records, 64)
    shares = made.mean(axis=(1, 2))
    assert (shares[:4] > 0).all()
    assert (shares[4:6] == 0).all(), "a normal breast has no lesion"
    first = ImageRecord(records[-1].path, 0, "p", "0", records[-1].mask_paths[:1])
    assert shares[6] > load_masks(root, [first], 64).mean()
