"""The search space of a study: ranges declared by a method and a classifier, checked against their configs.

A user's file may change, add or remove ranges, by the names used in the suite::

    cgan: {learning_rate: {low: 1.0e-4, high: 5.0e-4, log: true}, z_dim: {values: [32, 64]}, steps: null}
    small_cnn: {dropout: {low: 0, high: 0.3}}
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from bench.abilities import Tunable
from bench.config import build, read_yaml
from bench.errors import ConfigError, nearest
from bench.suite.arms import ratio_text
from bench.suite.suite import PluginSpec, Suite
from bench.types import Choice, FloatRange, IntRange, SearchRange

METHOD, CLASSIFIER, RATIO = "method.", "classifier.", "ratio"  # a dimension is one of the first two plus a field name
PLAIN = (str, int, float, bool, type(None))  # allowed types in a choice


@dataclass(frozen=True)
class Space:
    """The ranges of one arm by name, and the suite's ``own`` values, which the first trial uses."""

    ranges: Mapping[str, SearchRange]
    own: Mapping[str, Any]

    def changes(self, values: Mapping[str, Any], part: str) -> dict[str, Any]:
        """Return the values of one ``part`` (``METHOD`` or ``CLASSIFIER``) by field."""
        return {name.removeprefix(part): v for name, v in values.items() if name.startswith(part)}


def read_changes(path: Path, suite: Suite) -> dict[str, Any]:
    """Read a user's file, by method or classifier. Raises ``ConfigError`` for names that are not in the suite."""
    changes = read_yaml(path)
    known = [spec.name for spec in (*suite.methods, *suite.classifiers)]
    for name, of_name in changes.items():
        if name not in known:
            raise ConfigError(f"{path}: no method or classifier {name!r} in this suite; {nearest(name, known)}")
        if not isinstance(of_name, Mapping):
            raise ConfigError(f"{path}: {name}: got {of_name!r}, expected a mapping from field to range")
    return changes


def arm_space(suite: Suite, method: PluginSpec, classifier: PluginSpec, changes: Mapping[str, Any]) -> Space:
    """Return the search space of one arm; it includes the ratio of a generative method if the suite has several.

    Raises ``ConfigError`` for a range that the config does not allow, and for an empty search space.
    """
    ranges: dict[str, SearchRange] = {}
    own: dict[str, Any] = {}
    for part, spec in ((METHOD, method), (CLASSIFIER, classifier)):
        for name, found in _of_plugin(spec, changes.get(spec.name, {})).items():
            value = getattr(spec.config, name)
            ranges[part + name], own[part + name] = widened(found, value)
    ratios = tuple(map(ratio_text, suite.settings.ratios))
    if method.kind == "generative" and len(ratios) > 1:
        ranges[RATIO], own[RATIO] = Choice(ratios), ratios[0]
    if not ranges:
        raise ConfigError(f"neither {method.name} nor {classifier.name} has a search space; give one with --space FILE")
    return Space(ranges, own)


def _of_plugin(spec: PluginSpec, changes: Mapping[str, Any]) -> dict[str, SearchRange]:
    plugin = spec.create()
    found = dict(plugin.search_space()) if isinstance(plugin, Tunable) else {}
    check_ranges(spec, found, f"the search space of {spec.name}")
    for name, data in changes.items():
        where = f"--space: {spec.name}.{name}"
        require_field(spec, name, where)
        if data is None:
            found.pop(name, None)
        else:
            found[name] = parse_range(data, _is_whole(spec, name), where)
            check_ranges(spec, {name: found[name]}, "--space")
    return found


def parse_range(data: Any, whole: bool, where: str) -> SearchRange:
    """Read ``{values: […]}`` or ``{low: …, high: …, log: …}``; ``whole`` if the field is an integer."""
    if isinstance(data, Mapping) and set(data) == {"values"} and isinstance(data["values"], list):
        return Choice(tuple(data["values"]))
    if not isinstance(data, Mapping) or not {"low", "high"} <= set(data) <= {"low", "high", "log"}:
        raise ConfigError(f"{where}: got {data!r}, expected {{low: …, high: …, log: true}}, {{values: […]}} or null")
    return build(IntRange, dict(data), where) if whole else build(FloatRange, dict(data), where)


def check_ranges(spec: PluginSpec, ranges: Mapping[str, SearchRange], where: str) -> None:
    """Raise ``ConfigError`` unless every range is of a field of the config, and the config accepts its bounds."""
    for name, found in ranges.items():
        at = f"{where}: {name}"
        require_field(spec, name, at)
        if isinstance(found, Choice):
            if not found.values or any(not isinstance(v, PLAIN) for v in found.values):
                raise ConfigError(f"{at}: got values {list(found.values)}, expected at least one plain value")
        elif not found.low <= found.high or (found.log and found.low <= 0):
            expected = "0 < low <= high" if found.log else "low <= high"
            raise ConfigError(f"{at}: got low {found.low} and high {found.high}, expected {expected}")
        if isinstance(found, FloatRange) and _is_whole(spec, name):
            raise ConfigError(f"{at}: got a range of real numbers, but the field is an integer; use an IntRange")
        for value in _ends(found):
            build(type(spec.config), {**asdict(spec.config), name: value}, at)


def require_field(spec: PluginSpec, name: str, where: str) -> None:
    """Raise ``ConfigError`` with the nearest name if the config does not have that field."""
    known = [f.name for f in fields(spec.config)]
    if name not in known:
        raise ConfigError(f"{where}: {spec.name} has no such setting; {nearest(name, known)}")


def _is_whole(spec: PluginSpec, name: str) -> bool:
    hint = get_type_hints(type(spec.config))[name]
    kinds = set(get_args(hint)) or {hint}
    return int in kinds and float not in kinds


def _ends(found: SearchRange) -> Iterator[Any]:
    yield from found.values if isinstance(found, Choice) else (found.low, found.high)


def widened(found: SearchRange, own: Any) -> tuple[SearchRange, Any]:
    """Return the range extended to the suite's value, and that value (``low`` if the range cannot contain it)."""
    if isinstance(found, Choice):
        known = own in found.values and type(own) in {type(v) for v in found.values if v == own}
        return (found if known else Choice((*found.values, own))), own
    if own is None or isinstance(own, bool) or (found.log and own <= 0):
        return found, found.low
    kind = type(found)
    return kind(min(found.low, own), max(found.high, own), found.log), own


def describe(ranges: Mapping[str, SearchRange]) -> Iterable[str]:
    """Yield a readable line for every range."""
    for name, found in ranges.items():
        if isinstance(found, Choice):
            yield f"{name}: {', '.join(map(str, found.values))}"
        else:
            kind = "integer, " if isinstance(found, IntRange) else ""
            yield f"{name}: {found.low:g} to {found.high:g} ({kind}{'log' if found.log else 'uniform'})"
