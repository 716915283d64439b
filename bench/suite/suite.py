"""A suite: the dataset, folds, methods, classifiers and ratios of a comparison, read from ``configs/suites/*.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from bench import registry
from bench.config import build, merged, override, read_yaml
from bench.data.published_split import PUBLISHED
from bench.data.split_config import SplitConfig
from bench.errors import ConfigError, nearest
from bench.names import check_suite
from bench.segmentation.config import SegmentationConfig
from bench.segmentation.network_config import SegmentationNetworkConfig
from bench.store.redact import has_password
from bench.suite.contrast import NONE, Contrast, as_mapping, check_contrast
from bench.suite.plugins import PluginSpec, make_plugin, make_plugins
from bench.suite.published import load_published
from bench.suite.resources import Resources
from bench.suite.shipped import config_folder, sub_suite_names, suite_files, suite_name
from bench.suite.stage_configs import ExplainConfig, FidelityConfig, SelectionConfig, as_selections
from bench.suite.sub_suites import locate, of_sub_suite, sub_suites_in
from bench.suite.trained_on import WeightsConfig
from bench.suite.tuned import EVERY, TUNED, TunedSettings, read_tuned_settings, with_tuned

Ratio = float | Literal["balance"]
Primary = Literal["auroc", "log_loss", "brier", "balanced_accuracy"]
REFERENCES = (NONE, "classical")  # arms without a generator, which may have compute-matched variants
FROM_FILE = "@"  # prefix of an assignment that names a YAML file to merge into the suite
NAMED = ("methods", "classifiers", "metrics", "segmentation_networks")  # name -> config; `false` removes an entry


@dataclass(frozen=True)
class Settings:
    """The plain settings of a suite; all other entries of its file name plug-ins."""

    description: str = ""
    image_size_px: int = 256  # side of the square images that every arm uses
    resize: Literal["squash", "crop"] = "squash"
    split: SplitConfig = field(default_factory=SplitConfig)
    ratios: tuple[Ratio, ...] = (1.0,)  # synthetic images per real one, per class; 'balance' equalises the classes
    fidelity: FidelityConfig = field(default_factory=FidelityConfig)
    segmentation: SegmentationConfig = field(default_factory=SegmentationConfig)  # FCN score network
    explain: ExplainConfig = field(default=ExplainConfig(), metadata={"late": True})
    # segmentation networks that are compared over the arms with masks, by their names in the suite
    segmentation_networks: Mapping[str, SegmentationNetworkConfig] = field(
        default_factory=dict, metadata={"late": True}
    )
    exclude_memorised: bool = False  # add each generative arm without the memorised samples that `memorised` flags
    # Add each generative arm with selected images, once for each rule; the arm without selection is always there
    select: tuple[SelectionConfig, ...] = field(default=(), metadata={"late": True})
    primary: Primary = "auroc"  # endpoint that decides: at patient level, or per image where patients have many classes
    contrast: Contrast | None = None  # the comparison that is tested first, declared before the run
    margin: float = 0.02  # equivalence margin of the verdict, in balanced accuracy
    reference: str | None = None  # generative method that the report compares the others with, in addition to `none`
    train_multipliers: tuple[int, ...] = ()  # train multipliers of compute-matched `none` and `classical` arms
    seed: int = 0
    threads: int | None = None  # CPU threads per cell; if fixed, results do not depend on --jobs or number of cores
    published: str | None = None  # name in configs/published: results that the report compares with
    data: str | None = field(default=None, metadata={"late": True})  # images without --data; relative to the suite file
    folder: str | None = None  # folder of this suite's images below --data, if it exists
    # Local file or folder of pretrained weights, or both with the patients they were trained on; default: BENCH_WEIGHTS
    weights: str | WeightsConfig | None = None
    # What the jobs of a cluster get, for all stages by `default` and for single ones by their names
    resources: Mapping[str, Resources] = field(default_factory=dict, metadata={"late": True})


@dataclass(frozen=True)
class Suite:
    """A checked suite: all its plug-ins can be built."""

    name: str
    dataset: PluginSpec
    methods: tuple[PluginSpec, ...]
    classifiers: tuple[PluginSpec, ...]
    settings: Settings
    tuned: tuple[tuple[str, PluginSpec], ...] = ()  # (method, classifier settings of that method's arm)
    metrics: tuple[PluginSpec, ...] = ()  # custom metrics, in addition to the built-in ones
    positive: str | None = None  # name of the positive class of two, from ``dataset.positive``
    tuned_settings: tuple[TunedSettings, ...] = ()  # of settings that `bench tune` chose
    by_fold: Mapping[str, Suite] = field(default_factory=dict)  # the suite with a fold's tuned settings

    def of_fold(self, fold: int, repeat: int) -> Suite:
        """Return the suite with the tuned settings of this fold: itself if no settings differ between folds."""
        return self.by_fold.get(f"{fold}.{repeat}", self)

    def untuned(self) -> Suite:
        """Return the suite without settings that belong to one arm or one fold."""
        return replace(self, tuned=(), tuned_settings=(), by_fold={})

    def with_steps(self, images: int) -> Suite:
        """Return the suite with steps in place of epochs of ``images`` training images. Raises ``ConfigError``."""
        return replace(
            self,
            methods=tuple(m.with_steps(images, "methods") for m in self.methods),
            classifiers=tuple(c.with_steps(images, "classifiers") for c in self.classifiers),
            tuned=tuple((arm, c.with_steps(images, f"methods.{arm}.classifiers")) for arm, c in self.tuned),
            by_fold={at: own.with_steps(images) for at, own in self.by_fold.items()},
        )

    def method(self, name: str) -> PluginSpec:
        """Return the method of that name."""
        return next(m for m in self.methods if m.name == name)

    def classifier(self, name: str, method: str | None = None) -> PluginSpec:
        """Return the classifier of that name; with ``method``, with the settings of that method's arm."""
        own = (spec for arm, spec in self.tuned if (arm, spec.name) == (method, name))
        return next(own, None) or next(c for c in self.classifiers if c.name == name)


def load_suite(
    name: str, assignments: tuple[str, ...] = (), root: Path | None = None, called: str | None = None
) -> Suite:
    """Read a suite by name or by the path of a YAML file, apply ``--set`` assignments, and check it.

    An assignment ``@FILE`` (``--config-from FILE``) merges a YAML file with the suite's syntax; these are applied
    first. ``root`` is the folder of images, which decides whether a sub-suite's fallback applies
    (``bench.suite.sub_suites``). ``called`` replaces the suite's name, which is the entry ``name`` of the file, or the
    file's name. Raises ``ConfigError`` for an unknown suite, key, method or value, with the nearest valid one, and for
    a file with sub-suites.
    """
    files = suite_files()
    path, sub_suite = locate(name, files)
    data = read_yaml(path)
    if path not in files.values():
        registry.look_in(path.parent)
    data.pop("name", None)
    if data.get("data"):
        data["data"] = str(path.resolve().parent / Path(str(data["data"])).expanduser())
    if sub_suite:
        data = of_sub_suite(data, sub_suite, root)
    elif sub_suites_in(data, path.stem):
        raise ConfigError(f"{name} has sub-suites; give one of them: {', '.join(sub_suite_names(name))}")
    return suite_from(called or suite_name(name), data, assignments)


def suite_from(name: str, data: dict[str, Any], assignments: tuple[str, ...] = ()) -> Suite:
    """Return the checked suite of a mapping in the syntax of a suite file, with assignments as in ``load_suite``."""
    for text in assignments:
        if text.startswith(FROM_FILE):
            data = merged(data, read_yaml(Path(text.removeprefix(FROM_FILE))))
    sets = tuple(a for a in assignments if not a.startswith(FROM_FILE))
    chosen = read_tuned_settings(data.get(TUNED), data.get("methods"))
    changed = {at: override(with_tuned(data, chosen, at), sets) for at in (EVERY, *(o.at for o in chosen))}
    for section in NAMED:
        before, after = _named(data, section), _named(changed[EVERY], section)
        for entry in (n for n, config in after.items() if config is False and n not in before):
            raise ConfigError(f"{section}.{entry}=false: not in this suite; {nearest(entry, before)}")
    suite = parse_suite(name, changed[EVERY])
    left = {m.name for m in suite.methods}
    return replace(
        suite,
        tuned_settings=tuple(o.changed(_named(changed[o.at], "methods")) for o in chosen if o.method in left),
        by_fold={at: parse_suite(name, data) for at, data in changed.items() if at != EVERY},
    )


def parse_suite(name: str, data: Mapping[str, Any]) -> Suite:
    """Return a checked ``Suite`` from its mapping; entries that are ``false`` in sections of ``NAMED`` are removed."""
    if has_password(str(data)):
        raise ConfigError(
            f"suite {name}: got a URL with a password, but settings are stored and shown; expected a URL without one, "
            "or a local file"
        )
    data = dict(data)
    for key in NAMED:
        if named := _named(data, key):
            data[key] = {n: config for n, config in named.items() if config is not False}
    check_suite(name, {key: _named(data, key) for key in NAMED}, _named(data, "dataset"))
    sections = {key: data.pop(key, None) for key in ("dataset", "methods", "classifiers", "metrics")}
    data = {k: v for k, v in data.items() if not k.startswith("_")}  # keys like _gan hold YAML anchors
    known = [*Settings.__dataclass_fields__, *sections]
    for key in data:
        if key not in known:
            raise ConfigError(f"suite {name}: unknown key {key!r}; {nearest(key, known)}")
    if isinstance(segmentation_networks := data.get("segmentation_networks"), dict):
        data["segmentation_networks"] = {k: {} if v is None else v for k, v in segmentation_networks.items()}
    if "contrast" in data:
        data["contrast"] = as_mapping(data["contrast"])
    data["select"] = as_selections(data.get("select", ()))
    settings = build(Settings, data, f"suite {name}")
    _check_segmentation_networks(name, settings, sections["classifiers"])
    for times in settings.train_multipliers:
        if not times > 1:
            raise ConfigError(f"suite {name}: train_multipliers: got {times!r}, expected whole numbers above 1")
    for ratio in settings.ratios:
        if ratio != "balance" and not ratio > 0:
            raise ConfigError(f"suite {name}: ratios: got {ratio!r}, expected a number above 0 or 'balance'")
    if settings.published:
        load_published(config_folder() / "published", settings.published)  # errors now, not when the report is written
    dataset = sections["dataset"]
    if not isinstance(dataset, dict) or "name" not in dataset:
        raise ConfigError(f"suite {name}: dataset: expected a mapping with 'name', got {dataset!r}")
    dataset = dict(dataset)
    positive = dataset.pop("positive", None)
    dataset_plugin = make_plugin("dataset", str(dataset.pop("name")), dataset)
    methods, tuned = _own_classifiers(sections["methods"], sections["classifiers"])
    plugins = make_plugins("method", name, methods, getattr(dataset_plugin.create(), "modality", ""))
    _check_reference(name, settings.reference, plugins)
    found = _classifiers(name, sections["classifiers"], settings)
    declared = check_contrast(
        settings.contrast, settings.split, [m.name for m in plugins], settings.ratios, [c.name for c in found]
    )
    settings = replace(settings, contrast=declared)
    return Suite(
        name=name,
        dataset=dataset_plugin,
        methods=plugins,
        classifiers=found,
        settings=settings,
        tuned=tuned,
        metrics=_metrics(name, sections["metrics"]),
        positive=None if positive is None else str(positive),
    )


def _named(data: Mapping[str, Any], section: str) -> dict[str, Any]:
    found = data.get(section)
    return found if isinstance(found, dict) else {}


def _check_segmentation_networks(suite: str, settings: Settings, classifiers: Any) -> None:
    for name, config in settings.segmentation_networks.items():
        where = f"suite {suite}: segmentation_networks.{name}"
        if isinstance(classifiers, dict) and name in classifiers:
            raise ConfigError(f"{where}: a classifier has the same name; use another name")
        try:
            config.check_size(settings.image_size_px)
        except ConfigError as e:
            raise ConfigError(f"{where}: {e}") from None


def _check_reference(suite: str, reference: str | None, methods: tuple[PluginSpec, ...]) -> None:
    generative = [m.name for m in methods if m.kind == "generative"]
    if reference is not None and reference not in generative:
        raise ConfigError(
            f"suite {suite}: reference: unknown generative method {reference!r}; {nearest(reference, generative)}"
        )


def _own_classifiers(methods: Any, classifiers: Any) -> tuple[Any, tuple[tuple[str, PluginSpec], ...]]:
    """Separate ``classifiers`` from the methods' configs: classifier settings for the arm of that method only."""
    if not isinstance(methods, dict) or not isinstance(classifiers, dict):
        return methods, ()
    left, found = {}, []
    for method, config in methods.items():
        where = f"methods.{method}.classifiers"
        left[method] = {k: v for k, v in config.items() if k != "classifiers"} if isinstance(config, dict) else config
        own = config.get("classifiers") or {} if isinstance(config, dict) else {}
        if not isinstance(own, dict):
            raise ConfigError(f"{where}: expected a mapping from a classifier's name to changes, got {own!r}")
        for name, changes in own.items():
            if name not in classifiers:
                raise ConfigError(f"{where}: unknown classifier {name!r}; {nearest(name, classifiers)}")
            if not isinstance(changes, dict):
                raise ConfigError(f"{where}.{name}: expected a mapping of config values, got {changes!r}")
            found.append((str(method), make_plugin("classifier", str(name), merged(classifiers[name], changes))))
    return left, tuple(found)


def _classifiers(suite: str, section: Any, settings: Settings) -> tuple[PluginSpec, ...]:
    """Return the classifiers; ``classifiers: {}`` means that the suite intentionally has none."""
    if section == {}:
        return ()
    if settings.split.protocol == PUBLISHED:
        raise ConfigError(
            f"suite {suite}: classifiers: the split protocol {PUBLISHED} has folds with and without shared patients, "
            "so an arm's mean over folds is not meaningful; expected {} here. To compare classifiers use "
            "split.protocol kfold or holdout"
        )
    return make_plugins("classifier", suite, section)


def _metrics(suite: str, section: Any) -> tuple[PluginSpec, ...]:
    """Return the custom metrics of the suite."""
    return make_plugins("metric", suite, section) if section else ()
