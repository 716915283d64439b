"""Performance drop under a shift, and the effect of augmentation on it: a shifted sub-suite minus its control.

    performance_drop  accuracy out-of-distribution − in-distribution, of one arm (performance drop)
    gain              (arm − `none`) out-of-distribution − (arm − `none`) in-distribution
    from_scratch      (arm − its from-scratch counterpart) out-of-distribution − the same in-distribution

Each is paired over fold × repeat and tested by the corrected resampled t test (``bench.stats.folds_test``), with Holm's
correction over the arms with one classifier and one shift.

n_test / n_train is the larger of the two sub-suites. Two pairs of such differences share what two pairs of the control
share: training patients and, over repeats, test patients (in one repeat no patient is tested in two folds). The ratio
of the control is at least 1 / (folds − 1). That of the shifted sub-suite can be smaller only because it tests fewer
images of each patient (one magnification instead of two), which does not make pairs less correlated.

For performance drops, and with repeats, the test uses the full ratio (Nadeau & Bengio 2003), else half of it: that half
was measured on differences of arms tested on the same images, and a change consists of such differences. A
performance drop also depends on how one training set generalises to the other images, and training sets overlap. In
simulations (regularised linear classifiers, 22 patients, 3 folds, other patients tested out-of-distribution) the
performance drops of folds correlate by 0.1, the changes by 0.02. 95 % intervals of performance drops miss the true
value in 5 to 6 % of studies with half of the ratio and in 2 to 4 % with the full ratio; those of changes in 2 % with
half (tests/shift_studies.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from bench.analysis.datasets.effects import SubSuite
from bench.analysis.datasets.pairing import shift_of, shift_pairs, unlike_arms, values_of
from bench.analysis.info import FoldSize, test_train_ratio
from bench.stats.decide import Verdict, decide
from bench.stats.folds_test import resampled_test
from bench.suite.arms import Arm

Kind = Literal["performance_drop", "gain", "from_scratch"]
KINDS: tuple[Kind, ...] = ("performance_drop", "gain", "from_scratch")
WORDS: Mapping[Kind, Mapping[str, str]] = {
    "performance_drop": {"helps": "easier", "hurts": "costs"},
    "gain": {"helps": "helps more", "hurts": "helps less"},
    "from_scratch": {"helps": "helps more", "hurts": "helps less"},
}
NONE = Arm("none")
Pairs = Mapping[str, float]
Values = Mapping[tuple[str, Arm], Pairs]


@dataclass(frozen=True)
class Compared:
    """A performance drop or change of an effect: means in- and out-of-distribution over the same pairs, and verdict.

    ``found`` is on ``out_of_distribution`` − ``in_distribution``. ``reference`` is '' for a
    performance drop, `none`, or the from-scratch counterpart.
    """

    kind: Kind
    classifier: str
    arm: Arm
    reference: str
    in_distribution: float
    out_of_distribution: float
    found: Verdict

    @property
    def word(self) -> str:
        """*costs* or *easier* (performance drop), *helps more* or *helps less*; else *equivalent* or *undecided*."""
        return WORDS[self.kind].get(self.found.word, self.found.word)


@dataclass(frozen=True)
class Shifted:
    """A shifted sub-suite and its control. ``tested``: number of ``unit`` in-, out-of-distribution, in the data set."""

    control: str
    sub_suite: str
    attribute: str
    in_distribution: tuple[str, ...]  # training values of both, and test values of the control
    out_of_distribution: tuple[str, ...]  # test values of the sub-suite
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
    """Return every shifted sub-suite compared with its control, and sentences on missing comparisons."""
    paired, left = shift_pairs(sub_suites)
    found = []
    for control, m in paired:
        unlike = unlike_arms(control, m)
        left += [f"{m.name}: `{n}` has other settings than in {control.name} and is not compared" for n in unlike]
        found.append(_shifted(control, m, unlike))
    return tuple(found), tuple(left)


def _shifted(control: SubSuite, m: SubSuite, unlike: Sequence[str]) -> Shifted:
    shift, ratio = shift_of(m) or {}, max(_ratio(control), _ratio(m))
    count, _, unit = m.groups.partition(" ")
    return Shifted(
        control=control.name,
        sub_suite=m.name,
        attribute=str(shift["attribute"]),
        in_distribution=values_of(shift, "train"),
        out_of_distribution=values_of(shift, "test"),
        tested=(_tested(control), _tested(m), int(count)),
        unit=unit,
        ratio=ratio,
        margin=control.margin,
        compared=tuple(_compared(control, m, unlike, ratio)),
    )


def _tested(m: SubSuite) -> int:
    """Return the number of patients tested in one repeat; each is tested at most once."""
    return sum(f["test_groups"] for f in m.folds if f["repeat"] == 0)


def _ratio(m: SubSuite) -> float:
    return test_train_ratio([FoldSize(**f) for f in m.folds])


def _compared(control: SubSuite, m: SubSuite, unlike: Sequence[str], ratio: float) -> Iterator[Compared]:
    in_distribution, out_of_distribution = (
        {at: v for at, v in x.values.items() if not {at[0], at[1].method} & {*unlike}} for x in (control, m)
    )
    ablation_pairs = {
        (at.classifier, at.arm): at.reference for x in (control, m) for at in x.effects if at.measure == "from_scratch"
    }
    repeats = len({f["repeat"] for f in control.folds})
    for kind in KINDS:
        for classifier in dict.fromkeys(c for c, _ in in_distribution):
            arms = [a for c, a in in_distribution if c == classifier and (c, a) in out_of_distribution]
            against = {a: _reference(kind, a, ablation_pairs.get((classifier, a.label), "")) for a in arms}
            for subset in dict.fromkeys(a.subset for a in arms):  # families as in other reports
                family = {a: r for a, r in against.items() if r != a and a.subset == subset}
                found = {
                    a: _differences(in_distribution, out_of_distribution, classifier, a, r) for a, r in family.items()
                }
                found = {a: d for a, d in found.items() if d.size}
                changes = {a.label: d[1] - d[0] for a, d in found.items()}
                protocol = "holdout" if kind == "performance_drop" or repeats > 1 else "kfold"
                tests = {label: resampled_test(change, ratio, protocol) for label, change in changes.items()}
                found_verdicts = decide(tests, control.margin, family=f"{kind}, {classifier}")
                for a, d in found.items():
                    method, (near, far) = r.method if (r := against[a]) else "", d.mean(axis=1)
                    yield Compared(kind, classifier, a, method, float(near), float(far), found_verdicts[a.label])


def _reference(kind: Kind, arm: Arm, from_scratch: str) -> Arm | None:
    """Return what the arm is compared with on each side: None for a performance drop; the arm itself means: skip."""
    if kind == "performance_drop":
        return None
    if kind == "gain":
        return NONE
    return replace(arm, method=from_scratch) if from_scratch else arm


def _differences(
    in_distribution: Values, out_of_distribution: Values, classifier: str, arm: Arm, reference: Arm | None
) -> npt.NDArray[np.float64]:
    """Return the arm's scores minus the reference's, in- and out-of-distribution: float64 [2, shared pairs], in
    order."""
    sides = [
        [side.get((classifier, a), {}) for a in (arm, reference) if a]
        for side in (in_distribution, out_of_distribution)
    ]
    both = sorted(set.intersection(*(set(scores) for side in sides for scores in side)), key=_order)
    rows = [[side[0][p] - (side[1][p] if len(side) > 1 else 0.0) for p in both] for side in sides]
    return np.array(rows, dtype=np.float64).reshape(2, len(both))


def _order(pair: str) -> tuple[int, ...]:
    return tuple(map(int, pair.split(".")))
