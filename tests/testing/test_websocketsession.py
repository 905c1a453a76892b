import anyio
import pytest

from microweb.errors import WebSocketDisconnect
from microweb.testing import AppHangs, Client, ClientGone, LintError, WebSocketDenied

pytestmark = pytest.mark.anyio

ACCEPT = {"type": "websocket.accept"}


async def echo(scope, receive, send):
    await receive()
    await send(ACCEPT)
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


def connect(app, **options):
    return Client(app, lifespan=False, **options)


# The handshake --------------------------------------------------------------------------------------


async def test_the_scope_is_what_a_server_sends():
    scopes = []

    async def app(scope, receive, send):
        scopes.append(dict(scope))
        await echo(scope, receive, send)

    async with (
        connect(app, cookies={"a": "1"}) as client,
        client.websocket("/chat?room=1", subprotocols=["v1", "v2"], headers={"Origin": "http://x"}),
    ):
        pass

    scope = scopes[0]
    headers = dict(scope["headers"])
    assert scope["type"] == "websocket"
    assert scope["scheme"] == "ws"
    assert (scope["path"], scope["query_string"]) == ("/chat", b"room=1")
    assert scope["subprotocols"] == ["v1", "v2"]
    assert "method" not in scope
    assert headers[b"cookie"] == b"a=1"
    assert headers[b"origin"] == b"http://x"
    assert headers[b"upgrade"] == b"websocket"
    assert headers[b"sec-websocket-protocol"] == b"v1, v2"
    assert sorted(scope["extensions"]) == ["microweb.errors", "websocket.http.response"]


@pytest.mark.parametrize(
    ("url", "scheme", "server"),
    [
        ("ws://example.org/", "ws", ("example.org", 80)),
        ("wss://example.org/", "wss", ("example.org", 443)),
        ("wss://example.org:8443/", "wss", ("example.org", 8443)),
    ],
)
async def test_a_whole_url_may_be_given(url, scheme, server):
    scopes = []

    async def app(scope, receive, send):
        scopes.append(scope)
        await echo(scope, receive, send)

    async with connect(app) as client, client.websocket(url):
        pass

    assert scopes[0]["scheme"] == scheme
    assert scopes[0]["server"] == server


async def test_the_apps_choice_is_on_the_session():
    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept", "subprotocol": "v2", "headers": [(b"x-a", b"1")]})
        await receive()

    async with connect(app) as client, client.websocket("/", subprotocols=["v1", "v2"]) as websocket:
        assert websocket.accepted_subprotocol == "v2"
        assert websocket.headers["x-a"] == "1"
        assert websocket.headers["sec-websocket-protocol"] == "v2"


async def test_cookies_of_the_handshake_are_kept():
    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept", "headers": [(b"set-cookie", b"a=1")]})
        await receive()

    async with connect(app) as client:
        async with client.websocket("/"):
            pass
        assert client.cookies["a"] == "1"


async def test_closing_before_accepting_is_a_403():
    events = []

    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.close", "code": 4000})
        events.append(await receive())

    async with connect(app) as client:
        with pytest.raises(WebSocketDenied, match="status 403") as caught:
            async with client.websocket("/"):
                pass

    assert caught.value.response.status_code == 403
    assert events == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]


async def test_a_denial_can_be_a_whole_response():
    async def app(scope, receive, send):
        await receive()
        kind = "websocket.http.response"
        await send({"type": f"{kind}.start", "status": 401, "headers": [(b"www-authenticate", b"Basic")]})
        await send({"type": f"{kind}.body", "body": b"who ", "more_body": True})
        await send({"type": f"{kind}.body", "body": b"are you?"})

    async with connect(app) as client:
        with pytest.raises(WebSocketDenied) as caught:
            async with client.websocket("/"):
                pass

    response = caught.value.response
    assert response.status_code == 401
    assert response.text == "who are you?"
    assert response.headers["www-authenticate"] == "Basic"


async def test_after_a_denial_an_app_receives_a_disconnect():
    received = []

    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.http.response.start", "status": 401})
        await send({"type": "websocket.http.response.body"})
        received.append(await receive())

    async with connect(app) as client:
        with pytest.raises(WebSocketDenied):
            async with client.websocket("/"):
                pass

    assert received == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]


async def test_an_error_before_the_answer_is_raised():
    async def app(scope, receive, send):
        raise KeyError("broken")

    async with connect(app) as client:
        with pytest.raises(KeyError, match="broken"):
            async with client.websocket("/"):
                pass


async def test_an_error_before_the_answer_can_be_a_500():
    async def app(scope, receive, send):
        raise KeyError("broken")

    async with connect(app, raise_errors=False) as client:
        with pytest.raises(WebSocketDenied) as caught:
            async with client.websocket("/"):
                pass

    assert caught.value.response.status_code == 500


async def test_an_error_that_the_app_noted_and_denied_is_raised():
    async def app(scope, receive, send):
        await receive()
        scope["extensions"]["microweb.errors"].append(KeyError("handled"))
        await send({"type": "websocket.close"})

    async with connect(app) as client:
        with pytest.raises(KeyError, match="handled"):
            async with client.websocket("/"):
                pass


async def test_a_handshake_that_is_cancelled_disconnects():
    events = []

    async def app(scope, receive, send):
        await receive()
        entered.set()
        events.append((await receive())["code"])

    entered = anyio.Event()

    async def open_websocket():
        async with client.websocket("/"):
            pass

    async with connect(app) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(open_websocket)
        await entered.wait()
        tasks.cancel_scope.cancel()

    assert events == [1006]


# Messages -------------------------------------------------------------------------------------------


async def test_text_bytes_and_json_go_both_ways():
    async with connect(echo) as client, client.websocket("/") as websocket:
        await websocket.send_text("text")
        await websocket.send_bytes(b"bytes")
        await websocket.send_json({"é": [1, None]})

        assert await websocket.receive_text() == "text"
        assert await websocket.receive_bytes() == b"bytes"
        assert await websocket.receive_json() == {"é": [1, None]}


async def test_json_is_sent_as_compact_text():
    async with connect(echo) as client, client.websocket("/") as websocket:
        await websocket.send_json({"é": [1, None]})

        assert await websocket.receive() == '{"é":[1,null]}'


async def test_receive_takes_what_comes():
    async with connect(echo) as client, client.websocket("/") as websocket:
        await websocket.send_bytes(bytearray(b"bytes"))
        await websocket.send_text("text")

        assert await websocket.receive() == b"bytes"
        assert await websocket.receive() == "text"


async def test_the_other_kind_of_message_is_a_failed_assertion():
    async with connect(echo) as client, client.websocket("/") as websocket:
        await websocket.send_text("text")
        await websocket.send_bytes(b"bytes")

        with pytest.raises(AssertionError, match="binary message was expected"):
            await websocket.receive_bytes()
        with pytest.raises(AssertionError, match="text message was expected"):
            await websocket.receive_text()


async def test_sending_the_wrong_type_is_an_error_of_the_test():
    async with connect(echo) as client, client.websocket("/") as websocket:
        with pytest.raises(TypeError, match="needs a str, not bytes"):
            await websocket.send_text(b"bytes")
        with pytest.raises(TypeError, match="needs bytes, not str"):
            await websocket.send_bytes("text")


async def test_an_app_that_is_not_read_waits():
    sent = []

    async def app(scope, receive, send):
        await receive()
        await send(ACCEPT)
        for number in range(10):
            await send({"type": "websocket.send", "text": str(number)})
            sent.append(number)
        await receive()

    async with connect(app) as client, client.websocket("/", queue=3) as websocket:
        await anyio.wait_all_tasks_blocked()
        assert sent == [0, 1, 2]
        assert await websocket.receive_text() == "0"
        await anyio.wait_all_tasks_blocked()
        assert sent == [0, 1, 2, 3]


async def test_a_test_that_the_app_does_not_read_waits():
    async def app(scope, receive, send):
        await receive()
        await send(ACCEPT)
        await anyio.sleep_forever()

    with pytest.raises(AppHangs):
        async with connect(app, grace=0.001) as client, client.websocket("/", queue=1) as websocket:
            await websocket.send_text("fits")
            with anyio.move_on_after(0.001) as scope:
                await websocket.send_text("waits")
            assert scope.cancelled_caught


# The end --------------------------------------------------------------------------------------------


async def test_a_close_of_the_app_is_an_exception_with_code_and_reason():
    async def app(scope, receive, send):
        await receive()
        await send(ACCEPT)
        await send({"type": "websocket.send", "text": "bye"})
        await send({"type": "websocket.close", "code": 4001, "reason": "enough"})

    async with connect(app) as client, client.websocket("/") as websocket:
        assert await websocket.receive_text() == "bye"
        with pytest.raises(WebSocketDisconnect) as caught:
            await websocket.receive()
        assert (caught.value.code, caught.value.reason) == (4001, "enough")
        with pytest.raises(WebSocketDisconnect):
            await websocket.send_text("too late")


async def test_after_its_own_close_an_app_receives_a_disconnect():
    received = []

    async def app(scope, receive, send):
        await receive()
        await send(ACCEPT)
        await send({"type": "websocket.close", "code": 4001, "reason": None})
        received.append(await receive())

    async with connect(app) as client, client.websocket("/"):
        pass

    assert received == [{"type": "websocket.disconnect", "code": 4001, "reason": ""}]


@pytest.mark.parametrize("code", [1000, 1001])
async def test_iteration_ends_with_a_normal_close(code):
    async def app(scope, receive, send):
        await receive()
        await send(ACCEPT)
        await send({"type": "websocket.send", "text": "one"})
        await send({"type": "websocket.send", "bytes": b"two"})
        await send({"type": "websocket.close", "code": code})

    async with connect(app) as client, client.websocket("/") as websocket:
        assert [message async for message in websocket] == ["one", b"two"]


async def test_iteration_raises_any_other_close():
    async def app(scope, receive, send):
        await receive()
        await send(ACCEPT)
        await send({"type": "websocket.close", "code": 1011})

    async with connect(app) as client, client.websocket("/") as websocket:
        with pytest.raises(WebSocketDisconnect, match="1011"):
            async for _ in websocket:
                pass


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (4005, "bored")])
async def test_the_tests_close_reaches_the_app_after_what_was_sent(code, reason):
    received = []

    async def app(scope, receive, send):
        await receive()
        await send(ACCEPT)
        received.append((await receive())["text"])
        received.append(await receive())

    async with connect(app) as client, client.websocket("/") as websocket:
        await websocket.send_text("last")
        await websocket.close(code, reason)
        await websocket.close(4999)

    assert received == ["last", {"type": "websocket.disconnect", "code": code, "reason": reason}]


async def test_what_the_app_sent_before_the_tests_close_can_still_be_read():
    async with connect(echo) as client, client.websocket("/") as websocket:
        await websocket.send_text("hello")
        await anyio.wait_all_tasks_blocked()
        await websocket.close()
        assert await websocket.receive_text() == "hello"
        with pytest.raises(WebSocketDisconnect, match="1000"):
            await websocket.receive()


async def test_leaving_the_block_closes_with_1000():
    codes = []

    async def app(scope, receive, send):
        await receive()
        await send(ACCEPT)
        codes.append((await receive())["code"])

    async with connect(app) as client:
        async with client.websocket("/"):
            pass
        assert codes == [1000]


async def test_a_lost_connection_is_1006_for_both():
    codes = []

    async def app(scope, receive, send):
        await receive()
        await send(ACCEPT)
        codes.append((await receive())["code"])

    async with connect(app) as client, client.websocket("/") as websocket:
        websocket.disconnect()
        with pytest.raises(WebSocketDisconnect, match="1006"):
            await websocket.receive()

    assert codes == [1006]


async def test_send_raises_in_the_app_after_the_client_left():
    errors = []

    async def app(scope, receive, send):
        await receive()
        await send(ACCEPT)
        await receive()
        for _ in range(2):
            try:
                await send({"type": "websocket.send", "text": "anybody?"})
            except OSError as error:
                errors.append(type(error))

    async with connect(app) as client, client.websocket("/"):
        pass

    assert errors == [ClientGone, ClientGone]


async def test_a_message_that_nobody_took_is_refused():
    events = []

    async def app(scope, receive, send):
        await receive()
        await send(ACCEPT)
        for _ in range(2):
            try:
                await send({"type": "websocket.send", "text": "x"})
                events.append("sent")
            except OSError:
                events.append("refused")

    async with connect(app) as client, client.websocket("/", queue=1):
        await anyio.wait_all_tasks_blocked()

    assert events == ["sent", "refused"]


async def test_send_is_silent_after_the_client_left_before_spec_2_4():
    sent = []

    async def app(scope, receive, send):
        await receive()
        await send(ACCEPT)
        await receive()
        await send({"type": "websocket.send", "text": "anybody?"})
        sent.append("without an error")

    async with connect(app, spec_version="2.3") as client, client.websocket("/"):
        pass

    assert sent == ["without an error"]


async def test_an_app_that_ends_without_a_close_drops_the_connection():
    async def app(scope, receive, send):
        await receive()
        await send(ACCEPT)

    async with connect(app) as client, client.websocket("/") as websocket:
        with pytest.raises(WebSocketDisconnect, match="1006"):
            await websocket.receive()


async def test_an_error_of_the_app_is_raised_where_the_test_receives():
    async def app(scope, receive, send):
        await receive()
        await send(ACCEPT)
        await receive()
        raise KeyError("broken")

    async with connect(app) as client, client.websocket("/") as websocket:
        await websocket.send_text("go")
        with pytest.raises(KeyError, match="broken"):
            await websocket.receive()


async def test_an_error_that_the_app_noted_and_closed_for_is_raised():
    async def app(scope, receive, send):
        await receive()
        await send(ACCEPT)
        scope["extensions"]["microweb.errors"].append(KeyError("handled"))
        await send({"type": "websocket.close", "code": 1011})

    async with connect(app) as client, client.websocket("/") as websocket:
        with pytest.raises(KeyError, match="handled"):
            await websocket.receive()


async def test_an_error_can_be_a_lost_connection():
    async def app(scope, receive, send):
        await receive()
        await send(ACCEPT)
        raise KeyError("broken")

    async with connect(app, raise_errors=False) as client, client.websocket("/") as websocket:
        with pytest.raises(WebSocketDisconnect, match="1006"):
            await websocket.receive()


async def test_an_error_that_nobody_received_is_raised_by_leaving_the_block():
    async def app(scope, receive, send):
        await receive()
        await send(ACCEPT)
        await receive()
        raise KeyError("while cleaning up")

    async with connect(app) as client:
        with pytest.raises(KeyError, match="cleaning up"):
            async with client.websocket("/"):
                pass


async def test_an_app_that_stays_after_the_close_is_cancelled_and_named():
    async def app(scope, receive, send):
        await receive()
        await send(ACCEPT)
        await anyio.sleep_forever()

    async with connect(app, grace=0.001) as client:
        with pytest.raises(AppHangs, match="websocket /chat"):
            async with client.websocket("/chat"):
                pass


async def test_closing_the_client_ends_an_open_websocket():
    codes = []

    async def app(scope, receive, send):
        await receive()
        await send(ACCEPT)
        codes.append((await receive())["code"])

    client = connect(app)
    async with client.websocket("/"):
        await client.aclose()
        assert codes == [1006]


async def test_a_broken_rule_is_raised():
    async def app(scope, receive, send):
        await receive()
        await send(ACCEPT)
        await send({"type": "websocket.send", "text": 1})

    async with connect(app, raise_errors=False) as client, client.websocket("/") as websocket:
        with pytest.raises(LintError, match=r"`text` of websocket\.send"):
            await websocket.receive()


START = {"type": "websocket.http.response.start", "status": 400}


@pytest.mark.parametrize(
    "messages",
    [
        [ACCEPT, ACCEPT],
        [START, ACCEPT],
        [START, START],
        [ACCEPT, START],
        [{"type": "websocket.send", "text": "early"}],
        [ACCEPT, {"type": "websocket.close"}, {"type": "websocket.send", "text": "late"}],
        [{"type": "websocket.http.response.body"}],
        [{"type": "http.response.start", "status": 200}],
    ],
)
async def test_what_no_server_takes_is_refused_without_the_lint_too(messages):
    async def app(scope, receive, send):
        await receive()
        for message in messages:
            await send(message)

    async with connect(app, lint=False) as client:
        with pytest.raises(RuntimeError):
            async with client.websocket("/"):
                pass


async def test_receiving_after_the_disconnect_gives_it_again_without_the_lint():
    received = []

    async def app(scope, receive, send):
        await receive()
        await send(ACCEPT)
        received.extend([await receive(), await receive()])

    async with connect(app, lint=False) as client, client.websocket("/") as websocket:
        await websocket.close(4000)

    assert [message["code"] for message in received] == [4000, 4000]


async def test_an_app_that_goes_on_after_it_has_refused_is_cancelled_and_named():
    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.close"})
        await anyio.sleep_forever()

    with anyio.fail_after(30):
        async with Client(app, lifespan=False, grace=0.05) as client:
            with pytest.raises(AppHangs, match="was cancelled"):
                async with client.websocket("/"):
                    raise AssertionError
