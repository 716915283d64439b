"""Comparison of two runs of one or two suites: differences in results, settings, code and data. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bench.analysis.info import ReportInfo
from bench.analysis.rows import NAN
from bench.analysis.two_runs.changes import (
    ABSENT,
    Changed,
    code_changes,
    config_changes,
    data_changes,
    not_paired_because,
)
from bench.analysis.two_runs.scores import Difference, image_differences, score_differences, verdict_metrics
from bench.analysis.two_runs.side import Cost, Side
from bench.config import strict_json, to_plain
from bench.plan.plan import STAGES
from bench.suite.arms import Arm


@dataclass(frozen=True)
class CostChange:
    """Mean seconds of a cell of one stage and arm, in both runs; ``unit`` is 'device' or, in older reports, 'wall'."""

    unit: str
    stage: str
    classifier: str
    arm: Arm
    a_s: float
    b_s: float

    @property
    def ratio(self) -> float:
        """B over A; NaN without A."""
        return self.b_s / self.a_s if self.a_s > 0 else NAN


@dataclass(frozen=True)
class OnlyIn:
    """Names of a kind ('arm', 'classifier', 'pair' or 'score') that only one of the runs has."""

    side: str
    kind: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """All results of ``bench compare``. ``unpaired_because`` is () if the comparison is paired.

    ``margin`` is the smaller of the two suites' equivalence margins.
    """

    a: Side
    b: Side
    margin: float
    unpaired_because: tuple[str, ...]
    scores: tuple[Difference, ...]
    images: tuple[Difference, ...]
    costs: tuple[CostChange, ...]
    config: tuple[Changed, ...]
    code: tuple[Changed, ...]
    data: tuple[Changed, ...]
    only: tuple[OnlyIn, ...]

    @property
    def paired(self) -> bool:
        """Whether the folds of the two runs are the same folds."""
        return not self.unpaired_because

    @property
    def main_metrics(self) -> dict[str, str]:
        """The metrics of the summary that both runs have, with their names in words, primary ones first."""
        known = {d.metric for d in self.scores}
        return {m: name for m, name in verdict_metrics(self.a, self.b).items() if m in known}

    @property
    def values(self) -> int:
        """The number of paired values of scores and image metrics."""
        return sum(d.pairs for d in (*self.scores, *self.images))

    @property
    def identical(self) -> bool:
        """Whether all paired values are equal, and neither run has results that the other lacks."""
        same = all(d.identical for d in (*self.scores, *self.images))
        return self.paired and self.values > 0 and not self.only and same

    @property
    def machines_differ(self) -> bool:
        """Whether the runs used different or unknown machines."""
        return self.a.info.host != self.b.info.host or not self.a.info.host


def compare(a: Side, b: Side) -> Comparison:
    """Return the comparison of two runs."""
    reasons = not_paired_because(a, b)
    margin = min(a.info.margin, b.info.margin)
    both_known = a.config is not None and b.config is not None
    return Comparison(
        a=a,
        b=b,
        margin=margin,
        unpaired_because=reasons,
        scores=score_differences(a, b, not reasons, margin),
        images=image_differences(a, b, not reasons),
        costs=_costs(a, b),
        config=tuple(config_changes(a.config or {}, b.config or {})) if both_known else (),
        code=code_changes(a.info, b.info),
        data=data_changes(a.info, b.info),
        only=tuple(_only(a, b)),
    )


def _costs(a: Side, b: Side) -> tuple[CostChange, ...]:
    """Return seconds by stage and arm that both have; wall seconds if a run has no device seconds."""
    device = bool(a.device_s) and bool(b.device_s)
    one, other = (a.device_s, b.device_s) if device else (a.wall_s, b.wall_s)
    known: Mapping[Cost, float] = {
        at: s for at, s in one.items() if s == s and other.get(at, NAN) == other.get(at, NAN)
    }
    unit = "device" if device else "wall"
    found = [CostChange(unit, *at, s, other[at]) for at, s in known.items()]
    return tuple(sorted(found, key=lambda c: STAGES.index(c.stage)))


def _only(a: Side, b: Side) -> Iterable[OnlyIn]:
    for name, mine, other in (("A", a, b), ("B", b, a)):
        classifiers = [c for c in mine.info.classifiers if c not in other.info.classifiers]
        arms = [
            arm.label for arm in dict.fromkeys(arm for _, arm in mine.arms) if arm not in {x for _, x in other.arms}
        ]
        pairs = [f"{f}.{r}" for f, r in mine.info.pairs if (f, r) not in other.info.pairs]
        for kind, names in (("classifier", classifiers), ("arm", arms), ("pair", pairs)):
            if names:
                yield OnlyIn(name, kind, tuple(names))
        if scores := dict.fromkeys(_scores_without(mine, other)):
            yield OnlyIn(name, "score", tuple(scores))


def _scores_without(mine: Side, other: Side) -> Iterator[str]:
    """Yield the arms and pairs of both runs whose score the other run lacks because a cell failed."""
    shared = {*mine.info.pairs} & {*other.info.pairs}
    for metric, arms in mine.scores.items():
        for key, measure in arms.items():
            theirs = other.scores.get(metric, {}).get(key)
            if theirs is not None:
                for fold, repeat in sorted((measure.values.keys() - theirs.values.keys()) & shared):
                    yield f"{key[1].label} {key[0]} {fold}.{repeat}"


def as_json(c: Comparison) -> dict[str, Any]:
    """Return the comparison as plain JSON values; unknown or missing values are None."""
    found = {
        **{name: _described(side) for name, side in (("a", c.a), ("b", c.b))},
        "paired": c.paired,
        "unpaired_because": c.unpaired_because,
        "identical": c.identical,
        "values": c.values,
        "margin": c.margin,
        "machines_differ": c.machines_differ,
        "scores": [asdict(d) for d in c.scores],
        "images": [asdict(d) for d in c.images],
        "costs": [{**asdict(x), "ratio": x.ratio} for x in c.costs],
        **{k: [_changed(x) for x in getattr(c, k)] for k in ("config", "code", "data")},
        "only": [asdict(x) for x in c.only],
    }
    return {k: strict_json(to_plain(v)) for k, v in found.items()}


def _described(side: Side) -> dict[str, Any]:
    info: ReportInfo = side.info
    names = ("suite", "dataset", "fingerprint", "git_commit", "host", "margin")
    return {"name": side.name, **{n: getattr(info, n) for n in names}, "pairs": len(info.pairs), "notes": side.notes}


def _changed(x: Changed) -> dict[str, Any]:
    only = "B" if x.a is ABSENT else "A" if x.b is ABSENT else None
    return {"path": x.path, "a": None if x.a is ABSENT else x.a, "b": None if x.b is ABSENT else x.b, "only_in": only}
