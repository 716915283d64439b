"""`bench plan --effect` of a learning curve: from a pilot's sets and patients, or assumed; and the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from curve_tables import curve_sessions

from bench.cli.effect_curve import plan_sizes
from bench.cli.main import main
from bench.engine.executors.local import InProcess
from bench.engine.scheduler import Runner
from bench.engine.session import Session
from bench.errors import ConfigError
from bench.plan.selection import select


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    return curve_sessions(tmp_path, monkeypatch)


def pilot_of(session: Session) -> None:
    Runner(select(session.plan.cells, ["fold=0,1,2"]), session.env).run(lambda: InProcess(1))


def test_without_a_pilot_the_spread_is_assumed(make: Any) -> None:
    found = plan_sizes(make(1.0, "split.replicates=6"), 0.02, 0.8, None, 0.05)
    assert [(p.train_patients, p.sets, p.test_groups, p.pilot) for p in found] == [(4, 6, 60, 0)] * 3
    assert [p.spread for p in found] == pytest.approx([0.003, 0.01, 0.03])
    assert found[0].power > 0.99 > found[1].power > found[2].power
    assert found[0].sets_needed is not None
    assert found[1].minimum_detectable_effect == pytest.approx(0.015, abs=0.004), "1 point, 6 sets: about 1.4 sd"


def test_a_pilot_of_some_sets_gives_the_variance_of_sets_and_patients(make: Any) -> None:
    session = make(1.0, "split.replicates=6")
    pilot_of(session)
    (found,) = plan_sizes(session, 0.1, 0.8, None, 0.05)
    assert (found.pilot, found.sets, found.test_groups) == (1, 6, 60)
    assert 0 < found.minimum_detectable_effect < 0.3
    more = plan_sizes(session, 0.02, 0.8, None, 0.05)[0]
    assert more.power < found.power
    assert more.sets_needed is None or more.sets_needed > (found.sets_needed or 0)
    assert plan_sizes(session, 0.1, 0.8, session.env.out, 0.05) == (found,)
    strict = plan_sizes(session, 0.1, 0.8, None, 0.005)[0]
    assert strict.minimum_detectable_effect > found.minimum_detectable_effect


def test_the_command_prints_table_and_json(make: Any, tmp_path: Path) -> None:
    make(1.0)
    words = ["plan", "--suite", str(tmp_path / "s.yaml"), "--data", str(tmp_path / "data"), "--out", str(tmp_path)]
    shown = CliRunner().invoke(main, [*words, "--effect", "0.02"])
    assert shown.exit_code == 0, shown.output
    assert "patient-level auroc, power 80%, level 0.05 (the primary contrast)" in " ".join(shown.output.split())
    assert "no pilot: --out has no scores of two sets yet" in shown.output
    facts = json.loads(CliRunner().invoke(main, [*words, "--effect", "0.02", "--json"]).output)
    assert [round(x["spread"], 3) for x in facts["sizes"]] == [0.003, 0.01, 0.03]
    refused = CliRunner().invoke(main, [*words, "--effect", "2"])
    assert refused.exit_code == 2
    assert "expected a share between 0 and 1" in refused.output


def test_a_pilot_without_comparisons_is_refused(make: Any, tmp_path: Path) -> None:
    session = make(1.0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no finished comparison with none"):
        plan_sizes(session, 0.02, 0.8, tmp_path / "empty", 0.05)
    assert np.isfinite(plan_sizes(session, 0.02, 0.8, None, 0.05)[0].power)
