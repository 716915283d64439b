"""The stored baseline: a readable JSON file with one sorted row per line, suitable for line-by-line diffs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.check.rows import KINDS, Row, Value
from bench.check.tolerance import (
    FACTOR,
    LEAST,
    MEAN_LEAST,
    MOST,
    MOST_RELATIVE,
    RELATIVE,
    TIME_ELSEWHERE,
    TIME_SAME,
    WORK_ELSEWHERE,
    WORK_SAME,
)
from bench.config import to_plain
from bench.errors import ConfigError
from bench.files import write_atomic
from bench.suite.suite import Suite

SCHEMA = 2
DIGITS = 7  # significant, of values; of tolerances and spreads 3
NAMED = 5  # maximum number of changed settings in a message
RULE = {
    "factor": FACTOR,
    "relative_least": RELATIVE,
    "absolute_least": LEAST,
    "most": {"share": MOST, "other": MOST_RELATIVE},
    "mean_least": MEAN_LEAST,
    "step_time": {"same_machine": TIME_SAME, "elsewhere": TIME_ELSEWHERE},
    "step_work": {"same_machine": WORK_SAME, "elsewhere": WORK_ELSEWHERE},
}
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Expected:
    """A row of the baseline: its value, its tolerance, and the measured spread."""

    row: Row
    tolerance: float
    spread: float


@dataclass(frozen=True)
class Baseline:
    """The measured rows of a suite, with machine, commit, versions, and the numerics used for the spread."""

    suite: str
    config: Mapping[str, Any]
    commit: str
    machine: str
    versions: Mapping[str, str]
    numerics: tuple[str, ...]
    rows: Mapping[Key, Expected]
    identity: str = ""  # identity of the first numerics, under which the values were computed

    def require_suite(self, suite: Suite, path: Path, advice: str) -> None:
        """Raise ``ConfigError`` with the changed settings unless the baseline is of exactly this suite."""
        changed = list(_changes(self.config, suite_config(suite)))
        if self.suite != suite.name:
            changed.insert(0, f"suite: {self.suite} then, {suite.name} now")
        if changed:
            more = f"; and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
            raise ConfigError(
                f"{path} is the baseline of another suite: {'; '.join(changed[:NAMED])}{more}. "
                f"If this is intended, measure it again: {advice}"
            )

    def save(self, path: Path) -> None:
        """Write the file."""
        header = {
            "schema": SCHEMA,
            "suite": self.suite,
            "commit": self.commit,
            "machine": self.machine,
            "versions": dict(self.versions),
            "identity": self.identity,
            "numerics": list(self.numerics),
            "rule": RULE,
            "config": self.config,
        }
        text = json.dumps(header, indent=1, ensure_ascii=False).removesuffix("\n}")
        write_atomic(path, f'{text},\n "rows": {{\n{_rows_text(self.rows)}\n }}\n}}\n')


def default_baseline(suite: str) -> Path:
    """Return the path of a suite's baseline: in the working folder, else of the checkout or the installed package."""
    here, package = Path("reports/baselines") / f"{suite}.json", Path(__file__).parents[1]
    shipped = (package.parent / here, package / "_baselines" / here.name)
    return next((path for path in (here, *shipped) if path.is_file()), here)


def load_baseline(path: Path, advice: str) -> Baseline:
    """Read a baseline. Raises ``ConfigError`` if it is missing or cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["schema"] != SCHEMA:
            raise ConfigError(f"{path}: got schema {found['schema']!r}, expected {SCHEMA}; measure it again: {advice}")
        rows = {}
        for kind, cells in found["rows"].items():
            for cell, quantities in cells.items():
                for quantity, (value, tolerance, spread) in quantities.items():
                    row = Row(kind, cell, quantity, _value(value))
                    rows[row.key] = Expected(row, math.inf if tolerance is None else float(tolerance), float(spread))
        header = {k: found[k] for k in ("suite", "config", "commit", "machine", "versions", "identity")}
        return Baseline(**header, numerics=tuple(found["numerics"]), rows=rows)
    except FileNotFoundError:
        raise ConfigError(f"{path}: the baseline does not exist; measure one: {advice}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise ConfigError(f"{path} is not a valid baseline ({type(e).__name__}: {e}); measure one: {advice}") from None


def rounded(row: Row) -> Row:
    """Return the row with its value rounded as in a baseline."""
    return replace(row, value=_value(_plain(row.value, DIGITS)))


def suite_config(suite: Suite) -> dict[str, Any]:
    """Return the settings of a suite that affect its values, as plain data without versions, texts and null settings.

    New settings that are null by default therefore keep baselines valid.
    """
    plain: dict[str, Any] = json.loads(json.dumps(to_plain(suite, keep_late=False)))
    plain.pop("name")
    for name in ("description", "published", "weights", "margin", "folder"):
        plain["settings"].pop(name, None)
    return dict(_decisive(plain))


def _decisive(value: Any) -> Any:
    if isinstance(value, dict):
        dropped = ("version", "kind", "target") if {"target", "config"} <= set(value) else ()
        return {k: _decisive(v) for k, v in value.items() if k not in dropped and v is not None}
    return [_decisive(v) for v in value] if isinstance(value, list) else value


def _changes(then: Any, now: Any, where: str = "") -> Iterator[str]:
    """Yield descriptions of the differences of two configs."""
    if isinstance(then, list) and isinstance(now, list):
        then, now = _by_name(then), _by_name(now)
    if isinstance(then, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*then, *now]):
            at = f"{where}.{key}" if where else str(key)
            if key not in now or key not in then:
                yield f"{at} is {'removed' if key not in now else 'new'}"
            else:
                yield from _changes(then[key], now[key], at)
    elif then != now:
        yield f"{where}: {then!r} then, {now!r} now"


def _by_name(items: list[Any]) -> dict[str, Any]:
    return {(x["name"] if isinstance(x, dict) and "name" in x else str(i)): x for i, x in enumerate(items)}


def _rows_text(rows: Mapping[Key, Expected]) -> str:
    """Return the rows as JSON, one per line: quantity: [value, tolerance, spread]; null for an infinite tolerance."""
    kinds = []
    for kind in (k for k in KINDS if any(key[0] == k for key in rows)):
        cells = []
        for cell in sorted({key[1] for key in rows if key[0] == kind}):
            lines = []
            for key in sorted(k for k in rows if k[:2] == (kind, cell)):
                kept = rows[key]
                tolerance = None if math.isinf(kept.tolerance) else _plain(kept.tolerance, 3)
                numbers = [_plain(kept.row.value, DIGITS), tolerance, _plain(kept.spread, 3)]
                lines.append(f"    {json.dumps(key[2])}: {json.dumps(numbers)}")
            cells.append(f"   {json.dumps(cell, ensure_ascii=False)}: {{\n" + ",\n".join(lines) + "\n   }")
        kinds.append(f'  "{kind}": {{\n' + ",\n".join(cells) + "\n  }")
    return ",\n".join(kinds)


def _plain(value: Value, digits: int) -> Any:
    """Return a value for JSON: integers without decimals, NaN as null."""
    if isinstance(value, str):
        return value
    if math.isnan(value):
        return None
    if math.isinf(value):
        return math.copysign(1e308, value)
    return int(value) if value == int(value) else float(f"{value:.{digits}g}")


def _value(stored: Any) -> Value:
    if isinstance(stored, str):
        return stored
    return math.nan if stored is None else float(stored)
