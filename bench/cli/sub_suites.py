"""A file of members in the verbs run, plan, status and report: its suites one after another, then all together."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.cli.plan import plan_facts, show_plan
from bench.cli.report import warn_of_damage, write_report
from bench.cli.run import run as run_suite
from bench.cli.status import plain, read_status, show_status
from bench.engine.console import echo_json, plain_console
from bench.engine.session import Session, prepare, typed
from bench.errors import DataError
from bench.forecast.cost_model import duration
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


def run_sub_suites(m: SubSuites, only: Sequence[str], device: str, jobs: int | None, trace: bool) -> int:
    """Run what is left of each member, and report all together; return the exit code, 1 also for absent images."""
    codes, before = [], _told(m)
    for session in m.ready:
        codes.append(run_suite(session, only, device, jobs, trace))
        plain_console().print()
    if _told(m) != before:  # reports quote each other, and those that were written first the others' old ones
        for session in m.ready[:-1]:
            write_report(session)
    _say_absent(m)
    overall = write_overall(m)
    plain_console().print(f"all together: {overall}\npage: {overall.with_suffix('.html')}")
    return max([*codes, int(bool(m.absent))])


def show_plans(m: SubSuites, only: Sequence[str], as_json: bool, jobs: int | None = None) -> None:
    """Print the plan of each member, and what is left of all."""
    facts = [plan_facts(s, only, jobs) for s in m.ready]
    if as_json:
        print(json.dumps({**_head(m), "sub_suites": facts}, indent=1, sort_keys=True))
        return
    _each(m, lambda session: show_plan(session, only, as_json=False, jobs=jobs))
    known = all(f["expected_wall_s"] is not None for f in facts)
    took = sum(
        f["expected_core_s"] / f["jobs"] if f["expected_wall_s"] is None else f["expected_wall_s"] for f in facts
    )
    cells, left = sum(len(f["cells"]) for f in facts), sum(f["left"] for f in facts)
    time = f"{'' if known else 'at least '}{duration(took)}" if took or not left else "not measured yet"
    plain_console().print(f"{m.name}: {len(facts)} sub-suites, {cells} cells, {left} to do: {time}")


def show_statuses(m: SubSuites, as_json: bool) -> None:
    """Print how far each member is."""
    if as_json:
        echo_json({**_head(m), "sub_suites": [plain(read_status(s)) for s in m.ready]})
    else:
        _each(m, lambda session: show_status(session, as_json=False))


def report_sub_suites(m: SubSuites, as_json: bool) -> int:
    """Write the report of each member and that of all together; return the exit code, 1 where cells are damaged."""
    pages = [write_report(session) for session in m.ready]
    overall = write_overall(m)
    console = plain_console()
    code = max(warn_of_damage(session) for session in m.ready)
    if as_json:
        print(overall.with_suffix(".json").read_text(encoding="utf-8"), end="")
        return code
    for page in pages:
        console.print(str(page), soft_wrap=True)
    _say_absent(m)
    console.print(f"{overall}\n{overall.with_suffix('.html')}", soft_wrap=True)
    return code


def write_overall(m: SubSuites) -> Path:
    """Write what the members' reports say together into ``reports/<name>/`` and return its ``cross.md``."""
    from bench.report.pages.datasets.build import build_cross

    folders = {s.suite.name: s.report_folder for s in m.ready}
    return build_cross(m.name, folders, m.absent, m.command, m.out / "reports" / m.name)


def _told(m: SubSuites) -> list[bytes]:
    """Return what identifies the results that each member's report was written from."""
    states = [session.report_folder / ".state" for session in m.ready]
    return [path.read_bytes() if path.is_file() else b"" for path in states]


def _each(m: SubSuites, show: Callable[[Session], None]) -> None:
    for session in m.ready:
        show(session)
        plain_console().print()
    _say_absent(m)


def _say_absent(m: SubSuites) -> None:
    for name, reason in m.absent.items():
        plain_console().print(f"suite {name} is left out: {reason}", style="yellow", soft_wrap=True)


def _head(m: SubSuites) -> dict[str, Any]:
    return {"suite": m.name, "absent": dict(m.absent)}
