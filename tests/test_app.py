"""The walk: what happens to one request, in which order, in which task and context."""

import asyncio
import gc
import inspect
import logging
import sqlite3
import threading
from contextvars import ContextVar
from functools import partial, wraps
from queue import SimpleQueue

import anyio
import anyio.from_thread
import anyio.lowlevel
import pytest

from microweb import (
    App,
    Converter,
    EventStream,
    Request,
    Response,
    Router,
    SetupError,
    StreamingResponse,
    SyncRequest,
    WebSocket,
    after_this_request,
    g,
    request,
    url_for,
)
from microweb.channels import Channels
from microweb.errors import FrozenError
from microweb.testing import Client
from microweb.workers import call_from_thread, run_blocking

pytestmark = pytest.mark.anyio


async def get(app: App, path: str = "/", method: str = "GET", **options):
    async with Client(app, raise_errors=False) as client:
        return await client.request(method, path, **options)


async def test_hooks_and_middleware_run_in_their_order():
    app = App(__name__)
    blog = Router("blog", __name__, prefix="/blog")
    order: list[str] = []

    def note(name: str, router: Router) -> None:
        @router.middleware
        async def layer(request, call_next):
            order.append(f"{name} layer in")
            response = await call_next(request)
            order.append(f"{name} layer out")
            return response

        @router.before_request
        async def before():
            order.append(f"{name} before")

        @router.after_request
        async def after(response):
            order.append(f"{name} after")

        @router.teardown_request
        async def teardown(error):
            order.append(f"{name} teardown")

    note("app", app)
    note("blog", blog)

    async def route_layer(request, call_next):
        order.append("route layer in")
        return await call_next(request)

    @blog.get("/", middleware=[route_layer])
    async def index():
        order.append("view")
        return ""

    app.mount("", blog)
    await get(app, "/blog/")

    assert order == [
        "app layer in", "blog layer in", "route layer in",
        "app before", "blog before", "view", "blog after", "app after",
        "blog layer out", "app layer out",
        "blog teardown", "app teardown",
    ]  # fmt: skip


async def test_a_before_hook_that_returns_a_value_answers():
    app = App(__name__)

    @app.before_request
    def closed():
        return "closed", 503

    @app.get("/")
    async def home():
        raise AssertionError("not reached")

    response = await get(app)

    assert (response.status_code, response.text) == (503, "closed")


@pytest.mark.parametrize("value", ["", {}, [], b""])
@pytest.mark.parametrize("is_def", [True, False])
async def test_a_before_hook_that_returns_an_empty_value_answers_too(is_def, value):
    app = App(__name__)

    async def answer():
        return value

    @app.get("/")
    async def home():
        raise AssertionError("not reached")

    app.before_request((lambda: value) if is_def else answer)

    assert (await get(app)).status_code == 200


@pytest.mark.parametrize("register", ["before_request", "after_request"])
@pytest.mark.parametrize("is_def", [True, False])
async def test_a_hook_that_returns_no_answer_is_named(register, is_def, caplog):
    app = App(__name__)

    def give_a_number(*response):
        return 5

    async def give_a_number_later(*response):
        return 5

    app.get("/")(lambda: "home")
    getattr(app, register)(give_a_number if is_def else give_a_number_later)

    assert (await get(app)).status_code == 500
    assert f"{register} function" in caplog.text
    assert "give_a_number" in caplog.text


async def test_after_request_runs_on_error_answers_too():
    app = App(__name__)

    @app.after_request
    async def mark(response):
        response.headers["x-marked"] = str(response.status_code)

    @app.get("/broken")
    async def broken():
        raise ValueError

    for path, status in (("/broken", "500"), ("/missing", "404")):
        assert (await get(app, path)).headers["x-marked"] == status


async def test_after_request_does_not_run_on_what_a_middleware_made_itself():
    app = App(__name__)
    seen = []

    @app.middleware
    async def refuse(request, call_next):
        return "no", 403

    @app.after_request
    async def after(response):
        seen.append(response)

    response = await get(app)

    assert (response.status_code, seen) == (403, [])


async def test_after_this_request_runs_last_and_once():
    app = App(__name__)

    @app.middleware
    async def outer(request, call_next):
        response = await call_next(request)
        response.headers["x-seen"] = response.headers.get("x-last", "not yet")
        return response

    @app.get("/")
    async def home():
        @after_this_request
        def last(response):
            response.headers["x-last"] = "yes"

        return "home"

    response = await get(app)

    assert (response.headers["x-seen"], response.headers["x-last"]) == ("not yet", "yes")


async def test_after_this_request_may_be_a_coroutine_and_replace_the_response():
    app = App(__name__)

    @app.get("/")
    async def home():
        @after_this_request
        async def last(response):
            return Response("replaced", 202)

        return "home"

    response = await get(app)

    assert (response.status_code, response.text) == (202, "replaced")


async def test_after_this_request_may_give_what_a_view_may_return():
    app = App(__name__)

    @app.get("/")
    async def home():
        after_this_request(lambda response: ("replaced", 202))
        return "home"

    response = await get(app)

    assert (response.status_code, response.text) == (202, "replaced")


async def test_an_error_in_after_this_request_is_a_500():
    app = App(__name__)

    @app.get("/")
    async def home():
        @after_this_request
        def last(response):
            raise ValueError("late")

        return "home"

    assert (await get(app)).status_code == 500


async def test_everything_of_one_request_runs_in_one_task_and_context():
    app = App(__name__)
    tasks: set[int] = set()
    variable: ContextVar[str] = ContextVar("variable", default="unset")
    seen: list[str] = []

    def task() -> int:
        return anyio.get_current_task().id

    @app.middleware
    async def outer(request, call_next):
        tasks.add(task())
        response = await call_next(request)
        seen.append(variable.get())
        return response

    @app.get("/")
    async def home():
        tasks.add(task())
        variable.set("set in the view")

        async def body():
            tasks.add(task())
            seen.append(variable.get())
            yield "x"

        return body()

    @app.teardown_request
    async def teardown(error):
        tasks.add(task())

    await get(app)

    assert seen == ["set in the view", "set in the view"]
    assert len(tasks) == 1


async def test_a_variable_set_in_a_def_view_is_seen_by_the_middleware():
    app = App(__name__)
    variable: ContextVar[str] = ContextVar("variable", default="unset")
    seen = []

    @app.middleware
    async def outer(request, call_next):
        response = await call_next(request)
        seen.append(variable.get())
        return response

    @app.get("/")
    def home():
        variable.set("set in a thread")
        return ""

    await get(app)

    assert seen == ["set in a thread"]


async def test_def_callables_of_a_request_share_a_thread():
    app = App(__name__)

    @app.before_request
    def connect():
        g.database = sqlite3.connect(":memory:")

    @app.get("/<int:number>")
    def view(number):
        return str(g.database.execute("select ?", (number,)).fetchone()[0])

    @app.teardown_request
    def disconnect(error):
        g.database.close()

    async with Client(app) as client:
        answers: dict[int, str] = {}

        async def ask(number: int) -> None:
            answers[number] = (await client.get(f"/{number}")).text

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(ask, number)

    assert answers == {number: str(number) for number in range(20)}


async def test_def_and_async_hooks_mix():
    app = App(__name__)
    order = []

    @app.before_request
    def first():
        order.append("def before")

    @app.before_request
    async def second():
        order.append("async before")

    @app.get("/")
    def view():
        order.append("view")
        return "x"

    @app.after_request
    async def outer(response):
        order.append("async after")

    @app.after_request
    def inner(response):
        order.append("def after")
        return Response(response.body + b"!")

    response = await get(app)

    assert order == ["def before", "async before", "view", "def after", "async after"]
    assert response.text == "x!"


@pytest.mark.parametrize("broken", ["def", "async", "wrapper"])
@pytest.mark.parametrize("last", ["def", "async"])
@pytest.mark.parametrize("view", ["def", "async"])
async def test_an_error_in_an_after_hook_is_answered_once_and_the_rest_still_runs(view, broken, last, caplog):
    app = App(__name__)
    seen = []

    def make(kind, function):
        async def later(*arguments):
            return function(*arguments)

        # A wrapper of a coroutine function is called on the loop, and may fail before there is anything to await.
        return {"def": function, "async": later, "wrapper": wraps(later)(lambda response: function(response))}[kind]

    def fail(response):
        raise ValueError("in after")

    app.after_request(make(last, lambda response: seen.append(response.status_code)))
    app.after_request(make(broken, fail))
    app.add_route("/", make(view, lambda: "x"), endpoint="view")

    assert (await get(app)).status_code == 500
    assert (seen, len(caplog.records)) == ([500], 1)


async def pass_on(request, call_next):
    return await call_next(request)


async def nothing(app):
    yield


async def test_the_app_freezes_when_it_serves():
    app = App(__name__)
    router = Router("r", __name__, prefix="/r")
    app.mount("", router)
    await get(app)

    for add in (
        lambda: app.get("/late")(lambda: ""),
        lambda: router.get("/late")(lambda: ""),
        lambda: app.before_request(lambda: None),
        lambda: app.errorhandler(404)(lambda error: ""),
        lambda: app.mount("/late", Router("late", __name__)),
        lambda: app.add_asgi_middleware(lambda app: app),
        lambda: app.middleware(pass_on),
        lambda: app.after_request(lambda response: None),
        lambda: app.teardown_request(lambda error: None),
        lambda: app.before_websocket(lambda: None),
        lambda: app.lifespan(nothing),
        lambda: app.on("request_started")(lambda: None),
        lambda: app.url_defaults(lambda endpoint, values: None),
        lambda: app.context_processor(dict),
        lambda: setattr(app, "channels", Channels()),
    ):
        with pytest.raises(FrozenError, match="started to serve"):
            add()


async def test_a_lifespan_that_does_not_end_is_cancelled_within_the_graceful_timeout():
    app = App(__name__, config={"GRACEFUL_TIMEOUT": 0.1})

    @app.lifespan
    async def hang(app):
        yield
        await anyio.sleep_forever()

    with anyio.fail_after(10), pytest.raises(TimeoutError, match="hang was cancelled: its exit took over 0"):
        async with Client(app):
            pass


async def test_the_number_of_threads_can_be_changed_between_two_requests():
    app, both = App(__name__, config={"SYNC_THREADS": 1}), threading.Barrier(2)

    @app.get("/")
    def meet():
        return str(both.wait(10) < 2)

    @app.get("/alone")
    def alone():
        return ""

    async with Client(app) as client, anyio.create_task_group() as group:
        await client.get("/alone")
        app.config["SYNC_THREADS"] = 2
        for _ in range(2):
            group.start_soon(client.get, "/")

    assert app.workers.size == 2


async def test_a_config_write_is_seen_by_the_next_request():
    app = App(__name__)

    @app.post("/")
    async def size(request: Request):
        return str(len(await request.body()))

    async with Client(app) as client:
        assert (await client.post("/", content=b"x" * 100)).text == "100"
        app.config["MAX_CONTENT_LENGTH"] = 10
        assert (await client.post("/", content=b"x" * 100)).status_code == 413


async def test_teardown_gets_the_unhandled_error_and_only_that():
    app = App(__name__)
    seen: list[object] = []

    @app.errorhandler(KeyError)
    async def handled(error):
        return "handled", 400

    @app.get("/handled")
    async def raise_handled():
        raise KeyError

    @app.get("/unhandled")
    async def raise_unhandled():
        raise ValueError("unhandled")

    @app.teardown_request
    async def teardown(error):
        seen.append(error)

    for path in ("/handled", "/missing", "/unhandled"):
        await get(app, path)

    assert seen[:2] == [None, None]
    assert isinstance(seen[2], ValueError)


async def test_a_failing_teardown_hook_is_logged_and_the_others_run(caplog):
    app = App(__name__)
    seen = []

    @app.teardown_request
    async def second(error):
        seen.append("ran")

    @app.teardown_request
    def first(error):
        raise RuntimeError("in teardown")

    @app.get("/")
    async def home():
        return "home"

    response = await get(app)

    assert (response.text, seen) == ("home", ["ran"])
    assert "teardown" in caplog.text


async def test_a_teardown_hook_that_raises_on_what_it_was_told_is_no_second_record(caplog):
    app = App(__name__)

    @app.teardown_request
    def raise_on(error):
        raise error

    @app.teardown_request
    async def raise_on_too(error):
        raise error

    @app.get("/")
    async def home():
        raise ValueError("once")

    await get(app)

    assert len(caplog.records) == 1


@pytest.mark.parametrize("register", ["teardown_request", "after_request", "teardown_websocket", "errorhandler"])
@pytest.mark.parametrize("kind", ["nothing", "the request", "a keyword"])
async def test_a_hook_that_cannot_take_what_it_is_given_first_is_refused_with_its_place(register, kind):
    async def takes_nothing(): ...
    async def takes_the_request(request, error): ...
    def takes_a_keyword(*, error): ...

    app = App(__name__)
    hook = {"nothing": takes_nothing, "the request": takes_the_request, "a keyword": takes_a_keyword}[kind]
    (app.errorhandler(500) if register == "errorhandler" else getattr(app, register))(hook)
    app.websocket("/socket")(takes_nothing)

    with pytest.raises(SetupError, match=rf"{hook.__name__} is given the \w+ first.*test_app\.py:\d+"):
        await get(app)


async def test_a_hook_may_take_everything():
    app, given = App(__name__), []

    @app.teardown_request
    def everything(*values, **named):
        given.append((values, named))

    await get(app)

    assert given == [((None,), {})]


async def test_teardown_runs_after_the_last_byte_and_the_proxies_work_until_then():
    app = App(__name__)
    order = []

    @app.teardown_request
    async def teardown(error):
        order.append(f"teardown {request.path}")

    @app.get("/stream")
    async def stream():
        g.name = "kept"

        async def body():
            yield request.path
            order.append(g.name)
            yield "end"
            order.append("last byte")

        return body()

    assert (await get(app, "/stream")).text == "/streamend"
    assert order == ["kept", "last byte", "teardown /stream"]


async def test_a_cancelled_request_is_torn_down_before_it_ends():
    app = App(__name__)
    events = []
    entered = anyio.Event()

    @app.get("/")
    async def view():
        entered.set()
        try:
            await anyio.sleep_forever()
        finally:
            events.append("view left")

    @app.teardown_request
    async def teardown(error):
        await anyio.lowlevel.checkpoint()
        events.append("teardown")

    async with anyio.create_task_group() as group:
        group.start_soon(app, SCOPE | {"path": "/"}, never, ignore)
        await entered.wait()
        group.cancel_scope.cancel()

    assert events == ["view left", "teardown"]


async def test_one_log_line_for_an_unhandled_error(caplog):
    app = App(__name__)

    @app.middleware
    async def pass_on(request, call_next):
        (await call_next(request)).raise_for_error()

    @app.get("/<name>")
    async def broken(name):
        raise ValueError("broken")

    with caplog.at_level(logging.ERROR, logger="microweb"):
        response = await get(app, "/a%0Ax")

    assert response.status_code == 500
    assert len(caplog.records) == 1
    assert "\n" not in caplog.records[0].getMessage()


@pytest.mark.parametrize(
    "path",
    ["/", "/missing", "/invalid", "/unbound?number=x", "/broken", "/unlinked", "/watched", "/cancelling"],
)
async def test_a_request_leaves_no_reference_cycle(path, caplog):
    app = App(__name__)

    @app.get("/")
    async def home():
        return "home"

    @app.get("/broken")
    async def broken():
        raise ValueError("broken")

    @app.get("/invalid")
    async def invalid(request: Request):
        await request.json()

    @app.get("/unbound")
    async def unbound(number: int):
        return "never"

    @app.get("/watched")
    async def watched(request: Request):
        return [await request.is_disconnected()]

    @app.get("/unlinked")
    async def unlinked():
        return url_for("nowhere")

    @app.get("/cancelling", cancel_on_disconnect=True)
    async def cancelling():
        await anyio.lowlevel.checkpoint()
        return "cancelled if the client leaves"

    path, _, query = path.partition("?")
    scope = SCOPE | {"path": path, "raw_path": path.encode(), "query_string": query.encode()}
    caplog.set_level(logging.CRITICAL)

    assert await count_cycles(app, scope, never) == 0


@pytest.mark.parametrize("path", ["/body", "/json", "/session"])
async def test_a_request_that_is_cancelled_while_it_reads_leaves_no_reference_cycle(path):
    app = App(__name__, config={"SECRET_KEY": "a key for the tests of cycles"})
    limits: list[anyio.CancelScope] = []

    @app.post("/body")
    async def read(request: Request):
        return await request.body()

    @app.post("/json")
    async def read_json(request: Request):
        return await request.json()

    @app.post("/session")
    async def touch(request: Request):
        request.session["seen"] = True
        return await request.body()

    async def receive():
        await anyio.lowlevel.checkpoint()
        limits.pop().cancel()
        await anyio.lowlevel.checkpoint()

    async def served(scope, receive, send):
        with anyio.CancelScope() as limit:
            limits.append(limit)
            await app(scope, receive, send)

    headers = [(b"content-type", b"application/json")]
    scope = SCOPE | {"method": "POST", "path": path, "raw_path": path.encode(), "headers": headers}

    assert await count_cycles(served, scope, receive) == 0


async def test_a_server_that_breaks_while_a_disconnect_is_waited_for_leaves_no_reference_cycle(caplog):
    app = App(__name__)

    @app.get("/", cancel_on_disconnect=True)
    async def wait():
        await anyio.sleep_forever()

    async def receive():
        await anyio.lowlevel.checkpoint()
        raise RuntimeError("the server broke")

    caplog.set_level(logging.CRITICAL)

    assert await count_cycles(app, SCOPE | {"path": "/", "raw_path": b"/"}, receive) == 0


@pytest.mark.parametrize("ends", ["early", "with an error"])
async def test_a_form_that_is_not_read_to_its_end_leaves_no_reference_cycle(ends, caplog):
    app = App(__name__)

    @app.post("/")
    async def receive(request: Request):
        async for part in request.parts():
            if ends == "early":
                break
            await part.read()
        return "ok"

    async def cut_form():
        body = b'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\n1'
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", b"multipart/form-data; boundary=x")]
    scope = SCOPE | {"method": "POST", "path": "/", "raw_path": b"/", "headers": headers}
    caplog.set_level(logging.CRITICAL)

    assert await count_cycles(app, scope, cut_form) == 0


async def test_a_websocket_with_a_time_limit_leaves_no_reference_cycle():
    app = App(__name__)

    @app.websocket("/", timeout=60)
    async def view(websocket: WebSocket):
        await websocket.accept()

    async def connect():
        return {"type": "websocket.connect"}

    scope = SCOPE | {"type": "websocket", "path": "/", "raw_path": b"/", "subprotocols": []}

    assert await count_cycles(app, scope, connect) == 0


@pytest.mark.parametrize("kind", [StreamingResponse, EventStream])
async def test_a_stream_that_breaks_leaves_no_reference_cycle(kind, caplog):
    app = App(__name__)

    @app.get("/")
    async def stream():
        async def items():
            yield "first"
            await anyio.lowlevel.checkpoint()
            raise ValueError("broken")

        return kind(items())

    async def served(scope, receive, send):
        try:
            await app(scope, receive, send)
        except ValueError:
            pass

    caplog.set_level(logging.CRITICAL)

    scope = SCOPE | {"path": "/", "raw_path": b"/", "asgi": {"version": "3.0", "spec_version": "2.3"}}

    assert await count_cycles(served, scope, never) == 0


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # Only asyncio's own cancellation passes through shields.
@pytest.mark.parametrize("where", ["closer", "teardown", "thread"])
async def test_a_request_that_is_cancelled_again_while_it_ends_leaves_no_reference_cycle(where, caplog):
    app = App(__name__)
    reached, gate = asyncio.Event(), asyncio.Event()

    async def wait(error=None):
        reached.set()
        await gate.wait()

    @app.get("/closer")
    async def closer(request: Request):
        request.on_close(wait)
        return "closed at the end"

    @app.get("/teardown")
    async def plain():
        return "torn down at the end"

    @app.get("/thread")
    def thread(request: SyncRequest):
        call_from_thread(tell)
        released.get()
        return "done"

    async def tell():
        reached.set()

    if where == "teardown":
        app.teardown_request(wait)
    released = SimpleQueue()

    async def served(scope, receive, send):
        reached.clear()
        task = asyncio.create_task(app(scope, receive, send))
        await reached.wait()
        for _ in range(2):
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.sleep(0)
        gate.set()
        released.put(None)
        await asyncio.wait([task])
        gate.clear()

    caplog.set_level(logging.CRITICAL)

    assert await count_cycles(served, SCOPE | {"path": f"/{where}", "raw_path": f"/{where}".encode()}, never) == 0


class Broken(Converter):
    def to_python(self, value):
        raise RuntimeError("no ValueError")


@pytest.mark.parametrize(
    "kind", ["plain", "hosts", "answers itself", "raises on", "asks twice", "handler", "hooks", "mounted"]
)
async def test_a_converter_that_breaks_leaves_no_reference_cycle(kind, caplog):
    app = App(__name__, config={"TRUSTED_HOSTS": ["testserver"]} if kind == "hosts" else None)
    app.converters["broken"] = Broken

    @app.get("/<broken:value>")
    async def view(value):
        return "never"

    async def layer(request, call_next):
        if kind == "answers itself":
            return "not even asked"
        if kind == "asks twice":
            await call_next(request)
        (await call_next(request)).raise_for_error()

    if kind in ("answers itself", "raises on", "asks twice"):
        app.middleware(layer)
    elif kind == "handler":
        app.errorhandler(RuntimeError)(lambda error: ("handled", 418))
    elif kind == "hooks":
        app.before_request(lambda: None)
        app.teardown_request(lambda error: None)
    elif kind == "mounted":
        inner, app = app, App("outer")
        app.mount("/", inner, errors="bubble")
    caplog.set_level(logging.CRITICAL)

    assert await count_cycles(app, SCOPE | {"path": "/x", "raw_path": b"/x"}, never) == 0


@pytest.mark.parametrize("breaks", ["converter", "view"])
@pytest.mark.parametrize("errors", [None, "own", "bubble"])
async def test_a_websocket_that_fails_leaves_no_reference_cycle(errors, breaks, caplog):
    app = App(__name__)
    app.converters["broken"] = Broken

    @app.websocket("/<broken:value>" if breaks == "converter" else "/<value>")
    async def view(websocket: WebSocket, value):
        raise RuntimeError("broken")

    if errors is not None:
        inner, app = app, App("outer")
        app.mount("/", inner, errors=errors)
    caplog.set_level(logging.CRITICAL)

    async def connect():
        return {"type": "websocket.connect"}

    scope = SCOPE | {"type": "websocket", "path": "/x", "raw_path": b"/x", "subprotocols": []}

    assert await count_cycles(app, scope, connect) == 0


@pytest.mark.parametrize("breaks", ["again", "for the client left"])
async def test_an_error_handler_that_breaks_leaves_no_reference_cycle(breaks, caplog):
    app = App(__name__)

    @app.errorhandler(KeyError)
    async def handle(error, request: Request):
        if breaks == "again":
            raise ValueError("again")
        return await request.body()

    @app.get("/")
    async def home():
        raise KeyError("first")

    async def leave():
        return {"type": "http.disconnect"}

    caplog.set_level(logging.CRITICAL)

    assert await count_cycles(app, SCOPE | {"path": "/", "raw_path": b"/"}, leave) == 0


async def count_cycles(app, scope, receive):
    """What ten connections leave behind for the garbage collector."""
    await app(dict(scope), receive, ignore)
    found = []
    gc.collect()
    gc.freeze()  # What was there before is not looked through each time.
    gc.disable()
    try:
        for _ in range(5):  # A thread that an earlier test left may drop something meanwhile; a cycle comes each time.
            gc.collect()
            for _ in range(10):
                await app(dict(scope), receive, ignore)
            found.append(gc.collect())
    finally:
        gc.enable()

    return min(found)


async def test_asgi_middleware_wraps_the_whole_app_in_order():
    app = App(__name__)
    seen = []

    def wrap(inner, name):
        async def wrapped(scope, receive, send):
            seen.append((name, scope["type"]))
            await inner(scope, receive, send)

        return wrapped

    @app.get("/")
    async def home():
        return "home"

    app.add_asgi_middleware(wrap, name="outer")
    app.add_asgi_middleware(wrap, name="inner")

    assert (await get(app)).text == "home"
    assert [name for name, kind in seen if kind == "http"] == ["outer", "inner"]


async def test_asgi_middleware_may_hand_on_a_scope_of_its_own():
    app = App(__name__)

    def rename(inner):
        async def renamed(scope, receive, send):
            names = ("type", "asgi", "method", "query_string", "headers")
            await inner({**{name: scope[name] for name in names if name in scope}, "path": "/new"}, receive, send)

        return renamed

    @app.get("/new")
    async def home():
        return "home"

    app.add_asgi_middleware(rename)

    assert (await get(app)).text == "home"


async def test_asgi_middleware_may_be_made_of_a_coroutine_function_by_a_decorator():
    app, seen = App(__name__), []

    def as_middleware(function):
        return wraps(function)(lambda inner: partial(function, inner))

    @as_middleware
    async def note(inner, scope, receive, send):
        seen.append(scope["path"])
        await inner(scope, receive, send)

    app.get("/")(lambda: "home")
    app.add_asgi_middleware(note)

    assert ((await get(app)).text, seen) == ("home", ["/"])


# Who asks anew: something around the app that tries another path, and a view that asks its own app.
@pytest.mark.parametrize("reuse", [lambda scope: scope, dict])
async def test_asgi_middleware_sees_a_second_call_with_the_scope_of_the_first(reuse):
    app, seen, sent = App(__name__), [], []

    def note(inner):
        async def noted(scope, receive, send):
            seen.append(scope["path"])
            await inner(scope, receive, send)

        return noted

    async def send(message):
        sent.append(message)

    app.add_asgi_middleware(note)
    app.get("/<name>")(lambda name: name)
    scope = SCOPE | {"path": "/first"}
    await app(scope, never, send)
    again = reuse(scope)
    again["path"] = "/second"
    await app(again, never, send)

    assert seen == ["/first", "/second"]
    assert [message.get("body") for message in sent] == [None, b"first", None, b"second"]


async def test_starlettes_gzip_middleware_works_as_asgi_middleware():
    gzip = pytest.importorskip("starlette.middleware.gzip")
    app = App(__name__)

    @app.get("/")
    async def home():
        return "x" * 5000

    app.add_asgi_middleware(gzip.GZipMiddleware, minimum_size=100)
    response = await get(app, headers={"accept-encoding": "gzip"})

    assert response.headers["content-encoding"] == "gzip"
    assert response.text == "x" * 5000


async def test_asgi_middleware_that_asks_which_asgi_is_spoken_learns_that_it_is_the_third():
    app, seen = App(__name__), []

    def guess(inner):
        # As sentry-sdk does, and uvicorn with interface="auto".
        call = inner if inspect.isfunction(inner) else inner.__call__
        seen.append(inspect.iscoroutinefunction(call))
        return inner

    app.add_asgi_middleware(guess)
    await get(app)

    assert seen == [True]


async def test_asgi_correlation_id_works_as_asgi_middleware():
    correlation = pytest.importorskip("asgi_correlation_id")
    app = App(__name__)

    @app.get("/")
    async def home():
        return correlation.correlation_id.get() or "none"

    app.add_asgi_middleware(correlation.CorrelationIdMiddleware)
    response = await get(app)

    assert response.headers["x-request-id"] == response.text != "none"


async def test_without_lifespan_events_the_app_starts_at_the_first_request():
    app = App(__name__)
    events = []

    @app.lifespan
    async def life(app):
        events.append("start")
        yield
        events.append("stop")

    @app.get("/")
    async def home():
        events.append("view")
        return ""

    await app(SCOPE | {"path": "/"}, never, ignore)
    await app(SCOPE | {"path": "/"}, never, ignore)
    await app._runtime.stop()

    assert events == ["start", "view", "view", "stop"]


async def test_lifespans_nest_and_fill_the_state_of_requests():
    app = App(__name__)
    events = []

    @app.lifespan
    async def outer(app):
        app.state.pool = "pool"
        events.append("outer in")
        yield {"name": "ada"}
        events.append("outer out")

    @app.lifespan
    async def inner(app):
        events.append(f"inner in, {app.state.pool}")
        yield
        events.append("inner out")

    @app.get("/")
    async def home(request: Request):
        return request.state["name"]

    assert (await get(app)).text == "ada"
    assert events == ["outer in", "inner in, pool", "inner out", "outer out"]


async def test_a_lifespan_that_yields_something_else_than_a_mapping_fails_the_start():
    app = App(__name__)
    events = []

    @app.lifespan
    async def pool(app):
        try:
            yield "a pool"
        finally:
            events.append("closed")

    with pytest.raises(TypeError, match=r"pool yields a mapping for request\.state, or nothing; .* 'a pool'"):
        await get(app)
    assert events == ["closed"]


@pytest.mark.parametrize("prefix", ["", "/inner"])
async def test_what_a_lifespan_writes_to_the_config_holds_from_the_first_request(prefix):
    app, outer = App(__name__), App(__name__)

    @app.lifespan
    async def load_settings(app):
        app.config["MAX_CONTENT_LENGTH"] = 10
        yield

    @app.post("/")
    async def receive(request: Request):
        return await request.body()

    if prefix:
        outer.mount(prefix, app)
    async with Client(outer if prefix else app) as client:
        assert (await client.post(f"{prefix}/", content=b"x" * 11)).status_code == 413


async def test_a_bad_value_that_a_lifespan_writes_to_the_config_stops_the_start():
    app = App(__name__)

    @app.lifespan
    async def load_settings(app):
        app.config["MAX_CONTENT_LENGTH"] = "much"
        yield

    with pytest.raises(SetupError, match="MAX_CONTENT_LENGTH"):
        async with Client(app):
            raise AssertionError("not reached")


async def test_a_failing_lifespan_unwinds_what_was_started():
    app = App(__name__)
    events = []

    @app.lifespan
    async def outer(app):
        events.append("in")
        yield
        events.append("out")

    @app.lifespan
    async def broken(app):
        raise OSError("no database")
        yield

    with pytest.raises(OSError, match="no database"):
        async with Client(app):
            raise AssertionError("not reached")
    assert events == ["in", "out"]


async def test_a_lifespan_must_be_an_async_generator_function():
    app = App(__name__)

    with pytest.raises(SetupError, match="yield"):

        @app.lifespan
        async def life(app):
            return None


async def test_background_tasks_run_in_an_app_context_with_a_fresh_g():
    app = App(__name__)
    seen = []

    @app.get("/")
    async def home():
        g.name = "request"
        app.add_background_task(work, 7)
        return ""

    async def work(number):
        seen.append((number, "name" in g, bool(request)))

    async with Client(app) as client:
        await client.get("/")

    assert seen == [(7, False, False)]


async def test_after_response_runs_after_the_answer_and_a_failure_is_only_logged(caplog):
    app = App(__name__)
    seen = []

    @app.get("/")
    async def home(request: Request):
        request.after_response(fail)
        request.after_response(seen.append, "ran")
        return "home"

    def fail():
        raise ValueError("in the background")

    async with Client(app) as client:
        assert (await client.get("/")).text == "home"

    assert seen == ["ran"]
    assert "in the background" in caplog.text


def mistake_a_hook(app):
    router = Router("empty", prefix="/empty")
    router.before_request(lambda nobody_gives_this: None)
    app.mount("", router)


def mistake_a_factory(app):
    def make(inner):
        raise SetupError("this middleware needs a setting")

    app.add_asgi_middleware(make)


def mistake_a_websocket(app):
    @app.websocket("/ws")
    def socket(websocket):
        pass


@pytest.mark.parametrize("mistake", [mistake_a_hook, mistake_a_factory, mistake_a_websocket])
def test_a_mistake_at_the_start_is_told_by_each_request_and_freezes_nothing(mistake):
    app = App(__name__, static_folder=None)
    mistake(app)
    told = []

    for _ in range(2):
        with pytest.raises(SetupError) as caught:
            asyncio.run(app(SCOPE | {"path": "/"}, never, ignore))
        told.append(str(caught.value))
    app.get("/late")(lambda: "registered after the start that failed")

    assert told[0] == told[1]


def test_an_app_serves_on_one_loop_after_the_other():
    app = App(__name__)

    @app.get("/")
    def home():
        return "home"

    for _ in range(2):
        sent: list[dict] = []

        async def send(message, sent=sent):
            sent.append(message)

        asyncio.run(app(SCOPE | {"path": "/"}, never, send))
        assert sent[1]["body"] == b"home"


async def test_a_thread_that_asks_the_loop_while_the_app_stops_gets_its_answers(caplog):
    app = App(__name__)
    opened, answers = threading.Event(), []

    def ask() -> None:
        entered.set()
        opened.wait(10)
        # More questions than the loop has turns before it comes to the end of the stop.
        for number in range(200):
            call_from_thread(anyio.lowlevel.checkpoint)
            answers.append(number)

    @app.lifespan
    async def resource(app):
        yield
        opened.set()

    async with anyio.create_task_group() as tasks:
        entered = threading.Event()
        async with Client(app):
            tasks.start_soon(app.workers.pick().run, ask)
            await run_blocking(entered.wait, 10)
        assert len(answers) == 200

    assert "left behind" not in caplog.text


@pytest.mark.slow
async def test_a_thread_that_does_not_end_within_a_short_grace_is_no_exit_that_failed(caplog):
    app = App(__name__, config={"GRACEFUL_TIMEOUT": 0.5})
    opened = threading.Event()

    async with anyio.create_task_group() as tasks:
        try:
            async with Client(app):
                tasks.start_soon(app.workers.pick().run, opened.wait, 10)
                await anyio.wait_all_tasks_blocked()
        finally:
            opened.set()

    assert "left behind" in caplog.text
    assert "did not stop cleanly" not in caplog.text


async def test_an_unknown_scope_type_is_an_error():
    with pytest.raises(ValueError, match="http, websocket or lifespan"):
        await App(__name__)({"type": "carrier pigeon"}, never, ignore)


async def test_an_oserror_from_send_is_a_client_that_left(caplog):
    app = App(__name__)
    seen = []

    @app.get("/")
    async def home():
        return "home"

    @app.teardown_request
    async def teardown(error):
        seen.append(error)

    async def send(message):
        raise OSError("gone")

    await app(SCOPE | {"path": "/"}, never, send)

    assert seen == [None]
    assert not caplog.records


SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.4"},
    "http_version": "1.1",
    "method": "GET",
    "scheme": "http",
    "root_path": "",
    "query_string": b"",
    "headers": [(b"host", b"testserver")],
}


async def never():
    await anyio.sleep_forever()


async def ignore(message):
    pass


@pytest.mark.parametrize("option", ["subdomain", "provide_automatic_options", "redirect_to"])
def test_an_option_that_would_be_passed_over_in_silence_is_refused(option):
    app = App(__name__)

    with pytest.raises(SetupError, match=f"no {option}=, use .*test_app.py"):
        app.get("/", **{option: "api"})(lambda: "")


async def test_the_def_view_of_one_request_does_not_wait_behind_that_of_another_while_threads_are_free():
    app, begun, go_on = App(__name__), anyio.Event(), threading.Event()

    @app.before_request
    def connect():
        g.thread = threading.get_ident()

    @app.before_request
    async def look_up(request):
        if request.path == "/quick":
            await begun.wait()

    @app.get("/slow")
    def slow():
        anyio.from_thread.run_sync(begun.set, token=token)
        go_on.wait(10)
        return "slow"

    @app.get("/quick")
    def quick():
        return str(g.thread == threading.get_ident())

    token = anyio.lowlevel.current_token()
    answers = []
    async with Client(app) as client, anyio.create_task_group() as group:

        async def ask():
            answers.append((await client.get("/quick")).text)
            go_on.set()

        group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        answers.append((await client.get("/slow")).text)

    assert answers == ["True", "slow"]
