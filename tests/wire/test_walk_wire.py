"""The walk over real sockets: what a client that speaks plain HTTP/1.1 gets from each of uvicorn's parsers.

The client is h11, which checks every answer against the protocol's own rules. Files are in ``test_files_wire.py``.
"""

import asyncio
import logging
import socket
import threading
import time
from contextlib import contextmanager

import h11
import pytest
import uvicorn

from microweb import App, Response, SyncRequest, abort, redirect, request

pytestmark = pytest.mark.wire

DEADLINE = 10.0
LIMIT = 10_000


class Peer:
    """One connection to a server, as h11 sees it."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
        self.connection = h11.Connection(h11.CLIENT)

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.socket.close()

    def send(self, method, target, headers=(), body=None):
        """Send a request; with a ``body``, whole and with its length, else up to the end of its head."""
        lines = [("host", "example.org"), *headers]
        if body is not None:
            lines.append(("content-length", str(len(body))))
        self.put(h11.Request(method=method, target=target, headers=lines))
        if body is not None:
            self.put(h11.Data(data=body))
        if body is not None or not {"transfer-encoding", "expect"} & {name for name, _ in headers}:
            self.put(h11.EndOfMessage())

    def put(self, event):
        """Send one more part of a request."""
        self.socket.sendall(self.connection.send(event))

    def send_raw(self, text, method="GET"):
        """Send bytes that h11 would refuse to write, and expect the answer to one request."""
        self.connection.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
        self.connection.send(h11.EndOfMessage())
        self.socket.sendall(text)

    def next_event(self):
        """The next part of an answer; waits for it."""
        while True:
            event = self.connection.next_event()
            if event is not h11.NEED_DATA:
                return event
            self.connection.receive_data(self.socket.recv(65536))

    def receive(self):
        """A whole answer: its head and its body; the connection is ready for the next one."""
        head = self.next_event()
        while isinstance(head, h11.InformationalResponse):
            head = self.next_event()
        body = b""
        while isinstance(event := self.next_event(), h11.Data):
            body += bytes(event.data)
        assert isinstance(event, h11.EndOfMessage)
        if self.connection.our_state is h11.DONE and self.connection.their_state is h11.DONE:
            self.connection.start_next_cycle()
        return Answer(head, body)


class Answer:
    """A whole answer."""

    def __init__(self, head, body):
        self.status, self.body = head.status_code, body
        self.headers = {name.decode(): value.decode("latin-1") for name, value in head.headers}


class Site:
    """An app, what it notes, and the port that it is served on."""

    def __init__(self, app, port):
        self.app, self.port = app, port
        self.events = app.state.events
        self.release = app.state.release

    def peer(self):
        return Peer(self.port)

    def ask(self, method, target, headers=(), body=None):
        with self.peer() as peer:
            peer.send(method, target, headers, body)
            return peer.receive()

    def ask_raw(self, text, method="GET"):
        with self.peer() as peer:
            peer.send_raw(text, method)
            return peer.receive()


def make_app():
    app = App(__name__, config={"MAX_CONTENT_LENGTH": LIMIT}, static_folder=None)
    app.state.events = events = []
    app.state.release = threading.Event()

    @app.get("/")
    async def plain():
        return "Hello"

    @app.get("/json")
    async def json():
        return {"hello": ["wörld", 1]}

    @app.get("/names/<name>")
    async def name(name):
        return {"name": name}

    @app.get("/slash/")
    async def slash():
        return "with a slash"

    @app.post("/echo")
    async def echo(request):
        return await request.body(), {"content-type": "application/octet-stream"}

    @app.post("/unread")
    async def unread():
        return "not read"

    @app.post("/thread/<int:number>")
    def thread(request: SyncRequest, number):
        return {"number": number, "json": request.json, "thread": threading.current_thread().name}

    @app.get("/broken")
    async def broken():
        raise ValueError("a secret")

    @app.get("/teapot")
    async def teapot():
        abort(418)

    @app.get("/empty")
    async def empty():
        return Response(status=204)

    @app.get("/echo-header")
    async def echo_header():
        return "", {"x-said": request.args["say"]}

    @app.get("/go")
    async def go():
        return redirect(request.args["to"])

    @app.get("/stream")
    async def stream():
        try:
            yield "first\n"
            while not app.state.release.is_set():
                await asyncio.sleep(0.005)
            yield "second\n"
        finally:
            events.append("closed")

    @app.teardown_request
    async def torn_down(error):
        if request.path in ("/stream", "/echo"):
            events.append(f"torn down {error}")

    return app


@contextmanager
def serving(app, parser):
    """Uvicorn in a thread of this process, on a port that the system chose."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, http=parser, log_config=None, ws="none", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(DEADLINE)
        listener.close()
        assert not thread.is_alive()


@pytest.fixture(scope="module", params=["h11", "httptools"])
def served(request):
    app = make_app()
    with serving(app, request.param) as port:
        yield Site(app, port)


@pytest.fixture
def site(served):
    """The app on each parser, with nothing noted."""
    served.events.clear()
    served.release.clear()
    yield served
    served.release.set()


@pytest.fixture
def mistakes(caplog):
    """The records above INFO, as they come."""
    caplog.set_level(logging.INFO)
    return lambda: [record.getMessage() for record in caplog.records if record.levelno > logging.INFO]


def wait_until(condition):
    """Wait for what the server's thread does."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# Answers ------------------------------------------------------------------------------------------


def test_text_and_json_arrive_with_their_lengths(site):
    text = site.ask("GET", "/")
    json = site.ask("GET", "/json")

    assert (text.status, text.body, text.headers["content-length"]) == (200, b"Hello", "5")
    assert text.headers["content-type"] == "text/html; charset=utf-8"
    assert json.body == '{"hello":["wörld",1]}'.encode()
    assert (json.headers["content-type"], json.headers["content-length"]) == ("application/json", str(len(json.body)))


@pytest.mark.parametrize(
    ("segment", "value"),
    [("a%2Fb", "a/b"), ("%E4%BD%A0", "你"), ("a%20b", "a b"), ("a+b", "a+b"), ("%252F", "%2F"), ("%00", r"\u0000")],
)
def test_a_path_variable_is_decoded_after_the_path_is_split(site, segment, value):
    answer = site.ask("GET", f"/names/{segment}")

    assert (answer.status, answer.body.decode()) == (200, f'{{"name":"{value}"}}')


@pytest.mark.parametrize("target", ["/", "/json", "/names/x", "/missing", "/broken", "/slash", "/stream"])
def test_head_has_the_head_of_get_and_no_body(site, target):
    site.release.set()
    with site.peer() as peer:
        peer.send("GET", target)
        got = peer.receive()
        peer.send("HEAD", target)
        head = peer.receive()

    assert (head.status, head.body) == (got.status, b"")
    assert head.headers.get("content-length") == got.headers.get("content-length")
    assert head.headers.get("content-type") == got.headers.get("content-type")


def test_a_bodyless_answer_leaves_the_connection_in_order(site):
    with site.peer() as peer:
        peer.send("GET", "/empty")
        empty = peer.receive()
        peer.send("GET", "/")

        assert (empty.status, empty.body) == (204, b"")
        assert "content-length" not in empty.headers
        assert peer.receive().body == b"Hello"


def test_a_wrong_path_or_method_is_said(site):
    missing = site.ask("GET", "/nowhere")
    wrong = site.ask("DELETE", "/echo", body=b"")
    unknown = site.ask("BREW", "/")
    options = site.ask("OPTIONS", "/echo")

    assert (missing.status, missing.headers["content-type"]) == (404, "application/problem+json")
    assert (wrong.status, wrong.headers["allow"]) == (405, "OPTIONS, POST")
    assert unknown.status in (400, 405)  # httptools knows the methods by name, and refuses others by itself.
    assert (options.status, options.headers["allow"], options.body) == (200, "OPTIONS, POST", b"")


@pytest.mark.parametrize(("target", "status"), [("names/a%2Fb", 200), ("slash", 308), ("nowhere", 404)])
def test_a_whole_url_as_the_target_is_answered_as_its_path_is(site, target, status):
    line = f"GET http://example.org/{target} HTTP/1.1\r\nhost: example.org\r\n\r\n"

    whole, path = site.ask_raw(line.encode()), site.ask("GET", f"/{target}")

    assert (whole.status, whole.body) == (status, path.body)
    assert whole.headers.get("location") == path.headers.get("location")


def test_a_missing_slash_is_a_308_to_a_path(site):
    answer = site.ask("GET", "/slash?a=%2F&b=c")
    evil = site.ask_raw(b"GET //evil.example/slash HTTP/1.1\r\nhost: x\r\n\r\n")

    assert (answer.status, answer.headers["location"]) == (308, "/slash/?a=%2F&b=c")
    assert evil.status in (308, 404)
    assert not evil.headers.get("location", "/").startswith("//")


def test_an_error_page_is_of_the_kind_that_was_asked_for_and_tells_nothing(site, caplog):
    page = site.ask("GET", "/broken", [("accept", "text/html,*/*;q=0.8")])
    problem = site.ask("GET", "/broken")
    teapot = site.ask("GET", "/teapot")

    assert (page.status, problem.status, teapot.status) == (500, 500, 418)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert b"secret" not in page.body + problem.body
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == [
        "unhandled error in GET /broken",
        "unhandled error in GET /broken",
    ]


def test_a_def_view_answers_from_a_thread_of_its_own(site):
    answer = site.ask("POST", "/thread/7", [("content-type", "application/json")], b'{"a":[1]}')

    assert answer.status == 200
    assert answer.body.startswith(b'{"number":7,"json":{"a":[1]},"thread":')
    assert threading.current_thread().name.encode() not in answer.body


# Bodies -------------------------------------------------------------------------------------------


def test_a_body_comes_back_whole_however_it_was_framed(site):
    body = bytes(range(256)) * 30
    with site.peer() as peer:
        peer.send("POST", "/echo", body=body)
        whole = peer.receive()
        peer.send("POST", "/echo", [("transfer-encoding", "chunked")])
        for start in range(0, len(body), 999):
            peer.put(h11.Data(data=body[start : start + 999]))
        peer.put(h11.EndOfMessage())
        chunked = peer.receive()

    assert (whole.status, whole.body) == (200, body)
    assert (chunked.status, chunked.body) == (200, body)


def test_a_chunked_body_over_the_limit_is_a_413_before_it_ends(site, mistakes):
    with site.peer() as peer:
        peer.send("POST", "/echo", [("transfer-encoding", "chunked")])
        peer.put(h11.Data(data=b"x" * (LIMIT + 1)))
        answer = peer.receive()

    assert answer.status == 413
    assert b"MAX_CONTENT_LENGTH" in answer.body
    assert mistakes() == []


def test_a_declared_length_over_the_limit_is_a_413_before_a_byte_is_sent(site):
    text = b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n"

    assert site.ask_raw(text, "POST").status == 413


def test_a_client_that_leaves_in_its_body_is_no_mistake_of_ours(site, mistakes):
    for framing in (b"content-length: 100\r\n\r\nhalf", b"transfer-encoding: chunked\r\n\r\n5\r\nhe"):
        with site.peer() as peer:
            peer.socket.sendall(b"POST /echo HTTP/1.1\r\nhost: x\r\n" + framing)

    wait_until(lambda: len(site.events) == 2)
    assert site.ask("GET", "/").status == 200
    assert site.events == ["torn down the client left before the end of its request"] * 2
    assert mistakes() == []


def test_a_body_that_no_view_reads_does_not_become_the_next_request(site):
    with site.peer() as peer:
        peer.send("POST", "/unread", body=b"GET /broken HTTP/1.1\r\nhost: x\r\n\r\n")
        first = peer.receive()
        peer.send("GET", "/")
        second = peer.receive()

    assert (first.body, second.body) == (b"not read", b"Hello")


def test_continue_is_said_only_when_the_body_is_wanted(site):
    expect = [("expect", "100-continue"), ("content-length", "5")]
    with site.peer() as peer:
        peer.send("POST", "/echo", expect)
        informational = peer.next_event()
        peer.put(h11.Data(data=b"hello"))
        peer.put(h11.EndOfMessage())
        wanted = peer.receive()
    with site.peer() as peer:
        peer.send("POST", "/unread", expect)
        unwanted = peer.next_event()

    assert informational.status_code == 100
    assert (wanted.status, wanted.body) == (200, b"hello")
    assert unwanted.status_code == 200


# Streams ------------------------------------------------------------------------------------------


def test_a_chunk_arrives_while_the_view_still_waits(site):
    with site.peer() as peer:
        peer.send("GET", "/stream")
        head = peer.next_event()
        first = peer.next_event()

        assert (head.status_code, bytes(first.data), site.events) == (200, b"first\n", [])
        site.release.set()
        assert bytes(peer.next_event().data) == b"second\n"
        assert isinstance(peer.next_event(), h11.EndOfMessage)
    wait_until(lambda: site.events == ["closed", "torn down None"])


def test_a_client_that_leaves_a_stream_closes_the_generator_before_teardown(site, mistakes):
    with site.peer() as peer:
        peer.send("GET", "/stream")
        peer.next_event()
        assert bytes(peer.next_event().data) == b"first\n"

    wait_until(lambda: len(site.events) == 2)
    assert site.events == ["closed", "torn down None"]
    assert not site.release.is_set()
    assert mistakes() == []


# Connections --------------------------------------------------------------------------------------


def test_pipelined_requests_are_answered_in_their_order(site):
    targets = ["/names/1", "/json", "/missing", "/names/2", "/"]
    with site.peer() as peer:
        peer.socket.sendall(b"".join(b"GET %s HTTP/1.1\r\nhost: x\r\n\r\n" % target.encode() for target in targets))
        answers = []
        for _ in targets:
            peer.connection.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
            peer.connection.send(h11.EndOfMessage())
            answers.append(peer.receive())

    assert [answer.status for answer in answers] == [200, 200, 404, 200, 200]
    assert [answers[0].body, answers[3].body] == [b'{"name":"1"}', b'{"name":"2"}']


def test_an_http_1_0_client_is_answered_and_let_go(site):
    answer = site.ask_raw(b"GET / HTTP/1.0\r\n\r\n")

    assert (answer.status, answer.body) == (200, b"Hello")


# What nobody should send ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said", ["a%0D%0Ax-evil:%20yes", "a%0Ax-evil:%20yes", "a%0Dx-evil:%20yes", "a%00b", "a%7Fb", "%E2%98%83"]
)
def test_no_header_can_be_added_through_a_value(site, said):
    answer = site.ask("GET", f"/echo-header?say={said}")

    assert answer.status == 500  # The view trusted the client; what it made never left.
    assert not {"x-evil", "x-said"} & set(answer.headers)


@pytest.mark.parametrize("to", ["/a%0D%0Ax-evil:%20yes", "/a%00", "%0A//evil"])
def test_no_header_can_be_added_through_a_redirect(site, to):
    answer = site.ask("GET", f"/go?to={to}")

    assert answer.status == 500
    assert not {"x-evil", "location"} & set(answer.headers)


@pytest.mark.parametrize(
    "target",
    [
        b"*",
        b"//",
        b"///",
        b"//evil.example/%2e%2e",
        b"http://other.example/json",
        b"http://other.example",
        b"https://",
        b"/%",
        b"/%zz",
        b"/%00",
        b"/names/%ff%fe",
        b"/names/%c3%28",
        b"/names/..%2f..%2fetc",
        b"/../../etc/passwd",
        b"/./",
        b"/?%ff=%fe&&=&=",
        b"/json?a=" + b"b" * 9000,
        b"/" + b"a/" * 4000,
        b"/thread/" + b"9" * 5000,
        b"/caf\xc3\xa9",
        b"/\xff\xfe",
        b"/names/a\x00b",
        b"/names/a\x7fb",
        b"names",
        b"",
        b"?",
        b"#",
        b"/json#fragment",
        b"\\\\evil",
    ],
)
def test_no_target_is_a_500(site, target, mistakes):
    with site.peer() as peer:
        peer.socket.sendall(b"GET " + target + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        received = b""
        while chunk := peer.socket.recv(65536):
            received += chunk

    assert received[9:10] in (b"2", b"3", b"4"), received[:200]
    assert [line for line in mistakes() if "Invalid HTTP request" not in line] == []
    assert b"\nlocation: //" not in received.lower()


@pytest.mark.parametrize(
    "head",
    [
        b"cookie: " + b"\\" * 8000,
        b"cookie: \xff\xfe=\xff; =; ;;;",
        b"content-length: -1",
        b"content-length: 5, 5",
        b"content-length: \xb2",
        b"accept: ;;;,,,q=",
        b"accept: text/html;q=nan",
        b"host: a, b",
        b"range: bytes=9-0,,-",
        b"if-modified-since: never",
        b"transfer-encoding: chunked, chunked",
        b"content-encoding: gzip",
        b"\r\n".join(b"x-%d: y" % number for number in range(150)),
        b"x-long: " + b"y" * 9000,
    ],
)
def test_no_header_is_a_500(site, head, mistakes):
    with site.peer() as peer:
        peer.socket.sendall(b"GET /json HTTP/1.1\r\nhost: x\r\nconnection: close\r\n" + head + b"\r\n\r\n")
        received = b""
        while chunk := peer.socket.recv(65536):
            received += chunk

    assert received[9:10] in (b"2", b"3", b"4"), received[:200]
    assert [line for line in mistakes() if "Invalid HTTP request" not in line] == []
