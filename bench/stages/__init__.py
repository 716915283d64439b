"""What each kind of cell does: one file a stage, one function ``run`` from its inputs on disk to an ``Output``.

The way of one image: split -> fit on training records only -> synthetic folder with a manifest -> classifier on real
and synthetic images -> one pass over the test part -> predictions.csv -> metrics from that file. No step reaches back.
"""

from __future__ import annotations

from collections.abc import Callable

from bench.context import CellContext
from bench.plan import Cell
from bench.stages import (
    classify,
    copies,
    evaluate,
    explain,
    fidelity,
    fit,
    head,
    segment,
    segmenter,
    split,
    synthesize,
    translate,
    validate,
)
from bench.stages.common import Output, RunEnv, load_index

__all__ = ["STAGE", "Output", "RunEnv", "load_index"]

STAGE: dict[str, Callable[[Cell, RunEnv, CellContext], Output]] = {
    "split": split.run,
    "fit": fit.run,
    "synthesize": synthesize.run,
    "fidelity": fidelity.run,
    "segment": segment.run,
    "translate": translate.run,
    "head": head.run,
    "copies": copies.run,
    "classify": classify.run,
    "evaluate": evaluate.run,
    "explain": explain.run,
    "segmenter": segmenter.run,
    "validate": validate.run,  # in no plan: tuning asks for it
}
