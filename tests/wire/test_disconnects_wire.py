"""Clients that leave, and views that take too long, on five real servers: what they held is released, quietly.

The app is in ``abandoned.py``. A file that each view holds open shows when it is released.
"""

import contextlib
import json
import re
import socket
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.programs import Program, fetch, find_free_port, wait_until

pytestmark = [pytest.mark.wire, pytest.mark.slow]

UVICORN = ["-m", "uvicorn", "abandoned:app", "--no-access-log", "--port", "{port}"]
SERVERS = {
    "uvicorn-httptools": [*UVICORN, "--http", "httptools"],
    "uvicorn-h11": [*UVICORN, "--http", "h11", "--loop", "asyncio"],
    "hypercorn-asyncio": ["-m", "hypercorn", "abandoned:app", "--bind", "127.0.0.1:{port}", "--workers", "0"],
    "hypercorn-trio": ["trioserver.py", "abandoned", "{port}"],
    "granian": ["-m", "granian", "--interface", "asgi", "abandoned:app", "--port", "{port}"],
}


class Site:
    """A server, and what its app says of itself."""

    def __init__(self, program, port):
        self.program = program
        self.port = port

    def ask(self, path):
        return json.loads(fetch(f"http://127.0.0.1:{self.port}{path}") or "[]")

    def wait_for(self, note):
        wait_until(lambda: note in self.ask("/notes"), f"{note!r} in {self.ask('/notes')}")

    def wait_until_released(self, name):
        """Wait until the view ``name`` has ended, its file is closed, and teardown has run."""
        self.wait_for(f"teardown /{name}")
        assert name not in self.ask("/open")

    def begin(self, name, method="GET", body=b""):
        """Ask for ``/name`` and give the connection when the view has its file."""
        before = self.ask("/notes").count(f"opened {name}")
        peer = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        head = f"{method} /{name} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
        peer.sendall(head.encode() + body)
        wait_until(lambda: self.ask("/notes").count(f"opened {name}") > before, f"the view of /{name}")
        return peer


@pytest.fixture(scope="module", params=SERVERS)
def site(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("abandoned")
    port = find_free_port()
    command = [part.format(port=port) for part in SERVERS[request.param]]
    environ = {"ABANDONED": str(folder), "PYTHONPATH": str(Path(__file__).parents[2])}
    with Program(*command, cwd=Path(__file__).parent, **environ) as program:
        site = Site(program, port)
        wait_until(lambda: fetch(f"http://127.0.0.1:{port}/notes"), f"the server: {program.output}")
        yield site
    # The last word on every test above: a client that leaves is nobody's mistake.
    # (granian mentions it, as an information, when the client left while something was being sent or closed.)
    said = re.sub(r"\[INFO\] (ASGI transport error|Failed to close websocket with error).*", "", program.output)
    assert not re.search("Traceback|error", said, re.IGNORECASE), program.output


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_client_that_leaves_cancels_its_view(site, method):
    name = "view" if method == "GET" else "body"
    peer = site.begin(name, method, b"" if method == "GET" else b"some")
    assert name in site.ask("/open")

    peer.close()

    site.wait_until_released(name)
    assert any(note in site.ask("/notes") for note in (f"CancelledError in {name}", f"Cancelled in {name}"))


def test_a_shielded_part_of_a_cancelled_view_is_finished(site):
    site.begin("shielded").close()
    site.begin("view").close()

    site.wait_until_released("shielded")
    notes = site.ask("/notes")
    assert notes.index("the shielded part has ended") < notes.index("teardown /shielded")


@pytest.mark.parametrize("words", [[], ["subscribe", "ping", "ping"]], ids=["quiet", "talkative"])
@pytest.mark.parametrize("says_so", [True, False])
def test_a_client_that_leaves_a_websocket_that_only_sends_ends_it(site, says_so, words):
    before = site.ask("/notes").count("teardown /sending")

    with contextlib.suppress(ConnectionClosed), connect(f"ws://127.0.0.1:{site.port}/sending") as ws:
        for word in words:
            ws.send(word)
        ws.recv(60)
        if not says_so:
            ws.socket.shutdown(socket.SHUT_RDWR)

    wait_until(lambda: site.ask("/notes").count("teardown /sending") > before)
    assert "WebSocketDisconnect in sending" in site.ask("/notes")
    assert "sending" not in site.ask("/open")


@pytest.mark.parametrize(("name", "code"), [("silent", 1001), ("finished", 1000)])
def test_a_client_that_says_nothing_is_told_of_the_close(site, name, code):
    with connect(f"ws://127.0.0.1:{site.port}/{name}") as ws, pytest.raises(ConnectionClosed) as closed:
        while True:
            ws.recv(60)

    assert closed.value.rcvd.code == code


@pytest.mark.parametrize("name", ["stream", "busy", "tireless", "events"])
def test_a_client_that_leaves_a_stream_ends_it(site, name):
    with site.begin(name) as peer:
        assert peer.recv(1)

    site.wait_until_released(name)


def test_a_client_that_leaves_a_stream_whose_view_reads_no_body_ends_it(site):
    with site.begin("unread", "POST", b"some") as peer:
        assert peer.recv(1)

    site.wait_until_released("unread")


def test_a_view_may_ask_whether_its_client_has_left(site):
    site.begin("polled").close()

    site.wait_until_released("polled")
    assert "noticed" in site.ask("/notes")


@pytest.mark.parametrize("name", ["late", "later"])
def test_a_view_that_takes_too_long_is_cancelled_and_answered_504(site, name):
    with site.begin(name) as peer:
        head = peer.recv(65536).split(b"\r\n")[0]

    assert b" 504" in head
    site.wait_until_released(name)


@pytest.mark.parametrize("name", ["late", "later"])
def test_a_client_that_leaves_before_the_time_is_over_changes_nothing(site, name):
    before = site.ask("/notes").count(f"teardown /{name}")

    site.begin(name).close()

    wait_until(lambda: site.ask("/notes").count(f"teardown /{name}") > before)
    assert name not in site.ask("/open")


def test_a_wait_for_the_client_that_was_given_up_leaves_nothing(site, request):
    if request.node.callspec.params["site"] == "hypercorn-trio":
        pytest.skip("what is mounted knows asyncio alone")

    for _ in range(10):
        assert fetch(f"http://127.0.0.1:{site.port}/mounted/") == "done"

    wait_until(lambda: site.ask("/waiting")["waiting"] < 3)
