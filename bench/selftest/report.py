"""Reports of the selftest: ``selftest.md`` and ``selftest.json``; reproducible, without times or paths."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.files import write_atomic
from bench.report.text import count, percent, points, table
from bench.selftest.promises import UPPER, Promise, broken
from bench.stats.simulation import IMAGES, PATIENT_SHARE, STRENGTH

PARTS = {
    "nulls": (
        "False claims without an effect",
        "Share of studies, in % [95 % interval], in which a verdict *helps* or *hurts* on two arms that are equally "
        f"good on average over patients and training sets. Promised: at most 5 %, upper bound at most {100 * UPPER:g} "
        "%. *Curve 12 × 40*: a learning curve with 12 sets of 40 patients and 400 test patients; *stopped early*: 6 to "
        "24 sets, stopped by the rule. k-fold and hold-out: 24 + 58 patients. *Plain t* is the paired t test over sets "
        "or folds that papers often use; the harness does not use it.",
    ),
    "power": (
        "Power for an effect worth twice the patients",
        "The second arm is the first one, trained on twice the training patients. In % of studies.",
    ),
    "intervals": (
        "Coverage of the interval beside each score",
        "How often the 95 % interval of a score over patients contains the score of the same models on new patients.",
    ),
    "worth": (
        "Worth in patients",
        "How often the interval of *worth in patients* contains the true worth. Between the sizes of the curve the "
        "interval allows for curves of several shapes, so it contains the worth more often than in 95 % of studies.",
    ),
    "tuning": (
        "Optimism of a tuned arm",
        "Reported AUROC minus that of the same models on new patients, in points. *Chosen once over all folds* is the "
        "leak: the configuration has seen every test patient as a validation patient. It is shown, not used.",
    ),
}


def write_report(promises: Sequence[Promise], studies: int, seed: int, out: Path) -> dict[str, Any]:
    """Write both files into ``out`` and return the content of the JSON. Equal results give equal bytes."""
    data = as_json(promises, studies, seed)
    write_atomic(out / "selftest.json", json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    write_atomic(out / "selftest.md", markdown(promises, studies, seed))
    return data


def conclusion(promises: Sequence[Promise]) -> str:
    """Return one sentence: how many promises hold, and which are broken."""
    made = [p for p in promises if p.state != "shown"]
    missed = broken(promises)
    marked = sum(p.state == "cannot hold" for p in made)
    text = f"{len(missed)} of {len(made)} promises are broken" if missed else f"{len(made) - marked} promises hold"
    if marked:
        text += f"; {count(marked, 'case')} that a design cannot hold {'is' if marked == 1 else 'are'} marked"
    if missed:
        text += ": " + "; ".join(f"{p.design}, {p.case}, {p.measure}: {_value(p)}, not {p.rule.text}" for p in missed)
    return text + "."


def rows(promises: Sequence[Promise], part: str, with_interval: bool = True) -> tuple[list[str], list[list[str]]]:
    """Return heading and rows of a part's table: a row for each design and measure, a column for each case."""
    of_part = [p for p in promises if p.part == part]
    cases = list(dict.fromkeys(p.case for p in of_part))
    result = []
    for design, measure in dict.fromkeys((p.design, p.measure) for p in of_part):
        cells = {p.case: p for p in of_part if (p.design, p.measure) == (design, measure)}
        wanted = ", ".join(dict.fromkeys(p.rule.text for p in cells.values() if p.rule.text))
        shown = [_cell(cells[c], with_interval) if c in cells else "" for c in cases]
        result.append([design, measure, *shown, wanted])
    return ["Design", "Measure", *cases, "Promised"], result


def markdown(promises: Sequence[Promise], studies: int, seed: int) -> str:
    """Return the text of selftest.md."""
    text = ["# Selftest: the statistics on simulated studies with known truth\n\n", conclusion(promises), "\n"]
    for part in dict.fromkeys(p.part for p in promises):
        title, note = PARTS[part]
        text += [f"\n## {title}\n\n{note}\n\n", table(*rows(promises, part))]
    text += [
        "\n## Simulation\n\n",
        f"- {studies} studies of each design, seed {seed}.\n",
        f"- A patient has {IMAGES} images. A column of an image is class signal ({STRENGTH:g} standard deviations "
        f"between the classes where it is informative), patient noise ({100 * PATIENT_SHARE:g} % of the variance) and "
        "image noise. The arms are real learners, linear discriminant analysis (curves) and logistic regression "
        "(folds, hold-outs), on these columns.\n",
        "- *Fresh noise*: 8 common informative columns, and 8 noise columns that each training of each arm draws anew. "
        "*Noise bank*: the noise columns are picked from one bank of 16. *Half-shared*: 6 common informative "
        "columns and 6 of each arm. *Disjoint*: 12 informative columns of each arm, equally good, so that the arms "
        "differ lastingly on every set of test patients, but not on average.\n",
    ]
    return "".join(text)


def as_json(promises: Sequence[Promise], studies: int, seed: int) -> dict[str, Any]:
    """Return everything as plain data, shares in [0, 1] rounded to 6 digits."""
    return {
        "seed": seed,
        "studies": studies,
        "all_hold": not broken(promises),
        "conclusion": conclusion(promises),
        "promises": [_rounded({**asdict(p), "rule": p.rule.text}) for p in promises],
    }


def _cell(p: Promise, with_interval: bool) -> str:
    mark = f" **{p.state}**" if p.state in ("BROKEN", "cannot hold") and with_interval else ""
    mark = f" {p.state}" if p.state in ("BROKEN", "cannot hold") and not with_interval else mark
    return _value(p, with_interval) + mark


def _value(p: Promise, with_interval: bool = True) -> str:
    show = points if p.rule.in_points else percent
    ends = f" [{show(p.found.low)}, {show(p.found.high)}]" if with_interval else ""
    return show(p.found.value) + ends


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value
