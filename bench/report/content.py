"""What a report consists of: sections of notes, tables and figures, written once and rendered to each format.

Renderers: ``markdown``, ``html`` (jinja2 templates), ``latex`` and ``tables`` (CSV). Notes and cells are GitHub
markdown; external text in them is escaped by ``text.literal`` or ``text.code``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from typing import TYPE_CHECKING

from bench.report.text import DASH

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Table:
    """A table of text cells; the first ``left`` columns contain words, the others numbers.

    ``title`` names it for screen readers, in LaTeX, and as a file. Readers of the HTML page can filter by ``filters``,
    which are columns, and search. ``caption`` follows the title in LaTeX.
    """

    frame: pd.DataFrame
    left: int = 1
    title: str = ""
    filters: tuple[str, ...] = ()
    caption: str = ""

    @classmethod
    def of(cls, heads: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1, title: str = "") -> Table:
        """Return a table of rows of text under ``heads``, which may repeat."""
        import pandas as pd

        return cls(pd.DataFrame([list(row) for row in rows], columns=list(heads), dtype=object), left, title)

    @classmethod
    def by_column(
        cls, columns: Mapping[str, Sequence[str]], left: int = 1, title: str = "", keep_empty: bool = True
    ) -> Table:
        """Return a table of equally long columns of text; ``keep_empty`` False drops those with dashes only."""
        kept = {h: texts for h, texts in columns.items() if keep_empty or set(texts) - {DASH, ""}}
        return cls.of(list(kept), zip(*kept.values(), strict=True), left, title)

    @property
    def heads(self) -> list[str]:
        """The headings of the columns."""
        return list(self.frame.columns)

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The rows as text."""
        return list(self.frame.itertuples(index=False, name=None))

    def without(self, *heads: str) -> Table:
        """Return the table without these columns; ``left`` counts those that remain."""
        left = sum(h not in heads for h in self.heads[: self.left])
        return replace(self, frame=self.frame.drop(columns=[h for h in heads if h in self.frame]), left=left)


@dataclass(frozen=True)
class Details:
    """Blocks that are collapsed under their title in report.html and left out of leaderboard.md."""

    title: str
    blocks: tuple[Block, ...]


Block = str | Table | Details


@dataclass(frozen=True)
class Section:
    """A section of a report: blocks, figures, and definitions of the terms and columns that it uses.

    ``order`` places it; with ``appendix`` it is collapsed in report.html and left out of leaderboard.md. ``claims`` are
    patterns of figure paths, ``figures`` the captions of the matching figures by path, ``alts`` their alternative texts
    if the file name is not enough. ``beside``: on a wide screen the figures are beside the blocks.
    """

    title: str
    blocks: tuple[Block, ...] = ()
    order: int = 0
    appendix: bool = True
    definitions: Mapping[str, str] = field(default_factory=dict)
    claims: tuple[str, ...] = ()
    figures: Mapping[str, str] = field(default_factory=dict)
    alts: Mapping[str, str] = field(default_factory=dict)
    beside: bool = False

    @property
    def tables(self) -> Iterator[Table]:
        """The tables of the section, also those in collapsed blocks."""
        yield from _tables(self.blocks)


def _tables(blocks: Sequence[Block]) -> Iterator[Table]:
    for block in blocks:
        if isinstance(block, Table):
            yield block
        elif isinstance(block, Details):
            yield from _tables(block.blocks)


def charts(*names: str) -> tuple[str, ...]:
    """Return the path patterns of all pages of these charts."""
    return tuple(pattern for name in names for pattern in (f"charts/{name}.png", f"charts/{name}_[0-9]*.png"))


def placed(found: Iterable[Section], figures: Mapping[str, str], rest: str, order: int) -> list[Section]:
    """Return the sections in order, each figure in the first that claims it; the rest are in a last one, ``rest``."""
    left, done = dict(figures), []
    for section in sorted(found, key=lambda s: s.order):
        mine = [path for claim in section.claims for path in left if fnmatch(path, claim)]
        done.append(replace(section, figures={path: left.pop(path) for path in dict.fromkeys(mine)} or section.figures))
    done.append(Section(rest, order=order, figures=left))
    return sorted((s for s in done if s.blocks or s.figures), key=lambda s: s.order)


def alt(path: str) -> str:
    """Return a short alternative text of a figure: 'chart: forest'."""
    kind, _, name = path.removesuffix(".png").rpartition("/")
    return f"{kind.removesuffix('s') or 'figure'}: {name.replace('_', ' ')}"


def listed(notes: Mapping[str, str]) -> str:
    """Return terms and texts as a markdown list: '- **Arm**: …'."""
    return "".join(f"- **{head}**: {text}\n" for head, text in notes.items())


def frames(found: Iterable[Section]) -> Iterator[tuple[str, Table]]:
    """Yield the tables of all sections with a name of their own, such as 'leaderboard' or 'cost-2'."""
    seen: dict[str, int] = {}
    for section in found:
        for table in section.tables:
            name = slug(table.title or section.title)
            seen[name] = seen.get(name, 0) + 1
            yield (name if seen[name] == 1 else f"{name}-{seen[name]}"), table


def slug(title: str) -> str:
    """Return a title as an anchor or a file name: 'Cost of the generators' -> 'cost-of-the-generators'."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60].strip("-") or "section"
