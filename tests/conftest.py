"""Shared fixtures. Real images are used where they are at hand; every test that needs them skips with a reason."""

from __future__ import annotations

import gc
import hashlib
import os
import random
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock
from forked import forked_context
from hypothesis import HealthCheck, settings
from toy import leave_out_figures

from bench.data import near_duplicates
from bench.engine.executors import worker
from bench.forecast import step_costs
from bench.metrics import backbones, features
from bench.suite.stage_configs import FidelityConfig
from bench.tracking import store, writer

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np
    import numpy.typing as npt
    from playwright.sync_api import Browser

    from bench.data.near_duplicates import NearPairs
    from bench.forecast.workload import Workload
    from bench.plan.plan import Cell
    from bench.stages import RunEnv

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("BENCH_IN_PROCESS", "1")  # with one cell at a time: a toy plug-in is known to this process only
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test touches a network
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

# Examples take longer beside other work; that is not a fault of what is tested.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


LONGEST = (
    *("test_methods.py", "test_damaged_store.py", "test_cli.py", "test_docs.py", "test_runner.py", "test_serve.py"),
    *("test_tlsgan_steps.py", "test_shared_folder.py", "test_kills.py", "test_gpu_dry_form.py", "test_check.py"),
    *("test_report_big.py", "test_tlsgan_training.py", "test_report_same_bytes.py", "test_data_audit.py"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip slow tests without BENCH_TEST_SLOW=1, so that `make test` takes minutes; CI runs them.

    The files that take longest come first, so that the last file does not keep one process busy alone. With
    BENCH_TEST_ORDER=SEED, shuffle the files and the tests of each file: no test may need another before it.
    """
    items.sort(key=lambda item: item.path.name not in LONGEST)
    if os.environ.get("BENCH_TEST_SLOW") != "1":
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="ten seconds or more; set BENCH_TEST_SLOW=1, as CI does"))
    seed = os.environ.get("BENCH_TEST_ORDER")
    if not seed:
        return
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    shuffled = random.Random(seed)
    groups = [files[path] for path in shuffled.sample(sorted(files), len(files))]
    items[:] = [item for group in groups for item in shuffled.sample(group, len(group))]


def pytest_collection_finish() -> None:
    """The collected tests live to the end: the garbage collector need not look at them again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _no_wait_for_the_disk() -> Iterator[None]:
    """No test ends the machine's power, and every finished cell would wait for the disk a dozen times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _own_user_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Commands that only show something leave nothing in the user's own cache folder."""
    folder = tmp_path_factory.mktemp("user-cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.store.disk.user_cache", lambda: folder)
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_mlflow_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """MLflow needs seconds to create its database: it creates one for all tests, and every other is a copy of it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base  # by all workers of this run
    template, new_client = shared / "empty-mlflow.db", store.new_client

    def client_of_copy(uri: str) -> Any:
        path = store.database(uri)
        if path is not None and path.parent.is_dir() and not path.exists():
            with FileLock(f"{template}.lock"):
                if not template.exists():
                    new_client(f"sqlite:///{template}.new").search_experiments()
                    os.replace(f"{template}.new", template)
            shutil.copyfile(template, path)
        return new_client(uri)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "new_client", client_of_copy)
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_feature_network() -> Iterator[None]:
    """Every toy run builds the default feature network four times; extractors only read it, so they share one."""
    load, default = cache(backbones.load_timm), FidelityConfig().extractor

    def shared(name: str, weights: Path | None) -> Any:
        known = name == default and weights is None
        return load(name, weights) if known else backbones.load_timm(name, weights)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "load_timm", shared)
        yield


@pytest.fixture(scope="session", autouse=True)
def _near_duplicates_found_once() -> Iterator[None]:
    """Each output folder searches its images, for most of a second; most tests have the same ones."""
    found: dict[tuple[tuple[str, ...], bytes], NearPairs] = {}
    search = near_duplicates._search

    def shared(names: list[str], pictures: npt.NDArray[np.uint8], pool: ThreadPoolExecutor) -> NearPairs:
        at = tuple(names), hashlib.sha256(pictures).digest()
        if at not in found:
            found[at] = search(names, pictures, pool)
        return found[at]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_duplicates, "_search", shared)
        yield


@pytest.fixture(scope="session", autouse=True)
def _steps_counted_once() -> Iterator[None]:
    """Each output folder counts the operations of each kind of step anew; all folders share those of equal shape."""
    counted: dict[tuple[str, str], dict[str, Any]] = {}
    step_facts, count = step_costs.step_facts, step_costs._count

    def shared(cell: Cell, env: RunEnv, work: Workload) -> dict[str, Any]:
        at = work.shape, env.device

        def counted_once(cell: Cell, env: RunEnv) -> dict[str, Any]:
            if at not in counted:
                counted[at] = count(cell, env)
            return counted[at]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(step_costs, "_count", counted_once)
            return step_facts(cell, env, work)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step_costs, "step_facts", shared)
        patch.setattr(step_costs, "measured_peak", cache(step_costs.measured_peak))
        yield


@pytest.fixture(scope="session", autouse=True)
def _workers_with_torch() -> Iterator[None]:
    """A new interpreter needs seconds to load torch: workers are forked from one process that has it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "CONTEXT", forked_context())
        yield


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without charts, which take longer than the cells; tests/report and one run of tests/cli have them."""
    leave_out_figures(monkeypatch)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder that holds BreaKHis_v1, Dataset_BUSI_with_GT and ISIC9, or a skip with the reason."""
    root = Path(os.environ.get("BENCH_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"no real images at {root}; set BENCH_TEST_DATA to use some")
    return root


QUIET = ("no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking")
QUIET += ("disable-component-update", "disable-sync")


@pytest.fixture(scope="module")  # no longer: its driver keeps an event loop running, and other tests start their own
def chromium() -> Iterator[Browser]:
    """A headless Chromium, the system's own; or a skip with the reason."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("no Chromium on this machine; Debian and Ubuntu have it as the package chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=[f"--{flag}" for flag in QUIET])
        yield browser
        browser.close()
