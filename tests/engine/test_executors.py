"""Workers keep to their share of the cores, in every library that has threads of its own."""

from __future__ import annotations

import pytest

from bench.engine.executors.local import make_executor


def thread_counts() -> list[int]:
    import numpy  # noqa: F401
    import scipy.linalg  # noqa: F401
    import torch
    from threadpoolctl import threadpool_info

    return [torch.get_num_threads(), *(library["num_threads"] for library in threadpool_info())]


def test_a_worker_takes_no_more_threads_than_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "2")  # what numpy's BLAS finds when a worker starts; the test run itself may say 1
    executor = make_executor(jobs=2, threads=1)
    counts = executor.submit(thread_counts).result()
    executor.close()
    assert len(counts) > 1
    assert set(counts) == {1}  # numpy's BLAS on all cores in every worker made cells ten times slower
