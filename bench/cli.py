"""The command `bench`.

Exit codes: 0 all done, 1 some cells failed, 2 bad usage, config or data, 3 a check failed, 130 interrupted.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from bench.errors import BenchError
from bench.tune_command import tune_options

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
INTERRUPTED = 130


class Command(click.Command):
    """A click command whose typed errors become one clear message and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BenchError as e:
            click.secho(f"{type(e).__name__}: {e}", fg="red", err=True)
            raise SystemExit(2) from None
        except KeyboardInterrupt:
            click.secho("\ninterrupted; the same command continues where this one stopped", fg="yellow", err=True)
            raise SystemExit(INTERRUPTED) from None


class Group(click.Group):
    """A group whose commands are ``Command``s, and which suggests the nearest verb."""

    command_class = Command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as e:
            from bench.errors import nearest

            raise click.UsageError(f"no command {args[0]!r}; {nearest(args[0], self.commands)}", ctx) from e


Group.group_class = Group


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="augbench", prog_name="bench")
def main() -> None:
    """Does GAN augmentation help a medical-image classifier on patients it has never seen?

    \b
    bench run --suite tiny                        a whole comparison on phantom histology, minutes on a CPU
    bench run --suite breakhis --data DIR         the full comparison on BreakHis
    bench plan --suite breakhis --data DIR        what that would do, and cost
    """


def suite_options(f: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say which plan is meant."""

    @functools.wraps(f)
    def command(
        *, drop_copies: bool, config_from: tuple[Path, ...], assignments: tuple[str, ...], **options: Any
    ) -> Any:
        dropping = ("drop_copies=true",) if drop_copies else ()
        return f(assignments=(*(f"@{path}" for path in config_from), *assignments, *dropping), **options)

    for option in reversed(
        (
            click.option("--suite", required=True, help="A suite's name (see `bench list`), or a YAML file."),
            click.option("--data", type=click.Path(path_type=Path), help="Folder of the images. Default: $BENCH_DATA."),
            click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True,
                         help="Folder for everything that is written."),
            click.option("--config-from", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
                         help="A YAML file to merge into the suite, such as `bench tune` writes; before --set."),
            click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE",
                         help="Change a setting: --set dataset.magnification=100, --set 'classifiers.*.steps=50'."),
            click.option("--drop-copies", is_flag=True,
                         help="Each generative arm once more, without copies of training images (drop_copies=true)."),
        )
    ):  # fmt: skip
        command = option(command)
    return command


only_option = click.option(
    "--only",
    multiple=True,
    metavar="KEY=VALUE",
    help="Only these cells and what they need: method, classifier, fold, repeat, ratio, stage.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")


@main.command()
@suite_options
@only_option
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--jobs", type=int, help="Cells at a time. Default: fill the CPU's cores; 1 on a GPU.")
@click.option("--trace", is_flag=True, help="Keep a torch.profiler trace of a few steps in each cell that trains.")
@click.option("--dry-run", is_flag=True, help="Show the plan and stop, like `bench plan`.")
def run(
    suite: str, data: Path | None, out: Path, assignments: tuple[str, ...], only: tuple[str, ...],
    device: str, jobs: int | None, trace: bool, dry_run: bool,
) -> None:  # fmt: skip
    """Run a suite: train, synthesise, fine-tune, score, report. Run it again to resume, or to retry failures."""
    from bench import commands
    from bench.plan_command import show_plan
    from bench.session import prepare

    session = prepare(suite, assignments, data, out)
    if dry_run:
        show_plan(session, only, as_json=False, jobs=jobs)
        return
    sys.exit(commands.run(session, only, device, jobs, trace))


@main.command()
@suite_options
@only_option
@click.option("--effect", type=float, help="Instead: which folds × repeats find this difference; 0.02 is two points.")
@click.option(
    "--pilot",
    type=click.Path(exists=True, path_type=Path),
    help="An earlier run's --out folder, or its results.jsonl. Default: this suite's scores in --out.",
)
@click.option("--power", type=float, default=0.8, show_default=True, help="The chance to find the effect.")
@click.option("--jobs", type=click.IntRange(1), help="Cells at a time, as for a run. Default: what a run would take.")
@json_option
def plan(
    suite: str, data: Path | None, out: Path, assignments: tuple[str, ...], only: tuple[str, ...],
    effect: float | None, pilot: Path | None, power: float, jobs: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Show the cells of a suite: how many, what is done already, and what the rest will cost."""
    from bench.session import prepare

    if effect is not None:
        from bench.planning_command import show_effect_plan

        show_effect_plan(prepare(suite, assignments, data, out), effect, power, pilot, only, as_json)
        return
    if pilot is not None:
        raise click.UsageError("--pilot goes with --effect, such as --effect 0.02")
    from bench.plan_command import show_plan

    show_plan(prepare(suite, assignments, data, out), only, as_json, jobs)


@main.command()
@suite_options
@json_option
def status(suite: str, data: Path | None, out: Path, assignments: tuple[str, ...], as_json: bool) -> None:
    """Show how far a suite is: done, running (with step and losses), failed, left. Works while it runs."""
    from bench import commands
    from bench.session import prepare

    commands.show_status(prepare(suite, assignments, data, out), as_json)


@main.command()
@suite_options
@json_option
def report(suite: str, data: Path | None, out: Path, assignments: tuple[str, ...], as_json: bool) -> None:
    """Write a suite's report again from the store, whatever is done so far."""
    from bench import commands
    from bench.session import prepare

    session = prepare(suite, assignments, data, out)
    path = commands.write_report(session)
    if as_json:
        click.echo((path.parent / "leaderboard.json").read_text(encoding="utf-8"))
    else:
        click.echo(path)


@main.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs/selftest"),
    show_default=True,
    help="Folder of selftest.md, selftest.json and selftest.png.",
)
@click.option("--comparisons", type=int, default=1000, show_default=True, help="Simulated comparisons a design.")
@click.option("--seed", type=int, default=0, show_default=True)
@json_option
def selftest(out: Path, comparisons: int, seed: int, as_json: bool) -> None:
    """Judge the harness on simulated comparisons whose truth is known. Exit code 3 when a promise is broken."""
    from bench.selftest.command import selftest as run_selftest

    sys.exit(run_selftest(out, comparisons, seed, as_json))


@main.command()
@suite_options
@tune_options
def tune(suite: str, data: Path | None, out: Path, assignments: tuple[str, ...], **options: Any) -> None:
    """Search the settings of arms by validation folds: N trials or a budget for each. Run it again to resume.

    Several of the same command, in terminals or on machines that share --out or --storage, share the work.
    """
    from bench import tune_command
    from bench.session import prepare

    sys.exit(tune_command.tune(prepare(suite, assignments, data, out), **options))


@main.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List suites, datasets, methods and classifiers."""
    from bench import commands

    commands.show_list(as_json)


@main.command()
@click.argument("real", type=click.Path(path_type=Path))
@click.argument("synthetic", type=click.Path(path_type=Path))
@click.option("--extractor", default="tf_efficientnet_lite0", show_default=True, help="inception, or a timm network.")
@click.option("--input-size", type=click.IntRange(min=8), help="Side in pixels. Default: the network's own.")
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    envvar="BENCH_WEIGHTS",
    show_envvar=True,
    help="File of the extractor's weights, or a folder of such.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@json_option
def fidelity(
    real: Path, synthetic: Path, extractor: str, input_size: int | None, weights: Path | None, device: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Compare a folder of SYNTHETIC images with one of REAL images: FID, KID, precision, recall and their kin."""
    from bench import fidelity_command
    from bench.session import pick_device

    found = fidelity_command.compare(real, synthetic, extractor, input_size, weights, pick_device(device))
    if as_json:
        click.echo(fidelity_command.as_json(found))
    else:
        fidelity_command.show(found)


@main.group()
def data() -> None:
    """Fetch data sets; find out what is wrong with one before training on it."""


@data.command()
@click.argument("name")
@click.option("--into", type=click.Path(path_type=Path), default=Path("data"), show_default=True)
def download(name: str, into: Path) -> None:
    """Fetch a data set through kagglehub (pip install 'augbench[download]')."""
    from bench.data.download import download as fetch

    folder = fetch(name, into)
    click.echo(f"{folder}\nuse it with: bench run --suite {name} --data {folder}")


@data.command("audit")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), help="The same folder. Default: $BENCH_DATA.")
@click.option("--dataset", help="The layout: see `bench list`. Default: recognised from the folder.")
@click.option("--suite", help="Use this suite's dataset and options, and look at its folds too.")
@click.option("--strict", is_flag=True, help="Exit with 3 when copies have two labels or cross groups.")
@click.option("--leak-demo", is_flag=True, help="Show what a split by image, not by patient, would have claimed.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder in which what was measured is remembered.",
)
@json_option
def audit_(
    folder: Path | None, data: Path | None, dataset: str | None, suite: str | None, strict: bool, leak_demo: bool,
    out: Path, as_json: bool,
) -> None:  # fmt: skip
    """Look at every image of FOLDER: copies, near copies, labels, groups, odd files, masks, light, stain."""
    from bench import data_commands

    subject = data_commands.find_subject(folder or data, dataset, suite, out)
    sys.exit(data_commands.audit(subject, as_json, strict, leak_demo))


class ProfileGroup(Group):
    """`bench profile --suite …` is `bench profile suite --suite …`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0].startswith("-") and args[0] not in ("-h", "--help"):
            args = ["suite", *args]
        return super().parse_args(ctx, args)


@main.group(cls=ProfileGroup)
def profile() -> None:
    """Measure what training costs: `bench profile --suite tiny`."""


@profile.command("suite")
@suite_options
@click.option("--method", "methods", multiple=True, help="Only this method of the suite; may be repeated.")
@click.option("--image-size", "sizes", default="", help="Sides in pixels: 64,128. Default: the suite's.")
@click.option("--batch", "batches", default="", help="Images a step: 1,4,max. Default: what each is trained with.")
@click.option("--budget", help="Instead: what fits into this much memory, and up to which batch: 16GB.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
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
    from bench import profile_suite_command as command

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
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads. Default: all cores.")
@click.option("--blocks", type=click.IntRange(1), default=11, show_default=True, help="Turns that each step takes.")
@json_option
def step(
    method: str, image_size_px: int, batch_size: int, assignments: tuple[str, ...], device: str, threads: int | None,
    blocks: int, as_json: bool,
) -> None:  # fmt: skip
    """Time a method's training steps in alternation: pairs/s, FLOPs, share of the device's peak, peak memory."""
    from bench import profile_command
    from bench.cost.host import available_cpus
    from bench.session import pick_device

    threads, device = threads or available_cpus(), pick_device(device)
    found = profile_command.profile(method, assignments, image_size_px, batch_size, device, blocks, threads)
    described = {"method": method, "image_size_px": image_size_px, "batch_size": batch_size, "set": list(assignments),
                 "device": device, "threads": threads}  # fmt: skip
    if as_json:
        click.echo(profile_command.as_json(found, described))
    else:
        profile_command.show(found, described)


@main.group()
def mlflow() -> None:
    """The MLflow view of the store."""


@mlflow.command()
@suite_options
def sync(suite: str, data: Path | None, out: Path, assignments: tuple[str, ...]) -> None:
    """Log to MLflow what is in the store and not yet there."""
    from bench import commands
    from bench.session import prepare

    commands.sync_mlflow(prepare(suite, assignments, data, out))


@main.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True)
@click.option("--port", type=int, default=5000, show_default=True)
def ui(out: Path, port: int) -> None:
    """Open the MLflow UI on an output folder's runs."""
    import subprocess

    from bench.tracking import ui_command

    command = ui_command(out.resolve(), port=port)
    click.echo(f"MLflow on {out}: http://127.0.0.1:{port} (Ctrl-C stops it)")
    sys.exit(subprocess.call(command))


if __name__ == "__main__":
    functools.partial(main, prog_name="bench")()
