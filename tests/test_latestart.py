"""The start of an app that no server has started, when a background task is the first to need it."""

import asyncio
from contextvars import ContextVar

import anyio
import pytest

from microweb import App

SCOPE = {"type": "http", "method": "GET", "query_string": b"", "headers": []}


async def ask(app, path):
    async def send(message):
        pass

    await app(SCOPE | {"path": path}, anyio.sleep_forever, send)


async def wait_until(condition):
    with anyio.fail_after(5):
        while not condition():
            await anyio.sleep(0)


def test_a_background_task_works_without_lifespan_events_from_loop_and_thread():
    app = App(__name__)
    done: list[str] = []
    variable: ContextVar[str] = ContextVar("variable")

    @app.get("/loop")
    async def from_loop():
        variable.set("loop")
        app.add_background_task(lambda: done.append(variable.get()))
        return ""

    @app.get("/thread")
    def from_thread():
        variable.set("thread")
        app.add_background_task(lambda: done.append(variable.get()))
        variable.set("later")
        return ""

    async def main():
        for path in ("/thread", "/loop"):
            await ask(app, path)
        await wait_until(lambda: len(done) == 2)

    asyncio.run(main())

    assert sorted(done) == ["loop", "thread"]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("path", ["/loop", "/thread"])
def test_a_background_task_runs_on_the_loop_that_is_served_now(path, backend):
    app = App(__name__)
    done: list[str] = []

    @app.get("/")
    async def home():
        return ""

    @app.get("/loop")
    async def from_loop():
        app.add_background_task(done.append, "loop")
        return ""

    @app.get("/thread")
    def from_thread():
        app.add_background_task(done.append, "thread")
        return ""

    async def ask_for_a_task():
        await ask(app, path)
        await wait_until(lambda: done)

    asyncio.run(ask(app, "/"))
    anyio.run(ask_for_a_task, backend=backend)

    assert done == [path[1:]]


def test_a_background_task_needs_a_loop_that_is_still_there():
    app = App(__name__)
    app.get("/")(lambda: "")

    asyncio.run(ask(app, "/"))

    with pytest.raises(RuntimeError, match="needs a started app"):
        app.add_background_task(print)


@pytest.mark.parametrize("has_lifespan", [True, False])
def test_a_background_task_before_the_first_request_on_the_next_loop_starts_the_app_there(has_lifespan):
    app = App(__name__)
    events: list[str] = []
    app.get("/")(lambda: "")
    if has_lifespan:

        @app.lifespan
        async def note(app):
            events.append("in")
            yield
            events.append("out")

    async def work():
        app.add_background_task(events.append, "ran")
        await wait_until(lambda: "ran" in events)

    asyncio.run(ask(app, "/"))
    asyncio.run(work())

    assert [event for event in events if event != "ran"] == ["in", "out"] * 2 * has_lifespan


def test_a_lifespan_that_a_request_has_started_may_begin_a_background_task():
    app = App(__name__)
    done: list[str] = []
    app.get("/")(lambda: "")

    @app.lifespan
    async def work(app):
        app.add_background_task(done.append, "ran")
        yield

    asyncio.run(ask(app, "/"))

    assert done == ["ran"]


def test_a_background_task_from_another_loop_runs_on_the_one_that_is_served():
    app = App(__name__)
    loops: list[object] = []
    app.get("/")(lambda: "")

    async def work():
        loops.append(asyncio.get_running_loop())

    async def elsewhere():
        app.add_background_task(work)

    async def main():
        await ask(app, "/")
        await asyncio.to_thread(asyncio.run, elsewhere())
        await wait_until(lambda: loops)
        assert loops == [asyncio.get_running_loop()]

    asyncio.run(main())
