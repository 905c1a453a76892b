"""Responses: what a view may return, what may be set, what goes on the wire."""

import dataclasses
import datetime
import functools
import io
import threading
from collections.abc import AsyncIterator

import anyio
import attrs
import msgspec
import pytest

from microweb import (
    App,
    EventStream,
    FileResponse,
    JSONResponse,
    Request,
    Response,
    StreamingResponse,
    current_app,
    g,
    jsonify,
    make_response,
    redirect,
    request,
    send_file,
    session,
)
from microweb.errors import NotFound, OutsideContextError
from microweb.streaming import tells_of_leaving
from microweb.testing import Client

pytestmark = pytest.mark.anyio


async def answer_to(returned, method: str = "GET", **options):
    """The answer to a view that returns ``returned()``."""
    app = App(__name__, secret_key="the secret of these tests")

    @app.route("/", methods=["GET", "POST"])
    async def view():
        return returned()

    async with Client(app, raise_errors=False) as client:
        return await client.request(method, "/", **options)


async def get(app: App, path: str = "/", **options):
    async with Client(app, raise_errors=False) as client:
        return await client.get(path, **options)


class Point(msgspec.Struct):
    x: int


@dataclasses.dataclass
class Place:
    name: str


@attrs.define
class Colour:
    name: str


class Model:
    """As pydantic's models do."""

    def model_dump_json(self) -> str:
        return '{"model":1}'


class Later:
    def __await__(self):
        raise AssertionError


@pytest.mark.parametrize(
    ("returned", "status", "kind", "body"),
    [
        (lambda: "text ü", 200, "text/html; charset=utf-8", "text ü".encode()),
        (lambda: b"bytes", 200, "application/octet-stream", b"bytes"),
        (lambda: bytearray(b"more"), 200, "application/octet-stream", b"more"),
        (lambda: {"a": 1}, 200, "application/json", b'{"a":1}'),
        (lambda: [1, "b"], 200, "application/json", b'[1,"b"]'),
        (lambda: Point(3), 200, "application/json", b'{"x":3}'),
        (lambda: Place("here"), 200, "application/json", b'{"name":"here"}'),
        (lambda: Colour("red"), 200, "application/json", b'{"name":"red"}'),
        (lambda: Model(), 200, "application/json", b'{"model":1}'),
        (lambda: type("Text", (str,), {})("sub"), 200, "text/html; charset=utf-8", b"sub"),
        (lambda: type("Dict", (dict,), {})(a=1), 200, "application/json", b'{"a":1}'),
        (lambda: ("created", 201), 201, "text/html; charset=utf-8", b"created"),
        (lambda: ({"a": 1}, 202), 202, "application/json", b'{"a":1}'),
        (lambda: ("x", {"content-type": "text/plain"}), 200, "text/plain", b"x"),
        (lambda: ("x", 203, [("content-type", "text/plain")]), 203, "text/plain", b"x"),
        (lambda: Response("r", 201), 201, "text/html; charset=utf-8", b"r"),
        (lambda: (Response("r"), 299), 299, "text/html; charset=utf-8", b"r"),
        (lambda: JSONResponse([1], 201), 201, "application/json", b"[1]"),
        (lambda: request.args, 200, "application/json", b"{}"),
        (lambda: jsonify(session), 200, "application/json", b"{}"),
        (lambda: jsonify(a=1), 200, "application/json", b'{"a":1}'),
        (lambda: jsonify(1, 2), 200, "application/json", b"[1,2]"),
        (lambda: jsonify("one"), 200, "application/json", b'"one"'),
        (lambda: make_response("made", 201), 201, "text/html; charset=utf-8", b"made"),
    ],
)
async def test_a_returned_value_becomes_a_response(returned, status, kind, body):
    response = await answer_to(returned)

    assert (response.status_code, response.headers["content-type"], response.content) == (status, kind, body)
    assert response.headers["content-length"] == str(len(body))


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda: None, "returned None; return text, bytes, a dict or list"),
        (lambda: None, "Was a `return` forgotten?"),
        (lambda: (None, 200), "returned None; return text"),
        (lambda: make_response(None), "make_response() returned None"),
        (lambda: anyio.sleep(0), "returned a coroutine that nobody has awaited. Was an `await` forgotten?"),
        (Later, "returned a Later that nobody has awaited"),
        (lambda: datetime.date(2026, 1, 1), "returned datetime.date, which is no answer"),
        (lambda: functools.partial(jsonify), "returned functools.partial, which is no answer"),
        (lambda: 5, "returned int, which is no answer"),
        (lambda: Response, "forgotten: Response(...)?"),
        (lambda: jsonify, "forgotten: jsonify(...)?"),
        (NotFound, "tuple. Raise it"),
        (lambda: (), "a tuple of 0"),
        (lambda: ("a", 1, {}, 2), "a tuple of 4"),
        (lambda: object(), "returned object"),
        (lambda: {"a": object()}, "builtins.object"),
    ],
)
async def test_what_is_no_answer_is_an_error_naming_the_view(returned, message, caplog):
    assert (await answer_to(returned)).status_code == 500
    assert message in caplog.text


@pytest.mark.parametrize("status", [204, 304])
async def test_of_nothing_and_a_status_that_has_no_body_an_empty_answer_is_made(status):
    response = await answer_to(lambda: (None, status, {"x-a": "1"}))

    assert (response.status_code, response.content, response.headers["x-a"]) == (status, b"", "1")
    assert "content-type" not in response.headers


async def test_a_response_that_gets_a_status_without_a_body_keeps_its_headers():
    response = await answer_to(lambda: (Response("x", headers={"x-a": "1"}), 204))

    assert (response.status_code, response.content, response.headers["x-a"]) == (204, b"", "1")


@pytest.mark.parametrize("status", [99, 199, 600, "200", 200.5, None])
def test_a_status_is_checked_when_it_is_set(status):
    with pytest.raises(ValueError, match="status"):
        Response("", status)


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\x00b", "ü€"])
def test_no_header_can_be_injected(value):
    with pytest.raises(ValueError, match="header"):
        Response("", headers={"x-a": value})
    with pytest.raises(ValueError, match="header"):
        Response().headers["x-a"] = value
    with pytest.raises(ValueError, match="header"):
        Response(content_type=value)
    with pytest.raises(ValueError, match="header"):
        Response().headers.add(value, "x")


async def test_headers_that_differ_in_case_are_repeats_too():
    response = await answer_to(lambda: ("x", [("x-a", "1"), ("X-A", "2")]))

    assert response.headers.get_list("x-a") == ["1", "2"]


async def test_repeated_headers_of_a_tuple_are_all_sent():
    response = await answer_to(lambda: ("", [("set-cookie", "a=1"), ("set-cookie", "b=2")]))

    assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]


async def test_cookies_are_set_and_deleted_with_their_attributes():
    def returned():
        response = Response("x")
        response.set_cookie(
            "a", "1", max_age=60, secure=True, httponly=True, samesite="None", partitioned=True, path="/p"
        )
        response.delete_cookie("b")
        return response

    first, second = (await answer_to(returned)).headers.get_list("set-cookie")

    for part in ("a=1", "Max-Age=60", "Secure", "HttpOnly", "SameSite=None", "Partitioned", "Path=/p"):
        assert part in first
    assert second == "b=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/"


async def test_a_response_returned_to_a_second_request_is_refused(caplog):
    shared = Response("mine")
    app = App(__name__)

    @app.get("/")
    async def view():
        return shared

    async with Client(app, raise_errors=False) as client:
        assert (await client.get("/")).text == "mine"
        assert (await client.get("/")).status_code == 500
    assert "build a new response for each request" in caplog.text


async def test_a_response_that_is_refused_is_not_changed_either():
    app = App(__name__)
    shared = Response("mine")

    @app.get("/")
    async def view():
        return shared

    @app.get("/again")
    async def again():
        return shared, 404, {"x-a": "1"}

    async with Client(app, raise_errors=False) as client:
        await client.get("/")
        assert (await client.get("/again")).status_code == 500
    assert (shared.status_code, "x-a" in shared.headers) == (200, False)


async def test_properties_of_a_response_can_be_changed_by_layers():
    app = App(__name__)

    @app.middleware
    async def change(request, call_next):
        response = await call_next(request)
        response.status_code = 201
        response.body = "changed"
        response.content_type = "text/plain"
        response.last_modified = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        response.add_etag()
        return response

    @app.get("/")
    async def view():
        return "x"

    async with Client(app) as client:
        response = await client.get("/")

    assert (response.status_code, response.text, response.headers["content-type"]) == (201, "changed", "text/plain")
    assert response.headers["last-modified"] == "Thu, 01 Jan 2026 00:00:00 GMT"
    assert response.headers["etag"].startswith('"')


def test_a_response_tells_what_it_is():
    response = Response("text", content_type="text/plain; charset=utf-8")

    assert (response.mimetype, response.content_type) == ("text/plain", "text/plain; charset=utf-8")
    assert (response.get_data(as_text=True), response.data, response.is_streamed) == ("text", b"text", False)
    response.set_data(b"bytes")
    assert response.get_data() == b"bytes"
    assert response.last_modified is None
    response.headers["x-a"] = "1"
    response.content_type = None
    assert (response.content_type, response.mimetype) == (None, None)
    assert Response("x", content_type="text/plain ; charset=utf-8").mimetype == "text/plain"
    assert repr(response) == "<Response 200>"
    with pytest.raises(TypeError, match="str or bytes"):
        response.body = 5


async def test_an_answer_without_a_content_type_is_possible():
    def returned():
        response = Response(b"x")
        response.content_type = None
        assert response.content_type is None
        return response

    assert "content-type" not in (await answer_to(returned)).headers


def test_a_content_type_that_cannot_be_sent_is_refused_by_name():
    with pytest.raises(ValueError, match="header 'content-type'"):
        Response("x", content_type="text/plain\r\nx: y")
    with pytest.raises(ValueError, match="header 'content-type'"):
        Response("x").content_type = "text/plain\r\nx: y"


@pytest.mark.parametrize(
    ("condition", "status"), [({"if-none-match": '"tag"'}, 304), ({"if-match": '"other"'}, 412), ({}, 200)]
)
async def test_make_conditional_answers_304_and_412(condition, status):
    def returned():
        response = Response("body")
        response.set_etag("tag")
        return response.make_conditional(request)

    response = await answer_to(returned, headers=condition)

    assert response.status_code == status
    assert (response.content == b"body") is (status == 200)
    assert response.headers["etag"] == '"tag"'


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ({"if-modified-since": "Thu, 01 Jan 2026 00:00:00 GMT"}, 304),
        ({"if-modified-since": "Wed, 31 Dec 2025 00:00:00 GMT"}, 200),
        ({"if-unmodified-since": "Wed, 31 Dec 2025 00:00:00 GMT"}, 412),
        ({"if-unmodified-since": "Thu, 01 Jan 2026 00:00:00 GMT"}, 200),
    ],
)
async def test_make_conditional_weighs_dates(condition, status):
    def returned():
        response = Response("body")
        response.last_modified = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        return response.make_conditional(request)

    assert (await answer_to(returned, headers=condition)).status_code == status


async def test_make_conditional_knows_a_request_that_writes():
    def returned():
        response = Response("body")
        response.set_etag("tag")
        return response.make_conditional(request)

    assert (await answer_to(returned, "POST", headers={"if-none-match": '"tag"'})).status_code == 412


async def test_a_file_that_becomes_a_304_later_keeps_its_tag():
    def returned():
        return send_file(__file__, conditional=False, etag="tag").make_conditional(request)

    response = await answer_to(returned, headers={"if-none-match": '"tag"'})

    assert (response.status_code, response.headers["etag"]) == (304, '"tag"')


@pytest.mark.parametrize("status", [300, 410])
async def test_conditions_are_for_successful_answers_only(status):
    def returned():
        response = Response("not here", status)
        response.set_etag("tag")
        return response.make_conditional(request)

    assert (await answer_to(returned, headers={"if-none-match": '"tag"'})).status_code == status


def test_the_tag_of_a_body_replaces_another_only_if_asked():
    response = Response("body")
    response.set_etag("mine")

    response.add_etag()
    kept = response.headers["etag"]
    response.add_etag(overwrite=True, weak=True)

    assert kept == '"mine"'
    assert response.headers["etag"].startswith('W/"')
    assert response.headers["etag"] != 'W/"mine"'


@pytest.mark.parametrize(
    ("body", "declared", "length"),
    [(b"", ["500"], "500"), (b"abc", ["500"], "3"), (b"", ["5", "6"], "0"), (b"", ["five"], "0")],
)
async def test_the_length_that_a_view_declares_counts_for_head_if_it_can_be_right(body, declared, length):
    response = await answer_to(lambda: (body, [("content-length", each) for each in declared]), "HEAD")

    assert response.headers.get_list("content-length") == [length]


async def test_an_error_of_the_server_within_an_answer_begins_no_other_one():
    app = App(__name__)
    sent = []

    @app.get("/")
    async def view():
        return JSONResponse({"a": 1})

    async def send(message):
        sent.append(message["type"])
        if len(sent) == 2:
            raise RuntimeError("the server is broken")

    with pytest.raises(RuntimeError, match="the server is broken"):
        await app({"type": "http", "method": "GET", "path": "/", "headers": []}, anyio.sleep_forever, send)

    assert sent == ["http.response.start", "http.response.body"]


@pytest.mark.parametrize(
    ("target", "location"),
    [("/a b", "/a%20b"), ("/ü?q=1", "/%C3%BC?q=1"), ("https://example.com/", "https://example.com/")],
)
async def test_a_redirect_has_a_clean_location(target, location):
    response = await answer_to(lambda: redirect(target, 303))

    assert (response.status_code, response.headers["location"]) == (303, location)


def test_a_redirect_is_checked():
    with pytest.raises(ValueError, match="control characters"):
        redirect("/a\r\nset-cookie: x=1")
    for status in (200, 299, 304, 306, 309):
        with pytest.raises(ValueError, match="status"):
            redirect("/", status)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 305, 307, 308])
def test_a_redirect_may_have_each_status_of_a_redirect(status):
    assert redirect("/new", status).status_code == status


def test_jsonify_takes_one_kind_of_arguments():
    with pytest.raises(TypeError, match="either"):
        jsonify(1, a=2)


async def test_make_response_of_nothing_is_an_empty_answer():
    response = await answer_to(make_response)

    assert (response.status_code, response.content) == (200, b"")


def test_make_response_outside_of_a_request_says_what_to_use():
    with pytest.raises(OutsideContextError, match=r"Response\(\.\.\.\)"):
        make_response("x")


# Streams -----------------------------------------------------------------------------------------


async def numbers() -> AsyncIterator[str]:
    for number in range(3):
        yield f"{number};"


class Numbers:
    """An async iterable that is no generator, and has nothing to close."""

    def __aiter__(self) -> AsyncIterator[str]:
        return numbers()


async def test_an_async_generator_view_is_streamed_chunk_by_chunk():
    app = App(__name__)
    reached = []

    @app.get("/")
    async def view():
        for number in range(3):
            reached.append(number)
            yield str(number)

    async with Client(app) as client, client.stream("GET", "/") as response:
        parts = response.aiter_bytes()
        assert await anext(parts) == b"0"
        assert len(reached) < 3
        assert [part async for part in parts] == [b"1", b"2"]
    assert "content-length" not in response.headers


@pytest.mark.parametrize(
    "returned",
    [
        lambda: numbers(),
        lambda: StreamingResponse(numbers(), 200),
        lambda: (numbers(), 200, {"x-a": "1"}),
        lambda: iter(["0;", b"1;", bytearray(b"2;")]),
        lambda: StreamingResponse(["0;", "1;", "2;"]),
        lambda: Numbers(),
        lambda: StreamingResponse(Numbers()),
    ],
)
async def test_iterators_are_streamed(returned):
    assert (await answer_to(returned)).text == "0;1;2;"


async def test_a_generator_of_a_def_view_runs_in_a_thread():
    app = App(__name__)
    loop_thread = threading.get_ident()

    @app.get("/")
    def view():
        g.prefix = "p"
        for number in range(3):
            assert threading.get_ident() != loop_thread
            yield f"{g.prefix}{number}{request.method}"

    async with Client(app) as client:
        assert (await client.get("/")).text == "p0GETp1GETp2GET"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_generator_is_closed_before_teardown_sent_or_not(kind, method):
    app = App(__name__)
    events = []

    @app.get("/")
    async def view():
        async def body():
            try:
                yield "x"
                yield "y"
            finally:
                events.append("closed")

        def sync_body():
            try:
                yield "x"
                yield "y"
            finally:
                events.append("closed")

        return body() if kind == "async" else sync_body()

    @app.teardown_request
    async def teardown(error):
        events.append("teardown")

    async with Client(app) as client:
        await client.request(method, "/")

    # A generator that never began has nothing to close: its finally does not run.
    assert events == (["closed", "teardown"] if method == "GET" else ["teardown"])


@pytest.mark.parametrize("around", ["nothing", "a layer", "an app"])
async def test_a_generator_that_is_left_in_the_middle_is_closed_before_what_it_has_opened(around):
    app, outer, events = App("inner"), App("outer"), []

    @app.get("/")
    async def view(request: Request):
        async def close():
            events.append("opened is closed")

        request.on_close(close)
        try:
            yield "x"
        finally:
            events.append(f"body is closed in {current_app.import_name}")

    if around == "a layer":

        @app.middleware
        async def layer(request, call_next):
            return await call_next(request)

    outer.mount("/inner", app)
    served, path = (outer, "/inner/") if around == "an app" else (app, "/")

    async def send(message):
        if message["type"] == "http.response.body":
            raise OSError("the client left")

    scope = {"type": "http", "asgi": {"spec_version": "2.4"}, "method": "GET", "path": path, "headers": []}
    await served(scope, None, send)

    assert events == ["body is closed in inner", "opened is closed"]


async def test_a_generator_that_a_layer_replaced_is_closed():
    app = App(__name__)
    closed = []

    class Body:
        def __aiter__(self):
            return self

        async def __anext__(self):
            raise AssertionError("not sent")

        async def aclose(self):
            closed.append("closed")

    @app.middleware
    async def replace(request, call_next):
        await call_next(request)
        return "instead"

    @app.get("/")
    async def view():
        return StreamingResponse(Body())

    async with Client(app) as client:
        assert (await client.get("/")).text == "instead"
    assert closed == ["closed"]


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_body_of_which_a_layer_sends_only_the_beginning_is_closed(kind):
    app = App(__name__)
    events = []

    @app.get("/")
    async def view():
        async def body():
            try:
                yield b"x"
                yield b"y"
            finally:
                events.append("closed")

        def sync_body():
            try:
                yield b"x"
                yield b"y"
            finally:
                events.append("closed")

        return body() if kind == "async" else sync_body()

    @app.middleware
    async def cut(request, call_next):
        response = await call_next(request)
        inner = response.iterable

        async def first():
            async for chunk in inner:
                yield chunk
                return

        def sync_first():
            yield next(inner)

        response.iterable = first() if kind == "async" else sync_first()
        return response

    @app.teardown_request
    async def teardown(error):
        events.append("teardown")

    assert (await get(app)).text == "x"
    assert events == ["closed", "teardown"]


async def test_a_blocking_body_that_a_layer_replaced_is_closed_in_the_worker_thread():
    app = App(__name__)
    threads = []

    class Body:
        def __iter__(self):
            raise AssertionError("not sent")

        def close(self):
            threads.append(threading.get_ident())

    @app.middleware
    async def replace(request, call_next):
        await call_next(request)
        return "instead"

    @app.get("/")
    def view():
        threads.append(threading.get_ident())
        return StreamingResponse(Body())

    async with Client(app) as client:
        assert (await client.get("/")).text == "instead"
    assert len(threads) == 2
    assert set(threads) != {threading.get_ident()}
    assert len(set(threads)) == 1


async def test_a_layer_may_wrap_a_streamed_body():
    app = App(__name__)

    @app.middleware
    async def shout(request, call_next):
        response = await call_next(request)
        inner = response.iterable

        async def wrapped():
            async for chunk in inner:
                yield chunk.upper()

        response.iterable = wrapped()
        return response

    @app.get("/")
    async def view():
        async def body():
            yield "a"
            yield "b"

        return body()

    async with Client(app) as client:
        assert (await client.get("/")).text == "AB"


async def test_the_tag_of_the_bytes_that_a_stream_does_not_have_is_none():
    app = App(__name__)

    @app.after_request
    async def tag(response):
        response.add_etag()
        return response.make_conditional(request)

    @app.get("/")
    async def view():
        yield "streamed"

    response = await get(app)

    assert (response.text, "etag" in response.headers) == ("streamed", False)


@pytest.mark.parametrize("kind", ["async", "def", "file"])
async def test_a_body_that_is_set_on_a_stream_is_sent_in_its_place(kind, tmp_path):
    app = App(__name__)
    (tmp_path / "file").write_text("a file of some length")

    @app.after_request
    async def replace(response):
        response.set_data("changed")

    @app.get("/async")
    async def stream():
        yield "streamed"

    @app.get("/def")
    def blocking_stream():
        yield "streamed"

    @app.get("/file")
    async def file():
        return FileResponse(tmp_path / "file")

    response = await get(app, f"/{kind}")

    assert (response.status_code, response.text) == (200, "changed")


async def test_a_condition_that_does_not_hold_empties_a_stream():
    app = App(__name__)

    @app.get("/")
    async def view():
        response = StreamingResponse(iter(["streamed"]))
        response.set_etag("new")
        return response.make_conditional(request)

    response = await get(app, headers={"if-match": '"old"'})

    assert (response.status_code, response.text) == (412, "")


def give(generate):
    """A view that returns what the generator function gives. One that is the view goes a shorter way."""

    async def view():
        return generate()

    return view


both_ways = pytest.mark.parametrize("as_view", [lambda generate: generate, give], ids=["view", "returned"])


@both_ways
@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
async def test_a_generator_is_closed_when_the_client_leaves(spec_version, as_view):
    app = App(__name__)
    events, started = [], anyio.Event()

    @app.get("/")
    @as_view
    async def body():
        try:
            while True:
                yield "x"
                started.set()
                await anyio.sleep(0 if spec_version == "2.4" else 60)
        finally:
            events.append("closed")

    @app.teardown_request
    async def teardown(error):
        events.append(error)

    async def receive():
        await started.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        if started.is_set():
            raise OSError("gone")

    with anyio.fail_after(5):
        await app(scope(spec_version), receive, send)

    assert events == ["closed", None]


@both_ways
async def test_an_error_in_a_body_is_logged_once_and_breaks_the_connection(as_view, caplog):
    app = App(__name__)
    torn_down = []

    @app.get("/")
    @as_view
    async def view():
        yield "x"
        raise ValueError("late")

    @app.teardown_request
    async def teardown(error):
        torn_down.append(type(error))

    sent = []

    async def send(message):
        sent.append(message)

    with pytest.raises(ValueError, match="late"):
        await app(scope("2.4"), anyio.sleep_forever, send)

    assert [message.get("more_body") for message in sent] == [None, True]
    assert len(caplog.records) == 1
    assert torn_down == [ValueError]


@both_ways
@pytest.mark.parametrize("chunk", [5, None, {"a": 1}])
async def test_a_chunk_that_is_no_text_is_an_error(chunk, as_view):
    app = App(__name__)

    @app.get("/")
    @as_view
    async def view():
        yield chunk

    async def send(message):
        pass

    with pytest.raises(TypeError, match="str or bytes"):
        await app(scope("2.4"), anyio.sleep_forever, send)


@pytest.mark.parametrize("body", [{}, [], 0, False])
def test_a_body_that_is_no_text_is_an_error_although_it_is_empty(body):
    with pytest.raises(TypeError, match=f"a body is str or bytes, not {type(body).__name__}"):
        Response(body)


def test_a_redirect_to_nowhere_says_what_it_needs():
    with pytest.raises(TypeError, match="redirect.. needs a path or a URL, not None"):
        redirect(None)


def test_a_streamed_body_must_be_an_iterable():
    for body in ("text", b"bytes", 5):
        with pytest.raises(TypeError, match="iterable"):
            StreamingResponse(body)


async def test_a_view_is_cancelled_when_the_client_leaves_if_asked():
    app = App(__name__)
    events, entered = [], anyio.Event()

    @app.middleware
    async def look(request, call_next):
        response = await call_next(request)
        events.append((response.status_code, type(response.error).__name__))
        return response

    @app.get("/", cancel_on_disconnect=True)
    async def view(request: Request):
        entered.set()
        try:
            await anyio.sleep_forever()
        finally:
            events.append("left")

    async def receive():
        await entered.wait()
        return {"type": "http.disconnect"}

    sent = []

    async def send(message):
        sent.append(message)

    with anyio.fail_after(5):
        await app(scope("2.3"), receive, send)

    assert events == ["left", (499, "ClientDisconnect")]
    assert sent == []


async def test_a_shielded_part_of_a_view_is_finished_when_the_client_leaves():
    app = App(__name__)
    entered, noticed, events = anyio.Event(), anyio.Event(), []

    @app.get("/", cancel_on_disconnect=True)
    async def view():
        with anyio.CancelScope(shield=True):
            entered.set()
            await noticed.wait()
            await anyio.wait_all_tasks_blocked()
            events.append("paid")
        await anyio.sleep_forever()

    async def receive():
        await entered.wait()
        noticed.set()
        return {"type": "http.disconnect"}

    async def send(message):
        events.append(message)

    with anyio.fail_after(5):
        await app(scope("2.3"), receive, send)

    assert events == ["paid"]


def items():
    yield "one"
    yield "two"


async def later_items():
    for number in items():
        yield number


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("fails_at", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "answer",
    [
        lambda: "text",
        lambda: {"a": 1},
        lambda: (b"", 204),
        items,
        later_items,
        lambda: EventStream(later_items()),
        lambda: send_file(__file__),
        lambda: send_file(io.BytesIO(b"x"), mimetype="text/plain"),
    ],
)
async def test_a_server_that_says_the_client_has_left_is_no_error_in_any_message(answer, fails_at, method, caplog):
    app = App(__name__)
    sent = []

    @app.get("/")
    async def view():
        return answer()

    async def send(message):
        sent.append(message)
        if len(sent) >= fails_at:
            raise OSError

    with anyio.fail_after(10):
        await app({**scope("2.4"), "method": method}, anyio.sleep_forever, send)

    assert len(sent) <= fails_at
    assert caplog.records == []


async def test_a_route_may_have_a_time_limit():
    app = App(__name__)

    @app.get("/", timeout=0.01)
    async def view():
        await anyio.sleep_forever()

    async with Client(app) as client:
        assert (await client.get("/")).status_code == 504


async def test_functions_after_a_request_see_the_answer_to_a_view_that_took_too_long():
    app = App(__name__)

    @app.get("/", timeout=0.01)
    async def view():
        await anyio.sleep_forever()

    @app.after_request
    def after(response):
        response.headers["x-seen"] = str(response.status_code)

    async with Client(app) as client:
        assert (await client.get("/")).headers["x-seen"] == "504"


def test_a_cookie_is_set_as_in_flask():
    response = Response()

    response.set_cookie("a", "1", 60, None, "/shop")
    response.delete_cookie(key="b", path="/shop")

    cookies = response.headers.getlist("set-cookie")
    assert cookies[0] == "a=1; Max-Age=60; Path=/shop"
    assert cookies[1].startswith("b=;")


def test_a_mimetype_of_text_brings_its_charset():
    response = Response("a,b", mimetype="text/csv")
    picture = Response(b"...", mimetype="image/png")

    assert response.content_type == "text/csv; charset=utf-8"
    assert picture.content_type == "image/png"


def test_a_content_type_counts_before_a_mimetype():
    assert Response("a,b", content_type="text/csv", mimetype="text/html").content_type == "text/csv"


def test_a_mimetype_can_be_set_later():
    response = Response("a,b")

    response.mimetype = "text/csv"

    assert (response.mimetype, response.headers["content-type"]) == ("text/csv", "text/csv; charset=utf-8")


def test_a_location_can_be_set_as_an_attribute():
    response = Response(status=302)

    response.location = "/caf\u00e9"

    assert response.location == response.headers["location"] == "/caf%C3%A9"


def test_a_header_is_taken_back_by_setting_its_attribute_to_none():
    response = Response(status=302)
    response.location = "/new"
    response.last_modified = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)

    response.location = None
    response.last_modified = None

    assert (response.location, response.last_modified) == (None, None)
    assert not {"location", "last-modified"} & set(response.headers)


def test_a_location_that_would_begin_a_new_line_is_refused():
    response = Response(status=302)

    with pytest.raises(ValueError, match="control character"):
        response.location = "/a\r\nset-cookie: b=c"


async def test_a_stream_without_a_content_type_is_possible():
    def returned():
        response = StreamingResponse(numbers())
        response.content_type = None
        return response

    response = await answer_to(returned)

    assert (response.text, "content-type" in response.headers) == ("0;1;2;", False)


async def test_a_stream_with_a_status_that_has_no_body_says_nothing_of_one():
    response = await answer_to(lambda: StreamingResponse(numbers(), 204))

    assert (response.status_code, response.content, "content-type" in response.headers) == (204, b"", False)


async def test_a_stream_has_no_body_yet_where_a_layer_looks():
    app = App(__name__)
    seen = []

    @app.get("/")
    async def view():
        yield "x"

    @app.after_request
    async def look(response):
        seen.append(response.body)

    assert ((await get(app)).text, seen) == ("x", [b""])


@pytest.mark.parametrize(
    ("version", "tells"),
    [
        ("2.0", False),
        ("2.3", False),
        ("2.4", True),
        ("2.5", True),
        ("2.10", True),
        ("2.4.dev", True),
        ("2.3.dev", False),
        ("3.0", True),
        ("1.9", False),
        ("", False),
    ],
)
def test_a_servers_version_says_whether_it_tells_of_clients_that_leave(version, tells):
    assert tells_of_leaving(Request(App(__name__), scope(version), anyio.sleep_forever)) is tells


def test_a_server_that_says_no_version_does_not_tell_of_clients_that_leave():
    assert not tells_of_leaving(Request(App(__name__), {"type": "http"}, anyio.sleep_forever))


async def test_a_stream_that_no_request_gets_can_be_closed_by_hand():
    closed = []

    def body():
        try:
            yield "x"
        finally:
            closed.append(True)

    chunks = body()
    next(chunks)
    await StreamingResponse(chunks).close()
    await StreamingResponse(["a list has nothing to close"]).close()

    assert closed == [True]


async def test_a_stream_takes_a_mimetype():
    response = await answer_to(lambda: StreamingResponse(iter(["a,b\n"]), mimetype="text/csv"))

    assert (response.text, response.headers["content-type"]) == ("a,b\n", "text/csv; charset=utf-8")


def test_a_response_of_a_generator_says_what_to_write_instead():
    with pytest.raises(TypeError, match="a StreamingResponse"):
        Response(part for part in ("a", "b"))


def test_redirect_takes_its_status_as_code():
    assert redirect("/new", code=301).status_code == 301


def test_jsonify_without_values_is_null():
    assert jsonify().body == b"null"


def scope(spec_version: str) -> dict:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": spec_version},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "headers": [(b"host", b"testserver")],
    }


@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
async def test_a_receive_that_gives_the_end_of_the_body_for_ever_keeps_no_stream_from_going_on(spec_version):
    app, sent = App(__name__), []

    @app.get("/")
    async def view():
        for chunk in ("a", "b", "c"):
            await anyio.wait_all_tasks_blocked()
            yield chunk

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message.get("body", b""))

    await app(scope(spec_version), receive, send)

    assert b"".join(sent) == b"abc"


async def test_a_hook_cannot_make_something_of_a_stream_that_is_not_there_yet():
    app = App(__name__)

    @app.get("/")
    async def view():
        yield "chunk"

    @app.after_request
    def shout(response):
        response.set_data(response.get_data(as_text=True).upper())

    async with Client(app, raise_errors=False) as client:
        assert (await client.get("/")).status_code == 500


def test_what_was_set_in_the_place_of_a_stream_can_be_read():
    response = StreamingResponse(iter(["chunk"]))

    response.data = "instead"

    assert (response.get_data(as_text=True), response.data) == ("instead", b"instead")
