"""The document: what is found in routes, signatures, docstrings and annotations."""

import datetime
import enum
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NewType

import msgspec
import pydantic
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from microweb import (
    App,
    Body,
    Cookie,
    Depends,
    EventStream,
    Form,
    Header,
    HTTPException,
    MessagePack,
    MethodView,
    Query,
    Request,
    Response,
    Router,
    SetupError,
    UploadFile,
)
from microweb.ext.rest import Api, Resource
from microweb.openapi import OpenAPI, describe
from microweb.testing import SyncClient
from tests.openapi.awkward import make_app


def document_of(app, **options):
    return OpenAPI(title="T", version="1", **options).make_document(app)


def operation_of(view, rule="/", *, method="get", **options):
    """The Operation Object of a view that is alone in its app, and the components."""
    app = App(__name__, static_folder=None)
    app.add_route(rule, view, methods=[method], **options)
    document = document_of(app, security_schemes={"token": {"type": "http", "scheme": "bearer"}})
    [path] = document["paths"].values()
    return path[method], document["components"].get("schemas", {})


def parameter_of(kind, **options):
    async def view(value: kind):
        return ""

    operation, _ = operation_of(view, **options)
    return operation["parameters"][0]


# The whole -----------------------------------------------------------------------------------------


def test_the_document_of_everything_is_valid():
    app = make_app()

    errors = list(OpenAPIV31SpecValidator(app.extensions["openapi"].make_document(app)).iter_errors())

    assert errors == []


def test_title_version_tags_and_what_else_is_given_are_in_it():
    shop = Router("shop", __name__, prefix="/shop")
    shop.add_route("/", lambda: "")
    app = App(__name__)
    app.mount("", shop)

    document = document_of(
        app,
        description="All hats.",
        info={"license": {"name": "BSD-3-Clause"}},
        servers=["/v1"],
        tags={"shop": "Sold."},
    )

    assert document["openapi"] == "3.1.0"
    assert document["info"] == {
        "title": "T",
        "version": "1",
        "description": "All hats.",
        "license": {"name": "BSD-3-Clause"},
    }
    assert document["servers"] == [{"url": "/v1"}]
    assert document["tags"] == [{"name": "shop", "description": "Sold."}]
    assert document["paths"]["/shop/"]["get"]["tags"] == ["shop"]


def test_nothing_of_the_app_is_called_or_frozen():
    app = App(__name__)

    @app.get("/")
    async def home(request: Request):
        raise AssertionError

    document_of(app)

    app.add_route("/later", lambda: "")
    assert "/later" in document_of(app)["paths"]


def test_websockets_static_files_foreign_apps_and_the_page_itself_are_left_out():
    app = App(__name__)
    OpenAPI(app, title="T", version="1")

    @app.websocket("/socket")
    async def socket(websocket):
        await websocket.accept()

    async def foreign(scope, receive, send):
        raise AssertionError

    app.mount("/foreign", foreign)

    assert app.extensions["openapi"].make_document(app)["paths"] == {}


# Paths ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "schema"),
    [
        ("int", {"type": "integer", "minimum": 0}),
        ("int(min=5, max=9)", {"type": "integer", "minimum": 5, "maximum": 9}),
        ("int(signed=True)", {"type": "integer"}),
        ("int(fixed_digits=3)", {"type": "string", "pattern": "^[0-9]{3}$"}),
        ("float", {"type": "number", "minimum": 0}),
        ("uuid", {"type": "string", "format": "uuid"}),
        ("any(a, b)", {"type": "string", "enum": ["a", "b"]}),
        ("string(maxlength=4)", {"type": "string", "minLength": 1, "maxLength": 4}),
        ("path", {"type": "string", "minLength": 1, "pattern": "^[^/]"}),
    ],
)
def test_a_converter_is_the_schema_of_its_variable(variable, schema):
    async def view(x):
        return ""

    operation, _ = operation_of(view, f"/<{variable}:x>")

    assert operation["parameters"][0]["schema"] == schema
    assert operation["parameters"][0]["required"] is True
    assert "404" in operation["responses"]


def test_a_path_without_variables_is_always_found():
    operation, _ = operation_of(lambda: "")

    assert "404" not in operation["responses"]


def test_rules_that_differ_in_the_names_of_variables_share_one_path():
    app = App(__name__)

    @app.get("/<int:number>")
    async def by_number(number):
        return ""

    @app.put("/<name>")
    async def by_name(name):
        return ""

    paths = document_of(app)["paths"]

    assert list(paths) == ["/{number}"]
    assert paths["/{number}"]["put"]["parameters"][0]["name"] == "number"
    assert "405" in paths["/{number}"]["get"]["responses"]


def test_a_mounted_app_is_in_it_under_its_prefix():
    inner = App("inner")
    inner.add_route("/things/<int:id>", lambda id: "", endpoint="thing")
    app = App(__name__)
    app.mount("/tenants/<id>", inner, name="inner")

    path = document_of(app)["paths"]["/tenants/{id}/things/{id_}"]["get"]

    assert [each["name"] for each in path["parameters"]] == ["id", "id_"]
    assert path["operationId"] == "inner_thing"
    assert path["tags"] == ["inner"]


def test_a_host_is_the_server_of_its_operations():
    async def view(tenant):
        return ""

    operation, _ = operation_of(view, host="<tenant>.example.com")

    assert operation["servers"] == [{"url": "//{tenant}.example.com", "variables": {"tenant": {"default": "tenant"}}}]
    assert "parameters" not in operation


def test_operation_ids_are_unique():
    app = App(__name__)

    @app.route("/a", methods=["GET", "POST"])
    @app.route("/b", methods=["GET", "POST"])
    async def both():
        return ""

    ids = [operation["operationId"] for path in document_of(app)["paths"].values() for operation in path.values()]

    assert len(set(ids)) == 4
    assert "both" in ids


def test_each_verb_of_a_class_is_an_operation():
    class Hat(MethodView):
        async def get(self, id: int, detail: bool = False):
            """One hat."""
            return ""

        def delete(self, id: int) -> tuple[str, Literal[204]]:
            return "", 204

    app = App(__name__)
    app.add_route("/<int:id>", Hat.as_view("hat"))

    path = document_of(app)["paths"]["/{id}"]

    assert path["get"]["summary"] == "One hat."
    assert [each["name"] for each in path["get"]["parameters"]] == ["id", "detail"]
    assert "204" in path["delete"]["responses"]


# Parameters ----------------------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("kind", "schema"),
    [
        (int, {"type": "integer"}),
        (Annotated[int, msgspec.Meta(gt=1, le=5)], {"type": "integer", "exclusiveMinimum": 1, "maximum": 5}),
        (bool, {"type": "boolean"}),
        (datetime.date, {"type": "string", "format": "date"}),
        (Colour, {"type": "string", "enum": ["red"]}),
        (Literal["a", "b"], {"enum": ["a", "b"]}),
        (list[int], {"type": "array", "items": {"type": "integer"}, "minItems": 1}),
        (NewType("Name", str), {"type": "string"}),
    ],
)
def test_an_annotation_is_the_schema_of_its_parameter(kind, schema):
    assert parameter_of(kind) == {"name": "value", "in": "query", "required": True, "schema": schema}


def test_a_default_makes_a_parameter_optional_and_stands_in_the_schema():
    async def view(page: int = 3, word: str = ""):
        return ""

    page, word = operation_of(view)[0]["parameters"]

    assert page == {
        "name": "page",
        "in": "query",
        "schema": {"type": "integer", "default": 3},
        "allowEmptyValue": True,
    }
    assert word == {"name": "word", "in": "query", "schema": {"type": "string", "default": ""}}


@pytest.mark.parametrize(
    ("kind", "default"),
    [
        (datetime.datetime, datetime.datetime(2020, 1, 1)),
        (Annotated[int, msgspec.Meta(ge=1)], 0),
        (Annotated[int, msgspec.Meta(gt=0)], 0),
        (Annotated[float, msgspec.Meta(lt=1)], 1.0),
        (Annotated[str, msgspec.Meta(min_length=3)], ""),
        (Annotated[str, msgspec.Meta(pattern="^a")], "b"),
        (Annotated[list[int], msgspec.Meta(min_length=1)], []),
        (Literal["a", "b"], ""),
        (int, "x"),
        (int, True),
    ],
)
def test_a_default_that_is_none_of_the_values_is_left_out_and_the_document_stays_valid(kind, default):
    class Box(msgspec.Struct):
        value: kind = default

    app = App(__name__, static_folder=None)

    @app.post("/query")
    async def query(value: kind = default):
        return ""

    @app.post("/box")
    async def box(box: Box):
        return ""

    @app.post("/key")
    async def key(value: Annotated[kind, Body("value")] = default):
        return ""

    document = document_of(app)

    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    assert "'default': " not in repr([document["components"]["schemas"]["Box"], document["paths"]])


def test_flags_may_be_combined():
    class Right(enum.Flag):
        READ = 1
        WRITE = 2

    class Bits(enum.IntFlag):
        A = 1

    async def view(rights: Annotated[list[Right | None], Body("rights")], bits: Annotated[Bits, Body("bits")]):
        return ""

    _, components = operation_of(view, method="post")

    assert components["Right"] == {"type": "integer", "minimum": 0, "maximum": 3}
    assert components["Bits"] == {"type": "integer"}


def test_headers_and_cookies_have_the_names_they_are_sent_under():
    async def view(x_token: Annotated[str, Header()], seen: Annotated[str, Cookie("last")]):
        return ""

    parameters = operation_of(view)[0]["parameters"]

    assert [(each["in"], each["name"]) for each in parameters] == [("header", "X-Token"), ("cookie", "last")]


def test_a_struct_made_of_the_whole_query_is_a_parameter_for_each_field():
    class Page(msgspec.Struct):
        size: int
        words: list[str] = []

    async def view(page: Annotated[Page, Query()]):
        return ""

    operation, components = operation_of(view)

    assert [(each["name"], each.get("required", False)) for each in operation["parameters"]] == [
        ("size", True),
        ("words", False),
    ]
    assert "Page" not in components


def test_what_dependencies_take_counts_too():
    async def inner(depth: Annotated[int, Header("X-Depth")]):
        return depth

    async def outer(value: Annotated[int, Depends(inner)], limit: int = 1):
        return value

    async def view(value: Annotated[int, Depends(outer)]):
        return ""

    guarded = Router("guarded", __name__, dependencies=[Depends(outer)])
    guarded.add_route("/guarded", lambda: "")
    app = App(__name__)
    app.add_route("/", view)
    app.mount("", guarded)

    paths = document_of(app)["paths"]

    assert [each["name"] for each in paths["/"]["get"]["parameters"]] == ["X-Depth", "limit"]
    assert [each["name"] for each in paths["/guarded"]["get"]["parameters"]] == ["X-Depth", "limit"]


def test_what_stands_before_a_mounted_app_counts_for_its_views():
    @describe(security="token")
    async def find_user(authorization: Annotated[str, Header("Authorization")] = ""):
        return authorization

    inner = App("inner")
    inner.add_route("/", lambda: "")
    router = Router("admin", __name__, prefix="/admin", dependencies=[Depends(find_user)])
    router.mount("/inner", inner)
    app = App(__name__)
    app.mount("", router)

    @app.before_request
    async def check(key: Annotated[str, Header("X-Key")]):
        return None

    document = document_of(app, security_schemes={"token": {"type": "http", "scheme": "bearer"}})
    operation = document["paths"]["/admin/inner/"]["get"]

    assert [each["name"] for each in operation["parameters"]] == ["X-Key", "Authorization"]
    assert operation["security"] == [{"token": []}]
    assert "422" in operation["responses"]


def test_a_hidden_router_hides_what_is_mounted_below_it():
    inner = App("inner")
    inner.add_route("/", lambda: "")
    router = describe(hidden=True)(Router("admin", __name__))
    router.mount("/inner", inner)
    app = App(__name__)
    app.mount("", router)

    assert document_of(app)["paths"] == {}


def test_what_a_before_request_hook_takes_counts_too():
    app = App(__name__)
    app.add_route("/", lambda: "")

    @app.before_request
    async def check(key: Annotated[str, Header("X-Key")]):
        return None

    operation = document_of(app)["paths"]["/"]["get"]

    assert operation["parameters"][0]["name"] == "X-Key"
    assert "422" in operation["responses"]


# Bodies --------------------------------------------------------------------------------------------


class Line(msgspec.Struct, rename="camel"):
    """What is bought."""

    article_name: str
    how_many: Annotated[int, msgspec.Meta(ge=1, description="Pieces.")] = 1


def test_a_struct_is_a_component_with_the_names_of_its_json():
    async def view(line: Line):
        return ""

    operation, components = operation_of(view, method="post")

    assert operation["requestBody"] == {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Line"}}},
    }
    assert components["Line"] == {
        "type": "object",
        "description": "What is bought.",
        "properties": {
            "articleName": {"type": "string"},
            "howMany": {"type": "integer", "minimum": 1, "description": "Pieces.", "default": 1},
        },
        "required": ["articleName"],
    }
    assert {"400", "413", "415", "422"} <= operation["responses"].keys()


def test_classes_of_one_name_are_two_components():
    other = msgspec.defstruct("Line", [("x", int)], module="elsewhere")

    async def first(line: Line):
        return ""

    async def second(line: other):
        return ""

    app = App(__name__)
    app.add_route("/a", first, methods=["POST"])
    app.add_route("/b", second, methods=["POST"])

    assert sorted(document_of(app)["components"]["schemas"]) == ["Line", "Problem", "elsewhere.Line"]


class Tree(msgspec.Struct):
    children: "list[Tree]" = []


def test_a_struct_that_holds_itself_refers_to_itself():
    async def view(tree: Tree):
        return ""

    _, components = operation_of(view, method="post")

    assert components["Tree"]["properties"]["children"]["items"] == {"$ref": "#/components/schemas/Tree"}


def test_tagged_structs_have_a_discriminator():
    class Cat(msgspec.Struct, tag="cat"):
        lives: int

    class Dog(msgspec.Struct, tag="dog"):
        tricks: list[str]

    async def view(pet: Cat | Dog):
        return ""

    operation, components = operation_of(view, method="post")
    schema = operation["requestBody"]["content"]["application/json"]["schema"]

    assert schema["discriminator"]["mapping"] == {
        "cat": "#/components/schemas/Cat",
        "dog": "#/components/schemas/Dog",
    }
    assert schema["required"] == ["type"]
    assert components["Cat"]["properties"]["type"] == {"const": "cat"}


def test_the_tag_of_the_only_struct_may_be_left_out():
    class Cat(msgspec.Struct, tag="cat"):
        lives: int

    class House(msgspec.Struct):
        cat: Cat
        other: Cat | None = None

    async def view(house: House):
        return ""

    _, components = operation_of(view, method="post")
    assert components["Cat"]["required"] == ["lives"]

    app = App(__name__)
    app.post("/")(view)
    with SyncClient(app) as client:
        assert client.post("/", json={"cat": {"lives": 9}, "other": {"lives": 1}}).status_code == 200


def test_a_body_that_forbids_unknown_keys_is_closed():
    @dataclass
    class Box:
        width: int

    async def view(box: Annotated[Box, Body(forbid_unknown=True)]):
        return ""

    _, components = operation_of(view, method="post")

    assert components["BoxExact"]["additionalProperties"] is False


def test_a_route_that_forbids_unknown_keys_is_closed_for_named_bodies_and_pydantic_models_too():
    class Crate(pydantic.BaseModel):
        width: int

    async def view(crate: Annotated[Crate, Body("crate")]):
        return ""

    operation, components = operation_of(view, method="post", forbid_unknown=True)

    assert operation["requestBody"]["content"]["application/json"]["schema"]["additionalProperties"] is False
    assert components["Crate"]["additionalProperties"] is False


def test_keys_of_a_body_are_the_members_of_one_object():
    async def view(a: Annotated[int, Body("a")], b: Annotated[str, Body("b")] = "x"):
        return ""

    operation, _ = operation_of(view, method="post")

    assert operation["requestBody"]["content"]["application/json"]["schema"] == {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "string", "default": "x"}},
        "required": ["a"],
    }


def test_a_pydantic_model_is_written_by_pydantic():
    class Friend(pydantic.BaseModel):
        nick: str = pydantic.Field(min_length=1)

    class Member(pydantic.BaseModel):
        friend: Friend

    async def view(member: Member) -> Member:
        return member

    operation, components = operation_of(view, method="post")

    assert operation["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Member"}
    assert components["Member"]["properties"]["friend"] == {"$ref": "#/components/schemas/Friend"}
    assert components["Friend"]["properties"]["nick"]["minLength"] == 1


def test_a_pydantic_model_that_is_taken_and_given_is_one_component():
    class Member(pydantic.BaseModel):
        name: str

    async def view(members: list[Member]) -> Member:
        return members[0]

    operation, components = operation_of(view, method="post")

    assert sorted(components) == ["Member", "Problem"]
    assert operation["requestBody"]["content"]["application/json"]["schema"]["items"] == {
        "$ref": "#/components/schemas/Member"
    }


def test_other_formats_of_data_are_media_types():
    app = App(__name__)
    app.representations["application/msgpack"] = MessagePack()
    app.representations["text/csv"] = lambda value: ""
    app.representations.strict = True

    @app.post("/")
    async def view(line: Line) -> Line:
        return line

    operation = document_of(app)["paths"]["/"]["post"]

    reference = {"schema": {"$ref": "#/components/schemas/Line"}}
    assert operation["requestBody"]["content"] == {"application/json": reference, "application/msgpack": reference}
    assert operation["responses"]["200"]["content"] == {
        "application/json": reference,
        "application/msgpack": reference,
        "text/csv": {},
    }
    assert "406" in operation["responses"]


def test_a_form_can_be_sent_in_both_encodings():
    async def view(name: Annotated[str, Form()], age: Annotated[int, Form()] = 1):
        return ""

    operation, _ = operation_of(view, method="post")
    content = operation["requestBody"]["content"]

    assert list(content) == ["multipart/form-data", "application/x-www-form-urlencoded"]
    assert content["application/x-www-form-urlencoded"]["schema"]["required"] == ["name"]


def test_a_file_needs_multipart():
    async def view(photo: UploadFile):
        return ""

    operation, _ = operation_of(view, method="post")
    content = operation["requestBody"]["content"]

    assert list(content) == ["multipart/form-data"]
    assert content["multipart/form-data"]["schema"]["properties"]["photo"] == {"type": "string", "format": "binary"}


def test_no_text_is_null_to_a_pydantic_model():
    class Search(pydantic.BaseModel):
        page: int | None = None
        word: int | str | None = "a"

    async def view(search: Annotated[Search, Query()]):
        return ""

    operation, _ = operation_of(view)
    page, word = [parameter["schema"] for parameter in operation["parameters"]]

    assert page == {"title": "Page", "type": "integer"}
    assert (word["anyOf"], word["default"]) == ([{"type": "integer"}, {"type": "string"}], "a")


def test_a_list_of_files_that_is_needed_has_at_least_one():
    async def view(photos: list[UploadFile], more: list[UploadFile] | None = None):
        return ""

    operation, _ = operation_of(view, method="post")
    fields = operation["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]

    assert fields["photos"]["minItems"] == 1
    assert "minItems" not in fields["more"]


# Answers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("returns", "status", "media"),
    [
        (str, "200", "text/html"),
        (bytes, "200", "application/octet-stream"),
        (list[int], "200", "application/json"),
        (dict[str, Any], "200", "application/json"),
        (Line, "200", "application/json"),
        (list[Line] | None, "200", "application/json"),
        (tuple[Line, int], "2XX", "application/json"),
        (tuple[Line, Literal[201]], "201", "application/json"),
        (tuple[Line, dict[str, str]], "200", "application/json"),
        (EventStream, "200", "text/event-stream"),
        (Response, "2XX", None),
        (tuple[None, Literal[204]], "204", None),
        (Any, "2XX", None),
    ],
)
def test_a_return_annotation_tells_status_and_media_type(returns, status, media):
    async def view() -> returns:
        raise AssertionError("never called: the document is made from what it declares")

    responses = operation_of(view)[0]["responses"]

    assert list(responses) == [status]
    assert list(responses[status].get("content", {})) == ([] if media is None else [media])


def test_a_resource_answers_in_the_media_types_of_its_api():
    app = App(__name__, static_folder=None)
    api = Api(app, default_mediatype=None)
    shop = Api(app, prefix="/shop", media_type="application/vnd.shop.v1+json")
    api.representation("application/xml")(lambda data, status, headers: Response("<a/>", status, headers))

    class Lines(Resource):
        async def get(self) -> Line:
            raise AssertionError("never called: the document is made from what it declares")

    class Word(Resource):
        async def get(self) -> str:
            raise AssertionError("never called: the document is made from what it declares")

    api.add_resource(Lines, "/lines")
    shop.add_resource(Word, "/word")
    paths = document_of(app)["paths"]

    lines, word = paths["/lines"]["get"]["responses"], paths["/shop/word"]["get"]["responses"]
    assert list(lines["200"]["content"]) == ["application/json", "application/xml"]
    assert "406" in lines
    text = {"schema": {"type": "string"}}
    assert word["200"]["content"] == {"application/json": text, "application/vnd.shop.v1+json": text}


def test_the_representations_of_a_resource_are_those_of_the_app_when_it_serves():
    app = App(__name__, static_folder=None)
    api = Api(app)

    class Lines(Resource):
        async def get(self) -> Line:
            return Line("x")

    api.add_resource(Lines, "/lines")
    document_of(app)
    app.representations["application/msgpack"] = MessagePack()

    with SyncClient(app) as client:
        answer = client.get("/lines", headers={"accept": "application/msgpack"})
    assert answer.headers["content-type"] == "application/msgpack"


def test_each_tuple_of_a_union_tells_a_status_of_its_own():
    class Trouble(msgspec.Struct):
        code: int

    async def view(id: int) -> Line | tuple[Line, Literal[201]] | tuple[Trouble, Literal[404, 409]]:
        raise AssertionError("never called: the document is made from what it declares")

    responses = operation_of(view, "/<int:id>")[0]["responses"]

    def schemas_of(status):
        return {name: media["schema"] for name, media in responses[status]["content"].items()}

    line, trouble = {"$ref": "#/components/schemas/Line"}, {"$ref": "#/components/schemas/Trouble"}
    assert schemas_of("200") == schemas_of("201") == {"application/json": line}
    assert schemas_of("409") == {"application/json": trouble}
    assert list(schemas_of("404")) == ["application/json", "application/problem+json", "text/html"]


def test_what_a_union_tells_of_errors_stands_beside_a_status_that_is_described():
    class Trouble(msgspec.Struct):
        code: int

    @describe(responses={202: None})
    async def view() -> Line | tuple[Trouble, Literal[409]]:
        raise AssertionError("never called: the document is made from what it declares")

    responses = operation_of(view)[0]["responses"]

    assert list(responses) == ["202", "409"]
    assert responses["202"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Line"}


def test_a_view_without_an_annotation_answers_with_any_success():
    assert operation_of(lambda: "")[0]["responses"] == {"2XX": {"description": "Success"}}


def test_an_error_has_the_form_that_its_handler_gives_it():
    app = App(__name__)

    @app.get("/<int:id>")
    async def show(id):
        return ""

    @app.errorhandler(404)
    async def missing(error) -> str:
        return "nothing"

    answer = document_of(app)["paths"]["/{id}"]["get"]["responses"]["404"]

    assert list(answer["content"]) == ["text/html"]


def test_a_handler_that_gives_the_error_back_answers_with_a_problem():
    app = App(__name__)
    app.add_route("/<int:id>", lambda id: "")

    @app.errorhandler(404)
    async def same(error) -> HTTPException:
        return error

    answer = document_of(app)["paths"]["/{id}"]["get"]["responses"]["404"]

    assert list(answer["content"]) == ["application/problem+json", "text/html"]


def test_an_error_is_a_problem_where_no_handler_answers_it():
    async def view(page: int):
        return ""

    operation, components = operation_of(view)

    content = operation["responses"]["422"]["content"]
    assert content["application/problem+json"]["schema"] == {"$ref": "#/components/schemas/Problem"}
    assert components["Problem"]["properties"]["errors"]["type"] == "array"


def test_a_time_limit_is_a_504():
    operation, _ = operation_of(lambda: "", timeout=3)

    assert operation["responses"]["504"]["description"] == "No answer within 3 seconds."


# What is said of it --------------------------------------------------------------------------------


def test_the_first_line_of_a_docstring_is_the_summary_and_the_rest_the_description():
    async def view():
        """One line.

        And <more>,
        indented.
        """
        return ""

    operation, _ = operation_of(view)

    assert operation["summary"] == "One line."
    assert operation["description"] == "And <more>,\nindented."


def test_a_description_adds_what_code_does_not_say():
    @describe(
        summary="A hat",
        description="Of felt.",
        tags=["hats"],
        deprecated=True,
        operation_id="find_hat",
        responses={201: Line, 404: "No such hat.", 409: ("Worn", Line), 410: None},
        examples={"size": 40},
    )
    async def view(size: int):
        """Overruled."""
        return ""

    operation, _ = operation_of(view)

    assert (operation["summary"], operation["description"]) == ("A hat", "Of felt.")
    assert (operation["tags"], operation["deprecated"], operation["operationId"]) == (["hats"], True, "find_hat")
    answers = operation["responses"]
    assert "200" not in answers
    assert answers["201"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Line"}
    assert answers["404"]["description"] == "No such hat."
    assert "application/problem+json" in answers["404"]["content"]
    assert (answers["409"]["description"], list(answers["409"]["content"])) == ("Worn", ["application/json"])
    assert operation["parameters"][0]["schema"]["examples"] == [40]


def test_a_status_without_more_keeps_what_the_view_is_annotated_to_return():
    @describe(responses={201: None})
    async def view() -> Line:
        return Line("x")

    operation, _ = operation_of(view)

    assert list(operation["responses"]) == ["201"]
    assert "application/json" in operation["responses"]["201"]["content"]


def test_a_description_can_stand_at_the_route():
    operation, _ = operation_of(lambda: "", openapi=describe(tags=["here"]))

    assert operation["tags"] == ["here"]


@pytest.mark.parametrize("hide", [{"openapi": False}, {"openapi": describe(hidden=True)}])
def test_a_hidden_route_is_left_out(hide):
    app = App(__name__)
    app.add_route("/", lambda: "", **hide)

    assert document_of(app)["paths"] == {}


def test_a_description_of_a_router_is_for_all_of_it_and_the_nearer_one_wins():
    shop = describe(tags=["shop"], deprecated=True, responses={429: "Slower."})(Router("shop", __name__))
    shop.add_route("/old", lambda: "")
    shop.add_route("/new", lambda: "", openapi=describe(deprecated=False), endpoint="new")
    app = App(__name__)
    app.mount("", shop)

    paths = document_of(app)["paths"]

    assert paths["/old"]["get"]["deprecated"] is True
    assert "deprecated" not in paths["/new"]["get"]
    assert paths["/new"]["get"]["responses"]["429"]["description"] == "Slower."


def test_a_description_of_a_class_is_for_all_its_verbs():
    @describe(tags=["hats"])
    class Hat(MethodView):
        async def get(self):
            return ""

        @describe(tags=["other"])
        async def post(self):
            return ""

    app = App(__name__)
    app.add_route("/", Hat.as_view("hat"))

    path = document_of(app)["paths"]["/"]

    assert (path["get"]["tags"], path["post"]["tags"]) == (["hats"], ["other"])


def test_what_a_dependency_needs_is_needed_by_its_users():
    @describe(security="token", responses={403: "Not you."})
    async def find_user(request: Request):
        return "ada"

    async def view(user: Annotated[str, Depends(find_user)]):
        return ""

    operation, _ = operation_of(view)

    assert operation["security"] == [{"token": []}]
    assert operation["responses"]["403"]["description"] == "Not you."
    assert "401" in operation["responses"]


def test_security_of_the_whole_can_be_lifted_for_one_operation():
    app = App(__name__)
    app.add_route("/", describe(security=())(lambda: ""))
    app.add_route("/kept", lambda: "", endpoint="kept")

    document = document_of(app, security="token", security_schemes={"token": {"type": "http", "scheme": "bearer"}})

    assert document["security"] == [{"token": []}]
    assert document["paths"]["/"]["get"]["security"] == []
    assert "401" not in document["paths"]["/"]["get"]["responses"]
    assert "401" in document["paths"]["/kept"]["get"]["responses"]


def test_answers_of_every_operation_can_be_given_once():
    app = App(__name__)
    app.add_route("/", lambda: "")

    document = document_of(app, responses={429: "Too often."})

    assert document["paths"]["/"]["get"]["responses"]["429"]["description"] == "Too often."


@pytest.mark.parametrize("security", [{"oauth": ["read"]}, [{"oauth": ("read",)}]])
def test_a_security_scheme_has_scopes(security):
    app = App(__name__)
    app.add_route("/", describe(security=security)(lambda: ""))

    document = document_of(app, security_schemes={"oauth": {"type": "oauth2", "flows": {}}})

    assert document["paths"]["/"]["get"]["security"] == [{"oauth": ["read"]}]


def test_a_security_scheme_that_nobody_explained_is_a_setup_error():
    app = App(__name__)
    app.add_route("/", describe(security="tokne")(lambda: ""), endpoint="home")

    with pytest.raises(
        SetupError, match=r"has no 'tokne', but 'token'; .* operation 'home' \(.*test_document\.py:\d+\)"
    ):
        document_of(app, security_schemes={"token": {"type": "http", "scheme": "bearer"}})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"responses": {"404": "x"}}, "by status from 100 to 599, not '404'"),
        ({"tags": "hats"}, "a list such as"),
        ({"security": [7]}, "names of security schemes"),
        ({"security": {"oauth": "read"}}, "names of security schemes"),
    ],
)
def test_a_description_of_a_wrong_shape_is_a_setup_error(options, message):
    with pytest.raises(SetupError, match=message):
        describe(**options)


def test_what_cannot_be_marked_is_a_setup_error():
    with pytest.raises(SetupError, match=r"holds no attributes; give the route openapi=describe"):
        describe(tags=["a"])(len)
