"""Code shared by all verbs: typed errors as one message, groups that suggest the nearest verb, common options."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from bench.errors import BenchError
from bench.store.disk import disk_error
from bench.store.redact import redact

INTERRUPTED = 130


class Command(click.Command):
    """A click command that prints a typed error as one message and exits with its code: 2, or 4 for disk errors."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; errors of the project become messages with their exit code."""
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort):
            raise
        except click.ClickException as e:
            e.__dict__["message"] = redact(e.message)  # click declares the attribute final
            raise
        except Exception as e:
            error = (disk_error(e) if isinstance(e, OSError) else None) or e
            if not isinstance(error, BenchError):
                _hide_secrets_of(e)
                raise
            click.secho(redact(f"{type(error).__name__}: {error}"), fg="red", err=True)
            raise SystemExit(error.exit_code) from None
        except KeyboardInterrupt:
            click.secho("\ninterrupted; run the same command to continue", fg="yellow", err=True)
            raise SystemExit(INTERRUPTED) from None


def _hide_secrets_of(e: Exception) -> None:
    """If the traceback contains a secret, print it with the secret removed and exit with code 1; otherwise return."""
    text = "".join(traceback.format_exception(e))
    if (shown := redact(text)) != text:
        click.echo(shown, err=True)
        raise SystemExit(1) from None


class Group(click.Group):
    """A group of ``Command``s; it suggests the nearest verb for an unknown one."""

    command_class = Command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each verb with its description and options."""
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is None:
                continue
            own = click.Context(command, info_name=name, parent=ctx)
            with formatter.section(" ".join([own.command_path, *command.collect_usage_pieces(own)])):
                formatter.write_text(command.get_short_help_str(limit=200))
            with formatter.indentation():
                command.format_options(own, formatter)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Return the command of a name; an unknown one is an error that names the nearest."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as e:
            from bench.errors import nearest

            raise click.UsageError(f"no command {args[0]!r}; {nearest(args[0], self.list_commands(ctx))}", ctx) from e


Group.group_class = Group


only_option = click.option(
    "--only",
    multiple=True,
    metavar="KEY=VALUE",
    help="Run only these cells and the cells they depend on. Keys: method, classifier, fold, repeat, ratio, stage, "
    "train_patients.",
)
seed_option = click.option(
    "--seed", type=int, help="Seed of training and sampling, as --set seed=N; the folds have their own, split.seed."
)
epochs_option = click.option(
    "--epochs", type=click.FloatRange(min=0, min_open=True),
    help="Train all classifiers for this many epochs instead of steps, as --set 'classifiers.*.epochs=N'.",
)  # fmt: skip
device_option = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
out_option = click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Output folder.",
)
SUITE_HELP = (
    "Name of a suite (see `bench list`) or path of a YAML file; also without --suite. Default: the run stored in --out."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")


def complete_suite(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """Return the suites that begin with a text, for completion in a shell; if there is none, files."""
    from click.shell_completion import CompletionItem

    from bench.suite.shipped import shipped_suites, suite_files

    names = sorted({*suite_files(), *shipped_suites()})
    return [CompletionItem(name) for name in names if name.startswith(incomplete)] or [
        CompletionItem(incomplete, type="file")
    ]


def given_suite(suite: str | None, option: str | None) -> str | None:
    """Return the suite given as argument or with --suite. Raises ``UsageError`` if both are given and differ."""
    if suite and option and suite != option:
        raise click.UsageError(f"got the suites {suite} and {option}; give one")
    return suite or option


def suite_options(f: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that select a run: a suite with its images and settings, or a stored run.

    The command gets them as ``chosen``, a ``bench.cli.chosen.Chosen``.
    """

    @functools.wraps(f)
    def command(
        *, suite: str | None, suite_option: str | None, name: str | None, data: Path | None, out: Path,
        exclude_memorised: bool, config_from: tuple[Path, ...], assignments: tuple[str, ...], **options: Any,
    ) -> Any:  # fmt: skip
        from bench.cli.chosen import Chosen

        dropping = ("exclude_memorised=true",) if exclude_memorised else ()
        changes = (*(f"@{path}" for path in config_from), *assignments, *dropping)
        return f(chosen=Chosen(given_suite(suite, suite_option), name, changes, data, out), **options)

    for option in reversed(
        (
            click.argument("suite", required=False, shell_complete=complete_suite),
            click.option("--suite", "suite_option", metavar="SUITE", help=SUITE_HELP),
            click.option("--name", help="Name of the run. Default: the suite's; a stored run is selected by it."),
            click.option("--data", type=click.Path(path_type=Path),
                         help="Folder of the images, or table. Default: that of the run or suite, or $BENCH_DATA."),
            out_option,
            click.option("--config-from", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
                         help="YAML file to merge into the suite, e.g. from `bench tune`. Applied before --set."),
            click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE",
                         help="Change a setting: --set dataset.magnification=100, --set 'classifiers.*.steps=50'."),
            click.option("--exclude-memorised", is_flag=True,
                         help="Add each generative arm without its memorised samples (exclude_memorised=true)."),
        )
    ):  # fmt: skip
        command = option(command)
    return command
