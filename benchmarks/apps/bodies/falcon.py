"""Falcon's ASGI app, as its documentation writes each row; it has no typed bodies."""

from __future__ import annotations

from typing import Any

import falcon.asgi

from benchmarks import report
from benchmarks.bodyrows import ROWS

__all__ = ["ROWS", "VARIANTS", "VERSIONS", "build"]

VERSIONS = report.versions(("falcon",))
VARIANTS: dict[str, tuple[str, ...]] = {"typed-body": ()}


class Form:
    async def on_post(self, request: Any, response: Any) -> None:
        response.media = await request.get_media()


class Multipart:
    async def on_post(self, request: Any, response: Any) -> None:
        answer: dict[str, Any] = {}
        async for part in await request.get_media():
            if part.name == "title":
                answer["title"] = await part.text
            elif part.filename:
                answer["name"] = part.filename
                # Its limit for get_data() is 1 MiB; reading the stream has none.
                answer["size"] = len(await part.stream.read())
        response.media = answer


def build(row: str, variant: str) -> Any:
    """The app that answers `row`."""
    app = falcon.asgi.App()
    app.add_route("/", {"form-urlencoded": Form, "multipart-1MiB": Multipart}[row]())
    return app
