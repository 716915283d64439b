"""The endpoints of the page and their parameters; requests are processed one after another.

Files are sent as the raw body of a POST: no form to parse, and no file name that could be used as a path.
"""

from __future__ import annotations

import asyncio
import io
import secrets
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bench.engine.session import Session
from bench.pages.serve.answers import Answers, Asked, check_asked
from bench.pages.serve.overlays import png, png_bytes
from bench.pages.serve.runs import Runs, fold_name
from bench.pages.server import RequestError, RequestLimits, assets, make_app
from bench.pages.uploads import MAX_BYTES, shown_name
from bench.store.csv_cells import Writer

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from bench.types import SyntheticImage

PAGE = Path(__file__).parent / "page"
NOTICE = "Not a medical device; for research only."
WAITING = 8  # maximum number of requests in the queue, including the active one
SLOW = ("bench.classifiers.trainer", "pytorch_grad_cam", "matplotlib")
MANIFEST = ("path", "class", "seed", "method", "fold", "cell", "asked_seed", "source_path")
T = TypeVar("T")


class RequestQueue:
    """One thread for all work, so that only one image and one model are processed at once."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="serve")
        self._waiting = 0

    def warm(self) -> None:
        """Import modules that the first request would have to wait for."""
        for module in SLOW:
            self._thread.submit(import_module, module)

    def require_room(self) -> None:
        """Raise ``RequestError`` (503) if the queue is full. Also called before a body is read."""
        if self._waiting >= WAITING:
            raise RequestError(503, f"the server is busy: {WAITING} requests are waiting; try again in a minute")

    async def do(self, work: Callable[[], T]) -> T:
        """Run ``work`` in the thread and return its result. Raises ``RequestError`` if the queue is full."""
        self.require_room()
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._waiting -= 1


def serve_app(session: Session) -> RequestLimits:
    """Return the app of the page for a run and the other runs in its output folder."""
    from starlette.routing import Route

    page, token = Page(Runs(session)), secrets.token_urlsafe(24)
    costly = {
        "/api/run": page.run,
        "/api/classify": page.classify,
        "/api/neighbours": page.neighbours,
        "/api/translate": page.translate,
        "/api/draw": page.draw,
        "/api/drawn.zip": page.drawn,
    }
    posts = [Route(path, endpoint, methods=["POST"]) for path, endpoint in costly.items()]
    return make_app([*assets(PAGE, token), Route("/api/runs", page.runs), *posts], MAX_BYTES, token)


class Page:
    """The endpoints. Expensive ones need a POST with the page's token."""

    def __init__(self, runs: Runs) -> None:
        self._runs, self._answers, self._queue = runs, Answers(), RequestQueue()
        self._queue.warm()

    async def runs(self, request: Request) -> Response:
        """Return the names of the runs."""
        return _json({"notice": NOTICE, "runs": self._runs.names()})

    async def run(self, request: Request) -> Response:
        """Return the classifiers, generators and networks of a run: ?run="""
        return _json(await self._queue.do(lambda: self._runs.get(_text(request, "run")).described()))

    async def classify(self, request: Request) -> Response:
        """Classify the image in the body: ?run= &cell= &name= and, to choose one, &segmentation_network="""
        content = await self._body(request)

        def work() -> dict[str, Any]:
            run = self._runs.get(_text(request, "run"))
            cell, segmentation_network = (
                run.cell("classify", _text(request, "cell")),
                request.query_params.get("segmentation_network"),
            )
            return self._answers.classify(run, cell, content, segmentation_network)

        return _json({"name": _name(request), **await self._queue.do(work)})

    async def neighbours(self, request: Request) -> Response:
        """Return the images nearest to that in the body: ?run= &cell="""
        content = await self._body(request)

        def work() -> dict[str, Any]:
            run = self._runs.get(_text(request, "run"))
            cell = run.cell("classify", _text(request, "cell"))
            return self._answers.neighbours(run, cell, content)

        return _json(await self._queue.do(work))

    async def translate(self, request: Request) -> Response:
        """Translate the image in the body, of class ``label``: ?run= &cell= &label= &name="""
        content = await self._body(request)

        def work() -> dict[str, Any]:
            run = self._runs.get(_text(request, "run"))
            cell = run.cell("fit", _text(request, "cell"))
            return self._answers.translate(run, cell, _number(request, "label"), content)

        return _json({"name": _name(request), **await self._queue.do(work)})

    async def draw(self, request: Request) -> Response:
        """Generate images of a class: ?run= &cell= &label= &count= &seed="""
        asked, made = await self._queue.do(lambda: self._drawn(request))
        described = {"method": asked.cell.method, "fold": fold_name(asked.cell), "class": _class(asked)}
        images = [{"image": png(m.image), "seed": m.seed, "source": m.source_path or ""} for m in made]
        return _json({**described, "seed": asked.seed, "images": images})

    async def drawn(self, request: Request) -> Response:
        """Return the same images as a zip with a manifest."""
        from starlette.responses import Response

        asked, made = await self._queue.do(lambda: self._drawn(request))
        return Response(
            zipped(asked, made),
            media_type="application/zip",
            headers={"content-disposition": f'attachment; filename="drawn-{asked.cell.key}-seed{asked.seed}.zip"'},
        )

    def _drawn(self, request: Request) -> tuple[Asked, list[SyntheticImage]]:
        run, numbers = self._runs.get(_text(request, "run")), ("label", "count", "seed")
        asked = check_asked(run, _text(request, "cell"), *(_number(request, n) for n in numbers))
        return asked, self._answers.draw(asked)

    async def _body(self, request: Request) -> bytes:
        """Return the body. Raises ``RequestError`` if it arrives too slowly, or the queue is full."""
        self._queue.require_room()
        return await request.body()


def zipped(asked: Asked, made: list[SyntheticImage]) -> bytes:
    """Return generated images as a zip: PNGs and ``manifest.csv``. Equal images give equal bytes."""
    out, table = io.BytesIO(), io.StringIO(newline="")
    rows = Writer(table, lineterminator="\n")
    rows.writerow(MANIFEST)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for i, image in enumerate(made):
            path, cell = f"images/{i:03d}.png", asked.cell
            _put(archive, path, png_bytes(image.image))
            fold, source = fold_name(cell), image.source_path or ""
            rows.writerow([path, _class(asked), image.seed, cell.method, fold, cell.key, asked.seed, source])
        _put(archive, "manifest.csv", table.getvalue().encode())
    return out.getvalue()


def _put(archive: zipfile.ZipFile, path: str, content: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(path), content)  # with the zip epoch as time, so that bytes are reproducible


def _class(asked: Asked) -> str:
    return asked.run.session.plan.index.classes[asked.label]


def _json(content: dict[str, Any]) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse(content)


def _text(request: Request, name: str) -> str:
    found = request.query_params.get(name, "")
    if not found:
        raise RequestError(400, f"?{name}= is missing")
    return found


def _number(request: Request, name: str) -> int:
    text = _text(request, name)
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise RequestError(400, f"{name}: got {text[:20]!r}, expected an integer")
    return int(text)


def _name(request: Request) -> str:
    return shown_name(request.query_params.get("name", ""))
