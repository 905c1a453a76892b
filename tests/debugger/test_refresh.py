"""The script that refreshes a page: which answers carry it, what it does to them, and the stream that it follows."""

import logging
import socket
import threading

import anyio
import pytest

from microweb import App, Response, StaticFiles
from microweb.debugger.refresh import BrowserRefresh, find_static_folders, is_of_the_program
from microweb.debugger.refreshscript import find_nonce
from microweb.server import refreshing as refreshing_app
from tests.programs import Program, get, wait_until, write

pytestmark = pytest.mark.anyio

BY_ADDRESS = {"host": "localhost:8000", "sec-fetch-dest": "document"}
SCRIPT = b"<script async"


def make_scope(path="/", *, method="GET", client="127.0.0.1", **headers):
    named = BY_ADDRESS | {name.replace("_", "-"): value for name, value in headers.items()}
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
        "client": (client, 50000),
        "scheme": "http",
    }


async def ask(served, *args, **kwargs):
    """The status, the headers and the body of an answer."""
    messages = []
    asked = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive():
        if not asked:
            await anyio.sleep_forever()
        return asked.pop()

    async def send(message):
        messages.append(message)

    await served(make_scope(*args, **kwargs), receive, send)
    body = b"".join(message.get("body", b"") for message in messages[1:])
    return messages[0]["status"], dict(messages[0]["headers"]), body


def refreshing(answer):
    """An app whose only page is ``answer()``, as it is served with a reloader."""
    app = App(__name__, debug=True)

    @app.route("/", methods=["GET", "POST"])
    async def home():
        return answer()

    return BrowserRefresh(app)


async def test_a_page_that_a_browser_opens_ends_with_the_script():
    status, headers, body = await ask(refreshing(lambda: "<p>Hello"))

    assert status == 200
    assert body.startswith(b'<p>Hello\n<script async src="/_microweb/refresh.js" data-stream="/_microweb/refresh"')
    assert headers[b"content-length"] == str(len(body)).encode()


async def test_an_error_page_has_the_script_with_the_nonce_of_its_policy():
    def fail():
        raise ValueError("no hat")

    status, headers, body = await ask(refreshing(fail), accept="text/html")

    nonce = headers[b"content-security-policy"].decode().partition("'nonce-")[2].partition("'")[0]
    assert status == 500
    assert f' nonce="{nonce}"></script>'.encode() in body[body.index(SCRIPT) :]


async def test_a_stream_keeps_its_pieces_and_ends_with_the_script():
    async def pieces():
        yield "<p>one"
        yield "<p>two"

    _, headers, body = await ask(refreshing(pieces))

    assert body.startswith(b"<p>one<p>two\n<script async")
    assert b"content-length" not in headers


@pytest.mark.parametrize(
    "answer",
    [
        lambda: {"a": "<p>"},
        lambda: Response("<p>", content_type="text/html; charset=utf-16"),
        lambda: Response("<p>", content_type="application/xhtml+xml"),
        lambda: ("<p>", {"Content-Disposition": "attachment; filename=a.html"}),
        lambda: ("<p>", {"Content-Encoding": "gzip"}),
        lambda: ("<p>", 206, {"Content-Range": "bytes 0-2/9"}),
        lambda: ("", 204),
        lambda: ("<p>", {"Content-Security-Policy": "default-src 'none'"}),
    ],
)
async def test_what_the_script_would_break_or_cannot_run_in_is_left_alone(answer):
    _, _, body = await ask(refreshing(answer))

    assert SCRIPT not in body


@pytest.mark.parametrize(
    "request_of",
    [
        {"sec_fetch_dest": "empty"},
        {"sec_fetch_dest": "iframe"},
        {"method": "POST"},
        {"host": "shop.example.org"},
        {"client": "192.0.2.7"},
        {"x_forwarded_for": "192.0.2.7"},
    ],
)
async def test_other_requests_get_the_page_as_it_is(request_of):
    _, _, body = await ask(refreshing(lambda: "<p>Hello"), **request_of)

    assert body == b"<p>Hello"


@pytest.mark.parametrize("path", ["/_microweb/refresh", "/_microweb/refresh.js"])
@pytest.mark.parametrize(
    "stranger", [{"host": "shop.example.org"}, {"client": "192.0.2.7"}, {"x_forwarded_for": "192.0.2.7"}]
)
async def test_other_machines_see_nothing_of_it(path, stranger):
    status, _, _ = await ask(refreshing(lambda: "<p>Hello"), path, **stranger)

    assert status == 404


async def test_the_page_comes_whole_and_uncompressed_whatever_the_browser_has():
    app = App(__name__, debug=True)

    @app.get("/")
    async def home(request):
        assert not {"if-none-match", "accept-encoding", "range"} & set(request.headers)
        return Response("<p>Hello", headers={"etag": '"1"', "cache-control": "max-age=60"})

    _, headers, body = await ask(BrowserRefresh(app), if_none_match='"1"', accept_encoding="gzip", range="bytes=0-1")

    assert SCRIPT in body
    assert b"etag" not in headers
    assert headers[b"cache-control"] == b"max-age=60"


async def test_the_script_is_served_as_a_file():
    status, headers, body = await ask(refreshing(lambda: ""), "/_microweb/refresh.js")

    assert status == 200
    assert headers[b"content-type"] == b"text/javascript; charset=utf-8"
    assert b"new EventSource" in body


async def test_below_a_root_path_the_script_is_found():
    served = refreshing(lambda: "<p>Hello")

    async def under_a_root(scope, receive, send):
        await served(scope | {"root_path": "/shop"}, receive, send)

    _, _, page = await ask(under_a_root, "/shop/")
    status, _, _ = await ask(under_a_root, "/shop/_microweb/refresh.js")

    assert b'src="/shop/_microweb/refresh.js" data-stream="/shop/_microweb/refresh"' in page
    assert status == 200


# The stream --------------------------------------------------------------------------------------


class Listener:
    """A browser that follows the stream: what it was sent, and how it leaves."""

    def __init__(self, served):
        self.served = served
        self.states = []
        self.ended = False
        self.leaves = anyio.Event()

    async def listen(self):
        await self.served(make_scope("/_microweb/refresh"), self.receive, self.send)
        self.ended = True

    async def receive(self):
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        for line in message.get("body", b"").decode().splitlines():
            if line.startswith("data: "):
                self.states.append(line)

    async def wait_for(self, count):
        with anyio.fail_after(30):
            while len(self.states) < count:
                await anyio.lowlevel.checkpoint()


async def test_the_stream_tells_the_state_that_the_page_was_made_in():
    served = refreshing(lambda: "<p>Hello")
    listener = Listener(served)
    _, _, page = await ask(served)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.listen)
        await listener.wait_for(1)
        listener.leaves.set()

    assert f'data-state="{listener.states[0].removeprefix("data: ")}"'.encode() in page
    served.app.shutting_down.set()


@pytest.mark.slow
async def test_a_changed_static_file_is_a_new_state(tmp_path):
    (tmp_path / "site.css").write_text("p {}")
    app = App(__name__, debug=True, static_folder=str(tmp_path))
    listener = Listener(BrowserRefresh(app))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.listen)
        await listener.wait_for(1)
        with anyio.fail_after(60):
            size = 0
            while len(set(listener.states)) < 2:
                # Again and again: the watch may begin after the first time.
                size += 1
                (tmp_path / "site.css").write_text(" " * size)
                await anyio.lowlevel.checkpoint()
                with anyio.move_on_after(0.5):
                    await listener.wait_for(2)
        app.shutting_down.set()

    watches = [thread for thread in threading.enumerate() if thread.name == "microweb static files"]
    wait_until(lambda: not any(watch.is_alive() for watch in watches), "the end of the watch")


async def test_the_stream_ends_when_the_app_shuts_down():
    served = refreshing(lambda: "<p>Hello")
    listener = Listener(served)

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.listen)
            await listener.wait_for(1)
            served.app.shutting_down.set()

    assert listener.ended


def test_files_mounted_in_a_mounted_app_are_watched_where_that_app_lies(tmp_path, monkeypatch):
    (tmp_path / "dist").mkdir()
    app, inner = App(__name__), App("inner")
    monkeypatch.setattr(inner, "root_path", str(tmp_path))
    inner.mount("/pages", StaticFiles("dist"))
    app.mount("/inner", inner)

    assert find_static_folders(app) == [tmp_path / "dist"]


def test_the_static_folders_of_routers_mounts_and_mounted_apps_are_watched(tmp_path):
    for name in ("static", "inner", "dist"):
        (tmp_path / name).mkdir()
    app = App(__name__, static_folder=str(tmp_path / "static"))
    app.mount("/inner", App("inner", static_folder=str(tmp_path / "inner")), name="inner")
    app.mount("/dist", StaticFiles(tmp_path / "dist"))
    app.mount("/nothing", App("nothing", static_folder=str(tmp_path / "nothing")), name="nothing")

    folders = find_static_folders(app)

    assert {folder.name for folder in folders} == {"static", "inner", "dist"}


@pytest.mark.parametrize("config", [{"DEBUG": False}, {"DEBUG": True, "BROWSER_REFRESH": False}])
def test_without_debug_or_switched_off_the_app_is_served_as_it_is(config):
    app = App(__name__, config=config)

    assert refreshing_app(app) is app


@pytest.mark.slow
@pytest.mark.wire
def test_an_open_stream_is_ended_by_the_reload_and_does_not_hold_it_up(tmp_path):
    path = write(
        tmp_path / "app.py",
        """
        from microweb import App

        app = App(__name__)

        @app.get("/")
        async def home():
            return "one"
        """,
    )
    with Program("-m", "microweb", "run", "--debug", "--port", "0", cwd=tmp_path) as program:
        port = int(program.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=90) as connection:
            connection.sendall(b"GET /_microweb/refresh HTTP/1.1\r\nHost: localhost\r\n\r\n")
            received = connection.recv(4096)
            while b"data: " not in received and (more := connection.recv(4096)):
                received += more
            path.write_text(path.read_text().replace("one", "three"))  # Bytecode is told by seconds and length.
            while more := connection.recv(4096):
                received += more
        wait_until(lambda: get(program.url) == "three", "the new answer")
    assert received.endswith(b"0\r\n\r\n"), "ended by the app, not cut when its time was over"
    assert "_microweb" not in program.output


# Policies and the log ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policies", "nonce"),
    [
        ([], ""),
        (["default-src 'self'"], ""),
        (["img-src 'none'"], ""),
        (["default-src 'self'; script-src 'nonce-abc'"], "abc"),
        (["script-src 'self' 'strict-dynamic' 'nonce-abc'"], "abc"),
        (["script-src 'nonce-abc'", "default-src 'self'"], "abc"),
        (["script-src 'nonce-abc' 'nonce-b'; ", "script-src 'nonce-b'"], "b"),
        (["script-src-elem 'self'; script-src 'none'"], ""),
        (["script-src 'none'; script-src 'self'"], None),
        (["script-src 'nonce-abc', script-src 'nonce-b'"], None),
        (["default-src 'none'; script-src 'nonce-abc'"], None),
        (["default-src 'none'; script-src 'nonce-abc'; connect-src 'self'"], "abc"),
        (["script-src https://example.org"], None),
        (["sandbox allow-scripts"], None),
    ],
)
def test_a_policy_is_kept(policies, nonce):
    assert find_nonce(policies) == nonce


@pytest.mark.parametrize(
    ("path", "told"), [("/_microweb/refresh", False), ("/_microweb/refresh.js", False), ("/", True)]
)
def test_the_access_log_speaks_of_the_programs_paths_only(path, told):
    record = logging.LogRecord("uvicorn.access", 20, "", 1, "%s %s %s %s %d", ("", "GET", path, "1.1", 200), None)

    assert is_of_the_program(record) is told
