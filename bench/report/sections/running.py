"""Cost of running the suite: overhead of the harness, and accuracy of the predictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.analysis.cost_predictions import PredictedStage
from bench.analysis.info import ReportInfo
from bench.analysis.report import Records
from bench.report.content import Block, Section, Table
from bench.report.text import DASH, seconds, size
from bench.store.run_records import RunRecord

SHOWN = 5  # the last runs


OVERHEAD = (
    "shares of the workers' time: overhead is time neither in cells nor waiting (start-up, scheduling, counting "
    "FLOPs); idle is time in which no cell was ready. *In cells* is the sum over the cells of all workers."
)
ERROR = "median over cells of the factor by which the prediction was too high or too low; memory likewise."


def sections(records: Records, info: ReportInfo) -> Iterator[Section]:
    """Yield tables; nothing without recorded runs and predictions."""
    blocks: list[Block] = []
    if info.runs:
        blocks.append(_runs([r for r in info.runs if r.wall_s > 0][-SHOWN:]))
    if records.predictions:
        blocks.append("Predicted before the run from earlier measurements on this machine, and measured:")
        blocks.append(_stages(records.predictions))
    terms = {"Overhead, Idle": OVERHEAD} if blocks else {}
    terms |= {"Error": ERROR} if records.predictions else {}
    yield Section("Cost of running the suite", tuple(blocks), 310, definitions=terms)


def _runs(runs: Sequence[RunRecord]) -> Table:
    columns = {
        "Run": [r.started_at[:16].replace("T", " ") for r in runs],
        "Cells": [str(r.cells) + (f" + {r.failed} failed" if r.failed else "") for r in runs],
        "Parallel jobs": [str(r.jobs) for r in runs],
        "Wall time": [seconds(r.wall_s) for r in runs],
        "Predicted": [_predicted(r) for r in runs],
        "In cells": [seconds(r.cells_s) for r in runs],
        "Device": [seconds(r.device_s) for r in runs],
        "Overhead": [_percent(r.overhead) for r in runs],
        "Idle": [_percent(r.idle) for r in runs],
        "Report, MLflow": [seconds(r.closing_s) if r.closing_s is not None else DASH for r in runs],
        "Peak memory of a cell": [size(r.peak_memory_bytes) for r in runs],
    }
    return Table.by_column(columns, title="Runs", keep_empty=False)


def _predicted(run: RunRecord) -> str:
    if run.predicted_wall_s is None:
        return DASH
    open_ = run.cells + run.failed - run.predicted_cells
    return ("≥ " if open_ > 0 else "") + seconds(run.predicted_wall_s)


def _percent(share: float) -> str:
    return f"{100 * max(share, 0):.1f} %"


def _stages(stages: Sequence[PredictedStage]) -> Table:
    rows = [
        (
            f"`{s.stage}`",
            str(s.cells) + (f" ({s.guessed} guessed)" if s.guessed else ""),
            seconds(s.predicted_s),
            seconds(s.elapsed_s),
            seconds(s.predicted_device_s),
            seconds(s.device_s),
            f"×{s.error:.2f}",
            f"×{s.memory_error:.2f}",
        )
        for s in stages
    ]
    heads = (
        "Stage",
        "Cells",
        "Predicted",
        "Measured",
        "Device time, predicted",
        "Device time, measured",
        "Error",
        "Error, memory",
    )
    return Table.of(heads, rows, title="Predicted and measured cost")
