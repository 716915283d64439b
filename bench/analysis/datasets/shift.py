"""What a shift costs, and whether augmentation makes up for it: a shifted member minus its control, pair by pair.

    price   accuracy across − accuracy within, of one arm
    gain    (arm − `none`) across − (arm − `none`) within
    twin    (arm − its twin) across − (arm − its twin) within

each over pairs (fold, repeat), judged by the corrected resampled t test of ordinary reports
(``bench.stats.inference``) and Holm over the arms with one classifier and one shift.

n_test / n_train is the larger of both members' own. What two pairs of such differences have in common is what two pairs
of the control have: training patients and, over repeats, the patients of a test part, for in neither member two folds
of a repeat test one patient. The control's ratio says that; it is at least 1 / (folds − 1). The shifted member's may be
smaller only since it tests fewer images of a patient (one magnification, not two), which makes pairs no less alike.

Of a price the test takes the whole of it (Nadeau & Bengio 2003), of changes half, as ordinary reports do: that half was
measured on differences of arms that are tested on the same images, of which a change is made. In a price it counts,
too, what one training set happens to make of the other images, and training sets overlap. On made-up data sets, where
regularised linear classifiers learn everything from 22 patients in 3 folds and other patients are tested across, the
prices of folds correlate by 0.1, those of changes by 0.02. 95 % intervals of prices miss the true one in 5 to 6 % of
studies at half of the ratio, in 2 to 4 % at the whole; those of changes in 2 % at half (tests/shift_studies.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from bench.analysis.datasets.effects import SubSuite
from bench.analysis.datasets.pairing import shift_of, shift_pairs, unlike_arms, values_of
from bench.analysis.info import Arm, FoldSize, test_train_ratio
from bench.stats.inference import Verdict, verdicts
from bench.stats.planning import LASTING_SHARE

Kind = Literal["price", "gain", "from_scratch"]
KINDS: tuple[Kind, ...] = ("price", "gain", "from_scratch")
WORDS: Mapping[Kind, Mapping[str, str]] = {
    "price": {"helps": "easier", "hurts": "costs"},
    "gain": {"helps": "helps more", "hurts": "helps less"},
    "from_scratch": {"helps": "helps more", "hurts": "helps less"},
}
NONE = Arm("none")
SHARES: Mapping[Kind, float] = {
    "price": 1.0,
    "gain": LASTING_SHARE,
    "from_scratch": LASTING_SHARE,
}  # of n_test / n_train
Pairs = Mapping[str, float]
Values = Mapping[tuple[str, Arm], Pairs]


@dataclass(frozen=True)
class Compared:
    """A price, or the change of an effect: the means ``within`` and ``across`` of the same pairs, and their verdict.

    ``found`` is of across − within; ``reference`` is '' for a price, `none`, or the twin.
    """

    kind: Kind
    classifier: str
    arm: Arm
    reference: str
    within: float
    across: float
    found: Verdict

    @property
    def word(self) -> str:
        """*costs* or *easier* (price), *helps more* or *helps less*; else *equivalent* or *undecided*."""
        return WORDS[self.kind].get(self.found.word, self.found.word)


@dataclass(frozen=True)
class Shifted:
    """A shifted member beside its control. ``tested`` counts ``unit``: within, across, and in the data set."""

    control: str
    sub_suite: str
    attribute: str
    within: tuple[str, ...]  # values that both train on and the control tests on
    across: tuple[str, ...]  # values that the member tests on
    tested: tuple[int, int, int]
    unit: str  # 'patients'
    ratio: float  # n_test / n_train
    margin: float
    compared: tuple[Compared, ...]

    @property
    def same_patients(self) -> bool:
        """Whether every patient of the data set is tested in both."""
        return len(set(self.tested)) == 1

    def of(self, kind: Kind, classifier: str | None = None) -> tuple[Compared, ...]:
        """Return the comparisons of a kind, in the suite's order; of all classifiers for None."""
        return tuple(x for x in self.compared if x.kind == kind and classifier in (None, x.classifier))


def shifts(sub_suites: Sequence[SubSuite]) -> tuple[tuple[Shifted, ...], tuple[str, ...]]:
    """Return every shifted member compared with its control, and sentences on what is not compared, and why."""
    paired, left = shift_pairs(sub_suites)
    found = []
    for control, m in paired:
        unlike = unlike_arms(control, m)
        left += [f"{m.name}: `{n}` has other settings than in {control.name}, and is not compared" for n in unlike]
        found.append(_shifted(control, m, unlike))
    return tuple(found), tuple(left)


def _shifted(control: SubSuite, m: SubSuite, unlike: Sequence[str]) -> Shifted:
    shift, ratio = shift_of(m) or {}, max(_ratio(control), _ratio(m))
    count, _, unit = m.groups.partition(" ")
    return Shifted(
        control=control.name,
        sub_suite=m.name,
        attribute=str(shift["attribute"]),
        within=values_of(shift, "train"),
        across=values_of(shift, "test"),
        tested=(_tested(control), _tested(m), int(count)),
        unit=unit,
        ratio=ratio,
        margin=control.margin,
        compared=tuple(_compared(control, m, unlike, ratio)),
    )


def _tested(m: SubSuite) -> int:
    """Return how many patients a repeat tests; it tests none twice."""
    return sum(f["test_groups"] for f in m.folds if f["repeat"] == 0)


def _ratio(m: SubSuite) -> float:
    return test_train_ratio([FoldSize(**f) for f in m.folds])


def _compared(control: SubSuite, m: SubSuite, unlike: Sequence[str], ratio: float) -> Iterator[Compared]:
    within, across = ({at: v for at, v in x.values.items() if not {at[0], at[1].method} & {*unlike}}
                      for x in (control, m))  # fmt: skip
    ablation_pairs = {
        (at.classifier, at.arm): at.reference for x in (control, m) for at in x.effects if at.measure == "from_scratch"
    }
    for kind in KINDS:
        for classifier in dict.fromkeys(c for c, _ in within):
            arms = [a for c, a in within if c == classifier and (c, a) in across]
            against = {a: _reference(kind, a, ablation_pairs.get((classifier, a.label), "")) for a in arms}
            for apart in (False, True):  # as in ordinary reports arms without copies are a family of their own
                family = {a: r for a, r in against.items() if r != a and a.without_memorised == apart}
                found = {a: _differences(within, across, classifier, a, r) for a, r in family.items()}
                found = {a: d for a, d in found.items() if d.size}
                changes = {a.label: d[1] - d[0] for a, d in found.items()}
                judged = verdicts(changes, control.margin, ratio, lasting_share=SHARES[kind])
                for a, d in found.items():
                    method, (near, far) = r.method if (r := against[a]) else "", d.mean(axis=1)
                    yield Compared(kind, classifier, a, method, float(near), float(far), judged[a.label])


def _reference(kind: Kind, arm: Arm, from_scratch: str) -> Arm | None:
    """Return what the arm is compared with before the shift is looked at: nothing for its price; itself: leave out."""
    if kind == "price":
        return None
    if kind == "gain":
        return NONE
    return Arm(from_scratch, arm.ratio) if from_scratch else arm


def _differences(
    within: Values, across: Values, classifier: str, arm: Arm, reference: Arm | None
) -> npt.NDArray[np.float64]:
    """Return the arm's scores, minus the reference's, within and across: float64 [2, pairs that all have], in order."""
    sides = [[side.get((classifier, a), {}) for a in (arm, reference) if a] for side in (within, across)]
    both = sorted(set.intersection(*(set(scores) for side in sides for scores in side)), key=_order)
    rows = [[side[0][p] - (side[1][p] if len(side) > 1 else 0.0) for p in both] for side in sides]
    return np.array(rows, dtype=np.float64).reshape(2, len(both))


def _order(pair: str) -> tuple[int, ...]:
    return tuple(map(int, pair.split(".")))
