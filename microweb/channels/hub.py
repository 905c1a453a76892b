"""Channels within one process: a set of subscriptions and the last messages for each name.

The history is kept as JSON text: it takes a third of the memory, and its size is known.

Nothing here waits, so a publisher takes as long as handing the message to each queue. Everything happens on the
app's loop; a ``def`` view publishes through ``call_from_thread``. ``redis.py`` builds on it for many processes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Any, TypeVar, get_args

from microweb import json
from microweb.channels.subscription import OnFull, Subscription

__all__ = ["Channels"]

Value = TypeVar("Value")

MOST_HISTORY = 64 * 1024 * 1024
"""Bytes of JSON that all histories of one process may take: four messages as large as a body may be."""
MESSAGE_COST = 64
"""Bytes that each message is counted for beside its JSON."""


class Channels:
    """Named channels that live as long as the app.

    The last ``history`` messages of the ``history_channels`` last used channels are kept for those who come late, and
    ``history_bytes`` of JSON at most: beyond that the oldest messages of the channel go that was silent longest.

    >>> import anyio
    >>> async def main(channels):
    ...     async with channels.subscribe("room:1") as messages:
    ...         await channels.publish("room:1", {"text": "hello"})
    ...         async for message in messages:
    ...             return message
    >>> anyio.run(main, Channels())
    {'text': 'hello'}

    Raises:
        ValueError: ``history``, ``history_channels`` or ``history_bytes`` is negative.
    """

    def __init__(self, *, history: int = 100, history_channels: int = 1000, history_bytes: int = MOST_HISTORY) -> None:
        if history < 0 or history_channels < 0 or history_bytes < 0:
            raise ValueError(
                f"Channels keeps the last 0 or more messages of 0 or more channels in 0 or more bytes, "
                f"not {history!r} of {history_channels!r} in {history_bytes!r}"
            )
        self.history = history
        self.history_channels = history_channels
        self.history_bytes = history_bytes
        self.dropped = 0
        """The messages that subscribers were too slow for, all in all."""
        self._subscribers: dict[str, set[Subscription]] = {}
        self._histories: dict[str, deque[bytes]] = {}
        """The JSON of the last messages, by channel; the channel that was used last stands last."""
        self._kept_bytes = 0
        """What the histories count for together."""

    def subscribe(
        self, channel: str, *, size: int = 100, on_full: OnFull = "drop_oldest", history: int = 0
    ) -> Subscription:
        """The messages of ``channel`` from now on: ``async with ... as messages: async for message in messages``.

        ``history`` asks for up to that many messages from before. At most ``size`` wait for a slow subscriber: then
        the oldest is dropped, or with ``on_full="disconnect"`` the iteration raises ``TooSlow``.

        Raises:
            ValueError: ``size`` is less than 1, ``history`` less than 0, or ``on_full`` neither of the two.
        """
        if size < 1 or on_full not in get_args(OnFull):
            raise ValueError(
                f'subscribe() takes a size of at least 1 and on_full="drop_oldest" or "disconnect", '
                f"not {size!r} and {on_full!r}"
            )
        if history < 0:
            raise ValueError(f"subscribe() takes a history of 0 messages or more, not {history!r}")
        return Subscription(self, channel, size, on_full, history)

    async def publish(self, channel: str, message: Any) -> None:
        """Give ``message``, anything with a JSON form, to every subscriber; waits for none of them.

        They get what the JSON says, one value for all: it is not theirs to change.

        Raises:
            TypeError: the message has no JSON form.
        """
        data = json.dumps(message)
        self.deliver(channel, json.loads(data), data)

    def count(self, channel: str) -> int:
        """The number of subscribers in this process."""
        return len(self._subscribers.get(channel, ()))

    def deliver(self, channel: str, message: Any, data: bytes | None = None) -> None:
        """Hand a message to the subscribers here, and keep it for those who come late; ``data`` is its JSON."""
        if self.history:
            self._keep(channel, json.dumps(message) if data is None else data)
        for subscription in self._subscribers.get(channel, ()):
            subscription.offer(message)

    async def join(self, subscription: Subscription) -> list[Any]:
        """Begin to deliver to a subscription; gives the history that it asked for."""
        self._subscribers.setdefault(subscription.channel, set()).add(subscription)
        return [json.loads(data) for data in last(self._histories.get(subscription.channel, ()), subscription)]

    async def leave(self, subscription: Subscription) -> None:
        """Deliver no more to a subscription."""
        subscribers = self._subscribers.get(subscription.channel, set())
        subscribers.discard(subscription)
        if not subscribers:
            self._subscribers.pop(subscription.channel, None)

    def _keep(self, channel: str, data: bytes) -> None:
        """Keep a message for those who come late, as long as there is room for it."""
        histories = self._histories
        kept = histories.pop(channel, None)
        histories[channel] = kept = deque() if kept is None else kept
        kept.append(data)
        self._kept_bytes += cost_of(data)
        if len(kept) > self.history:
            self._kept_bytes -= cost_of(kept.popleft())
        if len(histories) > self.history_channels:
            self._kept_bytes -= sum(map(cost_of, histories.pop(next(iter(histories)))))
        # SECURITY: test_the_size_of_all_histories_together_is_bounded: clients choose how long their messages are.
        while self._kept_bytes > self.history_bytes:
            silent = next(iter(histories))
            self._kept_bytes -= cost_of(histories[silent].popleft())
            if not histories[silent]:
                del histories[silent]


def cost_of(data: bytes) -> int:
    """What a message counts for while it is kept."""
    return len(data) + MESSAGE_COST


def last(messages: Iterable[Value], subscription: Subscription) -> list[Value]:
    """As many of the latest messages as a subscription asked for, oldest first."""
    kept = list(messages)
    return list(islice(kept, max(0, len(kept) - min(subscription.history, subscription.size)), None))
