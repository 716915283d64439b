"""Tests of the leakage checks: leaks are injected into copies of a run's folders, and each must be refused.

Injected leaks go through the normal stages, so a check that is no longer called is detected.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bench.check.rows import Row
from bench.data.loaders import FoldData, Part
from bench.data.published_split import PUBLISHED
from bench.data.split_config import LEARNING_CURVE
from bench.data.synthetic_files import SEEN, load_synthetic, save_manifest
from bench.engine.cell_run import run_cell
from bench.engine.session import Session
from bench.errors import LeakageError
from bench.leakage import FittedStatistics, SourceImages
from bench.plan.plan import Cell
from bench.stages.common import Inputs
from bench.stages.select import SCORER
from bench.store.cell_folders import Artifacts

REFUSED, THROUGH = "refused", "let through"
CHECKS = "leakage checks"


def leakage_check_rows(session: Session) -> list[Row]:
    """Inject each leak into the first fold and return the outcomes; [] if no split is done.

    Empty for the protocol 'published', whose first fold shares patients by design.
    """
    artifacts = Artifacts(session.env.out)
    cells = session.plan.cells
    split = cells[0]
    if session.suite.settings.split.protocol == PUBLISHED or not artifacts.is_done(*split.id):
        return []
    rows = [_outcome(what, leak) for what, leak in _direct(session, split)]
    arm = _arm(session, artifacts)
    if arm:
        several_sets = session.suite.settings.split.protocol == LEARNING_CURVE
        for leak in (*LEAKS, *(OF_OTHER_SETS if several_sets else ())):
            rows.append(Row("leak", CHECKS, leak.what, leak.outcome(session, arm)))
    if selected := _arm(session, artifacts, "select"):
        rows.append(Row("leak", CHECKS, OF_A_SELECTION.what, OF_A_SELECTION.outcome(session, selected)))
    return rows


def _outcome(what: str, leak: Callable[[], object]) -> Row:
    try:
        leak()
    except LeakageError:
        return Row("leak", CHECKS, what, REFUSED)
    except Exception as e:
        return Row("leak", CHECKS, what, f"{type(e).__name__}: {e}")
    return Row("leak", CHECKS, what, THROUGH)


def _direct(session: Session, split: Cell) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield leaks that need no finished cell except the split."""
    from bench.classifiers.trainer import check_selection

    fold = Inputs(replace(split, upstream=(split.id,)), session.env).fold()
    test = fold.part("test")
    yield "test images asked for where a classifier trains", lambda: fold.train_validation().part("test")
    yield "a training set with test images", lambda: check_selection(_Known(test, fold), fold.part("validation"))
    yield "a best step chosen by test images", lambda: check_selection(_Known(fold.part("train"), fold), test)
    if fold.fold_parts.parts.get("unlabelled"):
        known = _Known(fold.part("unlabelled"), fold)
        yield "a training set with unlabelled images", lambda: check_selection(known, fold.part("validation"))
    statistics = FittedStatistics("a mean over test images", {"mean": 0.5}, SourceImages(groups=frozenset(test.groups)))
    yield "statistics fitted on test images", lambda: statistics.for_fold(fold.fold_parts)


class _Known:
    """A part of a fold in the role of a training set."""

    def __init__(self, part: Part, fold: FoldData) -> None:
        self.images, self.labels, self.source_images, self.fold_parts = (
            part.images,
            part.labels,
            part.source_images,
            fold.fold_parts,
        )


@dataclass(frozen=True)
class Arm:
    """The cells of one generative arm of a fold, all done but the last; ``synthesize`` makes its images."""

    fit: Cell
    synthesize: Cell
    classify: Cell


def _arm(session: Session, artifacts: Artifacts, stage: str = "synthesize") -> Arm | None:
    """Return the first generative arm with a classifier and synthetic images that this stage made."""
    for synthesize in session.plan.cells:
        if synthesize.stage != stage or not artifacts.is_done(*synthesize.id):
            continue
        uses = [c for c in session.plan.cells if c.stage == "classify" and synthesize.id in c.upstream]
        fit = next(c for c in session.plan.cells if c.stage == "fit" and c.id in synthesize.upstream)
        if uses:
            return Arm(fit, synthesize, uses[0])
    return None


@dataclass(frozen=True)
class InjectedLeak:
    """A leak: the change of the copied folders, and the stage that must refuse it."""

    what: str
    stage: str
    tamper: Callable[[Artifacts, Arm, FoldData], None]

    def outcome(self, session: Session, arm: Arm) -> str:
        """Inject it into a copy, run the cell that reads it, and return ``REFUSED``, ``THROUGH`` or another error."""
        cell: Cell = getattr(arm, self.stage)
        fold = Inputs(arm.fit, session.env).fold()
        with tempfile.TemporaryDirectory(prefix="bench-leak-") as folder:
            out = Path(folder)
            (out / "cache").symlink_to((session.env.out / "cache").resolve(), target_is_directory=True)
            theirs, ours = Artifacts(session.env.out), Artifacts(out)
            for up in cell.upstream:
                shutil.copytree(theirs.folder(*up), ours.folder(*up))
            self.tamper(ours, arm, fold)
            row = run_cell(cell, replace(session.env, out=out))
        if row.status == "done":
            return THROUGH
        error = (row.error or "").partition("\n")[0]
        return REFUSED if error.startswith(LeakageError.__name__) else error


def _saw_a_test_patient(folder: Path, fold: FoldData) -> None:
    seen = json.loads((folder / SEEN).read_text(encoding="utf-8"))
    (folder / SEEN).write_text(json.dumps([*seen, fold.part("test").groups[0]]), encoding="utf-8")


def _saw_another_set(artifacts: Artifacts, arm: Arm, fold: FoldData) -> None:
    folder, tested = artifacts.folder(*arm.fit.id), set(fold.part("test").groups)
    other = next(g for g in fold.held_out().groups if g not in tested)
    seen = json.loads((folder / SEEN).read_text(encoding="utf-8"))
    (folder / SEEN).write_text(json.dumps([*seen, other]), encoding="utf-8")


def _of_the_generator(artifacts: Artifacts, arm: Arm, fold: FoldData) -> None:
    _saw_a_test_patient(artifacts.folder(*arm.fit.id), fold)


def _of_the_synthetic_set(artifacts: Artifacts, arm: Arm, fold: FoldData) -> None:
    _saw_a_test_patient(artifacts.folder(*arm.synthesize.id), fold)


def _source(artifacts: Artifacts, arm: Arm, fold: FoldData) -> None:
    folder, test = artifacts.folder(*arm.synthesize.id), fold.part("test").records[0]
    synthetic = load_synthetic(folder)
    first = replace(synthetic.records[0], source_path=test.path, source_group=test.group_id)
    save_manifest(folder, [first, *synthetic.records[1:]], synthetic.seen_groups)


def _image(artifacts: Artifacts, arm: Arm, fold: FoldData) -> None:
    from PIL import Image

    folder = artifacts.folder(*arm.synthesize.id)
    Image.fromarray(fold.part("test").images[0]).save(folder / load_synthetic(folder).records[0].path)


def _scorer(artifacts: Artifacts, arm: Arm, fold: FoldData) -> None:
    path = artifacts.folder(*arm.synthesize.id) / SCORER
    stored = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**stored, "groups": [*stored["groups"], fold.part("test").groups[0]]}))


def _split(artifacts: Artifacts, arm: Arm, fold: FoldData) -> None:
    path = next(artifacts.folder(*up) for up in arm.fit.upstream) / "split.json"
    split = json.loads(path.read_text(encoding="utf-8"))
    group, images = next((g, x) for g, x in sorted(split["parts"]["test"].items()) if len(x) > 1)
    split["parts"]["train"][group] = [images.pop()]
    path.write_text(json.dumps(split), encoding="utf-8")


LEAKS = (
    InjectedLeak("a patient both in training and in the test part", "fit", _split),
    InjectedLeak("samples of a generator that saw a test patient", "synthesize", _of_the_generator),
    InjectedLeak("a synthetic set whose generator saw a test patient", "classify", _of_the_synthetic_set),
    InjectedLeak("a translation of a test image", "classify", _source),
    InjectedLeak("a test image among the synthetic ones", "classify", _image),
)
OF_A_SELECTION = InjectedLeak("images selected by a scorer that saw a test patient", "classify", _scorer)
OF_OTHER_SETS = (
    InjectedLeak("samples of a generator that saw a patient of another training set", "synthesize", _saw_another_set),
)
