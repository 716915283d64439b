"""Stage memorised: injected copies are flagged and listed; --exclude-memorised trains every arm without them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from toy import write_squares, write_suite

from bench import registry
from bench.cli.main import main
from bench.data.loaders import assemble_training_set
from bench.data.synthetic_files import load_synthetic
from bench.engine.executors.local import InProcess
from bench.engine.plan_rows import rows_of
from bench.engine.scheduler import Runner
from bench.engine.session import Session, prepare
from bench.errors import DataError, LeakageError
from bench.interfaces import RunContext, TrainingData
from bench.leakage import FittedStatistics
from bench.plan.plan import Cell
from bench.plan.selection import select
from bench.report.run_facts import report_info
from bench.seeding import derive_seed
from bench.stages.common import Inputs
from bench.stages.memorised import PATIENTS, TABLE, THRESHOLDS, flagged_paths
from bench.suite.arms import Arm
from bench.tracking.rows import unit_name
from bench.types import ResultRow, SyntheticImage


@dataclass(frozen=True)
class PainterConfig:
    pasted: int = 2  # every n-th image is a training image of the other class; 0: none


class Painter:
    """Draws new squares, and inserts training images under the other label: unchanged, mirrored, noisy, stained."""

    kind = "generative"
    version = 1
    Config = PainterConfig

    def __init__(self, config: PainterConfig) -> None:
        self.config = config

    def check(self, classes: Sequence[str]) -> None:
        pass

    def fit(self, data: TrainingData, ctx: RunContext) -> None:
        pass

    def synthesize(
        self, data: TrainingData, counts: Mapping[int, int], fitted: Path, ctx: RunContext
    ) -> Iterator[SyntheticImage]:
        for label, n in counts.items():
            others = np.flatnonzero(data.labels != label)
            for i in range(n):
                seed = derive_seed("painter", ctx.seed, label, i)
                rng = np.random.default_rng(seed)
                if self.config.pasted and i % self.config.pasted == 0:
                    source = int(others[i // self.config.pasted % len(others)])
                    image = spoilt(data.images()[source], i // self.config.pasted, rng)
                    yield SyntheticImage(image, label, seed, data.records[source].path)
                else:
                    pixels = np.array((160, 90, 155)) + rng.normal(0, 15, 3) + rng.normal(0, 30, data.images()[0].shape)
                    yield SyntheticImage(np.clip(pixels, 0, 255).astype(np.uint8), label, seed)


def spoilt(image: np.ndarray, how: int, rng: np.random.Generator) -> np.ndarray:
    changed = (image, image[:, ::-1], image + rng.normal(0, 8, image.shape), image + rng.normal(0, 8, 3))[how % 4]
    return np.clip(changed, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """Both methods and their classifiers, on one fold, with --exclude-memorised."""
    folder = tmp_path_factory.mktemp("memorised")
    data = write_squares(folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.REGISTRY["method"], "painter", f"{__name__}:Painter")
        methods = {"none": {}, "painter": {}, "honest": {"use": "painter", "pasted": 0}}
        suite = write_suite(folder / "toy.yaml", methods=methods, ratios=[1.0])
        made = prepare(str(suite), ("exclude_memorised=true",), data, folder / "out")
        wanted = select(made.plan.cells, ["fold=0", "stage=memorised,classify,evaluate"])
        runner = Runner(wanted, made.env)
        runner.reuse()
        runner.run(lambda: InProcess(1))
        assert runner.summary.failed == {}
        yield made


def row(session: Session, stage: str, method: str, ratio: str | None = None) -> ResultRow:
    found = rows_of(session.plan, session.env)
    return next(r for r in found if (r.stage, r.method, r.ratio, r.fold) == (stage, method, ratio, 0))


def cell(session: Session, stage: str, method: str, ratio: str | None = None) -> Cell:
    found = session.plan.cells
    return next(c for c in found if (c.stage, c.method, c.ratio, c.fold) == (stage, method, ratio, 0))


def table(session: Session, method: str, name: str = TABLE) -> list[dict[str, str]]:
    with (session.env.out / row(session, "memorised", method).folder / name).open(newline="") as f:
        return list(csv.DictReader(f))


def test_injected_copies_are_flagged_and_nothing_else(session: Session) -> None:
    rows = table(session, "painter")
    injected = [r for r in rows if r["source_path"]]
    assert len(injected) == len(rows) / 2
    assert [r for r in rows if int(r["pixels_flagged"])] == injected
    assert all(r["pixels_nearest"] == r["source_path"] for r in injected)
    assert {r["pixels_label"] for r in injected if r["label"] == "0"} == {"1"}
    assert all(int(r["pixels_authentic"]) == 0 for r in injected)
    metrics = row(session, "memorised", "painter").metrics
    assert metrics["memorised/flagged_pixels_share"] == 0.5
    assert metrics["memorised/flagged_share"] >= metrics["memorised/flagged_other_label_share"] >= 0.5
    assert metrics["memorised/own_source_share"] == 1.0
    assert metrics["memorised/authpct_pixels"] <= 50
    (name,) = [m for m in metrics if m.startswith("memorised/authpct_tf_efficientnet_lite0-32px-")]
    assert (
        metrics[name] <= 50 + 12.5
    )  # an exact copy has exactly the features of its image, a noisy one need not be nearer


def test_new_images_are_not_flagged(session: Session) -> None:
    metrics = row(session, "memorised", "honest").metrics
    assert metrics["memorised/flagged_pixels_share"] == 0.0
    assert metrics["memorised/flagged_share"] <= metrics["memorised/promised_false_flag_share"]
    assert metrics["memorised/false_flag_share"] <= 2 * metrics["memorised/promised_false_flag_share"]
    assert metrics["memorised/authpct_pixels"] > 50
    assert "memorised/own_source_share" not in metrics  # it translates no image


def test_they_are_logged_with_their_generator(session: Session) -> None:
    assert unit_name(row(session, "memorised", "painter")) == unit_name(row(session, "fit", "painter"))
    assert (
        unit_name(row(session, "classify", "painter", "1-without-memorised"))
        == "painter/r1-without-memorised/small_cnn/fold0/repeat0"
    )


def test_copies_are_counted_by_patient(session: Session) -> None:
    rows, patients = table(session, "painter"), table(session, "painter", PATIENTS)
    fold = Inputs(cell(session, "memorised", "painter"), session.env).fold()
    assert {p["patient"]: int(p["training_images"]) for p in patients} == {
        g: fold.part("train").groups.count(g) for g in fold.part("train").groups
    }
    for space in ("pixels", "features"):
        for p in patients:
            assert int(p[f"nearest_by_{space}"]) == sum(r[f"{space}_patient"] == p["patient"] for r in rows)
    assert sum(int(p["flagged"]) for p in patients) == sum(int(r["flagged"]) for r in rows)


def test_the_closest_pairs_are_drawn(session: Session) -> None:
    with Image.open(
        session.env.out / row(session, "memorised", "painter").folder / "samples/closest_pairs_000000.png"
    ) as p:
        sheet = np.asarray(p)
    assert min(sheet.shape[:2]) > 500
    left, right = sheet[20:212, 4:196], sheet[20:212, 200:392]  # of the first pair: an exact copy, so equal
    np.testing.assert_array_equal(left, right)


def test_an_arm_without_memorised_samples_trains_on_the_same_images_except_those(session: Session) -> None:
    plain, clean = (row(session, "classify", "painter", r).facts for r in ("1", "1-without-memorised"))
    flagged = [r["path"] for r in table(session, "painter") if int(r["flagged"])]
    assert "memorised_dropped" not in plain
    assert clean["memorised_dropped"] == len(flagged) > 0
    assert clean["synthetic_images"] == plain["synthetic_images"] - len(flagged)
    assert clean["real_images"] == plain["real_images"]
    spared = row(session, "classify", "honest", "1-without-memorised").facts
    assert spared["memorised_dropped"] == sum(int(r["flagged"]) for r in table(session, "honest"))
    assert row(session, "evaluate", "painter", "1-without-memorised").metrics["test/balanced_accuracy"] >= 0

    inputs = Inputs(cell(session, "classify", "painter", "1-without-memorised"), session.env)
    synthetic, fold = load_synthetic(inputs.upstream("synthesize")), inputs.fold()
    left_out = flagged_paths(inputs.upstream("memorised"), fold.fold_parts)
    assert left_out == set(flagged)
    counts = {0: 3, 1: 2}
    kept = [r for r in synthetic.records if int(r.path[-9:-4]) < counts[r.label] and r.path not in left_out]
    found = assemble_training_set(fold, synthetic, counts, left_out)
    assert found.is_synthetic.sum() == len(kept) < 5
    for image, record in zip(found.images[found.is_synthetic], kept, strict=True):
        np.testing.assert_array_equal(image, np.asarray(Image.open(synthetic.folder / record.path)))
    none_left = assemble_training_set(fold, synthetic, counts, {r.path for r in synthetic.records})
    assert not none_left.is_synthetic.any()


def test_thresholds_of_held_out_patients_drop_nothing(session: Session, tmp_path: Path) -> None:
    inputs = Inputs(cell(session, "classify", "painter", "1-without-memorised"), session.env)
    fold_parts, folder = inputs.fold().fold_parts, inputs.upstream("memorised")
    fitted = FittedStatistics.load(folder / THRESHOLDS)
    assert fitted.source_images.groups == fold_parts.parts["train"].groups
    stored = json.loads((folder / THRESHOLDS).read_text())
    stored["groups"].append(min(fold_parts.parts["validation"].groups))
    (tmp_path / THRESHOLDS).write_text(json.dumps(stored))
    (tmp_path / TABLE).write_text((folder / TABLE).read_text())
    with pytest.raises(LeakageError, match="copy thresholds"):
        flagged_paths(tmp_path, fold_parts)
    (tmp_path / THRESHOLDS).write_text((folder / THRESHOLDS).read_text())
    assert flagged_paths(tmp_path, fold_parts)
    (tmp_path / TABLE).write_text("path,label\nimages/0/00000.png,0\n")
    with pytest.raises(DataError, match="delete its folder"):
        flagged_paths(tmp_path, fold_parts)


def test_both_arms_are_in_one_report(session: Session) -> None:
    info = report_info(session, rows_of(session.plan, session.env))
    labels = [arm.label for arm in info.arms]
    assert labels == [
        "none",
        "painter ×1",
        "painter ×1 without memorised samples",
        "honest ×1",
        "honest ×1 without memorised samples",
    ]
    assert {(r.method, r.ratio) for r in rows_of(session.plan, session.env) if r.stage == "evaluate"} == {
        (arm.method, arm.variant) for arm in info.arms
    }
    assert [Arm.parse("", r).variant_label for r in (None, "0", "balance", "balance-without-memorised", "0.5")] == [
        *("", "", "balance", "balance without memorised samples", "×0.5"),
    ]


def test_excluding_memorised_samples_adds_cells_and_changes_none(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.REGISTRY["method"], "painter", f"{__name__}:Painter")
    folder = session.env.out.parent

    def cells(*assignments: str) -> dict[tuple[str, str], Cell]:
        plan = prepare(str(folder / "toy.yaml"), assignments, folder / "data", session.env.out).plan
        return {c.id: c for c in plan.cells}

    plain, dropped = cells(), cells("exclude_memorised=true")
    assert plain.keys() < dropped.keys()
    added = [c for i, c in dropped.items() if i not in plain]
    assert {(c.stage, c.ratio) for c in added} == {
        (s, "1-without-memorised") for s in ("classify", "evaluate", "explain")
    }
    assert {c.method for c in added} == {"painter", "honest"}
    more = cells("exclude_memorised=true", "ratios=[0.5, 1.0]")
    assert {c.id for c in added} < more.keys()  # the first n images and the flagged ones are the same
    only = select(list(dropped.values()), ["method=painter", "ratio=1-without-memorised", "fold=0"])
    assert [c.stage for c in only] == ["split", "fit", "synthesize", "memorised", "classify", "evaluate", "explain"]


def test_the_flag_is_the_setting(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.REGISTRY["method"], "painter", f"{__name__}:Painter")
    folder = session.env.out.parent
    words = [
        "--suite",
        str(folder / "toy.yaml"),
        "--data",
        str(folder / "data"),
        "--out",
        str(session.env.out),
        "--json",
    ]

    def call(verb: str, *more: str) -> Any:
        result = CliRunner().invoke(main, [verb, *words, *more])
        assert result.exit_code == 0, result.output
        return json.loads(result.output)

    plans = [call("plan"), call("plan", "--exclude-memorised"), call("plan", "--set", "exclude_memorised=true")]
    assert plans[1] == plans[2]
    assert len(plans[1]["cells"]) == len(plans[0]["cells"]) + 10  # two methods: two stages in both folds, one in one
    assert call("status", "--exclude-memorised")["cells"] == len(plans[1]["cells"])
