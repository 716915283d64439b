"""The check before every page: whatever a request's headers hold is answered in JSON, with the security headers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from run_async import run_async
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from bench.pages.server import HEADERS, make_app

if TYPE_CHECKING:
    from starlette.types import ASGIApp

Headers = list[tuple[bytes, bytes]]
HOST = (b"host", b"127.0.0.1:8000")
LIMIT = 1000


async def echo(request: Request) -> JSONResponse:
    return JSONResponse({"got": len(await request.body())})


@pytest.fixture(scope="module")
def app() -> ASGIApp:
    return make_app([Route("/", echo, methods=["GET", "POST"])], LIMIT)


def ask(app: ASGIApp, headers: Headers, method: str = "POST", served: str = "127.0.0.1") -> tuple[int, Any]:
    """Send a body of three bytes with exactly these headers; return status and JSON, once all else is as it must be."""
    sent: list[dict[str, Any]] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"abc", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": "/", "query_string": b"", "headers": headers}
    scope |= {"server": (served, 8000), "http_version": "1.1", "scheme": "http"}
    run_async(app(scope, receive, send))  # type: ignore[arg-type]
    found = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
    assert HEADERS.items() <= found.items()
    assert found["content-type"] == "application/json"
    return sent[0]["status"], json.loads(b"".join(m.get("body", b"") for m in sent[1:]))


@pytest.mark.parametrize(
    "headers",
    [
        [HOST],
        [(b"Host", b"LOCALHOST")],
        [(b"host", b"[::1]:8000")],
        [(b"host", b"[::1]")],
        [(b"host", b"127.9.9.9:1")],
        [HOST, (b"content-length", b"3")],
        [HOST, (b"content-length", b"0" * 5000 + b"3")],
        [HOST, (b"origin", b"http://127.0.0.1:8000")],
        [HOST, (b"accept", b"a"), (b"accept", b"\xff\x00\xb2"), (b"\xff", b"[")],
    ],
)
def test_what_browsers_send_is_served(app: ASGIApp, headers: Headers) -> None:
    assert ask(app, headers) == (200, {"got": 3})


@pytest.mark.parametrize(
    "value",
    ["[", "]", "[::1", "::1", "[zz]", "http://[x", "a b", "a@127.0.0.1", "127.0.0.1/evil", "127.0.0.1?", "127.0.0.1#",
     "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:80:80", "127.0.0.1:999999", "127.0.0.1,evil.example", "\t127.0.0.1",
     "127.0.0.1\n", "127.0.0.1\x00", "127.0.0.\xb2", "loc\xe4lhost", "", "a" * 70_000, "[" * 70_000],
    ids=lambda value: repr(value[:20]),
)  # fmt: skip
@pytest.mark.parametrize("served", ["127.0.0.1", "0.0.0.0"])
def test_a_host_that_is_none(app: ASGIApp, value: str, served: str) -> None:
    for method in ("GET", "POST"):
        status, answer = ask(app, [(b"host", value.encode("latin-1"))], method, served)
        assert status == 400
        assert answer["error"].startswith("invalid header host: ")
        assert len(answer["error"]) < 220


@pytest.mark.parametrize(
    "value",
    ["http://[x", "http://", "//127.0.0.1:8000", "127.0.0.1:8000", "", "\xb2", "http://a b", "http://127.0.0.1:8000/",
     "http://127.0.0.1:8000 http://x"],
)  # fmt: skip
def test_an_origin_that_is_none(app: ASGIApp, value: str) -> None:
    status, answer = ask(app, [HOST, (b"origin", value.encode("latin-1"))])
    assert status == 400
    assert answer["error"].startswith("invalid header origin: ")


@pytest.mark.parametrize(
    "value",
    ["\xb2", "\xb9\xb2", "-1", "+3", "3.0", "0x3", "1e2", "3, 3", "", " 3", "3\n", "1_0", "[",
     "\u0663".encode().decode("latin-1")],
)  # fmt: skip
def test_a_length_that_is_no_number(app: ASGIApp, value: str) -> None:
    status, answer = ask(app, [HOST, (b"content-length", value.encode("latin-1"))])
    assert status == 400
    assert answer["error"].startswith("invalid header content-length: ")


@pytest.mark.parametrize("value", [str(LIMIT + 1), "9" * 18, "9" * 19, "9" * 5000])  # int refuses the last
def test_a_length_that_is_too_large(app: ASGIApp, value: str) -> None:
    status, answer = ask(app, [HOST, (b"content-length", value.encode())])
    assert status == 413
    assert "too large" in answer["error"]


@pytest.mark.parametrize("twice", [HOST, (b"content-length", b"3"), (b"origin", b"http://127.0.0.1:8000")])
def test_headers_that_must_be_there_once(app: ASGIApp, twice: tuple[bytes, bytes]) -> None:
    name, value = twice
    for other in (twice, (name.upper(), value), (name, b"[")):
        status, answer = ask(app, [*([HOST] if twice != HOST else []), twice, other])
        assert (status, answer["error"]) == (400, f"got 2 headers {name.decode()}, expected one")


def test_other_sites_are_turned_away(app: ASGIApp) -> None:
    assert ask(app, [(b"host", b"evil.example:8000")])[0] == 421
    assert ask(app, [(b"host", b"[::2]:8000")])[0] == ask(app, [(b"host", b"[:::::]")])[0] == 421
    assert ask(app, [])[0] == 421
    assert ask(app, [(b"host", b"evil.example:8000")], served="192.0.2.1") == (200, {"got": 3})
    for origin in (b"http://evil.example", b"null", b"http://127.0.0.1", b"http://127.0.0.1:8001", b"x-ext://abc"):
        assert ask(app, [HOST, (b"origin", origin)])[0] == 403
