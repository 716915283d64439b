"""The command `bench`.

Exit codes: 0 all done, 1 some cells failed or are damaged, 2 bad usage, config or data, 3 a check failed, 4 the output
folder cannot be written (disk full or read-only), 130 interrupted.
"""

from __future__ import annotations

import os
from importlib import import_module

import click

from bench.cli.options import Group
from bench.cli.reading_line import ReadingLine
from bench.data.reading_progress import listening

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

VERBS = {  # one line of help per verb; a verb's module is imported when it is used, so that `bench --help` is fast
    "check": "Run a suite from scratch and compare it with a stored baseline.",
    "clean": "Delete unneeded cells and caches of an output folder.",
    "compare": "Compare two runs: scores, images, cost, config, code, data.",
    "data": "Download data sets; audit a folder of images.",
    "du": "Show the disk space of an output folder.",
    "export": "Export a trained classifier or generator for plain PyTorch.",
    "fidelity": "Compare a folder of synthetic images with one of real images.",
    "generate": "Generate images of a class, from a run's generator or a new one.",
    "init": "Write a suite for a folder of images or a table.",
    "leaderboard": "Merge the stores of several machines or users.",
    "list": "List suites, data sets, methods, classifiers and metrics.",
    "mlflow": "Log stored results to MLflow.",
    "plan": "Show the cells of a run and their predicted cost.",
    "profile": "Measure time, memory and FLOPs of a suite's trainings.",
    "rate": "Serve a blinded rating study of a run's images.",
    "report": "Write a suite's report from the stored results.",
    "run": "Run a suite; run it again to resume or to retry failures.",
    "selftest": "Test the statistics on simulated studies.",
    "serve": "Serve a web page to try trained classifiers and generators.",
    "status": "Show which cells are done, running, failed or not started.",
    "tune": "Tune hyperparameters on validation folds.",
    "ui": "Open the MLflow UI for an output folder.",
    "worker": "Run free cells of a shared output folder beside other machines.",
}


class Verbs(Group):
    """The verbs of ``VERBS``: verb ``x`` is the command ``x`` of the module ``bench.cli.x``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs, sorted."""
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a verb's command, or None for an unknown verb."""
        if cmd_name not in VERBS:
            return None
        module = import_module(f"bench.cli.{cmd_name}")
        command: click.Command = getattr(module, cmd_name, None) or getattr(module, f"{cmd_name}_")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of verbs without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(VERBS.items()))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="augbench", prog_name="bench")
def main() -> None:
    """Does GAN augmentation help a medical-image classifier on patients it has never seen?

    \b
    bench run tiny                        a small comparison on phantom histology; minutes on a CPU
    bench run breakhis --data DIR         the full comparison on BreakHis
    bench plan breakhis --data DIR        the cells of that run and their predicted cost
    bench status                          the progress of the run in ./runs; --out DIR: of another folder
    """
    line = ReadingLine()
    context = click.get_current_context()
    context.call_on_close(line.close)
    context.with_resource(listening(line))
