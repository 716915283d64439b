"""The verb `bench init`: write a suite for a folder of images or a table."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
from rich.console import Console

from bench import registry
from bench.audit.class_patterns import class_options
from bench.audit.group_patterns import GroupPattern, group_patterns
from bench.audit.proposal import Proposal, propose
from bench.audit.table_columns import with_columns
from bench.cli.audit import dataset_options
from bench.cli.init_suite import suite_text
from bench.cli.options import Command
from bench.config import build
from bench.data.left_out import data_lines
from bench.data.positive import with_positive
from bench.data.sets.detect import detect, read_index
from bench.data.sets.folder_layout import inner_classes, inner_folder
from bench.data.sets.image_folder import ImageFolder, ImageFolderConfig
from bench.data.tables import is_table
from bench.engine.console import plain_console
from bench.errors import ConfigError, DataError
from bench.files import write_atomic
from bench.suite.suite import load_suite
from bench.types import DatasetIndex

ALONE = "every image is its own group. If patients have several images, "
PATTERN = "give their pattern: --set 'dataset.group_regex=/(?P<group>P[0-9]+)_'"
NO_GROUP = {
    "image_folder": f"no patient was recognised in the paths: {ALONE}{PATTERN}",
    "table": f"no patient was recognised in columns or paths: {ALONE}name it: --set dataset.group=COLUMN; or {PATTERN}",
}


@dataclass(frozen=True)
class Draft:
    """What a suite is written from. ``reasons`` explain the dataset's ``options``, by their names."""

    data: Path
    name: str
    options: dict[str, Any]
    index: DatasetIndex
    proposal: Proposal
    reasons: dict[str, str] = field(default_factory=dict)


def make_draft(path: Path, assignments: tuple[str, ...], yes: bool, console: Console) -> Draft:
    """Read the images of a folder or table and choose settings; without ``yes``, ask where it is unclear.

    ``assignments`` are those of ``--set dataset.…``. Raises ``ConfigError`` and ``DataError``.
    """
    options = dataset_options(assignments)
    asked, positive = options.pop("name", None), options.pop("positive", None)
    data = path if asked else _only_table(path)
    name, reasons = str(asked or detect(data)), dict[str, str]()
    if name == "table" and data.is_file():
        options = with_columns(data, options)
    if name == "image_folder" and not {"class_regex", "classes"} & options.keys():
        options = class_options(data) | options
        if "class_regex" in options:
            reasons["class_regex"] = "where the class stands in a path: CHECK"
            console.print(f"there is not one folder per class; the class is found by {options['class_regex']}")
    if name in NO_GROUP and not {"group", "group_regex"} & options.keys():
        pattern = _choose_pattern(name, data, options, yes, console)
        if pattern:
            options["group_regex"] = pattern.regex
            reasons["group_regex"] = f"{pattern.what}: {len(pattern.images):,} groups"
    cls = registry.load("dataset", name)
    with TemporaryDirectory() as cache, console.status("reading every image"):
        index = read_index(cls(build(cls.Config, options, name)), name, data, Path(cache))
    index = with_positive(index, positive)
    if index.positive or len(index.classes) != 2:
        reasons["positive"] = "as given" if positive else "as its name or the data set says"
    else:
        index, reasons["positive"] = _choose_positive(index, yes)
    if index.positive:
        options["positive"] = index.positive
    return Draft(data, name, options, index, propose(index), reasons)


def _only_table(path: Path) -> Path:
    """Return the only table of images in a folder without folders of classes, else the path itself.

    Raises ``ConfigError`` if there are tables, and it is unclear which one lists the images, or by which columns.
    """
    if not path.is_dir() or detect(path) != "image_folder":
        return path
    try:
        ImageFolder(ImageFolderConfig()).listing(path)
    except DataError:
        tables = [p for p in sorted(path.iterdir()) if is_table(p) and p.suffix.lower() != ".txt"]
        fit = [p for p in tables if _lists_images(p)]
        if len(fit) == 1 or not tables or inner_classes(inner_folder(path)):
            return fit[0] if len(fit) == 1 else path
        names, first = ", ".join(p.name for p in fit or tables), shlex.quote(str((fit or tables)[0]))
        raise ConfigError(
            f"{path} has no folders of classes, but {names}: give the table that lists the images, and its columns "
            f"where they are not recognised: bench init {first} --set dataset.label=COLUMN"
        ) from None
    return path


def _lists_images(file: Path) -> bool:
    try:
        with_columns(file, {})
    except (ConfigError, DataError):
        return False
    return True


def _choose_pattern(name: str, data: Path, options: dict[str, Any], yes: bool, console: Console) -> GroupPattern | None:
    cls = registry.load("dataset", name)
    listing = cls(build(cls.Config, options, name)).listing(data)
    found = group_patterns({f.path: f.label for f in listing.files})
    if not found:
        console.print(NO_GROUP[name], style="yellow")
        return None
    console.print("what names the patient in a path, with the groups that it gives:")
    for number, pattern in enumerate(found, start=1):
        console.print(f"  {number}. {pattern.what}: {pattern.words}\n     {pattern.regex}")
    console.print("  0. nothing: every image is its own group")
    chosen = 1 if yes else click.prompt("number", type=click.IntRange(0, len(found)), default=1)
    return found[chosen - 1] if chosen else None


def _choose_positive(index: DatasetIndex, yes: bool) -> tuple[DatasetIndex, str]:
    counts = [sum(r.label == label for r in index.records) for label in range(2)]
    rarer = index.classes[counts.index(min(counts))]
    if yes:
        what = "the rarer class" if len({*counts}) > 1 else "the first of two classes of equal size"
        return with_positive(index, rarer), f"{what}: CHECK that it is the finding"
    chosen = click.prompt(
        "which class is the positive one (the finding)?", type=click.Choice(index.classes), default=rarer
    )
    return with_positive(index, chosen), "as answered"


@click.command("init", cls=Command)
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=Path("suite.yaml"), show_default=True,
              help="Suite file to write.")  # fmt: skip
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE",
              help="Give an option of the data set: --set dataset.group=patient_id.")  # fmt: skip
@click.option("--yes", is_flag=True, help="Ask nothing; take the proposals.")
def init(path: Path, out: Path, assignments: tuple[str, ...], yes: bool) -> None:
    """Check the images of PATH, a folder or a table, and write a suite for them with commented settings."""

    if out.exists():
        raise ConfigError(f"{out} exists and is not replaced; give another file with --out, or remove it")
    console = plain_console()
    draft = make_draft(path.expanduser().resolve(), assignments, yes, console)
    index, proposal = draft.index, draft.proposal
    classes = ", ".join(f"{c} {sum(r.label == i for r in index.records):,}" for i, c in enumerate(index.classes))
    groups = len({r.group_id for r in index.records})
    console.print(f"{draft.name}: {len(index.records):,} images ({classes}) of {groups:,} {index.group_name}")
    for line in data_lines(index):
        console.print(line, style="yellow")
    console.print(f"image size: {proposal.image_size_px} px; {proposal.size_reason}")
    console.print(f"split: {proposal.split['protocol']}; {proposal.split_reason}")
    if index.positive:
        console.print(f"positive class: {index.positive}; {draft.reasons['positive']}")
    text = suite_text(draft.name, _relative(draft.data, out), draft.options, index, proposal, draft.reasons)
    write_atomic(out, text)
    load_suite(str(out))  # whatever was written can be run
    console.print(f"written: {out}\npredict its time: bench plan {out}\nrun it: bench run {out}")


def _relative(data: Path, out: Path) -> str:
    """Return the path of the data for a suite file: relative if the data lie below the file's folder."""
    folder = out.expanduser().resolve().parent
    return os.path.relpath(data, folder) if data.is_relative_to(folder) else str(data)
