"""The report as files: complete, reproducible to the byte, with missing results listed, and built without torch."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from report_rows import made_up

from bench.analysis.info import ReportInfo
from bench.report.build import build_report
from bench.report.charts.grids import spread
from bench.report.text import count, interval, join, number, percent, points, seconds, size, table
from bench.stats.pareto import pareto
from bench.types import ResultRow

GANS = ("cgan", "tlsgan_resnet50_scratch")
SMALL = {"ratios": ("0.5", "1"), "generative": GANS, "size_px": 32, "patients": 8}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[ResultRow], ReportInfo]:
    root = tmp_path_factory.mktemp("out")
    rows, info = made_up(root, **SMALL)  # type: ignore[arg-type]
    build_report(rows, info, root, root / "report")
    return root, rows, info


def test_a_report_has_these_files(run: tuple[Path, list[ResultRow], ReportInfo]) -> None:
    root, _, _ = run
    found = {p.relative_to(root / "report").as_posix() for p in (root / "report").rglob("*") if p.is_file()}
    assert found == {
        "leaderboard.md", "leaderboard.csv", "leaderboard.json", "leaderboard.tex", "report.html",
        "scores.parquet", "comparisons.parquet",
        *(f"charts/{n}.png" for n in ("forest", "folds", "cost", "losses", "sweep", "roc", "pr", "reliability")),
        *(f"charts/{n}.png" for n in ("equal_terms", "confusion", "confusion_patients", "patients")),
        *(f"pictures/{n}.png" for n in ("overview", *GANS, *(f"{g}_closest_pairs" for g in GANS))),
        f"pictures/{GANS[1]}_translations.png",
        *(n for n in found if n.startswith("tables/")),
    }  # fmt: skip


def test_every_table_row_has_as_many_cells_as_its_header(run: tuple[Path, list[ResultRow], ReportInfo]) -> None:
    text = (run[0] / "report" / "leaderboard.md").read_text()
    width, tables = 0, 0
    for line in text.splitlines():
        if line.startswith("|"):
            cells = line.replace("\\|", "").count("|")
            tables += width == 0
            assert width in (0, cells), line
            width = cells
        else:
            width = 0
    assert tables == 3  # leaderboard, cost and generative arms; the appendix is in the page
    main, notes = text.split("## Definitions")
    for column in ("Arm", "Bal. acc.", "AUROC", "Verdict", "Difference", "Training (fold)"):
        assert f"| {column} |" in main, column
        assert column in notes  # defined at the end
    assert "KID" not in notes  # is no column here
    assert "(charts/forest.png)" in main
    assert "pictures/" not in text
    assert "`bench run --suite tiny`" in text


def test_every_table_of_the_page_is_a_csv_file_and_in_latex(run: tuple[Path, list[ResultRow], ReportInfo]) -> None:
    report = run[0] / "report"
    page, tex = (report / "report.html").read_text(), (report / "leaderboard.tex").read_text()
    found = sorted((report / "tables").iterdir())
    assert page.count("<table") == tex.count(r"\begin{tabular}") == len(found) > 15
    for path in found:
        with path.open() as f:
            assert len({len(line) for line in csv.reader(f)}) == 1, path
    with (report / "tables" / "fcn-score.csv").open() as f:
        assert next(csv.reader(f)) == ["Method", "IoU", "Pixel accuracy", "Class accuracy"]
    assert rf"\label{{tab:{run[2].suite}-fcn-score}}" in tex


def test_lines_are_sorted_and_the_best_is_bold(run: tuple[Path, list[ResultRow], ReportInfo]) -> None:
    text = (run[0] / "report" / "leaderboard.md").read_text()
    first = text.split("## Leaderboard")[1].split("## ")[0]
    cells = [line.split("|") for line in first.splitlines() if line.startswith("| `") and "small_cnn" in line]
    means = [float(c[5].replace("*", "").split("[")[0]) for c in cells]
    assert len(cells) == 3 + 2 * 2
    assert means == sorted(means, reverse=True)
    assert ["**" in c[5] for c in cells] == [m == means[0] for m in means]


def test_csv_and_json_hold_the_numbers(run: tuple[Path, list[ResultRow], ReportInfo]) -> None:
    with (run[0] / "report" / "leaderboard.csv").open() as f:
        rows = list(csv.DictReader(f))
    data = json.loads((run[0] / "report" / "leaderboard.json").read_text())
    line = next(x for x in data["lines"] if (x["method"], x["ratio"], x["classifier"]) == ("cgan", "1", "small_cnn"))
    found = [r for r in rows if (r["method"], r["ratio"], r["classifier"]) == ("cgan", "1", "small_cnn")]
    score = next(r for r in found if r["metric"] == "patient_balanced_accuracy" and not r["reference"])
    assert float(score["mean"]) == line["scores"]["patient_balanced_accuracy"]["mean"]
    difference = next(r for r in found if r["metric"] == "patient_balanced_accuracy" and r["reference"] == "none")
    assert difference["verdict"] == line["versus"]["none"]["patient_balanced_accuracy"]["word"]
    assert data["summary"][0] in (run[0] / "report" / "leaderboard.md").read_text()


def broken(rows: list[ResultRow]) -> list[ResultRow]:
    """Five failed cells, three missing ones."""
    kept, failed, missing = [], 0, 0
    for r in rows:
        if r.stage == "evaluate" and r.method == "cgan" and failed < 5:
            failed += 1
            kept.append(replace(r, status="failed", metrics={}, facts={}, error="ValueError: a | b\nmore"))
        elif r.stage in ("classify", "evaluate") and r.method == "classical" and missing < 6:
            missing += 1
        else:
            kept.append(r)
    return kept


def test_failed_and_missing_cells_are_reported(
    run: tuple[Path, list[ResultRow], ReportInfo], tmp_path: Path, no_figures: None
) -> None:
    root, rows, info = run
    stale = tmp_path / "r" / "tables" / "of-an-earlier-report.csv"
    stale.parent.mkdir(parents=True)
    stale.touch()
    text = build_report(broken(rows), info, root, tmp_path / "r").read_text()
    assert not stale.exists()
    assert (stale.parent / "missing-scores.csv").is_file()
    assert "**Incomplete:** 8 scores of 28 are missing" in text
    assert "| failed | evaluate | 5 | `cgan` | small_cnn ×0.5," in text
    assert "ValueError: a &#124; b |" in text  # escaped, so it does not start a new column
    assert "0 of 2" in text


def test_a_store_without_any_score_still_reports(run: tuple[Path, list[ResultRow], ReportInfo], tmp_path: Path) -> None:
    text = build_report([], run[2], run[0], tmp_path / "r").read_text()
    assert "No score has been computed yet." in text
    assert not (tmp_path / "r" / "charts").exists()


def test_without_none_there_are_scores_but_no_verdicts(
    run: tuple[Path, list[ResultRow], ReportInfo], tmp_path: Path, no_figures: None
) -> None:
    root, rows, info = run
    kept = [r for r in rows if r.method != "none"]
    methods = tuple(m for m in info.methods if m != "none")
    text = build_report(kept, replace(info, methods=methods), root, tmp_path / "r").read_text()
    assert "no verdicts" in text
    tables = {p.name for p in (tmp_path / "r" / "tables").iterdir()}
    assert "difference-to-none-small-cnn.csv" not in tables
    assert "difference-to-classical-small-cnn.csv" in tables


def test_pictures_show_real_and_synthetic_images(run: tuple[Path, list[ResultRow], ReportInfo]) -> None:
    with Image.open(run[0] / "report" / "pictures" / "cgan.png") as image:
        pixels = np.asarray(image)
    inked = (pixels < 250).any(axis=2).mean()
    assert inked > 0.5
    assert pixels.shape[1] > 10 * 96


def test_building_a_report_imports_no_torch_and_no_pyplot() -> None:
    code = (
        "import sys, bench.report.build as b\n"
        "assert 'matplotlib' not in sys.modules and 'scipy' not in sys.modules\n"
        "import tempfile, pathlib\n"
        "i = b.ReportInfo('s', 'd', ('a', 'b'), ('none',), (), ('c',), (), (b.FoldSize(0, 0, 8, 2, 2),))\n"
        "t = pathlib.Path(tempfile.mkdtemp()); b.build_report([], i, t, t)\n"
        "sys.exit(bool({'torch', 'matplotlib.pyplot', 'mlflow'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_sections_import_no_renderer() -> None:
    report = Path(build_report.__code__.co_filename).parent
    for package, banned in (("sections", ("charts", "html", "latex", "markdown")),):
        for path in (report / package).glob("*.py"):
            found = [name for name in banned if f"bench.report.{name}" in path.read_text(encoding="utf-8")]
            assert not found, path


def test_number_formats() -> None:
    nan = float("nan")
    assert [percent(0.8123), percent(nan), points(-0.0123), points(0.05), points(-0.0001)] == [
        "81.2",
        "–",
        "−1.2",
        "+5.0",
        "0.0",
    ]
    assert [interval(0.1, 0.2), interval(-0.1, 0.2, signed=True), interval(nan, 1)] == [
        "[10.0, 20.0]",
        "[−10.0, +20.0]",
        "",
    ]
    assert [number(x) for x in (0.041234, 153.2, 2.5, 0, nan, -0.5)] == ["0.0412", "153", "2.50", "0", "–", "−0.500"]
    assert [seconds(x) for x in (0.42, 38.2, 750, 11520, nan)] == ["0.4 s", "38 s", "12.5 min", "3.2 h", "–"]
    assert [size(512 * 2**20), size(3.4 * 2**30)] == ["512 MiB", "3.4 GiB"]
    assert [join("a"), join("ab"), join("abc"), count(1, "pair"), count(2, "pair")] == [
        "a",
        "a and b",
        "a, b and c",
        "1 pair",
        "2 pairs",
    ]
    assert table(["a", "b"], [["x|y", "1\n2"]]) == "| a | b |\n| --- | ---: |\n| x\\|y | 1 2 |\n"


def test_pareto_front_keeps_undominated_points() -> None:
    assert pareto([(3, 0.9), (1, 0.7), (2, 0.6), (1, 0.5), (4, 0.9)]) == [(1, 0.7), (3, 0.9)]


def test_spread_is_even() -> None:
    names = [Path(str(i)) for i in range(10)]
    assert [p.name for p in spread(names, 5)] == ["0", "2", "4", "6", "8"]
    assert spread(names[:3], 5) == names[:3]
