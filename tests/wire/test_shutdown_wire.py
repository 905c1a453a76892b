"""A server that is told to stop while event streams and websockets are open, and clients that leave them."""

import contextlib
import signal
import urllib.request
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.programs import Program, find_free_port

pytestmark = [pytest.mark.wire, pytest.mark.slow]

DRILLED = Path(__file__).with_name("drilled.py")


@pytest.fixture(params=[("h11", "wsproto"), ("httptools", "websockets-sansio")], ids="-".join)
def program(request, tmp_path):
    port = find_free_port()
    with Program(DRILLED, port, *request.param, cwd=tmp_path, DRILL_NOTES="/dev/stdout") as program:
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
    for text in ("closed /events", "closed /ws with 1012", "exit outer"):
        assert program.output.count(text) == 1
    assert "Traceback" not in program.output


def test_clients_that_leave_end_what_was_open(program):
    with urllib.request.urlopen(f"http://{program.address}/events", timeout=60) as stream:
        read_event(stream)
    with contextlib.suppress(ConnectionClosed), connect(f"ws://{program.address}/ws") as ws:
        ws.recv(60)
        ws.close(4001)

    program.wait_for("closed /events")
    program.wait_for("closed /ws with 4001")
    assert "Traceback" not in program.output
