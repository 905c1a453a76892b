"""Apps inside apps: microweb in microweb, foreign apps in microweb, microweb in others."""

import asyncio
import gc
import gzip
import logging
from contextvars import copy_context

import anyio
import httpx
import pytest

from microweb import (
    App,
    FileResponse,
    Request,
    Router,
    SetupError,
    SyncRequest,
    after_this_request,
    current_app,
    g,
    request,
    session,
    url_for,
)
from microweb.middleware import CORS, Timeout
from microweb.testing import ASGITransport, Client

pytestmark = pytest.mark.anyio


async def get(app, path: str = "/", **options):
    async with Client(app, raise_errors=False) as client:
        return await client.get(path, **options)


async def echo_scope(scope, receive, send):
    """A foreign app that says where it stands."""
    assert scope["type"] == "http"
    body = f"{scope['root_path']}|{scope['path']}|{scope['raw_path'].decode()}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-foreign", b"1"), (b"vary", b"a")]})
    await send({"type": "http.response.body", "body": body})


async def test_a_mounted_app_sees_its_own_root_path_and_request():
    inner, outer = App("inner"), App("outer")

    @inner.get("/where/<name>")
    async def where(name, request: Request):
        return {"root": request.root_path, "path": request.path, "name": name, "app": current_app is not outer}

    outer.mount("/inner", inner)

    assert (await get(outer, "/inner/where/x")).json() == {
        "root": "/inner",
        "path": "/where/x",
        "name": "x",
        "app": True,
    }


@pytest.mark.parametrize("path", ["/inner", "/inner/"])
async def test_a_mounted_app_answers_at_its_prefix_with_and_without_the_slash(path):
    inner, outer = App("inner"), App("outer")

    @inner.get("/")
    async def home(request: Request):
        return request.path

    outer.mount("/inner", inner)

    assert (await get(outer, path)).text == "/"


async def test_the_outer_middleware_sees_a_real_response_of_the_inner_app():
    inner, outer = App("inner"), App("outer")
    statuses = []

    @outer.middleware
    async def look(request, call_next):
        response = await call_next(request)
        statuses.append((response.status_code, response.body))
        return response

    @inner.get("/")
    def home():
        return "inner", 201

    outer.mount("/inner", inner)
    await get(outer, "/inner/")

    assert statuses == [(201, b"inner")]


async def test_hooks_and_teardown_of_the_inner_app_run_with_its_own_context():
    inner, outer = App("inner"), App("outer")
    events = []

    @outer.before_request
    async def outer_before():
        g.name = "outer"

    @inner.before_request
    async def inner_before():
        events.append("name" in g)
        g.name = "inner"

    @inner.get("/")
    async def home():
        async def body():
            yield g.name
            yield request.root_path

        return body()

    @inner.teardown_request
    async def inner_teardown(error):
        events.append(f"inner teardown {g.name}")

    @outer.teardown_request
    async def outer_teardown(error):
        events.append(f"outer teardown {g.name}")

    outer.mount("/inner", inner)

    assert (await get(outer, "/inner/")).text == "inner/inner"
    assert events == [False, "inner teardown inner", "outer teardown outer"]


async def test_a_body_read_outside_is_there_inside():
    inner, outer = App("inner"), App("outer")

    @outer.before_request
    async def read(request: Request):
        assert await request.body() == b"body"

    @inner.post("/")
    async def echo(request: Request):
        return await request.body()

    async def foreign(scope, receive, send):
        message = await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": message["body"]})

    outer.mount("/inner", inner)
    outer.mount("/foreign", foreign)

    async with Client(outer) as client:
        assert (await client.post("/inner/", content=b"body")).content == b"body"
        assert (await client.post("/foreign/", content=b"body")).content == b"body"


@pytest.mark.parametrize(("path", "status"), [("/inner/small", 413), ("/inner/large", 200), ("/outer", 413)])
async def test_the_body_limit_of_a_mounted_app_holds_in_it(path, status):
    inner = App("inner", config={"MAX_CONTENT_LENGTH": 3})
    outer = App("outer", config={"MAX_CONTENT_LENGTH": 4})

    async def read(request):
        return await request.body()

    inner.post("/small")(read)
    inner.post("/large", max_content_length=5)(read)
    outer.post("/outer")(read)
    outer.mount("/inner", inner)

    async with Client(outer) as client:
        assert (await client.post(path, content=b"12345")).status_code == status


async def test_a_config_write_is_seen_by_the_next_request_in_a_mounted_app_too():
    inner, outer = App("inner"), App("outer")

    @inner.post("/")
    async def read(request):
        return await request.body()

    outer.mount("/inner", inner)

    async with Client(outer) as client:
        before = await client.post("/inner/", content=b"12345")
        inner.config["MAX_CONTENT_LENGTH"] = 3
        after = await client.post("/inner/", content=b"12345")

    assert (before.status_code, after.status_code) == (200, 413)


@pytest.mark.parametrize("is_def", [True, False])
async def test_a_multipart_form_that_was_read_outside_is_there_inside(is_def):
    inner, outer = App("inner"), App("outer")

    @outer.before_request
    async def look(request: Request):
        g.title = (await request.form())["title"]

    @inner.post("/def")
    def view(request: SyncRequest):
        return f"{request.form['title']}, {request.files['file'].read().decode()}"

    @inner.post("/async")
    async def coroutine_view(request):
        return f"{(await request.form())['title']}, {(await (await request.files())['file'].read()).decode()}"

    outer.mount("/inner", inner)

    async with Client(outer) as client:
        path = "/inner/def" if is_def else "/inner/async"
        answer = await client.post(path, data={"title": "a song"}, files={"file": ("song.txt", b"la la")})

    assert answer.text == "a song, la la"


@pytest.mark.parametrize("path", ["/config", "/route"])
async def test_how_a_mounted_app_reads_its_bodies_is_its_own(path):
    settings = {"BODY_TIMEOUT": 0.01, "DECODE_REQUEST_BODIES": True}
    inner, outer = App("inner", config=settings if path == "/config" else {}), App("outer")

    @inner.post("/config")
    @inner.post("/route", endpoint="route", body_timeout=0.01, decode_request_bodies=True)
    async def read(request):
        return await request.body()

    async def stalls():
        yield b"begun"
        await anyio.sleep_forever()

    outer.mount("/inner", inner)

    async with Client(outer) as client:
        packed = await client.post(f"/inner{path}", content=gzip.compress(b"x"), headers={"content-encoding": "gzip"})
        with anyio.fail_after(5):
            stalled = await client.post(f"/inner{path}", content=stalls())

    assert (packed.text, stalled.status_code) == ("x", 408)


async def test_a_partly_consumed_stream_is_an_error_naming_both_readers(caplog):
    outer = App("outer")

    @outer.before_request
    async def read(request: Request):
        async for _ in request.stream():
            break

    outer.mount("/foreign", echo_scope)

    async with Client(outer, raise_errors=False) as client:
        assert (await client.post("/foreign/", content=b"body")).status_code == 500
    assert "request.stream()" in caplog.text
    assert "the mounted app" in caplog.text


async def test_an_unhandled_error_is_the_inner_apps_own(caplog):
    inner, outer = App("inner"), App("outer")
    seen = []

    @inner.get("/")
    async def home():
        raise ValueError

    @outer.errorhandler(500)
    async def outer_handler(error):
        return "outer", 500

    @inner.errorhandler(500)
    async def inner_handler(error):
        return "inner", 500

    @inner.on("exception")
    async def inner_observer(error):
        seen.append("inner")

    outer.mount("/inner", inner)

    assert (await get(outer, "/inner/")).text == "inner"
    assert (seen, len(caplog.records)) == (["inner"], 1)


async def test_an_unhandled_error_bubbles_to_the_outer_app_if_asked(caplog):
    inner, outer = App("inner"), App("outer")

    @inner.get("/")
    async def home():
        raise ValueError("from inside")

    @outer.errorhandler(ValueError)
    async def handler(error):
        return f"outer: {error}", 502

    outer.mount("/inner", inner, errors="bubble")

    with caplog.at_level(logging.ERROR):
        assert (await get(outer, "/inner/")).text == "outer: from inside"
    assert not caplog.records


async def test_the_answer_to_an_error_that_bubbles_keeps_what_the_layers_inside_have_said():
    inner, outer = App("inner"), App("outer")

    @inner.get("/")
    async def home():
        raise ValueError

    @outer.errorhandler(ValueError)
    async def handler(error):
        return "outer", 502

    inner.add_middleware(CORS(["https://example.org"]))
    outer.mount("/inner", inner, errors="bubble")

    answer = await get(outer, "/inner/", headers={"origin": "https://example.org"})

    assert (answer.text, answer.headers["access-control-allow-origin"]) == ("outer", "https://example.org")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(("errors", "told"), [("own", "inner"), ("bubble", "outer")])
async def test_an_error_in_a_streamed_body_is_told_to_the_app_that_owns_it(errors, told, caplog):
    inner, outer = App("inner"), App("outer")
    seen = []

    @inner.get("/")
    async def home():
        yield "begun"
        raise ValueError("broken")

    def observe(app, name):
        app.on("exception")(lambda error: seen.append((name, "exception", current_app.import_name)))
        app.teardown_request(lambda error: seen.append((name, "teardown", repr(error))))

    observe(inner, "inner")
    observe(outer, "outer")
    outer.mount("/inner", inner, errors=errors)

    async with Client(outer, raise_errors=False) as client:
        with caplog.at_level(logging.ERROR), pytest.raises(httpx.RemoteProtocolError):
            await client.get("/inner/")

    assert seen == [
        (told, "exception", told),
        ("inner", "teardown", "ValueError('broken')"),
        ("outer", "teardown", "ValueError('broken')"),
    ]
    assert len(caplog.records) == 1


@pytest.mark.parametrize(("errors", "told"), [("own", "inner"), ("bubble", "outer")])
async def test_an_error_of_a_mounted_app_that_a_layer_raises_again_keeps_its_answer(errors, told, caplog):
    inner, outer = App("inner"), App("outer")
    observed = []

    @outer.middleware
    async def transaction(request, call_next):
        (await call_next(request)).raise_for_error()

    @inner.get("/bug")
    async def bug():
        raise ValueError("once")

    for app in (inner, outer):
        app.on("exception")(lambda request, error: observed.append(request.app.import_name))
        app.errorhandler(404)(lambda error: (f"404 of {current_app.import_name}", 404))
        app.errorhandler(500)(lambda error: (f"500 of {current_app.import_name}", 500))
    outer.mount("/inner", inner, errors=errors)

    async with Client(outer, raise_errors=False) as client:
        answers = [(await client.get(f"/inner{path}")).text for path in ("/bug", "/missing")]

    assert answers == [f"500 of {told}", "404 of inner"]
    assert (observed, len(caplog.records)) == ([told], 1)


async def test_an_answer_that_cannot_be_sent_is_the_affair_of_the_app_whose_view_made_it(tmp_path):
    inner, outer = App("inner"), App("outer")
    path = tmp_path / "gone.txt"
    path.write_text("here")

    @inner.get("/")
    async def view():
        after_this_request(lambda response: path.unlink())
        return FileResponse(path)

    for app in (inner, outer):
        app.errorhandler(404)(stream_whose)
    outer.mount("/inner", inner)

    assert (await get(outer, "/inner/")).text == "inner"


async def stream_whose(error):
    async def body():
        yield current_app.import_name

    return body()


async def test_no_error_bubbles_through_asgi_middleware():
    inner, outer = App("inner"), App("outer")
    outer.mount("/inner", inner, errors="bubble")
    inner.add_asgi_middleware(lambda app: app)

    with pytest.raises(SetupError, match=r'errors="bubble" lets nothing out of <App inner>.*test_mounts\.py'):
        outer.url_for("static", filename="x")


async def test_url_for_looks_locally_then_up_and_into_mounted_apps():
    inner, outer = App("inner"), App("outer")
    blog = Router("blog", "x", prefix="/blog")
    urls = {}

    @inner.get("/")
    async def home():
        urls.update(
            own=url_for("home"), relative=url_for(".home"), up=url_for("index"), router=url_for("blog.post", number=1)
        )
        return ""

    @blog.get("/<int:number>")
    async def post(number):
        urls.update(local=url_for(".post", number=2), up_from_router=url_for(".index"), into=url_for("shop.home"))
        return ""

    @outer.get("/index")
    async def index():
        return url_for("shop.home", page=2)

    outer.mount("/shop", inner, name="shop")
    outer.mount("", blog)
    async with Client(outer) as client:
        await client.get("/shop/")
        await client.get("/blog/1")
        assert (await client.get("/index")).text == "/shop/?page=2"

    assert urls == {
        "own": "/shop/", "relative": "/shop/", "up": "/index", "router": "/blog/1",
        "local": "/blog/2", "up_from_router": "/index", "into": "/shop/",
    }  # fmt: skip


async def test_a_foreign_app_sees_spec_correct_paths():
    outer = App("outer")
    outer.mount("/foreign", echo_scope, name="foreign")

    assert (await get(outer, "/foreign/a%2Fb")).text == "/foreign|/foreign/a/b|/foreign/a%2Fb"


@pytest.mark.parametrize("prefix", ["/a%2Fb/c%2fd", "/%2Fx/%2Fy", "/%c3%a9/%C3%a9%20", "/a%2Fb/c%5Bd"])
async def test_what_is_escaped_in_the_variables_of_mounts_stays_so(prefix):
    app, shop, shelf = App(__name__), App(__name__), App(__name__)

    @shelf.get("/<item>/")
    async def show(request: Request, item):
        return f"{item} {request.path} {request.url_root.path} {url_for('show', item=item)}"

    app.mount("/<name>", shop)
    shop.mount("/<number>", shelf)

    async with Client(app) as client:
        page, redirect = await client.get(f"{prefix}/e%2Ff/"), await client.get(f"{prefix}/e%2Ff")

    assert page.text == f"e/f /e/f/ {prefix}/ {prefix}/e%2Ff/"
    assert redirect.headers["location"] == f"{prefix}/e%2Ff/"


@pytest.mark.parametrize(
    ("root", "path", "raw_path", "text"),
    [
        ("/é", "/é/a/b", b"/%c3%a9/a%2Fb", "a/b /%c3%a9/"),
        ("/x/y", "/x/y/a/b", b"/x%2Fy/a%2Fb", "a/b /x%2Fy/"),
        ("/x/y", "/x/y", b"/x%2Fy?q=1", "None /x%2Fy/"),
        ("/x/y", "/x/y/a", b"/x%2Fother/a", "a /x/y/"),
        ("/x/y", "/x/y/a", b"other/x%2Fy/a", "a /x/y/"),
        ("/x/y", "/x/y/a", None, "a /x/y/"),
        ("/100%", "/100%/a", b"/100%/a", "a /100%25/"),
        ("/[x]", "/[x]/a", b"/[x]/a", "a /%5Bx%5D/"),
        ("/r/", "/r//a", b"/r//a", "a /r/"),
        ("/r/", "/a", b"/a", "a /r/"),
        ("/", "/a", b"/a", "a /"),
    ],
)
async def test_a_root_is_cut_off_however_it_is_escaped(root, path, raw_path, text):
    app = App(__name__)

    @app.get("/")
    @app.get("/<name>")
    async def home(name=None):
        return f"{name} {url_for('home')}"

    async def at_root(scope, receive, send):
        await app(scope | {"root_path": root, "path": path, "raw_path": raw_path}, receive, send)

    assert (await get(at_root)).text == text


async def test_the_raw_path_of_another_root_does_not_count():
    app = App(__name__)
    app.get("/<name>")(lambda name: name)

    async def at_root(scope, receive, send):
        await app(scope | {"root_path": "/x/y", "path": "/x/y/a/b", "raw_path": b"/x/z/a%2Fb"}, receive, send)

    assert (await get(at_root)).status_code == 404


@pytest.mark.parametrize("path", ["/api/foreign/x", "/foreign/x"])
async def test_servers_may_put_the_root_path_into_the_path_or_not(path):
    outer, inner = App("outer"), App("inner")

    @inner.get("/x")
    async def view(request: Request):
        return f"{request.root_path}|{request.path}|{url_for('view')}"

    outer.mount("/foreign", echo_scope)
    outer.mount("/inner", inner)
    transport_scope = {"root_path": "/api"}

    async def at_api(scope, receive, send):
        await outer({**scope, **transport_scope}, receive, send)

    async with Client(at_api) as client:
        assert (await client.get(path)).text == "/api/foreign|/api/foreign/x|/api/foreign/x"
        assert (await client.get(path.replace("foreign", "inner"))).text == "/api/inner|/x|/api/inner/x"


async def test_layers_edit_the_headers_of_a_foreign_app():
    outer = App("outer")
    started = []

    @outer.middleware
    async def edit(request, call_next):
        response = await call_next(request)
        response.headers["x-foreign"] = "edited"
        response.headers["x-added"] = "1"
        response.headers.add("set-cookie", "a=1")
        response.headers.vary("b")
        response.on_start(lambda status, headers: started.append((status, headers["x-added"])))
        return response

    async def foreign(scope, receive, send):
        headers = [(b"x-foreign", b"1"), (b"vary", b"a"), (b"set-cookie", b"own=1")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body"})

    outer.mount("/foreign", foreign)
    response = await get(outer, "/foreign/")

    assert response.headers["x-foreign"] == "edited"
    assert response.headers["vary"] == "a, b"
    assert response.headers.get_list("set-cookie") == ["own=1", "a=1"]
    assert started == [(200, "1")]


@pytest.mark.parametrize(("path", "status"), [("/", 201), ("/none", 404), ("/foreign/", 418), ("/failing/", 500)])
async def test_a_layer_learns_the_status_of_every_answer(path, status, caplog):
    app, seen = App(__name__), []

    @app.middleware
    async def log(request, call_next):
        response = await call_next(request)
        response.on_start(lambda status, headers: seen.append(status) or headers.add("x-status", status))
        return response

    @app.get("/")
    async def home():
        return "made", 201

    async def foreign(scope, receive, send):
        await send({"type": "http.response.start", "status": 418, "headers": []})
        await send({"type": "http.response.body"})

    async def failing(scope, receive, send):
        raise ValueError("before the start")

    app.mount("/foreign", foreign)
    app.mount("/failing", failing)

    response = await get(app, path)

    assert (response.status_code, response.headers["x-status"], seen) == (status, str(status), [status])


async def test_a_foreign_app_that_ends_without_an_answer_is_an_error_like_any_other(caplog):
    app = App(__name__)

    async def silent(scope, receive, send):
        assert scope["type"] == "http"
        await receive()

    @app.middleware
    async def mark(request, call_next):
        response = await call_next(request)
        response.headers["x-mark"] = "seen"
        return response

    @app.errorhandler(500)
    async def explain(error):
        return str(error.original), 500

    app.mount("/silent", silent)
    response = await get(app, "/silent/")

    assert (response.status_code, response.headers["x-mark"]) == (500, "seen")
    assert response.text.endswith("has ended without an answer")
    assert len(caplog.records) == 1


async def test_a_foreign_app_whose_client_has_left_needs_no_answer(caplog):
    app = App(__name__)
    received = []

    async def quiet(scope, receive, send):
        assert scope["type"] == "http"
        received.append((await receive())["type"])

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        raise AssertionError(message)

    app.mount("/quiet", quiet)
    scope = {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "method": "GET"}
    await app(scope | {"path": "/quiet/", "query_string": b"", "headers": []}, receive, send)

    assert (received, caplog.records) == (["http.disconnect"], [])


@pytest.mark.parametrize(("name", "value"), [("status_code", 503), ("body", b"mine"), ("data", "mine")])
async def test_what_only_the_foreign_app_can_say_is_not_set_in_silence(name, value, caplog):
    app = App(__name__)

    @app.after_request
    async def change(response):
        setattr(response, name, value)

    app.mount("/foreign", echo_scope)
    response = await get(app, "/foreign/")

    assert response.status_code == 500
    assert "return another response in its place" in caplog.text


async def test_a_foreign_app_keeps_its_own_tag():
    app = App(__name__)

    async def foreign(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"etag", b'"its own"')]})
        await send({"type": "http.response.body", "body": b"fine"})

    @app.after_request
    async def tag(response):
        response.add_etag()
        return response.make_conditional(request)

    app.mount("/foreign", foreign)
    response = await get(app, "/foreign/", headers={"if-none-match": "*"})

    assert (response.status_code, response.headers["etag"], response.text) == (200, '"its own"', "fine")


@pytest.mark.parametrize("kind", ["async", "def"])
async def test_a_body_from_two_apps_down_sees_the_request_of_its_own_app(kind):
    outer, middle, inner = App("outer"), App("middle"), App("inner")

    @inner.get("/list")
    async def view():
        g.name = "mine"

        def pieces():
            yield f"{current_app.import_name} {request.path} {g.name} {url_for('view')}"

        async def awaited_pieces():
            for piece in pieces():
                yield piece

        return pieces() if kind == "def" else awaited_pieces()

    middle.mount("/inner", inner)
    outer.mount("/middle", middle)

    assert (await get(outer, "/middle/inner/list")).text == "inner /list mine /middle/inner/list"


@pytest.mark.parametrize("prefix", ["", "/inner"])
async def test_what_a_body_does_too_late_is_an_error_in_a_mounted_app_too(prefix):
    app, outer, refused = App(__name__, secret_key="the secret of this test"), App("outer"), []

    @app.get("/")
    async def view():
        yield "begun"
        for late in (lambda: session.update(a=1), lambda: after_this_request(lambda response: None)):
            try:
                late()
            except RuntimeError as error:
                refused.append(str(error).partition(",")[0])

    outer.mount("/inner", app)
    await get(outer if prefix else app, f"{prefix}/")

    assert refused == [
        "the session was first touched after the answer had started",
        "after_this_request was used when the answer was on its way already",
    ]


async def test_the_teardown_of_a_mounted_app_is_told_of_a_time_limit_outside():
    inner, outer = App("inner"), App("outer")
    torn_down = []

    @inner.get("/")
    async def view():
        await anyio.sleep_forever()

    inner.teardown_request(torn_down.append)
    outer.add_middleware(Timeout(0.01))
    outer.mount("/inner", inner)

    assert (await get(outer, "/inner/")).status_code == 504
    assert isinstance(torn_down[0], anyio.get_cancelled_exc_class())


async def test_a_request_of_a_mounted_app_is_over_when_it_is_torn_down():
    inner, outer = App("inner"), App("outer")
    kept = []

    @inner.get("/")
    async def view():
        kept.append(copy_context())
        return kept[0].run(lambda: request.path)

    outer.mount("/inner", inner)

    assert (await get(outer, "/inner/")).text == "/"
    with pytest.raises(RuntimeError, match="copy_current_context"):
        kept[0].run(lambda: request.path)


@pytest.mark.parametrize("prefix", ["", "/inner"])
async def test_what_a_foreign_app_does_too_late_is_an_error_in_a_mounted_app_too(prefix):
    app, outer = App(__name__, secret_key="the secret of this test"), App("outer")
    refused = []

    async def foreign(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        with pytest.raises(RuntimeError) as caught:
            session.update(a=1)
        refused.append(str(caught.value).partition(",")[0])
        await send({"type": "http.response.body"})

    app.mount("/foreign", foreign)
    outer.mount("/inner", app)
    await get(outer if prefix else app, f"{prefix}/foreign/")

    assert refused == ["the session was first touched after the answer had started"]


@pytest.mark.parametrize("prefix", ["", "/inner"])
async def test_what_a_teardown_does_too_late_is_an_error_in_a_mounted_app_too(prefix, caplog):
    app, outer = App(__name__, secret_key="the secret of this test"), App("outer")

    @app.get("/")
    async def view():
        return "whole"

    app.teardown_request(lambda error: session.update(a=1))
    outer.mount("/inner", app)
    await get(outer if prefix else app, f"{prefix}/")

    assert "the session was first touched after the answer had started" in caplog.text


async def test_a_start_function_that_fails_gives_an_error_page(caplog):
    app = App(__name__)

    async def foreign(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"fine"})

    @app.middleware
    async def look(request, call_next):
        response = await call_next(request)
        response.on_start(lambda status, headers: 1 / 0)
        response.on_start(lambda status, headers: headers.add("x-status", str(status)))
        return response

    app.mount("/foreign", foreign)
    async with app.test_client(raise_errors=False) as client:
        response = await client.get("/foreign/")

    assert (response.status_code, response.headers["x-status"]) == (500, "500")
    assert len(caplog.records) == 1


async def test_an_error_of_a_foreign_app_before_its_start_is_ours(caplog):
    outer = App("outer")

    @outer.middleware
    async def edit(request, call_next):
        response = await call_next(request)
        response.headers["x-added"] = "1"
        return response

    @outer.errorhandler(ValueError)
    async def handler(error):
        return "ours", 500

    async def broken(scope, receive, send):
        if scope["type"] == "http":
            raise ValueError

    outer.mount("/foreign", broken)
    response = await get(outer, "/foreign/")

    assert (response.text, response.headers["x-added"]) == ("ours", "1")


@pytest.mark.parametrize(("errors", "told"), [("own", "inner"), ("bubble", "outer")])
async def test_a_foreign_app_in_a_mounted_app_is_that_apps_affair(errors, told, caplog):
    inner, outer = App("inner"), App("outer")
    seen = []

    async def broken(scope, receive, send):
        if scope["type"] == "http":
            seen.append(f"{current_app.import_name} {request.path} {g.name}")
            raise ValueError

    for app in (inner, outer):
        app.before_request(lambda: setattr(g, "name", f"g of {current_app.import_name}"))
        app.on("exception")(lambda request, error: seen.append(f"exception {request.app.import_name}"))
        app.errorhandler(500)(stream_whose)
    inner.mount("/foreign", broken)
    outer.mount("/inner", inner, errors=errors)

    async with Client(outer, raise_errors=False) as client:
        response = await client.get("/inner/foreign/x")

    assert seen == ["inner /foreign/x g of inner", f"exception {told}"]
    assert (response.text, len(caplog.records)) == (told, 1)


async def test_an_error_of_a_foreign_app_after_its_start_breaks_the_connection(caplog):
    outer = App("outer")

    async def broken(scope, receive, send):
        if scope["type"] != "http":
            raise RuntimeError("no lifespan")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError("late")

    outer.mount("/foreign", broken)

    with pytest.raises(ValueError, match="late"):
        async with Client(outer) as client:
            await client.get("/foreign/")
    assert caplog.text.count("Traceback") == 1


async def test_an_error_of_a_foreign_app_after_the_end_of_its_answer_leaves_the_connection_alone(caplog):
    outer = App("outer")
    torn_down = []

    async def broken(scope, receive, send):
        if scope["type"] != "http":
            raise RuntimeError("no lifespan")
        await send({"type": "http.response.start", "status": 500, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"n", "more_body": True})
        await send({"type": "http.response.body", "body": b"o"})
        raise ValueError("Starlette raises what it has answered")

    outer.teardown_request(lambda error: torn_down.append(type(error)))
    outer.mount("/foreign", broken)
    scope = {"type": "http", "method": "GET", "path": "/foreign/", "query_string": b"", "headers": []}
    sent = []

    async def send(message):
        sent.append(message)

    await outer(scope, anyio.sleep_forever, send)

    assert b"".join(message.get("body", b"") for message in sent) == b"no"
    assert [record.message for record in caplog.records] == ["unhandled error in GET /foreign/"]
    assert torn_down == [ValueError]


@pytest.mark.parametrize("errors", ["own", "bubble"])
async def test_an_error_of_a_foreign_app_after_its_end_is_told_to_the_app_that_answers_for_it(errors):
    outer, inner = App("outer"), App("inner")
    observed, torn_down = [], []

    async def broken(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"whole"})
        raise ValueError("behind the end")

    for app in (outer, inner):
        app.on("exception")(lambda request, error: observed.append(request.app))
        app.teardown_request(lambda error, request: torn_down.append((request.app, type(error))))
    inner.mount("/foreign", broken)
    outer.mount("/inner", inner, errors=errors)

    async with Client(outer, raise_errors=False) as client:
        answer = await client.get("/inner/foreign/")

    assert answer.text == "whole"
    assert observed == [inner if errors == "own" else outer]
    assert torn_down == [(inner, ValueError), (outer, ValueError)]


async def test_a_client_raises_the_error_of_a_foreign_app_after_the_end_of_its_answer():
    from starlette.applications import Starlette
    from starlette.routing import Route

    outer = App("outer")
    outer.mount("/foreign", Starlette(routes=[Route("/", lambda request: 1 / 0)]))

    with pytest.raises(ZeroDivisionError):
        async with Client(outer) as client:
            await client.get("/foreign/")


class ClientDisconnect(Exception):
    """Starlette's, by its name."""


@pytest.mark.parametrize("own", [OSError, ClientDisconnect])
async def test_a_client_that_leaves_a_foreign_app_is_no_error(own, caplog):
    caplog.set_level("ERROR", "microweb")
    outer = App("outer")

    async def endless(scope, receive, send):
        if scope["type"] != "http":
            raise RuntimeError("no lifespan")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
        except OSError:
            if own is OSError:
                raise
            raise own

    outer.mount("/foreign", endless)
    with anyio.fail_after(10):
        async with Client(outer) as client, client.stream("GET", "/foreign/") as response:
            assert await anext(response.aiter_raw()) == b"x"

    assert caplog.records == []


async def test_a_client_that_leaves_inside_a_body_that_starlette_reads_is_no_error(caplog):
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Route

    async def read(request):
        return Response(await request.body())

    outer, torn_down = App("outer"), []
    outer.teardown_request(lambda error: torn_down.append(repr(error)))
    outer.mount("/foreign", Starlette(routes=[Route("/", read, methods=["POST"])]))
    scope = {"type": "http", "method": "POST", "path": "/foreign/", "query_string": b"", "headers": []}
    messages = [{"type": "http.disconnect"}, {"type": "http.request", "body": b"half", "more_body": True}]

    async def receive():
        return messages.pop()

    async def send(message): ...

    await outer(scope, receive, send)

    assert caplog.records == []
    assert torn_down == ["ClientDisconnect('the client left before the end of its request')"]


async def test_a_client_that_leaves_a_task_group_of_a_foreign_app_is_no_error(caplog):
    caplog.set_level("ERROR", "microweb")
    outer = App("outer")

    async def endless(scope, receive, send):
        if scope["type"] != "http":
            raise RuntimeError("no lifespan")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        async with anyio.create_task_group():
            while True:
                await send({"type": "http.response.body", "body": b"x", "more_body": True})

    outer.mount("/foreign", endless)
    with anyio.fail_after(10):
        async with Client(outer) as client, client.stream("GET", "/foreign/") as response:
            assert await anext(response.aiter_raw()) == b"x"

    assert caplog.records == []


async def test_lifespans_of_mounted_apps_run_in_ours():
    inner, outer = App("inner"), App("outer")
    events = []

    async def foreign(scope, receive, send):
        assert scope["type"] == "lifespan"
        await receive()
        scope["state"]["foreign"] = "yes"
        events.append("foreign in")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        events.append("foreign out")
        await send({"type": "lifespan.shutdown.complete"})

    @outer.lifespan
    async def outer_life(app):
        events.append("outer in")
        yield
        events.append("outer out")

    @inner.lifespan
    async def inner_life(app):
        events.append("inner in")
        yield
        events.append("inner out")

    outer.mount("/inner", inner)
    outer.mount("/foreign", foreign)
    async with Client(outer):
        pass

    assert events == ["outer in", "inner in", "foreign in", "foreign out", "inner out", "outer out"]


async def test_an_app_that_was_mounted_and_has_stopped_can_be_served_by_itself():
    outer, inner, ends = App(__name__), App(__name__), []
    outer.mount("/inner", inner)

    @inner.lifespan
    async def live(app):
        yield
        ends.append("lifespan")

    async with Client(outer):
        pass
    async with Client(inner):
        inner.add_background_task(lambda: ends.append("task"))

    assert ends == ["lifespan", "task", "lifespan"]


async def test_one_router_is_mounted_twice_under_two_names():
    app = App(__name__)
    blog = Router("blog", __name__)

    @blog.get("/<int:number>")
    async def post(number, request: Request):
        return f"{request.endpoint} {url_for('.post', number=number)}"

    app.mount("/a", blog)
    app.mount("/b", blog, name="other")

    async with Client(app) as client:
        assert (await client.get("/a/1")).text == "blog.post /a/1"
        assert (await client.get("/b/1")).text == "other.post /b/1"


@pytest.mark.parametrize("is_foreign", [True, False])
async def test_the_lifespan_of_an_app_in_a_router_that_is_mounted_twice_runs_once(is_foreign):
    inner, outer, router = App("inner"), App("outer"), Router("router", "x")
    seen = []

    @inner.lifespan
    async def pool(app):
        seen.append("opened")
        yield
        seen.append("closed")

    async def foreign(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            seen.append("opened")
            await send({"type": "lifespan.startup.complete"})
            await receive()
            seen.append("closed")
            await send({"type": "lifespan.shutdown.complete"})
        else:
            await echo_scope(scope, receive, send)

    router.mount("/inner", foreign if is_foreign else inner)
    outer.mount("/a", router, name="a")
    outer.mount("/b", router, name="b")

    async with Client(outer):
        assert seen == ["opened"]
    assert seen == ["opened", "closed"]


async def test_prefixes_add_up():
    app, router = App(__name__), Router("r", __name__, prefix="/b")

    @router.get("/c")
    async def view():
        return "here"

    app.mount("/a", router)

    assert (await get(app, "/a/b/c")).text == "here"


async def test_microweb_runs_inside_starlette_and_fastapi():
    starlette = pytest.importorskip("starlette.applications")
    fastapi = pytest.importorskip("fastapi")
    routing = pytest.importorskip("starlette.routing")

    for make in (
        lambda inner: starlette.Starlette(routes=[routing.Mount("/in", app=inner)]),
        lambda inner: mounted_in_fastapi(fastapi.FastAPI(), inner),
    ):
        inner = App("inner")

        @inner.get("/x/")
        async def view(request: Request):
            return f"{request.root_path}|{request.path}|{url_for('view')}"

        response = await get(make(inner), "/in/x/")
        redirect = await get(make(inner), "/in/x")
        assert response.text == "/in|/x/|/in/x/"
        assert redirect.headers["location"] == "/in/x/"


def mounted_in_fastapi(outer, inner):
    outer.mount("/in", inner)
    return outer


def test_the_lifespan_of_a_mounted_app_runs_anew_when_its_loop_was_closed_without_a_word():
    inner, outer, events = App("inner"), App("outer"), []

    @inner.lifespan
    async def note(app):
        events.append("in")
        yield
        events.append("out")

    inner.get("/")(lambda: "inner")
    outer.mount("/inner", inner)

    async def ask():
        transport = ASGITransport(outer)
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            return (await client.get("/inner/")).text

    for _ in range(2):
        loop = asyncio.new_event_loop()
        assert loop.run_until_complete(ask()) == "inner"
        loop.close()

    assert events == ["in", "in"]
    assert asyncio.run(ask()) == "inner"
    assert events == ["in", "in", "in", "out"]
    gc.collect()


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
async def test_no_body_bytes_of_a_foreign_app_leave_where_there_is_no_body(method, status):
    async def careless(scope, receive, send):
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"ab", "more_body": True})
        await send({"type": "http.response.body", "body": b"cd"})

    app = App(__name__)
    app.mount("/foreign", careless)

    async with Client(app) as client:
        answer = await client.request(method, "/foreign/")

    assert (answer.status_code, answer.content) == (status, b"")
    assert answer.headers.get("content-length") == ("4" if method == "HEAD" else None)


async def test_an_app_behind_asgi_middleware_is_mounted_as_a_foreign_one():
    inner, outer = App("inner"), App("outer")

    def add_header(app):
        async def wrapped(scope, receive, send):
            async def with_header(message):
                if message["type"] == "http.response.start":
                    message["headers"] = [*message["headers"], (b"x-wrapped", b"1")]
                await send(message)

            await app(scope, receive, with_header)

        return wrapped

    @inner.get("/")
    async def home():
        return "inner"

    inner.add_asgi_middleware(add_header)
    outer.mount("/inner", inner)
    response = await get(outer, "/inner/")

    assert (response.text, response.headers["x-wrapped"]) == ("inner", "1")


async def cancel_when(reached: anyio.Event, app: App, send=None):
    """Ask for ``/inner/`` and cancel the request as soon as it is so far."""
    scope = {
        "type": "http", "asgi": {"spec_version": "2.4"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": "/inner/", "raw_path": b"/inner/", "query_string": b"", "headers": [],
    }  # fmt: skip
    async with anyio.create_task_group() as group:
        group.start_soon(app, scope, anyio.sleep_forever, send)
        await reached.wait()
        group.cancel_scope.cancel()


async def test_a_cancelled_request_in_a_mounted_app_is_torn_down():
    inner, outer = App("inner"), App("outer")
    entered, events = anyio.Event(), []

    @inner.get("/")
    async def view():
        entered.set()
        await anyio.sleep_forever()

    @inner.teardown_request
    async def teardown(error):
        events.append(isinstance(error, anyio.get_cancelled_exc_class()))

    outer.mount("/inner", inner)
    await cancel_when(entered, outer, None)

    assert events == [True]


async def test_a_mounted_apps_teardown_is_told_of_a_cancellation_while_its_answer_is_sent():
    inner, outer = App("inner"), App("outer")
    sending, events = anyio.Event(), []

    @inner.get("/")
    async def view():
        return "inner"

    @inner.teardown_request
    async def teardown(error):
        events.append(isinstance(error, anyio.get_cancelled_exc_class()))

    async def send(message):
        sending.set()
        await anyio.sleep_forever()

    outer.mount("/inner", inner)
    await cancel_when(sending, outer, send)

    assert events == [True]


async def test_the_content_type_of_a_foreign_answer_can_be_set():
    app = App(__name__)

    async def foreign(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"{}"})

    app.mount("/foreign", foreign)

    @app.after_request
    def after(response):
        response.content_type = "application/json"

    assert (await get(app, "/foreign/")).headers["content-type"] == "application/json"


async def test_a_body_of_a_mounted_app_that_fails_is_told_to_its_teardown():
    inner, outer = App("inner"), App("outer")
    told = []

    @inner.get("/")
    async def view():
        yield "begun"
        raise ValueError("half way")

    @inner.teardown_request
    async def teardown(error):
        told.append(repr(error))

    outer.mount("/inner", inner)
    with pytest.raises(httpx.RemoteProtocolError):
        await get(outer, "/inner/")

    assert told == ["ValueError('half way')"]
