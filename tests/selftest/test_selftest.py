"""`bench selftest`: right about a right verdict, and not fooled by broken ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar

from bench.cli import selftest as command
from bench.cli.main import main
from bench.errors import ConfigError
from bench.selftest.outcomes import mcnemar
from bench.selftest.promises import Rate, promises
from bench.selftest.report import write_report
from bench.selftest.trial_runs import TrialResult, run_trials
from bench.selftest.trials import TRIALS, Trial
from bench.stats.inference import Verdict, verdict

SMALL = TRIALS[:2]  # 5 folds x 1 and x 3 on 82 patients
SMALLER = Trial("5 folds × 3, 30 patients", 10, 20, 5, 3)


@pytest.fixture(scope="module")
def results() -> list[TrialResult]:
    return run_trials(120, seed=0, workers=1, trials=SMALL)


def test_every_promise_holds(results: list[TrialResult]) -> None:
    kept = promises(results)
    assert [p.text for p in kept if not p.holds] == []
    assert {p.trial for p in kept} == {t.name for t in SMALL}
    for r in results:
        assert Rate.of(r.outcomes[0.0].naive < 0.05).share > 0.3  # images as independent: a coin decides
        assert len(r.outcomes[0.0].word) == len(r.family) == len(r.same_arm_twice) == 120
        assert list(r.promised) == [0.02, 0.05, 0.10]
    repeated = results[1].outcomes[0.0]
    assert np.mean(repeated.plain < 0.05) > 0.08 > np.mean(repeated.bound < 0.05)


def uncorrected(differences: object, margin: float, ratio: float) -> Verdict:
    return verdict(differences, margin, 0.0)  # type: ignore[arg-type]


def never(differences: object, margin: float, ratio: float) -> Verdict:
    return replace(verdict(differences, margin, ratio), word="undecided")  # type: ignore[arg-type]


def eager(differences: object, margin: float, ratio: float) -> Verdict:
    found = verdict(differences, margin, ratio)  # type: ignore[arg-type]
    return replace(found, word="helps" if found.difference > 0 else "hurts")


@pytest.mark.parametrize("broken", [uncorrected, never, eager])
def test_a_broken_verdict_is_exposed(broken: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("bench.selftest.outcomes.verdict", broken)
    found = run_trials(100, seed=0, workers=1, trials=[SMALLER])
    kept = promises(found)
    assert any(not p.holds for p in kept)
    data = write_report(found, kept, 0, tmp_path)
    assert not data["all_hold"]
    assert "are broken" in data["conclusions"][-1]


def test_same_seed_same_bytes_on_any_number_of_cores(tmp_path: Path) -> None:
    tiny = [Trial("2 folds, 20 patients", 8, 12, 2, 1)]
    files = {}
    for name, workers in (("one", 1), ("two", 2)):
        found = run_trials(60, seed=3, workers=workers, trials=tiny)
        write_report(found, promises(found), 3, tmp_path / name)
        files[name] = {p.name: p.read_bytes() for p in sorted((tmp_path / name).iterdir())}
    assert list(files["one"]) == ["selftest.json", "selftest.md", "selftest.png"]
    assert files["one"] == files["two"]
    assert str(tmp_path).encode() not in files["one"]["selftest.md"]
    other = run_trials(60, seed=4, workers=1, trials=tiny)
    assert not np.array_equal(other[0].outcomes[0.0].low, found[0].outcomes[0.0].low)


def test_verb_exit_codes_and_json(results: list[TrialResult], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(command, "run_trials", lambda *args: results)
    out = ["--out", str(tmp_path)]
    shown = CliRunner().invoke(main, ["selftest", *out])
    assert shown.exit_code == 0, shown.output
    assert "promises hold" in shown.output
    data = json.loads(CliRunner().invoke(main, ["selftest", *out, "--json"]).output)
    assert data == json.loads((tmp_path / "selftest.json").read_text())
    assert [t["name"] for t in data["trials"]] == [t.name for t in SMALL]
    assert "images as independent" in (tmp_path / "selftest.md").read_text()
    wrong = [replace(r, promised={**r.promised, 0.1: 1.0}) for r in results]
    monkeypatch.setattr(command, "run_trials", lambda *args: wrong)
    broken = CliRunner().invoke(main, ["selftest", *out])
    assert broken.exit_code == 3
    assert "BROKEN" in broken.output


def test_too_few_comparisons_are_refused() -> None:
    with pytest.raises(ConfigError, match="20 or more"):
        run_trials(5, 0, 1)
    assert CliRunner().invoke(main, ["selftest", "--comparisons", "5"]).exit_code == 2


def test_the_naive_test_is_mcnemars() -> None:
    rng = np.random.default_rng(0)
    arm, reference = rng.random((4, 1, 2, 50)) < 0.7, rng.random((4, 1, 2, 50)) < 0.6
    for i, p in enumerate(mcnemar(arm, reference)):
        a, b = arm[i].ravel(), reference[i].ravel()
        table = [[np.sum(a & b), np.sum(a & ~b)], [np.sum(~a & b), np.sum(~a & ~b)]]
        assert p == pytest.approx(reference_mcnemar(table, exact=False, correction=False).pvalue)
    assert mcnemar(arm, arm) == pytest.approx(1)
