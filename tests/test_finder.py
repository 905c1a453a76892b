"""What every request is checked for before a route is looked for: its host, if the app answers only for some.

And what becomes of a request whose target is a whole URL.
"""

import pytest

from microweb import App, Converter, Router, SetupError, WebSocket, abort
from microweb.middleware import ProxyHeaders
from microweb.quoting import unquote
from microweb.requestcontext import make_receive, make_scope
from microweb.testing import Client, SyncClient
from microweb.testing.websocketsession import WebSocketDenied

pytestmark = pytest.mark.anyio

LISTED = ["example.org", ".Example.net:8000", "localhost:5000", "[::1]", "2001:db8::1", ".bücher.example"]


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
    ["example.org", "EXAMPLE.org:8000", "example.net", "a.b.example.net", "localhost", "localhost:1", "[::1]:80"]
    + ["[2001:DB8::1]", "xn--bcher-kva.example:80", "www.xn--bcher-kva.example"],
)
async def test_a_host_that_is_listed_is_answered(host):
    assert await status_for(make_app(TRUSTED_HOSTS=LISTED), host) == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "sub.example.org", "badexample.net", "example.org.evil.example", "example.org@evil", "a b", ""],
)
async def test_a_host_that_is_not_listed_is_refused(host):
    assert await status_for(make_app(TRUSTED_HOSTS=LISTED), host) == 400


@pytest.mark.parametrize("config", [{}, {"TRUSTED_HOSTS": LISTED}])
@pytest.mark.parametrize("path", ["/", "/%7E"])
async def test_the_headers_may_be_anything_that_can_be_iterated_over(path, config):
    app, sent = make_app(**config), []

    @app.get("/~")
    async def view(request):
        return request.host

    async def send(message):
        sent.append(message)

    scope = make_scope(path, "GET", {}, b"", "http://testserver")
    scope["headers"] = iter([(b"host", b"example.org")])
    await app(scope, make_receive(b""), send)

    assert [message.get("body") for message in sent] == [None, b"example.org"]


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


@pytest.mark.parametrize(
    ("hosts", "server", "status"),
    [
        ([], ("LOCALHOST", 8000), 200),
        ([], ("10.0.0.1", 80), 400),
        ([], None, 400),
        ([b"evil.example"], ("localhost", 80), 400),
        ([b"example.org", b"evil.example"], ("localhost", 80), 400),
    ],
)
async def test_without_a_host_header_the_servers_address_has_to_be_listed(hosts, server, status):
    app, sent = make_app(TRUSTED_HOSTS=LISTED), []
    app.get("/plain")(lambda: "plain")
    scope = make_scope("/plain", "GET", None, b"", "http://example.org") | {"server": server}
    scope["headers"] = [(b"host", host) for host in hosts]

    async def send(message):
        sent.append(message)

    await app(scope, make_receive(b""), send)

    assert sent[0]["status"] == status


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


@pytest.mark.parametrize("raw_path", [b"/", None])
@pytest.mark.parametrize(("headers", "size", "status"), [(100, 8192, 200), (101, 8192, 431), (100, 8193, 414)])
async def test_as_much_as_the_limits_say_is_taken(headers, size, status, raw_path):
    app, sent = make_app(), []
    scope = make_scope("/", "GET", None, b"", "http://example.org") | {"query_string": b"x" * (size - 1)}
    scope["headers"] = [(b"host", b"example.org")] + [(b"x-header", b"value")] * (headers - 1)
    scope["raw_path"] = raw_path

    async def send(message):
        sent.append(message)

    await app(scope, make_receive(b""), send)

    assert sent[0]["status"] == status


async def test_a_url_that_a_server_leaves_whole_on_the_raw_path_is_measured_once():
    app, sent = make_app(MAX_URL_LENGTH=32), []
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


# Targets in absolute form ------------------------------------------------------------------------------


async def ask_whole_url(app, target, host="asked.example", raw_path=True, **scope):
    """The answer's start and body to a request whose target is a whole URL, as h11 and hypercorn pass it on."""
    sent = []
    given = make_scope("/", "GET", {"accept": "text/html"}, b"", f"http://{host}") | {"path": unquote(target)} | scope
    given["raw_path"] = target.encode() if raw_path is True else raw_path or None

    async def send(message):
        sent.append(message)

    await app(given, make_receive(b""), send)
    return sent[0], sent[1]["body"].decode()


def make_site(**config):
    app = App(__name__, config=config, static_folder=None)

    @app.before_request
    async def guard(request):
        if request.path.startswith("/secret"):
            abort(403)

    @app.get("/")
    async def home(request):
        return str(request.url)

    @app.get("/names/<name>")
    async def name(request, name):
        return f"{name} {request.path} {request.url} {app.url_for('home', _external=True)}"

    @app.get("/secret")
    async def secret():
        return "told"

    return app


@pytest.mark.parametrize("raw_path", [True, False])
@pytest.mark.parametrize("config", [{}, {"TRUSTED_HOSTS": [".example"]}])
@pytest.mark.parametrize("scheme", ["http", "HTTPS"])
async def test_a_whole_url_is_answered_as_its_path_and_its_host_are(scheme, config, raw_path):
    _, body = await ask_whole_url(make_site(**config), f"{scheme}://named.example:81/names/ann", raw_path=raw_path)

    assert body == "ann /names/ann http://named.example:81/names/ann http://named.example:81/"


async def test_what_is_escaped_in_a_whole_url_stays_in_its_segment():
    _, body = await ask_whole_url(make_site(), "http://named.example/names/a%2Fb%20c")

    assert body.startswith("a/b c /names/a/b c http://named.example/names/a%2Fb%20c ")


@pytest.mark.parametrize("raw_path", [b"/", None])
@pytest.mark.parametrize("path", ["", "/"])
async def test_an_empty_path_is_the_root_for_a_converter_that_takes_an_empty_text(path, raw_path):
    class Everything(Converter):
        regex = ".*"

    app = App(__name__, static_folder=None)
    app.converters["everything"] = Everything

    @app.get("/<everything:rest>")
    async def page(request, rest):
        return f"{request.path} {rest!r}"

    assert (await ask_whole_url(app, "/", raw_path=raw_path, path=path))[1] == "/ ''"


async def test_a_listed_host_that_can_have_no_name_is_an_error_of_the_set_up():
    app = make_app(TRUSTED_HOSTS=["a..bücher.example"])

    with pytest.raises(SetupError, match=r"TRUSTED_HOSTS: 'a\.\.bücher\.example' is no host name"):
        await status_for(app, "a")


@pytest.mark.parametrize("target", ["http://named.example", "http://named.example/"])
async def test_a_whole_url_without_a_path_is_the_root(target):
    _, body = await ask_whole_url(make_site(), target)

    assert body == "http://named.example/"


async def test_a_guard_sees_the_path_of_a_whole_url():
    start, _ = await ask_whole_url(make_site(), "http://named.example/secret")

    assert start["status"] == 403


async def test_the_host_of_a_whole_url_chooses_the_route():
    app = make_site()
    inner = Router("inner", __name__, host="named.example")
    inner.get("/")(lambda: "inner")
    app.mount("", inner)

    _, body = await ask_whole_url(app, "http://named.example/")

    assert body == "inner"


async def test_the_host_of_a_whole_url_takes_the_place_of_a_header_in_any_case():
    headers = [(b"Host", b"asked.example"), (b"accept", b"text/html")]

    start, body = await ask_whole_url(make_site(), "http://named.example/", headers=headers)

    assert (start["status"], body) == (200, "http://named.example/")


async def test_a_whole_url_counts_as_it_was_rewritten_on_the_way():
    _, body = await ask_whole_url(make_site(), "http://named.example/names/new", raw_path=b"http://old.example/secret")

    assert body.startswith("new /names/new http://named.example/names/new ")


@pytest.mark.parametrize("name", [b"host", b"Host", b"x-host"])
async def test_a_host_header_in_any_case_chooses_the_route(name):
    app, sent = make_app(), []
    app.get("/", endpoint="named", host="named.example")(lambda: "named")
    scope = make_scope("/", "GET", None, b"", "http://asked.example") | {"headers": [(name, b"named.example")]}

    async def send(message):
        sent.append(message)

    await app(scope, make_receive(b""), send)

    assert (sent[1]["body"] == b"named") == (name.lower() == b"host")
    assert sent[0]["status"] == 200


async def test_the_host_of_a_whole_url_has_to_be_a_trusted_one():
    start, _ = await ask_whole_url(make_site(TRUSTED_HOSTS=["asked.example"]), "http://evil.example/names/x")

    assert start["status"] == 400


@pytest.mark.parametrize("authority", ["", "ann@named.example", "named.example%2Fsecret", "a b", "named.example#x"])
async def test_a_whole_url_with_a_malformed_host_is_refused(authority):
    start, _ = await ask_whole_url(make_site(), f"http://{authority}/names/x")

    assert start["status"] == 400


@pytest.mark.parametrize("raw_path", [True, False])
@pytest.mark.parametrize("kind", ["plain", "with hosts", "with ASGI middleware"])
@pytest.mark.parametrize(
    "target",
    ["ftp://named.example/", "http:/", "http:", "http:/a/", "*", "a", "/http://named.example/", "http:%2F/a/b"],
)
async def test_what_is_no_http_url_and_no_path_is_a_404(target, kind, raw_path):
    app = make_site()
    if kind == "with hosts":
        app.mount("", Router("inner", __name__, host="named.example"))
    elif kind == "with ASGI middleware":
        app.add_asgi_middleware(lambda inner: inner)

    start, _ = await ask_whole_url(app, target, raw_path=raw_path)

    assert start["status"] == 404


async def test_a_whole_url_meets_the_root_path_of_a_server():
    _, body = await ask_whole_url(make_site(), "http://named.example/api/names/x", root_path="/api")

    assert body == "x /names/x http://named.example/api/names/x http://named.example/api/"


@pytest.mark.parametrize("authority", ["named.example", "a@b"])
async def test_asgi_middleware_sees_the_path_of_a_whole_url(authority):
    app, seen = make_site(), []

    def note(inner):
        async def call(scope, receive, send):
            seen.append((scope["path"], scope["raw_path"]))
            await inner(scope, receive, send)

        return call

    app.add_asgi_middleware(note)
    target = f"http://{authority}/names/x"

    start, _ = await ask_whole_url(app, target)

    resolved = ("/names/x", b"/names/x") if authority == "named.example" else (target, target.encode())
    assert (seen, start["status"]) == ([resolved], 200 if authority == "named.example" else 400)


async def test_a_proxy_that_is_trusted_knows_the_host_better_than_a_whole_url():
    app = make_site()
    app.add_middleware(ProxyHeaders(["127.0.0.1"]))
    forwarded = [(b"x-forwarded-host", b"public.example"), (b"x-forwarded-prefix", b"/api")]

    _, body = await ask_whole_url(app, "http://inner.example/", headers=[(b"host", b"inner.example"), *forwarded])

    assert body == "http://public.example/api/"


@pytest.mark.parametrize(("host", "first"), [("named.example", "websocket.accept"), ("a@b", "websocket.close")])
async def test_a_websocket_may_be_asked_for_by_a_whole_url(host, first):
    sent = []
    scope = make_scope("/ws", "GET", None, b"", "http://asked.example")
    scope |= {"type": "websocket", "path": f"http://{host}/ws", "raw_path": f"http://{host}/ws".encode()}
    scope["subprotocols"] = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    await make_app()(scope, receive, send)

    assert sent[0]["type"] == first
