"""The verb `bench generate`: synthetic images from a generator of a run, or from one trained on all images."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.options import Command, device_option
from bench.config import override
from bench.data.records import fingerprint
from bench.data.sets.detect import detect
from bench.engine.console import plain_console
from bench.engine.executors.threads import limit_threads
from bench.engine.generate import Generator, generator_of_all, generator_of_run, label_of, write_images
from bench.engine.session import data_root, local_weights, pick_device, prepare, suite_root
from bench.errors import ConfigError, nearest
from bench.plan.checks import check_trainable
from bench.plan.plan import Cell, fold_title
from bench.stages import RunEnv, load_index
from bench.store.cell_folders import Artifacts
from bench.suite.sub_suites import images_in
from bench.suite.suite import Suite, load_suite, parse_suite


def suite_for(name: str | None, method: str, assignments: tuple[str, ...], data: Path | None) -> Suite:
    """Return the suite with that name, or for None one of the method and the data set whose layout the folder has.

    Raises ``ConfigError`` if the suite does not have the method, or if it makes no images.
    """
    if name:
        suite = load_suite(name, assignments, data)
    elif data is None:
        raise ConfigError("which images? Give a folder with --data, or a suite with --suite")
    else:
        plain = {"dataset": {"name": detect(data)}, "methods": {method: {}}, "classifiers": {}}
        suite = parse_suite("generate", override(plain, assignments))
    generative = [m.name for m in suite.methods if m.kind == "generative"]
    if method not in generative:
        raise ConfigError(f"--method {method}: not a generative method of this suite; {nearest(method, generative)}")
    return suite


def generator_for(
    suite_name: str | None, method: str, assignments: tuple[str, ...], data: Path | None, store: Path, device: str,
    at: tuple[int, int] | None,
) -> tuple[Generator, RunEnv]:  # fmt: skip
    """Return the generator, and the environment it was trained in; ``at`` are fold and repeat of a run, None: train."""
    suite = suite_for(suite_name, method, assignments, data_root(data))
    if suite.settings.threads:  # for training and sampling: the last digits depend on the number of threads
        limit_threads(suite.settings.threads)
    if at is None:
        root = suite_root(suite, data)
        images = images_in(root, suite.settings.folder) or root
        check_trainable(suite)
        index = load_index(suite, images, store / "cache")
        suite = suite.with_steps(len(index.records))
        env = RunEnv(store, suite, fingerprint(index), images, pick_device(device), local_weights(suite))
        plain_console().print(f"{method} is trained on {len(index.records)} images, unless it is already")
        return generator_of_all(method, index, env), env
    if not suite_name:
        raise ConfigError("--fold: give the suite of the run with --suite")
    session = prepare(suite_name, assignments, data, store).on_device(pick_device(device))
    return generator_of_run(_cell(session.plan.cells, method, at, store), session.env), session.env


def _cell(cells: tuple[Cell, ...], method: str, at: tuple[int, int], store: Path) -> Cell:
    where = f"{method}, {fold_title(*at)}"
    found = [c for c in cells if c.stage == "fit" and c.method == method and (c.fold, c.repeat) == at]
    if not found or found[0].train_patients is not None:
        raise ConfigError(f"{where}: the suite has no such generator; a learning curve's cannot be chosen by fold")
    if not Artifacts(store).is_done(*found[0].id):
        raise ConfigError(f"{where}: not trained in {store}; run the suite first, or leave out --fold to train one")
    return found[0]


@click.command(cls=Command)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the images.")
@click.option("--method", required=True, help="Generative method (see `bench list`).")
@click.option("--class", "names", multiple=True, required=True, help="Class to generate; can be repeated.")
@click.option("--count", type=click.IntRange(1), required=True, help="Number of images of each class.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Seed of the images.")
@click.option("--suite", help="Suite with data set, image size and settings. Default: found from --data.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the images. Default: $BENCH_DATA.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a setting: --set image_size_px=64, --set methods.cgan.steps=500.",
)
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Output folder of runs. A generator that is trained is kept there.",
)
@click.option("--fold", type=click.IntRange(0), help="Use the run's generator of this fold; do not train one.")
@click.option("--repeat", type=click.IntRange(0), default=0, show_default=True, help="Repeat of that fold.")
@device_option
def generate(
    out: Path, method: str, names: tuple[str, ...], count: int, seed: int, suite: str | None, data: Path | None,
    assignments: tuple[str, ...], store: Path, fold: int | None, repeat: int, device: str,
) -> None:  # fmt: skip
    """Generate images of a class, as PNG files with a manifest and a note on leakage and licence.

    With --fold they come from a generator of a finished run, else from one that is trained on all images of --data; its
    training resumes when the command is run again. The same command writes the same images.
    """
    at = None if fold is None else (fold, repeat)
    store = store.expanduser().resolve()
    generator, env = generator_for(suite, method, assignments, data, store, device, at)
    counts = {label_of(name, generator.data.classes): count for name in names}
    files = write_images(generator, counts, seed, out, env)
    plain_console().print(f"{len(files)} images in {out}; read {out / 'note.txt'} before using them")
