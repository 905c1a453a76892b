"""Return annotations: what they do not name stays inside."""

import dataclasses
import re
import typing
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, TypedDict, TypeVar

import attrs
import msgspec
import pydantic
import pytest
import typing_extensions

from microweb import App, Depends, Response, SetupError
from microweb.binding import make_plan
from microweb.filtering import make_filter
from microweb.testing import Client

pytestmark = pytest.mark.anyio

T = TypeVar("T")


class Person(msgspec.Struct):
    name: str
    age: int = 0


class Admin(Person):
    password: str = "secret"


class Team(msgspec.Struct):
    lead: Person
    members: list[Person] = []
    by_role: dict[str, Person | None] = {}


@dataclasses.dataclass
class Plain:
    name: str


@dataclasses.dataclass
class PlainWithSecret(Plain):
    secret: str = "secret"


P = TypeVar("P", bound=Plain)
C = TypeVar("C", Plain, int)


class Typed(TypedDict):
    name: str


@attrs.define
class Box:
    name: str


@attrs.define
class BoxWithSecret(Box):
    secret: str = "secret"


@attrs.define(slots=False)
class OpenBox:
    name: str
    _key: str = "secret"


class OpenBoxWithSecret(OpenBox):
    secret = "secret"


def with_secret(value):
    """The same, with an attribute that its class does not name."""
    value.secret = "secret"
    return value


@dataclasses.dataclass
class Page(Generic[T]):
    items: list[T]


@dataclasses.dataclass
class NumberedPage(Page[Person], Generic[T]):
    note: T


@attrs.define
class BoxOf(Generic[T]):
    content: T


class Keyed(TypedDict, Generic[T]):
    content: T


class Bare(msgspec.Struct, Generic[P]):
    content: P


class Unknown(NamedTuple):
    person: "Missing"  # noqa: F821


class Answer(NamedTuple):
    body: Person
    status: int
    headers: dict[str, str]


class Row(NamedTuple):
    number: int
    person: Person
    next: "Row | None" = None


class Late(TypedDict):
    name: str
    age: "NotRequired[int]"


class LateWithExtensions(typing_extensions.TypedDict):
    name: str
    age: "NotRequired[int]"


class Model(pydantic.BaseModel):
    name: str


class ModelWithSecret(Model):
    secret: str = "secret"


async def answer(returns, value, *, debug=False, threaded=False, raise_errors=True):
    app = App(__name__, debug=debug)

    async def view() -> returns:
        return value

    def view_in_thread() -> returns:
        return value

    app.add_route("/", view_in_thread if threaded else view)
    async with Client(app, raise_errors=raise_errors) as client:
        return await client.get("/")


@pytest.mark.parametrize("threaded", [False, True])
@pytest.mark.parametrize(
    ("returns", "value", "expected"),
    [
        (Person, Person("ada", 36), {"name": "ada", "age": 36}),
        (Person, Admin("ada", 36), {"name": "ada", "age": 36}),
        (Person | None, Admin("ada", 36), {"name": "ada", "age": 36}),
        (list[Person], [Admin("ada"), Person("bob")], [{"name": "ada", "age": 0}, {"name": "bob", "age": 0}]),
        (dict[str, Person], {"x": Admin("ada")}, {"x": {"name": "ada", "age": 0}}),
        (tuple[Person, ...], [Admin("ada")], [{"name": "ada", "age": 0}]),
        (list[tuple[int, Person]], [(1, Admin("ada"))], [[1, {"name": "ada", "age": 0}]]),
        (Person, {"name": "ada", "password": "secret"}, {"name": "ada"}),
        (Plain, PlainWithSecret("ada"), {"name": "ada"}),
        (Plain, Plain("ada"), {"name": "ada"}),
        (Typed, {"name": "ada", "secret": "secret"}, {"name": "ada"}),
        (Box, BoxWithSecret("ada"), {"name": "ada"}),
        (Plain, with_secret(Plain("ada")), {"name": "ada"}),
        (OpenBox, with_secret(OpenBox("ada")), {"name": "ada"}),
        (OpenBox, OpenBoxWithSecret("ada"), {"name": "ada"}),
        (Model, ModelWithSecret(name="ada"), {"name": "ada"}),
        (list[Model], [ModelWithSecret(name="ada")], [{"name": "ada"}]),
        (Plain | Person, PlainWithSecret("ada"), {"name": "ada"}),
        (Plain | Person, Admin("ada"), {"name": "ada", "age": 0}),
        (Plain | list[Person], [Admin("ada")], [{"name": "ada", "age": 0}]),
        (Annotated[Person, "doc"], Admin("ada"), {"name": "ada", "age": 0}),
        (Sequence[Person], [Admin("ada")], [{"name": "ada", "age": 0}]),
        (Iterable[Person] | None, deque([Admin("ada")]), [{"name": "ada", "age": 0}]),
        (deque[Person] | int, deque([Admin("ada")]), [{"name": "ada", "age": 0}]),
        (Mapping[str, Person] | int, {"x": Admin("ada")}, {"x": {"name": "ada", "age": 0}}),
        (
            Team,
            Team(Admin("ada"), [Admin("bob")], {"cook": Admin("eve"), "none": None}),
            {
                "lead": {"name": "ada", "age": 0},
                "members": [{"name": "bob", "age": 0}],
                "by_role": {"cook": {"name": "eve", "age": 0}, "none": None},
            },
        ),
    ],
)
async def test_the_annotation_decides_what_leaves(returns, value, expected, threaded):
    assert (await answer(returns, value, threaded=threaded)).json() == expected


async def test_what_cannot_be_taken_apart_does_not_leave():
    class Holder(Generic[T]):
        def __init__(self, value: T):
            self.value = value

    with pytest.raises(TypeError, match=r"view .*Holder, .*annotate it as a struct"):
        await answer(Holder[Person], Holder(Admin("ada")))


async def test_status_and_headers_beside_it_are_kept():
    for returns in (Person, tuple[Person, int], tuple[Person, int, dict[str, str]]):
        found = await answer(returns, (Admin("ada"), 201, {"x-y": "z"}))

        assert (found.json(), found.status_code, found.headers["x-y"]) == ({"name": "ada", "age": 0}, 201, "z")


async def test_responses_texts_and_streams_are_left_alone():
    async def stream():
        yield "chunk"

    assert (await answer(Person | Response, Response("hello"))).text == "hello"
    assert (await answer(Person | str, "hello")).text == "hello"
    assert (await answer(Person | AsyncIterator[str], stream())).text == "chunk"


async def test_a_value_without_the_fields_is_an_error_that_names_the_view():
    class Other:
        name = "ada"

    with pytest.raises(TypeError, match=r"view .*view returned int, which has no 'name', and is annotated Person"):
        await answer(Person, 5)
    with pytest.raises(TypeError, match="returned dict, which has no 'name'"):
        await answer(Typed, {"secret": 1})
    assert (await answer(Person, Other())).json() == {"name": "ada"}


async def test_none_is_an_error_as_ever():
    with pytest.raises(TypeError, match="returned None"):
        await answer(Person, None)


async def test_of_a_union_with_others_the_others_pass_and_strangers_do_not():
    class Stranger(msgspec.Struct):
        secret: str = "secret"

    class Row:
        name, age, secret = "ada", 1, "secret"

    assert (await answer(Person | dict[str, Any], {"anything": 1})).json() == {"anything": 1}
    assert (await answer(Person | Plain, Row())).json() == {"name": "ada", "age": 1}
    assert (await answer(Person | Typed, {"name": "ada", "x": 1})).json() == {"name": "ada"}
    assert (await answer(list[Person | Literal["none"] | int], ["none", 5, Admin("ada")])).json() == [
        "none",
        5,
        {"name": "ada", "age": 0},
    ]
    for value in (Stranger(), {"secret": 1}):
        with pytest.raises(TypeError, match="nothing that its annotation names"):
            await answer(Person | Typed, value)


async def test_types_that_hold_themselves():
    class Tree(msgspec.Struct):
        name: str
        children: list["Tree"] = []

    class Secret(Tree):
        secret: str = "secret"

    Tree.__annotations__["children"] = list[Tree]
    filter = make_filter(Tree, "view", validates=False)

    kept = msgspec.to_builtins(filter(Secret("a", [Secret("b", [Tree("c")])])))

    assert kept == {"name": "a", "children": [{"name": "b", "children": [{"name": "c", "children": []}]}]}


async def test_tags_renamed_fields_arrays_and_unset_fields_keep_their_form():
    class Cat(msgspec.Struct, tag="cat", rename="camel"):
        nine_lives: int
        mood: str | msgspec.UnsetType = msgspec.UNSET

    class Lion(Cat, tag="lion"):
        secret: str = "secret"

    class Pair(msgspec.Struct, array_like=True):
        left: int
        right: int

    class Triple(Pair):
        extra: int = 3

    assert (await answer(Cat, Lion(9))).json() == {"type": "cat", "nineLives": 9}
    assert (await answer(Pair, Triple(1, 2))).json() == [1, 2]


@pytest.mark.parametrize(
    ("returns", "value", "expected"),
    [
        (Page[Person], Page([Admin("ada")]), {"items": [{"name": "ada", "age": 0}]}),
        (Page[Plain | None], Page([PlainWithSecret("ada"), None]), {"items": [{"name": "ada"}, None]}),
        (Page[list[Plain]], Page([[PlainWithSecret("ada")]]), {"items": [[{"name": "ada"}]]}),
        (
            NumberedPage[Plain],
            NumberedPage([Admin("ada")], PlainWithSecret("bob")),
            {"items": [{"name": "ada", "age": 0}], "note": {"name": "bob"}},
        ),
        (BoxOf[Plain], BoxOf(PlainWithSecret("ada")), {"content": {"name": "ada"}}),
        (Keyed[Plain], {"content": PlainWithSecret("ada"), "secret": 1}, {"content": {"name": "ada"}}),
        (Bare, Bare(PlainWithSecret("ada")), {"content": {"name": "ada"}}),
        (list[P], [PlainWithSecret("ada")], [{"name": "ada"}]),
        (list[C], [PlainWithSecret("ada")], [{"name": "ada"}]),
    ],
)
async def test_the_arguments_of_a_generic_class_decide_what_leaves(returns, value, expected):
    assert (await answer(returns, value)).json() == expected
    assert (await answer(returns, value, debug=True)).json() == expected


async def test_a_named_tuple_leaves_as_a_list_of_what_its_fields_name():
    row = Row(1, Admin("ada"), Row(2, Admin("bob")))

    assert (await answer(list[Row], [row])).json() == [
        [1, {"name": "ada", "age": 0}, [2, {"name": "bob", "age": 0}, None]]
    ]


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("returns", [Answer, Answer | Response])
async def test_a_named_tuple_may_stand_for_body_status_and_headers(returns, debug):
    answered = await answer(returns, Answer(Admin("ada"), 201, {"x-kind": "person"}), debug=debug)

    assert (answered.status_code, answered.headers["x-kind"]) == (201, "person")
    assert answered.json() == {"name": "ada", "age": 0}


async def test_a_named_tuple_with_the_attributes_of_a_struct_is_one():
    class Record(NamedTuple):
        name: str
        age: int
        password: str

    assert (await answer(Person, Record("ada", 3, "secret"))).json() == {"name": "ada", "age": 3}


@pytest.mark.parametrize("returns", [Late, LateWithExtensions])
async def test_a_key_that_is_not_required_may_be_left_out_where_annotations_are_texts(returns):
    assert (await answer(returns, {"name": "ada", "secret": 1})).json() == {"name": "ada"}
    assert (await answer(returns, {"name": "ada", "age": 3})).json() == {"name": "ada", "age": 3}


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize(
    ("returns", "value"),
    [
        (Plain | Response, PlainWithSecret("ada")),
        (Model | Response, ModelWithSecret(name="ada")),
        (Model | Plain, PlainWithSecret("ada")),
        (Model | Plain, ModelWithSecret(name="ada")),
        (tuple[Plain, int] | tuple[Plain, int, dict], (PlainWithSecret("ada"), 200, {})),
        (tuple[Plain, int] | Response, (PlainWithSecret("ada"), 200)),
        (Annotated[tuple[Plain, int], "doc"], (PlainWithSecret("ada"), 200)),
        (Plain | dict, PlainWithSecret("ada")),
        (tuple[Annotated[Plain, {}], int] | Response, (PlainWithSecret("ada"), 200)),
    ],
)
async def test_an_annotation_may_name_responses_tuples_and_what_cannot_be_told_apart(returns, value, debug):
    assert (await answer(returns, value, debug=debug)).json() == {"name": "ada"}


def test_an_annotation_that_cannot_be_resolved_is_an_error_for_it_would_filter_nothing():
    async def view() -> "list[Missing]": ...  # noqa: F821
    async def response() -> "MissingResponse": ...  # noqa: F821

    with pytest.raises(SetupError, match=r"view .*view is annotated to return 'list\[Missing\]', .* is not defined"):
        make_plan(view, what="view")
    assert make_plan(response, what="view").returns.text == "MissingResponse"


async def test_names_of_typing_that_only_type_checkers_import_are_known_and_filter():
    app = App(__name__)

    @app.get("/")
    async def view() -> "AsyncGenerator[str, None]":  # noqa: F821 - not imported here
        yield "a piece"

    @app.get("/people")
    async def people() -> "Optional[list[Person]]":  # noqa: F821 - not imported here
        return [Admin("ada")]

    async with Client(app) as client:
        assert (await client.get("/")).text == "a piece"
        assert (await client.get("/people")).json() == [{"name": "ada", "age": 0}]


def test_a_field_that_cannot_be_resolved_is_an_error_for_it_would_filter_nothing():
    async def view() -> list[Unknown]: ...

    with pytest.raises(SetupError, match=r"view .*view is annotated to return .*Unknown.* 'Missing' is not defined"):
        make_plan(view, what="view")


async def test_debug_checks_nothing_of_what_only_leaves():
    class Text:
        def __html__(self):
            return "<b>"

    class Note(msgspec.Struct):
        text: Text

    assert (await answer(Note, Note(Text()), debug=True)).json() == {"text": "<b>"}


async def test_debug_also_validates():
    wrong = Person("ada", "old")

    assert (await answer(Person, wrong)).json() == {"name": "ada", "age": "old"}
    with pytest.raises(
        TypeError, match="view .*view returned what does not fit its annotation: age: expected int, got str"
    ):
        await answer(Person, wrong, debug=True)
    assert (await answer(Person, Admin("ada"), debug=True)).json() == {"name": "ada", "age": 0}
    assert (await answer(Model, ModelWithSecret(name="ada"), debug=True)).json() == {"name": "ada"}


async def test_a_plain_annotation_needs_no_filter():
    for returns in (None, str, dict[str, Any], list[int], Response, int | str):
        assert make_filter(returns, "view", validates=True) is None


async def test_it_works_beside_dependencies():
    app = App(__name__)

    async def find() -> Person:
        return Admin("ada")

    @app.get("/")
    async def view(person: Annotated[Person, Depends(find)]) -> Person:
        return person

    async with Client(app) as client:
        assert (await client.get("/")).json() == {"name": "ada", "age": 0}


async def test_pydantic_models_leave_from_inside_of_plain_values():
    app = App(__name__)

    @app.get("/")
    async def view():
        return {"all": [Model(name="ada")]}

    async with Client(app) as client:
        assert (await client.get("/")).json() == {"all": [{"name": "ada"}]}


@pytest.mark.parametrize(
    ("returns", "name"),
    [
        (tuple[()], "tuple[()]"),
        (typing.Tuple[()], "Tuple[()]"),  # noqa: UP006 - it is another object
        (Annotated[tuple[()], "doc"], "tuple[()]"),
        (tuple[()] | None, "tuple[()]"),
        (tuple[()] | Person, "tuple[()]"),
        (typing_extensions.TypeAliasType("Nothing", tuple[()]), "Nothing"),
    ],
)
async def test_an_empty_tuple_is_no_answer_and_the_error_says_where_it_stands(returns, name):
    expected = rf"view .*view is annotated to return .*{re.escape(name)}.*tuple\[Body, int\].*test_filtering\.py:\d+"

    with pytest.raises(SetupError, match=expected):
        await answer(returns, ())


@pytest.mark.parametrize(
    "returns",
    [
        Annotated[tuple[Person, int], "doc"],
        Annotated[tuple[Person, int], "doc"] | None,
        typing_extensions.TypeAliasType("Created", tuple[Person, int]),
        tuple[typing_extensions.TypeAliasType("Body", Person), int],
        tuple[Person, int] | tuple[str, int],
        tuple | Person,
        typing.Tuple | Person,  # noqa: UP006 - it is another object
        tuple[Person | tuple[()], int],
        tuple[Person, *tuple[Any, ...]],
    ],
)
@pytest.mark.parametrize("debug", [False, True])
async def test_a_tuple_in_any_words_filters_the_body(returns, debug):
    found = await answer(returns, (Admin("ada"), 201), debug=debug)

    assert (found.json(), found.status_code) == ({"name": "ada", "age": 0}, 201)


@pytest.mark.parametrize("returns", [tuple, typing.Tuple, tuple | None, tuple[str, int], tuple[str, ...]])  # noqa: UP006
async def test_a_tuple_without_structs_filters_nothing(returns):
    assert (await answer(returns, ("ok", 201))).status_code == 201


@pytest.mark.parametrize("annotation", ["list", "dict"])
async def test_a_struct_in_place_of_several_is_an_error_that_names_the_view(annotation, caplog):
    app = App(__name__)

    class Book(msgspec.Struct):
        title: str

    async def show():
        return Book("Solaris")

    show.__annotations__["return"] = list[Book] if annotation == "list" else dict[str, Book]
    app.get("/")(show)

    with pytest.raises(TypeError, match=rf"view .*show returned .*Book, and is annotated {annotation}\["):
        async with Client(app) as client:
            await client.get("/")
