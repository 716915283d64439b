"""The configuration of each run in an output folder: ``<out>/configs/<name>.yaml``.

It contains all that a later command needs: the complete settings, the folder of images, the weights and the folders of
plug-ins. Runs of earlier versions have only ``<out>/reports/<name>/suite.yaml``, the settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bench.config import build, read_yaml, to_plain
from bench.files import write_atomic

FOLDER, SETTINGS = "configs", "suite.yaml"


@dataclass(frozen=True)
class RunConfig:
    """How to open a run again. Paths are absolute; ``weights`` are those of the environment.

    ``suite`` is in the syntax of a suite file, without a default left out. A run of a file with sub-suites has their
    names in ``sub_suites`` and no ``suite`` of its own; those without images are in ``absent``, with the reason.
    """

    name: str
    command: str = ""
    suite: Mapping[str, Any] = field(default_factory=dict)
    data: str | None = None
    weights: str | None = None
    plugins: tuple[str, ...] = ()
    sub_suites: tuple[str, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)


def save_run_config(out: Path, config: RunConfig) -> None:
    """Write the configuration; it replaces an earlier one of that name. An unchanged file is not written."""
    path = out / FOLDER / f"{config.name}.yaml"
    text = yaml.safe_dump(to_plain(asdict(config)), sort_keys=False, allow_unicode=True)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_atomic(path, text)


def read_run_config(out: Path, name: str) -> RunConfig | None:
    """Return the configuration of a run, None if the folder has no run of that name. Raises ``ConfigError``."""
    stored, earlier = out / FOLDER / f"{name}.yaml", out / "reports" / name / SETTINGS
    if stored.is_file():
        return build(RunConfig, read_yaml(stored), str(stored))
    return RunConfig(name, suite=read_yaml(earlier)) if earlier.is_file() else None


def run_names(out: Path) -> list[str]:
    """Return the names of the runs in an output folder, sorted."""
    stored = (path.stem for path in (out / FOLDER).glob("*.yaml"))
    return sorted({*stored, *(path.parent.name for path in (out / "reports").glob(f"*/{SETTINGS}"))})
