"""Websockets on servers that say nothing when something is sent to a client that has left (ASGI before 2.4)."""

import anyio
import pytest

from microweb import App, WebSocketDisconnect
from microweb.testing import Client
from microweb.websockets import WebSocket

pytestmark = pytest.mark.anyio


def on_an_old_server(app, **options):
    return Client(app, spec_version="2.3", **options)


async def test_a_view_that_only_sends_ends_when_its_client_has_left(caplog):
    app, ends = App(__name__), []

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        try:
            while True:
                await websocket.send_text("tick")
        except WebSocketDisconnect as closed:
            ends.append(closed.code)
            raise

    with anyio.fail_after(10):
        async with on_an_old_server(app) as client, client.websocket("/ws") as ws:
            assert await ws.receive() == "tick"

    assert ends == [1006]
    assert caplog.records == []


async def test_what_came_ahead_is_received_in_order():
    app = App(__name__)

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        for number in range(3):
            for _ in range(3):
                await websocket.send_text(f"question {number}")
            await websocket.send_text(f"thanks for {await websocket.receive()}")

    async with on_an_old_server(app) as client, client.websocket("/ws") as ws:
        for text in ("a", "b", "c"):
            await ws.send_text(text)
        received = [message async for message in ws]

    assert [text for text in received if "thanks" in text] == ["thanks for a", "thanks for b", "thanks for c"]


async def test_a_wait_that_was_given_up_loses_no_message():
    app = App(__name__)

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        await websocket.send_text("one")
        await websocket.send_text("two")
        with anyio.move_on_after(0.01):
            await websocket.receive()
        await websocket.send_text("speak")
        await websocket.send_text(f"heard {await websocket.receive()}")

    async with on_an_old_server(app) as client, client.websocket("/ws") as ws:
        assert [await ws.receive() for _ in range(3)] == ["one", "two", "speak"]
        await ws.send_text("hello")
        assert await ws.receive() == "heard hello"


async def test_sending_beside_a_loop_that_receives_goes_on():
    app = App(__name__)

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        async with anyio.create_task_group() as tasks:

            async def tick():
                while True:
                    await websocket.send_text("tick")
                    await anyio.lowlevel.checkpoint()

            tasks.start_soon(tick)
            async for message in websocket:
                await websocket.send_text(message)
            tasks.cancel_scope.cancel()

    with anyio.fail_after(10):
        async with on_an_old_server(app) as client, client.websocket("/ws") as ws:
            for text in ("a", "b"):
                await ws.send_text(text)
                while await ws.receive() != text:
                    pass


async def test_one_that_is_closed_while_it_looks_out_sends_no_more(caplog):
    app, sent = App(__name__), []

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        async with anyio.create_task_group() as tasks:
            await websocket.send_text("one")
            tasks.start_soon(websocket.close)
            while True:
                await websocket.send_text("more")

    async def receive():
        if not sent:
            return {"type": "websocket.connect"}
        await anyio.sleep_forever()

    async def send(message):
        assert "websocket.close" not in sent
        sent.append(message["type"])

    with anyio.fail_after(10):
        await app({"type": "websocket", "path": "/ws", "headers": []}, receive, send)

    assert sent[-1] == "websocket.close"
    assert caplog.records == []


@pytest.mark.parametrize("receives", [True, False])
async def test_what_the_server_raises_meanwhile_is_raised_in_the_view(receives):
    app, seen = App(__name__), []
    messages = [{"type": "websocket.connect"}]

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        try:
            await websocket.send_text("one")
            await websocket.send_text("two")
            await websocket.receive() if receives else await websocket.send_text("three")
        except ZeroDivisionError as error:
            seen.append(str(error))
            raise WebSocketDisconnect(1006) from None

    async def receive():
        if messages:
            return messages.pop()
        await anyio.lowlevel.checkpoint()
        raise ZeroDivisionError("the server's own")

    async def send(message):
        await anyio.lowlevel.checkpoint()

    await app({"type": "websocket", "path": "/ws", "query_string": b"", "headers": []}, receive, send)

    assert seen == ["the server's own"]
