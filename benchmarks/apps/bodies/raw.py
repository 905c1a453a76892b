"""The limit: each row by hand on bare ASGI. Not a framework; it has no part in the multipart row."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import msgspec

from benchmarks import bodyrows, report
from benchmarks.apps.raw import JSON, answer
from benchmarks.bodyrows import ROWS

__all__ = ["ROWS", "VARIANTS", "VERSIONS", "build"]

VERSIONS = report.versions(("msgspec",))
VARIANTS: dict[str, tuple[str, ...]] = {"multipart-1MiB": ()}
decode = msgspec.json.Decoder(bodyrows.PlainOrder).decode


async def read(receive: Any) -> bytes:
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def typed(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await answer(send, 200, [JSON], msgspec.json.encode(bodyrows.total(decode(await read(receive)))))


async def form(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        fields = dict(parse_qsl((await read(receive)).decode("latin-1"), keep_blank_values=True))
        await answer(send, 200, [JSON], msgspec.json.encode(fields))


def build(row: str, variant: str) -> Any:
    """The app that answers `row`."""
    return {"typed-body": typed, "form-urlencoded": form}[row]
