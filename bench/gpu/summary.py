"""One page over all parts: machine, results against what is expected, and the tables of steps and costs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.files import write_atomic
from bench.gpu.job import DONE, RUNNING, Record, read_record
from bench.gpu.parts import PARTS

SUMMARY = "summary.md"
MET = {True: "as expected", False: "NOT as expected", None: ""}


def write_summary(out: Path) -> Path:
    """Write the page from the parts' files, and return its path."""
    records = [r for part in PARTS if (r := read_record(out, part.name))]
    lines = ["# GPU checks and measurements", "", *_machine(out), "", *_parts(records), "", *_steps(records), ""]
    lines += [*_costs(records), "", *_failures(records)]
    path = out / SUMMARY
    write_atomic(path, "\n".join(lines).rstrip() + "\n")
    return path


def _machine(out: Path) -> list[str]:
    try:
        found = json.loads((out / "machine.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ["The machine is not known."]
    cuda = f", CUDA {found['cuda']}, cuDNN {found['cudnn']}" if found.get("cuda") else ""
    versions = ", ".join(f"{name} {v}" for name, v in found["versions"].items())
    energy = "measured" if found["energy"] else "not measured"
    dry = ["", "Dry form: tiny sizes, so the figures mean nothing."] if found.get("dry") else []
    text = f"{found['host']}{cuda}; Python {found['python']}, {versions}; commit {found['code']}; energy {energy}."
    return [text, *dry]


def _parts(records: Sequence[Record]) -> list[str]:
    devices = sorted({f"{r.device}, code {r.code}" for r in records})
    rows = []
    for r in records:
        status = "stopped" if r.status == RUNNING else r.status
        rows.append((r.title, status, f"{r.seconds:.0f}", r.result or "–", r.expected or "–", MET[r.met]))
    total = f"{sum(r.seconds for r in records):.0f} s in all, on {'; '.join(devices)}."
    return [*_table(("part", "status", "s", "result", "expected", ""), rows), "", total]


def _steps(records: Sequence[Record]) -> list[str]:
    rows = []
    for record in records:
        if not record.part.startswith("steps-"):
            continue
        for name in ("reference", "fast"):
            entry = record.figures.get(name)
            if entry is None:
                continue
            problem = entry.get("problem", "")
            mode = entry.get("facts", {}).get("training_step", name)
            numbers = _numbers(entry) if not problem else ("–",) * 4
            ratio = record.figures.get("ratio") if name == "fast" else None if problem else 1.0
            rows.append((record.part.partition("-")[2], problem or mode, *numbers, _text(ratio, "{:.2f}")))
    headings = ("batch", "step", "pairs/s", "ms/step", "of peak", "memory", "speed-up")
    return ["Steps of `cyclegan` at 256 px:", "", *_table(headings, rows)] if rows else []


def _numbers(entry: dict[str, Any]) -> tuple[str, ...]:
    return (
        _text(entry.get("pairs_per_s"), "{:.3g}"),
        _text(entry.get("step_s"), "{:.3g}", 1e3),
        _text(entry.get("share_of_peak"), "{:.0%}"),
        _text(entry.get("peak_memory_bytes"), "{:.2f} GiB", 2**-30),
    )


def _costs(records: Sequence[Record]) -> list[str]:
    points: list[dict[str, Any]] = next((r.figures.get("points", []) for r in records if r.part == "costs"), [])
    rows = [
        (
            p["name"], str(p["image_size_px"]), str(p["batch"]),
            *((p["problem"], "–", "–", "–") if p["problem"] else (
                _text(p["seconds"], "{:.3g}", 1e3), _text(p["images_per_s"], "{:.3g}"),
                _text(p["peak_memory_bytes"], "{:.2f} GiB", 2**-30), _text(p["energy_j"], "{:.3g}"),
            )),
        )
        for p in points
    ]  # fmt: skip
    headings = ("method", "px", "batch", "ms/step", "images/s", "memory", "J/step")
    return ["Training steps (of a CycleGAN: pairs/s):", "", *_table(headings, rows)] if rows else []


def _failures(records: Sequence[Record]) -> list[str]:
    failed = [r for r in records if r.status != DONE and r.error]
    return [line for r in failed for line in (f"{r.part}: {r.error.strip().splitlines()[-1][:300]}", "")]


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [tuple(headings), ("---",) * len(headings), *(tuple(c.replace("|", "/") for c in row) for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def _text(value: float | None, form: str, factor: float = 1.0) -> str:
    return "–" if value is None else form.format(factor * value)
