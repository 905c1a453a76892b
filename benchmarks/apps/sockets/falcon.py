"""Falcon's ASGI app, as its documentation writes it; with its queue of received messages, and without."""

from __future__ import annotations

from typing import Any

import falcon
import falcon.asgi
import msgspec

from benchmarks import report
from benchmarks.sockets import ROWS, STAND

__all__ = ["ROWS", "STAND", "VARIANTS", "VERSIONS", "build"]

VERSIONS = report.versions(("falcon", "msgspec"))
VARIANTS = {
    "text": ("queue of 4", "no queue"),
    "text-turns": ("queue of 4", "no queue"),
    "connect": ("queue of 4", "no queue"),
    "json": ("no queue, stdlib json", "no queue, msgspec"),
}


class Text:
    async def on_websocket(self, request: Any, websocket: Any) -> None:
        try:
            await websocket.accept()
            while True:
                await websocket.send_text(await websocket.receive_text())
        except falcon.WebSocketDisconnected:
            pass


class Json:
    async def on_websocket(self, request: Any, websocket: Any) -> None:
        try:
            await websocket.accept()
            while True:
                await websocket.send_media(await websocket.receive_media())
        except falcon.WebSocketDisconnected:
            pass


class JsonWithMsgspec(falcon.media.TextBaseHandlerWS):
    def serialize(self, media: Any) -> str:
        return msgspec.json.encode(media).decode()

    def deserialize(self, payload: str) -> Any:
        return msgspec.json.decode(payload)


def build(row: str, variant: str) -> Any:
    """The app that answers `row`."""
    app = falcon.asgi.App()
    if variant != "queue of 4":
        app.ws_options.max_receive_queue = 0
    if "msgspec" in variant:
        app.ws_options.media_handlers[falcon.WebSocketPayloadType.TEXT] = JsonWithMsgspec()
    app.add_route("/text", Text())
    app.add_route("/json", Json())
    return app
