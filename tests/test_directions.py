"""Who may import whom. Read from the source, so that lazy imports inside functions count too."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LEAVES = {"bench.types", "bench.interfaces", "bench.errors", "bench.seeding", "bench.weights"}
# From the top down: a module may import from its own layer and from those below it.
LAYERS = (
    ("cli",),
    (
        "commands",
        "selftest",
        "web",
    ),
    ("check", "reporting", "view", "runner", "console", "comparison"),
    ("session", "cells", "tuning", "merge"),
    (
        "tracking",
        "tracking_media",
        "tracking_rows",
        "tracking_views",
        "tracking_writer",
        "stages",
        "executors",
        "report",
        "cross",
        "estimate",
        "progress",
        "step_costs",
        "leak_demo",
    ),
    (
        "store",
        "studies",
        "artifacts",
        "context",
        "plan",
        "plan_checks",
        "selection",
        "runs",
        "live",
        "workload",
        "probes",
    ),
    ("suite", "roles", "ratios", "data", "classifiers", "segmentation", "metrics", "cost"),
    (
        "types",
        "interfaces",
        "errors",
        "registry",
        "config",
        "seeding",
        "weights",
        "files",
        "members",
        "history",
        "provenance",
        "published",
        "timm_names",
    ),
)
APART = {
    "metrics": {"data", "classifiers", "segmentation"},
    "classifiers": {"data", "segmentation"},
    "segmentation": {"data"},
    "data": {"metrics", "classifiers", "segmentation"},
}


def modules() -> list[Path]:
    return sorted(p for package in ("bench", "tlsgan", "baselines") for p in (ROOT / package).rglob("*.py"))


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def layer(part: str) -> int:
    return next((i for i, names in enumerate(LAYERS) if part in names), -1)


def part_of(path: Path) -> str:
    return path.relative_to(ROOT / "bench").parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_downwards(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    for name in imports(path):
        top = name.split(".")[0]
        if package != "bench":
            other = "baselines" if package == "tlsgan" else "tlsgan"
            assert top != other, f"{path.name} imports {name}"
            if top == "bench":
                assert any(name == leaf or name.startswith(leaf + ".") for leaf in LEAVES) or name == "bench", name
            continue
        assert top not in ("tlsgan", "baselines"), f"bench reaches methods by the registry only, not by {name}"
        part = part_of(path)
        if top != "bench" or "." not in name or part == "__init__":
            continue
        target = name.split(".")[1]
        if layer(target) < 0:
            continue
        assert layer(part) >= 0, f"give {part} a place in LAYERS"
        assert layer(target) >= layer(part), f"{part} must not import {name}: it lies above"
        assert target not in APART.get(part, set()), f"{part} must not import {name}"


def test_the_report_touches_no_model() -> None:
    for path in (ROOT / "bench" / "report").rglob("*.py"):
        assert not {n for n in imports(path) if n.split(".")[0] in ("torch", "timm", "torchvision")}, path


def test_every_module_has_a_place() -> None:
    parts = {part_of(p) for p in (ROOT / "bench").rglob("*.py")} - {"__init__"}
    assert {p for p in parts if layer(p) < 0} == set()
