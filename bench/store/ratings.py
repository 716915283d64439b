"""Rating studies on disk: ``<out>/studies/<name>/``, created once; afterwards only answers are added.

``manifest.json``   the source of each image; never served
``images/<id>.png`` the images, with ids that do not reveal the source
``answers.jsonl``   one answer per line, append-only; the last answer of a rater to an image is used
"""

from __future__ import annotations

import hashlib
import json
import math
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from bench.errors import ConfigError, DataError
from bench.store.lines import JsonLines

SCHEMA = 1
REAL = "real"  # source of real images
BEST = 5  # quality is 0 to 5
LONGEST_NAME = 60


@dataclass(frozen=True)
class StudyImage:
    """One image of a study: ``source`` is 'real' or a method, ``copied_from`` is the file that it was copied from.

    ``picture`` is the data-set image that it shows: itself, or the translated one; '' for an image generated from
    noise, None in an older study without this record.
    """

    id: str
    source: str
    label: str
    fold: int
    repeat: int
    copied_from: str
    sha256: str  # of the copy in the study
    picture: str | None = None


@dataclass(frozen=True)
class Study:
    """A study: its images in random order, and the settings that it was sampled with.

    ``repeats`` is the number of images that show the same picture as another one, original or translated; None: not
    recorded.
    """

    name: str
    suite: str
    dataset: str
    seed: int
    per_source: int
    size_px: int
    sources: tuple[str, ...]  # 'real', then the methods in the suite's order
    images: tuple[StudyImage, ...]
    repeats: int | None = None

    def order(self, rater: str) -> list[str]:
        """Return the ids of all images in this rater's order, which depends only on the study and the rater."""

        def place(image: StudyImage) -> bytes:
            return hashlib.sha256("\x1f".join((self.name, str(self.seed), rater, image.id)).encode()).digest()

        return [image.id for image in sorted(self.images, key=place)]


@dataclass(frozen=True)
class Answer:
    """One rater's answer to one image: ``real`` or not, ``quality`` 0..5, and the time taken in ``seconds``."""

    rater: str
    image: str
    real: bool
    quality: int
    seconds: float
    at: str  # when, in UTC


def studies_folder(out: Path) -> Path:
    """Return the folder of the studies in an output folder."""
    return out / "studies"


def rater_name(typed: str) -> str:
    """Return a rater's normalised name, so that different spellings (case, spaces) give the same rater.

    Raises ``ConfigError`` if it is empty or too long.
    """
    text = "".join(c if c.isprintable() else " " for c in unicodedata.normalize("NFKC", typed))
    name = " ".join(text.split()).casefold()
    if not 0 < len(name) <= LONGEST_NAME:
        raise ConfigError(f"rater's name: got {len(name)} characters, expected 1 to {LONGEST_NAME}")
    return name


def encode_study(study: Study) -> str:
    """Return a study as the text of its manifest."""
    return json.dumps({"schema": SCHEMA, **asdict(study)}, indent=1)


def load_study(folder: Path) -> Study:
    """Read a study's manifest. Raises ``DataError`` if it is invalid or of another version."""
    path = folder / "manifest.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data.pop("schema") != SCHEMA:
            raise DataError(f"{path} was written by another version of bench; use that version, or create a new study")
        images = tuple(StudyImage(**image) for image in data.pop("images"))
        return Study(**{**data, "sources": tuple(data["sources"]), "images": images})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise DataError(f"{path} is not a valid manifest of a study ({type(e).__name__}: {e})") from e


def load_images(study: Study, folder: Path) -> dict[str, bytes]:
    """Return the PNG files of a study by id. Raises ``DataError`` if one has changed."""
    found = {}
    for image in study.images:
        path = folder / "images" / f"{image.id}.png"
        try:
            found[image.id] = path.read_bytes()
        except OSError as e:
            raise DataError(
                f"{path} cannot be read ({e}); a study must not change: restore the file, or create a new study"
            ) from e
        if hashlib.sha256(found[image.id]).hexdigest() != image.sha256:
            raise DataError(f"{path} has changed; a study must not change: restore the file, or create a new study")
    return found


class Answers:
    """The answers of a study. Several processes may read and append."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "answers.jsonl"
        self._lines = JsonLines(self.path, _answer)

    def add(self, answer: Answer) -> None:
        """Append an answer; it is on disk when the call returns."""
        self._lines.append([asdict(answer)])

    def read(self) -> dict[tuple[str, str], Answer]:
        """Return the last answer by (rater, image); unreadable lines are skipped and reported."""
        return {(a.rater, a.image): a for a in self._lines.read("raters will be shown these images again")}

    def of(self, rater: str) -> dict[str, Answer]:
        """Return a rater's answers by image."""
        return {image: answer for (name, image), answer in self.read().items() if name == rater}


def find_studies(out: Path, suite: str) -> Iterator[tuple[Study, Mapping[tuple[str, str], Answer]]]:
    """Yield the studies of a suite that have answers, by name, with the answers."""
    for folder in sorted(p.parent for p in studies_folder(out).glob("[!.]*/manifest.json")):
        try:
            study = load_study(folder)
        except DataError:  # `bench rate` reports the problem; a report leaves the study out
            continue
        ids = {image.id for image in study.images}
        answers = {at: a for at, a in Answers(folder).read().items() if a.image in ids}
        if study.suite == suite and answers:
            yield study, answers


def _answer(data: Mapping[str, Any]) -> Answer:
    answer = Answer(**{f.name: data[f.name] for f in fields(Answer)})
    texts = all(isinstance(text, str) for text in (answer.rater, answer.image, answer.at))
    if not texts or not isinstance(answer.real, bool) or answer.quality not in range(BEST + 1):
        raise ValueError("invalid answer")
    if not math.isfinite(answer.seconds):
        raise ValueError("without a finite time")
    return answer
