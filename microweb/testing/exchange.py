"""One HTTP request and its answer, from the server's side: what ``receive`` gives and ``send`` takes.

::

    test                      Exchange                               app (in a detached task)
    body chunks  ──────────>  Handoff  ──────── receive() ────────>  http.request, at last http.disconnect
    status, chunks <────────  Handoff  <──────── send() ───────────  http.response.start, .body, ...
    disconnect() ──────────>  left: receive() says http.disconnect, send() raises ClientGone

    state            entered by                          receive()         send()
    asking           the start                           the next chunk    passes
    waiting          the last chunk of the body          waits             passes
    complete         the last message of the answer      http.disconnect   RuntimeError
    left             disconnect()                        http.disconnect   ClientGone; silent before spec 2.4

Made by the transport, which turns it into httpx's terms. ``client.exchange()`` gives tests a hold on one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable
from pathlib import Path
from types import AsyncGeneratorType
from typing import Any

import anyio
import anyio.lowlevel

from microweb.asgi import ASGIApp, Message, RawHeaders, Scope
from microweb.testing.call import AppCall
from microweb.testing.detached import DetachedTask
from microweb.testing.handoff import Handoff

__all__ = ["Exchange"]

PIECE = 65536
"""Bytes per body message, as uvicorn's flow control cuts them."""


class Exchange(AppCall):
    """One request on its way; ``extensions`` collects what the app said beside status, headers and body.

    ``generator`` is what ``body`` reads from, if that is to be closed with it.
    """

    def __init__(
        self,
        app: ASGIApp,
        scope: Scope,
        body: bytes | AsyncIterable[bytes],
        *,
        raise_errors: bool,
        lint: bool,
        grace: float,
        generator: object = None,
    ) -> None:
        self.status: int | None = None
        self.headers: RawHeaders = []
        self.extensions: dict[str, Any] = {}
        self.complete = False
        self._upload_error: Exception | None = None
        self._trailers = False
        self._started = anyio.Event()
        self._over = anyio.Event()
        self._answer: Handoff[bytes] = Handoff()
        self._body_given = False
        self._pieces: deque[bytes] = deque()
        self._chunks: Handoff[tuple[bytes, bool]] | None = None
        self._upload: DetachedTask | None = None
        self._generator = generator
        super().__init__(app, scope, raise_errors=raise_errors, lint=lint, grace=grace)
        if isinstance(body, bytes):
            self._pieces.extend(body[at : at + PIECE] for at in range(0, len(body), PIECE))
        else:
            chunks = self._chunks = Handoff()
            self._upload = DetachedTask(lambda: self._send_body(body, chunks), f"upload of {self._name}")

    # The test's side ---------------------------------------------------------------------------------

    async def wait_started(self) -> None:
        """Wait for the status line, or for the end of an app that sent none."""
        await self._started.wait()

    async def next_chunk(self) -> bytes | None:
        """The next chunk of the answer, or None after the last."""
        return await self._answer.take()

    async def wait_ended(self) -> None:
        """Wait until the app's coroutine has ended.

        Raises:
            Exception: the app's own, unless the client was made with ``raise_errors=False``.
            LintError: either side broke the rules of ASGI.
        """
        await self._task.wait()
        self.raise_error()

    def disconnect(self) -> None:
        """Leave now, as a closed browser tab does; does nothing once the answer is complete."""
        if not self.complete and not self.left:
            self.left = True
            self._release()

    async def end(self, deadline: float) -> None:
        """Wait for the app until ``deadline``, then cancel it; the upload has been cancelled before."""
        await super().end(deadline)
        if self._upload is not None:
            await self._upload.wait_until(anyio.current_time() + self._grace)

    def raise_upload_error(self) -> None:
        """Raise the error of the test's own body generator, which ended this exchange."""
        if self._upload_error is not None:
            self.raise_error()

    def _find_error(self) -> BaseException | None:
        return self._upload_error or super()._find_error()

    async def _send_body(self, body: AsyncIterable[bytes], chunks: Handoff[tuple[bytes, bool]]) -> None:
        iterator = aiter(body)
        try:
            async for chunk in iterator:
                await chunks.put((chunk, True))
            await chunks.put((b"", False))
        except Exception as error:  # noqa: BLE001 - the test's own generator failed: its call raises that
            self._upload_error = error
            self.abandon()
        finally:
            # httpx's generator first, then the test's own inside it: neither is left to the collector.
            for generator in (iterator, self._generator):
                if isinstance(generator, AsyncGeneratorType):
                    await generator.aclose()

    # The app's side ----------------------------------------------------------------------------------

    def _release(self) -> None:
        self._over.set()
        self._started.set()
        self._answer.close()
        if self._upload is not None and self._chunks is not None:
            self._upload.cancel()
            self._chunks.close()

    async def _receive(self) -> Message:
        if not self._body_given and not self._over.is_set():
            piece = await self._next_piece()
            if piece is not None:
                chunk, more = piece
                self._body_given = not more
                return {"type": "http.request", "body": chunk, "more_body": more}
        if not self._over.is_set():  # what is known is said without an await, as servers do
            await self._over.wait()
        return {"type": "http.disconnect"}

    async def _next_piece(self) -> tuple[bytes, bool] | None:
        if self._chunks is not None:
            return await self._chunks.take()
        chunk = self._pieces.popleft() if self._pieces else b""
        return chunk, bool(self._pieces)

    async def _send(self, message: Message) -> None:
        if self.left:
            return await self._refuse()
        if self.complete:
            raise RuntimeError(f"{message['type']!r} was sent after the end of the answer")
        match message["type"]:
            case "http.response.start":
                self._start(message)
            case "http.response.body":
                await self._send_chunk(message.get("body", b""), message.get("more_body", False))
            case "http.response.pathsend":
                await self._send_file(Path(message["path"]))
            case "http.response.trailers":
                self.extensions["trailers"].extend(message.get("headers", ()))
                if not message.get("more_trailers", False):
                    self._complete()
            case "http.response.early_hint":
                self.extensions.setdefault("early_hints", []).extend(message["links"])
            case "http.response.debug":
                self.extensions["debug"] = message["info"]
            case other:
                raise RuntimeError(f"{other!r} is no message of an HTTP answer that this server knows")
        return None

    def _start(self, message: Message) -> None:
        if self.status is not None:
            raise RuntimeError("the answer was started twice")
        self.status = message["status"]
        self.headers = [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
        self._trailers = message.get("trailers", False)
        if self._trailers:
            self.extensions["trailers"] = []
        self._started.set()

    async def _send_chunk(self, chunk: bytes, more: bool) -> None:
        if self.status is None:
            raise RuntimeError("http.response.body was sent before http.response.start")
        if self.scope["method"] == "HEAD":
            chunk = b""
        if not more:
            # The last chunk never waits: nothing comes after it that a slow client could hold back.
            if chunk:
                self._answer.put_nowait(chunk)
            self._finish_body()
        elif chunk:
            taken = await self._answer.put(chunk)
            if self.left and not taken:
                await self._refuse()
        else:
            await anyio.lowlevel.checkpoint()

    async def _send_file(self, path: Path) -> None:
        async with await anyio.open_file(path, "rb") as file:
            while chunk := await file.read(PIECE):
                await self._send_chunk(chunk, True)
        await self._send_chunk(b"", False)

    def _finish_body(self) -> None:
        if not self._trailers:
            self._complete()

    def _complete(self) -> None:
        self.complete = True
        self._release()
