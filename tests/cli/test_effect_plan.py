"""`bench plan --effect`: from a pilot's rows and predictions to designs, and what it says to people and programs."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import toy
from click.testing import CliRunner, Result

from bench.cli.effect_plan import EffectPlan, plan_effect, suite_design
from bench.cli.main import main
from bench.data.split_config import SplitConfig
from bench.data.splits import make_splits
from bench.engine.session import Session, prepare
from bench.errors import ConfigError
from bench.forecast.workload import workloads
from bench.metrics.predictions import Predictions, write_predictions
from bench.stats.planning import design_power, pair_ratio, pairs_needed, power
from bench.store.results import Store
from bench.types import ResultRow

METRIC = "test/patient_balanced_accuracy"
LASTING, PASSING = 0.05, 0.10  # shares of patients that change side for good, and in each repeat anew


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    toy.register(monkeypatch)
    monkeypatch.setattr(toy, "PATIENTS", 40)
    monkeypatch.setattr(toy, "IMAGES", 1)
    monkeypatch.chdir(tmp_path)
    toy.write_squares(tmp_path / "data")
    toy.write_suite(tmp_path / "toy.yaml", split={"protocol": "kfold", "folds": 5}, ratios=[1.0])
    return prepare("toy.yaml", (), tmp_path / "data", tmp_path / "out")


def write_pilot(session: Session, root: Path, repeats: int, seed: int = 0, suite: str = "toy") -> Path:
    """Write what a run of none and toy would leave: rows and predictions of one image a patient."""
    rng = np.random.default_rng(seed)
    index = session.plan.index
    records = index.by_path()
    groups = sorted({r.group_id for r in index.records})
    always = {g: rng.random() < LASTING for g in groups}
    done = workloads(session.plan)
    work = {(c.stage, c.method): done[c.row_key].plain() for c in session.plan.cells}
    rows = []
    for split in make_splits(index, SplitConfig(folds=5, repeats=repeats)):
        here = [records[p] for p in split.test]
        y = np.array([r.label for r in here])
        base = rng.random(len(here)) < 0.8
        change = np.array([always[r.group_id] for r in here]) | (rng.random(len(here)) < PASSING)
        for method, right in (("none", base), ("toy", base ^ change)):
            score = np.mean([right[y == c].mean() for c in (0, 1)])
            prob = np.where(right, 0.9, 0.1)
            malignant = np.where(y == 1, prob, 1 - prob)
            path = Path(f"{method}_{split.fold}_{split.repeat}.csv")
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            table = Predictions(
                image=split.test,
                group=tuple(r.group_id for r in here),
                part=("test",) * len(here),
                fold=split.fold,
                repeat=split.repeat,
                y_true=y,
                y_prob=np.stack([1 - malignant, malignant], axis=1),
                classes=index.classes,
            )
            write_predictions(root / path, table)
            rows += [
                ResultRow(
                    f"{stage}/{method}{split.fold}{split.repeat}", stage, suite, "toy", "done", method=method,
                    fold=split.fold, repeat=split.repeat, ratio="0" if method == "none" else "1",
                    classifier="small_cnn", metrics={METRIC: score}, costs={"elapsed_s": 36.0},
                    facts={"predictions": str(path), "work": work[stage, method]},
                )
                for stage in ("classify", "evaluate")
            ]  # fmt: skip
    Store(root).append(rows)
    return root


def ask(session: Session, pilot: Path | None, effect: float = 0.1, **more: object) -> EffectPlan:
    return plan_effect(session, effect, pilot=pilot, **more)  # type: ignore[arg-type]


def test_a_pilot_becomes_designs_with_their_power(session: Session, tmp_path: Path) -> None:
    plan = ask(session, write_pilot(session, tmp_path / "pilot", 4))
    (comparison,) = plan.comparisons
    assert (comparison.arm, comparison.pairs) == (("toy", "1", "small_cnn"), 20)
    parts = plan.components
    assert parts is not None
    changed = 1 - (1 - LASTING) * (1 - PASSING)
    assert parts.changed == pytest.approx(changed, abs=0.04)
    assert 0 < parts.lasting_share < 0.8
    assert parts.lasting + parts.passing == pytest.approx(
        changed / 80, rel=0.5
    )  # 40 patients a class, half weight each
    assert {(o.folds, o.repeats) for o in plan.options} >= {(3, 1), (5, 1), (5, 20), (10, 3)}
    own = suite_design(session.suite.settings.split)
    assert own.test_train_ratio == pytest.approx(0.2 / (0.8 * 0.8))
    shown = next(o for o in plan.options if (o.folds, o.repeats) == (5, 1))
    assert shown.power == shown.power_alone == pytest.approx(design_power(parts, own, 0.1))
    for folds in (3, 5, 10):
        powers = [o.power for o in plan.options if o.folds == folds]
        assert powers == sorted(powers)
    assert (
        plan.least_detectable
        <= min(o.minimum_detectable_effect for o in plan.options if math.isfinite(o.minimum_detectable_effect)) + 1e-9
    )
    assert plan.plain_pairs == pairs_needed(0.1, comparison.sd, 0.0)


def test_the_recommendation_is_the_fewest_pairs_that_do(session: Session, tmp_path: Path) -> None:
    pilot = write_pilot(session, tmp_path / "pilot", 4)
    plan = ask(session, pilot, effect=0.3)
    best = plan.recommended
    assert best is not None
    assert best.power >= 0.8
    assert all(o.power < 0.8 for o in plan.options if o.pairs < best.pairs)
    none = ask(session, pilot, effect=0.05)
    assert none.recommended is None
    assert none.patients_best is not None
    assert none.patients_best > none.patients == 80


def test_costs_are_core_hours_of_all_pairs(session: Session, tmp_path: Path) -> None:
    plan = ask(session, write_pilot(session, tmp_path / "pilot", 2))
    shown = {(o.folds, o.repeats): o.core_hours for o in plan.options}
    first = [c for c in session.plan.work if (c.fold, c.repeat) == (0, 0)]
    assert plan.unmeasured == sum(c.stage not in ("classify", "evaluate") for c in first)  # those were never timed
    assert shown[5, 1] == pytest.approx(5 * 4 * 36 / 3600)  # classify and evaluate of two arms
    assert shown[5, 10] == pytest.approx(10 * shown[5, 1])


def test_one_repeat_counts_all_as_lasting(session: Session, tmp_path: Path) -> None:
    one = ask(session, write_pilot(session, tmp_path / "one", 1))
    assert one.components is not None
    assert one.components.passing == 0
    result = verb("--effect", "0.1", "--pilot", "one")
    assert "use two repeats" in result.output


def test_without_predictions_the_test_is_taken_at_its_word(session: Session, tmp_path: Path) -> None:
    root = write_pilot(session, tmp_path / "pilot", 2)
    for path in root.glob("*.csv"):
        path.unlink()
    plan = ask(session, root)
    assert plan.components is None
    assert plan.patients_best is None
    own = suite_design(session.suite.settings.split)
    shown = next(o for o in plan.options if (o.folds, o.repeats) == (5, 1))
    assert shown.power == power(0.1, plan.sd, 5, pair_ratio(own.test_train_ratio))
    assert "cannot be read" in verb("--effect", "0.1", "--pilot", "pilot").output


def test_one_missing_or_damaged_table_of_predictions_is_an_error_that_names_it(
    session: Session, tmp_path: Path
) -> None:
    root = write_pilot(session, tmp_path / "pilot", 2)
    one = sorted(root.glob("*.csv"))[0]
    whole = one.read_text()
    for left in ("", whole[: len(whole) // 2]):
        one.write_text(left)
        result = verb("--effect", "0.1", "--pilot", "pilot")
        assert (result.exit_code, one.name in result.output) == (2, True)
    one.unlink()
    assert one.name in verb("--effect", "0.1", "--pilot", "pilot").output


def test_holm_counts_the_arms(session: Session, tmp_path: Path) -> None:
    pilot = write_pilot(session, tmp_path / "pilot", 2)
    toy.write_suite(tmp_path / "toy.yaml", split={"protocol": "kfold", "folds": 5}, ratios=[0.5, 1.0, 2.0])
    three = prepare("toy.yaml", (), tmp_path / "data", tmp_path / "out")
    plan = ask(three, pilot)
    assert plan.arms == 3
    assert all(o.power < o.power_alone for o in plan.options)
    alone = ask(three, pilot, only=("ratio=1",))
    assert alone.arms == 1
    assert [o.power for o in alone.options] == [o.power_alone for o in plan.options]


def test_a_folder_that_mixes_splits_is_refused(session: Session, tmp_path: Path) -> None:
    root = write_pilot(session, tmp_path / "pilot", 1)
    for method in ("none", "toy"):
        (root / f"{method}_1_0.csv").write_bytes((root / f"{method}_0_0.csv").read_bytes())
    with pytest.raises(ConfigError, match="mixes runs"):
        ask(session, root)


def test_what_cannot_be_planned_is_said(session: Session, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no finished comparison"):
        ask(session, tmp_path / "empty")
    for bad in (0.0, 2.0, -0.1):
        with pytest.raises(ConfigError, match="two points"):
            ask(session, None, effect=bad)
    root = write_pilot(session, tmp_path / "pilot", 1, suite="other")
    write_pilot(session, root, 1, suite="third")
    rows = list(Store(root).rows().values())
    Store(root).append([replace(rows[1], key="x", suite="fourth")])
    with pytest.raises(ConfigError, match="fourth"):
        ask(session, root)


def verb(*words: str) -> Result:
    return CliRunner().invoke(main, ["plan", "--suite", "toy.yaml", "--data", "data", "--out", "out", *words])


def test_the_verb_for_people_and_programs(session: Session, tmp_path: Path) -> None:
    write_pilot(session, tmp_path / "pilot", 3)
    shown = verb("--effect", "0.3", "--pilot", "pilot/results.jsonl")
    assert shown.exit_code == 0, shown.output
    for words in ("5 folds × 3", "toy ×1 small_cnn", "core-hours", "Use ", "is the same in all repeats"):
        assert words in shown.output
    data = json.loads(verb("--effect", "0.3", "--pilot", "pilot", "--json").output)
    assert data["recommended"] in data["options"]
    assert data["sentences"]
    assert verb("--pilot", "pilot").exit_code == 2
    assert verb("--effect", "20").exit_code == 2
    assert "classify" in verb().output  # without --effect: the cells, as ever


def test_without_a_pilot_several_spreads_are_shown(session: Session) -> None:
    shown = verb("--effect", "0.02").output
    assert "no pilot" in shown
    lines = {line.split()[0]: line for line in shown.splitlines() if line[:1].isdigit()}
    assert list(lines) == ["1.0", "2.0", "4.0", "8.0"]
    assert lines["2.0"].rstrip().endswith(" 10")  # pairs, if they were independent: methodology's 10 to 34
    assert lines["4.0"].rstrip().endswith(" 34")
    data = json.loads(verb("--effect", "0.02", "--json").output)
    assert data["comparisons"] == []
    assert data["components"] is None


def test_hold_out_suites_are_planned_in_repeats(session: Session, tmp_path: Path) -> None:
    toy.write_suite(tmp_path / "toy.yaml", split={"protocol": "holdout", "test_fraction": 0.3, "repeats": 10})
    plan = ask(
        prepare("toy.yaml", (), tmp_path / "data", tmp_path / "out"), write_pilot(session, tmp_path / "pilot", 2)
    )
    assert {o.folds for o in plan.options} == {1}
    assert [o.repeats for o in plan.options] == [5, 10, 20, 40, 80]
