"""Websockets over real sockets: what uvicorn's two implementations make of the messages."""

import socket
import threading
import time
from contextlib import contextmanager

import anyio
import pytest
import uvicorn
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from microweb import App, abort
from tests.programs import wait_until

pytestmark = pytest.mark.wire


@contextmanager
def serving(app, **options):
    """Uvicorn in a thread of this process, on a port that the system chose; gives the URL."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()  # What comes before the server is ready waits.
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=5, **options))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
        assert not thread.is_alive()


@pytest.fixture(params=["websockets-sansio", "wsproto"])
def site(request):
    """The URL of an app with a few websockets."""
    app = App(__name__)

    @app.websocket("/echo")
    async def echo(websocket):
        await websocket.accept(headers={"x-hello": "1"})
        async for message in websocket:
            await (websocket.send_text if isinstance(message, str) else websocket.send_bytes)(message)

    @app.websocket("/denied")
    async def denied():
        abort(401, headers={"www-authenticate": "Basic"})

    @app.websocket("/broken")
    async def broken(websocket):
        await websocket.accept()
        raise ValueError

    with serving(app, ws=request.param) as url:
        yield url


def test_messages_come_back(site):
    with connect(f"{site}/echo") as ws:
        ws.send("text")
        ws.send(b"bytes")

        assert (ws.recv(10), ws.recv(10)) == ("text", b"bytes")
        assert ws.response.headers["x-hello"] == "1"


def test_a_denial_is_a_real_response(site):
    with pytest.raises(InvalidStatus) as refused, connect(f"{site}/denied"):
        pass

    assert refused.value.response.status_code == 401
    assert refused.value.response.headers["www-authenticate"] == "Basic"
    assert b"Unauthorized" in refused.value.response.body


def test_an_error_closes_with_1011(site):
    with connect(f"{site}/broken") as ws, pytest.raises(ConnectionClosed) as closed:
        ws.recv(10)

    assert closed.value.rcvd.code == 1011


@pytest.mark.slow
@pytest.mark.parametrize("websockets", ["websockets-sansio", "wsproto"])
def test_a_sender_waits_for_a_client_that_does_not_read(websockets):
    app, began = App(__name__), []

    @app.websocket("/")
    async def flood(websocket):
        await websocket.accept()
        for _ in range(1000):
            began.append(time.monotonic())
            await websocket.send_bytes(bytes(100_000))

    handshake = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    handshake += "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    with serving(app, ws=websockets) as url, socket.create_connection(("127.0.0.1", int(url.split(":")[2]))) as client:
        client.sendall(handshake.encode())
        wait_until(lambda: began and time.monotonic() - began[-1] > 0.3, "a send that waits")
        held = len(began)
        assert held < 1000

        while len(began) < held + 10:
            assert client.recv(100_000)


@pytest.mark.slow
@pytest.mark.parametrize("websockets", ["websockets-sansio", "wsproto"])
def test_a_client_that_the_server_itself_closes_is_no_error_of_the_view(websockets, caplog):
    app, ends = App(__name__), []

    @app.websocket("/")
    async def flood(websocket):
        await websocket.accept()
        try:
            while True:
                await websocket.send_text("x" * 1000)
                await anyio.lowlevel.checkpoint()
        except Exception as error:
            ends.append(repr(error))
            raise

    with serving(app, ws=websockets, ws_max_size=1000) as url, connect(url, close_timeout=1) as ws:
        ws.recv(10)
        ws.send("x" * 2000)
        wait_until(lambda: ends, "the end of the view")

    assert ends[0].startswith("WebSocketDisconnect")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
