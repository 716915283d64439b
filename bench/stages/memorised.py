"""Find memorised samples: synthetic images near one training image in pixels and features, by image and by patient.

Metrics, t being the extractor's tag (definitions in ``bench.metrics.memorization``):

- ``memorised/authpct_<t|pixels>``: AuthPct, in per cent; ``memorised/real_authpct_<t|pixels>``: for validation images;
- ``memorised/flagged_share``: synthetic images flagged as memorised: in one space nearer to a training image than the
  threshold, and near it in the other space too; ``memorised/flagged_<t|pixels>_share``: below the
  threshold of one space; ``memorised/flagged_other_label_share``: flagged, and the training image has another label;
- ``memorised/false_flag_share``: flagged validation images, whose patients have no training images; the thresholds
  guarantee at most ``memorised/promised_false_flag_share``;
- ``memorised/patient_like_share``: nearer to a training image than (nearly) all images of another patient are;
- ``memorised/own_source_share``: translations whose nearest training image in pixels is their source image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bench.data.loaders import FoldData, Part, assemble_training_set
from bench.data.synthetic_files import load_synthetic
from bench.errors import DataError
from bench.leakage import FittedStatistics, FoldParts
from bench.plan.plan import Cell
from bench.stages.common import Features, Inputs, Output, RunEnv
from bench.stages.context import CellContext
from bench.stages.memorised_picture import closest_pairs
from bench.store.csv_cells import DictWriter, read_rows
from bench.types import SyntheticRecord, Uint8Images

if TYPE_CHECKING:
    from bench.metrics.memorization import MemorisationResult, MemorisationTest

TABLE, PATIENTS, THRESHOLDS = "memorised.csv", "memorised_by_patient.csv", "memorisation_thresholds.json"
PIXELS, FEATURES = "pixels", "features"  # names of the two spaces
FALSE_FLAGS = 0.01  # share of new real images, for both spaces together
FEATURE_REACH = 1.5  # see ``bench.metrics.memorization``: measured
BySpace = Mapping[str, "MemorisationResult"]
Bools = npt.NDArray[np.bool_]


def run(cell: Cell, env: RunEnv, ctx: CellContext) -> Output:
    """Search memorised training images among the synthetic ones; return metrics, costs and facts of the cell."""
    inputs, features = Inputs(cell, env), Features(env)
    with ctx.phase("data"):
        fold = inputs.fold().train_validation()
        synthetic = load_synthetic(inputs.upstream(cell.arm.synthesis_stage))
        both = assemble_training_set(fold, synthetic, Counter(r.label for r in synthetic.records))
        made = both.images[both.is_synthetic]
        records = sorted(synthetic.records, key=lambda r: r.label)  # the order in which they were concatenated
        train, held_out = _seen(fold, synthetic.seen_groups), fold.part("validation")
    with ctx.phase("evaluate"):
        tests, results, real = _evaluate(features, train, made, held_out.images)
    fitted = FittedStatistics("the copy thresholds", {s: t.values() for s, t in tests.items()}, train.source_images)
    fitted.save(ctx.folder / THRESHOLDS)
    _write_table(ctx.folder / TABLE, records, train, results)
    _write_patients(ctx.folder / PATIENTS, train, results)
    if len(made):
        names = [fold.classes[r.label] for r in records]
        pairs = closest_pairs(made, names, train, fold.classes, nearest_training_image(results), results, tests)
        ctx.save_images("closest_pairs", 0, pairs)
    metrics = _metrics(records, train, results, real, {PIXELS: PIXELS, FEATURES: features.tag})
    metrics["promised_false_flag_share"] = sum(t.promised_across_patients for t in tests.values())
    facts = {"extractor": features.tag, "synthetic_images": len(made), "thresholds": dict(fitted.values)}
    facts["flagged_images"] = int(flagged(results).sum())
    return Output({f"memorised/{name}": value for name, value in metrics.items()}, facts=facts)


def _seen(fold: FoldData, groups: Iterable[str]) -> Part:
    """Return the real images that the generator saw: the training part, and unlabelled images if it used them."""
    train, unlabelled = fold.part("train"), fold.part("unlabelled")
    if not set(groups) & set(unlabelled.groups):
        return train
    return Part(
        train.records + unlabelled.records,
        np.concatenate([train.images, unlabelled.images]),
        np.concatenate([train.labels, unlabelled.labels]),
        train.groups + unlabelled.groups,
    )


def flagged_paths(folder: Path, fold_parts: FoldParts) -> frozenset[str]:
    """Return the paths, inside the synthetic folder, of the images that the finished cell in ``folder`` flagged.

    Raises ``LeakageError`` unless its thresholds were fitted on images that a generator may see, and ``DataError``
    when its files are damaged.
    """
    FittedStatistics.load(folder / THRESHOLDS).for_fold(fold_parts, unlabelled=True)
    try:
        with open(folder / TABLE, encoding="utf-8", newline="") as f:
            return frozenset(row["path"] for row in read_rows(f) if int(row["flagged"]))
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise DataError(f"{folder / TABLE} cannot be read ({type(e).__name__}: {e}); delete its folder") from e


def flagged(results: BySpace) -> Bools:
    """Return which images are flagged, bool [M]: near a training image in both spaces."""
    return np.logical_or.reduce([j.memorised for j in results.values()])


def nearest_training_image(results: BySpace) -> npt.NDArray[np.int64]:
    """Return the nearest training image of each image, int64 [M], in the space in which it is nearer to a copy."""
    chosen = np.argmin([j.nearness for j in results.values()], axis=0)
    return np.choose(chosen, [j.near.index[:, 0] for j in results.values()])


def _evaluate(
    features: Features, train: Part, made: Uint8Images, held_out: Uint8Images
) -> tuple[dict[str, MemorisationTest], dict[str, MemorisationResult], dict[str, MemorisationResult]]:
    """Fit the test of each space on the training images; apply it to the synthetic and the held-out images."""
    from bench.metrics.memorization import TURNED, MemorisationTest, confirmed, thumbnails

    vectors: dict[str, Callable[[Uint8Images], npt.NDArray[np.floating]]] = {PIXELS: thumbnails, FEATURES: features}
    known = {space: of(train.images) for space, of in vectors.items()}
    own: Mapping[str, Any] = {PIXELS: {"versions": TURNED}, FEATURES: {"reach": FEATURE_REACH}}
    tests = {s: MemorisationTest(x, train.groups, FALSE_FLAGS / len(known), **own[s]) for s, x in known.items()}
    found = []
    for images in (made, held_out):
        at = {s: of(images) if len(images) else known[s][:0] for s, of in vectors.items()}
        found.append(confirmed({s: t.evaluate(at[s]) for s, t in tests.items()}, tests, at))
    return tests, found[0], found[1]


def _metrics(
    records: Sequence[SyntheticRecord], train: Part, results: BySpace, real: BySpace, names: Mapping[str, str]
) -> dict[str, float]:
    metrics = {}
    for space, j in results.items():
        metrics[f"authpct_{names[space]}"] = j.authpct
        metrics[f"real_authpct_{names[space]}"] = real[space].authpct
        metrics[f"flagged_{names[space]}_share"] = _share(j.copied)
    labels = np.array([r.label for r in records], dtype=np.int64)
    metrics["flagged_share"] = _share(flagged(results))
    metrics["flagged_other_label_share"] = _share(
        flagged(results) & (train.labels[nearest_training_image(results)] != labels)
    )
    metrics["false_flag_share"] = _share(flagged(real))
    metrics["patient_like_share"] = _share(np.logical_or.reduce([j.patient_like for j in results.values()]))
    row = {r.path: i for i, r in enumerate(train.records)}
    source = np.array([row.get(r.source_path, -1) for r in records], dtype=np.int64)
    if (source >= 0).any():
        metrics["own_source_share"] = _share((results[PIXELS].near.index[:, 0] == source)[source >= 0])
    return metrics


def _share(of: Bools) -> float:
    return float(of.mean()) if len(of) else float("nan")


def _write_table(path: Path, records: Sequence[SyntheticRecord], train: Part, results: BySpace) -> None:
    """Write a row per image: its nearest training image and its test result in each space."""
    rows = []
    for i, (record, copied) in enumerate(zip(records, flagged(results), strict=True)):
        row: dict[str, Any] = {"path": record.path, "label": record.label, "source_path": record.source_path}
        row["flagged"] = int(copied)
        for space, j in results.items():
            near = train.records[j.near.index[i, 0]]
            row |= {f"{space}_nearest": near.path, f"{space}_label": near.label, f"{space}_patient": near.group_id}
            row |= {
                f"{space}_distance": f"{j.near.distance[i, 0]:.6g}",
                f"{space}_relative": f"{j.near.relative[i]:.6g}",
            }
            row |= {f"{space}_authentic": int(j.authentic[i]), f"{space}_flagged": int(j.copied[i])}
        rows.append(row)
    _write_csv(path, rows, ("path", "label", "source_path", "flagged"))


def _write_patients(path: Path, train: Part, results: BySpace) -> None:
    """Write a row per training patient: its images, the synthetic images nearest to them, the flagged ones."""
    groups = np.array(train.groups)
    near = {space: Counter(groups[j.near.index[:, 0]]) for space, j in results.items()}
    copied = Counter(groups[nearest_training_image(results)[flagged(results)]])
    rows = [
        {"patient": group, "training_images": images}
        | {f"nearest_by_{space}": count[group] for space, count in near.items()}
        | {"flagged": copied[group]}
        for group, images in sorted(Counter(train.groups).items())
    ]
    _write_csv(path, rows, ("patient",))


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write rows with the keys of the first as header; for no rows, ``columns`` as header."""
    with open(path, "w", encoding="utf-8", newline="") as f:
        writer = DictWriter(f, list(rows[0]) if rows else columns)
        writer.writeheader()
        writer.writerows(rows)
