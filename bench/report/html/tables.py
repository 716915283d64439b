"""Notes and cells as HTML: GitHub markdown in which external text is never markup, and the view of a table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markupsafe import Markup

from bench.report.content import Table
from bench.report.text import plain

VERDICTS: Mapping[str, str] = {word: word for word in ("helps", "hurts", "equivalent", "undecided")}
_ASIDE = re.compile(r"(.*?)((?: ± [\d.]+)?(?: ?\[[^\[\]]*\])?)( \([^()`]*\))?", re.DOTALL)
_NUMBER = re.compile(r"([^\w−-]*)([−-]?)(\d[\d,]*(?:\.\d+)?)(?: ± [\d.]+)?\s*(ms|s|min|h|MiB|GiB|k|M)?(?![\w/])")
_UNITS = {"ms": 1e-3, "min": 60.0, "h": 3600.0, "MiB": 2.0**20, "GiB": 2.0**30, "k": 1e3, "M": 1e6}


def block(text: str) -> Markup:
    """Render markdown paragraphs and lists."""
    return Markup(_PARSER.render(text))


def inline(text: str) -> Markup:
    """Render one line of markdown without a paragraph element."""
    return Markup(_PARSER.renderInline(text))


def table_view(table: Table, label: str, definitions: Mapping[str, str], verdicts: Mapping[str, str]) -> dict[str, Any]:
    """Return what the template needs of a table; ``definitions`` by terms are shown for its headings."""
    notes = by_head(definitions)
    heads = [
        {"html": inline(h), "number": i >= table.left, "note": definition(plain(h), notes)}
        for i, h in enumerate(table.heads)
    ]
    rows = [[_cell(text, i >= table.left, verdicts) for i, text in enumerate(row)] for row in table.rows]
    values = {head: [plain(x) for x in table.frame[head]] for head in table.filters}
    several = {head: list(dict.fromkeys(v)) for head, v in values.items() if len(set(v)) > 1}
    filters = {head: [v for v in found if v != "–"] for head, found in several.items()}
    return {"label": label, "heads": heads, "rows": rows, "filters": filters or dict.fromkeys(table.filters[:1], ())}


def _cell(text: str, number: bool, verdicts: Mapping[str, str]) -> dict[str, Any]:
    said = plain(text)
    word = verdicts.get(said) or verdicts.get(said.partition(" ")[0])
    kinds = " ".join([*(["num"] if number else []), *(["verdict", word] if word else [])])
    if not number:
        return {"html": inline(text), "kinds": kinds, "value": None}
    value = sort_value(text)
    return {"html": with_aside(text), "kinds": kinds, "value": None if value is None else f"{value:g}"}


def with_aside(text: str) -> Markup:
    """Render a cell with the spread and interval at its end, or text in brackets, in small print."""
    found = _ASIDE.fullmatch(text)
    if found is None or not (found[2] or found[3]):
        return inline(text)
    value, spread, beside = (inline((part or "").strip()) for part in found.groups())
    below = Markup(' class="below"') if value else Markup("")
    small = Markup("<small{}>{}</small>").format(below, spread) if spread else Markup("")
    return value + small + (Markup("<small> {}</small>").format(beside) if beside else Markup(""))


def by_head(definitions: Mapping[str, str]) -> dict[str, str]:
    """Return the definition of each column heading: {'p, p Holm': 'of that test'} has those of both."""
    found: dict[str, str] = {}
    for heads, text in definitions.items():
        for head in re.split(r"[,;] ", heads):
            found.setdefault(plain(head), plain(f"{heads}: {text}"))
    return found


def definition(head: str, notes: Mapping[str, str]) -> str:
    """Return the definition of a column: of its heading, or of the longest prefix of it; '' without one."""
    known = [h for h in notes if head == h or head.startswith((f"{h} ", f"{h},"))]
    return notes[max(known, key=len)] if known else ""


def sort_value(text: str) -> float | None:
    """Return the sort key of a cell: its first number in seconds or bytes, None without one; 'never' is the largest."""
    text = plain(text).rpartition(" = ")[2]  # the share of '15/20 = 0.75'
    if text.startswith("never"):
        return 1e300
    found = _NUMBER.match(text)
    if found is None:
        return None
    value = float(found[3].replace(",", "")) * _UNITS.get(found[4] or "", 1.0)
    return -value if found[2] else value


class _Renderer(RendererHTML):
    def code_inline(self, tokens: Sequence[Any], idx: int, options: Any, env: Any) -> str:
        return f"<code>{escape(tokens[idx].content).replace('_', '_<wbr>')}</code>"  # allow line breaks in long names


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}, renderer_cls=_Renderer)
    return parser.disable(["image", "autolink"])


_PARSER = _parser()
