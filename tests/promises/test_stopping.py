"""Promise 13: the server stops within the grace period, whatever a request does, and lifespan exits always run."""

import re
import signal
import socket
import time

import pytest

from tests.programs import Program, find_free_port, write

pytestmark = [pytest.mark.wire, pytest.mark.slow]

GRACE = 0.4
SLACK = 15.0
"""Seconds for a busy machine to end a process that is done; an app that waited for its requests would never end."""

PROGRAM = """
    import sys, time
    import anyio
    from microweb import App

    app = App(__name__, config={"GRACEFUL_TIMEOUT": float(sys.argv[2]), "BACKGROUND_TIMEOUT": 0.2})

    @app.lifespan
    async def outer(app):
        yield
        print("the outer exit has run")

    @app.lifespan
    async def inner(app):
        yield
        print("the inner exit begins")
        if sys.argv[3] == "exit":
            await anyio.sleep_forever()

    @app.get("/view")
    async def view():
        await work()

    @app.get("/stream")
    async def stream():
        print("under way")
        try:
            while True:
                yield "x"
                await anyio.sleep(0.05)
        finally:
            print("the view has ended")

    @app.get("/background")
    async def background():
        app.add_background_task(work)
        return "begun"

    async def work():
        print("under way")
        try:
            await anyio.sleep_forever()
        finally:
            print("the view has ended")

    @app.get("/thread")
    def thread():
        print("under way")
        time.sleep(1000)

    @app.post("/body")
    async def body(request):
        print("under way")
        try:
            await request.body()
        finally:
            print("the view has ended")

    app.run(port=int(sys.argv[1]))
"""


@pytest.mark.parametrize("path", ["view", "stream", "background", "body", "exit"])
def test_the_server_stops_in_time_and_every_exit_runs(path, tmp_path):
    port = find_free_port()
    with Program(write(tmp_path / "served.py", PROGRAM), port, GRACE, path, cwd=tmp_path) as program:
        program.url
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            if path != "exit":
                method = "POST" if path == "body" else "GET"
                client.sendall(f"{method} /{path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n".encode())
                program.wait_for("under way")

            began = time.monotonic()
            program.process.send_signal(signal.SIGTERM)
            program.wait()
            took = time.monotonic() - began

    assert took < 2 * GRACE + SLACK
    assert "the inner exit begins" in program.output
    assert "the outer exit has run" in program.output
    assert path == "exit" or "the view has ended" in program.output


@pytest.mark.slow
def test_a_thread_that_never_ends_is_left_behind_and_every_exit_runs(tmp_path):
    port = find_free_port()
    with Program(write(tmp_path / "served.py", PROGRAM), port, GRACE, "thread", cwd=tmp_path) as program:
        program.url
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            client.sendall(b"GET /thread HTTP/1.1\r\nHost: a\r\n\r\n")
            program.wait_for("under way")

            began = time.monotonic()
            program.process.send_signal(signal.SIGTERM)
            program.wait()
            took = time.monotonic() - began

    assert took < 2 * GRACE + SLACK
    assert "the outer exit has run" in program.output
    assert re.search(r"busy with view __main__.thread .* left behind", program.output)
    assert "not stop cleanly" not in program.output
    assert "shutdown failed" not in program.output
