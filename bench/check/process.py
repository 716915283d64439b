"""``python -m bench.check.process REQUEST``: answer one request of ``bench.check.numerics``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from bench.check.measure import measure
from bench.check.numerics import Request
from bench.engine.session import pick_device, prepare
from bench.files import write_atomic


def main(spec: str) -> None:
    """Run the suite and write its rows, a JSON list of ``Row`` fields."""
    found = json.loads(spec)
    request = Request(**{**found, "assignments": tuple(found["assignments"])})
    data = Path(request.data) if request.data else None
    session = prepare(request.suite, request.assignments, data, Path(request.out))
    rows = measure(session.on_device(pick_device(request.device)), request.jobs, costs=request.costs)
    write_atomic(Path(request.answer), json.dumps([asdict(r) for r in rows]))


if __name__ == "__main__":
    main(sys.argv[1])
