"""A suite and a dataset -> its plan.

A cell's key is the hash of (its stage's code version, its config, its upstream keys, the data's fingerprint). Nothing
else affects its result, so cells with equal keys are the same work, also in different suites.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from bench.abilities import ChecksColour, SelfClassifier, Translator, UsesUnlabelled
from bench.config import stable_hash
from bench.data.given_split import GIVEN, given_parts
from bench.data.masks import masks_fingerprint
from bench.data.positive import require_positive, with_positive
from bench.data.records import fingerprint
from bench.data.splits import make_splits
from bench.errors import ConfigError, nearest
from bench.metrics.custom import try_out
from bench.metrics.units import scored_unit
from bench.plan.plan import STAGES, Cell, Plan, arm_ratios, classifier_of, fold_title, mask_carriers, multiplied_ratios
from bench.suite.arms import Arm, ratio_text
from bench.suite.contrast import NONE
from bench.suite.resources import DEFAULT
from bench.suite.suite import PluginSpec, Suite
from bench.suite.trained_on import WeightsConfig, check_trained_on
from bench.suite.tuned import SplitGroups, check_tuned_settings
from bench.types import At, DatasetIndex, Split

# Increase a stage's number when its code gives another result for the same input: older cells are then not reused.
CODE_VERSION = {
    "split": 1,
    "fit": 2,
    "synthesize": 1,
    "select": 1,
    "fidelity": 3,
    "memorised": 3,
    "fcn_score": 1,
    "translate": 1,
    "discriminator_classifier": 1,
    "classify": 1,
    "evaluate": 3,
    "explain": 1,
    "segmentation": 3,
}


def make_plan(suite: Suite, index: DatasetIndex, weights: str | None = None) -> Plan:
    """Plan a suite. ``weights`` identifies the local pretrained weights, if any.

    Raises ``ConfigError`` if a method or metric does not support these classes, or if classifiers are scored and the
    positive class of two is unknown; ``DataError`` if the folds cannot be created; ``LeakageError`` if tuned settings
    were chosen, or pretrained weights trained, with test patients of a fold.
    """
    index = with_positive(index, suite.positive)
    _check_methods(suite, index)
    for stage in suite.settings.resources:
        if stage not in (DEFAULT, *STAGES):
            raise ConfigError(f"resources.{stage}: no stage of a plan; {nearest(stage, (DEFAULT, *STAGES))}")
    if suite.settings.segmentation_networks and not any(r.mask_paths for r in index.records):
        raise ConfigError(f"segmentation_networks: {index.name} has no masks; expected a data set with masks, or {{}}")
    try_out({m.name: m.create() for m in suite.metrics}, index.classes, index.positive_label)
    splits = make_splits(index, suite.settings.split)
    suite = suite.with_steps(max(len(s.train) for s in splits))
    tested = _test_groups(index, splits)
    check_tuned_settings(suite.tuned_settings, fingerprint(index), tested)
    if isinstance(suite.settings.weights, WeightsConfig):
        check_trained_on(suite.settings.weights, {r.group_id for r in index.records}, tested)
    cells = tuple(_cells(suite, index, splits, weights))
    if any(c.stage in ("evaluate", "discriminator_classifier") for c in cells):
        require_positive(index)
    return Plan(suite, index, fingerprint(index), cells, tuple(splits), weights)


def _test_groups(index: DatasetIndex, splits: Sequence[Split]) -> list[SplitGroups]:
    group = {r.path: r.group_id for r in index.records}
    return [SplitGroups(fold_title(*s.at), s.at, frozenset(group[p] for p in s.test)) for s in splits]


def _check_methods(suite: Suite, index: DatasetIndex) -> None:
    unable: dict[str, str] = {}
    using: list[str] = []
    for method in suite.methods:
        made = method.create()
        try:
            if method.kind == "generative":
                made.check(index.classes)
            if isinstance(made, ChecksColour):
                made.check_colour(index.grey)
        except ConfigError as e:
            unable[method.name] = str(e)
        if isinstance(made, UsesUnlabelled) and made.uses_unlabelled:
            using.append(method.name)
    further = suite.settings.split.unlabelled_patients
    if using and not further:
        raise ConfigError(
            f"methods.{using[0]}.unlabelled is true, but the suite has no images without labels; set "
            "split.unlabelled_patients (protocol learning_curve), or unlabelled: false"
        )
    if further and not using:
        raise ConfigError(
            f"split.unlabelled_patients is {further}, but no method uses them; set unlabelled: true in a method that "
            "can (tlsgan_… with head classes_and_fake, projected_gan, flow_matching, diffusion), or leave them out"
        )
    if unable:
        reasons = "\n".join(f"  {name}: {reason}" for name, reason in unable.items())
        leave = " ".join(f"--set methods.{name}=false" for name in unable)
        raise ConfigError(f"methods that do not support {index.name}:\n{reasons}\nto run the others: {leave}")


def _cells(suite: Suite, index: DatasetIndex, splits: Sequence[Split], weights: str | None) -> Iterator[Cell]:
    common = _Common(suite, index, weights)
    for split in splits:
        yield from _Fold(common, split.at, first=split is splits[0]).cells()


class _Common:
    """Data shared by the cells of all folds."""

    def __init__(self, suite: Suite, index: DatasetIndex, weights: str | None) -> None:
        s = suite.settings
        generative = {m.name: m.create() for m in suite.methods if m.kind == "generative"}
        self.suite, self.data = suite, fingerprint(index)
        self.translators = {name for name, method in generative.items() if isinstance(method, Translator)}
        self.heads = {name for name, method in generative.items() if _classifies(method)}
        self.carriers = mask_carriers(suite) if s.segmentation_networks else ()
        self.ratios = sorted(ratio_text(r) for r in s.ratios)
        self.config = [s.image_size_px, s.resize, s.seed, s.threads, weights]
        # The given parts, which the fingerprint does not cover; [] for other protocols, whose keys are unchanged.
        self.given = [given_parts(index)] if s.split.protocol == GIVEN else []
        self.metrics = [{"name": m.name, **m.identity()} for m in suite.metrics]
        # Properties of the data that affect scores; [] if the second class is positive and every group has images of
        # one class, so that keys are the same as before these settings existed.
        self.positive = [{"positive": str(index.positive)}] if index.positive_label != 1 else []
        self.scored = [] if scored_unit(index).per_group else [{"scored": "image"}]
        read = self.translators or self.carriers
        self.masks = [suite.dataset.registered, masks_fingerprint(index.root, index.records)] if read else []


class _Fold:
    """The cells of one fold.

    ``made`` holds for every method the key of its training images and the cells to wait for; ``clean`` the same without
    memorised samples, ``selected`` for methods and variants with selected images. ``cells`` fills all of them before
    the classifiers.
    """

    def __init__(self, common: _Common, at: At, first: bool) -> None:
        self.fold, self.repeat, self.train_patients = at
        self.common, self.suite = common, common.suite.of_fold(self.fold, self.repeat)
        self.settings = self.suite.settings
        self.first = first
        split = self.settings.split
        of = [x for x in at if x is not None]
        self.root = self._cell("split", _key("split", common.data, split.drawn, *common.given, *of))
        # Generators use no test images, so suites that differ only in the shift values of the test part share them, as
        # do learning curves that differ only in their number of sets. Without a fixed test part, classifiers of a
        # learning curve predict all images outside their set, so they do not depend on the test part either.
        self.learnt = _key("split", common.data, split.learned, *common.given, *of)
        self.tested = [self.root.key] if self.root.key != self.learnt else []
        self.predicted = [] if split.predicts_unused else self.tested
        self.test_part = [self.root.key] if split.predicts_unused else []
        self.methods = [
            m for m in self.suite.methods if not split.only_reference(self.train_patients) or m.name == NONE
        ]
        self.made: dict[str, tuple[str, list[Cell]]] = {}
        self.clean: dict[str, tuple[str, list[Cell]]] = {}
        self.selected: dict[tuple[str, str], tuple[str, list[Cell]]] = {}

    def cells(self) -> Iterator[Cell]:
        yield self.root
        fcn_key = _key("fcn_score", self.root.key, self.settings.segmentation, self.common.config, self.common.masks)
        fcn = self._cell("fcn_score", fcn_key, self.root)
        if self.common.translators & {m.name for m in self.methods}:
            yield fcn
        for method in self.methods:
            if method.kind == "generative":
                yield from self._generator(method, fcn)
            else:
                parts = self.learnt if self.settings.split.predicts_unused else self.root.key
                key = _key("split", method.identity(), parts, self.common.config)
                self.made[method.name] = (key, [])
        for method in self.methods:
            yield from self._classifiers(method)
        for method in self.methods:
            if method.name in self.common.carriers:
                yield from self._segmentation_networks(method)

    def _cell(self, stage: str, key: str, *waits: Cell, of: Sequence[str | None] = ()) -> Cell:
        """Return a cell; ``of`` are its method, ratio and classifier."""
        method, ratio, classifier = (*of, None, None, None)[:3]
        upstream = tuple(c.id for c in waits)
        return Cell(stage, key, self.fold, self.repeat, method, ratio, classifier, upstream, self.train_patients)

    def _generator(self, m: PluginSpec, fcn: Cell) -> Iterator[Cell]:
        root, fidelity, of = self.root, self.settings.fidelity, (m.name,)
        fit = self._cell("fit", _key("fit", m.identity(), self.learnt, self.common.config), root, of=of)
        synth = self._cell("synthesize", _key("synthesize", fit.key, self.common.ratios), root, fit, of=of)
        yield from (fit, synth)
        yield self._cell("fidelity", _key("fidelity", synth.key, fidelity, *self.tested), root, synth, of=of)
        memorised = self._cell("memorised", _key("memorised", synth.key, fidelity, *self.predicted), root, synth, of=of)
        yield memorised
        if m.name in self.common.translators:
            yield self._cell("translate", _key("translate", fit.key, fcn.key), root, fit, fcn, of=of)
        if m.name in self.common.heads:
            yield self._cell(
                "discriminator_classifier",
                _key("discriminator_classifier", fit.key, *self.tested, *self.common.positive),
                root,
                fit,
                of=of,
            )
        # Not the synthesize key: the first n images do not depend on the number of ratios, so adding a ratio to a suite
        # keeps the classifiers of the other ratios valid.
        source = _key("synthesize", fit.key, *self.predicted)
        self.made[m.name] = (source, [synth])
        self.clean[m.name] = (_key("memorised", source, fidelity), [synth, memorised])
        for variant in sorted(v for v in arm_ratios(self.settings) if Arm.parse(m.name, v).is_selected):
            select = self._cell("select", _key("select", source, variant, fidelity), root, fit, of=(m.name, variant))
            yield select
            yield self._cell("memorised", _key("memorised", select.key, fidelity), root, select, of=(m.name, variant))
            self.selected[m.name, variant] = (select.key, [select])

    def _classifiers(self, m: PluginSpec) -> Iterator[Cell]:
        s = self.settings
        scored = (*self.common.metrics, *self.common.positive, *self.common.scored, *self.test_part)
        reads = [self.root] if self.test_part else []
        for ratio in sorted(arm_ratios(s)) if m.kind == "generative" else ["0", *self._multiplied_ratios(m.name)]:
            arm = Arm.parse(m.name, ratio)
            source, upstream = self._images(arm)
            images = replace(arm, train_multiplier=1).variant  # its steps are in the classifier's config
            for c in (classifier_of(self.suite, c.name, m.name, ratio) for c in self.suite.classifiers):
                of = (m.name, ratio, c.name)
                key = _key("classify", source, images, c.identity(), self.common.config)
                classify = self._cell("classify", key, self.root, *upstream, of=of)
                yield classify
                yield self._cell("evaluate", _key("evaluate", key, *scored), classify, *reads, of=of)
                if self.first and arm.train_multiplier == 1 and s.explain.images_per_class:
                    explain_key = _key("explain", key, s.explain, *self.test_part)
                    yield self._cell("explain", explain_key, self.root, classify, of=of)

    def _images(self, arm: Arm) -> tuple[str, list[Cell]]:
        """Return the key of an arm's training images and the cells to wait for."""
        if arm.is_selected:
            return self.selected[arm.method, arm.variant]
        return (self.clean if arm.exclude_memorised else self.made)[arm.method]

    def _multiplied_ratios(self, method: str) -> tuple[str, ...]:
        only_reference = self.settings.split.only_reference(self.train_patients)
        return () if only_reference else multiplied_ratios(self.settings, method)

    def _segmentation_networks(self, m: PluginSpec) -> Iterator[Cell]:
        source, upstream = self.made[m.name]
        for ratio in self.common.ratios if m.kind == "generative" else ["0"]:
            for name, config in self.settings.segmentation_networks.items():
                key = _key(
                    "segmentation", source, ratio, config, self.common.config, self.common.masks, *self.test_part
                )
                yield self._cell("segmentation", key, self.root, *upstream, of=(m.name, ratio, name))


def _classifies(method: object) -> bool:
    """Whether a method can classify images itself, and its config keeps the network for it."""
    return isinstance(method, SelfClassifier) and bool(method.discriminator_classifier)


def _key(stage: str, *parts: Any) -> str:
    return stable_hash([stage, CODE_VERSION[stage], *parts])
