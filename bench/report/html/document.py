"""Sections as one self-contained HTML page: no network, no other files. The layout is in ``templates/``.

The content security policy allows only the page's own script and style, by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from bench.report.content import Details, Section, Table, alt, slug
from bench.report.html.pictures import BUDGET, WIDE, Embedded, embed
from bench.report.html.tables import VERDICTS, block, inline, table_view
from bench.report.text import plain

OPEN = 3  # pictures of a section that are shown; the others are collapsed
TEMPLATES = Path(__file__).parents[1] / "templates"


def document(
    title: str,
    found: Sequence[Section],
    folder: Path,
    about: str = "",
    verdicts: Mapping[str, str] = VERDICTS,
    style: str = "",
    budget: int = BUDGET,
) -> str:
    """Return the page with all sections; those of the appendix are collapsed.

    ``title`` is plain text; the part after the first colon is set in a lighter font. ``about`` is a line of markdown
    below it. ``verdicts`` are CSS classes of cells by their text or its first word. Figure paths are relative to
    ``folder``; figures beyond ``budget`` characters are omitted and listed. ``style`` is the name of a template with
    additional CSS.
    """
    embedded = embed([s.figures for s in found], folder, budget)
    numbers = {path: i for i, path in enumerate((p for s in found for p in s.figures if p in embedded), start=1)}
    names = [slug(s.title) for s in found]
    ids = [n if n not in names[:i] else f"{n}-{i}" for i, n in enumerate(names)]
    shown = [_section(s, name, embedded, numbers, verdicts) for s, name in zip(found, ids, strict=True)]
    name, _, asked = title.partition(": ")
    css = _read("style.css") + (_read(style) if style else "")
    return str(
        _environment()
        .get_template("page.html.j2")
        .render(
            title=title, name=name, asked=asked, about=inline(about) if about else "", sections=shown, style=css,
            script=_read("script.js"),
        )
    )  # fmt: skip


def _section(
    s: Section, name: str, embedded: Mapping[str, Embedded], numbers: Mapping[str, int], verdicts: Mapping[str, str]
) -> dict[str, Any]:
    """Return what the template needs of a section."""
    shown = [_figure(s, path, embedded[path], numbers[path]) for path in s.figures if path in embedded]
    pictures = [p for p in s.figures if p in embedded and p.startswith("pictures/")]
    cut = len(shown) - len(pictures) + OPEN if len(pictures) > OPEN else len(shown)
    return {
        "id": name, "title": inline(s.title), "appendix": s.appendix, "beside": s.beside,
        "blocks": _blocks(s.blocks, s, verdicts), "figures": shown[:cut], "more": shown[cut:],
        "omitted": [p for p in s.figures if p not in embedded],
    }  # fmt: skip


def _blocks(found: Sequence[str | Table | Details], s: Section, verdicts: Mapping[str, str]) -> list[dict[str, Any]]:
    views: list[dict[str, Any]] = []
    for b in found:
        if isinstance(b, str):
            views.append({"kind": "note", "html": block(b)})
        elif isinstance(b, Table):
            label = plain(b.title or s.title)
            views.append({"kind": "table", **table_view(b, label, s.definitions, verdicts)})
        else:
            views.append({"kind": "details", "title": inline(b.title), "blocks": _blocks(b.blocks, s, verdicts)})
    return views


def _figure(section: Section, path: str, figure: Embedded, number: int) -> dict[str, Any]:
    kinds = "chart" if path.startswith("charts/") else "pixels" if figure.enlarged else ""
    return {
        **vars(figure), "kinds": kinds, "alt": section.alts.get(path) or alt(path), "number": number,
        "caption": inline(section.figures[path]), "wide": figure.width > WIDE,
    }  # fmt: skip


@cache
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=StrictUndefined,
    )  # fmt: skip
    made.filters["sha256"] = _hash
    return made


def _read(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}"
