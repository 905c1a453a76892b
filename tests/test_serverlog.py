"""An error that breaks an answer off: one record of it, whoever would log it too."""

import contextlib
import http.client
import logging
import signal
import socket
from asyncio import CancelledError

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from microweb.serverlog import log_errors_once
from tests.programs import Program, find_free_port, write

PROGRAM = """
    import sys
    from microweb import App, EventStream

    app = App(__name__, static_folder=None)

    @app.get("/view")
    async def view():
        raise ValueError("broken")

    @app.get("/stream")
    async def stream():
        yield "first"
        raise ValueError("broken")

    @app.get("/thread")
    def thread():
        yield "first"
        raise ValueError("broken")

    @app.get("/events")
    async def events():
        async def items():
            yield "first"
            raise ValueError("broken")
        return EventStream(items())

    @app.websocket("/ws")
    async def ws(websocket):
        await websocket.accept()
        raise ValueError("broken")

    if __name__ == "__main__":
        app.run(port=int(sys.argv[1]), http=sys.argv[2])
"""


def ask(port, path):
    """Ask for a page that will break."""
    if path == "/ws":
        with connect(f"ws://127.0.0.1:{port}{path}") as ws, pytest.raises(ConnectionClosed):
            ws.recv(60)
        return
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection), contextlib.suppress(http.client.IncompleteRead):
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 500, "what was sent before the error must not end like a whole answer"


@pytest.mark.slow
@pytest.mark.wire
@pytest.mark.parametrize(
    "arguments",
    [
        ["served.py", "{port}", "h11"],
        ["served.py", "{port}", "httptools"],
        ["-m", "microweb", "--app", "served", "run", "--port", "{port}"],
    ],
    ids=["app.run-h11", "app.run-httptools", "microweb-run"],
)
def test_each_error_is_one_traceback_in_the_log(tmp_path, arguments):
    port = find_free_port()
    write(tmp_path / "served.py", PROGRAM)

    with Program(*(part.format(port=port) for part in arguments), cwd=tmp_path) as program:
        program.url
        for number, path in enumerate(["/view", "/stream", "/thread", "/events", "/ws"], 1):
            ask(port, path)
            program.wait_for("ValueError: broken", number)
        program.interrupt()
        program.wait()

    for text in ("Traceback", "ValueError: broken", "unhandled error in"):
        assert program.output.count(text) == 5, program.output
    assert "Exception in ASGI application" not in program.output


@pytest.mark.slow
@pytest.mark.wire
@pytest.mark.parametrize("http", ["h11", "httptools"])
@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGINT, signal.SIGINT]])
def test_what_is_cut_off_at_the_stop_is_no_traceback_in_the_log(tmp_path, http, signals):
    port = find_free_port()
    write(
        tmp_path / "served.py",
        """
        import sys
        import anyio
        from microweb import App

        app = App(__name__, static_folder=None, config={"GRACEFUL_TIMEOUT": 0.5})

        @app.get("/<name>")
        async def wait(name):
            print(name, "is waiting")
            await app.shutting_down.wait()
            print(name, "has heard")
            await anyio.sleep_forever()

        app.run(port=int(sys.argv[1]), http=sys.argv[2])
        """,
    )

    with Program("served.py", port, http, cwd=tmp_path) as program, contextlib.ExitStack() as clients:
        program.url
        for name in ("ada", "bob"):
            client = clients.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
            client.sendall(f"GET /{name} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            program.wait_for(f"{name} is waiting")
        for number in signals:
            program.process.send_signal(number)
            program.wait_for("has heard", 2)
        program.wait()

    assert program.output.count("ERROR:") <= 1
    assert "Traceback" not in program.output


@pytest.mark.slow
@pytest.mark.wire
def test_text_that_is_no_utf8_is_one_line_in_the_log(tmp_path):
    port = find_free_port()
    write(
        tmp_path / "served.py",
        """
        import sys
        from microweb import App

        app = App(__name__, static_folder=None)

        @app.websocket("/ws")
        async def ws(websocket):
            await websocket.accept()
            await websocket.receive_text()

        app.run(port=int(sys.argv[1]))
        """,
    )

    with Program("served.py", port, cwd=tmp_path) as program:
        program.url
        with connect(f"ws://127.0.0.1:{port}/ws") as ws, pytest.raises(ConnectionClosed) as closed:
            ws.send(b"\xff", text=True)
            ws.recv(60)
        program.interrupt()
        program.wait()

    assert closed.value.rcvd.code == 1007
    assert "Traceback" not in program.output
    assert program.output.count("\nERROR:") <= 1


@pytest.fixture
def loggers():
    """Ours and uvicorn's, which both note."""
    found = [logging.getLogger(name) for name in ("microweb", "uvicorn.error")]
    before = [(logger.level, logger.propagate) for logger in found]
    for logger in found:
        logger.propagate = True
        logger.setLevel(logging.INFO)
    yield found
    for logger, (level, propagate) in zip(found, before, strict=True):
        logger.setLevel(level)
        logger.propagate = propagate


def names(caplog):
    return [record.name for record in caplog.records]


def test_a_group_of_what_was_told_is_not_told_again(loggers, caplog):
    ours, theirs = loggers
    told, new = ValueError(), ValueError()

    with log_errors_once():
        ours.error("first", exc_info=told)
        theirs.error("again", exc_info=ExceptionGroup("", [told]))
        assert names(caplog) == ["microweb"]
        theirs.error("more", exc_info=ExceptionGroup("", [told, new]))

    assert names(caplog) == ["microweb", "uvicorn.error"]


def test_an_error_that_we_did_not_log_is_in_the_servers_log(loggers, caplog):
    ours, theirs = loggers
    ours.setLevel(logging.CRITICAL)
    error = ValueError()

    with log_errors_once():
        ours.error("silent", exc_info=error)
        theirs.error("loud", exc_info=error)

    assert names(caplog) == ["uvicorn.error"]


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("bad text from client", ValueError("of another kind")),
        ("Exception in ASGI application", UnicodeDecodeError("utf-8", b"\xff", 0, 1, "a file of the program's")),
        ("Exception in ASGI application", CancelledError()),
    ],
)
def test_what_is_no_mistake_of_a_client_alone_keeps_its_traceback(loggers, caplog, message, error):
    _, theirs = loggers

    with log_errors_once():
        theirs.error(message, exc_info=error)

    assert [record.exc_info[1] for record in caplog.records] == [error]


def test_while_the_server_stops_only_what_it_has_cancelled_is_left_out(loggers, caplog):
    _, theirs = loggers

    with log_errors_once(lambda: True):
        theirs.error("cancelled", exc_info=CancelledError())
        theirs.error("broken", exc_info=ValueError())

    assert caplog.messages == ["broken"]


def test_records_without_an_error_pass(loggers, caplog):
    with log_errors_once():
        for logger in loggers:
            logger.warning("no error", exc_info=True)
            logger.warning("nothing")

    assert len(caplog.records) == 4


def test_afterwards_the_server_logs_as_before(loggers, caplog):
    ours, theirs = loggers
    error = ValueError()

    with log_errors_once():
        ours.error("first", exc_info=error)
    theirs.error("again", exc_info=error)

    assert names(caplog) == ["microweb", "uvicorn.error"]
