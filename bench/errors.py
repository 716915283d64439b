"""Typed errors. Each message says what was given, what was expected, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import ClassVar


class BenchError(Exception):
    """Base of every error that the user can correct; the command line prints it without a traceback."""

    exit_code: ClassVar[int] = 2


class ConfigError(BenchError):
    """A suite, an option or a method's config is wrong; raised before training starts."""


class DataError(BenchError):
    """Images are missing or unreadable, or the folder has another layout than expected."""


class LeakageError(BenchError):
    """Held-out patients would be used in training, directly or through a generator."""


class RegistryError(ConfigError):
    """The dataset, method, classifier or metric does not exist."""


class WeightsError(BenchError):
    """Pretrained weights are available neither locally nor by download."""


class DivergedError(BenchError):
    """Training produced a non-finite loss; the message names the step and the loss."""


class StoreError(BenchError):
    """The results store cannot be read: damaged, or written by another schema version."""


class DiskError(BenchError):
    """The output folder cannot be written: the disk is full or read-only, or the permission is missing."""

    exit_code: ClassVar[int] = 4


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return a hint: ``did you mean 'x'?`` if a valid name is similar, and all valid names."""
    names = sorted(valid)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}valid: {', '.join(names) if names else '(none)'}"
