"""Pretrained weights can name the patients that they were trained on: folds that test these patients are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from toy import register, write_squares, write_suite

from bench.engine.session import Session, prepare
from bench.errors import ConfigError, LeakageError
from bench.suite.resolved import resolved
from bench.suite.suite import load_suite


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)
    monkeypatch.chdir(tmp_path)
    write_squares(tmp_path / "data")
    write_suite(Path("s.yaml"), split={"protocol": "holdout", "repeats": 2, "validation_fraction": 0.3})
    Path("backbone.pth").write_bytes(b"weights")


def session(groups: str | None = None, *, plain: bool = False) -> Session:
    if groups is not None:
        Path("groups.txt").write_text(groups)
    chosen = {} if groups is None else {"trained_on": "groups.txt"}
    weights = "backbone.pth" if plain else {"file": "backbone.pth", **chosen}
    assignment = f"weights={yaml.safe_dump(weights, default_flow_style=True)}"
    return prepare("s.yaml", (assignment,), Path("data"), Path("out"))


def in_test_parts(plain: Session) -> list[set[str]]:
    """Return the patients in the test part of each fold."""
    group = {r.path: r.group_id for r in plain.plan.index.records}
    return [{group[p] for p in s.test} for s in plain.plan.splits]


def test_weights_trained_on_test_patients_are_refused_for_these_folds() -> None:
    first, second = in_test_parts(session(plain=True))
    only_first, both = min(first - second), first | second
    with pytest.raises(LeakageError, match=rf"^fold 0: .* backbone\.pth were .* in fold 0 1 of them.* '{only_first}'"):
        session(f"# training patients\n\n{only_first}\n")
    with pytest.raises(LeakageError, match=r"^fold 0, fold 0\.1: "):
        session("\n".join(both))


def test_weights_trained_on_other_patients_are_used_and_do_the_same_work() -> None:
    plain = session(plain=True)
    group = {r.group_id for r in plain.plan.index.records}
    free = group.difference(*in_test_parts(plain))
    assert free, "the test needs a patient that no fold tests"
    named = session("\n".join(free) + "\nsomeone_else\n")
    assert (named.env.weights, named.plan.weights) == (plain.env.weights, plain.plan.weights)
    assert [c.key for c in named.plan.cells] == [c.key for c in plain.plan.cells]
    assert resolved(named.suite)["weights"] == {"file": "backbone.pth", "trained_on": "groups.txt"}
    assert session().plan.weights == plain.plan.weights  # without a list the weights are trusted


@pytest.mark.parametrize(
    ("groups", "message"),
    [("# nobody\n", "lists no group"), ("patient one\n", "none of its 1 names, such as 'patient one', is a group")],
)
def test_a_list_that_says_nothing_is_refused(groups: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        session(groups)


def test_a_missing_list_and_a_typo_are_refused() -> None:
    write_suite(Path("s.yaml"), weights={"file": "backbone.pth", "trained_on": "no.txt"})
    with pytest.raises(ConfigError, match=r"no\.txt cannot be read"):
        prepare("s.yaml", (), Path("data"), Path("out"))
    write_suite(Path("s.yaml"), weights={"file": "backbone.pth", "traned_on": "no.txt"})
    with pytest.raises(ConfigError, match="did you mean 'trained_on'"):
        load_suite("s.yaml")
