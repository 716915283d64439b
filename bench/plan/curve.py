"""The sizes of a learning curve in a plan: how many sets there are of each, and how many patients in their parts."""

from __future__ import annotations

from dataclasses import dataclass

from bench.data.split_config import LEARNING_CURVE
from bench.plan.plan import Plan


@dataclass(frozen=True)
class CurveSize:
    """The ``sets`` of one size: patients per set by part, and the methods that are trained on them.

    ``train`` and ``validation`` are the range over the sets, which differ only where patients have images of several
    classes.
    """

    train_patients: int
    sets: int
    train: tuple[int, int]
    validation: tuple[int, int]
    test: int
    methods: int


def curve_sizes(plan: Plan) -> tuple[CurveSize, ...]:
    """Return the sizes of a plan's learning curve, ascending; () for other split protocols."""
    split = plan.suite.settings.split
    if split.protocol != LEARNING_CURVE:
        return ()
    group = {r.path: r.group_id for r in plan.index.records}
    found = []
    for size in split.train_patients:
        of_size = [s for s in plan.splits if s.train_patients == size]
        train, validation = ([len({group[p] for p in part}) for part in parts] for parts in (
            [s.train for s in of_size], [s.validation for s in of_size]
        ))  # fmt: skip
        test = len({group[p] for p in of_size[0].test})
        methods = 1 if split.only_reference(size) else len(plan.suite.methods)
        ranges = (min(train), max(train)), (min(validation), max(validation))
        found.append(CurveSize(size, len(of_size), *ranges, test, methods))
    return tuple(found)


def tuned_size(plan: Plan) -> int | None:
    """Return the size whose sets are used for tuning: that of the primary contrast, else the smallest; None if there
    are no sizes.
    """
    settings = plan.suite.settings
    if settings.contrast and settings.contrast.train_patients:
        return settings.contrast.train_patients
    sizes = [n for n in settings.split.train_patients if not settings.split.only_reference(n)]
    return sizes[0] if sizes else None
