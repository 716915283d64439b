"""The rating study: drawn evenly, served blind, no answer lost; what its analysis says. And the server beneath it."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, PngImagePlugin
from report_text import text as section_text
from run_async import run_async
from toy import write_squares, write_suite

from bench.analysis.info import PublishedFacts, ReportInfo
from bench.analysis.raters import analysed, rating_studies
from bench.cli.main import main
from bench.data.splits import make_splits
from bench.data.synthetic_files import save_manifest
from bench.engine.session import Session, prepare
from bench.errors import BenchError, ConfigError, DataError
from bench.pages.rate.app import rating_app
from bench.pages.rate.build import open_study
from bench.pages.server import HEADERS, RequestError, json_body, listen, make_app
from bench.report.sections import raters as rater_section
from bench.stats.inference import wilson
from bench.store.cell_folders import Artifacts
from bench.store.ratings import REAL, Answer, Answers, Study, StudyImage, encode_study, load_study, rater_name
from bench.suite.published import Published, PublishedMethod
from bench.types import SyntheticRecord

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

METHODS = ("cgan", "cyclegan")
SECRET = (*METHODS, "real_", "secret", "manifest", "suite", "benign", "malignant", "fold", "cells/", "synthe")


def finished(root: Path, methods: tuple[str, ...] = METHODS, images: int = 8) -> Session:
    """Return a session whose generators have made so many images of each class and fold, without any training.

    Those of a CycleGAN say of which images they are translations.
    """
    data, suite = root / "data", root / "secret_suite.yaml"
    if not suite.exists():
        write_squares(data)
        write_suite(suite, ratios=[1.0], methods={"none": {}, **{m: {} for m in methods}})
    session = prepare(str(suite), (), data, root / "out")
    artifacts, rng = Artifacts(session.env.out), np.random.default_rng(0)
    paths = [r.path for r in session.plan.index.records]
    for cell in session.plan.work:
        if cell.stage != "synthesize" or artifacts.is_done(*cell.id):
            continue
        with artifacts.work(*cell.id) as folder:
            records = []
            for i in range(2 * images):
                path = folder / f"images/{i % 2}/{i:05d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                secrets = PngImagePlugin.PngInfo()
                secrets.add_text("made by", f"secret {cell.method}")
                size = 16 if i % 3 else 24  # brought to the common size
                pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(path, pnginfo=secrets)
                source = paths[i] if cell.method == "cyclegan" else ""
                records.append(SyntheticRecord(path.relative_to(folder).as_posix(), i % 2, i, "checkpoint", source))
            save_manifest(folder, records, ["b0"])
            artifacts.commit(*cell.id, {"metrics": {}, "costs": {}, "facts": {}, "finished_at": ""})
    return session


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return finished(tmp_path_factory.mktemp("rate"))


@pytest.fixture
def study(session: Session) -> Iterator[tuple[Path, Study]]:
    """The study of that run, without answers."""
    folder, found = open_study(session, "shared", 8)
    yield folder, found
    (folder / "answers.jsonl").unlink(missing_ok=True)


def call(
    app: Any, method: str, path: str, data: object = None, body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Send one request to an app; return status, headers and body."""
    if data is not None:
        body, headers = json.dumps(data).encode(), {"content-type": "application/json", **headers}
    sent: list[dict[str, Any]] = []
    fields = {"host": "127.0.0.1:8000", **{k.replace("_", "-"): v for k, v in headers.items()}}
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "client": ("127.0.0.1", 9),
        "server": ("127.0.0.1", 8000), "headers": [(k.encode(), v.encode()) for k, v in fields.items()],
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body or b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    try:
        run_async(app(scope, receive, send))
    except ZeroDivisionError:  # the server's own error handler answers first, then raises it for the log
        assert sent
    found = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
    return sent[0]["status"], found, b"".join(m.get("body", b"") for m in sent[1:])


# How a study is drawn


def test_a_study_is_even_and_opaque(study: tuple[Path, Study], session: Session) -> None:
    folder, found = study
    assert found.sources == (REAL, *METHODS)
    per = Counter((i.source, i.label, i.fold) for i in found.images)
    assert set(per.values()) == {2}  # 8 images a source: of two classes and two folds each
    assert len(per) == 3 * 2 * 2
    tested = {(s.fold, path) for s in make_splits(session.plan.index, session.suite.settings.split) for path in s.test}
    real = [i for i in found.images if i.source == REAL]
    assert {(i.fold, i.copied_from) for i in real} <= tested
    assert len({i.copied_from for i in found.images}) == len(found.images)
    assert [i.source for i in found.images] != sorted((i.source for i in found.images), key=found.sources.index)
    files = sorted((folder / "images").iterdir())
    assert {f.stem for f in files} == {i.id for i in found.images}
    for path in files:
        assert re.fullmatch(r"[0-9a-f]{16}", path.stem)
        content = path.read_bytes()
        with Image.open(io.BytesIO(content)) as image:
            assert (image.size, image.mode, image.info) == ((16, 16), "RGB", {})
        assert set(re.findall(rb"[A-Za-z]{4}", b"".join(_chunk_names(content)))) == {b"IHDR", b"IDAT", b"IEND"}


def _chunk_names(png: bytes) -> Iterator[bytes]:
    at = 8
    while at < len(png):
        yield png[at + 4 : at + 8] + b" "
        at += 12 + int.from_bytes(png[at : at + 4], "big")


def test_pixels_of_the_common_size_are_kept(study: tuple[Path, Study], session: Session) -> None:
    folder, found = study
    kept = 0
    for image in (i for i in found.images if i.source != REAL):
        with (
            Image.open(session.env.out / image.copied_from) as made,
            Image.open(folder / "images" / f"{image.id}.png") as shown,
        ):
            if made.size == shown.size:
                kept += 1
                assert np.array_equal(np.asarray(made), np.asarray(shown))
    assert kept


def test_a_study_is_made_once(session: Session) -> None:
    folder, first = open_study(session, "once", 4, seed=3)
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    assert open_study(session, "once") == (folder, first)
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before
    with pytest.raises(ConfigError, match="created with --per-method 4, not 5"):
        open_study(session, "once", 5)
    with pytest.raises(ConfigError, match="created with --seed 3, not 0"):
        open_study(session, "once", seed=0)
    again = open_study(session, "twice", 4, seed=3)[1]
    assert [(i.source, i.copied_from) for i in again.images] == [(i.source, i.copied_from) for i in first.images]
    assert {i.copied_from for i in open_study(session, "other", 4, seed=4)[1].images} != {
        i.copied_from for i in first.images
    }
    assert not [p for p in folder.parent.iterdir() if p.name.startswith(".")]


def test_what_cannot_be_rated(session: Session, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"real has \d+ images of benign, 100 are needed"):
        open_study(session, "large", 200)
    for name in ("../up", "", ".hidden", "a/b"):
        with pytest.raises(ConfigError, match="--study"):
            open_study(session, name)
    empty = finished(tmp_path)
    shutil.rmtree(empty.env.out / "cells")
    with pytest.raises(ConfigError, match="no synthetic images of suite secret_suite"):
        open_study(empty)


def test_every_rater_has_an_order(study: tuple[Path, Study]) -> None:
    folder, found = study
    orders = [found.order(name) for name in ("ann", "bob", "cleo")]
    assert all(sorted(o) == sorted(i.id for i in found.images) for o in orders)
    assert len({tuple(o) for o in orders}) == 3
    assert load_study(folder).order("ann") == orders[0]
    assert replace(found, images=tuple(reversed(found.images))).order("ann") == orders[0]
    assert replace(found, seed=1).order("ann") != orders[0]


# What is served


def test_nothing_served_tells_what_an_image_is(study: tuple[Path, Study]) -> None:
    folder, found = study
    app = rating_app(found, folder)
    replies = [call(app, "GET", path) for path in ("/", "/rate.js", "/rate.css")]
    replies.append(call(app, "POST", "/api/start", {"rater": "Ann"}))
    for image in found.images:
        replies.append(call(app, "GET", f"/image/{image.id}"))
        answer = {"rater": "Ann", "image": image.id, "real": True, "quality": 5, "seconds": 1.5}
        replies.append(call(app, "POST", "/api/answer", answer))
    replies.append(call(app, "POST", "/api/start", {"rater": "ann"}))  # after the end
    last = json.loads(replies[-1][2])
    assert last["images"] == found.order("ann")
    assert len(last["answers"]) == len(found.images)
    shown = [i.picture for i in found.images if i.picture]
    assert len(set(shown)) == len(shown) == 16  # real ones and translations, none of them of the same picture
    secrets = [
        *SECRET,
        *(i.copied_from for i in found.images),
        *shown,
        "picture",
        "repeats",
        str(folder),
        found.name,
    ]
    kinds = set()
    for status, headers, body in replies:
        assert status == 200
        assert {k: headers[k] for k in HEADERS} == HEADERS
        kinds.add(frozenset(headers))
        text = (json.dumps(headers) + body.decode("latin-1")).lower()
        assert not [word for word in secrets if word.lower() in text]
    assert kinds == {frozenset({*HEADERS, "content-type", "content-length"})}
    for path in (
        "/manifest.json",
        "/../manifest.json",
        "/image/../manifest.json",
        "/image/x",
        "/api",
        "/answers.jsonl",
    ):
        status, _, body = call(app, "GET", path)
        assert status == 404
        assert set(json.loads(body)) == {"error"}


BAD = [
    ({}, "not an image of this study"),
    ({"image": "../manifest"}, "not an image of this study"),
    ({"real": "yes"}, "real"),
    ({"real": None}, "real"),
    ({"quality": 6}, "from 0 to 5"),
    ({"quality": -1}, "from 0 to 5"),
    ({"quality": 2.0}, "from 0 to 5"),
    ({"quality": True}, "from 0 to 5"),
    ({"quality": None}, "from 0 to 5"),
    ({"seconds": float("nan")}, "seconds"),
    ({"seconds": float("inf")}, "seconds"),
    ({"seconds": -1}, "seconds"),
    ({"rater": "  "}, "expected 1 to 60"),
    ({"rater": "x" * 61}, "expected 1 to 60"),
    ({"rater": 7}, "expected a name"),
]


@pytest.mark.parametrize(("wrong", "said"), BAD)
def test_wrong_answers_are_refused(study: tuple[Path, Study], wrong: dict[str, Any], said: str) -> None:
    folder, found = study
    good = {"rater": "ann", "image": found.images[0].id, "real": False, "quality": 0, "seconds": 0}
    status, _, body = call(rating_app(found, folder), "POST", "/api/answer", {**good, **wrong} if wrong else {})
    assert status == 400
    assert said in json.loads(body)["error"]
    assert not (folder / "answers.jsonl").exists()


def test_changed_images_are_not_served(session: Session) -> None:
    folder, found = open_study(session, "changed", 4)
    path = folder / "images" / f"{found.images[3].id}.png"
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(DataError, match="has changed"):
        rating_app(found, folder)


# Answers


def answer(image: str, rater: str = "ann", real: bool = True, quality: int = 3, seconds: float = 1.0) -> Answer:
    return Answer(rater, image, real, quality, seconds, "2026-01-01T00:00:00+00:00")


def test_answers_are_only_added_to(tmp_path: Path) -> None:
    answers = Answers(tmp_path)
    assert answers.read() == {}
    answers.add(answer("a", quality=1))
    first = answers.path.read_bytes()
    answers.add(answer("a", quality=4))
    answers.add(answer("a", rater="bob"))
    assert answers.path.read_bytes().startswith(first)
    assert answers.of("ann") == {"a": answer("a", quality=4)}
    assert len(answers.read()) == 2


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_torn_last_line_is_passed_over(tmp_path: Path, cut: int) -> None:
    answers = Answers(tmp_path)
    answers.add(answer("a"))
    answers.add(answer("b"))
    answers.path.write_bytes(answers.path.read_bytes()[:-cut] if cut > 1 else answers.path.read_bytes() + b'\xff{"ra')
    kept = {"a"} if cut > 1 else {"a", "b"}
    assert set(answers.of("ann")) == kept
    answers.add(answer("c"))  # on a line of its own
    assert set(answers.of("ann")) == kept | {"c"}


def test_lines_that_are_no_answers_are_passed_over(tmp_path: Path) -> None:
    answers = Answers(tmp_path)
    answers.add(answer("a"))
    with answers.path.open("a") as f:
        f.write('[]\n7\n{}\n{"rater": "x"}\n' + json.dumps({**answer("b").__dict__, "quality": 9}) + "\n")
    assert set(answers.read()) == {("ann", "a")}


def test_several_raters_at_once(study: tuple[Path, Study]) -> None:
    folder, found = study
    app, ids = rating_app(found, folder), [i.id for i in found.images]

    def rate(rater: str) -> set[int]:
        given = ({"rater": rater, "image": i, "real": True, "quality": 1, "seconds": 1} for i in found.order(rater))
        return {call(app, "POST", "/api/answer", data)[0] for data in given}

    names = ["ann", "bob", "cleo", "dan"]
    with ThreadPoolExecutor(len(names)) as pool:
        assert list(pool.map(rate, names)) == [{200}] * len(names)
    assert set(Answers(folder).read()) == {(name, i) for name in names for i in ids}
    assert len((folder / "answers.jsonl").read_text().splitlines()) == len(names) * len(ids)


def test_a_rater_is_the_same_however_typed() -> None:
    assert rater_name("  Ann\u00a0 LEE \n") == rater_name("ann lee") == "ann lee"
    assert rater_name("J\u006f\u0308rg") == rater_name("J\u00f6rg")


# The server


@pytest.fixture
def echo() -> Any:
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def back(request: Any) -> Any:
        return JSONResponse(await json_body(request))

    async def no(request: Any) -> Any:
        raise {"typed": BenchError("so and so"), "status": RequestError(418, "no tea")}[request.path_params["how"]]

    async def broken(request: Any) -> Any:
        return 1 // 0

    return make_app([Route("/back", back, methods=["POST"]), Route("/no/{how}", no), Route("/broken", broken)], 1024)


@pytest.mark.parametrize(
    ("request_", "status", "said"),
    [
        (("POST", "/back", {"a": 1}), 200, None),
        (("POST", "/back", [1]), 400, "JSON object"),
        (("POST", "/back", "x" * 2000), 413, "too large; the maximum is 1 KiB"),
        (("GET", "/back"), 405, "Not Allowed"),
        (("GET", "/nowhere"), 404, "this address does not exist"),
        (("GET", "/no/typed"), 400, "so and so"),
        (("GET", "/no/status"), 418, "no tea"),
        (("GET", "/broken"), 500, "terminal"),
    ],
)
def test_errors_are_json(echo: Any, request_: tuple[Any, ...], status: int, said: str | None) -> None:
    got, headers, body = call(echo, *request_)
    assert got == status
    assert {k: headers[k] for k in HEADERS} == HEADERS
    found = json.loads(body)
    assert (found == {"a": 1}) if said is None else (said in found["error"])
    assert "Traceback" not in str(found)


def test_who_is_turned_away(echo: Any) -> None:
    good = {"content_type": "application/json"}
    cases: list[tuple[int, dict[str, str]]] = [
        (200, {"origin": "http://127.0.0.1:8000"}),
        (200, {"host": "localhost:8000"}),
        (403, {"origin": "http://evil.example"}),
        (403, {"origin": "null"}),
        (421, {"host": "evil.example"}),  # a name made to point to this machine
        (413, {"content_length": "99999"}),
        (400, {"content_length": "-1"}),
        (415, {"content_type": "text/plain"}),
    ]
    for status, headers in cases:
        assert call(echo, "POST", "/back", body=b"{}", **{**good, **headers})[0] == status, headers
    assert call(echo, "POST", "/back", body=b"{", **good)[0] == 400
    assert call(echo, "POST", "/back", body=b"[" * 900, **good)[0] == 400


def test_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"--port {port} is used"):
            listen("127.0.0.1", port)
        monkeypatch.setattr("bench.pages.server.PORT", port)
        with listen("127.0.0.1", None) as other:
            assert port < other.getsockname()[1] < port + 50
    with pytest.raises(ConfigError, match="--host"):
        listen("no such host", 0)
    with pytest.raises(ConfigError, match="not an address of this machine"):
        listen("192.0.2.1", 0)


# What raters found


def small_study() -> Study:
    """Four real images and four of one method."""
    images = [StudyImage(f"{s[0]}{i}", s, "benign", 0, 0, "", "") for s in (REAL, "cyclegan") for i in range(4)]
    return Study("s", "toy", "phantom", 0, 4, 8, (REAL, "cyclegan"), tuple(images))


def some_answers() -> dict[tuple[str, str], Answer]:
    """Ann tells all apart, and marks by the image's number; Bob says 'real' of all, a mark higher, and not of c3."""
    given = [answer(f"{s}{i}", "ann", s == "r", i, 2.0 + i) for s in "rc" for i in range(4)]
    given += [answer(f"{s}{i}", "bob", True, i + 1, 5.0) for s in "rc" for i in range(4) if f"{s}{i}" != "c3"]
    return {(a.rater, a.image): a for a in given}


def test_analysis_of_a_study() -> None:
    found = analysed(small_study(), some_answers())
    assert (found.images, found.answers, found.repeats) == (8, 15, None)
    real, made = found.sources
    assert (real.rated, made.rated, made.images) == (4, 4, 4)
    assert (real.taken_for_real.hits, real.taken_for_real.n) == (8, 8)
    assert (made.taken_for_real.hits, made.taken_for_real.n) == (3, 7)
    # ann: none of four, bob: all of three; residuals of the images' hits 1/7 three times, and -3/7
    effect = 4 / 3 * (12 / 49) / 49 / (12 / 49 / 7)
    assert effect < 1  # images differ less than by chance: no narrower than independent answers
    assert (made.taken_for_real.low, made.taken_for_real.high) == pytest.approx(wilson(3, 7))
    assert (real.taken_for_real.low, real.taken_for_real.high) == pytest.approx(wilson(4, 4))  # 4 images, all twice
    assert (real.right, made.right.hits, made.right.n) == (real.taken_for_real, 4, 7)
    assert made.against_real == pytest.approx(3 / 7 - 1)
    assert real.quality == pytest.approx(2.0)  # of each image the mean of two marks: 0.5, 1.5, 2.5, 3.5
    assert made.quality == pytest.approx((0.5 + 1.5 + 2.5 + 3) / 4)
    assert 0.5 <= real.quality_low < real.quality < real.quality_high <= 3.5
    ann, bob = found.raters
    assert (ann.rater, ann.right.hits, ann.right.n, ann.by_guessing) == ("rater 1", 8, 8, 0.5)
    assert (ann.right.low, ann.right.high) == wilson(8, 8)
    assert (ann.difference, ann.median_s) == (1.0, 3.5)
    assert ann.low > 0
    assert (bob.right.hits, bob.right.n, bob.by_guessing) == (4, 7, pytest.approx(4 / 7))  # as by saying 'real' always
    assert bob.difference == 0
    assert bob.low < 0 < bob.high
    # 7 images, 2 raters: they agree on the 4 real ones only; 'real' is said 11 times of 14
    chance = (11 / 14) ** 2 + (3 / 14) ** 2
    whole = found.whole.agreement
    assert whole.kappa == pytest.approx((4 / 7 - chance) / (1 - chance))
    assert (whole.kappa_images, whole.icc_images, found.icc_raters) == (7, 7, ("rater 1", "rater 2"))
    assert 0 < whole.icc_single < whole.icc_mean < 1
    assert (found.whole.right.hits, found.whole.right.n) == (12, 15)
    both = {(b.source, b.rater): b for b in found.by_both}
    assert (both["cyclegan", "rater 2"].right.hits, both["cyclegan", "rater 2"].right.n) == (0, 3)


def test_one_rater_and_no_agreement() -> None:
    found = analysed(small_study(), {k: v for k, v in some_answers().items() if k[0] == "ann"})
    for source in (*found.sources, found.whole):
        a = source.agreement
        assert np.isnan([a.kappa, a.icc_single, a.icc_mean]).all()
        assert (a.kappa_undefined, a.icc_undefined) == ("no image rated twice", "fewer than 2 raters")
    text = section_text(rater_section, INFO, raters=(found,))
    assert "there is one rater" in text
    assert "nan" not in text
    half = analysed(small_study(), {k: v for k, v in some_answers().items() if k in (("ann", "r0"), ("bob", "c0"))})
    text = section_text(rater_section, INFO, raters=(half,))
    assert "fewer than two raters have rated half of the study" in text
    assert "nan" not in text


INFO = ReportInfo("toy", "phantom", ("benign", "malignant"), ("cyclegan",), ("cyclegan",), (), (), ())


def test_the_report_has_them_beside_the_published_ones(tmp_path: Path) -> None:
    folder = tmp_path / "studies" / "s"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(encode_study(small_study()))
    assert rating_studies(INFO, tmp_path) == ()  # nobody has answered
    for given in some_answers().values():
        Answers(folder).add(given)
    found = rating_studies(INFO, tmp_path)
    assert rating_studies(replace(INFO, suite="another"), tmp_path) == ()
    text = section_text(rater_section, INFO, raters=found)
    assert "\n## Raters\n" in text
    assert "8 images, 2 raters, 15 of 16 answers are in" in text
    assert "on the 7 images that two or more raters rated; ICC of quality, of the 7 images that all 2 rated" in text
    assert "ann" not in re.findall(r"\w+", text)  # names stay in the study
    assert "Published" not in text
    cyclegan = PublishedMethod("cyclegan", {}, raters={"quality": "3.51", "taken_for_real": "0.80"})
    results = Published("a thesis", methods={"cyclegan": cyclegan}, raters_of_real_images={"quality": "3.90"})
    text = section_text(rater_section, replace(INFO, published=PublishedFacts(results)), raters=found)
    assert re.search(r"`cyclegan` \|.*42\.9 \[15\.8, 75\.0\].*\| 3\.51 \| 0\.80 \|", text)
    assert re.search(r"real \|.*\| 3\.90 \| – \|", text)
    (folder / "manifest.json").write_text("{}")
    assert rating_studies(INFO, tmp_path) == ()  # damaged: no report fails for it
    assert section_text(rater_section, INFO) == ""


def test_the_verb_analyses(session: Session) -> None:
    root = session.env.out.parent
    where = ["--suite", str(root / "secret_suite.yaml"), "--data", str(root / "data"), "--out", str(session.env.out)]
    run: Callable[..., Any] = lambda *more: CliRunner().invoke(main, ["rate", *where, "--study", "told", *more])  # noqa: E731
    assert "does not exist; create it" in run("--analyse").stderr
    folder, found = open_study(session, "told", 4)
    assert "has no answers yet" in run("--analyse").stderr
    for rater in ("ann", "bob"):
        for i, image in enumerate(found.images):
            Answers(folder).add(answer(image.id, rater, image.source == REAL, i % 6))
    secrets = run("--analyse")
    assert secrets.exit_code == 0, secrets.output
    for words in ("rater 1: ann; rater 2: bob", "100.0 [51.0, 100.0]", "undefined:", "correct, %"):
        assert words in secrets.output
    rows = list(csv.DictReader((folder / "raters.csv").open()))
    taken = {r["source"]: r for r in rows if r["measure"] == "taken_for_real" and not r["rater"]}
    assert {s: (r["hits"], r["n"]) for s, r in taken.items()} == {
        REAL: ("8", "8"),
        "cgan": ("0", "8"),
        "cyclegan": ("0", "8"),
    }
    as_json = json.loads(run("--analyse", "--json").stdout)
    assert as_json["whole"]["agreement"]["kappa"] == 1
    assert [s["agreement"]["kappa_undefined"] for s in as_json["sources"]] == ["all said real"] + 2 * ["all said fake"]
    kappas = {r["source"]: r["value"] for r in rows if r["measure"] == "kappa"}
    assert kappas == {"": "1.0", REAL: "", "cgan": "", "cyclegan": ""}
    assert run("--json").exit_code == 2


# In a browser


def start(root: Path, port: int) -> tuple[subprocess.Popen[str], int]:
    """Start `bench rate` in a process of its own; return it once it listens, and its port."""
    command = [sys.executable, "-m", "bench.cli", "rate", "--suite", str(root / "secret_suite.yaml")]
    command += ["--data", str(root / "data"), "--out", str(root / "out"), "--port", str(port), "--per-method", "10"]
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
    assert server.stdout is not None
    said = []
    for line in server.stdout:
        said.append(line)
        if address := re.search(r"http://127\.0\.0\.1:(\d+)/", line):
            return server, int(address[1])
    raise AssertionError("".join(said))


def verdict(place: int) -> tuple[str, str]:
    """Return the keys for the place-th image."""
    return "rf"[place % 3 == 0], str(place % 6)


def rate_until(page: Page, first: int, last: int) -> None:
    """Rate images ``first`` to ``last`` (from 1) by the keyboard, and stay on the last one."""
    for place in range(first, last + 1):
        page.locator("#place", has_text=f"Image {place} of 20").wait_for()
        page.locator("#image").wait_for(state="visible")
        for key in verdict(place):
            page.keyboard.press(key)
        page.locator("#status", has_text="Saved.").wait_for()
        if place < last:
            page.keyboard.press("Enter" if place % 2 else "Space")


def test_twenty_images_by_keyboard_with_the_server_killed_in_the_middle(chromium: Browser, tmp_path: Path) -> None:
    finished(tmp_path, ("cyclegan",))
    server, port = start(tmp_path, 0)
    page = chromium.new_page(viewport={"width": 390, "height": 760})
    page.set_default_timeout(15_000)
    problems: list[str] = []
    page.on("pageerror", lambda e: problems.append(str(e)))
    page.on("console", lambda m: problems.append(m.text) if "Content Security" in m.text else None)
    try:
        page.goto(f"http://127.0.0.1:{port}/")
        page.keyboard.type("Ann")
        page.keyboard.press("Enter")
        page.locator("#image").wait_for(state="visible")
        page.keyboard.press("Enter")
        page.locator("#status", has_text="Please answer first: real or fake, and quality.").wait_for()
        rate_until(page, 1, 8)
        server.send_signal(signal.SIGKILL)
        server.wait()
        page.keyboard.press("5")  # image 8 once more, with nobody there
        page.locator("#status", has_text="Not saved yet").wait_for()
        page.keyboard.press("Enter")  # waits
        assert page.locator("#place").inner_text() == "Image 8 of 20"
        server, _ = start(tmp_path, port)
        page.locator("#place", has_text="Image 9 of 20").wait_for()
        page.keyboard.press("Backspace")  # what was said is shown, and may be changed
        page.locator("#place", has_text="Image 8 of 20").wait_for()
        assert page.locator("input[name=quality]:checked").input_value() == "5"
        rate_until(page, 8, 14)
        page.reload()
        page.fill("#rater", "ANN ")
        page.keyboard.press("Enter")
        rate_until(page, 15, 20)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        for name in ("Real", "Fake", "0", "5"):
            assert page.get_by_role("radio", name=name, exact=True).count() == 1
        page.keyboard.press("Enter")
        page.locator("#end").wait_for(state="visible")
        assert page.locator("#rating").is_hidden()
        assert page.locator("main").inner_text().startswith("Thank you")
    finally:
        server.kill()
        server.wait()
        page.close()
    assert problems == []
    folder = tmp_path / "out" / "studies" / "secret_suite"
    given = Answers(folder).of("ann")
    for place, image in enumerate(load_study(folder).order("ann"), start=1):
        real, quality = verdict(place)
        assert (given[image].real, given[image].quality) == (real == "r", int(quality)), place
        assert 0 < given[image].seconds < 60
    assert len(given) == 20
    assert len((folder / "answers.jsonl").read_text().splitlines()) == 22  # image 8 was changed, and changed back
