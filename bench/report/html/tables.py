"""Convert GitHub markdown to HTML with sortable tables and folded blocks; external text is never markup."""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from html import escape, unescape
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict

VERDICTS = ("helps", "hurts", "equivalent", "undecided")
Tokens = Sequence[Token]
Env = MutableMapping[str, Any]

_FOLDED = re.compile(r"^<details><summary>(.*?)</summary>\n(.*?)^</details>$", re.MULTILINE | re.DOTALL)
_NOTE = re.compile(r"^- \*\*(.+?)\*\*: (.*)$", re.MULTILINE)
_ASIDE = re.compile(r"(.*?)((?: ± [\d.]+)?(?: ?\[[^\[\]]*\])?)( \([^()]*\))?", re.DOTALL)
_NUMBER = re.compile(r"([^\w−-]*)([−-]?)(\d[\d,]*(?:\.\d+)?)(?: ± [\d.]+)?\s*(ms|s|min|h|MiB|GiB|k|M)?(?![\w/])")
_UNITS = {"ms": 1e-3, "min": 60.0, "h": 3600.0, "MiB": 2.0**20, "GiB": 2.0**30, "k": 1e3, "M": 1e6}


@dataclass(frozen=True)
class Markdown:
    """Renderer for the blocks of one report. ``notes`` are definitions by column heading.

    ``verdicts`` are CSS classes of cells by their text or its first word.
    """

    notes: Mapping[str, str]
    verdicts: Mapping[str, str] = field(default_factory=lambda: {word: word for word in VERDICTS})

    def block(self, text: str, label: str, undefined: Sequence[str] = (), kind: str = "") -> str:
        """Render markdown; ``label`` names its tables for screen readers, ``kind`` is their CSS class."""
        notes = {} if "*" in undefined else {h: n for h, n in self.notes.items() if h not in undefined}
        env = {"label": label, "notes": notes, "kind": kind, "verdicts": self.verdicts}
        out, at = [], 0
        for m in _FOLDED.finditer(text):
            out.append(_PARSER.render(text[at : m.start()], env))
            inner = _PARSER.render(m[2], env | {"label": f"{label}: {m[1]}"})
            out.append(f"<details><summary>{inline(m[1])}</summary>\n{inner}</details>\n")
            at = m.end()
        return "".join(out) + _PARSER.render(text[at:], env)


def inline(text: str) -> str:
    """Render one line of markdown without a paragraph element."""
    return str(_PARSER.renderInline(text))


def plain(text: str) -> str:
    """Return a line of markdown as plain text."""
    return unescape(re.sub(r"[*`]", "", text))


def definitions(footnotes: str) -> dict[str, str]:
    """Return the definition of each column heading from the footnotes: '- **p, p Holm**: of that test'."""
    found: dict[str, str] = {}
    for heads, text in _NOTE.findall(footnotes):
        for head in re.split(r"[,;] ", heads):
            found.setdefault(head, plain(f"{heads}: {text}"))
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
    """Scrollable tables with scopes, definitions and sort values; no style attributes, which the CSP forbids."""

    def code_inline(self, tokens: Tokens, idx: int, options: OptionsDict, env: Env) -> str:
        return f"<code>{escape(tokens[idx].content).replace('_', '_<wbr>')}</code>"  # allow line breaks in long names

    def table_open(self, tokens: Tokens, idx: int, options: OptionsDict, env: Env) -> str:
        label, kind = escape(plain(env["label"])), f' class="{env["kind"]}"' if env["kind"] else ""
        return f'<div class="scroll" role="region" tabindex="0" aria-label="Table: {label}"><table{kind}>\n'

    def table_close(self, tokens: Tokens, idx: int, options: OptionsDict, env: Env) -> str:
        return "</table></div>\n"

    def th_open(self, tokens: Tokens, idx: int, options: OptionsDict, env: Env) -> str:
        note = definition(plain(tokens[idx + 1].content), env["notes"])
        title = f' title="{escape(note)}"' if note else ""
        return f'<th scope="col"{_classes("num" * _right(tokens[idx]))}{title}>'

    def td_open(self, tokens: Tokens, idx: int, options: OptionsDict, env: Env) -> str:
        if tokens[idx - 1].type == "tr_open":
            return '<th scope="row">'
        cell, text = tokens[idx + 1], plain(tokens[idx + 1].content)
        found = env["verdicts"].get(text) or env["verdicts"].get(text.partition(" ")[0])
        verdict = f"verdict {found}" if found else ""
        if not _right(tokens[idx]):
            return f"<td{_classes(verdict)}>"
        value = sort_value(text)
        cell.children = _with_aside(cell.children or [])
        known = f' data-v="{value:g}"' if value is not None else ""
        return f"<td{_classes('num', verdict)}{known}>"

    def td_close(self, tokens: Tokens, idx: int, options: OptionsDict, env: Env) -> str:
        return "</th>\n" if tokens[idx - 3].type == "tr_open" else "</td>\n"


def _right(token: Token) -> bool:
    return "right" in str(token.attrGet("style") or "")


def _classes(*names: str) -> str:
    found = " ".join(filter(None, names))
    return f' class="{found}"' if found else ""


def _with_aside(children: list[Token]) -> list[Token]:
    """Set the spread and interval at the end of a cell, or text in brackets, in small print."""
    if not children or children[-1].type != "text":
        return children
    found = _ASIDE.fullmatch(children[-1].content)
    if found is None or not (found[2] or found[3]):
        return children
    out = [*children[:-1], _text(found[1])]
    if found[2]:
        out += _small(found[2].strip(), "below" if found[1].strip() or len(children) > 1 else "")
    if found[3]:
        out += _small(found[3])
    return out


def _small(text: str, kind: str = "") -> list[Token]:
    attrs: dict[str, str | int | float] = {"class": kind} if kind else {}
    return [Token("small_open", "small", 1, attrs=attrs), _text(text), Token("small_close", "small", -1)]


def _text(content: str) -> Token:
    return Token("text", "", 0, content=content)


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}, renderer_cls=_Renderer)
    return parser.enable("table").disable(["image", "autolink"])


_PARSER = _parser()
