"""Number of CPU threads of a process that runs cells."""

from __future__ import annotations

import os


def limit_threads(threads: int) -> None:
    """Fix the number of CPU threads of this process, because the order of float sums (last digits) depends on it.

    Libraries loaded later read the environment; numpy's BLAS is already loaded and would use all cores in each worker.
    """
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    import numpy  # noqa: F401  (loads its BLAS, so that it is limited here)
    import torch
    from threadpoolctl import threadpool_limits

    threadpool_limits(threads)
    torch.set_num_threads(threads)
