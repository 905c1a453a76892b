"""FastAPI, as its documentation writes the typed body."""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from benchmarks import bodyrows, report
from benchmarks.bodyrows import ROWS

__all__ = ["ROWS", "VARIANTS", "VERSIONS", "build"]

VERSIONS = report.versions(("fastapi", "pydantic"))
VARIANTS: dict[str, tuple[str, ...]] = {"form-urlencoded": (), "multipart-1MiB": ()}


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


async def typed(order: Order) -> dict[str, Any]:
    return bodyrows.total(order)


def build(row: str, variant: str) -> Any:
    """The app that answers `row`."""
    app = FastAPI(openapi_url=None)
    app.post("/")(typed)
    return app
