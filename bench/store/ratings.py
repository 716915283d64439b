"""Rating studies on disk: ``<out>/studies/<name>/``, made once, then only answered.

``manifest.json``   what each image is: the key, never served
``images/<id>.png`` the images, under ids that tell nothing
``answers.jsonl``   one answer a line, only ever added to; the last one of a rater to an image counts
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
REAL = "real"  # the source of images that nobody made
BEST = 5  # quality goes from 0 to 5
LONGEST_NAME = 60


@dataclass(frozen=True)
class StudyImage:
    """One image of a study and what it is: ``source`` is 'real' or a method, ``origin`` the file it was made from.

    ``picture`` is the image of the data set that it shows: itself, or the one that was translated; '' for an image
    made from noise, None in a study that was made before this was recorded.
    """

    id: str
    source: str
    label: str
    fold: int
    repeat: int
    origin: str
    sha256: str  # of the copy in the study
    picture: str | None = None


@dataclass(frozen=True)
class Study:
    """A study's images, in no telling order, and what it was drawn with.

    ``repeats`` counts the images whose picture another one has shown, as itself or translated; None: not recorded.
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
        """Return the ids of all images in this rater's order, which depends on the study and the rater alone."""

        def place(image: StudyImage) -> bytes:
            return hashlib.sha256("\x1f".join((self.name, str(self.seed), rater, image.id)).encode()).digest()

        return [image.id for image in sorted(self.images, key=place)]


@dataclass(frozen=True)
class Answer:
    """What one rater said of one image: whether it is ``real``, its ``quality`` 0..5, after how many ``seconds``."""

    rater: str
    image: str
    real: bool
    quality: int
    seconds: float
    at: str  # when, in UTC


def studies_folder(out: Path) -> Path:
    """Return where an output folder has its studies."""
    return out / "studies"


def rater_name(typed: str) -> str:
    """Return a rater's name as it is stored: however it is typed on a phone, it is the same rater.

    Raises ``ConfigError`` for an empty or overlong one.
    """
    text = "".join(c if c.isprintable() else " " for c in unicodedata.normalize("NFKC", typed))
    name = " ".join(text.split()).casefold()
    if not 0 < len(name) <= LONGEST_NAME:
        raise ConfigError(f"a rater's name has 1 to {LONGEST_NAME} characters, got {len(name)}")
    return name


def encode_study(study: Study) -> str:
    """Return a study as the text of its manifest."""
    return json.dumps({"schema": SCHEMA, **asdict(study)}, indent=1)


def load_study(folder: Path) -> Study:
    """Read a study's manifest. Raises ``DataError`` when it is none, or of another version."""
    path = folder / "manifest.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data.pop("schema") != SCHEMA:
            raise DataError(f"{path} is of another version of bench; use that version, or make another study")
        images = tuple(StudyImage(**image) for image in data.pop("images"))
        return Study(**{**data, "sources": tuple(data["sources"]), "images": images})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise DataError(f"{path} is not a study's manifest ({type(e).__name__}: {e})") from e


def load_images(study: Study, folder: Path) -> dict[str, bytes]:
    """Return the PNG files of a study by id. Raises ``DataError`` when one is not what it was."""
    found = {}
    for image in study.images:
        path = folder / "images" / f"{image.id}.png"
        try:
            found[image.id] = path.read_bytes()
        except OSError as e:
            raise DataError(
                f"{path} cannot be read ({e}); a study is never changed: restore it, or make another"
            ) from e
        if hashlib.sha256(found[image.id]).hexdigest() != image.sha256:
            raise DataError(f"{path} is not the image it was; a study is never changed: restore it, or make another")
    return found


class Answers:
    """The answers of a study. Any number of processes may read and add."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "answers.jsonl"
        self._lines = JsonLines(self.path, _answer)

    def add(self, answer: Answer) -> None:
        """Write an answer; it is on disk on return."""
        self._lines.append([asdict(answer)])

    def read(self) -> dict[tuple[str, str], Answer]:
        """Return the last answer by (rater, image); lines that cannot be read are passed over, and named."""
        return {(a.rater, a.image): a for a in self._lines.read("the raters are asked for these images again")}

    def of(self, rater: str) -> dict[str, Answer]:
        """Return a rater's answers by image."""
        return {image: answer for (name, image), answer in self.read().items() if name == rater}


def find_studies(out: Path, suite: str) -> Iterator[tuple[Study, Mapping[tuple[str, str], Answer]]]:
    """Yield the studies of a suite that somebody has answered, by name, with the answers."""
    for folder in sorted(p.parent for p in studies_folder(out).glob("[!.]*/manifest.json")):
        try:
            study = load_study(folder)
        except DataError:  # `bench rate` says what is wrong with it; a report has no use for it
            continue
        ids = {image.id for image in study.images}
        answers = {at: a for at, a in Answers(folder).read().items() if a.image in ids}
        if study.suite == suite and answers:
            yield study, answers


def _answer(data: Mapping[str, Any]) -> Answer:
    answer = Answer(**{f.name: data[f.name] for f in fields(Answer)})
    texts = all(isinstance(text, str) for text in (answer.rater, answer.image, answer.at))
    if not texts or not isinstance(answer.real, bool) or answer.quality not in range(BEST + 1):
        raise ValueError("not an answer")
    if not math.isfinite(answer.seconds):
        raise ValueError("without a time")
    return answer
