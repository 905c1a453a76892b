"""Work that goes on beside the requests: when it starts, what it may not disturb, and how it ends."""

import threading
from functools import partial

import anyio
import pytest

from microweb import App, EventStream, Request, StreamingResponse, abort, current_app
from microweb.testing import Client

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("error", [404, 500, KeyError])
async def test_work_runs_after_an_error_answer_too(error):
    app, done = App(__name__), []

    @app.get("/")
    async def view(request: Request):
        request.after_response(done.append, "ran")
        if isinstance(error, int):
            abort(error)
        raise error

    async with Client(app, raise_errors=False) as client:
        await client.get("/")

    assert done == ["ran"]


async def test_work_runs_when_the_client_has_left():
    app, done, first = App(__name__), anyio.Event(), []

    @app.get("/")
    async def view(request: Request):
        async def body():
            yield "first"
            await anyio.sleep_forever()

        async def work():
            done.set()

        request.after_response(work)
        return EventStream(body())

    async with Client(app) as client:
        async with client.stream("GET", "/") as response:
            async for chunk in response.aiter_text():
                first.append(chunk)
                break
        with anyio.fail_after(10):
            await done.wait()

    assert first == ["data: first\n\n"]


@pytest.mark.parametrize("is_of_app", [True, False])
async def test_what_a_function_gives_is_no_task(is_of_app):
    app = App(__name__)

    async def work():
        raise AssertionError("never run")

    @app.get("/")
    async def view(request: Request):
        start = app.add_background_task if is_of_app else request.after_response
        start(work())

    with pytest.raises(TypeError, match="a function and its arguments"):
        async with Client(app) as client:
            await client.get("/")


async def test_work_starts_after_the_last_byte():
    app, order = App(__name__), []

    @app.get("/")
    async def view(request: Request):
        async def body():
            yield "a"
            order.append("last byte")

        request.after_response(order.append, "work")
        return StreamingResponse(body())

    async with Client(app) as client:
        await client.get("/")

    assert order == ["last byte", "work"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # trio begins tasks in any order
async def test_work_starts_in_the_order_in_which_it_was_given_when_all_else_is_closed(anyio_backend):
    app, order = App(__name__), []

    async def note(what):
        order.append(what)

    @app.get("/")
    async def view(request: Request):
        request.after_response(note, "first")
        request.on_close(partial(note, "closed"))
        request.after_response(note, "second")
        return "view"

    async with Client(app) as client:
        await client.get("/")

    assert order == ["closed", "first", "second"]


async def test_failures_touch_neither_the_answer_nor_each_other(caplog):
    app, done = App(__name__), []

    @app.get("/")
    async def view(request: Request):
        async def fail(number):
            await anyio.lowlevel.checkpoint()
            raise ValueError(f"failure {number}")

        for number in range(2):
            request.after_response(fail, number)
            app.add_background_task(fail, number + 2)
        app.add_background_task(done.append, "done")
        return "answer"

    async with Client(app) as client:
        assert (await client.get("/")).text == "answer"
        assert (await client.get("/")).status_code == 200

    assert done == ["done", "done"]
    assert sorted(record.exc_info[1].args[0] for record in caplog.records) == sorted(
        f"failure {number}" for number in range(4) for _ in range(2)
    )


async def test_the_stop_waits_for_work_that_ends_in_time():
    app, done = App(__name__), []

    async def work():
        await anyio.sleep(0.05)
        done.append("drained")

    async with Client(app):
        app.add_background_task(work)

    assert done == ["drained"]


async def test_the_stop_cancels_work_that_takes_too_long():
    app, ends = App(__name__, config={"BACKGROUND_TIMEOUT": 0.01}), []

    async def work():
        try:
            await anyio.sleep_forever()
        finally:
            ends.append("cancelled")

    started = anyio.current_time()
    async with Client(app):
        app.add_background_task(work)

    assert ends == ["cancelled"]
    assert anyio.current_time() - started < 4  # the default is 5


async def test_work_that_is_cancelled_or_fails_is_logged_by_its_own_name(caplog):
    app = App(__name__, config={"BACKGROUND_TIMEOUT": 0.3})

    async def sleepy():
        await anyio.sleep_forever()

    def broken():
        raise ValueError

    async with Client(app):
        app.add_background_task(sleepy)
        app.add_background_task(broken)
        while "broken failed" not in caplog.text:
            await anyio.lowlevel.checkpoint()

    messages = " ".join(record.getMessage() for record in caplog.records)
    assert "sleepy." in messages
    assert "broken failed" in messages


async def test_work_of_a_mounted_app_is_done_for_that_app():
    app, inner, seen = App(__name__), App(__name__), []

    @inner.get("/")
    async def view(request: Request):
        request.after_response(lambda: seen.append(current_app == inner))
        return ""

    app.mount("/inner", inner)
    async with Client(app) as client:
        await client.get("/inner/")

    assert seen == [True]


async def test_what_a_def_function_gives_to_be_awaited_is_awaited():
    app, done = App(__name__), []

    async def work(name):
        done.append(name)

    async with Client(app):
        app.add_background_task(lambda: work("ada"))

    assert done == ["ada"]


async def test_work_may_be_added_by_a_def_view_and_runs_in_a_thread_if_it_is_def():
    app, threads = App(__name__), []

    @app.get("/")
    def view():
        app.add_background_task(work)
        app.add_background_task(lambda: threads.append(threading.current_thread()))
        return "added"

    async def work():
        threads.append(threading.current_thread())

    async with Client(app) as client:
        await client.get("/")

    assert len(threads) == 2
    assert len({thread is threading.current_thread() for thread in threads}) == 2
