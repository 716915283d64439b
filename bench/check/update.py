"""A new baseline: the suite is measured under several numerics; tolerances come from the spread."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from bench.check.baseline import Baseline, Expected, Key, rounded, suite_config
from bench.check.identity import numerics_identity
from bench.check.leakage_checks import REFUSED
from bench.check.numerics import Numerics, Request, ways
from bench.check.rows import Row
from bench.check.tolerance import spreads, tolerance
from bench.cost.host import describe_host, git_commit, versions
from bench.engine.session import Session
from bench.errors import BenchError
from bench.forecast.cost_model import duration

SOUND = ("done", REFUSED, 0.0)  # required values of a status, a leakage check and a count of leaks


def make_baseline(
    session: Session, request: Request, say: Callable[[str], None], run: Callable[[Numerics, Request], None]
) -> Baseline:
    """Measure the suite under all numerics by ``run``, each in a folder in ``request.out``; ``say`` prints progress.

    Raises ``BenchError`` if a cell fails, a leakage check fails or a leak is found; then no baseline is written.
    """
    numerics = ways()
    runs = []
    for i, way in enumerate(numerics):
        start = time.monotonic()
        runs.append(_rows(way, request, str(i), run))
        say(f"{i + 1}/{len(numerics)} {way.name}: {len(runs[-1])} rows in {duration(time.monotonic() - start)}")
        require_sound(runs[-1], way.name)
    return baseline_of(session, request.device, runs, [way.name for way in numerics])


def baseline_of(session: Session, device: str, runs: Sequence[Sequence[Row]], numerics: Sequence[str]) -> Baseline:
    """Return the baseline of all runs; values are those of the first run, with the machine's default numerics.

    Texts that differ between runs are left out.
    """
    found = [{row.key: row for row in run} for run in runs]
    centre = found[0]
    spread = spreads(centre, found)
    rows: dict[Key, Expected] = {}
    for key, row in centre.items():
        if isinstance(row.value, float) or all(key in run and run[key].value == row.value for run in found):
            rows[key] = Expected(rounded(row), tolerance(row, spread.get(key, 0.0)), spread.get(key, 0.0))
    return Baseline(
        suite=session.suite.name,
        config=suite_config(session.suite),
        commit=git_commit(),
        machine=describe_host(device),
        versions=versions(),
        numerics=tuple(numerics),
        rows=rows,
        identity=numerics_identity(device),
    )


def require_sound(rows: Sequence[Row], name: str) -> None:
    """Raise ``BenchError`` unless all cells are done, all leakage checks work, and no leak is found."""
    bad = [f"{r.cell}, {r.quantity}: {r.value}" for r in rows if r.kind in ("cell", "leak") and r.value not in SOUND]
    if bad:
        more = f"\nand {len(bad) - 10} more" if len(bad) > 10 else ""
        raise BenchError(f"numerics {name!r}: this run cannot be a baseline:\n" + "\n".join(bad[:10]) + more)


def _rows(way: Numerics, request: Request, name: str, run: Callable[[Numerics, Request], None]) -> list[Row]:
    folder = Path(request.out) / name
    folder.mkdir(parents=True, exist_ok=True)
    answer = folder / "rows.json"
    run(way, replace(request, out=str(folder / "run"), answer=str(answer)))
    return [Row(**row) for row in json.loads(answer.read_text(encoding="utf-8"))]
