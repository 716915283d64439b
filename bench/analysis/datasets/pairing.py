"""Which members of one data set are a shift and its control, and whether their pairs are the same: from their reports.

A shifted member trains on some values of an attribute and tests on others (``bench.data.shift_split``); its control
trains on the same values and tests on these. Both draw the same folds and train on the same images from the same seeds,
so that in a pair (fold, repeat) nothing differs but the images that are tested.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.analysis.datasets.effects import SubSuite
from bench.data.shift_split import SHIFT

DECISIVE = ("dataset", "image_size_px", "resize", "split", "seed", "weights", "margin")  # beside the arms' own settings
TRAINED = ("train_images", "validation_images", "train_groups", "validation_groups")  # sizes of a fold's parts
Settings = Mapping[str, Any]


def shift_of(m: SubSuite) -> Settings | None:
    """Return the member's shift: attribute, train, test; None where it has none."""
    split = (m.config or {}).get("split") or {}
    found: Settings | None = split.get("shift") if split.get("protocol") == SHIFT else None
    return found


def values_of(shift: Settings, part: str) -> tuple[str, ...]:
    """Return the values that a part ('train' or 'test') may have, sorted."""
    return tuple(sorted({str(v) for v in shift[part]}))


def shift_pairs(sub_suites: Sequence[SubSuite]) -> tuple[list[tuple[SubSuite, SubSuite]], list[str]]:
    """Return (control, shifted member) of every shifted member, and sentences on those that have none, and why.

    Its control is the first member with the same data and attribute, trained on the same values, that tests on them.
    Of members without a shift nothing is said.
    """
    found: list[tuple[SubSuite, SubSuite]] = []
    left: list[str] = []
    controls = [(m, s) for m in sub_suites if (s := shift_of(m)) and _is_control(s)]
    for m in sub_suites:
        shift = shift_of(m)
        if shift is None and "; trained on" in m.protocol and m.config is None:
            left.append(f"{m.name}: its report has no suite.yaml, so that nobody can tell how its folds were drawn")
        if shift is None or _is_control(shift):
            continue
        fitting = [c for c, s in controls if c.dataset == m.dataset and _trained(s) == _trained(shift)]
        if not fitting:
            values = ", ".join(map(str, shift["train"]))
            like = f"{{attribute: {shift['attribute']}, train: [{values}], test: [{values}]}}"
            left.append(f"{m.name}: no member is its control, with the shift {like} and all else alike")
        elif reasons := not_paired_because(fitting[0], m):
            left.append(f"{m.name} is not compared with {fitting[0].name}: {'; '.join(reasons)}")
        else:
            found.append((fitting[0], m))
    return found, left


def _is_control(shift: Settings) -> bool:
    return values_of(shift, "train") == values_of(shift, "test")


def _trained(shift: Settings) -> tuple[str, tuple[str, ...]]:
    return str(shift["attribute"]), values_of(shift, "train")


def not_paired_because(control: SubSuite, m: SubSuite) -> list[str]:
    """Return why two members' pairs are not the same folds and training images; [] where they are.

    They are when drawn from the same images by the same settings but for the values that are tested, and when the parts
    that are trained on have the same sizes.
    """
    if not control.fingerprint or control.fingerprint != m.fingerprint:
        return [f"their images differ (fingerprints {control.fingerprint or 'unknown'}, {m.fingerprint or 'unknown'})"]
    different = [key for key in DECISIVE if _decisive(control, key) != _decisive(m, key)]
    if different:
        return [f"their settings `{key}` differ" for key in different]
    folds = [dict(zip(x.planned, x.folds, strict=True)) for x in (control, m)]
    both = folds[0].keys() & folds[1].keys()
    unlike = sorted(p for p in both if any(folds[0][p].get(k) != folds[1][p].get(k) for k in TRAINED))
    return [f"they train on other images in pair {p}" for p in unlike] if both else ["they have no pair in common"]


def _decisive(m: SubSuite, key: str) -> Any:
    value = (m.config or {}).get(key)
    if key != "split" or not isinstance(value, dict):
        return value
    return {**value, "repeats": None, "shift": _trained(value["shift"])}


def unlike_arms(control: SubSuite, m: SubSuite) -> list[str]:
    """Return the methods and classifiers that have other settings in one of both than in the other."""
    found: list[str] = []
    for section in ("methods", "classifiers"):
        one, other = ((x.config or {}).get(section) or {} for x in (control, m))
        found += [name for name in one if name in other and one[name] != other[name]]
    return found
