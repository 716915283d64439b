"""Output of a comparison on a terminal and as a markdown file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rich import table as rich_table
from rich.console import Console
from rich.text import Text

from bench.report.content import Section, Table
from bench.report.markdown import markdown
from bench.report.text import plain

WORDS = {
    "better": "green",
    "worse": "red",
    "equivalent": "cyan",
    "identical": "dim",
    "same mean": "dim",
    "not paired": "yellow",
}
MOST = 40  # rows of a table in a terminal
SHORT = 1 / 3  # of the terminal's width: text up to this length is not wrapped


def print_sections(sections: Sequence[Section], console: Console) -> None:
    """Print the sections without the appendix, with at most ``MOST`` rows in each table."""
    for section in (s for s in sections if not s.appendix):
        console.print(Text(plain(section.title), style="bold"))
        for block in section.blocks:
            if isinstance(block, Table):
                console.print(_as_table(block, console.width))
                if len(block.rows) > MOST:
                    console.print(Text(f"… and {len(block.rows) - MOST} more: see --markdown FILE"))
            else:
                console.print(Text(plain(str(block))))
        console.print()


def _as_table(table: Table, width: int) -> rich_table.Table:
    """Return a table in which long text wraps and numbers do not."""
    found = rich_table.Table(box=None, pad_edge=False, header_style="dim")
    rows = [[plain(cell) for cell in row] for row in table.rows]
    for i, name in enumerate(table.heads):
        words = i < table.left
        short = max(len(row[i]) for row in rows) <= SHORT * width
        whole = not words or (short and table.left == len(table.heads))  # next to numbers, text columns shrink
        found.add_column(plain(name), justify="left" if words else "right", no_wrap=whole, overflow="fold")
    for row in rows[:MOST]:
        found.add_row(*(Text(cell, style=WORDS.get(cell, "")) for cell in row))
    return found


def as_markdown(sections: Sequence[Section]) -> str:
    """Return the whole comparison as GitHub markdown."""
    return markdown(sections[0].title, [replace(s, appendix=False) for s in sections], rows=10**6)
