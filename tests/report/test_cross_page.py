"""cross.html in a headless Chromium, from disk: same content as cross.md, self-contained, sorts, filters and links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cross_reports import SETS, folders, made

from bench.report.pages.datasets.build import build_cross_dataset

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

EVIL = "<script>document.title='owned'</script><img src=http://example.invalid/x onerror=alert(1)>"
VOID = {"meta", "link", "img", "input", "br", "wbr"}
TABLE = """at => [...document.querySelectorAll("table")[at].rows].filter(r => !r.hidden)
  .map(r => [...r.cells].map(c => c.innerText.replace(/[\\s\\u2195\\u2191\\u2193]+/g, " ").trim()))"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report over four sub-suites: one with the opposite effect on KID, one with names that look like markup."""
    root = tmp_path_factory.mktemp("reports")
    reports = made(dict.fromkeys(SETS, 0.1), kid=-0.1)
    reports["two"] = made({"two": 0.1}, kid=0.1)["two"]
    reports["three"]["info"]["classes"] = ["a", EVIL]
    there = folders(root, reports)
    there["cross-my own"] = there["cross-four"].rename(root / "cross-my own")
    del there["cross-four"]
    content = (there["cross-my own"] / "leaderboard.json").read_text()
    (there["cross-my own"] / "leaderboard.json").write_text(content.replace("cross-four", "cross-my own"))
    return build_cross_dataset("cross", there, {"cross-five": EVIL}, "bench run --suite cross", root / "cross").parent


@pytest.fixture(scope="module")
def seen(folder: Path, chromium: Browser) -> Iterator[tuple[Page, list[str], list[str]]]:
    """The page, its messages, and its requests."""
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    messages: list[str] = []
    requests: list[str] = []
    page.on("console", lambda m: messages.append(m.text))
    page.on("pageerror", lambda e: messages.append(str(e)))
    page.on("dialog", lambda d: messages.append(d.message))
    page.on("request", lambda r: requests.append(r.url))
    page.goto((folder / "cross.html").as_uri())
    page.wait_for_load_state("networkidle")
    yield page, messages, requests
    page.close()


class Tags(HTMLParser):
    """Tracks open tags; a mismatched closing tag is an error."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open += [] if tag in VOID else [tag]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def markdown_tables(text: str) -> list[list[list[str]]]:
    """Return the tables of a page, with an empty arm or classifier filled in from above, and without marks."""
    tables = []
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        rows = [[re.sub(r"[*`]", "", c) for c in line[1:-1].split("|")] for line in block.splitlines()]
        rows = [[c.strip() for c in row] for row in (rows[0], *rows[2:])]
        for above, row in pairwise(rows[1:]):
            row[:2] = row[:2] if row[0] else above[:2]
        tables.append(rows)
    return tables


def test_it_is_well_formed_and_one_file(folder: Path) -> None:
    text = (folder / "cross.html").read_text()
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert "default-src 'none'" in text
    assert "unsafe" not in text
    assert EVIL not in text


def test_it_has_the_content_of_the_markdown(folder: Path, seen: tuple[Page, list[str], list[str]]) -> None:
    page, text = seen[0], (folder / "cross.md").read_text()
    tables = markdown_tables(text)
    assert len(tables) == 3  # overall gain and KID, every arm on every data set
    for i, rows in enumerate(tables):
        assert page.evaluate(TABLE, i) == rows
    heads = page.eval_on_selector_all("h2", "all => all.map(h => h.innerText)")
    assert heads == ["Summary", *re.findall(r"^## (.*)$", text, re.MULTILINE)]
    assert {"What is missing", "How to read it", "Command"} <= set(heads)
    body = " ".join(page.inner_text("main").split())
    answer = text.split("\n")[2]
    assert answer.startswith("**Does the gain")
    assert " ".join(re.sub(r"[*`]", "", answer).split()) in body
    assert "bench run --suite cross" in page.inner_text("pre")
    assert "[cross.html](cross.html)" in text


def test_it_opens_from_disk_without_messages_and_requests(seen: tuple[Page, list[str], list[str]]) -> None:
    page, messages, requests = seen
    assert messages == []
    assert [url.partition(":")[0] for url in requests if not url.startswith("data:")] == ["file"]
    assert "owned" not in page.title()
    assert page.locator("script").count() == 1
    assert (
        page.inner_text("main").count("<script>document.title") == 2
    )  # a class, and the reason for an absent sub-suite


def test_the_figure_and_the_links_to_the_reports(folder: Path, seen: tuple[Page, list[str], list[str]]) -> None:
    page = seen[0]
    [(width, alt, caption)] = page.eval_on_selector_all(
        "figure", "all => all.map(f => [f.querySelector('img').naturalWidth, f.querySelector('img').alt, f.innerText])"
    )
    assert width > 500
    assert alt.startswith("Forest chart: every arm's difference on every data set, and overall")
    assert caption.startswith("Figure 1. Each data set's mean paired difference")
    links = page.eval_on_selector_all("main a", "all => all.map(a => [a.getAttribute('href'), a.innerText])")
    names = ("one", "two", "three", "my%20own")
    kinds = {"report": "report.html", "leaderboard": "leaderboard.md"}
    assert links == [[f"../cross-{name}/{file}", said] for name in names for said, file in kinds.items()]
    md = (folder / "cross.md").read_text()
    assert re.findall(r"\[report\]\((.*?)\)", md) == [f"../cross-{name}/report.html" for name in names]


def test_rows_sort_and_filter_without_losing_their_arm(
    seen: tuple[Page, list[str], list[str]], chromium: Browser
) -> None:
    page = chromium.new_page()  # of its own: other tests read the unsorted one
    page.goto(seen[0].url)
    before = page.evaluate(TABLE, 2)
    page.locator("table.board th", has_text="− none").locator("button").click()
    sorted_rows = page.evaluate(TABLE, 2)
    assert sorted(sorted_rows[1:]) == sorted(before[1:])  # whole rows moved
    known = [float(row[4].split()[0].replace("−", "-")) for row in sorted_rows[1:] if row[4]]
    assert known == sorted(known, reverse=True)
    assert len(set(known)) > 5
    assert all(row[0] == "none" for row in sorted_rows[1 + len(known) :])
    page.select_option("select[data-column='Data set']", "two")
    assert {tuple(row[:3]) for row in page.evaluate(TABLE, 2)[1:]} == {
        (arm, "net", "two") for arm in ("none", "classical", "tl ×1")
    }
    page.select_option("select[data-column='Data set']", "")
    assert page.inner_text("output") == f"{len(before) - 1} of {len(before) - 1} rows"


def test_verdicts_have_colours_and_columns_have_definitions(seen: tuple[Page, list[str], list[str]]) -> None:
    page = seen[0]
    code = "([kind]) => getComputedStyle(document.querySelector(`td.verdict.${kind} strong`)).color"
    colour = {kind: page.evaluate(code, [kind]) for kind in ("helps", "holds", "lower", "higher", "differs")}
    assert colour["helps"] == colour["lower"]
    assert len(set(colour.values())) == 4
    titles = page.eval_on_selector_all("th[title]", "all => all.map(h => h.innerText.trim())")
    assert {
        "Mean",
        "Generalises",
        "Prediction interval",
        "τ",
        "I²",
        "p homogeneity",
        "− none",
        "KID − from-scratch",
    } <= set(titles)


def test_on_a_phone_only_tables_and_the_figure_scroll_sideways(seen: tuple[Page, list[str], list[str]]) -> None:
    page = seen[0]
    page.set_viewport_size({"width": 400, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    assert page.evaluate("document.querySelector('figure').scrollWidth") > 700
    page.set_viewport_size({"width": 1280, "height": 900})


def test_sub_suites_of_one_data_set_are_not_combined(tmp_path: Path) -> None:
    reports = made({"one": 0.1, "two": 0.1})
    for report in reports.values():
        report["info"]["dataset"] = "phantom"
    page = build_cross_dataset("cross", folders(tmp_path, reports), {}, "bench run", tmp_path / "cross")
    for text in (page.read_text(), page.with_name("cross.html").read_text()):
        assert "comparison of its sub-suites" in text
        assert "are not separate studies" in text
        assert not re.search("[Oo]verall|hexagon|Hartung", text.partition("<main>")[2] or text)


def test_without_any_result_it_says_so(tmp_path: Path) -> None:
    reports = made({"one": 0.1})
    reports["one"].update(lines=[], questions=[])
    page = build_cross_dataset("cross", folders(tmp_path, reports), {}, "bench run", tmp_path / "cross")
    for text in (page.read_text(), page.with_name("cross.html").read_text()):
        assert "No sub-suite has a result yet." in text
        assert "Every arm on every data set" not in text
        assert "charts/cross.png" not in text
