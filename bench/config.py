"""YAML <-> frozen dataclasses. An unknown key is an error with the nearest valid one; configs have stable hashes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from bench.errors import ConfigError, nearest

T = TypeVar("T")
_YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, where PyYAML has it, is ten times as fast
_type_hints = cache(get_type_hints)
ALTERNATIVE = {"epochs": "steps", "steps": "epochs"}  # a change of one setting removes the other


def build(cls: type[T], data: Mapping[str, Any], where: str) -> T:
    """Build the frozen dataclass ``cls`` from plain data, nested dataclasses included.

    ``where`` is the location for error messages ("methods.cyclegan"). Raises ``ConfigError`` for an unknown key, a
    missing key, or a value of the wrong type. Where pydantic is not installed, the types of values are not checked.
    """
    _refuse_unknown(cls, data, where)
    try:
        from pydantic import ValidationError
    except ImportError:
        return _unchecked(cls, data, where)
    try:
        key: Any = cls  # for mypy, a type[T] is not hashable
        built: T = _adapter(key).validate_python(dict(data))
        return built
    except ValidationError as e:
        lines = [
            f"{'.'.join([where, *map(str, err['loc'])])}: got {err['input']!r}; {err['msg']}" for err in e.errors()
        ]
        raise ConfigError("\n".join(lines)) from None
    except ConfigError as e:
        raise ConfigError(f"{where}: {e}") from None


def _unchecked(cls: type[T], data: Mapping[str, Any], where: str) -> T:
    """Build ``cls`` from data with values of the right types; a whole number for a float becomes a float."""
    key: Any = cls
    hints = _type_hints(key)
    try:
        return cls(**{name: _as_hint(hints[name], value) for name, value in data.items()})
    except (TypeError, ConfigError) as e:
        raise ConfigError(f"{where}: {e}") from None


def _as_hint(hint: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        cls: Any = hint
        hints = _type_hints(cls)
        return cls(**{name: _as_hint(hints[name], item) for name, item in value.items()})
    of, options = get_origin(hint), get_args(hint)
    if of is tuple and isinstance(value, list | tuple):
        items = options[:1] * len(value) if options[-1] is ... else options
        return tuple(_as_hint(*pair) for pair in zip(items, value, strict=True))
    if of is Mapping and isinstance(value, Mapping):
        return {key: _as_hint(options[1], item) for key, item in value.items()}
    if of in (Union, UnionType):
        changed = (_as_hint(option, value) for option in options)
        return value if type(value) in options else next((v for v in changed if v is not value), value)
    return float(value) if hint is float and type(value) is int else value


@cache
def _adapter(cls: Any) -> Any:
    """Return pydantic's validator of a class; cached because building one is slow."""
    from pydantic import TypeAdapter

    return TypeAdapter(cls)


def _refuse_unknown(cls: type, data: Any, where: str) -> None:
    if not isinstance(data, Mapping):
        raise ConfigError(f"{where}: got {data!r}, expected a mapping of {', '.join(f.name for f in _fields(cls))}")
    valid = {f.name for f in _fields(cls) if f.init}
    for key in data:
        if key not in valid:
            raise ConfigError(f"{where}: unknown key {key!r}; {nearest(str(key), valid)}")
    hints = _type_hints(cls)
    for name, value in data.items():
        if get_origin(hints[name]) is Mapping and isinstance(value, Mapping):
            item = get_args(hints[name])[1]
            for key, nested in value.items() if dataclasses.is_dataclass(item) else ():
                _refuse_unknown(item, nested, f"{where}.{name}.{key}")
            continue
        for option in (hints[name], *get_args(hints[name])):
            if dataclasses.is_dataclass(option) and isinstance(option, type) and isinstance(value, Mapping):
                _refuse_unknown(option, value, f"{where}.{name}")


def _fields(cls: type) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(cls)


def to_plain(value: Any, keep_late: bool = True) -> Any:
    """Return ``value`` as plain JSON/YAML data: dataclasses become dicts, tuples become lists, paths become strings.

    Without ``keep_late``, fields marked ``metadata={"late": True}`` are left out if they have their default.
    """
    if value is None or type(value) in (str, int, float, bool):
        return value  # fast path for most values: large plans are hashed through this function
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        found = {f: getattr(value, f.name) for f in _fields(type(value))}
        kept = {f.name: v for f, v in found.items() if keep_late or not f.metadata.get("late") or v != _default(f)}
        return {name: to_plain(v, keep_late) for name, v in kept.items()}
    if isinstance(value, Mapping):
        return {str(k): to_plain(v, keep_late) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(v, keep_late) for v in value]
    return str(value) if isinstance(value, Path) else value


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def stable_hash(value: Any) -> str:
    """Return 16 hex digits that depend on the content only, not on key order, process or machine.

    Late fields at their defaults do not count, so adding such a field keeps the keys of finished cells.
    """
    text = json.dumps(to_plain(value, keep_late=False), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file. Raises ``ConfigError`` naming the file and the line."""
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), _YAML_LOADER)
    except yaml.YAMLError as e:
        raise ConfigError(f"{path}: not valid YAML: {e}") from None
    except OSError as e:
        raise ConfigError(f"{path}: cannot be read: {e}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: got {type(data).__name__}, expected a mapping at the top level")
    return data


def merged(data: Any, changes: Any) -> Any:
    """Return ``data`` with ``changes`` applied: mappings are merged key by key, other values are replaced."""
    if not isinstance(changes, dict) or not isinstance(data, dict | None):
        return changes
    old = {key: value for key, value in (data or {}).items() if ALTERNATIVE.get(key) not in changes}
    return {**old, **{key: merged(old.get(key), value) for key, value in changes.items()}}


def override(data: dict[str, Any], assignments: tuple[str, ...]) -> dict[str, Any]:
    """Apply ``--set a.b=value`` in order; ``*`` in a part matches every existing key (``methods.*.steps=10``).

    Values are read as YAML. Raises ``ConfigError`` if a star matches nothing or a text has no ``=``.
    """
    data = json.loads(json.dumps(data))
    for text in assignments:
        path, sep, value = text.partition("=")
        if not sep or not path:
            raise ConfigError(f"--set {text!r}: expected key=value, for example --set dataset.magnification=100")
        _assign(data, path.strip().split("."), yaml.safe_load(value), text)
    return data


def _assign(node: dict[str, Any], parts: list[str], value: Any, text: str) -> None:
    first, rest = parts[0], parts[1:]
    keys = [k for k in node if fnmatchcase(str(k), first)] if "*" in first else [first]
    if not keys:
        raise ConfigError(f"--set {text!r}: {first!r} matches no key; {nearest(first, map(str, node))}")
    for key in keys:
        if not rest:
            node[key] = value
            node.pop(ALTERNATIVE.get(key, ""), None)
            continue
        if node.get(key) is None:
            node[key] = {}
        if not isinstance(node[key], dict):
            raise ConfigError(f"--set {text!r}: {key!r} is {node[key]!r}, not a mapping")
        _assign(node[key], rest, value, text)


def strict_json(value: Any) -> Any:
    """Return JSON values for strict JSON: numbers that are not finite become None."""
    if isinstance(value, dict):
        return {str(k): strict_json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict_json(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
