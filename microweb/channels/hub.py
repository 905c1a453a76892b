"""Channels within one process: a set of subscriptions and the last messages for each name.

Nothing here waits, so a publisher takes as long as handing the message to each queue. Everything happens on the
app's loop; a ``def`` view publishes through ``call_from_thread``. ``redis.py`` builds on it for many processes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Any, get_args

from microweb import json
from microweb.channels.subscription import OnFull, Subscription

__all__ = ["Channels"]


class Channels:
    """Named channels that live as long as the app.

    The last ``history`` messages of the ``history_channels`` last used channels are kept for those who come late.

    >>> import anyio
    >>> async def main(channels):
    ...     async with channels.subscribe("room:1") as messages:
    ...         await channels.publish("room:1", {"text": "hello"})
    ...         async for message in messages:
    ...             return message
    >>> anyio.run(main, Channels())
    {'text': 'hello'}

    Raises:
        ValueError: ``history`` or ``history_channels`` is negative.
    """

    def __init__(self, *, history: int = 100, history_channels: int = 1000) -> None:
        if history < 0 or history_channels < 0:
            raise ValueError(
                f"Channels keeps the last 0 or more messages of 0 or more channels, "
                f"not {history!r} of {history_channels!r}"
            )
        self.history = history
        self.history_channels = history_channels
        self.dropped = 0
        """The messages that subscribers were too slow for, all in all."""
        self._subscribers: dict[str, set[Subscription]] = {}
        self._histories: dict[str, deque[Any]] = {}

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
        self.deliver(channel, json.loads(json.dumps(message)))

    def count(self, channel: str) -> int:
        """The number of subscribers in this process."""
        return len(self._subscribers.get(channel, ()))

    def deliver(self, channel: str, message: Any) -> None:
        """Hand a message to the subscribers here, and keep it for those who come late."""
        if self.history:
            kept = self._histories.pop(channel, None)
            self._histories[channel] = kept = deque(maxlen=self.history) if kept is None else kept
            kept.append(message)
            if len(self._histories) > self.history_channels:
                del self._histories[next(iter(self._histories))]
        for subscription in self._subscribers.get(channel, ()):
            subscription.offer(message)

    async def join(self, subscription: Subscription) -> list[Any]:
        """Begin to deliver to a subscription; gives the history that it asked for."""
        self._subscribers.setdefault(subscription.channel, set()).add(subscription)
        return last(self._histories.get(subscription.channel, ()), subscription)

    async def leave(self, subscription: Subscription) -> None:
        """Deliver no more to a subscription."""
        subscribers = self._subscribers.get(subscription.channel, set())
        subscribers.discard(subscription)
        if not subscribers:
            self._subscribers.pop(subscription.channel, None)


def last(messages: Iterable[Any], subscription: Subscription) -> list[Any]:
    """As many of the latest messages as a subscription asked for, oldest first."""
    kept = list(messages)
    return list(islice(kept, max(0, len(kept) - min(subscription.history, subscription.size)), None))
