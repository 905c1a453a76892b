"""Streamed bodies: iterators sent chunk by chunk, as they are produced.

A coroutine generator runs in the request's own task; a plain one in the request's worker thread.
Each chunk is handed to the server before the next is asked for, so a slow client slows the producer
down. Whatever happens, the iterator is closed before teardown. Server-sent events are in
``events.py``; files in ``files.py``.

``make_stream`` is the short way for an async generator function around which there is nothing; everything else
that streams is a ``StreamingResponse``. Both send their chunks by ``pump``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from itertools import repeat
from sys import modules
from types import AsyncGeneratorType
from typing import Any

from microweb.asgi import Message, Send
from microweb.connection import resume
from microweb.context import current
from microweb.errors import ClientDisconnect
from microweb.framing import BODYLESS, new_start, without_body_headers, without_framing
from microweb.incoming import Incoming
from microweb.loops import in_trio
from microweb.requests import Request
from microweb.responses import HTML, HeaderItems, Response
from microweb.watcher import rest_until_disconnect, until_disconnect

__all__ = ["Stream", "StreamingResponse", "make_stream", "tells_of_leaving", "write"]

Stream = Callable[[Request, Send], Awaitable[None]]


CHUNK: dict[str, Any] = {"type": "http.response.body", "body": b"", "more_body": True}
"""Copied for each chunk. PERF(walk.stream): that takes half the time of a dict of three entries."""
TURN = 256
"""Chunks between two turns of the loop. Before ASGI HTTP 2.4 a server may throw away what it is sent for a client that
has left, without waiting, and then the body must not go on without waiting either: nobody would ever hear that it has,
nor anything else."""


def encode_chunk(chunk: Any) -> bytes:
    """One piece of a streamed body as bytes.

    Raises:
        TypeError: it is neither text nor bytes.
    """
    if isinstance(chunk, str):
        return chunk.encode()
    if isinstance(chunk, bytes | bytearray | memoryview):
        return bytes(chunk)
    raise TypeError(f"a streamed body gives str or bytes, not {type(chunk).__name__}")


class StreamingResponse(Response):
    """An answer whose body is an iterable of ``bytes`` or ``str``, async or not.

    >>> async def numbers():
    ...     for number in range(3):
    ...         yield f"{number}\\n"
    >>> StreamingResponse(numbers(), content_type="text/plain; charset=utf-8").is_streamed
    True

    Raises:
        TypeError: the body is no iterable, or one text.
    """

    is_streamed = True

    watches_disconnect = False
    """Whether to notice a client that leaves while the body is idle, whatever the server offers."""

    encodes_bytes = False
    """Whether ``bytes`` are items to encode like any other; those of a layer that wraps the body never are."""

    _source = ""

    @staticmethod
    def encode(chunk: Any) -> bytes:
        """One piece of the body, other than ``bytes``, as it is sent."""
        return encode_chunk(chunk)

    def __init__(
        self,
        body: AsyncIterable[str | bytes] | Iterable[str | bytes],
        status: int = 200,
        headers: HeaderItems | None = None,
        content_type: str | None = None,
        *,
        mimetype: str | None = None,
    ) -> None:
        super().__init__(b"", status, headers, content_type, mimetype=mimetype)
        if isinstance(body, str | bytes) or not (hasattr(body, "__aiter__") or hasattr(body, "__iter__")):
            raise TypeError(
                "a streamed body is an iterable of str or bytes, such as a generator or a list, "
                f"not {type(body).__name__} itself"
            )
        self.iterable: AsyncIterable[str | bytes] | Iterable[str | bytes] = body
        """What is sent; a middleware may wrap it. The one it wraps must be closed by the wrapper."""
        self._first_iterable = body

    @property
    def body(self) -> bytes:
        """Nothing, for a stream has no bytes yet; bytes that are set are sent in its place."""
        return self._body

    @body.setter
    def body(self, value: str | bytes) -> None:
        self._replace(encode_chunk(value))

    @property
    def data(self) -> bytes:
        """As ``get_data``."""
        data: bytes = self.get_data()
        return data

    @data.setter
    def data(self, value: str | bytes) -> None:
        self.body = value

    def get_data(self, as_text: bool = False) -> Any:
        """The bytes that were set in the stream's place.

        Raises:
            RuntimeError: none were: what a hook makes of nothing would be sent for the stream.
        """
        if self.iterable is self._first_iterable:
            raise RuntimeError("a stream has no bytes to read before it is sent; look at response.is_streamed first")
        return super().get_data(as_text)

    def _replace(self, body: bytes) -> None:
        self._body = body
        self.iterable = only(body)
        if self._headers is not None:
            self._headers.remove("content-length")  # It was that of the stream.

    def add_etag(self, *, overwrite: bool = False, weak: bool = False) -> None:
        """Do nothing: the bytes that a tag would stand for are not there yet. Set one with ``set_etag``."""

    async def send(self, request: Incoming, send: Send) -> None:
        """Write the head, then each chunk as it is produced.

        Raises:
            ClientDisconnect: the client left before the end.
            TypeError: a chunk is neither ``str`` nor ``bytes``.
        """
        status = self._status
        if self._headers is None and self._content_type is not None:
            lines = [(b"content-type", self._content_type)]
        else:
            lines = without_framing(self.headers.raw)
        request._started = True
        if status in BODYLESS or request.scope["method"] == "HEAD":
            if status in BODYLESS:
                lines = without_body_headers(lines, status)
            await write(send, {"type": "http.response.start", "status": status, "headers": lines})
            await write(send, {"type": "http.response.body", "body": b""})
            return
        token = None
        if self._inner is not None:
            # A mounted app's answer: its body sees the request of that app, not ours.
            self._inner._started = True
            token = current.set(self._inner)
        try:
            start = new_start()
            start["status"] = status
            start["headers"] = lines
            try:
                await send(start)
            except OSError:
                raise client_left() from None
            if not self.watches_disconnect and tells_of_leaving(request):
                await self._pump(request, send)
                return
            assert isinstance(request, Request)
            if "trio" in modules and in_trio():
                await until_disconnect(request, self._pump, request, send)
                return
            # PERF(walk.stream): as `until_disconnect`, without a coroutine between.
            pump = self._pump(request, send)
            try:
                waiting_for = pump.send(None)
            except StopIteration:
                return
            rest: Any = resume(pump, waiting_for)
            del waiting_for  # It may hold the error of the body, whose traceback holds this frame.
            await rest_until_disconnect(request, rest)
        finally:
            if token is not None:
                current.reset(token)

    def adopt(self, request: Incoming, source: str) -> None:
        """Let ``request`` close the body, sent or not; ``source`` names the view in warnings."""
        self._source = source
        request.on_close(self.close)

    async def close(self) -> None:
        """Close the body and what a middleware wrapped around it. Harmless when it has ended."""
        try:
            if self.iterable is not self._first_iterable:
                await self._close(self.iterable)
        finally:
            await self._close(self._first_iterable)

    async def _close(self, iterable: AsyncIterable[str | bytes] | Iterable[str | bytes]) -> None:
        if self._owner is None or isinstance(iterable, AsyncIterable):
            await close_iterable(iterable)
        else:
            # Never started, or left in the middle by a wrapper: its code may block, so it ends in the thread.
            from microweb.iteration import iterate

            await iterate(self._owner.worker, iterable, label=self._source).aclose()

    @classmethod
    def of_generator(cls, generator: AsyncIterable[Any], request: Incoming, source: str) -> StreamingResponse:
        """What a generator becomes that a view returned: as by ``__init__`` and ``adopt``. PERF(walk.stream)"""
        response = object.__new__(cls)
        response._status = 200
        response._body = b""
        response._headers = None
        response._content_type = cls._default_content_type
        response._owner = request
        response.iterable = response._first_iterable = generator
        response._source = source
        request.on_close(response.close)
        return response

    async def _pump(self, request: Incoming, send: Send) -> None:
        # PERF(walk.stream): what a generator is, is known without asking the abstract class.
        iterable: Any = self.iterable
        body = iterable if iterable.__class__ is AsyncGeneratorType else self._chunks(request)
        raw = None if self.encodes_bytes and iterable is self._first_iterable else bytes
        try:
            await pump(request, body, send, raw, self.encode, ends=False)
        except BaseException:
            # Left in the middle it ends as it would by itself: before what it has opened on its way.
            (self._inner or request).on_close(self.close)
            raise
        finally:
            if body is not iterable:
                await close_iterable(body)
        if iterable is self._first_iterable:
            closers = request.notes.closers
            if closers and closers[-1] == self.close:
                closers.pop()  # PERF(walk.stream): run to its end, it has nothing left to close.
        await write(send, {"type": "http.response.body", "body": b""})

    def _chunks(self, request: Incoming) -> AsyncIterator[Any]:
        iterable = self.iterable
        if isinstance(iterable, AsyncIterable):
            return iterable.__aiter__()
        from microweb.iteration import iterate

        return iterate(request.worker, iterable, label=self._source)


def make_stream(generate: Callable[[Any], AsyncGenerator[Any, None]]) -> Stream:
    """A function that sends what ``generate(request)`` yields, for a view around which there is nothing.

    PERF(walk.stream): as a ``StreamingResponse`` would, without making one that nobody could look at.
    """
    line = (b"content-type", HTML)

    async def stream(request: Request, send: Send) -> None:
        body = generate(request)
        try:
            request._started = True
            start = new_start()
            start["headers"] = [line]
            try:
                await send(start)
            except OSError:
                raise client_left() from None
            if tells_of_leaving(request):
                await pump(request, body, send)
            elif "trio" in modules and in_trio():
                await until_disconnect(request, pump, request, body, send)
            else:
                # PERF(walk.stream): as `until_disconnect`, without a coroutine between.
                work = pump(request, body, send)
                try:
                    waiting_for = work.send(None)
                except StopIteration:
                    return
                rest: Any = resume(work, waiting_for)
                del waiting_for  # It may hold the error of the body, whose traceback holds this frame.
                await rest_until_disconnect(request, rest)
        except BaseException:
            # Within the shield of the request's end, and there before what the body has opened on its way.
            request.on_close(body.aclose)
            raise

    return stream


async def pump(
    request: Incoming,
    body: AsyncIterator[Any],
    send: Send,
    raw: type[bytes] | None = bytes,
    encode: Callable[[Any], bytes] = encode_chunk,
    ends: bool = True,
) -> None:
    """Send what ``body`` gives, chunk by chunk, and the end of the answer if asked.

    What is not of the class ``raw`` is passed through ``encode``.

    Raises:
        ClientDisconnect: the client left before the end.
    """
    is_refused = False
    blank, turn = CHUNK, repeat(None, TURN)
    try:
        async for chunk in body:
            if chunk.__class__ is not raw:
                chunk = encode(chunk)
            for _ in turn:  # PERF(walk.stream): counts in less time than an int does.
                break
            else:
                await take_turn()
                turn = repeat(None, TURN - 1)  # This chunk is one of them.
            message = blank.copy()
            try:
                message["body"] = chunk
                await send(message)
            except OSError:
                is_refused = True
                raise client_left() from None
    except ClientDisconnect as error:
        if not is_refused:
            request.notes.unhandled = error  # Raised by the body itself, which reads the request for instance.
        raise
    if ends:
        try:
            await send({"type": "http.response.body", "body": b""})
        except OSError:
            raise client_left() from None


async def write(send: Send, message: Message) -> None:
    """Send one message of ours, apart from what the program's own code raises.

    Raises:
        ClientDisconnect: the client has left; ``send`` says that from ASGI HTTP 2.4 on.
    """
    # PERF(walk.stream): the stream's own messages are sent so too, without a coroutine between.
    try:
        await send(message)
    except OSError:
        raise client_left() from None


def client_left() -> ClientDisconnect:
    """What ``send`` meant by its OSError."""
    return ClientDisconnect("the client left while its answer was being sent")


async def take_turn() -> None:
    """Let other tasks run."""
    from anyio.lowlevel import checkpoint

    await checkpoint()


async def only(chunk: bytes) -> AsyncIterator[bytes]:
    """A stream of one chunk."""
    yield chunk


async def close_iterable(iterable: object) -> None:
    """Close a generator, or anything else with ``aclose`` or ``close``."""
    aclose = getattr(iterable, "aclose", None)
    if aclose is not None:
        await aclose()
        return
    close = getattr(iterable, "close", None)
    if close is not None:
        # One that ran in a thread was closed there by iterate(); this is for one that no request has sent.
        close()


def tells_of_leaving(request: Incoming) -> bool:
    """Whether ``send`` raises OSError once the client has left, as servers' do from ASGI HTTP 2.4 on."""
    try:
        return KNOWN_VERSIONS[request.scope["asgi"]["spec_version"]]  # PERF(walk.stream)
    except KeyError:
        version: str = request.scope.get("asgi", {}).get("spec_version", "2.0")
        return tuple(int(part) for part in version.split(".") if part.isdigit()) >= (2, 4)


KNOWN_VERSIONS = {f"2.{minor}": minor >= 4 for minor in range(6)}
