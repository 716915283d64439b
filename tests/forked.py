"""Worker processes that are forked from one process with torch loaded: a new interpreter needs seconds to load it."""

from __future__ import annotations

import os
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from typing import Any

PRELOADED = ("torch._dynamo", "torchvision", "timm", "sklearn.metrics", "bench.engine.cell_run")


class ForkedContext(ForkServerContext):
    """Processes with the modules of ``PRELOADED``, and the environment of this process at their start."""

    def Process(self, target: Callable[..., None], args: tuple[Any, ...]) -> Any:  # type: ignore[override]  # noqa: N802
        return super().Process(target=_run, args=(dict(os.environ), target, args))


def forked_context() -> ForkedContext:
    """Return the context; its first process starts the process from which all are forked."""
    context = ForkedContext()
    context.set_forkserver_preload(list(PRELOADED))
    return context


def _run(environment: dict[str, str], target: Callable[..., None], args: tuple[Any, ...]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    target(*args)
