"""What modules of ``def`` views import: the request as they see it, and a way to async functions."""

import threading
from contextvars import ContextVar

import anyio
import pytest

from microweb import App, current_app, g
from microweb.sync import call_from_thread, request, run_sync
from microweb.testing import Client

pytestmark = pytest.mark.anyio


async def test_a_def_view_calls_an_async_function_in_the_task_of_its_request():
    app, variable, tasks = App(__name__), ContextVar("variable"), []

    @app.before_request
    async def before():
        tasks.append(anyio.get_current_task().id)

    async def work(number):
        await anyio.lowlevel.checkpoint()
        tasks.append(anyio.get_current_task().id)
        variable.set(g.name)
        return number + 1, threading.current_thread()

    @app.get("/<name>")
    def view(name):
        g.name = name
        number, thread = call_from_thread(work, 1)
        return {"number": number, "elsewhere": thread is not threading.current_thread(), "variable": variable.get()}

    async with Client(app) as client:
        answer = (await client.get("/ada")).json()

    assert answer == {"number": 2, "elsewhere": True, "variable": "ada"}
    assert tasks[0] == tasks[1]


async def test_what_the_async_function_raises_is_raised_in_the_view():
    app = App(__name__)

    async def fail():
        raise LookupError("nothing there")

    @app.get("/")
    def view():
        try:
            call_from_thread(fail)
        except LookupError as error:
            return str(error)

    async with Client(app) as client:
        assert (await client.get("/")).text == "nothing there"


async def test_on_the_loop_it_says_where_it_works():
    async def work():
        raise AssertionError("never called")

    with pytest.raises(RuntimeError, match="works in a worker thread"):
        call_from_thread(work)


async def test_the_request_is_the_one_of_the_view():
    app = App(__name__)

    @app.post("/")
    def view():
        return {"json": request.json, "path": request.path}

    async with Client(app) as client:
        assert (await client.post("/", json=[1])).json() == {"json": [1], "path": "/"}


async def fetch_app_name():
    await anyio.lowlevel.checkpoint()
    return current_app.import_name


def test_run_sync_runs_an_async_function_where_no_loop_is():
    with App("shop").app_context():
        assert run_sync(fetch_app_name) == "shop"


async def test_run_sync_works_where_a_loop_runs_already():
    with App("shop").app_context():
        assert run_sync(fetch_app_name) == "shop"
