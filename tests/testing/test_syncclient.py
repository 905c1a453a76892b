import threading

import anyio
import httpx
import pytest

from microweb.errors import WebSocketDisconnect
from microweb.failures import LifespanFailed
from microweb.testing import AppHangs, LintError, SyncClient, WebSocketDenied

pytestmark = pytest.mark.parametrize("backend", ["asyncio", "trio"])

ACCEPT = {"type": "websocket.accept"}


async def respond(send, body=b"", status=200, headers=()):
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})


async def read_body(receive):
    body = b""
    while True:
        message = await receive()
        body += message["body"]
        if not message["more_body"]:
            return body


async def echo(scope, receive, send):
    await receive()
    await send({**ACCEPT, "subprotocol": (scope["subprotocols"] or [None])[0], "headers": [(b"set-cookie", b"a=1")]})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


def connect(app, backend, **options):
    return SyncClient(app, lifespan=False, backend=backend, **options)


def test_a_request_is_answered_in_another_thread(backend):
    threads = []

    async def app(scope, receive, send):
        threads.append(threading.current_thread())
        await respond(send, await read_body(receive), headers=[(b"set-cookie", b"a=1")])

    with connect(app, backend) as client:
        response = client.post("/", content=b"hello")
        assert response.text == "hello"
        assert client.cookies["a"] == "1"

    assert threads[0] is not threading.current_thread()
    assert not threads[0].is_alive()


def test_the_block_runs_the_lifespan(backend):
    events = []

    async def app(scope, receive, send):
        if scope["type"] == "http":
            await respond(send, scope["state"]["greeting"].encode())
            return
        await receive()
        scope["state"]["greeting"] = "hello"
        await send({"type": "lifespan.startup.complete"})
        await receive()
        events.append("stop")
        await send({"type": "lifespan.shutdown.complete"})

    with SyncClient(app, backend=backend) as client:
        assert client.get("/").text == "hello"

    assert events == ["stop"]


def test_a_failed_start_is_raised_and_its_thread_ended(backend):
    threads = []

    async def app(scope, receive, send):
        threads.append(threading.current_thread())
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "sorry"})

    with pytest.raises(LifespanFailed, match="sorry"), SyncClient(app, backend=backend):
        pass

    assert not threads[0].is_alive()


def test_outside_of_its_block_it_says_how_to_open_it(backend):
    client = connect(echo, backend)

    with pytest.raises(RuntimeError, match="with SyncClient"):
        client.get("/")


def test_a_client_is_opened_once(backend):
    with connect(echo, backend) as client, pytest.raises(RuntimeError, match="more than once"):
        client.__enter__()


def test_closing_twice_is_quiet(backend):
    with connect(echo, backend) as client:
        client.close()
        assert client.is_closed


def test_a_stream_is_read_chunk_by_chunk(backend):
    made = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        for number in range(3):
            made.append(number)
            await send({"type": "http.response.body", "body": b"%d" % number, "more_body": True})
        await send({"type": "http.response.body"})

    with connect(app, backend) as client, client.stream("GET", "/") as response:
        for chunk in response.iter_bytes():
            # The app goes on when the chunk is taken, at the same time as this test.
            assert len(made) in (int(chunk) + 1, int(chunk) + 2)

    assert made == [0, 1, 2]


def test_leaving_a_stream_disconnects(backend):
    events = []

    async def app(scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        events.append((await receive())["type"])

    with connect(app, backend) as client:
        with client.stream("GET", "/") as response:
            assert next(response.iter_bytes()) == b"x"
        assert events == ["http.disconnect"]


def test_generators_files_and_forms_are_uploaded(backend, tmp_path):
    async def app(scope, receive, send):
        await respond(send, await read_body(receive))

    path = tmp_path / "file.txt"
    path.write_bytes(b"from a file")
    with connect(app, backend) as client, path.open("rb") as file:
        assert client.post("/", content=(b"%d" % number for number in range(3))).text == "012"
        assert client.post("/", content=file).text == "from a file"
        assert "from a form" in client.post("/", files={"f": ("a.txt", b"from a form")}).text


def test_an_async_body_is_refused_with_a_reason(backend):
    class Async(httpx.AsyncByteStream):
        async def __aiter__(self):
            yield b""

    with connect(echo, backend) as client, pytest.raises(TypeError, match="blocking body"):
        client._transport.handle_request(httpx.Request("POST", "http://testserver/", stream=Async()))


def test_errors_of_the_app_are_raised(backend):
    async def app(scope, receive, send):
        raise KeyError("broken")

    with connect(app, backend) as client, pytest.raises(KeyError, match="broken"):
        client.get("/")


def test_errors_of_the_app_can_be_a_500(backend):
    async def app(scope, receive, send):
        raise KeyError("broken")

    with connect(app, backend, raise_errors=False) as client:
        assert client.get("/").status_code == 500


def test_a_verdict_of_pytest_inside_the_app_does_not_end_the_loop(backend):
    async def app(scope, receive, send):
        if scope["path"] == "/fail":
            pytest.fail("wrong request")
        await respond(send)

    with connect(app, backend) as client:
        with pytest.raises(pytest.fail.Exception, match="wrong request"):
            client.get("/fail")
        assert client.get("/").status_code == 200


def test_it_lints(backend):
    async def app(scope, receive, send):
        await respond(send, "text")

    reason = r"`body` of http\.response\.body must be bytes"
    with connect(app, backend) as client, pytest.raises(LintError, match=reason):
        client.get("/")


def test_a_timeout_is_one_of_httpx(backend):
    async def app(scope, receive, send):
        await receive()
        await receive()

    with connect(app, backend, timeout=0.001) as client, pytest.raises(httpx.ReadTimeout):
        client.get("/")


def test_an_exchange_looks_at_the_app_and_disconnects(backend):
    entered = threading.Event()
    events = []

    async def app(scope, receive, send):
        await receive()
        entered.set()
        events.append((await receive())["type"])

    with connect(app, backend) as client, client.exchange("GET", "/") as exchange:
        assert entered.wait(5)
        assert exchange.running
        exchange.disconnect()
        with pytest.raises(httpx.ReadError):
            exchange.response()

    assert events == ["http.disconnect"]


def test_an_exchange_uploads_from_an_iterator(backend):
    async def app(scope, receive, send):
        await respond(send, await read_body(receive))

    with (
        connect(app, backend) as client,
        client.exchange("POST", "/", content=iter([b"a", b"b"])) as exchange,
    ):
        assert exchange.response().read() == b"ab"


def test_leaving_an_exchange_disconnects_and_raises_the_apps_error(backend):
    async def app(scope, receive, send):
        await receive()
        await receive()
        raise KeyError("while cleaning up")

    with connect(app, backend) as client, pytest.raises(KeyError, match="cleaning up"), client.exchange("GET", "/"):
        pass


def test_an_exchange_can_wait_for_the_end_of_the_app(backend):
    events = []

    async def app(scope, receive, send):
        await receive()
        await receive()
        await anyio.wait_all_tasks_blocked()
        events.append("ended")

    with connect(app, backend) as client, client.exchange("GET", "/") as exchange:
        exchange.disconnect()
        exchange.wait_ended()
        assert events == ["ended"]


def test_an_upload_that_blocks_holds_nobody(backend):
    blocks, released, waited = threading.Event(), threading.Event(), []

    def body():
        yield b"first"
        blocks.set()
        waited.append(released.wait(10))

    async def app(scope, receive, send):
        await receive()
        await anyio.to_thread.run_sync(blocks.wait)
        await respond(send, b"enough", 413)

    with connect(app, backend, grace=30) as client:
        assert client.post("/", content=body()).status_code == 413
        assert waited == []
    released.set()


def test_an_exchange_gives_its_response(backend):
    async def app(scope, receive, send):
        await respond(send, b"hello", headers=[(b"set-cookie", b"a=1")])

    with connect(app, backend) as client, client.exchange("GET", "/") as exchange:
        response = exchange.response()
        assert response.read() == b"hello"
        exchange.wait_ended()
        assert not exchange.running
        assert client.cookies["a"] == "1"


def test_a_websocket_sends_and_receives(backend):
    with connect(echo, backend) as client:
        with client.websocket("/", subprotocols=["v1"]) as websocket:
            websocket.send_text("text")
            websocket.send_bytes(b"bytes")
            websocket.send_json([1])
            websocket.send_text("last")

            assert websocket.receive_text() == "text"
            assert websocket.receive_bytes() == b"bytes"
            assert websocket.receive_json() == [1]
            assert websocket.receive() == "last"
            assert websocket.accepted_subprotocol == "v1"
            assert websocket.headers["sec-websocket-protocol"] == "v1"
        assert client.cookies["a"] == "1"


def test_a_websocket_is_iterated_until_its_close(backend):
    async def app(scope, receive, send):
        await receive()
        await send(ACCEPT)
        await send({"type": "websocket.send", "text": "one"})
        await send({"type": "websocket.close", "code": 1000 if scope["path"] == "/done" else 1011})

    with connect(app, backend) as client:
        with client.websocket("/done") as websocket:
            assert list(websocket) == ["one"]
        with client.websocket("/broken") as websocket, pytest.raises(WebSocketDisconnect, match="1011"):
            list(websocket)


def test_a_websocket_is_closed_or_dropped(backend):
    codes = []

    async def app(scope, receive, send):
        await receive()
        await send(ACCEPT)
        codes.append((await receive())["code"])

    with connect(app, backend) as client:
        with client.websocket("/") as websocket:
            websocket.close(4000, "enough")
        with client.websocket("/") as websocket:
            websocket.disconnect()
        with client.websocket("/"):
            pass
        assert codes == [4000, 1006, 1000]


def test_a_denied_websocket_raises(backend):
    async def app(scope, receive, send):
        await send({"type": "websocket.close"})

    with connect(app, backend) as client, pytest.raises(WebSocketDenied), client.websocket("/"):
        pass


def test_what_is_open_is_disconnected_by_the_end_of_the_block(backend):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        await anyio.sleep_forever()

    with pytest.raises(AppHangs), connect(app, backend, grace=0.001) as client:
        client.send(client.build_request("GET", "/"), stream=True)
