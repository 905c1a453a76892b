"""BlackSheep, as its documentation writes it. No `from __future__ import annotations`: it reads them as they are."""

import logging
from typing import Any

import msgspec
from blacksheep import Application, WebSocket, WebSocketDisconnectError
from blacksheep.server.routing import Router

from benchmarks import report
from benchmarks.sockets import ROWS, STAND

__all__ = ["ROWS", "STAND", "VARIANTS", "VERSIONS", "build"]

VERSIONS = report.versions(("blacksheep", "essentials", "msgspec"))
VARIANTS = {"json": ("stdlib json", "msgspec")}
logging.getLogger("blacksheep").setLevel(logging.WARNING)


async def text(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnectError:
        pass


async def as_json(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            await websocket.send_json(await websocket.receive_json())
    except WebSocketDisconnectError:
        pass


async def with_msgspec(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            value = msgspec.json.decode(await websocket.receive_text())
            await websocket.send_text(msgspec.json.encode(value).decode())
    except WebSocketDisconnectError:
        pass


def build(row: str, variant: str) -> Any:
    """The app that answers `row`."""
    app = Application(router=Router())
    app.router.add_ws("/text", text)
    app.router.add_ws("/json", with_msgspec if variant == "msgspec" else as_json)
    return app
