"""Server-sent events: their format, pings, and every way that a stream of them ends."""

import asyncio
import gc
import time
import weakref
from contextlib import suppress
from contextvars import ContextVar

import anyio
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from microweb import App, Event, EventStream
from microweb.pulse import FAREWELL
from microweb.testing import Client

pytestmark = pytest.mark.anyio


def parse(stream):
    """The events of a stream, read as the HTML standard §9.2.6 says."""
    events, data, name, identity = [], [], "", None
    for line in stream.replace("\r\n", "\n").replace("\r", "\n").split("\n")[:-1]:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if line == "":
            if data:
                events.append(("\n".join(data), name, identity))
            data, name = [], ""
        elif field == "data":
            data.append(value)
        elif field == "event":
            name = value
        elif field == "id":
            identity = value
    return events


# The format -----------------------------------------------------------------------------------------


@given(st.text(), st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), min_size=1))
@example("one\r\ntwo\rthree\n\nfour\r\n", "x")
@example("half of a pair: \ud800", "x")
def test_every_text_is_one_event_of_the_same_lines(text, name):
    encoded = Event(text, event=name, id=name).encode().decode()

    expected = text.encode("utf-8", "replace").decode().replace("\r\n", "\n").replace("\r", "\n")
    assert parse(encoded) == [(expected, name, name)]


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\0b", "\n"])
@pytest.mark.parametrize("field", ["event", "id"])
def test_no_line_gets_in_through_a_name_or_an_id(field, text):
    with pytest.raises(ValueError, match=field):
        Event("x", **{field: text})


@pytest.mark.parametrize("retry", [-1, "1", 1.5])
def test_a_retry_is_milliseconds(retry):
    with pytest.raises(ValueError, match="retry"):
        Event("x", retry=retry)


def test_an_event_has_a_name_that_is_text():
    with pytest.raises(TypeError, match="not 3"):
        Event("x", event=3)


def test_all_fields_are_written():
    event = Event({"a": [1]}, event="news", id=3, retry=500)

    assert event.encode() == b'id: 3\nevent: news\nretry: 500\ndata: {"a":[1]}\n\n'


def test_a_browser_may_be_told_to_come_again_at_once():
    assert Event("x", retry=0).encode() == b"retry: 0\ndata: x\n\n"


@pytest.mark.parametrize("ping", [0, -1, float("nan"), None, "15"])
def test_a_ping_needs_some_time(ping):
    with pytest.raises(ValueError, match="ping"):
        EventStream([], ping=ping)


# The stream -----------------------------------------------------------------------------------------


async def fetch(make, **options):
    app = App(__name__)

    @app.get("/")
    async def view():
        return EventStream(make(), **options)

    async with Client(app) as client:
        return await client.get("/")


async def test_items_of_every_kind_are_events():
    async def items():
        yield "text"
        yield {"a": 1}
        yield [2]
        yield Event("x", event="e")

    response = await fetch(items, headers={"x-own": "1"})

    assert parse(response.text) == [("text", "", None), ('{"a":1}', "", None), ("[2]", "", None), ("x", "e", None)]
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache, no-transform"
    assert response.headers["x-accel-buffering"] == "no"
    assert response.headers["x-own"] == "1"


async def test_bytes_are_an_item_like_any_other():
    # SECURITY: as they are they would be lines of the stream, which whoever wrote them chooses.
    async def items():
        yield b"x\n\nevent: admin\ndata: y\n\n"
        yield bytearray(b"x")

    events = parse((await fetch(items)).text)

    assert events == [('"eAoKZXZlbnQ6IGFkbWluCmRhdGE6IHkKCg=="', "", None), ('"eA=="', "", None)]


async def test_a_layer_may_wrap_the_events_in_bytes_of_its_own():
    app = App(__name__)

    @app.middleware
    async def shout(request, call_next):
        response = await call_next(request)
        inner = response.iterable

        async def louder():
            async for item in inner:
                yield response.encode(item).upper()

        response.iterable = louder()
        return response

    @app.get("/")
    async def view():
        async def items():
            yield "a"

        return EventStream(items())

    async with Client(app) as client:
        assert (await client.get("/")).text == "DATA: A\n\n"


async def test_a_plain_generator_works_too():
    def items():
        yield "one"
        yield "two"

    assert [data for data, _, _ in parse((await fetch(items)).text)] == ["one", "two"]


async def test_pings_are_sent_while_nothing_happens():
    app, ping_seen = App(__name__), anyio.Event()

    @app.get("/")
    async def view():
        async def items():
            yield "first"
            await ping_seen.wait()
            yield "last"

        return EventStream(items(), ping=0.01)

    async with Client(app) as client, client.stream("GET", "/") as response:
        text = ""
        async for chunk in response.aiter_text():
            text += chunk
            if text.count(": ping\n\n") == 3:
                ping_seen.set()

    assert [data for data, _, _ in parse(text)] == ["first", "last"]


async def test_a_client_that_leaves_while_nothing_happens_is_noticed(caplog):
    app, closed = App(__name__), anyio.Event()

    @app.get("/")
    async def view():
        async def items():
            try:
                yield "first"
                await anyio.sleep_forever()
            finally:
                closed.set()

        return EventStream(items())

    async with Client(app) as client:
        async with client.stream("GET", "/") as response:
            async for _ in response.aiter_text():
                break
        with anyio.fail_after(10):
            await closed.wait()
    assert caplog.records == []


async def test_a_shutdown_ends_the_stream_cleanly_and_closes_the_generator():
    app, closed = App(__name__), []

    @app.get("/")
    async def view():
        async def items():
            try:
                yield "first"
                await anyio.sleep_forever()
            finally:
                closed.append(True)

        return EventStream(items())

    text = ""
    async with Client(app) as client, client.stream("GET", "/") as response:
        async for chunk in response.aiter_text():
            text += chunk
            app.shutting_down.set()

    assert parse(text) == [("first", "", None)]
    assert closed == [True]


async def test_a_generator_may_say_goodbye_at_the_shutdown():
    app = App(__name__)

    @app.get("/")
    async def view():
        async def items():
            yield "first"
            await app.shutting_down.wait()
            yield "goodbye"

        return EventStream(items())

    text = ""
    async with Client(app) as client, client.stream("GET", "/") as response:
        async for chunk in response.aiter_text():
            text += chunk
            app.shutting_down.set()

    assert [data for data, _, _ in parse(text)] == ["first", "goodbye"]


def test_a_goodbye_is_sent_also_by_a_loop_that_stood_still_for_that_moment():
    uvloop = pytest.importorskip("uvloop")
    app = App(__name__)

    @app.get("/")
    async def view():
        async def items():
            yield "first"
            await app.shutting_down.wait()
            yield "goodbye"

        return EventStream(items())

    async def read():
        text = ""
        async with Client(app) as client, client.stream("GET", "/") as response:
            async for chunk in response.aiter_text():
                text += chunk
                if not app.shutting_down.is_set():
                    await anyio.wait_all_tasks_blocked()
                    app.shutting_down.set()
                    asyncio.get_running_loop().call_soon(time.sleep, 2 * FAREWELL)
        return text

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert parse(runner.run(read()))[-1] == ("goodbye", "", None)


async def test_an_error_in_the_generator_is_logged_once_and_breaks_the_stream(caplog):
    async def items():
        yield "first"
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await fetch(items)

    assert [record.getMessage() for record in caplog.records] == ["unhandled error in GET /"]


async def test_the_server_says_that_the_client_left_while_a_ping_is_sent(caplog):
    app, closed = App(__name__), []

    @app.get("/")
    async def view():
        async def items():
            try:
                await anyio.sleep(0.05)
                yield "late"
            finally:
                closed.append(True)

        return EventStream(items(), ping=0.01)

    async def receive():
        await anyio.sleep_forever()

    async def send(message):
        if message["type"] == "http.response.body":
            raise OSError

    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
    await app({**scope, "asgi": {"version": "3.0", "spec_version": "2.4"}}, receive, send)

    assert closed == [True]
    assert caplog.records == []


@given(st.text() | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.integers()))
@example("one\r\ntwo")
@example("one\rtwo")
@example("half of a pair: \ud800")
def test_an_item_is_written_as_the_event_of_it(item):
    assert EventStream.encode(item) == Event(item).encode()


async def drive(items, send):
    """What a stream with quick pings does over a ``send`` of its own."""
    app = App(__name__)

    @app.get("/")
    async def view():
        return EventStream(items(), ping=0.01)

    async def receive():
        await anyio.sleep_forever()

    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
    with anyio.fail_after(10):
        await app({**scope, "asgi": {"version": "3.0", "spec_version": "2.4"}}, receive, send)


async def test_an_event_waits_for_a_ping_that_is_under_way():
    ping_begun, sent = anyio.Event(), []

    async def items():
        await ping_begun.wait()
        yield "late"

    async def send(message):
        if message.get("body") == b": ping\n\n":
            ping_begun.set()
            await anyio.wait_all_tasks_blocked()
        sent.append(message.get("body"))

    await drive(items, send)

    assert [body for body in sent[1:] if body] == [b": ping\n\n", b"data: late\n\n"]


async def test_a_ping_is_sent_in_the_context_of_the_request():
    tenant, seen, ping_sent = ContextVar("tenant"), [], anyio.Event()

    async def items():
        await ping_sent.wait()
        yield "late"

    async def send(message):
        seen.append(tenant.get(None))
        if message.get("body") == b": ping\n\n":
            ping_sent.set()

    tenant.set("ours")
    await drive(items, send)

    assert set(seen) == {"ours"}


async def test_a_ping_that_is_under_way_ends_with_the_stream(caplog):
    ping_begun, ping_ended = anyio.Event(), []

    async def items():
        yield "first"
        await ping_begun.wait()
        raise ValueError("broken")

    async def send(message):
        if message.get("body") == b": ping\n\n":
            ping_begun.set()
            try:
                await anyio.sleep_forever()
            finally:
                ping_ended.append(True)

    with pytest.raises(ValueError, match="broken"):
        await drive(items, send)

    assert ping_ended == [True]


async def test_a_ping_that_fails_ends_the_stream_with_its_error(caplog):
    closed = []

    async def items():
        try:
            yield "first"
            await anyio.sleep_forever()
        finally:
            closed.append(True)

    async def send(message):
        if message.get("body") == b": ping\n\n":
            raise LookupError("no line")

    with pytest.raises(LookupError, match="no line"):
        await drive(items, send)

    assert closed == [True]


async def test_a_client_that_is_too_slow_for_one_ping_gets_no_other_meanwhile():
    is_free, sent = anyio.Event(), []

    async def items():
        await is_free.wait()
        yield "late"
        await anyio.wait_all_tasks_blocked()
        yield "later"

    async def send(message):
        sent.append(message.get("body"))
        if sent[1:] == [b": ping\n\n"]:
            await anyio.sleep(0.2)  # twenty more would have been due
            is_free.set()

    await drive(items, send)

    assert sent.count(b": ping\n\n") < 5


async def test_a_client_that_takes_no_ping_keeps_no_stream_from_its_end_at_the_shutdown():
    app, pinging, closed = App(__name__), anyio.Event(), []

    @app.get("/")
    async def view():
        async def items():
            try:
                yield "first"
                await anyio.sleep_forever()
            finally:
                closed.append(True)

        return EventStream(items(), ping=0.01)

    async def receive():
        await anyio.sleep_forever()

    async def send(message):
        if message.get("body") == b": ping\n\n":
            pinging.set()
            await anyio.sleep_forever()

    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(app, {**scope, "asgi": {"version": "3.0", "spec_version": "2.4"}}, receive, send)
            await pinging.wait()
            app.shutting_down.set()

    assert closed == [True]


async def test_a_ping_that_the_server_refuses_is_not_tried_again_at_once():
    pings = []

    async def items():
        await anyio.sleep(0.1)  # ten pings are due
        yield "late"

    async def send(message):
        if message.get("body") == b": ping\n\n":
            pings.append(message)
            raise OSError

    await drive(items, send)

    assert 1 <= len(pings) <= 20


async def test_nothing_is_sent_behind_the_end_that_a_client_is_slow_to_take():
    ends = []

    async def items():
        yield "first"

    async def send(message):
        ends.append(message["type"] == "http.response.body" and not message.get("more_body", False))
        if ends[-1]:
            await anyio.sleep(0.1)  # ten pings would have been due

    await drive(items, send)

    assert ends.count(True) == 1
    assert ends[-1]


async def test_the_end_is_sent_once_also_when_the_app_shuts_down_meanwhile():
    app, ends = App(__name__), []

    @app.get("/")
    async def view():
        return EventStream(["first"])

    async def receive():
        await anyio.sleep_forever()

    async def send(message):
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            ends.append(message)
            app.shutting_down.set()
            await anyio.sleep(4 * FAREWELL)

    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
    await app({**scope, "asgi": {"version": "3.0", "spec_version": "2.4"}}, receive, send)

    assert len(ends) == 1


async def test_a_shutdown_that_begins_as_a_stream_ends_finds_it_ended(caplog):
    app, seen = App(__name__), []

    @app.get("/")
    async def view():
        async def items():
            yield "first"
            app.shutting_down.set()

        return EventStream(items())

    @app.teardown_request
    async def teardown(error):
        await anyio.sleep(2 * FAREWELL)  # The farewell would have cancelled it by now.
        seen.append(error)

    async with Client(app) as client:
        assert (await client.get("/")).text == "data: first\n\n"

    assert seen == [None]
    assert caplog.records == []


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_nothing_holds_a_stream_that_was_ended_by_the_shutdown():
    app, requests, begun = App(__name__), weakref.WeakSet(), anyio.Event()

    @app.get("/")
    async def view(request):
        requests.add(request)

        async def items():
            yield "first"
            begun.set()
            await anyio.Event().wait()

        return EventStream(items(), ping=2 * FAREWELL)

    async def receive():
        await anyio.Event().wait()

    async def send(message): ...

    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
    task = asyncio.create_task(app({**scope, "asgi": {"version": "3.0", "spec_version": "2.4"}}, receive, send))
    await begun.wait()
    app.shutting_down.set()
    await task
    await asyncio.sleep(2 * FAREWELL)  # Its next ping would have been due.
    gc.collect()

    assert not [*requests]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_stream_that_has_ended_is_not_kept_by_the_timer_of_its_next_ping():
    app, requests = App(__name__), weakref.WeakSet()

    @app.get("/")
    async def view(request):
        requests.add(request)

        async def items():
            yield "first"

        return EventStream(items(), ping=60)

    async def receive():
        await anyio.Event().wait()

    async def send(message): ...

    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
    # A timer in front of it, which goes on: asyncio forgets cancelled ones at the head of its queue.
    other = asyncio.get_running_loop().call_later(30, print)
    await asyncio.create_task(app({**scope, "asgi": {"version": "3.0", "spec_version": "2.4"}}, receive, send))
    gc.collect()
    left = [*requests]
    other.cancel()

    assert left == []


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_cancellation_at_the_shutdown_is_none_for_who_comes_after_the_stream():
    app, counts = App(__name__), []

    @app.get("/")
    async def view():
        async def items():
            yield "first"
            app.shutting_down.set()
            with suppress(asyncio.CancelledError):
                await anyio.Event().wait()

        return EventStream(items())

    @app.teardown_request
    async def teardown(error):
        counts.append(asyncio.current_task().cancelling())

    async with Client(app) as client:
        assert (await client.get("/")).text == "data: first\n\n"

    assert counts == [0]


@pytest.mark.parametrize("is_told", [False, True])
async def test_nothing_more_is_sent_to_a_client_that_left_whoever_says_so(is_told):
    app, sent = App(__name__), []
    messages = [{"type": "http.request", "body": b"half", "more_body": True}]

    @app.post("/")
    async def view(request):
        async def items():
            yield "first"
            await request.body() if is_told else await anyio.lowlevel.checkpoint()
            yield "second"

        return EventStream(items())

    async def receive():
        if is_told:
            return messages.pop() if messages else {"type": "http.disconnect"}
        await anyio.sleep_forever()

    async def send(message):
        sent.append(message.get("body"))
        if not is_told and message["type"] == "http.response.body":
            raise OSError("gone")

    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": []}
    await app({**scope, "asgi": {"version": "3.0", "spec_version": "2.4"}}, receive, send)

    assert sent == [None, b"data: first\n\n"]


async def test_no_pings_are_sent_while_something_happens():
    async def items():
        for number in range(12):
            await anyio.sleep(0.1)
            yield str(number)

    response = await fetch(items, ping=1.0)

    assert ": ping" not in response.text
