"""Local pretrained weights of a suite, and the patients that they were trained on.

weights: runs/backbones                                     # a file, or a folder of files
weights: {file: backbone.pth, trained_on: groups.txt}       # a group (patient) of this data set per line
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.errors import ConfigError, LeakageError
from bench.suite.tuned import SplitGroups


@dataclass(frozen=True)
class WeightsConfig:
    """Weights in ``file`` (or a folder), trained on images of the groups listed in the text file ``trained_on``.

    Both paths start from the working directory. Without ``trained_on`` the weights are trusted: name it for a network
    that was trained on images of this data set. Lines that are empty or begin with # are not read.
    """

    file: str
    trained_on: str | None = None

    def groups(self) -> frozenset[str]:
        """Return the listed groups. Raises ``ConfigError`` if the file cannot be read or lists none."""
        if self.trained_on is None:
            return frozenset()
        path = Path(self.trained_on).expanduser()
        try:
            lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as e:
            raise ConfigError(
                f"weights.trained_on: {path} cannot be read ({e}); expected a text file, one group a line"
            ) from e
        found = frozenset(line for line in lines if line and not line.startswith("#"))
        if not found:
            raise ConfigError(f"weights.trained_on: {path} lists no group; expected one group (patient) a line")
        return found


def check_trained_on(weights: WeightsConfig, groups: Iterable[str], splits: Iterable[SplitGroups]) -> None:
    """Raise ``LeakageError`` with every fold whose test part has a group that the weights were trained on.

    ``groups`` are those of the data set. Raises ``ConfigError`` if the weights list groups, but none of these.
    """
    trained = weights.groups()
    if trained and trained.isdisjoint(known := set(groups)):
        raise ConfigError(
            f"weights.trained_on: none of its {len(trained)} names, such as {min(trained)!r}, is a group of this data "
            f"set, whose groups are called like {min(known)!r}; write them likewise, or leave trained_on out if the "
            "weights were trained on other patients only"
        )
    leaked = {fold.name: fold.test & trained for fold in splits if fold.test & trained}
    if leaked:
        first = next(iter(leaked.values()))
        raise LeakageError(
            f"{', '.join(leaked)}: the pretrained weights {weights.file} were trained on test patients or groups, in "
            f"{next(iter(leaked))} {len(first)} of them, such as {min(first)!r}; use other weights, or a split that "
            "tests none of them"
        )
