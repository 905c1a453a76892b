"""The test client for ``async def`` tests: httpx's, with the app inside.

``app.test_client()`` makes one. The client for ``def`` tests is in ``syncclient.py``; how requests reach the
app is in ``transport.py``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import httpx

from microweb.asgi import ASGIApp
from microweb.sessions import Session
from microweb.testing.exchange import Exchange
from microweb.testing.lifecycle import Lifecycle
from microweb.testing.sessiontransaction import SessionTransaction
from microweb.testing.transport import ASGITransport
from microweb.testing.websocketsession import WebSocketSession

__all__ = ["Client", "OpenRequest", "build_handshake"]

HANDSHAKE = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",  # the sample of RFC 6455 §1.3
}


class OpenRequest:
    """A request that was sent and whose answer is not waited for; ``Client.exchange`` makes it."""

    def __init__(
        self,
        client: httpx.Client | httpx.AsyncClient,
        exchange: Exchange,
        request: httpx.Request,
        transport: ASGITransport,
    ) -> None:
        self._client = client
        self._exchange = exchange
        self._request = request
        self._transport = transport

    @property
    def running(self) -> bool:
        """Whether the app is still at work on it."""
        return self._exchange.running

    async def response(self) -> httpx.Response:
        """Wait for the status; the body is still to be read, by ``await response.aread()`` or in parts.

        Raises:
            httpx.ReadError: this side was disconnected before.
        """
        response = await self._transport.respond(self._exchange, self._request)
        self._client.cookies.extract_cookies(response)
        return response

    def disconnect(self) -> None:
        """Go away, as a client does whose network is gone; the app finds out by ``receive`` and ``send``."""
        self._exchange.disconnect()

    async def wait_ended(self) -> None:
        """Wait until the app has ended its work on the request, its teardown included."""
        await self._exchange.wait_ended()

    async def finish(self) -> None:
        """Disconnect if the answer is not complete, and wait for the app."""
        await self._exchange.finish()
        self._transport.forget(self._exchange)


class Client(httpx.AsyncClient):
    """An ``httpx.AsyncClient`` that talks to an ASGI app in this process.

    ``async with`` runs the app's lifespan around the block; ``lifespan=False`` leaves it out. Cookies are
    kept, redirects are not followed unless asked for, and there is no time limit unless ``timeout`` sets one.
    The other options are those of ``ASGITransport`` and of ``httpx.AsyncClient``. Errors that the app does
    not handle are raised from the call that met them, unless ``raise_errors`` is false. On leaving the block
    every open answer is disconnected.

    >>> import anyio
    >>> async def app(scope, receive, send):
    ...     assert scope["type"] == "http"
    ...     await send({"type": "http.response.start", "status": 200, "headers": [(b"set-cookie", b"a=1")]})
    ...     await send({"type": "http.response.body", "body": b"hello"})
    >>> async def main():
    ...     async with Client(app) as client:
    ...         answer = await client.get("/")
    ...         return answer.text, client.cookies["a"]
    >>> anyio.run(main)
    ('hello', '1')
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        raise_errors: bool = True,
        base_url: str = "http://testserver",
        lifespan: bool = True,
        lint: bool = True,
        grace: float = 5.0,
        client: tuple[str, int] | None = ("127.0.0.1", 50000),
        root_path: str = "",
        spec_version: str = "2.5",
        http_version: str = "1.1",
        extensions: Mapping[str, Mapping[str, Any]] | None = None,
        timeout: Any = None,
        **options: Any,
    ) -> None:
        self.app = app
        self.asgi_transport = ASGITransport(
            app,
            raise_errors=raise_errors,
            client=client,
            root_path=root_path,
            spec_version=spec_version,
            http_version=http_version,
            extensions=extensions,
            lint=lint,
            grace=grace,
        )
        self._lifecycle = Lifecycle(app, spec_version="2.0", lint=lint) if lifespan else None
        super().__init__(transport=self.asgi_transport, base_url=base_url, timeout=timeout, **options)

    def build_request(self, method: str, url: httpx.URL | str, *, content: Any = None, **options: Any) -> httpx.Request:
        """As httpx's; a generator as ``content`` is closed when the app answers before it has read it all."""
        request = super().build_request(method, url, content=content, **options)
        request.extensions["microweb.generator"] = content
        return request

    if not TYPE_CHECKING:  # Type checkers say so by themselves.

        def __enter__(self):
            raise TypeError(
                "a Client is for `async with`; in a plain function write `with SyncClient(app) as client:`, from "
                "microweb.testing"
            )

        def __exit__(self, *error):
            """Asked for by ``with`` before it enters."""

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        if self._lifecycle is not None:
            self.asgi_transport.state = self._lifecycle.state
            try:
                await self._lifecycle.start()
            except BaseException:
                self._lifecycle = None
                await super().aclose()
                raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Disconnect what is open, stop the app, and raise what went wrong in it meanwhile."""
        try:
            await super().aclose()
        finally:
            lifecycle, self._lifecycle = self._lifecycle, None
            if lifecycle is not None:
                await lifecycle.stop()

    @asynccontextmanager
    async def exchange(self, method: str, url: str, **options: Any) -> AsyncIterator[OpenRequest]:
        """Send a request without waiting for the answer, to look at the app meanwhile or to disconnect.

        ``options`` are those of ``httpx.AsyncClient.build_request``; redirects and authentication are not
        followed. Leaving the block disconnects, unless the answer is complete, and waits for the app.
        """
        request = self.build_request(method, url, **options)
        opened = OpenRequest(self, self.asgi_transport.start(request), request, self.asgi_transport)
        try:
            yield opened
        finally:
            await opened.finish()

    @asynccontextmanager
    async def websocket(
        self, url: str, *, subprotocols: Sequence[str] = (), queue: int = 32, **options: Any
    ) -> AsyncIterator[WebSocketSession]:
        """Open a websocket; leaving the block closes it with 1000 and waits for the app.

        ``queue`` is how many messages either side may be ahead before its ``send`` waits; ``options`` are
        those of ``httpx.AsyncClient.build_request``: ``headers``, ``params``, ``cookies``.

        Raises:
            WebSocketDenied: the app refused; the error has its ``response``.
        """
        request = build_handshake(self, url, subprotocols, options)
        session = self.asgi_transport.start_websocket(request, subprotocols=subprotocols, queue=queue)
        try:
            self.cookies.extract_cookies(await session.open())
            yield session
        finally:
            await session.shut()
            self.asgi_transport.forget(session)

    @asynccontextmanager
    async def session_transaction(self, path: str = "/") -> AsyncIterator[Session]:
        """The session of this client, to read and to change; it is saved at the end of the block.

        Raises:
            TypeError: the app is not one of microweb's.
        """
        transaction = SessionTransaction(self.app, self.build_request("GET", path), self.cookies)
        session = await transaction.load()
        yield session
        await transaction.save(session)


def build_handshake(
    client: httpx.Client | httpx.AsyncClient, url: str, subprotocols: Sequence[str], options: dict[str, Any]
) -> httpx.Request:
    """The GET that opens a websocket, with the client's cookies."""
    if url.startswith(("ws://", "wss://")):
        url = "http" + url.removeprefix("ws")  # the cookie jar knows http and https only
    request = client.build_request("GET", url, **options)
    request.headers.update(HANDSHAKE)
    if subprotocols:
        request.headers["sec-websocket-protocol"] = ", ".join(subprotocols)
    return request
