"""Differences of each arm with intervals, read from the leaderboard.json of each sub-suite's report."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bench.config import read_yaml
from bench.errors import DataError
from bench.metrics.units import ScoredUnit
from bench.suite.arms import Arm

Measure = Literal[
    "gain", "from_scratch", "kid"
]  # accuracy minus `none`; minus the from-scratch counterpart; KID minus that of the counterpart
MEASURES: tuple[Measure, ...] = ("gain", "from_scratch", "kid")
NAN = float("nan")


@dataclass(frozen=True)
class At:
    """Key of an effect: what is compared with what. ``classifier`` is '' for KID, which belongs to a generator."""

    measure: Measure
    classifier: str
    arm: str
    reference: str


@dataclass(frozen=True)
class Effect:
    """One difference on one data set, as in its report: share in [0, 1] or KID; NaN ends without an interval."""

    at: At
    difference: float
    low: float
    high: float
    word: str
    pairs: int
    dof: float = NAN  # of the t interval

    @property
    def error(self) -> float:
        """The standard error behind the 95 % interval; NaN without one."""
        if not (math.isfinite(self.low) and self.dof > 0):
            return NAN
        from scipy.special import stdtrit

        return float((self.high - self.low) / 2 / stdtrit(self.dof, 0.975))


@dataclass(frozen=True)
class SubSuite:
    """Report of a sub-suite: description of its data, effects, and missing results.

    ``values`` are the scores of each pair ('<fold>.<repeat>') by classifier and arm, ``folds`` the sizes of the fold
    parts, ``config`` the suite.yaml of the report, or None.
    """

    name: str
    suite: str
    dataset: str
    modality: str
    classes: tuple[str, ...]
    images: int
    groups: str  # '20 patients'
    protocol: str
    margin: float
    scores: Mapping[tuple[str, str], float]  # patient-level balanced accuracy by classifier and arm
    effects: Mapping[At, Effect]
    missing: tuple[str, ...]
    fingerprint: str = ""
    values: Mapping[tuple[str, Arm], Mapping[str, float]] = field(default_factory=dict)
    folds: tuple[Mapping[str, Any], ...] = ()
    config: Mapping[str, Any] | None = None

    @property
    def planned(self) -> tuple[str, ...]:
        """The planned pairs."""
        return tuple(f"{f['fold']}.{f['repeat']}" for f in self.folds)


def separate_sets(sub_suites: Sequence[SubSuite]) -> bool:
    """Return whether each sub-suite has a different data set; only then can they be combined as separate studies."""
    return len({m.dataset for m in sub_suites}) == len(sub_suites)


def read_sub_suite(name: str, folder: Path) -> SubSuite:
    """Read a report folder; ``name`` is used in tables. Raises ``DataError`` if it contains no valid report."""
    path = folder / "leaderboard.json"
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        config = folder / "suite.yaml"
        return _sub_suite(name, report, read_yaml(config) if config.is_file() else None)
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise DataError(
            f"{path} is not a report of this version ({type(e).__name__}: {e}); write it again with `bench report`"
        ) from e


def _sub_suite(name: str, report: Mapping[str, Any], config: Mapping[str, Any] | None) -> SubSuite:
    info = report["info"]
    sizes = info["data"]["classes"]
    effects = {e.at: e for e in (*_gains(report), *_from_scratch(report))}
    return SubSuite(
        name=name,
        suite=info["suite"],
        dataset=info["dataset"],
        modality=info["modality"],
        classes=tuple(info["classes"]),
        images=sum(c["images"] for c in sizes),
        groups=f"{info['data'].get('all_groups') or sum(c['groups'] for c in sizes)} {info['data']['groups']}",
        protocol=info["protocol"],
        margin=float(info["margin"]),
        scores=dict(_scores(report)),
        effects=effects,
        missing=tuple(_missing(report)),
        fingerprint=info.get("fingerprint", ""),
        values=dict(_values(report)),
        folds=tuple(info.get("folds", ())),
        config=config,
    )


def _primary(report: Mapping[str, Any]) -> str:
    """Return the primary metric of a report, which its verdicts use."""
    info = report["info"]
    mixed = info["data"].get("mixed_groups", 0)
    return ScoredUnit(mixed=mixed, endpoint=info.get("endpoint", "balanced_accuracy")).primary


def _values(report: Mapping[str, Any]) -> Iterator[tuple[tuple[str, Arm], dict[str, float]]]:
    for line in report["lines"]:
        of = line.get("values", {}).get(_primary(report), {})
        yield (line["classifier"], Arm.parse(line["method"], line["ratio"])), {p: float(x) for p, x in of.items()}


def _scores(report: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], float]]:
    for line in report["lines"]:
        mean = line["scores"][_primary(report)]["mean"]
        if mean is not None:
            yield (line["classifier"], Arm.parse(line["method"], line["ratio"]).label), float(mean)


def _gains(report: Mapping[str, Any]) -> Iterator[Effect]:
    for line in report["lines"]:
        found = line["versus"].get("none", {}).get(_primary(report))
        if found:
            at = At("gain", line["classifier"], Arm.parse(line["method"], line["ratio"]).label, "none")
            yield _effect(at, found["difference"], found)


def _from_scratch(report: Mapping[str, Any]) -> Iterator[Effect]:
    asked: list[Any] = next((q["findings"] for q in report["questions"] if q["name"] == "transfer"), [])
    for d in (f["difference"] for f in asked):
        arm = Arm(**d["arm"])
        if d["kind"] == "accuracy":
            yield _effect(At("from_scratch", d["classifier"], arm.label, d["reference"]), d["mean"], d)
        elif d["kind"] == "kid":
            yield _effect(At("kid", "", arm.method, d["reference"]), d["mean"], d)


def _effect(at: At, difference: float, found: Mapping[str, Any]) -> Effect:
    low, high = (NAN if found[end] is None else float(found[end]) for end in ("low", "high"))
    pairs = int(found["pairs"] if "pairs" in found else found["sets"])
    return Effect(at, float(difference), low, high, found["word"], pairs, float(found.get("dof") or pairs - 1))


def _missing(report: Mapping[str, Any]) -> Iterator[str]:
    for line in report["lines"]:
        if line["pairs"] < line["planned"]:
            arm = Arm.parse(line["method"], line["ratio"]).label
            why = line["gaps"][0]["reason"] if line["gaps"] else "no score"
            yield f"{arm} with {line['classifier']}: {line['pairs']} of {line['planned']} pairs ({why})"
