"""What every verb shares: typed errors as one clear message, groups that suggest the nearest verb, common options."""

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
    """A click command whose typed errors become one clear message and their exit code: 2, or 4 for the disk."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort):
            raise
        except click.ClickException as e:
            e.__dict__["message"] = redact(e.message)  # click declares it final
            raise
        except Exception as e:
            error = (disk_error(e) if isinstance(e, OSError) else None) or e
            if not isinstance(error, BenchError):
                _hide_secrets_of(e)
                raise
            click.secho(redact(f"{type(error).__name__}: {error}"), fg="red", err=True)
            raise SystemExit(error.exit_code) from None
        except KeyboardInterrupt:
            click.secho("\ninterrupted; the same command continues where this one stopped", fg="yellow", err=True)
            raise SystemExit(INTERRUPTED) from None


def _hide_secrets_of(e: Exception) -> None:
    """Print a traceback that has a secret in it without it, and end with code 1; return where it has none."""
    text = "".join(traceback.format_exception(e))
    if (shown := redact(text)) != text:
        click.echo(shown, err=True)
        raise SystemExit(1) from None


class Group(click.Group):
    """A group whose commands are ``Command``s, and which suggests the nearest verb."""

    command_class = Command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
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
    help="Only these cells and what they need: method, classifier, fold, repeat, ratio, stage.",
)
device_option = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
out_option = click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder for everything that is written.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")


def suite_options(f: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say which plan is meant."""

    @functools.wraps(f)
    def command(
        *, exclude_memorised: bool, config_from: tuple[Path, ...], assignments: tuple[str, ...], **options: Any
    ) -> Any:
        dropping = ("exclude_memorised=true",) if exclude_memorised else ()
        return f(assignments=(*(f"@{path}" for path in config_from), *assignments, *dropping), **options)

    for option in reversed(
        (
            click.option("--suite", required=True, help="A suite's name (see `bench list`), or a YAML file."),
            click.option("--data", type=click.Path(path_type=Path), help="Folder of the images. Default: $BENCH_DATA."),
            out_option,
            click.option("--config-from", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
                         help="A YAML file to merge into the suite, such as `bench tune` writes; before --set."),
            click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE",
                         help="Change a setting: --set dataset.magnification=100, --set 'classifiers.*.steps=50'."),
            click.option("--exclude-memorised", is_flag=True,
                         help="Each generative arm once more, without memorised samples (exclude_memorised=true)."),
        )
    ):  # fmt: skip
        command = option(command)
    return command
