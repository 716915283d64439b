"""A new report table is one file: the example in docs/extending.md appears in every format."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from report_rows import made_up

from bench.report import sections as package
from bench.report.build import build_report

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"


@pytest.fixture
def plugged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the example beside the sections."""
    fences = [t.content for t in MarkdownIt().parse(PAGE.read_text(encoding="utf-8")) if t.type == "fence"]
    (text,) = [f for f in fences if "def sections(records" in f]
    (tmp_path / "spread_of_scores.py").write_text(text, encoding="utf-8")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    monkeypatch.setattr("bench.report.build.draw_figures", lambda *_: {})
    yield
    import sys

    sys.modules.pop(f"{package.__name__}.spread_of_scores", None)


@pytest.mark.usefixtures("plugged")
def test_the_example_is_a_section_of_every_format(tmp_path: Path) -> None:
    rows, info = made_up(tmp_path / "out", generative=(), classifiers=("small_cnn",), pictures=False, patients=6)
    md = build_report(rows, info, tmp_path / "out", tmp_path / "report")
    page = md.with_name("report.html").read_text()
    assert "<h2>Spread of the scores</h2>" in page
    assert 'title="Spread: standard deviation over pairs, in points."' in page
    assert "<b>Spread</b>" in page or "<strong>Spread</strong>" in page  # in the definitions at the end
    assert r"\label{tab:tiny-spread-of-the-scores}" in md.with_name("leaderboard.tex").read_text()
    with (md.parent / "tables" / "spread-of-the-scores.csv").open() as f:
        assert [row["Arm"] for row in csv.DictReader(f)] == ["none", "classical", "oversample"]
    assert "Spread" not in md.read_text()  # the appendix
