"""Starlette, as its documentation writes it; event streams also with sse-starlette, where that is installed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from benchmarks import report
from benchmarks.apps.sockets.room import Room
from benchmarks.sockets import HELLO, ROWS, STAND

__all__ = ["ROWS", "STAND", "VARIANTS", "VERSIONS", "build"]

HAS_SSE = find_spec("sse_starlette") is not None
VERSIONS = report.versions(("starlette", "anyio", "msgspec", *(["sse-starlette"] if HAS_SSE else [])))
VARIANTS = {
    "text": ("iter_text", "receive"),
    "text-turns": ("iter_text", "receive"),
    "json": ("stdlib json", "msgspec"),
    "events": ("StreamingResponse", *(["sse-starlette"] if HAS_SSE else [])),
}


async def iter_text(websocket: WebSocket) -> None:
    await websocket.accept()
    async for message in websocket.iter_text():
        await websocket.send_text(message)


async def receive(websocket: WebSocket) -> None:
    await websocket.accept()
    while (message := await websocket.receive())["type"] == "websocket.receive":
        await websocket.send({"type": "websocket.send", "text": message["text"]})


async def as_json(websocket: WebSocket) -> None:
    await websocket.accept()
    async for value in websocket.iter_json():
        await websocket.send_json(value)


async def with_msgspec(websocket: WebSocket) -> None:
    await websocket.accept()
    async for message in websocket.iter_text():
        await websocket.send_text(msgspec.json.encode(msgspec.json.decode(message)).decode())


def build(row: str, variant: str) -> Any:
    """The app that answers `row`."""
    room = Room()

    async def listen(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            async with room.subscribe() as queue:
                await websocket.send_text(HELLO)
                while True:
                    await websocket.send_text(await queue.get())
        except WebSocketDisconnect:
            pass

    async def chunks() -> Any:
        async with room.subscribe() as queue:
            text = HELLO
            while True:
                yield f"data: {text}\n\n"
                text = await queue.get()

    async def items() -> Any:
        async with room.subscribe() as queue:
            yield {"data": HELLO}
            while True:
                yield {"data": await queue.get()}

    async def events(request: Request) -> Response:
        if variant == "sse-starlette":
            from sse_starlette import EventSourceResponse

            return EventSourceResponse(items())
        return StreamingResponse(chunks(), media_type="text/event-stream")

    async def publish(request: Request) -> Response:
        room.publish((await request.body()).decode())
        return Response(status_code=204)

    return Starlette(
        routes=[
            WebSocketRoute("/text", receive if variant == "receive" else iter_text),
            WebSocketRoute("/json", with_msgspec if variant == "msgspec" else as_json),
            WebSocketRoute("/listen", listen),
            Route("/events", events),
            Route("/publish", publish, methods=["POST"]),
        ]
    )
