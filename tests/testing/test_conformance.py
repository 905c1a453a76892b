"""Everything that the in-process server does is compared with uvicorn on a socket."""

import asyncio
import contextlib
import socket
import threading

import anyio
import httpx
import pytest
import uvicorn
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import ConnectionClosed, InvalidStatus

from microweb.errors import WebSocketDisconnect
from microweb.testing import Client, Lint, WebSocketDenied

pytestmark = [pytest.mark.wire, pytest.mark.anyio]


@pytest.fixture
def anyio_backend():
    return "asyncio"


@contextlib.asynccontextmanager
async def uvicorn_serving(app, **options):
    """The base URL of a real server; the app is wrapped in a lint that must find nothing."""
    lint = Lint(app)
    config = uvicorn.Config(lint, log_level="critical", lifespan="off", ws="websockets-sansio", **options)
    server = uvicorn.Server(config)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
        thread.start()
        try:
            while not server.started:
                await anyio.lowlevel.checkpoint()
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await anyio.to_thread.run_sync(thread.join)
    lint.check()


async def respond(send, body=b"", status=200, headers=()):
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})


async def ask_both(app, call, **options):
    """What ``call(client)`` gives in-process and over a socket."""
    async with Client(app, lifespan=False, raise_errors=False, **options) as client:
        inside = await call(client)
    async with uvicorn_serving(app, **options) as url, httpx.AsyncClient(base_url=url, timeout=10) as client:
        outside = await call(client)
    return inside, outside


@pytest.mark.parametrize("root_path", ["", "/api"])
@pytest.mark.parametrize("path", ["/", "/caf%C3%A9/a%2Fb?x=1&y=%20", "/a//b", "/%ff?", "/?a?b"])
async def test_the_scope_is_uvicorns(path, root_path):
    scopes = []

    async def app(scope, receive, send):
        scopes.append({key: value for key, value in scope.items() if key not in ("client", "server", "extensions")})
        await respond(send)

    headers = {"X-Custom": "Value", "Host": "example.org"}
    await ask_both(app, lambda client: client.get(path, headers=headers), root_path=root_path)

    inside, outside = scopes
    outside.pop("state")
    assert inside.pop("asgi")["version"] == outside.pop("asgi")["version"]
    assert sorted(inside.pop("headers")) == sorted(outside.pop("headers"))
    assert inside == outside


@pytest.mark.parametrize("content", [None, b"", b"small", b"x" * 200_000])
async def test_the_body_is_the_same(content):
    async def app(scope, receive, send):
        body, more = b"", True
        while more:
            message = await receive()
            body += message["body"]
            more = message["more_body"]
        await respond(send, body)
        assert (await receive())["type"] == "http.disconnect"

    inside, outside = await ask_both(app, lambda client: client.post("/", content=content))

    assert inside.content == outside.content == (content or b"")


async def test_a_body_in_chunks_is_the_same():
    async def app(scope, receive, send):
        body = b""
        while (message := await receive())["more_body"]:
            body += message["body"]
        await respond(send, body + message["body"])

    async def chunks():
        yield b"one "
        yield b"two"

    inside, outside = await ask_both(app, lambda client: client.post("/", content=chunks()))

    assert inside.content == outside.content == b"one two"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("status", [200, 204, 304, 404, 500])
async def test_status_headers_and_body_are_the_same(method, status):
    async def app(scope, receive, send):
        body = b"" if method == "HEAD" or status in (204, 304) else b"body"
        length = [] if status == 204 else [(b"content-length", b"4")]
        await respond(send, body, status, [(b"x-a", b"1"), (b"x-a", b"2"), *length])

    inside, outside = await ask_both(app, lambda client: client.request(method, "/"))

    added = ("date", "server")
    assert inside.status_code == outside.status_code
    assert inside.content == outside.content
    assert inside.headers.multi_items() == [item for item in outside.headers.multi_items() if item[0] not in added]


async def test_an_app_that_fails_is_the_same_500():
    async def app(scope, receive, send):
        raise KeyError("broken")

    inside, outside = await ask_both(app, lambda client: client.get("/"))

    assert (inside.status_code, inside.content) == (outside.status_code, outside.content)
    assert dict(inside.headers).items() <= dict(outside.headers).items() | {("content-length", "21")}


async def test_an_app_that_fails_in_the_middle_is_the_same_error():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise KeyError("broken")

    async def call(client):
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/")

    await ask_both(app, call)


async def test_a_client_that_leaves_is_noticed_by_both():
    noticed = []

    async def app(scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        noticed.append(await receive())

    async def call(client):
        before = len(noticed)
        async with client.stream("GET", "/") as response:
            await anext(response.aiter_bytes())
        with anyio.fail_after(5):
            while len(noticed) == before:
                await anyio.lowlevel.checkpoint()

    await ask_both(app, call)

    assert noticed == [{"type": "http.disconnect"}] * 2


# Websockets -----------------------------------------------------------------------------------------


async def see_websocket(app, messages, *, leave=None):
    """What a client sees in-process and over a socket: (subprotocol, messages, code) or (status, body)."""
    inside = outside = None
    async with Client(app, lifespan=False, raise_errors=False) as client:
        try:
            async with client.websocket("/chat?a=1", subprotocols=["v1", "v2"]) as websocket:
                for message in messages:
                    await websocket.send_text(message)
                seen = []
                if leave is not None:
                    await websocket.close(leave)
                with pytest.raises(WebSocketDisconnect) as closed:
                    while True:
                        seen.append(await websocket.receive())
                inside = (websocket.accepted_subprotocol, seen, closed.value.code)
        except WebSocketDenied as denied:
            inside = (denied.response.status_code, denied.response.content)
    async with uvicorn_serving(app) as url:
        try:
            async with connect_websocket(
                f"ws{url.removeprefix('http')}/chat?a=1",
                subprotocols=["v1", "v2"],
                compression=None,
                proxy=None,
            ) as websocket:
                for message in messages:
                    await websocket.send(message)
                seen = []
                if leave is not None:
                    await websocket.close(leave)
                with pytest.raises(ConnectionClosed):
                    while True:
                        seen.append(await websocket.recv())
                outside = (websocket.subprotocol, seen, websocket.close_code)
        except InvalidStatus as denied:
            outside = (denied.response.status_code, denied.response.body)
    return inside, outside


async def test_a_websocket_is_the_same():
    scopes = []

    async def app(scope, receive, send):
        scopes.append(scope)
        assert await receive() == {"type": "websocket.connect"}
        await send({"type": "websocket.accept", "subprotocol": "v2"})
        for _ in range(2):
            await send({**await receive(), "type": "websocket.send"})
        await send({"type": "websocket.close", "code": 4001, "reason": "enough"})
        message = await receive()
        assert message["type"] == "websocket.disconnect"

    inside, outside = await see_websocket(app, ["one", "two"])

    assert inside == outside == ("v2", ["one", "two"], 4001)
    for key in ("type", "scheme", "path", "raw_path", "query_string", "subprotocols", "http_version"):
        assert scopes[0][key] == scopes[1][key]
    assert set(scopes[0]["extensions"]) - {"microweb.errors"} <= set(scopes[1]["extensions"])


async def test_the_clients_close_code_reaches_both():
    codes = []

    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        codes.append((await receive())["code"])

    await see_websocket(app, [], leave=4005)

    assert codes == [4005, 4005]


async def test_an_app_that_ends_without_a_close_is_the_same():
    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})

    inside, outside = await see_websocket(app, [])

    assert inside == outside == (None, [], 1006)


async def test_a_close_before_the_accept_is_the_same_403():
    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.close"})

    inside, outside = await see_websocket(app, [])

    assert inside[0] == outside[0] == 403


async def test_a_denial_response_is_the_same():
    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.http.response.start", "status": 401, "headers": [(b"content-length", b"4")]})
        await send({"type": "websocket.http.response.body", "body": b"who?"})

    inside, outside = await see_websocket(app, [])

    assert inside == outside == (401, b"who?")


async def test_an_app_that_fails_before_the_accept_is_the_same_500():
    async def app(scope, receive, send):
        raise KeyError("broken")

    inside, outside = await see_websocket(app, [])

    assert inside[0] == outside[0] == 500
