"""What regular expressions find in the paths of images: their class, or the patient."""

from __future__ import annotations

import re
from collections.abc import Iterable

from bench.errors import ConfigError, DataError

MOST_LISTED = 200  # images in which nothing is found that an error names


def check_regex(option: str, regex: str | None, part: str) -> None:
    """Raise ``ConfigError`` unless ``regex`` is None or a regular expression with a part of this name."""
    if regex is None:
        return
    try:
        named = part in re.compile(regex).groupindex
    except re.error as e:
        raise ConfigError(f"{option} {regex!r} is not a regular expression: {e}") from e
    if not named:
        raise ConfigError(f"{option} {regex!r} needs a part named (?P<{part}>…)")


def groups_named(regex: str, paths: Iterable[str]) -> dict[str, str]:
    """Return the patient of each image by its path. Raises ``DataError`` that lists the images without one."""
    advice = "an image of an unknown patient may cause leakage: correct the expression, or move"
    return named_parts(regex, "group", paths, "group_regex", advice)


def named_parts(regex: str, part: str, paths: Iterable[str], option: str, advice: str) -> dict[str, str]:
    """Return what a named part of an expression finds in each path. Raises ``DataError`` that lists the others."""
    matches = {path: re.search(regex, path) for path in paths}
    found = {path: match[part] or "" for path, match in matches.items() if match}
    unknown = sorted(path for path in matches if not found.get(path))
    if unknown:
        what = "patient" if part == "group" else part
        named = "\n".join(f"  {path}" for path in unknown[:MOST_LISTED])
        more = f"\n  and {len(unknown) - MOST_LISTED:,} more" if len(unknown) > MOST_LISTED else ""
        raise DataError(
            f"{option} {regex!r} finds no {what} in {len(unknown):,} of {len(matches):,} images:\n{named}{more}\n"
            f"{advice} the files away"
        )
    return found
