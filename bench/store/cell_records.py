"""The record of a finished cell, ``done.json``: reading and hashing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.errors import StoreError
from bench.files import files_below, sha256_of
from bench.store.json_parser import parse_json

NEEDED = ("metrics", "costs", "facts", "finished_at", "files", "inputs", "replaced")
VARYING = ("system.csv", "trace.json.gz")  # files that differ between runs of the same cell; not part of its content
Listing = dict[str, dict[str, Any]]  # path relative to the folder -> {"bytes": n, "sha256": hex}


def read_done(path: Path) -> dict[str, Any]:
    """Return the content of a complete ``done.json``. Raises ``StoreError``."""
    try:
        done = parse_json(path.read_bytes())
    except FileNotFoundError as e:
        raise StoreError(f"{path} does not exist") from e
    except (OSError, ValueError) as e:
        raise StoreError(f"{path} cannot be read ({e})") from e
    if not isinstance(done, dict) or (lacking := [name for name in NEEDED if name not in done]):
        got = f"lacks {', '.join(lacking)}" if isinstance(done, dict) else f"contains a {type(done).__name__}"
        raise StoreError(f"{path} {got}; expected an object with {', '.join(NEEDED)}")
    if done.pop("checksum", None) != checksum(done):
        raise StoreError(f"{path} was changed: its checksum does not match its content")
    return done


def listing(folder: Path) -> Listing:
    """Return every file below a folder with its size and SHA-256."""
    return {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        for path in files_below(folder)
    }


def content_hash(listed: Listing) -> str:
    """Return a hash (hex) of the listed files, without those that vary from run to run."""
    parts = sorted(f"{name} {f['sha256']}" for name, f in listed.items() if name not in VARYING)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def checksum(done: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) of a record."""
    return hashlib.sha256(json.dumps(done, sort_keys=True).encode()).hexdigest()
