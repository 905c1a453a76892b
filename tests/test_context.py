"""The ends of contexts: `with`, `async with` and background tasks tell the observers of `context_torn_down`, once."""

import asyncio
import sqlite3
import threading

import anyio
import pytest

from microweb import App, Request, copy_current_context, current_app, g, request
from microweb.testing import Client


def watched_app():
    """An app, and what it told about the contexts that ended."""
    app, ends = App(__name__), []

    @app.on("context_torn_down")
    async def close(app, request, error):
        await anyio.sleep(0)
        ends.append((current_app == app, g.get("name"), request, error))

    return app, ends


# In synchronous code -------------------------------------------------------------------------------


def test_the_end_of_a_with_block_is_told_while_the_context_is_current():
    app, ends = App(__name__), []

    @app.on("context_torn_down")
    def close(app, request, error):
        ends.append((current_app == app, g.name, request, error, threading.get_ident()))

    with app.app_context():
        g.name = "ada"

    assert ends == [(True, "ada", None, None, threading.get_ident())]
    assert not current_app


def test_at_module_level_coroutine_functions_have_ended_when_the_block_is_left():
    app, ends = watched_app()

    with app.app_context():
        g.name = "ada"

    assert ends == [(True, "ada", None, None)]


def test_the_error_that_leaves_the_block_is_told_and_goes_on():
    app, ends = watched_app()
    error = ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"), app.app_context():
        raise error

    assert ends == [(True, None, None, error)]


@pytest.mark.parametrize("is_async", [True, False])
def test_an_observer_that_fails_is_logged_and_the_next_one_is_told(caplog, is_async):
    app, seen = App(__name__), []

    async def fail_later():
        raise RuntimeError("broken")

    def fail():
        raise RuntimeError("broken")

    app.on("context_torn_down")(fail_later if is_async else fail)
    app.on("context_torn_down")(lambda: seen.append(current_app.import_name))
    with app.app_context():
        pass

    assert seen == [__name__]
    assert "broken" in caplog.text
    assert not current_app


def test_a_context_that_is_entered_again_is_torn_down_once():
    app, ends = App(__name__), []
    app.on("context_torn_down")(lambda: ends.append("end"))
    context = app.app_context()

    with context:
        pass
    with context:
        pass

    assert ends == ["end"]


def test_a_copy_of_a_context_is_not_torn_down():
    app, ends = watched_app()

    with app.app_context():
        g.name = "ada"
        copied = copy_current_context(lambda: g.name)
        assert copied() == "ada"
        assert ends == []

    assert copied() == "ada"
    assert len(ends) == 1


def test_a_test_request_context_tells_its_request():
    app, ends = App(__name__), []
    app.on("context_torn_down")(lambda request, error: ends.append((request.path, g.name, error)))

    with app.test_request_context("/books"):
        g.name = "ada"

    assert ends == [("/books", "ada", None)]
    assert not request


# In coroutines -------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_end_of_an_async_with_block_is_awaited_where_it_stands():
    app, threads = App(__name__), []

    @app.on("context_torn_down")
    async def close(request, error):
        await anyio.sleep(0)
        threads.append((g.name, threading.get_ident(), request, error))

    async with app.app_context():
        g.name = "ada"

    assert threads == [("ada", threading.get_ident(), None, None)]
    assert not current_app


@pytest.mark.anyio
async def test_a_plain_with_block_under_a_running_loop_waits_for_coroutine_functions():
    app, ends = App(__name__), []

    @app.on("context_torn_down")
    async def close():
        ends.append(g.name)

    with app.app_context():
        g.name = "ada"

    assert ends == ["ada"]


@pytest.mark.anyio
async def test_a_context_that_is_awaited_again_is_torn_down_once():
    app, ends = App(__name__), []
    app.on("context_torn_down")(lambda: ends.append("end"))
    context = app.app_context()

    async with context:
        pass
    async with context:
        pass

    assert ends == ["end"]


@pytest.mark.anyio
async def test_the_error_that_leaves_an_async_with_block_is_told_and_goes_on():
    app, ends = watched_app()
    error = ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        async with app.app_context():
            raise error

    assert ends == [(True, None, None, error)]


@pytest.mark.anyio
async def test_a_block_that_is_cancelled_is_torn_down_whole():
    app, ends = watched_app()

    with anyio.CancelScope() as scope:
        async with app.app_context():
            scope.cancel()
            await anyio.sleep_forever()

    ((_, _, _, error),) = ends
    assert isinstance(error, anyio.get_cancelled_exc_class())


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # trio's cancellations stay outside of a shield
async def test_an_observer_that_is_cancelled_does_not_keep_the_next_one_from_being_told():
    app, waits, seen = App(__name__), asyncio.Event(), []

    @app.on("context_torn_down")
    async def wait():
        waits.set()
        await anyio.sleep_forever()

    @app.on("context_torn_down")
    async def close():
        await anyio.sleep(0)
        seen.append(g.name)

    async def work():
        async with app.app_context():
            g.name = "ada"

    task = asyncio.create_task(work())
    await waits.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert seen == ["ada"]


@pytest.mark.anyio
async def test_an_async_test_request_context_tells_its_request():
    app, ends = watched_app()

    async with app.test_request_context("/books") as made:
        g.name = "ada"

    assert ends == [(True, "ada", made, None)]
    assert not request


# Background tasks ----------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("is_async", [True, False])
async def test_a_background_task_is_torn_down_at_its_end(is_async):
    app, ends = watched_app()

    async def work_later():
        g.name = "work"

    def work():
        g.name = "work"

    async with Client(app):
        app.add_background_task(work_later if is_async else work)

    assert ends == [(True, "work", None, None)]


# In threads ----------------------------------------------------------------------------------------


def watched_connections(app):
    """A function that opens a connection which is closed with its context, and a list of those that were."""
    closed = []

    def open_connection():
        g.connection = sqlite3.connect(":memory:")

    @app.on("context_torn_down")
    def close(error):
        connection = g.pop("connection", None)
        if connection is not None:
            connection.close()
            closed.append((connection, error))

    return open_connection, closed


@pytest.mark.anyio
async def test_what_a_def_view_opened_is_closed_in_its_thread():
    app = App(__name__)
    open_connection, closed = watched_connections(app)
    error = ValueError("wrong")

    @app.get("/")
    def show():
        open_connection()
        return "shown"

    @app.get("/broken")
    def fail():
        open_connection()
        raise error

    async with Client(app, raise_errors=False) as client:
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(client.get, "/")
        await client.get("/broken")

    assert [of for _, of in closed] == [None] * 20 + [error]


@pytest.mark.anyio
async def test_what_a_def_hook_opened_for_an_async_view_is_closed_in_its_thread():
    app = App(__name__)
    open_connection, closed = watched_connections(app)
    app.before_request(open_connection)

    @app.get("/")
    async def show():
        return "shown"

    async with Client(app) as client:
        await client.get("/")

    assert len(closed) == 1


@pytest.mark.anyio
async def test_what_an_async_view_opened_is_closed_on_the_loop():
    app = App(__name__)
    open_connection, closed = watched_connections(app)

    @app.get("/")
    async def show():
        open_connection()
        return "shown"

    async with Client(app) as client:
        await client.get("/")

    assert len(closed) == 1


@pytest.mark.anyio
async def test_what_a_def_background_task_opened_is_closed_in_its_thread():
    app = App(__name__)
    open_connection, closed = watched_connections(app)

    async with Client(app):
        app.add_background_task(open_connection)

    assert len(closed) == 1


@pytest.mark.anyio
async def test_what_a_def_function_opened_for_a_websocket_is_closed_in_its_thread():
    app = App(__name__)
    open_connection, closed = watched_connections(app)
    app.before_websocket(open_connection)

    @app.websocket("/")
    async def talk(websocket):
        await websocket.accept()

    async with Client(app) as client, client.websocket("/"):
        pass

    assert len(closed) == 1


@pytest.mark.anyio
async def test_the_error_of_a_background_task_is_told():
    app, ends = watched_app()

    async def work():
        raise ValueError("wrong")

    async with Client(app):
        app.add_background_task(work)

    ((_, _, _, error),) = ends
    assert isinstance(error, ValueError)


@pytest.mark.anyio
async def test_work_after_a_response_has_an_end_of_its_own():
    app, ends = watched_app()

    async def work():
        g.name = "work"

    @app.get("/")
    async def view(request: Request):
        g.name = "view"
        request.after_response(work)
        return "home"

    async with Client(app) as client:
        await client.get("/")

    assert sorted((name, request is None) for _, name, request, _ in ends) == [("view", False), ("work", True)]


@pytest.mark.anyio
async def test_the_background_task_of_a_mounted_app_is_that_app_s_affair():
    outer, outer_ends = watched_app()
    inner, inner_ends = watched_app()
    outer.mount("/inner", inner)

    async def work():
        g.name = "work"

    async with Client(outer):
        inner.add_background_task(work)

    assert (outer_ends, inner_ends) == ([], [(True, "work", None, None)])
