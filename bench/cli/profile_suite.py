"""`bench profile --suite`: a cost table of everything in a suite, and the rehearsal used by `bench plan`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table as RichTable

from bench.cli.options import Command, device_option, json_option, suite_options
from bench.cost.host import available_cpus, describe_host, versions
from bench.engine.console import plain_console
from bench.engine.session import pick_device, pick_jobs, prepare
from bench.forecast.profile_table import MAX, Room, Table, bytes_of, numbers, rooms, size_text, write_csv
from bench.forecast.profiles import FOLDER, Point, Profile
from bench.forecast.workload import workloads
from bench.report.charts.profile import draw_profile
from bench.suite.suite import load_suite


def profile_suite(
    suite_name: str, assignments: tuple[str, ...], data: Path | None, out: Path, methods: Sequence[str], sizes: str,
    batches: str, device: str, threads: int | None, limit_s: float, rehearsing: bool, as_json: bool,
) -> None:  # fmt: skip
    """Measure a suite, print the table, and save everything in ``<out>/profile/``.

    With ``rehearsing``, a smoke-test version of the first fold is also run for the cost model; otherwise no images are
    needed.
    """
    console, out = plain_console(), out.expanduser().resolve()
    suite, device = load_suite(suite_name, assignments), pick_device(device)
    cores = threads or suite.settings.threads or available_cpus()
    px = [int(n) for n in numbers(sizes, "--image-size")] or [suite.settings.image_size_px]
    table = Table(suite, device, cores, px, numbers(batches, "--batch", (MAX,)), methods, limit_s=limit_s)
    if not as_json and console.is_terminal:
        table.show = lambda p: console.print(f"{p.what} {p.name} {p.image_size_px} px: {p.problem or _ms(p.seconds)}")
    points = table.run()
    found = Profile(
        suite.name, describe_host(device), device, cores, datetime.now(UTC).isoformat(timespec="seconds"),
        tuple(points), versions=versions(),
    )  # fmt: skip
    failures: tuple[str, ...] = ()
    if rehearsing:
        found, failures = _rehearsed(found, suite_name, assignments, data, out, methods)
    path = found.save(out)
    name = path.stem
    write_csv(points, path.with_suffix(".csv"))
    drawn = draw_profile(points, out / FOLDER, name)
    if as_json:
        print(path.read_text(encoding="utf-8"))
        return
    show(console, found)
    for failure in failures:
        console.print(f"rehearsal: {failure}", style="red")
    console.print(f"{path}, .csv, {', '.join(p.name for p in drawn)}")
    if rehearsing:
        console.print(f"next: `bench plan --suite {suite_name}` predicts time and memory of a run")


def _rehearsed(
    found: Profile, suite_name: str, assignments: tuple[str, ...], data: Path | None, out: Path, methods: Sequence[str]
) -> tuple[Profile, tuple[str, ...]]:
    """Return the profile with the rows of a rehearsal, and the rehearsal's failures."""
    from bench.engine.rehearsal import rehearse

    session = prepare(suite_name, assignments, data, out).on_device(found.device)
    jobs, threads = pick_jobs(None, found.device, session.suite.settings.threads)
    rehearsal = rehearse(session, jobs, threads, methods)
    steps: dict[str, float] = {}
    if found.device.startswith("cuda"):  # the rehearsal's few steps are not compiled; those of a training may be
        own = {(p.name, p.batch): p.seconds for p in found.points if p.what == "training" and p.seconds}
        size_px = session.suite.settings.image_size_px
        here = {k: s for k, s in own.items() if any(p.image_size_px == size_px for p in found.points)}
        work = workloads(session.plan)
        for cell in session.plan.cells:
            key = (str(cell.method), work[cell.row_key].batch)
            if cell.stage == "fit" and key in here:
                steps[work[cell.row_key].shape] = here[key]
    changed = replace(found, rehearsal=rehearsal.rows, startup_s=rehearsal.startup_s, step_s=steps)
    return changed, rehearsal.failures


def show(console: Console, found: Profile) -> None:
    """Print the table of a profile, 80 columns wide."""
    console.print(f"{found.host}; {found.threads} threads")
    for what, title in (("training", "training step"), ("sampling", "sampling"), ("inference", "prediction")):
        points = [p for p in found.points if p.what == what]
        if not points:
            continue
        table = RichTable(box=None, pad_edge=False)
        table.add_column(title, max_width=24)
        for heading in ("px", "batch", "seconds", "img/s", "GFLOP", "peak", "memory", "J"):
            table.add_column(heading, justify="right", no_wrap=True)
        for p in points:
            table.add_row(p.name, str(p.image_size_px), str(p.batch or p.images or "–"), *_cells(p))
        console.print(table)
        for p in points:
            if p.problem:
                batch = f", batch {p.batch}" if p.batch else ""
                console.print(f"  {p.name}, {p.image_size_px} px{batch}: {p.problem}")
    console.print(
        "seconds: median per call; img/s: image pairs per second for a CycleGAN; peak: share of the FLOP/s of a matrix "
        "product; memory: "
        + ("allocated" if found.device.startswith("cuda") else "of the whole process")
        + "; J: energy per call, – if not measured"
    )


def _cells(p: Point) -> tuple[str, ...]:
    if p.problem:
        return ("–",) * 6
    return (
        f"{p.seconds:.3g}",
        f"{p.images_per_s:.3g}",
        f"{p.flops / 1e9:.3g}" if p.flops else "–",
        f"{p.share_of_peak:.0%}" if p.share_of_peak else "–",
        f"{p.peak_memory_bytes / 2**30:.2f} GiB" if p.peak_memory_bytes else "–",
        f"{p.energy_j:.3g}" if p.energy_j is not None else "–",
    )


def _ms(seconds: float | None) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds else "–"


def profile_budget(
    suite_name: str, assignments: tuple[str, ...], methods: Sequence[str], sizes: str, device: str,
    threads: int | None, budget: str, as_json: bool,
) -> None:  # fmt: skip
    """Print which of a suite's trainings fit into a memory ``budget``, and up to which batch size."""
    suite, device = load_suite(suite_name, assignments), pick_device(device)
    cores = threads or suite.settings.threads or available_cpus()
    px = [int(n) for n in numbers(sizes, "--image-size")] or [suite.settings.image_size_px]
    table = Table(suite, device, cores, px, methods=methods, budget_bytes=bytes_of(budget))
    found = rooms(table)
    if as_json:
        described = {"suite": suite.name, "budget_bytes": table.budget_bytes, "host": describe_host(device)}
        print(json.dumps({**described, "fits": [asdict(r) for r in found]}, indent=1))
        return
    console = plain_console()
    console.print(f"{describe_host(device)}; memory budget {size_text(table.budget_bytes or 0)}")
    shown = RichTable(box=None, pad_edge=False)
    shown.add_column("training", max_width=30)
    for heading in ("px", "largest batch", "memory", "too large"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for r in found:
        shown.add_row(r.name, str(r.image_size_px), *_room(r))
    console.print(shown)
    for r in found:
        if r.note:
            console.print(f"  {r.name}, {r.image_size_px} px: larger batches were not tried: {r.note}")
    console.print("all numbers are measured: the largest batch that fitted, and the smallest that did not")


def _room(r: Room) -> tuple[str, str, str]:
    if not r.largest:
        return "none" if not r.note else "–", "–", str(r.refused or "–")
    return str(r.largest), f"{r.peak_bytes / 1e9:.2f} GB", str(r.refused or "–")


@click.command("suite", cls=Command)
@suite_options
@click.option("--method", "methods", multiple=True, help="Only this method of the suite; may be repeated.")
@click.option("--image-size", "sizes", default="", help="Sides in pixels: 64,128. Default: the suite's.")
@click.option("--batch", "batches", default="", help="Batch sizes: 1,4,max. Default: those of the suite.")
@click.option("--budget", help="Instead: which trainings and batch sizes fit into this memory: 16GB.")
@device_option
@click.option("--threads", type=click.IntRange(1), help="CPU threads. Default: the suite's.")
@click.option("--limit", "limit_s", type=float, default=float("inf"), help="Time limit of the table in seconds.")
@click.option("--no-rehearsal", is_flag=True, help="Only the table, which needs no images; not used by `bench plan`.")
@json_option
def suite_(
    suite: str, data: Path | None, out: Path, assignments: tuple[str, ...], methods: tuple[str, ...], sizes: str,
    batches: str, budget: str | None, device: str, threads: int | None, limit_s: float, no_rehearsal: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Measure a suite's trainings: time, FLOPs, memory and energy by image and batch size; what fits into memory.

    A smoke-test version of the first fold is also run, from which `bench plan` predicts the cost of the whole suite.
    """
    if budget is not None:
        profile_budget(suite, assignments, methods, sizes, device, threads, budget, as_json)
        return
    profile_suite(
        suite, assignments, data, out, methods, sizes, batches, device, threads, limit_s, not no_rehearsal, as_json
    )
