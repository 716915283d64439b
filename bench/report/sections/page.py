"""``leaderboard.md``: the summary in words, then tables that render on GitHub, each column defined at the foot."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bench.report.info import ReportInfo
from bench.report.records.costs import MethodCost
from bench.report.records.failures import Failure
from bench.report.records.lines import PRIMARY, SCORES, Line, smallest_effect
from bench.report.records.quality import FLOOR, QUALITY, Quality
from bench.report.records.report import Records
from bench.report.records.rows import Score
from bench.report.sections.footnotes import footnotes
from bench.report.sections.summary import summary
from bench.report.sections.text import DASH, interval, join, number, percent, points, seconds, size, table

HEADS = {
    "balanced_accuracy": "Bal. acc.",
    "auroc": "AUROC",
    "f1": "F1",
    "sensitivity": "Sens.",
    "specificity": "Spec.",
}
LOWER_IS_BETTER = ("kid", "fid")


def markdown(records: Records, info: ReportInfo, figures: Mapping[str, str], pictures: Mapping[str, str]) -> str:
    """Return the text of leaderboard.md. ``figures`` are captions, ``pictures`` names, by path from that file."""
    lines, costs, quality, failed = records.lines, records.costs, records.quality, records.failures
    parts = [f"# {info.suite}: does augmentation help on unseen patients?\n"]
    parts += [f"{sentence}\n" for sentence in summary(lines, info)]
    for classifier in info.classifiers:
        mine = sort_lines([x for x in lines if x.classifier == classifier])
        parts += [f"## {classifier}\n", "Per patient, in %, mean ± sd over pairs [95 % interval over patients]:\n"]
        parts += [_main_table(mine), "Per image, in %:\n", _image_table(mine)]
    if costs:
        parts += ["## What the generators cost\n", _cost_table(costs)]
    for tag in dict.fromkeys(q.extractor for q in quality):
        parts += [
            f"## Synthetic images against real ones, by {tag}\n",
            *_quality_section([q for q in quality if q.extractor == tag]),
        ]
    if failed:
        parts += ["## Failed, skipped and missing\n", _failure_table(failed)]
    if figures:
        parts += ["## Figures\n", *(f"![{_alt(path)}]({path})\n\n*{caption}*\n" for path, caption in figures.items())]
    if pictures:
        links = ", ".join(f"[{name}]({path})" for path, name in pictures.items())
        parts.append(f"Real and synthetic images side by side: {links}. They show images of the data set.\n")
    parts += ["## How to read it\n", footnotes(info), "## How it was made\n", _made(info)]
    return "\n".join(parts)


def _alt(path: str) -> str:
    return f"chart: {path.rpartition('/')[2].removesuffix('.png')}"


def sort_lines(lines: Sequence[Line]) -> list[Line]:
    """Return the lines, best patient-level balanced accuracy first; those without a score last."""
    return sorted(lines, key=lambda x: -x.scores[PRIMARY].mean if x.pairs else math.inf)


def _bold(values: Sequence[float], texts: Sequence[str], eligible: Sequence[bool], lowest: bool = False) -> list[str]:
    """Return ``texts`` with the best eligible value bold: all that print like it, but none when all are the same."""
    known = [v for v, ok in zip(values, eligible, strict=True) if ok and math.isfinite(v)]
    if not known:
        return list(texts)
    best = min(known) if lowest else max(known)
    if len(known) > 1 and min(known) == max(known):
        return list(texts)
    winners = {t for v, t, ok in zip(values, texts, eligible, strict=True) if ok and v == best}
    return [f"**{t}**" if t in winners and ok else t for t, ok in zip(texts, eligible, strict=True)]


def _score_column(lines: Sequence[Line], metric: str) -> list[str]:
    """Return a column of means, best in bold; only lines with as many pairs as the fullest one compete for it."""
    most = max((x.pairs for x in lines), default=0)
    scores = [x.scores[metric] for x in lines]
    means = _bold([s.mean for s in scores], [percent(s.mean) for s in scores], [x.pairs == most for x in lines])
    return [_spread(m, s) for m, s in zip(means, scores, strict=True)]


def _spread(mean: str, score: Score) -> str:
    sd = f" ± {percent(score.sd)}" if math.isfinite(score.sd) else ""
    return f"{mean}{sd} {interval(score.low, score.high)}".strip()


def _main_table(lines: Sequence[Line]) -> str:
    references = [r for r in ("none", "classical") if any(r in x.versus for x in lines)]
    columns = [[_arm(x) for x in lines], [f"{x.pairs} of {x.planned}" for x in lines]]
    header = ["Arm", "Pairs", *(HEADS[s] for s in SCORES)]
    columns += [_score_column(lines, f"patient_{s}") for s in SCORES]
    for reference in references:
        header += [f"Δ {reference}", "Verdict"]
        columns += [[_difference(x, reference) for x in lines], [_word(x, reference) for x in lines]]
    header += ["Smallest effect", "Generator", "Synthesis", "Classifier"]
    columns.append([_smallest(x) for x in lines])
    columns += [[seconds(getattr(x, f"{kind}_s")) for x in lines] for kind in ("generator", "synthesis", "classifier")]
    return table(header, zip(*columns, strict=True))


def _image_table(lines: Sequence[Line]) -> str:
    columns = [[_arm(x) for x in lines], *(_score_column(lines, s) for s in SCORES)]
    columns.append([_difference(x, "none", "balanced_accuracy") for x in lines])
    return table(["Arm", *(HEADS[s] for s in SCORES), "Δ none"], zip(*columns, strict=True))


def _arm(line: Line) -> str:
    return f"`{line.arm.method}`" + line.arm.label.removeprefix(line.arm.method)


def _difference(line: Line, reference: str, metric: str = PRIMARY) -> str:
    if reference not in line.versus:
        return DASH
    v = line.versus[reference][metric]
    return f"{points(v.difference)} {interval(max(v.low, -1), min(v.high, 1), signed=True)}".strip()


def _word(line: Line, reference: str) -> str:
    word = line.versus[reference][PRIMARY].word if reference in line.versus else DASH
    return f"**{word}**" if word in ("helps", "hurts", "equivalent") else word


def _smallest(line: Line) -> str:
    effect = smallest_effect(line)
    return "> 100" if effect > 1 else percent(effect)


def _cost_table(costs: Sequence[MethodCost]) -> str:
    columns = {
        "Method": [f"`{c.method}`" for c in costs],
        "Weights": [c.weights or DASH for c in costs],
        "Parameters": [_parameters(c.parameters) for c in costs],
        "Training a fold": [_time(c.fit_s) for c in costs],
        "In steps": [seconds(c.step_s.mean) for c in costs],
        "Synthesis a fold": [_time(c.synthesis_s) for c in costs],
        "Images": [f"{c.images.mean:.0f}" if c.images.n else DASH for c in costs],
        "Peak memory": [size(c.peak_memory_bytes) for c in costs],
    }
    columns = {head: texts for head, texts in columns.items() if set(texts) != {DASH}}
    return table(list(columns), zip(*columns.values(), strict=True), left=2)


def _parameters(text: str) -> str:
    return f"{float(text) / 1e6:.2f} M" if text.replace(".", "", 1).isdigit() else text or DASH


def _time(score: Score) -> str:
    spread = f" ± {score.sd:.1f}" if math.isfinite(score.sd) and score.mean < 120 else ""
    return seconds(score.mean).replace(" s", f"{spread} s") if spread else seconds(score.mean)


def _quality_section(quality: Sequence[Quality]) -> list[str]:
    """Return caption and table for one extractor: methods by row, measures against test and training images."""
    tag = quality[0].extractor
    methods = [m for m in dict.fromkeys(q.method for q in quality)]
    by = {(q.method, q.part): q.scores for q in quality}
    measures = [("test", m) for m in QUALITY] + [("train", m) for m in ("kid", "fid")]
    measures = [(p, m) for p, m in measures if any(m in by.get((who, p), {}) for who in methods)]
    columns = [[f"`{m}`" if m != FLOOR else f"*{m}*" for m in methods]]
    for part, measure in measures:
        scores = [by.get((m, part), {}).get(measure, Score.of([])) for m in methods]
        texts = [number(s.mean) for s in scores]
        eligible = [m != FLOOR for m in methods]
        columns.append(_bold([s.mean for s in scores], texts, eligible, measure in LOWER_IS_BETTER))
    heads = [f"{m.upper() if m in LOWER_IS_BETTER else m.capitalize()} {p}" for p, m in measures]
    counts = [by[m, "test"] for m in methods if m != FLOOR and (m, "test") in by]
    return [_quality_caption(tag, counts), table(["Images", *heads], zip(*columns, strict=True))]


def _quality_caption(tag: str, counts: Sequence[Mapping[str, Score]]) -> str:
    first = counts[0] if counts else {}
    n = ", ".join(
        f"{name} {first[key].mean:.0f}"
        for key, name in (("n_synthetic", "synthetic images"), ("n_real", "real"), ("kid_subset_size", "KID subset"))
        if key in first
    )
    standard = tag.startswith("inception-6726825d")
    warning = (
        "" if standard else " These are not the Inception numbers of the literature; compare them within this table."
    )
    return f"Features of `{tag}`; means over pairs{f' ({n} a fold)' if n else ''}.{warning}\n"


def _failure_table(failed: Sequence[Failure]) -> str:
    rows = []
    for f in failed:
        methods = ", ".join(f"`{m}`" for m in f.methods) or DASH
        folds = ", ".join(f"{fold}" + (f".{repeat}" if repeat else "") for fold, repeat in f.pairs)
        rows.append([f.status, f.stage, str(f.cells), methods, ", ".join(f.where) or DASH, folds, f.reason[:300]])
    return table(["Status", "Stage", "Cells", "Method", "Classifier", "Folds", "Reason"], rows, left=7)


def _made(info: ReportInfo) -> str:
    fold = info.folds[0] if info.folds else None
    sizes = (
        join(
            f"{p} {getattr(fold, f'{p}_images')}" + (f" ({g} patients)" if (g := getattr(fold, f"{p}_groups")) else "")
            for p in ("train", "validation", "test")
        )
        if fold
        else ""
    )
    facts = {
        "Command": f"`{info.command}`" if info.command else "",
        "Data": f"{info.dataset} ({join(info.classes)}), {info.image_size_px} px, fingerprint `{info.fingerprint}`",
        "Splits": info.protocol + (f"; images of fold {fold.fold}: {sizes}" if fold else ""),
        "Seed": str(info.seed),
        "Machine": info.host,
        "Versions": ", ".join(f"{k} {v}" for k, v in sorted(info.versions.items())),
        "Commit": f"`{info.git_commit}`" if info.git_commit else "",
        "Suite": info.description,
    }
    return "".join(f"- **{head}**: {text}\n" for head, text in facts.items() if text)
