"""A page's server under clients that stall, drip, pile up, or are another site's: real sockets on this machine."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from run_async import run_async
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bench.pages.limits import Bodies, Limits, RequestError
from bench.pages.serve.app import PAGE, RequestQueue
from bench.pages.server import TOKEN, RequestLimits, assets, listen, make_app, make_server

PATIENCE_S = 60.0  # of a busy machine: nothing here waits for so long unless it has failed
SLOW = Limits(head_s=PATIENCE_S, stall_s=PATIENCE_S)  # limits that no test reaches
MAX_BODY = 100_000


@contextmanager
def serving(limits: Limits, token: str = "") -> Iterator[int]:
    """Serve an app that echoes sizes at /upload, through a queue as `bench serve` has one; yield the port."""
    queue = RequestQueue()

    async def upload(request: Request) -> JSONResponse:
        content = await request.body()
        return JSONResponse({"got": await queue.do(lambda: len(content))})

    async def ping(request: Request) -> JSONResponse:
        return JSONResponse({"queue": await queue.do(lambda: "free")})

    routes = [Route("/upload", upload, methods=["POST"]), Route("/ping", ping)]
    server = make_server(make_app(routes, MAX_BODY, token, limits), limits)
    with closing(listen("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield int(listening.getsockname()[1])
        finally:
            server.should_exit = True
            server.force_exit = True
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


def connect(port: int, *sent: bytes) -> socket.socket:
    found = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
    for piece in sent:
        found.sendall(piece)
    return found


def head(method: str, path: str, port: int, *more: str, length: int = 0) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"host: 127.0.0.1:{port}", *more, f"content-length: {length}", "", ""]
    return "\r\n".join(lines).encode()


def until_closed(connection: socket.socket) -> bytes:
    """Return all that the server sends until it closes the connection; fail when it does not."""
    found = b""
    try:
        while piece := connection.recv(65536):
            found += piece
    except ConnectionResetError:
        pass
    return found


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def ask(port: int, method: str = "GET", path: str = "/ping", body: bytes = b"", *more: str) -> tuple[int, Any]:
    with closing(connect(port, head(method, path, port, "connection: close", *more, length=len(body)) + body)) as c:
        answer = until_closed(c)
    return status(answer), json.loads(answer.partition(b"\r\n\r\n")[2])


def test_uploads_that_stall_block_nobody() -> None:
    """Eight of them, as many as may wait in the queue."""
    with serving(Limits(head_s=PATIENCE_S, stall_s=PATIENCE_S, bodies_per_client=10)) as port, ExitStack() as opened:
        stalled = [opened.enter_context(closing(connect(port, head("POST", "/upload", port, length=99) + b"x")))
                   for _ in range(8)]  # fmt: skip
        assert ask(port) == (200, {"queue": "free"})
        assert ask(port, "POST", "/upload", b"y" * 5000) == (200, {"got": 5000})
        for connection in stalled:  # they were under way all the while, and can still end
            connection.sendall(b"x" * 98)
            found = b""
            while not found.endswith(b'{"got":99}'):
                found += (piece := connection.recv(65536))
                assert piece


def test_a_client_can_have_so_many_uploads_under_way() -> None:
    with serving(Limits(head_s=PATIENCE_S, stall_s=PATIENCE_S, bodies_per_client=2)) as port, ExitStack() as opened:
        for _ in range(2):
            opened.enter_context(closing(connect(port, head("POST", "/upload", port, length=99) + b"x")))
        found = wait_for(lambda: ask(port, "POST", "/upload", b"y"), lambda answer: answer[0] == 429)
        assert "this client has 2 active requests" in found[1]["error"]
        assert ask(port) == (200, {"queue": "free"})
        opened.close()
        assert wait_for(lambda: ask(port, "POST", "/upload", b"y"), lambda answer: answer[0] == 200)[1] == {"got": 1}


def wait_for(question: Any, wanted: Any) -> Any:
    """Ask until the answer is the wanted one: what another connection has sent may be on its way."""
    until = time.monotonic() + PATIENCE_S
    while not wanted(answer := question()) and time.monotonic() < until:
        time.sleep(0.02)
    return answer


@pytest.mark.parametrize(
    "limits", [Limits(head_s=PATIENCE_S, stall_s=0.3), Limits(head_s=PATIENCE_S, stall_s=PATIENCE_S, body_s=0.3)]
)
def test_a_body_that_takes_too_long_is_answered_and_the_connection_closed(limits: Limits) -> None:
    with serving(limits) as port:
        with closing(connect(port, head("POST", "/upload", port, length=99) + b"x")) as connection:
            answer = until_closed(connection)
        assert status(answer) == 408
        assert b"the request took too long to arrive" in answer
        assert b"connection: close" in answer.lower()
        assert ask(port, "POST", "/upload", b"y" * 5) == (200, {"got": 5})


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET /ping HTTP/1.1\r\nhost: 127.0.0.1\r\nx: "])
def test_headers_that_are_half_sent_are_closed(sent: bytes) -> None:
    with serving(Limits(head_s=0.3)) as port, closing(connect(port, sent)) as connection:
        assert status(until_closed(connection)) == 408


def drip(connection: socket.socket) -> None:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        connection.sendall(b"a")
        time.sleep(0.02)


def test_headers_that_come_a_byte_at_a_time_are_closed() -> None:
    half = b"GET /ping HTTP/1.1\r\nx: "
    with (
        serving(Limits(head_s=0.5)) as port,
        closing(connect(port, half)) as connection,
        pytest.raises(OSError, match=r"(Broken pipe|reset)"),
    ):
        drip(connection)


def test_half_a_second_request_on_a_connection_is_closed() -> None:
    with serving(Limits(head_s=0.5, keep_alive_s=PATIENCE_S)) as port:
        with closing(connect(port, head("GET", "/ping", port))) as connection:
            assert status(connection.recv(65536)) == 200
            connection.sendall(b"GET /ping HT")
            assert b"408" in until_closed(connection)
        with closing(connect(port, head("GET", "/ping", port) + b"GET /ping HT")) as connection:  # in one piece
            assert b"408" in until_closed(connection)


def test_a_request_that_takes_long_to_answer_is_not_late() -> None:
    async def work(request: Request) -> JSONResponse:
        await asyncio.sleep(0.8)
        return JSONResponse({"done": True})

    limits = Limits(head_s=0.4)
    server = make_server(make_app([Route("/work", work)], limits=limits), limits)
    with closing(listen("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            assert ask(listening.getsockname()[1], "GET", "/work") == (200, {"done": True})
        finally:
            server.should_exit = True
            thread.join(PATIENCE_S)


def test_an_answer_that_nobody_reads_is_given_up() -> None:
    async def large(request: Request) -> Response:
        return Response(bytes(50_000_000))

    limits = Limits(unread_s=0.3)
    server = make_server(make_app([Route("/large", large)], limits=limits), limits)
    with closing(listen("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            port = int(listening.getsockname()[1])
            with closing(connect(port, head("GET", "/large", port))) as connection:
                assert connection.recv(1)
                assert wait_for(lambda: len(server.server_state.connections), lambda n: n == 0) == 0
        finally:
            server.should_exit = True
            thread.join(PATIENCE_S)


def test_connections_of_a_client_are_limited() -> None:
    limits = Limits(head_s=PATIENCE_S, connections_per_client=3)
    with serving(limits) as port, ExitStack() as opened:
        for _ in range(3):
            opened.enter_context(closing(connect(port)))
        with closing(connect(port)) as fourth:
            assert status(until_closed(fourth)) == 503
        opened.close()
        assert wait_for(lambda: tried(port), lambda answer: answer == 200) == 200


def tried(port: int) -> int:
    with closing(connect(port, head("GET", "/ping", port, "connection: close"))) as connection:
        return status(until_closed(connection) or b"x 0 ")


def test_bodies_are_held_up_to_a_number_of_bytes() -> None:
    bodies = Bodies(Limits(bodies=2), 100)

    async def some() -> Any:
        return {"type": "http.request", "body": b"x" * 90, "more_body": True}

    async def fill() -> None:
        scope: Any = {"method": "POST", "client": ("a", 1)}
        first, second, third = (bodies.of(scope, some) for _ in range(3))
        await first.receive()
        await second.receive()
        with pytest.raises(RequestError, match="busy with other uploads"):
            await third.receive()
        for body in (first, third):
            bodies.release(body)
        fourth = bodies.of(scope, some)
        await fourth.receive()
        with pytest.raises(RequestError, match="too large"):
            await fourth.receive()

    run_async(fill())


def test_what_makes_the_server_work_needs_the_pages_token() -> None:
    with serving(SLOW, token="abc-DEF_1") as port:
        assert ask(port, "POST", "/upload", b"y")[0] == 403
        assert ask(port, "POST", "/upload", b"y", f"{TOKEN}: abc-DEF_2")[0] == 403
        assert ask(port, "POST", "/upload", b"y", f"{TOKEN}: abc-DEF_1") == (200, {"got": 1})
        assert ask(port)[0] == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_sites_page_gets_nothing_by_get(site: str) -> None:
    with serving(SLOW) as port:
        found, answer = ask(port, "GET", "/ping", b"", f"sec-fetch-site: {site}")
        assert (found, answer["error"]) == (403, "this request was sent by a page of another site")
        assert ask(port, "GET", "/ping", b"", "sec-fetch-site: same-origin")[0] == 200
        assert ask(port, "GET", "/ping", b"", "sec-fetch-site: none")[0] == 200


def test_the_page_is_given_its_token(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text('<meta name="token" content="{{token}}">')
    app = make_app(assets(tmp_path, "abc"), token="abc")
    assert isinstance(app, RequestLimits)
    assert b"{{token}}" in (PAGE / "index.html").read_bytes()
    route: Any = assets(tmp_path, "abc")[0]
    assert run_async(route.endpoint(None)).body == b'<meta name="token" content="abc">'
