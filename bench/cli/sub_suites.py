"""Suite files with sub-suites in the verbs run, plan, status and report: one sub-suite after another, then overall."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.engine.console import plain_console
from bench.engine.session import Session
from bench.engine.stored import keep_config
from bench.errors import DataError
from bench.store.run_configs import RunConfig, save_run_config


@dataclass(frozen=True)
class SubSuites:
    """The sub-suites of a file: sessions of those whose images were found, and by name why the others are absent.

    ``command`` is the command that runs them all.
    """

    name: str
    out: Path
    command: str
    ready: tuple[Session, ...]
    absent: Mapping[str, str] = field(default_factory=dict)

    def keep(self) -> None:
        """Store the configuration of the run and of each sub-suite in the output folder."""
        for session in self.ready:
            keep_config(session)
        names = (*(s.suite.name for s in self.ready), *self.absent)
        save_run_config(self.out, RunConfig(self.name, self.command, sub_suites=names, absent=self.absent))


def opened(
    name: str, out: Path, command: str, sessions: Mapping[str, Callable[[], Session]],
    known: Mapping[str, str] | None = None,
) -> SubSuites:  # fmt: skip
    """Open the session of each sub-suite by name; one without images is left out, with the reason.

    ``known`` are reasons of sub-suites that were left out before. Raises ``DataError`` if all are left out.
    """
    ready: list[Session] = []
    absent = dict(known or {})
    for sub_suite, open_it in sessions.items():
        try:
            ready.append(open_it())
        except DataError as e:
            absent[sub_suite] = str(e).splitlines()[0]
    if not ready:
        reasons = "\n".join(f"  {sub_suite}: {reason}" for sub_suite, reason in absent.items())
        raise DataError(
            f"no images found for any sub-suite of {name}; give the folder that contains them with --data\n{reasons}"
        )
    return SubSuites(name, out.expanduser().resolve(), command, tuple(ready), absent)


def write_overall(m: SubSuites) -> Path:
    """Write the overall report of the sub-suites into ``reports/<name>/`` and return the path of its ``cross.md``."""
    from bench.report.pages.datasets.build import build_cross_dataset

    folders = {s.suite.name: s.report_folder for s in m.ready}
    return build_cross_dataset(m.name, folders, m.absent, m.command, m.out / "reports" / m.name)


def for_each(m: SubSuites, show: Callable[[Session], None]) -> None:
    """Show every sub-suite that can run, then name the others."""
    for session in m.ready:
        show(session)
        plain_console().print()
    name_absent(m)


def name_absent(m: SubSuites) -> None:
    """Print the sub-suites that are left out, with the reason."""
    for name, reason in m.absent.items():
        plain_console().print(f"suite {name} is left out: {reason}", style="yellow", soft_wrap=True)


def head(m: SubSuites) -> dict[str, Any]:
    """Return the first entries of a JSON answer on sub-suites."""
    return {"suite": m.name, "absent": dict(m.absent)}
