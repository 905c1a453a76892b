"""A room for the frameworks that have no channels: a queue for each subscriber, as their documentation has it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Room:
    """Gives what is published to everybody who is in it."""

    def __init__(self) -> None:
        self.queues: set[asyncio.Queue[str]] = set()

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[asyncio.Queue[str]]:
        queue: asyncio.Queue[str] = asyncio.Queue()
        self.queues.add(queue)
        try:
            yield queue
        finally:
            self.queues.discard(queue)

    def publish(self, text: str) -> None:
        for queue in self.queues:
            queue.put_nowait(text)
