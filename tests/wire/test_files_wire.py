"""Files over real sockets: what a server makes of the messages, and what is left when a client goes away."""

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn

from microweb import App, FileResponse
from microweb.filebody import CHUNK

pytestmark = [pytest.mark.wire, pytest.mark.slow]

SIZE = 40 * CHUNK + 17


@pytest.fixture
def large(tmp_path):
    path = tmp_path / "large.bin"
    path.write_bytes(os.urandom(SIZE))
    return path


@contextmanager
def serving(app, **options):
    """Uvicorn in a thread of this process, on a port that the system chose; gives the URL."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()  # What comes before the server is ready waits.
    config = uvicorn.Config(app, log_config=None, ws="none", timeout_graceful_shutdown=5, **options)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
        assert not thread.is_alive()


@pytest.fixture(params=["h11", "httptools"])
def site(request, large):
    """The URL of an app with one large file, on both of uvicorn's parsers."""
    app = App(__name__, static_folder=str(large.parent))

    @app.get("/")
    async def file():
        return FileResponse(large)

    with serving(app, http=request.param) as url:
        yield url


class Endless:
    """A file object that never ends."""

    is_closed = False

    def read(self, size):
        return b"x" * size

    def close(self):
        self.is_closed = True


@pytest.fixture(params=["h11", "httptools"])
def endless(request):
    """The URL of an app that sends for ever, and what it sends."""
    source = Endless()
    app = App(__name__)

    @app.get("/")
    async def forever():
        return FileResponse(source)

    with serving(app, http=request.param) as url:
        yield url, source


def is_open(path):
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("needs /proc to see which files are open")
    found = []
    for entry in descriptors.iterdir():
        try:
            found.append(entry.readlink())
        except FileNotFoundError:  # closed by another thread since it was listed
            continue
    return path in found


def wait_until(condition):
    """Wait for what another thread does; false after five seconds."""
    deadline = time.monotonic() + 5
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@pytest.mark.parametrize("path", ["/", "/static/large.bin"])
def test_a_whole_file_arrives(site, large, path):
    response = httpx.get(site + path)

    assert response.content == large.read_bytes()
    assert response.headers["content-length"] == str(SIZE)


def test_head_has_the_length_and_no_body_and_the_connection_goes_on(site, large):
    with httpx.Client() as client:
        head = client.head(site)
        known = client.get(site, headers={"if-none-match": head.headers["etag"]})
        part = client.get(site, headers={"range": "bytes=1-3"})

    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(SIZE))
    assert (known.status_code, known.content) == (304, b"")
    assert (part.status_code, part.content) == (206, large.read_bytes()[1:4])


def test_a_download_is_resumed(site, large):
    content = large.read_bytes()
    with httpx.stream("GET", site) as response:
        etag = response.headers["etag"]
        received = next(response.iter_raw())

    rest = httpx.get(site, headers={"range": f"bytes={len(received)}-", "if-range": etag})

    assert rest.status_code == 206
    assert received + rest.content == content


def test_several_ranges_arrive_as_parts(site, large):
    content = large.read_bytes()

    response = httpx.get(site, headers={"range": f"bytes=0-9,{CHUNK}-{3 * CHUNK},-5"})

    assert response.status_code == 206
    assert response.headers["content-length"] == str(len(response.content))
    for part in (content[:10], content[CHUNK : 3 * CHUNK + 1], content[-5:]):
        assert part in response.content


def test_a_range_beyond_the_end_is_416(site):
    response = httpx.get(site, headers={"range": f"bytes={SIZE}-"})

    assert (response.status_code, response.headers["content-range"]) == (416, f"bytes */{SIZE}")


def test_a_client_that_goes_away_leaves_no_file_open_and_no_line_in_the_log(site, large, caplog):
    host, port = site.removeprefix("http://").split(":")

    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        client.recv(1000)
        assert wait_until(lambda: is_open(large))

    assert wait_until(lambda: not is_open(large))
    assert [record for record in caplog.records if record.levelname != "INFO"] == []


def test_what_has_no_end_ends_when_the_client_goes_away(endless, caplog):
    url, source = endless
    host, port = url.removeprefix("http://").split(":")

    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        assert not source.is_closed

    assert wait_until(lambda: source.is_closed)
    assert [record for record in caplog.records if record.levelname != "INFO"] == []


def test_a_file_that_shrinks_is_not_presented_as_complete(site, large):
    with pytest.raises(httpx.RemoteProtocolError), httpx.stream("GET", site) as response:
        for _ in response.iter_raw():
            os.truncate(large, CHUNK)

    assert wait_until(lambda: not is_open(large))


def find_free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


PROGRAM = """
from microweb import App, FileResponse

app = App(__name__, static_folder={folder!r})

@app.get("/")
async def file():
    return FileResponse({path!r})

@app.get("/offered")
async def offered(request):
    return list(request.scope["extensions"])
"""


@pytest.fixture
def granian(large):
    """The same app behind Granian, which sends files by itself."""
    command = shutil.which("granian", path=str(Path(sys.executable).parent))
    if command is None:
        pytest.skip("needs Granian: pip install granian")
    program = large.with_name("granian_site.py")
    program.write_text(PROGRAM.format(folder=str(large.parent), path=str(large)))
    port = find_free_port()
    arguments = [command, "--interface", "asgi", "--port", str(port), "granian_site:app"]
    server = subprocess.Popen(arguments, cwd=large.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert wait_until(lambda: answers(port))
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(10)


def answers(port):
    try:
        return httpx.get(f"http://127.0.0.1:{port}/offered").status_code == 200
    except httpx.TransportError:
        return False


def test_granian_sends_the_file_by_itself(granian, large):
    content = large.read_bytes()

    whole = httpx.get(granian)
    static = httpx.get(f"{granian}/static/large.bin")
    part = httpx.get(granian, headers={"range": "bytes=1-3"})
    head = httpx.head(granian)

    assert "http.response.pathsend" in httpx.get(f"{granian}/offered").json()
    assert whole.content == static.content == content
    assert (part.status_code, part.content) == (206, content[1:4])
    assert (head.content, head.headers["content-length"]) == (b"", str(SIZE))
