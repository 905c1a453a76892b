"""The rows of the table: what is asked of every contestant, and what must come back.

A row is one kind of request. It knows the request targets to send (5,000 different ones where a
path parameter is part of the question, so that a cache of recent paths cannot answer) and checks an
answer before anybody times it. It knows nothing of frameworks: `apps/` answers the rows, `walk.py`
and `wire.py` time them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import get_ident, main_thread

HELLO = "Hello, world!"
MESSAGE = {"message": HELLO, "ok": True, "count": 3}
ORDER = {
    "id": 1729,
    "customer": {"name": "Ada Lovelace", "email": "ada@example.org"},
    "lines": [
        {"article": "tea", "quantity": 2, "price": 4.5},
        {"article": "cake", "quantity": 1, "price": 12.0},
    ],
    "paid": False,
    "note": None,
}
ORDER_BYTES = json.dumps(ORDER, separators=(",", ":")).encode()
CHUNK = b"0123456789abcdef" * 4
CHUNKS = 100
EVENT_LOOP_THREAD = main_thread().ident
IDS = range(1000, 6000)
"""The 5,000 ids; the widest per-path cache among the rivals holds 1,200 paths."""

USER_TARGETS = tuple(f"/users/{number}" for number in IDS)
EVENT_TARGETS = tuple(f"/api/v1/webhooks/{number}/events/{number + 7}" for number in IDS)
MISSING_TARGETS = tuple(f"/api/v1/nothing/{number}" for number in IDS)

LAYERS = ("x-first", "x-second", "x-third")
"""The response header that each of the three middlewares adds, so that a layer that did not run is seen."""

ran = [0]
"""Counts the calls of the middlewares that add nothing, for the same purpose."""

RESOURCES = [
    "users",
    "teams",
    "projects",
    "issues",
    "comments",
    "labels",
    "milestones",
    "releases",
    "branches",
    "commits",
    "tags",
    "reviews",
    "builds",
    "jobs",
    "artifacts",
    "runners",
    "packages",
    "images",
    "volumes",
    "networks",
    "secrets",
    "tokens",
    "invoices",
    "payments",
    "webhooks",
]
"""Each becomes eight routes (see `routes`): 25 x 8 = 200."""


def work() -> str:
    """What a `def` view does: the greeting, if it is called in another thread than the event loop's."""
    return HELLO if get_ident() != EVENT_LOOP_THREAD else "called on the event loop"


@dataclass(frozen=True)
class RouteSpec:
    """One of the 200 routes. `path` is written with `{name}` for an int parameter: `/api/v1/users/{id}`."""

    method: str
    path: str
    parameters: tuple[str, ...]


def routes(resources: list[str] | None = None) -> list[RouteSpec]:
    """A realistic REST API of 25 resources; its last route is the one that is asked for."""
    specs = []
    for resource in RESOURCES if resources is None else resources:
        top = f"/api/v1/{resource}"
        specs += [
            RouteSpec("GET", top, ()),
            RouteSpec("POST", top, ()),
            RouteSpec("GET", f"{top}/search", ()),
            RouteSpec("GET", f"{top}/{{id}}", ("id",)),
            RouteSpec("PUT", f"{top}/{{id}}", ("id",)),
            RouteSpec("DELETE", f"{top}/{{id}}", ("id",)),
            RouteSpec("GET", f"{top}/{{id}}/events", ("id",)),
            RouteSpec("GET", f"{top}/{{id}}/events/{{event_id}}", ("id", "event_id")),
        ]
    return specs


@dataclass
class Answer:
    """What a contestant sent for one request."""

    status: int
    headers: list[tuple[bytes, bytes]]
    parts: list[bytes]

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    def header(self, name: bytes) -> str | None:
        values = [value for key, value in self.headers if key.lower() == name]
        assert len(values) <= 1, f"{name!r} was sent {len(values)} times"
        return values[0].decode("latin-1") if values else None


class WrongAnswer(AssertionError):
    """A contestant answered something else than the row asks for; nothing of it is timed."""


@dataclass(frozen=True)
class Row:
    """One question: `targets` are sent in turn, `check(path, answer)` refuses a wrong answer."""

    name: str
    question: str
    check: Callable[[str, Answer], None]
    targets: tuple[str, ...] = ("/",)
    method: str = "GET"
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = field(default=())
    among_variants: bool = False
    """Asked only of the apps that name variants for it, to compare those with each other."""
    returning: bool = False
    """Asked by a client that was here before: with the cookies that a first answer has set."""


def _require(condition: bool, path: str, answer: Answer, what: str) -> None:
    if not condition:
        raise WrongAnswer(
            f"{path}: expected {what}; got status {answer.status}, headers {answer.headers}, body {answer.body[:200]!r}"
        )


def _check_frame(path: str, answer: Answer, status: int, kind: str, *, length: bool = True) -> None:
    _require(answer.status == status, path, answer, f"status {status}")
    content_type = answer.header(b"content-type") or ""
    _require(re.fullmatch(kind, content_type.lower()) is not None, path, answer, f"a content type like {kind}")
    content_length = answer.header(b"content-length")
    if length:
        _require(content_length == str(len(answer.body)), path, answer, f"content-length {len(answer.body)}")
    else:
        _require(content_length is None, path, answer, "no content-length")


# A framework's natural answer for a str is text/plain in one and text/html in another: both will do.
TEXT = r"text/(plain|html); ?charset=utf-8"
JSON = r"application/json(; ?charset=utf-8)?"


def check_hello(path: str, answer: Answer) -> None:
    _check_frame(path, answer, 200, TEXT)
    _require(answer.body == HELLO.encode(), path, answer, repr(HELLO))


def check_message(path: str, answer: Answer) -> None:
    _check_frame(path, answer, 200, JSON)
    _require(json.loads(answer.body) == MESSAGE, path, answer, repr(MESSAGE))


def check_echo(path: str, answer: Answer) -> None:
    _check_frame(path, answer, 200, JSON)
    _require(json.loads(answer.body) == ORDER, path, answer, "the order that was sent")


def check_parameter(path: str, answer: Answer) -> None:
    _check_frame(path, answer, 200, TEXT)
    # One more than the id: only an int can be counted up.
    expected = str(int(path.rpartition("/")[2]) + 1).encode()
    _require(answer.body == expected, path, answer, repr(expected))


def check_last_route(path: str, answer: Answer) -> None:
    _check_frame(path, answer, 200, TEXT)
    parts = path.split("/")
    expected = str(int(parts[4]) + int(parts[6])).encode()
    _require(answer.body == expected, path, answer, repr(expected))


def check_not_found(path: str, answer: Answer) -> None:
    _check_frame(path, answer, 404, r"text/(plain|html); ?charset=utf-8|application/(problem\+)?json.*")
    _require(answer.body != b"", path, answer, "a body")


def check_counted(path: str, answer: Answer) -> None:
    check_hello(path, answer)
    _require(ran[0] > 0 and ran[0] % len(LAYERS) == 0, path, answer, f"{len(LAYERS)} layers to have run")


def check_layers(path: str, answer: Answer) -> None:
    check_hello(path, answer)
    for name in LAYERS:
        _require(answer.header(name.encode()) == "1", path, answer, f"the header {name}")


def check_stream(path: str, answer: Answer) -> None:
    _check_frame(path, answer, 200, rf"{TEXT}|application/octet-stream", length=False)
    _require([part for part in answer.parts if part] == [CHUNK] * CHUNKS, path, answer, f"{CHUNKS} separate chunks")


ROWS = {
    row.name: row
    for row in (
        Row("plaintext", "GET / as text", check_hello),
        Row("json", "GET / as JSON", check_message),
        Row("parameter", "GET /users/<int:id>", check_parameter, USER_TARGETS),
        Row(
            "last-of-200",
            "the last of 200 routes, two int parameters",
            check_last_route,
            EVENT_TARGETS,
        ),
        Row(
            "404-of-200",
            "a miss among 200 routes",
            check_not_found,
            MISSING_TARGETS,
        ),
        Row("middleware", "three middlewares that count their calls", check_counted),
        Row("header-layers", "three middlewares that each add a header", check_layers),
        Row(
            "echo",
            "POST / JSON in, JSON out",
            check_echo,
            method="POST",
            body=ORDER_BYTES,
            headers=(
                (b"content-type", b"application/json"),
                (b"content-length", str(len(ORDER_BYTES)).encode()),
            ),
        ),
        Row("thread", "a def view in a worker thread", check_hello),
        Row("stream", f"a stream of {CHUNKS} chunks", check_stream),
        Row(
            "many-routes",
            "the last of 10 and of 10,000 routes",
            check_last_route,
            EVENT_TARGETS,
            among_variants=True,
        ),
    )
}


def many_routes(count: int) -> list[RouteSpec]:
    """`count` routes in the manner of `routes`, with the same last one: any size answers `EVENT_TARGETS`."""
    resources = [f"resource-{number}" for number in range((count + 7) // 8)]
    return routes([*resources, RESOURCES[-1]])[-count:]
