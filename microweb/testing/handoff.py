"""A queue between two tasks in which the giver waits for the taker.

With room for nothing (the default) ``put`` returns after ``take`` got the item, so a streaming app is exactly
one chunk ahead of a test that reads it. With room for n items the giver runs ahead by n, as over a socket.
The taker always runs on before the giver: what follows a ``take`` is seen before what follows the ``put``.
Used for both directions of an exchange and of a websocket; knows nothing of ASGI.
"""

from collections import deque
from typing import Generic, TypeVar

import anyio
import anyio.lowlevel

__all__ = ["Handoff"]

Item = TypeVar("Item")


class Handoff(Generic[Item]):
    """Items from any number of givers to one taker, in order."""

    __slots__ = ("_arrived", "_closed", "_items", "_room")

    def __init__(self, room: int = 0) -> None:
        self._room = room
        self._items: deque[tuple[Item, anyio.Event]] = deque()
        self._arrived = anyio.Event()
        self._closed = False

    async def put(self, item: Item) -> None:
        """Give ``item`` and wait until it was taken, or fits into the room, or the handoff was closed."""
        accepted = self._append(item)
        if len(self._items) > self._room and not self._closed:
            await accepted.wait()
        else:
            # A giver without an end must let others run, or it can never be cancelled.
            await anyio.lowlevel.checkpoint()

    def put_nowait(self, item: Item) -> None:
        """Give ``item`` and do not wait for room."""
        self._append(item)

    def close(self) -> None:
        """Let every giver go; the taker still gets what was given, then the end."""
        self._closed = True
        self._arrived.set()
        for _, accepted in self._items:
            accepted.set()

    def clear(self) -> None:
        """Forget what was given and not taken."""
        for _, accepted in self._items:
            accepted.set()
        self._items.clear()

    async def take(self) -> Item | None:
        """The next item, or None after the end. Cancelling a wait loses nothing."""
        while not self._items:
            if self._closed:
                return None
            self._arrived = anyio.Event()
            await self._arrived.wait()
        item, accepted = self._items.popleft()
        accepted.set()
        if 0 < self._room <= len(self._items):
            self._items[self._room - 1][1].set()
        return item

    def _append(self, item: Item) -> anyio.Event:
        accepted = anyio.Event()
        if not self._closed:
            self._items.append((item, accepted))
            self._arrived.set()
        return accepted
