"""Channels through Redis: every process on the same Redis gets what any of them publishes.

One connection listens for the whole process and feeds the subscriptions of ``hub.py``; Redis keeps the history.
Needs redis-py (``pip install microweb-asgi[redis]``). That runs on asyncio alone: where the app runs on trio, all of
this is done a second time on an asyncio loop beside it, behind a ``Crossing``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from microweb import json
from microweb.channels.crossing import Crossing
from microweb.channels.hub import Channels, last
from microweb.channels.subscription import Subscription
from microweb.errors import BadRequest
from microweb.loops import in_trio

try:
    from redis import exceptions
    from redis.asyncio import Redis
    from redis.asyncio.client import PubSub
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "RedisChannels needs redis-py: install microweb-asgi with the extra [redis]", name="redis"
    ) from error

__all__ = ["RedisChannels"]

logger = logging.getLogger("microweb.channels")

PUBLISH = """
local number = redis.call('INCR', KEYS[2])
local numbered = number .. ':' .. ARGV[1]
redis.call('EXPIRE', KEYS[2], ARGV[3])
if tonumber(ARGV[2]) > 0 then
    redis.call('RPUSH', KEYS[3], numbered)
    redis.call('LTRIM', KEYS[3], -ARGV[2], -1)
    redis.call('EXPIRE', KEYS[3], ARGV[3])
end
redis.call('PUBLISH', KEYS[1], numbered)
"""
"""Number, keep and publish in one step, so that who joins meanwhile can tell which messages it has already."""

LOST = (exceptions.ConnectionError, exceptions.TimeoutError)
RETRY = 1.0
"""Seconds between attempts to reach a Redis that is gone."""


class RedisChannels(Channels):
    """Channels shared by all processes that use the same ``url`` and ``prefix``.

    The app opens them when it starts and closes them when it stops. ``lifetime`` is how many seconds the history of
    a silent channel is kept. While Redis is gone ``publish`` and ``subscribe`` raise redis-py's errors and
    subscribers wait; what others publish in that time is lost to them.

    >>> from microweb import App
    >>> app = App(__name__)
    >>> app.channels = RedisChannels("redis://localhost:6379/0")

    Raises:
        ValueError: ``history`` is negative.
    """

    def __init__(
        self,
        url: str = "redis://localhost:6379/0",
        *,
        prefix: str = "microweb:",
        history: int = 100,
        lifetime: int = 86_400,
    ) -> None:
        super().__init__(history=0)
        if history < 0:
            raise ValueError(f"RedisChannels keeps the last 0 or more messages of a channel, not {history!r}")
        self.url = url
        self.prefix = prefix
        self.kept = history
        self.lifetime = lifetime
        self._crossing: Crossing | None = None
        self._redis: Redis | None = None
        self._listener: PubSub | None = None
        self._reader: asyncio.Task[None] | None = None
        self._confirmed: dict[str, asyncio.Event] = {}
        self._joining: dict[Subscription, int | None] = {}
        """The subscriptions that wait for their history, with the number of the first message after it."""
        self._marks: dict[str, asyncio.Event] = {}
        """Set when the listener has read all that Redis had sent it before the mark was asked for."""

    async def __aenter__(self) -> Self:
        if in_trio():
            there = RedisChannels(self.url, prefix=self.prefix, history=self.kept, lifetime=self.lifetime)
            crossing = Crossing(there)
            await crossing.open()
            self._crossing = crossing
            return self
        self._redis = Redis.from_url(self.url)
        self._listener = self._redis.pubsub()
        # A channel of its own: a listener without any has no connection.
        await self._listener.subscribe(self.prefix)
        self._reader = asyncio.create_task(self._read(self._listener))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._crossing is not None:
            crossing, self._crossing = self._crossing, None
            await crossing.close()
            return
        redis, listener, reader = self._redis, self._listener, self._reader
        self._redis = self._listener = self._reader = None
        assert redis is not None
        assert listener is not None
        assert reader is not None
        reader.cancel()
        await asyncio.wait([reader])
        close: Callable[[], Awaitable[None]] = listener.aclose  # redis-py leaves it without types
        await close()
        await redis.aclose()

    async def publish(self, channel: str, message: Any) -> None:
        """Give ``message``, anything with a JSON form, to every subscriber in every process; waits for Redis alone.

        Raises:
            TypeError: the message has no JSON form.
            redis.exceptions.RedisError: Redis cannot be reached.
            RuntimeError: the app has not started.
        """
        if self._crossing is not None:
            await self._crossing.publish(channel, message)
            return
        keys = [self.prefix + channel, self._key("number", channel), self._key("history", channel)]
        arguments: list[Any] = [json.dumps(message), self.kept, self.lifetime]
        await self._open_redis().eval(PUBLISH, len(keys), *keys, *arguments)

    async def join(self, subscription: Subscription) -> list[Any]:
        """Begin to deliver to a subscription; gives the history that it asked for."""
        if self._crossing is not None:
            earlier = await self._crossing.join(subscription)
            await super().join(subscription)
            return earlier
        redis, listener, channel = self._open_redis(), self._listener, subscription.channel
        assert listener is not None
        await super().join(subscription)
        self._joining[subscription] = None
        confirmed = asking = None
        try:
            while confirmed is None or self._confirmed.get(channel) is not confirmed:
                confirmed = self._confirmed.get(channel)
                if confirmed is None:
                    confirmed = asking = self._confirmed[channel] = asyncio.Event()
                    await listener.subscribe(self.prefix + channel)
                    asking = None
                await confirmed.wait()
            if not subscription.history:
                return []
            lines = await redis.lrange(self._key("history", channel), -subscription.history, -1)
            await self._catch_up(listener)
            first = self._joining[subscription]
            numbered = [read_numbered(line) for line in lines]
            return last([message for number, message in numbered if first is None or number < first], subscription)
        except BaseException:
            await self.leave(subscription)
            if asking is not None and self._confirmed.get(channel) is asking:
                # Nobody knows whether it was asked for: one of the others who wait for it does so anew.
                del self._confirmed[channel]
                asking.set()
            raise
        finally:
            self._joining.pop(subscription, None)

    async def leave(self, subscription: Subscription) -> None:
        """Deliver no more to a subscription."""
        from anyio import CancelScope

        await super().leave(subscription)
        if self._crossing is not None:
            await self._crossing.leave(subscription)
            return
        channel = subscription.channel
        if self.count(channel) or self._confirmed.pop(channel, None) is None or self._listener is None:
            return
        with CancelScope(shield=True):
            try:
                await self._listener.unsubscribe(self.prefix + channel)
            except LOST:
                pass  # Redis has forgotten us with the connection.

    async def _catch_up(self, listener: PubSub) -> None:
        """Wait until what was published so far has been delivered here.

        The history comes on another connection and may hold what the listener has yet to read. Redis answers in
        order, so what comes after the answer to a ping is younger than both.
        """
        passed = asyncio.Event()
        mark = str(id(passed))
        self._marks[mark] = passed
        try:
            await listener.ping(mark)
            await passed.wait()
        finally:
            del self._marks[mark]

    def _open_redis(self) -> Redis:
        if self._redis is None:
            raise RuntimeError("RedisChannels are opened when the app starts: set `app.channels` before that")
        return self._redis

    def _key(self, kind: str, channel: str) -> str:
        return f"{self.prefix}{kind}:{channel}"

    async def _read(self, listener: PubSub) -> None:
        while True:
            try:
                async for message in listener.listen():
                    self._take(message)
            except LOST as error:
                logger.warning("the channels have lost Redis and try again in %g s: %s", RETRY, error)
                self._pass_marks()
                await asyncio.sleep(RETRY)

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "pong":
            passed = self._marks.get(message["data"].decode())
            if passed is not None:
                passed.set()
            return
        channel = message["channel"].decode().removeprefix(self.prefix)
        if message["type"] == "subscribe" and not channel:
            self._pass_marks()  # A connection has begun; no answer of an earlier one will come.
        elif message["type"] == "subscribe" and channel in self._confirmed:
            if not self._confirmed[channel].is_set():
                self._forget_before(channel)
            self._confirmed[channel].set()
        elif message["type"] == "message":
            try:
                number, value = read_numbered(message["data"])
            except (ValueError, BadRequest) as error:
                logger.warning("a message on %r is not ours: %s", channel, error)
                return
            for subscription, first in self._joining.items():
                if subscription.channel == channel and first is None:
                    self._joining[subscription] = number
            self.deliver(channel, value)

    def _pass_marks(self) -> None:
        for passed in self._marks.values():
            passed.set()

    def _forget_before(self, channel: str) -> None:
        """What came before Redis confirmed is left from an earlier subscription; after it there is a gap."""
        for subscription in self._joining:
            if subscription.channel == channel:
                self._joining[subscription] = None
                subscription.forget()


def read_numbered(line: bytes | str) -> tuple[int, Any]:
    """A message and its number, as ``PUBLISH`` writes them.

    Raises:
        ValueError, BadRequest: somebody else wrote it.
    """
    number, _, data = (line.encode() if isinstance(line, str) else line).partition(b":")
    return int(number), json.loads(data)
