"""Unmodified WSGI apps under a prefix."""

import gc
import json
import subprocess
import sys
import threading
import weakref
from contextlib import suppress

import anyio
import pytest

from microweb import App, ClientDisconnect, SetupError
from microweb.testing import Client
from microweb.wsgi import WSGI

pytestmark = pytest.mark.anyio
flask = pytest.importorskip("flask")
werkzeug = pytest.importorskip("werkzeug")
pytest.importorskip("a2wsgi")


@pytest.fixture(params=["asyncio"])
def anyio_backend(request):
    """a2wsgi speaks asyncio only."""
    return request.param


def make_flask_app():
    app = flask.Flask("old")
    app.secret_key = "a key for this test only"

    @app.route("/hello/<name>", methods=["GET", "POST"])
    def hello(name):
        flask.session["visits"] = flask.session.get("visits", 0) + 1
        return {
            "name": name,
            "url": flask.url_for("hello", name=name),
            "form": flask.request.form.to_dict(),
            "visits": flask.session["visits"],
        }

    return app


async def test_an_unmodified_flask_app_runs_under_a_prefix():
    app = App(__name__)
    app.mount("/old", WSGI(make_flask_app()))

    async with Client(app) as client:
        await client.get("/old/hello/ada")
        answer = (await client.post("/old/hello/ada", data={"a": "1"})).json()

    assert answer == {"name": "ada", "url": "/old/hello/ada", "form": {"a": "1"}, "visits": 2}


async def test_a_header_with_underscores_is_dropped():
    def old(environ, start_response):
        start_response("200 OK", [("content-type", "text/plain")])
        return [environ.get("HTTP_X_REMOTE_USER", "nobody").encode()]

    app = App(__name__)
    app.mount("/old", WSGI(old))

    async with Client(app) as client:
        assert (await client.get("/old/", headers={"X_Remote_User": "admin"})).text == "nobody"
        assert (await client.get("/old/", headers={"X_Remote-User": "admin", "X-Remote-User": "ada"})).text == "ada"


async def test_our_routes_beside_it_and_its_own_404_work():
    app = App(__name__)

    @app.get("/new")
    async def new():
        return "new"

    app.mount("/old", WSGI(make_flask_app()))

    async with Client(app) as client:
        assert (await client.get("/new")).text == "new"
        assert "requested URL was not found" in (await client.get("/old/missing")).text


async def test_microweb_layers_see_its_answers():
    app = App(__name__)

    @app.middleware
    async def mark(request, call_next):
        response = await call_next(request)
        response.headers["x-marked"] = "1"
        return response

    app.mount("/old", WSGI(make_flask_app()))

    async with Client(app) as client:
        assert (await client.get("/old/hello/x")).headers["x-marked"] == "1"


def test_a_pool_without_threads_is_a_mistake_with_its_place():
    with pytest.raises(SetupError, match=r"workers=1 or more threads, not 0 \(.*test_wsgi.py"):
        WSGI(lambda environ, start_response: [], workers=0)


def make_flask_reader():
    app = flask.Flask("old")

    @app.route("/", methods=["GET", "POST"])
    def read():
        return {
            "body": flask.request.get_data(as_text=True),
            "name": flask.request.args.get("name"),
            "cookies": flask.request.cookies.to_dict(),
        }

    return app


async def test_a_body_without_a_length_arrives_whole():
    async def chunks():
        yield b"one, "
        yield b"two"

    app = App(__name__)
    app.mount("/old", WSGI(make_flask_reader()))

    async with Client(app) as client:
        assert (await client.post("/old/", content=chunks())).json()["body"] == "one, two"


@pytest.mark.parametrize(
    ("headers", "read"), [([], ClientDisconnect), ([(b"content-length", b"9")], werkzeug.exceptions.ClientDisconnected)]
)
async def test_a_body_that_the_client_cut_off_is_never_taken_for_a_whole_one(headers, read):
    seen = []
    old = flask.Flask("old")

    @old.post("/")
    def view():
        try:
            seen.append(flask.request.get_data())
        except Exception as error:
            seen.append(type(error))
        return ""

    messages = [{"type": "http.request", "body": b"half", "more_body": True}, {"type": "http.disconnect"}]

    async def receive():
        return messages.pop(0) if len(messages) > 1 else messages[0]

    async def send(message):
        pass

    await WSGI(old)(make_scope("POST", headers), receive, send)

    assert seen == [read]


async def test_a_query_of_bytes_beyond_ascii_and_split_cookies_are_read():
    sent = []
    scope = make_scope("GET", [(b"cookie", b"a=1"), (b"cookie", b"b=2")], query="name=é".encode())

    async def receive():
        return {"type": "http.request", "body": b""}

    async def send(message):
        sent.append(message)

    await WSGI(make_flask_reader())(scope, receive, send)

    answer = json.loads(b"".join(message.get("body", b"") for message in sent))
    assert (answer["name"], answer["cookies"]) == ("é", {"a": "1", "b": "2"})


@pytest.mark.parametrize("tells", ["send", "receive"])
async def test_an_endless_answer_ends_when_the_client_leaves(tells):
    closed, left = threading.Event(), anyio.Event()

    def old(environ, start_response):
        start_response("200 OK", [("content-type", "text/plain")])
        try:
            while True:
                yield b"x"
        finally:
            closed.set()

    async def receive():
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        if message.get("body"):
            left.set()
            if tells == "send":
                raise OSError("the client left")

    with anyio.fail_after(10), suppress(OSError):
        await WSGI(old, workers=1)(make_scope("GET", []), receive, send)

    assert closed.is_set()


async def test_the_thread_of_a_cancelled_request_ends_with_its_next_chunk():
    closed = threading.Event()

    def old(environ, start_response):
        start_response("200 OK", [("content-type", "text/plain")])
        try:
            while True:
                yield b"x"
        finally:
            closed.set()

    app = App(__name__)
    app.mount("/old", WSGI(old, workers=1))

    async with Client(app) as client:
        with anyio.move_on_after(0.2):
            await client.get("/old/")
        assert await anyio.to_thread.run_sync(closed.wait, 10)


async def test_a_thread_that_outlives_its_request_ends_before_the_lifespans_around_it(caplog):
    app, begun, closed, ends = App(__name__), threading.Event(), threading.Event(), []

    def old(environ, start_response):
        begun.set()
        while not app.shutting_down.is_set():
            closed.wait(0.001)
        ends.append("too late" if closed.wait(0.2) else "in time")
        start_response("200 OK", [("content-type", "text/plain")])
        return []

    @app.lifespan
    async def pool(app):
        yield
        closed.set()

    app.mount("", WSGI(old))
    async with Client(app), anyio.create_task_group() as tasks:
        tasks.start_soon(app, make_scope("GET", []), anyio.sleep_forever, print)
        await anyio.to_thread.run_sync(begun.wait)
        tasks.cancel_scope.cancel()

    assert ends == ["in time"]
    assert caplog.records == []


def test_a_thread_that_never_ends_does_not_keep_the_process():
    program = f"""if True:
        import asyncio, threading
        from microweb.wsgi import WSGI
        begun = threading.Event()
        def old(environ, start_response):
            begun.set()
            threading.Event().wait()
        async def main():
            request = asyncio.ensure_future(WSGI(old)({make_scope("GET", [])}, asyncio.Event().wait, print))
            await asyncio.to_thread(begun.wait)
            request.cancel()
        asyncio.run(main())
    """
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


async def test_no_more_threads_are_started_than_there_may_be_and_those_end_with_their_app():
    names, meeting = set(), threading.Barrier(2)

    def old(environ, start_response):
        meeting.wait(10)
        names.add(threading.current_thread())
        start_response("200 OK", [("content-type", "text/plain")])
        return [b"met"]

    app = App(__name__)
    app.mount("/old", WSGI(old, workers=2))
    async with Client(app) as client, anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(client.get, "/old/")
    del app, client, tasks

    assert len(names) == 2
    with anyio.fail_after(20):
        for thread in names:
            while thread.is_alive():
                gc.collect()  # A thread may have been busy, with a reference to the app, when its answer was there.
                await anyio.to_thread.run_sync(thread.join, 0.1)


@pytest.mark.parametrize("messages", [[b"a body"], [b"a ", b"body"]])
async def test_an_app_may_begin_its_answer_and_read_the_body_then(messages):
    sent, began = [], threading.Event()

    def old(environ, start_response):
        start_response("200 OK", [("content-type", "text/plain")])
        yield b"begun, "
        began.wait(10)
        yield environ["wsgi.input"].read()

    async def receive():
        if not messages:
            await anyio.sleep_forever()
        return {"type": "http.request", "body": messages.pop(0), "more_body": bool(messages)}

    async def send(message):
        sent.append(message.get("body", b""))
        if sent[-1]:
            await anyio.wait_all_tasks_blocked()
            began.set()

    with anyio.fail_after(10):
        await WSGI(old)(make_scope("POST", [(b"content-length", b"6")]), receive, send)

    assert b"".join(sent) == b"begun, a body"


def make_scope(method, headers, query=b""):
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "query_string": query,
        "root_path": "",
        "headers": [(b"host", b"example.org"), *headers],
        "client": ("127.0.0.1", 5000),
        "server": ("127.0.0.1", 80),
    }


async def test_what_fails_when_an_answer_is_closed_behind_its_end_is_reported():
    app, old, observed = App(__name__), flask.Flask("old"), []

    @old.get("/")
    def view():
        answer = flask.Response(["a", "b"])
        answer.call_on_close(lambda: 1 / 0)
        return answer

    app.on("exception")(lambda error: observed.append(type(error)))
    app.mount("/old", WSGI(old))

    async with Client(app, raise_errors=False) as client:
        answer = await client.get("/old/")

    assert answer.text == "ab"
    assert observed == [ZeroDivisionError]


async def test_an_error_of_the_app_is_gone_without_the_collector():
    class BrokenError(Exception):
        pass

    def old(environ, start_response):
        errors.append(BrokenError())
        kept.add(errors[-1])
        raise errors.pop()

    errors, kept, app = [], weakref.WeakSet(), WSGI(old)
    gc.disable()
    try:
        with suppress(BrokenError):
            await app(make_scope("GET", []), anyio.sleep_forever, print)
        with anyio.move_on_after(10):
            while kept:  # The thread has it until it waits for its next call.
                await anyio.lowlevel.checkpoint()

        assert not [*kept]
    finally:
        gc.enable()
