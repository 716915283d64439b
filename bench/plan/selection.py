"""``--only``: select cells of a plan and the cells they depend on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.errors import ConfigError, nearest
from bench.plan.plan import Cell

FILTERS = ("stage", "method", "classifier", "fold", "repeat", "ratio", "train_patients")


def select(cells: Sequence[Cell], filters: Sequence[str]) -> list[Cell]:
    """Return the cells that match ``--only key=value``, and everything upstream of them, in plan order.

    Values of one key are alternatives, separated by commas; different keys must all match. A cell to which a key
    does not apply (a split has no method) is kept only as upstream. Raises ``ConfigError`` if nothing matches.
    """
    wanted = _parse(filters)
    for key, values in wanted.items():
        present = {str(getattr(c, key)) for c in cells if getattr(c, key) is not None}
        for value in values - present:
            raise ConfigError(f"--only {key}={value}: no cell of this plan; {nearest(value, present)}")
    by_id = {c.id: c for c in cells}
    chosen = {c.id for c in cells if all(str(getattr(c, k)) in v for k, v in wanted.items())}
    todo = list(chosen)
    while todo:
        for up in by_id[todo.pop()].upstream:
            if up not in chosen:
                chosen.add(up)
                todo.append(up)
    return [c for c in cells if c.id in chosen]


def _parse(filters: Sequence[str]) -> Mapping[str, set[str]]:
    wanted: dict[str, set[str]] = {}
    for text in filters:
        key, sep, value = text.partition("=")
        if not sep or key not in FILTERS:
            raise ConfigError(f"--only {text!r}: expected key=value; {nearest(key, FILTERS)}")
        wanted.setdefault(key, set()).update(v.strip() for v in value.split(","))
    return wanted
