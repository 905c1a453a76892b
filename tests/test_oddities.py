"""NaN and the infinities for numbers, and what has no hash in sets."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Generic, NamedTuple, NotRequired, TypedDict, TypeVar

import attrs
import msgspec
import pytest

from microweb import App, Body, Form, Query, SetupError, WebSocketDisconnect
from microweb.binding import make_plan
from microweb.oddities import refuse_oddities
from microweb.testing import Client

pytestmark = pytest.mark.anyio

T = TypeVar("T")
Price = Annotated[Decimal, msgspec.Meta(extra_json_schema={"unit": "EUR"})]
"""A type with something in it that has no hash."""


class Line(msgspec.Struct, tag=True):
    price: Decimal
    parts: "list[Line]" = []
    fees: dict[str, Decimal | None] = {}


class Note(msgspec.Struct, tag=True):
    price: str


class Offer(msgspec.Struct):
    price: Price


class Link(msgspec.Struct):
    """A type that has itself behind an ``Optional``, and so ends in None."""

    price: Decimal
    following: "Link | None" = None


class Span(msgspec.Struct):
    lowest: float = -math.inf
    highest: Decimal = Decimal("Infinity")
    marks: list[float] = msgspec.field(default_factory=lambda: [math.nan])


class Holder(msgspec.Struct, Generic[T]):
    value: T


class Frozen(msgspec.Struct, frozen=True):
    value: Any


class Key(msgspec.Struct, frozen=True):
    """A type that has itself for the keys of a dict."""

    inner: "dict[Key, int] | None" = None


class Row(NamedTuple):
    name: str
    price: Decimal


class Named(TypedDict):
    price: NotRequired[Decimal]


@attrs.define
class Box:
    price: Decimal


@dataclass
class Point:
    x: float
    y: Decimal = Decimal(0)


async def call(view, method="GET", url="/", **request):
    app = App(__name__)
    app.add_route("/", view, methods=[method])
    async with Client(app) as client:
        return await client.request(method, url, **request)


async def wrong(*arguments, **request):
    answer = await call(*arguments, **request)
    assert answer.status_code == 422, answer.text
    return [(error["name"], error["reason"]) for error in answer.json()["errors"]]


@pytest.mark.parametrize("text", ["nan", "-NaN", "inf", "Infinity", "-infinity"])
@pytest.mark.parametrize("kind", [float, Decimal, float | None, int | float, Annotated[Decimal, Query("value")]])
async def test_their_names_are_no_number_in_a_query(kind, text):
    async def view(value: kind):
        return "ok"

    assert await wrong(view, params={"value": text}) == [("value", "expected a finite number")]


async def test_the_mistake_is_found_in_a_list_and_in_a_form():
    async def listed(ratios: list[float]):
        return "ok"

    async def form(point: Annotated[Point, Form()]):
        return "ok"

    assert await wrong(listed, url="/?ratios=1&ratios=nan") == [("ratios[1]", "expected a finite number")]
    assert await wrong(form, "POST", data={"x": "inf", "y": "NaN"}) == [
        ("x", "expected a finite number"),
        ("y", "expected a finite number"),
    ]


@pytest.mark.parametrize("text", ["n_aN", "I__NF", r"\u006ean", r"in\u0066inity", "_s_n_a_n_"])
async def test_a_name_is_found_however_it_is_written(text):
    async def view(price: Annotated[Decimal, Body("price")], offer: Annotated[Offer | None, Body("offer")] = None):
        return "ok"

    async def whole(offer: Offer):
        return "ok"

    content, headers = f'{{"price": "{text}"}}'.encode(), {"content-type": "application/json"}

    assert await wrong(view, "POST", content=content, headers=headers) == [("price", "expected a finite number")]
    assert await wrong(whole, "POST", content=content, headers=headers) == [("price", "expected a finite number")]


async def test_a_default_without_an_end_stays_where_nothing_else_is_sent():
    async def form(span: Annotated[Span, Form()]):
        return str(span)

    async def body(span: Span):
        return str(span)

    expected = "Span(lowest=-inf, highest=Decimal('Infinity'), marks=[nan])"

    assert (await call(form, "POST", data={})).text == expected
    assert (await call(body, "POST", json={})).text == expected


async def test_the_default_of_a_field_lets_no_other_value_through():
    async def form(span: Annotated[Span, Form()]):
        return "ok"

    assert await wrong(form, "POST", data={"lowest": "nan", "highest": "sNaN", "marks": ["1", "inf"]}) == [
        ("lowest", "expected a finite number"),
        ("highest", "expected a finite number"),
        ("marks[1]", "expected a finite number"),
    ]


async def test_a_type_that_ends_in_none_is_read_to_its_end():
    async def view(link: Link):
        return link

    body = {"price": "1", "following": {"price": "2", "following": None}}

    assert (await call(view, "POST", json=body)).json() == body
    body["following"]["price"] = "nan"
    assert await wrong(view, "POST", json=body) == [("following.price", "expected a finite number")]


async def test_a_text_may_be_called_nan():
    async def view(word: float | str, name: str):
        return [word, name]

    assert (await call(view, url="/?word=nan&name=inf")).json() == ["nan", "inf"]


@pytest.mark.parametrize(
    ("kind", "body", "name"),
    [
        (Decimal, "NaN", ""),
        (Decimal | None, "-inf", ""),
        (Line, {"price": "1", "parts": [{"price": "1"}, {"price": "Infinity"}]}, "parts[1].price"),
        (Line, {"price": "1", "fees": {"a": None, "b": "nan"}}, "fees.b"),
        (Line | Note, {"type": "Line", "price": "NaN"}, "price"),
        (list[Offer], [{"price": "NaN"}], "[0].price"),
        (Holder[Decimal], {"value": "nan"}, "value"),
        (Row, ["a", "nan"], ""),
        (tuple[int, Decimal], [1, "sNaN"], "[1]"),
        (Named, {"price": "nan"}, "price"),
        (Box, {"price": "nan"}, "price"),
        (Point, {"x": 1, "y": "nan"}, "y"),
    ],
)
async def test_a_decimal_in_a_body_is_finite_wherever_it_stands(kind, body, name):
    async def view(value: Annotated[kind, Body()]):
        return "ok"

    async def key(value: Annotated[kind, Body("key")]):
        return "ok"

    assert await wrong(view, "POST", json=body) == [(name, "expected a finite number")]
    assert [reason for _, reason in await wrong(key, "POST", json={"key": body})] == ["expected a finite number"]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (set[Decimal], ["1", "sNaN"]),
        (frozenset[Decimal], ["-sNaN2"]),
        (dict[Decimal, int], {"sNaN": 1}),
        (Mapping[Decimal, int], {"NaN": 1}),
        (dict[float, int], {"1": 1, "nan": 1}),
    ],
)
async def test_a_key_and_what_is_in_a_set_is_finite_too(kind, body):
    async def view(value: Annotated[kind, Body()]):
        return "ok"

    async def query(value: set[Decimal]):
        return "ok"

    assert [reason for _, reason in await wrong(view, "POST", json=body)] == ["expected a finite number"]
    assert await wrong(query, url="/?value=1&value=sNaN") == [("value[1]", "expected a finite number")]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (set, [[1]]),
        (set[Any], [1, {"a": 1}]),
        (frozenset[tuple[Any, ...]], [[[1]]]),
        (set[Frozen], [{"value": 1}, {"value": []}]),
        (list[set[int | Any]], [[[]]]),
    ],
)
async def test_what_has_no_hash_is_a_422(kind, body):
    async def view(value: Annotated[kind, Body()]):
        return "ok"

    found = await wrong(view, "POST", json=body)

    assert [reason for _, reason in found] == ["expected values that a set can hold"]


@pytest.mark.parametrize("item", [list[int], set[int], dict[str, int], Named, Line, Point, Box])
def test_a_set_of_what_never_has_a_hash_is_an_error_at_the_start(item):
    async def view(value: Annotated[list[set[item]], Body()]):
        return "ok"

    with pytest.raises(SetupError, match=r"no set can hold a (list|set|dict|Named|Line|Point|Box), which has no hash"):
        make_plan(view, what="view")


async def test_a_message_with_one_closes_with_1007():
    app = App(__name__)

    @app.websocket("/")
    async def view(websocket):
        await websocket.accept()
        await websocket.receive_as(set[Decimal])

    async with Client(app) as client, client.websocket("/") as websocket:
        await websocket.send_text('["sNaN"]')

        with pytest.raises(WebSocketDisconnect) as closed:
            await websocket.receive()

    assert closed.value.code == 1007


async def test_what_is_finite_is_taken():
    async def view(lines: list[Line], ratio: float = 0, limit: Decimal = Decimal(0)):
        return [lines[0].parts[0].price, ratio, limit]

    body = [{"price": "1e400", "parts": [{"price": 2.5, "fees": {"a": "-0.1"}}]}]

    assert (await call(view, "POST", "/?ratio=-1e300&limit=1.10", json=body)).json() == ["2.5", -1e300, "1.10"]


@pytest.mark.parametrize("kind", [int, str, list[float], dict[str, Any], Note, Holder[str], set[int | None], Key])
def test_a_type_without_anything_odd_is_read_as_before(kind):
    read = msgspec.json.Decoder(kind).decode

    assert refuse_oddities(read, kind, strict=True) is read


def test_any_other_type_error_is_passed_on():
    def read(value):
        raise TypeError(value)

    with pytest.raises(TypeError, match="broken"):
        refuse_oddities(read, Decimal, strict=True)("broken")
