"""Fields, sets of them, and masks: what leaves, and how it is written."""

from collections import namedtuple
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import msgspec
import pytest

from microweb import App, Response
from microweb.errors import BadRequest
from microweb.ext.rest import Api, Mask, Resource, fields, marshal, marshal_with, marshal_with_field
from microweb.testing import Client

pytestmark = pytest.mark.anyio

PERSON = {"name": fields.String, "address": {"city": fields.String(attribute="city")}}


class Row(msgspec.Struct):
    id: int
    name: str


def one(field, value):
    return marshal({"it": value}, {"it": field})["it"]


@pytest.mark.parametrize(
    ("field", "value", "written"),
    [
        (fields.Raw, [1], [1]),
        (fields.Raw(default=3), None, 3),
        (fields.String, 5, "5"),
        (fields.String, None, None),
        (fields.Integer, "7", 7),
        (fields.Integer, None, 0),
        (fields.Integer(default=None), None, None),
        (fields.Float, "1.5", 1.5),
        (fields.Boolean, 1, True),
        (fields.Boolean, "", False),
        (fields.Arbitrary, "634271127864378216478362784632784678324.23432",
         "634271127864378216478362784632784678324.23432"),
        (fields.Arbitrary, Decimal("0.10"), "0.10"),
        (fields.Fixed, 3.14159265, "3.14159"),
        (fields.Price(decimals=2), "2.675", "2.68"),
        (fields.Fixed(2), "2.665", "2.66"),
        (fields.DateTime, datetime(1994, 11, 6, 8, 49, 37), "Sun, 06 Nov 1994 08:49:37 -0000"),
        (fields.DateTime, datetime(1994, 11, 6, 9, 49, 37, tzinfo=timezone(timedelta(hours=1))),
         "Sun, 06 Nov 1994 08:49:37 -0000"),
        (fields.DateTime, date(1994, 11, 6), "Sun, 06 Nov 1994 00:00:00 -0000"),
        (fields.DateTime("iso8601"), datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC), "1994-11-06T08:49:37+00:00"),
        (fields.DateTime("iso8601"), date(1994, 11, 6), "1994-11-06"),
        (fields.List(fields.Integer), ["1", None, 3], [1, 0, 3]),
        (fields.List(fields.String), {"a"}, ["a"]),
        (fields.List(fields.String), "alone", ["alone"]),
        (fields.List(fields.String), None, None),
        (fields.List(fields.String(attribute="n")), [{"n": "a"}, {"n": "b"}], ["a", "b"]),
        (fields.List(fields.Nested({"n": fields.String})), [{"n": "a", "x": 1}], [{"n": "a"}]),
        (fields.List(fields.FormattedString("<{n}>")), [{"n": "a"}], ["<a>"]),
        (fields.Nested({"n": fields.String}), {"n": 1, "x": 2}, {"n": "1"}),
        (fields.Nested({"n": fields.String}), [{"n": 1}, {"n": 2}], [{"n": "1"}, {"n": "2"}]),
        (fields.Nested({"n": fields.String}), None, {"n": None}),
        (fields.Nested({"n": fields.String}, allow_null=True), None, None),
        (fields.Nested({"n": fields.String}, default={}), None, {}),
    ],
)  # fmt: skip
def test_a_field_writes_a_value(field, value, written):
    assert one(field, value) == written


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (fields.Integer, "x"),
        (fields.Float, {}),
        (fields.Fixed, "nan"),
        (fields.Fixed, "x"),
        (fields.Fixed, "1e99"),
        (fields.Arbitrary, "x"),
        (fields.DateTime, "yesterday"),
        (fields.FormattedString("{nothing}"), 1),
    ],
)
def test_a_value_that_cannot_be_written_is_an_error_that_names_the_field(field, value):
    with pytest.raises(fields.MarshallingException, match=(field if isinstance(field, type) else type(field)).__name__):
        one(field, value)


def test_objects_of_every_kind_are_read():
    shape = {"id": fields.Integer, "name": fields.String}
    Named = namedtuple("Named", "id name")

    assert marshal(Row(1, "a"), shape) == {"id": 1, "name": "a"}
    assert marshal(Named(1, "a"), shape) == {"id": 1, "name": "a"}
    assert marshal([Row(1, "a"), {"id": 2}], shape) == [{"id": 1, "name": "a"}, {"id": 2, "name": None}]
    assert marshal((row for row in [Row(1, "a")]), shape) == [{"id": 1, "name": "a"}]


def test_an_attribute_is_a_name_a_path_an_index_or_a_function():
    data = {"user": {"name": "Ada"}, "tags": ["x", "y"], "n": 2}

    made = marshal(
        data,
        {
            "by_path": fields.String(attribute="user.name"),
            "by_function": fields.Integer(attribute=lambda item: item["n"] * 2),
            "missing": fields.String(attribute="user.age.years", default="none"),
            "text": fields.FormattedString("{n} of {user[name]}"),
        },
    )

    assert made == {"by_path": "Ada", "by_function": 4, "missing": "none", "text": "2 of Ada"}
    assert fields.get_value(1, ["x", "y"]) == "y"
    assert fields.get_value(5, ["x", "y"], "none") == "none"


def test_a_set_of_fields_may_hold_another_and_stand_in_an_envelope():
    data = {"name": "Ada", "city": "London", "password": "x"}

    assert marshal(data, PERSON, envelope="person") == {"person": {"name": "Ada", "address": {"city": "London"}}}


def test_what_is_none_can_be_left_out():
    shape = {"a": fields.Raw, "b": fields.Raw, "c": fields.Nested({"d": fields.Raw}, skip_none=True)}

    assert marshal({"a": 1}, shape, skip_none=True) == {"a": 1}
    assert marshal({"a": 1}, shape) == {"a": 1, "b": None, "c": {}}


def test_a_field_of_ones_own_and_what_is_no_field():
    class Urgent(fields.Raw):
        def format(self, value):
            return "urgent" if value else "normal"

    assert one(Urgent, True) == "urgent"
    with pytest.raises(TypeError, match=r"fields\.String"):
        one(str, "x")
    with pytest.raises(ValueError, match="rfc822"):
        fields.DateTime("other")


async def test_urls_are_made_of_the_values_that_a_path_needs():
    app = App(__name__)
    api = Api(app)
    shape = {
        "here": fields.Url,
        "other": fields.Url("other"),
        "whole": fields.Url("other", absolute=True),
        "safe": fields.Url("other", absolute=True, scheme="https"),
    }

    @api.resource("/items/<int:id>")
    class Item(Resource):
        @marshal_with(shape)
        async def get(self, id):
            return Row(id, "x")

    @api.resource("/others/<int:id>/<name>", endpoint="other")
    class Other(Resource):
        @marshal_with({"lost": fields.Url("nowhere")})
        def get(self, id, name):
            return {"id": id, "list": [], "_private": 1, "endpoint": "x"}

    async with Client(app, raise_errors=False) as client:
        assert (await client.get("/items/3")).json() == {
            "here": "/items/3",
            "other": "/others/3/x",
            "whole": "http://testserver/others/3/x",
            "safe": "https://testserver/others/3/x",
        }
        assert (await client.get("/others/3/x")).status_code == 500


async def test_marshal_with_keeps_status_and_headers_and_lets_responses_pass():
    class Things(Resource):
        @marshal_with({"a": fields.Integer}, envelope="thing")
        async def get(self):
            return {"a": 1, "b": 2}, 201, {"x-more": "yes"}

        @marshal_with({"a": fields.Integer})
        def post(self):
            return Response("as it is")

        @marshal_with_field(fields.List(fields.Integer))
        async def put(self):
            return ["1", "2"], 202

    app = App(__name__)
    Api(app).add_resource(Things, "/")

    async with Client(app) as client:
        got = await client.get("/")
        assert (got.json(), got.status_code, got.headers["x-more"]) == ({"thing": {"a": 1}}, 201, "yes")
        assert (await client.post("/")).text == "as it is"
        put = await client.put("/")
        assert (put.json(), put.status_code) == ([1, 2], 202)


async def test_a_client_may_ask_for_less():
    class Person(Resource):
        method_decorators = [marshal_with(PERSON, mask="{name}")]

        async def get(self):
            return {"name": "Ada", "city": "London", "password": "x"}

        def post(self):
            return {"name": "Ada", "city": "London"}

    app = App(__name__)
    Api(app).add_resource(Person, "/")

    async with Client(app) as client:
        assert (await client.get("/")).json() == {"name": "Ada"}
        asked = await client.get("/", headers={"x-fields": "address{city},password"})
        assert (asked.json(), asked.headers["vary"]) == ({"address": {"city": "London"}}, "X-Fields")
        assert (await client.post("/", headers={"x-fields": "*"})).json()["address"] == {"city": "London"}
        assert (await client.get("/", headers={"x-fields": "{{{"})).status_code == 400


@pytest.mark.parametrize(
    ("mask", "left"),
    [
        ("{a}", {"a": 1}),
        ("a , c{e}", {"a": 1, "c": [{"e": 3}, {}]}),
        ("*", {"a": 1, "b": 2, "c": [{"d": 2, "e": 3}, {"d": 4}]}),
        ("*,c{d}", {"a": 1, "b": 2, "c": [{"d": 2}, {"d": 4}]}),
        ("nothing", {}),
        ("", {}),
        ("a{x}", {"a": 1}),
    ],
)
def test_a_mask_leaves_what_it_names(mask, left):
    data = {"a": 1, "b": 2, "c": [{"d": 2, "e": 3}, {"d": 4}]}

    assert Mask(mask).apply(data) == left
    assert marshal(data, dict.fromkeys(data, fields.Raw), mask=mask) == left


@pytest.mark.parametrize("mask", ["{", "a{", "a}", "{a", "a}b{", "a b", "a{b}{c}", "1a", "{}{}", "a;b", "a{b}}"])
def test_a_mask_that_is_malformed_is_refused(mask):
    with pytest.raises(BadRequest, match="X-Fields"):
        Mask(mask)


def test_a_mask_of_nothing_but_braces_is_refused():
    for hostile in ("{" * 8000, "a{" * 4000, "}" * 8000, "{}" * 4000, "a{" * 17 + "b" + "}" * 17):
        with pytest.raises(BadRequest):
            Mask(hostile)


def test_reading_a_mask_takes_linear_time(growth):
    assert growth(Mask, "name," * 4000, "name," * 8000) < 2.6
