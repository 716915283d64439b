"""The plan of a given split: its keys depend on the parts, which the fingerprint of the data does not cover."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from data_sets import two_classes
from toy import register, write_suite

from bench.cli.main import main
from bench.engine.session import prepare
from bench.plan.plan import Plan


def plan_of(tmp_path: Path, parts: dict[int, str], name: str = "labels") -> Plan:
    """Plan the toy suite on the images of eight patients, with the part of each patient."""
    root = tmp_path / "set"
    paths = sorted(p.relative_to(root).as_posix() for p in root.rglob("*.png"))
    lines = [f"{p},{p[0]},{p[2:6]},{parts[int(p[4:6])]}" for p in paths]
    (root / f"{name}.csv").write_text("\n".join(["image,label,patient,part", *lines]), encoding="utf-8")
    dataset = {"name": "table", "group": "patient", "split": "part", "positive": "b"}
    write_suite(tmp_path / f"{name}.yaml", data=f"set/{name}.csv", dataset=dataset, split={"protocol": "given"})
    return prepare(str(tmp_path / f"{name}.yaml"), (), None, tmp_path / "runs").plan


def test_another_given_part_is_another_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)
    monkeypatch.delenv("BENCH_DATA", raising=False)
    two_classes(tmp_path / "set")
    first = {0: "train", 1: "train", 2: "val", 3: "test"}
    a, b = plan_of(tmp_path, first), plan_of(tmp_path, {0: "train", 1: "train", 2: "test", 3: "val"}, "other")
    assert a.fingerprint == b.fingerprint
    assert not {c.key for c in a.cells} & {c.key for c in b.cells}
    assert [c.key for c in plan_of(tmp_path, first).cells] == [c.key for c in a.cells]
    (split,) = a.splits
    assert {p[4:6] for p in split.train} == {"00", "01"}
    assert {p[4:6] for p in split.test} == {"03"}
    asked = CliRunner().invoke(main, ["plan", "--suite", str(tmp_path / "labels.yaml"), "--effect", "0.1"])
    assert asked.exit_code == 2
    assert "a given split has one test part" in asked.output
