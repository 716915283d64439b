"""`bench profile`: what training costs, of everything in a suite or of one method's step."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.options import Group, device_option, json_option, suite_options


class ProfileGroup(Group):
    """`bench profile --suite …` is `bench profile suite --suite …`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0].startswith("-") and args[0] not in ("-h", "--help"):
            args = ["suite", *args]
        return super().parse_args(ctx, args)


@click.group(cls=ProfileGroup)
def profile() -> None:
    """Measure what training costs: `bench profile --suite tiny`."""


@profile.command("suite")
@suite_options
@click.option("--method", "methods", multiple=True, help="Only this method of the suite; may be repeated.")
@click.option("--image-size", "sizes", default="", help="Sides in pixels: 64,128. Default: the suite's.")
@click.option("--batch", "batches", default="", help="Images a step: 1,4,max. Default: what each is trained with.")
@click.option("--budget", help="Instead: what fits into this much memory, and up to which batch: 16GB.")
@device_option
@click.option("--threads", type=click.IntRange(1), help="CPU threads. Default: the suite's.")
@click.option("--limit", "limit_s", type=float, default=float("inf"), help="Seconds for the table; the rest is left.")
@click.option("--no-rehearsal", is_flag=True, help="The table only, which needs no data; nothing for `bench plan`.")
@json_option
def profile_suite(
    suite: str, data: Path | None, out: Path, assignments: tuple[str, ...], methods: tuple[str, ...], sizes: str,
    batches: str, budget: str | None, device: str, threads: int | None, limit_s: float, no_rehearsal: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Measure everything in a suite: time, FLOPs, memory, energy by image size and batch size; what fits into memory.

    Its first fold is run in miniature as well: `bench plan` then predicts the whole of it.
    """
    from bench.cli import profile_suite as command

    if budget is not None:
        command.profile_budget(suite, assignments, methods, sizes, device, threads, budget, as_json)
        return
    command.profile_suite(
        suite, assignments, data, out, methods, sizes, batches, device, threads, limit_s, not no_rehearsal, as_json
    )


@profile.command()
@click.option("--method", required=True, help="A method with training steps: cyclegan, tlsgan_lite0, …")
@click.option("--image-size", "image_size_px", type=click.IntRange(1), required=True, help="Side of the images, px.")
@click.option("--batch", "batch_size", type=click.IntRange(1), required=True, help="Pairs of images a step.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="A setting of the method: filters=16.")
@device_option
@click.option("--threads", type=click.IntRange(1), help="CPU threads. Default: all cores.")
@click.option("--blocks", type=click.IntRange(1), default=11, show_default=True, help="Turns that each step takes.")
@json_option
def step(
    method: str, image_size_px: int, batch_size: int, assignments: tuple[str, ...], device: str, threads: int | None,
    blocks: int, as_json: bool,
) -> None:  # fmt: skip
    """Time a method's training steps in alternation: pairs/s, FLOPs, share of the device's peak, peak memory."""
    from bench.cli import profile_step as command
    from bench.cost.host import available_cpus
    from bench.engine.session import pick_device

    threads, device = threads or available_cpus(), pick_device(device)
    found = command.profile(method, assignments, image_size_px, batch_size, device, blocks, threads)
    described = {"method": method, "image_size_px": image_size_px, "batch_size": batch_size, "set": list(assignments),
                 "device": device, "threads": threads}  # fmt: skip
    if as_json:
        click.echo(command.as_json(found, described))
    else:
        command.show(found, described)
