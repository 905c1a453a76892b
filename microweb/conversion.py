"""From what a view returns to a response.

``find_converter`` answers for the plain types by one dictionary look-up; ``to_response`` for everything
else that may be returned: tuples, structs, generators, responses. The endpoint, the onion and the error
handlers call it.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterator, Mapping
from types import AsyncGeneratorType, CoroutineType
from typing import Any

from microweb import json
from microweb.context import current
from microweb.errors import HTTPException, OutsideContextError
from microweb.incoming import Incoming
from microweb.responses import BINARY, HTML, JSON, Response, from_json, make_plain, new
from microweb.streaming import StreamingResponse

__all__ = ["NO_ENCODER", "find_converter", "find_encoder", "is_struct", "make_response", "own", "to_response"]


def from_text(value: str) -> Response:
    """Make an HTML answer."""
    response = new(Response)  # make_plain, written out. PERF(walk.plaintext)
    response._status = 200
    response._body = value.encode()
    response._headers = None
    response._content_type = HTML
    return response


def from_bytes(value: bytes) -> Response:
    """Make an answer of plain bytes."""
    return make_plain(value, BINARY)


CONVERTERS: dict[type, Callable[[Any], Response]] = {
    str: from_text,
    bytes: from_bytes,
    dict: from_json,
    list: from_json,
}

find_converter = CONVERTERS.get
"""The converter of an exact type, or None: then ``to_response`` looks closer. PERF(walk.plaintext)"""


def start_encoding(value: Any) -> bytes:
    """Write the first JSON of this process, which loads the encoder, and put that in our place."""
    body = json.dumps(value)
    ENCODERS[dict] = ENCODERS[list] = (json.dumps, (b"content-type", JSON))
    return body


NO_ENCODER = (None, (b"", b""))
ENCODERS: dict[type, tuple[Callable[[Any], bytes], tuple[bytes, bytes]]] = {
    str: (str.encode, (b"content-type", HTML)),
    bytes: (bytes, (b"content-type", BINARY)),
    dict: (start_encoding, (b"content-type", JSON)),
    list: (start_encoding, (b"content-type", JSON)),
}
find_encoder = ENCODERS.get
"""The body and Content-Type that ``find_converter`` would put into a response. PERF(walk.plaintext)"""


def to_response(value: Any, request: Incoming, source: str) -> Response:
    """Make ``value`` the answer of ``request``; ``source`` names who returned it, for the error text.

    Raises:
        TypeError: it is nothing that can be an answer, None for instance; the message names ``source``.
        RuntimeError: it is a response that already answered another request.
    """
    kind = value.__class__
    converter = find_converter(kind)
    if converter is not None:
        return converter(value)
    if kind is AsyncGeneratorType:
        return StreamingResponse.of_generator(value, request, source)
    if isinstance(value, Response):
        return own(value, request, source)
    if isinstance(value, tuple):
        return from_tuple(value, request, source)
    if value is None:
        raise TypeError(
            f"{source} returned None; return text, bytes, a dict or list, a struct, a response, a generator "
            "or a (body, status, headers) tuple. Was a `return` forgotten?"
        )
    if isinstance(value, AsyncIterable | Iterator):
        return own(StreamingResponse(value), request, source)
    if isinstance(value, str):
        return from_text(str(value))
    if isinstance(value, bytes | bytearray | memoryview):
        return from_bytes(bytes(value))
    if isinstance(value, Mapping | list) or is_struct(value):
        return from_json(value)
    dump = getattr(value, "model_dump_json", None)
    if dump is not None:
        # A pydantic model writes itself.
        return make_plain(dump().encode(), JSON)
    if hasattr(value, "__await__"):
        if kind is CoroutineType:
            value.close()  # Python would only warn of the same.
        raise TypeError(f"{source} returned a {kind.__name__} that nobody has awaited. Was an `await` forgotten?")
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    raise TypeError(
        f"{source} returned {name}, which is no answer; return text, bytes, a dict or list, a struct, "
        f"a response, a generator or a (body, status, headers) tuple{explain_kind(value)}"
    )


def explain_kind(value: Any) -> str:
    """What was probably meant by something that is no answer."""
    if isinstance(value, HTTPException):
        return ". Raise it"
    if hasattr(value, "__qualname__"):
        return f". Were the parentheses of a call forgotten: {value.__qualname__}(...)?"
    return ""


def is_struct(value: Any) -> bool:
    """Whether ``value`` is an instance of a msgspec Struct, a dataclass or an attrs class."""
    kind = type(value)
    return (
        hasattr(kind, "__struct_fields__") or hasattr(kind, "__dataclass_fields__") or hasattr(kind, "__attrs_attrs__")
    )


def from_tuple(value: tuple[Any, ...], request: Incoming, source: str) -> Response:
    """Make the answer of ``(body, status)``, ``(body, headers)`` or ``(body, status, headers)``.

    Raises:
        TypeError: the tuple has another shape.
        ValueError: the status or a header may not be sent.
    """
    body: Any
    status: Any
    headers: Any
    if len(value) == 3:
        body, status, headers = value
    elif len(value) == 2 and isinstance(value[1], Mapping | list | tuple):
        body, status, headers = value[0], None, value[1]
    elif len(value) == 2:
        body, status, headers = value[0], value[1], None
    else:
        raise TypeError(
            f"{source} returned a tuple of {len(value)}; a tuple is (body, status), (body, headers) or "
            "(body, status, headers)"
        )
    if body is None and status in (204, 304):
        body = ""
    # A response is owned last: its status decides whether a file answers to conditions and ranges.
    response = body if isinstance(body, Response) and body._owner is None else to_response(body, request, source)
    if status is not None:
        response.status_code = status
    if headers is not None:
        response._take_headers(headers)
    return own(response, request, source)


def own(response: Response, request: Incoming, source: str = "") -> Response:
    """Mark ``response`` as the answer of ``request``.

    Raises:
        RuntimeError: it was the answer of another request.
    """
    # SECURITY: test_a_response_returned_to_a_second_request_is_refused: one user's cookies would reach the next.
    owner = response._owner
    if owner is not request:
        if owner is not None:
            raise RuntimeError(
                f"{response!r} was already the answer of another request; build a new response for each request"
            )
        response._owner = request
        if isinstance(response, StreamingResponse):
            response.adopt(request, source)
    return response


def make_response(*values: Any) -> Response:
    """The response that a view would give by returning these values, as in Flask; of none an empty one.

    >>> from microweb import App
    >>> app = App(__name__)
    >>> @app.post("/")
    ... async def create():
    ...     response = make_response("created", 201)
    ...     response.headers["x-greeting"] = "yes"
    ...     return response

    Raises:
        TypeError: they are no answer.
        OutsideContextError: there is no current request.
    """
    request = current.get(None)
    if not isinstance(request, Incoming):
        raise OutsideContextError("make_response() needs a current request; outside of one use Response(...)")
    if not values:
        return own(Response(), request)
    return to_response(values[0] if len(values) == 1 else values, request, "make_response()")
