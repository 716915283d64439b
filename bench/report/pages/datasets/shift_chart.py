"""Chart of a shift: accuracy in- and out-of-distribution of each arm, performance drop, and change of the gain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.analysis.datasets.shift import Compared, Shifted
from bench.report.charts.style import BLACK, GREY, ORANGE, VERDICT, figure

COLUMNS = ("balanced accuracy (%)", "out- − in-distribution (points)", "change of the gain (points)")
CAPTION = (
    "Left: patient-level balanced accuracy of each arm, in-distribution (circle) and out-of-distribution (orange "
    "square). Middle: performance drop under the shift, the paired difference with its 95 % interval. Right: change of "
    "the gain over `none` under the shift{from_scratch}. Green: above 0; vermilion: below; blue: equivalent; black: "
    "undecided; shaded: the equivalence margin. Arrowheads: the interval extends beyond the axis."
)
FROM_SCRATCH = ", and (hollow diamond) of the difference to the from-scratch counterpart"
ALT = "Accuracy of every arm in- and out-of-distribution, and the paired difference; numbers are in the table"


def shift_caption(found: Sequence[Shifted]) -> str:
    """Return the caption; from-scratch counterparts are explained only if there are any."""
    return CAPTION.format(from_scratch=FROM_SCRATCH if any(s.of("from_scratch") for s in found) else "")


def draw_shift(found: Sequence[Shifted], path: Path) -> bool:
    """Draw one row of panels for each shift and classifier; False if there is no data."""
    blocks = [(s, c) for s in found for c in dict.fromkeys(x.classifier for x in s.of("price"))]
    if not blocks:
        return False
    most = max(len(s.of("price", c)) for s, c in blocks)
    inches = 0.5 + len(blocks) * (0.85 + 0.24 * most)
    with figure(path, len(blocks), 3, 8.6, inches) as (fig, axes):
        for row, (s, c) in zip(axes, blocks, strict=True):
            _block(row, s, c)
        fig.legend(
            handles=_handles(any(s.of("from_scratch") for s in found)),
            loc="outside upper center",
            ncols=4,
            handlelength=1.2,
        )
    return True


def _block(axes: Sequence[Any], s: Shifted, classifier: str) -> None:
    drops = s.of("price", classifier)
    at = {x.arm: i for i, x in enumerate(drops)}
    for ax in axes:
        ax.set_ylim(len(drops) - 0.4, -0.6)
        ax.set_yticks([])
    for x in drops:
        y = at[x.arm]
        axes[0].text(-0.03, y, x.arm.label, transform=axes[0].get_yaxis_transform(), ha="right", va="center")
        axes[0].plot([100 * x.within, 100 * x.across], [y, y], color=GREY, lw=1.0)
        axes[0].plot(100 * x.within, y, "o", color=BLACK, mfc="white", ms=6)
        axes[0].plot(100 * x.across, y, "s", color=ORANGE, ms=4)
    shift = f"{s.attribute} {', '.join(s.within)} → {', '.join(s.across)}"
    axes[0].set_title(f"{classifier}, {shift}", fontsize=9, loc="left")
    changes = [(x, 0.0, "o", False) for x in s.of("gain", classifier)]
    changes += [(x, 0.22, "D", True) for x in s.of("from_scratch", classifier)]
    _differences(axes[1], [(x, 0.0, "o", False) for x in drops], at, s.margin)
    _differences(axes[2], changes, at, s.margin)
    for ax, label in zip(axes, COLUMNS, strict=True):
        ax.set_xlabel(label, fontsize=8)
        ax.locator_params(axis="x", nbins=6)


def _differences(
    ax: Any, shown: Sequence[tuple[Compared, float, str, bool]], at: dict[Any, int], margin: float
) -> None:
    """Draw differences with intervals, each at an offset below its arm's row, with a filled or hollow marker."""
    means = 100 * max((abs(x.found.difference) for x, *_ in shown), default=0.0)
    ends = [100 * abs(e) for x, *_ in shown for e in (x.found.low, x.found.high) if math.isfinite(e)]
    limit = max(1.15 * means, min(1.08 * max(ends, default=0.0), max(3.5 * means, 10.0)), 3.0)
    ax.axvspan(-100 * margin, 100 * margin, color="#eef3f7", lw=0)
    ax.axvline(0, color=GREY, lw=0.8)
    for x, below, marker, hollow in shown:
        y, colour = at[x.arm] + below, VERDICT[x.found.word]
        low, high = 100 * x.found.low, 100 * x.found.high
        if math.isfinite(low):
            ax.hlines(y, max(low, -limit), min(high, limit), color=colour, lw=1.3)
            for end, sign, arrow in ((low, -1, "<"), (high, 1, ">")):
                if sign * end > limit:
                    ax.plot(sign * limit * 0.985, y, arrow, color=colour, ms=3.5, clip_on=False)
        ax.plot(100 * x.found.difference, y, marker, color=colour, mfc="white" if hollow else colour, ms=4.2, zorder=3)
    ax.set(xlim=(-limit, limit))


def _handles(ablation_pairs: bool) -> list[Any]:
    from matplotlib.lines import Line2D

    looks = [
        ("in-distribution", "o", BLACK, "white"),
        ("out-of-distribution", "s", ORANGE, ORANGE),
        ("performance drop, and change of the gain", "o", GREY, GREY),
    ]
    looks += [("change of the from-scratch difference", "D", GREY, "white")] if ablation_pairs else []
    return [
        Line2D([], [], color=edge, marker=marker, mfc=face, lw=0, ms=4.5, label=label)
        for label, marker, edge, face in looks
    ]
