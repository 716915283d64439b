"""The verb `bench profile step`: cost of a method's training steps."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click
import yaml
from rich.table import Table

from bench import registry
from bench.abilities import Profiled
from bench.cli.options import Command, device_option, json_option
from bench.config import build
from bench.cost.host import available_cpus, describe_host, versions
from bench.engine.console import plain_console
from bench.engine.session import pick_device
from bench.errors import ConfigError
from bench.forecast.step_profile import StepProfile, peak_memory, profile_steps


def make(name: str, assignments: tuple[str, ...]) -> Profiled:
    """Build a method with ``key=value`` settings. Raises ``ConfigError`` if it has no training steps to profile."""
    cls = registry.load("method", name)
    settings: dict[str, Any] = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set {text!r}: expected key=value, for example --set filters=16")
        settings[key.strip()] = yaml.safe_load(value)
    method = cls(build(cls.Config, settings, f"method {name}"))
    if not isinstance(method, Profiled):
        able = [n for n in registry.names("method") if hasattr(registry.load("method", n), "training_steps")]
        raise ConfigError(f"method {name} has no training step to profile; use one of: {', '.join(able)}")
    return method


def profile(
    name: str, assignments: tuple[str, ...], image_size_px: int, batch_size: int, device: str, blocks: int, threads: int
) -> StepProfile:
    """Measure a method's training steps. Raises ``ConfigError`` for an unsuitable method, setting or size."""
    import torch

    torch.set_num_threads(threads)
    method = make(name, assignments)
    shape = (image_size_px, batch_size, device)
    names = list(method.training_steps(*shape))
    memory = peak_memory(make, (name, assignments, *shape), names, threads)
    return profile_steps(method, *shape, blocks, memory)


def as_json_text(found: StepProfile, described: dict[str, Any]) -> str:
    """Return the profile, the options and the host as JSON; values per step are keyed by the step's name."""
    steps = {
        s.name: {
            "dtype": s.dtype,
            "step_s": s.step_s,
            "pairs_per_s": s.pairs_per_s,
            "flops": s.flops,
            "flops_per_s": s.flops / s.step_s,
            "peak_flops_per_s": s.peak_flops_per_s,
            "share_of_peak": s.share_of_peak,
            "peak_memory_bytes": s.peak_memory_bytes,
            "block_step_s": list(s.seconds),
        }
        for s in found.steps
    }
    ratios = {r.name: {k: v for k, v in asdict(r).items() if k != "name"} for r in found.ratios}
    host = {"host": describe_host(described["device"]), "versions": versions()}
    return json.dumps(
        {**described, **host, "steps": steps, "ratios_to": found.steps[0].name, "ratios": ratios}, indent=1
    )


def show(found: StepProfile, described: dict[str, Any]) -> None:
    """Print the profile as a table."""
    console = plain_console()
    console.print(describe_host(described["device"]))
    options = {key: " ".join(value) if key == "set" else value for key, value in described.items()}
    console.print(", ".join(f"{key} {value}" for key, value in options.items() if value != ""))
    table = Table(box=None, pad_edge=False)
    for heading in ("step", "pairs/s", "s/step", "GFLOP/step", "of peak", "memory", "speed-up"):
        table.add_column(heading, justify="left" if heading == "step" else "right", no_wrap=True)
    ratios = {r.name: f"{r.median:.2f} [{r.low:.2f}, {r.high:.2f}]" for r in found.ratios}
    for s in found.steps:
        memory = "not measured" if s.peak_memory_bytes is None else f"{s.peak_memory_bytes / 2**20:.0f} MiB"
        numbers = f"{s.pairs_per_s:.2f}", f"{s.step_s:.3g}", f"{s.flops / 1e9:.4g}", f"{s.share_of_peak:.0%}"
        table.add_row(s.name, *numbers, memory, ratios.get(s.name, "1"))
    console.print(table)
    peaks = ", ".join(f"{s.name} {s.peak_flops_per_s / 1e12:.3g} TFLOP/s in {s.dtype}" for s in found.steps)
    console.print(f"peak (measured with a matrix product): {peaks}")
    console.print(f"medians of {len(found.steps[0].seconds)} alternating blocks; quartiles in brackets")


@click.command("step", cls=Command)
@click.option("--method", required=True, help="Method with training steps: cyclegan, tlsgan_lite0, …")
@click.option("--image-size", "image_size_px", type=click.IntRange(1), required=True, help="Side of the images, px.")
@click.option("--batch", "batch_size", type=click.IntRange(1), required=True, help="Image pairs per step.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Setting of the method: filters=16.")
@device_option
@click.option("--threads", type=click.IntRange(1), help="CPU threads. Default: all cores.")
@click.option("--blocks", type=click.IntRange(1), default=11, show_default=True, help="Alternating blocks per step.")
@json_option
def step_(
    method: str, image_size_px: int, batch_size: int, assignments: tuple[str, ...], device: str, threads: int | None,
    blocks: int, as_json: bool,
) -> None:  # fmt: skip
    """Measure a method's training steps in alternation: pairs/s, FLOPs, share of the device's peak, peak memory."""

    threads, device = threads or available_cpus(), pick_device(device)
    found = profile(method, assignments, image_size_px, batch_size, device, blocks, threads)
    described = {"method": method, "image_size_px": image_size_px, "batch_size": batch_size, "set": list(assignments),
                 "device": device, "threads": threads}  # fmt: skip
    if as_json:
        click.echo(as_json_text(found, described))
    else:
        show(found, described)
