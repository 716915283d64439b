"""What every page of ours is served by: security headers, limits, errors as JSON, a free port, Ctrl-C.

Routes are starlette's, served by uvicorn. Pages and scripts are files of the package, listed when the app is made: no
path of a request ever reaches the file system.
"""

from __future__ import annotations

import errno
import hmac
import ipaddress
import json
import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.errors import BenchError, ConfigError
from bench.pages.limits import Bodies, Body, Limits, RequestError, settings, too_large

if TYPE_CHECKING:
    import uvicorn
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOST, PORT = "127.0.0.1", 8000
PORTS = 50  # that many are tried, from the first on
BODY_BYTES = 64 * 1024
BACKLOG = 128
LIMITS = Limits()
TOKEN, TOKEN_MARK = "x-bench-token", b"{{token}}"
HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
NAME = r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::[0-9]{1,5})?"  # and a port
ADDRESS, ORIGIN = re.compile(NAME), re.compile(rf"null|[A-Za-z][A-Za-z0-9+.-]*://{NAME}")
WORD = re.compile("[A-Za-z0-9_-]{1,100}")
WHOLE_NUMBER, MOST_DIGITS = re.compile("[0-9]+"), 18
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
}


def make_app(
    routes: Sequence[BaseRoute], max_body_bytes: int = BODY_BYTES, token: str = "", limits: Limits = LIMITS
) -> Guard:
    """Return an app of these routes, with security headers, limits on bodies, and every error as JSON.

    With a ``token`` every POST must have it in its header ``x-bench-token``: only a page of ours knows it.

    An endpoint raises ``RequestError`` to say no; any other ``BenchError`` becomes a 400 with its message, everything
    else a 500 without one, and the server lives.
    """
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect

    handlers: dict[Any, Any] = {HTTPException: _http_error, BenchError: _bench_error, Exception: _our_fault}
    handlers[ClientDisconnect] = _broke_off
    return Guard(Starlette(routes=list(routes), exception_handlers=handlers), max_body_bytes, token, limits)


def assets(folder: Path, token: str = "") -> list[BaseRoute]:
    """Return a route for each page, script and style in ``folder``; ``index.html``, at ``/``, is given the token."""
    from starlette.routing import Route

    found: list[BaseRoute] = []
    for path in sorted(p for p in folder.iterdir() if p.suffix in TYPES):
        at = "/" if path.name == "index.html" else f"/{path.name}"
        content = path.read_bytes().replace(TOKEN_MARK, token.encode()) if at == "/" else path.read_bytes()
        found.append(Route(at, _constant(content, TYPES[path.suffix])))
    return found


async def json_body(request: Request) -> dict[str, Any]:
    """Return the JSON object of a request. Raises ``RequestError`` for anything else.

    It must be declared as JSON, which no other site's form can do.
    """
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != "application/json":
        raise RequestError(415, f"got content of type {kind or '(none)'!r}, expected application/json")
    try:
        found = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise RequestError(400, "the body is not JSON") from None
    if not isinstance(found, dict):
        raise RequestError(400, "expected a JSON object")
    return found


def run(app: ASGIApp, host: str = HOST, port: int | None = None, title: str = "ready") -> None:
    """Serve until Ctrl-C, after printing the address.

    Without a ``port``: 8000, or the first free one after it; 0 is any free one. Raises ``ConfigError`` when a port that
    was asked for is taken, or ``host`` is no address of this machine.
    """
    with listen(host, port) as listening:
        chosen = listening.getsockname()[1]
        if port is None and chosen != PORT:
            click.echo(f"port {PORT} is taken; taking {chosen}")
        if not is_loopback(host):
            click.secho("anyone who can reach this machine can open it: no password, no encryption", fg="yellow")
        click.echo(f"{title}: {address(host, chosen)} (Ctrl-C stops it)")
        with suppress(KeyboardInterrupt):
            make_server(app).run(sockets=[listening])
        click.echo("stopped")


def make_server(app: ASGIApp, limits: Limits = LIMITS) -> uvicorn.Server:
    """Return a server of the app that keeps the limits."""
    import uvicorn

    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        timeout_graceful_shutdown=2,
        **settings(limits),
    )
    return uvicorn.Server(config)


def listen(host: str, port: int | None) -> socket.socket:
    """Return a socket that listens already; see ``run``."""
    try:
        family, _, _, _, _ = socket.getaddrinfo(host, port or 0, type=socket.SOCK_STREAM)[0]
    except OSError as e:
        raise ConfigError(f"--host {host}: {e}; expected an address of this machine, such as {HOST}") from None
    for candidate in [port] if port is not None else range(PORT, PORT + PORTS):
        found = socket.socket(family)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a server that just stopped leaves it in TIME_WAIT
        try:
            found.bind((host, candidate))
            found.listen(BACKLOG)
            return found
        except PermissionError:
            found.close()
            raise ConfigError(f"--port {candidate}: this user may not listen there; take one above 1023") from None
        except OSError as e:
            found.close()
            if e.errno == errno.EADDRNOTAVAIL:  # no port will do
                raise ConfigError(f"--host {host} is no address of this machine; {HOST} is") from None
    if port is not None:
        raise ConfigError(f"--port {port} is taken by another program; leave --port out to get a free one")
    raise ConfigError(f"ports {PORT} to {PORT + PORTS - 1} are all taken; say which to use: --port N")


def address(host: str, port: int) -> str:
    """Return the address to type into a browser."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def is_loopback(host: str) -> bool:
    """Return whether only this machine itself can reach ``host``."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class Guard:
    """Puts the headers on every answer; turns away foreign pages and bodies that are too large or too slow."""

    def __init__(self, app: ASGIApp, max_body_bytes: int, token: str, limits: Limits) -> None:
        self.app, self.max_body_bytes, self.token = app, max_body_bytes, token
        self._bodies = Bodies(limits, max_body_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body: Body | None = None

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                ours = [(k.encode(), v.encode()) for k, v in HEADERS.items()]
                if scope["method"] not in ("GET", "HEAD") and not (body and body.whole):
                    ours.append((b"connection", b"close"))  # what is left of the body is not waited for
                message = {**message, "headers": [*message.get("headers", []), *ours]}
            await send(message)

        try:
            self._check(scope)
            body = self._bodies.of(scope, receive)
        except RequestError as e:
            await _answer(e.status, str(e))(scope, receive, guarded)
            return
        try:
            await self.app(scope, body.receive, guarded)
        finally:
            self._bodies.release(body)

    def _check(self, scope: Scope) -> None:
        """Raise ``RequestError`` for a request by another site's page, too large a body, or headers that are neither.

        What a header holds is matched as a whole before it is used: parsers of addresses and numbers raise, or read
        more into it than a browser would send.
        """
        host = _header(scope, "host", ADDRESS) or ""
        name = host.lower() if host.endswith("]") else host.rpartition(":")[0] or host
        served = (scope.get("server") or ("", None))[0]
        if is_loopback(served) and not is_loopback(name):  # a foreign name that was made to point here
            raise RequestError(421, f"this server is {served}, not {name!r}")
        origin = _header(scope, "origin", ORIGIN)
        if scope["method"] not in ("GET", "HEAD") and origin is not None and origin.partition("://")[2] != host:
            raise RequestError(403, "this request was sent by the page of another site")
        site = _header(scope, "sec-fetch-site", WORD)
        if site in ("cross-site", "same-site") and scope["path"] != "/":
            raise RequestError(403, "this request was sent by the page of another site")
        if self.token and scope["method"] not in ("GET", "HEAD"):
            given = _header(scope, TOKEN, WORD) or ""
            if not hmac.compare_digest(given, self.token):
                raise RequestError(403, "this page is of an earlier start of the server; load it again")
        length = (_header(scope, "content-length", WHOLE_NUMBER) or "0").lstrip("0")
        if len(length) > MOST_DIGITS or int(length or "0") > self.max_body_bytes:
            raise too_large(self.max_body_bytes)


def _header(scope: Scope, name: str, pattern: re.Pattern[str]) -> str | None:
    """Return a header that must be there once at most and look like ``pattern``; None without it.

    Raises ``RequestError``.
    """
    found = [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name.encode()]
    if len(found) > 1:
        raise RequestError(400, f"the request has {len(found)} headers {name}; expected one")
    if found and not pattern.fullmatch(found[0]):
        raise RequestError(400, f"the request's header {name} cannot be read: {found[0][:40]!r}")
    return found[0] if found else None


def _constant(body: bytes, kind: str) -> Any:
    from starlette.responses import Response

    async def endpoint(request: Request) -> Response:
        return Response(body, media_type=kind)

    return endpoint


def _answer(status: int, message: str) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse({"error": message}, status)


async def _http_error(request: Request, e: Any) -> Response:
    return _answer(e.status_code, {404: "there is nothing here"}.get(e.status_code, str(e.detail)))


async def _bench_error(request: Request, e: BenchError) -> Response:
    return _answer(e.status if isinstance(e, RequestError) else 400, str(e))


async def _broke_off(request: Request, e: Exception) -> Response:
    return _answer(400, "the request broke off")


async def _our_fault(request: Request, e: Exception) -> Response:
    return _answer(500, "something went wrong on the server; its terminal says what")
