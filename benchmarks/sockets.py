"""One websocket in process: the rows of `websockets.py` and the stand on which `contestant.py` times them.

The client speaks uvicorn's messages and keeps nothing. In most rows its messages wait already, so that what is
timed is the app. In `text-turns` it goes the way of a server: the next message comes from the event loop, through
a queue, when the answer to the last one is out.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from time import perf_counter_ns, process_time_ns
from typing import Any

from benchmarks.contestant import Stand
from benchmarks.rows import WrongAnswer

HELLO = "hello"
TEXT = "The quick brown fox jumps over the lazy dog"
JSON = '{"id":7,"text":"hello","tags":["a","b"],"ok":true}'


@dataclass(frozen=True)
class SocketRow:
    """What is sent on one websocket, and has to come back."""

    name: str
    question: str
    path: str
    message: str
    messages: int = 1000
    """How many on each websocket; its handshake and its end are part of the time."""
    in_turns: bool = False
    among_variants = False
    returning = False


ROWS = {
    row.name: row
    for row in (
        SocketRow("text", "A text comes back; the messages wait already", "/text", TEXT),
        SocketRow("text-turns", "A text comes back; the next one is sent then", "/text", TEXT, in_turns=True),
        SocketRow("json", "A value comes back, read from JSON and written again", "/json", JSON),
        SocketRow("connect", "Handshake, one text and back, close", "/text", TEXT, messages=1),
    )
}


def make_scope(path: str) -> dict[str, Any]:
    """A fresh scope, as uvicorn (0.54) makes it."""
    return {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "ws",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 50000),
        "root_path": "",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [
            (b"host", b"127.0.0.1:8000"),
            (b"upgrade", b"websocket"),
            (b"connection", b"Upgrade"),
            (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
            (b"sec-websocket-version", b"13"),
        ],
        "subprotocols": [],
        "state": {},
        "extensions": {"websocket.http.response": {}},
    }


class SocketClient:
    """The receive and send of one websocket whose messages wait already."""

    __slots__ = ("answered", "connecting", "left", "text", "total")

    def __init__(self, row: SocketRow) -> None:
        self.text = row.message
        self.total = self.left = row.messages
        self.answered = 0
        self.connecting = True

    async def receive(self) -> dict[str, Any]:
        if self.left and not self.connecting:
            self.left -= 1
            return {"type": "websocket.receive", "text": self.text}
        if self.connecting:
            self.connecting = False
            return {"type": "websocket.connect"}
        while self.answered < self.total:
            await asyncio.sleep(0)  # An app that reads ahead still has to answer.
        return {"type": "websocket.disconnect", "code": 1000, "reason": ""}

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.send":
            self.answered += 1


class TurnsClient(SocketClient):
    """A client that sends the next message when the answer to the last is out."""

    __slots__ = ("call_soon", "queue")

    def __init__(self, row: SocketRow) -> None:
        super().__init__(row)
        self.queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.call_soon = asyncio.get_running_loop().call_soon
        self.queue.put_nowait({"type": "websocket.connect"})

    def go_on(self) -> None:
        if self.left:
            self.left -= 1
            self.queue.put_nowait({"type": "websocket.receive", "text": self.text})
        else:
            self.queue.put_nowait({"type": "websocket.disconnect", "code": 1000, "reason": ""})

    async def receive(self) -> dict[str, Any]:
        return await self.queue.get()

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.send":
            self.answered += 1
        if message["type"] != "websocket.close":
            self.call_soon(self.go_on)


class RecordingClient(SocketClient):
    """Keeps what comes back."""

    __slots__ = ("messages",)

    def __init__(self, row: SocketRow) -> None:
        super().__init__(row)
        self.messages: list[dict[str, Any]] = []

    async def send(self, message: dict[str, Any]) -> None:
        await super().send(message)
        self.messages.append(message)


class SocketStand(Stand):
    """One app that answers one row of websockets."""

    def __init__(self, app: Any, row: Any) -> None:
        self.app = app
        self.row: Any = row
        self.nanoseconds = 1_000_000.0

    async def check(self) -> None:
        """Refuse an app that does not send back exactly what it gets."""
        client = RecordingClient(self.row)
        await self.app(make_scope(self.row.path), client.receive, client.send)
        accept, *answers = client.messages
        if answers and answers[-1]["type"] == "websocket.close":
            answers.pop()
        if (
            accept["type"] != "websocket.accept"
            or [answer["type"] for answer in answers] != ["websocket.send"] * self.row.messages
        ):
            raise WrongAnswer(f"{self.row.name}: no accept and {self.row.messages} answers, but {client.messages[:3]}")
        for answer in answers:
            if answer["text"].replace(": ", ":").replace(", ", ",") != self.row.message:
                raise WrongAnswer(f"{self.row.name}: {answer!r}")

    async def play(self, seconds: float, bare: bool) -> tuple[float, float]:
        """Nanoseconds per message, of processor time and by the clock, over about `seconds`."""
        app, row = self.app, self.row
        kind = TurnsClient if row.in_turns else SocketClient
        sockets = max(1, round(seconds * 1e9 / self.nanoseconds / row.messages))
        answered = 0
        clock = -perf_counter_ns()
        processor = -process_time_ns()
        for _ in range(sockets):
            client = kind(row)
            await app(make_scope(row.path), client.receive, client.send)
            answered += client.answered
        processor += process_time_ns()
        clock += perf_counter_ns()
        if answered != sockets * row.messages:
            raise WrongAnswer(f"{row.name}: {answered} answers to {sockets * row.messages} messages")
        self.nanoseconds = processor / answered
        return self.nanoseconds, clock / answered


STAND = SocketStand
