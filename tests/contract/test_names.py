"""Names that try to be paths, formulas or markup: refused where a suite gives them, escaped where images have them."""

from __future__ import annotations

import csv
import html
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markdown_it import MarkdownIt
from report_rows import made_up
from toy import write_suite

from bench.errors import ConfigError, DataError
from bench.metrics.custom import own_measures
from bench.metrics.predictions import Predictions, read_predictions, write_predictions
from bench.names import check_name
from bench.report.build import build_report
from bench.report.html.tables import inline
from bench.report.text import code, literal
from bench.stages.context import CellContext
from bench.store.csv_cells import DictWriter, Writer, neutralised, read_rows, restored
from bench.suite.shipped import sub_suite_names
from bench.suite.suite import load_suite, parse_suite
from bench.types import DatasetIndex, Measure

BAD = ("../../../x", "a/b", "a\nb", "", ".", "..", "CON", "nul.txt", "x" * 300, "=cmd", "+1", "-x", "a b", "a|b",
       "<b>", "é", "a.", "@x", "\x1b[31m")  # fmt: skip
CLASSES = ("<script>alert(1)</script>", "|x|", "$x_1$", "=1+1", "_under_ *star* `tick`", "PR+", "actinic keratosis")


def suite(**changes: Any) -> dict[str, Any]:
    found = {"dataset": {"name": "phantom"}, "methods": {"none": {}}, "classifiers": {"small_cnn": {}}}
    return {**found, **changes}


def read_named(section: str, name: str, folder: Path) -> object:
    """Read a suite that gives a name in one place."""
    if section == "suite":
        return parse_suite(name, suite())
    if section == "dataset":
        return parse_suite("s", suite(dataset={"name": name, "use": "phantom"}))
    if section == "sub_suites":
        return sub_suite_names(str(write_suite(folder / "s.yaml", sub_suites={name: {}})))
    use = {"methods": "none", "classifiers": "small_cnn", "metrics": "expected_cost"}
    given = {name: {"use": use[section]} if section in use else {}}
    return parse_suite("s", suite(**{section: {**suite().get(section, {}), **given}}))


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize(
    "section", ["methods", "classifiers", "segmentation_networks", "metrics", "dataset", "suite", "sub_suites"]
)
def test_a_suite_with_a_name_that_could_be_a_path_or_markup_is_refused(section: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_named(section, name, tmp_path)
    assert "ASCII letters, digits and _" in str(caught.value) or "device name on Windows" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", ["real", "Overview", "segmentation", "segmentation_unet", "explanations"])
def test_a_method_cannot_take_a_name_of_the_reports_own_files(name: str) -> None:
    with pytest.raises(ConfigError, match="is reserved for the report"):
        parse_suite("s", suite(methods={"none": {}, name: {"use": "classical"}}))


def test_names_that_are_one_file_on_some_systems_are_refused() -> None:
    with pytest.raises(ConfigError, match="'mine' and 'Mine'"):
        parse_suite("s", suite(methods={"mine": {"use": "none"}, "Mine": {"use": "classical"}}))


def test_names_with_signs_that_are_safe_are_allowed(tmp_path: Path) -> None:
    found = load_suite(
        str(write_suite(tmp_path / "s-1.2+b.yaml", methods={"none": {}, "gan-v1.2+ema": {"use": "none"}}))
    )
    assert [m.name for m in found.methods] == ["none", "gan-v1.2+ema"]
    assert check_name("study", "a..b") == "a..b"


@pytest.mark.parametrize("name", ["a\nb", "", "  ", "a\x1b[31m", "x" * 101, "right‮left"])
def test_a_class_whose_name_cannot_be_printed_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="rename its folder"):
        DatasetIndex("made_up", Path(), ("a", name), ())


def test_the_names_that_a_plug_in_logs_are_checked(tmp_path: Path) -> None:
    ctx = CellContext(tmp_path / "cell", "cpu", 0, None)
    (tmp_path / "cell").mkdir()
    with pytest.raises(ConfigError, match=r"ctx\.save_images"):
        ctx.save_images("../../x", 1, np.zeros((1, 8, 8, 3), np.uint8))
    with pytest.raises(ConfigError, match=r"ctx\.log"):
        ctx.log(1, 2, {"a\nb": 1.0})
    with pytest.raises(ConfigError, match=r"ctx\.phase"), ctx.phase("a b"):
        pass
    ctx.log(1, 2, {"validation/recall_PR+": 0.5})
    assert {p.name for p in tmp_path.rglob("*")} <= {"cell", "history.csv", "progress.json"}


def test_the_names_of_a_metrics_measures_are_checked() -> None:
    class Odd:
        per_patient = False

        def measures(self) -> dict[str, Measure]:
            return {"a": Measure("higher"), "../b": Measure("higher")}

    with pytest.raises(ConfigError, match=r"metrics\.mine: measures\(\): got the name '\.\./b'"):
        own_measures("mine", Odd())  # type: ignore[arg-type]


RISKY = ("=1+1", "+1+2", "-2+3", "@SUM(A1)", "  =1", "\t=1", "\r=1", "\ttab", "'=1", "''@x", "＝1", "-", "=", "-PR")


@pytest.mark.parametrize("text", [*RISKY, "", "'", "'plain", "plain", "PR+", "a=b", "-0.5", "1e-3", "'-0.5"])
def test_a_cell_begins_like_no_formula_and_reads_back(text: str) -> None:
    out = io.StringIO(newline="")
    Writer(out).writerow([text, -0.5, 7])
    cell, number, whole = next(csv.reader(io.StringIO(out.getvalue(), newline="")))
    assert not re.match(r"\s*[=+@＝]|[\t\r]|\s*-(?![\d.])", cell)
    assert (number, whole) == ("-0.5", "7")
    assert restored(cell) == text
    assert cell == (f"'{text}" if text in RISKY or text == "'-0.5" else text)


def test_a_number_written_as_text_stays_a_number() -> None:
    assert [neutralised(x) for x in ("-0.5", "+3", "-1e-05", "-inf", -0.5, 3)] == [
        "-0.5",
        "+3",
        "-1e-05",
        "-inf",
        -0.5,
        3,
    ]


def test_a_table_reads_back_by_its_columns() -> None:
    out = io.StringIO(newline="")
    rows = DictWriter(out, ("=a", "b"))
    rows.writeheader()
    rows.writerow({"=a": "@x"})
    assert read_rows(io.StringIO(out.getvalue(), newline="")) == [{"=a": "@x", "b": ""}]
    with pytest.raises(ValueError, match=r"\['c'\]"):
        rows.writerow({"c": 1})


def test_predictions_of_hostile_classes_images_and_patients_read_back(tmp_path: Path) -> None:
    prob = np.eye(len(CLASSES)) * 0.3 + 0.1
    images = tuple(f"=cmd|{i}.png" for i in range(len(CLASSES)))
    groups = tuple(f"@p{i}" for i in range(len(CLASSES)))
    made = Predictions(images, groups, ("test",) * len(CLASSES), 0, 0, np.arange(len(CLASSES)), prob, CLASSES)
    write_predictions(tmp_path / "p.csv", made)
    found = read_predictions(tmp_path / "p.csv")
    assert (found.image, found.group, found.classes) == (images, groups, CLASSES)
    assert found.y_true.tolist() == made.y_true.tolist()
    assert "\n'=cmd" in (tmp_path / "p.csv").read_text()


@pytest.mark.parametrize(
    "text", [*CLASSES, "![x](http://e.invalid/y.png)", "# head", "1. x", "&amp;", "a\\|b", "~~x~~"]
)
def test_literal_text_is_shown_as_it_is(text: str) -> None:
    markdown = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    for around in ("{}", "- {}", "mean of {} here", "|a|b|\n|---|---|\n|x|{}|\n"):
        shown = markdown.render(around.format(literal(text)))
        words = html.unescape(re.sub(r"<[^>]*>", "", shown))
        assert text in words
        assert "<script" not in shown
        assert not re.search(r"<(img|em|a|h1|ol|code|s)\b", shown)
    assert html.unescape(inline(literal(text))) == text
    assert f"<code>{html.escape(text)}</code>" in markdown.render(code(text))


@pytest.mark.parametrize("name", ["actinic keratosis", "PR+", "tf_efficientnet_lite0", "a/b-c (d), e: 50 %"])
def test_literal_leaves_ordinary_names_alone(name: str) -> None:
    assert literal(name) == name


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small report whose classes are called by CLASSES."""
    root = tmp_path_factory.mktemp("out")
    rows, info = made_up(
        root, generative=("cgan",), classifiers=("small_cnn",), ratios=("1",), patients=len(CLASSES) * 2,
        per_patient=2, size_px=24, classes=CLASSES,
    )  # fmt: skip
    build_report(rows, info, root, root / "report")
    return root / "report"


def test_hostile_classes_go_through_a_whole_report(report: Path) -> None:
    text = (report / "leaderboard.md").read_text(encoding="utf-8")
    for mark in ("<script", "|x|", "$x_1$", "`tick`", "*star*"):
        assert mark not in text
    page = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    shown = html.unescape(re.sub(r"<[^>]*>", "", page))
    assert all(name in shown for name in CLASSES)
    tables = re.findall(r"<table>.*?</table>", page, re.DOTALL)
    for table in tables:  # a class's name makes no column of its own
        widths = {len(re.findall(r"<t[hd]\b", line)) for line in re.findall(r"<tr>.*?</tr>", table, re.DOTALL)}
        assert len(widths) == 1


def test_hostile_classes_are_text_in_html(report: Path) -> None:
    page = (report / "report.html").read_text(encoding="utf-8")
    assert page.count("<script") == 1
    assert "alert(1)</script>" not in page
    shown = html.unescape(re.sub(r"<[^>]*>", "", page))
    assert all(name in shown for name in CLASSES)


def test_hostile_classes_are_text_in_csv_and_latex(report: Path) -> None:
    cells = [c for row in csv.reader((report / "leaderboard.csv").open(encoding="utf-8", newline="")) for c in row]
    assert not [c for c in cells if re.match(r"\s*[=+@]|\s*-(?![\d.])", c)]
    assert any("=1+1" in c for c in cells)
    assert "<script" not in (report / "leaderboard.tex").read_text(encoding="utf-8")
