"""Sections as GitHub markdown: the main sections only, the appendix is in the HTML page and the tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.report.content import Block, Section, Table, alt
from bench.report.text import count, table

ROWS = 40  # of a table; the page and the CSV have all


def markdown(title: str, found: Sequence[Section], more: str = "", rows: int = ROWS) -> str:
    """Return the page: title, the answer (a first section of order 0) without a heading, ``more``, other main sections.

    ``more`` says where the rest is. Tables are cut after ``rows`` rows.
    """
    main, parts = [s for s in found if not s.appendix], [f"# {title}\n"]
    after = [f"{more}\n"] if more else []
    for i, section in enumerate(main):
        answer = not i and section.order == 0
        parts += [] if answer else [*(after if not i else ()), f"## {section.title}\n"]
        parts += [text for block in section.blocks for text in _block(block, rows)]
        for path, caption in section.figures.items():
            parts.append(f"![{section.alts.get(path) or alt(path)}]({path})\n\n*{caption}*\n")
        parts += after if answer else []
    return "\n".join(parts)


def _block(block: Block, most: int) -> Iterator[str]:
    if isinstance(block, str):
        yield block if block.endswith("\n") else f"{block}\n"
    elif isinstance(block, Table):
        rows = block.rows
        yield table(block.heads, rows[:most], block.left)
        if len(rows) > most:
            yield f"{count(len(rows) - most, 'more row')}: see the page and the CSV files.\n"
