"""``leaderboard.tex``: every table of a report. ``\\input`` it after ``\\usepackage{booktabs}``, or copy one table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import unescape

from bench.report.content import Section, Table, frames
from bench.report.text import DASH

_SIGNS = {
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{c: f"\\{c}" for c in "&%$#_{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''"},
    **{"×": r"$\times$", "±": r"$\pm$", "−": "$-$", "≥": r"$\geq$", "≤": r"$\leq$", DASH: "--", "\n": " "},
    **{"Δ": r"$\Delta$", "τ": r"$\tau$", "²": "$^2$", "∞": r"$\infty$", "→": r"$\rightarrow$", "…": r"\ldots{}"},
}
_MARKED = re.compile(r"`([^`]+)`|\*\*(.+?)\*\*|\*(.+?)\*")
_WITH_INTERVAL = re.compile(r"(.*?)\s*(\[[^\[\]]*\])?", re.DOTALL)


def latex(found: Sequence[Section], about: str, suite: str) -> str:
    """Return all tables, with intervals below their values. ``about`` is the comment at the top.

    Needs the package booktabs and UTF-8, the default encoding of LaTeX since 2018.
    """
    head = f"% {about}".replace("\n", " ")
    tables = [_table(name, table, suite) for name, table in frames(found) if table.rows]
    return "\n".join([head, r"% Needs \usepackage{booktabs}.", *tables])


def escape(text: str) -> str:
    """Return the text with LaTeX's special characters escaped."""
    return "".join(_SIGNS.get(c, c) for c in text)


def _table(name: str, table: Table, suite: str) -> str:
    rows: list[list[str]] = []
    for cells in table.rows:
        above, below = zip(*(_split(c, i < table.left) for i, c in enumerate(cells)), strict=True)
        rows += [list(above)] + ([list(below)] if any(below) else [])
    columns = [marked(head) for head in table.heads]
    frame = Table.of(columns, rows).frame
    caption = f"{escape(suite)}: {escape(table.title or name.replace('-', ' '))}."
    caption += f" {marked(table.caption)}" if table.caption else ""
    label = re.sub(r"[^a-z0-9]+", "-", f"tab-{suite}-{name}".lower()).strip("-").replace("tab-", "tab:", 1)
    layout = "l" * table.left + "c" * (len(columns) - table.left)
    text = str(frame.to_latex(index=False, escape=False, column_format=layout, caption=caption, label=label))
    return text.replace("\\begin{tabular}", "\\centering\\scriptsize\\setlength{\\tabcolsep}{3pt}\n\\begin{tabular}", 1)


def _split(cell: str, words: bool) -> tuple[str, str]:
    """Return a cell such as '**81.2** ± 3.0 [78.0, 84.1]' as LaTeX: its value, and its interval for the line below."""
    found = None if words else _WITH_INTERVAL.fullmatch(cell)
    above, interval = (found[1], found[2] or "") if found and found[1] else (cell, "")
    empty = "{}" if cell.startswith("[") else ""  # LaTeX reads '[' after the end of a row as its argument
    return empty + marked(above), marked(interval)


def marked(text: str) -> str:
    """Convert the code and emphasis marks of a cell to LaTeX and escape the rest."""
    parts, at = [], 0
    for m in _MARKED.finditer(text):
        kind, inner = ("texttt", m[1]) if m[1] else ("textbf", unescape(m[2])) if m[2] else ("emph", unescape(m[3]))
        parts += [escape(unescape(text[at : m.start()])), rf"\{kind}{{{escape(inner)}}}"]
        at = m.end()
    return "".join(parts) + escape(unescape(text[at:]))
