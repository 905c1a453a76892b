"""microweb, as its documentation writes each row."""

from __future__ import annotations

from typing import Any

from benchmarks import report, rows
from microweb import App, Request, __version__

VERSIONS = {"microweb": __version__} | report.versions(("msgspec",))
VARIANTS = {"many-routes": ("10 routes", "10,000 routes")}


async def hello() -> str:
    return rows.HELLO


def hello_in_thread() -> str:
    return rows.work()


async def message() -> dict[str, Any]:
    return {"message": rows.HELLO, "ok": True, "count": 3}


async def user(id: int) -> str:
    return str(id + 1)


async def event(id: int, event_id: int) -> str:
    return str(id + event_id)


async def echo(request: Request) -> Any:
    return await request.json()


async def stream() -> Any:
    for _ in range(rows.CHUNKS):
        yield rows.CHUNK


def add_layer(app: App, name: str) -> None:
    @app.middleware
    async def add_header(request: Request, call_next: Any) -> Any:
        response = await call_next(request)
        response.headers[name] = "1"
        return response


def add_counter(app: App) -> None:
    @app.middleware
    async def count(request: Request, call_next: Any) -> Any:
        rows.ran[0] += 1
        return await call_next(request)


def add_routes(app: App, specs: list[rows.RouteSpec]) -> App:
    for number, spec in enumerate(specs):
        if spec.parameters == ("id", "event_id"):
            view: Any = event
        else:
            view = user if spec.parameters else hello
        path = spec.path.replace("{", "<int:").replace("}", ">")
        app.add_route(path, view, methods=[spec.method], endpoint=f"view{number}")
    return app


def build(row: str, variant: str) -> Any:
    """The app that answers `row`."""
    app = App("benchmarks", static_folder=None)
    if row in ("last-of-200", "404-of-200"):
        return add_routes(app, rows.routes())
    if row == "many-routes":
        return add_routes(app, rows.many_routes(10 if variant == "10 routes" else 10_000))
    if row == "parameter":
        app.add_route("/users/<int:id>", user)
        return app
    if row == "middleware":
        for _ in rows.LAYERS:
            add_counter(app)
    if row == "header-layers":
        for name in rows.LAYERS:
            add_layer(app, name)
    views = {
        "plaintext": hello,
        "middleware": hello,
        "header-layers": hello,
        "json": message,
        "echo": echo,
        "thread": hello_in_thread,
        "stream": stream,
    }
    app.add_route("/", views[row], methods=["POST" if row == "echo" else "GET"])
    return app
