"""The runs of an MLflow experiment: listing them with their content, and writing to them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from bench.tracking.rows import cut, safe_name
from bench.tracking.store import ROWS

PARENT: Final = "mlflow.parentRunId"
COMPLETE: Final = "bench.complete"  # tag of the suite's run, set last: hash of its logged settings
FILES: Final = "bench.files"  # tag of a run: number of its files, if they are in the output folder
CUT: Final = "bench.cut"  # tag of a run: names of values that were longer than MLflow allows
LONGEST_PARAM, LONGEST_TAG = 6000, 4000  # characters, below MLflow's limits
BATCH: Final = 1000  # MLflow's limit of one log_batch, with at most 100 parameters and 100 tags among them


@dataclass(frozen=True)
class Logged:
    """A run logged by bench: ``rows`` as in its tag; ``complete`` only for the suite's run; empty for a new run."""

    run_id: str
    key: str
    start_ms: int
    rows: frozenset[str] = frozenset()
    complete: str = ""
    parent: str = ""
    place: str = ""  # URI of its files
    files: int = 0

    @property
    def lacks_files(self) -> bool:
        """Whether some of its files are missing; files on a server are not counted."""
        return count_files(self.place) < self.files

    @property
    def keys(self) -> set[str]:
        """The keys of its logged rows and of the row it was created for."""
        return {self.key, *(entry.split(":")[1] for entry in self.rows)}


def existing_runs(client: Any, experiment: str) -> dict[str, list[Logged]]:
    """Return the runs of an experiment that bench logged, by name, with one paged search."""
    found: dict[str, list[Logged]] = {}
    token: str | None = None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        for run in page:
            key = run.data.tags.get("bench.key")
            if key:
                tags = run.data.tags
                rows, files = frozenset(tags.get(ROWS, "").split()), int(tags.get(FILES, "0"))
                more = tags.get(COMPLETE, ""), tags.get(PARENT, ""), run.info.artifact_uri, files
                logged = Logged(run.info.run_id, key, run.info.start_time, rows, *more)
                found.setdefault(run.info.run_name, []).append(logged)
        token = page.token
        if not token:
            return found


def log_batches(client: Any, run_id: str, metrics: list[Any], params: dict[str, str], tags: dict[str, str]) -> None:
    """Log everything in as few calls as MLflow allows; the tags are in the last call."""
    from mlflow.entities import Param, RunTag

    long = [k for k, v in params.items() if len(v) > LONGEST_PARAM] + [
        k for k, v in tags.items() if len(v) > LONGEST_TAG
    ]
    tags = {**({CUT: ", ".join(long)} if long else {}), **tags}
    names = [Param(safe_name(k), cut(v, LONGEST_PARAM)) for k, v in params.items()]
    room = BATCH - 100 - len(tags)
    calls = max(1, math.ceil(len(metrics) / room), math.ceil(len(names) / 100))
    for i in range(calls):
        last = [RunTag(k, v) for k, v in fitted(tags).items()] if i == calls - 1 else []
        client.log_batch(run_id, metrics[i * room : (i + 1) * room], names[i * 100 : (i + 1) * 100], last)


def fitted(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags cut to the length that MLflow accepts."""
    return {k: cut(v, LONGEST_TAG) if k != ROWS else v for k, v in tags.items()}


def all_runs(by_name: Mapping[str, Sequence[Logged]]) -> Iterator[Logged]:
    """Return the runs of all names."""
    return (run for runs in by_name.values() for run in runs)


def count_files(place: str) -> int:
    """Return the number of files in a local folder; 0 for another kind of URI."""
    if not place.startswith("file:"):
        return 0
    folder = Path(unquote(urlsplit(place).path))
    return sum(p.is_file() for p in folder.rglob("*")) if folder.is_dir() else 0
