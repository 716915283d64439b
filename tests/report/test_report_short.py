"""leaderboard.md is short enough to be read: limits in words for a small and a large run of all methods."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from report_rows import GENERATIVE, made_up

from bench.analysis.info import ReportInfo
from bench.analysis.report import collect
from bench.analysis.rows import Rows
from bench.report.markdown import markdown
from bench.report.page import defined, more, sections, title
from bench.suite.roles import Counterpart, Roles

SCRATCH = ("tlsgan_lite0_scratch", "tlsgan_resnet50_scratch", "tlsgan_vgg16_scratch")
ROLES = Roles(
    ("tlsgan_lite0",), SCRATCH, ("cyclegan",), ("cgan",), (("tlsgan_lite0", "tlsgan_lite0_scratch"),),
    tuple(Counterpart(m, "cyclegan", ("discriminator tf_efficientnet_lite0 (patchgan)",)) for m in GENERATIVE[2:]),
)  # fmt: skip


def page(root: Path, **size: Any) -> tuple[str, ReportInfo]:
    """Return leaderboard.md of a run of all methods with a comparison at equal compute and a reference method."""
    rows, info = made_up(root, generative=GENERATIVE, pictures=False, size_px=24, train_multipliers=(2, 4), **size)
    info = replace(info, roles=ROLES, reference="cyclegan")
    found = sections(
        collect(Rows(rows), info, root), info, {f"charts/{n}.png": "x " * 50 for n in ("forest", "cost")}, {}
    )
    return markdown(title(info), defined(found, brief=True), more(found)), info


@pytest.mark.parametrize(
    ("most", "size"),
    [
        (1800, {"folds": 3, "classifiers": ("small_cnn",), "ratios": ("1",)}),
        (3000, {"folds": 5, "classifiers": ("small_cnn", "test_resnet", "lite0"), "ratios": ("0.5", "1")}),
    ],
)
def test_the_leaderboard_is_at_most_so_many_words(most: int, size: dict[str, Any], tmp_path: Path) -> None:
    text, info = page(tmp_path, patients=6, per_patient=2, **size)
    assert 700 < len(text.split()) <= most
    heads = [line for line in text.splitlines() if line.startswith("## ")]
    assert heads[:3] == ["## Leaderboard", "## Cost", "## Research questions"]
    assert heads[-2:] == ["## Definitions", "## Settings and versions"]
    answer = text.partition("\n\n")[2].partition("## Leaderboard")[0].strip().split("\n\n")
    assert len(answer) == 4  # three sentences, and where the rest is
    assert all(f"`{m}`" in text for m in info.methods)


def test_a_suite_without_classifiers_has_no_answer_and_keeps_its_headings(tmp_path: Path) -> None:
    rows, info = made_up(tmp_path, folds=2, classifiers=(), generative=("cgan",), pictures=False)
    found = sections(collect(Rows(rows), info, tmp_path), info, {}, {})
    text = markdown(title(info), defined(found, brief=True), more(found))
    assert text.startswith("# tiny: quality of the synthetic images\n\nAll figures, sortable tables")
    assert text.index("\n## Synthetic images against real ones") < text.index("\n## Cost\n")
