"""The rows of `bodies.py`: requests with a body, and what must come back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from benchmarks.rows import JSON, ORDER_BYTES, Answer, Row, WrongAnswer, _check_frame

FIELDS = {
    "name": "Ada Lovelace",
    "email": "ada@example.org",
    "city": "London & Paris",
    "age": "36",
    "note": "100% of it, naïvely",
}
FORM_BYTES = urlencode(FIELDS).encode()
BOUNDARY = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
FILE = bytes(range(256)) * 4096
"""1 MiB, with the bytes of line ends in it."""
MULTIPART_BYTES = b"".join(
    (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="title"\r\n\r\nA photo\r\n'.encode(),
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="photo"; filename="photo.png"\r\n'.encode(),
        b"Content-Type: image/png\r\n\r\n",
        FILE,
        f"\r\n--{BOUNDARY}--\r\n".encode(),
    )
)


@dataclass
class PlainLine:
    article: str
    quantity: int
    price: float


@dataclass
class PlainCustomer:
    name: str
    email: str


@dataclass
class PlainOrder:
    """The order of `rows.py` as dataclasses; frameworks with types of their own have them in their files."""

    id: int
    customer: PlainCustomer
    lines: list[PlainLine]
    paid: bool
    note: str | None


def total(order: Any) -> dict[str, object]:
    """What the view makes of an order: only attributes of the right type can be added up."""
    return {"name": order.customer.name, "total": sum(line.quantity * line.price for line in order.lines)}


def expect(value: object) -> Callable[[str, Answer], None]:
    def check(path: str, answer: Answer) -> None:
        _check_frame(path, answer, 200, JSON)
        if json.loads(answer.body) != value:
            raise WrongAnswer(f"{path}: expected {value!r}, got {answer.body[:200]!r}")

    return check


def headers(content_type: str, body: bytes) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode()))


ROWS = {
    row.name: row
    for row in (
        Row(
            "typed-body",
            "POST / a JSON body as a typed object",
            expect({"name": "Ada Lovelace", "total": 21.0}),
            method="POST",
            body=ORDER_BYTES,
            headers=headers("application/json", ORDER_BYTES),
        ),
        Row(
            "form-urlencoded",
            "POST / an urlencoded form of five fields",
            expect(FIELDS),
            method="POST",
            body=FORM_BYTES,
            headers=headers("application/x-www-form-urlencoded", FORM_BYTES),
        ),
        Row(
            "multipart-1MiB",
            "POST / a multipart form with a field and a file of 1 MiB",
            expect({"title": "A photo", "name": "photo.png", "size": len(FILE)}),
            method="POST",
            body=MULTIPART_BYTES,
            headers=headers(f"multipart/form-data; boundary={BOUNDARY}", MULTIPART_BYTES),
        ),
    )
}
