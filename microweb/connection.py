"""The receiving side of one HTTP request: the only caller of the server's ``receive``.

A reader of the body and a waiter for the disconnect may both want the next message. This file lets
one call run at a time and loses no message: a waiter that gets a body message keeps it in ``_held``
for the reader. It counts the body against its limit and caches it, so that it can be read again.
It knows nothing of content types, views or errors pages; ``requests.py`` is its caller.

State of the body::

    untouched --read()-->   reading --last message--> cached       (read and stream answer from the cache)
    untouched --stream()--> streamed, in part or whole             (read() is an error that names stream())
    any       --http.disconnect--> disconnected                    (final: ClientDisconnect, unless cached)
"""

from asyncio import CancelledError, _get_running_loop, current_task
from collections.abc import AsyncGenerator, Callable, Generator
from types import coroutine
from typing import TYPE_CHECKING, Any

from microweb.asgi import Message, Receive
from microweb.errors import BadRequest, ClientDisconnect, RequestEntityTooLarge, RequestTimeout

if TYPE_CHECKING:
    from anyio import Event

__all__ = ["Connection"]

DISCONNECT: Message = {"type": "http.disconnect"}


class Connection:
    """Reads one request's messages, one call of ``receive`` at a time.

    ``limit`` is the most body bytes accepted (None: no limit), ``timeout`` the seconds that the body may
    stand still (None: for ever), ``declared`` the request's Content-Length header, if any.
    """

    def __init__(
        self, receive: Receive, *, limit: int | None, timeout: float | None, declared: bytes | None = None
    ) -> None:
        self.limit = limit
        self.timeout = timeout
        self.disconnected = False
        self.cached: bytes | None = None
        self._receive = receive
        self._declared = declared
        self._reader = ""
        self._reading = False
        self._refused: type[RequestEntityTooLarge] | type[RequestTimeout] | None = None
        self._refusal = ""
        self._busy = False
        self._held: Message | None = None
        self._changed: Event | None = None

    async def read(self, reader: str = "body()") -> bytes:
        """The whole body, read once and kept.

        Raises:
            RequestEntityTooLarge: more bytes than ``limit`` were declared or came.
            RequestTimeout: nothing came for ``timeout`` seconds.
            ClientDisconnect: the client left before the end.
            RuntimeError: the body was already taken as a stream; the message names both readers.
        """
        if self.cached is not None:
            return self.cached
        if self._reader:
            return await self._read_again(reader)
        self._reader = reader
        self._reading = True
        try:
            self._check_declared()
            message = await self.receive(self.timeout)
            if not message.get("more_body", False) and message["type"] == "http.request":
                # PERF(walk.json_echo): nearly every body comes in one message; no list, no join.
                body: bytes = message.get("body", b"")
                if self.limit is not None and len(body) > self.limit:
                    self._refuse()
            else:
                chunks = [chunk async for chunk in self._chunks(message)]
                body = b"".join(chunks)
            self.cached = body
        except (RequestEntityTooLarge, RequestTimeout) as error:
            self._refused, self._refusal = type(error), error.description
            raise
        finally:
            self._reading = False
            if self._changed is not None:
                self._notify()
        return body

    async def stream(self, reader: str = "stream()") -> AsyncGenerator[bytes, None]:
        """The body chunk by chunk as it comes, not kept; one chunk with all of it if it was read before.

        Raises: as ``read``.
        """
        if self.cached is not None:
            if self.cached:
                yield self.cached
            return
        if self._reader:
            raise RuntimeError(self._taken_twice(reader))
        self._reader = reader
        self._check_declared()
        async for chunk in self._chunks(await self.receive(self.timeout)):
            yield chunk

    async def receive(self, timeout: float | None = None) -> Message:
        """The next message; ``http.disconnect`` for ever once that came.

        Raises:
            RequestTimeout: nothing came for ``timeout`` seconds.
        """
        while True:
            if self._held is not None:
                message, self._held = self._held, None
                self._notify()
                return message
            if self.disconnected:
                return DISCONNECT
            if not self._busy:
                break
            await self._wait_change()
        return await self._call_receive(timeout)

    async def wait_disconnect(self) -> None:
        """Return when the client is gone. Takes at most one body message and keeps it for the reader."""
        while not self.disconnected:
            if self._busy or self._held is not None:
                await self._wait_change()
                continue
            message = await self._call_receive(None)
            if not self.disconnected:
                self._held = message
                self._notify()

    async def is_disconnected(self) -> bool:
        """Whether the client is known to be gone, without waiting for it."""
        if self.disconnected or self._busy or self._held is not None:
            return self.disconnected
        from anyio import CancelScope

        with CancelScope() as scope:
            # A cancelled scope lets receive() answer only with what it already has.
            scope.cancel()
            message = await self._call_receive(None)
            if not self.disconnected:
                self._held = message
        return self.disconnected

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
        if self._refused is not None:
            raise self._refused(self._refusal)
        if self.disconnected:
            raise ClientDisconnect("the client left before the end of its request")
        raise RuntimeError(self._taken_twice(reader))

    async def _chunks(self, message: Message) -> AsyncGenerator[bytes, None]:
        received = 0
        while True:
            if message["type"] != "http.request":
                raise ClientDisconnect("the client left before the end of its request")
            chunk: bytes = message.get("body", b"")
            received += len(chunk)
            if self.limit is not None and received > self.limit:
                self._refuse()
            if chunk:
                yield chunk
            if not message.get("more_body", False):
                return
            message = await self.receive(self.timeout)

    def _check_declared(self) -> None:
        declared = self._declared
        if declared is None:
            return
        if not declared.isdigit():
            raise BadRequest("The Content-Length header is no number.")
        # Sixteen digits are beyond any limit, and int() of thousands of digits is an attack of its own.
        if self.limit is not None and (len(declared) > 16 or int(declared) > self.limit):
            self._refuse()

    def _refuse(self) -> None:
        raise RequestEntityTooLarge(
            f"The body of the request is larger than {self.limit} bytes (MAX_CONTENT_LENGTH)."
        )

    def _taken_twice(self, reader: str) -> str:
        return (
            f"the body was already taken by {self._reader}, so {reader} cannot have it; "
            "read it once with `await request.body()`, which keeps it"
        )

    async def _call_receive(self, timeout: float | None) -> Message:
        self._busy = True
        try:
            if timeout is None:
                message = await self._receive()
            else:
                message = await receive_within(self._receive, timeout)
        finally:
            self._busy = False
            if self._changed is not None:
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


async def receive_within(receive: Receive, seconds: float) -> Message:
    """``await receive()``, given up after ``seconds`` without an answer.

    Raises:
        RequestTimeout: no message came in time.
    """
    loop = _get_running_loop()
    if loop is not None:
        return await _step_within(receive, seconds, loop.call_later)
    from anyio import fail_after

    try:
        with fail_after(seconds):
            return await receive()
    except TimeoutError:
        raise _timed_out(seconds) from None


@coroutine
def _step_within(
    receive: Receive, seconds: float, call_later: Callable[..., Any]
) -> Generator[Any, Any, Message]:
    """``asyncio.timeout`` around ``receive()``, armed only if it has to wait.

    PERF(walk.json_echo): the body is nearly always there already; a timer for each request would cost
    more than reading it. So the first step is taken by hand and the timer is set only if it suspends.
    """
    step = receive().__await__()
    try:
        waiting_for = next(step)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # the value of a receive() is a message
    task = current_task()
    assert task is not None
    cancelling = task.cancelling()
    expired = False

    def expire() -> None:
        nonlocal expired
        expired = True
        task.cancel()

    timer = call_later(seconds, expire)
    try:
        while True:
            try:
                yield waiting_for
            except BaseException as error:
                waiting_for = step.throw(error)
            else:
                waiting_for = next(step)
    except StopIteration as stop:
        if expired:
            task.uncancel()
        return stop.value  # type: ignore[no-any-return]
    except CancelledError:
        if expired and task.uncancel() <= cancelling:
            raise _timed_out(seconds) from None
        raise
    finally:
        timer.cancel()


def _timed_out(seconds: float) -> RequestTimeout:
    return RequestTimeout(f"The body stood still for {seconds:g} seconds (BODY_TIMEOUT).")
