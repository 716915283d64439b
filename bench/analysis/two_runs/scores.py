"""Results of two runs by arm: paired if their folds are the same, else two means. Pure.

Scores of classifiers and image metrics are tested per pair, with Nadeau & Bengio's whole correction, because two runs
have only values per pair in common; both with Holm's correction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.analysis.lines import paired_differences
from bench.analysis.rows import NAN, Score
from bench.analysis.two_runs.side import Key, Measure, Side
from bench.metrics.units import LOWER_IS_BETTER
from bench.stats.decide import decide
from bench.stats.folds_test import resampled_test
from bench.stats.inference import holm
from bench.stats.unpaired import Sample, welch
from bench.suite.arms import Arm

Kind = Literal["score", "image"]
ALPHA = 0.05
WORDS = {"helps": "better", "hurts": "worse"}  # helps: B is higher
LOWER_WORDS = {"helps": "worse", "hurts": "better"}  # where lower is better
IDENTICAL, SAME_MEAN, UNPAIRED = "identical", "same mean", "not paired"


@dataclass(frozen=True)
class Difference:
    """One measure of one arm in both runs, B − A.

    Paired: ``a`` and ``b`` are over the shared pairs, ``same`` of which have equal values; ``low`` and ``high`` are the
    95 % interval of the mean difference, ``p_adjusted`` is corrected over the arms with this measure. ``word`` is
    better, worse, equivalent (``verdict_metrics`` only) or undecided for scores, higher, lower or undecided for images;
    'identical' if all values are equal. Not paired: ``pairs`` is 0, ``a`` and ``b`` are over all pairs, the interval is
    Welch's, and there is no verdict; 'same mean' if mean and sd are exactly equal. Unknown values are NaN.
    """

    kind: Kind
    metric: str
    classifier: str
    arm: Arm
    a: Score
    b: Score
    mean: float
    low: float
    high: float
    p: float
    p_adjusted: float
    word: str
    pairs: int = 0
    same: int = 0
    p_equivalent: float = NAN
    minimum_detectable_effect: float = NAN

    @property
    def identical(self) -> bool:
        """Whether both runs have equal values in all shared pairs, or without pairs equal mean and sd."""
        return self.word in (IDENTICAL, SAME_MEAN)


def verdict_metrics(a: Side, b: Side) -> dict[str, str]:
    """Return the metrics in which arms can be equivalent, with their names in words: primary ones first."""
    primary = {s.info.unit.primary: s.info.unit.metric for s in (a, b)}
    return primary | {"balanced_accuracy": "balanced accuracy per image"}


def score_differences(a: Side, b: Side, paired: bool, margin: float) -> tuple[Difference, ...]:
    """Return a record for each metric, classifier and arm that both runs have.

    Holm's correction runs over the arms with one classifier, as in the leaderboard; arms without memorised samples and
    references with training multipliers are separate families.
    """
    found: list[Difference] = []
    for metric in (m for m in a.scores if m in b.scores):
        for family in _families([k for k in a.scores[metric] if k in b.scores[metric]]):
            both = {key: (a.scores[metric][key], b.scores[metric][key]) for key in family}
            shared = {k: m for k, m in both.items() if paired and m[0].values.keys() & m[1].values.keys()}
            can_be_equivalent = metric in verdict_metrics(a, b)
            found += _scores(metric, shared, margin, can_be_equivalent, a.info.test_train_ratio)
            ratios = tuple(x.info.test_train_ratio for x in (a, b))
            apart = () if paired else both  # arms without a shared pair are omitted
            found += [_unpaired("score", metric, key, both[key], ratios) for key in apart if _has_any(both[key])]
    return tuple(found)


def image_differences(a: Side, b: Side, paired: bool) -> tuple[Difference, ...]:
    """Return a record for each measure of images and method of both runs. Holm's correction runs over the methods."""
    found: list[Difference] = []
    for metric in (m for m in a.images if m in b.images):
        both = {k: (m, b.images[metric][k]) for k, m in a.images[metric].items() if k in b.images[metric]}
        shared = {k: m for k, m in both.items() if paired and m[0].values.keys() & m[1].values.keys()}
        found += _images(metric, shared, a.info.test_train_ratio)
        found += [
            _unpaired("image", metric, k, both[k], (0.0, 0.0)) for k in both if k not in shared and _has_any(both[k])
        ]
    return tuple(found)


def _families(keys: Sequence[Key]) -> Iterator[list[Key]]:
    groups: dict[tuple[str, str, bool], list[Key]] = {}
    for classifier, arm in keys:
        groups.setdefault((classifier, arm.subset, arm.train_multiplier > 1), []).append((classifier, arm))
    yield from groups.values()


def _scores(
    metric: str,
    shared: Mapping[Key, tuple[Measure, Measure]],
    margin: float,
    can_be_equivalent: bool,
    test_train_ratio: float,
) -> Iterator[Difference]:
    words = LOWER_WORDS if metric.removeprefix("patient_") in LOWER_IS_BETTER else WORDS
    changes = {key[1].label: paired_differences(b.values, a.values) for key, (a, b) in shared.items()}
    tests = {label: resampled_test(d, test_train_ratio, "holdout", alpha=ALPHA) for label, d in changes.items()}
    informative = dict.fromkeys(tests, can_be_equivalent)
    found_verdicts = decide(tests, margin, ALPHA, f"{metric} of both runs", informative)
    for key, both in shared.items():
        v = found_verdicts[key[1].label]
        word = words.get(v.word, v.word)
        numbers = (v.difference, v.low, v.high, v.p, v.p_adjusted)
        yield _paired("score", metric, key, both, numbers, word, v.p_equivalent, v.minimum_detectable_effect)


def _images(
    metric: str, shared: Mapping[Key, tuple[Measure, Measure]], test_train_ratio: float
) -> Iterator[Difference]:
    changes = {key: paired_differences(b.values, a.values) for key, (a, b) in shared.items()}
    tests = {key: resampled_test(d, test_train_ratio, "holdout", alpha=ALPHA) for key, d in changes.items()}
    corrected = holm([t.p for t in tests.values()])
    for (key, t), p_adjusted in zip(tests.items(), map(float, corrected), strict=True):
        word = ("higher" if t.difference > 0 else "lower") if p_adjusted < ALPHA else "undecided"
        yield _paired("image", metric, key, shared[key], (t.difference, t.low, t.high, t.p, p_adjusted), word)


def _paired(
    kind: Kind,
    metric: str,
    key: Key,
    both: tuple[Measure, Measure],
    tests: tuple[float, float, float, float, float],
    word: str,
    p_equivalent: float = NAN,
    minimum_detectable_effect: float = NAN,
) -> Difference:
    a, b = (m.values for m in both)
    pairs = sorted(a.keys() & b.keys())
    same = sum(a[p] == b[p] for p in pairs)
    scores = (Score.of(a[p] for p in pairs), Score.of(b[p] for p in pairs))
    word = IDENTICAL if same == len(pairs) else word
    return Difference(
        kind, metric, *key, *scores, *tests, word, len(pairs), same, p_equivalent, minimum_detectable_effect
    )


def _unpaired(kind: Kind, metric: str, key: Key, both: tuple[Measure, Measure], ratios: Sequence[float]) -> Difference:
    """Return two means with Welch's interval, without a verdict: part of the difference may be due to the folds."""
    a, b = (m.score for m in both)
    one, other = (Sample(s.mean, s.sd, s.n, ratio) for s, ratio in zip((a, b), ratios, strict=True))
    found = welch(one, other)
    word = SAME_MEAN if (a.mean, a.n, str(a.sd)) == (b.mean, b.n, str(b.sd)) else UNPAIRED
    return Difference(kind, metric, *key, a, b, *found, NAN, word)


def _has_any(both: tuple[Measure, Measure]) -> bool:
    return all(m.score.n > 0 for m in both)
