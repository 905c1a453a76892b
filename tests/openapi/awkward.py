# ruff: noqa: B006 - defaults as programs write them
"""An app with one of everything that a signature, a rule or an annotation can say; not a test file.

Its answers are made of what it was given, so that nothing depends on what was asked before.
"""

import datetime
import enum
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Literal, TypedDict
from uuid import UUID

import attrs
import msgspec
import pydantic

from microweb import (
    App,
    Body,
    Converter,
    Cookie,
    Depends,
    EventStream,
    Form,
    Header,
    JSONResponse,
    MethodView,
    Query,
    Request,
    Response,
    Router,
    SyncRequest,
    SyncUploadFile,
    UploadFile,
    abort,
    redirect,
)
from microweb.ext.rest import Api, Resource
from microweb.openapi import OpenAPI, describe

TOKEN = "awkward-but-known"


class Colour(enum.Enum):
    """What hats come in."""

    RED = "red"
    GREEN = "green"


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Hat(msgspec.Struct, tag="hat"):
    brim: Annotated[float, msgspec.Meta(ge=0, le=1e6)]
    colour: Colour = Colour.RED


class Cap(msgspec.Struct, tag="cap"):
    peak: bool
    colours: list[Colour] = []


class Line(msgspec.Struct, rename="camel"):
    article_name: Annotated[str, msgspec.Meta(min_length=1, max_length=40, description="What is bought.")]
    how_many: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1


@dataclass
class Address:
    street: str
    city: str = "Berlin"
    lines: list[str] = field(default_factory=list)


class Times(TypedDict, total=False):
    opened: datetime.date
    closed: datetime.datetime
    lunch: datetime.time
    pause: datetime.timedelta


@attrs.define
class Box:
    width: int
    height: int = 3


class Order(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a shop is asked for."""

    number: UUID
    lines: Annotated[list[Line], msgspec.Meta(max_length=5)]
    wear: Hat | Cap | None = None
    address: Address | None = None
    times: Times = {}
    box: Box | None = None
    price: Decimal = Decimal("1.5")
    picture: bytes = b""
    notes: dict[str, str | int] = {}
    shelf: dict[int, float] = {}
    pair: tuple[int, str] = (1, "one")
    kind: Literal["retail", "wholesale"] = "retail"
    anything: Any = None


class Node(msgspec.Struct):
    name: str
    children: list["Node"] = []


class Member(pydantic.BaseModel, strict=True):
    name: str = pydantic.Field(min_length=1, max_length=20)
    friends: list["Friend"] = []


class Friend(pydantic.BaseModel, strict=True):
    nick: str
    since: datetime.date | None = None


class Person(msgspec.Struct):
    name: str


class Account(Person):
    password: str


class Page(msgspec.Struct):
    number: Annotated[int, msgspec.Meta(ge=1)] = 1
    size: Size = Size.SMALL
    words: Annotated[list[str], msgspec.Meta(max_length=3)] = []
    before: datetime.date | None = None


class Sign(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(min_length=1)]
    age: int | None = None
    agreed: bool = False


class Even(Converter):
    regex = "[0-9]*[02468]"

    def to_python(self, value: str) -> int:
        return int(value[-9:])


async def find_user(authorization: Annotated[str, Header("Authorization")] = "") -> str:
    return "ada" if authorization == f"Bearer {TOKEN}" else abort(401)


find_user = describe(security="token", responses={401: "No such token."})(find_user)


def find_limit(limit: Annotated[int, msgspec.Meta(ge=1, le=50)] = 10) -> int:
    return limit


async def open_shelf(
    depth: Annotated[int, Header("X-Depth")] = 0, limit: Annotated[int, Depends(find_limit)] = 0
) -> AsyncGenerator[list[int], None]:
    yield [depth, limit]


def make_app() -> App:
    """The app, anew."""
    app = App(__name__, static_folder=None)
    app.converters["even"] = Even
    OpenAPI(
        app,
        title="Awkward <b>things</b>",
        version="1.0",
        tags={"shop": "What is sold."},
        security_schemes={"token": {"type": "http", "scheme": "bearer"}},
    )
    add_paths(app)
    add_texts(app)
    add_bodies(app)
    add_forms(app)
    add_answers(app)
    add_places(app)
    return app


def add_paths(app: App) -> None:
    @app.get("/paths/int/<int(min=5, max=500):number>")
    async def whole(number: int) -> dict[str, int]:
        return {"number": number}

    @app.get("/paths/signed/<int(signed=True):number>")
    async def signed(number: int) -> dict[str, int]:
        return {"number": number}

    @app.get("/paths/digits/<int(fixed_digits=3):number>")
    async def digits(number: int) -> dict[str, int]:
        return {"number": number}

    @app.get("/paths/float/<float:number>")
    async def fraction(number: float) -> dict[str, float]:
        return {"number": number}

    @app.get("/paths/any/<any(red, green):colour>")
    async def choice(colour: str) -> list[str]:
        return [colour]

    @app.get("/paths/string/<string(minlength=2, maxlength=5):word>/")
    async def word(word: str) -> list[str]:
        return [word]

    @app.get("/paths/text/<word>")
    async def text(word: str) -> list[str]:
        return [word]

    @app.get("/paths/rest/<path:rest>")
    async def rest(rest: str) -> list[str]:
        return [rest]

    @app.delete("/paths/uuid/<uuid:number>")
    async def number(number: UUID) -> tuple[None, Literal[204]]:
        return None, 204

    @app.get("/paths/even/<even:number>")
    async def even(number: int) -> dict[str, int]:
        return {"number": number}

    @app.get("/paths/mixed/<int:year>-<any(a, b):part>.txt")
    async def mixed(year: int, part: str) -> str:
        return "<p>mixed</p>"

    @app.get("/paths/alike/<int:number>")
    async def alike_number(number: int) -> dict[str, int]:
        return {"number": number}

    @app.put("/paths/alike/<name>")
    async def alike_name(name: str) -> list[str]:
        return [name]

    @app.get("/paths/page", defaults={"page": 1})
    @app.get("/paths/page/<int:page>")
    async def paged(page: int) -> dict[str, int]:
        return {"page": page}


def add_texts(app: App) -> None:
    @app.get("/texts/scalars")
    async def scalars(
        text: str,
        whole: int = 1,
        number: float | None = None,
        switch: bool = False,
        colour: Colour = Colour.RED,
        size: Size | None = None,
        day: datetime.date | None = None,
        moment: datetime.datetime | None = None,
        lunch: datetime.time | None = None,
        pause: datetime.timedelta | None = None,
        key: UUID | None = None,
        price: Decimal = Decimal(1),
        kind: Literal["a", "b"] = "a",
    ) -> dict[str, str]:
        return {"text": text}

    @app.get("/texts/needed")
    async def needed(whole: Annotated[int, msgspec.Meta(gt=0)], day: datetime.date, switch: bool) -> list[int]:
        return [whole]

    @app.get("/texts/lists")
    async def lists(
        numbers: Annotated[list[int], Query("n")], words: list[str] = [], more: set[int] = set()
    ) -> dict[str, int]:
        return {"count": len(numbers) + len(words) + len(more)}

    @app.get("/texts/struct")
    async def struct(page: Annotated[Page, Query()]) -> Page:
        return page

    @app.get("/texts/headers")
    async def headers(
        x_token: Annotated[str, Header()],
        depth: Annotated[int, Header("X-Awkward-Depth")],
        seen: Annotated[datetime.date | None, Header()] = None,
        counts: Annotated[list[int], Header()] = [],
    ) -> dict[str, Any]:
        return {"depth": depth, "token": x_token}

    @app.get("/texts/cookies")
    async def cookies(theme: Annotated[Colour, Cookie()], visits: Annotated[int, Cookie("count")]) -> dict[str, int]:
        return {"visits": visits}

    @app.get("/texts/dependent")
    async def dependent(shelf: Annotated[list[int], Depends(open_shelf)]) -> list[int]:
        return shelf

    @app.get("/texts/secret")
    async def secret(user: Annotated[str, Depends(find_user)], page: int = 1) -> dict[str, str]:
        return {"user": user}

    @app.get("/texts/strict", forbid_unknown=True)
    def strict(page: int = 1) -> dict[str, int]:
        return {"page": page}


def add_bodies(app: App) -> None:
    @app.post("/bodies/order")
    async def order(order: Order) -> Order:
        return order

    @app.post("/bodies/choice")
    async def either(wear: Hat | Cap) -> Hat | Cap:
        return wear

    @app.post("/bodies/tagged")
    async def tagged(hat: Hat) -> Hat:
        return hat

    @app.post("/bodies/list")
    async def several(lines: list[Line]) -> dict[str, int]:
        return {"count": len(lines)}

    @app.put("/bodies/tree")
    async def tree(node: Node) -> Node:
        return node

    @app.post("/bodies/optional")
    async def optional(box: Box | None = None) -> Box:
        return box or Box(1)

    @app.patch("/bodies/keys")
    async def keys(
        box: Annotated[Box, Body("box")], count: Annotated[int, Body("count")] = 1
    ) -> tuple[Box, Literal[201]]:
        return box, 201

    @app.post("/bodies/any")
    async def anything(value: Annotated[Any, Body()]) -> dict[str, bool]:
        return {"there": value is not None}

    @app.post("/bodies/strict")
    async def strict_body(box: Annotated[Box, Body(forbid_unknown=True)]) -> Box:
        return box

    @app.post("/bodies/pydantic")
    async def model(member: Member) -> Member:
        return member

    @app.post("/bodies/dataclass", max_content_length=5_000_000)
    def dataclass_body(address: Address) -> Address:
        return address

    @app.post("/bodies/times")
    async def times(times: Times) -> Times:
        return times


def add_forms(app: App) -> None:
    @app.post("/forms/fields")
    async def fields(
        name: Annotated[str, Form()],
        age: Annotated[int, Form()] = 1,
        agreed: Annotated[bool, Form()] = False,
        tags: Annotated[list[str], Form("tag")] = [],
    ) -> dict[str, Any]:
        return {"name": name, "age": age}

    @app.post("/forms/struct")
    def struct_form(sign: Annotated[Sign, Form()]) -> Sign:
        return sign

    @app.post("/forms/file")
    async def file(photo: UploadFile, width: Annotated[int, Form()]) -> dict[str, Any]:
        return {"size": photo.size}

    @app.post("/forms/album")
    async def album(photos: list[UploadFile], colours: Annotated[list[Colour], Form()]) -> dict[str, int]:
        return {"count": len(photos)}

    @app.post("/forms/files")
    def files(photos: list[SyncUploadFile] | None = None) -> dict[str, int]:
        return {"count": len(photos or [])}


def add_answers(app: App) -> None:
    @app.get("/answers/html")
    async def html() -> str:
        """A page with <script>alert("a")</script> in its description.

        And a second paragraph with <b>more</b>.
        """
        return "<p>hello</p>"

    @app.get("/answers/bytes")
    def data() -> bytes:
        return b"\x00\x01"

    @app.get("/answers/unknown")
    async def unknown():
        return {"anything": 1}

    @app.get("/answers/response")
    async def response() -> Response:
        return Response("plain", content_type="text/plain")

    @app.get("/answers/json")
    async def as_json() -> JSONResponse:
        return JSONResponse([1])

    @app.get("/answers/account")
    async def account() -> Person:
        return Account("ada", "secret")

    @app.get("/answers/people")
    async def people() -> dict[str, list[Person]]:
        return {"people": [Account("ada", "secret")]}

    @app.get("/answers/either/<int:number>")
    async def either_answer(number: int) -> Person | tuple[dict[str, int], Literal[404]]:
        return Account("ada", "secret") if number % 2 else ({"number": number}, 404)

    @app.get("/answers/stream")
    async def stream() -> AsyncGenerator[str, None]:
        yield "<p>one</p>"

    @app.get("/answers/events")
    async def events() -> EventStream:
        async def happen():
            yield "one"

        return EventStream(happen())

    @app.get("/answers/moved")
    @describe(responses={302: None, 418: "For teapots only."}, deprecated=True, tags=["old"], summary="Where it went")
    async def moved() -> Response:
        return redirect("/answers/html")

    @app.get("/answers/limited", timeout=20)
    async def limited() -> dict[str, int]:
        return {"a": 1}

    @app.get("/answers/hidden")
    @describe(hidden=True)
    async def hidden() -> str:
        return "hidden"

    @app.get("/answers/request")
    def with_request(request: SyncRequest) -> list[str]:
        return [request.method]


def add_places(app: App) -> None:
    shop = Router("shop", __name__, prefix="/shop/<uuid:shop>", dependencies=[Depends(find_limit)])

    class Article(MethodView):
        """Articles by number."""

        async def get(self, shop: UUID, number: int, detail: bool = False) -> dict[str, int]:
            """One article."""
            return {"number": number}

        async def put(self, shop: UUID, number: int, line: Line) -> Line:
            return line

        async def delete(self, shop: UUID, number: int) -> tuple[str, Literal[204]]:
            return "", 204

    shop.add_route("/articles/<int:number>", Article.as_view("article"))

    @shop.errorhandler(404)
    async def not_here(error: Exception) -> tuple[dict[str, str], int]:
        return {"shop": "has no such thing"}, 404

    @shop.get("/broken/<int:number>")
    @describe(responses={404: "It is always broken."})
    async def broken(shop: UUID, number: int) -> Line:
        return abort(404)

    app.mount("", shop)
    api = Api(app, prefix="/rest", default_mediatype="text/csv")

    @api.representation("text/csv")
    def write_csv(data: Any, status: int, headers: Any) -> Response:
        return Response(f"{data}", status, headers)

    @api.resource("/words/<int:number>")
    class Written(Resource):
        async def get(self, number: int) -> str:
            return str(number)

        async def post(self, number: int, line: Line) -> tuple[Line, Literal[201]]:
            return line, 201

    inner = App("inner", static_folder=None)

    @inner.get("/")
    async def root() -> list[int]:
        return [1]

    @inner.get("/things/<name>")
    async def thing(name: str) -> list[str]:
        return [name]

    app.mount("/inner", inner, name="inner")

    async def foreign(scope, receive, send):
        raise AssertionError("nobody asks for it")

    app.mount("/foreign", foreign)

    @app.get("/hosted", host="<tenant>.example.com")
    async def hosted(tenant: str) -> list[str]:
        return [tenant]

    @app.websocket("/socket")
    async def socket(websocket) -> None:
        await websocket.accept()

    @app.route("/several", methods=["GET", "POST"], openapi=describe(tags=["several"]))
    async def both(request: Request) -> list[str]:
        return [request.method]
