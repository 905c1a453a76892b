"""Answers and bodies in other types than JSON: who gets which, what is read, and what is refused."""

import csv
import io
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import pytest

from microweb import (
    App,
    Body,
    Depends,
    MessagePack,
    Representation,
    Response,
    Router,
    SetupError,
    render_template_string,
)
from microweb.testing import Client

pytestmark = pytest.mark.anyio

PACKED = "application/msgpack"


class Person(msgspec.Struct):
    name: str
    age: int = 0


class Account(Person):
    password: str = ""


@dataclass
class Point:
    x: int
    y: int = 2


def make_app(**options):
    app = App(__name__, **options)
    app.representations[PACKED] = MessagePack()
    return app


async def ask(app, accept=None, path="/"):
    headers = {} if accept is None else {"accept": accept}
    async with Client(app) as client:
        if accept is None:
            del client.headers["accept"]
        return await client.get(path, headers=headers)


async def send(app, content, content_type=PACKED, path="/"):
    async with Client(app) as client:
        return await client.post(path, content=content, headers={"content-type": content_type})


# What is sent -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept", "sent"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        (PACKED, PACKED),
        (f"{PACKED}, application/json", "application/json"),
        (f"application/json;q=0.5, {PACKED}", PACKED),
        (f"text/html, {PACKED};q=0.9, */*;q=0.8", PACKED),
        (f"{PACKED};q=0, */*", "application/json"),
        ("text/html", "application/json"),
        ("nonsense", "application/json"),
    ],
)
async def test_the_type_is_the_one_that_the_client_prefers(accept, sent):
    app = make_app()

    @app.get("/")
    async def view():
        return {"a": 1}

    answer = await ask(app, accept)

    assert (answer.status_code, answer.headers["content-type"]) == (200, sent)
    assert answer.headers["vary"] == "Accept"
    assert (msgspec.msgpack.decode if sent == PACKED else json.loads)(answer.content) == {"a": 1}


async def test_what_a_generator_view_yields_is_streamed_as_it_is():
    app = make_app()

    @app.get("/")
    async def lines():
        yield "one\n"
        yield "two\n"

    assert (await ask(app, PACKED)).text == "one\ntwo\n"


async def list_view():
    return [1, 2]


async def struct_view() -> Person:
    return Account("ada", 36, "secret")


async def dataclass_view():
    return Point(1)


def thread_view():
    return {"from": "a thread"}


def awaitable_view():
    return list_view()


async def query_view(number: int = 7):
    return {"number": number}


async def with_dependency(point: Annotated[Point, Depends(dataclass_view)]):
    return point


@pytest.mark.parametrize(
    ("view", "value"),
    [
        (list_view, [1, 2]),
        (struct_view, {"name": "ada", "age": 36}),
        (dataclass_view, {"x": 1, "y": 2}),
        (thread_view, {"from": "a thread"}),
        (awaitable_view, [1, 2]),
        (query_view, {"number": 7}),
        (with_dependency, {"x": 1, "y": 2}),
    ],
)
async def test_every_kind_of_view_is_negotiated(view, value):
    app = make_app()
    app.get("/")(view)

    packed, plain = await ask(app, PACKED), await ask(app)

    assert msgspec.msgpack.decode(packed.content) == plain.json() == value
    assert packed.headers["content-type"] == PACKED


async def test_a_view_with_hooks_and_open_dependencies_is_negotiated():
    app, closed = make_app(), []

    async def connect():
        yield "connection"
        closed.append("connection")

    @app.before_request
    async def check(connection: Annotated[str, Depends(connect)]):
        assert connection

    @app.get("/")
    async def view(connection: Annotated[str, Depends(connect)]):
        return {"by": connection}

    answer = await ask(app, PACKED)

    assert msgspec.msgpack.decode(answer.content) == {"by": "connection"}
    assert closed == ["connection"]


async def test_status_and_headers_of_a_tuple_are_kept():
    app = make_app()

    @app.get("/")
    async def view():
        return {"a": 1}, 201, {"x-a": "b", "vary": "Cookie"}

    answer = await ask(app, PACKED)

    assert (answer.status_code, answer.headers["x-a"], answer.headers["vary"]) == (201, "b", "Cookie, Accept")
    assert msgspec.msgpack.decode(answer.content) == {"a": 1}


@pytest.mark.parametrize("value", ["text", b"bytes", ("text", 201)])
async def test_what_is_no_data_is_sent_as_it_is(value):
    app = make_app()

    @app.get("/")
    async def view():
        return value

    answer = await ask(app, PACKED)

    assert answer.content in (b"text", b"bytes")
    assert "vary" not in answer.headers


async def test_a_response_of_the_view_is_left_alone():
    app = make_app()

    @app.get("/")
    async def view():
        return Response("{}", content_type="application/json")

    assert (await ask(app, PACKED)).text == "{}"


async def test_error_pages_are_not_negotiated():
    app = make_app()

    @app.get("/")
    async def view():
        raise ZeroDivisionError

    async with Client(app, raise_errors=False) as client:
        answer = await client.get("/", headers={"accept": PACKED})

    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")


async def test_head_has_the_headers_of_get():
    app = make_app()

    @app.get("/")
    async def view():
        return {"a": 1}

    async with Client(app) as client:
        answer = await client.head("/", headers={"accept": PACKED})

    assert (answer.headers["content-type"], answer.headers["content-length"], answer.content) == (PACKED, "4", b"")


async def test_without_representations_nothing_varies():
    app = App(__name__)

    @app.get("/")
    async def view():
        return {"a": 1}

    assert "vary" not in (await ask(app, PACKED)).headers


# Which there are ------------------------------------------------------------------------------------------


def write_csv(rows):
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


async def test_a_function_that_writes_is_enough_and_text_is_utf_8():
    app = App(__name__)
    app.representations["text/csv"] = write_csv

    @app.get("/")
    async def view():
        return [["ä", 1], ["b", 2]]

    answer = await ask(app, "text/csv")

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.text == "ä,1\r\nb,2\r\n"


async def test_a_page_can_be_a_representation():
    app = App(__name__)
    app.representations["text/html"] = lambda person: render_template_string("<b>{{ name }}</b>", name=person["name"])

    @app.get("/")
    async def view():
        return {"name": "<ada>"}

    assert (await ask(app, "text/html,application/xml;q=0.9,*/*;q=0.8")).text == "<b>&lt;ada&gt;</b>"
    assert (await ask(app, "*/*")).json() == {"name": "<ada>"}


async def test_a_router_adds_to_those_of_the_app_and_replaces_them():
    app, inner = make_app(), Router("inner", __name__, prefix="/inner")
    app.representations["text/csv"] = write_csv
    inner.representations["text/csv"] = lambda value: "the inner one"

    for owner in (app, inner):

        @owner.get("/")
        async def view():
            return [["a"]]

    app.mount("", inner)

    assert (await ask(app, "text/csv")).text == "a\r\n"
    assert (await ask(app, "text/csv", "/inner/")).text == "the inner one"
    assert (await ask(app, PACKED, "/inner/")).headers["content-type"] == PACKED


async def test_those_of_a_router_stay_inside():
    app, inner = App(__name__), Router("inner", __name__, prefix="/inner")
    inner.representations[PACKED] = MessagePack()
    app.mount("", inner)

    @app.get("/")
    async def view():
        return {}

    assert (await ask(app, PACKED)).headers["content-type"] == "application/json"


async def test_json_can_be_written_in_another_way_and_come_later():
    app = make_app()
    app.representations["application/json"] = lambda value: json.dumps(value, indent=1)

    @app.get("/")
    async def view():
        return [1]

    assert (await ask(app)).headers["content-type"] == PACKED
    assert (await ask(app, "application/json")).text == "[\n 1\n]"


async def test_a_client_is_refused_only_if_the_program_is_strict():
    app = make_app()
    app.representations.strict = True

    @app.get("/")
    async def view():
        return {}

    refused = await ask(app, "text/html;q=0.5")

    assert (refused.status_code, refused.headers["vary"]) == (406, "Accept")
    assert f"application/json and {PACKED}" in refused.text
    assert (await ask(app, "*/*")).status_code == 200


async def test_a_program_that_knows_json_alone_may_be_strict():
    app = App(__name__)
    app.representations.strict = True

    @app.get("/")
    async def view():
        return {}

    assert (await ask(app, "text/html")).status_code == 406
    assert (await ask(app, "application/json")).status_code == 200


async def test_an_empty_tuple_is_no_answer_in_any_type(caplog):
    app = make_app()

    @app.get("/")
    async def view():
        return ()

    async with Client(app, raise_errors=False) as client:
        assert (await client.get("/")).status_code == 500
    assert "a tuple of 0" in caplog.text


async def test_a_model_is_written_as_the_plain_values_in_it():
    class Model:
        def model_dump(self):
            return {"name": "ada"}

        def model_dump_json(self):
            raise AssertionError

    app = App(__name__)
    app.representations["text/x-repr"] = repr

    @app.get("/")
    async def view():
        return Model()

    assert (await ask(app, "text/x-repr")).text == "{'name': 'ada'}"


@pytest.mark.parametrize("media_type", ["msgpack", "text/*", "text/csv; charset=utf-8", "", "a/b/c"])
def test_what_is_no_media_type_is_a_set_up_error(media_type):
    with pytest.raises(SetupError, match=r"application/msgpack.*test_representations.py"):
        App(__name__).representations[media_type] = write_csv


@pytest.mark.parametrize("representation", ["json", None, MessagePack])
def test_what_cannot_write_is_a_set_up_error(representation):
    with pytest.raises(SetupError, match=r"Representation\(write, read\).*test_representations.py"):
        App(__name__).representations[PACKED] = representation


async def test_several_are_registered_at_once_and_one_is_taken_away_again():
    app = App(__name__)
    app.representations.update({PACKED: MessagePack(), "Text/CSV": write_csv})
    del app.representations[PACKED]

    @app.get("/")
    async def view():
        return [["a"]]

    assert list(app.representations) == ["text/csv"]
    assert (await ask(app, "text/csv")).text == "a\r\n"
    assert (await ask(app, PACKED)).headers["content-type"] == "application/json"


async def test_representations_are_frozen_with_the_app():
    app = make_app()

    @app.get("/")
    async def view():
        return {}

    await ask(app)

    with pytest.raises(SetupError, match="text/csv"):
        app.representations["text/csv"] = write_csv
    with pytest.raises(SetupError, match=f"remove the representation '{PACKED}'"):
        del app.representations[PACKED]
    with pytest.raises(SetupError, match="change the representations"):
        app.representations.strict = True


# What is read ---------------------------------------------------------------------------------------------


async def take_body(person: Person):
    return {"got": person}


async def take_optional(person: Person | None = None):
    return {"got": person}


async def take_body_and_query(person: Person, number: int = 1):
    return {"got": person, "number": number}


def take_in_thread(person: Person):
    return {"got": person}


async def take_strict(person: Annotated[Person, Body(forbid_unknown=True)]):
    return {"got": person}


TAKERS = [take_body, take_optional, take_body_and_query, take_in_thread, take_strict]


@pytest.mark.parametrize("view", TAKERS)
async def test_a_body_is_read_in_every_registered_type(view):
    app = make_app()
    app.post("/")(view)

    packed = await send(app, msgspec.msgpack.encode({"name": "ada", "age": 36}))
    plain = await send(app, b'{"name": "ada", "age": 36}', "application/json")

    assert packed.json()["got"] == plain.json()["got"] == {"name": "ada", "age": 36}


@pytest.mark.parametrize("view", TAKERS)
async def test_a_packed_body_that_does_not_fit_is_a_422_that_lists_everything(view):
    app = make_app()
    app.post("/")(view)

    answer = await send(app, msgspec.msgpack.encode({"age": "old"}))

    assert answer.status_code == 422
    assert [(error["in"], error["name"], error["reason"]) for error in answer.json()["errors"]] == [
        ("body", "name", "is missing"),
        ("body", "age", "expected int, got str"),
    ]


@pytest.mark.parametrize("view", TAKERS)
async def test_a_type_that_nothing_reads_is_a_415_that_names_those_that_are(view):
    app = make_app()
    app.representations["text/csv"] = write_csv
    app.post("/")(view)

    answer = await send(app, b"a", "text/csv")

    assert (answer.status_code, answer.headers["accept"]) == (415, f"application/json, {PACKED}")
    assert f"application/json or {PACKED}, got text/csv" in answer.json()["detail"]


async def test_a_body_without_a_type_is_a_415_too():
    app = make_app()
    app.post("/")(take_body)

    async with Client(app) as client:
        answer = await client.post("/", content=b"a")

    assert answer.status_code == 415
    assert "got no Content-Type" in answer.json()["detail"]


async def test_json_that_the_program_reads_itself_is_named_once():
    app = make_app()
    app.representations["application/json"] = Representation(json.dumps, json.loads)
    app.post("/")(take_body)

    answer = await send(app, b"a", "text/csv")

    assert answer.headers["accept"] == f"application/json, {PACKED}"


@pytest.mark.parametrize("view", TAKERS)
@pytest.mark.parametrize("body", [b"\xc1", b"\x82\xa4name", b"\xa4ada", b"\xc4\x01"])
async def test_a_packed_body_that_is_cut_or_malformed_is_a_400(view, body):
    app = make_app()
    app.post("/")(view)

    assert (await send(app, body)).status_code == 400


async def test_unknown_keys_can_be_refused_in_every_type():
    app = make_app()
    app.post("/")(take_strict)

    answer = await send(app, msgspec.msgpack.encode({"name": "ada", "admin": True}))

    assert answer.json()["errors"] == [{"in": "body", "name": "admin", "reason": "is not a known field"}]


async def test_an_unknown_key_may_be_a_number():
    class Closed(Person, forbid_unknown_fields=True):
        pass

    async def take(person: Closed):
        return person

    app = make_app()
    app.post("/")(take)

    answer = await send(app, msgspec.msgpack.encode({"name": "ada", 7: 1, "admin": True}))

    assert [error["name"] for error in answer.json()["errors"]] == ["7", "admin"]


async def test_unknown_keys_are_refused_below_keys_that_are_numbers():
    async def take(people: Annotated[dict[int, Person], Body(forbid_unknown=True)]):
        return people

    app = make_app()
    app.post("/")(take)

    answer = await send(app, msgspec.msgpack.encode({7: {"name": "ada", "admin": True}}))

    assert [error["name"] for error in answer.json()["errors"]] == ["7.admin"]


async def test_one_key_of_a_packed_body_can_be_taken():
    app = make_app()

    @app.post("/")
    async def view(name: Annotated[str, Body("name")], when: Annotated[datetime, Body("when")]):
        return {"name": name, "year": when.year}

    answer = await send(app, msgspec.msgpack.encode({"name": "ada", "when": datetime(1843, 7, 10, tzinfo=UTC)}))

    assert answer.json() == {"name": "ada", "year": 1843}


async def test_keys_that_are_numbers_are_read_as_numbers():
    app = make_app()

    @app.post("/")
    async def view(names: Annotated[dict[int, str], Body()]):
        return [names[1]]

    assert (await send(app, msgspec.msgpack.encode({1: "one"}))).json() == ["one"]
    assert (await send(app, b'{"1": "one"}', "application/json")).json() == ["one"]


@pytest.mark.parametrize(("begin", "end"), [(b"\x91", b"\x90"), (b"\x81\x01", b"\x80")])
async def test_a_body_that_is_nested_too_deep_is_a_400_in_any_type(begin, end):
    app = make_app()

    @app.post("/")
    async def view(value: Annotated[list | dict, Body()]):
        return value

    assert (await send(app, begin * 63 + end)).status_code == 200
    assert (await send(app, begin * 64 + b"\x01")).status_code == 200
    for depth in (64, 900, 100_000):
        assert (await send(app, begin * depth + end)).status_code == 400


@pytest.mark.parametrize("body", [b"\x81\x91\x01\x02", b"\x81\xc4\x01a\x02", b"\x81\xc0\x01", b"\xd4\x05\x00"])
async def test_what_no_json_could_say_is_a_400(body):
    app = make_app()

    @app.post("/")
    async def view(value: Annotated[Any, Body()]):
        return {"value": value}

    assert (await send(app, body)).status_code == 400


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**400])
@pytest.mark.parametrize("day", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-00:01"])
async def test_what_messagepack_has_no_room_for_is_sent_as_text(number, day):
    app = make_app()
    known = {"raw": b"raw", "at": datetime(2020, 1, 1, tzinfo=UTC), "least": -(2**63), "most": 2**64 - 1}

    @app.get("/")
    async def view(n: int, day: datetime):
        return {**known, "n": [n], "person": Person("Ada", n), "day": day, n: 1}

    packed = await ask(app, PACKED, f"/?n={number}&day={day.replace('+', '%2B')}")
    text = str(number)
    assert msgspec.msgpack.decode(packed.content) == {
        **known, "n": [text], "person": {"name": "Ada", "age": text}, "day": day, text: 1
    }  # fmt: skip


async def test_a_representation_of_the_program_is_read_with_its_own_function():
    app = App(__name__)
    app.representations["text/pairs"] = Representation(
        lambda value: "&".join(f"{key}={item}" for key, item in value.items()),
        lambda body: dict(pair.split("=", 1) for pair in body.decode().split("&")),
    )

    @app.post("/")
    async def view(pair: Annotated[dict[str, str], Body()]):
        return pair

    assert (await send(app, b"a=1&b=2", "text/pairs")).json() == {"a": "1", "b": "2"}
    assert (await send(app, b"a", "text/pairs")).status_code == 400


async def test_an_empty_packed_body_is_none_where_it_is_optional_and_a_400_elsewhere():
    app = make_app()
    app.post("/")(take_optional)
    app.post("/needed")(take_body)

    assert (await send(app, b"")).json() == {"got": None}
    assert (await send(app, b"", path="/needed")).status_code == 400


async def test_a_pydantic_model_is_read_and_written():
    pydantic = pytest.importorskip("pydantic")
    Model = pydantic.create_model("Model", name=(str, ...))
    app = make_app()

    async def view(model):
        return model

    view.__annotations__["model"] = Model
    app.post("/")(view)

    async with Client(app) as client:
        headers = {"content-type": PACKED, "accept": PACKED}
        answer = await client.post("/", content=msgspec.msgpack.encode({"name": "ada"}), headers=headers)

    assert msgspec.msgpack.decode(answer.content) == {"name": "ada"}
