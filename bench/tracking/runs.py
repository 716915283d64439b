"""The runs of an experiment as MLflow holds them: which there are, what each holds, and how one is written to."""

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
COMPLETE: Final = "bench.complete"  # tag of the suite's run, set last: the hash of the settings that it holds
FILES: Final = "bench.files"  # tag of a run: how many files it has, where they are in the output folder
CUT: Final = "bench.cut"  # tag of a run: its values that were longer than MLflow takes
LONGEST_PARAM, LONGEST_TAG = 6000, 4000  # characters, below MLflow's limits
BATCH: Final = 1000  # MLflow's limit of one log_batch, with at most 100 parameters and 100 tags among them


@dataclass(frozen=True)
class Logged:
    """A run of ours: ``rows`` as in its tag, ``complete`` of the suite's run alone; a new one holds nothing yet."""

    run_id: str
    key: str
    start_ms: int
    rows: frozenset[str] = frozenset()
    complete: str = ""
    parent: str = ""
    place: str = ""  # the address of its files
    files: int = 0

    @property
    def lacks_files(self) -> bool:
        """Whether files that it had are not there any more; those of a server are not counted."""
        return count_files(self.place) < self.files

    @property
    def keys(self) -> set[str]:
        """The keys of the rows it holds, or was begun for."""
        return {self.key, *(entry.split(":")[1] for entry in self.rows)}


def existing_runs(client: Any, experiment: str) -> dict[str, list[Logged]]:
    """Return the runs of an experiment that this module made, by name: one search, paged."""
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
    """Log everything in as few calls as MLflow allows; the tags go with the last one."""
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
    return {k: cut(v, LONGEST_TAG) if k != ROWS else v for k, v in tags.items()}


def all_runs(by_name: Mapping[str, Sequence[Logged]]) -> Iterator[Logged]:
    return (run for runs in by_name.values() for run in runs)


def count_files(place: str) -> int:
    """Return how many files are in a folder of this machine, 0 for another kind of address."""
    if not place.startswith("file:"):
        return 0
    folder = Path(unquote(urlsplit(place).path))
    return sum(p.is_file() for p in folder.rglob("*")) if folder.is_dir() else 0
