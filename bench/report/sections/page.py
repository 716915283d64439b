"""``leaderboard.md``: the summary in words, then sections that render on GitHub, each column defined at the foot."""

from __future__ import annotations

from collections.abc import Mapping

from bench.report.info import ReportInfo
from bench.report.records.report import Records
from bench.report.sections.compute import compute_section
from bench.report.sections.copies import copies_section
from bench.report.sections.costs import cost_section
from bench.report.sections.data import data_section
from bench.report.sections.differences import difference_section
from bench.report.sections.failures import failure_section
from bench.report.sections.footnotes import footnotes
from bench.report.sections.leaderboard import leaderboard_section, verdict_overview
from bench.report.sections.published import published_section
from bench.report.sections.quality import quality_section
from bench.report.sections.running import running_section
from bench.report.sections.summary import summary
from bench.report.sections.text import join
from bench.report.sections.translations import translation_section


def markdown(records: Records, info: ReportInfo, figures: Mapping[str, str], pictures: Mapping[str, str]) -> str:
    """Return the text of leaderboard.md. ``figures`` are captions, ``pictures`` names, by path from that file."""
    question = "does augmentation help on unseen patients?" if info.classifiers else "what do its generators make?"
    parts = [f"# {info.suite}: {question}\n"]
    parts += [f"{sentence}\n" for sentence in summary(records.lines, info)]
    if overview := verdict_overview(records.lines, info):
        parts += ["Verdicts and mean differences to `none`, in points of patient-level balanced accuracy:\n", overview]
    for classifier in info.classifiers:
        parts += leaderboard_section(classifier, [x for x in records.lines if x.classifier == classifier])
    parts += compute_section(records.charged, records.matches, info)
    parts += published_section(records.published, records.heads, records.impossible, info)
    parts += copies_section(records.copies, records.survivals, info)
    parts += quality_section(records.quality)
    parts += translation_section(records.translations)
    parts += cost_section(records.costs)
    parts += running_section(info.runs, records.predictions)
    parts += difference_section(records.differences, info)
    parts += failure_section(records.failures)
    parts += _figures(figures, pictures)
    parts += data_section(info)
    parts += ["## How to read it\n", footnotes(records, info), "## How it was made\n", _made(info)]
    return "\n".join(parts)


def _figures(figures: Mapping[str, str], pictures: Mapping[str, str]) -> list[str]:
    parts = ["## Figures\n"] if figures or pictures else []
    parts += [f"![{_alt(path)}]({path})\n\n*{caption}*\n" for path, caption in figures.items()]
    if pictures:
        links = ", ".join(f"[{name}]({path})" for path, name in pictures.items())
        parts.append(f"Real and synthetic images side by side: {links}. They show images of the data set.\n")
    return parts


def _alt(path: str) -> str:
    return f"chart: {path.rpartition('/')[2].removesuffix('.png')}"


def _made(info: ReportInfo) -> str:
    facts = {
        "Command": f"`{info.command}`" if info.command else "",
        "Data": f"{info.dataset} ({join(info.classes)}), {info.image_size_px} px, fingerprint `{info.fingerprint}`",
        "Splits": info.protocol,
        "Seed": str(info.seed),
        "Machine": info.host,
        "Versions": ", ".join(f"{k} {v}" for k, v in sorted(info.versions.items())),
        "Commit": f"`{info.git_commit}`" if info.git_commit else "",
        "Suite": info.description,
    }
    return "".join(f"- **{head}**: {text}\n" for head, text in facts.items() if text)
