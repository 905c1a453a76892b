"""What a view can know of its request, in coroutine code and in threads."""

import asyncio
import contextlib
import weakref
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote, unquote

import anyio
import pytest

from microweb import (
    App,
    Body,
    ClientDisconnect,
    EventStream,
    Form,
    Request,
    SetupError,
    StreamingResponse,
    SyncRequest,
    copy_current_context,
    jsonify,
    render_template_string,
    request,
)
from microweb.errors import RequestEntityTooLarge
from microweb.incoming import Authorization
from microweb.testing import Client

pytestmark = pytest.mark.anyio


async def see(look, path: str = "/", **options):
    """What ``look(request)`` gives in an async view, as JSON."""
    app = App(__name__)

    @app.route("/<path:rest>", methods=["GET", "POST"], defaults=None)
    async def view(rest, request: Request):
        return {"seen": look(request)}

    @app.route("/", methods=["GET", "POST"])
    async def root(request: Request):
        return {"seen": look(request)}

    async with Client(app, raise_errors=False) as client:
        response = await client.request(options.pop("method", "GET"), path, **options)
    return response.json()["seen"] if response.status_code == 200 else response.status_code


@pytest.mark.parametrize(
    ("look", "path", "options", "expected"),
    [
        (lambda r: r.method, "/", {"method": "POST"}, "POST"),
        (lambda r: r.path, "/a%20b/%C3%BC", {}, "/a b/ü"),
        (lambda r: r.url, "/a%20b?x=1", {}, "http://testserver/a%20b?x=1"),
        (lambda r: r.base_url, "/a?x=1", {}, "http://testserver/a"),
        (lambda r: r.args.get("n", type=int), "/?n=3&n=4", {}, 3),
        (lambda r: r.args.getlist("n"), "/?n=3&n=4", {}, ["3", "4"]),
        (lambda r: r.args["missing"], "/", {}, 400),
        (lambda r: r.headers["x-A"], "/", {"headers": {"X-a": "1"}}, "1"),
        (lambda r: r.cookies["a"], "/", {"headers": {"cookie": "a=1; b=2"}}, "1"),
        (lambda r: r.host, "/", {"headers": {"host": "Example.com:81"}}, "Example.com:81"),
        (lambda r: r.host, "/", {"headers": {"host": "evil.example/x"}}, 400),
        (lambda r: r.host, "/", {"headers": {"host": "a b"}}, 400),
        (lambda r: r.scheme, "/", {}, "http"),
        (lambda r: r.is_secure, "/", {}, False),
        (lambda r: r.root_path, "/", {}, ""),
        (lambda r: r.content_type, "/", {"headers": {"content-type": "text/plain; charset=x"}}, "text/plain; charset=x"),
        (lambda r: r.mimetype, "/", {"headers": {"content-type": "Text/Plain; charset=x"}}, "text/plain"),
        (lambda r: r.content_length, "/", {"method": "POST", "content": b"abc"}, 3),
        (lambda r: r.content_length, "/", {}, None),
        (lambda r: r.user_agent, "/", {"headers": {"user-agent": "me"}}, "me"),
        (lambda r: r.referrer, "/", {"headers": {"referer": "/x"}}, "/x"),
        (lambda r: r.remote_addr, "/", {}, "127.0.0.1"),
        (lambda r: r.client[0], "/", {}, "127.0.0.1"),
        (lambda r: r.http_version, "/", {}, "1.1"),
        (lambda r: r.endpoint, "/x", {}, "view"),
        (lambda r: r.blueprint, "/x", {}, None),
        (lambda r: r.route.rule, "/x", {}, "/<path:rest>"),
        (lambda r: r.view_args, "/x/y", {}, {"rest": "x/y"}),
        (lambda r: r.accept_languages.best(["de", "fr"], "en"), "/", {"headers": {"accept-language": "de;q=0.5, fr"}}, "fr"),
        (lambda r: r.accept_languages.best(["de", "fr"], "en"), "/", {"headers": {"accept-language": "it"}}, "en"),
        (lambda r: r.accept.best(["text/html", "application/json"]), "/", {"headers": {"accept": "application/*"}}, "application/json"),
        (lambda r: len(r.id), "/", {}, 32),
        (lambda r: r.query_string.decode(), "/?a=%20", {}, "a=%20"),
        (lambda r: repr(r), "/", {}, "<Request GET />"),
    ],
)  # fmt: skip
async def test_a_request_tells(look, path, options, expected):
    assert await see(look, path, **dict(options)) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Basic YWRhOmxvdmVsYWNl", ["basic", "ada", "lovelace", None]),
        ("Bearer abc", ["bearer", None, None, "abc"]),
        ("Basic !!!", None),
        ("Basic", None),
        ("Basic YWRh", None),
        ("", None),
    ],
)
async def test_credentials_are_parsed_or_none(header, expected):
    def look(request):
        found = request.authorization
        return found and [found.type, found.username, found.password, found.token]

    assert await see(look, headers={"authorization": header}) == expected


async def test_credentials_do_not_show_their_secret():
    assert "lovelace" not in await see(
        lambda r: repr(r.authorization), headers={"authorization": "Basic YWRhOmxvdmVsYWNl"}
    )


async def test_too_large_headers_are_a_431_when_looked_at():
    assert await see(lambda r: r.headers.get("x"), headers={"x-big": "x" * 9000}) == 431
    assert await see(lambda r: r.method, headers={"x-big": "x" * 9000}) == "GET"


async def test_too_many_query_parameters_are_a_400():
    assert await see(lambda r: len(r.args), "/?" + "&".join("a" for _ in range(1001))) == 400


def body_app(**route_options) -> App:
    app = App(__name__)

    @app.post("/body", **route_options)
    async def body(request: Request):
        return await request.body()

    @app.post("/json", **route_options)
    async def as_json(request: Request):
        return {"got": await request.json()}

    @app.post("/text")
    async def text(request: Request):
        return await request.text()

    @app.post("/stream", **route_options)
    async def stream(request: Request):
        return {"sizes": [len(chunk) async for chunk in request.stream()]}

    return app


async def post(app: App, path: str, content=b"", kind: str | None = "application/json", **headers):
    if kind is not None:
        headers["content-type"] = kind
    async with Client(app, raise_errors=False) as client:
        return await client.post(path, content=content, headers=headers)


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b'{"a": 1}', "application/json", 200),
        (b'{"a": 1}', "application/json; charset=utf-8", 200),
        (b'{"a": 1}', "application/vnd.api+json", 200),
        (b'{"a": 1}', "text/plain", 415),
        (b'{"a": 1}', None, 415),
        (b'{"a": 1', "application/json", 400),
        (b"", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'"\xed\xa0\x80"', "application/json", 400),
        (b"NaN", "application/json", 400),
        (b"1" * 5000, "application/json", 400),
    ],
)
async def test_json_is_read_or_refused_with_the_right_status(content, kind, status):
    assert (await post(body_app(), "/json", content, kind)).status_code == status


@pytest.mark.parametrize(
    ("content_type", "is_json"),
    [
        ("application/json", True),
        ("application/vnd.api+json; charset=utf-8", True),
        ("image/vnd.picture+json", False),
        ("text/plain", False),
    ],
)
async def test_a_coroutine_may_ask_whether_the_body_is_json(content_type, is_json):
    app = App(__name__)

    @app.post("/")
    async def view(request: Request):
        return {"is_json": request.is_json}

    async with Client(app) as client:
        response = await client.post("/", content=b"{}", headers={"content-type": content_type})

    assert response.json() == {"is_json": is_json}


async def test_json_can_be_forced_and_silenced_and_typed():
    app = App(__name__)

    @app.post("/")
    async def view(request: Request):
        return {
            "forced": await request.json(force=True, silent=True),
            "silent": await request.json(silent=True),
            "typed": await request.json(dict[str, int], force=True, silent=True),
        }

    answer = (await post(app, "/", b'{"a": 1}', "text/plain")).json()

    assert answer == {"forced": {"a": 1}, "silent": None, "typed": {"a": 1}}


@pytest.mark.parametrize(("depth", "status"), [(64, 200), (65, 400)])
async def test_json_is_read_as_deep_as_the_limit_says(depth, status):
    app = App(__name__)
    app.post("/")(read_json)
    app.post("/silent", endpoint="silent")(read_json_silently)

    body = b"[" * depth + b"]" * depth

    assert (await post(app, "/", body, "application/json")).status_code == status
    assert ((await post(app, "/silent", body, "application/json")).json() == ["nothing"]) == (status == 400)


async def test_json_read_as_a_dataclass_has_its_defaults():
    @dataclass
    class Point:
        x: int
        y: int = 2

    app = App(__name__)

    @app.post("/")
    async def view(request):
        return await request.json(Point)

    assert (await post(app, "/", b'{"x": 1}', "application/json")).json() == {"x": 1, "y": 2}


async def read_json(request):
    return await request.json()


@pytest.mark.parametrize("limit", [1, 2, 3, 9, 10, 64])
async def test_json_is_refused_from_one_level_beyond_the_limit_on_whatever_its_levels_are(limit):
    app = App(__name__, config={"JSON_MAX_DEPTH": limit})

    @app.post("/")
    async def read(request: Request):
        await request.json()
        return "read"

    async with app.test_client() as client:
        for levels, status in ((limit, 200), (limit + 1, 400)):
            for arrays in range(levels + 1):
                text = nest(arrays, levels - arrays)

                answer = await client.post("/", content=text, headers={"content-type": "application/json"})

                assert answer.status_code == status, text


def nest(arrays, objects):
    """The shortest text of so many levels."""
    inner = b'{"":' * (objects - 1) + b"{" + b"}" * objects if objects else b""
    return b"[" * arrays + inner + b"]" * arrays


async def read_json_silently(request):
    return await request.json(silent=True) or ["nothing"]


async def test_json_in_a_def_view_is_read_as_in_flask():
    app = App(__name__)

    @app.post("/")
    def view(request: SyncRequest):
        return {
            "forced": request.get_json(force=True, silent=True),
            "silent": request.get_json(silent=True),
            "kept": request.get_json(force=True) is request.get_json(force=True),
            "text": request.get_data(as_text=True),
        }

    answer = await post(app, "/", b'["a"]', "text/plain")

    assert answer.json() == {"forced": ["a"], "silent": None, "kept": True, "text": '["a"]'}


async def test_the_text_of_a_body_in_a_def_view_is_read_by_its_charset():
    app = App(__name__)

    @app.post("/")
    def view(request: SyncRequest):
        return request.get_data(as_text=True)

    assert (await post(app, "/", b"\xe4", "text/plain; charset=latin-1")).text == "\u00e4"


async def test_malformed_json_in_a_def_view_is_none_if_asked_and_an_error_else():
    app = App(__name__)

    @app.post("/")
    def view(request: SyncRequest):
        return jsonify(request.get_json(silent="silent" in request.args))

    assert (await post(app, "/?silent", b"{", "application/json")).json() is None
    assert (await post(app, "/", b"{", "application/json")).status_code == 400


async def test_the_body_is_read_once_and_kept():
    app = App(__name__)

    @app.before_request
    async def early(request: Request):
        await request.body()

    @app.post("/")
    async def view(request: Request):
        streamed = [chunk async for chunk in request.stream()]
        return {"body": (await request.body()).decode(), "json": await request.json(), "streamed": len(streamed)}

    assert (await post(app, "/", b"[1]")).json() == {"body": "[1]", "json": [1], "streamed": 1}


async def chunks(*parts: bytes):
    for part in parts:
        yield part


@pytest.mark.parametrize("path", ["/body", "/json", "/stream"])
async def test_the_limit_is_counted_on_the_stream(path):
    app = body_app()
    app.config["MAX_CONTENT_LENGTH"] = 10

    declared = await post(app, path, b"1" * 11)
    chunked = await post(app, path, chunks(b"123456", b"123456"))

    assert (declared.status_code, chunked.status_code) == (413, 413)
    assert "MAX_CONTENT_LENGTH" in declared.text


@pytest.mark.parametrize("first", ["json", "stream"])
async def test_a_body_that_is_declared_too_large_is_refused_to_each_who_reads_it(first):
    app = App(__name__)
    app.config["MAX_CONTENT_LENGTH"] = 10

    @app.before_request
    async def look(request: Request):
        with pytest.raises(RequestEntityTooLarge):
            await (request.json() if first == "json" else anext(request.stream()))

    @app.post("/")
    async def view(request: Request):
        return await request.body()

    assert (await post(app, "/", b"1" * 10000)).status_code == 413


async def test_a_body_that_came_out_too_large_is_refused_to_who_would_stream_it():
    app = App(__name__)
    app.config["MAX_CONTENT_LENGTH"] = 10

    @app.before_request
    async def look(request: Request):
        with pytest.raises(RequestEntityTooLarge):
            await request.json()

    @app.post("/")
    async def view(request: Request):
        return [len(chunk) async for chunk in request.stream()]

    assert (await post(app, "/", chunks(b"123456", b"123456"))).status_code == 413


async def test_a_route_may_have_a_limit_of_its_own():
    assert (await post(body_app(max_content_length=4), "/body", b"12345")).status_code == 413
    assert (await post(body_app(max_content_length=5), "/body", b"12345")).status_code == 200


@pytest.mark.parametrize("path", ["/body", "/json", "/stream"])
async def test_a_route_may_have_no_limit(path):
    app = body_app(max_content_length=None)
    app.config["MAX_CONTENT_LENGTH"] = 3

    assert (await post(app, path, b"1" * 8)).status_code == 200
    assert (await post(app, path, chunks(b"1234", b"5678"))).status_code == 200


async def test_a_route_that_says_nothing_has_the_limit_of_the_app():
    app = body_app()
    app.config["MAX_CONTENT_LENGTH"] = 3

    assert (await post(app, "/body", b"1234")).status_code == 413


async def test_a_limit_of_a_route_that_is_no_number_is_an_error_at_the_start():
    with pytest.raises(SetupError, match="max_content_length.*test_requests.py"):
        await post(body_app(max_content_length="16MB"), "/body", b"")


async def test_a_view_may_change_the_limit_before_it_reads():
    app = App(__name__)

    @app.post("/")
    async def view(request: Request):
        request.max_content_length = 3
        assert request.max_content_length == 3
        return await request.body()

    assert (await post(app, "/", b"1234")).status_code == 413


async def test_a_body_refused_once_is_refused_again_with_the_same_status():
    app = App(__name__)

    @app.post("/")
    async def view(request: Request):
        try:
            await request.body()
        except Exception:
            return await request.body()

    app.config["MAX_CONTENT_LENGTH"] = 3

    assert (await post(app, "/", chunks(b"12", b"34"))).status_code == 413


async def test_a_content_length_that_is_no_number_is_a_400():
    app = body_app()
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    await app(scope("/body", [(b"content-length", b"12345x")]), receive, send)

    assert sent[0]["status"] == 400


async def test_text_is_decoded_by_its_charset():
    app = body_app()

    assert (await post(app, "/text", "ü".encode(), None)).text == "ü"
    assert (await post(app, "/text", "ü".encode("latin-1"), "text/plain; charset=latin-1")).text == "ü"
    assert (await post(app, "/text", b"\xff", None)).status_code == 400
    assert (await post(app, "/text", b"x", "text/plain; charset=no-such")).status_code == 400
    assert (await post(app, "/text", b"\xe4", "text/plain; charset=ISO-8859-1")).text == "ä"
    for charset in ("punycode", "utf-7", "rot13", "unicode_escape"):
        assert (await post(app, "/text", b"x", f"text/plain; charset={charset}")).status_code == 400


@pytest.mark.parametrize(("content_type", "came"), [("text/plain", "text/plain"), (None, "no Content-Type")])
async def test_a_body_that_should_be_json_is_refused_with_what_came(content_type, came):
    app = App(__name__)
    app.post("/")(read_json)

    response = await post(app, "/", b"[1]", content_type)

    assert response.status_code == 415
    assert f"got {came}." in response.text


async def test_a_stream_arrives_chunk_by_chunk():
    assert (await post(body_app(), "/stream", chunks(b"12", b"", b"345"))).json() == {"sizes": [2, 3]}


async def test_a_body_taken_as_a_stream_cannot_be_read_again():
    app = App(__name__)

    @app.post("/")
    async def view(request: Request):
        async for _ in request.stream():
            pass
        with pytest.raises(RuntimeError, match=r"request.stream\(\).*body\(\)"):
            await request.body()
        with pytest.raises(RuntimeError, match=r"request.stream\(\).*text\(\)"):
            await request.text()
        with pytest.raises(RuntimeError, match=r"request.stream\(\).*json\(\)"):
            await request.json(force=True)
        with pytest.raises(RuntimeError, match=r"already taken by request.stream\(\), so request.stream\(\)"):
            request.stream()
        return "told"

    assert (await post(app, "/", b"x")).text == "told"


async def test_a_stream_that_is_left_half_way_is_closed_with_its_request():
    app = App(__name__)
    kept = []

    @app.post("/")
    async def view(request: Request):
        kept.append(request.stream())
        return await anext(kept[0])

    assert (await post(app, "/", chunks(b"12", b"345"))).content == b"12"
    with pytest.raises(StopAsyncIteration):
        await anext(kept[0])


@pytest.mark.parametrize("read", ["body", "text", "json"])
async def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_asked_for(read):
    app = App(__name__, config={"MAX_CONTENT_LENGTH": 10_000})
    statuses = []

    @app.post("/")
    async def view(request: Request):
        return await getattr(request, read)()

    async def receive():
        raise AssertionError("nobody should ask")

    async def send(message):
        statuses.append(message.get("status"))

    headers = [(b"content-type", b"application/json"), (b"content-length", b"10001")]
    await app({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive, send)

    assert statuses[0] == 413


async def test_json_is_read_within_the_limits_of_its_route():
    app = App(__name__)
    app.post("/short", max_content_length=5, endpoint="short")(read_json)
    app.post("/flat", json_max_depth=1, endpoint="flat")(read_json)

    assert (await post(app, "/short", b"[1,2]", "application/json")).status_code == 200
    assert (await post(app, "/short", b"[1,23]", "application/json")).status_code == 413
    assert (await post(app, "/flat", b"[1]", "application/json")).status_code == 200
    assert (await post(app, "/flat", b"[[1]]", "application/json")).status_code == 400


async def test_two_tasks_that_read_the_body_get_the_same():
    app = App(__name__)

    @app.post("/")
    async def view(request: Request):
        bodies = []

        async def read():
            bodies.append(await request.body())

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            group.start_soon(read)
        return {"same": bodies == [b"12"] * 2}

    assert (await post(app, "/", chunks(b"1", b"2"))).json() == {"same": True}


async def test_a_client_that_leaves_while_reading_is_no_error(caplog):
    app = App(__name__)
    seen = []

    @app.post("/")
    async def view(request: Request):
        try:
            await request.body()
        except ClientDisconnect as error:
            seen.append(str(error))
            raise

    @app.after_request
    async def after(response):
        seen.append(response.status_code)

    @app.teardown_request
    async def teardown(error):
        seen.append(type(error))

    sent = await leave_inside_the_body(app)

    assert seen == ["the client left before the end of its request", 499, ClientDisconnect]
    assert (sent, caplog.records) == ([], [])


async def leave_inside_the_body(app, path="/"):
    """Send half of a form and go; gives what the app sent."""
    messages = [{"type": "http.request", "body": b"name=1", "more_body": True}, {"type": "http.disconnect"}]
    sent = []

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message)

    kind = (b"content-type", b"application/x-www-form-urlencoded")
    await app(scope(path) | {"method": "POST", "headers": [kind]}, receive, send)
    return sent


def app_that_is_left():
    """An app of many readers, and the types of the errors that its teardown hooks and observers are told."""
    app, inner, told = App(__name__), App("inner"), []

    @app.teardown_request
    def commit_or_not(error):
        told.append(type(error))

    @app.on("context_torn_down")
    async def observe(error, **_):
        told.append(type(error))

    @app.post("/body")
    @inner.post("/")
    async def body(request: Request):
        await request.body()

    @app.post("/json")
    async def json(request: Request):
        await request.json(force=True)

    @app.post("/form")
    async def form(request: Request):
        await request.form()

    @app.post("/stream")
    async def stream(request: Request):
        async for _ in request.stream():
            pass

    @app.post("/answered-in-pieces")
    async def echo(request: Request):
        async def pieces():
            async for chunk in request.stream():
                yield chunk

        return pieces()

    @app.post("/bound")
    async def bound(name: Annotated[int, Form()]):
        return "never"

    @app.post("/threaded")
    def threaded(request: SyncRequest):
        return request.form["name"]

    @app.errorhandler(KeyError)
    async def read_then_answer(error, request: Request):
        return await request.body()

    @app.post("/handler")
    async def broken():
        raise KeyError("name")

    app.mount("/own", inner)
    app.mount("/bubble", inner, errors="bubble")
    return app, told


@pytest.mark.parametrize(
    "path",
    [
        "/body",
        "/json",
        "/form",
        "/stream",
        "/answered-in-pieces",
        "/bound",
        "/threaded",
        "/handler",
        "/own/",
        "/bubble/",
    ],
)
async def test_teardown_is_told_that_the_client_left_inside_its_body(path, caplog):
    app, told = app_that_is_left()

    sent = await leave_inside_the_body(app, path)

    assert told == [ClientDisconnect, ClientDisconnect]
    assert [message for message in sent if message.get("status", 200) != 200] == []
    assert caplog.records == []


@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
@pytest.mark.parametrize("wrap", [StreamingResponse, EventStream])
async def test_teardown_is_told_that_the_client_left_while_an_answer_waited_for_its_body(wrap, spec_version):
    app, told = app_that_is_left()
    waits = anyio.Event()

    @app.post("/")
    async def copy(request: Request):
        return wrap(chunk.decode() async for chunk in request.stream())

    async def pause(message):
        await anyio.lowlevel.checkpoint()

    async def receive():
        if not waits.is_set():
            waits.set()
            return {"type": "http.request", "body": b"half", "more_body": True}
        await anyio.wait_all_tasks_blocked()
        return {"type": "http.disconnect"}

    asgi = {"version": "3.0", "spec_version": spec_version}
    await app(scope("/") | {"asgi": asgi}, receive, pause)

    assert told == [ClientDisconnect, ClientDisconnect]


@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
@pytest.mark.parametrize("wrap", [StreamingResponse, EventStream])
async def test_teardown_is_told_that_the_client_left_before_the_first_byte_of_a_body(wrap, spec_version):
    app, told = app_that_is_left()
    asked = anyio.Event()

    @app.post("/")
    async def copy(request: Request):
        async def pieces():
            yield "before"
            asked.set()
            yield (await request.body()).decode()

        return wrap(pieces())

    async def pause(message):
        await anyio.lowlevel.checkpoint()

    async def receive():
        await asked.wait()
        await anyio.wait_all_tasks_blocked()
        return {"type": "http.disconnect"}

    asgi = {"version": "3.0", "spec_version": spec_version}
    await app(scope("/") | {"asgi": asgi}, receive, pause)

    assert told == [ClientDisconnect, ClientDisconnect]


@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
async def test_a_view_that_has_read_its_body_has_ended_well_though_the_client_leaves_its_answer(spec_version):
    app, told = app_that_is_left()

    @app.post("/")
    async def answer(request: Request):
        await request.body()
        return StreamingResponse(forever())

    async def forever():
        while True:
            yield "more"
            await anyio.lowlevel.checkpoint()

    messages = [{"type": "http.request", "body": b"whole"}, {"type": "http.disconnect"}]

    async def receive():
        return messages.pop(0)

    async def send(message):
        if message.get("body") and not messages:
            raise OSError("gone")
        if message.get("body") and spec_version == "2.4":
            messages.clear()

    asgi = {"version": "3.0", "spec_version": spec_version}
    await app(scope("/") | {"asgi": asgi}, receive, send)

    assert told == [type(None)] * 2


async def test_an_error_that_is_unhandled_is_told_and_logged_though_the_client_leaves_its_handler(caplog):
    app, told = app_that_is_left()
    observed = []

    @app.post("/")
    async def mistaken():
        raise ValueError("broken")

    @app.errorhandler(500)
    async def read_then_answer(error, request: Request):
        return await request.body()

    app.on("exception")(lambda error, **_: observed.append(type(error)))
    sent = await leave_inside_the_body(app)

    assert (told, observed, sent, len(caplog.records)) == ([ValueError, ValueError], [ValueError], [], 1)


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_view_that_catches_the_end_of_a_body_has_ended_well(kind):
    app, told = app_that_is_left()

    @app.post("/async")
    async def forgive(request: Request):
        with contextlib.suppress(ClientDisconnect):
            await request.body()
        return "kept"

    @app.post("/sync")
    def forgive_in_thread(request: SyncRequest):
        with contextlib.suppress(ClientDisconnect):
            return request.data
        return "kept"

    sent = await leave_inside_the_body(app, f"/{kind}")

    assert (told, sent[1]["body"]) == ([type(None)] * 2, b"kept")


async def test_a_body_that_stands_still_is_a_408():
    app = body_app()
    app.config["BODY_TIMEOUT"] = 0.01

    for path in ("/body", "/stream"):
        sent = []
        messages = [{"type": "http.request", "body": b"1", "more_body": True}]

        async def receive(messages=messages):
            if messages:
                return messages.pop()
            await anyio.sleep_forever()

        async def send(message, sent=sent):
            sent.append(message)

        await app(scope(path), receive, send)
        assert sent[0]["status"] == 408


async def test_the_first_message_may_be_slow_too():
    app = body_app()
    app.config["BODY_TIMEOUT"] = 0.01
    sent = []

    async def send(message):
        sent.append(message)

    await app(scope("/body"), anyio.sleep_forever, send)

    assert sent[0]["status"] == 408


@pytest.mark.parametrize("path", ["/body", "/json", "/stream"])
async def test_a_receive_may_wait_inside_a_scope_of_its_own(path):
    app, sent = body_app(), []

    # As Starlette's BaseHTTPMiddleware does.
    async def receive():
        async with anyio.create_task_group():
            await anyio.lowlevel.checkpoint()
        return {"type": "http.request", "body": b"1"}

    async def send(message):
        sent.append(message)

    await app(scope(path, [(b"content-type", b"application/json")]), receive, send)

    assert sent[0]["status"] == 200


@pytest.mark.parametrize("path", ["/body", "/json", "/text", "/stream"])
@pytest.mark.parametrize("kind", [bytearray, memoryview])
async def test_a_body_may_come_in_anything_that_gives_bytes(kind, path):
    app, bodies = body_app(), []

    async def ask(*chunks):
        messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
        messages[-1]["more_body"] = False

        async def receive():
            return messages.pop(0)

        async def send(message):
            bodies.append(message.get("body"))

        await app(scope(path, [(b"content-type", b"application/json")]), receive, send)

    await ask(b"123")
    await ask(kind(b"123"))
    await ask(b"1", b"23")
    await ask(kind(b"1"), kind(b"23"))

    assert bodies[1] == bodies[3]
    assert bodies[5] == bodies[7]


async def test_a_stalled_body_is_given_up_while_somebody_waits_for_the_disconnect():
    app = App(__name__, config={"BODY_TIMEOUT": 0.01})
    sent = []

    @app.post("/", cancel_on_disconnect=True)
    async def view(request: Request):
        await anyio.wait_all_tasks_blocked()
        await request.body()

    async def send(message):
        sent.append(message)

    with anyio.fail_after(10):
        await app(scope("/"), anyio.sleep_forever, send)

    assert sent[0]["status"] == 408


async def test_is_disconnected_loses_nothing_where_a_receive_that_is_given_up_does():
    app = App(__name__)
    messages = [{"type": "http.request", "body": b"1", "more_body": True}, {"type": "http.request", "body": b"2"}]
    seen = []

    async def receive():
        if not messages:
            await anyio.sleep_forever()
        message = messages.pop(0)
        await anyio.lowlevel.checkpoint()
        return message

    @app.post("/")
    async def view(request: Request):
        seen.append(await request.is_disconnected())
        seen.append(await request.body())
        seen.append(await request.is_disconnected())
        return ""

    async def send(message):
        pass

    with anyio.fail_after(10):
        await app(scope("/"), receive, send)

    assert seen == [False, b"12", False]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("reads", ["body", "json", "typed", "stream", "timed"])
async def test_a_read_that_is_cancelled_keeps_nothing_of_a_server_that_gives_futures(anyio_backend, reads):
    app, given = App(__name__, config={"BODY_TIMEOUT": 30 if reads == "timed" else None}), []

    @app.post("/typed")
    async def typed(data: Annotated[dict, Body()]):
        return data

    @app.post("/<how>")
    async def view(how, request: Request):
        if how == "stream":
            return [chunk async for chunk in request.stream()]
        return await (request.json() if how == "json" else request.body())

    def receive():
        future = asyncio.get_running_loop().create_future()
        given.append(weakref.ref(future))
        return future

    headers = [(b"content-type", b"application/json")]
    task = asyncio.create_task(app(scope(f"/{reads}", headers), receive, None))
    while not given:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert given[0]() is None, caught.value  # Which holds all frames that were waiting.


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("reads", ["body", "json", "stream"])
async def test_a_body_that_was_waited_for_is_not_kept_by_its_timer(anyio_backend, reads):
    class Referred(Request):
        """One that may be referred to weakly."""

    app, seen = App(__name__, static_folder=None, request_class=Referred), []

    @app.post("/<how>")
    async def view(how, request: Request):
        seen.append(weakref.ref(request))
        if how == "stream":
            return [chunk.decode() async for chunk in request.stream()]
        return await (request.json() if how == "json" else request.body())

    async def receive():
        await asyncio.sleep(0)
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message):
        pass

    await app(scope(f"/{reads}", [(b"content-type", b"application/json")]), receive, send)

    assert seen[0]() is None


async def test_is_disconnected_looks_behind_the_last_of_a_body_that_nobody_has_read():
    app = App(__name__)
    messages = [{"type": "http.request", "body": b"1"}, {"type": "http.disconnect"}]
    seen = []

    async def receive():
        await anyio.lowlevel.checkpoint()
        return messages.pop(0)

    @app.post("/")
    async def view(request: Request):
        seen.append(await request.is_disconnected())
        return ""

    async def send(message):
        pass

    await app(scope("/"), receive, send)

    assert seen == [True]


async def test_what_begins_to_look_for_the_client_in_a_teardown_ends_with_it():
    app = App(__name__)
    ended = anyio.Event()

    async def receive():
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    @app.get("/")
    async def view():
        return ""

    @app.teardown_request
    async def look(error, request):
        await request.is_disconnected()

    async def send(message):
        pass

    await app(scope("/"), receive, send)

    assert ended.is_set()


async def test_is_disconnected_asks_nobody_once_the_request_is_over():
    app = App(__name__)
    kept, asked = [], []

    @app.post("/")
    async def view(request: Request):
        kept.append(request)
        return "x"

    async def receive():
        asked.append(True)
        await anyio.sleep_forever()

    async def send(message):
        pass

    await app(scope("/"), receive, send)

    assert not await kept[0].is_disconnected()
    assert not asked


async def test_is_disconnected_asks_without_waiting_and_loses_nothing():
    app = App(__name__)
    gone = anyio.Event()
    messages = [{"type": "http.request", "body": b"12", "more_body": False}]
    seen = []

    async def receive():
        if messages:
            return messages.pop()
        if not gone.is_set():
            await gone.wait()
        return {"type": "http.disconnect"}

    @app.post("/")
    async def view(request: Request):
        seen.append(await request.is_disconnected())
        seen.append(await request.body())
        seen.append(await request.is_disconnected())
        gone.set()
        seen.append(await request.is_disconnected())
        return ""

    async def send(message):
        pass

    await app(scope("/"), receive, send)

    assert seen == [False, b"12", False, True]


async def test_a_def_view_sees_flasks_attributes():
    app = App(__name__)

    @app.post("/<int:number>")
    def view(number: int, request: SyncRequest):
        return {
            "json": request.json,
            "again": request.get_json(),
            "data": request.data.decode(),
            "text": request.get_data(as_text=True),
            "as in Flask": [request.get_data(False, True), request.get_json(cache=False)],
            "is_json": request.is_json,
            "args": request.args["q"],
            "method": request.method,
            "view_args": request.view_args,
        }

    assert (await post(app, "/7?q=x", chunks(b"[1,", b"2]"))).json() == {
        "json": [1, 2],
        "again": [1, 2],
        "data": "[1,2]",
        "text": "[1,2]",
        "as in Flask": ["[1,2]", [1, 2]],
        "is_json": True,
        "args": "x",
        "method": "POST",
        "view_args": {"number": 7},
    }


@pytest.mark.parametrize(("content", "kind", "status"), [(b"{", "application/json", 400), (b"{}", "text/plain", 415)])
async def test_a_def_view_gets_the_same_errors(content, kind, status):
    app = App(__name__)

    @app.post("/")
    def view():
        return {"silent": request.get_json(silent=True), "loud": request.json}

    assert (await post(app, "/", content, kind)).status_code == status


async def test_the_proxy_in_a_def_view_is_the_sync_face_and_shares_its_state():
    app = App(__name__)

    @app.before_request
    async def early(request: Request):
        request.note = "kept"

    @app.post("/")
    def view():
        return f"{type(request._get_current_object()).__name__} {request.note} {isinstance(request, SyncRequest)}"

    assert (await post(app, "/")).text == "SyncRequest kept True"


async def test_the_sync_face_on_the_loop_says_what_to_await():
    app = App(__name__)

    @app.post("/")
    async def view(request: Request):
        face = SyncRequest.of(request)
        with pytest.raises(RuntimeError, match=r"await request.body\(\)"):
            face.data  # noqa: B018 - the touch raises
        await request.body()
        return face.data

    assert (await post(app, "/", b"x")).text == "x"


async def test_a_request_class_of_ones_own_is_used():
    class Mine(Request):
        @property
        def shout(self) -> str:
            return self.path.upper()

    app = App(__name__, request_class=Mine)

    @app.get("/quiet")
    async def view(request: Mine):
        return request.shout

    async with Client(app) as client:
        assert (await client.get("/quiet")).text == "/QUIET"


async def test_def_views_and_templates_have_what_a_request_class_of_ones_own_adds():
    class Mine(Request):
        @property
        def shout(self) -> str:
            return super().path.upper()

    app = App(__name__, request_class=Mine)

    @app.post("/quiet")
    def view(face: Mine):
        copied = copy_current_context(lambda: request.shout)
        return [face.shout, face.json, request.shout, copied(), isinstance(face, SyncRequest)]

    @app.get("/template")
    async def template():
        return render_template_string("{{ request.shout }}")

    async with Client(app) as client:
        assert (await client.post("/quiet", json=1)).json() == ["/QUIET", 1, "/QUIET", "/QUIET", True]
        assert (await client.get("/template")).text == "/TEMPLATE"


async def test_a_request_class_of_ones_own_gets_one_face_for_all_requests():
    class Mine(Request):
        pass

    app = App(__name__, request_class=Mine)
    faces = set()

    @app.get("/")
    def view(face: Mine):
        faces.add(type(face))

    async with Client(app, raise_errors=False) as client:
        for _ in range(2):
            await client.get("/")

    assert [face.__name__ for face in faces] == ["SyncMine"]


@pytest.mark.parametrize("name", ["body", "is_disconnected", "parts", "stream", "text"])
async def test_def_code_has_nothing_to_await_whatever_the_request_class(name):
    class Mine(Request):
        pass

    app = App(__name__, request_class=Mine)

    @app.get("/")
    def view(request):
        return [hasattr(request, name)]

    async with Client(app) as client:
        assert (await client.get("/")).json() == [False]


async def test_full_path_is_the_path_with_its_query():
    assert await see(lambda request: request.full_path, "/books?page=2") == "/books?page=2"
    assert await see(lambda request: request.full_path, "/books") == "/books?"


def test_a_query_that_a_server_leaves_on_the_raw_path_is_in_the_url_once():
    scope = {
        "type": "http",
        "path": "/a b",
        "raw_path": b"/a%20b?q=1",
        "query_string": b"q=1",
        "headers": [(b"host", b"example.org")],
    }

    assert Request(App(__name__), scope, None).url == "http://example.org/a%20b?q=1"


@pytest.mark.parametrize(
    ("raw_path", "query", "url"),
    [
        (b"/admin#x", b"", "/admin%23x"),
        (b"/caf\xc3\xa9", b"q=\xc3\xa9", "/caf%C3%A9?q=%C3%A9"),
        (b"/a%2Fb", b"a#b", "/a%2Fb?a%23b"),
    ],
)
def test_the_url_has_the_path_that_the_router_saw(raw_path, query, url):
    scope = {
        "type": "http",
        "path": unquote(raw_path.decode()),
        "raw_path": raw_path,
        "query_string": query,
        "headers": [(b"host", b"example.org")],
    }

    request = Request(App(__name__), scope, None)

    assert request.url == f"http://example.org{url}"
    assert unquote(request.url.path) == request.path
    assert request.url.fragment == ""


@pytest.mark.parametrize("path", ["/admin", "/caf\u00e9 1"])
async def test_the_url_follows_a_path_that_was_rewritten_on_the_way(path):
    app = App(__name__)

    @app.get(path)
    async def view(request: Request):
        return request.url

    async def without_language(scope, receive, send):
        await app({**scope, "path": path}, receive, send)

    async with Client(without_language) as client:
        url = (await client.get(f"/en{path}")).text

    assert url == "http://testserver" + quote(path)


@pytest.mark.parametrize(
    ("path", "raw_path", "url"),
    [
        ("/shop/a/b", b"/shop/a%2Fb", "/shop/a%2Fb"),  # as uvicorn has it
        ("/a/b", b"/a%2Fb", "/shop/a%2Fb"),  # hypercorn and granian, behind a proxy that cuts the root off
        ("/a/b", b"/shop/a%2Fb", "/shop/a%2Fb"),  # who cuts it off the path alone
        ("/shops", None, "/shop/shops"),
        ("/shop", None, "/shop"),
        ("", b"", "/shop"),
    ],
)
def test_the_url_begins_with_the_root_path_wherever_a_server_puts_it(path, raw_path, url):
    scope = {"type": "http", "path": path, "raw_path": raw_path, "root_path": "/shop", "headers": []}

    assert Request(App(__name__), scope, None).url == f"http://localhost{url}"


def test_an_empty_host_header_names_nobody():
    scope = {"type": "http", "path": "/a", "headers": [(b"host", b"")], "server": ("127.0.0.1", 8000)}

    assert Request(App(__name__), scope, None).url == "http://127.0.0.1:8000/a"


@pytest.mark.parametrize(
    ("server", "host"),
    [
        (("::1", 8000), "[::1]:8000"),
        (("::1", 80), "[::1]"),
        (("shop", None), "shop"),
        (["/run/app.sock", None], "localhost"),
    ],
)
def test_without_a_host_header_the_servers_own_address_is_the_host(server, host):
    request = Request(App(__name__), {"type": "http", "path": "/a", "headers": [], "server": server}, None)

    assert (request.host, request.url) == (host, f"http://{host}/a")
    assert request.url.host == host.partition("]")[0].removeprefix("[")


async def test_host_url_ends_after_the_host():
    assert await see(lambda request: request.host_url, "/books?page=2") == "http://testserver/"


async def test_url_root_is_where_the_app_is_served():
    app = App(__name__)

    @app.get("/")
    async def view(request: Request):
        return [request.url_root, request.host_url]

    async with Client(app, root_path="/shop") as client:
        assert (await client.get("/")).json() == ["http://testserver/shop/", "http://testserver/"]


def scope(path: str, headers=()) -> dict:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"testserver"), *headers],
    }


async def test_a_class_derived_from_app_may_set_the_request_class():
    class Mine(Request):
        shout = "hey"

    class Shop(App):
        request_class = Mine

    app = Shop(__name__)
    app.get("/")(lambda request: request.shout)

    async with Client(app) as client:
        assert (await client.get("/")).text == "hey"


async def test_a_multipart_form_leaves_nothing_of_the_body_as_in_flask():
    app = App(__name__)

    @app.post("/")
    def view(request):
        return [request.form["a"], request.get_data(as_text=True), request.get_json(force=True, silent=True)]

    async with Client(app) as client:
        assert (await client.post("/", files={"a": (None, "1")})).json() == ["1", "", None]
        assert (await client.post("/", data={"a": "1"})).json() == ["1", "a=1", None]


@pytest.mark.parametrize("header", ["Basic YWRhOmxvdmVsYWNl", " basic   YWRhOmxvdmVsYWNl ", "BASIC YWRhOmxvdmVsYWNl"])
def test_credentials_may_be_written_with_more_space_and_in_any_case(header):
    found = Authorization.parse(header)

    assert found is not None
    assert (found.type, found.username, found.password) == ("basic", "ada", "lovelace")


@pytest.mark.parametrize(
    "header",
    ["", " ", "Basic", "Bearer ", "Basic YWRh*OmxvdmVsYWNl", "Basic YWRh", "Basic /w==", "Basic YWRhOmxvdmVsYWN"],
)
def test_malformed_credentials_are_none(header):
    assert Authorization.parse(header) is None


@pytest.mark.parametrize(
    ("scope", "version", "path"),
    [({"path": "/a", "http_version": "2"}, "2", "/a"), ({"path": ""}, "1.1", "/")],
)
def test_what_a_server_leaves_out_has_a_default(scope, version, path):
    request = Request(App(__name__), {"type": "http", "method": "GET", "headers": [], **scope}, anyio.sleep_forever)

    assert (request.http_version, request.path) == (version, path)


@pytest.mark.parametrize(("root", "shown"), [("/shop", "/shop"), ("/shop/", "/shop"), ("/", ""), ("", "")])
def test_a_root_path_has_no_slash_at_its_end(root, shown):
    scope = {"type": "http", "method": "GET", "path": "/", "root_path": root, "headers": []}

    assert Request(App(__name__), scope, anyio.sleep_forever).root_path == shown
