"""Figure style: Okabe–Ito palette, print sizes, reproducible PNG files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench.files import atomic_path
from bench.suite.arms import Arm

BLACK, GREY = "#000000", "#8a8a8a"
ORANGE, SKY, GREEN = "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
CYCLE: Final = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, BLACK)  # yellow is too faint for lines in print
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h", "*", "p")
LINES: Final = ("-", "--", ":", "-.")
MARGIN: Final = "#e3ebf2"  # band of equivalence
DPI: Final = 160
LABEL: Final = 8.5  # points, for labels of a whole figure


class Look(NamedTuple):
    """Line style of one arm: no two arms of a figure share dashes or markers."""

    colour: str
    dashes: Any
    marker: str


COLOURS: Final = (  # of methods, in the suite's order; `none` is black
    *(BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY),
    *("#882255", "#999933", "#661100", "#332288", "#44AA99", "#DDCC77"),  # Tol's muted palette
)
DASHES: Final = (
    "-",
    (0, (5, 1.5)),
    (0, (6, 1.5, 1.5, 1.5)),
    (0, (1.2, 1.2)),
    (0, (6, 1.2, 1.2, 1.2, 1.2, 1.2)),
    (0, (10, 2)),
)

RC: Final[Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.labelsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "text.parse_math": False,  # a class may be called '$x_1$'
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.2,
    "savefig.dpi": DPI,
    "figure.dpi": DPI,
}


def method_looks(methods: Sequence[str]) -> dict[str, Look]:
    """Return the look of every method from the suite's order: its colour is the same in all charts of a report.

    `none` is a solid black line. No two methods share colour and marker, or colour and dashes, up to 60 methods.
    """
    others = [m for m in methods if m != "none"]
    found = {
        m: Look(
            COLOURS[i % len(COLOURS)],
            DASHES[1 + i % (len(DASHES) - 1)],
            MARKERS[(1 + i + i // len(COLOURS)) % len(MARKERS)],
        )
        for i, m in enumerate(others)
    }
    return {"none": Look(BLACK, DASHES[0], MARKERS[0])} | found


def arm_looks(arms: Sequence[Arm], methods: Sequence[str]) -> dict[Arm, Look]:
    """Return the line style of a few arms of a figure: the colour of the method, and dashes and a marker of its own."""
    colours = method_looks(methods)
    ordered = sorted(arms, key=lambda arm: arm.method != "none")
    return {
        arm: Look(colours[arm.method].colour, DASHES[i % len(DASHES)], MARKERS[i % len(MARKERS)])
        for i, arm in enumerate(ordered)
    }


def legend_columns(names: Sequence[str], width: float, most: int = 5) -> int:
    """Return how many legend columns fit into this width in inches."""
    return max(1, min(most, len(names), int(width / (0.75 + 0.068 * max(map(len, names))))))


def plain_log(axis: Any) -> None:
    """Label a logarithmic axis 0.5, 1, 2, 5, 10 … instead of by powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    low, high = axis.get_view_interval()
    wide = high > 100 * low  # more than two decades: powers of ten only, so that labels do not overlap
    axis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0), numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axis.set_minor_locator(NullLocator())


@contextmanager
def figure(
    path: Path, rows: int, columns: int, width: float, height: float, **options: Any
) -> Iterator[tuple[Any, Any]]:
    """Yield a figure (inches) and its axes [rows, columns], and save it as PNG without date and version."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(RC):
        fig = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(fig)
        yield fig, fig.subplots(rows, columns, squeeze=False, **options)
        save(fig, path)


def save(fig: Any, path: Path) -> None:
    """Write a finished figure. All charts use this function, so that tests can inspect them."""
    with atomic_path(path) as temporary:
        fig.savefig(temporary, metadata={"Software": None})


def arm_axis(ax: Any, arms: Sequence[Arm], named: bool) -> None:
    """Set up one row for each arm, named at the left if ``named``; as text, which is ten times faster than ticks."""
    ax.set_ylim(len(arms) - 0.4, -0.6)
    ax.set_yticks([])
    for y, arm in enumerate(arms if named else ()):
        ax.text(-0.015, y, arm.label, transform=ax.get_yaxis_transform(), ha="right", va="center")
    ax.locator_params(axis="x", nbins=8)
