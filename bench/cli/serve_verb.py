"""The verb `bench serve`: a page on this machine to try a run's classifiers and generators on images."""

from __future__ import annotations

from bench.engine.session import Session
from bench.errors import ConfigError
from bench.pages import server
from bench.pages.serve.app import serve_app
from bench.pages.serve.runs import Run


def serve(session: Session, host: str, port: int | None) -> None:
    """Serve the page of a run and others in its output folder until Ctrl-C.

    Raises ``ConfigError`` when nothing of the run is done that could be tried, or the address cannot be had.
    """
    offered = Run(session).described()
    if not offered["classifiers"] and not offered["generators"]:
        raise ConfigError(
            f"{session.env.out}: no classifier or generator of suite {session.suite.name} is trained there; "
            f"train them: {session.command}"
        )
    server.run(serve_app(session), host, port, title=f"{session.suite.name}, ready")
