"""Power of the crossed test: how many training sets and test groups a learning curve needs for an effect.

From the components of a pilot (``crossed.crossed_components``); test groups alone cannot make up for few sets, nor sets
for few test groups.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.errors import DataError
from bench.stats.crossed import CrossedComponents, error_and_dof
from bench.stats.planning import NAN, fewest, minimum_detectable_t, t_power

MOST_SETS = 1000


def mean_crossed(components: Sequence[CrossedComponents]) -> CrossedComponents:
    """Return the mean components of one or more comparisons, each limited to 0 or more, for the functions below."""
    if not components:
        raise DataError("expected the components of at least one comparison, got none")
    parts = np.array([(c.sets, c.groups, c.interaction) for c in components])
    return CrossedComponents(*(float(x) for x in np.maximum(parts.mean(axis=0), 0)))


def crossed_power(components: CrossedComponents, sets: int, groups: int, effect: float, level: float = 0.05) -> float:
    """Return the power of the crossed test for a true mean difference ``effect`` (unit of the score).

    ``level``: the two-sided level that decides the word, alpha / m in a family of m. NaN for fewer than 2 sets or
    groups, or without variance.
    """
    error, dof = expected_error(components, sets, groups)
    return t_power(effect / error, dof, level) if error > 0 else NAN


def crossed_minimum_detectable_effect(
    components: CrossedComponents, sets: int, groups: int, target: float = 0.8, level: float = 0.05
) -> float:
    """Return the smallest true difference that is found with power ``target``; NaN as ``crossed_power``."""
    error, dof = expected_error(components, sets, groups)
    return error * minimum_detectable_t(dof, level, target) if error > 0 else NAN


def sets_needed(
    components: CrossedComponents, groups: int, effect: float, target: float = 0.8, level: float = 0.05
) -> int | None:
    """Return the fewest training sets that find ``effect`` with power ``target``; None if ``MOST_SETS`` do not.

    None means that the test groups alone vary too much: more of them are needed.
    """
    return fewest(lambda n: crossed_power(components, n, groups, effect, level) >= target, 1, MOST_SETS)


def expected_error(components: CrossedComponents, sets: int, groups: int) -> tuple[float, float]:
    """Return the expected standard error of the crossed test and its degrees of freedom; NaN if undefined."""
    if sets < 2 or groups < 2:
        return NAN, NAN
    c = mean_crossed([components])
    squares = np.array([c.interaction + groups * c.sets, c.interaction + sets * c.groups, c.interaction])
    error, dof = error_and_dof(squares, sets, groups)
    return (float(error), float(dof)) if error > 0 else (NAN, NAN)
