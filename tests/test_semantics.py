"""The fine print of the walk: what holds where two rules meet.

The rules themselves are held in the test file of the part that they belong to; here stand the crossings.
"""

import contextlib
import gc
import logging
from contextvars import ContextVar
from functools import partial, wraps
from threading import Event, current_thread
from typing import Annotated

import anyio
import pytest
import sniffio

from microweb import (
    App,
    Depends,
    Request,
    Response,
    Router,
    SetupError,
    StreamingResponse,
    abort,
    after_this_request,
    g,
    redirect,
    render_template_string,
    session,
)
from microweb.errors import FrozenError
from microweb.testing import Client

pytestmark = pytest.mark.anyio

SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.4"},
    "http_version": "1.1",
    "method": "GET",
    "scheme": "http",
    "root_path": "",
    "query_string": b"",
    "headers": [(b"host", b"example.org")],
}


async def walk(app, path="/", method="GET", receive=None):
    """Serve one request; the messages that were sent."""
    sent = []

    async def send(message):
        sent.append(message)

    await app(dict(SCOPE, path=path, raw_path=path.encode(), method=method), receive or anyio.sleep_forever, send)
    return sent


class Body:
    """An endless body that tells when it is closed, started or not."""

    def __init__(self, events):
        self.events = events

    def __aiter__(self):
        return self

    async def __anext__(self):
        return "chunk"

    async def aclose(self):
        self.events.append("closed")


# Layers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "make_value",
    [
        lambda: "text ☃",
        lambda: b"\0bytes",
        lambda: {"a": [1, None]},
        list,
        lambda: "",
        lambda: ("created", 201, {"x-a": "b"}),
        lambda: ("", 204),
        lambda: Response("r", 404, {"set-cookie": "a=b"}),
        lambda: redirect("/there"),
        lambda: None,
        lambda: 5,
        lambda: abort(418),
        lambda: 1 / 0,
    ],
)
async def test_an_answer_is_the_same_with_and_without_layers(make_value, method, caplog):
    def make_app():
        app = App(__name__, static_folder=None)
        app.get("/")(view)
        return app

    async def view():
        return make_value()

    bare, hooked, layered = make_app(), make_app(), make_app()
    hooked.after_request(lambda response: None)
    layered.middleware(pass_on)
    caplog.set_level(logging.CRITICAL)

    answers = [await walk(app, method=method) for app in (bare, hooked, layered)]

    assert answers[0] == answers[1] == answers[2]


async def pass_on(request, call_next):
    return await call_next(request)


async def test_call_next_may_be_called_again_and_the_body_is_there_again():
    app = App(__name__)

    @app.middleware
    async def twice(request, call_next):
        first, second = await call_next(request), await call_next(request)
        return {"first": first.body.decode(), "second": second.body.decode(), "same": first is second}

    @app.post("/")
    async def echo(request):
        return await request.body()

    async with Client(app) as client:
        answer = (await client.post("/", content=b"abc")).json()

    assert answer == {"first": "abc", "second": "abc", "same": False}


async def test_a_middleware_that_returns_nothing_is_named(caplog):
    app = App(__name__)

    @app.middleware
    async def forgetful(request, call_next):
        await call_next(request)

    @app.get("/")
    async def home():
        return "home"

    async with Client(app, raise_errors=False) as client:
        response = await client.get("/")

    assert response.status_code == 500
    assert "forgetful returned None" in str(caplog.records[0].exc_info[1])


async def test_a_middleware_that_forgets_to_await_is_told_so(caplog):
    app = App(__name__)

    @app.middleware
    async def forgetful(request, call_next):
        return call_next(request)

    async with Client(app, raise_errors=False) as client:
        assert (await client.get("/")).status_code == 500

    assert "forgetful returned a coroutine that nobody has awaited" in str(caplog.records[0].exc_info[1])


async def test_what_a_middleware_answers_itself_gets_after_this_request_but_no_hooks():
    app = App(__name__)

    @app.middleware
    async def refuse(request, call_next):
        after_this_request(mark)
        return "refused", 403

    def mark(response):
        response.headers["x-marked"] = "this"

    @app.after_request
    def hook(response):
        response.headers["x-marked"] = "hook"

    async with Client(app) as client:
        response = await client.get("/")

    assert (response.status_code, response.headers["x-marked"]) == (403, "this")


async def test_what_is_set_after_this_request_is_still_saved_and_vary_comes_last():
    app = App(__name__, secret_key="k" * 20)

    @app.get("/")
    async def home():
        @after_this_request
        def count(response):
            session["count"] = session.get("count", 0) + 1
            return Response(f"{session['count']}")

        return "replaced"

    async with Client(app) as client:
        responses = [await client.get("/"), await client.get("/")]

    assert [response.text for response in responses] == ["1", "2"]
    assert [response.headers["vary"] for response in responses] == ["Cookie", "Cookie"]


async def test_call_next_need_not_be_called_and_what_a_hook_returns_is_converted_alike():
    app, router = App(__name__), Router("r", __name__, prefix="/r")

    @app.middleware
    async def answer(request, call_next):
        return ({"by": "the layer"}, 201) if request.path == "/" else await call_next(request)

    @router.before_request
    def guard():
        return {"by": "the hook"}, 202

    app.mount("", router)
    async with Client(app) as client:
        answers = [(each.status_code, each.json()["by"]) for each in [await client.get("/"), await client.get("/r/")]]

    assert answers == [(201, "the layer"), (202, "the hook")]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/r/none", 404), ("DELETE", "/r/x/", 405), ("OPTIONS", "/r/x/", 200), ("GET", "/r/x", 308)],
)
async def test_every_kind_of_miss_passes_the_layers_of_its_router_with_no_route(method, path, status):
    app, router = App(__name__), Router("r", __name__, prefix="/r")
    seen = []

    @router.middleware
    async def layer(request, call_next):
        seen.append(("layer", request.route, request.endpoint))
        return await call_next(request)

    @router.before_request
    async def hook(request):
        seen.append(("hook", request.route, request.endpoint))

    @router.get("/x/")
    async def known():
        return ""

    app.mount("", router)
    async with Client(app) as client:
        response = await client.request(method, path)

    assert response.status_code == status
    assert seen == [("layer", None, None), ("hook", None, None)]


@pytest.mark.parametrize("kind", ["async", "def"])
@pytest.mark.parametrize(
    ("look", "status"),
    [
        (lambda request: request.headers["x-long"], 431),
        (lambda request: request.args["q"], 400),
        (lambda request: request.cookies.get("a"), 431),
    ],
)
async def test_a_limit_that_a_view_meets_is_never_a_500(kind, look, status):
    app = App(__name__, config={"MAX_HEADER_SIZE": 100, "MAX_QUERY_PARAMETERS": 2})

    async def view(request):
        return look(request)

    def view_in_thread(request):
        return look(request)

    app.get("/")(view if kind == "async" else view_in_thread)

    async with Client(app, raise_errors=False) as client:
        response = await client.get("/?q=1&q=2&q=3", headers={"x-long": "x" * 101})

    assert response.status_code == status


# Mounted apps -------------------------------------------------------------------------------------


async def test_a_foreign_app_runs_in_the_task_and_context_of_the_request_when_its_response_is_sent():
    app, order = App(__name__), []
    tasks, variable = [], ContextVar("variable")

    async def foreign(scope, receive, send):
        order.append(f"the app sees {variable.get()}")
        tasks.append(anyio.get_current_task().id)
        await send({"type": "http.response.start", "status": 418, "headers": []})
        await send({"type": "http.response.body"})

    @app.middleware
    async def layer(request, call_next):
        variable.set("the layer's")
        tasks.append(anyio.get_current_task().id)
        response = await call_next(request)
        response.on_start(lambda status, headers: order.append(f"started with {status}"))
        order.append("call_next returned")
        return response

    app.mount("/foreign", foreign)
    await walk(app, "/foreign")

    assert order == ["call_next returned", "the app sees the layer's", "started with 418"]
    assert tasks[0] == tasks[1]


# Errors -------------------------------------------------------------------------------------------


async def test_an_error_out_of_a_task_group_is_the_error_inside():
    app = App(__name__)

    @app.get("/")
    async def view():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(refuse)

    async def refuse():
        abort(403)

    async with Client(app) as client:
        assert (await client.get("/")).status_code == 403


async def test_the_error_is_dropped_from_the_response_when_the_request_is_over(caplog):
    app = App(__name__)
    kept = []

    @app.middleware
    async def keep(request, call_next):
        response = await call_next(request)
        kept.append((response, type(response.error)))
        return response

    @app.get("/")
    async def broken():
        raise ValueError("broken")

    caplog.set_level(logging.CRITICAL)
    await walk(app)

    assert [(response.error, kind) for response, kind in kept] == [(None, ValueError)]


async def reraise(request, call_next):
    response = await call_next(request)
    response.raise_for_error()
    return response


async def replace(request, call_next):
    await call_next(request)
    return "instead"


async def replace_at_last(request, call_next):
    after_this_request(lambda response: Response("instead"))
    return await call_next(request)


@pytest.mark.parametrize(
    "path", ["/coroutine", "/thread", "/refused", "/stream", "/broken-stream", "/inner/", "/bubbling/"]
)
@pytest.mark.parametrize(
    "layers", [[], [reraise], [replace], [replace, reraise], [replace_at_last]], ids=lambda layers: str(len(layers))
)
async def test_no_layer_makes_an_error_a_reference_cycle(path, layers, caplog):
    app, inner, bubbling = (App(__name__, static_folder=None) for _ in range(3))

    async def fail():
        raise ValueError("broken")

    @app.get("/thread")
    def fail_in_thread():
        raise ValueError("broken")

    @app.get("/refused")
    async def refuse():
        abort(403)

    @app.get("/stream")
    async def stream():
        yield "all is well"

    @app.get("/broken-stream")
    async def broken_stream():
        yield "all is well"
        raise ValueError("broken")

    app.get("/coroutine")(fail)
    inner.get("/")(fail)
    bubbling.get("/")(fail)
    app.mount("/inner", inner)
    app.mount("/bubbling", bubbling, errors="bubble")
    for layer in layers:
        app.middleware(layer)
    caplog.set_level(logging.CRITICAL)

    async def visit():
        with contextlib.suppress(ValueError):  # A stream that has begun breaks the connection.
            await walk(app, path)

    await visit()
    gc.collect()
    gc.freeze()  # What was there before is not looked through each time.
    gc.disable()
    found = []
    try:
        for _ in range(3):  # A thread that an earlier test left may drop something; a cycle comes each time.
            gc.collect()
            for _ in range(3):
                await visit()
            found.append(gc.collect())
    finally:
        gc.enable()

    assert min(found) == 0


# Bodies and the client's departure ------------------------------------------------------------------


@pytest.mark.parametrize(("method", "status"), [("GET", 304), ("GET", 204), ("HEAD", 200)])
async def test_a_body_that_is_not_sent_is_closed_before_teardown(method, status):
    app = App(__name__)
    events = []

    @app.get("/")
    async def view():
        return StreamingResponse(Body(events), status)

    @app.teardown_request
    async def torn_down(error):
        events.append("torn down")

    sent = await walk(app, method=method)

    assert [message.get("body") for message in sent] == [None, b""]
    assert events == ["closed", "torn down"]


async def test_what_a_layer_wraps_around_a_body_is_closed_before_teardown_too():
    app, events = App(__name__), []

    @app.middleware
    async def wrap(request, call_next):
        response = await call_next(request)
        response.iterable = Body(events)
        return response

    @app.get("/")
    async def view():
        yield "chunk"

    app.teardown_request(lambda error: events.append("teardown"))
    await walk(app, method="HEAD")

    assert events == ["closed", "teardown"]


async def test_a_body_that_cannot_be_closed_is_logged_and_the_rest_is_closed_all_the_same(caplog):
    app, events = App(__name__), []

    class Stuck(Body):
        async def aclose(self):
            raise ValueError("stuck")

    @app.middleware
    async def replace(request, call_next):
        await call_next(request)
        return StreamingResponse(Stuck(events))

    @app.get("/")
    async def view():
        return StreamingResponse(Body(events))

    app.teardown_request(lambda error: events.append("teardown"))
    await walk(app, method="HEAD")

    assert events == ["closed", "teardown"]
    assert [repr(record.exc_info[1]) for record in caplog.records] == ["ValueError('stuck')"]


async def test_a_body_is_closed_when_the_request_is_cancelled_before_its_first_step():
    app = App(__name__)
    events = []

    @app.middleware
    async def slow(request, call_next):
        response = await call_next(request)
        scope.cancel()
        await anyio.sleep_forever()
        return response

    @app.get("/")
    async def view():
        return StreamingResponse(Body(events))

    @app.teardown_request
    async def torn_down(error):
        events.append(isinstance(error, anyio.get_cancelled_exc_class()))

    with anyio.CancelScope() as scope:
        await walk(app)

    assert scope.cancelled_caught
    assert events == ["closed", True]


async def test_waiting_for_the_client_to_leave_takes_nothing_from_the_body():
    app = App(__name__)
    messages = [
        {"type": "http.request", "body": b"whole ", "more_body": True},
        {"type": "http.request", "body": b"body", "more_body": False},
    ]

    async def receive():
        await anyio.lowlevel.checkpoint()
        if not messages:
            await anyio.sleep_forever()
        return messages.pop(0)

    @app.post("/", cancel_on_disconnect=True)
    async def view(request: Request):
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        return await request.body()

    with anyio.fail_after(10):
        sent = await walk(app, method="POST", receive=receive)

    assert (sent[0]["status"], sent[1]["body"]) == (200, b"whole body")


async def test_receive_is_called_by_one_at_a_time():
    app = App(__name__)
    messages = [{"type": "http.request", "body": b"part", "more_body": more} for more in (False, True, True)]
    under_way = 0

    async def receive():
        nonlocal under_way
        assert not under_way
        under_way += 1
        for _ in range(10):  # Longer than `is_disconnected` looks on.
            await anyio.lowlevel.checkpoint()
        if not messages:
            await anyio.sleep_forever()
        under_way -= 1
        return messages.pop()

    @app.post("/")
    async def view(request: Request):
        await request.is_disconnected()
        return await request.body()

    with anyio.fail_after(10):
        sent = await walk(app, method="POST", receive=receive)

    assert (sent[0]["status"], sent[1]["body"]) == (200, b"partpartpart")


async def test_behind_a_body_that_was_read_outside_a_foreign_app_waits_for_the_client_itself():
    app, received = App(__name__), []
    messages = [{"type": "http.request", "body": b"whole", "more_body": False}]

    async def receive():
        if not messages:
            await anyio.sleep_forever()
        return messages.pop()

    async def foreign(scope, receive, send):
        assert scope["type"] == "http"

        async def listen():
            for _ in range(2):
                received.append(await receive())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    @app.before_request
    async def read(request: Request):
        await request.body()

    app.mount("/foreign", foreign)
    with anyio.fail_after(10):
        await walk(app, "/foreign/", "POST", receive)

    assert received == [{"type": "http.request", "body": b"whole", "more_body": False}]


async def test_a_request_that_its_client_left_is_a_499_for_the_layers_and_nothing_for_server_and_log(caplog):
    app = App(__name__)
    seen = []

    async def receive():
        await anyio.lowlevel.checkpoint()
        return {"type": "http.disconnect"}

    @app.middleware
    async def look(request, call_next):
        response = await call_next(request)
        seen.append((response.status_code, type(response.error).__name__))
        return response

    @app.get("/", cancel_on_disconnect=True)
    async def view():
        await anyio.sleep_forever()

    assert await walk(app, receive=receive) == []
    assert seen == [(499, "ClientDisconnect")]
    assert caplog.records == []


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("is_view", [True, False])
@pytest.mark.parametrize(("version", "waits", "asked"), [("2.3", False, 0), ("2.3", True, 1), ("2.4", True, 0)])
async def test_a_stream_is_watched_only_if_it_waits_and_its_server_does_not_tell(version, waits, asked, is_view):
    app, received = App(__name__), []

    async def stream():
        yield "first"
        for _ in range(3 if waits else 0):
            await anyio.lowlevel.checkpoint()
        yield "second"

    async def view():
        return stream()

    app.add_route("/", stream if is_view else view)

    async def receive():
        received.append(1)
        await anyio.sleep_forever()

    async def send(message):
        pass

    scope = dict(SCOPE, path="/", raw_path=b"/", asgi={"version": "3.0", "spec_version": version})
    await app(scope, receive, send)

    assert len(received) == asked


# Threads ------------------------------------------------------------------------------------------


async def test_a_function_is_async_if_what_it_wraps_is():
    app = App(__name__)
    threads = []

    def noted(function):
        @wraps(function)
        def wrapper(*args, **values):
            threads.append(current_thread())
            return function(*args, **values)

        return wrapper

    class View:
        async def __call__(self, request: Request):
            return current_thread().name

    async def named(prefix):
        return prefix + current_thread().name

    @app.get("/wrapped")
    @noted
    async def wrapped():
        return current_thread().name

    app.add_route("/partial", partial(named, ""))
    app.add_route("/object", View())
    app.add_route("/both", partial(noted(named), ""), endpoint="both")

    async with Client(app) as client:
        names = {(await client.get(path)).text for path in ("/wrapped", "/partial", "/object", "/both")}

    assert names == {current_thread().name}
    assert threads == [current_thread()] * 2


async def test_an_awaitable_that_comes_out_of_a_thread_is_awaited_on_the_loop():
    app = App(__name__)

    @app.before_request
    def before():
        g.hook_thread = current_thread()
        return finish(None)

    @app.get("/")
    def view():
        return finish(current_thread())

    @app.get("/plain")
    def plain():
        return "plain"

    @app.after_request
    def after(response):
        return finish(response)

    @app.after_request
    def keep(response):
        return finish(None)

    async def finish(value):
        if isinstance(value, Response | None):
            return value
        return {"view on the loop": value is loop_thread, "end on the loop": current_thread() is loop_thread}

    loop_thread = current_thread()
    async with Client(app) as client:
        answer = (await client.get("/")).json()
        assert (await client.get("/plain")).text == "plain"

    assert answer == {"view on the loop": False, "end on the loop": True}


async def test_what_any_def_callable_gives_to_await_is_awaited_on_the_loop():
    bare, app, calls = App(__name__), App(__name__), []

    async def finish(what, value=None):
        calls.append((what, current_thread()))
        return value

    @app.get("/", dependencies=[Depends(lambda: finish("dependency"))])
    def fail():
        after_this_request(lambda response: finish("this"))
        raise KeyError

    bare.add_route("/", lambda: finish("view", "bare"), endpoint="view")
    app.before_request(lambda: finish("before"))
    app.errorhandler(KeyError)(lambda error: finish("handler", ("", 418)))
    app.after_request(lambda response: finish("after"))
    app.teardown_request(lambda error: finish("teardown"))
    app.on("context_torn_down")(lambda: finish("observer"))
    async with Client(bare) as client:
        assert (await client.get("/")).text == "bare"
    async with Client(app) as client:
        assert (await client.get("/")).status_code == 418

    assert " ".join(what for what, _ in calls) == "view before dependency handler after this teardown observer"
    assert {thread for _, thread in calls} == {current_thread()}


@pytest.mark.parametrize("register", [lambda app, layer: app.middleware(layer), lambda app, layer: app.get("/")(layer)])
async def test_a_def_function_that_would_have_to_wait_is_refused_at_the_start(register):
    app = App(__name__)

    def function(request: Request, call_next=None):
        raise AssertionError("never called")

    register(app, function)

    with pytest.raises(SetupError, match=r"async.*test_semantics\.py:\d+"):
        app.build_finder()


@pytest.mark.parametrize(
    ("path", "called"),
    [
        ("/async", "before open close after this teardown observer"),
        ("/def", "before open view close after this teardown observer"),
        ("/guarded", "before open view close after teardown observer"),
        ("/error", "before handler after teardown observer"),
        ("/stream", "before after body teardown observer"),
        ("/replaced", "before after closed teardown observer"),
        ("/inner/", "before before inside after teardown observer"),
    ],
)
async def test_every_def_callable_of_a_request_runs_in_its_one_thread(path, called):
    app, inner, calls = App(__name__), App(__name__), []

    def note(what):
        calls.append((what, current_thread()))

    def depend():
        note("open")
        yield
        note("close")

    class Unread:
        def __iter__(self):
            return iter(())

        def close(self):
            note("closed")

    @app.get("/async")
    async def view(value: Annotated[None, Depends(depend)]):
        after_this_request(lambda response: note("this"))
        return ""

    @app.get("/def")
    def view_in_thread(value: Annotated[None, Depends(depend)]):
        note("view")
        after_this_request(lambda response: note("this"))
        return ""

    @app.get("/guarded", dependencies=[Depends(depend)])
    def guarded():
        note("view")
        return ""

    @app.get("/error")
    async def fail():
        raise KeyError

    @app.get("/stream")
    async def stream():
        return StreamingResponse(note("body") or "" for _ in range(1))

    @app.get("/replaced")
    async def replaced():
        return StreamingResponse(Unread())

    @inner.get("/")
    def inside():
        note("inside")
        return ""

    @app.middleware
    async def replace(request, call_next):
        response = await call_next(request)
        return "instead" if request.path == "/replaced" else response

    @app.before_request
    @inner.before_request
    def before():
        note("before")

    @app.before_request
    async def between():
        await anyio.lowlevel.checkpoint()

    app.errorhandler(KeyError)(lambda error: note("handler") or ("", 400))
    app.after_request(lambda response: note("after"))
    app.teardown_request(lambda error: note("teardown"))
    app.on("context_torn_down")(lambda: note("observer"))
    app.mount("/inner", inner)
    async with Client(app) as client:
        await client.get(path)

    assert " ".join(what for what, _ in calls) == called
    assert len({thread for _, thread in calls}) == 1
    assert calls[0][1] is not current_thread()


async def test_concurrent_requests_in_threads_keep_their_own_g_and_variables():
    app = App(__name__, config={"SYNC_THREADS": 3})
    name_of = ContextVar("name_of", default="nobody")

    @app.before_request
    def before(request):
        g.name = request.args["name"]
        name_of.set(g.name)

    @app.middleware
    async def layer(request, call_next):
        response = await call_next(request)
        response.headers["x-seen"] = f"{g.name} {name_of.get()}"
        return response

    @app.get("/thread")
    def in_thread():
        return f"{g.name} {name_of.get()}"

    @app.get("/coroutine")
    async def in_coroutine():
        await anyio.lowlevel.checkpoint()
        return f"{g.name} {name_of.get()}"

    wrong = []
    async with Client(app) as client, anyio.create_task_group() as tasks:

        async def ask(name):
            for path in ("/thread", "/coroutine"):
                response = await client.get(path, params={"name": name})
                if not response.text == response.headers["x-seen"] == f"{name} {name}":
                    wrong.append((name, path, response.text, response.headers["x-seen"]))

        for number in range(20):
            tasks.start_soon(ask, f"guest{number}")

    assert wrong == []
    assert name_of.get() == "nobody"


@pytest.mark.parametrize("what_waits", ["a view", "a body"])
async def test_a_view_that_waits_for_a_thread_is_named_in_the_log(what_waits, caplog):
    app = App(__name__, config={"SYNC_THREADS": 1})
    entered, released = Event(), Event()

    @app.get("/slow")
    def slow_view():
        entered.set()
        return str(released.wait(30))

    if what_waits == "a view":

        @app.get("/queued")
        def queued_view():
            return "done"
    else:

        @app.get("/queued")
        async def queued_view():
            return iter(["done"])

    def find_records():
        return [record.getMessage() for record in caplog.records if "queued_view" in record.getMessage()]

    try:
        with anyio.fail_after(30):
            async with Client(app) as client, anyio.create_task_group() as tasks:
                tasks.start_soon(client.get, "/slow")
                while not entered.is_set():
                    await anyio.sleep(0.01)
                tasks.start_soon(client.get, "/queued")
                while not find_records():
                    await anyio.sleep(0.01)
                released.set()
    finally:
        released.set()

    assert "SYNC_THREADS" in find_records()[0]


async def test_a_token_of_a_def_hook_cannot_be_reset_by_another_callable():
    app, variable, errors = App(__name__), ContextVar("variable"), []

    @app.before_request
    def before():
        g.token = variable.set("set")

    @app.get("/")
    async def view():
        try:
            variable.reset(g.token)
        except ValueError as error:
            errors.append(error)
        return variable.get()

    async with Client(app) as client:
        assert (await client.get("/")).text == "set"

    assert len(errors) == 1


async def test_what_a_def_view_takes_for_its_async_library_stays_in_its_thread():
    app, seen = App(__name__), []

    @app.middleware
    async def layer(request, call_next):
        seen.append(sniffio.current_async_library_cvar.get())
        response = await call_next(request)
        seen.append(sniffio.current_async_library_cvar.get())
        return response

    @app.get("/")
    def view():
        sniffio.current_async_library_cvar.set("another")
        return ""

    async with Client(app) as client:
        await client.get("/")

    assert seen[0] == seen[1] != "another"


# Templates ----------------------------------------------------------------------------------------


async def test_a_template_sees_the_request_as_in_flask_and_of_the_body_what_was_awaited(caplog):
    app = App(__name__)

    @app.post("/awaited")
    async def awaited(request):
        await request.json()
        return render_template_string("{{ request.json.name }} {{ request.args.q }}")

    @app.post("/forgotten")
    async def forgotten():
        return render_template_string("{{ request.json.name }}")

    @app.post("/thread")
    def in_thread():
        return render_template_string("{{ request.json.name }}")

    async with Client(app, raise_errors=False) as client:
        texts = [(await client.post(path, json={"name": "ada"})).text for path in ("/awaited?q=1", "/thread")]
        assert (await client.post("/forgotten", json={"name": "ada"})).status_code == 500

    assert texts == ["ada 1", "ada"]
    assert "await request.body()" in str(caplog.records[0].exc_info[1])


# Start --------------------------------------------------------------------------------------------


async def test_every_mistake_is_found_before_anything_is_entered():
    app, entered = App(__name__), []

    @app.lifespan
    async def database(app):
        entered.append("database")
        yield

    @app.get("/")
    async def view(nobody_knows):
        return "never"

    with pytest.raises(SetupError, match="nobody_knows"):
        async with Client(app):
            pass

    assert entered == []


async def test_a_lifespan_finds_the_app_frozen():
    app, errors = App(__name__), []

    @app.lifespan
    async def late(app):
        for register in (app.get("/"), app.before_request, app.middleware, app.errorhandler(404)):
            with pytest.raises(FrozenError) as caught:
                register(pass_on)
            errors.append(caught.value)
        yield

    async with Client(app):
        pass

    assert len(errors) == 4


async def test_the_state_of_a_request_is_the_servers_and_not_the_apps():
    app, states = App(__name__), []
    app.state.mine = "the app's"

    @app.get("/")
    async def view(request):
        states.append(request.state)
        return {"from the server": request.state["pool"], "from the app": hasattr(app.state, "pool")}

    state = {"pool": "p"}
    sent = []

    async def send(message):
        sent.append(message)

    await app(dict(SCOPE, path="/", raw_path=b"/", state=state), anyio.sleep_forever, send)

    assert states[0] is state
    assert sent[1]["body"] == b'{"from the server":"p","from the app":false}'
