"""What each kind of cell does: one function a stage, from its inputs on disk to an ``Output``.

The way of one image: split -> fit on training records only -> synthetic folder with a manifest -> classifier on real
and synthetic images -> one pass over the test part -> predictions.csv -> metrics from that file. No step reaches back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench import registry
from bench.artifacts import Artifacts
from bench.context import CellContext
from bench.data.cache import ImageCache
from bench.data.loaders import FoldData, Part, assemble_training_set, load_synthetic, ratio_counts, save_manifest
from bench.data.records import fingerprint
from bench.data.splits import check_split, load_split, make_splits, save_split
from bench.errors import BenchError, DataError
from bench.plan import Cell
from bench.suite import Suite
from bench.types import DatasetIndex, SyntheticRecord


@dataclass(frozen=True)
class RunEnv:
    """What every cell of a run shares; small, since it travels to the worker processes."""

    out: Path
    suite: Suite
    fingerprint: str
    data: Path | None = None
    device: str = "cpu"
    weights: Path | None = None


@dataclass
class Output:
    """What a stage found out, beside the files it wrote."""

    metrics: dict[str, float] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


_INDEXES: dict[str, DatasetIndex] = {}  # by fingerprint: a worker process reads the index once, not once a cell


def load_index(suite: Suite, data: Path | None, out: Path) -> DatasetIndex:
    """List the suite's images. Raises ``DataError`` when they are missing."""
    return suite.dataset.create().index(data, out / "cache")


class Inputs:
    """Everything a cell reads: the index, its split, the images of its parts, and its upstream folders."""

    def __init__(self, cell: Cell, env: RunEnv) -> None:
        self.cell, self.env, self.settings = cell, env, env.suite.settings
        self.artifacts = Artifacts(env.out)
        if env.fingerprint not in _INDEXES:
            index = load_index(env.suite, env.data, env.out)
            if fingerprint(index) != env.fingerprint:
                raise DataError("the images changed while the run was going on; start `bench run` again to plan anew")
            _INDEXES[env.fingerprint] = index
        self.index = _INDEXES[env.fingerprint]

    def upstream(self, stage: str) -> Path:
        """Return the folder of the upstream cell of a stage."""
        key = next(key for s, key in self.cell.upstream if s == stage)
        return self.artifacts.folder(stage, key)

    def fold(self) -> FoldData:
        """Return the images of the fold, whose split is checked against the index when it is made."""
        split = load_split(self.upstream("split") / "split.json")
        images = ImageCache(self.env.out / "cache")
        return FoldData(self.index, split, images, self.settings.image_size_px, self.settings.resize)


def _split(cell: Cell, env: RunEnv, ctx: CellContext) -> Output:
    inputs = Inputs(cell, env)
    splits = make_splits(inputs.index, env.suite.settings.split)
    split = next(s for s in splits if (s.fold, s.repeat) == (cell.fold, cell.repeat))
    check_split(split, inputs.index)
    save_split(split, inputs.index, ctx.folder / "split.json")
    sizes = {f"{part}_images": len(getattr(split, part)) for part in ("train", "validation", "test")}
    group = {r.path: r.group_id for r in inputs.index.records}
    groups = {f"{p}_groups": len({group[x] for x in getattr(split, p)}) for p in ("train", "validation", "test")}
    return Output(facts={**sizes, **groups})


def _fit(cell: Cell, env: RunEnv, ctx: CellContext) -> Output:
    inputs = Inputs(cell, env)
    with ctx.phase("data"):
        data = inputs.fold().training
        data.images()
    env.suite.method(str(cell.method)).create().fit(data, ctx)
    facts: dict[str, Any] = {}
    for name in ("facts.json", "weights.json"):
        path = ctx.folder / name
        if path.is_file():
            found = json.loads(path.read_text(encoding="utf-8"))
            facts |= found if name == "facts.json" else {"weights": found}
    return Output(facts=facts)


def _synthesize(cell: Cell, env: RunEnv, ctx: CellContext) -> Output:
    from PIL import Image

    inputs = Inputs(cell, env)
    data, fitted = inputs.fold().training, inputs.upstream("fit")
    counts: dict[int, int] = {}
    for ratio in inputs.settings.ratios:
        for label, n in ratio_counts(ratio, data.labels).items():
            counts[label] = max(n, counts.get(label, 0))
    group = {r.path: r.group_id for r in data.records}
    records, done, total = [], dict.fromkeys(counts, 0), sum(counts.values())
    method = env.suite.method(str(cell.method)).create()
    with ctx.phase("sample"):
        for item in method.synthesize(data, counts, fitted, ctx):
            path = f"images/{item.label}/{done[item.label]:05d}.png"
            (ctx.folder / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(item.image).save(ctx.folder / path, compress_level=1)
            source = item.source_path or ""
            source_group = group[source] if source else ""
            records.append(SyntheticRecord(path, item.label, item.seed, fitted.name, source, source_group))
            done[item.label] += 1
            ctx.log(len(records), total, {})
    if done != counts:
        raise BenchError(f"method {cell.method} made {done} images per label, {counts} were asked for")
    save_manifest(ctx.folder, records, sorted(set(group.values())))
    seconds = ctx.timer.seconds["sample"]
    return Output(costs={"images_per_s": total / max(seconds, 1e-9)}, facts={"images": total})


def _fidelity(cell: Cell, env: RunEnv, ctx: CellContext) -> Output:
    from bench.metrics.features import FeatureExtractor, cached_features
    from bench.metrics.fidelity import fidelity_metrics

    inputs = Inputs(cell, env)
    config = env.suite.settings.fidelity
    folder = env.weights if env.weights and env.weights.is_dir() else None  # a single file is some backbone's
    extractor = FeatureExtractor(config.extractor, folder, config.input_size_px)
    fold = inputs.fold()
    synthetic = load_synthetic(inputs.upstream("synthesize"))
    counts = {int(y): int(n) for y, n in zip(*np.unique(fold.labels, return_counts=True), strict=True)}
    available = {y: sum(r.label == y for r in synthetic.records) for y in counts}
    counts = {y: min(n, available[y]) for y, n in counts.items() if available[y]}  # up to one synthetic per real image
    both = assemble_training_set(fold, synthetic, counts)
    made = both.images[both.is_synthetic]
    metrics: dict[str, float] = {}
    facts: dict[str, Any] = {"extractor": extractor.tag, "synthetic_images": len(made)}
    cache_folder = env.out / "cache" / "features"

    def features(images: np.ndarray) -> np.ndarray:
        return cached_features(extractor, images, cache_folder, env.device, config.batch_size)

    with ctx.phase("evaluate"):
        fake = features(made)
        real: dict[str, np.ndarray] = {}
        for part, chosen in (("train", fold.part("train")), ("test", fold.part("test"))):
            real[part] = features(chosen.images[np.isin(chosen.labels, list(counts))])
            for name, value in fidelity_metrics(real[part], fake).items():
                metrics[f"synthetic/{part}/{name}_{extractor.tag}"] = value
        for name, value in fidelity_metrics(real["test"], real["train"]).items():
            metrics[f"real/test/{name}_{extractor.tag}"] = value  # the floor: real training against real test images
    return Output(metrics=metrics, facts=facts)


def _classify(cell: Cell, env: RunEnv, ctx: CellContext) -> Output:
    from bench.classifiers.trainer import predict, save_network, train_classifier
    from bench.metrics.predictions import Predictions, write_predictions

    inputs = Inputs(cell, env)
    with ctx.phase("data"):
        fold = inputs.fold()
        synthetic = None
        counts: Mapping[int, int] = {}
        if cell.ratio != "0":
            synthetic = load_synthetic(inputs.upstream("synthesize"))
            counts = ratio_counts(str(cell.ratio), fold.labels)
        train = assemble_training_set(fold, synthetic, counts)
        validation, test = fold.part("validation"), fold.part("test")
    method = env.suite.method(str(cell.method))
    online = method if method.kind == "online" else None
    augmenter = online.create() if online else _no_augmentation()
    spec = env.suite.classifier(str(cell.classifier))
    classes = inputs.index.classes
    classifier = spec.create()
    network = classifier.build(len(classes), env.suite.settings.image_size_px, env.weights)
    result = train_classifier(network, train, validation, len(classes), spec.config, augmenter, ctx)
    with ctx.phase("evaluate"):
        parts: dict[str, Part] = {"validation": validation, "test": test}
        y_prob = np.concatenate(
            [predict(network, p.images, env.device, spec.config.batch_size) for p in parts.values()]
        )
    write_predictions(
        ctx.folder / "predictions.csv",
        Predictions(
            image=tuple(r.path for p in parts.values() for r in p.records),
            group=tuple(g for p in parts.values() for g in p.groups),
            part=tuple(name for name, p in parts.items() for _ in p.records),
            fold=cell.fold,
            repeat=cell.repeat,
            y_true=np.concatenate([p.labels for p in parts.values()]),
            y_prob=y_prob,
            classes=classes,
        ),
    )
    save_network(network, ctx.folder / "classifier.safetensors")
    facts = {**asdict(result), "real_images": int((~train.is_synthetic).sum())}
    facts["synthetic_images"] = int(train.is_synthetic.sum())
    return Output(facts=facts)


def _no_augmentation() -> Any:
    cls = registry.load("method", "none")
    return cls(cls.Config())


def _evaluate(cell: Cell, env: RunEnv, ctx: CellContext) -> Output:
    from bench.metrics.classification import classification_metrics
    from bench.metrics.predictions import read_predictions

    folder = Inputs(cell, env).upstream("classify")
    predictions = read_predictions(folder / "predictions.csv")
    metrics = {}
    for part in ("validation", "test"):
        p = predictions.select(part)
        for name, value in classification_metrics(p.y_true, p.y_prob, p.group).items():
            metrics[f"{part}/{name}"] = value
    return Output(metrics=metrics, facts={"predictions": str((folder / "predictions.csv").relative_to(env.out))})


STAGE: dict[str, Callable[[Cell, RunEnv, CellContext], Output]] = {
    "split": _split,
    "fit": _fit,
    "synthesize": _synthesize,
    "fidelity": _fidelity,
    "classify": _classify,
    "evaluate": _evaluate,
}
