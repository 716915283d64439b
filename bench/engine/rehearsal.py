"""Smoke-test version of a suite: its first fold with few steps, run by the normal code, to measure costs of cells."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.cost.keys import CostKey
from bench.data.cache import ImageCache
from bench.engine.executors.local import make_executor
from bench.engine.scheduler import Runner
from bench.engine.session import Session
from bench.forecast.cost_model import Prediction, schedule
from bench.forecast.profiles import FOLDER
from bench.plan.make import make_plan
from bench.plan.plan import Cell
from bench.suite.suite import PluginSpec, Suite
from bench.types import ResultRow

SHARE, LEAST, MOST = 12, 4, 25  # number of steps: the suite's divided by SHARE, between LEAST and MOST
IMAGES = 200  # maximum number of synthetic images of a fold
FEATURES = "features"  # in the cache folder: features that a run has to compute


@dataclass(frozen=True)
class Rehearsal:
    """The rows of its cells without metrics; seconds before the first cell; descriptions of failures."""

    rows: tuple[ResultRow, ...]
    startup_s: float
    failures: tuple[str, ...]


def rehearse(session: Session, jobs: int, threads: int, methods: Collection[str] = ()) -> Rehearsal:
    """Run a smoke-test version of the first fold of a suite, in a temporary folder.

    Images in the run's cache are reused, features are not, because a run computes them too. ``methods``: only these.
    """
    suite = session.suite
    first = session.plan.splits[0]
    small = miniature(suite, len(first.train))
    plan = make_plan(small, session.plan.index, session.plan.weights)
    cells = [c for c in plan.cells if c.at == first.at]
    cells = [c for c in cells if not methods or c.method is None or c.method in methods]
    ImageCache(session.env.out / "cache").load(plan.index, suite.settings.image_size_px, suite.settings.resize)
    (session.env.out / FOLDER).mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="rehearsal-", dir=session.env.out / FOLDER))
    try:
        _share_cache(session.env.out / "cache", folder / "cache")
        runner = Runner(cells, replace(session.env, out=folder, suite=small))
        start = time.perf_counter()
        summary = runner.run(lambda: make_executor(jobs, threads))
        wall_s = time.perf_counter() - start
        rows = {r.key: replace(r, metrics={}) for r in runner.store.rows().values()}
        _keep_step_costs(folder / "cache", session.env.out / "cache")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    done = [rows[c.row_key] for c in cells if c.row_key in rows and rows[c.row_key].status == "done"]
    failures = tuple(f"{runner.cells[i].title}: {text.splitlines()[0]}" for i, text in summary.failed.items())
    return Rehearsal(tuple(done), max(0.0, wall_s - _alone(cells, rows, jobs)), failures)


def miniature(suite: Suite, train_images: int) -> Suite:
    """Return the suite with few steps, few synthetic images, and each periodic action once."""
    s = suite.settings
    ratio = max((r for r in s.ratios if r != "balance"), default=0.5)
    ratio = min(float(ratio), IMAGES / max(1, train_images))
    segmentation_networks = {name: _few(config) for name, config in s.segmentation_networks.items()}
    settings = replace(
        s,
        ratios=(ratio,),
        exclude_memorised=False,
        segmentation=_few(s.segmentation),
        segmentation_networks=segmentation_networks,
    )
    methods = tuple(_few_steps(m) for m in suite.methods)
    classifiers = tuple(_few_steps(c) for c in suite.classifiers)
    return replace(suite.untuned(), methods=methods, classifiers=classifiers, settings=settings)


def _few_steps(spec: PluginSpec) -> PluginSpec:
    return replace(spec, config=_few(spec.config))


def _few(config: Any) -> Any:
    if not hasattr(config, "steps"):
        return config
    steps = min(config.steps, max(LEAST, min(MOST, config.steps // SHARE)))
    values = {"steps": steps, "sample_every": steps, "evaluate_every": steps, "log_every": 1}
    values |= {"checkpoint_every": max(1, steps - 1), "patience": None}
    return replace(config, **{k: v for k, v in values.items() if hasattr(config, k)})


def _share_cache(of_run: Path, own: Path) -> None:
    own.mkdir(parents=True)
    for entry in of_run.iterdir():
        if entry.name != FEATURES:
            (own / entry.name).symlink_to(entry.resolve())


def _keep_step_costs(own: Path, of_run: Path) -> None:
    """Copy the counted costs of single steps to the run's cache, so that they need not be counted again."""
    if (own / "steps").is_dir() and not (own / "steps").is_symlink():
        shutil.copytree(own / "steps", of_run / "steps", dirs_exist_ok=True)


def _alone(cells: Sequence[Cell], rows: dict[str, ResultRow], jobs: int) -> float:
    """Return the wall time in seconds of the cells alone, scheduled on ``jobs`` workers."""
    took = {
        c.id: Prediction(rows[c.row_key].costs[CostKey.ELAPSED_S], 0.0, 0.0, "measured")
        for c in cells
        if c.row_key in rows and rows[c.row_key].status == "done"
    }
    return schedule(list({c.id: c for c in cells}.values()), took, jobs).wall_s
