"""Limits of a page's server: time for a request to arrive, number of connections, and memory for bodies."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope

LATE = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
FULL = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class RequestError(BenchError):
    """An invalid or refused request: the client gets the HTTP status and ``{"error": message}``."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Limits:
    """Times, connections and memory. A client is an IP address; all pages on one machine are one client."""

    head_s: float = 10.0  # until a request's headers are complete
    stall_s: float = 10.0  # between two chunks of a body
    body_s: float = 60.0  # until a body is complete
    unread_s: float = 60.0  # until a client must have read a response
    keep_alive_s: float = 5.0  # until the next request on a connection
    connections: int = 256
    connections_per_client: int = 64
    bodies: int = 8  # memory for bodies of all clients, in bodies of maximum size
    bodies_per_client: int = 6


def protocol(limits: Limits) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol with these limits on connections and on the time for headers."""
    import h11
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Limited(H11Protocol):
        _late: asyncio.TimerHandle | None = None
        _unread: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            clients = [getattr(p, "client", None) or ("", 0) for p in self.connections]
            mine = [host for host, _ in clients].count((self.client or ("", 0))[0])
            if len(clients) > limits.connections or mine > limits.connections_per_client:
                transport.write(FULL)
                transport.close()
                return
            self._watch(waiting=True)

        def data_received(self, data: bytes) -> None:
            if not self.transport.is_closing():
                super().data_received(data)
                self._watch(waiting=self.conn.their_state is h11.IDLE)

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._watch(waiting=self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0]))

        def pause_writing(self) -> None:
            super().pause_writing()
            self._unread = self.loop.call_later(limits.unread_s, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._unread is not None:
                self._unread.cancel()

        def connection_lost(self, exc: Exception | None) -> None:
            self._watch(waiting=False)
            if self._unread is not None:
                self._unread.cancel()
            super().connection_lost(exc)

        def _watch(self, waiting: bool) -> None:
            """Start or stop the timeout for a request's headers."""
            if waiting and self._late is None:
                self._late = self.loop.call_later(limits.head_s, self._give_up)
            elif not waiting and self._late is not None:
                self._late.cancel()
                self._late = None

        def _give_up(self) -> None:
            if not self.transport.is_closing():
                self.transport.write(LATE)
                self.transport.close()

    return Limited


class Bodies:
    """The bodies that are being received or processed: their number per client, and their total size."""

    def __init__(self, limits: Limits, max_body_bytes: int) -> None:
        self.limits, self.max_body_bytes = limits, max_body_bytes
        self._held = 0
        self._of: Counter[str] = Counter()

    def of(self, scope: Scope, receive: Receive) -> Body:
        """Return a request's body. Raises ``RequestError`` if its client has too many active requests."""
        if scope["method"] in ("GET", "HEAD"):
            return Body(self, None, receive)
        client = str((scope.get("client") or ("", 0))[0])
        if self._of[client] >= self.limits.bodies_per_client:
            raise RequestError(429, f"this client has {self._of[client]} active requests; try again in a minute")
        self._of[client] += 1
        return Body(self, client, receive)

    def take(self, body: Body, size: int) -> None:
        """Count received bytes. Raises ``RequestError`` if they exceed the limits."""
        body.size += size
        self._held += size
        if body.size > self.max_body_bytes:
            raise too_large(self.max_body_bytes)
        if self._held > self.limits.bodies * self.max_body_bytes:
            raise RequestError(503, "the server is busy with other uploads; try again in a minute")

    def release(self, body: Body) -> None:
        """Forget a request's body."""
        self._held -= body.size
        if body.client is not None:
            self._of[body.client] -= 1
            self._of += Counter()  # removes clients without bodies


class Body:
    """One request's body while it arrives. ``receive`` raises ``RequestError`` if it takes too long or is too large.

    ``client`` is None for a kind of request without a body (GET, HEAD).
    """

    def __init__(self, bodies: Bodies, client: str | None, receive: Receive) -> None:
        self.client, self.size, self.whole = client, 0, False
        self._bodies, self._receive = bodies, receive
        self._until: float | None = None

    async def receive(self) -> Message:
        """Return the next message, within the time limits."""
        if self.whole:
            return await self._receive()
        limits, now = self._bodies.limits, asyncio.get_running_loop().time()
        self._until = self._until or now + limits.body_s
        try:
            message = await asyncio.wait_for(self._receive(), min(limits.stall_s, max(self._until - now, 0.0)))
        except TimeoutError:
            raise RequestError(408, "the request took too long to arrive; send it again") from None
        self.whole = message["type"] != "http.request" or not message.get("more_body", False)
        self._bodies.take(self, len(message.get("body", b"")))
        return message


def too_large(most: int) -> RequestError:
    """Return the error for a body of more than ``most`` bytes."""
    return RequestError(413, f"the request is too large; the maximum is {most // 1024} KiB")


def settings(limits: Limits) -> dict[str, Any]:
    """Return the settings of ``uvicorn.Config`` for these limits."""
    return {"http": protocol(limits), "ws": "none", "timeout_keep_alive": limits.keep_alive_s}
