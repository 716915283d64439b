"""A file of members: several suites in one YAML file, alike in everything but what each member changes.

``members`` maps a name to changes in the suite's own syntax; the rest of the file is what they share. Beside the
changes a member may have ``otherwise``: further changes for where its own ``folder`` of images is not there. The member
``busi`` of ``cross.yaml`` is the suite ``cross-busi``, as though a file of that name lay there too.
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
    """Return the YAML file that a suite is in, and the member that it is there, if it is one.

    ``name`` is one of ``files`` (the shipped suites), a path, or either with ``-<member>`` behind it. Raises
    ``ConfigError`` that names the nearest valid one.
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
    raise ConfigError(f"no suite is called {name!r} and no such file exists; {nearest(name, files)}")


def sub_suites_in(data: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """Return the names of the members in a suite's mapping, () where it is an ordinary one. Raises ``ConfigError``."""
    found = data.get(SUB_SUITES)
    if SUB_SUITES not in data:
        return ()
    if not isinstance(found, dict) or not found or not all(isinstance(v, dict) for v in found.values()):
        raise ConfigError(f"suite {where}: sub_suites: expected a mapping from name to changes, got {found!r}")
    names = tuple(map(str, found))
    check_names(f"suite {where}: sub_suites", names)
    return names


def of_sub_suite(data: Mapping[str, Any], sub_suite: str, root: Path | None) -> dict[str, Any]:
    """Return the mapping of the suite that a member is, by what images there are below ``root``."""
    shared = {k: v for k, v in data.items() if k != SUB_SUITES}
    changes = dict(data[SUB_SUITES][sub_suite])
    otherwise = changes.pop(FALLBACK_KEY, None)
    found: dict[str, Any] = merged(shared, changes)
    if otherwise and images_in(root, found.get("folder")) is None:
        found = merged({k: v for k, v in found.items() if k != "folder"}, otherwise)
    return found


def images_in(root: Path | None, folder: str | None) -> Path | None:
    """Return the folder of images: of that name in ``root``, or ``root`` where it is called so; else None."""
    if root is None or folder is None:
        return None
    return next((p for p in (root / folder, root) if p.name == folder and p.is_dir()), None)
