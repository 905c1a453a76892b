"""Parameters filled from the request: from where, as what, and every mistake listed."""

import dataclasses
import datetime
import enum
import time
import types
import typing
import uuid
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, NewType, NotRequired, Required, TypedDict

import attrs
import msgspec
import pydantic
import pytest
import typing_extensions
from hypothesis import given
from hypothesis import strategies as st

from microweb import (
    App,
    Body,
    Cookie,
    Depends,
    Form,
    Header,
    Query,
    Request,
    SetupError,
    SyncRequest,
    SyncUploadFile,
    UploadFile,
)
from microweb.binding import make_plan
from microweb.errors import InvalidParameters
from microweb.problems import Invalid
from microweb.testing import Client
from microweb.validation import make_body_decoder

pytestmark = pytest.mark.anyio


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Line(msgspec.Struct):
    article: str
    price: float


class Order(msgspec.Struct):
    id: int
    lines: list[Line] = []
    note: str | None = None


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


class Row(NamedTuple):
    x: int
    y: int = 0


class Named(TypedDict):
    name: str


@attrs.define
class Box:
    width: int
    label: str = "box"


class Model(pydantic.BaseModel):
    id: int
    tags: list[str] = []


@dataclasses.dataclass
class Node:
    name: str
    children: list["Node"] = dataclasses.field(default_factory=list)
    size: int = 1


class Places(TypedDict, total=False):
    home: Required[Point]
    work: Point


UserId = NewType("UserId", int)


async def call(view, method="GET", url="/", path="/", options=None, **request):
    """The answer of an app with only this view."""
    app = App(__name__)
    app.add_route(path, view, methods=[method], **(options or {}))
    async with Client(app) as client:
        return await client.request(method, url, **request)


async def values(view, url, **request):
    answer = await call(view, url=url, **request)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def errors(view, url="/", **request):
    answer = await call(view, url=url, **request)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), answer.text
    return [(error["in"], error["name"], error["reason"]) for error in answer.json()["errors"]]


# Query parameters -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (str, "a b", "a b"),
        (str, "", ""),
        (int, "-5", -5),
        (float, "1.5", 1.5),
        (bool, "true", True),
        (bool, "0", False),
        (bool, "on", True),
        (bool, "No", False),
        (Decimal, "1.10", Decimal("1.10")),
        (datetime.date, "2024-02-29", datetime.date(2024, 2, 29)),
        (datetime.datetime, "2024-02-29T12:00:00Z", datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.UTC)),
        (uuid.UUID, "12345678-1234-5678-1234-567812345678", uuid.UUID(int=0x12345678123456781234567812345678)),
        (Colour, "blue", Colour.BLUE),
        (Literal["a", "b"], "b", "b"),
        (int | None, "3", 3),
        (int | bool, "3", 3),
        (UserId, "7", 7),
        (Annotated[int, msgspec.Meta(ge=1)], "1", 1),
        (list[int], "4", [4]),
        (tuple[int, ...], "4", (4,)),
        (set[str], "x", {"x"}),
    ],
)
async def test_a_query_parameter_has_the_type_of_its_annotation(kind, text, expected):
    seen = []

    async def view(value: kind):
        seen.append(value)
        return "ok"

    answer = await call(view, url="/", params={"value": text})

    assert (answer.status_code, seen) == (200, [expected])


async def test_lists_take_all_values_of_a_name():
    async def view(tag: list[str], n: list[int] | None = None):
        return [tag, n]

    assert await values(view, "/?tag=a&tag=b") == [["a", "b"], None]
    assert await values(view, "/?tag=a&n=1&n=2") == [["a"], [1, 2]]


async def test_a_default_makes_a_value_optional_and_an_empty_text_is_no_number():
    async def view(page: int = 1, size: int | None = None, term: str = "all"):
        return [page, size, term]

    assert await values(view, "/") == [1, None, "all"]
    assert await values(view, "/?page=&size=&term=") == [1, None, ""]
    assert await values(view, "/?page=2&size=3&term=x") == [2, 3, "x"]


async def test_markers_rename_and_a_class_stands_for_its_marker():
    async def view(term: Annotated[str, Query("q")], page: Annotated[int, Query] = 1):
        return [term, page]

    assert await values(view, "/?q=x&page=2") == ["x", 2]


async def test_path_request_and_query_stand_side_by_side():
    async def view(id: int, request: Request, full: bool = False):
        return [id, request.path, full]

    assert (await call(view, path="/items/<int:id>", url="/items/5?full=1")).json() == [5, "/items/5", True]


async def test_every_offending_parameter_is_listed():
    async def view(
        a: int,
        b: datetime.date,
        x_token: Annotated[int, Header()],
        seen: Annotated[int, Cookie()],
        c: Annotated[int, msgspec.Meta(ge=1)] = 1,
        d: list[int] | None = None,
    ):
        raise AssertionError("never called")

    found = await errors(view, "/?b=x&c=0&d=1&d=y", headers={"x-token": "abc"})

    assert found == [
        ("query", "a", "is missing"),
        ("query", "b", "invalid RFC3339 encoded date"),
        ("header", "X-Token", "expected int"),
        ("cookie", "seen", "is missing"),
        ("query", "c", "expected int >= 1"),
        ("query", "d[1]", "expected int"),
    ]


async def test_a_browser_gets_the_list_as_a_page():
    async def view(n: int):
        raise AssertionError("never called")

    answer = await call(view, url="/?n=%3Cb%3E", headers={"accept": "text/html"})

    assert answer.status_code == 422
    assert "<li>query <b>n</b>: expected int</li>" in answer.text


async def test_an_error_handler_sees_the_errors():
    app = App(__name__)

    @app.get("/")
    async def view(n: int):
        return "ok"

    @app.errorhandler(InvalidParameters)
    async def show(error):
        return {"wrong": [each["name"] for each in error.errors]}, 400

    async with Client(app) as client:
        answer = await client.get("/")

    assert (answer.status_code, answer.json()) == (400, {"wrong": ["n"]})


async def test_a_struct_of_the_query():
    class Filter(msgspec.Struct):
        term: str
        page: int = 1
        tags: list[str] = []

    async def view(filter: Annotated[Filter, Query()]):
        return filter

    assert await values(view, "/?term=x&tags=a&tags=b&page=&other=1") == {"term": "x", "page": 1, "tags": ["a", "b"]}
    assert await errors(view, "/?page=x") == [("query", "term", "is missing"), ("query", "page", "expected int")]


async def test_unknown_query_parameters_are_refused_where_that_is_asked_for():
    async def view(a: int = 0):
        return [a]

    class Filter(msgspec.Struct):
        a: int = 0

    async def strict(filter: Annotated[Filter, Query(forbid_unknown=True)]):
        return filter

    assert await errors(strict, "/?a=1&b=2") == [("query", "b", "is not known")]
    answer = await call(view, url="/?b=2&a=x", options={"forbid_unknown": True})
    assert [error["name"] for error in answer.json()["errors"]] == ["a", "b"]
    assert (await call(view, url="/?a=1", options={"forbid_unknown": True})).status_code == 200


@given(st.text(), st.sampled_from([int, float, bool, Decimal, datetime.date, uuid.UUID, int | None, list[int], Colour]))
def test_what_is_bound_is_what_msgspec_decodes(text, kind):
    from microweb.problems import Invalid
    from microweb.structs import is_list
    from microweb.validation import SWITCHES, make_text_converter

    value = [text] if is_list(kind) else text
    try:
        expected = ("value", msgspec.convert(value, kind, strict=False))
    except msgspec.ValidationError:
        expected = ("refused", None)
    if isinstance(expected[1], float | Decimal) and not Decimal(expected[1]).is_finite():
        expected = ("refused", None)

    try:
        found = ("value", make_text_converter(kind)(value))
    except Invalid:
        found = ("refused", None)

    assert repr(found) == repr(expected) or (kind is bool and text.lower() in SWITCHES)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["id", "lines", "note", "article", "price", "x"]), inner, max_size=4)
        ),
        max_leaves=12,
    ),
    st.sampled_from([Order, list[Order], Point, Named, Box, dict[str, int], Order | None, list[int]]),
)
def test_a_body_is_what_msgspec_decodes(value, kind):
    from microweb.problems import Invalid
    from microweb.validation import make_body_decoder

    body = msgspec.json.encode(value)
    try:
        expected = ("value", msgspec.json.decode(body, type=kind))
    except msgspec.ValidationError:
        expected = ("refused", None)

    try:
        found = ("value", make_body_decoder(kind)(body, 64))
    except Invalid as invalid:
        assert invalid.problems
        found = ("refused", None)

    assert found == expected


# Headers and cookies -------------------------------------------------------------------------------


async def test_headers_and_cookies():
    async def view(
        x_token: Annotated[str, Header()],
        agent: Annotated[str, Header("User-Agent")],
        theme: Annotated[str, Cookie()] = "light",
        count: Annotated[int, Cookie("n")] = 0,
    ):
        return [x_token, agent, theme, count]

    headers = {"x-token": "abc", "user-agent": "test", "cookie": "n=3"}

    assert await values(view, "/", headers=headers) == ["abc", "test", "light", 3]


async def test_a_repeated_header_as_a_list():
    async def view(x_id: Annotated[list[int], Header()]):
        return x_id

    assert await values(view, "/", headers=[("x-id", "1"), ("x-id", "2")]) == [1, 2]


# JSON bodies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "sent", "expected"),
    [
        (
            Order,
            {"id": 1, "lines": [{"article": "tea", "price": 2}]},
            {"id": 1, "lines": [{"article": "tea", "price": 2.0}], "note": None},
        ),
        (Point, {"x": 1}, {"x": 1, "y": 0}),
        (Named, {"name": "ada", "other": 1}, {"name": "ada"}),
        (Box, {"width": 2}, {"width": 2, "label": "box"}),
        (Model, {"id": "5"}, {"id": 5, "tags": []}),
        (list[Order], [{"id": 1}], [{"id": 1, "lines": [], "note": None}]),
        (list[Model], [{"id": 1}], [{"id": 1, "tags": []}]),
    ],
)
async def test_a_struct_is_the_json_body(kind, sent, expected):
    seen = []

    async def view(order: kind):
        seen.append(order)
        return "ok"

    assert (await call(view, "POST", json=sent)).status_code == 200
    plain = [
        each.model_dump() if isinstance(each, Model) else each
        for each in (seen[0] if isinstance(seen[0], list) else [seen[0]])
    ]
    assert msgspec.to_builtins(plain if isinstance(expected, list) else plain[0]) == expected


async def test_every_mistake_in_a_body_is_listed():
    async def view(order: Order):
        raise AssertionError("never called")

    body = {"id": "x", "lines": [{"article": 1}, 5, {"article": "tea", "price": "dear"}], "note": 1}

    assert await errors(view, method="POST", json=body) == [
        ("body", "id", "expected int, got str"),
        ("body", "lines[0].article", "expected str, got int"),
        ("body", "lines[0].price", "is missing"),
        ("body", "lines[1]", "expected object, got int"),
        ("body", "lines[2].price", "expected float, got str"),
        ("body", "note", "expected str | null, got int"),
    ]


async def test_the_mistakes_that_pydantic_finds_are_listed_alike():
    async def view(model: Model):
        raise AssertionError("never called")

    assert await errors(view, method="POST", json={"tags": [1]}) == [
        ("body", "id", "is missing"),
        ("body", "tags[0]", "input should be a valid string"),
    ]


@pytest.mark.parametrize("kind", [Order, Model])
@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {"content-type": "application/json"}, 400),
        (b"", {"content-type": "application/json"}, 400),
        (b"\xff", {"content-type": "application/json"}, 400),
        (b'{"id": 1, "x": ' + b"[" * 100 + b"]" * 100 + b"}", {"content-type": "application/json"}, 400),
        (b'{"id": 1}', {"content-type": "text/plain"}, 415),
        (b'{"id": 1}', {}, 415),
        (b"id=1", {"content-type": "application/x-www-form-urlencoded"}, 415),
        (b"[]", {"content-type": "application/json"}, 422),
        (b'{"id": 1}', {"content-type": "application/json", "content-encoding": "gzip"}, 415),
        (b'{"id": 1}', {"content-type": "application/problem+json; charset=utf-8"}, 200),
        (b'{"id": 1, "x": "' + b"[" * 100 + b'"}', {"content-type": "application/json"}, 200),
    ],
)
async def test_what_is_no_json_is_answered_as_such(kind, body, headers, status):
    async def view(order: kind):
        return {"id": order.id}

    assert (await call(view, "POST", content=body, headers=headers)).status_code == status


async def test_a_body_is_limited_like_any_other():
    async def view(order: Order):
        return "ok"

    body = b'{"id": 1, "note": "' + b"x" * 1000 + b'"}'
    headers = {"content-type": "application/json"}

    async def chunks():
        yield body

    for content in (body, chunks()):
        answer = await call(view, "POST", content=content, headers=headers, options={"max_content_length": 500})
        assert answer.status_code == 413


async def test_a_body_may_come_in_chunks():
    async def view(order: Order):
        return {"id": order.id}

    async def chunks():
        for byte in b'{"id": 12}':
            yield bytes([byte])

    answer = await call(view, "POST", content=chunks(), headers={"content-type": "application/json"})

    assert answer.json() == {"id": 12}


async def test_the_body_can_still_be_read_after_it_was_bound():
    async def view(order: Order, request: Request):
        return [order.id, (await request.json())["id"], len(await request.body())]

    async def only(order: Order):
        from microweb import request

        return [order.id, (await request.json())["id"], len(await request.body())]

    for each in (view, only):
        assert (await call(each, "POST", content=b'{"id":1}', headers={"content-type": "application/json"})).json() == [
            1,
            1,
            8,
        ]
        large = b'{"id":1,"note":"' + b"x" * 20_000 + b'"}'
        answer = await call(each, "POST", content=large, headers={"content-type": "application/json"})
        assert answer.json() == [1, 1, len(large)]


async def test_a_body_that_declares_too_much_is_refused_before_it_is_asked_for():
    app, sent = App(__name__), []

    @app.post("/")
    async def view(order: Order):
        return "ok"

    async def receive():
        raise AssertionError("never asked")

    async def send(message):
        sent.append(message)

    headers = [(b"content-type", b"application/json"), (b"content-length", b"999999999999")]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}
    async with Client(app):
        await app(scope, receive, send)

    assert sent[0]["status"] == 413


async def test_a_body_may_be_null_where_its_type_says_so():
    async def view(order: Order | None):
        return {"order": order}

    headers = {"content-type": "application/json"}

    assert (await call(view, "POST", content=b"null", headers=headers)).json() == {"order": None}
    assert (await call(view, "POST", content=b"", headers=headers)).status_code == 400


async def test_defaults_of_dataclasses_are_in_what_is_made_of_them():
    @dataclasses.dataclass
    class Page:
        point: Point
        more: list[Point] = dataclasses.field(default_factory=list)
        size: int = 10

    async def view(pages: Annotated[dict[str, Page | None], Body()]):
        return pages

    body = {"a": {"point": {"x": 1}, "more": [{"x": 2, "y": 3}, {"x": 4}]}, "b": None}

    assert (await call(view, "POST", json=body)).json() == {
        "a": {"point": {"x": 1, "y": 0}, "more": [{"x": 2, "y": 3}, {"x": 4, "y": 0}], "size": 10},
        "b": None,
    }


async def test_defaults_are_completed_in_unions_and_in_types_that_hold_themselves():
    async def union(value: Annotated[list[int] | dict[str, Point] | None, Body()]):
        return {"value": value}

    async def either(value: Annotated[Point | list[Point], Body()]):
        return value

    async def tree(node: Node):
        return node

    async def named(point: Annotated[Point, Body("point")]):
        return point

    async def mapping(typed: Annotated[Places, Body()]):
        return typed

    async def query(point: Annotated[Point, Query()]):
        return point

    assert (await call(union, "POST", json={"a": {"x": 1}})).json() == {"value": {"a": {"x": 1, "y": 0}}}
    assert (await call(union, "POST", json=[1])).json() == {"value": [1]}
    assert (await call(either, "POST", json=[{"x": 1}])).json() == [{"x": 1, "y": 0}]
    assert (await call(either, "POST", json={"x": 1})).json() == {"x": 1, "y": 0}
    assert (await call(tree, "POST", json={"name": "a", "children": [{"name": "b"}]})).json() == {
        "name": "a",
        "children": [{"name": "b", "children": [], "size": 1}],
        "size": 1,
    }
    assert (await call(named, "POST", json={"point": {"x": 1}})).json() == {"x": 1, "y": 0}
    assert (await call(mapping, "POST", json={"home": {"x": 1}})).json() == {"home": {"x": 1, "y": 0}}
    assert (await call(query, url="/?x=1")).json() == {"x": 1, "y": 0}


async def test_a_body_that_is_right_after_a_byte_order_mark_is_read():
    async def view(point: Point):
        return point

    headers = {"content-type": "application/json"}

    assert (await call(view, "POST", content=b"\xef\xbb\xbf" + b'{"x": 1}', headers=headers)).json() == {"x": 1, "y": 0}


async def test_pydantic_in_query_and_form():
    async def view(model: Annotated[Model, Query()], form: Annotated[Model, Form()]):
        return [model.id, model.tags, form.id]

    assert (await call(view, "POST", url="/?id=1&tags=a&tags=b", data={"id": "2"})).json() == [1, ["a", "b"], 2]
    assert await errors(view, "/?id=x", method="POST", data={}) == [
        ("query", "id", "input should be a valid integer, unable to parse string as an integer"),
        ("form", "id", "is missing"),
    ]


async def test_an_optional_struct_of_the_query():
    async def view(point: Annotated[Point | None, Query()] = None):
        return {"point": point}

    async def plain(point: Annotated[Point, Query()] = Point(5)):  # noqa: B008 - never changed
        return point

    async def several(points: Annotated[list[Point], Query()]): ...

    assert "no text can be a struct" in refusal(several)
    assert (await call(view)).json() == {"point": None}
    assert (await call(view, url="/?x=1")).json() == {"point": {"x": 1, "y": 0}}
    assert (await call(plain)).json() == {"x": 5, "y": 0}
    assert (await call(plain, url="/?x=1")).json() == {"x": 1, "y": 0}
    assert await errors(plain, "/?y=1") == [("query", "x", "is missing")]


async def test_abstract_lists_and_dicts_are_taken_like_plain_ones():
    async def view(n: Sequence[int], points: Annotated[Mapping[str, Sequence[Point]], Body(forbid_unknown=True)]):
        return [n, points]

    assert (await call(view, "POST", url="/?n=1&n=2", json={"a": [{"x": 1}]})).json() == [
        [1, 2],
        {"a": [{"x": 1, "y": 0}]},
    ]
    assert await errors(view, "/?n=1", method="POST", json={"a": [{"x": 1, "z": 2}]}) == [
        ("body", "a[0].z", "is not a known field"),
    ]


async def test_a_dict_of_anything_may_stand_beside_a_mistake():
    class Event(msgspec.Struct):
        payload: typing.Dict  # noqa: UP006 - it has no arguments to look into
        number: int

    async def view(event: Event):
        return event

    body = {"payload": {"a": 1}, "number": "x"}
    assert await errors(view, method="POST", json=body) == [("body", "number", "expected int, got str")]


async def test_an_optional_struct_that_forbids_unknown_keys_may_be_left_out_too():
    async def view(point: Annotated[Point | None, Query(forbid_unknown=True)] = None):
        return {"point": point}

    assert (await call(view)).json() == {"point": None}
    assert await errors(view, "/?z=1") == [("query", "z", "is not known"), ("query", "x", "is missing")]


async def test_an_optional_body_by_key_may_be_left_out_altogether():
    async def view(count: Annotated[int, Body("count")] = 3):
        return [count]

    assert (await call(view, "POST")).json() == [3]


async def test_an_optional_body_may_be_left_out():
    async def view(order: Order | None = None):
        return {"id": order.id if order else None}

    assert (await call(view, "POST")).json() == {"id": None}
    assert (await call(view, "POST", json={"id": 1})).json() == {"id": 1}
    assert (await call(view, "POST", content=b"x")).status_code == 415


async def test_anything_is_a_body_if_it_says_so():
    async def view(numbers: Annotated[dict[str, int], Body()]):
        return numbers

    assert (await call(view, "POST", json={"a": 1})).json() == {"a": 1}


async def test_named_bodies_are_the_keys_of_one_object():
    async def view(
        order: Annotated[Order, Body("order")],
        model: Annotated[Model, Body("model")],
        count: Annotated[int, Body("count")] = 3,
    ):
        return [order.id, model.id, count]

    assert (await call(view, "POST", json={"order": {"id": 1}, "model": {"id": 2}})).json() == [1, 2, 3]
    assert await errors(view, method="POST", json={"order": {"id": "x"}, "count": "y"}) == [
        ("body", "order.id", "expected int, got str"),
        ("body", "model", "is missing"),
        ("body", "count", "expected int, got str"),
    ]
    assert await errors(view, method="POST", json=[1]) == [("body", "", "expected object")]


async def test_unknown_keys_are_refused_on_every_level_where_that_is_asked_for():
    async def view(order: Annotated[Order, Body(forbid_unknown=True)]):
        return order

    async def plain(order: Order):
        return order

    body = {"id": 1, "extra": 1, "lines": [{"article": "x", "price": 1, "more": 2}]}
    expected = [("body", "extra", "is not a known field"), ("body", "lines[0].more", "is not a known field")]

    assert await errors(view, method="POST", json=body) == expected
    assert await errors(plain, method="POST", json=body, options={"forbid_unknown": True}) == expected
    assert (await call(plain, "POST", json=body)).status_code == 200


async def test_unknown_keys_of_unions_lists_and_dicts_are_found():
    class Cat(msgspec.Struct, tag="cat"):
        lives: int = 9

    class Dog(msgspec.Struct, tag="dog"):
        age: int = 1

    class Zoo(msgspec.Struct):
        pets: list[Cat | Dog]
        by_name: dict[str, Point | None] = {}
        anything: dict | int = 0

    async def view(zoo: Annotated[Zoo | list[int], Body(forbid_unknown=True)]):
        return "ok"

    pets = [{"type": "dog", "age": 1}, {"type": "cat", "age": 1}]
    body = {"pets": pets, "by_name": {"a": {"x": 1, "z": 2}, "b": None}, "anything": {"x": 1}}

    assert [name for _, name, _ in await errors(view, method="POST", json=body)] == ["pets[1].age", "by_name.a.z"]
    assert (await call(view, "POST", json=[1])).status_code == 200


async def test_each_place_of_a_tuple_has_its_own_unknown_keys_and_mistakes():
    async def strict(pair: Annotated[tuple[Point, Line], Body(forbid_unknown=True)]):
        return repr(pair[0])

    async def view(pair: Annotated[tuple[Line, Point], Body()]):
        return msgspec.json.encode(pair[1])

    line = {"article": "pen", "price": 1.5}
    assert (await call(strict, "POST", json=[{"x": 1, "y": 2}, line])).status_code == 200
    wrong = await errors(strict, method="POST", json=[{"x": 1}, {**line, "z": 2}])
    assert wrong == [("body", "[1].z", "is not a known field")]
    wrong = await errors(view, method="POST", json=[{"article": 1, "price": 1}, {"x": "a"}])
    assert [name for _, name, _ in wrong] == ["[0].article", "[1].x"]
    assert (await call(view, "POST", json=[line, {"x": 1}])).json() == {"x": 1, "y": 0}


async def test_mistakes_in_a_dict_name_its_keys():
    async def view(points: Annotated[dict[int, Point], Body()]):
        return "ok"

    wrong = await errors(view, method="POST", json={"1": {"x": "a"}, "2": {}})
    assert wrong == [("body", "1.x", "expected int, got str"), ("body", "2.x", "is missing")]
    assert await errors(view, method="POST", json={"a": {"x": 1}}) == [("body", "", "a key: expected int, got str")]


async def test_unknown_keys_of_a_pydantic_model_are_refused_where_that_is_asked_for():
    class Inner(pydantic.BaseModel):
        a: int

    class Outer(pydantic.BaseModel):
        inner: Inner

    async def view(outer: Annotated[Outer, Body(forbid_unknown=True)]):
        return "ok"

    async def by_key(outer: Annotated[Outer, Body("outer", forbid_unknown=True)]):
        return "ok"

    body = {"inner": {"a": 1, "b": 2}, "c": 3}
    reason = "is not a known field"
    assert await errors(view, method="POST", json=body) == [("body", "inner.b", reason), ("body", "c", reason)]
    wrong = await errors(by_key, method="POST", json={"outer": body})
    assert wrong == [("body", "outer.inner.b", reason), ("body", "outer.c", reason)]
    assert (await call(view, "POST", json={"inner": {"a": 1}})).status_code == 200


async def test_a_route_that_forbids_unknown_keys_refuses_them_beside_and_inside_of_named_bodies():
    app = App(__name__)

    @app.post("/", forbid_unknown=True)
    async def view(point: Annotated[Point, Body("point")], note: Annotated[str, Body("note")] = ""):
        return "ok"

    async with Client(app) as client:
        fine = await client.post("/", json={"point": {"x": 1}})
        wrong = await client.post("/", json={"point": {"x": 1, "z": 2}, "more": 3})

    assert fine.status_code == 200
    assert [error["name"] for error in wrong.json()["errors"]] == ["point.z", "more"]


async def test_what_pydantic_takes_for_json_is_refused_all_the_same():
    class Model(pydantic.BaseModel):
        x: float

    async def view(model: Model):
        return str(model.x)

    async def post(content):
        return await call(view, "POST", content=content, headers={"content-type": "application/json"})

    for text in ("NaN", "Infinity", "-Infinity"):
        assert (await post(f'{{"x": {text}}}')).status_code == 400
    assert (await post('\ufeff{"x": 1}')).text == "1.0"


async def test_a_strict_pydantic_model_takes_the_same_under_a_key_as_alone():
    class Day(pydantic.BaseModel, strict=True):
        date: datetime.date
        count: int = 1

    async def alone(day: Day):
        return str(day.date)

    async def key(day: Annotated[Day, Body("day")]):
        return str(day.date)

    given = {"date": "2020-01-31"}
    wrong = {"date": "2020-01-31", "count": "1"}

    assert (await call(alone, "POST", json=given)).text == "2020-01-31"
    assert (await call(key, "POST", json={"day": given})).text == "2020-01-31"
    assert [name for _, name, _ in await errors(alone, method="POST", json=wrong)] == ["count"]
    assert [name for _, name, _ in await errors(key, method="POST", json={"day": wrong})] == ["day.count"]


async def test_a_pydantic_field_is_looked_up_by_the_name_that_it_comes_in_under():
    class Model(pydantic.BaseModel):
        page: int = pydantic.Field(1, validation_alias="p")
        size: int = pydantic.Field(10, validation_alias=pydantic.AliasChoices("n", "size"))

    async def view(model: Annotated[Model, Query(forbid_unknown=True)]):
        return f"{model.page} {model.size}"

    assert (await call(view, params={"p": 2, "n": 3})).text == "2 3"
    assert await errors(view, params={"page": 2}) == [("query", "page", "is not known")]


@pytest.mark.parametrize("base", [TypedDict, typing_extensions.TypedDict])
async def test_keys_of_a_typed_dict_that_are_wrong_or_not_required(base):
    namespace = {"__annotations__": {"a": Required[int], "b": NotRequired[int], "c": "NotRequired[int]"}}
    kind = types.new_class("Keys", (base,), {}, lambda body: body.update(namespace | {"__module__": __name__}))

    async def view(keys: kind):
        return keys

    async def query(keys: Annotated[kind, Query()]):
        return keys

    wrong = [("a", "is missing"), ("b", "expected int, got str")]
    assert [each[1:] for each in await errors(view, method="POST", json={"b": "x"})] == wrong
    assert await errors(query, params={"b": "x"}) == [("query", "a", "is missing"), ("query", "b", "expected int")]
    assert (await call(view, "POST", json={"a": 1})).json() == {"a": 1}


def test_one_mistake_among_very_many_values_is_found_at_once():
    body = b"[" + b"1," * 2_000_000 + b'"x",' + b"1," * 1000 + b"null]"
    decode = make_body_decoder(list[int])

    start = time.perf_counter()
    with pytest.raises(Invalid) as caught:
        decode(body, 64)

    assert [path for path, _ in caught.value.problems] == ["[2000000]", "[2001001]"]
    # One by one it takes ten seconds, in slices less than one.
    assert time.perf_counter() - start < 4


async def test_an_answer_does_not_repeat_all_that_was_sent():
    class Strict(msgspec.Struct, forbid_unknown_fields=True):
        colour: Colour

    async def view(strict: Strict):
        return "ok"

    answer = await call(view, "POST", json={"colour": "x" * 100_000, "y" * 100_000: 1})

    assert answer.status_code == 422
    assert len(answer.content) < 2000


async def test_unknown_fields_of_structs_in_query_and_form_are_told_apart():
    class Fields(msgspec.Struct):
        a: int = 0

    async def view(fields: Annotated[Fields, Form()], query: Annotated[Fields, Query()]):
        return "ok"

    strict = {"forbid_unknown": True}

    assert (await call(view, "POST", url="/?a=1", data={"a": "2"}, options=strict)).status_code == 200
    assert [place for place, _, _ in await errors(view, "/?b=1", method="POST", data={"c": "2"}, options=strict)] == [
        "query",
        "form",
    ]


async def test_a_struct_that_forbids_unknown_fields_lists_them_with_the_rest():
    class Strict(msgspec.Struct, forbid_unknown_fields=True):
        id: int

    async def view(strict: Strict):
        return "ok"

    assert await errors(view, method="POST", json={"a": 1, "b": 2}) == [
        ("body", "id", "is missing"),
        ("body", "a", "is not a known field"),
        ("body", "b", "is not a known field"),
    ]


async def test_a_check_of_the_class_itself_is_a_422():
    class Range(msgspec.Struct):
        low: int
        high: int

        def __post_init__(self):
            if self.low > self.high:
                raise ValueError("low is above high")

    async def view(range: Range):
        return "ok"

    assert await errors(view, method="POST", json={"low": 2, "high": 1}) == [("body", "", "low is above high")]


async def test_a_union_by_tag():
    class Cat(msgspec.Struct, tag="cat"):
        lives: int

    class Dog(msgspec.Struct, tag="dog"):
        age: int

    async def view(pet: Cat | Dog):
        return type(pet).__name__

    assert (await call(view, "POST", json={"type": "dog", "age": 3})).text == "Dog"
    assert await errors(view, method="POST", json={"type": "dog", "age": "x"}) == [
        ("body", "age", "expected int, got str")
    ]
    assert (await call(view, "POST", json={"type": "cow"})).status_code == 422


async def test_every_mistake_in_what_a_tag_names_is_listed():
    class Cat(msgspec.Struct, tag="cat", forbid_unknown_fields=True):
        lives: int
        name: str

    class Dog(msgspec.Struct, tag="dog"):
        age: int

    async def view(pets: dict[str, Cat | Dog | None]):
        return "ok"

    body = {"a": {"type": "cat", "lives": "x", "toy": 1}, "b": {"age": 1}, "c": {"type": "dog"}, "d": None}

    assert await errors(view, method="POST", json=body) == [
        ("body", "a.lives", "expected int, got str"),
        ("body", "a.name", "is missing"),
        ("body", "a.toy", "is not a known field"),
        ("body", "b.type", "is missing"),
        ("body", "c.age", "is missing"),
    ]


async def test_every_mistake_in_the_one_struct_or_list_of_a_union_is_listed():
    async def view(order: Order | list[Order] | int):
        return "ok"

    wrong = {"id": "x", "note": 1}

    assert [name for _, name, _ in await errors(view, method="POST", json=wrong)] == ["id", "note"]
    assert [name for _, name, _ in await errors(view, method="POST", json=[wrong])] == ["[0].id", "[0].note"]


async def test_a_part_of_a_body_may_be_kept_as_the_json_that_came():
    class Event(msgspec.Struct):
        kind: str
        data: msgspec.Raw

    async def whole(event: Event):
        return "ok"

    async def key(events: Annotated[list[Event], Body("events")]):
        return bytes(events[0].data)

    assert await errors(whole, method="POST", json={"kind": 1, "data": {}}) == [
        ("body", "kind", "expected str, got int")
    ]
    assert (await call(key, "POST", json={"events": [{"kind": "a", "data": [1.5]}]})).content == b"[1.5]"
    assert await errors(key, method="POST", json={"events": [{"kind": "a"}]}) == [
        ("body", "events[0].data", "is missing")
    ]


async def test_unknown_keys_are_found_where_the_tag_of_the_only_struct_is_left_out():
    class Cat(msgspec.Struct, tag="cat"):
        lives: int

    async def view(cat: Annotated[Cat, Body(forbid_unknown=True)]):
        return "ok"

    assert (await call(view, "POST", json={"lives": 9})).status_code == 200
    assert await errors(view, method="POST", json={"lives": 9, "admin": True}) == [
        ("body", "admin", "is not a known field")
    ]


async def test_at_most_a_hundred_mistakes_are_listed():
    async def view(numbers: Annotated[list[int], Body()]):
        return "ok"

    assert len(await errors(view, method="POST", json=["x"] * 1000)) == 100


# Forms and files -----------------------------------------------------------------------------------


async def test_fields_of_a_form():
    async def view(
        name: Annotated[str, Form()], age: Annotated[int, Form("years")] = 0, ok: Annotated[bool, Form()] = False
    ):
        return [name, age, ok]

    assert (await call(view, "POST", data={"name": "ada", "years": "36", "ok": "on"})).json() == ["ada", 36, True]
    assert await errors(view, method="POST", data={"years": "x"}) == [
        ("form", "name", "is missing"),
        ("form", "years", "expected int"),
    ]
    assert (await call(view, "POST", json={"name": "ada"})).status_code == 415


async def test_a_struct_of_a_form():
    @dataclasses.dataclass
    class Entry:
        name: str
        tags: list[str]
        age: int | None = None

    async def view(entry: Annotated[Entry, Form()]):
        return entry

    assert (await call(view, "POST", data={"name": "ada", "tags": ["a", "b"], "age": ""})).json() == {
        "name": "ada",
        "tags": ["a", "b"],
        "age": None,
    }


async def test_a_struct_is_never_read_from_a_form_unless_it_says_so():
    async def view(point: Point):
        return "ok"

    assert (await call(view, "POST", data={"x": "1"})).status_code == 415


async def test_unknown_fields_of_a_form_are_refused_where_that_is_asked_for():
    async def view(name: Annotated[str, Form()]):
        return name

    answer = await call(view, "POST", data={"name": "a", "other": "b"}, options={"forbid_unknown": True})

    assert [(error["in"], error["name"]) for error in answer.json()["errors"]] == [("form", "other")]


async def test_uploaded_files_as_parameters():
    async def view(photo: UploadFile, title: Annotated[str, Form()], more: list[UploadFile] | None = None):
        return [photo.filename, (await photo.read()).decode(), title, len(more or [])]

    def view_in_thread(photo: SyncUploadFile, more: Annotated[list[SyncUploadFile], Form("others")]):
        return [photo.filename, photo.read().decode(), len(more)]

    files = [("photo", ("p.png", b"content")), ("more", ("a", b"")), ("others", ("a", b"")), ("others", ("b", b""))]

    assert (await call(view, "POST", data={"title": "x"}, files=files)).json() == ["p.png", "content", "x", 1]
    assert (await call(view_in_thread, "POST", files=files)).json() == ["p.png", "content", 2]
    assert await errors(view, method="POST", data={"title": "x"}, files=[("other", ("a", b""))]) == [
        ("form", "photo", "is missing")
    ]


# In def views --------------------------------------------------------------------------------------


async def test_a_def_view_is_filled_alike():
    import threading

    def view(order: Order, request: SyncRequest, n: int = 1):
        return [order.id, n, request.json["id"], threading.current_thread() is threading.main_thread()]

    assert (await call(view, "POST", url="/?n=2", json={"id": 5})).json() == [5, 2, 5, False]
    assert await errors(view, "/?n=x", method="POST", json={"id": "x"}) == [
        ("body", "id", "expected int, got str"),
        ("query", "n", "expected int"),
    ]


async def test_streams_are_filled_alike():
    async def stream(n: int):
        for number in range(n):
            yield f"{number} "

    def in_thread(n: int):
        for number in range(n):
            yield f"{number} "

    for view in (stream, in_thread):
        assert (await call(view, url="/?n=3")).text == "0 1 2 "
        assert (await call(view, url="/?n=x")).status_code == 422


async def test_callables_of_every_kind_can_be_views():
    import functools

    class View:
        async def __call__(self, n: int):
            return {"n": n}

        async def method(self, n: int):
            return {"n": n}

    async def view(m: int, n: int):
        return {"n": n}

    for each in (View(), View().method, functools.partial(view, 1)):
        assert (await call(each, url="/?n=3", options={"endpoint": "view"})).json() == {"n": 3}


async def test_what_takes_everything_gets_the_path():
    async def view(*args, **values):
        return values

    assert (await call(view, path="/<int:n>", url="/3")).json() == {"n": 3}


async def test_a_def_wrapper_around_a_coroutine_function_is_awaited():
    import functools

    async def inner(n: int):
        return {"n": n}

    @functools.wraps(inner)
    def wrapper(*args, **kwargs):
        return inner(*args, **kwargs)

    assert (await call(wrapper, url="/?n=3")).json() == {"n": 3}


async def test_a_wrapper_that_is_written_in_c_is_a_view():
    import functools

    @functools.lru_cache
    def view(n: int):
        return {"n": n}

    assert (await call(view, url="/?n=3")).json() == {"n": 3}


# What cannot be filled ------------------------------------------------------------------------------


def refusal(view, **options):
    with pytest.raises(SetupError) as caught:
        make_plan(view, what="view", **options)
    message = str(caught.value)
    assert "test_binding.py:" in message
    return message


def test_what_does_not_say_where_it_comes_from_is_an_error_that_says_how():
    async def mapping(x: dict[str, int]): ...
    async def anything(x: Any): ...
    async def nothing(x): ...
    async def object_(x: object): ...
    async def row(x: Row): ...

    assert "Annotated[..., Query()]" in refusal(mapping)
    assert "'x'" in refusal(anything)
    assert "no annotation" in refusal(nothing)
    assert "does not say where" in refusal(object_)
    assert "does not say where" in refusal(row)


def test_a_type_that_cannot_be_read_is_an_error_that_names_it():
    class Plain:
        pass

    async def view(x: Annotated[Plain, Query()]): ...
    async def union(x: Annotated[list[int] | set[int], Body()]): ...

    assert "Plain" in refusal(view)
    assert "more than one array-like" in refusal(union)


def test_a_marker_as_a_default_is_an_error_that_says_how_to_write_it():
    async def annotated(x: int = Query()): ...
    async def bare(x=Depends(print)): ...

    assert "write it as Annotated[..., Query()]" in refusal(annotated)
    assert "Annotated[..., Depends(print)]" in refusal(bare)


async def find_forgotten():
    return "ada"


def test_a_marker_inside_another_type_is_an_error_that_says_where_it_belongs():
    Named = NewType("Named", Annotated[Point, Depends(print)])

    async def union(user: Annotated[Point, Depends(print)] | None = None): ...
    async def items(tokens: list[Annotated[str, Header()]]): ...
    async def named(user: Named): ...
    async def hook(user: Annotated[Point, Depends(print)] | None = None): ...

    assert "'user' has Depends(print) inside another type" in refusal(union)
    assert "'tokens' has Header() inside another type" in refusal(items)
    assert "'user' has Depends(print) inside another type" in refusal(named)
    with pytest.raises(SetupError, match="inside another type"):
        make_plan(hook, what="before_request function")


def test_a_function_without_depends_is_an_error_and_no_query_parameter():
    async def view(user: Annotated[str, find_forgotten]): ...

    assert "'user' is annotated with the function" in refusal(view)
    assert "write Depends(find_forgotten)" in refusal(view)


@pytest.mark.parametrize("marker", [Depends, Depends()])
def test_a_dependency_without_a_function_is_no_empty_text(marker):
    async def view(user: Annotated[str, marker]): ...

    assert "'user' would be an empty str; say what it depends on: Depends(function)" in refusal(view)


def test_what_no_text_can_be_is_an_error_that_says_so():
    class Wide(msgspec.Struct):
        point: Point

    async def nested(wide: Annotated[Wide, Query()]): ...
    async def mapping(filters: Annotated[dict[str, int] | None, Query()] = None): ...

    assert "its field 'point' is a struct, and no text can be one" in refusal(nested)
    assert "no text can be a dict" in refusal(mapping)


async def test_a_field_that_is_a_text_or_a_struct_is_read_as_a_text():
    class Wide(msgspec.Struct):
        point: str | Point

    async def view(wide: Annotated[Wide, Query()]):
        return wide.point

    app = App(__name__)
    app.add_route("/", view)
    async with Client(app) as client:
        assert (await client.get("/?point=here")).text == "here"


def test_two_markers_are_an_error_that_names_both():
    async def view(user: Annotated[Point, Body(), Depends(print)]): ...

    assert "'user' is said to come from Body() and Depends(print)" in refusal(view)


async def test_a_named_alias_may_hold_the_marker():
    async def find_user():
        return "ada"

    User = typing_extensions.TypeAliasType("User", Annotated[str, Depends(find_user)])

    async def view(user: User):
        return user

    assert (await call(view, params={"user": "eve"})).text == "ada"


def test_a_dependency_that_cannot_be_hashed_is_an_error_that_names_it():
    @dataclasses.dataclass
    class Check:
        role: str

        def __call__(self):
            return self.role

    async def view(role: Annotated[str, Depends(Check("admin"))]): ...

    assert "'role' depends on" in refusal(view)
    assert "cannot be hashed" in refusal(view)


def test_a_body_and_a_form_at_once_is_an_error():
    async def view(order: Order, name: Annotated[str, Form()]): ...

    assert "JSON body and for a form" in refusal(view)


def test_an_upload_in_a_def_view_is_an_error_that_says_sync():
    def view(photo: UploadFile): ...

    assert "SyncUploadFile" in refusal(view)


def test_a_mistake_in_a_dependency_is_told_as_one():
    async def provide(x: dict[str, int]): ...
    async def view(provided: Annotated[int, Depends(provide)]): ...

    assert refusal(view).startswith("dependency of view ")
    assert "provide: the parameter 'x'" in refusal(view)


def test_a_positional_only_parameter_is_an_error():
    async def view(n: int, /): ...

    assert "positional-only" in refusal(view)


def test_a_websocket_has_no_body():
    async def view(order: Order): ...

    with pytest.raises(SetupError, match="a websocket has none"):
        make_plan(view, what="websocket view")


def test_a_request_in_a_def_view_is_an_error_that_says_sync_request():
    def view(request: Request): ...

    assert "SyncRequest" in refusal(view)


def test_a_sync_request_in_a_coroutine_is_an_error_that_says_request():
    async def view(request: SyncRequest): ...

    assert "is a Request, not a SyncRequest" in refusal(view)


# Annotations that are text --------------------------------------------------------------------------


def function_from(source):
    namespace: dict[str, Any] = {}
    code = compile("from __future__ import annotations\n" + source, __file__, "exec")
    exec(code, namespace)
    return namespace["make"]()


def test_a_request_is_taken_by_name_where_its_annotation_cannot_be_resolved():
    view = function_from("""
def make():
    from microweb import Request, SyncRequest
    async def view(request: Request, n: int = 1): ...
    return view
""")

    plan = make_plan(view, what="view")

    assert [(each.name, each.place) for each in plan.parameters] == [("request", "request"), ("n", "query")]


def test_a_def_view_that_asks_for_request_is_refused_where_that_is_text_too():
    view = function_from("""
def make():
    from microweb import Request
    def view(request: Request): ...
    return view
""")

    with pytest.raises(SetupError, match="SyncRequest"):
        make_plan(view, what="view")


def test_an_annotation_that_cannot_be_resolved_is_an_error_that_says_why():
    view = function_from("""
def make():
    from uuid import UUID
    async def view(id: UUID): ...
    return view
""")

    with pytest.raises(SetupError, match=r"annotated 'UUID', which cannot be resolved: name 'UUID' is not defined"):
        make_plan(view, what="view")


def test_what_can_be_resolved_is_resolved_name_by_name():
    view = function_from(
        """
def make():
    async def view(id: Missing, n: int = 1): ...
    return view
"""
    )

    plan = make_plan(view, what="view", variables=("id",))

    assert [(each.name, each.place) for each in plan.parameters] == [("id", "path"), ("n", "query")]


# Plans for documents --------------------------------------------------------------------------------


def test_a_plan_tells_what_a_view_takes_and_gives():
    async def find_user(x_user: Annotated[str, Header()]): ...

    async def view(
        id: int,
        request: Request,
        order: Order,
        user: Annotated[str, Depends(find_user)],
        page: Annotated[int, Query("p")] = 1,
    ) -> list[Order]: ...

    plan = make_plan(view, what="view", variables=("id",))

    found = {each.name: (each.place, each.alias, each.type, each.required) for each in plan.parameters}
    assert found == {
        "id": ("path", "id", Any, True),
        "request": ("request", "", Any, True),
        "order": ("body", "", Order, True),
        "user": ("depends", "", str, True),
        "page": ("query", "p", int, False),
    }
    user = next(each for each in plan.parameters if each.name == "user")
    assert [(each.alias, each.place) for each in user.dependency.parameters] == [("X-User", "header")]
    assert (plan.returns, plan.original) == (list[Order], view)
    assert repr(user) == "<Parameter user from depends>"


def test_a_plain_plan_tells_the_same():
    def view(id, request: SyncRequest) -> str: ...

    plan = make_plan(view, what="view", variables=("id",))

    assert [(each.name, each.place) for each in plan.parameters] == [("id", "path"), ("request", "request")]
    assert (plan.returns, plan.is_bound) == (str, False)


def test_what_has_no_signature_gets_the_path():
    plan = make_plan(dict, what="view", variables=("a",))

    assert [(each.name, each.place) for each in plan.parameters] == [("a", "path")]


def test_a_return_annotation_that_cannot_be_hashed_is_looked_at_all_the_same():
    async def view() -> Annotated[list[int], []]: ...

    assert not make_plan(view, what="view").is_bound


def test_a_view_that_takes_nothing_loads_nothing():
    import subprocess
    import sys

    code = (
        "import sys; from microweb import App; app = App('x', static_folder=None)\n"
        "@app.get('/<int:id>')\nasync def view(id: int, request) -> str: return ''\n"
        "app._compose(); unused = ['msgspec', *('microweb.' + m for m in ('boundplan', 'forms', 'representations'))]\n"
        "print([m for m in unused if m in sys.modules])"
    )

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# Hooks ----------------------------------------------------------------------------------------------


async def test_hooks_take_what_they_mark():
    app, seen = App(__name__), []

    @app.before_request
    async def before(x_token: Annotated[str, Header()] = "none"):
        seen.append(("before", x_token))

    @app.after_request
    async def after(response, n: Annotated[int, Query()] = 0):
        seen.append(("after", response.status_code, n))

    @app.teardown_request
    def teardown(error, n: Annotated[int, Query()] = 0):
        seen.append(("teardown", error, n))

    @app.errorhandler(404)
    async def missing(error, n: Annotated[int, Query()] = 0):
        return f"missing {n}", 404

    @app.get("/")
    async def view():
        return "ok"

    async with Client(app) as client:
        assert (await client.get("/?n=1", headers={"x-token": "t"})).text == "ok"
        assert (await client.get("/nowhere?n=2")).text == "missing 2"

    assert seen == [
        ("before", "t"),
        ("after", 200, 1),
        ("teardown", None, 1),
        ("before", "none"),
        ("after", 404, 2),
        ("teardown", None, 2),
    ]


def test_a_hook_guesses_nothing():
    async def hook(n: int): ...

    with pytest.raises(SetupError, match="does not say where it comes from"):
        make_plan(hook, what="before_request function")


@pytest.mark.parametrize(
    ("begin", "core", "end"), [("[", "[]", "]"), ('{"":', "{}", "}"), ('[{"":', "[{}]", "}]"), ('{"":[', "[]", "]}")]
)
@pytest.mark.parametrize("padding", ["", "x" * 2000])
async def test_a_body_is_as_deep_as_it_may_be_and_no_deeper_whatever_it_is_nested_in(begin, core, end, padding):
    class Small(msgspec.Struct):
        name: str

    async def view(small: Small):
        return small.name

    def nest(depth):
        # One level is the struct's own object; what it has no field for is nested too.
        step, inside = len(begin.replace('"":', "")), len(core) // 2
        outer, rest = divmod(depth - 1 - inside, step)
        text = begin * outer + "[" * rest + core + "]" * rest + end * outer
        return f'{{"name":"a","other":{text},"text":"{padding}"}}'.encode()

    json_type = {"content-type": "application/json"}
    statuses = {
        depth: (await call(view, "POST", content=nest(depth), headers=json_type)).status_code for depth in (64, 65)
    }

    assert statuses == {64: 200, 65: 400}
