"""Forms and uploads over real sockets: what uvicorn hands on, and a client that goes away in the middle."""

import logging
import socket
import threading
import time
from contextlib import contextmanager

import httpx
import pytest
import uvicorn

from microweb import App, UploadFile
from microweb.uploads import Upload

pytestmark = pytest.mark.wire

DEADLINE = 10.0


@contextmanager
def serving(app, http):
    """The port of a uvicorn that serves ``app`` in a thread."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, http=http, log_level="warning", lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(DEADLINE)
        listener.close()


def wait_until(holds):
    deadline = time.monotonic() + DEADLINE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def upload_app():
    app = App(__name__, config={"UPLOAD_SPOOL_SIZE": 100_000})

    @app.post("/")
    async def receive(photo: UploadFile):
        content = await photo.read()
        return {"size": photo.size, "same": content == b"x" * photo.size}

    return app


@pytest.mark.parametrize("http", ["httptools", "h11"])
def test_a_large_upload_arrives_whole(http):
    with serving(upload_app(), http) as port:
        answer = httpx.post(f"http://127.0.0.1:{port}/", files={"photo": ("p", b"x" * 3_000_000)})

    assert answer.json() == {"size": 3_000_000, "same": True}


@pytest.mark.parametrize("http", ["httptools", "h11"])
def test_a_client_that_leaves_inside_an_upload_leaves_nothing_open_and_no_error(http, monkeypatch, caplog):
    made = []

    def note(self, *args):
        original(self, *args)
        made.append(self)

    original = Upload.__init__
    monkeypatch.setattr(Upload, "__init__", note)
    head = (
        b"POST / HTTP/1.1\r\nHost: example.org\r\nContent-Type: multipart/form-data; boundary=xyz\r\n"
        b"Content-Length: 1000000\r\n\r\n"
        b'--xyz\r\nContent-Disposition: form-data; name="photo"; filename="p"\r\n\r\n'
    )

    with serving(upload_app(), http) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as client:
            client.sendall(head + b"x" * 500_000)
            wait_until(lambda: made and made[0].size > 200_000)
        wait_until(lambda: made[0].closed)

    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
