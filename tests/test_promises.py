"""The promises of ``docs/explain/promises.md`` that concern the whole: an app, asked from outside."""

import ast
import logging
import re
import threading
from asyncio import Runner
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated
from urllib.parse import unquote_to_bytes

import anyio
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import microweb
from microweb import App, Depends, Response, Router, SyncRequest, after_this_request, g
from microweb.middleware import CORS, RequestID
from microweb.testing import Client, SyncClient

SOURCES = sorted(Path(microweb.__file__).parent.rglob("*.py"))
HOSTILE = [
    b"/\x00",
    b"/%00/%ff",
    b"/items/" + b"9" * 5000,
    b"/%2e%2e/%2e%2e/etc/passwd",
    b"/a%2Fb",
    b"//evil.example/",
    b"/\\evil.example",
    b"/%",
    b"/%zz/%u1234",
    b"/items/%ED%A0%80",
]


@pytest.fixture(scope="module")
def curious():
    """Asks an app that looks at everything a request has."""
    app = App(__name__)
    app.add_middleware(CORS(re.compile(r".*", re.DOTALL), credentials=True))
    app.add_middleware(RequestID())

    def look(request):
        seen = [request.path, request.args.lists(), list(request.headers.items()), request.cookies.to_dict()]
        seen += [
            request.authorization,
            request.accept.best(["text/html", "application/json"]),
            request.mimetype,
        ]
        seen += [
            request.content_length,
            request.user_agent,
            request.referrer,
            request.remote_addr,
            request.url,
        ]
        return {"seen": len(list(map(str, seen)))}

    @app.route("/", methods=["GET", "POST"])
    async def home(request):
        return look(request)

    @app.post("/json")
    async def read_json(request):
        return {"kind": type(await request.json(force=True)).__name__}

    @app.post("/text")
    async def read_text(request):
        return {"length": len(await request.text())}

    @app.get("/items/<int:number>")
    async def show(request, number):
        return look(request)

    @app.get("/items/<name>/<path:rest>")
    def browse(request: SyncRequest, name, rest):
        return look(request)

    with Runner() as runner:
        yield partial(ask, runner, app)


headers = st.lists(
    st.tuples(
        st.sampled_from(
            [
                b"accept",
                b"authorization",
                b"cookie",
                b"content-type",
                b"content-length",
                b"host",
                b"origin",
                b"range",
                b"x-a",
                b"x-request-id",
            ]
        ),
        st.binary(max_size=30).map(lambda value: value.translate(None, b"\r\n\0")),
    ),
    max_size=4,
)


# 1. No input makes us answer 500 ------------------------------------------------------------------


@given(path=st.binary(max_size=40), query=st.binary(max_size=40), headers=headers)
@example(path=b"/", query=b"a=%ff&=&&a", headers=[(b"host", b"a b")])
@example(path=b"/", query=b"", headers=[(b"host", b"evil.example\\@x"), (b"host", b"again")])
@example(path=b"/", query=b"", headers=[(b"origin", b"https://a\x01.example")])
def test_no_path_query_or_header_makes_a_500(curious, path, query, headers):
    status = curious("GET", b"/" + path, query, headers)

    assert status < 500


@pytest.mark.parametrize("path", HOSTILE)
def test_no_hostile_path_makes_a_500(curious, path):
    assert curious("GET", path) < 500


@pytest.mark.parametrize("method", ["__class__", "get", "G T", "", "\x00", "PROPFIND", "CONNECT", "x" * 500])
def test_no_method_makes_a_500(curious, method):
    assert curious(method, b"/") in range(400, 500)


@given(path=st.sampled_from([b"/json", b"/text"]), body=st.binary(max_size=60), headers=headers)
@example(path=b"/json", body=b"[" * 100_000, headers=[])
@example(path=b"/json", body=b'"\\ud800"', headers=[])
@example(path=b"/json", body=b"9" * 5000, headers=[])
@example(path=b"/text", body=b"\xff", headers=[(b"content-type", b"text/plain; charset=\xff")])
@example(path=b"/text", body=b"a", headers=[(b"content-type", b"text/plain; charset=rot13")])
def test_no_body_makes_a_500(curious, path, body, headers):
    assert curious("POST", path, b"", headers, body) < 500


# 6. One request's data is never seen by another ---------------------------------------------------


@pytest.mark.anyio
async def test_requests_at_the_same_time_do_not_see_each_other():
    app = App(__name__)
    everybody = anyio.Event()
    arrived = []

    @app.get("/<name>")
    async def show(name):
        g.name = name
        arrived.append(name)
        if len(arrived) == 20:
            everybody.set()
        await everybody.wait()
        return {"name": g.name, "path": microweb.request.path}

    answers = {}
    async with Client(app) as client, anyio.create_task_group() as tasks:

        async def ask_for(name):
            answers[name] = (await client.get(f"/{name}")).json()

        for number in range(20):
            tasks.start_soon(ask_for, f"guest{number}")

    assert answers == {name: {"name": name, "path": f"/{name}"} for name in arrived}


def layer_that_gives(response):
    async def layer(request, call_next):
        return response

    return layer


@pytest.mark.parametrize(
    "register",
    [
        lambda app, kept: app.add_route("/", lambda: kept, endpoint="view"),
        lambda app, kept: app.add_route("/", lambda: (kept, 201), endpoint="view"),
        lambda app, kept: app.middleware(layer_that_gives(kept)),
        lambda app, kept: app.before_request(lambda: kept),
        lambda app, kept: app.after_request(lambda response: kept),
        lambda app, kept: app.errorhandler(404)(lambda error: kept),
        lambda app, kept: app.before_request(lambda: after_this_request(lambda response: kept) and None),
    ],
)
@pytest.mark.parametrize("prefix", ["", "/inner"])
def test_a_response_returned_to_a_second_request_is_refused(register, prefix):
    app, outer = App(__name__), App("outer")
    register(app, Response("hello"))
    outer.mount("/inner", app)

    with SyncClient(outer if prefix else app, raise_errors=False) as client:
        answers = [client.get(f"{prefix}/") for _ in range(2)]

    assert (answers[0].text, answers[1].status_code) == ("hello", 500)


# 7. One bad request writes at most one log line ---------------------------------------------------


def test_a_log_line_stays_one_line(caplog):
    app = App(__name__)

    @app.get("/<path:rest>")
    async def fail(rest):
        raise ValueError("no")

    with SyncClient(app, raise_errors=False) as client:
        client.get("/a%0AERROR%20forged%1B%5B31m")

    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage().isprintable()


@pytest.mark.parametrize(("path", "query"), [(b"/nowhere", b""), (b"/items/%ff", b""), (b"/", b"a&" * 2000)])
def test_a_bad_request_is_no_log_record(curious, caplog, path, query):
    assert curious("GET", path, query) in range(400, 500)

    assert caplog.records == []


# 9. Router and guards see one path ----------------------------------------------------------------


@given(st.lists(st.sampled_from(["/", "admin", "%61dmin", "Admin", "%2F", "%2e", "..", ".", "\\", "x"]), max_size=6))
@example(["/", "admin", "%2F", "x"])
@example(["/", "/", "admin", "/", "x"])
@example(["/", "%61dmin", "/", "x"])
def test_a_guard_sees_the_path_that_the_router_matched(guarded, parts):
    path = ("/" + "".join(parts)).encode()

    status = guarded("GET", path)

    assert status in (301, 308, 403, 404), f"{path!r} came past the guard"


@pytest.fixture(scope="module")
def guarded():
    """Asks an app whose guard looks at the path, and whose router has a secret for whoever came past it."""
    app = App(__name__)
    admin = Router("admin", __name__, prefix="/admin")

    @app.middleware
    async def guard(request, call_next):
        if request.path == "/admin" or request.path.startswith("/admin/"):
            return "Not for you.", 403
        return await call_next(request)

    @admin.get("/")
    @admin.get("/<path:rest>", endpoint="inside")
    async def inside(rest=""):
        return "secret"

    app.mount("", admin)
    with Runner() as runner:
        yield partial(ask, runner, app)


# 10. Nothing from a proxy is trusted unless listed ------------------------------------------------


def test_what_a_proxy_may_say_changes_nothing():
    app = App(__name__)

    @app.get("/")
    async def home(request):
        return {"from": request.remote_addr, "url": request.url, "root": request.root_path}

    said = {
        "X-Forwarded-For": "10.0.0.1",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Prefix": "/evil",
        "Forwarded": "for=10.0.0.1;proto=https;host=evil.example",
    }
    with SyncClient(app) as client:
        plain, claimed = client.get("/").json(), client.get("/", headers=said).json()

    assert claimed == plain


# 12. A stalled body is answered 408 and released --------------------------------------------------


@pytest.mark.anyio
async def test_a_body_that_stands_still_is_answered_408():
    app = App(__name__, config={"BODY_TIMEOUT": 0.05})

    @app.post("/")
    async def receive(request):
        return {"length": len(await request.body())}

    async def stall():
        yield b"the beginning"
        await anyio.sleep_forever()

    async with Client(app) as client:
        answer = await client.post("/", content=stall())

    assert answer.status_code == 408


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["coroutine", "thread"])
async def test_what_a_body_that_stands_still_had_taken_is_given_back(kind, monkeypatch):
    app = App(__name__, config={"BODY_TIMEOUT": 0.05, "UPLOAD_SPOOL_SIZE": 0, "SYNC_THREADS": 1})
    files, released = [], []

    def make_file(**options):
        files.append(TemporaryFile(**options))  # noqa: SIM115 - the request closes it
        return files[-1]

    def hold():
        try:
            yield
        finally:
            released.append("dependency")

    @app.post("/coroutine")
    async def receive(request, held: Annotated[None, Depends(hold)]):
        return {"files": len(await request.files())}

    @app.post("/thread")
    def receive_in_thread(request, held: Annotated[None, Depends(hold)]):
        return {"files": len(request.files)}

    async def stall():
        yield b'--x\r\ncontent-disposition: form-data; name="a"; filename="a"\r\n\r\n' + b"the beginning" * 100_000
        await anyio.sleep_forever()

    monkeypatch.setattr("tempfile.TemporaryFile", make_file)
    multipart = {"content-type": "multipart/form-data; boundary=x"}
    async with Client(app) as client:
        answer = await client.post(f"/{kind}", content=stall(), headers=multipart)
        again = await client.post("/thread", content=b"--x--", headers=multipart)

    assert (answer.status_code, again.status_code) == (408, 200)
    assert released == ["dependency", "dependency"]
    assert [file.closed for file in files] == [True]


# 14. Blocked `def` views never stall `async def` views --------------------------------------------


@pytest.mark.anyio
async def test_blocked_def_views_leave_coroutine_views_alone():
    app = App(__name__, config={"SYNC_THREADS": 4})
    released = threading.Event()

    @app.get("/slow")
    def slow():
        assert released.wait(60)
        return "slow"

    @app.get("/health")
    async def health():
        return "well"

    async with Client(app) as client, AsyncExitStack() as stack:
        waiting = [await stack.enter_async_context(client.exchange("GET", "/slow")) for _ in range(100)]
        try:
            assert (await client.get("/health")).text == "well"
        finally:
            released.set()
        statuses = [(await one.response()).status_code for one in waiting]

    assert statuses == [200] * 100


# 15. The debugger is off unless asked for ---------------------------------------------------------


@pytest.mark.parametrize("accept", ["text/html", "application/json", "*/*"])
def test_an_error_page_tells_nothing_of_the_error(accept):
    app = App(__name__)

    @app.get("/")
    async def fail():
        password = "opensesame"
        raise ValueError(password)

    with SyncClient(app, raise_errors=False) as client:
        answer = client.get("/", headers={"accept": accept})

    assert answer.status_code == 500
    assert "opensesame" not in answer.text
    assert "Traceback" not in answer.text
    assert "ValueError" not in answer.text


def test_debug_is_off_unless_asked_for():
    assert App(__name__).debug is False


# 16. No pickle anywhere ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_module_can_unpickle(path):
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])

    assert imported & {"pickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"} == set()


def ask(runner, app, method, path, query=b"", headers=(), body=b""):
    """The status of a request that no HTTP library would send."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote_to_bytes(path).decode("utf-8", "replace"),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": list(headers),
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8000),
    }
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    sent = []

    async def receive():
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    runner.run(app(scope, receive, send))
    return sent[0]["status"]
