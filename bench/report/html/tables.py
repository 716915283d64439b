"""GitHub markdown as HTML: tables that a script can sort, folded blocks, and nothing from the data that is markup."""

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
    """Renders blocks of one report. ``notes`` define columns, by head.

    ``verdicts`` are the CSS classes of cells by what they say, all of it or its first word.
    """

    notes: Mapping[str, str]
    verdicts: Mapping[str, str] = field(default_factory=lambda: {word: word for word in VERDICTS})

    def block(self, text: str, label: str, undefined: Sequence[str] = (), kind: str = "") -> str:
        """Render markdown; ``label`` names its tables for screen readers, ``kind`` is their class."""
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
    """Render a line of markdown without a paragraph around it."""
    return str(_PARSER.renderInline(text))


def plain(text: str) -> str:
    """Return a line of markdown without its marks."""
    return unescape(re.sub(r"[*`]", "", text))


def definitions(footnotes: str) -> dict[str, str]:
    """Return what each column means, by its head, from the footnotes' list: '- **p, p Holm**: of that test'."""
    found: dict[str, str] = {}
    for heads, text in _NOTE.findall(footnotes):
        for head in re.split(r"[,;] ", heads):
            found.setdefault(head, plain(f"{heads}: {text}"))
    return found


def definition(head: str, notes: Mapping[str, str]) -> str:
    """Return the note of a column: that of its own name, or of the longest that its name begins with; '' for none."""
    known = [h for h in notes if head == h or head.startswith((f"{h} ", f"{h},"))]
    return notes[max(known, key=len)] if known else ""


def sort_value(text: str) -> float | None:
    """Return what a cell sorts by: its first number in seconds or bytes, None without one. 'never' is beyond all."""
    text = plain(text).rpartition(" = ")[2]  # of '15/20 = 0.75' the share
    if text.startswith("never"):
        return 1e300
    found = _NUMBER.match(text)
    if found is None:
        return None
    value = float(found[3].replace(",", "")) * _UNITS.get(found[4] or "", 1.0)
    return -value if found[2] else value


class _Renderer(RendererHTML):
    """Tables in a box that scrolls, with scopes, definitions and sort values; no style attributes: CSP forbids them."""

    def code_inline(self, tokens: Tokens, idx: int, options: OptionsDict, env: Env) -> str:
        return f"<code>{escape(tokens[idx].content).replace('_', '_<wbr>')}</code>"  # long names break there

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
    """Put the spread and the interval at the end of a cell, or what stands in brackets, into small print."""
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
