"""What every request is checked for before a route is looked for: its host, if the app answers only for some."""

import pytest

from microweb import App, WebSocket
from microweb.requestcontext import make_receive, make_scope
from microweb.testing import Client, SyncClient
from microweb.testing.websocketsession import WebSocketDenied

pytestmark = pytest.mark.anyio

LISTED = ["example.org", ".example.net", "localhost:5000", "[::1]"]


def make_app(**config):
    app = App(__name__, config=config)

    @app.get("/")
    async def home(request):
        return request.host

    @app.websocket("/ws")
    async def socket(websocket: WebSocket):
        await websocket.accept()

    return app


async def status_for(app, host):
    async with Client(app) as client:
        return (await client.get("/", headers={"host": host})).status_code


@pytest.mark.parametrize(
    "host",
    ["example.org", "EXAMPLE.org:8000", "example.net", "a.b.example.net", "localhost", "localhost:1", "[::1]:80"],
)
async def test_a_host_that_is_listed_is_answered(host):
    assert await status_for(make_app(TRUSTED_HOSTS=LISTED), host) == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "sub.example.org", "badexample.net", "example.org.evil.example", "example.org@evil", "a b", ""],
)
async def test_a_host_that_is_not_listed_is_refused(host):
    assert await status_for(make_app(TRUSTED_HOSTS=LISTED), host) == 400


async def test_the_refusal_names_the_key_and_passes_the_middleware():
    app = make_app(TRUSTED_HOSTS=LISTED)

    @app.middleware
    async def mark(request, call_next):
        response = await call_next(request)
        response.headers["x-seen"] = "yes"
        return response

    async with Client(app, base_url="http://evil.example") as client:
        answer = await client.get("/")

    assert (answer.status_code, answer.headers["x-seen"]) == (400, "yes")
    assert "TRUSTED_HOSTS" in answer.json()["detail"]


async def test_two_host_headers_are_refused():
    lines = [("host", "example.org"), ("host", "evil.example")]

    async with Client(make_app(TRUSTED_HOSTS=LISTED), lint=False) as client:
        assert (await client.get("/", headers=lines)).status_code == 400


async def test_without_a_list_every_host_is_answered():
    assert await status_for(make_app(), "evil.example") == 200


async def test_an_empty_list_answers_nobody():
    assert await status_for(make_app(TRUSTED_HOSTS=[]), "example.org") == 400


async def test_a_websocket_of_another_host_is_refused():
    async with Client(make_app(TRUSTED_HOSTS=LISTED)) as client:
        async with client.websocket("ws://example.org/ws"):
            pass

        with pytest.raises(WebSocketDenied) as denied:
            async with client.websocket("ws://evil.example/ws"):
                pass

    assert denied.value.response.status_code == 400


async def test_a_mounted_app_has_a_list_of_its_own():
    outer, inner = App("outer"), make_app(TRUSTED_HOSTS=["inner.example"])
    outer.mount("/inner", inner)

    async with Client(outer) as client:
        assert (await client.get("/inner/", headers={"host": "inner.example"})).status_code == 200
        assert (await client.get("/inner/", headers={"host": "example.org"})).status_code == 400


def test_the_list_may_be_changed_between_requests():
    app = make_app()

    with SyncClient(app, base_url="http://evil.example") as client:
        before = client.get("/").status_code
        app.config["TRUSTED_HOSTS"] = ["example.org"]
        after = client.get("/").status_code

    assert (before, after) == (200, 400)


@pytest.mark.parametrize(("host", "status"), [(b"example.org", 200), (b"evil.example", 400)])
async def test_the_name_of_the_host_header_may_be_in_any_case(host, status):
    # ASGI lets a server keep the case; hypercorn has `h11_pass_raw_headers` for it.
    app, sent = make_app(TRUSTED_HOSTS=LISTED), []
    scope = make_scope("/", "GET", None, b"", "http://example.org")
    scope["headers"] = [(b"Host", host)]

    async def send(message):
        sent.append(message)

    await app(scope, make_receive(b""), send)

    assert sent[0]["status"] == status


@pytest.mark.parametrize("prefix", ["", "/mounted"])
@pytest.mark.parametrize(
    ("asked", "key", "value", "status"),
    [
        ("/ws", "MAX_URL_LENGTH", 30, 200),
        ("/ws?" + "x" * 40, "MAX_URL_LENGTH", 30, 414),
        ("/ws?" + "%41" * 10, "MAX_URL_LENGTH", 30, 414),
        ("/" + "%77" * 15 + "?" + "x" * 10, "MAX_URL_LENGTH", 50, 414),  # Decoded it would be short enough.
        ("/ws", "MAX_HEADERS", 2, 431),
        ("/ws", "TRUSTED_HOSTS", ["example.org"], 400),
    ],
)
async def test_a_websocket_is_checked_for_what_a_request_is(asked, key, value, status, prefix):
    app = inner = make_app(**{key: value})
    inner.get("/ws")(lambda: "got it")
    if prefix:
        app = App("outer")
        app.mount(prefix, inner)
    if prefix and key == "MAX_URL_LENGTH":
        inner.config[key] += len(prefix)

    async with Client(app) as client:
        answered = (await client.get(prefix + asked, headers={"x-one": "1", "x-two": "2"})).status_code
        try:
            async with client.websocket(prefix + asked, headers={"x-one": "1", "x-two": "2"}):
                connected = 200
        except WebSocketDenied as denied:
            connected = denied.response.status_code

    assert (answered, connected) == (status, status)


async def test_a_url_that_a_server_leaves_whole_on_the_raw_path_is_measured_once():
    app, sent = make_app(MAX_URL_LENGTH=50), []
    scope = make_scope("/", "GET", None, b"", "http://example.org") | {"query_string": b"x" * 30}
    scope["raw_path"] = b"/?" + b"x" * 30

    async def send(message):
        sent.append(message)

    await app(scope, make_receive(b""), send)

    assert sent[0]["status"] == 200


async def test_a_websocket_that_is_refused_meets_no_hook_of_its_route():
    app, met = make_app(TRUSTED_HOSTS=LISTED), []
    app.before_websocket(lambda: met.append("before"))
    app.teardown_websocket(lambda error: met.append("teardown"))

    async with Client(app) as client:
        with pytest.raises(WebSocketDenied):
            async with client.websocket("ws://evil.example/ws"):
                pass

    assert met == []
