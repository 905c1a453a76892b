"""The receiving side of one HTTP request: the only caller of the server's ``receive``.

A reader of the body and a waiter for the disconnect may both want the next message. This file lets
one call run at a time and loses no message: a waiter that gets body messages keeps them in ``_held``
for the reader, up to ``AHEAD`` bytes; then it takes no more until the reader does. It counts the body
against its limit and caches it, so that it can be read again. Of a body with a content coding it counts,
caches and gives out what was decoded. It knows nothing of content types, views or error pages;
``requests.py`` is its caller.

State of the body::

    untouched --read()-->   reading --last message--> cached       (read and stream answer from the cache)
    untouched --stream()--> streamed, in part or whole             (read() is an error that names stream())
    any       --http.disconnect--> disconnected                    (final: ClientDisconnect, unless cached)
"""

from __future__ import annotations

from asyncio import _get_running_loop
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Coroutine, Generator
from contextvars import Context
from io import BytesIO
from types import CoroutineType, coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from microweb.asgi import Message, RawHeaders, Receive
from microweb.errors import BadRequest, ClientDisconnect, RequestEntityTooLarge, RequestTimeout, StatusError, again
from microweb.headers import find_body_headers
from microweb.loops import SideTask

if TYPE_CHECKING:
    from anyio import Event

    from microweb.contentcoding import Decoder

__all__ = ["Answer", "Connection", "give_back", "resume"]

T = TypeVar("T")
DISCONNECT: Message = {"type": "http.disconnect"}
AHEAD = 65536
"""Bytes of the body that who waits for the disconnect may take before its reader: what comes after the disconnect can
only be seen behind them, and there are servers that give even the shortest body in two messages."""
MESSAGE_COST = 512
"""Bytes that each of those messages is counted for beside its body."""
TURNS = 4
"""Turns of the loop in which what has come already arrives: the watch begins, and trio takes one for each message."""


class Connection:
    """Reads one request's messages, one call of ``receive`` at a time.

    ``limit`` is the most body bytes accepted (None: no limit), ``timeout`` the seconds that the body may
    stand still (None: for ever), ``headers`` the request's, for its Content-Length and Content-Encoding.
    """

    # Class-level defaults for what most requests never touch. PERF(walk.echo)
    disconnected = False
    _busy = False
    _held: deque[Message] | None = None
    _held_size = 0
    _is_let_go = False
    _reading = False
    decodes = False
    """Whether content codings are undone (``DECODE_REQUEST_BODIES``); otherwise they are refused."""
    is_inside_body = False
    """Whether somebody has begun to read the body, and neither its end nor an error has come."""
    has_decoded = False
    """Whether the cached body is what came out of a content coding."""
    _refusal: Exception | None = None
    """What the reader of the body was told, for those who ask after it."""
    _changed: Event | None = None
    _watch: SideTask | None = None

    def __init__(self, receive: Receive, headers: RawHeaders, limit: int | None, timeout: float | None) -> None:
        self.limit = limit
        self.timeout = timeout
        self.cached: bytes | None = None
        self._receive = receive
        self._headers = headers
        self._reader = ""

    async def read(self, reader: str = "body()", declared: bytes | None = None) -> bytes:
        """The whole body, read once and kept.

        ``reader`` names who asks, for error texts; ``declared`` is the Content-Length, if the caller has it and
        knows that there is no Content-Encoding.

        Raises:
            RequestEntityTooLarge: more bytes than ``limit`` were declared, came, or came out of their coding.
            RequestTimeout: nothing came for ``timeout`` seconds.
            UnsupportedMediaType: it has a content coding that is not undone here.
            BadRequest: it is not what its coding promises, or its Content-Length is no number.
            ClientDisconnect: the client left before the end.
            RuntimeError: the body was already taken as a stream; the message names both readers.
        """
        if self.cached is not None:
            return self.cached
        if self._reader:
            return await self._read_again(reader)
        if declared is None:
            declared, coding = find_body_headers(self._headers)
            if coding is not None:
                self._reader = reader
                return await self._read_coded(declared, coding)
        if declared is not None and len(declared) > 4:
            self.check_declared(declared)  # Refused so, nobody has taken it: the next reader is told the same.
        self._reader = reader
        if not (self._busy or self._held or self.disconnected) and _get_running_loop() is not None:
            # PERF(walk.echo): nearly every body is there at once, in one message: its receive() is stepped by
            # hand, so that neither a timer nor a lock is needed. What suspends goes the long way round.
            answer = self._receive()
            if isinstance(answer, CoroutineType):
                try:
                    waiting_for = answer.send(None)
                except StopIteration as stop:
                    message: Message = stop.value
                    if not message.get("more_body") and message["type"] == "http.request":
                        body = message.get("body", b"")
                        if body.__class__ is bytes and (self.limit is None or len(body) <= self.limit):
                            self.cached = body
                            return body
                    return await self._read_on(give_back(message))
                return await self._read_on(resume(answer, waiting_for))
            answer = Answer(answer)
            return await self._read_on(answer)
        return await self._read_on(None)

    async def read_on(self, reader: str, first: Awaitable[Message]) -> bytes:
        """The whole body, after somebody else has called receive() for the first time, and got ``first``.

        Raises: as ``read``.
        """
        self._reader = reader
        return await self._read_on(first)

    async def _read_coded(self, declared: bytes | None, coding: bytes) -> bytes:
        """The whole body, which may be encoded."""
        try:
            decoder = self._make_decoder(coding)
            if declared is not None:
                self.check_declared(declared)
        except StatusError as error:
            self._refusal = again(error)
            raise
        return await self._read_on(None, decoder)

    async def _read_on(self, first: Awaitable[Message] | None, decoder: Decoder | None = None) -> bytes:
        """The whole body, ``first`` being a receive() that is under way."""
        self._reading = self.is_inside_body = True
        try:
            message = await (self.receive(self.timeout) if first is None else self._await_message(first, self.timeout))
            chunks = self._chunks(message)
            if decoder is not None:
                chunks = self._decoded(chunks, decoder)
                self.has_decoded = True
            self.cached = await join(chunks)
        except Exception as error:
            self.is_inside_body = False
            if isinstance(error, StatusError):
                self._refusal = again(error)
            raise
        finally:
            self._reading = False
            self._notify()
        return self.cached

    def stream(self, reader: str = "stream()") -> AsyncGenerator[bytes, None]:
        """The body chunk by chunk as it comes, not kept; one chunk with all of it if it was read before.

        Raises: as ``read``.
        """
        if self.cached is not None:
            return self._chunks({"type": "http.request", "body": self.cached})
        if self._refusal is not None:
            raise again(self._refusal)
        if self._reader:
            raise RuntimeError(self._taken_twice(reader))
        declared, coding = find_body_headers(self._headers)
        if declared is not None:
            self.check_declared(declared)
        decoder = None if coding is None else self._make_decoder(coding)
        self._reader = reader
        chunks = self._chunks(None)
        return chunks if decoder is None else self._decoded(chunks, decoder)

    async def receive(self, timeout: float | None = None) -> Message:
        """The next message; ``http.disconnect`` for ever once that came.

        Raises:
            RequestTimeout: nothing came for ``timeout`` seconds.
        """
        while True:
            if self._held:
                message = self._held.popleft()
                self._held_size -= cost_of(message)
                self._notify()
                return message
            if self.disconnected:
                return DISCONNECT
            if not self._busy:
                break
            # SECURITY: test_a_stalled_body_is_given_up_while_somebody_waits_for_the_disconnect
            await within(self._wait_change(), timeout)
        return await self._await_message(self._ask(), timeout)

    async def wait_disconnect(self, *, lets_go: bool = False) -> None:
        """Return when the client is gone. Takes body messages ahead, within ``AHEAD``, and keeps them for the reader.

        With ``lets_go`` a longer body that nobody has begun to read for ``timeout`` seconds is thrown away: behind it
        the disconnect could not be seen, and an answer that has no end would be sent to nobody for ever.
        """
        has_ended = repeats = False
        while not self.disconnected:
            if self._busy or repeats:
                await self._wait_change()
            elif self._holds_back():
                try:
                    await within(self._wait_change(), self.timeout if lets_go and not self._reader else None)
                except RequestTimeout:
                    self._let_go()
            else:
                message = await self._await_message(self._ask(), None)
                # Behind the end only the disconnect can come. A receive() that somebody wrote for a test may give the
                # end for ever, without waiting: it is asked no more.
                repeats = has_ended and message["type"] == "http.request"
                has_ended = not message.get("more_body", False)
                if message["type"] == "http.request" and not self._is_let_go and not repeats:
                    if self._held is None:
                        self._held = deque()
                    self._held.append(message)
                    self._held_size += cost_of(message)
                    self._notify()

    def watch(self) -> SideTask | None:
        """Begin to wait for the disconnect in a task of its own; None if that is known, or somebody waits already.

        Whoever got the task ends it.
        """
        if self.disconnected or self._busy or self._watch is not None:
            return None
        self._watch = SideTask(self.wait_disconnect, name="microweb disconnect watch")
        return self._watch

    async def is_disconnected(self) -> bool:
        """Whether the client is known to be gone, without waiting for it; who asks calls ``watch`` first.

        The one message that is received meanwhile is not given up when it has not come: there are servers that lose a
        message when a receive is cancelled.
        """
        from anyio.lowlevel import checkpoint

        for _ in range(TURNS):
            if self.disconnected:
                break
            await checkpoint()
        if self._watch is not None and self._watch.failure is not None:
            raise self._watch.failure
        return self.disconnected

    def _holds_back(self) -> bool:
        """Whether enough of the body is kept, and more of it may come; behind its last message comes the end."""
        held = self._held
        return self._held_size >= AHEAD and held is not None and bool(held[-1].get("more_body", False))

    def _let_go(self) -> None:
        """Throw away what is kept, and what will come."""
        if not self._reader:
            self._reader = "nobody"
            self._is_let_go = True
            self._held = None
            self._held_size = 0

    def replay(self, reader: str) -> Receive:
        """A ``receive`` for a mounted app: the cached body first, else the untouched stream.

        Raises:
            RuntimeError: part of the body is gone; the message names both readers.
        """
        if self.cached is None:
            if self._reader:
                raise RuntimeError(self._taken_twice(reader))
            self._reader = reader
            return self.receive
        replayed: list[Message] = [{"type": "http.request", "body": self.cached, "more_body": False}]

        async def receive() -> Message:
            return replayed.pop() if replayed else await self.receive()

        return receive

    async def _read_again(self, reader: str) -> bytes:
        """The body was asked for before: wait for the task that reads it, then share what came of it."""
        while self._reading:
            await self._wait_change()
        if self.cached is not None:
            return self.cached
        if self._refusal is not None:
            raise again(self._refusal)
        if self.disconnected:
            raise ClientDisconnect("the client left before the end of its request")
        raise RuntimeError(self._taken_twice(reader))

    async def _chunks(self, message: Message | None) -> AsyncGenerator[bytes, None]:
        received = 0
        while True:
            if message is None:
                self.is_inside_body = True
                try:
                    message = await self.receive(self.timeout)
                except Exception:
                    self.is_inside_body = False
                    raise
            self.is_inside_body = message.get("more_body", False)
            if message["type"] != "http.request":
                raise ClientDisconnect("the client left before the end of its request")
            # ASGI has byte strings. What else gives bytes is copied: whoever sent it may write to it again.
            given = message.get("body", b"")
            chunk: bytes = given if given.__class__ is bytes else bytes(given or b"")
            received += len(chunk)
            if self.limit is not None and received > self.limit:
                self.is_inside_body = False
                self._refuse()
            if chunk:
                yield chunk
            if not message.get("more_body", False):
                return
            message = None

    def _make_decoder(self, coding: bytes) -> Decoder | None:
        from microweb.contentcoding import make_decoder

        return make_decoder(coding.decode("latin-1"), enabled=self.decodes)

    async def _decoded(self, chunks: AsyncGenerator[bytes, None], decoder: Decoder) -> AsyncGenerator[bytes, None]:
        # SECURITY: test_compressed_bodies.py::test_the_limit_counts_what_a_bomb_becomes
        decoded = 0
        try:
            async for chunk in chunks:
                for piece in decoder.feed(chunk):
                    decoded += len(piece)
                    if self.limit is not None and decoded > self.limit:
                        self._refuse()
                    yield piece
            decoder.finish()
        finally:
            await chunks.aclose()

    def check_declared(self, length: bytes) -> None:
        """Refuse a body whose Content-Length says that it is too large, before a byte of it is asked for."""
        if not length.isdigit():
            raise BadRequest("The Content-Length header is no number.")
        # Sixteen digits are beyond any limit, and int() of thousands of digits is an attack of its own.
        if self.limit is not None and (len(length) > 16 or int(length) > self.limit):
            self._refuse()

    def _refuse(self) -> None:
        raise RequestEntityTooLarge(f"The body of the request is larger than {self.limit} bytes (MAX_CONTENT_LENGTH).")

    def _taken_twice(self, reader: str) -> str:
        if self._is_let_go:
            return (
                f"the body was let go, since nobody had read it {self.timeout:g} seconds after the answer began "
                f"(BODY_TIMEOUT), so {reader} cannot have it; read it sooner"
            )
        return (
            f"the body was already taken by {self._reader}, so {reader} cannot have it; "
            "read it once with `await request.body()`, which keeps it"
        )

    def _ask(self) -> Awaitable[Message]:
        answer = self._receive()
        return answer if isinstance(answer, CoroutineType) else Answer(answer)

    async def _await_message(self, answer: Awaitable[Message], timeout: float | None) -> Message:
        """Await one receive(), the only one under way."""
        self._busy = True
        message: Message
        try:
            if timeout is not None and isinstance(answer, CoroutineType) and _get_running_loop() is not None:
                # PERF(bodies.multipart-1MiB): of a large body most messages are there already; a timer is set only for
                # one that has to be waited for.
                try:
                    waiting_for = answer.send(None)
                except StopIteration as stop:
                    message = stop.value
                else:
                    # What @coroutine makes awaitable is a plain generator to type checkers.
                    rest: Any = resume(answer, waiting_for)
                    message = await within(rest, timeout)
            else:
                message = await within(answer, timeout)
        finally:
            self._busy = False
            self._notify()
        if message["type"] == "http.disconnect":
            self.disconnected = True
        return message

    async def _wait_change(self) -> None:
        if self._changed is None:
            from anyio import Event

            self._changed = Event()
        await self._changed.wait()

    def _notify(self) -> None:
        changed, self._changed = self._changed, None
        if changed is not None:
            changed.set()


class Answer:
    """What a server gives for a ``receive()`` that is no coroutine, forgotten when it is awaited, which is once.

    granian's is a future that holds the task that waits for it, where the garbage collector does not see it. A task
    that is cancelled there holds its error, and the error all frames that were waiting: with the future in a variable
    of one of them, none of it would ever be freed.
    """

    __slots__ = ("_given",)

    def __init__(self, given: Awaitable[Message]) -> None:
        self._given = given

    def __await__(self) -> Generator[Any, Any, Message]:
        given = self._given
        del self._given
        return given.__await__()


async def join(chunks: AsyncGenerator[bytes, None]) -> bytes:
    """All chunks as one; each is given up as soon as it is copied, so that the body is in memory only once.

    It is the faster way too: what the server allocates for a chunk can be used again for the next.
    """
    # SECURITY: test_receiving_takes_no_more_memory_than_the_limit_allows
    first = b""
    whole: BytesIO | None = None
    async for chunk in chunks:
        if whole is not None:
            whole.write(chunk)
        elif not first:
            first = chunk
        else:
            whole = BytesIO()
            whole.write(first)
            whole.write(chunk)
            first = b""
    # Not copied: a BytesIO gives away its buffer, cut to size.
    return first if whole is None else whole.getvalue()


async def within(answer: Awaitable[T], seconds: float | None) -> T:
    """``await answer``, given up after ``seconds``.

    Raises:
        RequestTimeout: no message came in time.
    """
    if seconds is None:
        return await answer
    loop = _get_running_loop()
    if loop is not None:
        # Not anyio's: a receive() that was stepped by hand may hold a scope of its own, and scopes must nest.
        from asyncio import timeout

        try:
            async with timeout(None) as limit:
                # asyncio keeps a cancelled timer until its time has come, and its context: not that with the request.
                Context().run(limit.reschedule, loop.time() + seconds)
                return await answer
        except TimeoutError:
            raise timed_out(seconds) from None
    from anyio import fail_after

    try:
        with fail_after(seconds):
            return await answer
    except TimeoutError:
        raise timed_out(seconds) from None


@coroutine
def resume(step: Coroutine[Any, Any, T], waiting_for: Any) -> Generator[Any, Any, T]:
    """The rest of a coroutine whose first step gave ``waiting_for``."""
    try:
        while True:
            try:
                answer = yield waiting_for
            except BaseException as error:  # noqa: BLE001 - handed on to the coroutine, as `await` would
                waiting_for = step.throw(error)
            else:
                # trio answers with what it was asked for, asyncio with None.
                try:
                    waiting_for = step.send(answer)
                finally:
                    del answer  # A cancellation of trio's comes so, and its traceback holds this frame.
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        del waiting_for  # It may hold the error, whose traceback holds this frame.


def cost_of(message: Message) -> int:
    """What a message of the body counts for while it is kept."""
    return len(message.get("body", b"")) + MESSAGE_COST


async def give_back(message: Message) -> Message:
    """A message that has already come."""
    return message


def timed_out(seconds: float) -> RequestTimeout:
    """The answer to a body that stopped coming."""
    return RequestTimeout(f"The body stood still for {seconds:g} seconds (BODY_TIMEOUT).")
