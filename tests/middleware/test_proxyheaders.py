"""ProxyHeaders: what a listed proxy says of the client."""

import pytest

from microweb import App, Request, Router, SetupError, WebSocket, url_for
from microweb.middleware import ProxyHeaders
from microweb.testing import Client

pytestmark = pytest.mark.anyio

ALL = {
    "X-Forwarded-For": "203.0.113.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "shop.example:8443",
    "X-Forwarded-Prefix": "/shop",
}


def make_app(trusted=("10.0.0.0/8",), *args, **options):
    app = App(__name__)
    app.add_middleware(ProxyHeaders(list(trusted), *args, **options))

    @app.get("/books/<int:number>", endpoint="book")
    async def book(request: Request, number: int):
        return {
            "client": request.client,
            "scheme": request.scheme,
            "host": request.host,
            "root": request.root_path,
            "path": request.path,
            "url": request.url,
            "link": url_for("book", number=8),
        }

    return app


async def see(app, headers, client=("10.1.2.3", 4000), **options):
    async with Client(app, client=client, base_url="http://inner:8000", lint=False, **options) as opened:
        response = await opened.get("/books/7", headers=headers)
        return response.json() if response.is_success else response.status_code


async def test_everything_is_as_the_client_sees_it():
    seen = await see(make_app(), ALL)

    assert seen == {
        "client": ["203.0.113.7", 0],
        "scheme": "https",
        "host": "shop.example:8443",
        "root": "/shop",
        "path": "/books/7",
        "url": "https://shop.example:8443/shop/books/7",
        "link": "/shop/books/8",
    }


@pytest.mark.parametrize("client", [("192.0.2.1", 1), ("11.0.0.1", 1), ("::1", 1), ("testclient", 1), None])
async def test_nobody_else_is_believed(client):
    app = make_app()

    assert await see(app, ALL, client) == await see(app, {}, client)


@pytest.mark.parametrize(
    ("trusted", "client"),
    [("10.1.2.3", "10.1.2.3"), ("10.0.0.0/8", "::ffff:10.1.2.3"), ("::1", "::1"), ("fd00::/8", "fd12::1")],
)
async def test_a_proxy_is_an_address_or_a_network(trusted, client):
    seen = await see(make_app([trusted]), ALL, (client, 1))

    assert seen["client"] == ["203.0.113.7", 0]


async def test_a_unix_socket_has_to_be_listed_as_one():
    seen = await see(make_app(["unix"]), ALL, None)

    assert seen["client"] == ["203.0.113.7", 0]
    assert (await see(make_app(["unix"]), ALL))["client"] == ["10.1.2.3", 4000]


@pytest.mark.parametrize(
    ("hops", "header", "client"),
    [
        (1, "6.6.6.6, 203.0.113.7", "203.0.113.7"),
        (1, "203.0.113.7, 10.0.0.2", "10.0.0.2"),
        (2, "6.6.6.6, 203.0.113.7, 10.0.0.2", "203.0.113.7"),
        (2, "6.6.6.6, 203.0.113.7", "203.0.113.7"),
        (3, "6.6.6.6, 203.0.113.7, 10.0.0.2", "203.0.113.7"),
        (3, "10.0.0.9, 10.0.0.8, 10.0.0.7, 10.0.0.6", "10.0.0.8"),
        (3, "6.6.6.6, unknown, 10.0.0.2", "10.0.0.2"),
        (2, "203.0.113.7", "203.0.113.7"),
    ],
)
async def test_an_address_that_the_client_has_written_itself_is_not_reached(hops, header, client):
    seen = await see(make_app(hops=hops), {"X-Forwarded-For": header})

    assert seen["client"][0] == client


@pytest.mark.parametrize(
    ("entry", "client"),
    [
        ("203.0.113.7:5678", ["203.0.113.7", 5678]),
        ("[2001:db8::1]:5678", ["2001:db8::1", 5678]),
        ("2001:db8::1", ["2001:db8::1", 0]),
        ("[2001:db8::1]", ["2001:db8::1", 0]),
        ("::ffff:203.0.113.7", ["203.0.113.7", 0]),
        ("203.0.113.7:x", ["203.0.113.7", 0]),
        ("unknown", ["10.1.2.3", 4000]),
        ("", ["10.1.2.3", 4000]),
        ("1.2.3", ["10.1.2.3", 4000]),
        ("<script>", ["10.1.2.3", 4000]),
        (",", ["10.1.2.3", 4000]),
        ("9" * 5000, ["10.1.2.3", 4000]),
    ],
)
async def test_an_entry_is_an_address_or_nothing(entry, client):
    assert (await see(make_app(), {"X-Forwarded-For": entry}))["client"] == client


async def test_several_lines_are_one_list():
    lines = [("X-Forwarded-For", "203.0.113.7"), ("Accept", "*/*"), ("X-Forwarded-For", "10.0.0.2")]

    assert [(await see(make_app(hops=hops), lines))["client"][0] for hops in (1, 2)] == ["10.0.0.2", "203.0.113.7"]


def test_the_lines_of_one_header_are_read_in_linear_time(growth):
    async def answer(scope, receive, send):
        assert scope["client"] == ("203.0.113.7", 0)

    behind_proxy = ProxyHeaders(["10.0.0.0/8"])(answer)

    def read(count):
        lines = [(b"x-forwarded-for", b"203.0.113.7")] * count
        scope = {"type": "http", "path": "/", "headers": lines, "client": ("10.1.2.3", 4000)}
        with pytest.raises(StopIteration):
            behind_proxy(scope, None, None).send(None)

    assert growth(read, 25_000, 50_000) < 2.6


async def test_a_header_with_underscores_is_dropped():
    app = make_app()
    app.get("/headers", endpoint="headers")(lambda request: list(request.headers))

    async with Client(app, client=("10.0.0.1", 1), lint=False) as client:
        response = await client.get(
            "/headers", headers={"X_Forwarded_For": "6.6.6.6", "X-Forwarded_Host": "evil", "X_A": "b"}
        )

    assert (await see(app, {"X_Forwarded_For": "6.6.6.6"}))["client"] == ["10.1.2.3", 4000]
    assert [name for name in response.json() if "_" in name] == ["x_a"]


@pytest.mark.parametrize("scheme", ["ftp", "javascript", "", "https://", "httpss"])
async def test_an_odd_scheme_is_ignored(scheme):
    assert (await see(make_app(), {"X-Forwarded-Proto": scheme}))["scheme"] == "http"


@pytest.mark.parametrize("host", ["a/b", "a b", "evil@x", "a\\b"])
async def test_a_malformed_host_is_a_bad_request(host):
    assert await see(make_app(), {"X-Forwarded-Host": host}) == 400


@pytest.mark.parametrize(
    "prefix",
    [
        "//evil.example",
        "/a//b",
        "shop",
        "https://evil",
        "/a/../b",
        "/.",
        "/a?b",
        "/a#b",
        "/a b",
        "/\\evil",
        "/a%0a",
        "/",
        "",
    ],
)
async def test_a_prefix_that_is_no_plain_path_is_ignored(prefix):
    seen = await see(make_app(), {"X-Forwarded-Prefix": prefix})

    assert (seen["root"], seen["link"]) == ("", "/books/8")


async def test_a_prefix_comes_before_the_servers_own_root():
    seen = await see(make_app(), {"X-Forwarded-Prefix": "/shop/"}, root_path="/app")

    assert (seen["root"], seen["path"], seen["link"]) == ("/shop/app", "/books/7", "/shop/app/books/8")


async def test_a_path_that_begins_like_the_prefix_is_still_below_it():
    app = App(__name__)
    app.add_middleware(ProxyHeaders(["10.0.0.1"]))
    app.get("/shop/list")(lambda request: request.path)

    async with Client(app, client=("10.0.0.1", 1)) as client:
        response = await client.get("/shop/list", headers={"X-Forwarded-Prefix": "/shop"})

    assert response.text == "/shop/list"


async def test_what_two_proxies_wrote_is_read_at_the_same_distance():
    headers = {
        "X-Forwarded-For": "203.0.113.7, 10.0.0.2",
        "X-Forwarded-Proto": "https, http",
        "X-Forwarded-Host": "evil.example, shop.example, inner",
    }

    seen = await see(make_app(hops=2), headers)

    assert (seen["client"][0], seen["scheme"], seen["host"]) == ("203.0.113.7", "https", "shop.example")


async def test_headers_that_are_not_listed_are_not_read():
    seen = await see(make_app(headers=["for", "proto"]), ALL)

    assert (seen["client"], seen["scheme"]) == (["203.0.113.7", 0], "https")
    assert (seen["host"], seen["root"]) == ("inner:8000", "")


async def test_routes_are_found_by_the_host_that_the_client_asked_for():
    app = App(__name__)
    app.add_middleware(ProxyHeaders(["10.0.0.1"]))
    app.get("/", host="api.example", endpoint="api")(lambda: "api")
    app.get("/", host="inner", endpoint="inner")(lambda: "inner")

    async with Client(app, client=("10.0.0.1", 1), base_url="http://inner") as client:
        response = await client.get("/", headers={"X-Forwarded-Host": "api.example"})

    assert response.text == "api"


async def test_trusted_hosts_are_those_that_clients_ask_for():
    app = make_app()
    app.config["TRUSTED_HOSTS"] = ["shop.example"]

    assert (await see(app, ALL))["host"] == "shop.example:8443"
    assert await see(app, {}) == 400


async def test_websockets_are_seen_through_the_proxy_too():
    app = make_app()

    @app.websocket("/ws")
    async def ws(websocket: WebSocket):
        await websocket.accept()
        await websocket.send_json([websocket.remote_addr, websocket.scheme, websocket.host, websocket.root_path])

    async with Client(app, client=("10.0.0.1", 1)) as client, client.websocket("/ws", headers=ALL) as socket:
        assert await socket.receive_json() == ["203.0.113.7", "wss", "shop.example:8443", "/shop"]


async def test_add_asgi_middleware_takes_it_as_well():
    app = App(__name__)
    app.add_asgi_middleware(ProxyHeaders(["10.0.0.1"]))
    app.get("/")(lambda request: request.remote_addr)

    async with Client(app, client=("10.0.0.1", 1)) as client:
        response = await client.get("/", headers=ALL)

    assert response.text == "203.0.113.7"


async def test_explain_names_it():
    assert "microweb.middleware.proxyheaders.ProxyHeaders " in str(make_app().explain("GET", "/books/7"))


def test_a_router_cannot_have_it():
    with pytest.raises(SetupError, match=r"stands around the whole app.*test_proxyheaders\.py:\d+"):
        Router("api", __name__).add_middleware(ProxyHeaders(["10.0.0.1"]))


@pytest.mark.parametrize(
    ("trusted", "options", "message"),
    [
        ([], {}, "needs the proxies"),
        (["*"], {}, "0.0.0.0/0"),
        (["localhost"], {}, "names are not looked up"),
        (["10.0.0.1/99"], {}, "address or a network"),
        (["10.0.0.1"], {"hops": 0}, "1 or more"),
        (["10.0.0.1"], {"headers": ["port"]}, "'for'"),
        (["10.0.0.1"], {"headers": []}, "'for'"),
    ],
)
def test_a_mistake_in_the_list_is_told_at_once(trusted, options, message):
    with pytest.raises(SetupError, match=message):
        ProxyHeaders(trusted, **options)
