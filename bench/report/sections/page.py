"""The report as a sequence of named sections, each with its text and figures.

Two renderers read them: ``markdown`` below writes leaderboard.md, ``bench.report.html`` writes report.html.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from typing import Literal

from bench.analysis.info import ReportInfo
from bench.analysis.report import Records
from bench.report.sections.board import board
from bench.report.sections.compute import compute_section
from bench.report.sections.costs import cost_section
from bench.report.sections.custom_metrics import own_metrics_section
from bench.report.sections.data import data_section
from bench.report.sections.differences import difference_section
from bench.report.sections.failures import failure_section
from bench.report.sections.footnotes import footnotes
from bench.report.sections.leaderboard import comparison_parts, leaderboard_section, scores_caption, verdict_overview
from bench.report.sections.literature import orientation_section
from bench.report.sections.memorised import memorised_section
from bench.report.sections.published import published_section
from bench.report.sections.quality import quality_section
from bench.report.sections.questions import question_section
from bench.report.sections.raters import rater_section
from bench.report.sections.running import running_section
from bench.report.sections.segmentation import segmentation_section
from bench.report.sections.summary import summary
from bench.report.sections.translations import translation_section
from bench.report.text import code, folded, join, literal

MAIN = (
    "forest",
    "sweep",
    "folds",
    "cost",
    "differences",
    "losses",
    "training_fidelity",
)  # the charts that leaderboard.md shows
HTML_FILE, SUMMARY, BOARD, MORE = "report.html", "Summary", "Leaderboard", "More figures"
ALL = ("*",)
Where = Literal["both", "markdown", "html"]


@dataclass(frozen=True)
class Section:
    """A section of the report: title, blocks of GitHub markdown, and figures.

    ``claims`` are patterns of figure paths, ``figures`` the captions of the matching figures by path. ``where`` names
    the file that has the section. ``undefined`` are columns that the footnotes do not define here, or '*' for all.
    ``filters`` are the columns by which the HTML table can be filtered, with their values; None for no filters.
    ``alts`` are alternative texts of figures by path, if the file name is not enough.
    """

    title: str
    parts: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    figures: Mapping[str, str] = field(default_factory=dict)
    where: Where = "both"
    undefined: tuple[str, ...] = ()
    filters: Mapping[str, Sequence[str]] | None = None
    alts: Mapping[str, str] = field(default_factory=dict)


def sections(
    records: Records, info: ReportInfo, figures: Mapping[str, str], pictures: Mapping[str, str]
) -> list[Section]:
    """Return the sections in order. ``figures`` and ``pictures`` are captions by path, relative to the report folder.

    Figures that no section claims are put in a last section. Sections without text and figures are omitted.
    """
    found = [
        *_answers(records, info),
        *_evidence(records, info),
        *_images(records, info),
        *_cost(records, info),
        *_split(failure_section(records, info), undefined=ALL),
        Section("Figures", tuple(_figures(figures, pictures)), where="markdown"),
    ]
    found = _placed(found, {**figures, **{path: _caption(path, name, info) for path, name in pictures.items()}})
    found += [
        *_split(data_section(info), undefined=ALL),
        Section("How to read it", (footnotes(records, info),)),
        Section("Settings and versions", (_made(info),)),
    ]
    return [s for s in found if s.parts or s.figures]


def _answers(records: Records, info: ReportInfo) -> Iterable[Section]:
    """Yield the summary, the leaderboard, the research questions and the comparisons of each classifier."""
    yield Section(SUMMARY, tuple(f"{sentence}\n" for sentence in summary(records.lines, info)), _charts("forest"))
    overview = verdict_overview(records.lines, info)
    named = f"Verdicts and mean differences to `none`, in points of {info.unit.metric}"
    yield Section(SUMMARY, (f"{named}:\n", overview) if overview else (), where="markdown")
    caption = f"{scores_caption(info)} Differences are to `none`, in points.\n"
    rows = [caption, board(records.lines, info)] if records.lines else []
    rows += [folded(named, overview)] if overview else []
    yield Section(BOARD, tuple(rows), _charts("folds"), where="html", undefined=("Classifier",))
    yield from _split(question_section(records.questions, info), undefined=ALL)
    for classifier in info.classifiers:
        lines = [x for x in records.lines if x.classifier == classifier]
        whole = _split(leaderboard_section(classifier, lines, info))
        yield from (replace(s, where="markdown") for s in whole)
        yield Section(f"Comparisons: {classifier}", tuple(comparison_parts(lines)), where="html")
    yield from _split(own_metrics_section(records.own_metrics, info.measures), undefined=ALL)


def _evidence(records: Records, info: ReportInfo) -> Iterable[Section]:
    yield Section("Amount of synthetic data", (), _charts("sweep"), where="html")
    yield Section("Curves and calibration", (), _charts("roc", "pr", "reliability"), where="html")
    yield Section("Errors, by class and by patient", (), _charts("confusion", "patients"), where="html")
    yield Section("Grad-CAM of the classifiers", (), ("pictures/explanations*.png",), where="html")
    segmentation = segmentation_section(records.segmented, info)
    yield from _split(segmentation, ("pictures/segmentation_*.png",), or_else="Segmentation", undefined=ALL)
    equal = compute_section(records.charged, records.matches, info)
    yield from _split(equal, _charts("cost"), or_else="Accuracy and device time")
    published = published_section(records.published, records.heads, records.impossible, info, bool(records.raters))
    yield from _split(published, undefined=ALL)
    yield from _split(orientation_section(records.orientations, info), undefined=ALL)


def _images(records: Records, info: ReportInfo) -> Iterable[Section]:
    made = ("pictures/overview*.png", *(f"pictures/{method}.png" for method in info.generative))
    yield Section("Examples of synthetic images", (), made, where="html")
    memorised = memorised_section(records.memorised, records.survivals, info)
    yield from _split(
        memorised, ("pictures/*_closest_pairs.png",), or_else="Nearest training images", undefined=("Classifier",)
    )
    yield from _split(quality_section(records.quality))
    yield from _split(rater_section(records.raters, info), undefined=ALL)
    translated = translation_section(records.translations)
    yield from _split(translated, ("pictures/*_translations.png",), or_else="Translations")


def _cost(records: Records, info: ReportInfo) -> Iterable[Section]:
    yield Section("Training curves", (), _charts("losses", "training_fidelity", "classifier_losses"), where="html")
    yield from _split(cost_section(records.costs), undefined=("Images",))
    yield from _split(running_section(info.runs, records.predictions))
    differences = difference_section(records.differences, info)
    yield from _split(differences, _charts("differences"), or_else="Differences", undefined=ALL)


def _charts(*names: str) -> tuple[str, ...]:
    """Return path patterns of all pages of these charts."""
    return tuple(pattern for name in names for pattern in (f"charts/{name}.png", f"charts/{name}_*.png"))


def _split(
    parts: Sequence[str], claims: tuple[str, ...] = (), or_else: str = "", undefined: tuple[str, ...] = ()
) -> list[Section]:
    """Split markdown at second-level headings; the first section gets the claims.

    Without text, the claims go to a section of report.html with the title ``or_else``.
    """
    found: list[Section] = []
    for part in parts:
        if part.startswith("## "):
            title = part.removeprefix("## ").strip()
            found.append(Section(title, (), () if found else claims, undefined=undefined))
        else:
            found[-1] = replace(found[-1], parts=(*found[-1].parts, part))
    return found or ([Section(or_else, (), claims, where="html")] if claims else [])


def _placed(found: Iterable[Section], figures: Mapping[str, str]) -> list[Section]:
    """Assign every figure to the first section that claims it; the rest go to a last section."""
    left, placed = dict(figures), []
    for section in found:
        mine = [path for claim in section.claims for path in left if fnmatch(path, claim)]
        placed.append(replace(section, figures={path: left.pop(path) for path in dict.fromkeys(mine)}))
    return [*placed, Section(MORE, (), figures=left, where="html")]


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


def markdown(found: Sequence[Section], info: ReportInfo) -> str:
    """Return the text of leaderboard.md, which renders on GitHub."""
    return markdown_page(question(info), found, HTML_FILE)


def markdown_page(title: str, found: Sequence[Section], html_file: str) -> str:
    """Return sections as GitHub markdown: the summary below the title, then a link to the HTML version."""
    parts = [f"# {title}\n", *(part for s in found if s.title == SUMMARY for part in s.parts if s.where != "html")]
    parts.append(f"One page with all figures and sortable tables: [{html_file}]({html_file}).\n")
    for section in found:
        if section.parts and section.title != SUMMARY and section.where != "html":
            parts += [f"## {section.title}\n", *section.parts]
    return "\n".join(parts)


def question(info: ReportInfo) -> str:
    """Return the report's title."""
    asked = "does augmentation help on unseen patients?" if info.classifiers else "quality of the synthetic images"
    return f"{info.suite}: {asked}"


def alt(path: str) -> str:
    """Return a short alternative text of a figure: 'chart: forest'."""
    kind, _, name = path.removesuffix(".png").rpartition("/")
    return f"{kind.removesuffix('s') or 'figure'}: {name.replace('_', ' ')}"


def _figures(figures: Mapping[str, str], pictures: Mapping[str, str]) -> Iterable[str]:
    main = {path: text for path, text in figures.items() if any(fnmatch(path, claim) for claim in _charts(*MAIN))}
    yield from (f"![{alt(path)}]({path})\n\n*{caption}*\n" for path, caption in main.items())
    if pictures:
        links = ", ".join(f"[{name}]({path})" for path, name in pictures.items())
        yield f"Real and synthetic images side by side: {links}. These files contain images of the data set.\n"


def _made(info: ReportInfo) -> str:
    classes = join(map(literal, info.classes))
    facts = {
        "Command": code(info.command) if info.command else "",
        "Data": f"{info.dataset} ({classes}), {info.image_size_px} px, fingerprint `{info.fingerprint}`",
        "Splits": literal(info.protocol),
        "Seed": str(info.seed),
        "Machine": literal(info.host),
        "Versions": ", ".join(literal(f"{k} {v}") for k, v in sorted(info.versions.items())),
        "Commit": code(info.git_commit) if info.git_commit else "",
        "Suite": literal(info.description),
    }
    return "".join(f"- **{head}**: {text}\n" for head, text in facts.items() if text)
