"""Falcon's ASGI app, as its documentation writes each row."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import falcon
import falcon.asgi
import falcon.media
import msgspec

from benchmarks import report, rows

VERSIONS = report.versions(("falcon", "msgspec"))
VARIANTS = {
    "json": ("stdlib json", "msgspec"),
    "echo": ("stdlib json", "msgspec"),
}


class Hello:
    async def on_get(self, request: Any, response: Any) -> None:
        response.content_type = falcon.MEDIA_TEXT
        response.text = rows.HELLO


class HelloInThread:
    async def on_get(self, request: Any, response: Any) -> None:
        response.content_type = falcon.MEDIA_TEXT
        response.text = await falcon.sync_to_async(rows.work)


class Message:
    async def on_get(self, request: Any, response: Any) -> None:
        response.media = {"message": rows.HELLO, "ok": True, "count": 3}


class User:
    async def on_get(self, request: Any, response: Any, id: int) -> None:
        response.content_type = falcon.MEDIA_TEXT
        response.text = str(id + 1)


class Event:
    async def on_get(self, request: Any, response: Any, id: int, event_id: int) -> None:
        response.content_type = falcon.MEDIA_TEXT
        response.text = str(id + event_id)


class Echo:
    async def on_post(self, request: Any, response: Any) -> None:
        response.media = await request.get_media()


async def chunks() -> Any:
    for _ in range(rows.CHUNKS):
        yield rows.CHUNK


class Stream:
    async def on_get(self, request: Any, response: Any) -> None:
        response.content_type = falcon.MEDIA_TEXT
        response.stream = chunks()


class Layer:
    """A component with only the half that the row needs: `process_request` would be one more await."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def process_response(self, request: Any, response: Any, resource: Any, succeeded: bool) -> None:
        response.set_header(self.name, "1")


def resource(methods: list[str], parameters: tuple[str, ...]) -> Any:
    """A resource object that answers the methods of one path."""
    if parameters == ("id", "event_id"):
        view: Any = Event.on_get
    else:
        view = User.on_get if parameters else Hello.on_get
    return type("Resource", (), {f"on_{method.lower()}": view for method in methods})()


def add_routes(app: Any, specs: list[rows.RouteSpec]) -> Any:
    methods: dict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
    for spec in specs:
        methods[spec.path, spec.parameters].append(spec.method)
    for (path, parameters), names in methods.items():
        app.add_route(path.replace("}", ":int}"), resource(names, parameters))
    return app


class Counter:
    async def process_request(self, request: Any, response: Any) -> None:
        rows.ran[0] += 1


def build(row: str, variant: str) -> Any:
    """The app that answers `row`."""
    layers: list[Any] | None = None
    if row == "middleware":
        layers = [Counter() for _ in rows.LAYERS]
    elif row == "header-layers":
        layers = [Layer(name) for name in rows.LAYERS]
    app = falcon.asgi.App(middleware=layers)
    if variant == "msgspec":
        handlers = {falcon.MEDIA_JSON: falcon.media.JSONHandler(dumps=msgspec.json.encode, loads=msgspec.json.decode)}
        app.req_options.media_handlers.update(handlers)
        app.resp_options.media_handlers.update(handlers)
    if row in ("last-of-200", "404-of-200"):
        return add_routes(app, rows.routes())
    if row == "parameter":
        app.add_route("/users/{id:int}", User())
        return app
    resources = {
        "plaintext": Hello,
        "middleware": Hello,
        "header-layers": Hello,
        "json": Message,
        "echo": Echo,
        "thread": HelloInThread,
        "stream": Stream,
    }
    app.add_route("/", resources[row]())
    return app
