"""The limit: the same by hand on bare ASGI, nothing that the answer does not need. Not a framework."""

from __future__ import annotations

from typing import Any

import msgspec

from benchmarks import report
from benchmarks.apps.sockets.room import Room
from benchmarks.sockets import HELLO, ROWS, STAND

__all__ = ["ROWS", "STAND", "VARIANTS", "VERSIONS", "build"]

VERSIONS = report.versions(("msgspec",))
VARIANTS: dict[str, tuple[str, ...]] = {}
ACCEPT = {"type": "websocket.accept"}
EVENT_STREAM = [(b"content-type", b"text/event-stream; charset=utf-8")]


async def text(receive: Any, send: Any) -> None:
    await send(ACCEPT)
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


async def as_json(receive: Any, send: Any) -> None:
    await send(ACCEPT)
    while (message := await receive())["type"] == "websocket.receive":
        value = msgspec.json.decode(message["text"])
        await send({"type": "websocket.send", "text": msgspec.json.encode(value).decode()})


def build(row: str, variant: str) -> Any:
    """The app that answers `row`."""
    room = Room()

    async def listen(receive: Any, send: Any) -> None:
        await send(ACCEPT)
        async with room.subscribe() as queue:
            await send({"type": "websocket.send", "text": HELLO})
            while True:
                await send({"type": "websocket.send", "text": await queue.get()})

    async def events(receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": EVENT_STREAM})
        async with room.subscribe() as queue:
            chunk = HELLO
            while True:
                body = f"data: {chunk}\n\n".encode()
                await send({"type": "http.response.body", "body": body, "more_body": True})
                chunk = await queue.get()

    async def publish(receive: Any, send: Any) -> None:
        message = await receive()
        room.publish(message["body"].decode())
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    doors = {"/text": text, "/json": as_json, "/listen": listen, "/events": events, "/publish": publish}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
        if scope["type"] != "lifespan":
            await doors[scope["path"]](receive, send)

    return app
