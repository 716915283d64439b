"""A suite and a dataset -> the ordered, de-duplicated cells to run.

A cell's key is the hash of (its stage's code version, its config, its upstream keys, the data's fingerprint): nothing
else decides what it computes, so equal keys are one piece of work, whichever suite asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.config import stable_hash
from bench.data.masks import masks_fingerprint
from bench.data.records import fingerprint
from bench.data.splits import make_splits
from bench.errors import ConfigError, nearest
from bench.interfaces import CarriesMasks, SelfClassifier, Translator
from bench.metrics.own import try_out
from bench.ratios import NOCOPIES, STEPS, longer, ratio_label, ratio_text, times
from bench.suite import REFERENCES, PluginSpec, Settings, Suite
from bench.types import DatasetIndex

STAGES = (
    "split", "fit", "synthesize", "fidelity", "copies", "segment", "translate", "head", "classify", "evaluate",
    "explain", "segmenter",
)  # fmt: skip
# Raise a stage's number when its code would give another result from the same input: older cells are then not reused.
CODE_VERSION = {
    "split": 1,
    "fit": 2,
    "synthesize": 1,
    "fidelity": 2,
    "copies": 2,
    "segment": 1,
    "translate": 1,
    "head": 1,
    "classify": 1,
    "evaluate": 3,
    "explain": 1,
    "segmenter": 3,
}
FILTERS = ("stage", "method", "classifier", "fold", "repeat", "ratio")


@dataclass(frozen=True)
class Cell:
    """One piece of work. ``upstream`` are (stage, key) pairs that must be done first.

    In the stage `segmenter` a segmentation network's name stands in ``classifier``.
    """

    stage: str
    key: str
    fold: int
    repeat: int
    method: str | None = None
    ratio: str | None = None
    classifier: str | None = None
    upstream: tuple[tuple[str, str], ...] = ()

    @property
    def id(self) -> tuple[str, str]:
        """The address of its folder."""
        return (self.stage, self.key)

    @property
    def row_key(self) -> str:
        """What its row in the store is found by."""
        return f"{self.stage}/{self.key}"

    @property
    def title(self) -> str:
        """A short name for people: 'classify cyclegan ×1 small_cnn fold 0'."""
        parts = [self.stage, self.method, ratio_label(self.ratio), self.classifier]
        return " ".join([p for p in parts if p] + [f"fold {self.fold}" + (f".{self.repeat}" if self.repeat else "")])


@dataclass(frozen=True)
class Plan:
    """All cells of a suite on a dataset, upstream before downstream.

    Two arms with one and the same config share their cells' ids; ``work`` lists each id once.
    """

    suite: Suite
    index: DatasetIndex
    fingerprint: str
    cells: tuple[Cell, ...]
    weights: str | None = None  # what identifies the local pretrained weights

    @property
    def work(self) -> list[Cell]:
        """The cells, each piece of work once."""
        return unique(self.cells)


def unique(cells: Sequence[Cell]) -> list[Cell]:
    """Return the first cell of every id, in order."""
    found: dict[tuple[str, str], Cell] = {}
    for cell in cells:
        found.setdefault(cell.id, cell)
    return list(found.values())


def arm_ratios(settings: Settings) -> tuple[str, ...]:
    """Return the ratios of a suite's generative arms in its order; with ``drop_copies`` each without copies as well."""
    ratios = map(ratio_text, settings.ratios)
    return tuple(arm for r in ratios for arm in ((r, r + NOCOPIES) if settings.drop_copies else (r,)))


def longer_ratios(settings: Settings, method: str) -> tuple[str, ...]:
    """Return the ratios of a reference arm's longer trainings, the shortest first; none for the other methods."""
    return tuple(longer(t) for t in sorted(settings.longer)) if method in REFERENCES else ()


def mask_carriers(suite: Suite) -> tuple[str, ...]:
    """Return the methods that segmentation networks are trained with, in the suite's order.

    Those are online methods that change a mask along with its image, and translators: what they make of an image keeps
    its geometry, and so its mask. Nobody has outlined what images drawn from noise show.
    """
    kinds = {"online": CarriesMasks, "generative": Translator}
    return tuple(m.name for m in suite.methods if isinstance(m.create(), kinds[m.kind]))


def classifier_of(suite: Suite, name: str, method: str | None, ratio: str | None) -> PluginSpec:
    """Return a classifier as the arm of this method and ratio fine-tunes it."""
    spec, n = suite.classifier(name, method), times(ratio)
    return replace(spec, config=replace(spec.config, steps=n * spec.config.steps)) if n > 1 else spec


def make_plan(suite: Suite, index: DatasetIndex, weights: str | None = None) -> Plan:
    """Plan a suite. ``weights`` identifies the local pretrained weights, if any.

    Raises ``ConfigError`` when a method or metric cannot serve these classes, ``DataError`` when the folds cannot be
    drawn.
    """
    _check_methods(suite, index)
    if suite.settings.segmenters and not any(r.mask_paths for r in index.records):
        raise ConfigError(
            f"segmenters: {index.name} has no masks to learn from; expected a data set with masks, or {{}}"
        )
    try_out({m.name: m.create() for m in suite.metrics}, index.classes)
    return Plan(suite, index, fingerprint(index), tuple(_cells(suite, index, weights)), weights)


def _check_methods(suite: Suite, index: DatasetIndex) -> None:
    unable: dict[str, str] = {}
    for method in suite.methods:
        if method.kind == "generative":
            try:
                method.create().check(index.classes)
            except ConfigError as e:
                unable[method.name] = str(e)
    if unable:
        reasons = "\n".join(f"  {name}: {reason}" for name, reason in unable.items())
        leave = " ".join(f"--set methods.{name}=false" for name in unable)
        raise ConfigError(f"methods that cannot serve {index.name}:\n{reasons}\nto run the others: {leave}")


def _cells(suite: Suite, index: DatasetIndex, weights: str | None) -> Iterator[Cell]:
    s = suite.settings
    common = [s.image_size_px, s.resize, s.seed, s.threads, weights]
    ratios = sorted(ratio_text(r) for r in s.ratios)
    translators = {m.name for m in suite.methods if m.kind == "generative" and isinstance(m.create(), Translator)}
    heads = {m.name for m in suite.methods if m.kind == "generative" and _classifies(m.create())}
    own_metrics = [{"name": m.name, **m.identity()} for m in suite.metrics]
    carriers = mask_carriers(suite) if s.segmenters else ()
    read = translators or carriers
    masks = [suite.dataset.target, masks_fingerprint(index.root, index.records)] if read else []
    splits = make_splits(index, s.split)
    for split in splits:
        at = (split.fold, split.repeat)
        split_key = _key("split", fingerprint(index), s.split, *at)
        # Generators see no test image, so suites that differ in the values of a shift that they test on share them.
        learnt_key = _key("split", fingerprint(index), s.split.control, *at)
        tested = [split_key] if split_key != learnt_key else []
        yield Cell("split", split_key, *at)
        # method -> what identifies its training images, the cells to wait for; ``clean``: the same without copies
        made: dict[str, tuple[str, list[Cell]]] = {}
        clean: dict[str, tuple[str, list[Cell]]] = {}
        root = Cell("split", split_key, *at)
        segment_key = _key("segment", split_key, s.segmentation, common, masks)
        segment = Cell("segment", segment_key, *at, upstream=(root.id,))
        if translators:
            yield segment
        for m in suite.methods:
            if m.kind != "generative":
                made[m.name] = (_key("split", m.identity(), split_key, common), [])
                continue
            fit = Cell("fit", _key("fit", m.identity(), learnt_key, common), *at, m.name, upstream=(root.id,))
            synth_key = _key("synthesize", fit.key, ratios)
            synth = Cell("synthesize", synth_key, *at, m.name, upstream=(root.id, fit.id))
            fidelity_key = _key("fidelity", synth_key, s.fidelity, *tested)
            yield from (fit, synth)
            yield Cell("fidelity", fidelity_key, *at, m.name, upstream=(root.id, synth.id))
            copies_key = _key("copies", synth_key, s.fidelity, *tested)
            copies = Cell("copies", copies_key, *at, m.name, upstream=(root.id, synth.id))
            yield copies
            if m.name in translators:
                needs = (root.id, fit.id, segment.id)
                yield Cell("translate", _key("translate", fit.key, segment.key), *at, m.name, upstream=needs)
            if m.name in heads:
                yield Cell("head", _key("head", fit.key, *tested), *at, m.name, upstream=(root.id, fit.id))
            # Not the synthesize key: its first n images do not depend on how many ratios were asked for, so adding
            # a ratio to a suite leaves the classifiers of the others valid.
            source = _key("synthesize", fit.key, *tested)
            made[m.name] = (source, [synth])
            clean[m.name] = (_key("copies", source, s.fidelity), [synth, copies])
        for m in suite.methods:
            for ratio in sorted(arm_ratios(s)) if m.kind == "generative" else ["0", *longer_ratios(s, m.name)]:
                for c in (classifier_of(suite, c.name, m.name, ratio) for c in suite.classifiers):
                    source, upstream = (clean if ratio.endswith(NOCOPIES) else made)[m.name]
                    images = ratio.partition(STEPS)[0]  # its steps are in the classifier's config
                    key = _key("classify", source, images, c.identity(), common)
                    waits = (root.id, *(u.id for u in upstream))
                    classify = Cell("classify", key, *at, m.name, ratio, c.name, waits)
                    yield classify
                    evaluate = _key("evaluate", key, *own_metrics)
                    yield Cell("evaluate", evaluate, *at, m.name, ratio, c.name, (classify.id,))
                    if split is splits[0] and STEPS not in ratio and s.explain.images_per_class:
                        explain = _key("explain", key, s.explain)
                        yield Cell("explain", explain, *at, m.name, ratio, c.name, (root.id, classify.id))
        for m in (m for m in suite.methods if m.name in carriers):
            source, upstream = made[m.name]
            for ratio in ratios if m.kind == "generative" else ["0"]:
                for name, config in s.segmenters.items():
                    key = _key("segmenter", source, ratio, config, common, masks)
                    waits = (root.id, *(u.id for u in upstream))
                    yield Cell("segmenter", key, *at, m.name, ratio, name, waits)


def validation_cell(classify: Cell) -> Cell:
    """Return the cell that trains the classifier of a ``classify`` cell without its fold's test part, for tuning.

    It is in no plan. Once it is done, the ``classify`` cell takes its network over instead of training it again.
    """
    return replace(classify, stage="validate", key=stable_hash(["validate", classify.key]))


def _classifies(method: object) -> bool:
    """Whether a method offers to classify images itself, and its config keeps what it takes."""
    return isinstance(method, SelfClassifier) and bool(method.own_head)


def _key(stage: str, *parts: Any) -> str:
    return stable_hash([stage, CODE_VERSION[stage], *parts])


def select(cells: Sequence[Cell], filters: Sequence[str]) -> list[Cell]:
    """Return the cells that ``--only key=value`` names, and everything upstream of them, in plan order.

    Values of one key are alternatives, separated by commas; different keys must all hold. A cell to which a key
    does not apply (a split has no method) is kept only as upstream. Raises ``ConfigError`` when nothing matches.
    """
    wanted = _parse(filters)
    for key, values in wanted.items():
        present = {str(getattr(c, key)) for c in cells if getattr(c, key) is not None}
        for value in values - present:
            raise ConfigError(f"--only {key}={value}: nothing in this plan; {nearest(value, present)}")
    by_id = {c.id: c for c in cells}
    chosen = {c.id for c in cells if all(str(getattr(c, k)) in v for k, v in wanted.items())}
    todo = list(chosen)
    while todo:
        for up in by_id[todo.pop()].upstream:
            if up not in chosen:
                chosen.add(up)
                todo.append(up)
    return [c for c in cells if c.id in chosen]


def _parse(filters: Sequence[str]) -> Mapping[str, set[str]]:
    wanted: dict[str, set[str]] = {}
    for text in filters:
        key, sep, value = text.partition("=")
        if not sep or key not in FILTERS:
            raise ConfigError(f"--only {text!r}: expected key=value; {nearest(key, FILTERS)}")
        wanted.setdefault(key, set()).update(v.strip() for v in value.split(","))
    return wanted
