"""Plug-ins of a suite: classes by registered name, with checked configs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from bench import registry
from bench.classifiers.config import FineTuneConfig
from bench.config import build, to_plain
from bench.errors import ConfigError
from bench.suite.epochs import EPOCHS, STEPS, as_steps, without_epochs


@dataclass(frozen=True)
class PluginSpec:
    """A dataset, method, classifier or metric with its checked config. ``name`` is the suite's name for it."""

    name: str
    registered: str  # identifier of the class in cell keys (``registry.identity``)
    target: str
    version: int
    kind: str
    config: Any
    epochs: float | None = None  # in place of the config's steps, until the suite is planned

    def create(self) -> Any:
        """Import the class and build it."""
        module, _, attribute = self.target.partition(":")
        return getattr(__import__(module, fromlist=[attribute]), attribute)(self.config)

    def identity(self) -> dict[str, Any]:
        """Return what determines its results: the class, its code version and its config; not the name."""
        return {"class": self.registered, "version": self.version, "config": self._plain_config}

    @cached_property
    def _plain_config(self) -> Any:
        return to_plain(self.config, keep_late=False)  # once: large plans hash it thousands of times

    def with_steps(self, images: int, where: str) -> PluginSpec:
        """Return it with steps in place of epochs of ``images`` training images. Raises ``ConfigError``."""
        if self.epochs is None:
            return self
        return replace(self, config=as_steps(self.config, self.epochs, images, f"{where}.{self.name}"), epochs=None)

    def plain(self, kind: registry.Kind) -> dict[str, Any]:
        """Return the complete config in the syntax of a suite, with ``use`` if the name does not give the class."""
        config = asdict(self.config)
        if self.epochs is not None:
            config = {key: value for key, value in config.items() if key != STEPS} | {EPOCHS: self.epochs}
        if registry.identity(kind, self.name) == self.registered:
            return config
        return {"use": config["model"] if self.registered == registry.FALLBACK_NAME else self.registered, **config}


def make_plugins(kind: registry.Kind, suite: str, section: Any, modality: str = "") -> tuple[PluginSpec, ...]:
    """Return the plug-ins in a section of a suite. Raises ``ConfigError`` for an invalid config or an unknown name."""
    if not isinstance(section, dict) or not section:
        raise ConfigError(f"suite {suite}: {kind}s: expected a mapping from name to config, got {section!r}")
    return tuple(make_plugin(kind, str(name), data or {}, modality) for name, data in section.items())


def make_plugin(kind: registry.Kind, name: str, data: Any, modality: str = "") -> PluginSpec:
    """Return one plug-in with its checked config; ``modality`` selects a method's defaults. Raises ``ConfigError``."""
    where = kind if kind == "dataset" else f"{kind}s.{name}"
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: expected a mapping of config values, got {data!r}")
    data = dict(data)
    registered = str(data.pop("use", name))  # `use:` allows one method under several names and configs
    cls = registry.load(kind, registered)
    data = {**getattr(cls, "by_modality", {}).get(modality, {}), **data}
    if kind == "classifier" and registered not in registry.names(kind) and not registry.is_target(registered):
        data.setdefault("model", registered)  # timm's name
    if kind == "classifier" and not issubclass(cls.Config, FineTuneConfig):
        raise ConfigError(f"{where}: {registered}'s Config must extend bench.classifiers.config.FineTuneConfig")
    data, epochs = without_epochs(cls.Config, data, where)
    return PluginSpec(
        name=name,
        registered=registry.identity(kind, registered),
        target=registry.resolve(kind, registered),
        version=int(getattr(cls, "version", 1)),
        kind=str(getattr(cls, "kind", "")),
        config=build(cls.Config, data, where),
        epochs=epochs,
    )
