"""A range of training sets: the run stops when the primary contrast is decided, says so, and later runs agree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from curve_tables import curve_sessions, table, tables

from bench.analysis.stopping import take_look
from bench.cli.status import read_status
from bench.data.split_config import Replicates
from bench.engine.executors.local import InProcess
from bench.engine.looks import Looks, contrast_cells, looks_possible, read_looks
from bench.engine.scheduler import Runner
from bench.engine.session import Session
from bench.errors import DataError
from bench.plan.selection import select
from bench.report.run_facts import report_info


def test_the_looks_are_fixed_numbers_of_sets() -> None:
    assert Replicates(6, 24).looks == (6, 10, 15, 19, 24)
    assert Replicates(2, 3).looks == (2, 3)
    assert Replicates(2, 4).looks == (2, 4)
    assert Replicates(4, 12).looks == (4, 6, 8, 10, 12)


def test_a_large_difference_stops_and_none_goes_on_or_is_futile(tmp_path: Path) -> None:
    planned = (4, 8, 12)
    arm, same = tables(tmp_path, 2.0, 12, 0), tables(tmp_path, 0.5, 12, 500)
    reference = tables(tmp_path, 0.5, 12, 100)
    found = take_look(planned, 2, arm[:8], reference[:8], "auroc", per_group=True)
    assert found.decision == "stop: decided"
    assert found.low > 0.1
    assert (found.planned, found.sets) == (8, 8)
    for endpoint in ("log_loss", "brier", "balanced_accuracy"):
        assert take_look(planned, 2, arm[:8], reference[:8], endpoint, per_group=False).difference > 0
    none = take_look(planned, 2, same[:8], reference[:8], "auroc", per_group=True)
    assert none.decision in ("stop: futile", "continue")
    assert take_look(planned, 3, same, reference, "auroc", per_group=True).decision == "stop: undecided"
    assert "8 sets: +" in found.words("auroc")
    assert "points" not in found.words("brier")


def test_without_scores_there_is_no_decision_and_other_patients_are_refused(tmp_path: Path) -> None:
    found = take_look((2, 4), 1, [], [], "auroc", per_group=True)
    assert (found.decision, found.sets) == ("continue", 0)
    assert math.isnan(found.p)
    assert "no estimate" in found.words("auroc")
    pair = [table(tmp_path / "a.csv", 1, 0)], [table(tmp_path / "b.csv", 1, 0, shift=1)]
    with pytest.raises(DataError, match="not tested on the same groups"):
        take_look((2, 4), 1, *pair, "auroc", per_group=True)


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Open a suite whose stages only write tables: the toy arm is better by ``better``."""
    return curve_sessions(tmp_path, monkeypatch)


def run(session: Session, said: list[str], filters: Sequence[str] = ()) -> tuple[Runner, Looks]:
    runner = Runner(select(session.plan.cells, filters), session.env)
    runner.reuse()
    looks = Looks(session.plan, session.env, said.append)
    runner.run(lambda: InProcess(1), looks)
    return runner, looks


def test_an_untrained_generator_decides_nothing(make: Any) -> None:
    session, said = make(2.5, kid=4.0), list[str]()
    runner, looks = run(session, said)
    assert [x.decision for x in looks.taken] == ["continue", "continue"], "the last sets end the run in any case"
    assert {r.fold for r in runner.ended} == set(range(6))
    why = "toy is untrained, the excess KID of its images is 40 % of that of noise"
    assert {x.withheld for x in looks.taken} == {why}
    assert said[0].endswith(f": continue, because {why}")
    assert read_looks(session.plan, session.env.out) == tuple(looks.taken)
    assert looks.taken[-1].p < 1e-3, "it would have been decided"


def test_a_decided_contrast_ends_the_run_and_later_runs_agree(make: Any) -> None:
    session, said = make(2.5), list[str]()
    runner, looks = run(session, said)
    assert looks.planned == (3, 4, 6)
    assert [x.decision for x in looks.taken][-1] == "stop: decided"
    sets = looks.taken[-1].planned
    assert sets < 6
    assert {r.fold for r in runner.ended} == set(range(sets))
    assert runner.summary.exit_code == 0
    assert said[-1].startswith(f"look {len(said)} of 3: toy vs none at 4 patients, {sets} sets: +")
    again = make(2.5)
    assert again.stopped == looks.taken[-1]
    assert {c.fold for c in again.plan.cells} == {s.fold for s in again.plan.splits} == set(range(sets))
    assert Runner(again.plan.cells, again.env).reuse() == 0
    assert f"learning curve: {sets} disjoint training sets" in report_info(again, []).protocol
    assert "of at most 6, stopped early: decided" in report_info(again, []).protocol
    assert read_status(again).looks == tuple(x.words("auroc") for x in looks.taken)
    fixed = make(2.5, "split.replicates=6")
    assert fixed.stopped is None
    assert {c.fold for c in fixed.plan.cells} == set(range(6)), "all sets, if asked for"
    other = make(2.5, "primary=brier")
    assert other.looks == (), "looks at another endpoint"


def test_an_undecided_contrast_runs_every_set_or_is_futile(make: Any) -> None:
    session, said = make(0.15), list[str]()
    runner, looks = run(session, said)
    assert not any(x.decision == "stop: decided" for x in looks.taken)
    assert {r.fold for r in runner.ended} == set(range(looks.taken[-1].planned))
    assert not runner.waiting


def test_an_interrupted_run_continues_at_its_next_look(make: Any) -> None:
    session = make(0.15)
    first = select(session.plan.cells, ["fold=0,1"])
    Runner(first, session.env).run(lambda: InProcess(1))
    runner, looks = run(make(0.15), [])
    assert {r.fold for r in runner.ended} >= {2}
    stored = read_looks(session.plan, session.env.out)
    assert [x.decision for x in stored] == [x.decision for x in looks.taken]
    (session.env.out / "looks" / "s.json").write_text("{", encoding="utf-8")
    assert read_looks(session.plan, session.env.out) == ()


def test_finished_sets_are_looked_at_in_the_planned_order(make: Any) -> None:
    session = make(2.5, "split.replicates=6")
    Runner(session.plan.cells, session.env).run(lambda: InProcess(1))
    ranged = make(2.5)
    looks = Looks(ranged.plan, ranged.env, lambda _: None)
    while looks.more():
        pass
    assert looks.taken[0].planned == 3
    assert ranged.after(looks.taken).stopped == looks.taken[-1]


def test_looks_need_the_cells_of_the_contrast(make: Any) -> None:
    plan = make(1.0).plan
    assert len(contrast_cells(plan)) == 12
    assert looks_possible(plan, {c.id for c in plan.cells})
    assert not looks_possible(plan, {c.id for c in select(plan.cells, ["method=none"])})
    fixed = make(1.0, "split.replicates=6").plan
    assert not looks_possible(fixed, {c.id for c in fixed.cells})
