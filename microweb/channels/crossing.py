"""The way from an app on trio to channels that run on asyncio alone, on a loop in a thread beside it.

Used by ``redis.py``: redis-py knows no trio. What comes is posted to the app's loop in the order in which it came.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, TypeVarTuple

from anyio import CancelScope, Event, to_thread
from anyio.from_thread import BlockingPortal, start_blocking_portal

from microweb.channels.subscription import Hub, Subscription
from microweb.loops import get_current_loop, post

if TYPE_CHECKING:
    from microweb.loops import Loop

__all__ = ["Crossing"]

Value = TypeVar("Value")
Arguments = TypeVarTuple("Arguments")


class OpenedHub(Hub, Protocol):
    """What is on the other side."""

    async def __aenter__(self) -> object: ...
    async def __aexit__(self, kind: None, error: None, traceback: None, /) -> object: ...
    async def publish(self, channel: str, message: Any) -> None:
        """Give a message to everybody."""
        ...


class Passage(Subscription):
    """A subscription on the other side, that hands everything to one of this side."""

    __slots__ = ("_loop", "_target")

    def __init__(self, hub: Hub, target: Subscription, loop: Loop) -> None:
        super().__init__(hub, target.channel, target.size, target.on_full, target.history)
        self._target = target
        self._loop = loop

    def offer(self, message: Any) -> None:
        """Called on the other side."""
        post(self._loop, partial(self._target.offer, message))

    def forget(self) -> None:
        """Called on the other side."""
        post(self._loop, self._target.forget)


class Crossing:
    """A hub in a thread of its own, entered and left from here."""

    def __init__(self, hub: OpenedHub) -> None:
        self._hub = hub
        self._passages: dict[Subscription, Passage] = {}
        self._thread: AbstractContextManager[BlockingPortal] = start_blocking_portal("asyncio")
        self._portal: BlockingPortal | None = None
        self._there: Loop | None = None

    async def open(self) -> None:
        """Start the thread, and the hub in it."""
        self._portal = await to_thread.run_sync(self._thread.__enter__)
        try:
            self._there = await to_thread.run_sync(self._portal.call, get_current_loop)
            await self._run(self._hub.__aenter__)
        except BaseException:
            await self._end()
            raise

    async def close(self) -> None:
        """End both."""
        try:
            await self._run(self._hub.__aexit__, None, None, None)
        finally:
            await self._end()

    async def publish(self, channel: str, message: Any) -> None:
        """As ``Channels.publish``."""
        await self._run(self._hub.publish, channel, message)

    async def join(self, subscription: Subscription) -> list[Any]:
        """As ``Channels.join``."""
        passage = self._passages[subscription] = Passage(self._hub, subscription, get_current_loop())
        try:
            return await self._run(self._hub.join, passage)
        except BaseException:
            await self.leave(subscription)
            raise

    async def leave(self, subscription: Subscription) -> None:
        """As ``Channels.leave``."""
        passage = self._passages.pop(subscription, None)
        if passage is not None and self._portal is not None:  # The channels may have been closed meanwhile.
            with CancelScope(shield=True):
                await self._run(self._hub.leave, passage)

    async def _run(self, function: Callable[[*Arguments], Awaitable[Value]], *arguments: *Arguments) -> Value:
        """Await it there. Cancelled here, it is cancelled there."""
        assert self._portal is not None
        assert self._there is not None
        here, ended = get_current_loop(), Event()
        future = self._portal.start_task_soon(function, *arguments)
        future.add_done_callback(lambda _: post(here, ended.set))
        try:
            await ended.wait()
        except BaseException:
            # Not from here: anyio's future may be cancelled by its own thread alone, as the task may be ending there.
            with suppress(RuntimeError):  # That loop has ended, and the task with it.
                post(self._there, future.cancel)
            raise
        return future.result()

    async def _end(self) -> None:
        self._portal = None
        with CancelScope(shield=True):
            await to_thread.run_sync(self._thread.__exit__, None, None, None)
