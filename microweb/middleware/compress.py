"""Answers made smaller on the way out: zstd, br or gzip, whichever the client likes and the machine has.

Which answers, and for whom, is decided here; ``codings.py`` does it. Bodies that come in are decoded elsewhere, where
``DECODE_REQUEST_BODIES`` is on.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from microweb import Request, Response, SetupError, StreamingResponse
from microweb.middleware.codings import CODINGS, Coding, Encoder
from microweb.middleware.options import read_list

__all__ = ["Compress"]

HEAVY = 65536
"""From so many bytes on a thread does it: zlib takes a millisecond then, and a thread's answer a quarter of one."""

UNTOUCHED = frozenset((204, 205, 206))
"""Statuses without a body, and the one whose body is counted in bytes of the original."""

# text/event-stream is left out: each event must leave at once, and proxies know to leave it alone.
COMPRESSIBLE = re.compile(
    r"text/(?!event-stream).+|.+\+(?:json|xml|text|yaml)|image/(?:bmp|x-icon|vnd\.microsoft\.icon)|font/(?:ttf|otf|collection)"
    r"|application/(?:json|x-ndjson|jsonl|javascript|x-javascript|ecmascript|xml|yaml|toml|wasm|rtf|sql|graphql|msgpack"
    r"|vnd\.msgpack|vnd\.ms-fontobject|x-www-form-urlencoded)"
)
WEIGHT = re.compile(r"q *= *(0?\.[0-9]{1,9}|0\.?|1(?:\.0{0,9})?)")


class Compress:
    """Compress answers of ``minimum`` bytes and more, in the coding the client prefers; of equals the first listed.

    Of ``encodings`` gzip is always there; br needs the package ``brotli``, zstd Python 3.14 or ``backports.zstd``, and
    are left out without. Streams are compressed chunk by chunk, and each chunk leaves when
    it is produced. Left alone are event streams, types that are small already, ranges, what has a
    ``Content-Encoding`` or ``Cache-Control: no-transform``, and the answers of mounted foreign apps. An ETag becomes a
    weak one, since the bytes are others.

    A page that shows a secret beside something that the request says can be made to tell the secret by its length
    (BREACH). Keep this away from such views: send ``Cache-Control: no-transform``, or add it to other routers only.

    >>> from microweb import App
    >>> app = App(__name__)
    >>> app.add_middleware(Compress(minimum=500))

    Raises:
        SetupError: one of ``encodings`` is unknown, or ``minimum`` is no whole number or negative.
    """

    def __init__(self, minimum: int = 1024, encodings: Sequence[str] = ("zstd", "br", "gzip")) -> None:
        listed = read_list(encodings, f"Compress knows the encodings {', '.join(CODINGS)}")
        unknown = [name for name in listed if name not in CODINGS]
        if unknown or not listed:
            raise SetupError(f"Compress knows the encodings {', '.join(CODINGS)}, not {(unknown or listed)!r}")
        if type(minimum) is not int or minimum < 0:
            raise SetupError(f"minimum is a number of bytes, 0 or more, not {minimum!r}")
        self.minimum = minimum
        loaded = [(name, CODINGS[name]()) for name in listed]
        self._codings: dict[str, Coding] = {name: coding for name, coding in loaded if coding is not None}
        self.encodings = tuple(self._codings)
        """Those that can be used here."""
        # PERF(walk.middleware): there are a few dozen browsers, and each writes one header.
        self._choose = lru_cache(maxsize=256)(self._weigh)

    async def __call__(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        """The answer of the rest, compressed if that helps."""
        response = await call_next(request)
        is_stream = isinstance(response, StreamingResponse)
        status = response.status_code
        if status == 304:
            return keep_validator(request, response)
        if status == 206 and is_compressible(response.content_type or ""):
            response.headers.vary("Accept-Encoding")  # As the 200 would say (RFC 9110 §15.3.7).
        if status in UNTOUCHED or (not is_stream and len(response.body) < self.minimum):
            return response
        headers = response.headers
        if not is_compressible(response.content_type or "") or "content-encoding" in headers:
            return response
        if "content-range" in headers or any(
            "no-transform" in line.lower() for line in headers.getlist("cache-control")
        ):
            return response
        if is_stream and headers.get("content-length", self.minimum, type=int) < self.minimum:
            return response
        headers.vary("Accept-Encoding")
        wanted = request.headers.get("accept-encoding", "")
        name = self._choose(wanted) if len(wanted) <= 256 else self._weigh(wanted)
        if name is not None:
            await self._compress(response, name)
        return response

    async def _compress(self, response: Response, name: str) -> None:
        coding = self._codings[name]
        if isinstance(response, StreamingResponse):
            iterable, encoder = response.iterable, coding.start()
            if isinstance(iterable, AsyncIterable):
                response.iterable = compress_each(iterable, response.encode, encoder)
            else:
                response.iterable = compress_each_here(iterable, response.encode, encoder)
            response.headers.remove("content-length")
        else:
            body = response.body
            smaller = await in_thread_if_heavy(coding.compress, body)
            if len(smaller) >= len(body):
                return
            response.body = smaller
        headers = response.headers
        headers["Content-Encoding"] = name
        headers.remove("accept-ranges")  # A client that goes on with a part of the original would mix the two.
        etag = headers.get("etag")
        if etag is not None:
            headers["ETag"] = weaken(etag)

    def _weigh(self, header: str) -> str | None:
        """The coding to use for an ``Accept-Encoding`` header (RFC 9110 §12.5.3), None for none."""
        qualities: dict[str, float] = {}
        for item in header.lower().split(","):
            name, _, weight = (part.strip() for part in item.partition(";"))
            match = WEIGHT.fullmatch(weight or "q=1")
            if name and match is not None:
                qualities[name.removeprefix("x-")] = float(match[1])
        others = qualities.get("*", 0.0)
        best = max(self.encodings, key=lambda name: qualities.get(name, others), default=None)
        if best is None or not qualities.get(best, others):
            return None
        # An identity that is liked better is what it says; one that is not named comes last.
        return best if qualities.get(best, others) >= qualities.get("identity", 0.0) else None


def weaken(etag: str) -> str:
    """The weak form of an entity tag (RFC 9110 §8.8.3)."""
    return etag if etag.startswith("W/") else f"W/{etag}"


def keep_validator(request: Request, response: Response) -> Response:
    """Give a 304 the entity tag of the answer that the client has: a compressed one had the weak form."""
    etag = response.headers.get("etag")
    if etag is not None and weaken(etag) in request.headers.get("if-none-match", ""):
        response.headers["ETag"] = weaken(etag)
        response.headers.vary("Accept-Encoding")
    elif is_compressible(response.content_type or ""):
        response.headers.vary("Accept-Encoding")  # As the 200 would say (RFC 9110 §15.4.5).
    return response


@lru_cache(maxsize=256)
def is_compressible(content_type: str) -> bool:
    """Whether compressing a media type makes it smaller as a rule."""
    return COMPRESSIBLE.fullmatch(content_type.partition(";")[0].strip().lower()) is not None


async def in_thread_if_heavy(function: Callable[[bytes], bytes], data: bytes) -> bytes:
    """Compress here and now, or in a thread if others would have to wait for it; codecs release the GIL."""
    if len(data) < HEAVY:
        return function(data)
    from anyio import to_thread

    return await to_thread.run_sync(function, data)


async def compress_each(
    chunks: AsyncIterable[Any], encode: Callable[[Any], bytes], encoder: Encoder
) -> AsyncIterator[bytes]:
    """Each chunk compressed as it comes, with all that is needed to read it."""
    try:
        async for chunk in chunks:
            data = chunk if isinstance(chunk, bytes) else encode(chunk)
            if data:
                yield await in_thread_if_heavy(encoder.feed, data)
        yield encoder.end()
    finally:
        aclose = getattr(chunks, "aclose", None)
        if aclose is not None:
            await aclose()


def compress_each_here(chunks: Iterable[Any], encode: Callable[[Any], bytes], encoder: Encoder) -> Iterator[bytes]:
    """The same for what runs in the request's worker thread."""
    try:
        for chunk in chunks:
            data = chunk if isinstance(chunk, bytes) else encode(chunk)
            if data:
                yield encoder.feed(data)
        yield encoder.end()
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
