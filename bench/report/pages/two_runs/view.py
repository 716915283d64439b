"""Output of a comparison on a terminal and as a markdown file."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.report.pages.two_runs.page import Block
from bench.report.text import folded, literal, table

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


def print_blocks(blocks: Sequence[Block], console: Console) -> None:
    """Print the blocks without details, with at most ``MOST`` rows in each table."""
    for block in (b for b in blocks if not b.detail):
        console.print(Text(block.title, style="bold"))
        for line in block.lines:
            console.print(Text(line))
        if block.rows:
            console.print(_as_table(block, console.width))
            if len(block.rows) > MOST:
                console.print(Text(f"… and {len(block.rows) - MOST} more: see --markdown FILE"))
        console.print()


def _as_table(block: Block, width: int) -> Table:
    """Return a table in which long text wraps and numbers do not."""
    found = Table(box=None, pad_edge=False, header_style="dim")
    for i, name in enumerate(block.header):
        words = i < block.left
        short = max(len(row[i]) for row in block.rows) <= SHORT * width
        whole = not words or (short and block.left == len(block.header))  # next to numbers, text columns shrink
        found.add_column(name, justify="left" if words else "right", no_wrap=whole, overflow="fold")
    for row in block.rows[:MOST]:
        found.add_row(*(Text(cell, style=WORDS.get(cell, "")) for cell in row))
    return found


def as_markdown(blocks: Sequence[Block]) -> str:
    """Return the whole comparison as GitHub markdown; details are folded."""
    parts = []
    for i, block in enumerate(blocks):
        body = [f"{literal(line)}\n" for line in block.lines]
        body += [table(block.header, [list(map(literal, row)) for row in block.rows], block.left)] if block.rows else []
        text = "\n".join(body)
        title = f"{'#' if i == 0 else '##'} {literal(block.title)}\n"
        parts.append(folded(literal(block.title), text) if block.detail else f"{title}\n{text}")
    return "\n".join(parts)
