"""The test client for plain ``def`` tests: ``httpx.Client``, with the app in an event loop in a thread.

Every request goes through the same ``ASGITransport`` as in ``client.py``; here are only the blocking faces of
what is async there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import anyio.to_thread
import httpx

from microweb.asgi import ASGIApp
from microweb.errors import WebSocketDisconnect
from microweb.sessions import Session
from microweb.testing.client import OpenRequest, build_handshake
from microweb.testing.lifecycle import Lifecycle
from microweb.testing.loopthread import LoopThread
from microweb.testing.sessiontransaction import SessionTransaction
from microweb.testing.transport import ASGITransport
from microweb.testing.websocketsession import ENDS, WebSocketSession

__all__ = ["SyncClient", "SyncOpenRequest", "SyncWebSocketSession"]


class SyncTransport(httpx.BaseTransport):
    """Passes blocking requests to an ``ASGITransport`` in another thread."""

    def __init__(self, transport: ASGITransport) -> None:
        self.transport = transport
        self.thread: LoopThread | None = None

    def get_thread(self) -> LoopThread:
        """The running loop.

        Raises:
            RuntimeError: the client is not open.
        """
        if self.thread is None:
            raise RuntimeError("a SyncClient is open inside its block only: with SyncClient(app) as client: ...")
        return self.thread

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Start the app and answer as soon as it sent its status."""
        return self.wait(self.transport.handle_async_request, to_async(request))

    def wait(self, function: Any, *args: Any) -> httpx.Response:
        """Wait for an async response and make it a blocking one."""
        thread = self.get_thread()
        response: httpx.Response = thread.call(function, *args)
        assert isinstance(response.stream, httpx.AsyncByteStream)  # what an async transport returns
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=SyncAnswerStream(thread, response.stream),
            request=response.request,
            extensions=response.extensions,
        )


class SyncAnswerStream(httpx.SyncByteStream):
    """A body that is read chunk by chunk from another thread."""

    def __init__(self, thread: LoopThread, stream: httpx.AsyncByteStream) -> None:
        self._thread = thread
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        chunks = aiter(self._stream)

        async def next_chunk() -> bytes | None:
            return await anext(chunks, None)

        while (chunk := self._thread.call(next_chunk)) is not None:
            yield chunk

    def close(self) -> None:
        """Leave unless the answer is complete, and wait for the app to end."""
        self._thread.call(self._stream.aclose)


class SyncUpload(httpx.AsyncByteStream):
    """A blocking iterator as an async body; it runs in worker threads, so it may wait for the test."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (chunk := await anyio.to_thread.run_sync(next, self._chunks, None, abandon_on_cancel=True)) is not None:
            yield chunk


def to_async(request: httpx.Request) -> httpx.Request:
    """The same request with a body that an async transport can read."""
    if isinstance(request.stream, httpx.ByteStream):
        return request
    if not isinstance(request.stream, httpx.SyncByteStream):
        raise TypeError("a SyncClient needs a blocking body: an iterator, a file, or bytes")
    return httpx.Request(
        request.method,
        request.url,
        headers=request.headers,
        stream=SyncUpload(iter(request.stream)),
        extensions=request.extensions,
    )


class SyncOpenRequest:
    """The blocking face of ``OpenRequest``."""

    def __init__(self, opened: OpenRequest, transport: SyncTransport) -> None:
        self._opened = opened
        self._transport = transport

    @property
    def running(self) -> bool:
        """Whether the app is still at work on it."""
        return self._opened.running

    def response(self) -> httpx.Response:
        """Wait for the status; the body is still to be read."""
        return self._transport.wait(self._opened.response)

    def disconnect(self) -> None:
        """Go away, as a client does whose network is gone."""
        self._transport.get_thread().run(self._opened.disconnect)

    def wait_ended(self) -> None:
        """Wait until the app has ended its work on the request, its teardown included."""
        self._transport.get_thread().call(self._opened.wait_ended)


class SyncWebSocketSession:
    """The blocking face of ``WebSocketSession``."""

    def __init__(self, session: WebSocketSession, thread: LoopThread) -> None:
        self._session = session
        self._thread = thread

    @property
    def accepted_subprotocol(self) -> str | None:
        """The subprotocol that the app chose."""
        return self._session.accepted_subprotocol

    @property
    def headers(self) -> httpx.Headers:
        """The headers of the app's answer to the handshake."""
        return self._session.headers

    def send_text(self, text: str) -> None:
        """Send a text message."""
        self._thread.call(self._session.send_text, text)

    def send_bytes(self, data: bytes) -> None:
        """Send a binary message."""
        self._thread.call(self._session.send_bytes, data)

    def send_json(self, value: object) -> None:
        """Send a value as JSON in a text message."""
        self._thread.call(self._session.send_json, value)

    def receive(self) -> str | bytes:
        """The next message, whatever its kind."""
        return self._thread.call(self._session.receive)

    def receive_text(self) -> str:
        """The next message, which must be text."""
        return self._thread.call(self._session.receive_text)

    def receive_bytes(self) -> bytes:
        """The next message, which must be binary."""
        return self._thread.call(self._session.receive_bytes)

    def receive_json(self) -> Any:
        """The value of the next message, text or binary, read as JSON."""
        return self._thread.call(self._session.receive_json)

    def __iter__(self) -> Iterator[str | bytes]:
        try:
            while True:
                yield self.receive()
        except WebSocketDisconnect as closed:
            if closed.code not in ENDS:
                raise

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame; what the app has sent until now can still be received."""
        self._thread.call(self._session.close, code, reason)

    def disconnect(self) -> None:
        """Drop the connection without a close frame: the app gets code 1006."""
        self._thread.run(self._session.disconnect)


class SyncClient(httpx.Client):
    """An ``httpx.Client`` that talks to an ASGI app in a loop of its own, in a thread.

    ``with`` starts the loop and runs the app's lifespan around the block. ``backend`` is ``"asyncio"`` or
    ``"trio"``; the other options are those of ``Client``.

    >>> async def app(scope, receive, send):
    ...     assert scope["type"] == "http"
    ...     await send({"type": "http.response.start", "status": 200, "headers": []})
    ...     await send({"type": "http.response.body", "body": b"hello"})
    >>> with SyncClient(app) as client:
    ...     client.get("/").text
    'hello'
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
        backend: str = "asyncio",
        backend_options: dict[str, Any] | None = None,
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
        self._sync_transport = SyncTransport(self.asgi_transport)
        self._backend = backend
        self._backend_options = backend_options
        self._lifespan = lifespan
        self._lint = lint
        self._lifecycle: Lifecycle | None = None
        super().__init__(transport=self._sync_transport, base_url=base_url, timeout=timeout, **options)

    def __enter__(self) -> Self:
        super().__enter__()
        thread = self._sync_transport.thread = LoopThread(self._backend, self._backend_options)
        try:
            if self._lifespan:
                thread.call(self._start)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect what is open, stop the app and the loop, and raise what went wrong meanwhile."""
        super().close()
        thread, self._sync_transport.thread = self._sync_transport.thread, None
        if thread is not None:
            try:
                thread.call(self._stop)
            finally:
                thread.stop()

    async def _start(self) -> None:
        # Made here, since its events belong to this loop.
        lifecycle = Lifecycle(self.app, spec_version="2.0", lint=self._lint)
        self.asgi_transport.state = lifecycle.state
        await lifecycle.start()
        self._lifecycle = lifecycle

    async def _stop(self) -> None:
        lifecycle, self._lifecycle = self._lifecycle, None
        try:
            await self.asgi_transport.aclose()
        finally:
            if lifecycle is not None:
                await lifecycle.stop()

    @contextmanager
    def exchange(self, method: str, url: str, **options: Any) -> Iterator[SyncOpenRequest]:
        """Send a request without waiting for the answer, to look at the app meanwhile or to disconnect."""
        thread = self._sync_transport.get_thread()
        request = to_async(self.build_request(method, url, **options))
        transport = self.asgi_transport
        opened = OpenRequest(self, thread.run(transport.start, request), request, transport)
        try:
            yield SyncOpenRequest(opened, self._sync_transport)
        finally:
            thread.call(opened.finish)

    @contextmanager
    def websocket(
        self, url: str, *, subprotocols: Sequence[str] = (), queue: int = 32, **options: Any
    ) -> Iterator[SyncWebSocketSession]:
        """Open a websocket; leaving the block closes it with 1000 and waits for the app.

        Raises:
            WebSocketDenied: the app refused; the error has its ``response``.
        """
        thread = self._sync_transport.get_thread()
        request = build_handshake(self, url, subprotocols, options)
        session = thread.run(
            lambda: self.asgi_transport.start_websocket(request, subprotocols=subprotocols, queue=queue)
        )
        try:
            self.cookies.extract_cookies(thread.call(session.open))
            yield SyncWebSocketSession(session, thread)
        finally:
            thread.call(session.shut)
            self.asgi_transport.forget(session)

    @contextmanager
    def session_transaction(self, path: str = "/") -> Iterator[Session]:
        """The session of this client, to read and to change; it is saved at the end of the block.

        Raises:
            TypeError: the app is not one of microweb's.
        """
        thread = self._sync_transport.get_thread()
        transaction = SessionTransaction(self.app, self.build_request("GET", path), self.cookies)
        session = thread.call(transaction.load)
        yield session
        thread.call(transaction.save, session)
