"""Sections as one self-contained HTML page: no network, no other files.

The content security policy allows only the page's own script and style, by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

from bench.report.html.pictures import BUDGET, Embedded, embed
from bench.report.html.tables import Markdown, inline, plain
from bench.report.sections.page import Section, alt
from bench.report.text import count

OPEN = 3  # pictures of a section that are shown; the others are folded


def document(
    title: str,
    found: Sequence[Section],
    writer: Markdown,
    folder: Path,
    about: str = "",
    appendix: Mapping[str, str] | None = None,
    style: str = "",
    budget: int = BUDGET,
) -> str:
    """Return the page with all sections except those for markdown only.

    ``title`` is plain text; the part after the first colon is set in a lighter font. ``about`` is a line of markdown
    below it. Figure paths are relative to ``folder``; figures beyond ``budget`` characters are omitted and listed.
    ``appendix`` are final sections in HTML by title; ``style`` is additional CSS.
    """
    shown, appendix = [s for s in found if s.where != "markdown"], appendix or {}
    embedded = embed([s.figures for s in shown], folder, budget)
    titles = [*(s.title for s in shown), *appendix]
    ids = _ids(titles)
    numbers = {path: i for i, path in enumerate((p for s in shown for p in s.figures if p in embedded), start=1)}
    body = [_section(s, name, writer, embedded, numbers) for s, name in zip(shown, ids, strict=False)]
    last = zip(appendix.items(), ids[len(shown) :], strict=True)
    body += [f'<section id="{name}">\n<h2>{inline(head)}</h2>\n{html}</section>' for (head, html), name in last]
    return _frame(title, about, _contents(titles, ids), "\n".join(body), style)


def _section(
    section: Section, name: str, writer: Markdown, embedded: Mapping[str, Embedded], numbers: Mapping[str, int]
) -> str:
    label, filtered = plain(section.title), section.filters is not None
    parts = [
        writer.block(p, label, section.undefined, "board" if filtered and p.startswith("|") else "")
        for p in section.parts
    ]
    if section.filters is not None and len(parts) > 1:
        parts.insert(1, _filters(section.filters))
    shown = [
        _figure(section, path, embedded[path], numbers[path]) for path in section.figures if path in embedded
    ]  # fmt: skip
    pictures = [p for p in section.figures if p in embedded and p.startswith("pictures/")]
    left_out = [p for p in section.figures if p not in embedded]
    if len(pictures) > OPEN:
        cut = len(shown) - len(pictures) + OPEN
        more = count(len(shown) - cut, "more picture")
        shown[cut:] = [f"<details><summary>{more}</summary>\n{''.join(shown[cut:])}</details>\n"]
    if left_out:
        names = ", ".join(f"<code>{escape(p)}</code>" for p in left_out)
        what = f"Omitted to limit the size of this file; see the report folder: {count(len(left_out), 'figure')}"
        shown.append(f"<p>{what}, {names}.</p>\n")
    return f'<section id="{name}">\n<h2>{inline(section.title)}</h2>\n{"".join(parts)}{"".join(shown)}</section>'


def _figure(section: Section, path: str, figure: Embedded, number: int) -> str:
    kind = ' class="pixels"' if figure.enlarged else ""
    size = f'width="{figure.width}" height="{figure.height}"'
    described = escape(section.alts.get(path) or alt(path))
    return (
        f'<figure><img src="{figure.uri}" alt="{described}" {size}{kind}>'
        f"<figcaption><b>Figure {number}.</b> {inline(section.figures[path])}</figcaption></figure>\n"
    )


def _filters(columns: Mapping[str, Sequence[str]]) -> str:
    """Return the filter controls of a table, hidden until the script enables them."""
    fields = ['<label>Find <input type="search" id="find" placeholder="part of a name"></label>']
    fields += [_select(column, values) for column, values in columns.items()]
    return f'<form class="filters" hidden>{"".join(fields)}<output aria-live="polite"></output></form>\n'


def _select(column: str, values: Sequence[str]) -> str:
    column, options = escape(column), "".join(f'<option value="{escape(v)}">{escape(v)}</option>' for v in values)
    return f'<label>{column} <select data-column="{column}"><option value="">any</option>{options}</select></label>'


def _contents(titles: Sequence[str], ids: Sequence[str]) -> str:
    items = "".join(f'<li><a href="#{i}">{inline(t)}</a></li>\n' for t, i in zip(titles, ids, strict=True))
    folded = f'<details class="contents"><summary>Contents</summary><ol>\n{items}</ol></details>'
    return f'<nav aria-label="Contents">{folded}</nav>'


def _ids(titles: Sequence[str]) -> list[str]:
    """Return an anchor for each title, such as 'cost-of-the-generators'; repeated titles get a number."""
    names = [re.sub(r"[^a-z0-9]+", "-", t.lower()).strip("-") or "section" for t in titles]
    return [n if n not in names[:i] else f"{n}-{i}" for i, n in enumerate(names)]


def _frame(title: str, about: str, contents: str, body: str, more_style: str) -> str:
    style, script = _resource("style.css") + more_style, _resource("script.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    title = escape(title)
    name, _, asked = title.partition(": ")
    below = f"<p>{inline(about)}</p>" if about else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<header><h1>{name}: <span>{asked}</span></h1>{below}</header>
{contents}
<main>
{body}
</main>
<script>{script}</script>
</body>
</html>
"""


def _resource(name: str) -> str:
    return (files("bench.report.html") / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}"
