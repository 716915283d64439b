"""The web server of all bench pages: security headers, limits, errors as JSON, a free port, Ctrl-C.

Routes are starlette's, served by uvicorn. Pages and scripts are files of the package, listed when the app is created:
the path of a request is never used to access the file system.
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
PORTS = 50  # number of ports that are tried
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
) -> RequestLimits:
    """Return an app of these routes, with security headers, limits on bodies, and every error as JSON.

    With a ``token``, every POST must send it in the header ``x-bench-token``; only pages of this server have it.

    An endpoint raises ``RequestError`` to refuse a request; any other ``BenchError`` becomes a 400 with its message,
    everything else a 500 without a message; the server continues.
    """
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect

    handlers: dict[Any, Any] = {HTTPException: _http_error, BenchError: _bench_error, Exception: _our_fault}
    handlers[ClientDisconnect] = _broke_off
    return RequestLimits(Starlette(routes=list(routes), exception_handlers=handlers), max_body_bytes, token, limits)


def assets(folder: Path, token: str = "") -> list[BaseRoute]:
    """Return a route for each page, script and style in ``folder``; ``index.html``, at ``/``, contains the token."""
    from starlette.routing import Route

    found: list[BaseRoute] = []
    for path in sorted(p for p in folder.iterdir() if p.suffix in TYPES):
        at = "/" if path.name == "index.html" else f"/{path.name}"
        content = path.read_bytes().replace(TOKEN_MARK, token.encode()) if at == "/" else path.read_bytes()
        found.append(Route(at, _constant(content, TYPES[path.suffix])))
    return found


async def json_body(request: Request) -> dict[str, Any]:
    """Return the JSON object of a request. Raises ``RequestError`` for anything else.

    The content type must be JSON, which a form of another site cannot send.
    """
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != "application/json":
        raise RequestError(415, f"got content type {kind or '(none)'!r}, expected application/json")
    try:
        found = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise RequestError(400, "the body is not JSON") from None
    if not isinstance(found, dict):
        raise RequestError(400, "expected a JSON object")
    return found


def run(app: ASGIApp, host: str = HOST, port: int | None = None, title: str = "ready") -> None:
    """Print the address and serve until Ctrl-C.

    Without a ``port``: 8000, or the first free one after it; 0: any free port. Raises ``ConfigError`` if the given port
    is in use, or ``host`` is not an address of this machine.
    """
    with listen(host, port) as listening:
        chosen = listening.getsockname()[1]
        if port is None and chosen != PORT:
            click.echo(f"port {PORT} is in use; using {chosen}")
        if not is_loopback(host):
            click.secho("every computer in the network can open this page: no password, no encryption", fg="yellow")
        click.echo(f"{title}: {address(host, chosen)} (Ctrl-C stops it)")
        with suppress(KeyboardInterrupt):
            make_server(app).run(sockets=[listening])
        click.echo("stopped")


def make_server(app: ASGIApp, limits: Limits = LIMITS) -> uvicorn.Server:
    """Return a server of the app with the limits."""
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
    """Return a listening socket; see ``run``."""
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
            raise ConfigError(f"--port {candidate}: permission denied; use a port above 1023") from None
        except OSError as e:
            found.close()
            if e.errno == errno.EADDRNOTAVAIL:  # the address is wrong for every port
                raise ConfigError(f"--host {host} is not an address of this machine; use {HOST}") from None
    if port is not None:
        raise ConfigError(f"--port {port} is used by another program; leave --port out to get a free one")
    raise ConfigError(f"ports {PORT} to {PORT + PORTS - 1} are all in use; give another one: --port N")


def address(host: str, port: int) -> str:
    """Return the URL for a browser."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach ``host``."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class RequestLimits:
    """Adds the headers to every response; refuses requests of other sites and bodies that are too large or too slow."""

    def __init__(self, app: ASGIApp, max_body_bytes: int, token: str, limits: Limits) -> None:
        self.app, self.max_body_bytes, self.token = app, max_body_bytes, token
        self._bodies = Bodies(limits, max_body_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request (ASGI)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body: Body | None = None

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(k.encode(), v.encode()) for k, v in HEADERS.items()]
                if scope["method"] not in ("GET", "HEAD") and not (body and body.whole):
                    added.append((b"connection", b"close"))  # do not wait for the rest of the body
                message = {**message, "headers": [*message.get("headers", []), *added]}
            await send(message)

        try:
            self._check(scope)
            body = self._bodies.of(scope, receive)
        except RequestError as e:
            await _answer(e.status, str(e))(scope, receive, with_headers)
            return
        try:
            await self.app(scope, body.receive, with_headers)
        finally:
            self._bodies.release(body)

    def _check(self, scope: Scope) -> None:
        """Raise ``RequestError`` for a request of another site's page, a body that is too large, or invalid headers.

        The complete header value is matched before it is parsed, because parsers of addresses and numbers raise other
        errors or accept values that a browser would not send.
        """
        host = _header(scope, "host", ADDRESS) or ""
        name = host.lower() if host.endswith("]") else host.rpartition(":")[0] or host
        served = (scope.get("server") or ("", None))[0]
        if is_loopback(served) and not is_loopback(name):  # DNS rebinding: another name that resolves to this machine
            raise RequestError(421, f"this server is {served}, not {name!r}")
        origin = _header(scope, "origin", ORIGIN)
        if scope["method"] not in ("GET", "HEAD") and origin is not None and origin.partition("://")[2] != host:
            raise RequestError(403, "this request was sent by a page of another site")
        site = _header(scope, "sec-fetch-site", WORD)
        if site in ("cross-site", "same-site") and scope["path"] != "/":
            raise RequestError(403, "this request was sent by a page of another site")
        if self.token and scope["method"] not in ("GET", "HEAD"):
            given = _header(scope, TOKEN, WORD) or ""
            if not hmac.compare_digest(given, self.token):
                raise RequestError(403, "the server was restarted after this page was loaded; reload the page")
        length = (_header(scope, "content-length", WHOLE_NUMBER) or "0").lstrip("0")
        if len(length) > MOST_DIGITS or int(length or "0") > self.max_body_bytes:
            raise too_large(self.max_body_bytes)


def _header(scope: Scope, name: str, pattern: re.Pattern[str]) -> str | None:
    """Return a header that may occur once and must match ``pattern``; None if it is missing.

    Raises ``RequestError``.
    """
    found = [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name.encode()]
    if len(found) > 1:
        raise RequestError(400, f"got {len(found)} headers {name}, expected one")
    if found and not pattern.fullmatch(found[0]):
        raise RequestError(400, f"invalid header {name}: {found[0][:40]!r}")
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
    return _answer(e.status_code, {404: "this address does not exist"}.get(e.status_code, str(e.detail)))


async def _bench_error(request: Request, e: BenchError) -> Response:
    return _answer(e.status if isinstance(e, RequestError) else 400, str(e))


async def _broke_off(request: Request, e: Exception) -> Response:
    return _answer(400, "the request was aborted")


async def _our_fault(request: Request, e: Exception) -> Response:
    return _answer(500, "internal error of the server; see its terminal")
