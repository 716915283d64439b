"""`bench rate`: are synthetic images taken for real, and how good are they?"""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.options import Command, json_option, suite_options


@click.command(cls=Command)
@suite_options
@click.option("--study", help="Its name. Default: the suite's.")
@click.option("--per-method", type=click.IntRange(1), help="Images of each method, and real ones. Default: 20.")
@click.option("--seed", type=int, help="Which images are drawn, and the raters' orders. Default: 0.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0: for others too.")
@click.option("--port", type=click.IntRange(0, 65535), help="Default: 8000, or the first free one after it.")
@click.option("--analyse", is_flag=True, help="Say what the raters found so far, instead of serving the page.")
@json_option
def rate(
    suite: str, data: Path | None, out: Path, assignments: tuple[str, ...], study: str | None, per_method: int | None,
    seed: int | None, host: str, port: int | None, analyse: bool, as_json: bool,
) -> None:  # fmt: skip
    """Serve a blinded study of a finished run's images: real or fake, and quality 0 to 5. Ctrl-C stops it.

    The study is drawn once, of test images and of what every generative method made, and never changed. Answers are
    saved at once; start it again, and every rater goes on where they were.
    """
    from bench.cli import rate_verb as command
    from bench.engine.session import prepare

    if as_json and not analyse:
        raise click.UsageError("--json goes with --analyse")
    session = prepare(suite, assignments, data, out)
    if analyse:
        command.analyse(session, study, as_json)
    else:
        command.serve_study(session, study, per_method, seed, host, port)
