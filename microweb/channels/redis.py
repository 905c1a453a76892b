"""Channels through Redis: every process on the same Redis gets what any of them publishes.

One connection listens for the whole process and feeds the subscriptions of ``hub.py``; Redis keeps the history. Only
one task makes that connection, and another writes on it what the rest asks for: redis-py cannot be cancelled halfway,
and two that make the same connection at once read each other's answers.

Needs redis-py (the extra ``redis``). That runs on asyncio alone: where the app runs on trio, all of
this is done a second time on an asyncio loop beside it, behind a ``Crossing``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from copy import copy
from functools import partial
from itertools import count
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from anyio import CancelScope

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
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "RedisChannels needs redis-py: install microweb-asgi with the extra [redis]", name="redis"
    ) from error

__all__ = ["RedisChannels"]

logger = logging.getLogger("microweb.channels")

Value = TypeVar("Value")

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

CONNECTIONS = 50
"""How many connections ask and publish at once; who comes when all are busy waits for its turn. As many as redis-py's
own pool that waits has. Its other one refuses what is over its limit, or opens as many as are asked for."""

SILENCE = 4
"""How many times ``timeout`` pass between two questions whether the listening connection is still there: firewalls
forget one that is idle, and a machine that is gone says nothing. With the default that is every 20 seconds, as servers
ask their websockets."""

RETRY = 1.0
"""Seconds between attempts to reach a Redis that is gone; who joins does not wait for the next."""


class RedisChannels(Channels):
    """Channels shared by all processes that use the same ``url`` and ``prefix``.

    The app opens them when it starts and closes them when it stops. ``lifetime`` is how many seconds the history of
    a silent channel is kept. While Redis is gone ``publish`` and ``subscribe`` raise redis-py's errors and
    subscribers wait; what others publish in that time is lost to them. It counts as gone too when it has not answered
    for ``timeout`` seconds; a subscription for which nothing comes waits as long as it takes, while Redis is asked now
    and then whether it is still there. Only the ``prefix`` keeps two programs apart on one Redis: messages reach all
    its databases.

    >>> from microweb import App
    >>> app = App(__name__)
    >>> app.channels = RedisChannels("redis://localhost:6379/0")

    Raises:
        ValueError: ``history`` is negative, or ``timeout`` not more than 0.
    """

    def __init__(
        self,
        url: str = "redis://localhost:6379/0",
        *,
        prefix: str = "microweb:",
        history: int = 100,
        lifetime: int = 86_400,
        timeout: float = 5.0,
    ) -> None:
        super().__init__(history=0)
        if history < 0:
            raise ValueError(f"RedisChannels keeps the last 0 or more messages of a channel, not {history!r}")
        if timeout.__class__ not in (int, float) or not 0 < timeout < float("inf"):
            raise ValueError(f"RedisChannels waits a number of seconds, more than 0, for an answer, not {timeout!r}")
        self.url = url
        self.prefix = prefix
        self.kept = history
        self.lifetime = lifetime
        self.timeout = timeout
        self._crossing: Crossing | None = None
        self._redis: Redis | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._listens = False
        self._is_silent = False
        """Whether the log has been told so."""
        self._turns = asyncio.Semaphore(CONNECTIONS)
        self._answered_at = 0.0
        """When anybody got an answer, by the loop's clock."""
        self._hung: asyncio.Future[None] | None = None
        """Fails when the listening connection has not answered in time."""
        self._commands: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        """What the listening connection is to send."""
        self._joining: dict[Subscription, int | None] = {}
        """The subscriptions that wait for their history, with the number of the first message after it."""
        self._marks: dict[str, asyncio.Future[None]] = {}
        """Done when all that Redis had sent before it got the mark has been delivered."""
        self._numbers = count()

    async def __aenter__(self) -> Self:
        if in_trio():
            there = RedisChannels(
                self.url, prefix=self.prefix, history=self.kept, lifetime=self.lifetime, timeout=self.timeout
            )
            crossing = Crossing(there)
            await crossing.open()
            self._crossing = crossing
            return self
        # Nothing is done twice: a second publish would be a second message, and a connection that redis-py makes again
        # by itself would look like the one before.
        # Every wait for an answer is bounded here. redis-py's own limit before its version 8 would end the listening of
        # a subscription for which nothing comes.
        # With protocol 3, redis-py from 8 on no longer looks whether an idle connection was closed (by a restart, or a
        # proxy on the way) before it writes on it: it counts on trying twice.
        self._redis = Redis.from_url(
            self.url,
            retry=Retry(NoBackoff(), 0, ()),
            socket_timeout=None,
            socket_connect_timeout=self.timeout,
            protocol=2,
        )
        # What comes is bytes here, whatever a URL says that the program has for other clients too.
        pool = self._redis.connection_pool
        pool.connection_kwargs["decode_responses"] = False
        self._answered_at = 0.0
        # One of those that a URL allows is the one that listens.
        self._turns = asyncio.Semaphore(max(1, min(CONNECTIONS, pool.max_connections - 1)))
        self._keeper = asyncio.create_task(self._keep_listening(self._redis))
        try:
            await self._catch_up()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._crossing is not None:
            crossing, self._crossing = self._crossing, None
            await crossing.close()
            return
        redis, keeper = self._redis, self._keeper
        self._redis = self._keeper = None
        assert redis is not None
        assert keeper is not None
        with CancelScope(shield=True):
            await end(keeper)
            # The sockets are closed already when the time is over; only their last bytes are not out.
            with suppress(exceptions.TimeoutError):
                await self._in_time(redis.aclose())

    async def publish(self, channel: str, message: Any) -> None:
        """Give ``message``, anything with a JSON form, to every subscriber in every process; waits for Redis alone.

        Raises:
            TypeError: the message has no JSON form.
            redis.exceptions.RedisError: Redis cannot be reached.
            redis.exceptions.TimeoutError: it has not answered in time; nobody knows whether it has the message.
            RuntimeError: the app has not started.
        """
        if self._crossing is not None:
            await self._crossing.publish(channel, message)
            return
        keys = [self.prefix + channel, self._key("number", channel), self._key("history", channel)]
        arguments: list[Any] = [json.dumps(message), self.kept, self.lifetime]
        publish = partial(self._open_redis().eval, PUBLISH, len(keys), *keys, *arguments)
        await self._in_turn(publish)
        self._is_silent = False

    async def join(self, subscription: Subscription) -> list[Any]:
        """Begin to deliver to a subscription; gives the history that it asked for."""
        if self._crossing is not None:
            earlier = await self._crossing.join(subscription)
            await super().join(subscription)
            return earlier
        redis, channel = self._open_redis(), subscription.channel
        await super().join(subscription)
        try:
            if self.count(channel) == 1:
                self._ask("SUBSCRIBE", self.prefix + channel)
            await self._catch_up()
            subscription.forget()  # It is left from an earlier subscription; after it there is a gap.
            if not subscription.history:
                return []
            self._joining[subscription] = None
            read = partial(redis.lrange, self._key("history", channel), -subscription.history, -1)
            lines = await self._in_turn(read)
            await self._catch_up()  # The history came on another connection: the listener may have yet to read its end.
            first = self._joining[subscription]
            numbered = [read_numbered(line) for line in lines]
            return last([message for number, message in numbered if first is None or number < first], subscription)
        except BaseException:
            await self.leave(subscription)
            raise
        finally:
            self._joining.pop(subscription, None)

    async def leave(self, subscription: Subscription) -> None:
        """Deliver no more to a subscription, which may have left already."""
        before = self.count(subscription.channel)
        await super().leave(subscription)
        if self._crossing is not None:
            await self._crossing.leave(subscription)
        elif before and not self.count(subscription.channel):
            self._ask("UNSUBSCRIBE", self.prefix + subscription.channel)

    def _ask(self, command: str, argument: str) -> None:
        self._commands.put_nowait((command, argument))

    async def _catch_up(self) -> None:
        """Wait until what was asked for is so, and what was published so far has been delivered here.

        Redis answers in order, so all that comes before the answer to a ping is older than the ping.

        Raises:
            redis.exceptions.RedisError: Redis cannot be reached, refuses a subscription, or has not answered in time.
            RuntimeError: the channels were closed.
        """
        self._open_redis()
        mark = str(next(self._numbers))
        passed = self._marks[mark] = asyncio.get_running_loop().create_future()
        self._ask("PING", mark)
        hung = self._hung
        try:
            await self._in_time(passed)
        except exceptions.TimeoutError as error:
            if hung is not None and not hung.done():
                hung.set_exception(copy(error))  # What does not answer one will not answer others: it is made again.
            raise
        finally:
            del self._marks[mark]

    async def _in_turn(self, ask: Callable[[], Awaitable[Value]]) -> Value:
        """Ask when a connection is free for it: of thousands who come at once none is refused, while Redis answers.

        Raises:
            redis.exceptions.TimeoutError: it has not answered, or nobody for so long.
        """
        now = asyncio.get_running_loop().time
        turns, came_at = self._turns, now()
        while True:
            try:
                async with asyncio.timeout(self.timeout):
                    await turns.acquire()
                break
            except TimeoutError:
                if now() - max(came_at, self._answered_at) >= self.timeout:
                    raise self._tell_silence() from None
        try:
            answer = await self._in_time(ask())
            self._answered_at = now()
            return answer
        finally:
            turns.release()

    async def _in_time(self, answer: Awaitable[Value]) -> Value:
        """Wait for Redis, but not longer than ``timeout``.

        Raises:
            redis.exceptions.TimeoutError: it has not answered.
        """
        try:
            async with asyncio.timeout(self.timeout):
                return await answer
        except (TimeoutError, exceptions.TimeoutError):
            raise self._tell_silence() from None

    def _tell_silence(self) -> exceptions.TimeoutError:
        """The error of one who got no answer; the log is told of the first."""
        there = urlsplit(self.url)  # Its password is nobody's business.
        address = f"{there.hostname}:{there.port or 6379}" if there.hostname else there.path
        text = (
            f"Redis at {address} was expected to answer within {self.timeout:g} s and has not; see whether it "
            "hangs, or give RedisChannels a longer timeout="
        )
        if not self._is_silent:
            self._is_silent = True
            logger.warning("%s", text)
        return exceptions.TimeoutError(text)

    def _open_redis(self) -> Redis:
        if self._redis is None:
            raise RuntimeError("RedisChannels are opened when the app starts: set `app.channels` before that")
        return self._redis

    def _key(self, kind: str, channel: str) -> str:
        return f"{self.prefix}{kind}:{channel}"

    async def _keep_listening(self, redis: Redis) -> None:
        """Listen until the channels are closed; a connection that is lost is made again."""
        now = asyncio.get_running_loop().time
        try:
            while True:
                earliest = now() + RETRY
                asked = [*self._marks.values()]
                try:
                    await self._listen(redis.pubsub())
                except exceptions.RedisError as error:
                    if self._listens:
                        logger.warning("the channels have lost Redis and try again every %g s: %s", RETRY, error)
                        self._listens = False
                    else:
                        fail(asked, error)
                self._commands = asyncio.Queue()
                if any(not passed.done() for passed in self._marks.values()):
                    continue  # Somebody joined since: Redis may be back.
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._commands.get(), earliest - now())
        finally:
            self._listens = False
            fail(self._marks.values(), RuntimeError("the channels were closed"))

    async def _listen(self, listener: PubSub) -> None:
        """Serve one connection as long as it holds."""
        commands = self._commands = asyncio.Queue()
        for mark in self._marks:
            self._ask("PING", mark)
        hung = self._hung = asyncio.get_running_loop().create_future()
        tasks: list[asyncio.Task[None]] = []
        try:
            # A channel of its own: redis-py does not listen without any.
            await self._in_time(
                listener.subscribe(self.prefix, *(self.prefix + channel for channel in self._subscribers))
            )
            tasks = [
                asyncio.create_task(self._read(listener)),
                asyncio.create_task(self._write(listener, commands)),
                asyncio.create_task(self._ask_for_life()),
            ]
            await asyncio.gather(*tasks, hung)
        finally:
            self._hung = None
            if not hung.cancel() and not hung.cancelled():
                hung.exception()  # Seen, if nobody waited for it yet.
            for task in tasks:
                await end(task)
            close: Callable[[], Awaitable[None]] = listener.aclose  # redis-py leaves it without types
            await self._in_time(close())

    async def _read(self, listener: PubSub) -> None:
        async for message in listener.listen():
            self._take(message)

    async def _write(self, listener: PubSub, commands: asyncio.Queue[tuple[str, str]]) -> None:
        while True:
            await listener.execute_command(*await commands.get())

    async def _ask_for_life(self) -> None:
        while True:
            await asyncio.sleep(SILENCE * self.timeout)
            await self._catch_up()

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "subscribe":
            self._listens = True
            self._is_silent = False
        elif message["type"] == "pong":
            passed = self._marks.get(message["data"].decode())
            if passed is not None and not passed.done():
                passed.set_result(None)
        elif message["type"] == "message":
            channel = message["channel"].decode().removeprefix(self.prefix)
            try:
                number, value = read_numbered(message["data"])
            except (ValueError, BadRequest) as error:
                logger.warning("a message on %r is not ours: %s", channel, error)
                return
            for subscription, first in self._joining.items():
                if subscription.channel == channel and first is None:
                    self._joining[subscription] = number
            self.deliver(channel, value)


def fail(marks: Iterable[asyncio.Future[None]], error: Exception) -> None:
    """Tell those who wait for an answer of Redis that none will come.

    Each has an error of its own: the traceback of one that they shared would lead into each other's requests.
    """
    for passed in marks:
        if not passed.done():
            passed.set_exception(copy(error))


async def end(task: asyncio.Task[None]) -> None:
    """Cancel a task of ours, and wait for its end.

    Python 3.11's ``wait_for``, with which redis-py sends, may take a cancellation for itself: so it is told again.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.05)


def read_numbered(line: bytes | str) -> tuple[int, Any]:
    """A message and its number, as ``PUBLISH`` writes them.

    Raises:
        ValueError, BadRequest: somebody else wrote it.
    """
    number, _, data = (line.encode() if isinstance(line, str) else line).partition(b":")
    return int(number), json.loads(data)
