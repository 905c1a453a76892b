"""BlackSheep, as its documentation writes each row.

No `from __future__ import annotations` here: BlackSheep compares `-> Response` by identity. Its own conversion of
dataclasses leaves nested ones as dicts, so the typed body is a pydantic model.
"""

from typing import Any

from blacksheep import Application, FromJSON, Request, Response, json
from blacksheep.server.routing import Router
from pydantic import BaseModel

from benchmarks import bodyrows, report
from benchmarks.bodyrows import ROWS

__all__ = ["ROWS", "VARIANTS", "VERSIONS", "build"]

VERSIONS = report.versions(("blacksheep", "pydantic"))
VARIANTS: dict[str, tuple[str, ...]] = {}


class Line(BaseModel):
    article: str
    quantity: int
    price: float


class Customer(BaseModel):
    name: str
    email: str


class Order(BaseModel):
    id: int
    customer: Customer
    lines: list[Line]
    paid: bool
    note: str | None


async def typed(order: FromJSON[Order]) -> Response:
    return json(bodyrows.total(order.value))


async def form(request: Request) -> Response:
    return json(await request.form())


async def multipart(request: Request) -> Response:
    answer: dict[str, Any] = {}
    for part in await request.multipart():
        if part.file_name:
            answer |= {"name": part.file_name.decode(), "size": len(part.data)}
        else:
            answer["title"] = part.data.decode()
    return json(answer)


def build(row: str, variant: str) -> Any:
    """The app that answers `row`."""
    app = Application(router=Router())
    views = {
        "typed-body": typed,
        "form-urlencoded": form,
        "multipart-1MiB": multipart,
    }
    app.router.add("POST", "/", views[row])
    return app
