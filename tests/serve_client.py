"""Asks the app of `bench serve` what its page would ask, without a server."""

from __future__ import annotations

import base64
import io
import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

import numpy as np
from PIL import Image
from run_async import run_async

from bench.data.splits import make_splits
from bench.engine.session import Session
from bench.pages.serve.app import serve_app
from bench.pages.server import TOKEN, RequestLimits

if TYPE_CHECKING:
    from starlette.types import ASGIApp

PATIENCE_S = 60.0


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(app: ASGIApp, method: str, path: str, body: bytes = b"", length: int | None = None, **query: Any) -> Answer:
    """Send one request to the app itself; ``length`` is what it says of its body, which comes in two pieces."""
    messages = [{"type": "http.request", "body": piece, "more_body": more} for piece, more in halves(body)]
    sent: list[dict[str, Any]] = []

    async def receive() -> Any:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"127.0.0.1"), (b"content-length", str(len(body) if length is None else length).encode())]
    headers += [(TOKEN.encode(), app.token.encode())] if isinstance(app, RequestLimits) and app.token else []
    scope = {"type": "http", "method": method, "path": path, "query_string": urlencode(query).encode()}
    scope |= {"headers": headers, "server": ("127.0.0.1", 80), "http_version": "1.1", "scheme": "http"}
    run_async(app(scope, receive, send))  # type: ignore[arg-type]
    found = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
    return Answer(sent[0]["status"], found, b"".join(m.get("body", b"") for m in sent[1:]))


def halves(body: bytes) -> list[tuple[bytes, bool]]:
    return [(body[: len(body) // 2], True), (body[len(body) // 2 :], False)]


def pixels(base64_png: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(base64_png))))


class Client:
    """The page's questions about one run."""

    def __init__(self, session: Session) -> None:
        self.app, self.run = serve_app(session), session.suite.name
        self.offered = ask(self.app, "POST", "/api/run", run=self.run).json

    def cell(self, kind: str, **where: str) -> str:
        return next(c["key"] for c in self.offered[kind] if where.items() <= c.items())

    def classify(self, content: bytes, arm: str = "none", **options: Any) -> Answer:
        values = {"run": self.run, "cell": self.cell("classifiers", arm=arm), "name": "a.png", **options}
        return ask(self.app, "POST", "/api/classify", content, **values)

    def neighbours(self, content: bytes, arm: str = "none") -> Any:
        """Return the nearest images, asking again while features are made, as the page does."""
        values: dict[str, Any] = {"run": self.run, "cell": self.cell("classifiers", arm=arm)}
        until = time.monotonic() + PATIENCE_S
        while True:
            answer = ask(self.app, "POST", "/api/neighbours", content, **values)
            if answer.status != 200 or "making" not in answer.json or time.monotonic() > until:
                return answer.json
            time.sleep(0.05)

    def draw(self, method: str = "cgan", at: str = "POST /api/draw", **values: Any) -> Answer:
        wanted = {"run": self.run, "cell": self.cell("generators", method=method), "label": 1, "count": 3, "seed": 5}
        verb, path = at.split()
        return ask(self.app, verb, path, **{**wanted, **values})


def image_of(session: Session, part: str) -> bytes:
    split = make_splits(session.plan.index, session.suite.settings.split)[0]
    return (session.plan.index.root / getattr(split, part)[0]).read_bytes()
