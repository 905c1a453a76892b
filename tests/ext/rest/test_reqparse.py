"""Arguments of a request, as Flask-RESTful reads them, in ``def`` and in ``async def`` methods."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microweb import App, Request, SetupError, SyncUploadFile, UploadFile
from microweb.ext.rest import Api, Resource, inputs, reqparse
from microweb.testing import Client, SyncClient

pytestmark = pytest.mark.anyio


def make_app(parser, strict=False):
    """Two paths that answer what was parsed: one method is a def, the other a coroutine function."""
    app = App(__name__)
    api = Api(app)

    @api.resource("/sync/<int:id>")
    class Sync(Resource):
        def post(self, id):
            return parser.parse_args(strict=strict)

        get = put = post

    @api.resource("/async/<int:id>")
    class Async(Resource):
        async def post(self, id):
            return await parser.parse_args_async(strict=strict)

        get = put = post

    return app


async def ask(parser, method="POST", query="", strict=False, **options):
    """The answer of both methods, which has to be the same."""
    async with Client(make_app(parser, strict)) as client:
        answers = [await client.request(method, f"/{kind}/3{query}", **options) for kind in ("sync", "async")]
    assert answers[0].status_code == answers[1].status_code
    assert answers[0].json() == answers[1].json()
    return answers[0]


def parser_of(*args, **options):
    return reqparse.RequestParser().add_argument(*args, **options)


async def test_by_default_the_json_body_the_form_and_the_query_are_looked_at():
    parser = parser_of("a")

    assert (await ask(parser, query="?a=query")).json() == {"a": "query"}
    assert (await ask(parser, data={"a": "form"})).json() == {"a": "form"}
    assert (await ask(parser, json={"a": "json"})).json() == {"a": "json"}
    assert (await ask(parser, method="GET")).json() == {"a": None}


@pytest.mark.parametrize(
    ("location", "options"),
    [
        ("args", {"query": "?A-b=x"}),
        ("form", {"data": {"A-b": "x"}}),
        ("json", {"json": {"A-b": "x"}}),
        ("json", {"content": b'{"A-b": "x"}', "headers": {"content-type": "application/vnd.a+json"}}),
        ("headers", {"headers": {"a-B": "x"}}),
        (("headers", "args"), {"headers": {"a-B": "x"}}),
        ("cookies", {"headers": {"cookie": "A-b=x"}}),
        ("values", {"query": "?A-b=x"}),
        ("values", {"data": {"A-b": "x"}}),
        (["json", "args"], {"query": "?A-b=x"}),
    ],
)
async def test_a_location_is_the_only_place_that_is_looked_at(location, options):
    assert (await ask(parser_of("A-b", location=location), **options)).json() == {"A-b": "x"}


async def test_another_location_does_not_count():
    parser = parser_of("a", location="form")

    assert (await ask(parser, query="?a=1", json={"a": 1})).json() == {"a": None}


async def test_a_path_variable_can_be_an_argument():
    assert (await ask(parser_of("id", type=int, location="view_args"))).json() == {"id": 3}


async def test_a_file_is_an_argument():
    app = App(__name__)

    @Api(app).resource("/")
    class Photos(Resource):
        def post(self):
            photo = parser_of("photo", type=SyncUploadFile, location="files").parse_args().photo
            return [photo.filename, photo.read().decode()]

        async def put(self):
            args = await parser_of("photo", type=UploadFile, location="files").parse_args_async()
            return [args.photo.filename, (await args.photo.read()).decode()]

    async with Client(app) as client:
        for method in ("POST", "PUT"):
            response = await client.request(method, "/", files={"photo": ("a.txt", b"bytes")})
            assert response.json() == ["a.txt", "bytes"]


async def test_actions_take_the_first_all_or_the_parts():
    parser = parser_of("a").copy()
    parser.add_argument("b", action="append", type=int, dest="all")
    parser.add_argument("c", action="split", type=int)

    response = await ask(parser, query="?a=1&a=2&b=1&b=2&c=1,2,3")

    assert response.json() == {"a": "1", "all": [1, 2], "c": [1, 2, 3]}


async def test_lists_in_json_are_several_values_or_one_list():
    parser = parser_of("a", action="append", type=int)
    parser.add_argument("b", type=list)
    parser.add_argument("c", type=dict)
    parser.add_argument("d", action="append")

    response = await ask(parser, json={"a": [1, 2], "b": ["xy", 3], "c": {"d": 1}, "d": []})

    assert response.json() == {"a": [1, 2], "b": ["xy", 3], "c": {"d": 1}, "d": []}


async def test_what_is_missing_is_the_default_and_may_be_left_out():
    parser = parser_of("a", default=5)
    parser.add_argument("b", default=lambda: "called")
    parser.add_argument("c", store_missing=False)
    parser.add_argument("d", dest="e")

    assert (await ask(parser)).json() == {"a": 5, "b": "called", "e": None}


@pytest.mark.parametrize(
    ("options", "sent", "reason"),
    [
        ({"required": True}, {}, "Missing required parameter in the JSON body or the post body or the query string"),
        ({"required": True, "location": "headers"}, {}, "Missing required parameter in the HTTP headers"),
        ({"required": True, "location": "args", "help": "Give it"}, {}, "Give it"),
        ({"type": int}, {"a": "x"}, "invalid literal for int() with base 10: 'x'"),
        ({"type": int, "help": "Bad: {error_msg}!"}, {"a": "x"}, "Bad: invalid literal for int() with base 10: 'x'!"),
        ({"type": Decimal}, {"a": "x"}, "[<class 'decimal.ConversionSyntax'>]"),
        ({"choices": ("one", "two")}, {"a": "three"}, "three is not a valid choice"),
        ({"nullable": False}, {"a": None}, "Must not be null!"),
        ({"type": inputs.positive}, {"a": 0}, "Invalid a: 0. a must be a positive integer"),
        ({"type": list}, {"a": "x"}, "expected a list"),
        ({"type": str}, {"a": {"b": 1}}, "expected a text"),
        ({"action": "split"}, {"a": 3}, "expected a text with commas"),
        (
            {"required": True},
            {"a": []},
            "Missing required parameter in the JSON body or the post body or the query string",
        ),
    ],
)
async def test_a_refusal_is_a_400_that_says_why(options, sent, reason):
    response = await ask(parser_of("a", **options), json=sent)

    assert response.status_code == 400
    assert response.json()["message"] == {"a": reason}
    assert response.headers["content-type"] == "application/problem+json"


async def test_values_are_trimmed_made_lower_case_and_may_be_null():
    parser = reqparse.RequestParser(trim=True)
    parser.add_argument("a", choices=("x",), case_sensitive=False)
    parser.add_argument("b", type=int)

    assert (await ask(parser, json={"a": "  X ", "b": None})).json() == {"a": "x", "b": None}


async def test_a_value_that_is_refused_can_be_passed_over():
    assert (await ask(parser_of("a", type=int, ignore=True, default=7), query="?a=x")).json() == {"a": 7}


async def test_a_type_may_ask_for_the_name_and_the_operator():
    parser = parser_of("price", type=lambda value, name, operator: [name, operator, int(value)], operators=("<=", ">="))

    assert (await ask(parser, query="?price%3E=3")).json() == {"price": ["price", ">=", 3]}
    assert (await ask(parser, query="?price%3C%3D3")).json() == {"price": None}
    assert (await ask(parser, query="?price%3C=3")).json() == {"price": ["price", "<=", 3]}


async def test_all_errors_come_at_once_if_asked_for():
    parser = reqparse.RequestParser(bundle_errors=True)
    parser.add_argument("a", type=int, required=True)
    parser.add_argument("b", type=int, help="b is a number")

    bundled = await ask(parser, query="?b=x")
    first = reqparse.RequestParser()
    first.args = parser.args

    assert list(bundled.json()["message"]) == ["a", "b"]
    assert list((await ask(first, query="?b=x")).json()["message"]) == ["a"]


async def test_strict_refuses_what_no_argument_names():
    parser = parser_of("a")

    refused = await ask(parser, strict=True, query="?a=1&c=2", json={"b": 1})

    assert (refused.status_code, refused.json()["message"]) == (400, "Unknown arguments: b, c")
    assert (await ask(parser, strict=True, query="?a=1", headers={"cookie": "x=y"})).json() == {"a": "1"}


async def test_parsers_are_copied_and_changed():
    parent = parser_of("a").add_argument("b")

    child = parent.copy().replace_argument("a", type=int).remove_argument("b").add_argument(reqparse.Argument("c"))

    assert (await ask(child, query="?a=1&b=2&c=3")).json() == {"a": 1, "c": "3"}
    assert (await ask(parent, query="?a=1&b=2")).json() == {"a": "1", "b": "2"}


async def test_an_earlier_result_can_be_parsed_further():
    app = App(__name__)
    outer = parser_of("person", type=dict)
    inner = parser_of("age", type=int, location="person", required=True)

    @Api(app).resource("/")
    class Persons(Resource):
        def post(self):
            return inner.parse_args(req=outer.parse_args())

        async def put(self):
            return await inner.parse_args_async(req=await outer.parse_args_async())

    async with Client(app) as client:
        for method in ("POST", "PUT"):
            assert (await client.request(method, "/", json={"person": {"age": "3"}})).json() == {"age": 3}
            assert (await client.request(method, "/", json={"person": {}})).status_code == 400


@pytest.mark.parametrize(
    "options",
    [
        {"content": b"{", "headers": {"content-type": "application/json"}},
        {"content": b"", "headers": {"content-type": "application/json"}},
        {"content": b"--x", "headers": {"content-type": "multipart/form-data; boundary=y"}},
    ],
)
async def test_a_body_that_is_malformed_is_a_400(options):
    assert (await ask(parser_of("a"), **options)).status_code == 400


async def test_a_body_that_is_no_object_has_no_arguments():
    assert (await ask(parser_of("a"), json=[1, 2])).json() == {"a": None}


@pytest.fixture(scope="module")
def picky():
    """A client of an app that reads an argument of each kind."""
    parser = reqparse.RequestParser(bundle_errors=True, trim=True)
    kinds = [str, int, float, bool, list, dict, Decimal, inputs.boolean, inputs.url, inputs.date, inputs.natural]
    kinds += [inputs.iso8601interval, inputs.datetime_from_iso8601, inputs.datetime_from_rfc822, inputs.regex("^a+$")]
    for kind in kinds:
        for action in ("store", "append", "split"):
            parser.add_argument("a", type=kind, action=action, choices=["a", 1], dest=f"{kind} {action}")

    app = App(__name__)

    @Api(app).resource("/")
    class Picky(Resource):
        def post(self):
            parser.parse_args(strict=True)

    with SyncClient(app) as client:
        yield client


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates().map(str) | st.datetimes().map(str),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.slow
@given(VALUES)
def test_no_json_value_is_a_500(picky, value):
    response = picky.post("/", content=json.dumps({"a": value}), headers={"content-type": "application/json"})

    assert response.status_code in (200, 400)


@pytest.mark.slow
@given(st.text() | st.from_regex("[PTYMDHWS0-9/:.+-]{1,40}"), st.text(max_size=3))
def test_no_text_is_a_500(picky, value, name):
    assert picky.post("/", params={"a": value, name: "x"}).status_code in (200, 400)


async def test_a_namespace_is_a_dict_with_attributes():
    found = reqparse.Namespace(a=1)
    found.b = 2

    assert (found.a, found["b"]) == (1, 2)
    with pytest.raises(AttributeError, match="there are a, b"):
        found.c


async def test_coroutine_code_is_told_to_await():
    app = App(__name__)

    @Api(app).resource("/")
    class Wrong(Resource):
        async def get(self):
            return parser_of("a").parse_args()

    async with Client(app) as client:
        with pytest.raises(TypeError, match="await parse_args_async"):
            await client.get("/")


async def test_a_def_method_parses_a_request_of_the_programs_own_class():
    class Mine(Request):
        pass

    app = App(__name__, request_class=Mine)

    @Api(app).resource("/")
    class Plain(Resource):
        def post(self):
            return parser_of("a").parse_args()

    async with Client(app) as client:
        assert (await client.post("/", json={"a": "1"})).json() == {"a": "1"}


async def test_an_argument_that_makes_no_sense_is_a_setup_error():
    with pytest.raises(SetupError, match="append or split"):
        reqparse.Argument("a", action="sum")
    async with Client(make_app(parser_of("a", location="body"))) as client:
        with pytest.raises(SetupError, match="location"):
            await client.post("/sync/1")
