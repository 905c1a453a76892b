"""The limit: each row by hand on bare ASGI, nothing that the answer does not need. Not a framework."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from benchmarks import report, rows

VERSIONS = report.versions(("msgspec",))
VARIANTS: dict[str, tuple[str, ...]] = {}

TEXT = (b"content-type", b"text/plain; charset=utf-8")
JSON = (b"content-type", b"application/json")


async def answer(send: Any, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def plaintext(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await answer(send, 200, [TEXT], b"Hello, world!")


async def as_json(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await answer(send, 200, [JSON], msgspec.json.encode({"message": "Hello, world!", "ok": True, "count": 3}))


async def parameter(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        path = scope["path"]
        if path.startswith("/users/") and (number := path[7:]).isdecimal():
            await answer(send, 200, [TEXT], str(int(number) + 1).encode())
        else:
            await answer(send, 404, [TEXT], b"Not Found")


async def last_of_200(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        parts = scope["path"].split("/")
        if (
            len(parts) == 7
            and parts[1] == "api"
            and parts[2] == "v1"
            and parts[3] == "webhooks"
            and parts[5] == "events"
            and parts[4].isdecimal()
            and parts[6].isdecimal()
        ):
            await answer(send, 200, [TEXT], str(int(parts[4]) + int(parts[6])).encode())
        else:
            await answer(send, 404, [TEXT], b"Not Found")


KNOWN = frozenset(rows.RESOURCES)


async def not_found(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        parts = scope["path"].split("/")
        if len(parts) >= 4 and parts[1] == "api" and parts[2] == "v1" and parts[3] in KNOWN:
            raise AssertionError("this row only asks for misses")
        await answer(send, 404, [TEXT], b"Not Found")


def layer(inner: Any, name: bytes) -> Any:
    async def outer(scope: Any, receive: Any, send: Any) -> None:
        async def send_with_header(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((name, b"1"))
            await send(message)

        await inner(scope, receive, send_with_header)

    return outer


def counting(inner: Any) -> Any:
    async def outer(scope: Any, receive: Any, send: Any) -> None:
        rows.ran[0] += 1
        await inner(scope, receive, send)

    return outer


async def echo(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        await answer(send, 200, [JSON], msgspec.json.encode(msgspec.json.decode(body)))


async def thread(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        text = await asyncio.get_running_loop().run_in_executor(None, rows.work)
        await answer(send, 200, [TEXT], text.encode())


async def stream(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [TEXT]})
        for _ in range(rows.CHUNKS):
            await send({"type": "http.response.body", "body": rows.CHUNK, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


APPS = {
    "plaintext": plaintext,
    "json": as_json,
    "parameter": parameter,
    "last-of-200": last_of_200,
    "404-of-200": not_found,
    "middleware": counting(counting(counting(plaintext))),
    "header-layers": layer(layer(layer(plaintext, b"x-first"), b"x-second"), b"x-third"),
    "echo": echo,
    "thread": thread,
    "stream": stream,
}


def build(row: str, variant: str) -> Any:
    """The app that answers `row`."""
    return APPS[row]
