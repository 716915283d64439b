"""The run that the options of a command select: a suite with settings, or a run stored in the output folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import click

from bench.cli.sub_suites import SubSuites, opened
from bench.engine.session import Session, prepare, run_command
from bench.engine.stored import (
    as_stored,
    described,
    find_run,
    has_results,
    require_kept,
    settings_changes,
    stored_session,
    stored_suite,
)
from bench.errors import ConfigError
from bench.store.disk import cache_folder
from bench.store.disk_use import CELLS
from bench.store.run_configs import RunConfig, read_run_config, run_names
from bench.suite.shipped import sub_suite_names, suite_name
from bench.suite.suite import Suite, load_suite


@dataclass(frozen=True)
class Chosen:
    """The options of ``suite_options``; ``options`` are further words of the command that the session prints."""

    suite: str | None
    name: str | None
    assignments: tuple[str, ...]
    data: Path | None
    out: Path
    options: tuple[str, ...] = ()
    shows_only: bool = False  # the command creates no output folder

    def with_seed(self, seed: int | None) -> Chosen:
        """Return the options with the setting ``seed``, unless it is None."""
        return self if seed is None else replace(self, assignments=(*self.assignments, f"seed={seed}"))

    def with_epochs(self, epochs: float | None) -> Chosen:
        """Return the options with the setting ``epochs`` of all classifiers, unless it is None."""
        added = () if epochs is None else (f"classifiers.*.epochs={epochs:g}",)
        return replace(self, assignments=(*self.assignments, *added))

    def to_run(self) -> Session | SubSuites:
        """Open the suite with its settings; without a suite the stored run. For verbs that may start a run."""
        if self.suite:
            return self._given(self.suite)
        if not run_names(self.out):
            raise ConfigError(f"no suite given, and --out {self.out} has no run; give a suite, such as tiny")
        return self._of_config(find_run(self.out, self.name))

    def stored(self) -> Session | SubSuites:
        """Open a stored run, with its settings unless ``--set`` is given. For verbs that need a run.

        Raises ``ConfigError`` if the folder has no such run, or if its report would lose trained cells.
        """
        found = self._of_stored_suite(self.suite) if self.suite else self._of_config(find_run(self.out, self.name))
        for session in found.ready if isinstance(found, SubSuites) else [found]:
            require_kept(session)
        return found

    def suite_alone(self) -> Suite:
        """Return the suite of ``to_run`` without its images. Raises ``ConfigError`` for a file with sub-suites."""
        if self.suite:
            return load_suite(self.suite, self.assignments, called=self.name)
        return stored_suite(find_run(self.out, self.name), self.assignments)

    def _given(self, suite: str) -> Session | SubSuites:
        parts = self._parts(suite)
        if not parts:
            return self._prepared(suite, self.name)
        sessions = {name: partial(self._prepared, part, self.name and name) for name, part in parts.items()}
        command = run_command(suite, self.assignments, self.data, self.out, self.name, self.options)
        return opened(self.name or suite_name(suite), self.out, command, sessions)

    def _parts(self, suite: str) -> dict[str, str]:
        """Return the sub-suites of a suite by the names of their runs."""
        own = suite_name(suite)
        return {(self.name or own) + suite_name(part).removeprefix(own): part for part in sub_suite_names(suite)}

    def _prepared(self, suite: str, name: str | None) -> Session:
        cache = cache_folder(self.out.expanduser().resolve()) if self.shows_only else None
        return as_stored(prepare(suite, self.assignments, self.data, self.out, name, self.options, cache))

    def _of_config(self, config: RunConfig) -> Session | SubSuites:
        if not config.sub_suites:
            return stored_session(config, self.out, self.data, self.assignments)
        sessions = {
            name: partial(stored_session, find_run(self.out, name), self.out, self.data, self.assignments)
            for name in config.sub_suites
            if name not in config.absent
        }
        return opened(config.name, self.out, config.command, sessions, config.absent)

    def _of_stored_suite(self, suite: str) -> Session | SubSuites:
        """Return the stored run of a suite; with ``--set``, or if an earlier version ran it, the suite as given."""
        known = run_names(self.out)
        try:
            name, parts = self.name or suite_name(suite), self._parts(suite)
        except ConfigError:
            if suite in known:  # the name of a file that is elsewhere
                return self._of_config(find_run(self.out, suite))
            raise
        config = read_run_config(self.out, name)
        if config is None and not {*parts} & {*known}:
            return self._of_results(suite, name)
        if config is None or not config.command or self.assignments:
            return self._given(suite)
        if not parts:
            _say_differences(config, suite)
        return self._of_config(config)

    def _of_results(self, suite: str, name: str) -> Session | SubSuites:
        """Return the suite as given, if an earlier version stored results of it. Raises ``ConfigError`` if not."""
        if (self.out / CELLS).is_dir():
            found = self._given(suite)
            if any(map(has_results, found.ready if isinstance(found, SubSuites) else [found])):
                return found
        return self._of_config(find_run(self.out, name))  # raises an error that lists the runs of the folder


def one(found: Session | SubSuites) -> Session:
    """Return the session; raises ``ConfigError`` if it has sub-suites, for verbs that take only one."""
    if isinstance(found, SubSuites):
        names = ", ".join(session.suite.name for session in found.ready)
        raise ConfigError(f"{found.name} has sub-suites; select one with --name: {names}")
    return found


def _say_differences(config: RunConfig, suite: str) -> None:
    """Print on standard error that the stored run has other settings than the suite that was given."""
    if changes := settings_changes(load_suite(suite, (), Path(config.data) if config.data else None), config):
        text = f"the settings of the stored run {config.name!r} are used, not those of {suite} ({described(changes)})"
        click.secho(f"{text}; to use the latter: bench run", fg="yellow", err=True)
