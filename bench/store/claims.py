"""Claims: which process works on something in a shared folder. At most one holds a claim, also on NFS.

A claim is a file that states its holder. It is created by ``link``, which fails if the name exists. A claim whose
holder is dead (``heartbeat``) is taken over by creating ``<claim>-<id of the dead holder>``, so only one process can
take it over; the holder is always that of the last file of this chain. A process that was suspended finds another
holder there; what it works on must also be protected from its late writes (``unfinished_cells``).
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from bench.store.clock import Stamp
from bench.store.heartbeat import Holder, Watch, lease_seconds


class Claims:
    """The claims in an output folder, as this process sees them. Keep it to observe whether a holder is dead."""

    def __init__(self, out: Path) -> None:
        self._out, self._watch = out, Watch(out)

    def holders(self, path: Path) -> list[Holder]:
        """Return the holders of a claim, of which each took over from the one before; [] if it is free."""
        return [holder for holder, _ in _chain(path)]

    def take(self, path: Path, holder: Holder) -> list[Holder] | None:
        """Take a claim that is free, or whose holder is dead; return the earlier holders, or None if it is held.

        The holder's ``Heartbeat`` must have started.
        """
        chain = _chain(path)
        if chain and not self._watch.is_dead(chain[-1][0]):
            return None
        target = chain[-1][1] if chain else path
        return [earlier for earlier, _ in chain] if _create(target, json.dumps(holder.plain())) else None

    def release(self, path: Path, holder: Holder) -> None:
        """Give a claim back; nothing is done if another process has taken it over."""
        chain = _chain(path)
        if not chain or chain[-1][0].id != holder.id:
            return
        path.unlink(missing_ok=True)
        for _, successor in chain[:-1]:
            successor.unlink(missing_ok=True)

    def can_take(self, path: Path) -> bool:
        """Return whether a claim is free, or its holder dead."""
        chain = _chain(path)
        return not chain or self._watch.is_dead(chain[-1][0])


def _chain(path: Path) -> list[tuple[Holder, Path]]:
    """Return the holders of a claim, each with the path of the claim that would take over from it."""
    found: list[tuple[Holder, Path]] = []
    at = path
    while (holder := _read(at, len(found))) is not None:
        at = path.with_name(f"{path.name}-{holder.id}")
        found.append((holder, at))
    return found


def _read(path: Path, place: int) -> Holder | None:
    """Return the holder that a file at a place of the chain states; a holder without a process if it is damaged."""
    try:
        return Holder.of(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):  # cut by a crash; its heartbeat is missing, so its lease ends
        return Holder(f"damaged{place}", "unknown", "", 0, "", lease_seconds(), Stamp(0.0, 0.0, ""))


def _create(path: Path, content: str) -> bool:
    """Create a file with this content; return False if it exists.

    A repeated request of a network file system may report a successful link as existing; the number of links decides.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.write_text(content, encoding="utf-8")
        try:
            os.link(temporary, path)
        except FileExistsError:
            return temporary.stat().st_nlink == 2
        except OSError:  # the file system has no hard links
            return _create_exclusively(path, content)
        return True
    finally:
        temporary.unlink(missing_ok=True)


def _create_exclusively(path: Path, content: str) -> bool:
    try:
        with path.open("x", encoding="utf-8") as f:
            f.write(content)
    except FileExistsError:
        return False
    return True
