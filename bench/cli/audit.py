"""The verb `bench data audit`: check a folder of images before training."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from bench import registry
from bench.audit.audit import audit_listing
from bench.audit.folds import audit_folds
from bench.audit.table_columns import with_columns
from bench.audit.view import show_audit
from bench.cli.options import Command, json_option
from bench.config import build, override
from bench.data.listing import ImageChecks, Listed, Listing
from bench.data.records import DEFAULT_CHECKS
from bench.data.sets.detect import detect, naming_layout, read_index
from bench.data.splits import make_splits
from bench.engine.session import data_root, suite_root
from bench.errors import ConfigError, DataError, LeakageError
from bench.store.disk import cache_folder
from bench.suite.sub_suites import images_in
from bench.suite.suite import Suite, load_suite
from bench.types import DatasetIndex

if TYPE_CHECKING:
    from bench.audit.leak_demo import LeakDemo

STRICT_EXIT = 3
REFUSED = ("exact_label_conflicts", "near_label_conflicts", "exact_across_groups", "near_across_groups")


@dataclass(frozen=True)
class Subject:
    """The images to audit. ``root`` is None only for a dataset that needs no folder."""

    name: str
    dataset: Any
    root: Path | None
    cache: Path
    suite: Suite | None = None
    detected: bool = False  # the dataset was recognised from the folder's layout, not named by the user

    def index(self) -> DatasetIndex:
        """Read the images that a run would use. Raises ``DataError``."""
        return read_index(self.dataset, self.name, self.root, self.cache)

    def listing(self) -> Listing:
        """Return all images; for a dataset without ``listing``, the images that a run would use."""
        if hasattr(self.dataset, "listing"):
            with naming_layout(self.name, self.root):
                listing: Listing = self.dataset.listing(self.root)
            return listing
        index = self.index()
        files = tuple(Listed(r.path, r.label, r.group_id, r.mask_paths, r.attributes) for r in index.records)
        has_masks = any(f.masks for f in files)
        return Listing(index.root, index.classes, files, index.problems, has_masks=has_masks, skipped=index.skipped)


def find_subject(
    folder: Path | None,
    dataset: str | None,
    suite_name: str | None,
    out: Path,
    assignments: tuple[str, ...] = (),
) -> Subject:
    """Return the images to audit: of the suite's dataset, of the named one, or of the one recognised from the layout.

    ``folder`` defaults to ``data`` of the suite, then to BENCH_DATA. ``assignments`` are those of ``--set``; without a
    suite only ``dataset.…`` can be set. Raises ``ConfigError`` and ``DataError``.
    """
    root = data_root(folder)
    cache = cache_folder(out.expanduser().resolve())
    if suite_name:
        suite = load_suite(suite_name, assignments, root)
        root = suite_root(suite, folder)
        root = images_in(root, suite.settings.folder) or root
        if dataset not in (None, suite.dataset.name):
            raise ConfigError(
                f"--dataset {dataset}: suite {suite.name} uses dataset {suite.dataset.name}; give only one of them"
            )
        return Subject(suite.dataset.name, suite.dataset.create(), root, cache, suite)
    options = dataset_options(assignments)
    options.pop("positive", None)  # only scores need it; an audit computes none
    dataset = str(options.pop("name")) if "name" in options else dataset
    if dataset is None and root is None:
        raise DataError("no image folder given; give one as argument, with --data or in the variable BENCH_DATA")
    name = dataset or detect(root or Path())
    if name == "table" and root and root.is_file():
        options = with_columns(root, options)
    cls = registry.load("dataset", name)
    return Subject(name, cls(build(cls.Config, options, name)), root, cache, detected=dataset is None)


def dataset_options(assignments: tuple[str, ...]) -> dict[str, Any]:
    """Return the options of ``--set dataset.…``. Raises ``ConfigError`` for other settings, which need a suite."""
    found = override({"dataset": {}}, assignments)
    options = found.pop("dataset")
    if found or not isinstance(options, dict):
        what = ", ".join(found) or "dataset"
        raise ConfigError(
            f"--set {what}: without --suite only the dataset's options can be set, as in dataset.KEY=VALUE"
        )
    return options


def audit_folder(subject: Subject, as_json: bool, strict: bool, leak_demo: bool = False) -> int:
    """Audit the images, print the result, return the exit code: 3 for duplicates that ``strict`` refuses, else 0.

    With ``leak_demo`` the leak demonstration follows (``bench.audit.leak_demo``), in JSON under the key ``leak_demo``.
    """
    result = audit_subject(subject)
    demo = _leak_demo(subject) if leak_demo else None
    if as_json:
        result |= {"leak_demo": demo.as_dict()} if demo else {}
        print(json.dumps(result, indent=1, sort_keys=True, ensure_ascii=False))
    else:
        show_audit(result)
        if demo:
            console = Console(soft_wrap=True, markup=False, highlight=False)
            console.print("\nScore gained by leakage", style="bold")
            console.print(*(f"  {line}" for line in demo.lines()), sep="\n")
    return STRICT_EXIT if strict and any(result["counts"][name] for name in REFUSED) else 0


def _leak_demo(subject: Subject) -> LeakDemo:
    from bench.audit.leak_demo import leak_demo

    with Console(stderr=True).status("training forests on two kinds of splits"):
        return leak_demo(subject.index(), subject.cache, subject.listing().knows_groups)


def audit_subject(subject: Subject) -> dict[str, Any]:
    """Return the whole audit: that of ``bench.audit.audit``, and which images a run would use.

    ``detected`` (bool); ``suite``: its name, or null; ``run``: {images, groups, problems: {kind: n}} with the suite's
    options, else the default ones, or {error}; ``folds``: a list (``bench.audit.folds``), {error}, or null.
    """
    config = getattr(subject.dataset, "config", None)
    checks = config if isinstance(config, ImageChecks) else DEFAULT_CHECKS
    result = audit_listing(subject.name, subject.listing(), subject.cache, checks)
    result |= {"detected": subject.detected, "suite": subject.suite.name if subject.suite else None, "folds": None}
    try:
        index = subject.index()
    except DataError as e:
        return result | {"run": {"error": str(e)}}
    problems = dict(sorted(Counter(p.kind for p in index.problems).items()))
    groups = len({r.group_id for r in index.records})
    result["run"] = {"images": len(index.records), "groups": groups, "problems": problems}
    if subject.suite:
        result["folds"] = _folds(index, subject.suite, result)
    return result


def _folds(index: DatasetIndex, suite: Suite, result: Mapping[str, Any]) -> Any:
    try:
        splits = make_splits(index, suite.settings.split)
    except (DataError, LeakageError) as e:
        return {"error": str(e)}
    exact = [(a, b) for a, b in result["exact"]["pairs"]]
    near = [(p["first"], p["second"]) for p in result["near"]["pairs"]]
    return audit_folds(index, splits, exact, near)


@click.command("audit", cls=Command)
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), help="Same as FOLDER. Default: $BENCH_DATA.")
@click.option("--dataset", help="Dataset (layout), see `bench list`. Default: recognised from the folder.")
@click.option("--suite", help="Use this suite's dataset and options, and audit its folds too.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a setting, as for `bench run`: --set 'dataset.classes=[ER-, ER+]'.",
)
@click.option("--strict", is_flag=True, help="Exit with code 3 if duplicates have two labels or are in two groups.")
@click.option(
    "--leak-demo", is_flag=True, help="Show the score that a split by image instead of by patient would give."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder whose cache keeps the measurements, if it exists; otherwise the user's cache folder.",
)
@json_option
def audit_(
    folder: Path | None, data: Path | None, dataset: str | None, suite: str | None, assignments: tuple[str, ...],
    strict: bool, leak_demo: bool, out: Path, as_json: bool,
) -> None:  # fmt: skip
    """Check every image of FOLDER: duplicates, near duplicates, labels, groups, bad files, masks, brightness, stain."""

    subject = find_subject(folder or data, dataset, suite, out, assignments)
    sys.exit(audit_folder(subject, as_json, strict, leak_demo))
