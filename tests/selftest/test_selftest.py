"""`bench selftest`: keeps the promises of the tests in use, and is not fooled by broken ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from bench.cli import selftest as command
from bench.cli.main import main
from bench.errors import ConfigError
from bench.selftest import comparisons, intervals
from bench.selftest.comparisons import hold_outs, stop_early
from bench.selftest.experiments import experiments
from bench.selftest.intervals import score_intervals, worth
from bench.selftest.promises import COVERAGE, FALSE_CLAIMS, SHOWN, Promise, Rule, broken, check
from bench.selftest.report import PARTS, markdown, rows, write_report
from bench.selftest.runs import Experiment, Measure, run_experiments
from bench.selftest.tuning import tuning
from bench.stats.estimate import Estimate
from bench.stats.inference import wilson
from bench.stats.score_interval import score_interval
from bench.stats.simulation import NULLS, SAME

EVERY = {(e.part, e.design, e.case): e for e in experiments()}


def shares(hits: int, n: int) -> np.ndarray:
    return np.repeat([1.0, 0.0], [hits, n - hits])


@pytest.mark.parametrize(
    ("rule", "values", "holds"),
    [
        (FALSE_CLAIMS, shares(49, 1000), True),
        (FALSE_CLAIMS, shares(50, 1000), False),  # 5 %, but the upper Wilson bound is 6.53 %
        (FALSE_CLAIMS, shares(7, 100), True),  # few studies: within the sampling error
        (FALSE_CLAIMS, shares(20, 100), False),
        (COVERAGE, shares(950, 1000), True),
        (COVERAGE, shares(920, 1000), False),
        (COVERAGE, shares(980, 1000), False),
        (Rule("at least", low=0.8), shares(850, 1000), True),
        (Rule("at least", low=0.8), shares(750, 1000), False),
        (Rule("points at most", high=0.01), np.tile([0.02, -0.01], 500), True),
        (Rule("points at most", high=0.01), np.tile([-0.03, -0.01], 500), False),
        (Rule("points within", 0.03, 0.13), np.tile([0.1, 0.06], 500), True),
        (SHOWN, shares(900, 1000), True),
    ],
)
def test_rules(rule: Rule, values: np.ndarray, holds: bool) -> None:
    found, kept = check(rule, np.append(values, np.nan))
    assert kept is holds
    assert found.n == len(values)
    assert found.value == pytest.approx(values.mean())
    if not rule.in_points:
        assert (found.low, found.high) == wilson(int(values.sum()), len(values))


def test_undefined_values_and_too_few_studies_are_refused() -> None:
    with pytest.raises(ConfigError, match="undefined"):
        check(FALSE_CLAIMS, np.full(3, np.nan))
    with pytest.raises(ConfigError, match="20 or more"):
        run_experiments([], 5, 0, 1)
    assert CliRunner().invoke(main, ["selftest", "--studies", "5"]).exit_code == 2
    assert CliRunner().invoke(main, ["selftest", "--only", "nothing"]).exit_code == 2


def test_every_part_is_run_and_explained() -> None:
    assert {part for part, _, _ in EVERY} == set(PARTS)
    assert len(EVERY) == len(experiments())


def test_same_seed_same_bytes_on_any_number_of_cores(tmp_path: Path) -> None:
    chosen = [e for e in experiments() if e.part == "tuning"]
    files = {}
    for name, workers in (("one", 1), ("two", 2)):
        found = run_experiments(chosen, 20, 3, workers)
        write_report(found, 20, 3, tmp_path / name)
        files[name] = {p.name: p.read_bytes() for p in sorted((tmp_path / name).iterdir())}
    assert list(files["one"]) == ["selftest.json", "selftest.md"]
    assert files["one"] == files["two"]
    assert run_experiments(chosen, 20, 4, 1) != found


def test_a_plain_test_is_fooled_where_the_verdict_is_not() -> None:
    run = partial(comparisons.curves, NULLS[3], (40, 40))
    found = {k: v.mean() for k, v in run(60, np.random.default_rng(0)).items()}
    assert found["plain"] > 0.12
    assert found["fixed"] < 0.13


def test_a_shared_configuration_is_optimistic_and_one_per_fold_is_not() -> None:
    found = tuning(25, np.random.default_rng(0))
    assert found["once"].mean() > 0.05
    assert abs(found["per fold"].mean()) < 0.05


def eager(estimate: Estimate) -> str:
    return "helps" if estimate.p < 0.3 else "undecided"


def never(estimate: Estimate) -> str:
    return "undecided"


@pytest.mark.parametrize(("wrong", "part"), [(eager, "nulls"), (never, "power")])
def test_a_broken_test_is_exposed(wrong: object, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparisons, "decided", wrong)
    chosen = next(e for e in experiments() if e.part == part)
    assert broken(run_experiments([chosen], 40, 0, 1))


def test_a_stopped_run_uses_as_many_sets_as_it_needs() -> None:
    noise = np.random.default_rng(0).normal(0, 1, (24, 100))
    assert stop_early(noise + 1) == (6, True)
    used, claimed = stop_early(noise - noise.mean())
    assert used < 24  # futile
    assert not claimed
    found = comparisons.curves(SAME, (40, 80), 20, np.random.default_rng(0))
    assert found["stopped"].mean() > 0.7
    assert 6 <= found["used"].mean() < 20


@pytest.mark.parametrize("run", [partial(comparisons.folds, NULLS[2], 3, 2, False), partial(hold_outs, NULLS[2], 4)])
def test_folds_and_hold_outs_of_equal_arms(run: Callable[..., dict[str, np.ndarray]]) -> None:
    found = run(40, np.random.default_rng(0))
    assert found["fixed"].mean() < 0.2
    assert found["fixed"].mean() <= found["plain"].mean()


def test_more_patients_are_found_more_often_than_equal_ones() -> None:
    equal, doubled = (comparisons.folds(SAME, 3, 2, d, 40, np.random.default_rng(0)) for d in (False, True))
    assert equal["fixed"].sum() == 0  # the same predictions: no difference, and no claim
    assert doubled["fixed"].sum() > 0


def test_coverage_notices_an_interval_that_is_too_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    found = score_intervals((10, 10), 3, 40, np.random.default_rng(0))
    assert found["auroc"].mean() > 0.8
    monkeypatch.setattr(intervals, "score_interval", partial(score_interval, alpha=0.5))
    assert score_intervals((10, 10), 3, 40, np.random.default_rng(0))["auroc"].mean() < 0.7


def test_the_interval_of_the_worth_holds_the_true_worth() -> None:
    found = worth(SAME, 20, 30, np.random.default_rng(0))["covered"]
    assert found.mean() > 0.8


def fixed(studies: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {"claims": shares(10, studies), "other": shares(0, studies)}


def made(**changes: object) -> list[Promise]:
    measure = replace(Measure("claims", "verdict", FALSE_CLAIMS), **changes)  # type: ignore[arg-type]
    one = Experiment("nulls", "k-fold 5 × 1", "noise", fixed, (measure, Measure("other", "plain", SHOWN)))
    return run_experiments([one, replace(one, case="disjoint")], 25, 0, 1)


def test_report_marks_what_is_broken_and_what_a_design_cannot_hold() -> None:
    heading, table = rows(made(), "nulls")
    assert heading == ["Design", "Measure", "noise", "disjoint", "Promised"]
    assert [r[:2] for r in table] == [["k-fold 5 × 1", "verdict"], ["k-fold 5 × 1", "plain"]]
    assert "**BROKEN**" in table[0][2]
    assert "**cannot hold**" in rows(made(cannot_hold=True), "nulls")[1][0][2]
    assert "2 of 2 promises are broken" in markdown(made(), 25, 0)
    text = markdown(made(cannot_hold=True), 25, 0)
    assert "2 cases that a design cannot hold are marked" in text
    assert not broken(made(cannot_hold=True))


def test_verb_exit_codes_and_json(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen = []

    def run(chosen: list[Experiment], *args: object) -> list[Promise]:
        seen.append({e.part for e in chosen})
        return made(cannot_hold=True)

    monkeypatch.setattr(command, "run_experiments", run)
    out = ["--out", str(tmp_path)]
    shown = CliRunner().invoke(main, ["selftest", *out, "--only", "power", "--only", "tuning"])
    assert shown.exit_code == 0, shown.output
    assert "promises hold" in shown.output
    assert seen == [{"power", "tuning"}]
    data = json.loads(CliRunner().invoke(main, ["selftest", *out, "--json"]).output)
    assert data == json.loads((tmp_path / "selftest.json").read_text())
    assert data["all_hold"]
    assert str(tmp_path) not in (tmp_path / "selftest.md").read_text()
    monkeypatch.setattr(command, "run_experiments", lambda *args: made())
    failed = CliRunner().invoke(main, ["selftest", *out])
    assert failed.exit_code == 3
    assert "BROKEN" in failed.output
