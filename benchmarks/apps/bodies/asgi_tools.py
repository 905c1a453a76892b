"""asgi-tools, as its documentation writes the form rows; it has no typed bodies."""

from __future__ import annotations

from typing import Any

from asgi_tools import App, ResponseJSON

from benchmarks import report
from benchmarks.bodyrows import ROWS

__all__ = ["ROWS", "VARIANTS", "VERSIONS", "build"]

VERSIONS = report.versions(("asgi-tools",))
VARIANTS: dict[str, tuple[str, ...]] = {"typed-body": ()}


async def form(request: Any) -> Any:
    return ResponseJSON(dict(await request.form()))


async def multipart(request: Any) -> Any:
    fields = await request.form(max_size=2 * 1024 * 1024)
    photo = fields["photo"]
    answer = {"title": fields["title"], "name": "photo.png", "size": len(photo.read())}
    return ResponseJSON(answer)


def build(row: str, variant: str) -> Any:
    """The app that answers `row`."""
    app = App()
    app.route("/", methods=["POST"])({"form-urlencoded": form, "multipart-1MiB": multipart}[row])
    return app
