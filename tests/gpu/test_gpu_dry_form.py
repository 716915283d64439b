"""The GPU list on a CPU at tiny sizes, with only the packages that a GPU machine is promised to have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest

from bench.gpu.job import DONE, NO_PYTEST
from bench.gpu.parts import PARTS

ROOT = Path(__file__).parents[2]
PRESENT = ("torch", "torchvision", "timm", "numpy", "scipy", "pandas", "scikit-learn", "matplotlib", "pillow")
NEWER = {"click"}  # huggingface_hub, which timm needs, requires it only since version 2
BLOCK = """
import importlib.machinery, os
absent, find = set(os.environ["ABSENT"].split()), importlib.machinery.PathFinder.find_spec
importlib.machinery.PathFinder.find_spec = classmethod(
    lambda cls, name, path=None, target=None: None if name.split(".")[0] in absent else find(name, path, target)
)
"""


def absent_modules() -> list[str]:
    """Return the top-level modules of all installed packages that neither ``PRESENT`` nor what it requires are."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    known: set[str] = set()
    left = list(PRESENT)
    while left:
        name = canonicalize_name(left.pop())
        if name in known:
            continue
        known.add(name)
        try:
            required = [Requirement(text) for text in requires(name) or []]
        except PackageNotFoundError:  # of another platform
            continue
        left += [r.name for r in required if r.marker is None or r.marker.evaluate({"extra": ""})]
    known -= NEWER
    own = {"bench", "tlsgan", "baselines", "tests"}
    owners = {m: {canonicalize_name(d) for d in found} for m, found in packages_distributions().items()}
    return sorted(module for module, found in owners.items() if module not in own and not found & known)


def clean_environment() -> dict[str, str]:
    """The environment without what a `make` that runs the tests, or a user, has set for other targets."""
    set_by_others = ("PYTHON", "BENCH_DATA", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    return {name: value for name, value in os.environ.items() if name not in set_by_others}


@pytest.mark.slow
def test_the_dry_form_needs_only_what_a_gpu_machine_has(tmp_path: Path) -> None:
    absent = absent_modules()
    assert {"click", "rich", "pydantic", "psutil", "mlflow", "optuna", "torch_fidelity", "pytest"} <= set(absent)
    (tmp_path / "sitecustomize.py").write_text(BLOCK, encoding="utf-8")
    environment = {**clean_environment(), "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "ABSENT": " ".join(absent)}
    command = ["make", "gpu", f"PYTHON={sys.executable}", f"GPU=--dry --out {tmp_path / 'out'}"]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    for part in PARTS:
        record = json.loads((tmp_path / "out" / f"{part.name}.json").read_text(encoding="utf-8"))
        assert record["status"] == (NO_PYTEST if part.name == "pytest" else DONE), record["error"]
        assert record["result"], part.name
    page = (tmp_path / "out" / "summary.md").read_text(encoding="utf-8")
    assert all(f"| {part.title} |" in page for part in PARTS)
    assert "| 64 | fast, as it is |" in page  # a row of the table of steps
    assert "| cyclegan | 32 | 4 |" in page  # and of costs


def test_make_uses_the_environment_at_hand_and_installs_nothing() -> None:
    def commands(*variables: str) -> str:
        line, environment = ["make", "-n", "gpu", *variables], clean_environment()
        return subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout

    assert commands("VENV=/nowhere").strip() == "python3 -m bench.gpu --budget 480"
    given = commands("PYTHON=/opt/python", "BUDGET=60", "GPU=--dry")
    assert given.strip() == "/opt/python -m bench.gpu --budget 60 --dry"
