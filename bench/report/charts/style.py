"""Figure style: Okabe–Ito palette, print sizes, reproducible PNG files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench.files import atomic_path
from bench.suite.arms import Arm

BLACK, GREY = "#000000", "#8a8a8a"
ORANGE, SKY, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
CYCLE: Final = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, BLACK)  # yellow is too faint for lines in print
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h", "*", "p")
LINES: Final = ("-", "--", ":", "-.")
VERDICT: Final = {"helps": GREEN, "hurts": VERMILLION, "equivalent": BLUE, "undecided": BLACK}
DPI: Final = 160
LABEL: Final = 8.5  # points, for labels of a whole figure


class Look(NamedTuple):
    """Line style of one arm: no two arms of a figure share dashes or markers."""

    colour: str
    dashes: Any
    marker: str


LOOKS: Final = (
    Look(BLACK, "-", "o"),
    Look(ORANGE, (0, (5, 1.5)), "s"),
    Look(BLUE, (0, (6, 1.5, 1.5, 1.5)), "^"),
    Look(VERMILLION, (0, (1.2, 1.2)), "D"),
    Look(GREEN, (0, (6, 1.2, 1.2, 1.2, 1.2, 1.2)), "v"),
    Look(PURPLE, (0, (10, 2)), "P"),
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


def method_marks(methods: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return a colour and a marker for each method; no two methods share both."""
    return {m: (CYCLE[i % len(CYCLE)], MARKERS[i % len(MARKERS)]) for i, m in enumerate(methods)}


def arm_looks(arms: Sequence[Arm]) -> dict[Arm, Look]:
    """Return the line style of at most ``len(LOOKS)`` arms; `none` is a solid black line."""
    ordered = sorted(arms, key=lambda arm: arm.method != "none")
    return dict(zip(ordered, LOOKS, strict=False))


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
