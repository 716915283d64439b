"""A disk that is full or read-only: one clear message and exit code 4, nothing lost, and reading still works."""

from __future__ import annotations

import builtins
import errno
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from toy import leave_out_figures, register, write_squares, write_suite

from bench.cli.main import main
from bench.data.cache import ImageCache
from bench.engine.plan_rows import rows_of
from bench.engine.session import Session, prepare
from bench.errors import DataError, DiskError
from bench.stages import common
from bench.store.disk import disk_error, reserve

SUITE: dict[str, Any] = {"ratios": [1.0], "methods": {"none": {}, "toy": {}}, "split": {"folds": 2}}


class Disk:
    """A folder whose disk fails: every change below it raises ``code`` where ``when`` says so of the path."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.folder, self.patch = folder, monkeypatch
        self.code, self.when = 0, lambda path: False

    def fail(self, code: int, when: Callable[[Path], bool] = lambda path: True) -> None:
        self.code, self.when = code, when
        for name in ("mkdir", "replace", "rename", "unlink", "rmdir", "symlink", "truncate"):
            self.patch.setattr(os, name, self._counted(getattr(os, name)))
        opening = self._counted(io.open, lambda mode="r", *_, **__: set(mode) & set("wax+"))
        for module in (io, builtins):
            self.patch.setattr(module, "open", opening)
        writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT
        self.patch.setattr(os, "open", self._counted(os.open, lambda flags, *_, **__: flags & writing))

    def _counted(self, real: Callable[..., Any], changes: Callable[..., Any] = lambda *_, **__: True) -> Any:
        def call(path: Any, *args: Any, **kwargs: Any) -> Any:
            below = isinstance(path, str | os.PathLike) and Path(path).is_relative_to(self.folder)
            if below and changes(*args, **kwargs) and self.when(Path(path)):
                raise OSError(self.code, os.strerror(self.code), str(path))
            return real(path, *args, **kwargs)

        return call


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A finished store of the toy suite, without MLflow and the report's pictures."""
    folder = tmp_path_factory.mktemp("disk")
    with pytest.MonkeyPatch.context() as patch:
        register(patch)
        patch.setattr("bench.tracking.session_view.MLflowView.finished", lambda *_: None)
        patch.setattr("bench.tracking.session_view.MLflowView.complete", lambda *_: None)
        leave_out_figures(patch)
        patch.setattr("bench.report.build.latex", lambda *_: "")  # tests/report has these tables
        write_squares(folder / "data")
        write_suite(folder / "s.yaml", **SUITE)
        result = call(folder, folder / "out", "run")
        assert result.exit_code == 0, result.output
        yield folder


def call(root: Path, out: Path, verb: str, *words: str) -> Result:
    common._INDEXES.clear()
    device = ["--device", "cpu", "--jobs", "1"] if verb == "run" else []
    where = ["--suite", str(root / "s.yaml"), "--data", str(root / "data"), "--out", str(out)]
    return CliRunner().invoke(main, [verb, *where, *device, *words])


def session(root: Path, out: Path) -> Session:
    return prepare(str(root / "s.yaml"), (), root / "data", out)


def metrics(s: Session) -> dict[str, str]:
    return {r.key: f"{r.status} {sorted(r.metrics.items())}" for r in rows_of(s.plan, s.env)}


@pytest.fixture
def copied(root: Path, tmp_path: Path) -> Path:
    shutil.copytree(root / "out", tmp_path / "out")
    return tmp_path / "out"


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_finished_store_that_cannot_be_written_can_be_read(
    root: Path, copied: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    assert call(root, copied, "run").exit_code == 0
    shutil.rmtree(copied / "cache")
    Disk(monkeypatch, copied).fail(code)
    cells = len(session(root, copied).plan.work)
    for verb, says in (("plan", "suite s: 48 images"), ("status", f"{cells} done"), ("run", "all cells are done")):
        result = call(root, copied, verb)
        assert (result.exit_code, says in result.output) == (0, True), (verb, result.output)
    result = call(root, copied, "report")
    assert result.exit_code == 4, result.output
    assert f"DiskError: {copied}" in result.output
    assert "cannot be written" in result.output
    assert "give the copy with --out" in result.output


@pytest.mark.parametrize("name", ["predictions.csv", "done.json", "results.jsonl"])
def test_a_disk_that_fills_up_stops_the_run_and_costs_nothing(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Whichever file is the first that does not fit: the split and what else was done is kept, and no cell failed."""
    out, part = tmp_path / "out", ("--only", "method=none", "--only", "fold=0")
    assert call(root, out, "run", *part, "--only", "stage=split").exit_code == 0
    stem = Path(name).stem
    with monkeypatch.context() as patch:
        Disk(patch, out).fail(errno.ENOSPC, lambda path: stem in path.name)
        result = call(root, out, "run", *part)
    assert result.exit_code == 4, result.output
    assert "no space left on the device" in result.output
    assert "free some space and run the same command again" in result.output
    assert "Traceback" not in result.output
    assert not list((out / "cells").rglob("*.failed.json"))
    result = call(root, out, "run", *part)
    assert result.exit_code == 0, result.output
    found, expected = metrics(session(root, out)), metrics(session(root, root / "out"))
    done = {key: text for key, text in found.items() if text.startswith("done")}
    assert len(done) >= 3
    assert done == {key: expected[key] for key in done}
    assert not [p for p in out.rglob("*") if ".tmp" in p.name or ".partial" in p.name]


def test_a_library_s_own_error_on_a_full_disk_is_not_a_failed_cell(tmp_path: Path, monkeypatch: Any) -> None:
    error = RuntimeError("PytorchStreamWriter failed writing file data/0")
    assert disk_error(error, tmp_path) is None
    monkeypatch.setattr("bench.store.disk.free_bytes", lambda folder: 1000)
    assert isinstance(disk_error(error, tmp_path), DiskError)
    assert disk_error(error) is None
    inner = OSError(errno.EDQUOT, "Disk quota exceeded", str(tmp_path / "x"))
    wrapped = DataError("could not be saved")
    wrapped.__cause__ = inner
    assert "x: no space left" in str(disk_error(wrapped))


def test_missing_permission_for_another_file_is_not_the_disk_s_fault(tmp_path: Path) -> None:
    error = PermissionError(errno.EACCES, "Permission denied", "/root/weights.pt")
    assert disk_error(error, tmp_path) is None
    assert isinstance(disk_error(PermissionError(errno.EACCES, "denied", str(tmp_path / "a")), tmp_path), DiskError)


def test_the_image_cache_takes_its_space_before_it_is_mapped(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = session(root, root / "out").plan.index

    def full(handle: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(OSError, match="No space left on device"):
            ImageCache(tmp_path / "cache").load(index, 16)
    assert not list((tmp_path / "cache").glob("*.npy*"))
    assert ImageCache(tmp_path / "cache").load(index, 16).shape == (len(index.records), 16, 16, 3)


def test_reserved_space_is_taken(tmp_path: Path) -> None:
    np.lib.format.open_memmap(tmp_path / "a.npy", mode="w+", dtype=np.uint8, shape=(2**20,))
    before = (tmp_path / "a.npy").stat().st_blocks
    reserve(tmp_path / "a.npy")
    assert (tmp_path / "a.npy").stat().st_blocks * 512 >= 2**20 > before * 512


SMALL_DISK = """
import sys
from pathlib import Path
import numpy as np
from bench.data.cache import ImageCache
from bench.data.sets.image_folder import ImageFolder, ImageFolderConfig
index = ImageFolder(ImageFolderConfig(group_regex=r"(?P<group>[bm]\\d+)_")).index(Path(sys.argv[1]), Path(sys.argv[2]))
try:
    ImageCache(Path(sys.argv[2])).load(index, 128)
except OSError as e:
    sys.exit(40 + (e.errno == 28))
"""


def test_on_a_disk_too_small_for_the_image_cache_nothing_dies_by_sigbus(root: Path, tmp_path: Path) -> None:
    mounted = (
        f"mount -t tmpfs -o size=1m none {tmp_path} && exec {sys.executable} -c '{SMALL_DISK}' {root}/data {tmp_path}"
    )
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        pytest.skip("this system lets no user mount a small disk of its own")
    run = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mounted], capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 41, (run.returncode, run.stderr)
