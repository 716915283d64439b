"""Chart of a shift: accuracy in- and out-of-distribution of each arm, performance drop, and change of the gain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.analysis.datasets.shift import Compared, Shifted
from bench.report.charts.forest import Mark, Panel, draw_panel
from bench.report.charts.style import BLACK, GREY, ORANGE, figure, method_looks

COLUMNS = ("balanced accuracy (%)", "out- − in-distribution (points)", "change of the gain (points)")
CAPTION = (
    "Left: patient-level balanced accuracy of each arm, in-distribution (circle) and out-of-distribution (orange "
    "square). Middle: performance drop under the shift, the paired difference with its 95 % interval. Right: change of "
    "the gain over `none` under the shift{from_scratch}. Filled: decided; shaded: the equivalence margin."
)
FROM_SCRATCH = ", and (diamond) of the difference to the from-scratch counterpart"
ALT = "Accuracy of every arm in- and out-of-distribution, and the paired difference; numbers are in the table"


def shift_caption(found: Sequence[Shifted]) -> str:
    """Return the caption; from-scratch counterparts are explained only if there are any."""
    return CAPTION.format(from_scratch=FROM_SCRATCH if any(s.of("from_scratch") for s in found) else "")


def draw_shift(found: Sequence[Shifted], path: Path) -> bool:
    """Draw one row of panels for each shift and classifier; False if there is no data."""
    blocks = [(s, c) for s in found for c in dict.fromkeys(x.classifier for x in s.of("performance_drop"))]
    if not blocks:
        return False
    most = max(len(s.of("performance_drop", c)) for s, c in blocks)
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
    drops = s.of("performance_drop", classifier)
    at = {x.arm: i for i, x in enumerate(drops)}
    for ax in axes:
        ax.set_ylim(len(drops) - 0.4, -0.6)
        ax.set_yticks([])
    for x in drops:
        y = at[x.arm]
        axes[0].text(-0.03, y, x.arm.label, transform=axes[0].get_yaxis_transform(), ha="right", va="center")
        axes[0].plot([100 * x.in_distribution, 100 * x.out_of_distribution], [y, y], color=GREY, lw=1.0)
        axes[0].plot(100 * x.in_distribution, y, "o", color=BLACK, mfc="white", ms=6)
        axes[0].plot(100 * x.out_of_distribution, y, "s", color=ORANGE, ms=4)
    shift = f"{s.attribute} {', '.join(s.in_distribution)} → {', '.join(s.out_of_distribution)}"
    axes[0].set_title(f"{classifier}, {shift}", fontsize=9, loc="left")
    colours = {label: look.colour for label, look in method_looks([x.arm.label for x in drops]).items()}
    changes = [_mark(x, at[x.arm], "o", colours) for x in s.of("gain", classifier)]
    changes += [_mark(x, at[x.arm] + 0.25, "D", colours) for x in s.of("from_scratch", classifier)]
    draw_panel(axes[1], Panel("", "", [_mark(x, at[x.arm], "o", colours) for x in drops], 100 * s.margin))
    draw_panel(axes[2], Panel("", "", changes, 100 * s.margin))
    for ax, label in zip(axes, COLUMNS, strict=True):
        ax.set_xlabel(label, fontsize=8)
        ax.locator_params(axis="x", nbins=6)


def _mark(x: Compared, y: float, shape: str, colours: Mapping[str, str]) -> Mark:
    found = x.found
    ends = (100 * found.difference, 100 * found.low, 100 * found.high)
    return Mark(y, *ends, colours[x.arm.label], shape, found.word != "undecided")


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
