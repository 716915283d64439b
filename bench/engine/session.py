"""From command-line options to a checked plan: suite, images, output folder, device."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.analysis.stopping import Look
from bench.config import stable_hash
from bench.cost.host import available_cpus
from bench.engine.looks import read_looks, stopped
from bench.errors import ConfigError
from bench.files import sha256_of
from bench.plan.make import make_plan
from bench.plan.plan import Plan
from bench.registry import no_exit
from bench.stages import RunEnv, load_index
from bench.store.redact import redact
from bench.store.run_configs import run_names
from bench.suite.sub_suites import images_in
from bench.suite.suite import FROM_FILE, Suite, load_suite
from bench.suite.trained_on import WeightsConfig

MAX_AUTO_JOBS = 8
DEFAULT_OUT = Path("runs")


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

    def command_of(self, verb: str) -> str:
        """Return the command of another verb for this run; if the run is stored, its name and folder are enough."""
        if self.suite.name in run_names(self.env.out):
            return shlex.join(["bench", verb, "--out", str(self.env.out), "--name", self.suite.name])
        return self.command.replace("bench run", f"bench {verb}", 1)

    def on_device(self, device: str) -> Session:
        """Return the session on that device."""
        return replace(self, env=replace(self.env, device=device))


def prepare(
    suite_name: str, assignments: tuple[str, ...], data: Path | None, out: Path, name: str | None = None,
    options: Sequence[str] = (), cache: Path | None = None,
) -> Session:  # fmt: skip
    """Check the suite, find the images, plan the cells. Does not import torch.

    ``data`` defaults to ``data`` of the suite, then to BENCH_DATA. ``name`` replaces the suite's name; ``options`` are
    added to the session's command. ``cache`` is the folder that keeps the list of images, by default that of ``out``.
    Raises ``ConfigError`` and ``DataError`` before training starts.
    """
    command = run_command(suite_name, assignments, data, out, name, options)
    with no_exit("the suite was planned"):
        suite = load_suite(suite_name, assignments, data_root(data), name)
        return open_session(suite, suite_root(suite, data), out, command, cache=cache)


def data_root(data: Path | None) -> Path | None:
    """Return the absolute folder of images: the given one, else BENCH_DATA, else None."""
    if data is None and os.environ.get("BENCH_DATA"):
        data = Path(os.environ["BENCH_DATA"])
    return data.expanduser().resolve() if data else None


def suite_root(suite: Suite, data: Path | None) -> Path | None:
    """Return the absolute folder of a suite's images: the given one, else ``data`` of the suite, else BENCH_DATA."""
    return data_root(data or (Path(suite.settings.data) if suite.settings.data else None))


def open_session(
    suite: Suite, root: Path | None, out: Path, command: str, weights: str | None = None, cache: Path | None = None
) -> Session:
    """Find the images of a suite below ``root``, and plan its cells.

    ``weights`` are used if the suite names none; by default those of BENCH_WEIGHTS.
    """
    out = out.expanduser().resolve()
    with no_exit("the suite was planned"):
        data = images_in(root, suite.settings.folder) or root
        index = load_index(suite, data, cache or out / "cache")
        local = local_weights(suite, weights)
        plan = make_plan(suite, index, weights_id(local))
    session = Session(plan, RunEnv(out, plan.suite, plan.fingerprint, data, weights=local), command)
    return session.after(read_looks(plan, out))


def run_command(
    suite: str, assignments: tuple[str, ...], data: Path | None, out: Path, name: str | None = None,
    options: Sequence[str] = (),
) -> str:  # fmt: skip
    """Return the command that runs a suite, quoted for a shell, without secrets."""
    words = ["bench", "run", "--suite", suite, *(word for a in assignments for word in option_of(a))]
    words += ["--data", str(data)] if data else []
    words += ["--out", str(out)] if out != DEFAULT_OUT else []
    words += ["--name", name] if name else []
    return redact(shlex.join([*words, *options]))


def option_of(assignment: str) -> tuple[str, str]:
    """Return the command-line option of an assignment."""
    if assignment.startswith(FROM_FILE):
        return "--config-from", assignment.removeprefix(FROM_FILE)
    return "--set", assignment


def local_weights(suite: Suite, default: str | None = None) -> Path | None:
    """Return the local pretrained weights: of the suite, else ``default``, else BENCH_WEIGHTS, or None."""
    given = suite.settings.weights
    name = (given.file if isinstance(given, WeightsConfig) else given) or default or os.environ.get("BENCH_WEIGHTS")
    if not name:
        return None
    path = Path(name).expanduser().resolve()
    if not path.exists():
        raise ConfigError(f"weights: {path} does not exist; expected a weights file, or a folder of them")
    return path


def weights_id(path: Path | None) -> str | None:
    """Return an identifier of local weights by content, None for none: other weights are another experiment."""
    if path is None:
        return None
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return stable_hash([[p.name, sha256_of(p)] for p in files])


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
