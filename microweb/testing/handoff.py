"""A queue between two tasks in which the giver waits for the taker.

With room for nothing (the default) ``put`` returns after ``take`` got the item, so a streaming app is exactly
one chunk ahead of a test that reads it. With room for n items the giver runs ahead by n, as over a socket.
The taker always runs on before the giver: what follows a ``take`` is seen before what follows the ``put``.
Used for both directions of an exchange and of a websocket; knows nothing of ASGI.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

import anyio
import anyio.lowlevel

__all__ = ["Handoff"]

Item = TypeVar("Item")


class Handoff(Generic[Item]):
    """Items from any number of givers to one taker, in order."""

    __slots__ = ("_arrived", "_closed", "_queue", "_room")

    def __init__(self, room: int = 0) -> None:
        self._room = room
        self._queue: deque[_Given[Item]] = deque()
        self._arrived = anyio.Event()
        self._closed = False

    async def put(self, item: Item) -> bool:
        """Give ``item``, wait until it was taken or fits into the room; False if the end came before."""
        given = self._append(item)
        if given.accepted or self._closed:
            # A giver without an end must let others run, or it can never be cancelled.
            await anyio.lowlevel.checkpoint()
        else:
            await given.settled.wait()
        return given.accepted

    def put_nowait(self, item: Item) -> None:
        """Give ``item`` and do not wait for room."""
        self._append(item)

    def close(self) -> None:
        """Let every giver go; the taker still gets what was given, then the end."""
        self._closed = True
        self._arrived.set()
        for given in self._queue:
            given.settled.set()

    async def take(self) -> Item | None:
        """The next item, or None after the end. Cancelling a wait loses nothing."""
        while not self._queue:
            if self._closed:
                return None
            self._arrived = anyio.Event()
            await self._arrived.wait()
        given = self._queue.popleft()
        given.accept()
        if 0 < self._room <= len(self._queue):
            self._queue[self._room - 1].accept()
        return given.item

    def _append(self, item: Item) -> _Given[Item]:
        given = _Given(item)
        if not self._closed:
            self._queue.append(given)
            self._arrived.set()
            if len(self._queue) <= self._room:
                given.accept()
        return given


class _Given(Generic[Item]):
    __slots__ = ("accepted", "item", "settled")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.accepted = False
        self.settled = anyio.Event()

    def accept(self) -> None:
        self.accepted = True
        self.settled.set()
