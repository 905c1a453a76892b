"""One subscriber of one channel: a bounded queue between a publisher that never waits and a loop that does.

Made by ``Channels.subscribe``.
"""

from __future__ import annotations

from asyncio import Future, _get_running_loop
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from microweb.errors import ClientDisconnect
from microweb.loops import in_trio

if TYPE_CHECKING:
    from anyio import Event

__all__ = ["OnFull", "Subscription", "TooSlow"]

OnFull = Literal["drop_oldest", "disconnect"]


class TooSlow(ClientDisconnect):
    """A subscriber with ``on_full="disconnect"`` was ``size`` messages behind. Not logged: it is the client's pace."""


class Hub(Protocol):
    """Where a subscription enters and leaves."""

    dropped: int

    async def join(self, subscription: Subscription) -> list[Any]:
        """Begin to deliver; the messages before that the subscription asked for."""
        ...

    async def leave(self, subscription: Subscription) -> None:
        """Deliver no more."""
        ...


class Subscription:
    """The messages of one channel, as an async iterator inside of ``async with``, for one task.

    ``dropped`` counts those that it was too slow for.
    """

    __slots__ = (
        "_hub",
        "_is_joined",
        "_overrun",
        "_queue",
        "_waiting",
        "channel",
        "dropped",
        "history",
        "on_full",
        "size",
    )

    def __init__(self, hub: Hub, channel: str, size: int, on_full: OnFull, history: int) -> None:
        self.channel = channel
        self.size = size
        self.on_full: OnFull = on_full
        self.history = history
        self.dropped = 0
        self._hub = hub
        self._queue: deque[Any] = deque()
        self._overrun = False
        self._is_joined = False
        self._waiting: Future[None] | Event | None = None

    async def __aenter__(self) -> Self:
        earlier = await self._hub.join(self)
        self._is_joined = True
        self._queue.extendleft(reversed(earlier))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_joined = False
        await self._hub.leave(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        while not self._queue:
            self._check_alone()
            loop = None if in_trio() else _get_running_loop()
            if loop is None:
                from anyio import Event

                event = self._waiting = Event()
                try:
                    await event.wait()
                finally:
                    if self._waiting is event:
                        self._waiting = None
            else:
                # PERF(websockets.fan-out): anyio's event would be three objects and two coroutines around this one.
                future = self._waiting = loop.create_future()
                await future
        if self._overrun:
            raise TooSlow(f"a subscriber of {self.channel!r} was more than {self.size} messages behind")
        return self._queue.popleft()

    def offer(self, message: Any) -> None:
        """Take a message without waiting; called by the hub, on the loop."""
        if len(self._queue) >= self.size:
            self.dropped += 1
            self._hub.dropped += 1
            if self.on_full == "disconnect":
                self._overrun = True
            else:
                self._queue.popleft()
        if not self._overrun:
            self._queue.append(message)
        waiting = self._waiting
        if waiting is None:
            return
        if not isinstance(waiting, Future):
            waiting.set()
        elif not waiting.done():  # Whoever waited may have been told, or cancelled.
            waiting.set_result(None)

    def _check_alone(self) -> None:
        """Refuse to wait for what would never come.

        Raises:
            RuntimeError: nothing is delivered here, or another task waits already.
        """
        if not self._is_joined:
            raise RuntimeError(
                f"nothing comes from {self.channel!r} outside of `async with channels.subscribe(...) as messages`"
            )
        waiting = self._waiting
        if waiting is not None and not (isinstance(waiting, Future) and waiting.done()):
            raise RuntimeError(f"two tasks wait for one subscription of {self.channel!r}: each needs its own")

    def forget(self) -> None:
        """Begin anew, without what has come so far."""
        self._queue.clear()
        self._overrun = False
