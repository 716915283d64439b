"""Which arms of a suite `bench tune` tunes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.engine.session import Session
from bench.errors import ConfigError, nearest
from bench.tuning.arm import Arm
from bench.tuning.spaces import arm_space, read_changes


def choose_arms(
    session: Session, methods: Sequence[str], classifier: str | None, space: Path | None, with_seconds: bool,
    pruner: Any, seed: int,
) -> list[Arm]:  # fmt: skip
    """Return the arms to tune, with checked search spaces. Raises ``ConfigError`` with the nearest name."""
    suite = session.suite
    if suite.tuned_settings:
        raise ConfigError("this suite has tuned settings; leave out --config-from, and tune the suite's own settings")
    known, classifiers = [m.name for m in suite.methods], [c.name for c in suite.classifiers]
    wanted = known if "all" in methods else list(dict.fromkeys(methods))
    for name in wanted:
        if name not in known:
            raise ConfigError(f"--method {name}: not in suite {suite.name}; {nearest(name, [*known, 'all'])}")
    if classifier is None and len(classifiers) > 1:
        raise ConfigError(
            f"suite {suite.name} has several classifiers; add --classifier, one of {', '.join(classifiers)}"
        )
    classifier = classifier or classifiers[0]
    if classifier not in classifiers:
        raise ConfigError(f"--classifier {classifier}: not in suite {suite.name}; {nearest(classifier, classifiers)}")
    changes = read_changes(space, suite) if space else {}
    arms = []
    for name in wanted:
        specs = suite.method(name), suite.classifier(classifier, name)
        arms.append(Arm(session, *specs, arm_space(suite, *specs, changes), with_seconds, pruner, seed))
    return arms
