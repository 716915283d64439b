"""Writes results rows to MLflow, each once; ``bench.tracking.tracker`` describes the layout."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from bench.tracking.media import DatasetInput, log_model, log_samples
from bench.tracking.model import ClassifierModel
from bench.tracking.rows import (
    GENERATOR_STAGES,
    SEGMENTATION_STAGES,
    SHARED_STAGES,
    STAGES,
    TRIAL_STAGES,
    Point,
    coordinates,
    cut,
    digest,
    fact_params,
    flatten,
    metric_points,
    numbers_table,
    row_entry,
    span_ms,
    unit_name,
    usage_points,
)
from bench.tracking.runs import (
    COMPLETE,
    FILES,
    LONGEST_TAG,
    PARENT,
    Logged,
    all_runs,
    count_files,
    existing_runs,
    fitted,
    log_batches,
)
from bench.tracking.store import (
    ROWS,
    SYNCED,
    artifact_root,
    artifacts_of,
    new_client,
    own_database,
    relocate,
    set_aside_damaged,
    sole_writer,
    tracking_uri,
)
from bench.types import ResultRow

KIND: Final = "mlflow.experimentKind"
MACHINE_LEARNING: Final = "custom_model_development"  # the kind of experiment page in the UI
CONFLICT = "INVALID_PARAMETER_VALUE"  # a parameter exists with another value; values cannot be changed
RANK = ("were complete", "added to", "written", "written again")  # actions on a run, in ascending order


class Tracker:
    """Writes rows to MLflow, each once. Synchronous, raises errors; use ``TrackingThread`` during a run.

    ``uri`` None means ``MLFLOW_TRACKING_URI``, else ``<out>/mlflow.db``; ``artifact_root`` is the place of its files.
    ``config`` is the suite's, logged on the parent run; ``params_of`` returns a cell's parameters from its row
    (default: ``facts["config"]``); ``tags`` are set on every run, ``dataset`` is an input of every run; ``shown`` are
    tags of the experiment, set if missing; ``model_of`` returns the classifier to log as a model from all rows. MLflow
    is not contacted before ``connect`` or ``sync``.
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
        model_of: Callable[[Iterable[ResultRow]], ClassifierModel | None] | None = None,
    ) -> None:
        self.uri, self.out, self.experiment = tracking_uri(out, uri), out, experiment
        self.config, self.tags = flatten(config or {}), dict(tags or {})
        self.params_of = params_of or (lambda row: row.facts.get("config") or {})
        self.dataset, self.shown, self.model_of = dataset, {KIND: MACHINE_LEARNING, **(shown or {})}, model_of
        self._classes = list(dataset.classes) if dataset else []
        self._client: Any = None
        self._logged: dict[str, list[Logged]] = {}  # run name -> its runs, one per config
        self._rows: dict[str, dict[str, ResultRow]] = {}  # unit -> stage -> row, all rows so far
        self._lock: Any = None
        self._did: dict[str, str] = {}  # action on each run, one of RANK
        self.notes: list[str] = []  # messages about other actions

    def sync(self, rows: Iterable[ResultRow]) -> int:
        """Log rows that MLflow does not have yet and return the number of runs written. May be called repeatedly.

        The rows must be of one plan, in any order, also in several calls.

        Raises ``BenchError`` if another process is writing, and MLflow's errors if it cannot be reached.
        """
        touched: dict[str, None] = {}
        rows = list(rows)
        for row in rows:
            unit = unit_name(row)
            if unit is not None:
                self._rows.setdefault(unit, {})[row.stage] = row
                touched[unit] = None
        self.connect(rows)
        return sum(self._log_unit(unit) for unit in touched)

    def log_report(self, folder: Path) -> None:
        """Attach a report folder and the best classifier to the suite's run; end it, as failed if a cell has failed."""
        self.connect()
        self._client.log_artifacts(self._parent, str(folder), "report")
        rows = [row for stages in self._rows.values() for row in stages.values()]
        if self.model_of and (model := self.model_of(rows)):
            log_model(self._client, self._experiment, self._parent, model)
        failed = any(row.status == "failed" and row.stage not in TRIAL_STAGES for row in rows)
        self._client.set_terminated(self._parent, "FAILED" if failed else "FINISHED")

    def mark_synced(self, state: str) -> None:
        """Set the tag that everything of a state of the store is logged; ``tracking.store.holds`` reads it."""
        self.connect()
        complete = sum(bool(run.rows) for run in all_runs(existing_runs(self._client, self._experiment)))
        self._client.set_experiment_tag(self._experiment, SYNCED, f"{state} {complete}")

    def summary(self) -> str:
        """Return a summary: '3 runs written, 1 run written again, 20 runs were complete'."""
        counts = Counter(self._did.values())
        parts = [f"{counts[what]} {'run' if counts[what] == 1 else 'runs'} {what}" for what in RANK if counts[what]]
        return "; ".join([*(self.notes), ", ".join(parts) or "nothing to write"])

    def close(self) -> None:
        """Release the lock, so that other processes can write."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def connect(self, rows: Sequence[ResultRow] = ()) -> None:
        """Import MLflow, create or open the experiment and list its runs, unless already done.

        A new suite's run starts when the first of ``rows`` did, or now.
        """
        if self._client is not None:
            return
        if self._lock is None:
            self._lock = sole_writer(self.out)
        if (own := own_database(self.out, self.uri)) is not None:
            self.notes += filter(None, (set_aside_damaged(own), relocate(own, artifacts_of(self.out))))
        client = new_client(self.uri)
        found = client.get_experiment_by_name(self.experiment)
        if found is None:
            self._experiment = client.create_experiment(self.experiment, artifact_root(self.out, self.uri))
        else:
            self._experiment = found.experiment_id
            if found.lifecycle_stage == "deleted":
                client.restore_experiment(self._experiment)
        for name in self.shown.keys() - (found.tags if found else {}):
            client.set_experiment_tag(self._experiment, name, cut(self.shown[name], LONGEST_TAG))
        self._logged = existing_runs(client, self._experiment)
        starts = [span_ms(row)[0] for row in rows if row.finished_at]
        self._parent = self._parent_run(client, min(starts, default=int(time.time() * 1000)))
        self._client = client

    def _parent_run(self, client: Any, start_ms: int) -> str:
        """Return the suite's run with all settings: an existing complete one, a completed one, or a new one."""
        from mlflow.exceptions import MlflowException

        content = digest(repr(sorted(self.config.items())))
        key = f"suite:{self.experiment}:{content}"
        parents = {r.run_id: r for r in all_runs(self._logged) if r.key.startswith("suite:")}
        known = next((r for r in parents.values() if r.key == key), None)
        if known and known.complete == content:
            return known.run_id
        if known:
            self.notes.append("settings missing in the suite's run were added")
            try:
                return self._fill_parent(client, known.run_id, content)
            except MlflowException as e:
                if e.error_code != CONFLICT:
                    raise
            client.delete_run(known.run_id)
            del parents[known.run_id]
        fresh = self._fill_parent(client, self._create_parent(client, key, start_ms), content)
        for run in all_runs(self._logged):
            if run.parent and run.parent not in parents:  # its parent was deleted
                client.set_tag(run.run_id, PARENT, fresh)
        return fresh

    def _create_parent(self, client: Any, key: str, start_ms: int) -> str:
        """Create the suite's run; its time is in its name, because several configs share an experiment."""
        tags = {**self.tags, "bench.key": key, "kind": "suite", "stage": "suite", "suite": self.experiment}
        name = f"{self.experiment} {datetime.fromtimestamp(start_ms / 1000):%Y-%m-%d %H:%M}"
        run = client.create_run(self._experiment, start_time=start_ms, run_name=name, tags=fitted(tags))
        return str(run.info.run_id)

    def _fill_parent(self, client: Any, run_id: str, content: str) -> str:
        self._log_dataset(client, run_id)
        log_batches(client, run_id, [], self.config, {COMPLETE: content})
        return run_id

    def _log_dataset(self, client: Any, run_id: str) -> None:
        if self.dataset:
            client.log_inputs(run_id, [self.dataset.entity()])

    def _log_unit(self, unit: str) -> bool:
        """Update one unit's run; return whether anything was written."""
        rows = sorted(self._rows[unit].values(), key=lambda r: STAGES.index(r.stage))
        entries = {row_entry(r): r for r in rows}
        others = self._logged.setdefault(unit, [])
        olds = [run for run in others if run.keys & {r.key for r in rows}]
        old = olds[0] if len(olds) == 1 else None
        complete = old is not None and not old.lacks_files
        if old and complete and old.rows >= entries.keys():
            return self._note(unit, "were complete")
        kept = old.rows if old and complete and old.rows < entries.keys() else frozenset()
        for run in olds:
            others.remove(run)
            if not kept:
                self._client.delete_run(run.run_id)
        run = old if old and kept else self._create(unit, rows[0])
        others.append(run)
        params = {} if kept else {**coordinates(rows[0]), **flatten(self.params_of(rows[0]))}
        new = [row for entry, row in entries.items() if entry not in kept]
        files = self._write(run, rows, new, params, {ROWS: " ".join(entries)})
        others[-1] = replace(run, key=rows[0].key, rows=frozenset(entries), files=files)
        return self._note(unit, "added to" if kept else "written again" if olds else "written")

    def _note(self, unit: str, what: str) -> bool:
        """Record the highest-ranked action on a run; return whether anything was written."""
        self._did[unit] = max(what, self._did.get(unit, what), key=RANK.index)
        return what != RANK[0]

    def _create(self, unit: str, first: ResultRow) -> Logged:
        tags = {**self.tags, "suite": first.suite, "dataset": first.dataset, **coordinates(first)}
        kind = "generator" if first.stage in GENERATOR_STAGES else "classifier"
        kind = "segmentation" if first.stage in SHARED_STAGES + SEGMENTATION_STAGES else kind
        kind = "trial" if first.stage in TRIAL_STAGES else kind
        tags |= {"bench.key": first.key, "kind": kind, PARENT: self._parent}
        start = span_ms(first)[0]
        run = self._client.create_run(self._experiment, start_time=start, run_name=unit, tags=fitted(tags))
        self._log_dataset(self._client, run.info.run_id)
        return Logged(run.info.run_id, first.key, run.info.start_time, place=run.info.artifact_uri)

    def _write(
        self,
        run: Logged,
        rows: Sequence[ResultRow],
        new: Sequence[ResultRow],
        params: dict[str, str],
        last: dict[str, str],
    ) -> int:
        """Log ``new`` rows to a run that then has all of ``rows``; the tags ``last`` are set at the end.

        Return the number of the run's files, as far as it is known.

        Times come from the rows, and MLflow merges repeated points, so an interrupted write can be repeated.
        """
        from mlflow.entities import Metric

        failed = [r for r in rows if r.status == "failed"]
        tags = {"status": "failed" if failed else "done", "stage": ",".join(r.stage for r in rows)}
        if failed:
            tags["error"] = str(failed[-1].error)
        points: list[Point] = []
        for row in new:
            self._artifacts(run.run_id, row)
            folder = self.out / row.folder if row.folder else None
            of_row = metric_points(folder, row, self._classes)
            points += of_row + (usage_points(folder, run.start_ms) if folder else [])
            params |= fact_params(row) if row.stage in TRIAL_STAGES else {}
            lost = sorted({f"{name}@{step}" for name, value, _, step in of_row if not math.isfinite(value)})
            if lost:  # MLflow would store infinity as 1.8e308
                tags[f"bench.nonfinite.{row.stage}"] = ", ".join(lost)
        metrics = [Metric(n, v, t, s) for n, v, t, s in points if math.isfinite(v)]
        ended_ms = max(span_ms(r)[1] for r in rows)
        self._client.set_terminated(run.run_id, "FAILED" if failed else "FINISHED", ended_ms)
        files = count_files(run.place)
        log_batches(self._client, run.run_id, metrics, params, tags | last | {FILES: f"{files}"})
        return files

    def _artifacts(self, run_id: str, row: ResultRow) -> None:
        folder = self.out / row.folder
        if row.folder:
            log_samples(self._client, run_id, folder)
        for table in ("predictions.csv", "translations.csv", "trace.json.gz"):
            if row.folder and (folder / table).is_file():
                self._client.log_artifact(run_id, str(folder / table))
        self._client.log_text(run_id, numbers_table(row), f"metrics/{row.stage}.csv")
        if row.facts:
            self._client.log_dict(run_id, dict(row.facts), f"facts/{row.stage}.json")
        if row.error:
            self._client.log_text(run_id, row.error, f"{row.stage}_error.txt")
