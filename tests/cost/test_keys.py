"""The table of costs: the page shows it, and no other file of bench spells its keys."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from bench.cost.keys import STEP_DEVICE_S, STEP_S, CostKey, phases_of, predicted

ROOT = Path(__file__).parents[2]


def test_the_page_shows_the_table() -> None:
    lines = (ROOT / "docs" / "cost.md").read_text(encoding="utf-8").splitlines()
    start = lines.index("| Key | Unit | Meaning |") + 2
    rows = lines[start : lines.index("", start)]
    assert all("`<phase>" in row for row in rows[:2])
    assert rows[2:] == [f"| `{key}` | {key.unit} | {key.meaning} |" for key in CostKey]


def looked_up(tree: ast.AST) -> list[str]:
    """Return the strings by which a mapping named ``costs`` is read or filled, such as ``costs["x"]``."""
    found: list[ast.expr] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and _is_costs(node.value):
            found.append(node.slice)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is_costs(node.func.value):
            found += node.args[:1]
        elif isinstance(node, ast.Compare) and _is_costs(node.comparators[0]):
            found.append(node.left)
        elif isinstance(node, ast.keyword) and node.arg == "costs" and isinstance(node.value, ast.Dict):
            found += [key for key in node.value.keys if key]
    return [x.value for x in found if isinstance(x, ast.Constant) and isinstance(x.value, str)]


def _is_costs(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        node = node.func
    return getattr(node, "attr", getattr(node, "id", "")) == "costs"


@pytest.mark.parametrize(
    "text", ['row.costs.get("step_s")', 'costs["step_s"]', '"step_s" in r.costs', 'f(costs={"step_s": 1})']
)
def test_a_key_that_is_spelt_out_is_found(text: str) -> None:
    assert looked_up(ast.parse(text)) == ["step_s"]


def test_no_file_spells_the_key_of_a_cost() -> None:
    files = [p for p in (ROOT / "bench").rglob("*.py") if p.name != "keys.py"]
    found = {p.relative_to(ROOT).as_posix(): looked_up(ast.parse(p.read_text(encoding="utf-8"))) for p in files}
    assert {path: keys for path, keys in found.items() if keys} == {}


def test_predictions_are_no_phases() -> None:
    assert phases_of((STEP_S, STEP_DEVICE_S, CostKey.DEVICE_S, CostKey.PREDICTED_DEVICE_S)) == ["step"]
    assert predicted(CostKey.DEVICE_S) is CostKey.PREDICTED_DEVICE_S
    with pytest.raises(KeyError, match="predicted_energy_j"):
        predicted(CostKey.ENERGY_J)
