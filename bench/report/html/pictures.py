"""Figures as data URIs, so that the report is one file of limited size."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

BUDGET: Final = 13_000_000  # characters of data URIs in one report; the file must stay below 15 MB
WIDEST: Final = 1800  # px; wider pictures are downscaled
KEPT: Final = 100_000  # bytes; smaller PNGs are not converted
QUALITY: Final = 85  # of JPEG, for pictures only; charts stay PNG because of thin lines
CSS_PX: Final = 96 / 160  # CSS pixels for each chart pixel: charts are drawn at 160 px per inch
SMALL: Final = 600  # px; narrower pictures are shown at twice their size
WIDE: Final = 520  # CSS pixels; wider figures are not put beside a table


@dataclass(frozen=True)
class Embedded:
    """An embedded figure: its data URI and its displayed size in CSS pixels."""

    uri: str
    width: int
    height: int
    enlarged: bool = False


def embed(sections: Sequence[Mapping[str, str]], folder: Path, budget: int = BUDGET) -> dict[str, Embedded]:
    """Return the figures of each section (captions by path from ``folder``) as data URIs, by path.

    Charts come first, then the first picture of every section, the second of each, and so on, up to the budget.
    Figures missing from the result did not fit.
    """
    charts = [path for paths in sections for path in paths if not _is_picture(path)]
    turns = [(turn, path) for paths in sections for turn, path in enumerate(filter(_is_picture, paths))]
    found: dict[str, Embedded] = {}
    for path in (*charts, *(path for _, path in sorted(turns, key=lambda item: item[0]))):
        figure = _embedded(folder / path, _is_picture(path))
        if len(figure.uri) <= budget:
            budget -= len(figure.uri)
            found[path] = figure
    return found


def _is_picture(path: str) -> bool:
    return path.startswith("pictures/")


def _embedded(path: Path, picture: bool) -> Embedded:
    from PIL import Image

    data, kind = path.read_bytes(), "png"
    with Image.open(io.BytesIO(data)) as image:
        width, height = image.size
        if picture and (len(data) > KEPT or width > WIDEST):
            jpeg = _jpeg(image)
            data, kind = (jpeg, "jpeg") if width > WIDEST or len(jpeg) < len(data) else (data, kind)
    uri = f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
    if not picture:
        return Embedded(uri, round(width * CSS_PX), round(height * CSS_PX))
    times = 2 if width < SMALL else min(1.0, WIDEST / width)
    return Embedded(uri, round(times * width), round(times * height), enlarged=times > 1)


def _jpeg(image: object) -> bytes:
    from PIL import Image

    assert isinstance(image, Image.Image)
    photo = image.convert("RGB")
    if photo.width > WIDEST:
        photo = photo.resize((WIDEST, round(photo.height * WIDEST / photo.width)), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    photo.save(out, "JPEG", quality=QUALITY)
    return out.getvalue()
