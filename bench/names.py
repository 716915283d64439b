"""Rules for names given by users and plug-ins, checked once when a suite or a data set is read.

A suite's names become part of folders, files, MLflow runs, tables and charts, so only a few characters are allowed.
Class names come from the authors of the images ('PR+', 'actinic keratosis'): they may contain any printable
characters, are never part of a path, and are escaped wherever they are shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from bench.errors import ConfigError, DataError

LONGEST = 64  # characters
RULE = f"1 to {LONGEST} ASCII letters, digits and _ . + -, starting with a letter or digit, not ending with a dot"
MEASURE_RULE = f"1 to {LONGEST} ASCII letters, digits and _, starting with a letter"
LONGEST_SERIES = 200
LONGEST_CLASS = 100
_NAME = re.compile(rf"(?!.*\.\Z)[A-Za-z0-9][A-Za-z0-9_.+-]{{0,{LONGEST - 1}}}")
_MEASURE = re.compile(rf"[A-Za-z][A-Za-z0-9_]{{0,{LONGEST - 1}}}")
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)  # not allowed on Windows
_TAKEN = re.compile(r"real|(overview|explanations|segmentation)(_.*)?")  # files and MLflow runs of the report


def check_name(where: str, name: str, remedy: str = "rename it") -> str:
    """Return a name that may be part of a path, a key and a table. Raises ``ConfigError``, which names ``where``."""
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{where}: got the name {shown(name)}, expected {RULE}; {remedy}")
    if _DEVICES.fullmatch(name):
        raise ConfigError(f"{where}: got the name {name!r}, which is a device name on Windows; {remedy}")
    return name


def check_names(where: str, names: Iterable[str]) -> None:
    """Check names of one section. Raises ``ConfigError``, also for two names that differ only by case."""
    seen: dict[str, str] = {}
    for name in names:
        check_name(where, name)
        if (other := seen.setdefault(name.casefold(), name)) != name:
            raise ConfigError(
                f"{where}: got the names {other!r} and {name!r}, which are the same file name on some systems; "
                "expected names that differ by more than upper and lower case"
            )


def check_methods(where: str, names: Iterable[str]) -> None:
    """Check the names of methods. Raises ``ConfigError``, also for a name that a file of the report has."""
    names = list(names)
    check_names(where, names)
    if taken := [name for name in names if _TAKEN.fullmatch(name.casefold())]:
        raise ConfigError(f"{where}: got the name {taken[0]!r}, which is reserved for the report; expected another")


def check_suite(suite: str, sections: Mapping[str, Iterable[object]], dataset: Mapping[str, object]) -> None:
    """Check the name of a suite and all names in it, by section. Raises ``ConfigError``."""
    check_name("the name of a suite's file", suite, "rename the file")
    for section, given in sections.items():
        names, where = [str(n) for n in given], f"suite {suite}: {section}"
        (check_methods if section == "methods" else check_names)(where, names)
        for name in names if section == "metrics" else ():
            check_measure(where, name)
    if "name" in dataset:
        remedy = "rename it, and give its class with use:"
        check_name(f"suite {suite}: dataset.name", str(dataset["name"]), remedy)


def check_measure(where: str, name: str) -> str:
    """Return the name of a metric, measure, logged value or phase, which is used as column and key.

    Raises ``ConfigError``.
    """
    if not _MEASURE.fullmatch(name):
        raise ConfigError(f"{where}: got the name {shown(name)}, expected {MEASURE_RULE}")
    return name


def check_series(where: str, name: str) -> str:
    """Return the name of a logged value, such as 'train/loss'; it may contain a class name. Raises ``ConfigError``."""
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
    """Return a name for an error message: quoted, control characters escaped, at most 60 characters."""
    return repr(name if len(name) <= 60 else name[:60] + "…")
