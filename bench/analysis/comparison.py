"""The one record of a comparison of two arms, and the one way to make it.

Every number of a report that compares two arms is in a ``Comparison``, which names its family, level and test. The test
follows from the design: crossed over training sets and test groups in a learning curve, components of patients and runs
in k-fold, Nadeau & Bengio's where only scores per pair are known (hold-out, image quality, custom metrics).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.analysis.contributions import Contributions
from bench.analysis.info import ReportInfo
from bench.analysis.quality import why_untrained
from bench.analysis.rows import Pair
from bench.stats.crossed import crossed_test
from bench.stats.decide import Verdict, decide
from bench.stats.endpoints import ENDPOINTS, chance_level, oriented
from bench.stats.estimate import Estimate
from bench.stats.folds_test import components_test, resampled_test
from bench.suite.arms import Arm

ALPHA = 0.05
PRIMARY_FAMILY = "primary contrast"
OVER_SETS = "The test covers other training sets, not other test images."


@dataclass(frozen=True)
class Comparison:
    """An arm against a reference: one metric, one classifier ('' for a property of a generator), one verdict.

    ``train_patients`` and ``reference_patients`` are the sizes of their training sets in a learning curve: they differ
    only for the positive control, more patients. The verdict's difference is > 0 where the arm is better.
    """

    metric: str
    classifier: str
    arm: Arm
    reference: Arm
    verdict: Verdict
    train_patients: int | None = None
    reference_patients: int | None = None

    @property
    def family(self) -> str:
        """The comparisons that are corrected together."""
        return self.verdict.family


@dataclass(frozen=True)
class Scored:
    """What is known of an arm in one metric: values by pair, and contributions of test groups where they exist.

    ``lower``: lower values are better.
    """

    by_pair: Mapping[Pair, float]
    contributions: Contributions | None = None
    endpoint: str = ""  # of the contributions
    lower: bool = False


def estimate(arm: Scored, reference: Scored, info: ReportInfo, plain: bool = False) -> Estimate | None:
    """Return the test of arm minus reference over what both have; None if they share nothing."""
    a, b = arm.contributions, reference.contributions
    if a and b and a.groups == b.groups and arm.endpoint in ENDPOINTS:
        rows = [r for r in a.rows if r in b.rows]
        if rows:
            d = oriented(arm.endpoint, a.at(rows, arm.endpoint), b.at(rows, arm.endpoint))
            if all(map(math.isfinite, d.mean(axis=1))):
                return crossed_test(d, ALPHA) if info.is_crossed else components_test(d, a.folds_of(rows), ALPHA)
    shared = sorted(arm.by_pair.keys() & reference.by_pair.keys())
    if not shared:
        return None
    sign = -1.0 if arm.lower else 1.0
    differences = [sign * (arm.by_pair[p] - reference.by_pair[p]) for p in shared]
    return paired_t(differences) if plain else per_pair(differences, info)


def per_pair(differences: Sequence[float], info: ReportInfo) -> Estimate:
    """Return the test of paired differences of which only the values per pair are known."""
    if info.is_curve:  # sets are disjoint, so their differences are independent given the test part
        return paired_t(differences, OVER_SETS)
    protocol = "kfold" if info.by_folds else "holdout"
    repeats = len({f.repeat for f in info.folds})
    return resampled_test(differences, info.test_train_ratio, protocol, repeats, ALPHA)


def paired_t(differences: Sequence[float], note: str = "") -> Estimate:
    """Return the plain paired t test (Student 1908)."""
    found = resampled_test(differences, 0.0, "holdout", alpha=ALPHA)
    return replace(found, test="paired t test", note=note)


def compared(
    arms: Mapping[Arm, Scored],
    against: Iterable[tuple[Arm, Arm]],
    info: ReportInfo,
    metric: str,
    classifier: str = "",
    family: str = "",
    margin: float | None = None,
    plain: bool = False,
) -> list[Comparison]:
    """Return the comparisons of one family: ``against`` are (arm, reference), in this order.

    The declared primary contrast is tested alone at ``info.alpha``; the others share it by Holm's correction.
    ``margin`` None: nothing is called equivalent. ``plain``: a paired t test, for values that depend on no patient.
    """
    found: dict[tuple[Arm, Arm], Estimate] = {}
    for a, b in against:
        if a in arms and b in arms and (e := estimate(arms[a], arms[b], info, plain)):
            found[a, b] = e
    declared = {at for at in found if _is_primary(*at, metric, classifier, info)}
    result = []
    for name, chosen in ((PRIMARY_FAMILY, declared), (family, found.keys() - declared)):
        of = {at: e for at, e in found.items() if at in chosen}
        sensitive = {at: margin is not None and _informative(arms[at[0]], arms[at[1]], info) for at in of}
        names = {at: str(i) for i, at in enumerate(of)}
        verdicts = decide(
            {names[at]: e for at, e in of.items()},
            margin or info.margin,
            info.alpha,
            name,
            {names[at]: ok for at, ok in sensitive.items()},
        )
        for at in of:
            verdict = verdicts[names[at]] if plain else withheld(verdicts[names[at]], *at, classifier, info)
            result.append(Comparison(metric, classifier, *at, verdict, info.size, info.size))
    order = {at: i for i, at in enumerate(found)}
    return sorted(result, key=lambda c: order[c.arm, c.reference])


def withheld(verdict: Verdict, arm: Arm, reference: Arm, classifier: str, info: ReportInfo) -> Verdict:
    """Return the verdict, undecided and with the reason if the arms cannot be compared.

    They had different tuning budgets, so that a gain may be that of tuning; or a generator is untrained, so that the
    verdict on a classifier would be on noise. The images of untrained generators are compared.
    """
    mine, other = (info.tuning_budget(a.method, classifier) for a in (arm, reference))
    bare = [a.method for a in (arm, reference) if a.method in info.untrained]
    if bare and classifier:
        reason = f"{why_untrained(bare[0], info.untrained[bare[0]])}; train it for more steps"
    elif mine != other:
        budgets = f"{arm.method} was tuned with {mine}, {reference.method} with {other}"
        reason = f"{budgets}; tune both with one budget"
    else:
        return verdict
    return replace(verdict, word="undecided", withheld=f"Not compared: {reason}.")


def _is_primary(arm: Arm, reference: Arm, metric: str, classifier: str, info: ReportInfo) -> bool:
    c = info.contrast
    if c is None or metric != info.unit.primary or info.size != c.train_patients:
        return False
    return (arm, reference) == c.arms(info.generative) and classifier == c.classifier


def _informative(arm: Scored, reference: Scored, info: ReportInfo) -> bool:
    """Whether one of two arms is better than chance: two arms at chance are no evidence of equivalence."""
    known = [s for s in (arm, reference) if s.contributions and s.endpoint in ENDPOINTS]
    return not known or any(better_than_chance(s, info) for s in known)


def better_than_chance(scored: Scored, info: ReportInfo) -> bool:
    """Whether an arm's score differs from that of a constant prediction, at 5 %; False without contributions."""
    c = scored.contributions
    if c is None:
        return False
    units = c.units[0]
    chance = chance_level(scored.endpoint, units.y_true, units.y_prob.shape[1])
    d = oriented(scored.endpoint, c.values[scored.endpoint], chance)
    found = crossed_test(d, ALPHA) if info.is_crossed else components_test(d, c.fold, ALPHA)
    return found.p < ALPHA and found.difference > 0
