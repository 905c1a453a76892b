"""Views that are cancelled when their client leaves: for whom it holds, and in which task."""

import asyncio
import gc
import logging
import weakref
from contextlib import suppress

import anyio
import pytest

from microweb import App, ClientDisconnect, EventStream, StreamingResponse
from microweb.middleware import Timeout
from microweb.watcher import Interruption

pytestmark = pytest.mark.anyio

SCOPE = {"type": "http", "method": "GET", "query_string": b"", "headers": []}


async def leave_early(app, path):
    """Ask, and leave at once."""

    async def receive():
        await anyio.lowlevel.checkpoint()
        return {"type": "http.disconnect"}

    async def send(message):
        await anyio.lowlevel.checkpoint()

    with anyio.fail_after(10):
        await app({**SCOPE, "path": path}, receive, send)


def make_app(**config):
    app, ends = App(__name__, config=config), []

    async def view():
        try:
            for _ in range(50):
                await anyio.lowlevel.checkpoint()
            ends.append("finished")
        except BaseException:
            ends.append("cancelled")
            raise

    app.add_route("/plain", view)
    app.add_route("/cancelled", view, cancel_on_disconnect=True)
    app.add_route("/kept", view, cancel_on_disconnect=False)
    return app, ends


@pytest.mark.parametrize(("path", "end"), [("/plain", "finished"), ("/cancelled", "cancelled"), ("/kept", "finished")])
async def test_a_view_goes_on_unless_its_route_says_otherwise(path, end):
    app, ends = make_app()

    await leave_early(app, path)

    assert ends == [end]


@pytest.mark.parametrize(("path", "end"), [("/plain", "cancelled"), ("/cancelled", "cancelled"), ("/kept", "finished")])
async def test_the_config_cancels_every_view_but_those_whose_route_says_otherwise(path, end):
    app, ends = make_app(CANCEL_ON_DISCONNECT=True)

    await leave_early(app, path)

    assert ends == [end]


async def test_a_view_is_cancelled_in_the_task_that_the_server_made():
    app, tasks = App(__name__), []

    @app.get("/", cancel_on_disconnect=True)
    async def view():
        try:
            await anyio.sleep_forever()
        finally:
            tasks.append(anyio.get_current_task().id)

    await leave_early(app, "/")

    assert tasks == [anyio.get_current_task().id]


async def test_the_teardown_of_a_view_that_was_cancelled_is_told_so():
    app, seen = App(__name__), []

    @app.teardown_request
    async def commit_or_not(error):
        seen.append(type(error))

    @app.get("/", cancel_on_disconnect=True)
    async def view():
        await anyio.sleep_forever()

    await leave_early(app, "/")

    assert seen == [ClientDisconnect]


@pytest.mark.parametrize("errors", ["own", "bubble"])
@pytest.mark.parametrize("is_layer", [True, False])
async def test_the_teardown_of_a_view_that_took_too_long_is_told_so(is_layer, errors):
    app, inner, seen = App(__name__), App("inner"), []

    @inner.teardown_request
    async def commit_or_not(error):
        seen.append(error is None)

    @inner.get("/", timeout=None if is_layer else 0.01)
    async def view():
        await anyio.sleep_forever()

    if is_layer:
        inner.add_middleware(Timeout(0.01))
    app.mount("/inner", inner, errors=errors)
    async with app.test_client() as client:
        assert (await client.get("/inner/")).status_code == 504

    assert seen == [False]


async def post(app, path, pieces, *, leaves=True):
    """Send a body in pieces, then leave or stay; what is sent to the client meanwhile is thrown away."""
    coming = iter(pieces)

    async def receive():
        await anyio.lowlevel.checkpoint()
        piece = next(coming, None)
        if piece is not None:
            return {"type": "http.request", **piece}
        if not leaves:
            await anyio.sleep_forever()
        return {"type": "http.disconnect"}

    async def throw_away(message):
        pass

    with anyio.fail_after(10):
        await app({**SCOPE, "method": "POST", "path": path}, receive, throw_away)


SHORT = [{"body": b"{}", "more_body": True}, {"body": b"", "more_body": False}]
LONG = [{"body": b"x" * 10_000, "more_body": True}] * 20


@pytest.mark.parametrize("pieces", [SHORT, LONG[:3]], ids=["whole", "cut off"])
async def test_a_view_that_reads_no_body_is_cancelled_in_whatever_pieces_the_body_came(pieces):
    app, ends = App(__name__), []

    @app.post("/", cancel_on_disconnect=True)
    async def view():
        try:
            await anyio.sleep_forever()
        finally:
            ends.append("cancelled")

    await post(app, "/", pieces)

    assert ends == ["cancelled"]


@pytest.mark.parametrize("pieces", [SHORT, LONG], ids=["short", "long"])
async def test_a_stream_whose_view_reads_no_body_ends_when_its_client_has_left(pieces, caplog):
    app, ends = App(__name__, config={"BODY_TIMEOUT": 0.01}), []

    @app.post("/")
    async def view():
        async def items():
            try:
                yield "first"
                await anyio.sleep_forever()
            finally:
                ends.append("closed")

        return EventStream(items())

    await post(app, "/", pieces)

    assert ends == ["closed"]
    assert caplog.records == []


async def test_a_stream_may_read_the_body_late_and_loses_nothing_of_it():
    app, sizes = App(__name__), []

    @app.post("/")
    async def view(request):
        async def items():
            yield "begun"
            for _ in range(100):
                await anyio.lowlevel.checkpoint()
            sizes.append(len(await request.body()))
            yield "done"

        return EventStream(items())

    await post(app, "/", [*LONG, {"body": b"end"}])

    assert sizes == [200_003]


async def test_a_body_that_was_let_go_is_not_presented_as_complete(caplog):
    app, errors = App(__name__, config={"BODY_TIMEOUT": 0.01}), []

    @app.post("/")
    async def view(request):
        async def items():
            yield "begun"
            await anyio.sleep(0.1)  # works for longer than a body may stand still
            try:
                await request.body()
            except RuntimeError as error:
                errors.append(str(error))

        return EventStream(items())

    await post(app, "/", [*LONG, *LONG], leaves=False)

    assert len(errors) == 1
    assert "let go" in errors[0]


@pytest.mark.parametrize("wrap", [EventStream, lambda items: items, None], ids=["events", "stream", "view"])
async def test_a_stream_that_never_waits_ends_when_its_client_has_left(wrap, caplog):
    app, ends = App(__name__), []

    async def items():
        try:
            while True:
                yield "more"
        finally:
            ends.append("closed")

    async def view():
        return wrap(items())

    app.add_route("/", items if wrap is None else view, methods=["POST"])

    await post(app, "/", SHORT)

    assert ends == ["closed"]
    assert caplog.records == []


@pytest.mark.parametrize("wrap", [StreamingResponse, EventStream, None])
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_stream_that_was_cancelled_is_gone_without_the_collector(wrap):
    app, requests, waits = App(__name__), weakref.WeakSet(), asyncio.Event()

    async def pieces(request):
        requests.add(request)
        yield "piece"
        waits.set()
        await anyio.sleep_forever()

    async def stream(request):
        return wrap(pieces(request))

    app.add_route("/", pieces if wrap is None else stream)

    async def send(message):
        pass

    gc.disable()
    try:
        task = asyncio.create_task(app({**SCOPE, "path": "/"}, anyio.sleep_forever, send))
        await waits.wait()
        task.cancel()
        await asyncio.wait([task])  # As a server does, which does not ask for its result.
        del task
        await asyncio.sleep(0)

        assert not [*requests]
    finally:
        gc.enable()


@pytest.mark.parametrize("version", ["2.3", "2.4"])
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_error_of_a_task_that_a_stream_waits_for_is_gone_without_the_collector(version, caplog):
    app, requests = App(__name__), weakref.WeakSet()

    async def fail():
        raise LookupError

    @app.get("/")
    async def stream(request):
        requests.add(request)
        yield await asyncio.create_task(fail())

    caplog.set_level(logging.CRITICAL)  # It would keep the error.

    async def send(message): ...

    gc.disable()
    try:
        with suppress(LookupError):
            await app({**SCOPE, "path": "/", "asgi": {"spec_version": version}}, anyio.sleep_forever, send)
        await asyncio.sleep(0)

        assert not [*requests]
    finally:
        gc.enable()


@pytest.mark.parametrize("wrap", [StreamingResponse, EventStream])
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_task_that_is_cancelled_in_the_turn_in_which_its_client_leaves_is_cancelled(wrap):
    app, waits, leaves = App(__name__), asyncio.Event(), asyncio.Event()

    @app.get("/")
    async def stream():
        async def pieces():
            yield "piece"
            waits.set()
            await anyio.sleep_forever()

        return wrap(pieces())

    async def receive():
        await leaves.wait()
        task.cancel()
        return {"type": "http.disconnect"}

    async def send(message):
        pass

    task = asyncio.create_task(app({**SCOPE, "path": "/"}, receive, send))
    await waits.wait()
    leaves.set()

    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("wrap", [StreamingResponse, EventStream])
@pytest.mark.parametrize("how", ["lets it pass", "swallows it", "takes it back"])
@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_cancellation_of_a_body_is_none_for_who_comes_after_it(wrap, how, before):
    app, leaves, counts = App(__name__), asyncio.Event(), []

    @app.get("/")
    async def stream():
        async def pieces():
            yield "piece"
            leaves.set()
            try:
                await anyio.sleep_forever()
            except asyncio.CancelledError:
                if how == "lets it pass":
                    raise
                if how == "takes it back":
                    asyncio.current_task().uncancel()

        return wrap(pieces())

    @app.teardown_request
    async def teardown(error):
        counts.append(asyncio.current_task().cancelling())

    async def receive():
        await leaves.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        pass

    async def serve():
        for _ in range(before):
            asyncio.current_task().cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
        await app({**SCOPE, "path": "/"}, receive, send)

    await asyncio.create_task(serve())

    assert counts == [before]


@pytest.mark.parametrize("wrap", [StreamingResponse, EventStream])
async def test_a_scope_that_is_cancelled_in_the_turn_in_which_its_client_leaves_knows_its_cancellation(wrap):
    app, waits, leaves = App(__name__), anyio.Event(), anyio.Event()

    @app.get("/")
    async def stream():
        async def pieces():
            yield "piece"
            waits.set()
            await anyio.sleep_forever()

        return wrap(pieces())

    async def receive():
        await leaves.wait()
        scope.cancel()
        return {"type": "http.disconnect"}

    async def send(message):
        pass

    async def serve():
        with scope:
            await app({**SCOPE, "path": "/"}, receive, send)

    scope = anyio.CancelScope()
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve)
            await waits.wait()
            leaves.set()

    assert scope.cancelled_caught


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_two_interruptions_of_one_task_are_one_cancellation():
    interruption = Interruption(asyncio.get_running_loop())

    interruption.interrupt()
    interruption.interrupt()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(0)

    assert await interruption.claim()
    assert asyncio.current_task().cancelling() == 0


async def test_a_view_that_may_be_cancelled_can_read_its_body_late():
    app, sizes = App(__name__, config={"BODY_TIMEOUT": 0.01}), []

    @app.post("/", cancel_on_disconnect=True)
    async def view(request):
        await anyio.sleep(0.1)  # works for longer than a body may stand still
        sizes.append(len(await request.body()))
        return "read"

    await post(app, "/", [*LONG, {"body": b"end"}])

    assert sizes == [200_003]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_what_fails_while_a_client_is_watched_is_gone_without_the_collector(caplog):
    app, requests = App(__name__), weakref.WeakSet()
    caplog.set_level(logging.CRITICAL)  # It would keep the error.

    @app.get("/", cancel_on_disconnect=True)
    async def view(request):
        requests.add(request)
        await anyio.Event().wait()

    async def receive():
        raise LookupError

    async def send(message): ...

    gc.disable()
    try:
        await app({**SCOPE, "path": "/"}, receive, send)
        await asyncio.sleep(0)

        assert not [*requests]
    finally:
        gc.enable()


@pytest.mark.parametrize("wrap", [StreamingResponse, EventStream])
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_cancellation_by_the_server_that_a_body_swallows_is_not_taken_back(wrap):
    app, waits, counts = App(__name__), asyncio.Event(), []

    @app.get("/")
    async def stream():
        async def pieces():
            yield "piece"
            waits.set()
            with suppress(asyncio.CancelledError):
                await anyio.sleep_forever()

        return wrap(pieces())

    @app.teardown_request
    async def teardown(error):
        counts.append(asyncio.current_task().cancelling())

    async def send(message):
        pass

    task = asyncio.create_task(app({**SCOPE, "path": "/"}, anyio.sleep_forever, send))
    await waits.wait()
    task.cancel()
    await task

    assert counts == [1]


@pytest.mark.parametrize("is_layer", [False, True])
async def test_a_request_with_a_time_limit_is_gone_without_the_collector(is_layer):
    app, requests = App(__name__), weakref.WeakSet()

    @app.get("/", timeout=None if is_layer else 60, middleware=[Timeout(60)] if is_layer else [])
    async def view(request):
        requests.add(request)
        await anyio.lowlevel.checkpoint()
        return "in time"

    async def send(message): ...

    gc.disable()
    try:
        await app({**SCOPE, "path": "/"}, anyio.sleep_forever, send)

        assert not [*requests]
    finally:
        gc.enable()


async def test_a_view_that_took_too_long_is_answered_with_the_time_of_its_route():
    app = App(__name__)

    @app.get("/", timeout=0.01)
    async def view():
        await anyio.sleep_forever()

    async with app.test_client() as client:
        response = await client.get("/", headers={"accept": "application/json"})

    assert (response.status_code, response.json()["detail"]) == (504, "No answer within 0.01 seconds.")


async def test_a_view_that_has_read_some_of_a_long_body_is_cancelled_when_its_client_leaves():
    app, ends = App(__name__), []

    @app.post("/", cancel_on_disconnect=True)
    async def view(request):
        await anyio.wait_all_tasks_blocked()  # Until as much is kept as there is room for.
        chunks = request.stream()
        try:
            for _ in range(3):
                await anext(chunks)
            await anyio.sleep_forever()
        finally:
            ends.append("cancelled")
            await chunks.aclose()

    await post(app, "/", LONG[:9])

    assert ends == ["cancelled"]


async def test_a_body_that_is_read_after_its_client_has_left_is_a_disconnect():
    app, seen = App(__name__), []
    messages = [{"type": "http.disconnect"}]

    @app.post("/")
    async def view(request):
        while not await request.is_disconnected():
            await anyio.lowlevel.checkpoint()
        with pytest.raises(ClientDisconnect):
            await request.body()
        seen.append("told")

    async def receive():
        if not messages:
            await anyio.sleep_forever()
        return messages.pop()

    async def send(message): ...

    with anyio.fail_after(10):
        await app({**SCOPE, "method": "POST", "path": "/"}, receive, send)

    assert seen == ["told"]


async def test_a_server_that_says_the_end_of_the_body_for_ever_is_asked_no_more():
    app, asked = App(__name__), []

    @app.get("/")
    async def view():
        async def items():
            yield "first"
            for _ in range(100):
                await anyio.lowlevel.checkpoint()

        return EventStream(items())

    async def receive():
        asked.append(True)
        assert len(asked) < 10
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message): ...

    with anyio.fail_after(10):
        await app({**SCOPE, "path": "/"}, receive, send)

    assert len(asked) == 2


async def test_who_asks_for_the_client_is_told_what_the_server_raises():
    app, seen = App(__name__), []

    @app.get("/")
    async def view(request):
        with pytest.raises(LookupError):
            while not await request.is_disconnected():
                await anyio.lowlevel.checkpoint()
        seen.append("told")

    async def receive():
        raise LookupError

    async def send(message): ...

    with anyio.fail_after(10):
        await app({**SCOPE, "path": "/"}, receive, send)

    assert seen == ["told"]
