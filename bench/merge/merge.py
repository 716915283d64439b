"""Merge several stores into one normal store, which can be reported, resumed and merged again.

Nothing is written before all sources are read and checked. Then cells are added, each by one rename, and rows last, so
an interrupted merge is continued by the same command. Sources are not changed and may be in use: a finished cell's
folder never changes, so its files may be hard-linked; unfinished cells are not merged.
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
from bench.plan.plan import fold_title
from bench.store.cell_folders import Artifacts
from bench.store.results import Store
from bench.types import ResultRow

STAGING = ".merging"  # folder inside the merged store for incomplete cells
LISTED = 10  # maximum number of conflicts in an error message


@dataclass
class Taken:
    """What was taken from one source. ``duplicates``: same result as another source; ``conflicts``: different result.

    ``outdone``: failures of cells that are done in another source. ``linked_bytes`` use no additional disk space.
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
    """A finished merge: what was taken from each source, notes, and the suites in the store."""

    out: Path
    taken: list[Taken]
    suites: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)


def merge(
    paths: Sequence[Path], out: Path, policy: Policy = "refuse", progress: Callable[[int, int], None] | None = None
) -> Merged:
    """Merge the stores in ``paths`` into ``out``, whose finished cells are kept.

    ``policy`` for cells with different results: 'refuse' raises; 'first' and 'last' keep that of the first or last
    source in the given order; 'newest' the latest one. ``progress`` is called with (cells merged, cells to merge).
    Raises ``StoreError`` and ``ConfigError`` before anything is written.
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
        raise ConfigError(f"--out {out} is one of the sources; its content is kept anyway: remove it from the sources")
    for path in paths:
        if real.count(path.resolve()) > 1:
            raise ConfigError(f"{path} is given twice; give every source once")


def _refuse_in_use(todo: Sequence[Choice], out: Path) -> None:
    artifacts = Artifacts(out)
    for choice in todo:
        if artifacts.is_claimed(*_id(choice.key)):
            raise StoreError(f"{out} is in use: a run is working on {choice.key}; wait, or merge into a new folder")


def _id(key: str) -> tuple[str, str]:
    stage, _, name = key.partition("/")
    return stage, name


def _staging(out: Path) -> Path:
    """Return an empty folder on the merged store's disk; files of an interrupted merge are deleted."""
    folder = out / STAGING
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _take_cell(choice: Choice, source: Path, out: Path, staging: Path, taken: Taken) -> None:
    """Add one finished cell's folder to ``out`` atomically."""
    stage, key = _id(choice.key)
    staged = staging / f"{stage}-{key}"
    linked, copied = _copy(Artifacts(source).folder(stage, key), staged)
    if Artifacts(out).adopt(stage, key, staged):
        taken.cells += 1
        taken.linked_bytes += linked
        taken.copied_bytes += copied


def _copy(source: Path, target: Path) -> tuple[int, int]:
    """Copy a tree by hard links, or by copies where links are impossible; return (linked bytes, copied bytes)."""
    linked = copied = 0
    for folder, _, names in os.walk(source):
        into = target / Path(folder).relative_to(source)
        into.mkdir(parents=True)
        for name in names:
            path = Path(folder) / name
            try:
                os.link(path, into / name)
                linked += path.stat().st_size
            except OSError:  # another disk, or a file system without hard links
                shutil.copy2(path, into / name)
                copied += path.stat().st_size
    return linked, copied


def _new_rows(choices: Sequence[Choice], sources: Sequence[Source], out: Path, kept: bool) -> dict[int, ResultRow]:
    """Return the rows that the merged store lacks, by the index of their choice."""
    found = {}
    for i, c in enumerate(choices):
        row = _row(c, sources, out)
        old = sources[0].rows.get(c.key) if kept else None
        if row is not None and (old is None or (old.status, old.finished_at) != (row.status, row.finished_at)):
            found[i] = row
    return found


def _row(choice: Choice, sources: Sequence[Source], out: Path) -> ResultRow | None:
    """Return the row of a choice; None if no source has one (after a killed run; the next run writes it).

    It is the row of the selected source, unless it does not match the folder; then it is created from the folder.
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
        "newest keeps one result of each; but the same cell should give the same numbers: find out why they differ"
    )


def _described(choice: Choice, sources: Sequence[Source]) -> str:
    """Describe a cell and its first different metric: 'evaluate/ab (none 0 small_cnn fold 0): test/f1 0.9 in A, …'."""
    other = choice.different[0]
    results = [sources[i].result(choice.key) for i in (choice.source, other)]
    a, b = (dict(r.metrics) if r else {} for r in results)
    name = next(k for k in dict.fromkeys((*a, *b)) if k not in a or k not in b or str(a[k]) != str(b[k]))
    row = next((r for i in (choice.source, other) if (r := sources[i].rows.get(choice.key))), None)
    at = fold_title(row.fold, row.repeat, row.train_patients) if row else ""
    where = [row.method, row.ratio, row.classifier, at] if row else []
    what = f"{choice.key} ({' '.join(x for x in where if x)})" if row else choice.key
    shown = [f"{values.get(name, 'none')} in {sources[i].path}" for values, i in ((a, choice.source), (b, other))]
    return f"{what}: {name} {', '.join(shown)}"
