"""FID and KID by step have a separate chart, which keeps the scale of the losses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.report.charts import style
from bench.report.charts.losses import draw_losses, loss_curves, read_curves
from bench.report.charts.training_fidelity import draw_training_fidelity, fidelity_curves

TAG = "tf_efficientnet_lite0-96px-57934424"


def history(folder: Path, fold: int, scored: bool) -> Path:
    rows = ["step,name,value"]
    for step in range(10, 101, 10):
        rows += [f"{step},loss/D,{0.5 + fold / 10}", f"{step},loss/G,{1.0 + fold}"]
        if scored and step % 50 == 0:
            rows += [f"{step},fidelity/kid_{TAG},{4 - step / 50 + fold}", f"{step},fidelity/fid_{TAG},{900 - step}"]
    path = folder / f"{fold}-{scored}.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    found: dict[str, Any] = {}
    monkeypatch.setattr(style, "save", lambda fig, path: found.update({path.stem: fig}))
    return found


def test_scores_by_step_have_a_separate_chart(tmp_path: Path, figures: dict[str, Any]) -> None:
    histories = {
        "cgan": read_curves([history(tmp_path, fold, scored=True) for fold in (0, 1)]),
        "cgan_skin": read_curves([history(tmp_path, fold, scored=False) for fold in (0, 1)]),
    }
    draw_losses(loss_curves(histories), tmp_path / "losses.png")
    labels = [t.get_text() for t in figures["losses"].legends[0].get_texts()]
    assert labels == ["loss/D", "loss/G"]
    drawn = [line.get_ydata() for ax in figures["losses"].axes for line in ax.lines if len(line.get_ydata())]
    assert max(float(np.max(y)) for y in drawn) == 1.5

    empty = (np.array([10, 20]), np.full((2, 2), np.nan))
    scores = {f"fidelity/kid_{TAG}": histories["cgan"]["loss/D"]}
    assert loss_curves({"a": {"loss/D": empty}, "b": scores}) == {}  # nothing to draw

    found = fidelity_curves(histories)
    assert list(found) == ["cgan"]
    assert fidelity_curves({"cgan_skin": histories["cgan_skin"]}) == {}
    draw_training_fidelity(found, ("cgan",), tmp_path / "fidelity.png")
    kid, fid = figures["fidelity"].axes
    assert [ax.get_title() for ax in (kid, fid)] == ["KID", "FID"]
    assert {ax.get_ylabel() for ax in (kid, fid)} == {TAG}
    assert [t.get_text() for t in figures["fidelity"].legends[0].get_texts()] == ["cgan"]
    np.testing.assert_array_equal(kid.lines[0].get_xydata(), [[50, 3.5], [100, 2.5]])
    np.testing.assert_array_equal(fid.lines[0].get_xydata(), [[50, 850], [100, 800]])
    assert kid.get_ylim()[0] == 0
