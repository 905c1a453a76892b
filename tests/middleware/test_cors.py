"""CORS: what browsers let pages read, with Starlette's middleware to compare with."""

import re

import pytest
from starlette.middleware.cors import CORSMiddleware

from microweb import App, Router, SetupError, StreamingResponse, WebSocket
from microweb.middleware import CORS
from microweb.testing import Client

pytestmark = pytest.mark.anyio

SHOP = "https://shop.example"
SAFELISTED = {"accept", "accept-language", "content-language", "content-type"}


def make_app(*args, **options):
    app = App(__name__)
    app.add_middleware(CORS(*args, **options))
    register_views(app)
    return app


def register_views(app):
    @app.route("/", methods=["GET", "PUT"])
    async def view():
        return "hello"

    @app.get("/broken")
    async def broken():
        raise RuntimeError("no")


async def preflight(client, origin=SHOP, method="PUT", headers=None, path="/"):
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    if headers is not None:
        asked["Access-Control-Request-Headers"] = headers
    return await client.options(path, headers=asked)


async def test_a_page_of_a_listed_origin_may_read_the_answer():
    async with Client(make_app([SHOP])) as client:
        response = await client.get("/", headers={"Origin": SHOP})

    assert response.headers["access-control-allow-origin"] == SHOP
    assert response.headers["vary"] == "Origin"
    assert "access-control-allow-credentials" not in response.headers


async def test_an_answer_to_nobody_in_particular_varies_by_origin_too():
    async with Client(make_app([SHOP])) as client:
        response = await client.get("/")

    assert response.headers["vary"] == "Origin"
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize(
    "origin",
    [
        "https://shop.example.evil.example",
        "https://evilshop.example",
        "http://shop.example",
        "https://shop.example:8443",
        "https://shop.example/",
        "https://SHOP.example",
        "https://a.shops.example.evil",
        "null",
        "",
        "*",
    ],
)
async def test_an_origin_that_only_looks_like_a_listed_one_is_refused(origin):
    app = make_app([SHOP, re.compile(r"https://\w+\.shops\.example")])

    async with Client(app) as client:
        answers = [await client.get("/", headers={"Origin": origin}), await preflight(client, origin)]

    assert [answer.status_code for answer in answers] == [200, 403]
    assert [answer for answer in answers if "access-control-allow-origin" in answer.headers] == []


async def test_a_pattern_matches_whole_origins():
    async with Client(make_app(re.compile(r"https://\w+\.shops\.example"))) as client:
        response = await client.get("/", headers={"Origin": "https://one.shops.example"})

    assert response.headers["access-control-allow-origin"] == "https://one.shops.example"


@pytest.mark.parametrize("character", ["\x01", "\t", "\n", "\x7f", "\x85"])
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
async def test_what_no_header_can_hold_is_no_origin(character, method):
    app = make_app(re.compile(r"https://[^/]*\.shops\.example", re.DOTALL))
    headers = [
        (b"origin", f"https://a{character}b.shops.example".encode("latin-1")),
        (b"access-control-request-method", b"PUT"),
    ]

    async with Client(app, lint=False) as client:
        response = await client.request(method, "/", headers=headers)

    assert response.status_code == (200 if method == "GET" else 403)
    assert "access-control-allow-origin" not in response.headers


async def test_everybody_gets_a_star_and_caches_need_not_tell_them_apart():
    async with Client(make_app("*")) as client:
        response = await client.get("/", headers={"Origin": "https://anyone.example"})

    assert response.headers["access-control-allow-origin"] == "*"
    assert "vary" not in response.headers


async def test_a_star_is_on_what_a_cache_keeps_of_a_request_without_an_origin_too():
    async with Client(make_app("*", expose=["X-Total"])) as client:
        response = await client.get("/")

    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["access-control-expose-headers"] == "X-Total"


async def test_null_is_an_origin_only_when_it_is_listed():
    async with Client(make_app(["null"])) as client:
        response = await client.get("/", headers={"Origin": "null"})

    assert response.headers["access-control-allow-origin"] == "null"


@pytest.mark.parametrize("origins", ["*", ["*"], [SHOP, "*"]])
async def test_credentials_are_never_let_through_for_every_site(origins):
    with pytest.raises(SetupError, match="list the origins"):
        CORS(origins, credentials=True)


@pytest.mark.parametrize(
    "origin",
    [
        "shop.example",
        "https://shop.example/",
        "https://",
        "https://u@shop.example",
        "",
        "https://*.shop.example",
        "https://caf\xe9.example",
    ],
)
async def test_an_origin_that_is_none_is_a_mistake(origin):
    with pytest.raises(SetupError, match="an origin is a scheme and a host"):
        CORS([origin])


@pytest.mark.parametrize("max_age", ["soon", float("nan"), float("inf")])
def test_a_max_age_that_is_no_number_of_seconds_is_a_mistake(max_age):
    with pytest.raises(SetupError, match="a max_age in whole seconds"):
        CORS(SHOP, max_age=max_age)


async def test_an_origin_may_be_written_as_people_write_it():
    async with Client(make_app("HTTPS://Shop.example:443")) as client:
        response = await client.get("/", headers={"Origin": SHOP})

    assert response.headers["access-control-allow-origin"] == SHOP


async def test_a_preflight_is_answered_without_the_view():
    app, calls = App(__name__), []
    app.add_middleware(CORS(SHOP, methods=["PUT"], headers=["X-Token"], credentials=True, max_age=60))
    app.route("/", methods=["OPTIONS", "PUT"])(lambda: calls.append("view") or "view")

    async with Client(app) as client:
        response = await preflight(client, headers="x-token")

    assert (response.status_code, response.content, calls) == (204, b"", [])
    assert response.headers["access-control-allow-methods"] == "PUT"
    assert response.headers["access-control-allow-headers"] == "X-Token"
    assert response.headers["access-control-allow-credentials"] == "true"
    assert response.headers["access-control-max-age"] == "60"
    assert response.headers["vary"] == "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"


async def test_options_without_the_question_of_a_preflight_is_for_the_app():
    async with Client(make_app(SHOP)) as client:
        response = await client.options("/", headers={"Origin": SHOP})

    assert (response.status_code, response.headers["allow"]) == (200, "GET, HEAD, OPTIONS, PUT")
    assert response.headers["access-control-allow-origin"] == SHOP


@pytest.mark.parametrize("asked", ["x-a\x01", "x a", "x-a,,", ";", "x" * 7000 + " "])
async def test_what_is_no_list_of_names_is_not_sent_back(asked):
    headers = [(b"origin", SHOP.encode()), (b"access-control-request-method", b"PUT")]
    headers.append((b"access-control-request-headers", asked.encode()))

    async with Client(make_app(SHOP), lint=False) as client:
        response = await client.options("/", headers=headers)

    assert (response.status_code, response.headers.get("access-control-allow-headers")) == (204, None)


@pytest.mark.parametrize(("path", "status"), [("/broken", 500), ("/nowhere", 404)])
async def test_an_error_answer_can_be_read_too(path, status):
    async with Client(make_app(SHOP, expose=["X-Total"]), raise_errors=False) as client:
        response = await client.get(path, headers={"Origin": SHOP})

    assert (response.status_code, response.headers["access-control-allow-origin"]) == (status, SHOP)
    assert response.headers["access-control-expose-headers"] == "X-Total"


async def test_a_stream_is_not_held_back():
    app = make_app(SHOP)

    @app.get("/stream")
    async def stream():
        async def body():
            yield "a"
            yield "b"

        return StreamingResponse(body(), headers={"Vary": "Cookie"})

    async with Client(app) as client, client.stream("GET", "/stream", headers={"Origin": SHOP}) as response:
        chunks = [chunk async for chunk in response.aiter_raw()]

    assert chunks == [b"a", b"b"]
    assert response.headers["vary"] == "Cookie, Origin"


async def test_on_a_router_it_holds_for_the_router_alone():
    app, api = App(__name__), Router("api", __name__, prefix="/api")
    api.add_middleware(CORS(SHOP))
    register_views(app)
    register_views(api)
    app.mount("", api)

    async with Client(app) as client:
        answers = [await preflight(client, path=path) for path in ("/", "/api/")]

    assert ["access-control-allow-origin" in answer.headers for answer in answers] == [False, True]


async def test_on_a_route_preflights_need_options_among_its_methods():
    app = App(__name__)
    app.route("/", methods=["PUT", "OPTIONS"], middleware=[CORS(SHOP)])(lambda: "hello")

    async with Client(app) as client:
        response = await preflight(client)

    assert response.headers["access-control-allow-origin"] == SHOP


async def test_websockets_meet_none_of_it():
    app = make_app(SHOP)

    @app.websocket("/ws")
    async def ws(websocket: WebSocket):
        await websocket.accept()
        await websocket.send_text("hello")

    async with Client(app) as client, client.websocket("/ws", headers={"Origin": "https://evil.example"}) as socket:
        assert await socket.receive() == "hello"


# Against Starlette's ---------------------------------------------------------------------------------


def may_read(answer, origin, credentials):
    """The CORS check of the Fetch standard, §3.2.6 (4.10 in older texts)."""
    allowed = answer.headers.get("access-control-allow-origin")
    if allowed == "*" and not credentials:
        return True
    return allowed == origin and (not credentials or answer.headers.get("access-control-allow-credentials") == "true")


def names_in(answer, header):
    return {name.strip().lower() for name in answer.headers.get(header, "").split(",")} - {""}


async def browse(client, origin, method, headers, credentials):
    """What a browser lets a page of ``origin`` do: read the answer, or nothing."""
    if method not in ("GET", "HEAD", "POST") or headers - SAFELISTED:
        answer = await preflight(client, origin, method, ",".join(sorted(headers)) if headers else None)
        if not answer.is_success or not may_read(answer, origin, credentials):
            return "not sent"
        methods, allowed = (names_in(answer, f"access-control-allow-{what}") for what in ("methods", "headers"))
        star = set() if credentials else {"*"}
        if method not in ("GET", "HEAD", "POST") and method.lower() not in methods and not star & methods:
            return "not sent"
        missing = headers - SAFELISTED - allowed
        if missing and (not star & allowed or "authorization" in missing):
            return "not sent"
    answer = await client.request(method, "/", headers={"Origin": origin, **dict.fromkeys(headers, "1")})
    return "read" if may_read(answer, origin, credentials) else "not read"


REQUESTS = [
    (origin, method, headers)
    for origin in (SHOP, "https://evil.example", "https://a.shops.example", "null")
    for method in ("GET", "PUT", "DELETE")
    for headers in (set(), {"x-token"}, {"authorization"}, {"x-other", "x-token"})
]


@pytest.mark.parametrize("credentials", [False, True])
@pytest.mark.parametrize("allowed", [["X-Token"], ["*"]], ids=str)
@pytest.mark.parametrize("methods", [["GET", "PUT"], ["*"]], ids=str)
async def test_a_browser_comes_to_the_same_with_starlettes(credentials, allowed, methods):
    pattern = r"https://\w+\.shops\.example"
    ours = make_app([SHOP, re.compile(pattern)], methods=methods, headers=allowed, credentials=credentials)
    theirs = App(__name__)
    theirs.add_asgi_middleware(
        CORSMiddleware,
        allow_origins=[SHOP],
        allow_origin_regex=pattern,
        allow_methods=methods,
        allow_headers=allowed,
        allow_credentials=credentials,
    )
    register_views(theirs)

    outcomes = []
    for app in (ours, theirs):
        async with Client(app) as client:
            outcomes.append([await browse(client, *request, credentials) for request in REQUESTS])

    assert outcomes[0] == outcomes[1]
    assert set(outcomes[0]) == {"read", "not read", "not sent"}
