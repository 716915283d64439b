"""report.html in a headless Chromium, from disk: self-contained, complete, sorts, filters, and escapes names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from report_rows import made_up

from bench.analysis.info import ReportInfo
from bench.analysis.report import Records, collect
from bench.analysis.rows import Rows
from bench.report.build import build_report
from bench.report.content import Section, Table
from bench.report.html.document import document
from bench.report.html.pictures import BUDGET, WIDEST, embed
from bench.report.html.tables import VERDICTS, by_head, definition, inline, sort_value, table_view
from bench.report.page import MORE, sections

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

EVIL = "<script>document.title='owned'</script><img src=http://example.invalid/x onerror=alert(1)>"
LINKED = "![x](http://example.invalid/y.png)"
CLASSES = (f"be{EVIL}", f"ma{LINKED}")
CONFIG = f"description: '</pre>{EVIL}'\nimage_size_px: 32\n"


@dataclass
class Seen:
    """A page with its messages and requests."""

    page: Page
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Records, ReportInfo]:
    """The folder of a report with names, errors and config that look like markup."""
    root = tmp_path_factory.mktemp("out")
    rows, info = made_up(
        root, generative=("cgan", "cyclegan"), patients=6, per_patient=3, size_px=24, ratios=("1",), pictures=True
    )
    rows[-1] = replace(rows[-1], status="failed", metrics={}, facts={}, error=f"ValueError: {EVIL} {LINKED}")
    evil = replace(info, classes=CLASSES, description=f"Of {EVIL} {LINKED}", host=EVIL, git_commit="</code>" + EVIL)
    evil = replace(
        evil,
        data=replace(info.data, near_copies=LINKED),
        real_images=dict(zip(CLASSES, info.real_images.values(), strict=True)),
    )
    (root / "report").mkdir()
    (root / "report" / "suite.yaml").write_text(CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.report.charts.draw.draw_outcomes", lambda *_: {})  # in test_report_build.py
        build_report(rows, evil, root, root / "report")
    return root / "report", collect(Rows(rows), evil, root), evil


@pytest.fixture(scope="module")
def seen(report: tuple[Path, Records, ReportInfo], chromium: Browser) -> Iterator[Seen]:
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    found = Seen(page)
    page.on("console", lambda m: found.messages.append(m.text))
    page.on("pageerror", lambda e: found.messages.append(str(e)))
    page.on("dialog", lambda d: found.messages.append(d.message))
    page.on("request", lambda r: found.requests.append(r.url))
    page.goto((report[0] / "report.html").as_uri())
    page.evaluate("document.querySelectorAll('main details').forEach(d => d.open = true)")
    yield found
    page.close()


def column(page: Page, head: str, shown: bool = True) -> list[str]:
    """Return the texts of a column of the leaderboard, top to bottom."""
    code = """([head, shown]) => {
      const table = document.querySelector("table.board");
      const at = [...table.tHead.rows[0].cells].findIndex((c) => c.textContent.trim() === head);
      const rows = [...table.tBodies[0].rows].filter((r) => !shown || !r.hidden);
      return rows.map((r) => r.cells[at].innerText.trim());
    }"""
    texts: list[str] = page.evaluate(code, [head, shown])
    return texts


def number(text: str) -> float:
    return float(re.findall(r"[−+]?\d+\.\d", text)[0].replace("−", "-"))


def test_it_opens_from_disk_without_messages_and_requests(seen: Seen) -> None:
    seen.page.wait_for_load_state("networkidle")
    assert seen.messages == []
    assert [url[:80] for url in seen.requests if not url.startswith(("file:", "data:"))] == []
    assert sum(url.startswith("file:") for url in seen.requests) == 1


def test_every_figure_has_a_caption_and_an_alternative_text(
    seen: Seen, report: tuple[Path, Records, ReportInfo]
) -> None:
    code = "all => all.map(i => [i.naturalWidth, i.alt, i.closest('figure').querySelector('figcaption').innerText])"
    images: list[list[Any]] = seen.page.eval_on_selector_all("img", code)
    files = [*(report[0] / "charts").iterdir(), *(report[0] / "pictures").iterdir()]
    assert len(images) == len(files) >= 8
    assert all(width > 0 and alt for width, alt, _ in images)
    assert [re.match(r"Figure (\d+)\. \S", text)[1] for *_, text in images] == [  # type: ignore[index]
        str(i + 1) for i in range(len(images))
    ]


def test_columns_sort_by_click_and_by_keyboard(seen: Seen) -> None:
    page = seen.page
    head = page.locator("table.board th", has_text="Difference")
    head.locator("button").click()
    falling = [number(t) for t in column(page, "Difference") if t != "–"]
    assert falling == sorted(falling, reverse=True)
    assert len(set(falling)) > 2
    assert head.get_attribute("aria-sort") == "descending"
    head.locator("button").focus()
    page.keyboard.press("Enter")
    rising = column(page, "Difference")
    assert [number(t) for t in rising if t != "–"] == sorted(falling)
    assert rising[-1] == "–"  # unknown values stay last
    assert head.get_attribute("aria-sort") == "ascending"
    page.locator("table.board th", has_text="Arm").locator("button").click()
    assert head.get_attribute("aria-sort") is None
    arms = column(page, "Arm")
    assert arms == sorted(arms)


def test_the_leaderboard_filters_by_text_verdict_and_classifier(seen: Seen) -> None:
    page = seen.page
    everything = column(page, "Arm")
    page.fill("#find", "CYCLE")
    assert column(page, "Arm") == ["cyclegan ×1"] * 2
    page.fill("#find", "")
    page.select_option("select[data-column=Classifier]", "small_cnn")
    assert set(column(page, "Classifier")) == {"small_cnn"}
    page.select_option("select[data-column=Verdict]", "undecided")
    assert set(column(page, "Verdict")) == {"undecided"}
    left = column(page, "Arm")
    assert page.inner_text("output") == f"{len(left)} of {len(everything)} rows"
    for name in ("Classifier", "Verdict"):
        page.select_option(f"select[data-column={name}]", "")
    assert column(page, "Arm") == everything


def test_names_that_look_like_markup_stay_names(seen: Seen) -> None:
    page = seen.page
    assert "owned" not in page.title()
    text = page.inner_text("body")
    assert text.count("<script>document.title") >= 4  # description, class, error, commit
    assert page.locator("script").count() == 1
    assert page.locator("img:not([src^='data:image/'])").count() == 0
    assert page.inner_text("pre").rstrip() == CONFIG.rstrip()


def test_headings_have_scopes_and_definitions(seen: Seen) -> None:
    page = seen.page
    assert page.locator("thead th:not([scope=col])").count() == 0
    assert page.locator("tbody tr > :first-child:not(th[scope=row])").count() == 0
    titles: dict[str, str] = page.eval_on_selector_all(
        "table.board thead th", "all => Object.fromEntries(all.map(h => [h.innerText.trim(), h.title]))"
    )
    assert {head for head, title in titles.items() if not title} == {"Classifier"}
    assert "balanced accuracy" in titles["Bal. acc."]
    assert "Holm" in titles["Verdict"]
    links: list[str] = page.eval_on_selector_all("nav a", "all => all.map(a => a.getAttribute('href').slice(1))")
    ids: list[str] = page.eval_on_selector_all("section", "all => all.map(s => s.id)")
    assert links == ids
    assert len(set(ids)) == len(ids) > 10


def test_it_opens_with_answer_leaderboard_and_main_figure_and_a_collapsed_appendix(
    report: tuple[Path, Records, ReportInfo], chromium: Browser
) -> None:
    page = chromium.new_page(viewport={"width": 1300, "height": 900})
    page.goto((report[0] / "report.html").as_uri())
    for part in ("#answer p", "table.board tbody tr", "#leaderboard figure"):
        box = page.locator(part).first.bounding_box()
        assert box is not None
        assert box["y"] + min(box["height"], 60) < 900, part
    heads = page.eval_on_selector_all("h2", "all => all.filter(h => h.checkVisibility()).map(h => h.innerText)")
    assert heads[:3] == ["Answer", "Leaderboard", "Cost"]
    closed = page.locator("section.appendix > details:not([open])").count()
    assert closed == page.locator("section.appendix").count() > 8
    assert not page.locator("#memorised-samples table").first.is_visible()
    page.evaluate("document.querySelector('.contents').open = true")
    page.click("nav a[href='#memorised-samples']")
    page.wait_for_selector("#memorised-samples table", state="visible")
    page.close()


def test_on_a_phone_only_tables_scroll_sideways(seen: Seen) -> None:
    page = seen.page
    page.set_viewport_size({"width": 390, "height": 844})
    try:
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert page.evaluate("[...document.querySelectorAll('.scroll')].some(s => s.scrollWidth > s.clientWidth)")
    finally:
        page.set_viewport_size({"width": 1280, "height": 900})


def noise(path: Path, width: int, height: int) -> None:
    path.parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, compress_level=0)


def test_a_big_report_stays_below_15_mb_and_lists_omitted_figures(tmp_path: Path) -> None:
    """Thirty methods with pictures of noise, the worst case for compression."""
    for name, size in (("a", (1100, 430)), ("b", (2400, 800))):
        noise(tmp_path / "pictures" / f"{name}.png", *size)
    noise(tmp_path / "charts" / "c.png", 320, 200)
    for i in range(30):
        (tmp_path / "pictures" / f"m{i:02d}.png").hardlink_to(tmp_path / "pictures" / "a.png")
    strips = {f"pictures/m{i:02d}.png": f"m{i:02d}" for i in range(30)}
    wide = {"pictures/b.png": "wide", "charts/c.png": "Kept."}
    text = document("x: y", [Section("Strips", figures=strips), Section("Wide", figures=wide)], tmp_path)
    assert 10_000_000 < len(text.encode()) < 15_000_000
    assert all(f'alt="{what}"' in text for what in ("picture: b", "chart: c"))  # sections take turns, charts go first
    (left,) = [int(n) for n in re.findall(r"<p>Omitted to limit .*: (\d+) figures, ", text)]
    assert left + len(re.findall("<figure", text)) == 32
    for path, name in strips.items():
        assert (f"<code>{path}</code>" in text) != (f'alt="picture: {name}"' in text)
    shrunk = embed([wide], tmp_path, BUDGET)["pictures/b.png"]
    assert (shrunk.width, shrunk.height) == (WIDEST, 600)
    assert embed([wide], tmp_path, 1000) == {}


def test_a_figure_is_in_the_section_that_claims_it_and_unclaimed_ones_are_last(
    report: tuple[Path, Records, ReportInfo],
) -> None:
    charts = {f"charts/{n}.png": n for n in ("forest", "forest_2", "cost", "roc", "pr", "profile_of_x", "sweep")}
    pictures = {f"pictures/{n}.png": n for n in ("overview", "cgan", "cgan_closest_pairs", "explanations_a", "odd")}
    found = {s.title: list(s.figures) for s in sections(*report[1:], charts, pictures) if s.figures}
    assert found == {
        "Leaderboard": ["charts/forest.png", "charts/forest_2.png"],
        "Cost": ["charts/cost.png"],
        "Amount of synthetic data": ["charts/sweep.png"],
        "Curves and calibration": ["charts/roc.png", "charts/pr.png"],
        "Grad-CAM of the classifiers": ["pictures/explanations_a.png"],
        "Examples of synthetic images": ["pictures/overview.png", "pictures/cgan.png"],
        "Memorised samples": ["pictures/cgan_closest_pairs.png"],
        MORE: ["charts/profile_of_x.png", "pictures/odd.png"],
    }


def test_the_markdown_has_the_main_sections_and_the_page_all(report: tuple[Path, Records, ReportInfo]) -> None:
    folder, records, info = report
    md, page = (folder / "leaderboard.md").read_text(), (folder / "report.html").read_text()
    found = sections(records, info, {}, {})
    assert sum(s.appendix for s in found) > 5
    for section in found[1:]:
        assert (f"\n## {section.title}\n" in md) != section.appendix
        assert f"<h2>{inline(section.title)}</h2>" in page
        for note in (b for b in section.blocks if isinstance(b, str) and not section.appendix):
            assert note in md
    assert "(report.html)" in md


def test_cells_sort_by_their_value() -> None:
    assert [sort_value(t) for t in ("**81.2** ± 3.0 [78, 84]", "−1.2 [−3, 4]", "< 0.001", "3 of 3", "×1.08")] == [
        *(81.2, -1.2, 0.001, 3, 1.08)
    ]
    assert [sort_value(t) for t in ("12.5 min", "18 ± 1.8 s", "183 ms", "812 MiB", "1.1 GiB", "≥ 6.0 min")] == [
        *(750, 18, 0.183, 812 * 2**20, 1.1 * 2**30, 360)
    ]
    assert [sort_value(t) for t in ("–", "undecided", "", "2 a fold", "15/20 = 0.75")] == [None, None, None, 2, 0.75]
    assert sort_value("never within 3 s") > 1e9  # type: ignore[operator]


def test_definitions_are_found_by_the_headings_of_columns() -> None:
    notes = by_head({"p, p Holm": "of *that* test.", "Precision, Density; Recall": "how `realistic`."})
    assert list(notes) == ["p", "p Holm", "Precision", "Density", "Recall"]
    assert definition("p Holm", notes) == "p, p Holm: of that test."
    assert definition("Recall", notes).endswith("how realistic.")
    assert definition("Recall of each class", notes).startswith("Precision")
    assert definition("Recalled", notes) == ""
    table = Table.of(["p", "Recall"], [["**helps** x", "**1.0** ± 0.2 [0.5, 1.5] (0.5)"]])
    view = table_view(table, "L", {"p": "of that test."}, VERDICTS)
    assert [(h["html"], h["number"], h["note"]) for h in view["heads"]] == [
        ("p", False, "p: of that test."),
        ("Recall", True, ""),
    ]
    first, second = view["rows"][0]
    assert (first["kinds"], first["html"]) == ("verdict helps", "<strong>helps</strong> x")
    small = '<small class="below">± 0.2 [0.5, 1.5]</small><small> (0.5)</small>'
    assert (second["kinds"], second["value"], second["html"]) == ("num", "1", f"<strong>1.0</strong>{small}")
