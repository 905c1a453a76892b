"""The fine print of the walk, continued: errors raised again, cancelled clean-ups, threads."""

import asyncio
import sqlite3
import weakref
from contextvars import copy_context

import anyio
import pytest

from microweb import App, Request, Response, after_this_request, g
from microweb.testing import Client

SCOPE = {
    "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "method": "GET",
    "scheme": "http", "root_path": "", "query_string": b"", "headers": [(b"host", b"example.org")],
}  # fmt: skip


async def walk(app, path="/", method="GET"):
    sent = []

    async def send(message):
        sent.append(message)

    await app(dict(SCOPE, path=path, raw_path=path.encode(), method=method), anyio.sleep_forever, send)
    return sent


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/missing", "/refused"])
async def test_raising_an_answer_again_keeps_what_the_layers_inside_did_to_it(path):
    app = App(__name__)

    @app.middleware
    async def transaction(request, call_next):
        response = await call_next(request)
        response.raise_for_error()
        return response

    @app.middleware
    async def mark(request, call_next):
        response = await call_next(request)
        response.headers["x-request-id"] = "7"
        return response

    @app.post("/refused")  # GET is a 405
    async def refused():
        return ""

    async with Client(app) as client:
        assert (await client.get(path)).headers.get("x-request-id") == "7"


@pytest.mark.anyio
async def test_each_of_several_errors_is_reported_once_and_keeps_its_answer(caplog):
    app, answers = App(__name__), []

    @app.middleware
    async def again(request, call_next):
        first, second = await call_next(request), await call_next(request)
        answers.extend((first, str(first.error), str(second.error)))
        first.raise_for_error()

    @app.middleware
    async def mark(request, call_next):
        response = await call_next(request)
        response.headers["x-try"] = str(response.error)
        return response

    @app.get("/")
    async def view():
        raise ValueError(len(caplog.records) + 1)

    async with Client(app, raise_errors=False) as client:
        response = await client.get("/")

    assert answers[1:] == ["1", "2"]
    assert response.headers["x-try"] == "1"
    assert [str(record.exc_info[1]) for record in caplog.records] == ["1", "2"]
    assert answers[0].error is None


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/missing", "/refused"])
async def test_a_miss_that_is_looked_at_leaves_no_cycle(path):
    import gc

    app = App(__name__, static_folder=None)

    @app.middleware
    async def transaction(request, call_next):
        response = await call_next(request)
        response.raise_for_error()
        return response

    @app.post("/refused")
    async def refused():
        return ""

    await walk(app, path)
    found = []
    gc.collect()
    gc.freeze()  # What was there before is not looked through each time.
    gc.disable()
    try:
        for _ in range(3):
            gc.collect()
            for _ in range(10):
                await walk(app, path)
            found.append(gc.collect())
    finally:
        gc.enable()

    assert min(found) == 0


@pytest.mark.parametrize("waiting_in", ["closer", "teardown"])
def test_a_task_cancelled_while_it_tidies_up_still_tidies_everything(waiting_in):
    app, events = App(__name__), []

    @app.get("/")
    async def view(request: Request):
        async def close_first():
            events.append("first opened is closed")

        async def close_slowly():
            await asyncio.sleep(0.05 if waiting_in == "closer" else 0)

        request.on_close(close_first)
        request.on_close(close_slowly)
        return ""

    @app.teardown_request
    async def first(error):
        events.append("first teardown")

    @app.teardown_request
    async def slow(error):
        await asyncio.sleep(0.05 if waiting_in == "teardown" else 0)

    async def main():
        task = asyncio.create_task(walk(app))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())

    assert events == ["first opened is closed", "first teardown"]


@pytest.mark.anyio
async def test_a_def_function_after_this_request_runs_in_the_requests_thread():
    app = App(__name__)

    @app.get("/")
    def view():
        g.database = sqlite3.connect(":memory:")

        @after_this_request
        def close(response):
            g.database.close()

        return "done"

    async with Client(app, raise_errors=False) as client:
        assert (await client.get("/")).status_code == 200


@pytest.mark.anyio
async def test_what_a_lifespan_yields_is_in_the_state_without_a_servers_lifespan_too():
    app = App(__name__)

    @app.lifespan
    async def pool(app):
        yield {"pool": "the pool"}

    @app.get("/")
    async def view(request: Request):
        return request.state["pool"]

    assert (await walk(app))[-1]["body"] == b"the pool"


def test_a_status_is_an_integer():
    with pytest.raises(ValueError, match="integer"):
        Response("", 200.0)


@pytest.mark.anyio
async def test_teardown_of_a_cancelled_request_is_told_so():
    app, seen = App(__name__), []

    @app.get("/")
    async def view():
        scope.cancel()
        await anyio.sleep_forever()

    @app.teardown_request
    async def commit_or_roll_back(error):
        seen.append(type(error))

    with anyio.CancelScope() as scope:
        await walk(app)

    assert seen != [type(None)]


def failing_app(**config):
    app = App(__name__, config=config)

    @app.get("/")
    async def view():
        raise ZeroDivisionError("the view's own")

    return app


@pytest.mark.anyio
async def test_an_unhandled_error_stays_inside_unless_it_is_asked_for():
    assert [message["type"] for message in await walk(failing_app())] == ["http.response.start", "http.response.body"]


@pytest.mark.anyio
@pytest.mark.parametrize("debug", [False, True])
async def test_an_error_is_raised_to_the_server_after_its_answer_if_that_is_asked_for(debug):
    app, sent = failing_app(PROPAGATE_EXCEPTIONS=True, DEBUG=debug), []

    async def send(message):
        sent.append(message)

    with pytest.raises(ZeroDivisionError):
        await app(dict(SCOPE, path="/", raw_path=b"/"), anyio.sleep_forever, send)

    assert [message.get("status") for message in sent] == [500, None]


@pytest.mark.anyio
@pytest.mark.parametrize("offered", [["http.response.debug"], None])
async def test_what_the_server_offers_is_not_written_to(offered):
    app = failing_app(PROPAGATE_EXCEPTIONS=True)
    extensions = offered and {name: {} for name in offered}

    async def send(message): ...

    with pytest.raises(ZeroDivisionError):
        await app(dict(SCOPE, path="/", raw_path=b"/", extensions=extensions), anyio.sleep_forever, send)

    assert offered == (extensions and [*extensions])


@pytest.mark.anyio
async def test_asgi_middleware_sees_the_error_that_is_raised_to_the_server():
    app, seen = failing_app(PROPAGATE_EXCEPTIONS=True), []

    class Watch:
        def __init__(self, app):
            self.app = app

        async def __call__(self, scope, receive, send):
            seen.append(scope["type"])
            await self.app(scope, receive, send)

    app.add_asgi_middleware(Watch)
    with pytest.raises(ZeroDivisionError):
        await walk(app)

    assert seen == ["http"]


@pytest.mark.anyio
async def test_a_client_raises_no_error_that_the_app_keeps_to_itself():
    async with Client(failing_app(PROPAGATE_EXCEPTIONS=False)) as client:
        assert (await client.get("/")).status_code == 500


@pytest.mark.anyio
async def test_an_error_that_a_handler_answers_is_not_raised_to_the_server():
    app = failing_app(PROPAGATE_EXCEPTIONS=True)

    @app.errorhandler(ZeroDivisionError)
    async def answer(error):
        return "no", 409

    assert (await walk(app))[0]["status"] == 409


@pytest.mark.anyio
async def test_what_a_server_sets_up_while_the_answer_leaves_does_not_keep_the_request():
    app = App(__name__)
    requests = []
    contexts = []

    @app.get("/")
    async def view(request):
        requests.append(weakref.ref(request))
        return "done"

    async def send(message):
        # As uvicorn does, whose timer for an idle connection runs in a copy of the context.
        contexts.append(copy_context())

    await app(dict(SCOPE, path="/", raw_path=b"/"), anyio.sleep_forever, send)

    assert len(contexts) == 2
    assert requests[0]() is None


@pytest.mark.anyio
async def test_the_walk_makes_a_request_as_its_class_does():
    app = App(__name__)
    seen = []

    @app.get("/<int:number>")
    async def show(request: Request, number):
        seen.append(vars(request).copy())
        return ""

    await walk(app, "/7")

    made = Request(app, seen[0]["scope"], seen[0]["_receive"], seen[0]["_target"], {"number": 7})
    assert seen[0] == vars(made)
