"""One run of a comparison: the content of its ``leaderboard.json`` and its ``suite.yaml``. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from bench.analysis.info import ClassSize, DataFacts, FoldSize, ReportInfo
from bench.analysis.measured import is_of_images
from bench.analysis.rows import NAN, Pair, Score
from bench.errors import StoreError
from bench.suite.arms import Arm

Key = tuple[str, Arm]  # classifier ('' for none), arm
Cost = tuple[str, str, Arm]  # stage, classifier, arm
ANY = Arm("")  # for stages without a method
WALL = {"generator_s": "fit", "synthesis_s": "synthesize", "classifier_s": "classify"}  # field of a line -> stage


@dataclass(frozen=True)
class Measure:
    """A number of one arm: over all its pairs, and by pair; ``values`` is empty if the report does not have them."""

    score: Score
    values: Mapping[Pair, float]


@dataclass(frozen=True)
class Side:
    """One of two runs. ``scores`` and ``images`` are by metric, then by arm; ``config`` is None without a suite.yaml.

    ``device_s`` and ``wall_s`` are mean seconds of a cell; reports of earlier versions have only the latter. ``notes``
    are remarks on the source of the run.
    """

    name: str
    info: ReportInfo
    config: Mapping[str, Any] | None
    scores: Mapping[str, Mapping[Key, Measure]]
    images: Mapping[str, Mapping[Key, Measure]]
    device_s: Mapping[Cost, float]
    wall_s: Mapping[Cost, float]
    notes: tuple[str, ...] = ()

    @property
    def arms(self) -> dict[Key, None]:
        """The arms with their classifiers, in the suite's order."""
        return dict.fromkeys(key for arms in self.scores.values() for key in arms)


def read_side(
    name: str, report: Mapping[str, Any], config: Mapping[str, Any] | None, notes: tuple[str, ...] = ()
) -> Side:
    """Return a run from the output of ``bench.report.export.as_json``, of this or an earlier version.

    Raises ``StoreError`` for anything else.
    """
    try:
        lines = [*report["lines"], *report.get("multiplied", ())]
        measured = report.get("measured", ())
        return Side(
            name,
            _info(report["info"]),
            config,
            scores=_scores(lines),
            images=_images(measured) if measured else _image_means(report),
            device_s={_cost(x): Score.of(_numbers(x["device_s"]).values()).mean for x in measured},
            wall_s={at: s for x in lines for at, s in _line_costs(x)},
            notes=notes,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise StoreError(
            f"{name}: not a report of bench ({type(e).__name__}: {e}); expected a leaderboard.json written by "
            "`bench report`: write it again"
        ) from e


def _info(data: Mapping[str, Any]) -> ReportInfo:
    """Return the info of the report; values missing in earlier versions keep their defaults."""
    settings = ("suite", "dataset", "margin", "endpoint", "protocol", "image_size_px", "seed")
    simple = (*settings, "fingerprint", "git_commit", "host")
    lists = ("classes", "methods", "generative", "classifiers", "ratios")
    known: dict[str, Any] = {k: data[k] for k in simple if k in data} | {k: tuple(data[k]) for k in lists}
    facts = dict(data.get("data") or {})
    facts["classes"] = tuple(_known(ClassSize, c) for c in facts.get("classes", ()))
    return ReportInfo(
        **known,
        folds=tuple(_known(FoldSize, f) for f in data["folds"]),
        versions=data.get("versions", {}),
        data=_known(DataFacts, facts),
    ).apart


def _known(cls: Any, data: Mapping[str, Any]) -> Any:
    names = {f.name for f in fields(cls)}
    return cls(**{k: v for k, v in data.items() if k in names})


def _scores(lines: list[Mapping[str, Any]]) -> dict[str, dict[Key, Measure]]:
    found: dict[str, dict[Key, Measure]] = {}
    for line in lines:
        key = (line["classifier"], Arm.parse(line["method"], line["ratio"]))
        values = line.get("values", {})
        for metric, score in line["scores"].items():
            found.setdefault(metric, {})[key] = Measure(_score(score), _by_pair(values.get(metric, {})))
    return found


def _images(measured: list[Mapping[str, Any]]) -> dict[str, dict[Key, Measure]]:
    found: dict[str, dict[Key, Measure]] = {}
    for cells in measured:
        for metric, numbers in cells["images"].items():
            values = _by_pair(numbers)
            arm = Arm.parse(cells["method"], cells["ratio"])  # with a variant only for selected images
            found.setdefault(metric, {})["", arm] = Measure(Score.of(values.values()), values)
    return found


def _image_means(report: Mapping[str, Any]) -> dict[str, dict[Key, Measure]]:
    """Return the image metrics of a report with means only, by their names in the store."""
    named = []
    for q in report.get("quality", ()):
        where = f"synthetic/{q['part']}/" if "part" in q else ""  # format of earlier versions
        named += [("fidelity", q["method"], f"{where}{k}_{q['extractor']}", s) for k, s in q["scores"].items()]
    named += [("translate", t["method"], k, s) for t in report.get("translations", ()) for k, s in t["scores"].items()]
    named += [
        ("memorised", c["method"], f"memorised/{k}", s)
        for c in report.get("memorised", ())
        for k, s in c["scores"].items()
    ]
    generative = report["info"]["generative"]  # the tables also have scores of real images
    found: dict[str, dict[Key, Measure]] = {}
    for stage, method, metric, score in named:
        if method in generative and is_of_images(stage, metric):
            found.setdefault(metric, {})["", Arm(method)] = Measure(_score(score), {})
    return found


def _cost(cells: Mapping[str, Any]) -> Cost:
    arm = Arm.parse(cells["method"], cells["ratio"]) if cells["method"] else ANY
    return cells["stage"], cells["classifier"], arm


def _line_costs(line: Mapping[str, Any]) -> Iterator[tuple[Cost, float]]:
    for name, stage in WALL.items():
        arm = Arm.parse(line["method"], line["ratio"])
        of_classifier = stage == "classify"
        own = of_classifier or (stage == "synthesize" and arm.is_selected)
        if line.get(name) is not None:
            at = ("select" if own and not of_classifier else stage, line["classifier"] if of_classifier else "")
            yield (*at, arm if own else Arm(arm.method)), float(line[name])


def _score(data: Mapping[str, Any]) -> Score:
    known: dict[str, Any] = {k: NAN if v is None else v for k, v in data.items()}
    return Score(**known)


def _by_pair(values: Mapping[str, Any]) -> dict[Pair, float]:
    found = {}
    for name, value in _numbers(values).items():
        fold, _, repeat = name.partition(".")
        found[int(fold), int(repeat)] = value
    return found


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {k: float(v) for k, v in values.items() if v is not None}
