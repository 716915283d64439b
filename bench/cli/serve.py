"""The verb `bench serve`: a local web page to try a run's classifiers and generators on images."""

from __future__ import annotations

import click

from bench.cli.chosen import Chosen, one
from bench.cli.options import Command, device_option, suite_options
from bench.engine.session import Session, pick_device
from bench.errors import ConfigError
from bench.pages import server
from bench.pages.serve.app import serve_app
from bench.pages.serve.runs import Run


def serve_run(session: Session, host: str, port: int | None) -> None:
    """Serve the page for a run and the other runs in its output folder until Ctrl-C.

    Raises ``ConfigError`` if no classifier or generator is trained, or the address cannot be used.
    """
    offered = Run(session).described()
    if not offered["classifiers"] and not offered["generators"]:
        raise ConfigError(
            f"{session.env.out}: no trained classifier or generator of suite {session.suite.name} found; "
            f"train them: {session.command}"
        )
    server.run(serve_app(session), host, port, title=f"{session.suite.name}, ready")


@click.command(cls=Command)
@suite_options
@device_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on. The default is local only.")
@click.option("--port", type=click.IntRange(0, 65535), help="Default: 8000, or the first free one after it.")
def serve(chosen: Chosen, device: str, host: str, port: int | None) -> None:
    """Serve a page to try trained classifiers and generators on images, until Ctrl-C. Not a medical device."""

    serve_run(one(chosen.stored()).on_device(pick_device(device)), host, port)
