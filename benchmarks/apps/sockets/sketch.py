"""The least that a websocket object costs in Python: it is iterated, it sends, and it is closed behind its view.

Not a framework: no limits, no states, no errors. Two coroutines stand around the view, as in any framework that looks
for it first and closes behind it.
"""

from __future__ import annotations

from typing import Any

from benchmarks.sockets import ROWS, STAND

__all__ = ["ROWS", "STAND", "VARIANTS", "VERSIONS", "build"]

VERSIONS: dict[str, str] = {}
VARIANTS: dict[str, tuple[str, ...]] = {row: () for row in ROWS if row not in ("text", "text-turns")}


class Socket:
    __slots__ = ("receive", "send")

    def __init__(self, receive: Any, send: Any) -> None:
        self.receive = receive
        self.send = send

    def __aiter__(self) -> Socket:
        return self

    async def __anext__(self) -> str:
        receive = self.receive
        message = await receive()
        if message["type"] == "websocket.disconnect":
            raise StopAsyncIteration
        text: str = message["text"]
        return text

    async def send_text(self, text: str) -> None:
        send = self.send
        await send({"type": "websocket.send", "text": text})


async def echo(socket: Socket) -> None:
    await socket.send({"type": "websocket.accept"})
    async for message in socket:
        await socket.send_text(message)


VIEWS = {"/text": echo}


async def serve(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    view = VIEWS[scope["path"]]
    await view(Socket(receive, send))
    await send({"type": "websocket.close", "code": 1000})


def build(row: str, variant: str) -> Any:
    """The app that answers `row`."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await serve(scope, receive, send)

    return app
