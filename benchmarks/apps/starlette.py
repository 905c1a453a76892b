"""Starlette, as its documentation writes each row."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from benchmarks import report, rows

VERSIONS = report.versions(("starlette", "anyio", "msgspec"))
VARIANTS = {
    "json": ("stdlib json", "msgspec"),
    "echo": ("stdlib json", "msgspec"),
    "middleware": ("BaseHTTPMiddleware", "pure ASGI"),
    "header-layers": ("BaseHTTPMiddleware", "pure ASGI"),
}


class MsgspecResponse(JSONResponse):
    """The documented way to another JSON library: a subclass with its own `render`."""

    def render(self, content: Any) -> bytes:
        return msgspec.json.encode(content)


async def hello(request: Request) -> Response:
    return PlainTextResponse(rows.HELLO)


def hello_in_thread(request: Request) -> Response:
    return PlainTextResponse(rows.work())


async def message(request: Request) -> Response:
    return JSONResponse({"message": rows.HELLO, "ok": True, "count": 3})


async def message_msgspec(request: Request) -> Response:
    return MsgspecResponse({"message": rows.HELLO, "ok": True, "count": 3})


async def user(request: Request) -> Response:
    return PlainTextResponse(str(request.path_params["id"] + 1))


async def event(request: Request) -> Response:
    return PlainTextResponse(str(request.path_params["id"] + request.path_params["event_id"]))


async def echo(request: Request) -> Response:
    return JSONResponse(await request.json())


async def echo_msgspec(request: Request) -> Response:
    return MsgspecResponse(msgspec.json.decode(await request.body()))


async def chunks() -> Any:
    for _ in range(rows.CHUNKS):
        yield rows.CHUNK


async def stream(request: Request) -> Response:
    return StreamingResponse(chunks(), media_type="text/plain")


def endpoint(spec: rows.RouteSpec) -> Any:
    if spec.parameters == ("id", "event_id"):
        return event
    return user if spec.parameters else hello


def table(specs: list[rows.RouteSpec]) -> list[Route]:
    return [Route(spec.path.replace("}", ":int}"), endpoint(spec), methods=[spec.method]) for spec in specs]


class HeaderMiddleware(BaseHTTPMiddleware):
    def __init__(self, app: Any, name: str) -> None:
        super().__init__(app)
        self.name = name

    async def dispatch(self, request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers[self.name] = "1"
        return response


class PureHeaderMiddleware:
    def __init__(self, app: Any, name: str) -> None:
        self.app = app
        self.header = (name.encode(), b"1")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_header(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append(self.header)
            await send(message)

        await self.app(scope, receive, send_with_header)


class CountingMiddleware(BaseHTTPMiddleware):
    async def dispatch(self, request: Any, call_next: Any) -> Any:
        rows.ran[0] += 1
        return await call_next(request)


class PureCountingMiddleware:
    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            rows.ran[0] += 1
        await self.app(scope, receive, send)


def build(row: str, variant: str) -> Any:
    """The app that answers `row`."""
    if row in ("last-of-200", "404-of-200"):
        return Starlette(routes=table(rows.routes()))
    if row == "middleware":
        counting = PureCountingMiddleware if variant == "pure ASGI" else CountingMiddleware
        return Starlette(routes=[Route("/", hello)], middleware=[Middleware(counting) for _ in rows.LAYERS])
    if row == "header-layers":
        layer = PureHeaderMiddleware if variant == "pure ASGI" else HeaderMiddleware
        return Starlette(
            routes=[Route("/", hello)],
            middleware=[Middleware(layer, name=name) for name in rows.LAYERS],
        )
    if row == "echo":
        return Starlette(
            routes=[Route("/", echo_msgspec if variant == "msgspec" else echo, methods=["POST"])],
        )
    if row == "json":
        return Starlette(routes=[Route("/", message_msgspec if variant == "msgspec" else message)])
    if row == "parameter":
        return Starlette(routes=[Route("/users/{id:int}", user)])
    views = {"plaintext": hello, "thread": hello_in_thread, "stream": stream}
    return Starlette(routes=[Route("/", views[row])])
