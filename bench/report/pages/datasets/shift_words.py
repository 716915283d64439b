"""What members say of a shift: the answers in words, the one table, and what its columns mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bench.analysis.datasets.shift import KINDS, NONE, Compared, Kind, Shifted
from bench.report.pages.datasets.words import marked
from bench.report.text import interval, join, p_value, percent, points, table

HEAD = (
    *("Arm", "Classifier", "Shift", "Within", "Across", "Price", "Verdict"),
    *("Gain within", "Gain across", "Change of gain", "Verdict"),
    *("− twin within", "− twin across", "Change with the twin", "Verdict", "Pairs"),
)
ASKED: Mapping[Kind, str] = {
    "price": "What does the shift cost?",
    "gain": "Does augmentation make up for it?",
    "from_scratch": "Does transfer learning help more under the shift?",
}
NAMED = 3  # comparisons with one verdict that a sentence names; of more it gives the range
VERBS: Mapping[str, str] = {
    "costs": "it **costs**",
    "easier": "**easier** for",
    "equivalent": "**equivalent** for",
    "helps more": "**helps more**:",
    "helps less": "**helps less**:",
}
MEANING = {
    "Within, Across": "mean patient-level balanced accuracy in %, tested within the values that are trained on, and "
    "across on others; over the pairs that both have.",
    "Price": "across − within of the same arm, paired by fold and repeat, in points, with its 95 % interval. Below 0 "
    "the shift *costs*, above 0 the other images are *easier*; *equivalent* lies within the margin.",
    "Gain within, Gain across": "the arm minus `none`, in points, of the same pairs.",
    "Change of gain": "gain across − gain within, paired, with its 95 % interval: above 0 the arm *helps more* under "
    "the shift than without it, below 0 it *helps less*, whatever the sign of both gains.",
    "− twin within, − twin across": "accuracy minus that of the same method with random in the place of transferred "
    "weights.",
    "Change with the twin": "the same for the difference to the twin: does transfer learning help more?",
}
PAIRED = (
    "The members draw the same folds of patients and train on the same images from the same seeds; a pair is one fold "
    "and repeat, and in it nothing differs but the images that are tested. {patients} Verdicts are by the corrected "
    "resampled t test of the ordinary reports, corrected by Holm over the arms with one classifier: prices, changes of "
    "gain and changes with the twin each by themselves. Its n_test / n_train is the larger of both members' own "
    "({ratios}), for folds are no less alike when fewer images of each patient are tested; of a price the test "
    "takes all of it, of changes half as in ordinary reports: what a training set happens to make of other images is "
    "part of a price, and training sets overlap. Few folds decide only large differences, and undecided is not the "
    "same as no price.\n"
)


def shift_answers(found: Sequence[Shifted]) -> dict[str, str]:
    """Return the answer to each question by 'shift_price' and so on, of what was compared."""
    answers: dict[str, str] = {}
    for kind in KINDS:
        said = [_answer(kind, s) for s in found if s.of(kind)]
        if said:
            answers[f"shift_{kind}"] = f"**{ASKED[kind]}** {' '.join(said)}"
    return answers


def _answer(kind: Kind, s: Shifted) -> str:
    mine = [x for x in s.of(kind) if kind != "price" or x.arm != NONE]
    if kind != "price":
        return f"On {s.attribute} {', '.join(s.across)} instead of {', '.join(s.within)}: {_verdicts(mine)}."
    none = [x for x in s.of("price") if x.arm == NONE]
    moved = [f"from {percent(x.within)} to {percent(x.across)} % with {x.classifier} ({_size(x)}: **{x.word}**)"
             for x in none]  # fmt: skip
    shift = f"Trained on {s.attribute} {', '.join(s.within)} and tested on {', '.join(s.across)} instead"
    first = f"{shift}, `none` goes {join(moved)}." if moved else f"{shift}."
    return f"{first} Other arms: {_verdicts(mine)}." if mine else first


def _verdicts(mine: Sequence[Compared]) -> str:
    """Say what is decided, verdict by verdict, and of what is not the nearest."""
    said = []
    for word, verb in VERBS.items():
        of = [x for x in mine if x.word == word]
        if len(of) > NAMED:
            ends = sorted(x.found.difference for x in of)
            said.append(f"{verb} {len(of)} of {len(mine)} ({points(ends[0])} to {points(ends[-1])} points)")
        elif of:
            said.append(f"{verb} {join(f'{_name(x)} ({_size(x)})' for x in of)}")
    rest = [x for x in mine if x.word == "undecided"]
    if rest:
        near = min(rest, key=lambda x: x.found.p if math.isfinite(x.found.p) else 2.0)
        many = "both" if len(rest) == 2 else f"all {len(rest)}"
        which = f"the other {len(rest)} are" if said and len(rest) > 1 else f"{many} are"
        which, nearest = (which, f"nearest: {_name(near)}, ") if len(rest) > 1 else (f"{_name(near)} is", "")
        said.append(f"{which} **undecided** ({nearest}{_size(near)}, p Holm {p_value(near.found.p_holm)})")
    return "; ".join(said)


def _name(x: Compared) -> str:
    return f"`{x.arm.label}` with {x.classifier}"


def _size(x: Compared) -> str:
    """Return the difference in points; of a change after what it is of."""
    shown = f"{_difference(x)} points"
    return shown if x.kind == "price" else f"{points(x.within)} within, {points(x.across)} across: {shown}"


def _difference(x: Compared) -> str:
    f = x.found
    return f"{points(f.difference)} {interval(max(f.low, -2.0), min(f.high, 2.0), signed=True)}".strip()


def shift_parts(found: Sequence[Shifted]) -> tuple[str, ...]:
    """Return the table and what was compared, in words; nothing where nothing was."""
    rows = [_row(s, price) for s in found for price in s.of("price")]
    shown = [len({row[i] for row in rows}) > 1 if HEAD[i] == "Shift" else any(row[i] for row in rows)
             for i in range(len(HEAD))]  # fmt: skip
    kept = [i for i, yes in enumerate(shown) if yes]
    left = sum(i <= HEAD.index("Shift") for i in kept)
    return (table([HEAD[i] for i in kept], ([row[i] for i in kept] for row in rows), left=left),) if rows else ()


def _row(s: Shifted, price: Compared) -> list[str]:
    others = [
        next((x for x in s.of(k, price.classifier) if x.arm == price.arm), None) for k in ("gain", "from_scratch")
    ]
    cells = [c for x in others for c in (_cells(x) if x else ["", "", "", ""])]
    own = [percent(price.within), percent(price.across), _difference(price), marked(price.word)]
    return [f"`{price.arm.label}`", price.classifier, s.sub_suite, *own, *cells, str(price.found.pairs)]


def _cells(x: Compared) -> list[str]:
    return [points(x.within), points(x.across), _difference(x), marked(x.word)]


def shift_meaning(found: Sequence[Shifted]) -> str:
    """Return how the comparison was made, for 'How to read it'."""
    said = []
    for s in found:
        of = f"Of {s.tested[2]} {s.unit} {s.control} tests {s.tested[0]} and {s.sub_suite} {s.tested[1]}"
        said.append(f"{of}, the same ones." if s.same_patients else f"{of}: a price is in part one of other {s.unit}.")
    ratios = ", ".join(dict.fromkeys(f"{s.ratio:.2f}" for s in found))
    return PAIRED.format(patients=" ".join(said), ratios=ratios)
