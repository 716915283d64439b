"""The report of one suite: every section that a module in ``sections/`` defines, in order.

A module of ``sections/`` with a function ``sections(records, info)`` adds its sections to every format; nothing else
needs to know it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from importlib import import_module
from pkgutil import iter_modules

from bench.analysis.info import ReportInfo
from bench.analysis.report import Records
from bench.report import sections as package
from bench.report.content import Section, Table, listed, placed
from bench.report.sections.settings import config_section
from bench.report.text import plain

HTML_FILE, MORE, DEFINITIONS = "report.html", "More figures", "Definitions"
DEFINITIONS_AT, MORE_AT = 900, 700
ALWAYS = {"Pairs", "Minimum detectable effect"}  # terms that the answer uses


def sections(
    records: Records, info: ReportInfo, figures: Mapping[str, str], pictures: Mapping[str, str], config: str = ""
) -> list[Section]:
    """Return the sections in order. ``figures`` and ``pictures`` are captions by path, relative to the report folder.

    Figures that no section claims are put in a last section. Sections without text and figures are omitted. ``config``
    is the resolved suite as YAML.
    """
    modules = [import_module(f"{package.__name__}.{m.name}") for m in iter_modules(package.__path__)]
    found = [s for m in modules if hasattr(m, "sections") for s in m.sections(records, info)]
    found += [config_section(config)] if config else []
    captions = {path: _caption(path, name, info) for path, name in pictures.items()}
    return placed(found, {**figures, **captions}, MORE, MORE_AT)


def defined(found: Sequence[Section], brief: bool = False) -> list[Section]:
    """Return the sections and one with their definitions, each term once.

    ``brief``: only the main sections, and only the terms that are columns of a visible table or ``ALWAYS`` defined.
    """
    shown = [s for s in found if not (brief and s.appendix)]
    terms = {head: text for s in shown for head, text in s.definitions.items()}
    if brief:
        heads = {plain(h) for s in shown for b in s.blocks if isinstance(b, Table) for h in b.heads} | ALWAYS
        terms = {names: text for names, text in terms.items() if heads & set(re.split(r"[,;] ", names))}
    here = Section(DEFINITIONS, (listed(terms),) if terms else (), DEFINITIONS_AT, appendix=False)
    return sorted([*shown, *([here] if terms else [])], key=lambda s: s.order)


def title(info: ReportInfo) -> str:
    """Return the report's title."""
    asked = "does augmentation help on unseen patients?" if info.classifiers else "quality of the synthetic images"
    return f"{info.suite}: {asked}"


def more(found: Sequence[Section]) -> str:
    """Return where the rest is: in the page and in the tables."""
    tables = " and [tables](tables) as CSV" if any(True for s in found for _ in s.tables) else ""
    page = f"All figures, sortable tables and the appendix: [{HTML_FILE}]({HTML_FILE}){tables}"
    return f"{page}; every number: [leaderboard.csv](leaderboard.csv)."


def _caption(path: str, name: str, info: ReportInfo) -> str:
    """Return the caption of a picture; ``name`` for an unknown one."""
    stem = path.removeprefix("pictures/").removesuffix(".png")
    if fnmatch(stem, "overview*"):
        return "Real training images of each class, and synthetic images of each method."
    if stem in info.generative:
        return (
            f"`{stem}`: real training images of each class, and below them synthetic images, evenly sampled from "
            "those of a fold."
        )
    if stem.startswith("explanations_"):
        return f"{name} of the same test images for every arm. Qualitative: it shows where the network looked, not why."
    if stem.startswith("segmentation_"):
        found = f"{name} predicted by every arm in the same test images (orange), with the true outline (blue)"
        return f"{found}; below each, Grad-CAM of the prediction. Qualitative."
    for method in info.generative:
        if stem == f"{method}_closest_pairs":
            return (
                f"`{method}`: synthetic images (left) and their nearest training image (right); red: flagged as "
                "memorised."
            )
        if stem == f"{method}_translations":
            return f"`{method}`: test images, their translation to another class, and their reconstruction."
    return name
