"""Suites are read without pydantic too, with equal results; then only names are checked, not types."""

from __future__ import annotations

import sys

import pytest

from bench.errors import ConfigError
from bench.suite.shipped import shipped_suites
from bench.suite.suite import Suite, load_suite


def loaded() -> dict[str, Suite]:
    return {name: load_suite(name) for name in shipped_suites()}


def test_suites_are_the_same_without_pydantic(monkeypatch: pytest.MonkeyPatch) -> None:
    checked = loaded()
    monkeypatch.setitem(sys.modules, "pydantic", None)
    unchecked = loaded()
    assert unchecked == checked
    assert repr(unchecked) == repr(checked)  # 1 == 1.0, but the keys of cells differ


def test_names_and_values_are_still_checked_without_pydantic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic", None)
    with pytest.raises(ConfigError, match="unknown key 'step_count'"):
        load_suite("tiny", ("methods.cgan.step_count=4",))
    with pytest.raises(ConfigError, match="steps"):
        load_suite("tiny", ("methods.cyclegan.steps=0",))
