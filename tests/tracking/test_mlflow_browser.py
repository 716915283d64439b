"""MLflow as its users see it: a store of ours, served by `bench ui`, looked at in a real browser."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest
from PIL import Image

from bench.tracking.media import DatasetInput
from bench.tracking.tracker import Tracker
from bench.tracking.views import ARMS, view_tags
from bench.types import ResultRow

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        os.environ.get("BENCH_BROWSER_TESTS") != "1",
        reason="starts MLflow and a browser, a minute or more; set BENCH_BROWSER_TESTS=1 to have it",
    ),
]

AT, START_MS = "2026-01-01T00:10:00+00:00", 1_767_226_140_000
BASE = ResultRow("", "fit", "toy", "phantom", "done", fold=0, repeat=0, costs={"elapsed_s": 60.0}, finished_at=AT)
SCORE = "test/patient_balanced_accuracy"
SCORES = {("none", 0): 0.4, ("none", 1): 0.6, ("cyclegan", 0): 0.9, ("cyclegan", 1): 0.3}


def fill(out: Path) -> None:
    """Log a generator with pictures and system metrics, and two arms' classifiers of two folds."""
    fit = out / "fit0"
    (fit / "samples").mkdir(parents=True)
    for step in (5, 20):
        Image.new("RGB", (64, 32), (10 * step, 0, 0)).save(fit / "samples" / f"translations_{step:06d}.png")
    losses = [f"{step},loss_G,{1 / (step + 1)}" for step in range(20)]
    (fit / "history.csv").write_text("\n".join(["step,name,value", *losses]) + "\n")
    usage = [f"{START_MS + 1000 * i},process_memory_megabytes,{500 + i}" for i in range(30)]
    (fit / "system.csv").write_text("\n".join(["at_ms,name,value", *usage]) + "\n")
    rows = [replace(BASE, key="fit/0", method="cyclegan", folder="fit0")]
    for (method, fold), score in SCORES.items():
        row = replace(BASE, method=method, fold=fold, ratio="1", classifier="small_cnn")
        rows.append(replace(row, key=f"classify/{method}{fold}", stage="classify"))
        rows.append(replace(row, key=f"evaluate/{method}{fold}", stage="evaluate", metrics={SCORE: score}))
    dataset = DatasetInput("phantom", "0123456789abcdef", "/data/phantom", {"benign": 60, "malignant": 40}, 12)
    cycle = {"cyclegan": "10.0", "none": "0.0"}
    tracker = Tracker(
        None, out, "toy", dataset=dataset, shown=view_tags(),
        params_of=lambda row: {"method": {"lambda_cycle": cycle[str(row.method)]}},
    )  # fmt: skip
    tracker.sync(rows)
    tracker.close()


@pytest.fixture(scope="module")
def runs_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the suite's runs, as `bench ui` prints it."""
    out = tmp_path_factory.mktemp("mlflow")
    env = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"} | {"PYTHONUNBUFFERED": "1"}
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        fill(out)
    command = [sys.executable, "-m", "bench.cli", "ui", "--out", str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as bench:
        assert bench.stdout is not None
        found = next((line.split()[1] for line in bench.stdout if line.startswith("  toy: ")), None)
        try:
            assert found is not None, "bench ui ended before it was ready"
            yield found
        finally:
            bench.terminate()
            bench.wait(30)


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    opened = chromium.new_page(viewport={"width": 1400, "height": 900})
    opened.set_default_timeout(60_000)
    yield opened
    opened.close()


def run_ids(runs_page: str) -> dict[str, str]:
    base, rest = runs_page.split("/#/experiments/")
    body = json.dumps({"experiment_ids": [rest.split("/")[0]], "max_results": 100}).encode()
    request = Request(f"{base}/api/2.0/mlflow/runs/search", body, {"Content-Type": "application/json"})
    with urlopen(request) as answer:
        return {run["info"]["run_name"]: run["info"]["run_id"] for run in json.load(answer)["runs"]}


def names(page: Page) -> list[str]:
    return [link.inner_text() for link in page.locator("a[href*='/runs/']").all()]


def test_the_table_has_our_columns_filters_and_means_by_arm(runs_page: str, page: Page) -> None:
    page.goto(runs_page)
    page.get_by_text("4 matching runs").wait_for()
    for heading in ("method", "ratio", "classifier", "fold", SCORE):
        page.locator("[role=columnheader]").get_by_text(heading, exact=True).first.wait_for()
    assert names(page)[0] == "cyclegan/r1/small_cnn/fold0/repeat0", "best first"
    search = page.get_by_placeholder("metrics.rmse")
    search.fill(f'tags.method = "cyclegan" and metrics.`{SCORE}` > 0.5')
    search.press("Enter")
    page.get_by_text("1 matching run").wait_for()
    assert names(page) == ["cyclegan/r1/small_cnn/fold0/repeat0"]
    page.goto("about:blank")
    page.goto(runs_page.split("&viewStateShareKey")[0] + f"&viewStateShareKey={ARMS}")
    page.get_by_text("0.6 (average)").wait_for()  # cyclegan's mean over folds
    page.get_by_text("0.5 (average)").wait_for()


def test_without_a_view_runs_are_nested_below_the_suites(runs_page: str, page: Page) -> None:
    page.goto(runs_page.split("&viewStateShareKey")[0])
    page.get_by_text("6 matching runs").wait_for()
    page.locator("a[href*='/runs/']").first.wait_for()
    assert [name.split(" ")[0] for name in names(page)] == ["toy"]
    page.get_by_text("phantom (0123456789abcdef)").first.wait_for()
    page.locator(".ag-row [role=button], .ag-row button").first.click()
    page.get_by_text("cyclegan/fold0/repeat0").wait_for()


def test_runs_compare_by_parameters_and_metrics(runs_page: str, page: Page) -> None:
    ids = [run for name, run in run_ids(runs_page).items() if "small_cnn/fold0" in name]
    base, rest = runs_page.split("/#/experiments/")
    experiments = json.dumps([rest.split("/")[0]])
    page.goto(f"{base}/#/compare-runs?runs={quote(json.dumps(ids))}&experiments={quote(experiments)}")
    page.get_by_text("Comparing 2 Runs").wait_for()
    page.get_by_text("Parallel Coordinates Plot").wait_for()
    page.get_by_text("method.lambda_cycle").last.wait_for()
    text = page.inner_text("body")
    assert SCORE in text
    assert all(score in text for score in ("0.4", "0.9"))


def test_a_generators_page_has_pictures_by_step_and_system_metrics(runs_page: str, page: Page) -> None:
    base, rest = runs_page.split("/#/experiments/")
    run = f"{base}/#/experiments/{rest.split('/')[0]}/runs/{run_ids(runs_page)['cyclegan/fold0/repeat0']}"
    page.goto(run)
    page.get_by_text("phantom (0123456789abcdef)").first.wait_for()
    page.get_by_text("loss_G").first.wait_for()
    page.goto(f"{run}/system-metrics")
    page.get_by_text("process_memory_megabytes", exact=True).first.wait_for()
    page.goto(f"{run}/model-metrics")
    page.get_by_placeholder("Search metric charts").fill("translations")
    slider = page.get_by_role("slider").first
    slider.wait_for()
    assert (slider.get_attribute("aria-valuemin"), slider.get_attribute("aria-valuemax")) == ("5", "20")
    box = slider.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 400, box["y"] + box["height"] / 2, steps=10)
    page.mouse.up()
    picture = page.locator("img[src*='translations'][src*='step%2B20']")
    picture.wait_for()
    assert picture.evaluate("img => img.complete && img.naturalWidth > 0")
