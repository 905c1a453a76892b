"""microweb, as its documentation writes each row."""

from __future__ import annotations

from typing import Any

import msgspec

from benchmarks import bodyrows, report
from benchmarks.bodyrows import ROWS
from microweb import App, Request, __version__

__all__ = ["ROWS", "VARIANTS", "VERSIONS", "build"]

VERSIONS = {"microweb": __version__} | report.versions(("msgspec", "multipart"))
VARIANTS: dict[str, tuple[str, ...]] = {"typed-body": ("Struct", "dataclass")}


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


async def typed(order: Order) -> dict[str, Any]:
    return bodyrows.total(order)


async def typed_dataclass(order: bodyrows.PlainOrder) -> dict[str, Any]:
    return bodyrows.total(order)


async def form(request: Request) -> Any:
    return (await request.form()).to_dict()


async def multipart(request: Request) -> Any:
    fields, files = await request.form(), await request.files()
    photo = files["photo"]
    return {"title": fields["title"], "name": photo.filename, "size": len(await photo.read())}


def build(row: str, variant: str) -> Any:
    """The app that answers `row`."""
    app = App("benchmarks", static_folder=None)
    views = {
        "typed-body": typed_dataclass if variant == "dataclass" else typed,
        "form-urlencoded": form,
        "multipart-1MiB": multipart,
    }
    app.add_route("/", views[row], methods=["POST"])
    return app
