"""Two reports of one store, built by processes with different hash seeds and row orders, have the same bytes."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from report_rows import made_up

from bench.store.results import Store

BUILD = """
import pickle, sys, time
from pathlib import Path
from bench.report.build import build_report
from bench.store.results import Store
root, out = map(Path, sys.argv[1:])
build_report(Store(root).rows().values(), pickle.loads((root / "info").read_bytes()), root, out)
"""


def build(root: Path, out: Path, hash_seed: str) -> dict[str, bytes]:
    env = os.environ | {"PYTHONHASHSEED": hash_seed}
    subprocess.run(
        [sys.executable, "-c", BUILD, str(root), str(out)], check=True, env=env, cwd=Path(__file__).parents[2]
    )
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


@pytest.mark.slow
def test_fresh_processes_write_the_same_bytes_of_every_section(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    rows, info = made_up(
        root,
        classes=("akiec", "bcc", "nv"),
        ratios=("1", "1-without-memorised"),
        generative=("cgan", "cyclegan"),
        patients=9,
        per_patient=2,
        size_px=24,
    )
    info = replace(info, reference="cyclegan")
    failed = replace(rows[-1], status="failed", metrics={}, facts={}, error="ValueError: odd")
    rows = [*rows[:-1], failed]
    (root / "info").write_bytes(pickle.dumps(info))
    Store(root).append(rows)
    first = build(root, tmp_path / "first", "1")
    Store(root).path.unlink()
    Store(root).append(replace(r, metrics=dict(reversed(r.metrics.items()))) for r in reversed(rows))
    second = build(root, tmp_path / "second", "2")
    assert list(first) == list(second)
    assert [name for name in first if first[name] != second[name]] == []
    text = first["report.html"].decode()
    for section in (
        "Memorised samples",
        "Synthetic images",
        "Translations",
        "Cost",
        "Differences to",
        "Failed",
        "Data",
    ):
        assert f"<h2>{section}" in text, section
    for part in ("Does the gain remain", "Each class", "Verdicts and mean differences", "Diversity"):
        assert part in text, part
    assert {
        "charts/forest.png",
        "charts/differences.png",
        "pictures/cgan_closest_pairs.png",
        "pictures/cyclegan_translations.png",
    } <= set(first)
    assert json.loads(first["leaderboard.json"])["survivals"]
    assert not any(b"tEXt" in data or b"tIME" in data for name, data in first.items() if name.endswith(".png"))
