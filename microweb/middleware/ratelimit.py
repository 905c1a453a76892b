"""A limit on how often one client may ask.

Requests are counted in fixed windows: a client's first request opens one, and when it is over the count begins anew.
Counts are kept in this process unless another ``RateLimitStorage`` is given; several workers then count together.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from inspect import isawaitable
from ipaddress import IPv6Address, ip_address
from math import ceil
from time import monotonic
from typing import Protocol

from microweb import Request, Response, SetupError
from microweb.errors import TooManyRequests

__all__ = ["MemoryRateLimitStorage", "RateLimit", "RateLimitStorage"]

SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
LIMIT = re.compile(rf"([0-9]{{1,9}}) *(?:/|per) *(?:([0-9]{{1,6}}) *)?({'|'.join(SECONDS)})s?")
NAME = re.compile(r"[ !#-\[\]-~]*")
LONGEST_KEY = 64
"""Characters of a key that is kept as it is; an address of IPv6 takes 43."""


class RateLimitStorage(Protocol):
    """Where counts are kept. What it raises becomes a 500: one that would rather let everyone in answers ``(0, 0)``."""

    async def hit(self, key: str, seconds: int) -> tuple[int, float]:
        """Count one more for ``key``; the count in its window, this one included, and the seconds until that ends.

        The first hit opens a window of ``seconds``.
        """
        ...


class MemoryRateLimitStorage:
    """Counts in this process, of at most ``max_keys`` clients: beyond that the one who came first is forgotten.

    >>> from microweb import App
    >>> storage = MemoryRateLimitStorage(max_keys=10_000)
    >>> app = App(__name__)
    >>> app.add_middleware(RateLimit("100/minute", storage=storage))

    Raises:
        SetupError: ``max_keys`` is no whole number, or less than 1.
    """

    def __init__(self, *, max_keys: int = 100_000, clock: Callable[[], float] = monotonic) -> None:
        if type(max_keys) is not int or max_keys < 1:
            raise SetupError(f"MemoryRateLimitStorage takes max_keys=1 or more, not {max_keys!r}")
        self.max_keys = max_keys
        self._clock = clock
        self._windows: dict[str, tuple[int, float]] = {}
        """Count and end of each key's window, in the order in which they were opened."""

    async def hit(self, key: str, seconds: int) -> tuple[int, float]:
        """Count one more for ``key``."""
        now = self._clock()
        count, end = self._windows.get(key, (0, now))
        if end <= now:
            self._windows.pop(key, None)
            self._make_room(now)
            count, end = 0, now + seconds
        self._windows[key] = (count + 1, end)
        return count + 1, end - now

    def _make_room(self, now: float) -> None:
        """Drop windows that are over, from the oldest on: two for each that is opened, so that it never takes long."""
        # SECURITY: test_the_memory_of_it_is_bounded
        for oldest in [key for key, _ in zip(self._windows, range(2), strict=False)]:
            if self._windows[oldest][1] <= now or len(self._windows) >= self.max_keys:
                del self._windows[oldest]

    def __len__(self) -> int:
        return len(self._windows)


Key = Callable[[Request], "str | Awaitable[str | None] | None"]


class RateLimit:
    """Answer 429 to who asks more often than ``limit``: ``"100/minute"``, ``"5 per second"``, ``"1000/15 minutes"``.

    ``key`` is a function of the request, ``def`` or ``async def``, that names who asks; None lets a request pass
    uncounted. Without one it is the client's address, of IPv6 its first 64 bits: behind a proxy that needs
    ``ProxyHeaders``. A key of more than 64 characters is counted by its hash. Every ``RateLimit`` counts for itself;
    those that share a ``storage`` each need a ``name``.

    Answers say in ``RateLimit`` and ``RateLimit-Policy`` how much is left (draft-ietf-httpapi-ratelimit-headers),
    a 429 in ``Retry-After`` how many seconds to wait.

    >>> from microweb import App
    >>> app = App(__name__)
    >>> @app.post("/login", middleware=[RateLimit("5/minute")])
    ... async def login():
    ...     return "Who are you?"

    Raises:
        SetupError: ``limit`` is none, the name may not stand in a header, ``key`` is no function, or ``storage`` no
            ``RateLimitStorage``.
    """

    def __init__(
        self, limit: str, key: Key | None = None, storage: RateLimitStorage | None = None, *, name: str = "default"
    ) -> None:
        # Whatever came: what is no text is no limit.
        match = LIMIT.fullmatch(str(limit).strip())
        if match is None or not int(match[1]) or match[2] == "0":
            raise SetupError(f"a rate limit is a number and a time, '100/minute' or '1000/15 minutes', not {limit!r}")
        given: object = name
        if not isinstance(given, str) or NAME.fullmatch(given) is None:
            raise SetupError(f"the name of a rate limit is printable ASCII without quotes, not {name!r}")
        if key is not None and not callable(key):
            raise SetupError(f"the key of a rate limit is a function of the request, not {key!r}")
        if storage is not None and not callable(getattr(storage, "hit", None)):
            raise SetupError(f"the storage of a rate limit has an `async def hit(key, seconds)`; {storage!r} has not")
        self.limit = int(match[1])
        self.seconds = int(match[2] or 1) * SECONDS[match[3]]
        self.name = name
        self.storage: RateLimitStorage = MemoryRateLimitStorage() if storage is None else storage
        self._key = key or address_of
        self._policy = f'"{name}";q={self.limit};w={self.seconds}'

    async def __call__(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        """The answer of the rest, or a 429."""
        found = self._key(request)
        key = await found if isawaitable(found) else found
        if key is None:
            return await call_next(request)
        count, seconds_left = await self.storage.hit(f"{self.name}:{shorten(str(key))}", self.seconds)
        # Rounded up: who comes back after that long must find the new window open.
        wait = max(ceil(seconds_left), 0)
        state = f'"{self.name}";r={max(self.limit - count, 0)};t={wait}'
        if count > self.limit:
            headers = {"Retry-After": str(wait), "RateLimit": state, "RateLimit-Policy": self._policy}
            raise TooManyRequests(f"More than {self.limit} requests in {self.seconds} seconds.", headers)
        response = await call_next(request)
        # Lines of a list: each limit around a view adds its own.
        response.headers.add("RateLimit", state)
        response.headers.add("RateLimit-Policy", self._policy)
        return response


def shorten(key: str) -> str:
    """The key, or the hash of a long one: a client that writes its own must not choose how much is kept of it."""
    # SECURITY: test_a_long_key_takes_no_more_memory_than_a_short_one
    if len(key) <= LONGEST_KEY:
        return key
    # Longer than what goes as it is, so nobody can send it as the key of somebody else.
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=LONGEST_KEY // 2 + 8).hexdigest()


def address_of(request: Request) -> str:
    """Who asks, by address: one household has 64 bits of IPv6 to choose from."""
    address = request.remote_addr or ""
    if ":" not in address:
        return address
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return f"{IPv6Address(int(parsed) >> 64 << 64)}/64"
    return address
