"""Names that users and plug-ins give: which are allowed, checked once when a suite or a data set is read.

A name of a suite becomes part of folders, files, MLflow runs, tables and charts, so it holds few kinds of characters.
A class is named by whoever made the images ('PR+', 'actinic keratosis'): it may hold anything printable, is never part
of a path, and is escaped wherever it is shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from bench.errors import ConfigError, DataError

LONGEST = 64  # characters
RULE = f"1 to {LONGEST} ASCII letters, digits and _ . + -, the first a letter or digit, the last no dot"
MEASURE_RULE = f"1 to {LONGEST} ASCII letters, digits and _, the first a letter"
LONGEST_SERIES = 200
LONGEST_CLASS = 100
_NAME = re.compile(rf"(?!.*\.\Z)[A-Za-z0-9][A-Za-z0-9_.+-]{{0,{LONGEST - 1}}}")
_MEASURE = re.compile(rf"[A-Za-z][A-Za-z0-9_]{{0,{LONGEST - 1}}}")
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)  # no file is called so on Windows
_TAKEN = re.compile(r"real|(overview|explanations|segmentation)(_.*)?")  # files and MLflow runs of the report's own


def check_name(where: str, name: str, remedy: str = "rename it") -> str:
    """Return a name that may be part of a path, a key and a table. Raises ``ConfigError``, which says ``where``."""
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{where}: got the name {shown(name)}, expected {RULE}; {remedy}")
    if _DEVICES.fullmatch(name):
        raise ConfigError(f"{where}: got the name {name!r}, which is a device on Windows and no file there; {remedy}")
    return name


def check_names(where: str, names: Iterable[str]) -> None:
    """Check names that stand beside each other. Raises ``ConfigError``, also for two that differ by case alone."""
    seen: dict[str, str] = {}
    for name in names:
        check_name(where, name)
        if (other := seen.setdefault(name.casefold(), name)) != name:
            raise ConfigError(
                f"{where}: got the names {other!r} and {name!r}, which are one file name on some systems; "
                "expected names that differ by more than upper and lower case"
            )


def check_methods(where: str, names: Iterable[str]) -> None:
    """Check the names of methods. Raises ``ConfigError``, also for one that the report's own files have."""
    names = list(names)
    check_names(where, names)
    if taken := [name for name in names if _TAKEN.fullmatch(name.casefold())]:
        raise ConfigError(f"{where}: got the name {taken[0]!r}, which the report uses for itself; expected another")


def check_suite(suite: str, sections: Mapping[str, Iterable[object]], dataset: Mapping[str, object]) -> None:
    """Check every name that a suite gives, by section, and its own. Raises ``ConfigError``."""
    check_name("the name of a suite's file", suite, "rename the file")
    for section, given in sections.items():
        names, where = [str(n) for n in given], f"suite {suite}: {section}"
        (check_methods if section == "methods" else check_names)(where, names)
        for name in names if section == "metrics" else ():
            check_measure(where, name)
    if "name" in dataset:
        remedy = "rename it, and name its class with use:"
        check_name(f"suite {suite}: dataset.name", str(dataset["name"]), remedy)


def check_measure(where: str, name: str) -> str:
    """Return the name of a metric, a measure, a logged value or a phase, which becomes a column and a key.

    Raises ``ConfigError``.
    """
    if not _MEASURE.fullmatch(name):
        raise ConfigError(f"{where}: got the name {shown(name)}, expected {MEASURE_RULE}")
    return name


def check_series(where: str, name: str) -> str:
    """Return the name of a logged value, such as 'train/loss'; it may hold a class's. Raises ``ConfigError``."""
    if not name.strip() or not name.isprintable() or len(name) > LONGEST_SERIES:
        raise ConfigError(f"{where}: got the name {shown(name)}, expected 1 to {LONGEST_SERIES} printable characters")
    return name


def check_classes(where: str, names: Iterable[str]) -> None:
    """Check the names of a data set's classes. Raises ``DataError``."""
    for name in names:
        if not name.strip() or not name.isprintable() or len(name) > LONGEST_CLASS:
            raise DataError(
                f"{where}: got the class name {shown(name)}, expected 1 to {LONGEST_CLASS} printable characters "
                "that are not all spaces; rename its folder"
            )


def shown(name: str) -> str:
    """Return a name as an error message shows it: quoted, control characters escaped, at most 60 characters of it."""
    return repr(name if len(name) <= 60 else name[:60] + "…")
