"""What each kind of cell does: one file per stage, with one function ``run`` from its inputs on disk to an ``Output``.

Data flow: split -> fit on training records only -> synthetic folder with a manifest -> classifier on real and synthetic
images -> one pass over the test part -> predictions.csv -> metrics from that file.
"""

from __future__ import annotations

from collections.abc import Callable

from bench.plan.plan import Cell
from bench.stages import (
    classify,
    discriminator_classifier,
    evaluate,
    explain,
    fcn_network,
    fidelity,
    fit,
    memorised,
    segmentation,
    select,
    split,
    synthesize,
    translate,
    validate,
)
from bench.stages.common import Output, RunEnv, load_index
from bench.stages.context import CellContext

__all__ = ["STAGE", "Output", "RunEnv", "load_index"]

STAGE: dict[str, Callable[[Cell, RunEnv, CellContext], Output]] = {
    "split": split.run,
    "fit": fit.run,
    "synthesize": synthesize.run,
    "select": select.run,
    "fidelity": fidelity.run,
    "fcn_score": fcn_network.run,
    "translate": translate.run,
    "discriminator_classifier": discriminator_classifier.run,
    "memorised": memorised.run,
    "classify": classify.run,
    "evaluate": evaluate.run,
    "explain": explain.run,
    "segmentation": segmentation.run,
    "validate": validate.run,  # not part of a plan: used by tuning
}
