"""One keep-alive client of an ASGI app, in process: uvicorn's scopes and the lightest receive and send.

Not a test client: it speaks one request at a time, never disconnects and keeps nothing, so that what
is timed is the app. `Recorder` is the same client writing down the answer, for the check beforehand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from benchmarks.rows import Answer, Row

HEADERS = (
    (b"host", b"127.0.0.1:8000"),
    (b"user-agent", b"curl/8.14.1"),
    (b"accept", b"*/*"),
)


def scope_maker(row: Row) -> Callable[[bytes], dict[str, Any]]:
    """A function from request target to fresh scope, as uvicorn's httptools protocol (0.54) makes it.

    The path is decoded anew each time, as a server does: the cached hash of an earlier path would
    flatter every dict lookup.
    """
    method = row.method
    headers = [*HEADERS, *row.headers]

    def make_scope(target: bytes) -> dict[str, Any]:
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "server": ("127.0.0.1", 8000),
            "client": ("127.0.0.1", 50000),
            "scheme": "http",
            "root_path": "",
            "headers": headers.copy(),
            "state": {},
            "method": method,
            "path": target.decode("ascii"),
            "raw_path": target,
            "query_string": b"",
        }

    return make_scope


class Client:
    """The receive and send of one connection. `fresh` is set before each request."""

    __slots__ = ("body", "fresh")

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.fresh = True

    async def receive(self) -> dict[str, Any]:
        if self.fresh:
            self.fresh = False
            return {"type": "http.request", "body": self.body, "more_body": False}
        # As on a server while the client stays: nothing more comes until the answer is complete.
        await asyncio.get_running_loop().create_future()
        raise AssertionError("never reached")

    async def send(self, message: dict[str, Any]) -> None:
        pass


class ChunkedClient(Client):
    """A client whose body comes in messages of 64 KiB, as uvicorn hands out a large one."""

    __slots__ = ("place",)

    async def receive(self) -> dict[str, Any]:
        if self.fresh:
            self.fresh = False
            self.place = 0
        if self.place >= len(self.body):
            return await super().receive()
        start, self.place = self.place, self.place + CHUNK
        more = self.place < len(self.body)
        return {"type": "http.request", "body": self.body[start : start + CHUNK], "more_body": more}


CHUNK = 65536


def make_client(body: bytes) -> Client:
    """The client that sends ``body`` as a server would."""
    return Client(body) if len(body) <= CHUNK else ChunkedClient(body)


class Recorder(Client):
    """Keeps the messages of one answer."""

    __slots__ = ("messages",)

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self.messages: list[dict[str, Any]] = []

    async def send(self, message: dict[str, Any]) -> None:
        self.messages.append(message)

    def answer(self) -> Answer:
        """The answer that was sent, refused if its messages break the ASGI order."""
        start, *parts = self.messages
        assert start["type"] == "http.response.start", start
        assert all(part["type"] == "http.response.body" for part in parts), parts
        assert [part.get("more_body", False) for part in parts] == [True] * (len(parts) - 1) + [False]
        return Answer(start["status"], list(start["headers"]), [bytes(part.get("body", b"")) for part in parts])


async def check(app: Any, row: Row) -> None:
    """Asks the app about the first, a middle and the last target and refuses wrong answers."""
    count = len(row.targets)
    for number in sorted({0, count // 2, count - 1}):
        recorder = Recorder(row.body)
        target = row.targets[number]
        await app(scope_maker(row)(target.encode()), recorder.receive, recorder.send)
        row.check(target, recorder.answer())


async def with_cookies(app: Any, row: Row) -> Row:
    """The row with the cookies of an app's first answer, as a browser would send them from then on."""
    recorder = Recorder(row.body)
    await app(scope_maker(row)(row.targets[0].encode()), recorder.receive, recorder.send)
    lines = [value for name, value in recorder.answer().headers if name.lower() == b"set-cookie"]
    cookies = b"; ".join(line.partition(b";")[0] for line in lines)
    return replace(row, headers=(*row.headers, (b"cookie", cookies)))


class Lifespan:
    """Starts an app as a server does, and stops it. An app without lifespan support is left alone."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.started = asyncio.Event()
        self.stopping = asyncio.Event()
        self.asked = False
        self.failure: str | None = None
        self.task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
        self.task = asyncio.ensure_future(self.app(scope, self.receive, self.send))
        waiter = asyncio.ensure_future(self.started.wait())
        await asyncio.wait([self.task, waiter], return_when=asyncio.FIRST_COMPLETED)
        waiter.cancel()
        if self.failure is not None:
            raise RuntimeError(f"the app did not start: {self.failure}")

    async def stop(self) -> None:
        self.stopping.set()
        if self.task is not None:
            await self.task

    async def receive(self) -> dict[str, Any]:
        if not self.asked:
            self.asked = True
            return {"type": "lifespan.startup"}
        await self.stopping.wait()
        return {"type": "lifespan.shutdown"}

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"].endswith(".failed"):
            self.failure = message.get("message", "")
        self.started.set()
