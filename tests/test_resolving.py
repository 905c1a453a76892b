"""Dependencies: called once, in order, closed when the answer is complete, told of errors, overridden."""

import asyncio
import contextlib
import gc
import logging
import re
import threading
from contextvars import ContextVar
from typing import Annotated

import anyio
import msgspec
import pytest

from microweb import (
    App,
    Body,
    Depends,
    Form,
    Header,
    Query,
    Request,
    Router,
    SetupError,
    StaticFiles,
    SyncRequest,
    WebSocket,
    abort,
    request,
)
from microweb.binding import make_plan
from microweb.testing import Client
from microweb.testing.websocketsession import WebSocketDenied

pytestmark = pytest.mark.anyio


class Log(list):
    """What happened, in order, with two generator dependencies that write it down."""

    @contextlib.contextmanager
    def keep(self):
        self.append("open")
        try:
            yield "value"
        except BaseException as error:
            self.append(type(error).__name__)
            raise
        finally:
            self.append("close")

    async def generator(self):
        with self.keep() as value:
            yield value

    def sync_generator(self):
        with self.keep() as value:
            yield value


@pytest.fixture(params=["async", "sync"])
def log(request):
    """A log, and as ``log.dependency`` a coroutine generator or a plain one."""
    log = Log()
    log.dependency = log.generator if request.param == "async" else log.sync_generator
    return log


async def get(app, url="/", raise_errors=False, **options):
    async with Client(app, raise_errors=raise_errors) as client:
        return await client.get(url, **options)


async def refusal(client, url):
    """The status of the answer that a websocket gets instead of being accepted."""
    with pytest.raises(WebSocketDenied) as denied:
        async with client.websocket(url):
            pass
    return denied.value.response.status_code


# Values -------------------------------------------------------------------------------------------


async def test_every_kind_of_function_can_be_depended_on():
    app = App(__name__)

    async def coroutine(request: Request):
        return request.path

    def function(request: SyncRequest, n: int = 1):
        return [request.path, n, threading.current_thread() is threading.main_thread()]

    class Paging:
        def __init__(self, page: int = 1, size: int = 10):
            self.page, self.size = page, size

    @app.get("/<name>")
    async def view(
        name: str,
        a: Annotated[str, Depends(coroutine)],
        b: Annotated[list, Depends(function)],
        paging: Annotated[Paging, Depends()],
        c: Annotated[int, Depends(lambda: 5)],
    ):
        return [name, a, b, paging.page, paging.size, c]

    assert (await get(app, "/x?n=2&page=3")).json() == ["x", "/x", ["/x", 2, False], 3, 10, 5]


async def test_dependencies_nest_and_see_path_variables():
    app = App(__name__)

    async def find_user(user_id: int, x_token: Annotated[str, Header()] = "none"):
        return {"id": user_id, "token": x_token}

    async def find_name(user: Annotated[dict, Depends(find_user)]):
        return f"user {user['id']}"

    @app.get("/<int:user_id>")
    async def view(name: Annotated[str, Depends(find_name)], user: Annotated[dict, Depends(find_user)]):
        return [name, user]

    assert (await get(app, "/7", headers={"x-token": "t"})).json() == ["user 7", {"id": 7, "token": "t"}]


async def test_a_dependency_is_called_once_in_a_request_unless_it_says_otherwise():
    app, calls = App(__name__), []

    async def cached():
        calls.append("cached")
        return len(calls)

    async def other(value: Annotated[int, Depends(cached)]):
        return value

    async def fresh():
        calls.append("fresh")

    @app.before_request
    async def hook(value: Annotated[int, Depends(cached)]):
        pass

    @app.get("/")
    async def view(
        a: Annotated[int, Depends(cached)],
        b: Annotated[int, Depends(other)],
        c: Annotated[None, Depends(fresh, use_cache=False)],
        d: Annotated[None, Depends(fresh, use_cache=False)],
    ):
        return [a, b]

    await get(app)
    await get(app)

    assert calls == ["cached", "fresh", "fresh"] * 2


async def test_def_dependencies_and_the_def_view_share_one_trip_to_their_thread():
    app, trips = App(__name__), []

    def first():
        return threading.get_ident()

    def second(value: Annotated[int, Depends(first)]):
        return [value, threading.get_ident()]

    @app.get("/")
    def view(values: Annotated[list, Depends(second)]):
        return {"same thread": {*values, threading.get_ident()} == {values[0]}}

    @app.middleware
    async def count(request, call_next):
        run = request.worker.run

        class Counting:
            async def run(self, *args, **options):
                trips.append(1)
                return await run(*args, **options)

        request._worker = Counting()
        return await call_next(request)

    assert (await get(app)).json() == {"same thread": True}
    assert len(trips) == 1


async def test_a_dependency_that_is_refused_is_listed_with_the_rest_and_the_view_is_not_called():
    app, calls = App(__name__), []

    async def paging(page: int, size: int = 10):
        calls.append("paging")

    async def unrelated():
        calls.append("unrelated")

    async def user_of(paging: Annotated[None, Depends(paging)]):
        calls.append("user_of")

    @app.get("/")
    async def view(a: Annotated[None, Depends(user_of)], b: Annotated[None, Depends(unrelated)], n: int, page: int = 1):
        calls.append("view")

    answer = await get(app, "/?page=x&size=y")

    assert answer.status_code == 422
    assert [error["name"] for error in answer.json()["errors"]] == ["page", "size", "n"]
    assert calls == ["unrelated"]


async def test_a_dependency_that_refuses_comes_before_what_is_wrong_with_the_view():
    app = App(__name__)

    async def guard():
        abort(401)

    @app.get("/")
    async def view(n: int, guarded: Annotated[None, Depends(guard)]):
        return "ok"

    assert (await get(app)).status_code == 401


async def test_a_dependency_may_take_the_body():
    app = App(__name__)

    class Order(msgspec.Struct):
        id: int

    def order_id(order: Order):
        return order.id

    @app.post("/")
    async def view(id: Annotated[int, Depends(order_id)], order: Order):
        return [id, order.id]

    async with Client(app) as client:
        assert (await client.post("/", json={"id": 5})).json() == [5, 5]


async def test_a_def_that_returns_an_awaitable_is_awaited():
    app = App(__name__)

    async def inner():
        return 5

    @app.get("/")
    async def view(value: Annotated[int, Depends(lambda: inner())]):
        return [value]

    assert (await get(app)).json() == [5]


async def test_what_a_def_on_the_same_trip_gives_to_await_is_its_own_value():
    app, calls = App(__name__), []

    def first():
        calls.append("first")
        return "first"

    def second():
        calls.append("second")

        async def later():
            return "second"

        return later()

    @app.get("/", dependencies=[Depends(first), Depends(second)])
    async def view(one: Annotated[str, Depends(first)], two: Annotated[str, Depends(second)]):
        return [one, two]

    assert (await get(app)).json() == ["first", "second"]
    assert calls == ["first", "second"]


async def test_unknown_parameters_are_those_that_no_dependency_names_either():
    app = App(__name__)

    async def paging(page: int = 1):
        return page

    @app.get("/", forbid_unknown=True)
    async def view(page: Annotated[int, Depends(paging)], n: int = 0):
        return [page, n]

    assert (await get(app, "/?page=2&n=3")).json() == [2, 3]
    assert (await get(app, "/?page=2&m=3")).json()["errors"] == [{"in": "query", "name": "m", "reason": "is not known"}]


# Generators ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_hook", [True, False])
async def test_a_generator_is_closed_before_the_answer_is_sent_and_after_the_view(log, has_hook):
    app = App(__name__)

    async def hook(value: Annotated[str, Depends(log.dependency)]): ...

    if has_hook:
        app.before_request(hook)

    @app.get("/")
    async def view(value: Annotated[str, Depends(log.dependency)]):
        log.append(value)
        return [value]

    @app.after_request
    async def after(response):
        log.append("after")

    assert (await get(app)).json() == ["value"]
    assert log == ["open", "value", "close", "after"]


async def test_the_value_becomes_a_response_while_the_generator_is_open():
    app = App(__name__)

    class Lazy:
        closed = False

        def __html__(self):
            assert not self.closed
            return "lazy"

    async def generator():
        lazy = Lazy()
        yield lazy
        lazy.closed = True

    @app.get("/")
    async def view(lazy: Annotated[Lazy, Depends(generator)]):
        return {"value": lazy}

    assert (await get(app)).json() == {"value": "lazy"}


async def test_the_last_opened_is_closed_first(log):
    app, order = App(__name__), []

    async def outer():
        yield order.append("outer opens")
        order.append("outer closes")

    def inner(value: Annotated[None, Depends(outer)]):
        yield order.append("inner opens")
        order.append("inner closes")

    @app.get("/")
    def view(value: Annotated[None, Depends(inner)]):
        return "ok"

    await get(app)

    assert order == ["outer opens", "inner opens", "inner closes", "outer closes"]


async def test_an_error_of_the_view_is_raised_at_the_yield(log):
    app = App(__name__)

    @app.get("/")
    async def view(value: Annotated[str, Depends(log.dependency)]):
        raise KeyError("broken")

    assert (await get(app)).status_code == 500
    assert log == ["open", "KeyError", "close"]


async def test_an_error_of_a_later_dependency_and_a_refused_value_are_raised_there_too(log):
    app = App(__name__)

    async def broken(value: Annotated[str, Depends(log.dependency)]):
        raise KeyError("broken")

    @app.get("/broken")
    async def view(value: Annotated[str, Depends(broken)]):
        return "ok"

    @app.get("/refused")
    async def other(value: Annotated[str, Depends(log.dependency)], n: int):
        return "ok"

    assert (await get(app, "/broken")).status_code == 500
    assert (await get(app, "/refused")).status_code == 422
    assert log == ["open", "KeyError", "close", "open", "InvalidParameters", "close"]


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_swallowing_the_error_does_not_change_the_answer(kind):
    app, seen = App(__name__), []

    async def swallow():
        try:
            yield
        except KeyError:
            seen.append("swallowed")

    def swallow_in_thread():
        try:
            yield
        except KeyError:
            seen.append("swallowed")

    async def outer():
        try:
            yield
        except KeyError:
            seen.append("outer was told too")

    @app.get("/")
    async def view(
        a: Annotated[None, Depends(outer)],
        b: Annotated[None, Depends(swallow if kind == "async" else swallow_in_thread)],
    ):
        raise KeyError("broken")

    assert (await get(app)).status_code == 500
    assert seen == ["swallowed", "outer was told too"]


async def test_an_error_that_a_generator_makes_of_another_is_the_answer():
    app = App(__name__)

    async def translate():
        try:
            yield
        except KeyError:
            abort(409)

    @app.get("/")
    async def view(value: Annotated[None, Depends(translate)]):
        raise KeyError("taken")

    assert (await get(app)).status_code == 409


@pytest.mark.parametrize("has_hook", [True, False])
async def test_an_error_while_closing_is_a_500_that_the_hooks_see(has_hook, caplog):
    app, seen = App(__name__), []

    async def commit():
        yield
        raise OSError("commit failed")

    async def hook(value: Annotated[None, Depends(commit)]): ...

    if has_hook:
        app.before_request(hook)

    @app.get("/")
    async def view(value: Annotated[None, Depends(commit)]):
        return "ok"

    @app.after_request
    async def after(response):
        seen.append(response.status_code)

    assert (await get(app)).status_code == 500
    assert seen == [500]
    assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == 1


async def test_an_error_while_closing_leaves_the_other_generators_to_be_closed(log):
    app = App(__name__)

    async def commit():
        yield
        raise OSError("commit failed")

    @app.get("/")
    async def view(first: Annotated[str, Depends(log.dependency)], second: Annotated[None, Depends(commit)]):
        return "ok"

    @app.after_request
    async def after(response):
        log.append(response.status_code)

    await get(app)

    assert log == ["open", "close", 500]


@pytest.mark.parametrize("body", ["async", "sync"])
async def test_of_a_stream_a_generator_is_closed_after_the_last_byte(log, body):
    app = App(__name__)

    @app.get("/async")
    async def stream(value: Annotated[str, Depends(log.dependency)]):
        async def chunks():
            log.append("first")
            yield value
            log.append("last")

        return chunks()

    @app.get("/sync")
    def stream_in_thread(value: Annotated[str, Depends(log.dependency)]):
        log.append("first")
        yield value
        log.append("last")

    assert (await get(app, f"/{body}")).text == "value"
    assert log == ["open", "first", "last", "close"]


async def test_of_a_stream_that_fails_a_generator_is_told_after_it(log):
    app = App(__name__)

    @app.get("/")
    async def stream(value: Annotated[str, Depends(log.dependency)]):
        async def chunks():
            yield value
            raise KeyError("broken")

        return chunks()

    with pytest.raises(Exception):  # noqa: B017, PT011 - the connection breaks, in whatever way the client says it
        await get(app, raise_errors=True)

    assert log == ["open", "KeyError", "close"]


async def test_of_a_stream_whose_request_breaks_off_a_generator_is_told(log):
    app = App(__name__)
    messages = [{"type": "http.disconnect"}, {"type": "http.request", "body": b"half", "more_body": True}]

    async def receive():
        return messages.pop()

    async def send(message): ...

    @app.post("/")
    async def echo(request: Request, value: Annotated[str, Depends(log.dependency)]):
        return request.stream()

    scope = {"type": "http", "asgi": {"spec_version": "2.4"}, "method": "POST", "path": "/"}
    await app({**scope, "query_string": b"", "headers": []}, receive, send)

    assert log == ["open", "ClientDisconnect", "close"]


async def hold_task_group():
    async with anyio.create_task_group() as tasks:
        yield tasks
        tasks.cancel_scope.cancel()


async def hold_cancel_scope():
    with anyio.CancelScope() as scope:
        yield scope


@pytest.mark.parametrize("hold", [hold_task_group, hold_cancel_scope])
@pytest.mark.parametrize("has_hook", [False, True])
async def test_a_scope_that_is_held_open_cannot_outlive_the_view_and_the_error_names_it(hold, has_hook, caplog):
    app, held = App(__name__), Annotated[object, Depends(hold)]

    if has_hook:

        @app.before_request
        async def check(scope: held):
            assert scope

    @app.middleware
    async def limit(request, call_next):
        with anyio.fail_after(60):
            return await call_next(request)

    @app.get("/")
    async def stream(scope: held):
        yield "a"

    answer = await get(app)

    assert answer.status_code == 500
    (record,) = caplog.records
    message = str(record.exc_info[1])
    assert re.search(
        rf"view .*stream.* streams its body.*dependency .*{hold.__name__} holds.*test_resolving.py", message
    )


@pytest.mark.parametrize("hold", [hold_task_group, hold_cancel_scope])
async def test_a_scope_may_be_held_open_where_the_body_is_bytes(hold):
    app = App(__name__)

    @app.middleware
    async def limit(request, call_next):
        with anyio.fail_after(60):
            return await call_next(request)

    @app.get("/")
    async def view(scope: Annotated[object, Depends(hold)]):
        await anyio.sleep(0)
        return "whole"

    assert (await get(app)).text == "whole"


async def test_a_scope_that_is_closed_before_the_yield_hinders_no_stream():
    app = App(__name__)

    async def wait_for_it():
        with anyio.fail_after(60):
            await anyio.sleep(0)
        yield "value"

    @app.get("/")
    async def stream(value: Annotated[str, Depends(wait_for_it)]):
        yield value

    assert (await get(app, raise_errors=True)).text == "value"


async def test_an_error_while_closing_after_a_stream_is_logged(caplog):
    app = App(__name__)

    async def commit():
        yield
        raise OSError("commit failed")

    @app.get("/")
    async def stream(value: Annotated[None, Depends(commit)]):
        async def chunks():
            yield "chunk"

        return chunks()

    assert (await get(app)).text == "chunk"
    assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == 1


def limit(app):
    """A scope around the views of ``app``, for them to cancel: a clock may strike before what they wait for is open."""
    scope = anyio.CancelScope()

    @app.middleware
    async def answer_within(request, call_next):
        with scope:
            return await call_next(request)
        return "cut", 504

    return scope


async def test_a_request_that_is_cancelled_closes_its_generators_and_tells_them(log):
    app, cleaned = App(__name__), []
    scope = limit(app)

    async def slow_to_close(value: Annotated[str, Depends(log.dependency)]):
        try:
            yield
        finally:
            await anyio.sleep(0.01)
            cleaned.append("cleaned")

    @app.get("/")
    async def view(value: Annotated[None, Depends(slow_to_close)]):
        scope.cancel()
        await anyio.sleep_forever()

    assert (await get(app)).status_code == 504
    assert cleaned == ["cleaned"]
    assert log in (["open", "Cancelled", "close"], ["open", "CancelledError", "close"])


@pytest.mark.parametrize("path", ["/async", "/def", "/stream", "/error"])
async def test_a_def_generator_may_reset_what_it_has_set_by_its_token(path):
    app, variable, seen = App(__name__), ContextVar("variable"), []

    def bind():
        token = variable.set("bound")
        try:
            yield
        finally:
            seen.append(variable.get())
            variable.reset(token)

    @app.teardown_request
    async def look(error):
        seen.append(variable.get("as it was"))

    @app.get("/async")
    async def view(value: Annotated[None, Depends(bind)]):
        seen.append(variable.get())
        variable.set("by the view")
        return ""

    @app.get("/def")
    def view_in_thread(value: Annotated[None, Depends(bind)]):
        seen.append(variable.get())
        variable.set("by the view")
        return ""

    @app.get("/stream")
    async def stream(value: Annotated[None, Depends(bind)]):
        seen.append(variable.get())
        yield ""
        variable.set("by the view")

    @app.get("/error")
    async def fail(value: Annotated[None, Depends(bind)]):
        seen.append(variable.get())
        variable.set("by the view")
        abort(418)

    assert (await get(app, path)).status_code == (418 if path == "/error" else 200)
    assert seen == ["bound", "by the view", "as it was"]


async def test_an_app_context_that_a_def_generator_holds_is_its_own():
    app = App(__name__)

    def hold():
        with app.app_context():
            yield bool(request)

    @app.get("/")
    async def view(value: Annotated[bool, Depends(hold)]):
        return {"in the generator": value, "in the view": bool(request)}

    assert (await get(app)).json() == {"in the generator": False, "in the view": True}


async def test_a_def_generator_is_closed_although_its_thread_was_left_behind():
    app, log, begun, released = App(__name__), Log(), threading.Event(), threading.Event()
    scope = limit(app)

    @app.get("/")
    def view(value: Annotated[None, Depends(log.sync_generator)]):
        begun.set()
        released.wait(60)

    async with Client(app) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.get, "/")
        await anyio.to_thread.run_sync(begun.wait)
        scope.cancel()
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        app.workers.close(timeout=0)
        with anyio.move_on_after(5):
            while log[-1] != "close":
                await anyio.lowlevel.checkpoint()
        was_closed = log[-1] == "close"
        released.set()

    assert was_closed


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_def_generators_are_closed_although_the_thread_of_another_was_left_behind(caplog):
    app, log, begun, released = App(__name__), Log(), threading.Event(), threading.Event()

    def first():
        yield
        log.append("first")

    def second(value: Annotated[None, Depends(first)]):
        yield
        log.append("second")

    def stuck(value: Annotated[None, Depends(second)]):
        yield
        begun.set()
        released.wait(60)

    @app.get("/")
    def view(value: Annotated[None, Depends(stuck)]):
        return ""

    async def send(message): ...

    path = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
    async with Client(app):
        task = asyncio.create_task(app(path, anyio.sleep_forever, send))
        await anyio.to_thread.run_sync(begun.wait)
        task.cancel()  # A scope would wait for the thread: what is released is shielded.
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        app.workers.close(timeout=0)
        await asyncio.wait([task], timeout=5)
        closed = [*log]
        released.set()

    assert closed == ["second", "first"]
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_an_async_generator_may_hold_a_cancel_scope_when_the_body_is_complete_bytes():
    app = App(__name__)

    async def group():
        async with anyio.create_task_group() as tasks:
            yield tasks
            tasks.cancel_scope.cancel()

    @app.get("/")
    async def view(tasks: Annotated[object, Depends(group)]):
        tasks.start_soon(anyio.sleep_forever)
        return "ok"

    assert (await get(app)).text == "ok"


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_generator_yields_exactly_once(kind):
    app = App(__name__)

    async def never():
        return
        yield

    async def twice():
        yield 1
        yield 2

    def never_in_thread():
        return
        yield

    def twice_in_thread():
        yield 1
        yield 2

    @app.get("/never")
    async def first(value: Annotated[None, Depends(never if kind == "async" else never_in_thread)]):
        return "ok"

    @app.get("/twice")
    async def second(value: Annotated[int, Depends(twice if kind == "async" else twice_in_thread)]):
        return "ok"

    with pytest.raises(RuntimeError, match="never yielded"):
        await get(app, "/never", raise_errors=True)
    with pytest.raises(RuntimeError, match="yielded twice"):
        await get(app, "/twice", raise_errors=True)


async def test_calling_on_again_resolves_anew(log):
    app = App(__name__)

    @app.middleware
    async def twice(request, call_next):
        await call_next(request)
        return await call_next(request)

    @app.get("/")
    async def view(value: Annotated[str, Depends(log.dependency)]):
        return [value]

    await get(app)

    assert log == ["open", "close"] * 2


@pytest.mark.parametrize("has_hook", [True, False])
async def test_calling_on_again_calls_what_is_depended_on_again(has_hook):
    app = App(__name__)
    calls = []

    @app.middleware
    async def twice(request, call_next):
        await call_next(request)
        return await call_next(request)

    async def count():
        calls.append(1)
        return len(calls)

    async def hook(number: Annotated[int, Depends(count)]): ...

    @app.get("/")
    async def view(number: Annotated[int, Depends(count)]):
        return [number]

    if has_hook:
        app.before_request(hook)

    assert (await get(app)).json() == [2]


async def test_an_error_leaves_no_reference_cycle(log):
    app = App(__name__)

    @app.get("/")
    async def view(value: Annotated[str, Depends(log.dependency)]):
        raise KeyError("broken")

    @app.errorhandler(KeyError)
    async def sorry(error):
        return "sorry", 400

    async with Client(app) as client:
        await client.get("/")
        gc.collect()
        gc.disable()
        try:
            await client.get("/")
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            kinds = {type(found) for found in gc.garbage}
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()

    assert KeyError not in kinds


@pytest.mark.parametrize("hold", [hold_task_group, hold_cancel_scope])
async def test_a_dependency_that_holds_a_scope_ends_well_when_its_view_is_cancelled(hold, caplog):
    app, seen = App(__name__), []
    scope = limit(app)

    @app.get("/")
    async def view(request: Request, value: Annotated[None, Depends(hold)]):
        scope.cancel()
        try:
            await anyio.sleep_forever()
        finally:
            seen.append("cancelled")

    assert (await get(app)).status_code == 504
    assert seen == ["cancelled"]
    assert caplog.records == []


async def hold_time_limit():
    with anyio.fail_after(0.01):
        yield


async def hold_asyncio_timeout():
    async with asyncio.timeout(0.01):
        yield


async def hold_asyncio_group():
    async def fail():
        raise TimeoutError

    async with asyncio.TaskGroup() as group:
        group.create_task(fail())
        yield


@pytest.mark.parametrize(
    ("anyio_backend", "hold"),
    [
        ("asyncio", hold_time_limit),
        ("trio", hold_time_limit),
        ("asyncio", hold_asyncio_timeout),
        ("asyncio", hold_asyncio_group),
    ],
)
async def test_what_a_scope_that_a_dependency_holds_raises_is_the_error_of_the_view(anyio_backend, hold):
    app = App(__name__)

    @app.get("/")
    async def view(value: Annotated[None, Depends(hold)]):
        await anyio.sleep_forever()

    @app.errorhandler(TimeoutError)
    async def too_late(error):
        return "too late", 503

    assert (await get(app)).status_code == 503


async def test_a_dependency_that_cancels_its_view_and_says_nothing_is_an_error_that_names_it(caplog):
    app = App(__name__)

    async def limit():
        with anyio.move_on_after(0.01):
            yield

    @app.get("/")
    async def view(value: Annotated[None, Depends(limit)]):
        await anyio.sleep_forever()

    assert (await get(app)).status_code == 500
    assert re.search("dependency .*limit has cancelled .*test_resolving.py", str(caplog.records[0].exc_info[1]))


async def test_what_a_dependency_of_a_cancelled_view_raises_when_it_is_closed_is_logged(caplog):
    app = App(__name__)

    async def clumsy():
        try:
            yield
        finally:
            raise ValueError("clumsy")

    @app.get("/", timeout=0.01)
    async def view(value: Annotated[None, Depends(clumsy)]):
        await anyio.sleep_forever()

    assert (await get(app)).status_code == 504
    assert [str(record.exc_info[1]) for record in caplog.records if record.levelname == "ERROR"] == ["clumsy"]


# Where they may stand ------------------------------------------------------------------------------


async def test_hooks_and_the_view_share_a_generator_that_is_closed_after_the_view(log):
    app = App(__name__)

    @app.before_request
    async def first(value: Annotated[str, Depends(log.dependency)]):
        log.append("before")

    @app.before_request
    def second():
        log.append("def before")

    @app.get("/")
    def view(value: Annotated[str, Depends(log.dependency)]):
        log.append("view")
        return [value]

    assert (await get(app)).json() == ["value"]
    assert log == ["open", "before", "def before", "view", "close"]


async def test_a_hook_that_answers_or_fails_closes_what_it_has_opened(log):
    app = App(__name__)

    @app.before_request
    async def guard(value: Annotated[str, Depends(log.dependency)], fail: Annotated[bool, Query()] = False):
        if fail:
            raise KeyError("broken")
        return "answered", 403

    @app.get("/")
    async def view():
        raise AssertionError("never called")

    assert (await get(app)).status_code == 403
    assert (await get(app, "/?fail=1")).status_code == 500
    assert log == ["open", "close", "open", "KeyError", "close"]


async def test_a_hook_on_a_miss_has_its_dependencies_too(log):
    app = App(__name__)

    @app.before_request
    async def hook(value: Annotated[str, Depends(log.dependency)]):
        log.append("hook")

    assert (await get(app, "/nowhere")).status_code == 404
    assert log[:2] == ["open", "hook"]
    assert log[-1] == "close"


async def test_after_hooks_teardown_and_error_handlers_have_their_own(log):
    app = App(__name__)

    @app.after_request
    async def after(response, value: Annotated[str, Depends(log.dependency)]):
        log.append("after")

    @app.teardown_request
    async def teardown(error, value: Annotated[str, Depends(log.dependency)]):
        log.append("teardown")

    @app.errorhandler(404)
    async def missing(error, value: Annotated[str, Depends(log.dependency)]):
        log.append("missing")
        return "missing", 404

    assert (await get(app, "/nowhere")).text == "missing"
    assert log == [each for name in ("missing", "after", "teardown") for each in ("open", name, "close")]


async def test_routers_and_routes_have_dependencies_for_what_they_do():
    app, calls = App(__name__), []

    async def authenticate(x_token: Annotated[str, Header()] = ""):
        calls.append("authenticate")
        if x_token != "secret":
            abort(401)
        return "ada"

    def count():
        calls.append("count")

    router = Router("admin", __name__, prefix="/admin", dependencies=[Depends(authenticate)])

    @router.get("/", dependencies=[Depends(count)])
    async def view(user: Annotated[str, Depends(authenticate)]):
        return f"hello {user}"

    app.mount("", router)

    assert (await get(app, "/admin/")).status_code == 401
    assert (await get(app, "/admin/", headers={"x-token": "secret"})).text == "hello ada"
    assert calls == ["authenticate", "authenticate", "count"]


async def test_dependencies_from_an_iterator_guard_every_request():
    async def refuse():
        abort(401)

    app = App(__name__)
    app.get("/", dependencies=map(Depends, [refuse]))(lambda: "secret")
    app.explain("GET", "/")

    before = (await get(app, "/")).status_code
    app.config["PROGRAM"] = "composed anew"

    assert (before, (await get(app, "/")).status_code) == (401, 401)


def guarded_mount(target):
    """An app in which a router with dependencies has something mounted at ``/<tenant>/inner``."""
    app = App(__name__)

    async def authenticate(tenant: str, x_token: Annotated[str, Header()] = ""):
        if x_token != f"{tenant}'s":
            abort(401)

    router = Router("admin", __name__, prefix="/<tenant>", dependencies=[Depends(authenticate)])
    router.mount("/inner", target)
    app.mount("", router)
    return app


def make_inner_app():
    inner = App("inner")
    inner.add_route("/file.txt", lambda: "kept safe")
    return inner


async def answer_everything(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"kept safe"})


@pytest.mark.parametrize("kind", ["app", "foreign", "files"])
async def test_the_dependencies_of_a_router_guard_what_is_mounted_below_it(kind, tmp_path):
    (tmp_path / "file.txt").write_text("kept safe")
    target = {"app": make_inner_app(), "foreign": answer_everything, "files": StaticFiles(tmp_path)}[kind]
    app = guarded_mount(target)

    assert (await get(app, "/ada/inner/file.txt")).status_code == 401
    assert (await get(app, "/ada/inner/file.txt", headers={"x-token": "eve's"})).status_code == 401
    assert (await get(app, "/ada/inner/file.txt", headers={"x-token": "ada's"})).text == "kept safe"


@pytest.mark.parametrize("version", ["2.3", "2.4"])
async def test_of_a_client_that_leaves_a_stream_the_body_is_told_and_not_the_dependency(log, version):
    app, left, told = App(__name__), anyio.Event(), []

    @app.get("/")
    async def view(value: Annotated[str, Depends(log.generator)]):
        try:
            while True:
                yield value
                await anyio.lowlevel.checkpoint()
        except BaseException as error:
            told.append(isinstance(error, (GeneratorExit, anyio.get_cancelled_exc_class())))
            raise

    async def receive():
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        if message.get("body"):
            left.set()
            if version == "2.4":
                raise OSError("the client has left")

    app.teardown_request(lambda error: log.append(error))
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
    with anyio.fail_after(10):
        await app(scope | {"asgi": {"version": "3.0", "spec_version": version}}, receive, send)

    assert told == [True]
    assert log == ["open", "close", None]


async def test_a_guard_of_a_mounted_app_that_streams_is_closed_after_the_last_byte(log):
    app, inner = App(__name__), App("inner")

    @inner.get("/")
    async def view():
        yield "a"
        log.append("streamed")

    router = Router("admin", __name__, dependencies=[Depends(log.dependency)])
    router.mount("/inner", inner)
    app.mount("", router)

    assert (await get(app, "/inner/")).text == "a"
    assert log == ["open", "streamed", "close"]


async def test_a_dependency_of_a_router_that_is_no_depends_is_an_error():
    app = App(__name__)
    app.add_route("/", lambda: "ok", endpoint="view", dependencies=[print])

    with pytest.raises(SetupError, match=r"takes Depends\(function\).*test_resolving.py"):
        await get(app, raise_errors=True)


# Overrides -------------------------------------------------------------------------------------------


async def test_a_dependency_is_overridden_and_restored():
    app = App(__name__)

    async def database():
        return "real"

    async def repository(database: Annotated[str, Depends(database)]):
        return f"repository of {database}"

    @app.get("/")
    async def view(repository: Annotated[str, Depends(repository)]):
        return repository

    def fake(name: str = "fake"):
        return name

    async with Client(app) as client:
        assert (await client.get("/")).text == "repository of real"
        with app.override(database, fake):
            assert (await client.get("/")).text == "repository of fake"
            assert (await client.get("/?name=other")).text == "repository of other"
        assert (await client.get("/")).text == "repository of real"
        app.override(repository, lambda: "another")
        assert (await client.get("/")).text == "another"


async def test_overrides_of_one_dependency_end_in_any_order():
    app = App(__name__)

    def source():
        return "real"

    @app.get("/")
    async def view(source: Annotated[str, Depends(source)]):
        return source

    first, second = app.override(source, lambda: "first"), app.override(source, lambda: "second")
    async with Client(app) as client:
        first.undo()
        assert (await client.get("/")).text == "second"
        second.undo()
        second.undo()
        assert (await client.get("/")).text == "real"


async def test_an_override_reaches_hooks_handlers_and_guards():
    app = App(__name__)

    async def user():
        abort(401)

    @app.before_request
    async def hook(user: Annotated[str, Depends(user)]):
        pass

    @app.errorhandler(404)
    async def missing(error, user: Annotated[str, Depends(user)]):
        return f"missing, {user}", 404

    @app.get("/", dependencies=[Depends(user)])
    async def view():
        return "ok"

    assert (await get(app)).status_code == 401
    with app.override(user, lambda: "ada"):
        assert (await get(app)).text == "ok"
        assert (await get(app, "/nowhere")).text == "missing, ada"


# What cannot be --------------------------------------------------------------------------------------


def test_a_circle_is_an_error_that_names_it():
    async def first(value: "Annotated[int, Depends(second)]"): ...

    async def second(value: Annotated[int, Depends(first)]): ...

    first.__annotations__["value"] = Annotated[int, Depends(second)]

    with pytest.raises(SetupError, match=r"circle: .*first -> .*second -> .*first"):
        make_plan(first, what="view")


def test_what_is_no_function_cannot_be_depended_on():
    async def view(value: Annotated[int, Depends(5)]): ...

    with pytest.raises(SetupError, match="5, which is no function"):
        make_plan(view, what="view")


def test_a_parameter_of_a_dependency_that_nothing_fills_is_an_error_that_names_it():
    async def dependency(unknown): ...

    async def view(value: Annotated[int, Depends(dependency)]): ...

    with pytest.raises(SetupError, match=r"dependency of view .*dependency has a parameter 'unknown'.*test_resolving"):
        make_plan(view, what="view")


def test_a_dependency_without_a_signature_takes_nothing():
    async def view(value: Annotated[dict, Depends(dict)]): ...

    make_plan(view, what="view")


# Websockets ------------------------------------------------------------------------------------------


async def test_websockets_have_parameters_and_dependencies(log):
    app = App(__name__)

    @app.websocket("/<room>")
    async def chat(room: str, websocket: WebSocket, value: Annotated[str, Depends(log.dependency)], n: int = 1):
        await websocket.accept()
        await websocket.send_json([room, value, n])
        log.append("view")

    async with Client(app) as client, client.websocket("/lobby?n=3") as socket:
        assert await socket.receive_json() == ["lobby", "value", 3]

    assert log == ["open", "view", "close"]


async def test_the_dependencies_of_a_router_guard_its_websockets_too(log):
    app, calls = App(__name__), []

    async def authenticate(x_token: Annotated[str, Header()] = ""):
        calls.append("authenticate")
        if x_token != "secret":
            abort(401)
        return "ada"

    router = Router("admin", __name__, prefix="/admin", dependencies=[Depends(authenticate)])

    @router.websocket("/ws", dependencies=[Depends(log.dependency)])
    async def chat(websocket: WebSocket, user: Annotated[str, Depends(authenticate)]):
        log.append("view")
        await websocket.accept()
        await websocket.send_text(user)

    app.mount("", router)

    async with Client(app) as client:
        assert await refusal(client, "/admin/ws") == 401
        async with client.websocket("/admin/ws", headers={"x-token": "secret"}) as socket:
            assert await socket.receive_text() == "ada"

    assert calls == ["authenticate", "authenticate"]
    assert log == ["open", "view", "close"]


async def test_the_dependencies_of_a_router_guard_websockets_of_what_is_mounted_below_it():
    inner = App("inner")

    @inner.websocket("/ws")
    async def chat(websocket: WebSocket):
        await websocket.accept()
        await websocket.send_text("inside")

    app = guarded_mount(inner)

    async with Client(app) as client:
        assert await refusal(client, "/ada/inner/ws") == 401
        async with client.websocket("/ada/inner/ws", headers={"x-token": "ada's"}) as socket:
            assert await socket.receive_text() == "inside"


async def test_a_guard_that_reads_a_body_lets_no_websocket_into_what_is_mounted():
    app, inner = App(__name__), App("inner")

    @inner.websocket("/ws")
    async def chat(websocket: WebSocket):
        await websocket.accept()

    async def check(token: Annotated[str, Form()] = ""):
        return token

    router = Router("admin", __name__, dependencies=[Depends(check)])
    router.mount("/inner", inner)
    app.mount("", router)

    async with Client(app) as client:
        assert await refusal(client, "/inner/ws") == 404


async def test_an_error_of_a_websocket_is_raised_at_the_yield_of_what_its_hooks_depend_on(log, caplog):
    app = App(__name__)

    @app.before_websocket
    async def check(value: Annotated[str, Depends(log.dependency)]):
        log.append("hook")

    @app.websocket("/")
    async def fail(websocket: WebSocket, value: Annotated[str, Depends(log.dependency)]):
        raise ValueError("the view's own")

    async with Client(app, raise_errors=False) as client:
        assert await refusal(client, "/") == 500

    assert log == ["open", "hook", "ValueError", "close"]


async def test_an_override_reaches_websockets():
    app = App(__name__)

    async def database():
        return "real"

    @app.websocket("/")
    async def view(websocket: WebSocket, name: Annotated[str, Depends(database)]):
        await websocket.accept()
        await websocket.send_text(name)

    async def ask(client):
        async with client.websocket("/") as socket:
            return await socket.receive_text()

    async with Client(app) as client:
        with app.override(database, lambda: "fake"):
            assert await ask(client) == "fake"
        assert await ask(client) == "real"


def test_the_dependencies_of_a_websocket_cannot_take_a_body():
    app = App(__name__)

    async def read(order: Annotated[dict, Body()]):
        return order

    @app.websocket("/", dependencies=[Depends(read)])
    async def view(websocket: WebSocket):
        await websocket.accept()

    with pytest.raises(SetupError, match="a websocket has none"):
        app._compose()


@pytest.mark.parametrize("decorate", [contextlib.contextmanager, contextlib.asynccontextmanager])
async def test_a_dependency_that_is_a_context_manager_is_refused(decorate):
    app = App(__name__)

    @decorate
    def connect():
        yield 1

    @app.get("/")
    async def view(connection: Annotated[int, Depends(connect)]):
        return "view"

    with pytest.raises(SetupError, match=r"'connection' depends on .*connect, .* context manager.*test_resolving.py"):
        async with Client(app):
            pass


async def test_a_dependency_may_be_decorated_by_a_context_manager():
    app, told = App(__name__), []

    @contextlib.contextmanager
    def timed():
        yield told.append("timed")

    @timed()
    def find_limit():
        return 5

    @app.get("/")
    async def view(limit: Annotated[int, Depends(find_limit)]):
        return f"limit {limit}"

    async with Client(app) as client:
        assert (await client.get("/")).text == "limit 5"
    assert told == ["timed"]


@pytest.mark.parametrize("times", [0, 2])
async def test_a_dependency_that_does_not_yield_once_is_named(times):
    app = App(__name__)

    def connect():
        yield from range(times)

    @app.get("/")
    async def view(connection: Annotated[int, Depends(connect)]):
        return "view"

    with pytest.raises(RuntimeError, match=r"^the dependency tests.*connect (never yielded|yielded twice) \("):
        async with Client(app) as client:
            await client.get("/")


async def test_an_override_while_the_app_serves_composes_only_the_routes_that_are_asked_for():
    app = App(__name__)

    async def find_user():
        return "ada"

    async def ask_for_what_nobody_has(nothing):
        raise AssertionError

    @app.get("/me")
    async def me(user: Annotated[str, Depends(find_user)]):
        return user

    @app.get("/health")
    async def health():
        return "well"

    async with Client(app) as client:
        with app.override(find_user, ask_for_what_nobody_has):
            assert (await client.get("/health")).text == "well"
            with pytest.raises(SetupError, match="'nothing' that nothing provides"):
                await client.get("/me")
        assert (await client.get("/me")).text == "ada"


async def test_a_mistake_in_what_a_lifespan_overrides_stops_the_start():
    app = App(__name__)

    def find_user():
        return "ada"

    def ask_for_what_nobody_has(unknown):
        return "grace"

    @app.lifespan
    async def replace_users(app):
        app.override(find_user, ask_for_what_nobody_has)
        yield

    @app.get("/")
    async def show(user: Annotated[str, Depends(find_user)]):
        return user

    with pytest.raises(SetupError, match="ask_for_what_nobody_has has a parameter 'unknown'"):
        async with Client(app):
            pass


async def test_all_that_can_be_asked_for_is_there_after_an_override():
    app, api, inner = App(__name__), Router("api", __name__, prefix="/api"), App("inner")

    async def find_user():
        return "ada"

    @app.middleware
    async def mark(request, call_next):
        response = await call_next(request)
        response.headers["x-marked"] = "yes"
        return response

    @api.get("/me")
    async def me(user: Annotated[str, Depends(find_user)]):
        return user

    @api.websocket("/ws")
    async def talk(websocket: WebSocket, user: Annotated[str, Depends(find_user)]):
        await websocket.accept()
        await websocket.send_text(user)

    @inner.get("/")
    async def home(user: Annotated[str, Depends(find_user)]):
        return f"inner {user}"

    app.mount("", api)
    app.mount("/inner", inner)

    async with Client(app) as client:
        with app.override(find_user, lambda: "grace"), inner.override(find_user, lambda: "joan"):
            assert (await client.get("/api/me")).text == "grace"
            assert (await client.get("/inner/")).text == "inner joan"
            async with client.websocket("/api/ws") as websocket:
                assert await websocket.receive_text() == "grace"
            misses = [
                await client.request(*line) for line in (("GET", "/api/x"), ("PUT", "/api/me"), ("OPTIONS", "/api/me"))
            ]
            assert [answer.status_code for answer in misses] == [404, 405, 200]
            assert {answer.headers["x-marked"] for answer in misses} == {"yes"}
            assert app.explain("GET", "/api/me").endpoint == "api.me"
            with app.test_request_context("/api/me"):
                assert request.endpoint == "api.me"
