"""All of the built-in middleware around one app."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from microweb import App, WebSocket
from microweb.middleware import (
    CORS,
    CSRF,
    Compress,
    HTTPSRedirect,
    ProxyHeaders,
    RateLimit,
    RequestID,
    SecurityHeaders,
    Timeout,
    TrustedHosts,
)
from microweb.testing import Client, SyncClient

pytestmark = pytest.mark.anyio

SHOP = "https://shop.example"


def make_app():
    app = App(__name__)
    for layer in (
        ProxyHeaders(["127.0.0.1"]),
        RequestID(),
        TrustedHosts(["testserver"]),
        HTTPSRedirect(),
        SecurityHeaders(content_security_policy_nonce_in=["script-src"]),
        CORS([SHOP], credentials=True),
        CSRF(trusted_origins=[SHOP]),
        RateLimit("1000/second"),
        Timeout(30),
        Compress(minimum=0),
    ):
        app.add_middleware(layer)

    @app.route("/", methods=["GET", "POST"])
    async def home():
        return "hello " * 100

    @app.get("/broken")
    async def broken():
        raise RuntimeError("no")

    async def foreign(scope, receive, send):
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"vary", b"cookie")]})
            await send({"type": "http.response.body", "body": b"foreign"})

    app.mount("/foreign", foreign)

    @app.websocket("/ws")
    async def ws(websocket: WebSocket):
        await websocket.accept()
        await websocket.send_text(websocket.scheme)

    return app


@pytest.mark.parametrize(("path", "status"), [("/", 200), ("/broken", 500), ("/nowhere", 404), ("/foreign/", 200)])
async def test_every_answer_has_what_each_of_them_adds(path, status):
    sent = {"X-Forwarded-Proto": "https", "Origin": SHOP, "X-Request-ID": "abc", "Accept-Encoding": "gzip"}

    async with Client(make_app(), raise_errors=False) as client:
        response = await client.get(path, headers=sent)

    assert response.status_code == status
    assert response.headers["x-request-id"] == "abc"
    assert response.headers["access-control-allow-origin"] == SHOP
    assert response.headers["access-control-allow-credentials"] == "true"
    assert "nonce-" in response.headers["content-security-policy"]
    assert "strict-transport-security" in response.headers
    assert response.headers["ratelimit-policy"] == '"default";q=1000;w=1'
    assert "Origin" in response.headers["vary"]


async def test_each_refusal_has_what_stands_outside_of_it():
    async with Client(make_app()) as client:
        host = await client.get("/", headers={"Host": "evil.example"})
        plain = await client.get("/")
        other = await client.post("/", headers={"X-Forwarded-Proto": "https", "Sec-Fetch-Site": "cross-site"})

    assert [answer.status_code for answer in (host, plain, other)] == [400, 308, 403]
    assert all("x-request-id" in answer.headers for answer in (host, plain, other))
    assert "content-security-policy" in other.headers


async def test_websockets_meet_the_proxy_headers_alone():
    sent = {"Origin": "https://evil.example", "Host": "evil.example", "X-Forwarded-Proto": "https"}
    sent["Sec-Fetch-Site"] = "cross-site"

    async with Client(make_app()) as client, client.websocket("/ws", headers=sent) as socket:
        assert await socket.receive() == "wss"


READ = [
    "accept-encoding",
    "access-control-request-headers",
    "access-control-request-method",
    "host",
    "if-none-match",
    "origin",
    "sec-fetch-site",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-request-id",
]


@pytest.fixture(scope="module")
def client():
    with SyncClient(make_app(), lint=False) as client:
        yield client


@pytest.mark.slow
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "POST", "OPTIONS", "HEAD"]),
    headers=st.lists(st.tuples(st.sampled_from(READ), st.binary(max_size=40)), max_size=8),
)
def test_no_header_that_they_read_makes_a_500(client, method, headers):
    lines = [(name.encode(), value) for name, value in headers]

    response = client.request(method, "/", headers=lines)

    assert response.status_code < 500


@pytest.mark.parametrize("name", READ)
def test_a_header_of_eight_thousand_bytes_takes_no_time(client, name, growth):
    def work(size):
        for pattern in (b",", b"a,", b'"', b"/a", b"1.1.1.1,", b"gzip;q=0.1,", b" "):
            client.get("/", headers=[(name.encode(), pattern * (size // len(pattern)))])

    assert growth(work, 4000, 8000) < 2.6
