"""The response that a test client returns: httpx's, with its body streamed from an exchange.

Made by the transport only. ``AnswerStream`` is the body as httpx reads it; ``Answer`` closes the iterators
that a test left in the middle of.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from types import AsyncGeneratorType
from typing import Any, TypeVar

import anyio
import httpx

from microweb.testing.exchange import Exchange

__all__ = ["Answer", "AnswerStream"]

Part = TypeVar("Part", str, bytes)


class AnswerStream(httpx.AsyncByteStream):
    """The body of an exchange; ``forget`` is called with the exchange when it is over."""

    def __init__(
        self,
        exchange: Exchange,
        request: httpx.Request,
        timeout: float | None,
        forget: Callable[[Exchange], None],
    ) -> None:
        self._exchange = exchange
        self._request = request
        self._timeout = timeout
        self._forget = forget

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self._read()
        except anyio.get_cancelled_exc_class():
            self._exchange.abandon()
            raise

    async def _read(self) -> bytes:
        exchange = self._exchange
        with anyio.move_on_after(self._timeout) as waiting:
            chunk = await exchange.next_chunk()
            if chunk is not None:
                return chunk
        if waiting.cancelled_caught:
            exchange.abandon()
            raise httpx.ReadTimeout(f"the app sent no chunk within {self._timeout} s", request=self._request)
        exchange.raise_upload_error()
        if exchange.left:
            raise httpx.ReadError("disconnected before the answer was complete", request=self._request)
        await exchange.wait_ended()
        if not exchange.complete:
            raise httpx.RemoteProtocolError("the app ended before its answer did", request=self._request)
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Leave unless the answer is complete, and wait for the app to end."""
        try:
            await self._exchange.finish()
        finally:
            self._forget(self._exchange)


class Answer(httpx.Response):
    """An ``httpx.Response`` whose ``aclose`` also closes the iterators over its body.

    httpx iterates by generators inside generators. A test that breaks out of ``async for line in
    response.aiter_lines()`` leaves them to the garbage collector, which trio reports as a ResourceWarning and
    asyncio cleans up in a task that nobody waits for.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._iterators: list[AsyncGeneratorType[Any, None]] = []
        super().__init__(*arguments, **options)

    def aiter_raw(self, chunk_size: int | None = None) -> AsyncIterator[bytes]:
        """The body as it came."""
        return self._watch(super().aiter_raw(chunk_size))

    def aiter_bytes(self, chunk_size: int | None = None) -> AsyncIterator[bytes]:
        """The body without its content encoding."""
        return self._watch(super().aiter_bytes(chunk_size))

    def aiter_text(self, chunk_size: int | None = None) -> AsyncIterator[str]:
        """The body as text."""
        return self._watch(super().aiter_text(chunk_size))

    def aiter_lines(self) -> AsyncIterator[str]:
        """The body line by line."""
        return self._watch(super().aiter_lines())

    async def aclose(self) -> None:
        """Close the iterators, outermost first, then the exchange."""
        iterators, self._iterators = self._iterators, []
        for iterator in iterators:
            # A running one is reading at this moment: httpx closes the response at the end of its iteration.
            if not iterator.ag_running:
                await iterator.aclose()
        await super().aclose()

    def __setattr__(self, name: str, value: Any) -> None:
        # httpx sets `stream` more than once, at last to a stream of its own that iterates by a generator.
        if name == "stream" and isinstance(value, httpx.AsyncByteStream):
            value = WatchedStream(value, self._watch)
        super().__setattr__(name, value)

    def _watch(self, iterator: AsyncIterator[Part]) -> AsyncIterator[Part]:
        if isinstance(iterator, AsyncGeneratorType):
            self._iterators.append(iterator)
        return iterator


class WatchedStream(httpx.AsyncByteStream):
    """A stream that shows its iterators to ``watch``."""

    def __init__(
        self, stream: httpx.AsyncByteStream, watch: Callable[[AsyncIterator[bytes]], AsyncIterator[bytes]]
    ) -> None:
        self._stream = stream
        self._watch = watch

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._watch(aiter(self._stream))

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()
