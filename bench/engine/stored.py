"""Runs that an output folder contains: their stored configurations, and sessions opened from them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.analysis.two_runs.changes import ABSENT, Changed, config_changes
from bench.config import to_plain
from bench.engine.session import Session, data_root, open_session, option_of
from bench.errors import BenchError, ConfigError
from bench.plan.plan import Cell
from bench.registry import folders, look_in, no_exit
from bench.store.cell_folders import Artifacts, CellId
from bench.store.redact import redact
from bench.store.run_configs import RunConfig, read_run_config, run_names, save_run_config
from bench.suite.epochs import EPOCHS, STEPS
from bench.suite.resolved import resolved
from bench.suite.suite import Suite, suite_from

TRAINED = ("fit", "classify", "segmentation")  # the other stages are repeated quickly
NAMED_CHANGES = 3


def find_run(out: Path, name: str | None = None) -> RunConfig:
    """Return the configuration of a run in an output folder; without a name, of the only one.

    A run of a file with sub-suites counts as one. Raises ``ConfigError`` if there is no such run, or if there are
    several and none is named; the message lists them.
    """
    known = {n: config for n in run_names(out) if (config := read_run_config(out, n))}
    if not known:
        what = "has no run" if out.is_dir() else "does not exist"
        raise ConfigError(f"--out {out}: the folder {what}; expected the --out folder of a `bench run`")
    if name is not None:
        if name in known:
            return known[name]
        raise ConfigError(f"--out {out} has no run named {name!r}; its runs:\n{_listed(known)}")
    parts = {sub_suite for config in known.values() for sub_suite in config.sub_suites}
    whole = {n: config for n, config in known.items() if n not in parts}
    if len(whole) > 1:
        raise ConfigError(f"--out {out} has {len(whole)} runs; select one with --name:\n{_listed(whole)}")
    return next(iter(whole.values()))


def stored_runs(out: Path) -> dict[str, RunConfig]:
    """Return the runs of an output folder by name, with sub-suites in place of the run that contains them.

    Runs of earlier versions, which stored less, are left out.
    """
    known = {name: read_run_config(out, name) for name in run_names(out)}
    return {name: config for name, config in known.items() if config and config.command and not config.sub_suites}


def referenced_cells(out: Path) -> set[CellId]:
    """Return the cells of all runs in an output folder. Raises ``ConfigError`` if one of them cannot be planned."""
    found: set[CellId] = set()
    for name in run_names(out):
        config = read_run_config(out, name)
        if config is None or config.sub_suites:
            continue
        try:
            found |= {cell.id for cell in stored_session(config, out).plan.cells}
        except BenchError as e:
            raise ConfigError(f"run {name} cannot be planned, so its cells are unknown: {e}") from e
    return found


def _listed(runs: Mapping[str, RunConfig]) -> str:
    return "\n".join(f"  {name}: {config.command or 'of an earlier version'}" for name, config in runs.items())


def stored_session(
    config: RunConfig, out: Path, data: Path | None = None, assignments: tuple[str, ...] = ()
) -> Session:
    """Return the session of a stored run. ``data`` replaces its folder of images; ``assignments`` change its settings.

    Raises ``ConfigError`` and ``DataError`` like ``prepare``, and for a run with sub-suites, which has no session.
    """
    suite = stored_suite(config, assignments)
    stored = Path(config.data) if config.data else None
    root = data_root(data or (stored if stored and stored.exists() else None)) or stored
    session = open_session(suite, root, out, config.command, config.weights)
    words = [word for a in assignments for word in option_of(a)]
    words += ["--data", str(data)] if data and _text(session.env.data) != config.data else []
    return replace(session, command=redact(" ".join(filter(None, [config.command, shlex.join(words)]))))


def stored_suite(config: RunConfig, assignments: tuple[str, ...] = ()) -> Suite:
    """Return the suite of a stored run with changes. Raises ``ConfigError``, also for a run with sub-suites."""
    if config.sub_suites:
        raise ConfigError(f"{config.name} has sub-suites; select one with --name: {', '.join(config.sub_suites)}")
    for folder in config.plugins:
        look_in(Path(folder))
    settings = {key: value for key, value in config.suite.items() if key != "name"}
    with no_exit("the suite was planned"):
        return suite_from(config.name, settings, assignments)


def keep_config(session: Session) -> None:
    """Store the session's configuration in its output folder."""
    env = session.env
    settings = _settings(session.suite)
    config = RunConfig(session.suite.name, session.command, settings, _text(env.data), _text(env.weights), folders())
    save_run_config(env.out, config)


def as_stored(session: Session) -> Session:
    """Return the session with the command of the stored run of its name, if that has the same settings and images."""
    config = read_run_config(session.env.out, session.suite.name)
    same = config and config.command and not _changes(session, config)
    return replace(session, command=config.command) if config and same else session


def settings_changes(suite: Suite, config: RunConfig) -> list[Changed]:
    """Return the settings in which a suite (A) and a stored run (B) differ; settings added since are left out.

    A stored run has steps; a suite that was not planned may have epochs instead, which are left out too.
    """
    found = list(config_changes(_settings(suite), config.suite))
    ignored = {"name", *(f"{c.path.removesuffix(EPOCHS)}{STEPS}" for c in found if c.path.endswith(f".{EPOCHS}"))}
    return [c for c in found if c.b is not ABSENT and c.path not in ignored]


def described(changes: Sequence[Changed]) -> str:
    """Return differences from a stored run in words: 'seed: 1 there, 0 here'; at most three."""
    more = f" and {len(changes) - NAMED_CHANGES} more" if len(changes) > NAMED_CHANGES else ""
    return ", ".join(f"{c.path}: {c.b!r} there, {c.a!r} here" for c in changes[:NAMED_CHANGES]) + more


def _changes(session: Session, config: RunConfig) -> list[Changed]:
    data = Changed("data", _text(session.env.data), config.data)
    moved = [data] if config.command and data.a != data.b else []
    return [*settings_changes(session.suite, config), *moved]


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _settings(suite: Suite) -> dict[str, Any]:
    """Return the complete settings; paths of weights are absolute, so that any working folder will do."""
    found: dict[str, Any] = to_plain(resolved(suite))
    weights = found["weights"]
    if isinstance(weights, str):
        found["weights"] = _absolute(weights)
    elif weights:
        found["weights"] = {key: path and _absolute(path) for key, path in weights.items()}
    return found


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve())


def require_kept(session: Session) -> None:
    """Raise ``ConfigError`` if the report of the stored run of this name would lose trained cells by this session.

    A session may add cells (methods, ratios, folds) and change what the report says; other settings need a name of
    their own. Cells are shared between the runs of a folder, so nothing is trained twice.
    """
    name, out = session.suite.name, session.env.out
    config = read_run_config(out, name)
    changes = _changes(session, config) if config else []
    if not config or not changes:
        return
    known = config.data and Path(config.data).exists()
    try:
        before = stored_session(config, out, None if known else session.env.data)
    except BenchError:  # it cannot be planned any more, so its report could not be written again
        if not config.command:  # an earlier version did not store all that a plan needs
            return
        lost = "its report"
    else:
        cells = _lost(before, session)
        if not cells:
            return
        lost = f"{len(cells)} trained cell{'s' if len(cells) > 1 else ''}, such as {cells[0].title}"
    raise ConfigError(
        f"--out {out} has a run named {name!r} with other settings ({described(changes)}); the report would lose "
        f"{lost}. Give this run a name of its own: {session.command} --name {_free_name(out, name)}"
    )


def has_results(session: Session) -> bool:
    """Return whether a cell of the session is finished."""
    artifacts = Artifacts(session.env.out)
    return any(artifacts.is_done(*cell.id) for cell in session.plan.work)


def _lost(before: Session, after: Session) -> list[Cell]:
    """Return the finished trainings of a run that another one with the same name does not use."""
    used, artifacts = {c.id for c in after.plan.cells}, Artifacts(before.env.out)
    trained = (c for c in before.plan.work if c.stage in TRAINED and c.id not in used)
    return [c for c in trained if artifacts.is_done(*c.id)]


def _free_name(out: Path, name: str) -> str:
    known, number = run_names(out), 2
    while f"{name}-{number}" in known:
        number += 1
    return f"{name}-{number}"
