"""An httpx transport that calls an ASGI app in this process.

It plays the server: builds the scope as uvicorn does, runs the app in a task of its own, streams both bodies
chunk by chunk, and hands the answer to httpx as soon as it starts. What happens between the two sides is in
``exchange.py`` and ``websocketsession.py``. Used by ``Client`` and ``SyncClient``, or in a plain
``httpx.AsyncClient(transport=...)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

import anyio
import httpx

from microweb.asgi import ASGIApp
from microweb.testing.answer import Answer, AnswerStream
from microweb.testing.call import AppCall
from microweb.testing.exchange import Exchange
from microweb.testing.websocketsession import WebSocketSession

__all__ = ["ASGITransport"]

UNKNOWN_EXTENSIONS = ("http.response.push", "http.response.zerocopysend")


class ASGITransport(httpx.AsyncBaseTransport):
    """Answer httpx's requests by an ASGI app, in this process and event loop.

    ``raise_errors`` raises the app's unhandled errors in the test, after the answer is complete; without it a
    500 stays a 500. ``spec_version`` is the ASGI version that the app is told: before 2.4 ``send`` stays
    silent after the client left, from 2.4 it raises an ``OSError``. ``extensions`` are offered to the app,
    such as ``{"http.response.pathsend": {}}``. ``lint`` checks every message of both sides. ``grace`` is how
    many seconds an app may go on after its client left before it is cancelled and ``AppHangs`` is raised.

    A request may name its raw target by ``extensions={"target": b"/raw%zz?q"}`` to get past httpx's
    normalising.

    >>> import anyio, httpx
    >>> async def app(scope, receive, send):
    ...     await send({"type": "http.response.start", "status": 200, "headers": []})
    ...     await send({"type": "http.response.body", "body": b"hello"})
    >>> async def main():
    ...     transport = ASGITransport(app)
    ...     async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
    ...         return (await client.get("/")).text
    >>> anyio.run(main)
    'hello'

    Raises:
        ValueError: an extension is offered that this transport cannot serve.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        raise_errors: bool = True,
        client: tuple[str, int] | None = ("127.0.0.1", 50000),
        root_path: str = "",
        spec_version: str = "2.5",
        http_version: str = "1.1",
        extensions: Mapping[str, Mapping[str, Any]] | None = None,
        lint: bool = True,
        grace: float = 5.0,
    ) -> None:
        self.app = app
        self.raise_errors = raise_errors
        self.client = client
        self.root_path = root_path
        self.spec_version = spec_version
        self.http_version = http_version
        self.extensions = {"websocket.http.response": {}} if extensions is None else dict(extensions)
        self.lint = lint
        self.grace = grace
        self.state: dict[str, Any] | None = None
        """What the lifespan left in its ``state``; each request gets a copy."""
        self._calls: set[AppCall] = set()
        for name in UNKNOWN_EXTENSIONS:
            if name in self.extensions:
                raise ValueError(f"this transport cannot serve the extension {name!r}; do not offer it")

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Start the app and answer as soon as it sent its status."""
        exchange = self.start(request)
        try:
            return await self.respond(exchange, request)
        except BaseException:
            exchange.abandon()
            self.forget(exchange)
            raise

    def start(self, request: httpx.Request) -> Exchange:
        """Call the app for ``request``, without waiting for anything."""
        exchange = Exchange(
            self.app,
            self._build_http_scope(request),
            b"".join(request.stream) if isinstance(request.stream, httpx.ByteStream) else _upload(request),
            raise_errors=self.raise_errors,
            lint=self.lint,
            grace=self.grace,
            generator=request.extensions.get("microweb.generator"),
        )
        exchange.begin()
        self._calls.add(exchange)
        return exchange

    async def respond(self, exchange: Exchange, request: httpx.Request) -> httpx.Response:
        """The answer of a started exchange, its body still to be read.

        Raises:
            httpx.ReadTimeout: the request has a read timeout and the app did not start in time.
            httpx.ReadError: the exchange was disconnected before the app started.
        """
        timeout = request.extensions.get("timeout", {}).get("read")
        with anyio.move_on_after(timeout) as waiting:
            await exchange.wait_started()
        if waiting.cancelled_caught:
            raise httpx.ReadTimeout(f"the app sent no status within {timeout} s", request=request)
        if exchange.status is not None:
            return Answer(
                exchange.status,
                headers=exchange.headers,
                stream=AnswerStream(exchange, request, timeout, self.forget),
                request=request,
                extensions=exchange.extensions | {"http_version": f"HTTP/{self.http_version}".encode()},
            )
        exchange.raise_upload_error()
        if exchange.left:
            raise httpx.ReadError("disconnected before the app sent a status", request=request)
        await exchange.wait_ended()
        self.forget(exchange)
        # What uvicorn answers for an app that failed or returned without a word.
        headers = {"content-type": "text/plain; charset=utf-8", "connection": "close"}
        return httpx.Response(500, headers=headers, content=b"Internal Server Error", request=request)

    def start_websocket(
        self, request: httpx.Request, *, subprotocols: Sequence[str] = (), queue: int = 32
    ) -> WebSocketSession:
        """Call the app for a websocket handshake, without waiting for the answer.

        ``queue`` is how many messages either side may be ahead of the other before its ``send`` waits.
        """
        scope = self._build_scope(request)
        scope["type"] = "websocket"
        scope["scheme"] = "wss" if request.url.scheme == "https" else "ws"
        scope["subprotocols"] = list(subprotocols)
        scope["extensions"] = self._offer_extensions("http.")
        session = WebSocketSession(
            self.app,
            scope,
            request,
            raise_errors=self.raise_errors,
            lint=self.lint,
            grace=self.grace,
            queue=queue,
        )
        session.begin()
        self._calls.add(session)
        return session

    def forget(self, call: AppCall) -> None:
        """Stop watching over a call that has ended and whose error was raised."""
        if not call.running:
            self._calls.discard(call)

    async def aclose(self) -> None:
        """Disconnect every connection that is still open and wait for the app, at most ``grace`` seconds.

        Raises:
            Exception: errors of the app that no call could raise; several as an ``ExceptionGroup``.
        """
        calls = list(self._calls)
        self._calls.clear()
        for call in calls:
            call.disconnect()
        deadline = anyio.current_time() + self.grace
        for call in calls:
            await call.end(deadline)
        errors = [error for call in calls if (error := call.take_error()) is not None]
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise BaseExceptionGroup("errors of the app after the test had left", errors)

    def _build_scope(self, request: httpx.Request) -> dict[str, Any]:
        """What the connection scopes of HTTP and websockets share."""
        url = request.url
        target: bytes = request.extensions.get("target", url.raw_path)
        raw_path, _, query_string = target.partition(b"?")
        # As uvicorn does it, and as the specification has it since 2.3: `path` contains `root_path`.
        raw_path = self.root_path.encode() + raw_path
        return {
            "asgi": {"version": "3.0", "spec_version": self.spec_version},
            "http_version": self.http_version,
            "scheme": url.scheme,
            "path": unquote_to_bytes(raw_path).decode("utf-8", "replace"),
            "raw_path": raw_path,
            "query_string": query_string,
            "root_path": self.root_path,
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "client": self.client,
            "server": (url.host, url.port or (443 if url.scheme in ("https", "wss") else 80)),
            **({} if self.state is None else {"state": self.state.copy()}),
        }

    def _offer_extensions(self, other: str) -> dict[str, Any]:
        """A scope's extensions but those of the ``other`` protocol, and the list for unhandled errors."""
        offered: dict[str, Any] = {
            name: dict(options) for name, options in self.extensions.items() if not name.startswith(other)
        }
        offered["microweb.errors"] = []
        return offered

    def _build_http_scope(self, request: httpx.Request) -> dict[str, Any]:
        scope = self._build_scope(request)
        scope["type"] = "http"
        scope["method"] = request.method
        scope["extensions"] = self._offer_extensions("websocket.")
        return scope


def _upload(request: httpx.Request) -> httpx.AsyncByteStream:
    if not isinstance(request.stream, httpx.AsyncByteStream):
        raise TypeError("an async client needs an async body: an async generator, or bytes")
    return request.stream
