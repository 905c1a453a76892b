"""Litestar, as its documentation writes the typed body."""

from typing import Any

import msgspec
from litestar import Litestar, post
from litestar.status_codes import HTTP_200_OK

from benchmarks import bodyrows, report
from benchmarks.bodyrows import ROWS

__all__ = ["ROWS", "VARIANTS", "VERSIONS", "build"]

VERSIONS = report.versions(("litestar", "msgspec"))
VARIANTS: dict[str, tuple[str, ...]] = {"form-urlencoded": (), "multipart-1MiB": ()}


class Line(msgspec.Struct):
    article: str
    quantity: int
    price: float


class Customer(msgspec.Struct):
    name: str
    email: str


class Order(msgspec.Struct):
    id: int
    customer: Customer
    lines: list[Line]
    paid: bool
    note: str | None


@post("/", status_code=HTTP_200_OK)
async def typed(data: Order) -> dict[str, Any]:
    return bodyrows.total(data)


def build(row: str, variant: str) -> Any:
    """The app that answers `row`."""
    return Litestar([typed], openapi_config=None)
