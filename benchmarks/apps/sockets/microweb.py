"""microweb, as its documentation writes it."""

from __future__ import annotations

import os
from typing import Any

from benchmarks import report
from benchmarks.sockets import HELLO, ROWS, STAND
from microweb import App, EventStream, Request, WebSocket, __version__

__all__ = ["ROWS", "STAND", "VARIANTS", "VERSIONS", "build"]

VERSIONS = {"microweb": __version__} | report.versions(("msgspec", "anyio"))
VARIANTS: dict[str, tuple[str, ...]] = dict.fromkeys(("text", "text-turns"), ("async for", "receive_text"))


async def text(websocket: WebSocket) -> None:
    await websocket.accept()
    async for message in websocket:
        if isinstance(message, str):
            await websocket.send_text(message)


async def text_by_text(websocket: WebSocket) -> None:
    await websocket.accept()
    while True:
        await websocket.send_text(await websocket.receive_text())


async def as_json(websocket: WebSocket) -> None:
    await websocket.accept()
    while True:
        await websocket.send_json(await websocket.receive_json())


def build(row: str, variant: str) -> Any:
    """The app that answers `row`."""
    app = App("benchmarks", static_folder=None)
    if "REDIS" in os.environ:
        from microweb.channels.redis import RedisChannels

        app.channels = RedisChannels(os.environ["REDIS"])
    app.websocket("/text")(text_by_text if variant == "receive_text" else text)
    app.websocket("/json")(as_json)

    @app.websocket("/listen")
    async def listen(websocket: WebSocket) -> None:
        await websocket.accept()
        async with app.channels.subscribe("room") as messages:
            await websocket.send_text(HELLO)
            async for message in messages:
                await websocket.send_text(message)

    @app.websocket("/say")
    async def say(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(HELLO)
        async for message in websocket:
            await app.channels.publish("room", message)

    @app.get("/events")
    async def events() -> EventStream:
        async def items() -> Any:
            async with app.channels.subscribe("room") as messages:
                yield HELLO
                async for message in messages:
                    yield message

        return EventStream(items())

    @app.post("/publish")
    async def publish(request: Request) -> Any:
        await app.channels.publish("room", await request.text())
        return "", 204

    return app
