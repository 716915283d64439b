"""Several stores -> one, which is a store like any other: it reports, resumes, and can be merged again.

Nothing is written before everything was read and found to fit. Then cells come first, each by one rename, and rows
last, so that a merge that was interrupted is continued by the same command. No source is written to, and one may be in
use: a finished cell's folder never changes, so that it may even be the same files (hard links), and what is not
finished stays where it is.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.errors import ConfigError, StoreError
from bench.merge.choose import Choice, Policy, choose
from bench.merge.extras import merge_runs, merge_small_files, merge_studies
from bench.merge.sources import Source, read_source, row_from_cell
from bench.store.cell_folders import Artifacts
from bench.store.results import Store
from bench.types import ResultRow

STAGING = ".merging"  # inside the merged store: what is not whole yet
LISTED = 10  # conflicts that an error spells out


@dataclass
class Taken:
    """What a merge took of one source. ``duplicates`` are the same result as another's, ``conflicts`` a different one.

    ``outdone``: failures of cells that another source has done. ``linked_bytes`` take no room on the disk.
    """

    path: Path
    rows: int = 0
    duplicates: int = 0
    conflicts: int = 0
    outdone: int = 0
    cells: int = 0
    linked_bytes: int = 0
    copied_bytes: int = 0
    torn: int = 0


@dataclass
class Merged:
    """A finished merge: what came from where, what the reader should know, and the suites that it holds rows of."""

    out: Path
    taken: list[Taken]
    suites: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)


def merge(
    paths: Sequence[Path], out: Path, policy: Policy = "refuse", progress: Callable[[int, int], None] | None = None
) -> Merged:
    """Combine the stores in ``paths`` in ``out``, where what is finished already stays.

    ``policy`` says what becomes of a cell with different results: 'refuse' raises, the others keep that of the 'first'
    or 'last' source in the order given, or the 'newest'. ``progress`` hears of (cells taken, cells to take). Raises
    ``StoreError`` and ``ConfigError``, before anything is written.
    """
    _check(paths, out)
    kept = (out / "results.jsonl").is_file() or (out / "cells").is_dir()
    sources = [read_source(p) for p in ([out] if kept else []) + list(paths)]
    choices = choose(sources, policy, kept)
    conflicts = [c for c in choices if c.different]
    if conflicts and policy == "refuse":
        raise StoreError(_refusal(conflicts, sources))
    todo = [c for c in choices if c.folder and not (kept and c.source == 0)]
    _refuse_in_use(todo, out)
    found = Merged(out, [Taken(s.path, torn=len(s.torn)) for s in sources])
    staging = _staging(out)
    for i, c in enumerate(todo):
        _take_cell(c, sources[c.source].path, out, staging, found.taken[c.source])
        if progress:
            progress(i + 1, len(todo))
    rows = _new_rows(choices, sources, out, kept)
    Store(out).append(rows.values())
    _count(found, choices, rows, kept)
    for source in paths:
        merge_runs(source, out)
        found.notes += [*merge_small_files(source, out), *merge_studies(source, out, staging)]
    shutil.rmtree(staging)
    found.suites = tuple(dict.fromkeys(r.suite for r in Store(out).rows().values()))
    return found


def _check(paths: Sequence[Path], out: Path) -> None:
    real = [p.resolve() for p in paths]
    if out.resolve() in real:
        raise ConfigError(f"--out {out} is one of the sources; what it holds stays anyway: leave it out of them")
    for path in paths:
        if real.count(path.resolve()) > 1:
            raise ConfigError(f"{path} is given twice; give every source once")


def _refuse_in_use(todo: Sequence[Choice], out: Path) -> None:
    artifacts = Artifacts(out)
    for choice in todo:
        if artifacts.is_locked(*_id(choice.key)):
            raise StoreError(f"{out} is in use: a run works on {choice.key}; wait for it, or merge into a new folder")


def _id(key: str) -> tuple[str, str]:
    stage, _, name = key.partition("/")
    return stage, name


def _staging(out: Path) -> Path:
    """Return an empty folder on the merged store's disk; what an interrupted merge left there is gone."""
    folder = out / STAGING
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _take_cell(choice: Choice, source: Path, out: Path, staging: Path, taken: Taken) -> None:
    """Bring one finished cell's folder to its address in ``out``: whole, or not at all."""
    stage, key = _id(choice.key)
    staged = staging / f"{stage}-{key}"
    linked, copied = _copy(Artifacts(source).folder(stage, key), staged)
    if Artifacts(out).adopt(stage, key, staged):
        taken.cells += 1
        taken.linked_bytes += linked
        taken.copied_bytes += copied


def _copy(source: Path, target: Path) -> tuple[int, int]:
    """Make ``target`` the same tree by hard links, by copies where there can be none; return the bytes of either."""
    linked = copied = 0
    for folder, _, names in os.walk(source):
        into = target / Path(folder).relative_to(source)
        into.mkdir(parents=True)
        for name in names:
            path = Path(folder) / name
            try:
                os.link(path, into / name)
                linked += path.stat().st_size
            except OSError:  # another disk, or one that knows no links
                shutil.copy2(path, into / name)
                copied += path.stat().st_size
    return linked, copied


def _new_rows(choices: Sequence[Choice], sources: Sequence[Source], out: Path, kept: bool) -> dict[int, ResultRow]:
    """Return the rows that the merged store lacks, by the number of their choice."""
    found = {}
    for i, c in enumerate(choices):
        row = _row(c, sources, out)
        old = sources[0].rows.get(c.key) if kept else None
        if row is not None and (old is None or (old.status, old.finished_at) != (row.status, row.finished_at)):
            found[i] = row
    return found


def _row(choice: Choice, sources: Sequence[Source], out: Path) -> ResultRow | None:
    """Return the row of a choice; None where nobody has one (a killed run's: the next one writes it).

    Its own source's, unless that is of another state than the folder: then the folder says what was measured.
    """
    own = sources[choice.source].rows.get(choice.key)
    if not choice.folder:
        return own
    result = sources[choice.source].cells[choice.key]
    rows = [own, *(s.rows.get(choice.key) for s in sources)]
    known = [r for r in rows if r is not None]
    exact = (r for r in known if r.status == "done" and r.finished_at == result.finished_at)
    row = next(exact, None)
    return row if row or not known else row_from_cell(known[0], out)


def _count(found: Merged, choices: Sequence[Choice], rows: dict[int, ResultRow], kept: bool) -> None:
    for i, c in enumerate(choices):
        if i in rows or (kept and c.source == 0):
            found.taken[c.source].rows += 1
        for name, indices in (("duplicates", c.same), ("conflicts", c.different), ("outdone", c.lesser)):
            for source in indices:
                setattr(found.taken[source], name, getattr(found.taken[source], name) + 1)


def _refusal(conflicts: Sequence[Choice], sources: Sequence[Source]) -> str:
    lines = [_described(c, sources) for c in conflicts[:LISTED]]
    if len(conflicts) > LISTED:
        lines.append(f"… and {len(conflicts) - LISTED} more")
    count = f"{len(conflicts)} cell{'s have' if len(conflicts) > 1 else ' has'} different results"
    return (
        f"{count} in these stores; nothing was merged:\n  " + "\n  ".join(lines) + "\n--on-duplicate first, last or "
        "newest keeps one result of each; but the same cell should give the same numbers: look at what made them differ"
    )


def _described(choice: Choice, sources: Sequence[Source]) -> str:
    """Name a cell and the first metric that differs: 'evaluate/ab12 (none 0 small_cnn fold 0): test/f1 0.9 in A, …'."""
    other = choice.different[0]
    results = [sources[i].result(choice.key) for i in (choice.source, other)]
    a, b = (dict(r.metrics) if r else {} for r in results)
    name = next(k for k in dict.fromkeys((*a, *b)) if k not in a or k not in b or str(a[k]) != str(b[k]))
    row = next((r for i in (choice.source, other) if (r := sources[i].rows.get(choice.key))), None)
    where = [row.method, row.ratio, row.classifier, f"fold {row.fold}"] if row else []
    what = f"{choice.key} ({' '.join(x for x in where if x)})" if row else choice.key
    shown = [f"{values.get(name, 'none')} in {sources[i].path}" for values, i in ((a, choice.source), (b, other))]
    return f"{what}: {name} {', '.join(shown)}"
