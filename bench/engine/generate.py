"""Images from a generator of a finished run, or from one that is trained on all images, with a note on leakage.

The folder has ``images/<label>/seed<seed>_<number>.png``, ``manifest.csv`` (one row per image), ``note.json`` and
``note.txt``. It contains no real image. Equal requests write equal bytes; further requests of the same generator add
images. A generator that is trained here is kept in the store, ``cells/generator/<key>/``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.config import stable_hash, to_plain
from bench.data.cache import ImageCache
from bench.data.loaders import TrainingPart, check_generator
from bench.data.synthetic_files import MANIFEST, load_seen, save_seen
from bench.engine.session import weights_id
from bench.errors import BenchError, ConfigError, DataError, DivergedError, nearest
from bench.files import atomic_path, write_atomic
from bench.plan.make import CODE_VERSION
from bench.plan.plan import Cell, fold_title
from bench.seeding import derive_seed, seed_everything
from bench.stages.common import Inputs, RunEnv
from bench.stages.context import CellContext
from bench.stages.synthetic import require_synthetic, synthetic_size
from bench.stages.training_fidelity import TrainingFidelity
from bench.store.cell_folders import Artifacts
from bench.store.csv_cells import DictWriter, read_rows
from bench.suite.suite import PluginSpec
from bench.types import DatasetIndex, Split, SyntheticImage

COLUMNS = ("file", "class", "seed", "source_image", "source_group")
NOTE, NOTE_TEXT = "note.json", "note.txt"
STAGE = "generator"  # of a generator that is trained on all images; not part of a plan
UNKNOWN_LICENCE = "unknown: ask the publisher of the data set"


@dataclass(frozen=True)
class Generator:
    """A trained generator: its key and folder, its training images, the groups it has seen, and where it comes from."""

    key: str
    method: PluginSpec
    folder: Path
    data: TrainingPart
    seen_groups: tuple[str, ...]
    trained_on: str  # 'all images', or 'the training part of fold 0'


def generator_of_run(cell: Cell, env: RunEnv) -> Generator:
    """Return the generator of a finished ``fit`` cell. Raises ``LeakageError`` if it has seen held-out groups."""
    inputs = Inputs(cell, env)
    fold, folder = inputs.fold(), inputs.artifacts.folder(*cell.id)
    seen = load_seen(folder)
    check_generator(folder, seen, fold.fold_parts)
    method = inputs.env.suite.method(str(cell.method))
    return Generator(cell.key, method, folder, fold.training, seen, f"the training part of {fold_title(*cell.at)}")


def generator_of_all(name: str, index: DatasetIndex, env: RunEnv) -> Generator:
    """Return a method's generator trained on every image; it is trained, or its training resumed, if needed.

    Raises ``ConfigError`` for a method that makes no images or does not take these classes.
    """
    suite, settings = env.suite, env.suite.settings
    method = suite.method(name)
    made = method.create()
    made.check(index.classes)
    every = Split(0, 0, "all", settings.seed, env.fingerprint, tuple(r.path for r in index.records), (), ())
    resize = getattr(made, "resize", None) or settings.resize
    data = TrainingPart(index, every, ImageCache(env.out / "cache"), settings.image_size_px, resize)
    common = [settings.image_size_px, settings.resize, settings.seed, settings.threads, weights_id(env.weights)]
    key = stable_hash([STAGE, CODE_VERSION["fit"], method.identity(), env.fingerprint, common])
    artifacts = Artifacts(env.out)
    with artifacts.work(STAGE, key) as folder:
        if not artifacts.is_done(STAGE, key):
            _train(made, data, folder, env)
            now = datetime.now(UTC).isoformat(timespec="seconds")
            artifacts.commit(STAGE, key, {"metrics": {}, "costs": {}, "facts": {}, "finished_at": now})
    folder = artifacts.folder(STAGE, key)
    return Generator(key, method, folder, data, load_seen(folder), "all images")


def _train(made: Any, data: TrainingPart, folder: Path, env: RunEnv) -> None:
    seed = derive_seed("fit", env.suite.settings.seed, STAGE)
    ctx = CellContext(folder, env.device, seed, env.weights, env.out / "cache")
    ctx.score_images = TrainingFidelity(env, data)
    seed_everything(seed)
    try:
        made.fit(data, ctx)
    except DivergedError:  # the same training would diverge again
        ctx.drop_checkpoint()
        raise
    ctx.flush()
    save_seen(folder, (r.group_id for r in data.records))


def write_images(generator: Generator, counts: Mapping[int, int], seed: int, out: Path, env: RunEnv) -> list[Path]:
    """Write ``counts[label]`` images of each label to ``out`` and return their files; update manifest and note.

    Image i of a label depends on the generator, the label, the seed and i only. Raises ``ConfigError`` if ``out`` has
    images of another generator.
    """
    _require_same_generator(generator, out)
    rows = {row["file"]: row for row in _known_rows(out)}
    files, done = [], dict.fromkeys(counts, 0)
    for item in _synthesized(generator, counts, seed, env.device):
        name = f"images/{item.label}/seed{seed}_{done[item.label]:05d}.png"
        _save_png(item, out / name)
        rows[name] = _row(name, item, generator.data)
        files.append(out / name)
        done[item.label] += 1
    if done != dict(counts):
        raise BenchError(f"method {generator.method.name} made {done} images per label, expected {dict(counts)}")
    note = _note(generator, env)
    write_atomic(out / NOTE, json.dumps(note, indent=1, ensure_ascii=False) + "\n")
    write_atomic(out / NOTE_TEXT, _in_words(note))
    with atomic_path(out / MANIFEST) as path, path.open("w", encoding="utf-8", newline="") as f:
        writer = DictWriter(f, COLUMNS)
        writer.writeheader()
        writer.writerows(rows[name] for name in sorted(rows))
    return files


def label_of(name: str, classes: tuple[str, ...]) -> int:
    """Return the label of a class name. Raises ``ConfigError`` with the nearest one."""
    if name not in classes:
        raise ConfigError(f"--class {name!r}: no such class; {nearest(name, classes)}")
    return classes.index(name)


def _synthesized(generator: Generator, counts: Mapping[int, int], seed: int, device: str) -> Iterator[SyntheticImage]:
    made, data = generator.method.create(), generator.data
    size, sources = synthetic_size(made, data.image_size_px), {r.path for r in data.records}
    with _scratch(device, seed) as ctx:
        for item in made.synthesize(data, counts, generator.folder, ctx):
            require_synthetic(generator.method.name, item, size, counts, sources)
            yield item


@contextmanager
def _scratch(device: str, seed: int) -> Iterator[CellContext]:
    """Yield a context whose files are not kept."""
    with TemporaryDirectory() as folder:
        yield CellContext(Path(folder), device, seed, None)


def _save_png(item: SyntheticImage, path: Path) -> None:
    from PIL import Image

    with atomic_path(path) as temporary:
        Image.fromarray(item.image).save(temporary)


def _row(name: str, item: SyntheticImage, data: TrainingPart) -> dict[str, Any]:
    source = next((r for r in data.records if r.path == item.source_path), None)
    return {
        "file": name,
        "class": data.classes[item.label],
        "seed": item.seed,
        "source_image": source.path if source else "",
        "source_group": source.group_id if source else "",
    }


def _known_rows(out: Path) -> list[dict[str, str]]:
    path = out / MANIFEST
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as f:
            return read_rows(f)
    except (OSError, ValueError) as e:
        raise DataError(f"{path} cannot be read ({e}); expected the manifest of an earlier run: delete it") from e


def _require_same_generator(generator: Generator, out: Path) -> None:
    path = out / NOTE
    if not path.is_file():
        return
    try:
        known = json.loads(path.read_text(encoding="utf-8"))["generator"]
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise DataError(f"{path} cannot be read ({type(e).__name__}: {e}); use another --out, or delete it") from e
    if known != generator.key:
        raise ConfigError(
            f"{out} has images of the generator {known[:12]}…, these are of {generator.key[:12]}…: another method, "
            "setting, data set or fold; use another --out"
        )


def _note(generator: Generator, env: RunEnv) -> dict[str, Any]:
    """Return what a user of the images must know, as JSON values."""
    data, dataset, weights = generator.data, env.suite.dataset, generator.folder / "weights.json"
    return {
        "generator": generator.key,
        "method": generator.method.name,
        "class": generator.method.registered,
        "config": to_plain(asdict(generator.method.config)),
        "pretrained_weights": json.loads(weights.read_text(encoding="utf-8")) if weights.is_file() else None,
        "dataset": dataset.name,
        "data_fingerprint": env.fingerprint,
        "licence_of_the_data_set": getattr(dataset.create(), "licence", UNKNOWN_LICENCE),
        "classes": list(data.classes),
        "trained_on": generator.trained_on,
        "training_images": len(data.records),
        "training_groups": list(generator.seen_groups),
    }


def _in_words(note: Mapping[str, Any]) -> str:
    groups = note["training_groups"]
    return f"""\
Synthetic images, made by {note["method"]} from the data set {note["dataset"]}.

Leakage: the generator was trained on {note["trained_on"]}: {note["training_images"]} images of {len(groups)} groups
(patients, or what the data set has instead). Do not test any model that was trained with these images on these groups.
The synthetic images may show parts of training images. The groups: {NOTE}, and below.

Licence of the data set: {note["licence_of_the_data_set"]}. It may also apply to images made from it; this is not legal
advice. Patients' consent and the rules of the data set still hold.

Not for diagnosis: the class of an image is the class that was asked for, and was not verified.

Groups:
""" + "".join(f"{group}\n" for group in groups)
