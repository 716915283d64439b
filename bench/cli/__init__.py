"""The command `bench`.

Exit codes: 0 all done, 1 some cells failed or are damaged, 2 bad usage, config or data, 3 a check failed, 4 the output
folder cannot be written (disk full or read-only), 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from bench.cli.check import check
from bench.cli.compare import compare
from bench.cli.data import data
from bench.cli.leaderboard import leaderboard
from bench.cli.options import Group, device_option, json_option, only_option, out_option, suite_options
from bench.cli.profile import profile
from bench.cli.rate import rate
from bench.cli.serve import serve
from bench.cli.tune import tune_options

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="augbench", prog_name="bench")
def main() -> None:
    """Does GAN augmentation help a medical-image classifier on patients it has never seen?

    \b
    bench run --suite tiny                        a whole comparison on phantom histology, minutes on a CPU
    bench run --suite breakhis --data DIR         the full comparison on BreakHis
    bench plan --suite breakhis --data DIR        what that would do, and cost
    """


@main.command()
@suite_options
@only_option
@device_option
@click.option("--jobs", type=int, help="Cells at a time. Default: fill the CPU's cores; 1 on a GPU.")
@click.option("--trace", is_flag=True, help="Keep a torch.profiler trace of a few steps in each cell that trains.")
@click.option("--dry-run", is_flag=True, help="Show the plan and stop, like `bench plan`.")
def run(
    suite: str, data: Path | None, out: Path, assignments: tuple[str, ...], only: tuple[str, ...],
    device: str, jobs: int | None, trace: bool, dry_run: bool,
) -> None:  # fmt: skip
    """Run a suite: train, synthesise, fine-tune, score, report. Run it again to resume, or to retry failures."""
    from bench.cli.plan import show_plan
    from bench.cli.run import run as run_suite
    from bench.cli.sub_suites import run_sub_suites, show_plans, sub_suites_of
    from bench.engine.session import prepare

    if sub_suites := sub_suites_of(suite, assignments, data, out):
        if dry_run:
            show_plans(sub_suites, only, as_json=False, jobs=jobs)
            return
        sys.exit(run_sub_suites(sub_suites, only, device, jobs, trace))
    session = prepare(suite, assignments, data, out)
    if dry_run:
        show_plan(session, only, as_json=False, jobs=jobs)
        return
    sys.exit(run_suite(session, only, device, jobs, trace))


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
    from bench.engine.session import prepare

    if effect is not None:
        from bench.cli.effect import show_effect_plan

        show_effect_plan(prepare(suite, assignments, data, out), effect, power, pilot, only, as_json)
        return
    if pilot is not None:
        raise click.UsageError("--pilot goes with --effect, such as --effect 0.02")
    from bench.cli.plan import show_plan
    from bench.cli.sub_suites import show_plans, sub_suites_of

    if sub_suites := sub_suites_of(suite, assignments, data, out):
        show_plans(sub_suites, only, as_json, jobs)
    else:
        show_plan(prepare(suite, assignments, data, out), only, as_json, jobs)


@main.command()
@suite_options
@click.option("--watch", is_flag=True, help="Refresh it until nothing works on the suite any more, or Ctrl-C.")
@json_option
def status(
    suite: str, data: Path | None, out: Path, assignments: tuple[str, ...], watch: bool, as_json: bool
) -> None:  # fmt: skip
    """Show how far a suite is: done, running (with step, losses, memory), failed, time left. Works while it runs."""
    if watch and as_json:
        raise click.UsageError("--watch is for people, --json for programs; take one of them")
    from bench.cli.status import show_status
    from bench.cli.sub_suites import show_statuses, sub_suites_of
    from bench.engine.session import prepare

    sub_suites = None if watch else sub_suites_of(suite, assignments, data, out)  # to watch takes one of them
    if sub_suites:
        show_statuses(sub_suites, as_json)
        return
    show_status(prepare(suite, assignments, data, out), as_json, watch)


@main.command()
@suite_options
@json_option
def report(suite: str, data: Path | None, out: Path, assignments: tuple[str, ...], as_json: bool) -> None:
    """Write a suite's report again from the store, whatever is done so far."""
    from bench.cli.report import show_report
    from bench.cli.sub_suites import report_sub_suites, sub_suites_of
    from bench.engine.session import prepare

    if sub_suites := sub_suites_of(suite, assignments, data, out):
        sys.exit(report_sub_suites(sub_suites, as_json))
    sys.exit(show_report(prepare(suite, assignments, data, out), as_json))


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
    from bench.cli.tune import tune as tune_suite
    from bench.engine.session import prepare

    sys.exit(tune_suite(prepare(suite, assignments, data, out), **options))


@main.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List suites, datasets, methods and classifiers."""
    from bench.cli.listing import show_list

    show_list(as_json)


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
@device_option
@json_option
def fidelity(
    real: Path, synthetic: Path, extractor: str, input_size: int | None, weights: Path | None, device: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Compare a folder of SYNTHETIC images with one of REAL images: FID, KID, precision, recall and their kin."""
    from bench.cli import fidelity as command
    from bench.engine.session import pick_device

    found = command.compare(real, synthetic, extractor, input_size, weights, pick_device(device))
    if as_json:
        click.echo(command.as_json(found))
    else:
        command.show(found)


@main.group()
def mlflow() -> None:
    """The MLflow view of the store."""


@mlflow.command()
@suite_options
def sync(suite: str, data: Path | None, out: Path, assignments: tuple[str, ...]) -> None:
    """Log to MLflow what is in the store and not yet there."""
    from bench.cli.report import sync_mlflow
    from bench.engine.session import prepare

    sync_mlflow(prepare(suite, assignments, data, out))


@main.command()
@out_option
@click.option("--port", type=click.IntRange(1, 65535), help="Default: 5000, or the first free one after it.")
def ui(out: Path, port: int | None) -> None:
    """Open the MLflow UI on an output folder's runs, until Ctrl-C."""
    from bench.cli.ui import serve

    sys.exit(serve(out.expanduser().resolve(), port))


main.add_command(check)
main.add_command(compare)
main.add_command(data)
main.add_command(leaderboard)
main.add_command(profile)
main.add_command(rate)
main.add_command(serve)
