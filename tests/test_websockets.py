"""Websockets: the handshake, messages, closing, hooks, errors and mounts, on both event loops."""

import contextlib
import gc
import logging
import weakref
from dataclasses import dataclass
from typing import Annotated

import anyio
import pytest

from microweb import (
    App,
    Converter,
    EventStream,
    FileResponse,
    Request,
    Response,
    Router,
    SetupError,
    WebSocketDisconnect,
    abort,
    current_app,
    g,
    websocket,
)
from microweb.markers import Depends, Header, Query
from microweb.sessions import MemorySessionStore
from microweb.testing import Client, WebSocketDenied
from microweb.websockets import WebSocket

pytestmark = pytest.mark.anyio


def connect(app, **options):
    return Client(app, raise_errors=False, **options)


def echoing(**options):
    app = App(__name__)

    @app.websocket("/ws", **options)
    async def echo(websocket: WebSocket):
        await websocket.accept()
        async for message in websocket:
            await (websocket.send_text if isinstance(message, str) else websocket.send_bytes)(message)

    return app


async def close_code(app, *messages, path="/ws"):
    """Open a websocket, send, and tell what it is closed with."""
    async with connect(app) as client, client.websocket(path) as ws:
        for message in messages:
            await (ws.send_text if isinstance(message, str) else ws.send_bytes)(message)
        with pytest.raises(WebSocketDisconnect) as closed:
            await ws.receive()
    return closed.value.code


async def denial(app, path="/ws", **options):
    async with connect(app) as client:
        with pytest.raises(WebSocketDenied) as denied:
            async with client.websocket(path, **options):
                pass
    return denied.value.response


# Messages -------------------------------------------------------------------------------------------


async def test_text_and_bytes_come_back():
    async with connect(echoing()) as client, client.websocket("/ws") as ws:
        await ws.send_text("gr\u00fc\u00df")
        await ws.send_bytes(b"\x00\xff")

        assert await ws.receive() == "gr\u00fc\u00df"
        assert await ws.receive() == b"\x00\xff"


async def test_each_kind_may_be_asked_for():
    app = App(__name__)

    @app.websocket("/ws")
    async def view(websocket):
        await websocket.accept()
        await websocket.send_json([await websocket.receive_text(), len(await websocket.receive_bytes())])

    async with connect(app) as client, client.websocket("/ws") as ws:
        await ws.send_text("a")
        await ws.send_bytes(b"bc")

        assert await ws.receive_json() == ["a", 2]


async def test_json_and_typed_messages():
    @dataclass
    class Point:
        x: int

    app = App(__name__)

    @app.websocket("/ws")
    async def view(websocket):
        await websocket.accept()
        value = await websocket.receive_json()
        point = await websocket.receive_as(Point)
        await websocket.send_json({"value": value, "x": point.x})

    async with connect(app) as client, client.websocket("/ws") as ws:
        await ws.send_json([1, None])
        await ws.send_bytes(b'{"x": 3}')

        assert await ws.receive_json() == {"value": [1, None], "x": 3}


@pytest.mark.parametrize("text", ["{", "[1", "\ud800", "[" * 1000, '{"x": "no"}'])
async def test_a_message_that_does_not_fit_closes_with_1007_and_logs_no_error(caplog, text):
    @dataclass
    class Point:
        x: int

    app = App(__name__)

    @app.websocket("/ws")
    async def view(websocket):
        await websocket.accept()
        await websocket.receive_as(Point)

    assert await close_code(app, text) == 1007
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_route_that_forbids_unknown_parameters_refuses_the_handshake():
    app = App(__name__)

    @app.websocket("/ws", forbid_unknown=True)
    async def view(websocket: WebSocket, page: int = 1):
        await websocket.accept()

    refused = await denial(app, "/ws?page=2&pgae=3")

    assert (refused.status_code, refused.json()["errors"][0]["name"]) == (422, "pgae")


async def test_a_message_that_does_not_fit_may_be_caught():
    app = App(__name__)

    @app.websocket("/ws")
    async def view(websocket):
        await websocket.accept()
        try:
            await websocket.receive_json()
        except Exception as error:
            await websocket.send_text(type(error).__name__)

    async with connect(app) as client, client.websocket("/ws") as ws:
        await ws.send_text("{")

        assert await ws.receive_text() == "BadRequest"


@pytest.mark.parametrize(("method", "message"), [("receive_text", b"x"), ("receive_bytes", "x")])
async def test_the_other_kind_of_message_closes_with_1003(method, message):
    app = App(__name__)

    @app.websocket("/ws")
    async def view(websocket):
        await websocket.accept()
        await getattr(websocket, method)()

    assert await close_code(app, message) == 1003


@pytest.mark.parametrize("message", ["\u00fc" * 501, b"x" * 1001])
async def test_a_message_over_the_limit_closes_with_1009(message):
    assert await close_code(echoing(websocket_max_message=1000), message) == 1009


@pytest.mark.parametrize("message", ["\u00fc" * 500, b"x" * 1000])
async def test_a_message_at_the_limit_is_taken(message):
    async with connect(echoing(websocket_max_message=1000)) as client, client.websocket("/ws") as ws:
        await (ws.send_text if isinstance(message, str) else ws.send_bytes)(message)

        assert await ws.receive() == message


async def test_an_idle_client_is_closed_with_1001():
    assert await close_code(echoing(timeout=0.02)) == 1001


@pytest.mark.parametrize(("method", "value"), [("send_text", b"x"), ("send_bytes", "x")])
async def test_sending_the_wrong_kind_is_a_mistake_of_the_program(method, value):
    app = App(__name__)

    @app.websocket("/ws")
    async def view(websocket):
        await websocket.accept()
        with pytest.raises(TypeError, match=method):
            await getattr(websocket, method)(value)
        await websocket.close(3000)

    assert await close_code(app) == 3000


# The handshake --------------------------------------------------------------------------------------


async def test_a_subprotocol_and_headers_are_accepted():
    app = App(__name__)

    @app.websocket("/ws/<int:room>")
    async def view(websocket, room):
        await websocket.accept(websocket.subprotocols[1], {"x-room": str(room)})

    async with connect(app) as client, client.websocket("/ws/7", subprotocols=["a", "b"]) as ws:
        assert ws.accepted_subprotocol == "b"
        assert ws.headers["x-room"] == "7"


@pytest.mark.parametrize(
    "options", [{"subprotocol": "z"}, {"headers": {"Sec-WebSocket-Protocol": "a"}}, {"headers": {"a": "\r\n"}}]
)
async def test_an_accept_that_may_not_be_sent_is_a_value_error(options):
    app = App(__name__)

    @app.websocket("/ws")
    async def view(websocket):
        with pytest.raises(ValueError):
            await websocket.accept(**options)
        abort(418)

    assert (await denial(app)).status_code == 418


@pytest.mark.parametrize("what", ["receive", "send_text", "again"])
async def test_a_method_out_of_turn_is_a_runtime_error(what):
    app = App(__name__)

    @app.websocket("/ws")
    async def view(websocket):
        if what == "again":
            await websocket.accept()
        with pytest.raises(RuntimeError, match="accept"):
            if what == "receive":
                await websocket.receive()
            elif what == "send_text":
                await websocket.send_text("x")
            await websocket.accept()
        await websocket.close(4000)

    if what == "again":
        assert await close_code(app) == 4000
    else:
        assert (await denial(app)).status_code == 403


async def test_the_websocket_is_like_a_request():
    app = App(__name__)

    @app.websocket("/ws/<name>")
    async def view(name):
        await websocket.accept()
        await websocket.send_json(
            [websocket.args["q"], websocket.cookies["c"], websocket.path_params, websocket.endpoint, websocket.url]
            + [websocket.is_secure, current_app == app, websocket.g is not None, g.get("x")]
        )

    async with connect(app, cookies={"c": "1"}) as client, client.websocket("/ws/ada?q=2") as ws:
        values = await ws.receive_json()

    assert values == ["2", "1", {"name": "ada"}, "view", "ws://testserver/ws/ada?q=2", False, True, True, None]


async def test_parameters_are_bound_as_for_a_request():
    app, closed = App(__name__), []

    async def user(x_user: Annotated[str, Header()]):
        yield f"user {x_user}"
        closed.append(x_user)

    @app.websocket("/ws")
    async def view(websocket: WebSocket, who: Annotated[str, Depends(user)], q: Annotated[int, Query()] = 3):
        await websocket.accept()
        await websocket.send_json([q, who])

    async with connect(app, headers={"x-user": "ada"}) as client, client.websocket("/ws?q=7") as ws:
        assert await ws.receive_json() == [7, "user ada"]
    assert closed == ["ada"]
    assert (await denial(app, "/ws?q=x", headers={"x-user": "ada"})).status_code == 422


async def test_a_miss_is_a_404_from_the_error_handlers():
    app = echoing()

    @app.errorhandler(404)
    async def missing(error):
        return Response("nothing here", 404)

    response = await denial(app, "/none")

    assert (response.status_code, response.text) == (404, "nothing here")


async def test_an_http_route_is_no_websocket():
    app = App(__name__)
    app.get("/ws")(lambda: "x")

    assert (await denial(app)).status_code == 404


@pytest.mark.parametrize(("value", "status"), [(None, 403), (("no", 401), 401), ({"a": 1}, 200)])
async def test_what_is_returned_before_accept_refuses(value, status):
    app = App(__name__)

    @app.websocket("/ws")
    async def view():
        return value

    assert (await denial(app)).status_code == status


async def test_an_open_websocket_is_closed_and_not_denied():
    app = App(__name__)

    @app.websocket("/")
    async def view(websocket):
        await websocket.accept()
        with pytest.raises(RuntimeError, match="close"):
            await websocket.deny(Response("too late"))
        await websocket.send_text("still here")

    async with Client(app) as client, client.websocket("/") as session:
        assert await session.receive_text() == "still here"


async def test_a_denial_may_be_a_stream_and_is_closed():
    app, closed = App(__name__), []

    @app.websocket("/ws")
    async def view():
        try:
            yield "a"
            yield "b"
        finally:
            closed.append(True)

    assert (await denial(app)).text == "ab"
    assert closed == [True]


async def test_an_error_before_a_refusal_has_begun_is_answered_by_the_error_handlers(tmp_path):
    app, path = App(__name__), tmp_path / "sorry.html"
    path.write_text("sorry")

    @app.errorhandler(404)
    async def lost(error):
        return "lost", 404

    @app.websocket("/ws")
    async def view():
        response = FileResponse(path, status=403)
        path.unlink()
        return response

    refusal = await denial(app)

    assert (refusal.status_code, refusal.text) == (404, "lost")


async def test_an_error_inside_of_a_refusal_is_reported_once(caplog):
    app, seen = App(__name__), []

    @app.on("exception")
    def note(error):
        seen.append(repr(error))

    @app.websocket("/ws")
    async def view():
        yield "a"
        raise KeyError("x")

    with pytest.raises(KeyError):
        async with Client(app) as client, client.websocket("/ws"):
            pass

    assert seen == ["KeyError('x')"]
    assert [record.getMessage() for record in caplog.records] == ["unhandled error in WEBSOCKET /ws"]


@pytest.mark.parametrize(("errors", "told"), [("own", "inner"), ("bubble", "outer")])
async def test_an_error_inside_of_a_refusal_is_told_to_the_app_that_owns_it(errors, told, caplog):
    inner, outer, seen, torn_down = App("inner"), App("outer"), [], []

    @inner.websocket("/ws")
    async def view():
        yield "a"
        raise KeyError("x")

    for app in (inner, outer):
        app.on("exception")(lambda request, error: seen.append(request.app.import_name))
        app.teardown_websocket(torn_down.append)
    outer.mount("/in", inner, errors=errors)

    with pytest.raises(KeyError):
        async with Client(outer) as client, client.websocket("/in/ws"):
            pass

    assert (seen, len(caplog.records)) == ([told], 1)
    assert list(map(repr, torn_down)) == ["KeyError('x')"] * 2


@pytest.mark.parametrize(("errors", "told"), [("own", "inner"), ("bubble", "outer")])
async def test_an_error_before_a_refusal_has_begun_is_answered_by_the_app_that_owns_it(errors, told, caplog):
    inner, outer = App("inner"), App("outer")

    class Broken(Response):
        async def send(self, request, send):
            raise KeyError("x")

    @inner.websocket("/ws")
    async def view():
        return Broken()

    for app in (inner, outer):
        app.errorhandler(500)(lambda error: (current_app.import_name, 500))
    outer.mount("/in", inner, errors=errors)

    assert (await denial(outer, "/in/ws")).text == told
    assert len(caplog.records) == 1


async def test_a_view_that_yields_cannot_accept():
    app = App(__name__)

    @app.websocket("/ws")
    async def view(websocket):
        await websocket.accept()
        yield "a"

    with pytest.raises(RuntimeError, match="yields"):
        async with Client(app) as client, client.websocket("/ws"):
            pass


async def test_a_denial_without_an_end_ends_when_the_client_has_left(caplog):
    app, ends = App(__name__), []

    @app.websocket("/ws")
    async def view():
        async def events():
            try:
                yield "refused"
                began.set()
                await anyio.sleep_forever()
            finally:
                ends.append("closed")

        return EventStream(events())

    began = anyio.Event()
    with anyio.fail_after(10):
        async with Client(app) as client, anyio.create_task_group() as tasks:
            tasks.start_soon(client.websocket("/ws").__aenter__)
            await began.wait()
            tasks.cancel_scope.cancel()

    assert ends == ["closed"]
    assert caplog.records == []


async def test_an_error_before_accept_is_a_500_and_is_logged_once(caplog):
    app, seen = App(__name__), []

    @app.websocket("/ws")
    async def view():
        raise KeyError("x")

    @app.teardown_websocket
    async def teardown(error):
        seen.append(repr(error))

    assert (await denial(app)).status_code == 500
    assert seen == ["KeyError('x')"]
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == [
        "unhandled error in WEBSOCKET /ws"
    ]


async def test_a_converter_that_raises_refuses_with_a_500_and_is_logged_once(caplog):
    class Broken(Converter):
        def to_python(self, value):
            raise KeyError("x")

    app = App(__name__)
    app.converters["broken"] = Broken

    @app.websocket("/<broken:x>")
    async def view(websocket: WebSocket, x):
        await websocket.accept()

    assert (await denial(app)).status_code == 500
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == [
        "unhandled error in WEBSOCKET /ws"
    ]


async def test_without_the_extension_a_denial_is_a_close():
    app, sent = App(__name__), []
    scope = {"type": "websocket", "path": "/ws", "query_string": b"", "headers": [], "asgi": {"version": "3.0"}}

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)

    assert sent == [{"type": "websocket.close", "code": 1008}]


async def test_a_scope_may_leave_out_what_is_optional():
    app, sent = App(__name__), []
    scope = {"type": "websocket", "path": "/ws", "query_string": None, "headers": [], "asgi": {"version": "3.0"}}
    scope["asgi"]["spec_version"] = "2.4-draft"
    messages = [{"type": "websocket.connect"}, {"type": "websocket.disconnect"}]

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        await websocket.send_json([websocket.url, websocket.args.to_dict(), websocket.subprotocols])

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)

    assert sent[1]["text"] == '["ws://localhost/ws",{},[]]'


async def test_a_client_that_leaves_during_its_handshake_meets_no_view():
    app, sent = App(__name__), []

    async def receive():
        return {"type": "websocket.disconnect", "code": 1006}

    async def send(message):
        sent.append(message)

    await app({"type": "websocket", "path": "/ws", "query_string": b"", "headers": []}, receive, send)

    assert sent == []


@pytest.mark.parametrize(("path", "headers", "status"), [("/ws?" + "x" * 9000, {}, 414), ("/ws", "many", 431)])
async def test_the_limits_of_requests_hold_for_handshakes(path, headers, status):
    if headers == "many":
        headers = {f"x-{number}": "1" for number in range(101)}

    assert (await denial(echoing(), path, headers=headers)).status_code == status


# Origins --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("http://testserver", True),
        ("http://TestServer:80", True),
        ("http://testserver:81", False),
        ("https://testserver", True),
        ("http://evil.example", False),
        ("http://testserver.evil.example", False),
        ("http://evil.example#testserver", False),
        ("null", False),
        ("file://", False),
        ("", False),
    ],
)
async def test_a_page_of_another_site_cannot_use_the_cookies(origin, allowed):
    headers = {"cookie": "session=1"} | ({} if origin is None else {"origin": origin})
    app = echoing()

    if not allowed:
        assert (await denial(app, headers=headers)).status_code == 403
        return
    async with connect(app) as client, client.websocket("/ws", headers=headers) as ws:
        await ws.send_text("x")
        assert await ws.receive() == "x"


@pytest.mark.parametrize("credentials", ["Basic YTpi", "digest username=a", "Negotiate YII=", "NTLM TlRM"])
async def test_a_page_of_another_site_cannot_use_a_remembered_password(credentials):
    headers = {"authorization": credentials, "origin": "http://evil.example"}

    assert (await denial(echoing(), headers=headers)).status_code == 403


async def test_a_token_is_no_password_that_a_browser_remembers():
    headers = {"authorization": "Bearer token", "origin": "http://app.example"}

    async with connect(echoing()) as client, client.websocket("/ws", headers=headers) as ws:
        await ws.send_text("x")

        assert await ws.receive() == "x"


async def test_without_cookies_any_page_may_connect():
    async with connect(echoing()) as client, client.websocket("/ws", headers={"origin": "http://evil.example"}) as ws:
        await ws.send_text("x")

        assert await ws.receive() == "x"


@pytest.mark.parametrize(
    ("origins", "status"),
    [(["https://a.example"], 101), (["*"], 101), (["https://b.example"], 403), (["http://a.example"], 403)],
)
async def test_a_list_of_origins_holds_with_and_without_cookies(origins, status):
    app = echoing()
    app.config["WEBSOCKET_ORIGINS"] = origins
    headers = {"origin": "https://A.example"}

    if status == 403:
        assert (await denial(app, headers=headers)).status_code == 403
        return
    async with connect(app) as client, client.websocket("/ws", headers=headers) as ws:
        assert ws.response.status_code == 101


# The end --------------------------------------------------------------------------------------------


async def test_a_view_that_returns_closes_with_1000():
    app = App(__name__)

    @app.websocket("/ws")
    async def view(websocket):
        await websocket.accept()

    assert await close_code(app) == 1000


@pytest.mark.parametrize(
    ("error", "code"), [(ValueError(), 1011), (ExceptionGroup("", [ValueError()]), 1011), (401, 1008), (503, 1011)]
)
async def test_an_error_after_accept_closes(error, code):
    app = App(__name__)

    @app.websocket("/ws")
    async def view(websocket):
        await websocket.accept()
        if isinstance(error, int):
            abort(error, "x" * 200)
        raise error

    assert await close_code(app) == code


async def test_what_comes_after_the_end_is_quiet_or_a_disconnect(caplog):
    app, seen = App(__name__), []

    @app.websocket("/ws")
    async def view(websocket):
        await websocket.accept()
        await websocket.close(4001, "\u00fc" * 100)
        await websocket.close()
        for method in (websocket.receive, lambda: websocket.send_text("x"), lambda: websocket.send_bytes(b"x")):
            with pytest.raises(WebSocketDisconnect) as closed:
                await method()
            seen.append(closed.value.code)
        with pytest.raises(WebSocketDisconnect):
            await websocket.accept()
        assert [message async for message in websocket] == []

    assert await close_code(app) == 4001
    assert seen == [4001, 4001, 4001]
    assert caplog.records == []


async def test_a_client_that_leaves_ends_the_view_without_a_log(caplog):
    app, ends = App(__name__), []

    @app.websocket("/ws")
    async def view(websocket):
        await websocket.accept()
        try:
            await websocket.receive()
        finally:
            ends.append((websocket.close_code, websocket.close_reason))

    async with connect(app) as client, client.websocket("/ws") as ws:
        await ws.close(4002, "bye")

    assert ends == [(4002, "bye")]
    assert caplog.records == []


@pytest.mark.parametrize(("mistake", "handled"), [(None, []), (KeyError("x"), ["KeyError('x')"])])
async def test_tasks_that_all_learn_of_the_end_are_no_error_and_hide_none(mistake, handled, caplog):
    app, seen = App(__name__), []

    @app.teardown_websocket
    async def teardown(error):
        seen.append(repr(error))

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        async for _ in websocket:
            pass
        ends = [WebSocketDisconnect(), WebSocketDisconnect(), *([mistake] if mistake else [])]
        raise ExceptionGroup("of a task group", ends)

    async with connect(app) as client, client.websocket("/ws"):
        pass

    assert seen == (handled or ["None"])
    assert len(caplog.records) == len(handled)


async def test_a_client_that_leaves_before_the_answer_is_no_error(caplog):
    app, sent = echoing(), []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message["type"])
        raise OSError

    for path in ("/ws", "/none"):
        await app({"type": "websocket", "path": path, "query_string": b"", "headers": []}, receive, send)

    assert sent == ["websocket.accept", "websocket.close"]
    assert caplog.records == []


@pytest.mark.parametrize("error", [OSError(), RuntimeError("Unexpected ASGI message 'websocket.send'")])
async def test_sending_to_a_client_that_left_is_a_disconnect(error, caplog):
    app, ends = App(__name__), []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        if message["type"] == "websocket.send":
            raise error

    @app.websocket("/ws")
    async def view(websocket):
        await websocket.accept()
        try:
            await websocket.send_text("x")
        except WebSocketDisconnect as closed:
            ends.append(closed.code)

    await app({"type": "websocket", "path": "/ws", "query_string": b"", "headers": []}, receive, send)

    assert ends == [1006]
    assert caplog.records == []


async def test_any_other_error_of_sending_is_an_error_of_the_view(caplog):
    app, codes = App(__name__), []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        if message["type"] == "websocket.send":
            raise RuntimeError("a middleware's own")
        codes.append(message.get("code"))

    @app.websocket("/ws")
    async def view(websocket):
        await websocket.accept()
        await websocket.send_text("x")

    await app({"type": "websocket", "path": "/ws", "query_string": b"", "headers": []}, receive, send)

    assert codes == [None, 1011]
    assert [str(record.exc_info[1]) for record in caplog.records] == ["a middleware's own"]


@pytest.mark.parametrize("has_left", [True, False])
async def test_an_answer_that_the_server_takes_for_a_second_one_is_an_error_unless_the_client_has_left(
    has_left, caplog
):
    app, sent = App(__name__), []
    messages = [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1006}]

    @app.websocket("/ws")
    async def view(websocket):
        await websocket.accept()

    async def receive():
        if len(messages) == 1 and not has_left:
            await anyio.sleep_forever()
        return messages.pop(0)

    async def send(message):
        sent.append(message["type"])
        if message["type"] == "websocket.accept":
            raise RuntimeError("Expected ASGI message 'websocket.send' or 'websocket.close', but got another.")

    await app({"type": "websocket", "path": "/ws", "query_string": b"", "headers": []}, receive, send)

    assert sent == ["websocket.accept"] + ["websocket.close"] * (not has_left)
    assert len(caplog.records) == (0 if has_left else 1)


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, "1000", None])
async def test_a_code_that_may_not_be_sent_is_a_value_error(code):
    app = App(__name__)

    @app.websocket("/ws")
    async def view(websocket):
        await websocket.accept()
        with pytest.raises(ValueError, match=str(code)):
            await websocket.close(code)

    assert await close_code(app) == 1000


# Hooks and layers -----------------------------------------------------------------------------------


async def test_hooks_and_layers_run_in_order_and_http_ones_do_not():
    app, router, order = App(__name__), Router("r", __name__), []

    @app.before_request
    async def never():
        order.append("never")

    @app.middleware
    async def neither(request, call_next):
        order.append("neither")
        return await call_next(request)

    for owner, name in ((app, "app"), (router, "router")):

        @owner.websocket_middleware
        async def layer(websocket, call_next, name=name):
            order.append(f"{name} layer")
            result = await call_next(websocket)
            order.append(f"{name} layer ends with {result}")

        @owner.before_websocket
        def before(name=name):
            order.append(f"{name} before")

        @owner.teardown_websocket
        async def teardown(error, name=name):
            order.append(f"{name} teardown {error}")

    async def own(websocket, call_next):
        order.append("own layer")
        await call_next(websocket)

    @router.websocket("/ws", middleware=[own])
    async def view(websocket):
        order.append("view")
        await websocket.accept()

    app.mount("", router)

    await close_code(app)

    assert order == [
        "app layer",
        "router layer",
        "own layer",
        "app before",
        "router before",
        "view",
        "router layer ends with None",
        "app layer ends with None",
        "router teardown None",
        "app teardown None",
    ]


@pytest.mark.parametrize(
    ("returned", "status"), [(({"reason": "late"}, 401), 401), ("busy", 200), (("no", 402, {"X-Why": "fee"}), 402)]
)
async def test_what_a_websocket_middleware_returns_refuses_the_handshake(returned, status):
    app = App(__name__)

    @app.websocket_middleware
    async def refuse(websocket, call_next):
        return returned

    @app.websocket("/ws")
    async def view(websocket):
        raise AssertionError

    async with Client(app) as client:
        with pytest.raises(WebSocketDenied) as denied:
            async with client.websocket("/ws"):
                pass

    assert denied.value.response.status_code == status


async def test_a_refusal_passes_a_websocket_middleware_that_returns_nothing():
    app = App(__name__)

    @app.websocket_middleware
    async def only_await(websocket, call_next):
        await call_next(websocket)

    @app.before_websocket
    async def log_in(websocket):
        return "log in first", 401

    @app.websocket("/ws")
    async def view(websocket):
        raise AssertionError

    async with Client(app) as client:
        with pytest.raises(WebSocketDenied) as denied:
            async with client.websocket("/ws"):
                pass

    assert (denied.value.response.status_code, denied.value.response.text) == (401, "log in first")


async def test_the_teardown_of_a_cancelled_view_gets_the_cancellation():
    app, ends = App(__name__), []

    @app.websocket("/ws")
    async def view(websocket):
        await websocket.accept()
        began.set()
        await anyio.sleep_forever()

    @app.teardown_websocket
    async def after(error):
        ends.append(type(error))

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        pass

    began = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(app, {"type": "websocket", "path": "/ws", "query_string": b"", "headers": []}, receive, send)
        await began.wait()
        tasks.cancel_scope.cancel()

    assert ends == [anyio.get_cancelled_exc_class()]


async def test_a_hook_that_answers_refuses():
    app, seen = echoing(), []

    @app.before_websocket
    async def guard(websocket):
        seen.append(websocket.path)
        return "not today", 403

    response = await denial(app)

    assert (response.status_code, response.text, seen) == (403, "not today", ["/ws"])


async def test_the_handlers_of_the_router_answer_its_errors():
    app, router = App(__name__), Router("r", __name__)

    @router.errorhandler(LookupError)
    async def lookup(error):
        return {"lost": str(error)}, 410

    @router.websocket("/ws")
    async def view():
        raise LookupError("key")

    app.mount("", router)

    response = await denial(app)

    assert (response.status_code, response.json()) == (410, {"lost": "key"})


def test_a_plain_def_view_is_a_setup_error():
    app = App(__name__)

    @app.websocket("/ws")
    def view(websocket):
        pass

    with pytest.raises(SetupError, match="async def"):
        app._compose()


async def test_background_work_starts_when_the_websocket_has_ended():
    app, ran = App(__name__), []

    @app.websocket("/ws")
    async def view(websocket):
        await websocket.accept()
        websocket.after_response(ran.append, "ran")
        raise ValueError

    await close_code(app)

    assert ran == ["ran"]


# Mounted apps ---------------------------------------------------------------------------------------


async def test_a_mounted_app_serves_its_websockets_inside_the_layers_of_the_outer_one():
    outer, inner, order = App("outer"), App("inner"), []

    @outer.before_websocket
    async def before():
        order.append(current_app == outer)

    @inner.websocket("/ws")
    async def view(websocket):
        await websocket.accept()
        await websocket.send_json([websocket.root_path, websocket.path, current_app == inner])

    outer.mount("/in", inner)

    async with connect(outer) as client, client.websocket("/in/ws") as ws:
        assert await ws.receive_json() == ["/in", "/ws", True]
    assert order == [True]
    assert (await denial(outer, "/in/none")).status_code == 404


async def test_a_foreign_app_gets_the_websocket():
    async def foreign(scope, receive, send):
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        message = await receive()
        await send({"type": "websocket.send", "text": f"{scope['root_path']} {message['text']}"})
        await send({"type": "websocket.close", "code": 4004})

    app = App(__name__)
    app.mount("/in", foreign)

    async with connect(app) as client, client.websocket("/in/x") as ws:
        await ws.send_text("hello")

        assert await ws.receive() == "/in hello"


@pytest.mark.parametrize("accepts", [False, True])
async def test_a_foreign_app_that_raises_is_answered_or_closed(accepts):
    async def foreign(scope, receive, send):
        await receive()
        if accepts:
            await send({"type": "websocket.accept"})
        raise ValueError

    app = App(__name__)
    app.mount("/in", foreign)

    if accepts:
        assert await close_code(app, path="/in/x") == 1011
    else:
        assert (await denial(app, "/in/x")).status_code == 500


@pytest.mark.parametrize("accepts", [False, True])
async def test_errors_bubble_from_a_mounted_app_that_is_asked_to(accepts):
    outer, inner = App("outer"), App("inner")

    @outer.errorhandler(ValueError)
    async def value(error):
        return "outer", 409

    @inner.websocket("/ws")
    async def view(websocket):
        if accepts:
            await websocket.accept()
        raise ValueError

    outer.mount("/in", inner, errors="bubble")

    if accepts:
        assert await close_code(outer, path="/in/ws") == 1011
    else:
        assert (await denial(outer, "/in/ws")).status_code == 409


@pytest.mark.parametrize("version", ["2.3", "2.5"])
async def test_a_client_that_leaves_a_foreign_app_is_no_error(version, caplog):
    caplog.set_level("ERROR", "microweb")
    app = App(__name__)

    async def foreign(scope, receive, send):
        if scope["type"] != "websocket":
            raise RuntimeError("no lifespan")
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            await send({"type": "websocket.send", "text": "tick"})

    app.mount("/foreign", foreign)
    with anyio.fail_after(10):
        async with Client(app, spec_version=version) as client, client.websocket("/foreign/") as ws:
            assert await ws.receive() == "tick"

    assert caplog.records == []


@pytest.mark.parametrize(("type", "start"), [("http", "http.response.start"), ("websocket", "websocket.accept")])
async def test_what_a_foreign_app_holds_is_gone_when_its_client_has_left(type, start):
    class Connection:
        """Something that servers wait for."""

    app, held = App(__name__), []
    scope = {"type": type, "method": "GET", "path": "/foreign/", "headers": [], "query_string": b""}
    scope["asgi"] = {"version": "3.0", "spec_version": "2.5"}

    async def foreign(scope, receive, send):
        assert scope["type"] == type
        connection = Connection()
        held.append(weakref.ref(connection))
        await send({"type": start, "status": 200})

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        raise OSError("gone")

    app.mount("/foreign", foreign)
    gc.disable()
    try:
        await app(scope, receive, send)
    finally:
        gc.enable()

    assert [reference() for reference in held if reference() is not None] == []


@pytest.mark.parametrize("errors", ["own", "bubble"])
async def test_what_a_broken_refusal_of_a_mounted_app_held_is_gone_when_it_is_over(errors, caplog):
    caplog.set_level("CRITICAL", "microweb")  # A record keeps its traceback.
    inner, outer, held = App("inner"), App("outer"), []
    scope = {"type": "websocket", "path": "/in/ws", "headers": [], "query_string": b""}
    scope["extensions"] = {"websocket.http.response": {}}

    @inner.websocket("/ws")
    async def view(websocket: WebSocket):
        held.append(weakref.ref(websocket))
        yield "a"
        raise ExceptionGroup("of a task group", [ValueError()])

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message): ...

    outer.mount("/in", inner, errors=errors)
    gc.disable()
    try:
        with contextlib.suppress(ExceptionGroup):
            await outer(scope, receive, send)
        assert [reference() for reference in held] == [None]
    finally:
        gc.enable()


async def test_mounted_files_have_no_websockets(tmp_path):
    from microweb import StaticFiles

    app = App(__name__)
    app.mount("/files", StaticFiles(tmp_path))

    assert (await denial(app, "/files/x")).status_code == 404


async def test_a_mounted_app_that_is_wrapped_is_entered_through_its_middleware():
    outer, inner, seen = App("outer"), echoing(), []

    def spy(app):
        async def wrapped(scope, receive, send):
            seen.append((scope["type"], scope["path"]))
            await app(scope, receive, send)

        return wrapped

    inner.add_asgi_middleware(spy)
    outer.mount("/in", inner)

    async with connect(outer) as client, client.websocket("/in/ws") as ws:
        await ws.send_text("x")
        assert await ws.receive() == "x"
    assert ("websocket", "/in/ws") in seen


async def test_stored_sessions_are_there_in_layers_too():
    app = App(__name__, secret_key="a secret key for tests")
    app.session_store = MemorySessionStore()

    @app.websocket_middleware
    async def count(websocket, call_next):
        websocket.session["visits"] = websocket.session.get("visits", 0) + 1
        await call_next(websocket)

    @app.websocket("/ws")
    async def echo(websocket):
        await websocket.accept()
        await websocket.send_json(websocket.session["visits"])

    async with Client(app) as client:
        for visit in (1, 2):
            async with client.websocket("/ws") as websocket:
                assert await websocket.receive_json() == visit


async def test_stored_sessions_are_there():
    from microweb.sessions import MemorySessionStore

    app = App(__name__, secret_key="x" * 32)
    app.session_store = MemorySessionStore()

    @app.websocket("/ws")
    async def view(websocket):
        await websocket.accept()
        await websocket.send_json(websocket.session.get("user"))

    @app.get("/login")
    async def login(request: Request):
        request.session["user"] = "ada"
        return "in"

    async with connect(app) as client:
        await client.get("/login")
        async with client.websocket("/ws") as ws:
            assert await ws.receive_json() == "ada"


# Sessions -------------------------------------------------------------------------------------------


def app_that_remembers(stored):
    """An app whose websocket changes the session before it accepts, and after it if it is asked to."""
    app = App(__name__, secret_key="x" * 32)
    if stored:
        app.session_store = MemorySessionStore()

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        websocket.session["visits"] = websocket.session.get("visits", 0) + 1
        await websocket.accept(headers={"x-shop": "hats"})
        async for message in websocket:
            websocket.session[message] = "changed"

    @app.get("/")
    async def home(request: Request):
        return dict(request.session)

    return app


@pytest.mark.parametrize("stored", [False, True])
async def test_a_session_that_is_changed_before_accept_is_saved_with_it(stored):
    async with connect(app_that_remembers(stored)) as client:
        for _ in range(2):
            async with client.websocket("/ws") as ws:
                assert ws.headers["x-shop"] == "hats"

        assert (await client.get("/")).json() == {"visits": 2}


@pytest.mark.parametrize("stored", [False, True])
async def test_a_session_cannot_be_changed_after_accept(stored, caplog):
    async with connect(app_that_remembers(stored)) as client:
        async with client.websocket("/ws") as ws:
            await ws.send_text("late")
            with pytest.raises(WebSocketDisconnect) as closed:
                await ws.receive()

        assert closed.value.code == 1011
        assert (await client.get("/")).json() == {"visits": 1}
    assert "or before a websocket's accept()" in caplog.text


@pytest.mark.parametrize("stored", [False, True])
async def test_a_session_that_is_first_touched_after_accept_can_be_read(stored):
    app = app_that_remembers(stored)

    @app.websocket("/late")
    async def late(websocket: WebSocket):
        await websocket.accept()
        await websocket.send_json(dict(websocket.session))
        websocket.session["late"] = True

    async with connect(app) as client:
        async with client.websocket("/ws"):
            pass
        async with client.websocket("/late") as ws:
            assert await ws.receive_json() == {"visits": 1}
            with pytest.raises(WebSocketDisconnect):
                await ws.receive()


async def test_a_session_that_is_changed_before_a_refusal_is_saved_with_it():
    app = app_that_remembers(stored=False)

    @app.websocket("/refused")
    async def refused(websocket: WebSocket):
        websocket.session["refused"] = True
        abort(403)

    async with connect(app) as client:
        with pytest.raises(WebSocketDenied) as denied:
            async with client.websocket("/refused"):
                pass
    assert "session=" in denied.value.response.headers["set-cookie"]


async def test_a_mounted_apps_websocket_saves_the_outer_session_too():
    outer = app_that_remembers(stored=False)
    inner = App("inner", secret_key="y" * 32, config={"SESSION_COOKIE_NAME": "inner"})

    @inner.websocket("/ws")
    async def view(websocket: WebSocket):
        websocket.session["inner"] = 1
        await websocket.accept()

    @outer.websocket_middleware
    async def remember(websocket, call_next):
        websocket.session["outer"] = 1
        return await call_next(websocket)

    outer.mount("/in", inner)

    async with connect(outer) as client:
        async with client.websocket("/in/ws") as ws:
            names = {line.partition("=")[0] for line in ws.headers.get_list("set-cookie")}
        assert (await client.get("/")).json() == {"outer": 1}
    assert names == {"session", "inner"}


async def test_over_tls_the_cookie_of_a_websocket_is_secure():
    app = app_that_remembers(stored=False)

    async with connect(app, base_url="https://testserver") as client, client.websocket("/ws") as ws:
        assert "Secure" in ws.headers["set-cookie"]


async def test_a_session_that_is_too_large_refuses_the_websocket(caplog):
    app = app_that_remembers(stored=False)

    @app.websocket("/large")
    async def large(websocket: WebSocket):
        import os

        websocket.session["large"] = os.urandom(6000).hex()
        await websocket.accept()

    assert (await denial(app, "/large")).status_code == 500
    assert "the largest keys are 'large'" in caplog.text
