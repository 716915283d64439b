"""``leaderboard.tex``: one booktabs table for each classifier. ``\\input`` it after ``\\usepackage{booktabs}``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import unescape

from bench.analysis.info import ReportInfo
from bench.analysis.lines import Line
from bench.analysis.report import Records
from bench.report.sections.board import arm_columns
from bench.report.sections.leaderboard import sort_lines
from bench.report.text import DASH

_SIGNS = {
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{c: f"\\{c}" for c in "&%$#_{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''"},
    **{"×": r"$\times$", "±": r"$\pm$", "−": "$-$", "≥": r"$\geq$", "≤": r"$\leq$", DASH: "--", "\n": " "},
}
_MARKED = re.compile(r"`([^`]+)`|\*\*(.+?)\*\*")
_WITH_INTERVAL = re.compile(r"(.*?)\s*(\[[^\[\]]*\])?", re.DOTALL)


def latex(records: Records, info: ReportInfo) -> str:
    """Return one table for each classifier: verdict, difference to none and scores, with intervals below.

    Needs the package booktabs and UTF-8, the default encoding of LaTeX since 2018.
    """
    head = f"% {info.suite}: {info.command or 'bench report'}, commit {info.git_commit or 'unknown'}".replace("\n", " ")
    tables = [_table(c, [x for x in records.lines if x.classifier == c], info) for c in info.classifiers]
    return "\n".join([head, r"% Needs \usepackage{booktabs}.", *tables])


def escape(text: str) -> str:
    """Return the text with LaTeX's special characters escaped."""
    return "".join(_SIGNS.get(c, c) for c in text)


def _table(classifier: str, lines: Sequence[Line], info: ReportInfo) -> str:
    columns = arm_columns(sort_lines(lines))
    rows = [" & ".join(map(escape, columns)) + r" \\", r"\midrule"]
    for cells in zip(*columns.values(), strict=True):
        above, below = zip(*(_split(c) for c in cells), strict=True)
        rows.append(" & ".join(above) + r" \\")
        if any(below):
            rows.append(" & ".join(below) + r" \\[2pt]")
    positive = f" Positive class: {escape(info.positive_class)}." if info.positive_class else ""
    caption = (
        f"{escape(info.suite)} on {escape(info.dataset)}, classifier {escape(classifier)}: scores {info.unit.each} in "
        rf"\%, mean $\pm$ sd over pairs (fold $\times$ repeat), 95\,\% interval over {info.unit.groups} below; "
        r"verdict and "
        r"paired difference in points of balanced accuracy to no augmentation, with its 95\,\% interval."
        f"{positive}"
    )
    label = re.sub(r"[^a-z0-9]+", "-", f"{info.suite}-{classifier}".lower()).strip("-")
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{caption}}}",
            rf"\label{{tab:{label}}}",
            r"\centering\scriptsize\setlength{\tabcolsep}{3pt}",
            rf"\begin{{tabular}}{{ll{'c' * (len(columns) - 2)}}}",
            r"\toprule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _split(cell: str) -> tuple[str, str]:
    """Return a cell such as '**81.2** ± 3.0 [78.0, 84.1]' as LaTeX: its value, and its interval for the line below."""
    found = _WITH_INTERVAL.fullmatch(cell)
    above, interval = (found[1], found[2] or "") if found else (cell, "")
    return _marked(above), _marked(interval)


def _marked(text: str) -> str:
    """Convert the code and bold marks of a cell to LaTeX and escape the rest."""
    parts, at = [], 0
    for m in _MARKED.finditer(text):
        command = rf"\texttt{{{escape(m[1])}}}" if m[1] else rf"\textbf{{{escape(unescape(m[2]))}}}"
        parts += [escape(unescape(text[at : m.start()])), command]
        at = m.end()
    return "".join(parts) + escape(unescape(text[at:]))
