"""Websockets: the handshake, messages, closing, hooks, errors and mounts, on both event loops."""

import asyncio
import contextlib
import contextvars
import gc
import logging
import time
import weakref
from dataclasses import dataclass
from typing import Annotated

import anyio
import pytest
from markupsafe import Markup

from microweb import (
    App,
    ClientDisconnect,
    Converter,
    EventStream,
    FileResponse,
    HTTPException,
    Request,
    Response,
    Router,
    SetupError,
    StreamingResponse,
    WebSocketDisconnect,
    abort,
    current_app,
    g,
    websocket,
)
from microweb.channels import TooSlow
from microweb.errors import leaf_of
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


EVERY_CALL = [
    pytest.param(call, id=name)
    for name, call in {
        "receive": lambda websocket: websocket.receive(),
        "receive_text": lambda websocket: websocket.receive_text(),
        "receive_bytes": lambda websocket: websocket.receive_bytes(),
        "receive_json": lambda websocket: websocket.receive_json(),
        "receive_as": lambda websocket: websocket.receive_as(int),
        "iteration": lambda websocket: websocket.__anext__(),
        "send_text": lambda websocket: websocket.send_text("x"),
        "send_bytes": lambda websocket: websocket.send_bytes(b"x"),
        "send_json": lambda websocket: websocket.send_json(1),
    }.items()
]


async def close_code(app, *messages, path="/ws"):
    """Open a websocket, send, and tell what it is closed with."""
    async with connect(app) as client, client.websocket(path) as ws:
        for message in messages:
            await (ws.send_text if isinstance(message, str) else ws.send_bytes)(message)
        with pytest.raises(WebSocketDisconnect) as closed:
            await ws.receive()
    return closed.value.code


async def denial(app, path="/ws", spec_version="2.5", **options):
    async with connect(app, spec_version=spec_version) as client:
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


@pytest.mark.parametrize("method", ["receive", "receive_text", "receive_bytes", "receive_json"])
async def test_the_limit_holds_however_a_message_is_received(method):
    app = App(__name__)

    @app.websocket("/ws", websocket_max_message=1000)
    async def view(websocket):
        await websocket.accept()
        await getattr(websocket, method)()

    assert await close_code(app, "x" * 1001) == 1009


async def test_a_lone_surrogate_is_measured_as_any_other_text():
    assert await close_code(echoing(websocket_max_message=1000), "\ud800" * 334) == 1009


async def test_the_depth_of_the_config_holds_for_messages():
    app = App(__name__)
    app.config["JSON_MAX_DEPTH"] = 3

    @app.websocket("/ws")
    async def view(websocket):
        await websocket.accept()
        await websocket.receive_json()

    assert await close_code(app, "[[[]]]") == 1000
    assert await close_code(app, "[[[[]]]]") == 1007


async def test_the_defaults_of_a_dataclass_are_part_of_what_came():
    @dataclass
    class Point:
        x: int
        y: int = 2

    app = App(__name__)

    @app.websocket("/ws")
    async def view(websocket):
        await websocket.accept()
        await websocket.send_json(await websocket.receive_as(Point))
        await websocket.send_json(await websocket.receive_as(list[Point]))

    async with connect(app) as client, client.websocket("/ws") as ws:
        await ws.send_text('{"x": 1}')
        await ws.send_text('[{"x": 1}]')

        assert await ws.receive_json() == {"x": 1, "y": 2}
        assert await ws.receive_json() == [{"x": 1, "y": 2}]


async def test_an_idle_client_is_closed_with_1001_and_the_reason():
    async with connect(echoing(timeout=0.02)) as client, client.websocket("/ws") as ws:
        with pytest.raises(WebSocketDisconnect) as closed:
            await ws.receive()

    assert (closed.value.code, closed.value.reason) == (1001, "nothing came for 0.02 seconds")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_message_that_comes_as_the_time_is_up_is_not_lost():
    app, seen, messages = App(__name__), [], asyncio.Queue()

    @app.websocket("/ws", timeout=0.1)
    async def view(websocket: WebSocket):
        await websocket.accept()
        async for message in websocket:
            seen.append(message)
        seen.append(websocket.close_code)

    async def send(message): ...

    messages.put_nowait({"type": "websocket.connect"})
    scope = {"type": "websocket", "path": "/ws", "query_string": b"", "headers": [], "asgi": {"spec_version": "2.4"}}
    task = asyncio.create_task(app(scope, messages.get, send))
    await anyio.wait_all_tasks_blocked()
    # The loop stands still until both are due, and comes to them in the same turn.
    asyncio.get_running_loop().call_later(0.05, messages.put_nowait, {"type": "websocket.receive", "text": "late"})
    time.sleep(0.2)
    await task

    assert seen == ["late", 1001]


async def test_whatever_is_text_or_bytes_may_be_sent():
    app, sent = App(__name__), []

    @app.websocket("/ws")
    async def view(websocket):
        await websocket.accept()
        await websocket.send_text(Markup("<b>"))
        await websocket.send_bytes(bytearray(b"a"))
        await websocket.send_bytes(memoryview(b"b"))

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message.get("text") or message.get("bytes"))

    scope = {"type": "websocket", "path": "/ws", "query_string": b"", "headers": [], "asgi": {"spec_version": "2.4"}}
    await app(scope, receive, send)

    assert sent == [None, "<b>", b"a", b"b", None]
    assert [type(data) for data in sent[2:4]] == [bytes, bytes]


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


@pytest.mark.parametrize("call", EVERY_CALL)
async def test_a_method_out_of_turn_is_a_runtime_error(call):
    app = App(__name__)

    @app.websocket("/ws")
    async def view(websocket):
        with pytest.raises(RuntimeError, match="accept"):
            await call(websocket)
        abort(418)

    assert (await denial(app)).status_code == 418


async def test_a_second_accept_is_a_runtime_error():
    app = App(__name__)

    @app.websocket("/ws")
    async def view(websocket):
        await websocket.accept()
        with pytest.raises(RuntimeError, match="once"):
            await websocket.accept()
        await websocket.close(4000)

    assert await close_code(app) == 4000


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


async def test_one_that_nobody_accepted_is_a_403_from_the_error_handlers():
    app = App(__name__)
    app.errorhandler(403)(lambda error: ("not for you", 403))

    @app.websocket("/ws")
    async def view(websocket):
        pass

    assert (await denial(app)).text == "not for you"


@pytest.mark.parametrize("error", [TooSlow("slow"), ClientDisconnect("gone"), WebSocketDisconnect()])
async def test_an_end_of_something_else_before_accept_refuses_and_is_not_logged(error, caplog):
    app = App(__name__)

    @app.websocket("/ws")
    async def view(websocket):
        raise error

    assert (await denial(app)).status_code == 403
    assert caplog.records == []


@pytest.mark.parametrize(("value", "status"), [(None, 403), (("no", 401), 401), ({"a": 1}, 200)])
async def test_what_is_returned_before_accept_refuses(value, status):
    app = App(__name__)

    @app.websocket("/ws")
    async def view():
        return value

    assert (await denial(app)).status_code == status


async def test_what_is_sent_after_a_refusal_is_a_disconnect():
    app, seen = App(__name__), []

    @app.websocket("/ws")
    async def view(websocket):
        await websocket.deny(Response("no", 403))
        try:
            await websocket.send_text("x")
        except WebSocketDisconnect as closed:
            seen.append(closed.code)

    assert (await denial(app)).text == "no"
    assert seen == [1006]


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


@pytest.mark.parametrize("version", ["2.3", "2.4"])
async def test_a_denial_may_take_longer_than_a_client_may_be_silent(version):
    app = App(__name__)

    @app.websocket("/ws", timeout=0.02)
    async def view():
        yield "a"
        await anyio.sleep(0.1)
        yield "b"

    assert (await denial(app, spec_version=version)).text == "ab"


async def test_an_error_before_a_refusal_has_begun_is_answered_by_the_error_handlers(tmp_path):
    app, path = App(__name__), tmp_path / "sorry.html"
    path.write_text("sorry")

    @app.errorhandler(404)
    async def lost(error):
        return "lost", 404

    @app.websocket("/ws")
    async def view():
        response = FileResponse(path, status=403, headers={"x-why": "full"})
        path.unlink()
        return response

    refusal = await denial(app)

    assert (refusal.status_code, refusal.text) == (404, "lost")
    assert refusal.headers["x-why"] == "full"


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
@pytest.mark.parametrize("error", [KeyError("x"), ExceptionGroup("of a task group", [KeyError("x")])])
async def test_an_error_inside_of_a_refusal_is_told_to_the_app_that_owns_it(errors, told, error, caplog):
    inner, outer, outermost, seen, torn_down = App("inner"), App("outer"), App("outermost"), [], []

    @inner.websocket("/ws")
    async def view():
        yield "a"
        raise error

    for app in (inner, outer, outermost):
        app.on("exception")(lambda request, error: seen.append(request.app.import_name))
        app.teardown_websocket(torn_down.append)
    outer.mount("/in", inner, errors=errors)
    outermost.mount("/out", outer)

    with pytest.raises(type(error)):
        async with Client(outermost) as client, client.websocket("/out/in/ws"):
            pass

    assert (seen, len(caplog.records)) == ([told], 1)
    assert [repr(leaf_of(error)) for error in torn_down] == ["KeyError('x')"] * 3


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


async def test_the_teardown_hears_of_a_refusal_that_ended_half_way():
    app, seen = App(__name__), []
    scope = {"type": "websocket", "path": "/ws", "headers": [], "query_string": b""}
    scope["extensions"] = {"websocket.http.response": {}}

    @app.websocket("/ws")
    async def view():
        yield "a"
        raise TooSlow("behind")

    app.teardown_websocket(lambda error: seen.append(repr(error)))

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message): ...

    await app(scope, receive, send)

    assert seen == ["TooSlow('behind')"]


async def test_a_view_that_yields_cannot_accept():
    app = App(__name__)

    @app.websocket("/ws")
    async def view(websocket):
        await websocket.accept()
        yield "a"

    with pytest.raises(RuntimeError, match="yields"):
        async with Client(app) as client, client.websocket("/ws"):
            pass


@pytest.mark.parametrize("version", ["2.3", "2.4"])
@pytest.mark.parametrize("make", [EventStream, StreamingResponse])
async def test_a_denial_without_an_end_ends_when_the_client_has_left(make, version, caplog):
    app, ends = App(__name__), []

    @app.websocket("/ws")
    async def view():
        async def lines():
            try:
                while True:
                    yield "refused"
                    began.set()
                    await anyio.sleep(0.01)
            finally:
                ends.append("closed")

        return make(lines())

    began = anyio.Event()
    with anyio.fail_after(10):
        async with Client(app, spec_version=version) as client, anyio.create_task_group() as tasks:
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


@pytest.mark.parametrize("extensions", [{}, {"extensions": None}, {"extensions": {}}])
async def test_without_the_extension_a_denial_is_a_close(extensions):
    app, sent = App(__name__), []
    scope = {"type": "websocket", "path": "/ws", "query_string": b"", "headers": [], "asgi": {"version": "3.0"}}
    scope |= extensions

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)

    assert sent == [{"type": "websocket.close", "code": 1008}]


async def test_what_a_server_offers_for_requests_is_not_used_for_a_denial(tmp_path):
    app, sent, path = App(__name__), [], tmp_path / "sorry.html"
    path.write_text("sorry")
    scope = {"type": "websocket", "path": "/ws", "query_string": b"", "headers": []}
    scope["extensions"] = {"websocket.http.response": {}, "http.response.pathsend": {}}

    @app.websocket("/ws")
    async def view():
        return FileResponse(path)

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append((message["type"], message.get("body", b"")))

    await app(scope, receive, send)

    assert {type for type, _ in sent} == {"websocket.http.response.start", "websocket.http.response.body"}
    assert b"".join(body for _, body in sent) == b"sorry"


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
        ("HTTP://testserver", True),
        ("chrome-extension://testserver", False),
        ("testserver", False),
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


@pytest.mark.parametrize("name", [b"origin", b"Origin"])
async def test_the_page_is_known_however_the_server_writes_the_header(name):
    app, sent = echoing(), []
    headers = [(b"host", b"testserver"), (b"cookie", b"session=1"), (name, b"http://evil.example")]

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    await app({"type": "websocket", "path": "/ws", "query_string": b"", "headers": headers}, receive, send)

    assert sent == [{"type": "websocket.close", "code": 1008}]


def with_a_hook(app):
    app.before_websocket(lambda: None)


def with_a_hook_that_has_a_dependency(app):
    async def hook(user: Annotated[str, Depends(lambda: "ada")]):
        pass

    app.before_websocket(hook)


def with_a_layer(app):
    @app.websocket_middleware
    async def layer(websocket, call_next):
        return await call_next(websocket)


AROUND = [with_a_hook, with_a_hook_that_has_a_dependency, with_a_layer]


@pytest.mark.parametrize("surround", AROUND)
async def test_pages_of_other_sites_are_refused_whatever_is_around_the_view(surround):
    app = echoing()
    surround(app)

    refused = await denial(app, headers={"cookie": "session=1", "origin": "http://evil.example"})

    assert refused.status_code == 403


async def test_pages_of_other_sites_are_refused_for_mounted_apps_too():
    async def foreign(scope, receive, send):
        raise AssertionError

    app = App(__name__)
    app.mount("/in", foreign)

    refused = await denial(app, "/in/ws", headers={"cookie": "session=1", "origin": "http://evil.example"})

    assert refused.status_code == 403


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


@pytest.mark.parametrize("error", [ValueError(), ExceptionGroup("", [ValueError()])])
async def test_an_error_after_accept_closes_with_1011_and_says_nothing(error):
    app = App(__name__)

    @app.websocket("/ws")
    async def view(websocket):
        await websocket.accept()
        raise error

    async with connect(app) as client, client.websocket("/ws") as ws:
        with pytest.raises(WebSocketDisconnect) as closed:
            await ws.receive()

    assert (closed.value.code, closed.value.reason) == (1011, "")


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, 1007), (422, 1007), (413, 1009), (415, 1003), (401, 1008), (404, 1008), (500, 1011), (503, 1011)],
)
@pytest.mark.parametrize(("description", "reason"), [("because", "because"), ("", "{title}"), ("x" * 200, "x" * 123)])
async def test_an_http_exception_after_accept_closes_with_a_code_and_its_description(status, code, description, reason):
    app = App(__name__)

    @app.websocket("/ws")
    async def view(websocket):
        await websocket.accept()
        raise HTTPException(status, description)

    async with connect(app) as client, client.websocket("/ws") as ws:
        with pytest.raises(WebSocketDisconnect) as closed:
            await ws.receive()

    title = HTTPException(status).title
    assert (closed.value.code, closed.value.reason) == (code, reason.format(title=title))


@pytest.mark.parametrize("call", [*EVERY_CALL, pytest.param(lambda websocket: websocket.accept(), id="accept")])
async def test_what_comes_after_the_end_is_a_disconnect(call, caplog):
    app, seen = App(__name__), []

    @app.websocket("/ws")
    async def view(websocket):
        await websocket.accept()
        await websocket.close(4001, "bye")
        await websocket.close()
        try:
            await call(websocket)
        except WebSocketDisconnect as closed:
            seen.append((closed.code, closed.reason))
        except StopAsyncIteration:
            seen.append((4001, "bye"))

    assert await close_code(app) == 4001
    assert seen == [(4001, "bye")]
    assert caplog.records == []


async def test_a_loop_over_the_messages_ends_with_the_websocket():
    app, ends = App(__name__), []

    @app.websocket("/ws")
    async def view(websocket):
        await websocket.accept()
        async for message in websocket:
            if message == "end":
                await websocket.close(4003)
        ends.append((websocket.close_code, websocket.close_reason))

    assert await close_code(app, "end") == 4003
    async with connect(app) as client, client.websocket("/ws") as ws:
        await ws.close(4002, "bye")

    assert ends == [(4003, ""), (4002, "bye")]


@pytest.mark.parametrize(("reason", "sent"), [("\u00fc" * 100, "\u00fc" * 61), ("x" * 124, "x" * 123), ("\ud800", "?")])
async def test_any_reason_is_one_that_a_close_frame_has_room_for(reason, sent):
    app = App(__name__)

    @app.websocket("/ws")
    async def view(websocket):
        await websocket.accept()
        await websocket.close(4001, reason)

    async with connect(app) as client, client.websocket("/ws") as ws:
        with pytest.raises(WebSocketDisconnect) as closed:
            await ws.receive()

    assert closed.value.reason == sent


@pytest.mark.parametrize("around", [None, *AROUND])
async def test_what_a_view_returns_when_it_has_accepted_is_not_looked_at(around, caplog):
    app = App(__name__)

    @app.websocket("/ws")
    async def view(websocket):
        await websocket.accept()
        return object()

    if around is not None:
        around(app)

    assert await close_code(app) == 1000
    assert caplog.records == []


async def test_a_hook_that_closes_keeps_the_view_from_being_called():
    app = App(__name__)

    @app.before_websocket
    async def guard(websocket):
        await websocket.close(4000)

    @app.websocket("/ws")
    async def view(websocket):
        raise AssertionError

    async with Client(app) as client:
        with pytest.raises(WebSocketDenied):
            async with client.websocket("/ws"):
                pass


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


@pytest.mark.parametrize("call", [call for call in EVERY_CALL if call.id.startswith("send")])
@pytest.mark.parametrize("error", [OSError(), RuntimeError("Unexpected ASGI message 'websocket.send'")])
async def test_sending_to_a_client_that_left_is_a_disconnect(error, call, caplog):
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
            await call(websocket)
        except WebSocketDisconnect as closed:
            ends.append((closed.code, websocket.close_code))

    await app({"type": "websocket", "path": "/ws", "query_string": b"", "headers": []}, receive, send)

    assert ends == [(1006, 1006)]
    assert caplog.records == []


async def test_closing_is_quiet_when_the_client_was_faster(caplog):
    app, ends = App(__name__), []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        if message["type"] == "websocket.close":
            raise OSError

    @app.websocket("/ws")
    async def view(websocket):
        await websocket.accept()
        await websocket.close(4000, "done")
        ends.append((websocket.close_code, websocket.close_reason))

    await app({"type": "websocket", "path": "/ws", "query_string": b"", "headers": []}, receive, send)

    assert ends == [(4000, "done")]
    assert caplog.records == []


async def test_a_message_that_a_close_has_overtaken_is_a_disconnect_with_its_code():
    app, ends = App(__name__), []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        if message["type"] == "websocket.send":
            await app.state.websocket.close(4000, "done")
            raise OSError

    @app.websocket("/ws")
    async def view(websocket):
        app.state.websocket = websocket
        await websocket.accept()
        try:
            await websocket.send_text("x")
        except WebSocketDisconnect as closed:
            ends.append((closed.code, closed.reason))

    await app({"type": "websocket", "path": "/ws", "query_string": b"", "headers": []}, receive, send)

    assert ends == [(4000, "done")]


async def test_a_code_that_comes_after_a_send_has_failed_is_the_one_that_counts():
    app, ends, left = App(__name__), [], anyio.Event()
    messages = [{"type": "websocket.disconnect", "code": 4001, "reason": None}, {"type": "websocket.connect"}]

    async def receive():
        if len(messages) == 1:
            await left.wait()
        return messages.pop()

    async def send(message):
        if message["type"] == "websocket.send":
            raise OSError

    @app.websocket("/ws")
    async def view(websocket):
        await websocket.accept()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(gather, websocket)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(WebSocketDisconnect):
                await websocket.send_text("x")
            left.set()
        ends.append((websocket.close_code, websocket.close_reason))

    async def gather(websocket):
        async for _ in websocket:
            pass

    await app({"type": "websocket", "path": "/ws", "query_string": b"", "headers": []}, receive, send)

    assert ends == [(4001, "")]


async def test_a_disconnect_may_leave_out_its_code_and_reason():
    app, ends = App(__name__), []
    messages = [{"type": "websocket.disconnect"}, {"type": "websocket.connect"}]

    @app.websocket("/ws")
    async def view(websocket):
        await websocket.accept()
        with pytest.raises(WebSocketDisconnect) as closed:
            await websocket.receive()
        ends.append((closed.value.code, closed.value.reason))

    async def receive():
        return messages.pop()

    async def send(message):
        pass

    await app({"type": "websocket", "path": "/ws", "query_string": b"", "headers": []}, receive, send)

    assert ends == [(1005, "")]


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


@pytest.mark.parametrize("next_message", ["websocket.disconnect", "websocket.receive", None])
async def test_an_answer_that_the_server_takes_for_a_second_one_is_an_error_unless_the_client_has_left(
    next_message, caplog
):
    app, sent, has_left = App(__name__), [], next_message == "websocket.disconnect"
    messages = [{"type": "websocket.connect"}, {"type": next_message, "text": "x"}]

    @app.websocket("/ws")
    async def view(websocket):
        await websocket.accept()

    async def receive():
        if len(messages) == 1 and next_message is None:
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


@pytest.mark.parametrize("end", ["accept", "close"])
async def test_a_layer_may_do_something_else_than_a_refusal_from_inside(end, caplog):
    app = App(__name__)

    @app.websocket_middleware
    async def instead(websocket, call_next):
        await call_next(websocket)
        await getattr(websocket, end)()

    @app.websocket("/ws")
    async def view(websocket):
        return "no", 401

    if end == "accept":
        assert await close_code(app) == 1000
    else:
        assert (await denial(app)).status_code == 403
    assert caplog.records == []


async def test_a_proxy_of_a_websocket_that_has_ended_says_so():
    app, copies = App(__name__), []

    @app.websocket("/ws")
    async def view():
        await websocket.accept()
        copies.append(contextvars.copy_context())

    assert await close_code(app) == 1000

    with pytest.raises(RuntimeError, match="ended|over|copy_current_context"):
        copies[0].run(lambda: websocket.path)


@pytest.mark.parametrize("options", [{}, {"timeout": 60}])
async def test_a_websocket_is_gone_without_the_collector_when_it_has_ended(options):
    app, held = App(__name__), []
    scope = {"type": "websocket", "path": "/ws", "headers": [], "query_string": b"", "asgi": {"spec_version": "2.4"}}
    messages = [{"type": "websocket.disconnect"}, {"type": "websocket.connect"}]

    @app.websocket("/ws", **options)
    async def view(websocket: WebSocket):
        held.append(weakref.ref(websocket))
        await websocket.accept()
        async for _ in websocket:
            pass

    async def receive():
        return messages.pop()

    async def send(message): ...

    gc.disable()
    try:
        await app(scope, receive, send)
        assert [reference() for reference in held] == [None]
    finally:
        gc.enable()


async def test_a_hook_that_answers_refuses():
    app, seen = echoing(), []

    @app.before_websocket
    async def guard(websocket):
        seen.append(websocket.path)
        return "not today", 403

    response = await denial(app)

    assert (response.status_code, response.text, seen) == (403, "not today", ["/ws"])


async def test_a_url_value_preprocessor_sees_the_values_of_a_websocket_before_its_hooks():
    app, seen = App(__name__), []

    @app.url_value_preprocessor
    def pull_language(endpoint, values):
        g.language = values.pop("language")

    @app.before_websocket
    async def look():
        seen.append(g.language)

    @app.websocket("/<language>/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        seen.append(websocket.view_args)

    assert await close_code(app, path="/de/ws") == 1000
    assert seen == ["de", {}]


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
            await send({"type": "websocket.send", "text": "so far"})
        raise ValueError

    app = App(__name__)
    app.mount("/in", foreign)

    if accepts:
        async with connect(app) as client, client.websocket("/in/x") as ws:
            assert await ws.receive() == "so far"
            with pytest.raises(WebSocketDisconnect) as closed:
                await ws.receive()
        assert closed.value.code == 1011
    else:
        assert (await denial(app, "/in/x")).status_code == 500


@pytest.mark.parametrize("accepts", [False, True])
async def test_a_refusal_of_a_mounted_app_is_no_error_that_bubbles(accepts, caplog):
    outer, inner = App("outer"), App("inner")

    @inner.websocket("/ws")
    async def view(websocket):
        if accepts:
            await websocket.accept()
        abort(403)

    outer.mount("/in", inner, errors="bubble")

    if accepts:
        assert await close_code(outer, path="/in/ws") == 1008
    else:
        assert (await denial(outer, "/in/ws")).status_code == 403
    assert caplog.records == []


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


@pytest.mark.parametrize("fails", [False, True])
async def test_what_a_foreign_app_raises_for_a_client_that_left_is_told_from_its_own_mistakes(fails, caplog):
    app, codes = App(__name__), []

    async def foreign(scope, receive, send):
        assert scope["type"] == "websocket"
        await receive()
        await send({"type": "websocket.accept"})
        try:
            await send({"type": "websocket.send", "text": "x"})
        except OSError:
            if not fails:
                raise
        raise KeyError("its own")

    @app.websocket_middleware
    async def look(websocket, call_next):
        try:
            await call_next(websocket)
        finally:
            codes.append(websocket.close_code)

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        if message["type"] == "websocket.send":
            raise OSError("gone")

    app.mount("/in", foreign)
    scope = {"type": "websocket", "path": "/in/ws", "headers": [], "query_string": b"", "asgi": {"spec_version": "2.4"}}
    await app(scope, receive, send)

    assert codes == ([None] if fails else [1006])
    assert len(caplog.records) == int(fails)


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
        # Before the collector is back: it begins with the next object.
        assert [reference() for reference in held if reference() is not None] == []
    finally:
        gc.enable()


@pytest.mark.parametrize("errors", ["own", "bubble"])
async def test_what_a_broken_view_of_a_mounted_app_held_is_gone_when_it_is_over(errors, caplog):
    caplog.set_level("CRITICAL", "microweb")  # A record keeps its traceback.
    inner, outer, held = App("inner"), App("outer"), []

    @inner.websocket("/ws")
    async def view(websocket: WebSocket):
        held.append(weakref.ref(websocket))
        await websocket.accept()
        raise ExceptionGroup("of a task group", [ValueError()])

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message): ...

    outer.mount("/in", inner, errors=errors)
    gc.disable()
    try:
        await outer({"type": "websocket", "path": "/in/ws", "headers": [], "query_string": b""}, receive, send)
        assert [reference() for reference in held] == [None]
    finally:
        gc.enable()


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
            with pytest.raises(WebSocketDisconnect) as closed:
                await ws.receive()
    assert closed.value.code == 1011


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
        assert not {"content-type", "content-length", "vary"} & set(ws.headers)
    assert names == {"session", "inner"}


async def test_the_outer_session_cannot_be_changed_when_a_mounted_app_has_accepted(caplog):
    outer, inner = app_that_remembers(stored=False), echoing()

    @outer.websocket_middleware
    async def remember(websocket, call_next):
        await call_next(websocket)
        websocket.session["late"] = 1

    outer.mount("/in", inner)

    async with connect(outer) as client, client.websocket("/in/ws"):
        pass

    assert "or before a websocket's accept()" in caplog.text


async def test_over_tls_the_cookie_of_a_websocket_is_secure():
    app = app_that_remembers(stored=False)

    async with connect(app, base_url="https://testserver") as client, client.websocket("/ws") as ws:
        assert "Secure" in ws.headers["set-cookie"]


@pytest.mark.parametrize(("scheme", "is_secure"), [("wss", True), ("https", True), ("ws", False)])
async def test_a_proxy_may_say_https_of_a_websocket(scheme, is_secure):
    app, seen = App(__name__), []

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        seen.append(websocket.is_secure)

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message): ...

    await app({"type": "websocket", "path": "/ws", "scheme": scheme, "headers": [], "query_string": b""}, receive, send)

    assert seen == [is_secure]


async def test_a_session_that_is_too_large_refuses_the_websocket(caplog):
    app = app_that_remembers(stored=False)

    @app.websocket("/large")
    async def large(websocket: WebSocket):
        import os

        websocket.session["large"] = os.urandom(6000).hex()
        await websocket.accept()

    assert (await denial(app, "/large")).status_code == 500
    assert "the largest keys are 'large'" in caplog.text
