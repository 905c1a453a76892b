"""Websockets on servers that say nothing when something is sent to a client that has left (ASGI before 2.4)."""

import asyncio
import weakref
from itertools import chain, repeat

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


async def test_sending_beside_one_that_receives_asks_the_server_for_one_message_at_a_time():
    app, asked, heard = App(__name__), [], []
    coming, line = anyio.create_memory_object_stream(1)

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(gather, websocket)
            await anyio.wait_all_tasks_blocked()
            for _ in range(5):
                await websocket.send_text("tick")
            await coming.send({"type": "websocket.receive", "text": "hello"})
            await coming.send({"type": "websocket.disconnect"})

    async def gather(websocket):
        async for message in websocket:
            heard.append(message)

    async def receive():
        assert asked[-1:] != ["asked"]
        asked.append("asked")
        message = await line.receive() if len(asked) > 1 else {"type": "websocket.connect"}
        asked.append("answered")
        return message

    async def send(message):
        await anyio.lowlevel.checkpoint()

    with anyio.fail_after(10), coming, line:
        await app({"type": "websocket", "path": "/ws", "headers": []}, receive, send)

    assert heard == ["hello"]


async def test_a_view_that_receives_after_each_send_is_asked_for_nothing_ahead():
    app, messages, asked = App(__name__), ["c", "b", "a"], []

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        async for message in websocket:
            await websocket.send_json([message, len(asked)])

    async def receive():
        asked.append(True)
        if len(asked) == 1:
            return {"type": "websocket.connect"}
        if not messages:
            return {"type": "websocket.disconnect"}
        return {"type": "websocket.receive", "text": messages.pop()}

    async def send(message):
        sent.append(message.get("text"))

    sent = []
    await app({"type": "websocket", "path": "/ws", "headers": []}, receive, send)

    assert sent[1:4] == ['["a",2]', '["b",3]', '["c",4]']


@pytest.mark.parametrize("version", ["2.4", "2.5", "2.6", "2.10", "3.0"])
async def test_nothing_is_received_ahead_on_servers_that_say_when_a_client_has_left(version):
    app, asked = App(__name__), []

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        for _ in range(3):
            await websocket.send_text("tick")

    async def receive():
        asked.append(True)
        return {"type": "websocket.connect"}

    async def send(message):
        await anyio.lowlevel.checkpoint()

    scope = {"type": "websocket", "path": "/ws", "headers": [], "asgi": {"version": "3.0", "spec_version": version}}
    await app(scope, receive, send)

    assert asked == [True]


async def test_nothing_is_received_any_more_when_the_app_has_returned():
    app, ends = App(__name__), []

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        for _ in range(3):
            await websocket.send_text("tick")

    async def receive():
        if not ends:
            ends.append("connected")
            return {"type": "websocket.connect"}
        try:
            await anyio.sleep_forever()
        finally:
            ends.append("given up")

    async def send(message):
        await anyio.lowlevel.checkpoint()

    await app({"type": "websocket", "path": "/ws", "headers": []}, receive, send)

    assert ends == ["connected", "given up"]


async def test_a_mounted_app_that_sends_on_when_its_client_has_left_is_told_each_time():
    app, told = App(__name__), []
    messages = [{"type": "websocket.disconnect"}, {"type": "websocket.connect"}]

    async def foreign(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        while len(told) < 3:
            try:
                await send({"type": "websocket.send", "text": "tick"})
            except OSError:
                told.append("left")

    async def receive():
        await anyio.lowlevel.checkpoint()
        return messages.pop()

    async def send(message):
        await anyio.lowlevel.checkpoint()

    app.mount("/in", foreign)
    with anyio.fail_after(10):
        await app({"type": "websocket", "path": "/in/ws", "headers": []}, receive, send)

    assert (told, messages) == (["left"] * 3, [])


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
        if not raised:
            raised.append(True)
            raise ZeroDivisionError("the server's own")
        await anyio.sleep_forever()

    async def send(message):
        await anyio.lowlevel.checkpoint()

    raised = []
    with anyio.fail_after(10):
        await app({"type": "websocket", "path": "/ws", "query_string": b"", "headers": []}, receive, send)

    assert seen == ["the server's own"]


@pytest.mark.parametrize("receives", [False, True])
async def test_a_view_that_only_sends_ends_whatever_its_client_has_said_before(receives, caplog):
    app, ends = App(__name__), []

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        if receives:
            assert await websocket.receive() == "subscribe"
        try:
            while True:
                await websocket.send_text("tick")
        finally:
            ends.append(websocket.close_code)

    with anyio.fail_after(10):
        async with on_an_old_server(app) as client, client.websocket("/ws") as ws:
            for text in ("subscribe", "still here", "still here"):
                await ws.send_text(text)
            assert await ws.receive() == "tick"

    assert ends == [1006]
    assert caplog.records == []


def make_talkative(messages):
    """The two sides of a server whose client says ``messages``, then leaves; it throws away what is sent."""
    coming = chain([{"type": "websocket.connect"}], ({"type": "websocket.receive", "text": text} for text in messages))

    async def receive():
        await anyio.lowlevel.checkpoint()
        return next(coming, {"type": "websocket.disconnect", "code": 1001})

    async def send(message):
        sent.append(message)

    sent = []
    return receive, send, sent


async def send_until(websocket, seconds):
    """Send for at least that long; what the client says meanwhile comes, as far as it is taken."""
    deadline = anyio.current_time() + seconds
    while anyio.current_time() < deadline:
        await websocket.send_text("tick")


@pytest.mark.parametrize("kind", ["text", "bytes"])
@pytest.mark.parametrize("is_mounted", [False, True])
async def test_what_is_kept_of_what_comes_while_a_view_only_sends_is_bounded(is_mounted, kind):
    app, asked, inner = App(__name__), [], App("inner")
    owner = inner if is_mounted else app

    @owner.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        await send_until(websocket, 0.05)

    async def receive():
        await anyio.lowlevel.checkpoint()
        asked.append(True)
        data = "x" * 10_000 if kind == "text" else b"x" * 10_000
        return {"type": "websocket.receive" if len(asked) > 1 else "websocket.connect", kind: data}

    async def send(message):
        await anyio.lowlevel.checkpoint()

    app.mount("/in", inner)
    with anyio.fail_after(10):
        path = "/in/ws" if is_mounted else "/ws"
        await app({"type": "websocket", "path": path, "headers": []}, receive, send)

    assert 5 < len(asked) < 10


async def test_what_comes_while_a_view_only_sends_does_not_hide_the_end():
    app, ends = App(__name__, config={"BODY_TIMEOUT": 0.05}), []

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        try:
            await send_until(websocket, 60)
        except WebSocketDisconnect:
            ends.append("left")
            raise

    receive, send, _ = make_talkative(["x" * 10_000] * 1000)
    with anyio.fail_after(10):
        await app({"type": "websocket", "path": "/ws", "headers": []}, receive, send)

    assert ends == ["left"]


async def test_a_view_that_receives_after_messages_were_thrown_away_is_told():
    app = App(__name__, config={"BODY_TIMEOUT": 0.01})

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        await send_until(websocket, 0.1)
        await websocket.receive()

    receive, send, sent = make_talkative(repeat("x" * 10_000))
    with anyio.fail_after(10):
        await app({"type": "websocket", "path": "/ws", "headers": []}, receive, send)

    assert sent[-1]["code"] == 1008


async def test_the_patience_with_a_view_begins_anew_when_it_has_received():
    app, heard = App(__name__, config={"BODY_TIMEOUT": 1}), []

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        for _ in range(2):
            await send_until(websocket, 0.6)
            heard.append(await websocket.receive())
        heard.extend([message async for message in websocket])

    receive, send, _ = make_talkative([f"{number:10000}" for number in range(50)])
    with anyio.fail_after(10):
        await app({"type": "websocket", "path": "/ws", "headers": []}, receive, send)

    assert [int(text) for text in heard] == list(range(50))


@pytest.mark.parametrize("patience", [30, None])
async def test_no_message_is_lost_while_the_view_takes_its_time(patience):
    app, heard = App(__name__, config={"BODY_TIMEOUT": patience}), []

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        await send_until(websocket, 0.05)
        async for message in websocket:
            heard.append(message)

    receive, send, _ = make_talkative([f"{number:10000}" for number in range(50)])
    with anyio.fail_after(10):
        await app({"type": "websocket", "path": "/ws", "headers": []}, receive, send)

    assert [int(text) for text in heard] == list(range(50))


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("sends", [False, True])
async def test_a_wait_that_was_given_up_loses_no_message_of_a_server_that_gives_futures(anyio_backend, sends):
    app, heard, answers = App(__name__), [], []

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        with anyio.move_on_after(0):
            await websocket.receive()
        for _ in range(3 if sends else 0):
            await websocket.send_text("are you there?")
        for number, answer in enumerate(answers):
            answer.set_result({"type": "websocket.receive", "text": str(number)})
        heard.append(await websocket.receive())

    def receive():
        answer = asyncio.get_running_loop().create_future()
        if not connected:
            connected.append(True)
            answer.set_result({"type": "websocket.connect"})
        else:
            answers.append(answer)
        return answer

    async def send(message):
        pass

    connected = []
    with anyio.fail_after(10):
        await app({"type": "websocket", "path": "/ws", "headers": []}, receive, send)

    assert heard == ["0"]
    assert all(answer.done() for answer in answers)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_what_a_server_that_gives_futures_has_answered_is_kept_no_longer(anyio_backend):
    app, answered = App(__name__), []

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        for _ in range(10):
            await websocket.receive()
        answered.append(sum(answer() is not None for answer in given))

    def receive():
        answer = asyncio.get_running_loop().create_future()
        answer.set_result({"type": "websocket.receive", "text": "x"} if given else {"type": "websocket.connect"})
        given.append(weakref.ref(answer))
        return answer

    async def send(message): ...

    given = []
    await app({"type": "websocket", "path": "/ws", "headers": []}, receive, send)

    assert answered[0] < 3


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_view_that_is_cancelled_asks_a_server_that_gives_futures_for_nothing_any_more(anyio_backend):
    app, asked = App(__name__), []

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        await websocket.receive()

    def receive():
        answer = asyncio.get_running_loop().create_future()
        asked.append(answer)
        if len(asked) == 1:
            answer.set_result({"type": "websocket.connect"})
        return answer

    async def send(message): ...

    task = asyncio.create_task(app({"type": "websocket", "path": "/ws", "headers": []}, receive, send))
    await anyio.wait_all_tasks_blocked()
    task.cancel()
    await asyncio.wait([task])

    assert (task.cancelled(), asked[1].cancelled()) == (True, True)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_answer_that_the_server_itself_cancels_is_a_cancellation(anyio_backend):
    app, asked = App(__name__), []

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        await websocket.receive()

    def receive():
        answer = asyncio.get_running_loop().create_future()
        asked.append(answer)
        if len(asked) == 1:
            answer.set_result({"type": "websocket.connect"})
        else:
            asyncio.get_running_loop().call_soon(answer.cancel)
        return answer

    async def send(message): ...

    with anyio.fail_after(10), pytest.raises(asyncio.CancelledError):
        await app({"type": "websocket", "path": "/ws", "headers": []}, receive, send)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(
    ("close", "told"), [({}, {"code": 1000}), ({"code": 4001, "reason": "bye"}, {"code": 4001, "reason": "bye"})]
)
async def test_a_mounted_app_that_waits_for_a_message_hears_of_its_own_close(anyio_backend, close, told):
    app, asked, heard = App(__name__), [], []

    async def foreign(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen, receive)
            await anyio.wait_all_tasks_blocked()
            await send({"type": "websocket.close", **close})

    async def listen(receive):
        heard.append(await receive())

    def receive():
        answer = asyncio.get_running_loop().create_future()
        asked.append(answer)
        if len(asked) == 1:
            answer.set_result({"type": "websocket.connect"})
        return answer

    async def send(message): ...

    app.mount("/in", foreign)
    with anyio.fail_after(10):
        await app({"type": "websocket", "path": "/in/ws", "headers": []}, receive, send)

    assert heard == [{"type": "websocket.disconnect", **told}]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("given_up", [False, True])
async def test_a_close_withdraws_what_a_server_that_gives_futures_was_asked_for(anyio_backend, given_up):
    app, seen, asked = App(__name__), [], []

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()

        async def receive():
            with anyio.move_on_after(0 if given_up else None):
                async for _ in websocket:
                    pass
                seen.append((websocket.close_code, websocket.close_reason))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive)
            while len(asked) < 2:
                await anyio.lowlevel.checkpoint()
            await websocket.close(4001, "enough")

    def receive():
        answer = asyncio.get_running_loop().create_future()
        asked.append(answer)
        if len(asked) == 1:
            answer.set_result({"type": "websocket.connect"})
        return answer

    async def send(message):
        # As long as one is asked for, granian keeps the close back.
        assert message["type"] != "websocket.close" or all(answer.done() for answer in asked)
        sent.append(message["type"])

    sent = []
    with anyio.fail_after(10):
        await app({"type": "websocket", "path": "/ws", "headers": []}, receive, send)

    assert sent == ["websocket.accept", "websocket.close"]
    assert seen == ([] if given_up else [(4001, "enough")])


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_who_waits_for_a_message_is_told_of_a_close_when_it_is_out(anyio_backend):
    app, asked, sent = App(__name__), [], []

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(websocket.receive)  # Its WebSocketDisconnect cancels the group, and with it the close.
            while len(asked) < 2:
                await anyio.lowlevel.checkpoint()
            await websocket.close(4001)

    def receive():
        answer = asyncio.get_running_loop().create_future()
        asked.append(answer)
        if len(asked) == 1:
            answer.set_result({"type": "websocket.connect"})
        return answer

    async def send(message):
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        sent.append(message.get("code"))

    with anyio.fail_after(10):
        await app({"type": "websocket", "path": "/ws", "headers": []}, receive, send)

    assert sent == [None, 4001]


async def test_what_a_server_says_of_our_own_close_does_not_change_its_code():
    app, codes = App(__name__), []
    messages = [{"type": "websocket.connect"}]
    closed = anyio.Event()

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(websocket.close, 4001)
            async for _ in websocket:
                pass
        codes.append(websocket.close_code)

    async def receive():
        if messages:
            return messages.pop()
        await closed.wait()
        return {"type": "websocket.disconnect", "code": 1000}

    async def send(message):
        if message["type"] == "websocket.close":
            closed.set()

    with anyio.fail_after(10):
        await app({"type": "websocket", "path": "/ws", "headers": []}, receive, send)

    assert codes == [4001]
