"""Immunohistochemistry: the folder layout, two dyes told apart, and the phantom whose classes differ in DAB alone."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from bench.data.appearance import measure
from bench.data.ihc import IHC, IHCConfig
from bench.data.phantom_ihc import PhantomIHC, PhantomIHCConfig, brown, stained
from bench.data.phantom_tissue import Dyes, grow
from bench.data.records import fingerprint
from bench.errors import ConfigError, DataError
from bench.segmentation.pseudo_masks import nuclear_masks

SMALL = PhantomIHCConfig(image_size_px=48, patients=6, images_per_patient=3)


def png(image: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, format="PNG")
    return out.getvalue()


def folders(root: Path, *names: str) -> Path:
    rng = np.random.default_rng(0)
    for name in names:
        (root / name).mkdir(parents=True)
        for i in range(3):
            (root / name / f"case{i}_a.png").write_bytes(png(rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)))
    return root


def test_folders_become_classes_in_the_order_of_the_config(tmp_path: Path) -> None:
    index = IHC(IHCConfig()).index(folders(tmp_path / "d", "PR+", "PR-"), tmp_path / "cache")
    assert index.classes == ("PR-", "PR+")
    assert {r.path.split("/")[0]: r.label for r in index.records} == {"PR-": 0, "PR+": 1}


def test_other_receptors_and_more_classes_work_by_config(tmp_path: Path) -> None:
    scores = ("HER2 0", "HER2 1+", "HER2 2+", "HER2 3+")
    config = IHCConfig(classes=scores, group_regex=r"(?P<group>case\d+)_")
    index = IHC(config).index(folders(tmp_path / "d", *scores), tmp_path / "cache")
    assert index.classes == scores
    assert {r.group_id for r in index.records} == {"case0", "case1", "case2"}


def test_missing_folders_say_what_was_found_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no folder PR-, PR\+; it has ER\+, ER-(.|\n)*phantom_ihc"):
        IHC(IHCConfig()).index(folders(tmp_path / "d", "ER+", "ER-"), tmp_path / "cache")
    with pytest.raises(DataError, match=r"none was named(.|\n)*PR-"):
        IHC(IHCConfig()).index(None, tmp_path / "cache")


@pytest.mark.parametrize("dye", ["haematoxylin_od", "dab_od"])
def test_a_patch_of_one_dye_gives_its_density_back_and_none_of_the_other(dye: str) -> None:
    vector = {"haematoxylin_od": (0.650, 0.704, 0.286), "dab_od": (0.268, 0.570, 0.776)}[dye]  # Ruifrok & Johnston
    density = 0.4
    pixels = np.rint(255 * 10 ** (-density * np.array(vector))).astype(np.uint8)
    seen = measure(png(np.tile(pixels, (16, 16, 1))), stain="H-DAB")
    other = "dab_od" if dye == "haematoxylin_od" else "haematoxylin_od"
    assert getattr(seen, dye) == pytest.approx(density, abs=0.02)
    assert getattr(seen, other) == pytest.approx(0, abs=0.02)
    assert seen.eosin_od is None


def test_the_phantom_is_drawn_once_with_a_mask_for_every_image(tmp_path: Path) -> None:
    index = PhantomIHC(SMALL).index(None, tmp_path)
    assert index.classes == ("PR-", "PR+")
    assert {r.label for r in index.records} == {0, 1}
    assert all((index.root / m).is_file() for r in index.records for m in r.mask_paths)
    assert fingerprint(PhantomIHC(SMALL).index(None, tmp_path / "again")) == fingerprint(index)


@pytest.mark.parametrize("difficulty", [0.0, 0.4, 0.8, 1.0])
def test_labels_keep_to_their_definition_at_every_difficulty(difficulty: float) -> None:
    phantom = PhantomIHC(PhantomIHCConfig(patients=400, difficulty=difficulty))
    patients = [phantom.patient(i) for i in range(400)]
    assert all((p.trait >= 0.01) == bool(p.label) for p in patients)
    lowest = min(p.trait for p in patients if p.label)
    assert lowest == pytest.approx(0.3 ** (1 - difficulty) * 0.01**difficulty, rel=0.1)


def test_every_image_keeps_to_its_patients_side_of_one_percent() -> None:
    """However few nuclei it has; those of a patient together do so then too."""
    phantom = PhantomIHC(PhantomIHCConfig(patients=40, difficulty=1.0))
    for patient in (phantom.patient(i) for i in range(40)):
        rng = np.random.default_rng(patient.label)
        for nuclei in (1, 7, 99, 100, 101, 250, 900):
            mask = np.repeat(np.arange(nuclei + 1, dtype=np.uint16), 3)[:, None]
            chosen = stained(Dyes(np.zeros(mask.shape), np.zeros(mask.shape), mask), patient, rng)
            assert len(set(chosen)) == len(chosen)
            assert not len(chosen) or chosen.min() > 0, "0 is no nucleus"
            assert (len(chosen) / nuclei >= 0.01) == bool(patient.label), (patient.trait, nuclei)


def test_only_stained_nuclei_are_brown() -> None:
    dyes = grow(PhantomIHC(SMALL).patient(0).biology, 0.35, 48, np.random.default_rng(0))
    chosen = np.unique(dyes.mask)[5:8]
    field = brown(dyes, chosen, 1.0, np.random.default_rng(0))
    inside = np.isin(dyes.mask, chosen)
    assert field[inside].mean() > 0.4
    assert field[~inside].mean() < 0.02
    assert not brown(dyes, chosen[:0], 1.0, np.random.default_rng(0)).any()


def test_difficulty_hides_the_stain_without_touching_labels() -> None:
    """How brown a slide is as a whole tells easy patients apart, and says little of hard ones."""
    found, labels = {}, {}
    for difficulty in (0.2, 1.0):
        phantom = PhantomIHC(PhantomIHCConfig(image_size_px=48, patients=30, difficulty=difficulty))
        patients = [phantom.patient(i) for i in range(30)]
        labels[difficulty] = [p.label for p in patients]
        density = [measure(png(phantom.image(p, 0)[0]), stain="H-DAB").dab_od for p in patients]
        found[difficulty] = roc_auc_score(labels[difficulty], density)
    assert labels[0.2] == labels[1.0]
    assert found[0.2] > 0.9
    assert found[1.0] < 0.7


def test_nuclei_are_found_in_either_dye() -> None:
    phantom = PhantomIHC(PhantomIHCConfig())
    shares = {}
    for dab in (True, False):
        overlap = []  # of positive patients
        for p in (phantom.patient(i) for i in range(1, 8, 2)):
            image, nuclei = phantom.image(p, 0)
            found, true = nuclear_masks(image[None], dab)[0] > 0, nuclei > 0
            overlap.append((found & true).sum() / (found | true).sum())
        shares[dab] = float(np.mean(overlap))
    assert shares[True] > 0.65
    assert shares[True] > shares[False] + 0.04, "haematoxylin alone misses brown ones"


@pytest.mark.parametrize(("field", "value"), [("positive_fraction", 1.0), ("patients", 1), ("difficulty", 1.5)])
def test_a_set_that_cannot_be_drawn_is_refused(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=field if field != "patients" else "at least 2 patients"):
        PhantomIHCConfig(**{field: value})
