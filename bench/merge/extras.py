"""Merging of other files of a store: run records, configs of suites, tuning studies, profiles.

Not merged: caches (recomputed), MLflow data (`bench mlflow sync`) and reports (`bench report`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from bench.files import write_atomic
from bench.forecast.profiles import FOLDER
from bench.store.run_configs import FOLDER as RUN_CONFIG_FOLDER
from bench.store.run_configs import SETTINGS
from bench.store.run_records import RUNS
from bench.tuning.cost import COST_FILE
from bench.tuning.study import JOURNAL

CONFIGS, TUNING, PROFILES = f"reports/*/{SETTINGS}", "tuning", f"{FOLDER}/*.json"
RUN_CONFIGS = f"{RUN_CONFIG_FOLDER}/*.yaml"  # as CONFIGS, with the folders and the command of one machine


def merge_runs(source: Path, out: Path) -> int:
    """Add missing run records; return their number. Unreadable lines are skipped."""
    known = _runs(out)
    new = {k: None for k in _runs(source) if k not in known}
    if new:
        write_atomic(out / RUNS, "".join(f"{line}\n" for line in (*known, *new)))
    return len(new)


def _runs(folder: Path) -> dict[str, None]:
    """Return the readable lines of a folder's run records, in order."""
    path = folder / RUNS
    found: dict[str, None] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            found[json.dumps(json.loads(line))] = None
        except ValueError:
            continue
    return found


def merge_small_files(source: Path, out: Path) -> Iterator[str]:
    """Copy configs of suites and profiles that ``out`` lacks; yield a note for each existing file that differs."""
    for pattern in (CONFIGS, RUN_CONFIGS, PROFILES):
        for path in sorted(source.glob(pattern)):
            target = out / path.relative_to(source)
            text = path.read_text(encoding="utf-8")
            if not target.exists():
                write_atomic(target, text)
                shutil.copystat(path, target)  # the newer of two profiles is used
            elif target.read_text(encoding="utf-8") != text and pattern != RUN_CONFIGS:
                yield f"{path} differs from {target}, which is kept"


def merge_studies(source: Path, out: Path, staging: Path) -> Iterator[str]:
    """Copy tuning studies. A study is replaced by its continuation; yield a note for a different study of that name.

    The different study is copied under another name, because its tuning cost counts too; `bench tune` continues the
    first one. Studies are copied, never hard-linked, because their journals grow.
    """
    for folder in sorted(p for p in (source / TUNING).glob("*") if p.is_dir()):
        mine = _content(folder)
        number = 1
        target = out / TUNING / folder.name
        while target.exists():
            theirs = _content(target)
            if theirs.startswith(mine) or mine.startswith(theirs):
                break
            number += 1
            target = out / TUNING / f"{folder.name}@{number}"
        if target.exists() and len(_content(target)) >= len(mine):
            continue
        if number > 1:
            yield f"{folder}: another study of this name exists; copied as {target.name}"
        staged = staging / target.name
        shutil.copytree(folder, staged)
        if target.exists():
            shutil.rmtree(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        staged.rename(target)


def _content(study: Path) -> bytes:
    """Return the content that identifies a study: its journal, which only grows, or its tuning cost."""
    path = next((study / n for n in (JOURNAL, COST_FILE) if (study / n).is_file()), None)
    return path.read_bytes() if path else b""
