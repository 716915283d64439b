"""MLflow logging of a session: in the background during a run, with a check whether it is complete."""

from __future__ import annotations

import getpass
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.cost.host import git_commit
from bench.engine.scheduler import Listener
from bench.engine.session import Session
from bench.files import write_atomic
from bench.plan.plan import Cell
from bench.store.redact import redact
from bench.suite.resolved import resolved
from bench.tracking.media import DatasetInput
from bench.tracking.store import artifacts_of, holds, own_database
from bench.tracking.tracker import Tracker, TrackingThread, tracking_uri
from bench.tracking.views import view_tags
from bench.types import ResultRow

NOTE = """{description}

`{command}`

The run with the name of the suite has its settings and its report (Artifacts). Below it, `<method>/fold…` is a
generator, with its losses, sample grids by step and fidelity; `<method>/r<ratio>/<classifier>/fold…` is a classifier
trained with its images. All classifiers have the same metrics: filter by `tags.kind = "classifier"`, group by the
parameter `method`, or select some and compare them. `params.ratio = "1"` means as many synthetic images as real ones.
Verdicts, with their intervals over paired folds, are in the report.
"""


def telling(configs: Mapping[Any, Any]) -> dict[Any, dict[str, Any]]:
    """Return the distinguishing fields of each config: those that differ between configs or from their default.

    MLflow shows all parameters of a run in every view, so only these are logged; the suite's run has the complete
    configs. Logging and checkpoint intervals (``*_every``) are left out, because they do not change results.
    """
    plain = {name: asdict(config) for name, config in configs.items()}
    defaults = {name: asdict(type(config)()) for name, config in configs.items()}
    values: dict[str, set[str]] = {}
    for config in plain.values():
        for field, value in config.items():
            values.setdefault(field, set()).add(repr(value))
    return {
        name: {
            field: value
            for field, value in config.items()
            if not field.endswith("_every") and (len(values[field]) > 1 or value != defaults[name][field])
        }
        for name, config in plain.items()
    }


def make_tracker(session: Session) -> Tracker:
    """Return the suite's MLflow tracker; MLflow is not imported or contacted yet."""
    suite = session.suite
    names = [s.name for s in suite.methods]
    methods = telling({s.name: s.config for s in suite.methods})
    classifiers = telling({(m, c.name): suite.classifier(c.name, m).config for m in names for c in suite.classifiers})
    segmentation_networks = telling(suite.settings.segmentation_networks)

    def params(row: ResultRow) -> dict[str, Any]:
        found = {
            "method": methods.get(row.method or ""),
            "classifier": classifiers.get((row.method or "", row.classifier or "")),
            "segmentation": segmentation_networks.get(row.classifier or ""),
        }
        return {kind: config for kind, config in found.items() if config}

    commit = git_commit()
    tags = {
        "git_commit": commit,
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": session.command,
        "mlflow.user": _user(),
    }
    if commit != "unknown":
        tags["mlflow.source.git.commit"] = commit.removesuffix("+changes")
    dataset = DatasetInput.of(session.plan.index, session.plan.fingerprint)
    note = NOTE.format(description=suite.settings.description, command=session.command)
    shown = {"mlflow.note.content": note, **view_tags()}
    return Tracker(None, session.env.out, suite.name, resolved(suite), tags, params, dataset, shown)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"


class MLflowView(Listener):
    """Sends rows to a background thread. Problems of MLflow never stop a run or lose its results."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._thread: TrackingThread | None = None
        self._ledger = session.env.out / "mlflow_synced.json"  # for servers; the folder's own database is queried
        self._uri = tracking_uri(session.env.out)
        self._key = f"{redact(self._uri)} {session.suite.name}"

    @property
    def thread(self) -> TrackingThread:
        """The thread, started when first used, because importing MLflow takes seconds."""
        self._thread = self._thread or TrackingThread(make_tracker(self.session))
        return self._thread

    def finished(self, cell: Cell, row: ResultRow) -> None:
        """Log the cell in the background."""
        self.thread.submit(row)

    def is_complete(self, state: str) -> bool:
        """Return whether everything of this state (``report_state``) is known to be logged."""
        out = self.session.env.out
        if (own := own_database(out, self._uri)) is not None:
            return holds(own, artifacts_of(out), self.session.suite.name, state)
        return self._read().get(self._key) == state

    def complete(self, rows: Sequence[ResultRow], report: Path, wait_s: float, state: str) -> str | None:
        """Log missing rows and the report of a state; return a warning if this did not finish in time."""
        for row in rows:
            if row.status != "missing":
                self.thread.submit(row)
        self.thread.report(report, state)
        warning = self.thread.close(wait_s)
        if warning is None and own_database(self.session.env.out, self._uri) is None:
            write_atomic(self._ledger, json.dumps({**self._read(), self._key: state}, indent=1))
        return warning

    def _read(self) -> dict[str, str]:
        try:
            return dict(json.loads(self._ledger.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return {}
