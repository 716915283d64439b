"""Text on a shift: answers, the table, and the definitions of its columns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bench.analysis.datasets.shift import KINDS, NONE, Compared, Kind, Shifted
from bench.report.content import Block, Table
from bench.report.pages.datasets.words import marked
from bench.report.text import interval, join, p_value, percent, points

HEAD = (
    *("Arm", "Classifier", "Shift", "In-distribution", "Out-of-distribution", "Performance drop", "Verdict"),
    *("Gain in-distribution", "Gain out-of-distribution", "Change of gain", "Verdict"),
    *("− from-scratch in-distribution", "− from-scratch out-of-distribution", "Change of this difference", "Verdict"),
    "Pairs",
)
ASKED: Mapping[Kind, str] = {
    "performance_drop": "How large is the performance drop under the shift?",
    "gain": "Does augmentation reduce it?",
    "from_scratch": "Does transfer learning help more under the shift?",
}
NAMED = 3  # most comparisons with one verdict that a sentence names; for more it gives the range
VERBS: Mapping[str, str] = {
    "costs": "it **costs**",
    "easier": "**easier** for",
    "equivalent": "**equivalent** for",
    "helps more": "**helps more**:",
    "helps less": "**helps less**:",
}
MEANING = {
    "In-distribution, Out-of-distribution": "mean patient-level balanced accuracy in %, tested on the attribute values "
    "used for training, and on others; over the pairs (fold × repeat) that both have.",
    "Performance drop": "out-of-distribution − in-distribution of the same arm, paired by fold × repeat, in points, "
    "with its 95 % interval. Below 0 the shift *costs* accuracy, above 0 the other images are *easier*; "
    "*equivalent*: the difference is smaller than the margin.",
    "Gain in-distribution, Gain out-of-distribution": "the arm minus `none`, in points, of the same pairs.",
    "Change of gain": "gain out-of-distribution − gain in-distribution, paired, with its 95 % interval: above 0 the "
    "arm *helps more* under the shift than without it, below 0 it *helps less*, regardless of the sign of the gains.",
    "− from-scratch in-distribution, − from-scratch out-of-distribution": "accuracy minus that of the from-scratch "
    "counterpart: the same method with random instead of pretrained weights.",
    "Change of this difference": "as *Change of gain*, for the difference to the from-scratch counterpart.",
}
PAIRED = (
    "Both sub-suites use the same folds of patients, training images and seeds; a pair is one fold × repeat, in which "
    "only the test images differ. {patients} Verdicts use the corrected resampled t test of the other reports, with "
    "Holm's correction over the arms with one classifier, separately for performance drops, changes of gain and "
    "changes of the from-scratch difference. Its n_test / n_train is the larger of the two sub-suites ({ratios}), "
    "because testing fewer images of each patient does not make folds less correlated. Performance drops "
    "use the full ratio, changes half of it as in other reports: a performance drop depends on the training set, and "
    "training sets overlap. With few folds only large differences are decided; undecided does not mean no performance "
    "drop."
)


def shift_answers(found: Sequence[Shifted]) -> dict[str, str]:
    """Return the answer to each question by key, such as 'shift_performance_drop'."""
    answers: dict[str, str] = {}
    for kind in KINDS:
        said = [_answer(kind, s) for s in found if s.of(kind)]
        if said:
            answers[f"shift_{kind}"] = f"**{ASKED[kind]}** {' '.join(said)}"
    return answers


def _answer(kind: Kind, s: Shifted) -> str:
    mine = [x for x in s.of(kind) if kind != "performance_drop" or x.arm != NONE]
    trained, tested = ", ".join(s.in_distribution), ", ".join(s.out_of_distribution)
    if kind != "performance_drop":
        return f"On {s.attribute} {tested} instead of {trained}: {_verdicts(mine)}."
    none = [x for x in s.of("performance_drop") if x.arm == NONE]
    moved = [
        f"from {percent(x.in_distribution)} to {percent(x.out_of_distribution)} % with {x.classifier} "
        f"({_size(x)}: **{x.word}**)"
        for x in none
    ]
    shift = f"Trained on {s.attribute} {trained} and tested on {tested} instead"
    first = f"{shift}, `none` goes {join(moved)}." if moved else f"{shift}."
    return f"{first} Other arms: {_verdicts(mine)}." if mine else first


def _verdicts(mine: Sequence[Compared]) -> str:
    """Return the decided comparisons by verdict, and the undecided one with the lowest p."""
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
        which, nearest = (which, f"lowest p: {_name(near)}, ") if len(rest) > 1 else (f"{_name(near)} is", "")
        said.append(f"{which} **undecided** ({nearest}{_size(near)}, p Holm {p_value(near.found.p_adjusted)})")
    return "; ".join(said)


def _name(x: Compared) -> str:
    return f"`{x.arm.label}` with {x.classifier}"


def _size(x: Compared) -> str:
    """Return the difference in points; a change is preceded by its two parts."""
    shown = f"{_difference(x)} points"
    both = f"{points(x.in_distribution)} in-distribution, {points(x.out_of_distribution)} out-of-distribution"
    return shown if x.kind == "performance_drop" else f"{both}: {shown}"


def _difference(x: Compared) -> str:
    f = x.found
    return f"{points(f.difference)} {interval(max(f.low, -2.0), min(f.high, 2.0), signed=True)}".strip()


def shift_blocks(found: Sequence[Shifted]) -> tuple[Block, ...]:
    """Return the table of all shifts; () without one."""
    rows = [_row(s, drop) for s in found for drop in s.of("performance_drop")]
    shown = [len({row[i] for row in rows}) > 1 if HEAD[i] == "Shift" else any(row[i] for row in rows)
             for i in range(len(HEAD))]  # fmt: skip
    kept = [i for i, yes in enumerate(shown) if yes]
    left = sum(i <= HEAD.index("Shift") for i in kept)
    shown_rows = [[row[i] for i in kept] for row in rows]
    return (Table.of([HEAD[i] for i in kept], shown_rows, left, "Performance drop"),) if rows else ()


def _row(s: Shifted, drop: Compared) -> list[str]:
    others = [next((x for x in s.of(k, drop.classifier) if x.arm == drop.arm), None) for k in ("gain", "from_scratch")]
    cells = [c for x in others for c in (_cells(x) if x else ["", "", "", ""])]
    own = [percent(drop.in_distribution), percent(drop.out_of_distribution), _difference(drop), marked(drop.word)]
    return [f"`{drop.arm.label}`", drop.classifier, s.sub_suite, *own, *cells, str(drop.found.sets)]


def _cells(x: Compared) -> list[str]:
    return [points(x.in_distribution), points(x.out_of_distribution), _difference(x), marked(x.word)]


def shift_meaning(found: Sequence[Shifted]) -> str:
    """Return how the comparison was made, for the section 'How to read it'."""
    said = []
    for s in found:
        of = f"Of {s.tested[2]} {s.unit} {s.control} tests {s.tested[0]} and {s.sub_suite} {s.tested[1]}"
        rest = ", the same ones." if s.same_patients else f": a performance drop is partly due to other {s.unit}."
        said.append(f"{of}{rest}")
    ratios = ", ".join(dict.fromkeys(f"{s.ratio:.2f}" for s in found))
    return PAIRED.format(patients=" ".join(said), ratios=ratios)
