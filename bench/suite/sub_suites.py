"""Sub-suites: several suites in one YAML file that share all settings except the changes of each sub-suite.

``sub_suites`` maps a name to changes in the suite's syntax; the rest of the file is shared. A sub-suite may also have a
``fallback``: further changes that apply if its ``folder`` of images does not exist. The sub-suite ``busi`` of
``cross.yaml`` is the suite ``cross-busi``, as if a file of that name existed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.config import merged, read_yaml
from bench.errors import ConfigError, nearest
from bench.names import check_names

SUB_SUITES, FALLBACK_KEY = "sub_suites", "fallback"


def locate(name: str, files: Mapping[str, Path]) -> tuple[Path, str | None]:
    """Return the YAML file of a suite, and the name of the sub-suite in it, if it is one.

    ``name`` is one of ``files`` (the shipped suites), a path, or either of them followed by ``-<sub-suite>``. Raises
    ``ConfigError`` with the nearest valid name.
    """
    path = files.get(name) or Path(name)
    if path.is_file():
        return path, None
    beside = {p.stem: p for p in path.parent.glob("*.yaml")} if path.suffix == ".yaml" else files
    stem = path.stem if path.suffix == ".yaml" else name
    for start in sorted((s for s in beside if stem.startswith(f"{s}-")), key=len, reverse=True):
        sub_suite = stem.removeprefix(f"{start}-")
        names = sub_suites_in(read_yaml(beside[start]), start)
        if sub_suite in names:
            return beside[start], sub_suite
        if names:
            raise ConfigError(f"suite {start} has no sub-suite {sub_suite!r}; {nearest(sub_suite, names)}")
    raise ConfigError(f"unknown suite {name!r}, and no such file exists; {nearest(name, files)}")


def sub_suites_in(data: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """Return the names of the sub-suites in a suite's mapping, () if there are none. Raises ``ConfigError``."""
    found = data.get(SUB_SUITES)
    if SUB_SUITES not in data:
        return ()
    if not isinstance(found, dict) or not found or not all(isinstance(v, dict) for v in found.values()):
        raise ConfigError(f"suite {where}: sub_suites: expected a mapping from name to changes, got {found!r}")
    names = tuple(map(str, found))
    check_names(f"suite {where}: sub_suites", names)
    return names


def of_sub_suite(data: Mapping[str, Any], sub_suite: str, root: Path | None) -> dict[str, Any]:
    """Return the suite mapping of a sub-suite; its fallback applies if its images are not below ``root``."""
    shared = {k: v for k, v in data.items() if k != SUB_SUITES}
    changes = dict(data[SUB_SUITES][sub_suite])
    fallback = changes.pop(FALLBACK_KEY, None)
    found: dict[str, Any] = merged(shared, changes)
    if fallback and images_in(root, found.get("folder")) is None:
        found = merged({k: v for k, v in found.items() if k != "folder"}, fallback)
    return found


def images_in(root: Path | None, folder: str | None) -> Path | None:
    """Return the folder of images: ``root/folder``, or ``root`` if it has that name; else None."""
    if root is None or folder is None:
        return None
    return next((p for p in (root / folder, root) if p.name == folder and p.is_dir()), None)
