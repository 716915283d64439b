"""Stage select: the right images are kept, a scorer of other patients is refused; keys, seeds and costs of the arm."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from toy import Toy, write_squares, write_suite

from bench import registry
from bench.check.leakage_checks import OF_A_SELECTION, REFUSED
from bench.check.leakage_checks import Arm as CellsOfArm
from bench.data.loaders import assemble_training_set
from bench.data.synthetic_files import load_synthetic
from bench.engine.cell_run import run_cell
from bench.engine.executors.local import InProcess
from bench.engine.plan_rows import rows_of
from bench.engine.scheduler import Runner
from bench.engine.session import Session, prepare
from bench.errors import ConfigError, LeakageError
from bench.forecast.workload import workloads
from bench.interfaces import RunContext, TrainingData
from bench.leakage import FittedStatistics
from bench.metrics.image_selection import classifier_agreement, realism
from bench.plan.plan import Cell
from bench.plan.selection import select
from bench.seeding import derive_seed
from bench.stages.common import Features, Inputs
from bench.stages.select import SCORER, TABLE, fitted_scorer, synthetic_of
from bench.stages.select import select as select_images
from bench.store.cell_folders import Artifacts
from bench.store.csv_cells import read_rows
from bench.suite.arms import Arm
from bench.suite.stage_configs import SelectionConfig
from bench.suite.suite import parse_suite
from bench.tracking.rows import unit_name
from bench.types import ResultRow, SyntheticImage

BY_AGREEMENT, BY_REALISM = "1-classifier_agreement-keep0.5", "1-realism-keep0.4"
SELECT: list[dict[str, Any]] = [
    {"rule": "none"},
    {"rule": "classifier_agreement"},
    {"rule": "realism", "keep": 0.4},
]


class Half(Toy):
    """Every second image is noise."""

    stop_at: int | None = None  # number of the image before which drawing is interrupted

    def synthesize(
        self, data: TrainingData, counts: Mapping[int, int], fitted: Path, ctx: RunContext
    ) -> Iterator[SyntheticImage]:
        means, made = np.load(fitted / "means.npy"), 0
        for label, n in counts.items():
            for i in range(n):
                if made == Half.stop_at:
                    raise RuntimeError("interrupted")
                made += 1
                seed = derive_seed("half", ctx.seed, label, i)
                rng = np.random.default_rng(seed)
                pixels = rng.integers(0, 256, means[label].shape)
                if i % 2:  # as ``write_squares`` draws
                    pixels = means[label].mean(axis=(0, 1)) + rng.normal(0, 15, 3) + rng.normal(0, 30, pixels.shape)
                yield SyntheticImage(np.clip(pixels, 0, 255).astype(np.uint8), label, seed)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """Two selections of one method and their classifiers, on one fold."""
    folder = tmp_path_factory.mktemp("select")
    data = write_squares(folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.REGISTRY["method"], "half", f"{__name__}:Half")
        suite = write_suite(folder / "toy.yaml", methods={"none": {}, "half": {}}, ratios=[1.0], select=SELECT)
        made = prepare(str(suite), (), data, folder / "out")
        runner = Runner(select(made.plan.cells, ["fold=0", "stage=synthesize,select,classify,evaluate"]), made.env)
        runner.run(lambda: InProcess(1))
        assert runner.summary.failed == {}
        yield made


def row(session: Session, stage: str, ratio: str | None = None) -> ResultRow:
    found = rows_of(session.plan, session.env)
    return next(r for r in found if (r.stage, r.method, r.ratio, r.fold) == (stage, "half", ratio, 0))


def cell(session: Session, stage: str, ratio: str | None = None) -> Cell:
    return next(c for c in session.plan.cells if (c.stage, c.method, c.ratio, c.fold) == (stage, "half", ratio, 0))


def table(session: Session, ratio: str) -> list[dict[str, str]]:
    with (session.env.out / row(session, "select", ratio).folder / TABLE).open(newline="") as f:
        return list(read_rows(f))


@pytest.mark.parametrize(("ratio", "drawn"), [(BY_AGREEMENT, 16), (BY_REALISM, 20)])
def test_the_images_with_the_best_scores_are_kept(session: Session, ratio: str, drawn: int) -> None:
    rows, folder = table(session, ratio), session.env.out / row(session, "select", ratio).folder
    train, features = Inputs(cell(session, "fit"), session.env).fold().part("train"), Features(session.env)
    for label in (0, 1):
        mine = [r for r in rows if int(r["label"]) == label]
        assert len(mine) == drawn
        kept = [i for i, r in enumerate(mine) if int(r["kept"])]
        assert len(kept) == 8  # as many as real images
        scores = np.array([float(r["score"]) for r in mine])
        assert scores[kept].min() >= np.delete(scores, kept).max()
        real, made = features(train.images), np.stack([np.asarray(Image.open(folder / mine[i]["path"])) for i in kept])
        expected = (
            classifier_agreement(real, train.labels, features.extract(made), label)
            if ratio == BY_AGREEMENT
            else realism(real[train.labels == label], features.extract(made))
        )
        np.testing.assert_allclose(scores[kept], expected, rtol=1e-4, atol=1e-4)
        if ratio == BY_REALISM:
            assert sum(i % 2 for i in kept) >= 6  # half of the drawn images are noise
    manifest = load_synthetic(folder)
    assert [r.path for r in manifest.records] == [r["path"] for r in rows if int(r["kept"])]
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.png")) == sorted(
        r.path for r in manifest.records
    )
    facts = row(session, "select", ratio).facts
    assert (facts["drawn_images"], facts["images"]) == (2 * drawn, 16)


def test_the_drawn_images_begin_with_those_of_the_arm_without_selection(session: Session) -> None:
    made, chosen = (session.env.out / row(session, *at).folder for at in (("synthesize",), ("select", BY_AGREEMENT)))
    shared = {r.path for r in load_synthetic(made).records} & {r.path for r in load_synthetic(chosen).records}
    assert len(shared) > 4
    for path in shared:
        np.testing.assert_array_equal(np.asarray(Image.open(made / path)), np.asarray(Image.open(chosen / path)))


def test_the_classifier_is_trained_on_the_selected_images(session: Session) -> None:
    plain, chosen = (row(session, "classify", r).facts for r in ("1", BY_REALISM))
    assert plain["synthetic_images"] == chosen["synthetic_images"] == chosen["real_images"] == 16
    inputs = Inputs(cell(session, "classify", BY_REALISM), session.env)
    fold = inputs.fold()
    synthetic = synthetic_of(inputs, fold.fold_parts)
    training = assemble_training_set(fold, synthetic, {0: 8, 1: 8})
    shown = [np.asarray(Image.open(synthetic.folder / r.path)) for r in sorted(synthetic.records, key=lambda r: r.path)]
    np.testing.assert_array_equal(training.images[training.is_synthetic], np.stack(shown))
    assert row(session, "evaluate", BY_REALISM).metrics["test/balanced_accuracy"] >= 0


def test_a_scorer_of_other_patients_is_refused(session: Session) -> None:
    chosen, fold = cell(session, "select", BY_REALISM), Inputs(cell(session, "fit"), session.env).fold()
    features = Features(session.env)
    synthetic, scorer = load_synthetic(Artifacts(session.env.out).folder(*chosen.id)), fitted_scorer(features, fold)
    assert scorer.source_images.groups == fold.fold_parts.parts["train"].groups
    counts = {0: 1, 1: 1}
    kept, _ = select_images(synthetic, "realism", counts, features, scorer, fold)
    assert len(kept) == 2
    for part in ("validation", "test"):
        other = replace(scorer, source_images=fold.part(part).source_images)  # type: ignore[arg-type]
        with pytest.raises(LeakageError, match="the scorer that selects synthetic images used groups of the"):
            select_images(synthetic, "realism", counts, features, other, fold)

    of_arm = CellsOfArm(cell(session, "fit"), chosen, cell(session, "classify", BY_REALISM))
    assert OF_A_SELECTION.outcome(session, of_arm) == REFUSED


def test_an_interrupted_selection_gives_the_same_images(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, env = cell(session, "select", BY_AGREEMENT), replace(session.env, out=tmp_path)
    for up in chosen.upstream:
        shutil.copytree(Artifacts(session.env.out).folder(*up), Artifacts(tmp_path).folder(*up))
    monkeypatch.setattr(Half, "stop_at", 20)
    assert run_cell(chosen, env).status == "failed"
    monkeypatch.setattr(Half, "stop_at", None)
    assert run_cell(chosen, env).status == "done"
    first, again = (Artifacts(out).folder(*chosen.id) for out in (session.env.out, tmp_path))
    written = [{p.relative_to(f) for p in f.rglob("*") if p.suffix == ".png"} | {Path(TABLE)} for f in (first, again)]
    assert written[0] == written[1]
    for name in written[0]:
        assert (first / name).read_bytes() == (again / name).read_bytes(), name


def test_drawing_and_scoring_are_costs_of_the_arm(session: Session) -> None:
    from bench.analysis.lines import leaderboard
    from bench.analysis.rows import Rows
    from bench.report.run_facts import report_info

    rows = rows_of(session.plan, session.env)
    info = report_info(session, rows)
    lines = {x.arm.variant: x for x in leaderboard(Rows(rows), info, session.env.out)}
    costs = {s: row(session, s, r).costs for s, r in (("fit", None), ("select", BY_REALISM), ("classify", BY_REALISM))}
    assert costs["select"]["sample_s"] > 0
    assert costs["select"]["evaluate_device_s"] > 0
    assert lines[BY_REALISM].device_s == pytest.approx(sum(c["device_s"] for c in costs.values()))
    assert lines[BY_REALISM].synthesis_s == costs["select"]["elapsed_s"]
    assert lines["1"].synthesis_s == row(session, "synthesize").costs["elapsed_s"]
    work = workloads(session.plan)[cell(session, "select", BY_REALISM).row_key]
    assert work.units == {"sample": 40.0, "evaluate": 56.0}  # 16 training images at ratio 1, 1 / 0.4 times as many
    assert [arm.label for arm in info.arms] == [
        "none", "half ×1", "half ×1 selected by classifier agreement (0.5)", "half ×1 selected by realism (0.4)",
    ]  # fmt: skip
    assert unit_name(row(session, "select", BY_REALISM)) == f"half/r{BY_REALISM}/fold0/repeat0"


def test_the_selected_images_are_searched_for_memorised_samples(session: Session) -> None:
    found = run_cell(cell(session, "memorised", BY_REALISM), session.env)
    assert found.status == "done", found.error
    assert found.facts["synthetic_images"] == 16
    with (session.env.out / found.folder / "memorised.csv").open(newline="") as f:
        paths = [r["path"] for r in read_rows(f)]
    assert sorted(paths) == sorted(r["path"] for r in table(session, BY_REALISM) if int(r["kept"]))


def test_selection_adds_cells_and_changes_none(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = session.env.out.parent

    def cells(*assignments: str) -> dict[tuple[str, str], Cell]:
        return {
            c.id: c for c in prepare(str(folder / "toy.yaml"), assignments, folder / "data", folder / "o").plan.cells
        }

    plain, chosen = cells("select=[]"), cells()
    assert plain.keys() < chosen.keys()
    assert {(c.stage, c.ratio) for i, c in chosen.items() if i not in plain} == {
        (s, r) for s in ("select", "memorised", "classify", "evaluate", "explain") for r in (BY_AGREEMENT, BY_REALISM)
    }
    assert plain.keys() == cells("select={rule: none}").keys()
    assert chosen.keys() < cells("ratios=[1.0, balance]").keys() | {i for i in chosen if i[0] in OF_ALL_RATIOS}
    other = cells("select={rule: realism, keep: 0.3}")
    assert not {i for i in other if i not in plain} & chosen.keys()
    features = cells("fidelity.input_size_px=48")  # another scorer
    assert not {i for i, c in features.items() if c.arm.is_selected} & chosen.keys()
    only = select(list(chosen.values()), [f"ratio={BY_REALISM}", "fold=0", "stage=evaluate"])
    assert [c.stage for c in only] == ["split", "fit", "select", "classify", "evaluate"]
    assert only[2].title == "select half ×1 selected by realism (0.4) fold 0"


OF_ALL_RATIOS = ("synthesize", "fidelity", "memorised")


@pytest.mark.parametrize(
    "arm",
    [
        Arm("cgan", "0.5", selection="classifier_agreement", keep=0.25),
        Arm("cgan", "balance", True, selection="diversity", keep=0.333),
        Arm("cgan", "1e-05"),
        Arm("cgan", "1e-05", selection="realism", keep=0.5),
        Arm("cgan", "balance", exclude_memorised=True),
        Arm("none", train_multiplier=4),
    ],
)
def test_the_text_of_an_arm_is_read_back(arm: Arm) -> None:
    assert Arm.parse(arm.method, arm.variant) == arm
    assert Arm.parse(arm.method, arm.base.variant).subset == ""


def test_selections_of_a_suite() -> None:
    def selections(given: Any) -> tuple[SelectionConfig, ...]:
        suite = {"dataset": {"name": "phantom"}, "methods": {"none": {}}, "classifiers": {}, "select": given}
        return parse_suite("s", suite).settings.select

    page = (Path(__file__).parents[2] / "docs" / "suites.md").read_text(encoding="utf-8")
    example = yaml.safe_load(page[page.index("select:\n  - {") :].partition("```")[0])["select"]
    assert [s.rule for s in selections(example)] == ["classifier_agreement", "realism", "diversity"]
    assert selections([]) == ()
    assert selections({"rule": "diversity"}) == (SelectionConfig("diversity", 0.5),)
    assert selections(SELECT)[1:] == (SelectionConfig("classifier_agreement"), SelectionConfig("realism", 0.4))
    for given, message in (
        ({"rule": "realisms"}, "select.rule: got 'realisms'"),
        ({"rule": "realism", "share": 0.5}, "select: unknown key 'share'"),
        ({"rule": "realism", "keep": 1}, "keep: got 1.0, expected a share above 0 and below 1"),
        ([{"rule": "realism"}, {"rule": "realism", "keep": 0.5}], "select: realism with keep 0.5 is given twice"),
        ("realism", "select: got 'realism', expected a mapping"),
        (["realism"], "select: got 'realism', expected a mapping of rule, keep"),
    ):
        with pytest.raises(ConfigError, match=message):
            selections(given)


def test_statistics_of_a_finished_selection_name_the_training_patients(session: Session) -> None:
    fitted = FittedStatistics.load(session.env.out / row(session, "select", BY_AGREEMENT).folder / SCORER)
    fold = Inputs(cell(session, "fit"), session.env).fold()
    assert fitted.for_fold(fold.fold_parts) == {"training_images": 16}
