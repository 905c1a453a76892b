"""One publish to many tasks of one process: the channels, and a set of plain queues. `websockets.py` runs it.

    python -m benchmarks.fanout COUNT

Prints a line for each: its name, then milliseconds of processor time until every task has the message, one figure
a round.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Callable
from time import process_time
from typing import Any

import uvloop

from benchmarks.apps.sockets.room import Room
from microweb.channels import Channels

ROUNDS = 12
MESSAGE = "message"


class Audience:
    """Tasks that wait for messages and count them."""

    def __init__(self) -> None:
        self.ready = 0
        self.received = 0
        self.channels = Channels()
        self.room = Room()

    async def listen_to_channel(self) -> None:
        async with self.channels.subscribe("room") as messages:
            self.ready += 1
            async for message in messages:
                assert message == MESSAGE
                self.received += 1

    async def listen_to_queue(self) -> None:
        async with self.room.subscribe() as queue:
            self.ready += 1
            while True:
                assert await queue.get() == MESSAGE
                self.received += 1

    async def publish_to_channel(self) -> None:
        await self.channels.publish("room", MESSAGE)

    async def publish_to_queues(self) -> None:
        self.room.publish(MESSAGE)


async def measure(count: int) -> dict[str, list[float]]:
    kinds: dict[str, tuple[Callable[[Audience], Any], Callable[[Audience], Any]]] = {
        "microweb": (Audience.listen_to_channel, Audience.publish_to_channel),
        "queues": (Audience.listen_to_queue, Audience.publish_to_queues),
    }
    audiences = {name: Audience() for name in kinds}
    tasks = [asyncio.ensure_future(kinds[name][0](audiences[name])) for name in kinds for _ in range(count)]
    while any(audience.ready < count for audience in audiences.values()):
        await asyncio.sleep(0)
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for number in range(ROUNDS + 1):
        for name in random.sample(list(kinds), len(kinds)):
            audience = audiences[name]
            before, audience.received = process_time(), 0
            await kinds[name][1](audience)
            while audience.received < count:
                await asyncio.sleep(0)
            if number:
                times[name].append((process_time() - before) * 1e3)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return times


if __name__ == "__main__":
    for kind, figures in uvloop.run(measure(int(sys.argv[1]))).items():
        print(kind, *figures)
