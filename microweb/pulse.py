"""What keeps an event stream alive while nothing happens, and ends it at the shutdown.

On asyncio that is a timer and a place among those who wait for the shutdown: a task lives for the moment of a ping
only. Elsewhere it is one task beside the request's own. Used by ``events.py``.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, Task, TimerHandle
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from microweb.asgi import Message, Send
from microweb.shutdownevent import ShutdownEvent
from microweb.watcher import Interruption, end_task, run_until

if TYPE_CHECKING:
    from anyio import Event

__all__ = ["Line", "Pulse", "run_beside_pings"]

PING = b": ping\n\n"
FAREWELL = 0.25
"""Seconds that an iterable has at the shutdown, for a last event, before it is cancelled."""


class Line:
    """The way to the client, used by one sender at a time: the stream itself, or its ping."""

    __slots__ = ("_busy", "_free", "_send", "has_ended", "has_failed", "last_used")

    def __init__(self, send: Send) -> None:
        self._send = send
        self._busy = False
        self._free: Event | None = None
        self.last_used = monotonic()
        self.has_ended = False
        self.has_failed = False
        """Whether the server has said that the client left."""

    async def send(self, message: Message) -> None:
        """Pass a message on, unless the end was sent."""
        while self._busy:
            await self._wait()
        if self.has_ended:
            return
        self._busy = True
        try:
            self.has_ended = not message.get("more_body", False)
            await self._send(message)
            self.last_used = monotonic()
        except OSError:
            self.has_failed = True
            raise
        finally:
            self._busy = False
            if self._free is not None:
                self._free.set()
                self._free = None

    async def ping(self) -> None:
        """Send a comment, which pages do not see."""
        try:
            await self.send({"type": "http.response.body", "body": PING, "more_body": True})
        except OSError:
            pass  # The client left; whoever sends next is told, too.

    async def _wait(self) -> None:
        if self._free is None:
            from anyio import Event

            self._free = Event()
        await self._free.wait()


class Pulse(Interruption):
    """The timer of one stream on asyncio, which runs in the task that makes it; ``stop`` it in any case."""

    __slots__ = ("_context", "_failure", "_line", "_loop", "_ping", "_seconds", "_shutting_down", "_timer")

    def __init__(self, loop: AbstractEventLoop, line: Line, seconds: float, shutting_down: ShutdownEvent) -> None:
        super().__init__(loop)
        self._loop = loop
        self._line = line
        self._seconds = seconds
        self._ping: Task[None] | None = None
        self._failure: BaseException | None = None
        self._shutting_down = shutting_down
        self._context = copy_context()
        # asyncio keeps a cancelled timer until its time has come, and its context: not that with the request.
        self._timer: TimerHandle | None = loop.call_later(seconds, self._beat, context=Context())
        shutting_down.add(self)

    def set(self) -> None:
        """The app shuts down."""
        if self._timer is None:
            return  # It was told while it stopped.
        self._timer.cancel()
        self._timer = self._loop.call_later(FAREWELL, self._end)

    def _end(self) -> None:
        # Behind all that is ready: on a busy machine the moment may be over before the iterable has had its turn, and
        # uvloop looks at its timers first.
        self._timer = self._loop.call_later(0, self.interrupt)

    def _beat(self) -> None:
        rest = self._line.last_used + self._seconds - monotonic()
        if rest <= 0:
            # A client that is too slow for the last ping gets no second one.
            if self._ping is None:
                self._ping = self._loop.create_task(self._line.ping(), context=self._context)
                self._ping.add_done_callback(self._pinged)
            rest = self._seconds
        self._timer = self._loop.call_later(rest, self._beat)

    def _pinged(self, task: Task[None]) -> None:
        self._ping = None
        if self._timer is not None and not task.cancelled() and (failure := task.exception()) is not None:
            self._failure = failure
            self.interrupt()

    async def has_ended(self) -> bool:
        """Whether the cancellation that has just come is the end at the shutdown.

        Raises: what went wrong with a ping.
        """
        if not await self.claim():
            return False
        if self._failure is not None:
            raise self._failure
        return True

    async def stop(self) -> None:
        """Neither ping nor interrupt any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._shutting_down.discard(self)
        if self._ping is not None:
            await end_task(self._ping)
        self.release()


async def run_beside_pings(
    work: Callable[[], Awaitable[None]], line: Line, seconds: float, shutting_down: ShutdownEvent
) -> bool:
    """Await ``work()`` and ping beside it, with anyio alone; whether it was cancelled at the shutdown."""
    # Only the work ends at the shutdown: the end of the answer is still sent.
    return not await run_until(partial(keep_alive, line, seconds, shutting_down), work)


async def keep_alive(line: Line, seconds: float, shutting_down: ShutdownEvent) -> None:
    """Send a ping whenever nothing was sent for a while, until a moment after the app begins to shut down."""
    # Beside each other: a client that takes no ping keeps no stream from its end.
    await run_until(partial(wait_farewell, shutting_down), partial(ping_on, line, seconds))


async def wait_farewell(shutting_down: ShutdownEvent) -> None:
    """Wait until a moment after the app begins to shut down."""
    from anyio import sleep

    await shutting_down.wait()
    await sleep(FAREWELL)


async def ping_on(line: Line, seconds: float) -> None:
    """Send a ping whenever nothing was sent for a while, for ever."""
    from anyio import sleep

    rest = seconds
    while True:
        await sleep(rest)
        rest = line.last_used + seconds - monotonic()
        if rest <= 0:
            await line.ping()
            rest = seconds
