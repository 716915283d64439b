"""Configs: unknown keys, wrong types, --set, and hashes that depend on content only."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.config import build, override, read_yaml, stable_hash, to_plain
from bench.errors import ConfigError


@dataclass(frozen=True)
class Inner:
    steps: int = 10


@dataclass(frozen=True)
class Outer:
    learning_rate: float = 1e-3
    inner: Inner = field(default_factory=Inner)
    names: tuple[str, ...] = ()
    limit: int | None = None


def test_nested_values_are_built_with_their_types() -> None:
    built = build(Outer, {"learning_rate": 1, "inner": {"steps": 3}, "names": ["a"]}, "here")
    assert built == Outer(1.0, Inner(3), ("a",), None)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"learning_rat": 1}, "here: unknown key 'learning_rat'; did you mean 'learning_rate'?"),
        ({"inner": {"step": 1}}, "here.inner: unknown key 'step'; did you mean 'steps'?"),
        ({"inner": {"steps": "many"}}, "here.inner.steps: got 'many'"),
        ({"limit": 2.5}, "here.limit"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(data: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        build(Outer, data, "here")


def test_set_changes_deep_values_and_stars_reach_all() -> None:
    data = {"methods": {"a": {"steps": 1}, "b": None}, "seed": 0}
    out = override(data, ("methods.*.steps=7", "seed=3", "split.folds=2", "ratios=[0.5, balance]"))
    assert out["methods"] == {"a": {"steps": 7}, "b": {"steps": 7}}
    assert (out["seed"], out["split"], out["ratios"]) == (3, {"folds": 2}, [0.5, "balance"])
    assert data["methods"]["b"] is None


@pytest.mark.parametrize("text", ["steps", "=3", "metods.*.steps=1", "seed.x=1"])
def test_a_set_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        override({"seed": 0}, (text,))


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.lists(st.booleans(), max_size=3), max_size=5))
def test_a_hash_ignores_the_order_of_keys(data: dict) -> None:
    assert stable_hash(data) == stable_hash(dict(reversed(data.items())))


def test_a_hash_sees_every_value() -> None:
    assert len({stable_hash(c) for c in (Outer(), Outer(limit=0), Outer(inner=Inner(11)), Outer(names=("",)))}) == 4
    assert stable_hash(Outer()) == stable_hash(to_plain(Outer()))


def test_bad_yaml_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: [1,\nb: 2")
    with pytest.raises(ConfigError, match=r"x\.yaml: not valid YAML"):
        read_yaml(path)
    path.write_text("- 1")
    with pytest.raises(ConfigError, match="expected a mapping"):
        read_yaml(path)
