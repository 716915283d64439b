"""`bench serve`: a page to try what a run has trained."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.options import Command, device_option, suite_options


@click.command(cls=Command)
@suite_options
@device_option
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on. Default: this machine only."
)
@click.option("--port", type=click.IntRange(0, 65535), help="Default: 8000, or the first free one after it.")
def serve(
    suite: str, data: Path | None, out: Path, assignments: tuple[str, ...], device: str, host: str, port: int | None
) -> None:
    """Open a page to try trained classifiers and generators on images, until Ctrl-C. Not a medical device."""
    from bench.cli.serve_verb import serve as serve_page
    from bench.engine.session import pick_device, prepare

    serve_page(prepare(suite, assignments, data, out).on_device(pick_device(device)), host, port)
