"""Formatting for all reports: numbers, GitHub tables, and escaping of Markdown."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from html import unescape

DASH = "–"  # shown for an unknown number
# Characters that Markdown or HTML may interpret as markup; an underscore inside a word is harmless.
_MARKUP = re.compile(r"[&<>|$`*~\\\[\]]|(?<![^\W_])_|_(?![^\W_])|(?<=www)\.|:(?=//)|^\s*[-+=#]|(?<=^\d)[.)]")


def literal(text: str) -> str:
    """Return Markdown that shows an external text, such as a class name, literally.

    Markup characters become numeric HTML entities, which GitHub, Markdown and ``html.unescape`` decode.
    """
    return _MARKUP.sub(lambda m: f"{m[0][:-1]}&#{ord(m[0][-1])};", " ".join(text.split("\n")))


def code(text: str) -> str:
    """Return an external text as inline Markdown code; backticks in it are handled."""
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{' '.join(text.split(chr(10)))}{pad}{fence}"


def percent(value: float) -> str:
    """0.8123 -> '81.2'."""
    return f"{100 * value:.1f}" if math.isfinite(value) else DASH


def points(value: float) -> str:
    """Format a difference of two shares in percentage points with its sign: -0.0123 -> '−1.2'."""
    if not math.isfinite(value):
        return DASH
    text = f"{100 * value:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", "−")


def interval(low: float, high: float, signed: bool = False) -> str:
    """'[78.0, 84.1]', or '' without an interval."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    show = points if signed else percent
    return f"[{show(low)}, {show(high)}]"


def number(value: float) -> str:
    """Format with three significant digits, without an exponent: 0.0412, 153, 2.5."""
    if not math.isfinite(value):
        return DASH
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 6)}f}".replace("-", "−")


def signed(value: float) -> str:
    """Format as ``number``, with the sign of a positive value too: '+0.0412', '−2.50', '0'."""
    return ("+" if value > 0 else "") + number(value)


def with_interval(value: float, low: float, high: float, show: Callable[[float], str]) -> str:
    """'+2.1 [−0.3, +4.5]'; without an interval only the value, a dash if it is unknown."""
    if not math.isfinite(value):
        return DASH
    return show(value) + (f" [{show(low)}, {show(high)}]" if math.isfinite(low) and math.isfinite(high) else "")


def mean_sd(mean: float, sd: float, show: Callable[[float], str]) -> str:
    """'81.2 ± 3.0', or only the mean of one value."""
    return show(mean) + (f" ± {show(sd)}" if math.isfinite(sd) else "")


def p_value(value: float) -> str:
    """Format with two significant digits, not below 0.001: 0.34, 0.012, '< 0.001'."""
    if not math.isfinite(value):
        return DASH
    return "< 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.0995 else f"{value:.2f}"


def count_of(value: float) -> str:
    """Format a mean count without decimals."""
    return f"{value:.0f}" if math.isfinite(value) else DASH


def seconds(value: float) -> str:
    """'0.4 s', '38 s', '12.5 min', '3.2 h'."""
    if not math.isfinite(value):
        return DASH
    if value < 10:
        return f"{value:.1f} s"
    if value < 120:
        return f"{value:.0f} s"
    return f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:.1f} h"


def size(value: float) -> str:
    """Format bytes as '812 MiB' or '3.4 GiB'."""
    if not math.isfinite(value):
        return DASH
    return f"{value / 2**20:.0f} MiB" if value < 2**30 else f"{value / 2**30:.1f} GiB"


def join(names: Iterable[str], last: str = "and") -> str:
    """'a', 'a and b', 'a, b and c'."""
    words = list(names)
    return f" {last} ".join(words) if len(words) < 3 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def count(n: int, one: str, many: str | None = None) -> str:
    """'1 pair', '3 pairs'."""
    return f"{n} {one if n == 1 else many or one + 's'}"


def fold_name(pair: tuple[int, int]) -> str:
    """'2', or with a repeat other than the first '2.1'."""
    fold, repeat = pair
    return f"{fold}" + (f".{repeat}" if repeat else "")


def folds_named(pairs: Sequence[tuple[int, int]], is_curve: bool = False) -> str:
    """'fold 2', 'folds 0, 1 and 2.1'; in a learning curve 'set 2'."""
    return f"{'set' if is_curve else 'fold'}{'s' * (len(pairs) != 1)} {join(map(fold_name, pairs))}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Return a GitHub table; the first ``left`` columns are aligned left, the others right."""
    lines = [list(map(_cell, header)), ["---" if i < left else "---:" for i in range(len(header))]]
    lines += [[_cell(c) for c in row] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def plain(text: str) -> str:
    """Return a line of markdown as plain text."""
    return unescape(re.sub(r"[*`]", "", text))


def bold_best(
    values: Sequence[float], texts: Sequence[str], eligible: Sequence[bool], lowest: bool = False
) -> list[str]:
    """Return ``texts`` with the best eligible value bold, and ties in print; none is bold if all are equal."""
    known = [v for v, ok in zip(values, eligible, strict=True) if ok and math.isfinite(v)]
    if not known or (len(known) > 1 and min(known) == max(known)):
        return list(texts)
    best = min(known) if lowest else max(known)
    winners = {t for v, t, ok in zip(values, texts, eligible, strict=True) if ok and v == best}
    return [f"**{t}**" if t in winners and ok else t for t, ok in zip(texts, eligible, strict=True)]
