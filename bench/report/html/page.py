"""``report.html``: every section on one page that needs nothing but itself, no network and no other file.

Scripts and styles that are not the page's own cannot run: its content security policy names theirs by their hashes.
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
from bench.report.html.tables import VERDICTS, Markdown, definitions, inline, plain
from bench.report.info import ReportInfo
from bench.report.records.report import Records
from bench.report.sections.footnotes import footnotes
from bench.report.sections.page import BOARD, Section, alt, question
from bench.report.sections.text import count

OPEN = 3  # pictures of a section that are shown; the others are folded away
CONFIG = "Config of the run"


def html_page(
    found: Sequence[Section], records: Records, info: ReportInfo, folder: Path, config: str = "", budget: int = BUDGET
) -> str:
    """Return the page. ``folder`` is where figures' paths start, ``config`` the resolved suite as YAML.

    Figures beyond ``budget`` characters are left out and named.
    """
    shown = [s for s in found if s.where != "markdown"]
    embedded = embed([s.figures for s in shown], folder, budget)
    writer = Markdown(definitions(footnotes(records, info)))
    ids = _ids([*(s.title for s in shown), *([CONFIG] if config else [])])
    numbers = {path: i for i, path in enumerate((p for s in shown for p in s.figures if p in embedded), start=1)}
    body = [_section(s, name, writer, embedded, numbers, records) for s, name in zip(shown, ids, strict=False)]
    if config:
        body.append(_config(config, ids[-1]))
    titles = [s.title for s in shown] + ([CONFIG] if config else [])
    return _document(info, _contents(titles, ids), "\n".join(body))


def _section(
    section: Section,
    name: str,
    writer: Markdown,
    embedded: Mapping[str, Embedded],
    numbers: Mapping[str, int],
    records: Records,
) -> str:
    label, is_board = plain(section.title), section.title == BOARD
    parts = [
        writer.block(p, label, section.undefined, "board" if is_board and p.startswith("|") else "")
        for p in section.parts
    ]
    if is_board and len(parts) > 1:
        parts.insert(1, _filters(records))
    shown = [
        _figure(path, text, embedded[path], numbers[path]) for path, text in section.figures.items() if path in embedded
    ]
    pictures = [p for p in section.figures if p in embedded and p.startswith("pictures/")]
    left_out = [p for p in section.figures if p not in embedded]
    if len(pictures) > OPEN:
        cut = len(shown) - len(pictures) + OPEN
        more = count(len(shown) - cut, "more picture")
        shown[cut:] = [f"<details><summary>{more}</summary>\n{''.join(shown[cut:])}</details>\n"]
    if left_out:
        names = ", ".join(f"<code>{escape(p)}</code>" for p in left_out)
        what = f"Left out here to keep this file small, and to be found beside it: {count(len(left_out), 'figure')}"
        shown.append(f"<p>{what}, {names}.</p>\n")
    return f'<section id="{name}">\n<h2>{inline(section.title)}</h2>\n{"".join(parts)}{"".join(shown)}</section>'


def _figure(path: str, caption: str, figure: Embedded, number: int) -> str:
    kind = ' class="pixels"' if figure.enlarged else ""
    size = f'width="{figure.width}" height="{figure.height}"'
    return (
        f'<figure><img src="{figure.uri}" alt="{escape(alt(path))}" {size}{kind}>'
        f"<figcaption><b>Figure {number}.</b> {inline(caption)}</figcaption></figure>\n"
    )


def _filters(records: Records) -> str:
    """Return the controls of the leaderboard; the script shows them, since without it they do nothing."""
    classifiers = list(dict.fromkeys(x.classifier for x in records.lines))
    words = {v["patient_balanced_accuracy"].word for x in records.lines for v in x.versus.values()}
    fields = ['<label>Find <input type="search" id="find" placeholder="part of a name"></label>']
    fields += [_select("Verdict", [w for w in VERDICTS if w in words])] if words else []
    fields += [_select("Classifier", classifiers)] if len(classifiers) > 1 else []
    return f'<form class="filters" hidden>{"".join(fields)}<output aria-live="polite"></output></form>\n'


def _select(column: str, values: Sequence[str]) -> str:
    options = "".join(f'<option value="{escape(v)}">{escape(v)}</option>' for v in values)
    return f'<label>{column} <select data-column="{column}"><option value="">any</option>{options}</select></label>'


def _config(text: str, name: str) -> str:
    return (
        f'<section id="{name}">\n<h2>{CONFIG}</h2>\n<details><summary>suite.yaml, every setting with its default '
        f"resolved</summary>\n<pre>{escape(text)}</pre></details></section>"
    )


def _contents(titles: Sequence[str], ids: Sequence[str]) -> str:
    items = "".join(f'<li><a href="#{i}">{inline(t)}</a></li>\n' for t, i in zip(titles, ids, strict=True))
    folded = f'<details class="contents"><summary>Contents</summary><ol>\n{items}</ol></details>'
    return f'<nav aria-label="Contents">{folded}</nav>'


def _ids(titles: Sequence[str]) -> list[str]:
    """Return an anchor a title: 'what-running-it-took'; the same title again gets a number."""
    names = [re.sub(r"[^a-z0-9]+", "-", t.lower()).strip("-") or "section" for t in titles]
    return [n if n not in names[:i] else f"{n}-{i}" for i, n in enumerate(names)]


def _document(info: ReportInfo, contents: str, body: str) -> str:
    style, script = (_resource(name) for name in ("style.css", "script.js"))
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    title = escape(question(info))
    suite, _, asked = title.partition(": ")
    about = f"<p>{inline(info.description)}</p>" if info.description else ""
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
<header><h1>{suite}: <span>{asked}</span></h1>{about}</header>
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
