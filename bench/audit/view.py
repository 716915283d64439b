"""An audit in the terminal: counts and the first few examples; `--json` has everything."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.data.left_out import conversion_line, skipped_line
from bench.types import Conversion, SkippedFiles

MOST = 3  # maximum number of examples of a kind
MOST_GROUPS = 20  # with more groups, only outliers are shown
_LOOKS = {"bad": ("✗", "red"), "note": ("!", "yellow"), "good": ("✓", "green"), "plain": ("·", "")}


def show_audit(audit: Mapping[str, Any], console: Console | None = None) -> None:
    """Print an audit as ``bench.cli.audit.audit_subject`` returns it."""
    view = _View(console or Console(soft_wrap=True, markup=False, highlight=False))
    _show_head(view, audit)
    view.title("Duplicates")
    _show_duplicates(view, audit)
    view.title("Files")
    _show_files(view, audit)
    if audit["masks"] is not None:
        view.title("Masks")
        _show_masks(view, audit["masks"], audit["counts"]["files"])
    view.title("Brightness and stain" if "haematoxylin_od" in audit["appearance"]["measures"] else "Light")
    _show_appearance(view, audit)
    view.title("In a run")
    _show_run(view, audit)


class _View:
    """Lines with a mark, and the first few examples below each."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def title(self, text: str) -> None:
        self.console.print(f"\n{text}", style="bold")

    def line(self, look: str, text: str, examples: Sequence[str] = ()) -> None:
        mark, style = _LOOKS[look]
        self.console.print(f"  {mark} {text}", style=style)
        for example in examples[:MOST]:
            self.console.print(f"      {example}")
        if len(examples) > MOST:
            self.console.print(f"      … and {len(examples) - MOST:,} more (--json lists all)", style="dim")

    def finding(self, look: str, what: str, examples: Sequence[str]) -> None:
        """Print how many there are; a look other than 'good' only if there are any."""
        if examples:
            self.line(look, f"{what}: {len(examples):,}", examples)
        else:
            self.line("good", f"{what}: none")


def _show_head(view: _View, audit: Mapping[str, Any]) -> None:
    counts = audit["counts"]
    how = "recognised by its layout" if audit["detected"] else "as named"
    how = f"suite {audit['suite']}" if audit["suite"] else how
    view.console.print(f"{audit['dataset']} ({how}): {audit['root']}", style="bold")
    groups = (
        f"{counts['groups']:,} groups ({audit['group_name']})"
        if audit["groups_known"]
        else "no patient ids: each image is a group"
    )
    different = f"{counts['contents']:,} different" if counts["contents"] < counts["files"] else "all different"
    view.console.print(f"{counts['files']:,} images, {different}; {len(audit['classes'])} classes; {groups}\n")
    columns = ["images", "groups", "images per group", "magnifications", "sizes"]
    if not audit["magnifications"]:
        columns.remove("magnifications")
    table = Table("class", box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="left" if name in ("magnifications", "sizes") else "right")
    for name in audit["classes"]:
        cells = _class_row([r for r in audit["table"] if r["class"] == name])
        table.add_row(name, *(cells[column] for column in columns))
    view.console.print(table)


def _class_row(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    group: defaultdict[str, int] = defaultdict(int)
    size, magnification = Counter[str](), Counter[str]()
    for row in rows:
        group[row["group"]] += row["images"]
        size[row["size"] or "unreadable"] += row["images"]
        magnification[row["magnification"] or ""] += row["images"]
    per_group = sorted(group.values()) or [0]
    spread = f"{per_group[0]} to {per_group[-1]}"
    (usual, often), *others = size.most_common() or [("", 0)]
    return {
        "images": f"{sum(group.values()):,}",
        "groups": f"{len(group):,}",
        "images per group": spread if per_group[0] < per_group[-1] else str(per_group[0]),
        "magnifications": ", ".join(f"{m}X ({n:,})" for m, n in sorted(magnification.items(), key=_by_number)),
        "sizes": f"{usual} ({often:,})" + (f" + {_n(len(others), 'other')}" if others else ""),
    }


def _by_number(item: tuple[str, int]) -> tuple[int, str]:
    return len(item[0]), item[0]


def _n(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("s" if count != 1 else "")


def _show_duplicates(view: _View, audit: Mapping[str, Any]) -> None:
    counts = audit["counts"]
    measured = {(p["first"], p["second"]): p for p in audit["near"]["pairs"]}
    for kind, sign in (("exact", "="), ("near", "~")):
        found = audit[kind]
        pairs = [tuple(p) if kind == "exact" else (p["first"], p["second"]) for p in found["pairs"]]

        def examples(chosen: Sequence[Sequence[str]], sign: str = sign) -> list[str]:
            return [f"{a}  {sign}  {b}{_near_note(measured.get((a, b)))}" for a, b in chosen]

        how = _near_threshold(found) if kind == "near" else ""
        if not pairs:
            view.line("good", f"{kind} copies: none{how}")
            continue
        clusters = _n(counts[f"{kind}_clusters"], "cluster")
        view.line("plain", f"{kind} copies: {_n(len(pairs), 'pair')} in {clusters}{how}", examples(pairs))
        view.finding("bad", f"{kind} copies under two labels", examples(found["label_conflicts"]))
        across = found["across_groups"]
        if audit["groups_known"] or not across:
            view.finding("bad", f"{kind} copies across groups", examples(across))
        else:  # then every pair crosses groups, and examples would add nothing
            view.line("bad", f"{kind} copies across groups: {len(across):,}, because every image is its own group")
    mixed = [f"{m['group']}: " + ", ".join(f"{n} {c}" for c, n in m["images"].items()) for m in audit["mixed_groups"]]
    view.finding("bad", "groups with two labels", mixed)


def _near_threshold(near: Mapping[str, Any]) -> str:
    usual = "" if near["usual"] is None else f"; different images of this set reach {near['usual']:.2f}"
    return f" (correlation {near['threshold']:.2f} or more{usual})"


def _near_note(pair: Mapping[str, Any] | None) -> str:
    if pair is None:
        return ""
    turned = "" if pair["orientation"] == "same" else f", {pair['orientation']}"
    return f"   (correlation {pair['correlation']:.2f}{turned})"


def _show_files(view: _View, audit: Mapping[str, Any]) -> None:
    if window := audit["intensity"]:
        shown = f"{window['low']:g} to {window['high']:g} become 0 to 255 ({window['how']})"
        view.line("note", f"more than 8 bits a pixel: grey values {shown}")
    for conversion in audit["conversions"]:
        view.line("note", conversion_line(Conversion(**conversion)))
    if audit["skipped"]:
        view.line("note", skipped_line([SkippedFiles(**s) for s in audit["skipped"]]))
    kinds = Counter(p["kind"].replace("_", " ") for p in audit["unusable"])
    what = ", ".join(f"{n:,} {kind}" for kind, n in sorted(kinds.items()))
    unusable = [f"{p['path']}: {p['kind']}: {p['detail']}" for p in audit["unusable"]]
    if unusable:
        view.line("bad", f"cannot be used: {len(unusable):,} ({what})", unusable)
    else:
        view.line("good", "cannot be used: none")
    if not audit["odd"]:
        view.line("good", "odd modes, sizes, extensions, rotations, constant images: none")
    for kind, n in sorted(Counter(p["kind"] for p in audit["odd"]).items()):
        named = [f"{p['path']}: {p['detail']}" for p in audit["odd"] if p["kind"] == kind]
        view.line("note", f"odd {kind.replace('_', ' ')}: {n:,}", named)
    if audit["near"]["too_flat"]:
        view.line("note", f"too flat to look for near copies: {len(audit['near']['too_flat']):,}")
    marks = audit["marks"]
    if marks["text"] or marks["cross"]:
        found = f"{len(marks['text']):,} with text, {len(marks['cross']):,} with callipers"
        view.line("note", f"seem to have burned-in marks (a heuristic): {found}", sorted(marks["text"])[:1])


def _show_masks(view: _View, masks: Mapping[str, Any], images: int) -> None:
    view.line("plain", f"{masks['files']:,} masks of {images:,} images; {len(masks['several']):,} images have several")
    view.finding("bad", "images without a mask", masks["missing"])
    view.finding("bad", "masks that cannot be read", masks["unreadable"])
    sizes = [f"{m['mask']} is {_size(m['mask_size'])}, its image {_size(m['image_size'])}" for m in masks["other_size"]]
    view.finding("bad", "masks of another size than their image", sizes)
    classes = ", ".join(f"{n:,} {name}" for name, n in masks["empty_by_class"].items())
    view.line("plain", f"images whose masks are empty: {len(masks['empty']):,}" + (f" ({classes})" if classes else ""))
    drawn = ["  =  ".join(m["paths"]) for m in masks["identical"] if not m["empty"]]
    view.finding("note", "identical masks that are not empty", drawn)


def _size(size: Sequence[int]) -> str:
    return "×".join(map(str, size))


def _show_appearance(view: _View, audit: Mapping[str, Any]) -> None:
    appearance = audit["appearance"]
    groups, measures = appearance["groups"], appearance["measures"]
    unit = "group" if audit["groups_known"] else "image"
    table = Table("", box=None, pad_edge=False)
    for heading in (f"lowest {unit}", "median", f"highest {unit}"):
        table.add_column(heading, justify="right")
    for name in measures:
        values = sorted(m[name] for m in groups.values() if name in m)
        if values:
            table.add_row(f"  {_spelt(name)}", *map(_number, (values[0], median(values), values[-1])))
    view.console.print(table)
    if audit["groups_known"] and len(groups) <= MOST_GROUPS:
        _show_groups(view, audit)
    out = [
        f"{o['group']}: {_spelt(o['measure'])} {_number(o['mean'])} (z {o['z']:+.1f})" for o in appearance["outliers"]
    ]
    view.finding("note", f"{unit}s that stand out", out)


def _show_groups(view: _View, audit: Mapping[str, Any]) -> None:
    measures = audit["appearance"]["measures"]
    table = Table("", "group", "classes", box=None, pad_edge=False)
    for name in ("images", *(_spelt(m).removesuffix("ness") for m in measures)):
        table.add_column(name, justify="right")
    for group, means in audit["appearance"]["groups"].items():
        rows = [r for r in audit["table"] if r["group"] == group]
        classes = ", ".join(sorted({r["class"] for r in rows}))
        shown = (_number(means[m]) if m in means else "–" for m in measures)
        table.add_row("", group, classes, f"{sum(r['images'] for r in rows):,}", *shown)
    view.console.print(table)


def _spelt(measure: str) -> str:
    return {"haematoxylin_od": "H density", "eosin_od": "E density", "dab_od": "DAB density"}.get(measure, measure)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _show_run(view: _View, audit: Mapping[str, Any]) -> None:
    run, folds = audit["run"], audit["folds"]
    options = f"suite {audit['suite']}" if audit["suite"] else "a run with the default options"
    if "error" in run:
        view.line("bad", f"{options}: {run['error'].splitlines()[0]}")
        return
    problems = ", ".join(f"{n:,} {kind.replace('_', ' ')}" for kind, n in run["problems"].items())
    left = f"{options} uses {run['images']:,} of {audit['counts']['files']:,} images, in {run['groups']:,} groups"
    view.line("plain", left + (f"; reported: {problems}" if problems else ""))
    if folds is None:
        view.line("plain", "for copies across folds and the data that generators may see, add --suite")
        return
    if isinstance(folds, Mapping):
        view.line("bad", f"no folds can be used: {folds['error']}")
        return
    for fold in folds:
        crossing = fold["exact_crossing"] + fold["near_crossing"]
        name = f"fold {fold['fold']}" + (f" of repeat {fold['repeat']}" if fold["repeat"] else "")
        if (size := fold.get("train_patients")) is not None:
            name = f"set {fold['fold']} of {size} patients"
        parts = ", ".join(f"{part} {n:,}" for part, n in fold["images"].items())
        seen = f"its generators may see {fold['generator']['groups']:,} groups ({fold['generator']['images']:,} images)"
        copies = f"{len(crossing):,} copies cross its parts" if crossing else "no copy crosses its parts"
        examples = [f"{a} ({part_a})  ~  {b} ({part_b})" for a, part_a, b, part_b in crossing]
        view.line("bad" if crossing else "good", f"{name}: {copies}; {parts} images; {seen}", examples)
