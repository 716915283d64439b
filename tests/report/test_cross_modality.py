"""A file of sub-suites: its suites, the report over all of them, and the commands on all of them."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from cross_reports import SETS, folders, made, report_of
from toy import leave_out_figures

from bench.analysis.datasets.effects import At, read_sub_suite
from bench.analysis.datasets.overall import pool
from bench.cli.audit import find_subject
from bench.cli.main import main
from bench.engine.scheduler import Listener
from bench.errors import ConfigError, DataError
from bench.report.pages.datasets.build import build_cross_dataset
from bench.suite.shipped import sub_suite_names
from bench.suite.suite import load_suite

SHARED = {
    "image_size_px": 32, "threads": 1, "split": {"protocol": "kfold", "folds": 2, "validation_fraction": 0.25},
    "methods": {"none": None, "classical": None},
    "classifiers": {"small_cnn": {"steps": 4, "evaluate_every": 2, "batch_size": 8}},
    "explain": {"images_per_class": 0},
}  # fmt: skip
PHANTOM = {"image_size_px": 32, "patients": 8, "images_per_patient": 3}


def pooled(root: Path, reports: Mapping[str, dict[str, Any]]) -> dict[At, Any]:
    return {p.at: p for p in pool([read_sub_suite(n, f) for n, f in folders(root, reports).items()])}


TL, KID = At("gain", "net", "tl ×1", "none"), At("kid", "", "tl", "tl_scratch")


def test_an_effect_s_error_is_the_one_behind_its_interval(tmp_path: Path) -> None:
    gains = {"tl": [0.01, 0.03, 0.02, 0.06, -0.01]}
    [folder] = folders(tmp_path, {"one": report_of("one", gains)}).values()
    effect = read_sub_suite("one", folder).effects[TL]
    from bench.stats.planning import pair_ratio

    assert effect.error == pytest.approx(np.std(gains["tl"], ddof=1) * math.sqrt(1 / 5 + pair_ratio(0.25)))
    assert effect.pairs == 5


def test_a_gain_on_every_set_holds(tmp_path: Path) -> None:
    found = pooled(tmp_path, made(dict.fromkeys(SETS, 0.10)))
    assert (found[TL].word, found[TL].carries) == ("helps", "holds")
    assert found[TL].found.studies == 4
    assert found[TL].found.low < 0.10 < found[TL].found.high
    assert (found[KID].word, found[KID].carries) == ("lower", "holds")
    assert found[At("gain", "net", "classical", "none")].word == "undecided"
    assert found[TL].p_adjusted >= found[TL].found.p  # corrected over both arms


def test_opposite_effects_differ(tmp_path: Path) -> None:
    found = pooled(tmp_path, made({"one": 0.2, "two": -0.2, "three": 0.2, "four": -0.2}))
    assert (found[TL].word, found[TL].carries) == ("undecided", "differs")
    assert found[TL].found.i2 > 0.9
    assert found[TL].found.p_alike < 0.001


def test_nothing_that_matters_is_equivalent_and_a_wide_spread_is_on_average(tmp_path: Path) -> None:
    assert pooled(tmp_path / "a", made(dict.fromkeys(SETS, 0.0), sd=0.002))[TL].word == "equivalent"
    spread = made({"one": 0.14, "two": 0.20, "three": 0.16, "four": 0.30}, sd=0.002)
    assert pooled(tmp_path / "b", spread)[TL].carries == "on average"


def test_two_sets_or_one_twice_are_not_combined(tmp_path: Path) -> None:
    few = pooled(tmp_path / "a", made({"one": 0.1, "two": 0.1}))
    assert few[TL].carries == "too few"
    assert math.isnan(few[TL].found.mean)
    same = made(dict.fromkeys(SETS, 0.1))
    for report in same.values():
        report["info"]["dataset"] = "phantom"
    assert pooled(tmp_path / "b", same)[TL].carries == "too few"


def test_the_report_over_all_sub_suites(tmp_path: Path) -> None:
    reports = made(dict.fromkeys(SETS, 0.10))
    reports["two"]["lines"][1] = report_of("two", {"tl": [0.1, 0.12, 0.11]})["lines"][0]
    reports["three"]["lines"] = report_of("three", {"classical": [0.1]})["lines"]
    there = folders(tmp_path / "reports", reports)
    absent = {"cross-five": "there is no folder five"}
    page = build_cross_dataset("cross", there, absent, "bench run --suite cross", tmp_path / "reports" / "cross")
    text = page.read_text()
    assert (
        "**Does the gain over `none` hold on all imaging modalities?** Over 3 data sets: `tl ×1` with net helps" in text
    )
    assert "| `tl ×1` | net | one | 80." in text
    assert "| `none` | net | one | 70.0 |" in text
    assert "| **overall (3 data sets)** |  | +" in text
    assert "- five: the whole sub-suite (there is no folder five)" in text
    assert "- two: tl ×1 with net: 3 of 5 pairs (not run yet)" in text
    assert "- three: `classical` with net (gain) has no interval" in text
    assert "- three: `tl ×1` (gain) was not measured" in text
    assert "**one**: `one_set` (histology), a / b, 100 images of 12 patients" in text
    figure = page.parent / "charts" / "cross.png"
    assert figure.stat().st_size > 10_000
    rows = list(csv.DictReader((page.parent / "cross.csv").open()))
    overall = next(r for r in rows if r["dataset"] == "3 together" and r["arm"] == "tl ×1" and r["measure"] == "gain")
    assert float(overall["low"]) < float(overall["difference"]) < float(overall["high"])
    assert overall["carries"] in ("holds", "on average")
    assert json.loads((page.parent / "cross.json").read_text())["absent"] == {"five": "there is no folder five"}
    before = {p: p.read_bytes() for p in page.parent.rglob("*") if p.is_file()}
    build_cross_dataset("cross", there, absent, "bench run --suite cross", page.parent)
    assert before == {p: p.read_bytes() for p in before}


def test_a_report_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "leaderboard.json").write_text("{}")
    with pytest.raises(DataError, match="write it again"):
        read_sub_suite("x", tmp_path)


def test_shipped_sub_suites_differ_in_data_set_and_orientation_of_augmentation(tmp_path: Path) -> None:
    more = {"chest": "chest_xray", "cells": "malaria"}
    for name, own in (("cross-modality", more), ("cross-modality-small", {})):
        suites = [load_suite(s) for s in sub_suite_names(name)]
        sets = {"breakhis": "breakhis", "busi": "busi", "isic": "isic9", **own, "ihc": "phantom_ihc"}
        assert {s.name.removeprefix(f"{name}-"): s.dataset.name for s in suites} == sets
        assert len({(s.classifiers, s.settings.split, s.settings.image_size_px) for s in suites}) == 1
        limited = ("classical", "trivialaugment")  # by modality
        assert len({tuple(m for m in s.methods if m.name not in limited) for s in suites}) == 1
        mirrored = {s.name for s in suites if s.method("classical").config.orientation == "mirror"}
        assert mirrored == {f"{name}-{m}" for m in ("busi", "chest") if m in sets}, "they have an up and no colour"
    (tmp_path / "IHC").mkdir()
    ihc = load_suite("cross-modality-ihc", root=tmp_path)
    assert (ihc.dataset.name, ihc.settings.folder) == ("ihc", "IHC")
    assert load_suite("cross-modality-ihc", root=tmp_path / "IHC").dataset.name == "ihc"
    audited = find_subject(tmp_path, None, "cross-modality-ihc", tmp_path / "out")
    assert (audited.name, audited.root) == ("ihc", tmp_path / "IHC")


def test_the_list_names_the_sub_suites() -> None:
    listed = json.loads(CliRunner().invoke(main, ["list", "--json"]).output)["suites"]
    assert listed["cross-modality-busi"] == "sub-suite busi of cross-modality"
    assert "cross-modality" in listed


def write_sub_suites(folder: Path, **changes: Any) -> Path:
    sub_suites = {
        "easy": {"dataset": {"name": "phantom", **PHANTOM, "difficulty": 0.1}},
        "brown": {"dataset": {"name": "phantom_ihc", **PHANTOM}},
        "scans": {"dataset": {"name": "busi"}, "folder": "Dataset_BUSI_with_GT"},
    }
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({**SHARED, "sub_suites": {**sub_suites, **changes}}, sort_keys=False))
    return path


def test_sub_suites_of_a_user_file(tmp_path: Path) -> None:
    path = write_sub_suites(tmp_path, odd={"dataset": {"name": "phantom"}, "methods": {"classical": {"noise": 1}}})
    assert [Path(n).name for n in sub_suite_names(str(path))] == [
        "mine-easy.yaml", "mine-brown.yaml", "mine-scans.yaml", "mine-odd.yaml",
    ]  # fmt: skip
    suite = load_suite(str(tmp_path / "mine-brown.yaml"), ("split.folds=4",))
    assert (suite.name, suite.dataset.name, suite.settings.split.folds) == ("mine-brown", "phantom_ihc", 4)
    assert sub_suite_names(str(tmp_path / "mine-brown.yaml")) == ()
    with pytest.raises(ConfigError, match=r"has sub-suites; give one of them: .*mine-easy\.yaml"):
        load_suite(str(path))
    with pytest.raises(ConfigError, match="did you mean 'brown'"):
        load_suite(str(tmp_path / "mine-brwn.yaml"))
    with pytest.raises(ConfigError, match="noise"):
        load_suite(str(tmp_path / "mine-odd.yaml"))
    with pytest.raises(ConfigError, match="unknown suite"):
        load_suite("cross-modalty-busi")


class NoView(Listener):
    """Replaces the MLflow view, which is slow to start."""

    def __init__(self, session: Any) -> None:
        """Take the arguments of the view."""

    def is_complete(self, digest: str) -> bool:
        return True


def test_the_commands_on_all_sub_suites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENCH_DATA", raising=False)
    leave_out_figures(monkeypatch)
    monkeypatch.setattr("bench.cli.run.MLflowView", NoView)
    path, out = write_sub_suites(tmp_path), tmp_path / "out"
    words = ["--suite", str(path), "--out", str(out)]

    def bench(verb: str, *more: str) -> Any:
        return CliRunner().invoke(main, [verb, *words, *more])

    planned = json.loads(bench("plan", "--json").output)
    assert [m["suite"] for m in planned["sub_suites"]] == ["mine-easy", "mine-brown"]
    assert "BUSI images are needed" in planned["absent"]["mine-scans"]
    first = bench("run", "--jobs", "1", "--device", "cpu")
    assert first.exit_code == 1, first.output  # a sub-suite has no images
    assert "suite mine-scans is left out" in first.output
    page = (out / "reports" / "mine" / "cross.md").read_text()
    assert "- scans: the whole sub-suite" in page
    assert f"bench run --suite {path}" in page
    assert (out / "reports" / "mine-brown" / "leaderboard.md").is_file()
    html = out / "reports" / "mine" / "cross.html"
    assert html.is_file()
    assert f"page: {html}" in first.output.replace("\n", "")
    again = bench("run", "--jobs", "1", "--device", "cpu")
    assert again.output.count("all cells are done") == 2
    shown = json.loads(bench("status", "--json").output)
    assert all(m["done"] == m["cells"] > 0 for m in shown["sub_suites"])
    assert "mine-easy" in bench("status").output
    assert "2 sub-suites" in bench("plan").output
    assert json.loads(bench("report", "--json").output)["suite"] == "mine"
    assert bench("report").output.splitlines()[-1] == str(html)
    write_sub_suites(tmp_path, easy={"dataset": {"name": "busi"}}, brown={"dataset": {"name": "busi"}})
    nothing = bench("plan")
    assert nothing.exit_code == 2
    assert "no images found for any sub-suite of" in nothing.output
