"""Find shifted sub-suites and their controls from their reports, and check that their pairs are the same.

A shifted sub-suite trains on some values of an attribute and tests on others (``bench.data.shift_split``); its control
trains and tests on the same values. Both use the same folds, training images and seeds, so that in a pair (fold ×
repeat) only the test images differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.analysis.datasets.effects import SubSuite
from bench.data.shift_split import SHIFT

DECISIVE = (
    "dataset",
    "image_size_px",
    "resize",
    "split",
    "seed",
    "weights",
    "margin",
)  # besides the settings of the arms
TRAINED = ("train_images", "validation_images", "train_groups", "validation_groups")  # sizes of the fold parts
Settings = Mapping[str, Any]


def shift_of(m: SubSuite) -> Settings | None:
    """Return the shift of a sub-suite (attribute, train, test), or None."""
    split = (m.config or {}).get("split") or {}
    found: Settings | None = split.get("shift") if split.get("protocol") == SHIFT else None
    return found


def values_of(shift: Settings, part: str) -> tuple[str, ...]:
    """Return the sorted attribute values of a part ('train' or 'test')."""
    return tuple(sorted({str(v) for v in shift[part]}))


def shift_pairs(sub_suites: Sequence[SubSuite]) -> tuple[list[tuple[SubSuite, SubSuite]], list[str]]:
    """Return (control, shifted sub-suite) pairs, and sentences on shifted sub-suites without a control.

    The control is the first sub-suite with the same data and attribute that trains and tests on the same values.
    Sub-suites without a shift are ignored.
    """
    found: list[tuple[SubSuite, SubSuite]] = []
    left: list[str] = []
    controls = [(m, s) for m in sub_suites if (s := shift_of(m)) and _is_control(s)]
    for m in sub_suites:
        shift = shift_of(m)
        if shift is None and "; trained on" in m.protocol and m.config is None:
            left.append(f"{m.name}: its report has no suite.yaml, so it is unknown how its folds were drawn")
        if shift is None or _is_control(shift):
            continue
        fitting = [c for c, s in controls if c.dataset == m.dataset and _trained(s) == _trained(shift)]
        if not fitting:
            values = ", ".join(map(str, shift["train"]))
            like = f"{{attribute: {shift['attribute']}, train: [{values}], test: [{values}]}}"
            left.append(f"{m.name}: no sub-suite is its control, with the shift {like} and otherwise the same settings")
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
    """Return why the pairs of two sub-suites differ in folds or training images; [] if they are the same.

    They are the same if the images and settings are equal except for the test values, and the training and validation
    parts have the same sizes.
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
    """Return the methods and classifiers with different settings in the two sub-suites."""
    found: list[str] = []
    for section in ("methods", "classifiers"):
        one, other = ((x.config or {}).get(section) or {} for x in (control, m))
        found += [name for name in one if name in other and one[name] != other[name]]
    return found
