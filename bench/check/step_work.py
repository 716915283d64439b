"""The tensor work of a training step, independent of kernels, allocator, machine, and other processes."""

from __future__ import annotations

import weakref
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class StepWork(TorchDispatchMode):
    """Counts the operators called inside the block, and the bytes of the storages that they create.

    ``operations``: calls of operators, backward pass and optimiser included. ``new_bytes``: sum over all storages
    created. ``peak_bytes``: maximum over time of the storages that are alive. Temporary memory of kernels is not
    counted, so equal code gives equal numbers on any CPU.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.new_bytes = self.peak_bytes = 0
        self._live_bytes = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        import torch

        self.operations += 1
        before = {_storage(x) for x in tree_leaves((args, kwargs or {})) if isinstance(x, torch.Tensor)}
        out = func(*args, **(kwargs or {}))
        for x in tree_leaves(out):
            if isinstance(x, torch.Tensor) and _storage(x) not in before:
                self._add(x.untyped_storage())
        return out

    def _add(self, storage: Any) -> None:
        name, size = storage._cdata, storage.nbytes()
        if name in self._known:
            return
        self._known.add(name)
        self.new_bytes += size
        self._live_bytes += size
        self.peak_bytes = max(self.peak_bytes, self._live_bytes)
        weakref.finalize(storage, self._drop, name, size)

    def _drop(self, name: int, size: int) -> None:
        self._known.discard(name)
        self._live_bytes -= size


def _storage(x: Any) -> int:
    return int(x.untyped_storage()._cdata)
