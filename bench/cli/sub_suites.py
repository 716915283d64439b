"""Suite files with sub-suites in the verbs run, plan, status and report: one sub-suite after another, then overall."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.engine.console import plain_console
from bench.engine.session import Session, prepare, typed
from bench.errors import DataError
from bench.suite.shipped import sub_suite_names


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


def sub_suites_of(suite: str, assignments: tuple[str, ...], data: Path | None, out: Path) -> SubSuites | None:
    """Return the sub-suites of a suite, or None if it has none.

    A sub-suite without images is left out, with the reason. Raises ``DataError`` if all are left out, and the errors of
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
            f"no images found for any sub-suite of {suite}; give the folder that contains them with --data\n{reasons}"
        )
    return SubSuites(
        Path(suite).stem, out.expanduser().resolve(), typed(suite, assignments, data), tuple(ready), absent
    )


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
