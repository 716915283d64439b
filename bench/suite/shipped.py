"""The suites that ship with the package, and the folder of their YAML files."""

from __future__ import annotations

from pathlib import Path

from bench.config import read_yaml
from bench.suite.sub_suites import locate, sub_suites_in


def config_folder() -> Path:
    """Return the folder of YAML configs: of the checkout, or the copy in the installed package."""
    here = Path(__file__).parents[1]
    checkout = here.parent / "configs"
    return checkout if checkout.is_dir() else here / "_configs"


def suite_files() -> dict[str, Path]:
    """Return the shipped suites by name."""
    return {p.stem: p for p in sorted((config_folder() / "suites").glob("*.yaml"))}


def suite_name(name: str) -> str:
    """Return the name of a suite given by name or path: the entry ``name`` of its file, or the file's name.

    A sub-suite's is added to that of its file. Raises ``ConfigError`` for an unknown suite.
    """
    path, sub_suite = locate(name, suite_files())
    own = str(read_yaml(path).get("name", path.stem))
    return f"{own}-{sub_suite}" if sub_suite else own


def sub_suite_names(name: str) -> tuple[str, ...]:
    """Return the names of the sub-suites of a suite; () if there are none. Raises the errors of ``load_suite``."""
    path, sub_suite = locate(name, suite_files())
    found = () if sub_suite else sub_suites_in(read_yaml(path), path.stem)
    end = ".yaml" if name.endswith(".yaml") else ""
    return tuple(f"{name.removesuffix(end)}-{m}{end}" for m in found)


def shipped_suites() -> tuple[str, ...]:
    """Return the names of all shipped suites that can be run, with sub-suites in place of their parent."""
    return tuple(n for name in suite_files() for n in sub_suite_names(name) or (name,))
