"""The least that this design costs in Python: a router, a request, a response, guarded layers, and nothing else.

Not a framework: no error pages, no HEAD, no limits, no hooks, nobody notices who leaves. What a row's target asks
for below the sketch's own time is out of reach for code that also does all that.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import msgspec

from benchmarks import report, rows

VERSIONS = report.versions(("msgspec",))
VARIANTS: dict[str, tuple[str, ...]] = {
    row: () for row in rows.ROWS if row not in ("plaintext", "json", "parameter", "middleware", "stream")
}
current: ContextVar[Any] = ContextVar("current")


class Request:
    __slots__ = ("receive", "scope", "values")

    def __init__(self, scope: Any, receive: Any, values: Any) -> None:
        self.scope = scope
        self.receive = receive
        self.values = values


class Response:
    __slots__ = ("body", "content_type", "status")

    def __init__(self, body: Any, content_type: bytes, status: int = 200) -> None:
        self.status = status
        self.body = body
        self.content_type = content_type


def to_response(value: Any) -> Response:
    if value.__class__ is str:
        return Response(value.encode(), b"text/html; charset=utf-8")
    if value.__class__ is dict:
        return Response(msgspec.json.encode(value), b"application/json")
    if value.__class__ is Response:
        return value
    return Response(value, b"text/plain; charset=utf-8")


def make_endpoint(view: Any) -> Any:
    async def endpoint(request: Any) -> Response:
        try:
            if request.values:
                return to_response(await view(*request.values))
            return to_response(await view())
        except Exception:
            return Response(b"Internal Server Error", b"text/plain", 500)

    return endpoint


def guard(layer: Any, call_next: Any) -> Any:
    async def guarded(request: Any) -> Response:
        try:
            response = await layer(request, call_next)
            return response if response.__class__ is Response else to_response(response)
        except Exception:
            return Response(b"Internal Server Error", b"text/plain", 500)

    return guarded


async def count(request: Any, call_next: Any) -> Any:
    rows.ran[0] += 1
    return await call_next(request)


async def hello() -> str:
    return "Hello, world!"


async def message() -> dict[str, Any]:
    return {"message": "Hello, world!", "ok": True, "count": 3}


async def user(number: int) -> str:
    return str(number + 1)


async def stream() -> Response:
    async def chunks() -> Any:
        for _ in range(rows.CHUNKS):
            yield rows.CHUNK

    return Response(chunks(), b"text/plain; charset=utf-8")


VIEWS = {"plaintext": hello, "json": message, "parameter": user, "middleware": hello, "stream": stream}


def build(row: str, variant: str) -> Any:
    """The app that answers `row`."""
    handler = make_endpoint(VIEWS[row])
    for _ in rows.LAYERS if row == "middleware" else ():
        handler = guard(count, handler)
    static = {("GET", "/"): handler}
    dynamic = {("GET", "users"): handler}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        values = None
        found = static.get((scope["method"], scope["path"]))
        if found is None:
            _, name, value = scope["path"].split("/")
            found, values = dynamic[scope["method"], name], (int(value),)
        request = Request(scope, receive, values)
        token = current.set(request)
        try:
            response = await found(request)
            headers = [(b"content-type", response.content_type)]
            body = response.body
            if body.__class__ is bytes:
                headers.append((b"content-length", b"%d" % len(body)))
            await send({"type": "http.response.start", "status": response.status, "headers": headers})
            if body.__class__ is not bytes:
                async for chunk in body:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                body = b""
            await send({"type": "http.response.body", "body": body})
        finally:
            current.reset(token)

    return app
