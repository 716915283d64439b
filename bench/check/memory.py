"""Peak bytes of live tensors in a step, independent of kernels and allocator."""

from __future__ import annotations

import weakref
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveTensors(TorchDispatchMode):
    """Counts the bytes of live storages created by operators inside the block.

    Temporary memory of kernels is not counted, so equal code gives equal bytes on any CPU.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak_bytes = 0
        self._live_bytes = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        import torch

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
        self._live_bytes += size
        self.peak_bytes = max(self.peak_bytes, self._live_bytes)
        weakref.finalize(storage, self._drop, name, size)

    def _drop(self, name: int, size: int) -> None:
        self._known.discard(name)
        self._live_bytes -= size


def _storage(x: Any) -> int:
    return int(x.untyped_storage()._cdata)
