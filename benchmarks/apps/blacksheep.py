"""BlackSheep, as its documentation writes each row.

No `from __future__ import annotations` here: BlackSheep compares `-> Response` by identity, and a view
whose annotation is text gets one more coroutine around it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from blacksheep import Application, Content, Request, Response, StreamedContent, json, text
from blacksheep.server.routing import Router

from benchmarks import report, rows

VERSIONS = report.versions(("blacksheep", "essentials", "msgspec"))
VARIANTS = {
    "json": ("stdlib json", "msgspec"),
    "parameter": ("bound argument", "route_values"),
    "last-of-200": ("bound argument", "route_values"),
    "echo": ("stdlib json", "msgspec"),
    "thread": ("asyncio.to_thread", "run_in_executor"),
}

# Its logger builds a record for each 404 at INFO, which nobody would read: the quicker setting is used.
logging.getLogger("blacksheep").setLevel(logging.WARNING)


async def hello(request: Request) -> Response:
    return text(rows.HELLO)


async def message(request: Request) -> Response:
    return json({"message": rows.HELLO, "ok": True, "count": 3})


async def message_msgspec(request: Request) -> Response:
    body = msgspec.json.encode({"message": rows.HELLO, "ok": True, "count": 3})
    return Response(200, None, Content(b"application/json", body))


async def user(id: int) -> Response:
    return text(str(id + 1))


async def user_from_values(request: Request) -> Response:
    return text(str(int(request.route_values["id"]) + 1))


async def event(id: int, event_id: int) -> Response:
    return text(str(id + event_id))


async def event_from_values(request: Request) -> Response:
    values = request.route_values
    return text(str(int(values["id"]) + int(values["event_id"])))


async def echo(request: Request) -> Response:
    return json(await request.json())


async def echo_msgspec(request: Request) -> Response:
    body = msgspec.json.encode(await request.json(msgspec.json.decode))
    return Response(200, None, Content(b"application/json", body))


async def hello_to_thread(request: Request) -> Response:
    return text(await asyncio.to_thread(rows.work))


async def hello_in_executor(request: Request) -> Response:
    return text(await asyncio.get_running_loop().run_in_executor(None, rows.work))


async def chunks() -> Any:
    for _ in range(rows.CHUNKS):
        yield rows.CHUNK


async def stream(request: Request) -> Response:
    return Response(200, None, StreamedContent(b"text/plain; charset=utf-8", chunks))


def endpoint(spec: rows.RouteSpec, variant: str) -> Any:
    values = variant == "route_values"
    if spec.parameters == ("id", "event_id"):
        return event_from_values if values else event
    if spec.parameters:
        return user_from_values if values else user
    return hello


def layer(name: str) -> Callable[[Request, Any], Awaitable[Response]]:
    header = name.encode()

    async def add_header(request: Request, handler: Any) -> Response:
        response: Response = await handler(request)
        response.add_header(header, b"1")
        return response

    return add_header


async def count(request: Request, handler: Any) -> Response:
    rows.ran[0] += 1
    response: Response = await handler(request)
    return response


def build(row: str, variant: str) -> Any:
    """The app that answers `row`."""
    app = Application(router=Router())
    if row in ("last-of-200", "404-of-200"):
        for spec in rows.routes():
            app.router.add(spec.method, spec.path.replace("{", "{int:"), endpoint(spec, variant))
        return app
    if row == "parameter":
        view = user_from_values if variant == "route_values" else user
        app.router.add("GET", "/users/{int:id}", view)
        return app
    if row == "middleware":
        app.middlewares.extend(count for _ in rows.LAYERS)
    if row == "header-layers":
        app.middlewares.extend(layer(name) for name in rows.LAYERS)
    views = {
        "plaintext": hello,
        "middleware": hello,
        "header-layers": hello,
        "json": message_msgspec if variant == "msgspec" else message,
        "echo": echo_msgspec if variant == "msgspec" else echo,
        "thread": hello_in_executor if variant == "run_in_executor" else hello_to_thread,
        "stream": stream,
    }
    app.router.add("POST" if row == "echo" else "GET", "/", views[row])
    return app
