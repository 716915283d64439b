"""Writes results rows into MLflow, each once; ``bench.tracking.tracker`` says what goes where."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from bench.tracking.media import DatasetInput, log_samples
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
MACHINE_LEARNING: Final = "custom_model_development"  # which of its two faces the UI shows an experiment with
CONFLICT = "INVALID_PARAMETER_VALUE"  # a parameter is there with another value, and no value can be changed


RANK = ("were complete", "added to", "written", "written again")  # what was done to a run, the most of it last


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
        self._logged: dict[str, list[Logged]] = {}  # run name -> its runs: one for each config that was run
        self._rows: dict[str, dict[str, ResultRow]] = {}  # unit -> stage -> row, all that was ever given
        self._lock: Any = None
        self._did: dict[str, str] = {}  # what was done to each run, one of RANK
        self.notes: list[str] = []  # what else was done, in words

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

    def mark_synced(self, state: str) -> None:
        """Note that everything of a state of the store is logged; ``tracking_store.holds`` looks for it."""
        self.connect()
        whole = sum(bool(run.rows) for run in all_runs(existing_runs(self._client, self._experiment)))
        self._client.set_experiment_tag(self._experiment, SYNCED, f"{state} {whole}")

    def summary(self) -> str:
        """Say what was done: '3 runs written, 1 written again, 20 were complete'."""
        counts = Counter(self._did.values())
        said = [f"{counts[what]} {'run' if counts[what] == 1 else 'runs'} {what}" for what in RANK if counts[what]]
        return "; ".join([*(self.notes), ", ".join(said) or "nothing to write"])

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
            self._lock = sole_writer(self.out)
        if (own := own_database(self.out, self.uri)) is not None:
            self.notes += filter(None, (set_aside_damaged(own), relocate(own, artifacts_of(self.out))))
        client = new_client(self.uri)
        found = client.get_experiment_by_name(self.experiment)
        if found is None:
            local = artifacts_of(self.out) if self.uri.startswith("sqlite") else None
            self._experiment = client.create_experiment(self.experiment, artifact_location=local)
        else:
            self._experiment = found.experiment_id
            if found.lifecycle_stage == "deleted":
                client.restore_experiment(self._experiment)
        for name in self.shown.keys() - (found.tags if found else {}):
            client.set_experiment_tag(self._experiment, name, cut(self.shown[name], LONGEST_TAG))
        self._logged = existing_runs(client, self._experiment)
        self._parent = self._parent_run(client)
        self._client = client

    def _parent_run(self, client: Any) -> str:
        """Return the suite's run with all its settings: found whole, filled in, or made."""
        from mlflow.exceptions import MlflowException

        content = digest(repr(sorted(self.config.items())))
        key = f"suite:{self.experiment}:{content}"
        parents = {r.run_id: r for r in self._logged.get(self.experiment, [])}
        known = next((r for r in parents.values() if r.key == key), None)
        if known and known.complete == content:
            return known.run_id
        if known:
            self.notes.append("the suite's run lacked settings: filled in")
            try:
                return self._fill_parent(client, known.run_id, content)
            except MlflowException as e:
                if e.error_code != CONFLICT:
                    raise
            client.delete_run(known.run_id)
            del parents[known.run_id]
        fresh = self._fill_parent(client, self._create_parent(client, key), content)
        for run in all_runs(self._logged):
            if run.parent and run.parent not in parents:  # such as of one that was deleted
                client.set_tag(run.run_id, PARENT, fresh)
        return fresh

    def _create_parent(self, client: Any, key: str) -> str:
        tags = {**self.tags, "bench.key": key, "stage": "suite", "suite": self.experiment}
        run = client.create_run(self._experiment, run_name=self.experiment, tags=fitted(tags))
        return str(run.info.run_id)

    def _fill_parent(self, client: Any, run_id: str, content: str) -> str:
        self._log_dataset(client, run_id)
        log_batches(client, run_id, [], self.config, {COMPLETE: content})
        return run_id

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
        whole = old is not None and not old.lacks_files
        if old and whole and old.rows >= entries.keys():
            return self._note(unit, "were complete")
        held = old.rows if old and whole and old.rows < entries.keys() else frozenset()
        for run in olds:
            others.remove(run)
            if not held:
                self._client.delete_run(run.run_id)
        run = old if old and held else self._create(unit, rows[0])
        others.append(run)
        params = {} if held else {**coordinates(rows[0]), **flatten(self.params_of(rows[0]))}
        new = [row for entry, row in entries.items() if entry not in held]
        files = self._write(run, rows, new, params, {ROWS: " ".join(entries)})
        others[-1] = replace(run, key=rows[0].key, rows=frozenset(entries), files=files)
        return self._note(unit, "added to" if held else "written again" if olds else "written")

    def _note(self, unit: str, what: str) -> bool:
        """Keep the most that was done to a run; return whether anything was."""
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
        """Log ``new`` rows into a run that will hold all of ``rows``; ``last`` are the tags that say so.

        Return how many files the run has now, as far as they can be counted.

        Times come from the rows and repeated points are one point to MLflow, so a write that was cut off may be redone.
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
            of_row = metric_points(folder, row)
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
        if row.facts:
            self._client.log_dict(run_id, dict(row.facts), f"facts/{row.stage}.json")
        if row.error:
            self._client.log_text(run_id, row.error, f"{row.stage}_error.txt")
