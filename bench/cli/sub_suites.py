"""A suite file with sub-suites in the verbs run, plan, status and report: one suite after another, then all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.engine.console import plain_console
from bench.engine.session import Session, prepare, typed
from bench.errors import DataError
from bench.suite.suite import sub_suite_names


@dataclass(frozen=True)
class SubSuites:
    """The members of a file: those whose images are here, made ready, and why the others are not, by their suites.

    ``command`` is what to type to run them all.
    """

    name: str
    out: Path
    command: str
    ready: tuple[Session, ...]
    absent: Mapping[str, str] = field(default_factory=dict)


def sub_suites_of(suite: str, assignments: tuple[str, ...], data: Path | None, out: Path) -> SubSuites | None:
    """Return the members of a suite, or None where it is an ordinary one.

    A member without its images is left out, with the reason. Raises ``DataError`` when all of them are, and as
    ``prepare``.
    """
    names = sub_suite_names(suite)
    if not names:
        return None
    ready: list[Session] = []
    absent: dict[str, str] = {}
    for name in names:
        try:
            ready.append(prepare(name, assignments, data, out))
        except DataError as e:
            absent[Path(name).stem] = str(e).splitlines()[0]
    if not ready:
        reasons = "\n".join(f"  {name}: {reason}" for name, reason in absent.items())
        raise DataError(
            f"no sub-suite of {suite} has its images; name the folder that holds them with --data\n{reasons}"
        )
    return SubSuites(
        Path(suite).stem, out.expanduser().resolve(), typed(suite, assignments, data), tuple(ready), absent
    )


def write_overall(m: SubSuites) -> Path:
    """Write what the members' reports say together into ``reports/<name>/`` and return its ``cross.md``."""
    from bench.report.pages.datasets.build import build_cross

    folders = {s.suite.name: s.report_folder for s in m.ready}
    return build_cross(m.name, folders, m.absent, m.command, m.out / "reports" / m.name)


def for_each(m: SubSuites, show: Callable[[Session], None]) -> None:
    for session in m.ready:
        show(session)
        plain_console().print()
    name_absent(m)


def name_absent(m: SubSuites) -> None:
    for name, reason in m.absent.items():
        plain_console().print(f"suite {name} is left out: {reason}", style="yellow", soft_wrap=True)


def head(m: SubSuites) -> dict[str, Any]:
    return {"suite": m.name, "absent": dict(m.absent)}
