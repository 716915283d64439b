"""Shared fixtures. Real images are used where they are at hand; every test that needs them skips with a reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test touches a network
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder that holds BreaKHis_v1, Dataset_BUSI_with_GT and ISIC9, or a skip with the reason."""
    root = Path(os.environ.get("BENCH_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"no real images at {root}; set BENCH_TEST_DATA to use some")
    return root
