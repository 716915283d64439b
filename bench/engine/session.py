"""From command-line options to a checked plan: suite, images, output folder, device."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from bench.analysis.stopping import Look
from bench.config import stable_hash
from bench.cost.host import available_cpus
from bench.engine.looks import read_looks, stopped
from bench.errors import ConfigError
from bench.plan.make import make_plan
from bench.plan.plan import Plan
from bench.registry import no_exit
from bench.stages import RunEnv, load_index
from bench.store.redact import redact
from bench.suite.sub_suites import images_in
from bench.suite.suite import FROM_FILE, Suite, load_suite
from bench.suite.trained_on import WeightsConfig

MAX_AUTO_JOBS = 8


@dataclass(frozen=True)
class Session:
    """A checked suite: its plan, and the environment of its cells."""

    plan: Plan
    env: RunEnv
    command: str  # the command that runs it
    looks: tuple[Look, ...] = ()  # at the primary contrast of a learning curve, in this or an earlier run

    @property
    def stopped(self) -> Look | None:
        """The look that stopped a learning curve before its largest number of sets, or None."""
        last = next((x for x in self.looks if x.stops), None)
        return last if last and last.planned < self.suite.settings.split.sets else None

    def after(self, looks: Iterable[Look]) -> Session:
        """Return the session after these looks, with the sets that they ask for."""
        found = tuple(looks)
        return replace(self, plan=stopped(self.plan, found), looks=found)

    @property
    def suite(self) -> Suite:
        """The suite."""
        return self.plan.suite

    @property
    def report_folder(self) -> Path:
        """Folder of this suite's report."""
        return self.env.out / "reports" / self.suite.name

    @property
    def kept_index(self) -> Path:
        """File that lists the images of this suite's last run."""
        return self.env.out / "data" / f"{self.suite.name}.json"

    def on_device(self, device: str) -> Session:
        """Return the session on that device."""
        return replace(self, env=replace(self.env, device=device))


def prepare(suite_name: str, assignments: tuple[str, ...], data: Path | None, out: Path) -> Session:
    """Check the suite, find the images, plan the cells. Does not import torch.

    ``data`` defaults to ``data`` of the suite, then to BENCH_DATA. Raises ``ConfigError`` and ``DataError`` before
    training starts.
    """
    command = typed(suite_name, assignments, data)
    given = data
    if data is None and os.environ.get("BENCH_DATA"):
        data = Path(os.environ["BENCH_DATA"])
    data = data.expanduser().resolve() if data else None
    out = out.expanduser().resolve()
    with no_exit("the suite was planned"):
        suite = load_suite(suite_name, assignments, data)
        if given is None and suite.settings.data:
            data = Path(suite.settings.data).expanduser().resolve()
        data = images_in(data, suite.settings.folder) or data
        index = load_index(suite, data, out)
        weights = _weights(suite)
        plan = make_plan(suite, index, _weights_id(weights))
    session = Session(plan, RunEnv(out, suite, plan.fingerprint, data, weights=weights), command)
    return session.after(read_looks(plan, out))


def typed(suite_name: str, assignments: tuple[str, ...], data: Path | None) -> str:
    """Return the command that runs a suite."""
    words = ["bench run --suite", suite_name, *map(_option, assignments), f"--data {data}" if data else ""]
    return redact(" ".join(filter(None, words)))


def _option(assignment: str) -> str:
    """Return the command-line option of an assignment."""
    if assignment.startswith(FROM_FILE):
        return f"--config-from {assignment.removeprefix(FROM_FILE)}"
    return f"--set {assignment}"


def _weights(suite: Suite) -> Path | None:
    given = suite.settings.weights
    name = (given.file if isinstance(given, WeightsConfig) else given) or os.environ.get("BENCH_WEIGHTS")
    if not name:
        return None
    path = Path(name).expanduser().resolve()
    if not path.exists():
        raise ConfigError(f"weights: {path} does not exist; expected a weights file, or a folder of them")
    return path


def _weights_id(path: Path | None) -> str | None:
    """Return an identifier of local weights by content: other weights are another experiment."""
    if path is None:
        return None
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return stable_hash([[p.name, _sha256(p)] for p in files])


def _sha256(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def pick_device(asked: str) -> str:
    """Return a torch device; 'auto' is CUDA if available. Raises ``ConfigError`` for a missing device."""
    import torch

    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(asked)
    except RuntimeError:
        raise ConfigError(f"--device: got {asked!r}, expected auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"--device {asked}: torch finds no CUDA device on this machine; use --device cpu or auto")
    return asked


def pick_jobs(asked: int | None, device: str, threads: int | None) -> tuple[int, int]:
    """Return (parallel jobs, CPU threads per cell). By default all CPU cores are used; on CUDA one cell at once."""
    cpus = available_cpus()
    if asked is None:
        asked = 1 if device.startswith("cuda") else min(MAX_AUTO_JOBS, max(1, cpus // (threads or cpus)))
    if asked < 1:
        raise ConfigError(f"--jobs: got {asked}, expected 1 or more")
    return asked, threads or max(1, cpus // asked)
