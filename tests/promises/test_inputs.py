"""Promise 1: no input makes us answer 500, sent through a client as any program would send it.

``tests/test_promises.py`` calls the app with scopes that no client could produce; here everything passes the client's
transport and the checker between both sides, and ends in views that bind, convert and echo what they are given.
"""

import enum
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from microweb import (
    App,
    Body,
    Cookie,
    Form,
    Header,
    MessagePack,
    Query,
    Router,
    SyncRequest,
    UploadFile,
    WebSocket,
    WebSocketDisconnect,
    flash,
    get_flashed_messages,
    session,
    url_for,
)
from microweb.testing import SyncClient

PACKED = "application/msgpack"


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Line(msgspec.Struct):
    article: str
    quantity: Annotated[int, msgspec.Meta(ge=1, le=99)] = 1
    price: Decimal = Decimal(0)


class Order(msgspec.Struct):
    customer: str
    lines: list[Line] = []
    day: date | None = None
    colour: Colour = Colour.RED
    notes: dict[str, str | int | None] = {}


class Search(msgspec.Struct):
    term: str = ""
    page: int = 1
    tags: list[str] = []


def make_app():
    app = App(__name__, secret_key="x" * 32, config={"DECODE_REQUEST_BODIES": True})
    app.representations[PACKED] = MessagePack()
    inner = Router("inner", __name__, prefix="/inner")

    @app.get("/paths/<name>")
    @app.get("/paths/<int(signed=True):name>", endpoint="number")
    @app.get("/paths/<float:name>", endpoint="decimal")
    @app.get("/paths/<uuid:name>", endpoint="uuid")
    @app.get("/paths/<path:name>/end", endpoint="rest")
    async def by_path(request, name):
        return {"name": str(name), "back": url_for(request.endpoint, name=name), "url": request.url}

    @inner.get("/<a>-<b>.txt")
    def mixed(request: SyncRequest, a, b):
        return {"a": a, "b": b, "args": request.args.to_dict()}

    @app.get("/query")
    async def by_query(
        number: int | None = None,
        ratio: float = 0.5,
        switch: bool = False,
        day: date | None = None,
        at: datetime | None = None,
        span: timedelta | None = None,
        colour: Colour | None = None,
        kind: Literal["a", "b"] = "a",
        several: Annotated[list[int] | None, Query("n")] = None,
        name: str = "",
    ):
        return {"number": number, "ratio": ratio, "several": several, "name": name, "span": span, "at": at}

    @app.get("/search")
    async def by_struct(search: Annotated[Search, Query(forbid_unknown=True)]):
        return search

    @app.get("/headers")
    async def by_header(
        request,
        x_number: Annotated[int | None, Header()] = None,
        x_uuid: Annotated[UUID | None, Header()] = None,
        accept: Annotated[str, Header()] = "",
    ):
        best = request.accept.best(["text/html", "application/json"])
        return {"number": x_number, "uuid": x_uuid, "accept": accept, "best": best, "by": repr(request.authorization)}

    @app.get("/cookies")
    async def by_cookie(request, page: Annotated[int, Cookie()] = 1, theme: Annotated[str, Cookie()] = ""):
        session["visits"] = session.get("visits", 0) + 1
        flash("seen")
        return {"page": page, "theme": theme, "all": request.cookies.to_dict(), "flashed": get_flashed_messages()}

    @app.post("/body")
    async def by_body(order: Order):
        return order

    @app.post("/any")
    async def by_any(value: Annotated[Any, Body()]):
        return {"value": value}

    @app.post("/key")
    def by_key(customer: Annotated[str, Body("customer")], lines: Annotated[list[Line] | None, Body("lines")] = None):
        return {"customer": customer, "lines": lines}

    @app.post("/json")
    async def by_json(request):
        return {"value": await request.json()}

    @app.post("/form")
    async def by_form(customer: Annotated[str, Form()] = "", number: Annotated[int | None, Form()] = None):
        return {"customer": customer, "number": number}

    @app.post("/upload")
    async def by_upload(file: UploadFile | None = None):
        return {"name": file and file.filename, "size": file and file.size}

    @app.post("/form-def")
    def in_thread(request: SyncRequest):
        return {"form": dict(request.form.lists()), "files": [each.filename for each in request.files.values()]}

    @app.websocket("/ws/<kind>")
    async def socket(websocket: WebSocket, kind):
        await websocket.accept()
        receive = {
            "text": websocket.receive_text,
            "bytes": websocket.receive_bytes,
            "json": websocket.receive_json,
            "order": lambda: websocket.receive_as(Order),
        }.get(kind, websocket.receive)
        value = await receive()
        await (websocket.send_bytes(value) if isinstance(value, bytes) else websocket.send_json(value))

    app.mount("", inner)
    return app


@pytest.fixture(scope="module")
def client():
    """A client that raises whatever the app did not handle, so that a 500 shows its reason."""
    with SyncClient(make_app()) as client:
        yield client


# What may stand where ----------------------------------------------------------------------------------

# Texts in which the characters that mean something somewhere are as likely as all others together.
meaningful = st.sampled_from([*"/?#%&=+;,.:@\\\"'<>[]{}()-_ \t\x00\x7f", "..", "%2F", "%00", "%ff", "é", "\u202e", "0"])
texts = st.lists(meaningful | st.characters(exclude_categories=["Cs"]), max_size=12).map("".join)
numbers = st.integers().map(str) | st.floats().map(str) | st.sampled_from(["9" * 5000, "-0", "1e999", "٣", "0x1"])
values = texts | numbers
# A header's value has no control characters when a server hands it on (RFC 9110 §5.5).
lines = st.binary(max_size=40).map(lambda line: bytes(byte for byte in line if byte >= 32 and byte != 127).strip())
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | texts | st.dates().map(str),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
fields = st.sampled_from(["customer", "lines", "day", "colour", "notes", "article", "quantity", "price"])
orders = st.dictionaries(fields, plain, max_size=5) | plain
media_types = st.sampled_from(
    ["application/json", "application/json; charset=latin-1", PACKED, "application/x-www-form-urlencoded",
     "multipart/form-data; boundary=b", "multipart/form-data", "text/plain", "application/vnd.api+json", "", "/", "*/*"]
)  # fmt: skip


def check(answer):
    assert answer.status_code < 500, answer.text


@given(path=st.lists(values | st.sampled_from(["paths", "inner", "a-b.txt", "end"]), max_size=5))
@example(path=["paths", "9" * 5000])
@example(path=["paths", "-" + "9" * 5000])
@example(path=["paths", "1." + "9" * 400])
@example(path=["inner", "a-" * 200 + "b.txt"])
def test_no_path_makes_a_500(client, path):
    target = "/" + "/".join(path)

    check(client.get("/", extensions={"target": target.encode()}))
    # httpx takes no URL of more than 65,536 characters.
    check(client.get("/paths/" + "".join(f"%{byte:02X}" for byte in target.encode()[:20_000])))


ARGUMENTS = ["number", "ratio", "switch", "day", "at", "span", "colour", "kind", "n", "name", "term", "page", "tags"]


@given(
    path=st.sampled_from(["/query", "/search", "/inner/a-b.txt", "/nowhere"]),
    query=st.lists(
        st.tuples(
            st.sampled_from(ARGUMENTS) | texts,
            values,
        ),
        max_size=5,
    ),
)
@example(path="/query", query=[("span", "P" + "9" * 30 + "D")])
@example(path="/query", query=[("day", "0000-00-00"), ("ratio", "nan")])
def test_no_query_makes_a_500(client, path, query):
    check(client.get(path, params=query))
    raw = "&".join(f"{name}={value}" for name, value in query).encode()
    check(client.get("/", extensions={"target": path.encode() + b"?" + raw}))


@given(
    names=st.lists(
        st.sampled_from(
            ["x-number", "x-uuid", "accept", "authorization", "content-type", "content-length", "range", "if-none-match",
             "if-modified-since", "host", "origin", "referer", "accept-encoding", "content-encoding", "x-forwarded-for"]
        ),
        max_size=4,
    ),
    said=st.lists(lines, min_size=4, max_size=4),
)  # fmt: skip
@example(names=["authorization"], said=[b"Basic /w==", b"", b"", b""])
@example(names=["accept"], said=[b"a/b;q=" + b"9" * 5000, b"", b"", b""])
def test_no_header_makes_a_500(client, names, said):
    sent = dict(zip(names, said, strict=False))

    check(client.get("/headers", headers=[(name.encode(), line) for name, line in sent.items()]))


@given(st.dictionaries(st.sampled_from(["session", "page", "theme", "a"]), values, max_size=3), lines)
@example({"session": "." * 4000}, b"")
@example({"session": "eyJhIjoxfQ.aaaaaa.bbbb"}, b"")
@example({}, b"session=\\" * 2000)
def test_no_cookie_makes_a_500(client, cookies, line):
    built = "; ".join(f"{name}={value}" for name, value in cookies.items()).encode()
    built = bytes(byte for byte in built if byte >= 32 and byte != 127).strip()

    check(client.get("/cookies", headers=[(b"cookie", built)]))
    check(client.get("/cookies", headers=[(b"cookie", line)]))
    client.cookies.clear()


@given(path=st.sampled_from(["/body", "/any", "/key", "/json"]), value=orders)
@example(path="/any", value="\x00\U0001f600")
def test_no_json_or_packed_value_makes_a_500(client, path, value):
    for kind, encode in (("application/json", msgspec.json.encode), (PACKED, msgspec.msgpack.encode)):
        for accept in ("application/json", PACKED):
            answer = client.post(path, content=encode(value), headers={"content-type": kind, "accept": accept})
            check(answer)


offsets = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(number=st.integers(), at=st.datetimes(timezones=offsets))
@example(number=2**64, at=datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))))
@example(number=-(10**4000), at=datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-1))))
def test_no_number_or_time_makes_a_500_in_any_type(client, number, at):
    for accept in ("application/json", PACKED):
        headers = {"content-type": "application/json", "accept": accept}
        check(client.get("/query", params={"number": number, "at": at.isoformat()}, headers=headers))
        check(client.post("/any", content=str(number), headers=headers))


@given(
    path=st.sampled_from(["/body", "/any", "/key", "/json", "/form", "/upload", "/form-def", "/query", "/nowhere"]),
    media_type=media_types,
    coding=st.sampled_from([None, None, "gzip", "deflate", "br", "identity, gzip", "x"]),
    body=st.binary(max_size=60) | texts.map(str.encode),
)
@example(path="/any", media_type="application/json", coding=None, body=b"[" * 100_000)
@example(path="/any", media_type=PACKED, coding=None, body=b"\x91" * 100_000)
@example(path="/any", media_type=PACKED, coding=None, body=b"\xdd\xff\xff\xff\xff")
@example(path="/any", media_type=PACKED, coding=None, body=b"\xc7\x0c\xff" + b"\xff" * 12)
@example(path="/any", media_type=PACKED, coding=None, body=b"\x81\x91\x01\x02")
@example(path="/any", media_type=PACKED, coding=None, body=b"\xd4\x05\x00")
@example(path="/any", media_type=PACKED, coding=None, body=b"\xa1\xff")
@example(path="/any", media_type="application/json", coding=None, body=b'"\\ud800"')
@example(path="/any", media_type="application/json", coding=None, body=b"9" * 5000)
@example(path="/any", media_type="application/json", coding=None, body=b'{"a":1e999}')
def test_no_body_makes_a_500(client, path, media_type, coding, body):
    headers = {"content-type": media_type, **({} if coding is None else {"content-encoding": coding})}

    check(client.post(path, content=body, headers=headers))


@given(
    path=st.sampled_from(["/form", "/upload", "/form-def"]),
    disposition=texts.map(str.encode) | st.sampled_from([b'form-data; name="file"; filename="../../x"']),
    content=st.binary(max_size=40),
    end=st.sampled_from([b"\r\n--b--\r\n", b"\r\n--b--", b"\r\n--b", b"--b--", b""]),
)
def test_no_part_of_a_form_makes_a_500(client, path, disposition, content, end):
    body = b"--b\r\nContent-Disposition: " + disposition + b"\r\n\r\n" + content + end

    check(client.post(path, content=body, headers={"content-type": "multipart/form-data; boundary=b"}))


@given(
    kind=st.sampled_from(["text", "bytes", "json", "order", "any"]),
    message=texts | st.binary(max_size=40) | orders.map(lambda order: msgspec.json.encode(order).decode()),
)
@example(kind="json", message="[" * 100_000)
@example(kind="json", message="9" * 5000)
@example(kind="order", message='{"customer":1}')
def test_no_message_of_a_websocket_is_an_unhandled_error(client, kind, message):
    with client.websocket(f"/ws/{kind}") as websocket:
        (websocket.send_bytes if isinstance(message, bytes) else websocket.send_text)(message)
        try:
            websocket.receive()
        except WebSocketDisconnect as left:
            assert left.code != 1011


def test_the_client_would_show_an_unhandled_error():
    app = App(__name__)

    @app.get("/")
    async def fail():
        raise ZeroDivisionError

    with SyncClient(app) as client, pytest.raises(ZeroDivisionError):
        client.get("/")
