"""Small image folders and indexes for the tests of bench.data."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from bench.types import DatasetIndex, ImageRecord


def picture(seed: int, size: tuple[int, int] = (24, 20), mode: str = "RGB") -> Image.Image:
    """A picture that differs from every other seed's."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).convert(mode)


def png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def two_classes(root: Path, patients: int = 4, images: int = 3) -> Path:
    """root/<a|b>/P<n>_<i>.png, every image different."""
    for label, name in enumerate("ab"):
        for patient in range(patients):
            for i in range(images):
                number = label * 10_000 + patient * 100 + i
                write(root / name / f"P{label}{patient:02d}_{i}.png", png(picture(number)))
    return root


def made_up_index(counts: list[list[int]], root: Path = Path("/nowhere")) -> DatasetIndex:
    """An index without files: ``counts[g][c]`` images of class c in group g."""
    records = []
    for g, row in enumerate(counts):
        for label, n in enumerate(row):
            for i in range(n):
                path = f"c{label}/g{g:03d}_{i:03d}.png"
                records.append(ImageRecord(path, label, f"g{g:03d}", f"{g:020x}{label:020x}{i:024x}"))
    classes = tuple(f"c{i}" for i in range(len(counts[0])))
    return DatasetIndex("made_up", root, classes, tuple(sorted(records, key=lambda r: r.path)))


def breakhis_set(root: Path) -> Path:
    """Two patients of each class at 100X, and one image at 40X."""
    breast = root / "BreaKHis_v1" / "histology_slides" / "breast"
    slides = (
        ("benign/SOB/adenosis/SOB_B_A_14-22549AB/100X/SOB_B_A-14-22549AB-100-00{}.png", 0),
        ("benign/SOB/fibroadenoma/SOB_B_F_14-9133/100X/SOB_B_F-14-9133-100-00{}.png", 10),
        ("malignant/SOB/ductal_carcinoma/SOB_M_DC_14-12312/100X/SOB_M_DC-14-12312-100-00{}.png", 20),
        ("malignant/SOB/papillary_carcinoma/SOB_M_PC_15-190EF/100X/SOB_M_PC-15-190EF-100-00{}.png", 30),
        ("malignant/SOB/papillary_carcinoma/SOB_M_PC_15-190EF/40X/SOB_M_PC-15-190EF-40-00{}.png", 40),
    )
    for pattern, seed in slides:
        for i in (1, 2):
            write(breast / pattern.format(i), png(picture(seed + i)))
    return root


def busi_set(root: Path) -> Path:
    """Three images of each class, each with one mask and the second with two; those of normal images are empty."""
    for label, name in enumerate(("benign", "malignant", "normal")):
        for i in (1, 2, 3):
            folder = root / "Dataset_BUSI_with_GT" / name
            write(folder / f"{name} ({i}).png", png(picture(100 * label + i, (40, 30), "L")))
            for suffix in ("_mask", "_mask_1") if i == 2 else ("_mask",):
                mask = np.zeros((30, 40), dtype=bool)
                if name != "normal":
                    mask[5 + i : 15, 10 : 30 + label + len(suffix)] = True
                write(folder / f"{name} ({i}){suffix}.png", png(Image.fromarray(mask)))
    return root


def isic9_set(root: Path) -> Path:
    """Two images of each of the nine classes."""
    from bench.data.sets.isic9 import CLASSES

    for label, name in enumerate(CLASSES):
        for i in (1, 2):
            write(root / "Train" / name / f"ISIC_{label:03d}{i}.png", png(picture(10 * label + i)))
    return root


def ihc_set(root: Path) -> Path:
    """Three images of either class, in folders below it as well."""
    for label, name in enumerate(("PR-", "PR+")):
        for i, below in enumerate(("", "", "slide_7/")):
            write(root / name / f"{below}{i}.png", png(picture(10 * label + i)))
    return root


def chest_set(root: Path) -> Path:
    """Two published parts of three images of each class, all different."""
    names = {
        "NORMAL": ("IM-0115-0001", "NORMAL2-IM-0115-0001", "IM-0128-0001-0002"),
        "PNEUMONIA": ("person{}_bacteria_1", "person{}_virus_2", "person1{}_virus_3"),
    }
    for p, part in enumerate(("train", "test")):
        for c, (name, images) in enumerate(names.items()):
            for i, image in enumerate(images):
                path = root / "chest_xray" / part / name / f"{image.format(p + 1)}.jpeg"
                write(path, png(picture(100 * p + 10 * c + i, mode="L")))
    return root


def malaria_set(root: Path) -> Path:
    """Three patients of each class, with the published kinds of names."""
    names = {
        "Parasitized": ("ParasitizedC100P61ThinF_IMG_2015_cell_162", "C37BP2_thinF_IMG_a_cell_1", "C9P3_cell_7"),
        "Uninfected": ("C1_thinF_IMG_2015_cell_9", "C2NThinF_IMG_2015_cell_33", "C236ThinF_IMG_2015_cell_100"),
    }
    for c, (name, images) in enumerate(names.items()):
        for i, image in enumerate(images):
            write(root / "cell_images" / name / f"{image}.png", png(picture(10 * c + i)))
    return root


def ham10000_set(root: Path) -> Path:
    """Seven diagnoses in two folders beside the table; the first two images of each show one lesion."""
    rows = ["lesion_id,image_id,dx,dx_type,age,sex,localization"]
    for d, dx in enumerate(("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")):
        for i in range(3):
            image = f"ISIC_00{d}{i}"
            write(root / f"HAM10000_images_part_{1 + i % 2}" / f"{image}.jpg", jpeg(picture(10 * d + i)))
            rows.append(f"HAM_{d}{max(i, 1)},{image},{dx},histo,{40 + i if i else ''},female,back")
    write(root / "HAM10000_metadata.csv", "\n".join(rows).encode())
    return root


def table_set(root: Path) -> Path:
    """The images of ``two_classes`` and a table of them, labels.csv."""
    two_classes(root)
    paths = sorted(p.relative_to(root).as_posix() for p in root.rglob("*.png"))
    write(root / "labels.csv", "".join(["image,label\n", *(f"{p},{p[0]}\n" for p in paths)]).encode())
    return root


LAYOUTS = {
    "chest_xray": chest_set,
    "malaria": malaria_set,
    "ham10000": ham10000_set,
    "breakhis": breakhis_set,
    "busi": busi_set,
    "isic9": isic9_set,
    "ihc": ihc_set,
    "image_folder": two_classes,
    "table": table_set,
}


def scene(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """A picture with structure at several scales, as tissue has; unlike every other seed's. ``size`` is (w, h)."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    layers = [gaussian_filter(rng.normal(size=(size[1], size[0], 3)), (s, s, 0.7)) * s for s in (1.5, 4, 12)]
    values = 128 + 55 * sum(layers)
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def jpeg(image: Image.Image, quality: int = 90) -> bytes:
    out = io.BytesIO()
    image.convert("RGB").save(out, "JPEG", quality=quality)
    return out.getvalue()
