"""Writes results rows into MLflow, each once, however often it is asked to; ``bench.tracking`` says what goes where."""

from __future__ import annotations

import fcntl
import logging
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from bench.errors import BenchError
from bench.tracking_media import DatasetInput, log_samples
from bench.tracking_rows import (
    GENERATOR_STAGES,
    SEGMENTER_STAGES,
    SHARED_STAGES,
    STAGES,
    TRIAL_STAGES,
    Point,
    coordinates,
    digest,
    fact_params,
    flatten,
    metric_points,
    row_entry,
    safe_name,
    span_ms,
    unit_name,
    usage_points,
)
from bench.types import ResultRow

KIND: Final = "mlflow.experimentKind"
MACHINE_LEARNING: Final = "custom_model_development"  # which of its two faces the UI shows an experiment with
BATCH: Final = 1000  # MLflow's limit of one log_batch, with at most 100 parameters and 100 tags among them


def tracking_uri(out: Path, uri: str | None = None) -> str:
    """Return ``uri``, else ``MLFLOW_TRACKING_URI``, else the sqlite file of the output folder."""
    return uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(out / 'mlflow.db').resolve()}"


@dataclass(frozen=True)
class _Logged:
    run_id: str
    key: str
    start_ms: int
    rows: frozenset[str] = frozenset()

    @property
    def keys(self) -> set[str]:
        """The keys of the rows it holds, or was begun for."""
        return {self.key, *(entry.split(":")[1] for entry in self.rows)}


class Tracker:
    """Writes rows to MLflow, each once. Synchronous and outspoken; ``TrackingThread`` makes it harmless to a run.

    ``uri`` None means ``MLFLOW_TRACKING_URI``, else ``<out>/mlflow.db`` with pictures under ``<out>/mlartifacts``.
    ``config`` is the suite's, logged on the parent run; ``params_of`` gives a cell's by its row (default:
    ``facts["config"]``); ``tags`` go on every run, ``dataset`` is an input of every run; ``shown`` are tags of
    the experiment, set where it has none of that name. Nothing is contacted before ``connect`` or ``sync``.
    """

    def __init__(
        self,
        uri: str | None,
        out: Path,
        experiment: str,
        config: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        params_of: Callable[[ResultRow], Mapping[str, Any]] | None = None,
        dataset: DatasetInput | None = None,
        shown: Mapping[str, str] | None = None,
    ) -> None:
        self.uri, self.out, self.experiment = tracking_uri(out, uri), out, experiment
        self.config, self.tags = flatten(config or {}), dict(tags or {})
        self.params_of = params_of or (lambda row: row.facts.get("config") or {})
        self.dataset, self.shown = dataset, {KIND: MACHINE_LEARNING, **(shown or {})}
        self._client: Any = None
        self._logged: dict[str, list[_Logged]] = {}  # run name -> its runs: one for each config that was run
        self._rows: dict[str, dict[str, ResultRow]] = {}  # unit -> stage -> row, all that was ever given
        self._lock: Any = None

    def sync(self, rows: Iterable[ResultRow]) -> int:
        """Log what MLflow does not hold yet and return the number of runs written. May be called any number of times.

        Give it the rows of one plan, in any order and in any pieces.

        Raises ``BenchError`` when another process is writing, and whatever MLflow raises when it cannot be reached.
        """
        touched: dict[str, None] = {}
        for row in rows:
            unit = unit_name(row)
            if unit is not None:
                self._rows.setdefault(unit, {})[row.stage] = row
                touched[unit] = None
        self.connect()
        return sum(self._log_unit(unit) for unit in touched)

    def log_report(self, folder: Path) -> None:
        """Attach a report folder to the suite's parent run and mark that run as finished."""
        self.connect()
        self._client.log_artifacts(self._parent, str(folder), "report")
        self._client.set_terminated(self._parent, "FINISHED")

    def close(self) -> None:
        """Let another process write."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def connect(self) -> None:
        """Import MLflow, create or open the experiment and list its runs, unless that was done already."""
        if self._client is not None:
            return
        if self._lock is None:
            self._lock = _sole_writer(self.out)
        client = _new_client(self.uri)
        found = client.get_experiment_by_name(self.experiment)
        if found is None:
            local = (self.out / "mlartifacts").resolve().as_uri() if self.uri.startswith("sqlite:") else None
            self._experiment = client.create_experiment(self.experiment, artifact_location=local)
        else:
            self._experiment = found.experiment_id
            if found.lifecycle_stage == "deleted":
                client.restore_experiment(self._experiment)
        for name in self.shown.keys() - (found.tags if found else {}):
            client.set_experiment_tag(self._experiment, name, self.shown[name])
        self._logged = _existing_runs(client, self._experiment)
        self._parent = self._parent_run(client)
        self._client = client

    def _parent_run(self, client: Any) -> str:
        key = f"suite:{self.experiment}:{digest(repr(sorted(self.config.items())))}"
        for known in self._logged.get(self.experiment, []):
            if known.key == key:
                return known.run_id
        tags = {**self.tags, "bench.key": key, "stage": "suite", "suite": self.experiment}
        run = client.create_run(self._experiment, run_name=self.experiment, tags=tags)
        self._log_dataset(client, run.info.run_id)
        _log_batches(client, run.info.run_id, [], self.config, {})
        return str(run.info.run_id)

    def _log_dataset(self, client: Any, run_id: str) -> None:
        if self.dataset:
            client.log_inputs(run_id, [self.dataset.entity()])

    def _log_unit(self, unit: str) -> bool:
        """Bring one unit's run up to date; return whether anything was written."""
        rows = sorted(self._rows[unit].values(), key=lambda r: STAGES.index(r.stage))
        entries = {row_entry(r): r for r in rows}
        others = self._logged.setdefault(unit, [])
        olds = [run for run in others if run.keys & {r.key for r in rows}]
        old = olds[0] if len(olds) == 1 else None
        if old and old.rows >= entries.keys():
            return False
        held = old.rows if old and old.rows < entries.keys() else frozenset()
        for run in olds:
            others.remove(run)
            if not held:
                self._client.delete_run(run.run_id)
        run = old if old and held else self._create(unit, rows[0])
        others.append(run)
        params = {} if held else {**coordinates(rows[0]), **flatten(self.params_of(rows[0]))}
        new = [row for entry, row in entries.items() if entry not in held]
        self._write(run, rows, new, params, {"bench.rows": " ".join(entries)})
        others[-1] = replace(run, key=rows[0].key, rows=frozenset(entries))
        return True

    def _create(self, unit: str, first: ResultRow) -> _Logged:
        tags = {**self.tags, "suite": first.suite, "dataset": first.dataset, **coordinates(first)}
        kind = "generator" if first.stage in GENERATOR_STAGES else "classifier"
        kind = "segmentation" if first.stage in SHARED_STAGES + SEGMENTER_STAGES else kind
        kind = "trial" if first.stage in TRIAL_STAGES else kind
        tags |= {"bench.key": first.key, "kind": kind, "mlflow.parentRunId": self._parent}
        run = self._client.create_run(self._experiment, start_time=span_ms(first)[0], run_name=unit, tags=tags)
        self._log_dataset(self._client, run.info.run_id)
        return _Logged(run.info.run_id, first.key, run.info.start_time)

    def _write(
        self,
        run: _Logged,
        rows: Sequence[ResultRow],
        new: Sequence[ResultRow],
        params: dict[str, str],
        last: dict[str, str],
    ) -> None:
        """Log ``new`` rows into a run that will hold all of ``rows``; ``last`` are the tags that say so.

        Times come from the rows and repeated points are one point to MLflow, so a write that was cut off may be redone.
        """
        from mlflow.entities import Metric

        failed = [r for r in rows if r.status == "failed"]
        tags = {"status": "failed" if failed else "done", "stage": ",".join(r.stage for r in rows)}
        if failed:
            tags["error"] = str(failed[-1].error)[-4000:]
        points: list[Point] = []
        for row in new:
            self._artifacts(run.run_id, row)
            folder = self.out / row.folder if row.folder else None
            of_row = metric_points(folder, row)
            points += of_row + (usage_points(folder, run.start_ms) if folder else [])
            params |= fact_params(row) if row.stage in TRIAL_STAGES else {}
            lost = sorted({f"{name}@{step}" for name, value, _, step in of_row if not math.isfinite(value)})
            if lost:  # MLflow would store infinity as 1.8e308
                tags[f"bench.nonfinite.{row.stage}"] = ", ".join(lost)[:4000]
        metrics = [Metric(n, v, t, s) for n, v, t, s in points if math.isfinite(v)]
        ended_ms = max(span_ms(r)[1] for r in rows)
        self._client.set_terminated(run.run_id, "FAILED" if failed else "FINISHED", ended_ms)
        _log_batches(self._client, run.run_id, metrics, params, tags | last)

    def _artifacts(self, run_id: str, row: ResultRow) -> None:
        folder = self.out / row.folder
        if row.folder:
            log_samples(self._client, run_id, folder)
        for table in ("predictions.csv", "translations.csv", "trace.json.gz"):
            if row.folder and (folder / table).is_file():
                self._client.log_artifact(run_id, str(folder / table))
        if row.facts:
            self._client.log_dict(run_id, dict(row.facts), f"facts/{row.stage}.json")
        if row.error:
            self._client.log_text(run_id, row.error, f"{row.stage}_error.txt")


def _sole_writer(out: Path) -> Any:
    """Hold the output folder's MLflow lock: two processes that create one database race and lose."""
    out.mkdir(parents=True, exist_ok=True)
    lock = (out / "mlflow.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise BenchError(f"another process is writing to MLflow for {out}; wait for it to end") from None
    return lock


def _new_client(uri: str) -> Any:
    """Import MLflow (seconds) with telemetry off and short, bounded waits, and return its client."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    from mlflow.tracking import MlflowClient

    for name in ("mlflow", "alembic"):  # creating the database prints a line per migration
        logging.getLogger(name).setLevel(logging.ERROR)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _existing_runs(client: Any, experiment: str) -> dict[str, list[_Logged]]:
    """Return the runs of an experiment that this module made, by name: one search, paged."""
    found: dict[str, list[_Logged]] = {}
    token: str | None = None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        for run in page:
            key = run.data.tags.get("bench.key")
            if key:
                rows = frozenset(run.data.tags.get("bench.rows", "").split())
                logged = _Logged(run.info.run_id, key, run.info.start_time, rows)
                found.setdefault(run.info.run_name, []).append(logged)
        token = page.token
        if not token:
            return found


def _log_batches(client: Any, run_id: str, metrics: list[Any], params: dict[str, str], tags: dict[str, str]) -> None:
    """Log everything in as few calls as MLflow allows; the tags go with the last one."""
    from mlflow.entities import Param, RunTag

    names = [Param(safe_name(k), v[:6000]) for k, v in params.items()]
    room = BATCH - 100 - len(tags)
    calls = max(1, math.ceil(len(metrics) / room), math.ceil(len(names) / 100))
    for i in range(calls):
        last = [RunTag(k, v) for k, v in tags.items()] if i == calls - 1 else []
        client.log_batch(run_id, metrics[i * room : (i + 1) * room], names[i * 100 : (i + 1) * 100], last)
