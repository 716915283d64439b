"""Immunohistochemistry: the folder layout, separation of two dyes, and the phantom whose classes differ in DAB only."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from sklearn.metrics import roc_auc_score

from bench.audit.appearance import measure
from bench.cli.main import main
from bench.data.records import fingerprint
from bench.data.sets.detect import detect
from bench.data.sets.ihc import IHC, IHCConfig
from bench.data.sets.phantom_ihc import PhantomIHC, PhantomIHCConfig, brown, stained
from bench.data.sets.phantom_tissue import Dyes, grow
from bench.engine.executors.local import InProcess
from bench.engine.plan_rows import rows_of
from bench.engine.scheduler import Runner
from bench.engine.session import prepare
from bench.errors import ConfigError, DataError
from bench.plan.selection import select
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


HER2 = ("HER2 0", "HER2 1+", "HER2 2+", "HER2 3+")


@pytest.mark.parametrize(
    "names",
    [("PR-", "PR+"), ("ER-", "ER+"), HER2, ("her2_0", "HER2_3+"), ("PgR neg", "PgR pos"), ("Ki-67 low", "Ki67 high")],
)
def test_another_receptor_is_found_by_its_folders_from_negative_to_positive(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    root = folders(tmp_path / "d", *reversed(names))
    (root / "masks").mkdir()
    assert detect(root) == "ihc"
    assert IHC(IHCConfig()).index(root, tmp_path / "cache").classes == names


@pytest.mark.parametrize(
    "names",
    [
        ("benign", "malignant", "normal"), ("positive", "negative"), ("0", "1+", "2+"), ("PR+", "tissue"),
        ("ER-", "PR+"), ("ER-", "er neg"), ("ERA", "PRO"), ("score 0", "score 1"), ("PR", "ER"),
    ],
)  # fmt: skip
def test_other_folders_are_not_detected_as_ihc(tmp_path: Path, names: tuple[str, ...]) -> None:
    assert detect(folders(tmp_path / "d", *names)) == "image_folder"


def test_other_folder_names_and_several_receptors_are_chosen_by_config(tmp_path: Path) -> None:
    root = folders(tmp_path / "d", "weak", "strong", "ER-", "ER+", "HER2 0", "HER2 3+")
    config = IHCConfig(classes=("weak", "strong"), group_regex=r"(?P<group>case\d+)_")
    index = IHC(config).index(root, tmp_path / "cache")
    assert index.classes == ("weak", "strong")
    assert {r.group_id for r in index.records} == {"case0", "case1", "case2"}
    assert detect(root) == "ihc"
    with pytest.raises(DataError, match=r"several receptors, ER, HER2; give the classes of one(.|\n)*--set"):
        IHC(IHCConfig()).index(root, tmp_path / "cache")
    folders(root, "PR-", "PR+")
    assert IHC(IHCConfig()).index(root, tmp_path / "cache").classes == ("PR-", "PR+")


def test_missing_folders_say_what_was_found_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"no folder PR-, PR\+; it has strong, weak(.|\n)*dataset.classes(.|\n)*phantom_ihc"
    ):
        IHC(IHCConfig()).index(folders(tmp_path / "d", "weak", "strong"), tmp_path / "cache")
    with pytest.raises(DataError, match=r"none was given(.|\n)*PR-"):
        IHC(IHCConfig()).index(None, tmp_path / "cache")


def audited(*words: str) -> Result:
    return CliRunner().invoke(main, ["data", "audit", *words])


def test_the_audit_takes_settings_as_a_run_does(tmp_path: Path) -> None:
    root, out = str(folders(tmp_path / "d", "weak", "strong")), ("--out", str(tmp_path / "runs"), "--json")
    named = ("--set", "dataset.classes=[weak, strong]")
    for words in (("--dataset", "ihc"), ("--suite", "pr-ihc"), ("--set", "dataset.name=ihc")):
        done = audited(root, *words, *named, *out)
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["classes"] == ["weak", "strong"]
        refused = audited(root, *words, *out)
        assert refused.exit_code == 2
        assert "--set 'dataset.classes=" in refused.output
    assert "without --suite only the dataset's options" in audited(root, "--set", "methods.cgan.steps=1", *out).output
    assert "unknown key 'clases'" in audited(root, "--set", "dataset.clases=[weak]", *out).output


def test_the_audit_of_receptor_folders_sees_dab(tmp_path: Path) -> None:
    done = audited(str(folders(tmp_path / "d", "ER+", "ER-")), "--out", str(tmp_path / "runs"))
    assert "ihc (recognised by its layout)" in done.output
    assert "DAB density" in done.output


def test_four_scores_go_through_the_suite_with_methods_for_any_number_of_classes(tmp_path: Path) -> None:
    """From the audit to scores of each class."""
    phantom = PhantomIHC(PhantomIHCConfig(image_size_px=32, patients=20))
    for number in range(20):
        patient = replace(phantom.patient(number), label=min(number % 4, 1), trait=0.15 * (number % 4))
        for i in range(2):
            file = tmp_path / "d" / HER2[number % 4] / f"case{number}_{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(png(phantom.image(patient, i)[0]))
    regex, out = "dataset.group_regex=(?P<group>case[0-9]+)_", str(tmp_path / "out")
    seen = audited(str(tmp_path / "d"), "--suite", "pr-ihc", "--set", regex, "--out", out, "--json")
    assert seen.exit_code == 0, seen.output
    found = json.loads(seen.stdout)
    assert (found["classes"], found["run"]["groups"], len(found["folds"])) == (list(HER2), 20, 10)
    few = (
        "methods.cyclegan=false", "methods.tlsgan_*=false", "methods.medsyngan=false", "methods.oversample=false",
        "methods.classical=false", "methods.*augment=false", "methods.*mix*=false",
        "methods.cgan={steps: 1, batch_size: 4, filters: 4}", "classifiers.*=false",
        "classifiers.simple_cnn={steps: 1}", regex, "split.repeats=1", "ratios=[0.2]", "train_multipliers=[]",
        "image_size_px=32", "fidelity.input_size_px=64", "threads=1",
    )  # fmt: skip
    session = prepare("pr-ihc", few, tmp_path / "d", Path(out))
    runner = Runner(select(session.plan.cells, ["stage=evaluate"]), session.env, ())
    runner.run(lambda: InProcess(1))
    assert (runner.summary.failed, runner.summary.skipped) == ({}, {})
    rows = rows_of(session.plan, session.env)
    scored = {r.method: r.metrics for r in rows if r.stage == "evaluate"}
    assert scored.keys() == {"none", "cgan"}
    for metrics in scored.values():
        assert all(0 <= metrics[f"test/recall_{name}"] <= 1 for name in HER2), metrics


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
def test_labels_follow_their_definition_at_every_difficulty(difficulty: float) -> None:
    phantom = PhantomIHC(PhantomIHCConfig(patients=400, difficulty=difficulty))
    patients = [phantom.patient(i) for i in range(400)]
    assert all((p.trait >= 0.01) == bool(p.label) for p in patients)
    lowest = min(p.trait for p in patients if p.label)
    assert lowest == pytest.approx(0.3 ** (1 - difficulty) * 0.01**difficulty, rel=0.1)


def test_every_image_is_on_its_patients_side_of_one_percent() -> None:
    """For any number of nuclei; those of a patient together as well."""
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
    """The overall brownness of a slide separates easy patients, but hardly difficult ones."""
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
