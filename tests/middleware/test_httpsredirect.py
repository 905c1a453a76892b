"""HTTPSRedirect: plain http is sent to https."""

import pytest

from microweb import App, Router, SetupError, WebSocket
from microweb.middleware import HTTPSRedirect
from microweb.testing import Client

pytestmark = pytest.mark.anyio


def make_app(*args, **options):
    app = App(__name__)
    app.add_middleware(HTTPSRedirect(*args, **options))
    app.route("/<path:rest>", methods=["GET", "POST"])(lambda rest: f"hello {rest}")
    return app


@pytest.mark.parametrize(
    ("host", "path", "location"),
    [
        ("example.org", "/a%20b/c?q=%2F", "https://example.org/a%20b/c?q=%2F"),
        ("example.org:8000", "/a", "https://example.org/a"),
        ("[::1]:80", "/a?", "https://[::1]/a"),
    ],
)
async def test_a_get_is_sent_to_the_same_url(host, path, location):
    async with Client(make_app()) as client:
        response = await client.get(path, headers={"Host": host})

    assert (response.status_code, response.headers["location"]) == (308, location)


async def test_what_is_secure_goes_on():
    async with Client(make_app(), base_url="https://example.org") as client:
        response = await client.get("/a")

    assert response.text == "hello a"


@pytest.mark.parametrize(
    "path",
    [b"//evil.example/", b"/\\evil.example", b"/@evil.example", b"/a\r\nx: y", b"/\xff\x00"]
    + [b"@evil.example/", b".evil.example/", b"http://a@evil.example/", b"*"],
)
async def test_no_path_leads_to_another_host(path):
    answers = []
    scope = {
        "type": "http",
        "method": "GET",
        "path": path.decode("utf-8", "replace"),
        "raw_path": path,
        "query_string": b"a=\r\n",
        "headers": [(b"host", b"example.org")],
    }

    async def receive():
        return {"type": "http.request"}

    async def send(message):
        answers.append(message)

    await make_app()(scope, receive, send)

    location = dict(answers[0]["headers"])[b"location"]
    assert location.startswith(b"https://example.org/")
    assert not set(location) & set(b"\r\n\0\\ ")


async def test_a_body_that_was_told_to_everyone_is_refused():
    async with Client(make_app()) as client:
        response = await client.post("/a", content=b"secret")

    assert (response.status_code, "location" in response.headers) == (403, False)


async def test_a_malformed_host_is_a_bad_request():
    async with Client(make_app(), lint=False) as client:
        response = await client.get("/a", headers={"Host": "a/b"})

    assert response.status_code == 400


async def test_status_and_port_can_be_chosen():
    async with Client(make_app(307, port=8443)) as client:
        response = await client.get("/a")

    assert (response.status_code, response.headers["location"]) == (307, "https://testserver:8443/a")


async def test_on_a_router_it_holds_for_the_router_alone():
    app, login = App(__name__), Router("login", __name__, prefix="/login")
    login.add_middleware(HTTPSRedirect())
    login.get("/")(lambda: "login")
    app.get("/")(lambda: "home")
    app.mount("", login)

    async with Client(app) as client:
        statuses = [(await client.get(path)).status_code for path in ("/", "/login/")]

    assert statuses == [200, 308]


async def test_websockets_are_not_redirected():
    app = make_app()

    @app.websocket("/ws")
    async def ws(websocket: WebSocket):
        await websocket.accept()
        await websocket.send_text("hello")

    async with Client(app) as client, client.websocket("/ws") as socket:
        assert await socket.receive() == "hello"


@pytest.mark.parametrize("status", [200, 304, 404])
def test_a_status_that_redirects_nobody_is_a_mistake(status):
    with pytest.raises(SetupError, match="308"):
        HTTPSRedirect(status)


@pytest.mark.parametrize("port", [0, 65536, "8443"])
def test_a_port_that_is_none_is_a_mistake(port):
    with pytest.raises(SetupError, match="from 1 to 65535"):
        HTTPSRedirect(port=port)
