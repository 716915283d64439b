"""A suite with all defaults as plain data, in the syntax of a suite file: reading it again gives the same suite."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from bench.suite.suite import Suite
from bench.suite.tuned import TUNED, as_section


def resolved(suite: Suite) -> dict[str, Any]:
    """Return the complete settings of a suite; ``bench.suite.suite.suite_from`` reads them."""
    return {
        "name": suite.name,
        **asdict(suite.settings),
        "dataset": {
            "name": suite.dataset.name,
            **suite.dataset.plain("dataset"),
            **({"positive": suite.positive} if suite.positive else {}),
        },
        "methods": {m.name: m.plain("method") | _own_classifiers(suite, m.name) for m in suite.methods},
        "classifiers": {c.name: c.plain("classifier") for c in suite.classifiers},
        **({"metrics": {m.name: m.plain("metric") for m in suite.metrics}} if suite.metrics else {}),
        **({TUNED: as_section(suite.tuned_settings)} if suite.tuned_settings else {}),
    }


def _own_classifiers(suite: Suite, method: str) -> dict[str, Any]:
    own = {spec.name: asdict(spec.config) for arm, spec in suite.tuned if arm == method}
    return {"classifiers": own} if own else {}
