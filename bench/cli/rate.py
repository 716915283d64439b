"""The verb `bench rate`: serve a blinded rating study, or analyse its answers."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import asdict
from math import isfinite
from typing import Any

import click

from bench.analysis.raters import RatedSource, RatingStudy, Share, analysed, raters_of
from bench.cli.chosen import Chosen, one
from bench.cli.options import Command, json_option, suite_options
from bench.config import strict_json
from bench.engine.session import Session
from bench.errors import DataError
from bench.files import write_atomic
from bench.pages.rate.build import counts, open_study, study_folder
from bench.report.sections.raters import agreement, apart, coefficient, shown_twice
from bench.report.text import DASH, interval, percent, seconds
from bench.store.csv_cells import DictWriter
from bench.store.ratings import Answers, Study, load_study

RESULTS = "raters.csv"
COLUMNS = ("source", "rater", "measure", "value", "low", "high", "hits", "n")


def serve_study(
    session: Session, name: str | None, per_method: int | None, seed: int | None, host: str, port: int | None
) -> None:
    """Open the study, or sample a new one from the finished run, and serve it until Ctrl-C."""
    from bench.pages.rate.app import rating_app
    from bench.pages.server import run

    folder, study = open_study(session, name, per_method, seed)
    sizes = ", ".join(f"{n} {source}" for source, n in counts(study).items())
    click.echo(f"study {study.name}: {len(study.images)} images ({sizes}); answers: {folder / 'answers.jsonl'}")
    if study.repeats != 0:
        click.secho(shown_twice(study.repeats), fg="yellow")
    missing = [m.name for m in session.suite.methods if m.kind == "generative" and m.name not in study.sources]
    if missing:
        click.secho(f"left out, no synthetic images: {', '.join(missing)}", fg="yellow")
    run(rating_app(study, folder), host, port, "page for raters")


def analyse_study(session: Session, name: str | None, as_json: bool) -> None:
    """Print the results of a study and write them next to the answers. Raises ``DataError`` without answers."""
    folder = study_folder(session, name)
    if not folder.exists():
        raise DataError(f"study {folder} does not exist; create it: bench rate without --analyse")
    study = load_study(folder)
    ids = {image.id for image in study.images}
    answers = {at: a for at, a in Answers(folder).read().items() if a.image in ids}
    if not answers:
        raise DataError(f"{folder / 'answers.jsonl'} has no answers yet; let raters answer first: bench rate")
    found = analysed(study, answers)
    write_atomic(folder / RESULTS, as_csv(found))
    if as_json:
        click.echo(json.dumps(strict_json(asdict(found)), indent=1, ensure_ascii=False))
        return
    show(found, study, raters_of(answers))
    click.echo(f"{folder / RESULTS}\nto add it to the report: {session.command_of('report')}")


def as_csv(found: RatingStudy) -> str:
    """Return CSV with one row per number: per source, per rater, per both, or overall. Shares are in [0, 1]."""
    text = io.StringIO()
    out = DictWriter(text, COLUMNS, lineterminator="\n")
    out.writeheader()
    out.writerows({k: "" if v != v else v for k, v in row.items()} for row in _rows(found))
    return text.getvalue()


def _rows(found: RatingStudy) -> Iterator[dict[str, Any]]:
    for s in found.sources:
        at = {"source": s.source}
        yield {**at, "measure": "taken_for_real", **asdict(s.taken_for_real)}
        yield {**at, "measure": "right", **asdict(s.right)}
        ends = {"low": s.quality_low, "high": s.quality_high}
        yield {**at, "measure": "quality", "value": s.quality, **ends, "n": s.rated}
        ends = {"low": s.against_real_low, "high": s.against_real_high}
        yield {**at, "measure": "taken_for_real_minus_real", "value": s.against_real, **ends}
        yield from _agreement(s)
    for r in found.raters:
        at = {"rater": r.rater}
        yield {**at, "measure": "right", **asdict(r.right)}
        yield {**at, "measure": "right_by_guessing", "value": r.by_guessing}
        yield {**at, "measure": "real_minus_synthetic", "value": r.difference, "low": r.low, "high": r.high}
        yield {**at, "measure": "median_s", "value": r.median_s, "n": r.answers}
    for b in found.by_both:
        at = {"source": b.source, "rater": b.rater}
        yield {**at, "measure": "taken_for_real", **asdict(b.taken_for_real)}
        yield {**at, "measure": "right", **asdict(b.right)}
        yield {**at, "measure": "quality", "value": b.quality, "n": b.right.n}
    yield {"measure": "right", **asdict(found.whole.right)}
    yield from ({**row, "source": ""} for row in _agreement(found.whole))


def _agreement(s: RatedSource) -> Iterator[dict[str, Any]]:
    a = s.agreement
    for measure, n in {"kappa": a.kappa_images, "icc_single": a.icc_images, "icc_mean": a.icc_images}.items():
        yield {"source": s.source, "measure": measure, "value": getattr(a, measure), "n": n}


def show(found: RatingStudy, study: Study, names: list[str]) -> None:
    """Print a study's tables; only this output and the answers contain the raters' names."""
    from rich.table import Column, Table

    from bench.engine.console import plain_console

    console = plain_console()
    console.print(f"study {found.name} of {study.suite}: {found.images} images, {found.answers} answers")
    console.print(shown_twice(found.repeats))
    console.print("; ".join(f"{r.rater}: {name}" for r, name in zip(found.raters, names, strict=True)) + "\n")
    headings: tuple[str, ...] = ("source", "rated", "rated as real, %", "quality, 0 to 5")
    table = Table(*headings, box=None, pad_edge=False)
    for s in found.sources:
        quality = f"{s.quality:.2f}" if s.rated else DASH
        ends = f" [{s.quality_low:.2f}, {s.quality_high:.2f}]" if isfinite(s.quality_low) else ""
        table.add_row(s.source, f"{s.rated} of {s.images}", _percent(s.taken_for_real), quality + ends)
    console.print(table)
    console.print()
    right = Column("correct, %", no_wrap=True)  # narrow terminals wrap the reasons why a number is undefined instead
    table = Table("source", right, "kappa", "ICC, single", "ICC, mean", box=None, pad_edge=False)
    for s in (*found.sources, found.whole):
        a = s.agreement
        marks = (coefficient(icc, a.icc_undefined) for icc in (a.icc_single, a.icc_mean))
        table.add_row(s.source, _percent(s.right), coefficient(a.kappa, a.kappa_undefined), *marks)
    console.print(table)
    console.print()
    headings = ("rater", "answers", "correct, %", "by guessing, %", "distinguishes", "median time")
    table = Table(*headings, box=None, pad_edge=False)
    for r in found.raters:
        table.add_row(r.rater, str(r.answers), _percent(r.right), percent(r.by_guessing), apart(r), seconds(r.median_s))
    console.print(table)
    console.print(f"\n{agreement(found)}")


def _percent(share: Share) -> str:
    return f"{percent(share.value)} {interval(share.low, share.high)}".strip()


@click.command(cls=Command)
@suite_options
@click.option("--study", help="Name of the study. Default: the suite's name.")
@click.option("--per-method", type=click.IntRange(1), help="Images per method, and real images. Default: 20.")
@click.option("--seed", type=int, help="Seed of the sampled images and of the order per rater. Default: 0.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0: all networks.")
@click.option("--port", type=click.IntRange(0, 65535), help="Default: 8000, or the first free one after it.")
@click.option("--analyse", is_flag=True, help="Print the results so far instead of serving the page.")
@json_option
def rate(
    chosen: Chosen, study: str | None, per_method: int | None, seed: int | None, host: str, port: int | None,
    analyse: bool, as_json: bool,
) -> None:  # fmt: skip
    """Serve a blinded study of a finished run's images: real or synthetic, and quality 0 to 5. Ctrl-C stops it.

    The study is sampled once, from test images and the synthetic images of every generative method, and then fixed.
    Every answer is saved at once; after a restart, raters continue where they stopped.
    """

    if as_json and not analyse:
        raise click.UsageError("--json needs --analyse")
    session = one(chosen.stored())
    if analyse:
        analyse_study(session, study, as_json)
    else:
        serve_study(session, study, per_method, seed, host, port)
