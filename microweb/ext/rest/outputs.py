"""From the data of a resource to a response, in the media type that the client likes best.

``Resource`` calls ``represent`` with the outputs of its ``Api``: those that ``Api.representation`` added, and those
that the app and its routers know for all views (``app.representations``).
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping
from typing import Any

from microweb import JSONResponse, Representation, Response, Router, make_response, request
from microweb.errors import NotAcceptable

__all__ = ["JSON", "Headers", "Output", "Outputs", "is_ready", "output_json", "outputs_of", "represent", "unpack"]

Headers = Mapping[str, str] | None
Output = Callable[[Any, int, Headers], Response]
"""A function of data, status and headers."""
Outputs = Mapping[str, Output]
"""By media type."""

JSON = "application/json"
PLAIN = (dict, list, str, int, type(None))
READY = (Response, AsyncIterable, Iterator)


def output_json(data: Any, status: int, headers: Headers = None) -> Response:
    """``data`` as JSON; text too is a JSON value here.

    Raises:
        TypeError: a value has no JSON form; the message names its type.
    """
    if hasattr(data, "model_dump_json"):  # A pydantic model writes itself.
        return make_response(data, status, dict(headers or {}))
    return JSONResponse(data, status, headers)


def outputs_of(routers: Iterable[Router]) -> dict[str, Output]:
    """The outputs that routers know for all their views, the nearest router last; JSON is the first."""
    outputs: dict[str, Output] = {JSON: output_json}
    for router in routers:
        outputs.update({kind: output_with(kind, known) for kind, known in router.representations.items()})
    return outputs


def output_with(media_type: str, representation: Representation) -> Output:
    """The output of a representation, which writes data and nothing else: a text is JSON's."""

    def output(data: Any, status: int, headers: Headers = None) -> Response:
        if isinstance(data, str | int | float | None):
            return output_json(data, status, headers)
        plain = data.model_dump() if hasattr(data, "model_dump") else data
        charset = "; charset=utf-8" if media_type.startswith("text/") else ""
        return Response(representation.write(plain), status, headers, media_type + charset)

    return output


def is_ready(value: Any) -> bool:
    """Whether it is an answer as it is: a response, or a stream."""
    body = value[0] if isinstance(value, tuple) and value else value
    return body.__class__ not in PLAIN and isinstance(body, READY)


def unpack(value: Any) -> tuple[Any, int, Headers]:
    """Data, status and headers of what a method returned, alone or in a tuple."""
    if isinstance(value, tuple):
        if len(value) == 3:
            return value[0], value[1] or 200, value[2]
        if len(value) == 2 and isinstance(value[1], Mapping):
            return value[0], 200, value[1]
        if len(value) == 2 and isinstance(value[1], int):
            return value[0], int(value[1]), None
        if len(value) == 1:
            return value[0], 200, None
    return value, 200, None


def represent(data: Any, status: int, headers: Headers, outputs: Outputs, default: str | None) -> Response:
    """The response, in the media type that the client wants most; in ``default`` where it wants none of them.

    Raises:
        NotAcceptable: it wants none and there is no default.
        LookupError: nothing was registered for the default.
        TypeError: an output gave no response.
    """
    if status in (204, 304):
        return Response(b"", status, headers)
    media_type: str | None = default
    if len(outputs) > 1 or default not in outputs:
        # What is wanted equally is sent as the default.
        media_type = request.accept.best(sorted(outputs, key=lambda name: name != default), default)
    if media_type is None:
        raise NotAcceptable("This resource is available as: " + ", ".join(outputs) + ".", {"vary": "Accept"})
    if media_type not in outputs:
        raise LookupError(f"the default media type {media_type!r} has no representation; add @api.representation(...)")
    response = outputs[media_type](data, status, headers)
    if not isinstance(response, Response):
        raise TypeError(f"the representation {media_type!r} returned {type(response).__name__}; return a Response")
    if outputs[media_type] is not output_json or media_type != JSON:
        name_type(response, media_type, headers)
    if len(outputs) > 1:
        response.headers.vary("Accept")
    return response


def name_type(response: Response, media_type: str, headers: Headers) -> None:
    """Say what was written, unless that was said: by the method's headers, or with a charset, or of JSON."""
    named = any(name.lower() == "content-type" for name in headers or ())
    if not named and response.mimetype != media_type:
        response.content_type = media_type
