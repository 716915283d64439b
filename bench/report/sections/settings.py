"""How the report was made: command, data, splits, machine and versions; and the settings of the run."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bench.analysis.info import ReportInfo
from bench.analysis.report import Records
from bench.report.content import Section, listed
from bench.report.text import code, join, literal

ORDER = 910


def sections(_: Records, info: ReportInfo) -> Iterator[Section]:
    """Yield the facts that identify the run."""
    facts = {
        "Command": code(info.command) if info.command else "",
        "Data": (
            f"{info.dataset} ({join(map(literal, info.classes))}), {info.image_size_px} px, fingerprint "
            f"`{info.fingerprint}`"
        ),
        "Splits": literal(info.protocol),
        "Seed": str(info.seed),
        "Machine": literal(info.host),
        "Versions": ", ".join(literal(f"{k} {v}") for k, v in sorted(info.versions.items())),
        "Commit": code(info.git_commit) if info.git_commit else "",
        "Suite": literal(info.description),
    }
    made = listed({head: text for head, text in facts.items() if text})
    yield Section("Settings and versions", (made,), ORDER, appendix=False)


def config_section(text: str) -> Section:
    """Return the resolved suite, as YAML, in the appendix."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return Section("Config of the run", (f"`suite.yaml` with all defaults resolved:\n\n{fence}\n{text}{fence}\n",), 920)
