"""Websockets that are open when the app shuts down: closed with 1012, and waited for before any exit runs."""

import asyncio
import gc
import weakref
from contextlib import suppress

import anyio
import pytest

from microweb import App, WebSocketDisconnect
from microweb.sessions import MemorySessionStore
from microweb.testing import Client
from microweb.websockets import WebSocket

pytestmark = pytest.mark.anyio


def listen(app, seen):
    """A websocket whose view writes down with which code it was closed."""

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        async for _ in websocket:
            pass
        seen.append(websocket.close_code)


async def shut_down(app, path):
    """The code with which an open websocket is closed when the app shuts down."""
    async with Client(app) as client, client.websocket(path) as ws:
        app.shutting_down.set()
        with pytest.raises(WebSocketDisconnect) as closed:
            await ws.receive()
    return closed.value.code


async def test_an_open_websocket_is_closed_with_1012_and_its_view_goes_on():
    app, seen = App(__name__), []
    listen(app, seen)

    assert await shut_down(app, "/ws") == 1012
    assert seen == [1012]


async def test_one_that_has_ended_keeps_no_other_from_being_closed():
    app, seen = App(__name__), []
    listen(app, seen)

    async with Client(app) as client, client.websocket("/ws") as stays:
        async with client.websocket("/ws"):
            pass
        app.shutting_down.set()
        with pytest.raises(WebSocketDisconnect) as closed:
            await stays.receive()

    assert closed.value.code == 1012
    assert seen == [1000, 1012]


async def test_a_websocket_of_an_app_that_has_started_again_stays_open():
    app = App(__name__)

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        await anyio.sleep(0.5)  # The farewell of an app that shuts down would have come by now.
        await websocket.send_text("still here")

    async with Client(app) as client, client.websocket("/ws"):
        app.shutting_down.set()
    async with Client(app) as client, client.websocket("/ws") as ws:
        assert await ws.receive() == "still here"


async def test_a_view_that_waits_for_the_shutdown_has_the_last_word():
    app = App(__name__)

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        await app.shutting_down.wait()
        await anyio.sleep(0.05)
        await websocket.send_text("come back soon")
        await websocket.close(4000)

    async with Client(app) as client, client.websocket("/ws") as ws:
        app.shutting_down.set()
        assert await ws.receive() == "come back soon"
        with pytest.raises(WebSocketDisconnect) as closed:
            await ws.receive()

    assert closed.value.code == 4000


async def test_a_websocket_that_comes_during_the_shutdown_is_closed_soon():
    app = App(__name__)

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        await websocket.receive()

    async with Client(app) as client:
        app.shutting_down.set()
        async with client.websocket("/ws") as ws:
            with pytest.raises(WebSocketDisconnect) as closed:
                await ws.receive()

    assert closed.value.code == 1012


async def test_a_websocket_of_a_mounted_app_is_closed_by_that_app():
    app, inner, seen = App(__name__), App(__name__), []
    app.mount("/inner", inner)
    listen(inner, seen)

    assert await shut_down(app, "/inner/ws") == 1012
    assert seen == [1012]


async def test_a_websocket_of_a_mounted_app_is_closed_once():
    app, inner, seen = App(__name__), App("inner"), []

    @inner.websocket("/")
    async def view(websocket: WebSocket):
        await websocket.accept()
        await anyio.sleep(0.6)  # The farewell of the app around it would have come by now.
        seen.append(websocket.close_code)

    app.mount("/ws", inner)
    line = Line(app)
    with anyio.fail_after(10):
        await line.run()

    assert (line.codes, seen) == ([1012], [1012])


class SlowStore(MemorySessionStore):
    """Sessions are stored when somebody says so."""

    def __init__(self):
        super().__init__()
        self.is_asked, self.may_go_on = anyio.Event(), anyio.Event()

    async def save(self, *details):
        self.is_asked.set()
        await self.may_go_on.wait()


async def test_one_that_is_closed_while_its_session_is_stored_is_not_opened_any_more(caplog):
    app, ends = App(__name__, secret_key="0123456789abcdef"), []
    store = app.session_store = SlowStore()

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        websocket.session["seen"] = True
        try:
            await websocket.accept()
        except WebSocketDisconnect as closed:
            ends.append(closed.code)

    line = Line(app)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(line.run)
        with anyio.fail_after(10):
            await store.is_asked.wait()
            while not line.sent:
                await anyio.sleep(0.01)
            store.may_go_on.set()

    assert (line.sent, ends) == (["websocket.close"], [1012])
    assert caplog.records == []


async def test_a_foreign_app_is_told_of_the_farewell_when_it_sends(caplog):
    app, seen = App(__name__), []

    async def foreign(scope, receive, send):
        assert scope["type"] == "websocket"
        await receive()
        await send({"type": "websocket.accept"})
        seen.append((await receive())["type"])
        await send({"type": "websocket.send", "text": "more"})

    app.mount("/ws", foreign)
    line = Line(app)
    with anyio.fail_after(10):
        await line.run()

    assert seen == ["websocket.disconnect"]
    assert line.sent == ["websocket.accept", "websocket.close"]
    assert caplog.records == []


def note_exit(app, seen):
    """A lifespan that writes down when its exit has run."""

    @app.lifespan
    async def life(app):
        yield
        seen.append("exit")


async def test_a_server_without_lifespans_gives_views_the_time_of_the_config_too():
    app, ended = App(__name__, config={"BACKGROUND_TIMEOUT": 0.01}), []

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(anyio.current_time())

    line = Line(app)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(line.serve_websocket)
        await anyio.wait_all_tasks_blocked()
        begun = anyio.current_time()
        app.shutting_down.set()
    line.to_app.close()
    line.messages.close()

    assert ended[0] - begun < 2


class Line:
    """A server that leaves websockets to the app, and stops without waiting for them."""

    def __init__(self, app):
        self.app = app
        self.to_app, self.messages = anyio.create_memory_object_stream(10)
        self.sent, self.codes, self.stop = [], [], anyio.Event()
        self.steps = 0

    async def serve_lifespan(self, task_status):
        async def receive():
            self.steps += 1
            if self.steps == 1:
                return {"type": "lifespan.startup"}
            await self.stop.wait()
            return {"type": "lifespan.shutdown"}

        async def send(message):
            if message["type"] == "lifespan.startup.complete":
                task_status.started()

        await self.app({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)

    async def serve_in_a_scope(self, *, task_status):
        """Serve the lifespan, and give what cancels it."""
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                await tasks.start(lambda *, task_status: self.serve_lifespan(task_status))
                task_status.started(scope)

    async def serve_websocket(self):
        scope = {"type": "websocket", "path": "/ws", "headers": [], "query_string": b"", "subprotocols": []}
        await self.to_app.send({"type": "websocket.connect"})
        await self.app(scope, self.messages.receive, self.send)

    async def send(self, message):
        self.sent.append(message["type"])
        if message["type"] == "websocket.close":
            self.codes.append(message["code"])
            await self.to_app.send({"type": "websocket.disconnect", "code": message["code"]})
            raise RuntimeError("closed already")

    async def run(self):
        async with anyio.create_task_group() as tasks:
            await tasks.start(lambda *, task_status: self.serve_lifespan(task_status))
            tasks.start_soon(self.serve_websocket)
            await anyio.wait_all_tasks_blocked()
            self.stop.set()
        self.to_app.close()
        self.messages.close()


async def test_exits_run_when_websockets_have_ended_whatever_the_server_says_to_the_close(caplog):
    app, seen = App(__name__), []
    note_exit(app, seen)

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        try:
            async for _ in websocket:
                pass
        finally:
            await anyio.sleep(0.01)
            seen.append("closed")

    line = Line(app)
    with anyio.fail_after(4):  # Nobody waits any longer than for the view.
        await line.run()

    assert seen == ["closed", "exit"]
    assert line.sent == ["websocket.accept", "websocket.close"]
    assert caplog.records == []


async def test_exits_wait_for_views_also_where_the_server_cancels_the_lifespan():
    app, seen = App(__name__), []
    note_exit(app, seen)

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        async for _ in websocket:
            pass
        await anyio.sleep(0.05)
        seen.append("closed")

    line = Line(app)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            lifespan = await tasks.start(line.serve_in_a_scope)
            tasks.start_soon(line.serve_websocket)
            await anyio.wait_all_tasks_blocked()
            lifespan.cancel()
    line.to_app.close()
    line.messages.close()

    assert seen == ["closed", "exit"]


@pytest.mark.slow
async def test_a_view_that_stays_is_waited_for_as_long_as_a_background_task():
    app, seen = App(__name__, config={"BACKGROUND_TIMEOUT": 0.4}), []
    note_exit(app, seen)

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        while not seen:
            await anyio.sleep(0.01)

    with anyio.fail_after(10):
        await Line(app).run()

    assert seen == ["exit"]


@pytest.mark.parametrize("through", ["/ws", "/inner/ws", "/foreign/ws"])
async def test_a_view_that_waits_for_something_else_is_cancelled_when_it_had_its_time(through, caplog):
    app, inner, seen = App(__name__, config={"BACKGROUND_TIMEOUT": 0.01}), App("inner"), []
    inner.config["BACKGROUND_TIMEOUT"] = 0.01
    note_exit(app, seen)

    async def view(websocket: WebSocket):
        await websocket.accept()
        try:
            async with app.channels.subscribe("news") as messages:
                async for message in messages:
                    await websocket.send_json(message)
        finally:
            seen.append("cancelled")
            await anyio.lowlevel.cancel_shielded_checkpoint()

    async def foreign(scope, receive, send):
        await send({"type": "websocket.accept"})
        try:
            await anyio.sleep_forever()
        finally:
            seen.append("cancelled")

    async def teardown(error):
        seen.append(error)

    app.websocket("/ws")(view)
    inner.websocket("/ws")(view)
    app.teardown_websocket(teardown)
    inner.teardown_websocket(teardown)
    app.mount("/inner", inner)
    app.mount("/foreign", foreign)

    with anyio.fail_after(10):
        assert await shut_down(app, through) == 1012

    teardowns = [None, None] if through == "/inner/ws" else [None]
    assert seen == ["cancelled", *teardowns, "exit"]
    assert caplog.records == []


async def test_tasks_of_a_view_that_had_its_time_are_cancelled_with_it():
    app, seen = App(__name__, config={"BACKGROUND_TIMEOUT": 0.01}), []

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()

        async def stay(name):
            try:
                await anyio.sleep_forever()
            finally:
                seen.append(name)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stay, "beside")
            await stay("view")

    with anyio.fail_after(10):
        assert await shut_down(app, "/ws") == 1012

    assert sorted(seen) == ["beside", "view"]


async def test_a_view_that_is_cancelled_by_its_server_meanwhile_is_cancelled():
    app, seen, open_now = App(__name__, config={"BACKGROUND_TIMEOUT": 0}), [], anyio.Event()

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        open_now.set()
        try:
            await anyio.sleep_forever()
        finally:
            try:
                # Longer than the farewell has patience, which on asyncio passes through shields.
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(0.4)
            finally:
                seen.append("released")

    line = Line(app)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(line.serve_websocket)
            await open_now.wait()
            app.shutting_down.set()
            tasks.cancel_scope.cancel()
    line.to_app.close()
    line.messages.close()

    assert seen == ["released"]
    assert tasks.cancel_scope.cancelled_caught


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_cancellation_by_the_server_after_that_of_the_farewell_is_passed_on():
    app, late = App(__name__, config={"BACKGROUND_TIMEOUT": 0}), asyncio.Event()

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        try:
            await anyio.sleep_forever()
        finally:
            late.set()
            await anyio.sleep_forever()

    line = Line(app)
    with anyio.fail_after(10):
        task = asyncio.create_task(line.serve_websocket())
        await anyio.wait_all_tasks_blocked()
        app.shutting_down.set()
        await late.wait()
        task.cancel()
        await asyncio.wait([task])
    line.to_app.close()
    line.messages.close()

    assert task.cancelled()


class QuietLine(Line):
    """The same server, which leaves the close to the app."""

    async def send(self, message):
        with suppress(RuntimeError):
            await super().send(message)


@pytest.mark.parametrize("answers", [True, False])
async def test_a_view_that_gets_no_time_at_all_is_closed_with_1012_too(answers):
    app = App(__name__, config={"BACKGROUND_TIMEOUT": 0})

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        try:
            await anyio.sleep_forever()
        except BaseException:
            if answers:
                raise

    line = QuietLine(app)
    with anyio.fail_after(10):
        await line.run()

    assert line.codes == [1012]


async def test_a_view_that_was_cancelled_may_release_what_it_holds_before_the_exits_run():
    # Half of the grace period is all that websockets get.
    app, seen = App(__name__, config={"GRACEFUL_TIMEOUT": 0.2, "BACKGROUND_TIMEOUT": 30}), []
    note_exit(app, seen)

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.05)
            seen.append("released")

    with anyio.fail_after(10):
        await QuietLine(app).run()

    assert seen == ["released", "exit"]


async def test_a_view_is_cancelled_once():
    app, seen = App(__name__, config={"BACKGROUND_TIMEOUT": 0.1}), []
    note_exit(app, seen)

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        try:
            await anyio.sleep_forever()
        finally:
            # Longer than until the second of those who wait for it has lost patience; on asyncio no shield would hold.
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.6)
            seen.append("released")

    with anyio.fail_after(10):
        await QuietLine(app).run()

    assert seen == ["released", "exit"]


async def test_nothing_holds_a_websocket_that_was_cancelled_at_the_shutdown():
    app, held = App(__name__, config={"BACKGROUND_TIMEOUT": 0}), []

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        held.append(weakref.ref(websocket))
        await websocket.accept()
        await anyio.Event().wait()  # anyio's sleep_forever() leaves a timer to asyncio.

    with anyio.fail_after(10):
        await QuietLine(app).run()
    gc.collect()

    assert [reference() for reference in held] == [None]


class SlowLine(Line):
    """A server whose client is slow to hear of a close."""

    async def send(self, message):
        if message["type"] == "websocket.close":
            self.codes.append(message["code"])
            await anyio.sleep_forever()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_client_that_is_slow_to_hear_of_its_close_keeps_no_other_waiting():
    app = App(__name__, config={"BACKGROUND_TIMEOUT": 0.5})

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        async for _ in websocket:
            pass

    slow, quick = SlowLine(app), QuietLine(app)
    with anyio.fail_after(10):
        tasks = [asyncio.create_task(slow.serve_websocket()), asyncio.create_task(quick.serve_websocket())]
        await anyio.wait_all_tasks_blocked()
        app.shutting_down.set()
        await tasks[1]
        assert not tasks[0].done()
        await tasks[0]
        while any(task.get_name() == "microweb farewell" for task in asyncio.all_tasks()):
            await asyncio.sleep(0.01)
    for line in (slow, quick):
        line.to_app.close()
        line.messages.close()

    assert (slow.codes, quick.codes) == ([1012], [1012])


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("view_ends", [False, True])
async def test_one_that_takes_too_long_to_close_is_cancelled_and_the_server_hears_of_its_own_cancellation_alone(
    view_ends,
):
    # Half of the grace period is all that websockets get.
    app = App(__name__, config={"GRACEFUL_TIMEOUT": 0.2, "BACKGROUND_TIMEOUT": 30})

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        if not view_ends:
            await anyio.sleep_forever()

    line = SlowLine(app)
    with anyio.fail_after(10):
        lifespan = asyncio.create_task(line.serve_lifespan(anyio.TASK_STATUS_IGNORED))
        await anyio.wait_all_tasks_blocked()
        task = asyncio.create_task(line.serve_websocket())
        await anyio.wait_all_tasks_blocked()
        line.stop.set()
        if not view_ends:  # It has been cancelled by the farewell when the close goes out.
            while not line.codes:
                await asyncio.sleep(0.01)
            task.cancel()
        await asyncio.wait([task, lifespan])
    line.to_app.close()
    line.messages.close()

    assert task.cancelled() == (not view_ends)


@pytest.mark.slow
def test_a_view_that_outlived_its_loop_keeps_no_exit_of_the_next_from_running():
    app, seen, lines = App(__name__, config={"BACKGROUND_TIMEOUT": 0.01}), [], []
    note_exit(app, seen)

    @app.websocket("/ws")
    async def view(websocket: WebSocket):
        await websocket.accept()
        with suppress(asyncio.CancelledError):
            await anyio.sleep_forever()
        if not seen:
            await anyio.sleep_forever()

    async def live():
        lines.append(line := Line(app))
        lifespan = asyncio.create_task(line.serve_lifespan(anyio.TASK_STATUS_IGNORED))
        await anyio.wait_all_tasks_blocked()
        websocket = asyncio.create_task(line.serve_websocket())
        await anyio.wait_all_tasks_blocked()
        line.stop.set()
        await lifespan
        return websocket

    with asyncio.Runner() as first, asyncio.Runner() as second:
        stays = first.run(live())
        ends = second.run(live())

        assert (seen, stays.done(), ends.done()) == (["exit", "exit"], False, True)
        first.run(asyncio.sleep(0))  # It hears of the second shutdown too, and ends what that begins there.

    for line in lines:
        line.to_app.close()
        line.messages.close()
