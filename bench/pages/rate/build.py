"""Sample the images of a rating study from a finished run: test images and synthetic images of every method."""

from __future__ import annotations

import hashlib
import io
import os
import random
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.data.cache import resized
from bench.data.image_files import open_image
from bench.data.pixels import as_rgb
from bench.data.synthetic_files import load_synthetic
from bench.engine.session import Session
from bench.errors import ConfigError, DataError
from bench.files import write_atomic
from bench.names import check_name
from bench.pages.rate.choose import Candidate, choose, repeats
from bench.seeding import derive_seed
from bench.store.cell_folders import Artifacts
from bench.store.ratings import REAL, Study, StudyImage, encode_study, load_study, studies_folder
from bench.types import DatasetIndex, PixelPolicy, Resize

PER_SOURCE = 20


def open_study(
    session: Session, name: str | None = None, per_source: int | None = None, seed: int | None = None
) -> tuple[Path, Study]:
    """Return a study's folder and content; if it does not exist, sample it from the finished run.

    ``name`` defaults to the suite's, ``per_source`` to 20 real images and 20 per method, ``seed`` to 0. Raises
    ``ConfigError`` if there are no or too few images, or the existing study has other settings.
    """
    folder = study_folder(session, name)
    if not folder.exists():
        _draw(session, folder, PER_SOURCE if per_source is None else per_source, seed or 0)
    study = load_study(folder)
    asked = {"suite": session.suite.name, "per_source": per_source, "seed": seed}
    for key, value in asked.items():
        if value is not None and value != getattr(study, key):
            option = {"per_source": "--per-method"}.get(key, f"--{key}")
            raise ConfigError(
                f"study {folder.name} was created with {option} {getattr(study, key)}, not {value}; a study must not "
                "change: create a new one with --study NAME"
            )
    return folder, study


def study_folder(session: Session, name: str | None) -> Path:
    """Return the folder of the study of that name. Raises ``ConfigError`` for an invalid name."""
    name = session.suite.name if name is None else name
    return studies_folder(session.env.out) / check_name("--study", name)


def generated(session: Session) -> dict[str, list[Candidate]]:
    """Return the synthetic images of each generative method so far, methods in the suite's order."""
    artifacts, shown = Artifacts(session.env.out), pictures(session.plan.index)
    found: dict[str, list[Candidate]] = {}
    for cell in session.plan.cells:
        if cell.stage != "synthesize" or not artifacts.is_done(*cell.id):
            continue
        made = load_synthetic(artifacts.folder(*cell.id))
        for record in made.records:
            path = made.folder / record.path
            copied_from = path.relative_to(session.env.out).as_posix()
            picture = shown.get(record.source_path, record.source_path)
            at = (str(cell.method), record.label, cell.fold, cell.repeat, copied_from, picture)
            found.setdefault(str(cell.method), []).append(Candidate(*at, _reader(path)))
    return found


def held_out(session: Session) -> list[Candidate]:
    """Return the test images of the folds, each once."""
    index, resize = session.plan.index, session.suite.settings.resize
    record, shown, size_px = index.by_path(), pictures(index), session.suite.settings.image_size_px
    found: dict[str, Candidate] = {}
    for split in session.plan.splits:
        for path in split.test:
            r = record[path]
            load = _real(index.root / path, r.sha256, size_px, resize, index.pixels)
            at = (REAL, r.label, split.fold, split.repeat, path, shown[path])
            found.setdefault(r.sha256, Candidate(*at, load))
    return list(found.values())


def pictures(index: DatasetIndex) -> Mapping[str, str]:
    """Return the picture that each image shows: the first path with the same content."""
    first: dict[str, str] = {}
    return {r.path: first.setdefault(r.sha256, r.path) for r in index.records}


def _draw(session: Session, folder: Path, per_source: int, seed: int) -> None:
    """Write a study atomically."""
    if per_source < 1:
        raise ConfigError(f"--per-method: got {per_source}, expected 1 or more")
    made = generated(session)
    if not made:
        raise ConfigError(
            f"no synthetic images of suite {session.suite.name} in {session.env.out}; generate them with: "
            f"{session.command}"
        )
    classes, settings = session.plan.index.classes, session.suite.settings
    sources = {REAL: held_out(session), **made}
    chosen = choose(list(sources.values()), per_source, classes, seed)
    random.Random(derive_seed("rate", seed)).shuffle(chosen)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = (
        folder.parent / f".{folder.name}.{secrets.token_hex(8)}"
    )  # not mkdtemp, so that the umask sets the permissions
    try:
        (partial / "images").mkdir(parents=True)
        images = tuple(_copy(partial, folder.name, seed, chosen, classes, settings.image_size_px))
        names = (session.suite.name, session.suite.dataset.name)
        drawn_with = (seed, per_source, settings.image_size_px)
        study = Study(folder.name, *names, *drawn_with, tuple(sources), images, repeats(chosen))
        write_atomic(partial / "manifest.json", encode_study(study))
        os.rename(partial, folder)  # fails if another process has created it meanwhile; then that one is used
    except OSError:
        if not folder.exists():
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _copy(
    partial: Path, name: str, seed: int, chosen: list[Candidate], classes: tuple[str, ...], size_px: int
) -> Iterator[StudyImage]:
    """Write the images as PNGs of one size without metadata; ids depend only on the position after shuffling."""
    for place, c in enumerate(chosen):
        id_ = hashlib.sha256(f"{name}\x1f{seed}\x1f{place}".encode()).hexdigest()[:16]
        content = encode(c.load(), size_px)
        (partial / "images" / f"{id_}.png").write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        yield StudyImage(id_, c.source, classes[c.label], c.fold, c.repeat, c.copied_from, sha256, c.picture)


def encode(image: Any, size_px: int) -> bytes:
    """Return a PIL image as a PNG of size_px × size_px without metadata."""
    from PIL import Image

    bare = Image.new("RGB", (size_px, size_px))
    fits = image.size == bare.size
    bare.paste(image if fits else image.resize(bare.size, Image.Resampling.BICUBIC))
    content = io.BytesIO()
    bare.save(content, "PNG", optimize=True)
    return content.getvalue()


def _reader(path: Path) -> Callable[[], Any]:
    def load() -> Any:
        try:
            return as_rgb(open_image(path.read_bytes()))
        except (OSError, SyntaxError, ValueError) as e:
            raise DataError(f"synthetic image {path} cannot be read ({e}); delete its folder and run again") from e

    return load


def _real(path: Path, sha256: str, size_px: int, resize: Resize, policy: PixelPolicy) -> Callable[[], Any]:
    def load() -> Any:
        from PIL import Image

        return Image.fromarray(resized(path, sha256, size_px, resize, policy))

    return load


def counts(study: Study) -> Mapping[str, int]:
    """Return the number of images of each source in a study."""
    return {source: sum(i.source == source for i in study.images) for source in study.sources}
