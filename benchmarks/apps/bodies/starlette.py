"""Starlette, as its documentation writes each row; it has no typed bodies."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from benchmarks import report
from benchmarks.bodyrows import ROWS

__all__ = ["ROWS", "VARIANTS", "VERSIONS", "build"]

VERSIONS = report.versions(("starlette", "python-multipart"))
VARIANTS: dict[str, tuple[str, ...]] = {"typed-body": ()}


async def form(request: Request) -> JSONResponse:
    async with request.form() as fields:
        return JSONResponse(dict(fields))


async def multipart(request: Request) -> JSONResponse:
    async with request.form() as fields:
        photo: Any = fields["photo"]
        size = len(await photo.read())
        return JSONResponse({"title": fields["title"], "name": photo.filename, "size": size})


def build(row: str, variant: str) -> Any:
    """The app that answers `row`."""
    views = {"form-urlencoded": form, "multipart-1MiB": multipart}
    return Starlette(routes=[Route("/", views[row], methods=["POST"])])
