"""Tuned settings and how they were chosen: the section ``tuned`` of a file that `bench tune` writes.

    tuned:
      cgan:                                  # method
        '0.0':                               # fold.repeat, or 'all' for every set of a learning curve
          classifier: small_cnn              # the classifier of the tuned arm
          config: {learning_rate: 0.001}     # in the syntax of ``methods.cgan``
          data: 0123456789abcdef             # fingerprint of the images
          seen: [p1, p2]                     # groups (patients) whose images the search used
          budget: 40 trials                  # for each entry
          device_s: 812.5

Settings chosen by scores of one fold's validation patients are fitted to them. In k-fold these patients are test
patients of other folds, so each fold has its own entry. Several files can be merged: their keys differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bench.config import build, merged, to_plain
from bench.errors import ConfigError, LeakageError
from bench.types import At

TUNED = "tuned"  # the section of a suite
EVERY = "all"  # the key of settings for all sets of a learning curve
TUNE_AGAIN = "run `bench tune` on this suite, which writes settings for each fold"


@dataclass(frozen=True)
class TunedSettings:
    """What chose the settings of a method's arm in one fold, or in all sets of a learning curve (``EVERY``)."""

    classifier: str
    config: Mapping[str, Any]
    data: str
    seen: tuple[str, ...]
    budget: str
    device_s: float = 0.0
    method: str = ""
    at: str = EVERY

    def of(self, method: str, classifier: str) -> bool:
        """Whether these settings belong to the arm: a tuned generator serves all classifiers of its method."""
        return method == self.method and (classifier == self.classifier or bool(set(self.config) - {"classifiers"}))

    def changed(self, methods: Mapping[str, Any]) -> TunedSettings:
        """Return the settings with the values that they have in a suite's ``methods``, where --set may change them."""
        return replace(self, config=_values_at(self.config, methods[self.method]))


@dataclass(frozen=True)
class SplitGroups:
    """The groups in the test part of one fold."""

    name: str  # for messages: 'fold 0'
    at: At
    test: frozenset[str] = field(repr=False)


def _values_at(keys: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    nested = {k: v for k, v in keys.items() if isinstance(v, Mapping)}
    return {k: _values_at(nested[k], values[k]) if k in nested else values[k] for k in keys if k in values}


def read_tuned_settings(section: Any, methods: Any) -> tuple[TunedSettings, ...]:
    """Return the tuned settings in the section ``tuned``. Raises ``ConfigError`` for unknown methods and keys."""
    if not section:
        return ()
    found = []
    for method, entries in _mapping(section, TUNED).items():
        if not isinstance(methods, dict) or method not in methods:
            raise ConfigError(f"{TUNED}.{method}: not a method of this suite; remove it, or add the method")
        for at, data in _mapping(entries, f"{TUNED}.{method}").items():
            where = f"{TUNED}.{method}.{at}"
            found.append(build(TunedSettings, {**_mapping(data, where), "method": str(method), "at": str(at)}, where))
    return tuple(found)


def _mapping(data: Any, where: str) -> dict[Any, Any]:
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: got {data!r}, expected a mapping as `bench tune` writes it")
    return data


def as_section(tuned_settings: Iterable[TunedSettings]) -> dict[str, Any]:
    """Return the tuned settings in the syntax of ``read_tuned_settings``."""
    found: dict[str, Any] = {}
    for chosen in tuned_settings:
        entry = {k: v for k, v in to_plain(chosen).items() if k not in ("method", "at")}
        found.setdefault(chosen.method, {})[chosen.at] = entry
    return found


def tuned_s(tuned_settings: Iterable[TunedSettings], method: str, classifier: str) -> float:
    """Return the device-seconds of tuning of an arm, all folds together; 0 if it was not tuned."""
    return sum(o.device_s for o in tuned_settings if o.of(method, classifier))


def budget_of(tuned_settings: Iterable[TunedSettings], method: str, classifier: str) -> str:
    """Return the tuning budget of an arm in words; '' if it was not tuned."""
    own = [o for o in tuned_settings if o.of(method, classifier)]
    found = " / ".join(sorted({o.budget for o in own}))
    return found and found + (" in every fold" if own[0].at != EVERY else "")


def with_tuned(data: Mapping[str, Any], tuned_settings: Iterable[TunedSettings], at: str) -> dict[str, Any]:
    """Return a suite's mapping with the tuned settings of ``at`` (EVERY or 'fold.repeat')."""
    methods = {o.method: dict(o.config) for o in tuned_settings if o.at == at}
    return merged({k: v for k, v in data.items() if k != TUNED}, {"methods": methods} if methods else {})


def check_tuned_settings(tuned_settings: Iterable[TunedSettings], data: str, splits: Iterable[SplitGroups]) -> None:
    """Raise ``LeakageError`` if the settings of a fold were chosen with patients of its test part.

    Raises ``ConfigError`` if they were chosen on other images (fingerprint ``data``), or for some folds only.
    """
    folds = list(splits)
    by_method: dict[str, dict[str, TunedSettings]] = {}
    for chosen in tuned_settings:
        by_method.setdefault(chosen.method, {})[chosen.at] = chosen
    for method, of_at in by_method.items():
        for chosen in of_at.values():
            if chosen.data != data:
                raise ConfigError(
                    f"{TUNED}.{method}: tuned on other images (fingerprint {chosen.data}, these are {data}), so its "
                    f"patients cannot be compared with those of the test parts; {TUNE_AGAIN}"
                )
        for fold in folds:
            used = of_at.get(f"{fold.at[0]}.{fold.at[1]}") or of_at.get(EVERY)
            if used is None:
                raise ConfigError(f"{TUNED}.{method}: no settings for {fold.name}; {TUNE_AGAIN}")
            _require_unseen(used, fold)


def _require_unseen(chosen: TunedSettings, fold: SplitGroups) -> None:
    if not chosen.seen:
        raise LeakageError(
            f"{fold.name}: the tuned settings of {chosen.method!r} do not list the patients that their search used, "
            f"so leakage cannot be excluded; {TUNE_AGAIN}"
        )
    if leaked := sorted(fold.test & set(chosen.seen)):
        raise LeakageError(
            f"{fold.name}: the tuned settings of {chosen.method!r} were chosen with images of {len(leaked)} of its "
            f"{len(fold.test)} test patients or groups, such as {leaked[0]!r}; {TUNE_AGAIN}"
        )
