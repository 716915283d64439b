"""`bench serve`: what the page is told of a finished run, what it refuses, and the page itself in a browser."""

from __future__ import annotations

import asyncio
import base64
import csv
import io
import os
import pickle
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

import numpy as np
import pytest
from bad_uploads import EITHER, KINDS, USABLE, Peak, bad_uploads
from click.testing import CliRunner
from made_stores import commit_again
from run_async import run_async
from serve_client import Client, ask, image_of, pixels
from toy import write_suite

from bench.cli.main import main
from bench.cli.serve import serve_run
from bench.engine.cell_run import run_cell
from bench.engine.executors.local import limit_threads
from bench.engine.session import Session, prepare
from bench.errors import ConfigError
from bench.metrics.predictions import read_predictions
from bench.pages.limits import Limits
from bench.pages.serve import app as serve_page
from bench.pages.serve.models import Shelf
from bench.pages.serve.overlays import MAP_ALPHA
from bench.pages.serve.runs import Runs
from bench.pages.server import TOKEN, RequestError
from bench.pages.uploads import MAX_BYTES
from bench.plan.selection import select
from bench.seeding import derive_seed
from bench.store.cell_folders import Artifacts

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SUITE: dict[str, Any] = {
    "dataset": {"name": "phantom", "patients": 8, "images_per_patient": 3, "image_size_px": 32},
    "image_size_px": 32,
    "split": {"protocol": "holdout", "validation_fraction": 0.3},
    "ratios": [1.0],
    "methods": {
        "none": {},
        "cgan": {"steps": 2, "batch_size": 4, "filters": 4, "z_dim": 4},
        "cyclegan": {"steps": 1, "filters": 4, "blocks": 1, "disc_filters": 4},
    },
    "segmentation": {"steps": 4, "batch_size": 4, "filters": 4, "learning_rate": 0.01, "evaluate_every": 2},
}
CLASSIFIERS = {"small_cnn": {"steps": 4, "evaluate_every": 2, "batch_size": 8, "width": 4}}
NET = {"encoder": "tu-test_resnet", "decoder_filters": [16, 8, 4], "steps": 1, "batch_size": 2}
NETWORKS = {"unet": NET, "scse_unet": {**NET, "decoder_filters": [16, 16, 16], "attention": "scse"}}
DONE = (
    ["stage=split,fcn_score,fit,synthesize,classify"],
    ["stage=segmentation", "method=none"],
    ["stage=segmentation", "method=cyclegan", "classifier=unet"],
)


class Finished(NamedTuple):
    suite: Path
    session: Session


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run with all that the page can offer, and nothing more."""
    folder = tmp_path_factory.mktemp("serve")
    suite = write_suite(folder / "small.yaml", **SUITE, classifiers=CLASSIFIERS, segmentation_networks=NETWORKS)
    session = prepare(str(suite), (), None, folder / "out")
    limit_threads(1)
    for cell in {c.id: c for filters in DONE for c in select(session.plan.cells, filters)}.values():
        row = run_cell(cell, session.env)
        assert row.status == "done", row.error
    return Finished(suite, session)


@pytest.fixture(scope="module")
def client(finished: Finished) -> Client:
    return Client(finished.session)


def test_the_page_offers_what_is_done(client: Client) -> None:
    assert ask(client.app, "GET", "/api/runs").json == {"notice": serve_page.NOTICE, "runs": ["small"]}
    assert client.offered["classes"] == ["benign", "malignant"]
    assert [c["arm"] for c in client.offered["classifiers"]] == ["none", "cgan ×1", "cyclegan ×1"]
    found = {g["method"]: g["translates"] for g in client.offered["generators"]}
    assert found == {"cgan": False, "cyclegan": True}
    page = ask(client.app, "GET", "/")
    assert serve_page.NOTICE in page.body.decode()
    assert not re.search(rb"(?:src|href)=.?(?:https?:)?//", page.body)
    assert page.headers["content-security-policy"].startswith("default-src 'self'")


def test_an_image_is_classified_and_explained(client: Client, finished: Finished) -> None:
    content = image_of(finished.session, "test")
    found = client.classify(content, arm="cyclegan ×1", name="../../x.png").json
    assert found["name"] == "x.png"
    assert found["known"]["part"] == "test"
    probabilities = [c["probability"] for c in found["classes"]]
    assert sum(probabilities) == pytest.approx(1)
    assert found["predicted"] == int(np.argmax(probabilities))
    cell = client.cell("classifiers", arm="cyclegan ×1")
    table = read_predictions(Artifacts(finished.session.env.out).folder("classify", cell) / "predictions.csv", "test")
    row = table.y_prob[table.image.index(found["known"]["path"])]
    assert [c["uncalibrated"] for c in found["classes"]] == pytest.approx(row, abs=1e-6)
    assert found["calibration"]["validation_images"] > 0
    segmentation = found["segmentation"]
    overlays = [found["explanation"], segmentation, segmentation["explanation"]]
    assert [pixels(x["overlay"]).shape for x in overlays] == [(32, 32, 4)] * 3
    assert (segmentation["explanation"]["grid"], segmentation["learnt_from"]) == ([4, 4], "true")


def scored(session: Session, **scores: float) -> None:
    """Give each network, named method_network, a validation Dice as its cell would have recorded it."""
    artifacts = Artifacts(session.env.out)
    for cell in (c for c in session.plan.cells if c.stage == "segmentation" and artifacts.is_done(*c.id)):
        dice = scores[f"{cell.method}_{cell.classifier}"]
        commit_again(
            session.env.out, cell, lambda _, result, dice=dice: result["metrics"].update({"validation/dice": dice})
        )


def test_segmentation_networks_can_be_chosen_the_best_of_the_arm_first(finished: Finished, tmp_path: Path) -> None:
    shutil.copytree(finished.session.env.out, tmp_path / "out")
    session = prepare(str(finished.suite), (), None, tmp_path / "out")
    scored(session, none_unet=0.4, none_scse_unet=0.7, cyclegan_unet=0.5)
    client, content = Client(session), image_of(session, "test")
    networks = client.offered["segmentation_networks"]
    offered = {
        c["arm"]: [(networks[i]["network"], networks[i]["validation_dice"]) for i in c["segmentation_networks"]]
        for c in client.offered["classifiers"]
    }
    unet, scse, other = ("unet, none", 0.4), ("scse_unet, none", 0.7), ("unet, cyclegan ×1", 0.5)
    assert offered == {"none": [scse, unet, other], "cgan ×1": [scse, other, unet], "cyclegan ×1": [other, scse, unet]}
    for arm, (first, *_) in offered.items():
        found = client.classify(content, arm=arm).json["segmentation"]
        assert (found["network"], found["validation_dice"]) == first
    keys = {n["network"]: n["key"] for n in networks}
    asked = {
        name: client.classify(content, segmentation_network=key).json["segmentation"] for name, key in keys.items()
    }
    assert {name: found["network"] for name, found in asked.items()} == {name: name for name in keys}
    assert len({found["overlay"] for found in asked.values()}) > 1
    wrong = client.classify(content, segmentation_network="../../x")
    assert wrong.status == 404
    assert "no finished segmentation network '../../x'" in wrong.json["error"]


def test_where_no_network_is_compared_the_scorer_of_translations_segments(finished: Finished, tmp_path: Path) -> None:
    suite = write_suite(tmp_path / "small.yaml", **SUITE, classifiers=CLASSIFIERS)
    session = prepare(str(suite), (), None, finished.session.env.out)
    client = Client(session)
    (scorer,) = client.offered["segmentation_networks"]
    assert [c["segmentation_networks"] for c in client.offered["classifiers"]] == [[0]] * 3
    found = client.classify(image_of(session, "test")).json["segmentation"]
    named = {"network": "the FCN score network", "learnt_from": "true", "validation_dice": None}
    assert named.items() <= found.items()
    assert named["network"] == scorer["network"]
    assert pixels(found["overlay"]).shape == (32, 32, 4)
    assert found["explanation"] == {"overlay": None, "why": "there is no Grad-CAM for the FCN score network"}


def test_a_map_of_what_was_found_is_a_map_or_says_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from bench.pages.serve.answers import _looked
    from bench.segmentation.network_config import SegmentationNetworkConfig
    from bench.segmentation.smp_unet import build_segmentation_network

    torch.manual_seed(0)
    network = build_segmentation_network(
        SegmentationNetworkConfig(encoder="tu-test_resnet", decoder_filters=(16, 8, 4))
    )
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    mask = np.zeros((1, 32, 32), np.uint8)
    empty = _looked(network, image, mask, "cpu")
    assert empty["why"] == "the map is empty: no pixel was segmented"
    assert not pixels(empty["overlay"])[..., 3].any()
    mask[0, 8:20, 8:20] = 1
    full = _looked(network, image, mask, "cpu")
    assert full["why"] == ""
    assert pixels(full["overlay"])[..., 3].max() == MAP_ALPHA
    monkeypatch.setattr("bench.segmentation.explain.LEAST_CELLS", 64)
    none = _looked(network, image, mask, "cpu")
    assert none["overlay"] is None
    assert "no layer of the encoder" in none["why"]


def test_drawing_is_by_seed_and_comes_as_a_zip(client: Client) -> None:
    first, again, other = (client.draw(seed=s).json["images"] for s in (5, 5, 6))
    assert first == again
    assert {i["image"] for i in first}.isdisjoint(i["image"] for i in other)
    assert client.draw(count=5).json["images"][:3] == first
    answer = client.draw(at="POST /api/drawn.zip")
    assert re.fullmatch(r'attachment; filename="drawn-\w+-seed5\.zip"', answer.headers["content-disposition"])
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        rows = list(csv.DictReader(io.TextIOWrapper(archive.open("manifest.csv"), "utf-8")))
        assert [base64.b64encode(archive.read(r["path"])).decode() for r in rows] == [i["image"] for i in first]
    assert {(r["class"], r["method"], r["asked_seed"]) for r in rows} == {("malignant", "cgan", "5")}
    assert int(rows[0]["seed"]) == derive_seed("cgan sample", 5, 1, 0)
    assert client.draw(at="POST /api/drawn.zip").body == answer.body
    assert all(i["source"].startswith("benign/") for i in client.draw("cyclegan").json["images"])


def test_an_image_is_translated(client: Client, finished: Finished) -> None:
    content, cell = image_of(finished.session, "test"), client.cell("generators", method="cyclegan")
    found = ask(client.app, "POST", "/api/translate", content, run="small", cell=cell, label=0).json
    assert (found["from"], found["to"]) == ("benign", "malignant")
    assert pixels(found["translated"]).shape == pixels(found["back"]).shape == (32, 32, 3)
    assert (pixels(found["translated"]) != pixels(found["image"])).any()
    no = ask(
        client.app,
        "POST",
        "/api/translate",
        content,
        run="small",
        cell=client.cell("generators", method="cgan"),
        label=0,
    )
    assert (no.status, no.json["error"]) == (400, "cgan does not translate images; generate images of a class instead")


@pytest.mark.parametrize(
    ("values", "status", "words"),
    [
        ({"count": 65}, 400, "number of images: got 65, expected 1 to 64"),
        ({"label": 2}, 400, "class: got 2, expected 0 to 1"),
        ({"seed": 2**31}, 400, "seed: got 2147483648"),
        ({"count": "-1"}, 400, "got '-1', expected an integer"),
        ({"count": "٣"}, 400, "expected an integer"),
        ({"cell": "../../fit"}, 404, "no finished fit cell '../../fit'"),
        ({"run": "../tiny"}, 404, "unknown run '../tiny'"),
        ({"run": ""}, 400, "?run= is missing"),
    ],
)
def test_questions_that_cannot_be_answered(client: Client, values: dict[str, Any], status: int, words: str) -> None:
    answer = client.draw(**values)
    assert answer.status == status
    assert words in answer.json["error"]


def test_many_malformed_uploads_and_the_server_lives(client: Client, finished: Finished) -> None:
    """None gives a 5xx, all together need less than 1 GB, and after them a good one is answered as before."""
    good = image_of(finished.session, "test")
    before, asked = (client.classify(good).json, client.neighbours(good)), set[str]()
    with Peak.measured() as peak:
        for kind, name, content in bad_uploads(4 * len(KINDS)):
            answer = client.classify(content, name=name)
            if kind in USABLE:
                assert answer.status == 200, (kind, answer.body)
                if kind not in asked:
                    assert len(client.neighbours(content)["training"]) == 4
                asked.add(kind)
            elif kind in EITHER:
                assert answer.status in (200, 422), (kind, answer.body)
            else:
                assert 400 <= answer.status < 500, (kind, answer.body)
            if answer.status != 200:
                assert set(answer.json) == {"error"}
    assert asked == USABLE
    assert peak.bytes < 1e9
    assert (client.classify(good).json, client.neighbours(good)) == before


def test_bodies_that_are_too_large_are_not_read(client: Client) -> None:
    for length, body in ((MAX_BYTES + 1, b""), (10, bytes(MAX_BYTES + 2))):  # said to be; said to be small, and is not
        answer = client.classify(body, length=length)
        assert answer.status == 413
        assert "too large" in answer.json["error"]


def test_pretrained_weights_are_not_looked_for(finished: Finished, tmp_path: Path) -> None:
    """A network that was fine-tuned from pretrained weights is served where these are not to be had."""
    from bench.classifiers.timm_classifier import TimmClassifier, TimmConfig

    network = TimmClassifier(TimmConfig(model="test_resnet", pretrained=False)).build(2, 32, None)
    answer = served(finished, tmp_path, "test_resnet", {"pretrained": True, "steps": 1}, network)
    assert (answer.status, answer.json["classifier"]) == (200, "test_resnet")


def test_a_linear_probe_is_served_with_its_backbone(finished: Finished, tmp_path: Path) -> None:
    from bench.classifiers.linear_probe import LinearProbe, LinearProbeConfig

    network = LinearProbe(LinearProbeConfig(input_size_px=32)).build(2, 32, None)
    answer = served(finished, tmp_path, "linear_probe", {"input_size_px": 32}, network)
    assert (answer.status, answer.json["classifier"]) == (200, "linear_probe")


def served(finished: Finished, folder: Path, name: str, config: dict[str, Any], network: Any) -> Any:
    """Return the answer to an image of the finished run, with one more classifier: this network as if trained."""
    from bench.classifiers.weight_files import save_network

    classifiers = {**CLASSIFIERS, name: config}
    suite = write_suite(folder / "more.yaml", **{**SUITE, "classifiers": classifiers})
    shutil.copytree(finished.session.env.out, folder / "out")
    session = prepare(str(suite), (), None, folder / "out")
    small, cell = (
        next(c for c in session.plan.cells if (c.stage, c.method, c.classifier) == ("classify", "none", each))
        for each in ("small_cnn", name)
    )
    artifacts = Artifacts(session.env.out)
    shutil.copytree(artifacts.folder(*small.id), artifacts.folder(*cell.id))
    commit_again(session.env.out, cell, lambda folder, _: save_network(network, folder / "classifier.safetensors"))
    return Client(session).classify(image_of(session, "test"), cell=cell.key)


def test_uploads_that_break_off_or_never_end_free_their_place(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client.app._bodies, "limits", Limits(stall_s=0.01))
    where = urlencode({"run": client.run, "cell": client.cell("classifiers", arm="none")}).encode()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            status.append(message["status"])

    async def breaks_off() -> Any:
        return {"type": "http.disconnect"}

    async def never_ends() -> Any:
        await asyncio.sleep(30)

    status: list[int] = []
    scope = {"type": "http", "method": "POST", "path": "/api/classify", "query_string": where, "server": ("::1", 80)}
    headers = [(b"host", b"localhost"), (TOKEN.encode(), client.app.token.encode())]
    scope |= {"headers": headers, "http_version": "1.1", "scheme": "http"}
    for receive in [breaks_off, never_ends] * serve_page.WAITING:
        run_async(client.app(dict(scope), receive, send))  # type: ignore[arg-type]
    assert status == [400, 408] * serve_page.WAITING


def test_nothing_is_unpickled(finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run's networks are used without any unpickler; a pickle in a network's place is refused and not run."""
    import torch

    def forbidden(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("something was unpickled")

    for module, name in ((torch, "load"), (torch.serialization, "load"), (pickle, "load"), (pickle, "loads")):
        monkeypatch.setattr(module, name, forbidden)
    monkeypatch.setattr(pickle, "Unpickler", forbidden)
    out = tmp_path / "out"
    shutil.copytree(finished.session.env.out, out)
    client, content = Client(prepare(str(finished.suite), (), None, out)), image_of(finished.session, "test")
    assert client.classify(content, arm="cgan ×1").status == 200
    assert client.draw().status == client.draw("cyclegan").status == 200
    cell = client.cell("generators", method="cyclegan")
    assert ask(client.app, "POST", "/api/translate", content, run="small", cell=cell, label=1).status == 200

    class Evil:
        def __reduce__(self) -> Any:
            return (Path(tmp_path / "ran").touch, ())

    key = client.cell("classifiers", arm="none")
    cell = next(c for c in finished.session.plan.cells if c.id == ("classify", key))
    pickled = pickle.dumps(Evil())
    commit_again(out, cell, lambda folder, _: folder.joinpath("classifier.safetensors").write_bytes(pickled))
    answer = client.classify(content, arm="none")
    assert answer.status == 409
    assert "classifier.safetensors" in answer.json["error"]
    assert not (tmp_path / "ran").exists()


def test_too_many_questions_at_once_are_told_so(client: Client) -> None:
    queue = serve_page.RequestQueue()

    async def many() -> list[Any]:
        return await asyncio.gather(
            *(queue.do(lambda: 1) for _ in range(serve_page.WAITING + 2)), return_exceptions=True
        )

    found = run_async(many())
    assert found.count(1) == serve_page.WAITING
    assert [getattr(e, "status", None) for e in found if e != 1] == [503, 503]
    assert run_async(many()).count(1) == serve_page.WAITING  # and the queue is free again


def test_the_things_used_last_are_kept() -> None:
    made = []
    shelf: Shelf[str] = Shelf()

    def make() -> str:
        made.append(asked)
        return asked

    for asked in ("a", "b", "a", "c", "a", "b"):
        assert shelf.get(asked, make) == asked
    assert made == ["a", "b", "c", "b"]


def test_other_runs_in_the_folder_can_be_chosen(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    for name in ("ci", "breakhis", "nobody-knows-it"):
        (out / "reports" / name).mkdir(parents=True)
    runs = Runs(prepare(str(finished.suite), (), None, out))
    assert runs.names() == ["small", "breakhis", "ci"]
    with pytest.raises(RequestError, match="start `bench serve --suite breakhis` with the right --data"):
        runs.get("breakhis")
    asked = []

    def found(*how: Any) -> Session:
        asked.append(how)
        return finished.session

    monkeypatch.setattr("bench.pages.serve.runs.prepare", found)
    assert len(runs.get("ci").described()["classifiers"]) == 3
    assert runs.get("ci") is runs.get("ci")
    assert asked == [("ci", (), None, out)]  # made ready once


def test_the_verb_says_what_is_missing(finished: Finished, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["serve", "--suite", str(finished.suite), "--out", str(tmp_path / "empty")])
    assert result.exit_code == 2
    assert "expected the --out folder of a `bench run`" in result.output
    session = prepare(str(finished.suite), (), None, tmp_path)
    with pytest.raises(ConfigError, match="no trained classifier or generator of suite small found; train them: bench"):
        serve_run(session, "127.0.0.1", 0)


@pytest.fixture
def address(finished: Finished) -> Iterator[str]:
    """A real server, as the command starts it."""
    command = [sys.executable, "-u", "-m", "bench.cli", "serve", "--suite", str(finished.suite), "--port", "0"]
    out = ["--out", str(finished.session.env.out), "--device", "cpu"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([*command, *out], stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            found = re.search(r"http://127\.0\.0\.1:\d+/", line)
            assert found, line
            yield found[0]
        finally:
            process.terminate()
            process.wait(30)


@pytest.mark.browser
def test_the_page_in_a_browser(address: str, finished: Finished, chromium: Browser, tmp_path: Path) -> None:
    """Upload, class and overlay; a refusal; translation; images drawn, and downloaded as a zip."""
    image, broken, large = (tmp_path / name for name in ("scan.png", "broken.png", "large.png"))
    image.write_bytes(image_of(finished.session, "test"))
    broken.write_bytes(image.read_bytes()[:200])
    large.write_bytes(bytes(MAX_BYTES + 1))
    context = chromium.new_context(viewport={"width": 360, "height": 740})
    page, asked, errors = context.new_page(), [], []
    page.on("request", lambda r: asked.append(r.url))
    page.on("pageerror", lambda e: errors.append(str(e)))
    page.on("console", lambda m: errors.append(m.text) if "Content Security" in m.text else None)
    page.goto(address)
    assert page.get_by_role("note").inner_text() == serve_page.NOTICE
    page.get_by_label("Trained with").select_option("cyclegan ×1")
    page.locator("#file").set_input_files(broken)
    page.locator("#classify-state", has_text="damaged or incomplete").wait_for()
    page.locator("#file").set_input_files(large)
    page.locator("#classify-state", has_text="the maximum is 20 MB").wait_for()
    page.locator("#file").set_input_files(image)
    page.locator("#classified").wait_for(timeout=60_000)
    assert re.fullmatch(r"(benign|malignant), \d+\.\d %", page.locator("#verdict").inner_text())
    assert drawn(page, "#overlay") == 32
    page.get_by_label("segmentation", exact=True).check()
    assert drawn(page, "#mask") == 32
    assert page.locator("#overlay").is_hidden()
    by_keyboard(page)
    neighbours_are_shown(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360  # nothing sticks out on a phone

    page.get_by_label("Generator").select_option("cyclegan")
    drop(page, "#translate [data-drop]", image)
    page.locator("#translated img").nth(2).wait_for()
    page.get_by_label("Generator").select_option("cgan")
    page.get_by_label("Images", exact=True).fill("6")
    page.get_by_label("Images", exact=True).press("Enter")
    page.locator("#drawn-images img").nth(5).wait_for()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as zip").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert len(archive.namelist()) == 7
    assert not errors
    assert all(url.startswith((address, "blob:", "data:")) for url in asked)
    context.close()


def by_keyboard(page: Page) -> None:
    """Another layer and another segmentation network, with the arrow keys alone."""
    page.keyboard.press("ArrowDown")  # the focus is on the segmentation's choice
    assert page.get_by_label("Grad-CAM of the segmentation network").is_checked()
    assert drawn(page, "#looks") == 32
    assert page.locator("#mask").is_hidden()
    first = page.locator("#layer-text").inner_text()
    assert "the pixels segmented by unet, cyclegan ×1" in first
    network = page.get_by_label("Segmentation network (validation Dice)")
    names = network.locator("option").all_inner_texts()
    assert re.fullmatch(r"unet, cyclegan ×1 \(\d+\.\d %\)", names[0])
    assert {name.rpartition(" (")[0] for name in names[1:]} == {"unet, none", "scse_unet, none"}
    network.focus()
    page.keyboard.press("ArrowDown")
    chosen = names[1].rpartition(" (")[0]
    page.locator("#layer-text", has_text=f"the pixels segmented by {chosen}").wait_for()
    assert network.input_value() != ""
    page.get_by_label("Trained with").select_option("none")
    page.locator("#layer-text", has_text=", none").wait_for()
    assert network.locator("option:checked").inner_text().rpartition(", ")[2].startswith("none (")
    page.get_by_label("Trained with").select_option("cyclegan ×1")
    page.locator("#layer-text", has_text="the pixels segmented by unet, cyclegan ×1").wait_for()
    page.locator("#mask-choice").check()


def neighbours_are_shown(page: Page) -> None:
    """By features, with their distances."""
    for kind in ("training", "synthetic"):
        page.locator(f"#{kind}-text", has_text="cosine distance, 0 (same direction) to 2").wait_for()
        assert page.locator(f"#{kind} li").count() == 4
    distances = page.locator("#training li span:nth-of-type(2)").all_inner_texts()
    assert all(re.fullmatch(r"[01]\.\d{4}", text) for text in distances)
    assert page.locator("#neighbours-state").inner_text() == ""


def drop(page: Page, place: str, file: Path) -> None:
    """Drop a file on a place of the page, as from a folder."""
    make = """([name, bytes]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], name));
        return data;
    }"""
    data = page.evaluate_handle(make, [file.name, list(file.read_bytes())])
    page.locator(place).dispatch_event("drop", {"dataTransfer": data})


def drawn(page: Page, image: str) -> int:
    """Return the width of a picture's pixels, once it is visible and decoded."""
    page.locator(image).wait_for()
    return int(page.locator(image).evaluate("async e => (await e.decode(), e.naturalWidth)"))
