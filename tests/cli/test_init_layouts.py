"""`bench init` on the layouts in which public medical image sets come: classes, patients and masks are recognised.

A row of ``LAYOUTS`` makes a small set with the folders and names of a public one, and states what must be found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from data_sets import picture, png, write

from bench.audit.group_patterns import PATTERNS
from bench.cli.main import main


@dataclass(frozen=True)
class Layout:
    """A set: the files by path, a table's lines if it has one, and what `bench init` must say and write."""

    name: str
    paths: Iterable[str]
    says: str
    dataset: dict[str, Any]
    table: tuple[str, ...] = ()
    at: str = ""  # given to `bench init`, below the set's folder


INSIDE = r"^[^/]+/(?P<class>[^/]+)/"
EYES = [f"{grade}/{9000 + 10 * grade + i}{side}.png" for grade in range(2) for i in range(8) for side in "LR"]
LAYOUTS = [
    Layout(
        "OCT: wrapped once more, parts, the class in front of the patient's number",
        [
            f"OCT2017 /{part}/{name}/{name}-{base + i}-{k}.jpeg"
            for part, base in (("train", 1000), ("test", 5000))
            for name in ("CNV", "NORMAL")
            for i in range(5)
            for k in (1, 2)
        ],
        "40 images (CNV 20, NORMAL 20) of 10 patients",  # a number under both classes is one patient
        {
            "name": "image_folder",
            "group_regex": PATTERNS["the number between a word and the number of the image"],
            "positive": "CNV",
        },
    ),
    Layout(
        "IDC: folders of patients with folders of classes",
        [f"IDC/{10253 + p}/{c}/{10253 + p}_x{i}_class{c}.png" for p in range(8) for c in (0, 1) for i in range(2)],
        "32 images (0 16, 1 16) of 8 patients",
        {"name": "image_folder", "class_regex": INSIDE, "group_regex": r"^(?P<group>[^/]+)/", "positive": "1"},
    ),
    Layout(
        "hospitals with folders of classes",
        [f"site {s}/{c}/case_{s}{c}{i}.png" for s in "AB" for c in ("normal", "tumor") for i in range(6)],
        "24 images (normal 12, tumor 12)",
        {"name": "image_folder", "class_regex": INSIDE, "positive": "tumor"},
    ),
    Layout(
        "COVID-19 Radiography: masks beside the images of each class",
        [f"{c}/{kind}/{c}-{i}.png" for c in ("COVID", "Normal") for kind in ("images", "masks") for i in range(8)],
        "16 images (COVID 8, Normal 8)",
        {"name": "image_folder", "positive": "COVID"},
    ),
    Layout(
        "knees and eyes: left and right of one patient",
        EYES,
        "32 images (0 16, 1 16) of 16 patients",
        {
            "name": "image_folder",
            "group_regex": PATTERNS["the number before left or right"],
            "positive": "1",
        },
    ),
    Layout(
        "one folder, the class in the names",
        [f"all/{c}_{i:03d}.png" for c in ("benign", "malignant") for i in range(8)],
        "16 images (benign 8, malignant 8)",
        {
            "name": "image_folder",
            "class_regex": r"(?:^|/)(?P<class>[A-Za-z]+(?:[ _-][A-Za-z]+)*)[ _-]?\(?\d[^/]*$",
            "positive": "malignant",
        },
    ),
    Layout(
        "Shenzhen: the class is the last digit",
        [f"CHNCXR_{i:04d}_{i % 2}.png" for i in range(16)],
        "16 images (0 8, 1 8)",
        {"name": "image_folder", "class_regex": r"[ _-](?P<class>[01])\.[^./]+$", "positive": "1"},
    ),
    Layout(
        "EyePACS: a table without patients, whose images are the eyes of a patient",
        [f"train/{i}_{side}.jpeg" for i in range(10, 26) for side in ("left", "right")],
        "32 images (0 16, 1 16) of 16 patients",
        {
            "name": "table",
            "image": "image",
            "label": "level",
            "group_regex": PATTERNS["the number before left or right"],
            "positive": "1",
        },
        ("image,level", *(f"{i}_{side},{i % 2}" for i in range(10, 26) for side in ("left", "right"))),
    ),
    Layout(
        "ISIC 2018: a column for each class, names without extension",
        [f"images/ISIC_{i}.jpg" for i in range(24)],
        "24 images (BCC 8, MEL 8, NV 8)",
        {"name": "table", "image": "image", "label": ["MEL", "NV", "BCC"]},
        (
            "image,MEL,NV,BCC",
            *(f"ISIC_{i},{','.join('1.0' if i % 3 == k else '0.0' for k in range(3))}" for i in range(24)),
        ),
        "truth.csv",
    ),
    Layout(
        "RSNA: the image is named by the patient",
        [f"train/{i:08x}.png" for i in range(16)],
        "16 images (0 8, 1 8)",
        {"name": "table", "image": "patientId", "label": "Target", "positive": "1"},
        ("patientId,Target", *(f"{i:08x},{i % 2}" for i in range(16))),
        "truth.csv",
    ),
    Layout(
        "NIH: other columns of patients beside their number",
        [f"images/{i // 2:04d}_{i % 2}.png" for i in range(24)],
        "24 images (Effusion 12, No Finding 12) of 12 patients",
        {
            "name": "table",
            "image": "Image Index",
            "label": "Finding Labels",
            "group": "Patient ID",
            "positive": "Effusion",
        },
        (
            "Image Index,Finding Labels,Patient Age,Patient Sex,Patient ID",
            *(f"{i // 2:04d}_{i % 2}.png,{('No Finding', 'Effusion')[i // 2 % 2]},60,M,{i // 2}" for i in range(24)),
        ),
        "truth.csv",
    ),
    Layout(
        "APTOS: the folder, with two tables of which one has labels, and folders of parts without classes",
        [*(f"train_images/{i:06x}.png" for i in range(16)), *(f"test_images/{i:06x}.png" for i in range(50, 54))],
        "16 images (0 8, 1 8)",
        {"name": "table", "image": "id_code", "label": "diagnosis", "positive": "1"},
        ("id_code,diagnosis", *(f"{i:06x},{i % 2}" for i in range(16))),
    ),
    Layout(
        "images and masks of one name, another language",
        [f"{kind}/{i}.png" for kind in ("images", "masks") for i in range(24)],
        "24 images (bösartig 12, gutartig 12) of 12 patients",
        {
            "name": "table",
            "image": "Datei",
            "label": "Diagnose",
            "group": "Patientennummer",
            "positive": "bösartig",
        },
        (
            "Datei;Diagnose;Patientennummer",
            *(f"{i}.png;{('gutartig', 'bösartig')[i // 2 % 2]};{i // 2}" for i in range(24)),
        ),
    ),
]


@pytest.fixture
def init(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Layout], tuple[str, dict[str, Any]]]:
    def call(layout: Layout) -> tuple[str, dict[str, Any]]:
        for number, path in enumerate(layout.paths):
            write(tmp_path / "set" / path, png(picture(number, (40, 36))))
        if layout.table:
            write(tmp_path / "set" / "truth.csv", "\n".join(layout.table).encode())
            write(tmp_path / "set" / "test.csv", b"id_code\n000032\n")
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("BENCH_DATA", raising=False)
        done = CliRunner().invoke(main, ["init", str(tmp_path / "set" / layout.at), "--yes"])
        assert done.exit_code == 0, done.output
        suite = yaml.safe_load((tmp_path / "suite.yaml").read_text(encoding="utf-8"))
        planned = CliRunner().invoke(main, ["plan", "suite.yaml", "--out", str(tmp_path / "out"), "--json"])
        assert planned.exit_code == 0, planned.output
        return done.output, suite["dataset"]

    return call


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_the_layout_of_a_public_set_is_recognised(layout: Layout, init) -> None:
    output, dataset = init(layout)
    assert layout.says in output
    dataset.pop("file", None)
    assert dataset == layout.dataset
