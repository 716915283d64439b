"""How far the reading of a data set is: ``counted`` reports it to a listener, such as a line on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")
Listener = Callable[[str, int, int], None]  # what is done, how many of it, of how many

_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Call ``listener`` with the progress inside the block, in this thread."""
    before = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(before)


def counted(what: str, items: Iterable[T], total: int, each: int = 1) -> Iterator[T]:
    """Yield the items and report after each of them; an item stands for ``each`` of the ``total``."""
    listener = _LISTENER.get()
    for n, item in enumerate(items, start=1):
        yield item
        if listener:
            listener(what, min(n * each, total), total)
