"""A server that is told to stop while event streams and websockets are open, and clients that leave them."""

import contextlib
import signal
import urllib.request

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.programs import Program, find_free_port, write

pytestmark = pytest.mark.wire

PROGRAM = """
    import sys
    import anyio
    from microweb import App, EventStream

    app = App(__name__)

    @app.lifespan
    async def life(app):
        yield
        print("the lifespan has ended")

    @app.get("/events")
    async def events():
        async def items():
            try:
                yield "first"
                await app.shutting_down.wait()
                yield "goodbye"
                await anyio.sleep_forever()
            finally:
                print("the stream has ended")
        return EventStream(items())

    @app.websocket("/ws")
    async def socket(websocket):
        await websocket.accept()
        await websocket.send_text("first")
        async for message in websocket:
            pass
        print("the websocket has ended with", websocket.close_code)

    app.run(port=int(sys.argv[1]), http=sys.argv[2], ws=sys.argv[3])
"""


@pytest.fixture(params=[("h11", "wsproto"), ("httptools", "websockets-sansio")], ids="-".join)
def program(request, tmp_path):
    port = find_free_port()
    with Program(write(tmp_path / "served.py", PROGRAM), port, *request.param, cwd=tmp_path) as program:
        program.url
        program.address = f"127.0.0.1:{port}"
        yield program


def read_event(stream):
    line = stream.readline()
    assert stream.readline() == b"\n"
    return line


def test_a_stop_ends_streams_with_a_last_event_and_websockets_with_a_code(program):
    with (
        urllib.request.urlopen(f"http://{program.address}/events", timeout=60) as stream,
        connect(f"ws://{program.address}/ws") as ws,
    ):
        assert read_event(stream) == b"data: first\n"
        assert ws.recv(60) == "first"

        program.process.send_signal(signal.SIGTERM)

        assert read_event(stream) == b"data: goodbye\n"
        assert stream.read() == b""
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv(60)
    assert closed.value.rcvd.code == 1012
    assert program.wait() == 0
    for text in ("the stream has ended", "the websocket has ended with 1012", "the lifespan has ended"):
        assert program.output.count(text) == 1
    assert "Traceback" not in program.output


def test_clients_that_leave_end_what_was_open(program):
    with urllib.request.urlopen(f"http://{program.address}/events", timeout=60) as stream:
        read_event(stream)
    with contextlib.suppress(ConnectionClosed), connect(f"ws://{program.address}/ws") as ws:
        ws.recv(60)
        ws.close(4001)

    program.wait_for("the stream has ended")
    program.wait_for("the websocket has ended with 4001")
    assert "Traceback" not in program.output
