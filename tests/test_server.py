"""``app.run`` and what is behind it: in this process on a port of loopback, and as programs of their own."""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request

import pytest
from uvicorn import Config

from microweb import App
from microweb.debugger import refresh
from microweb.server import (
    ServeError,
    address_of,
    announce,
    bind,
    ignore_runs,
    make_config,
    make_log_config,
    make_server,
    name_of,
    read_port,
    serve,
)
from microweb.supervisor import MARK
from tests.programs import Program, find_free_port, get, is_running, keep_loggers, visitor, wait_until, write

posix = pytest.mark.skipif(os.name != "posix", reason="signals and inherited sockets are POSIX's")


@pytest.fixture(autouse=True)
def quiet_loggers():
    """Put back what uvicorn does to the loggers of this process."""
    with keep_loggers():
        yield


@pytest.fixture
def port():
    return find_free_port()


def make_app():
    app = App("shop")

    @app.get("/")
    async def home(request):
        return f"served for {request.remote_addr} by {os.getpid()}"

    return app


# In this process -----------------------------------------------------------------------------------


@posix
@pytest.mark.wire
def test_run_serves_until_a_signal_comes_and_returns(port, capsys):
    app = make_app()

    with visitor(port) as seen:
        app.run(port=port)

    assert seen == [f"served for 127.0.0.1 by {os.getpid()}"]
    wait_until(lambda: not any(isinstance(thread, threading.Timer) for thread in threading.enumerate()))
    told = capsys.readouterr().err
    assert "serves shop: 2 routes, debug off\n" in told
    assert f"http://127.0.0.1:{port}  (Ctrl-C stops it)\n" in told


@posix
@pytest.mark.wire
def test_run_takes_uvicorns_options(port):
    app = make_app()

    with visitor(port, "/") as seen:
        app.run("127.0.0.1", port, log_level="critical", access_log=False, root_path="/shop")

    assert seen


@posix
@pytest.mark.wire
def test_run_takes_what_environment_variables_give(port, capsys):
    # None for a host that is not set: this machine only, though to the system it means every address.
    with visitor(port) as seen:
        make_app().run(host=None, port=str(port))

    assert seen
    assert f"http://127.0.0.1:{port}  (Ctrl-C stops it)\n" in capsys.readouterr().err


@posix
@pytest.mark.wire
@pytest.mark.parametrize("limit", [3_000_000, None])
@pytest.mark.parametrize("prefix", ["", "/inner"])
def test_the_server_lets_through_what_one_of_the_websockets_may_get(port, prefix, limit):
    client = pytest.importorskip("websockets.sync.client")
    app, inner = make_app(), App("inner")
    app.mount("/inner", inner)

    @(inner if prefix else app).websocket("/large", websocket_max_message=limit)
    async def measure(websocket):
        await websocket.accept()
        await websocket.send_text(str(len(await websocket.receive_text())))

    @app.get("/visit")
    def visit():
        try:
            with client.connect(f"ws://127.0.0.1:{port}{prefix}/large") as websocket:
                websocket.send("x" * 2_000_000)
                return websocket.recv(10)
        except Exception as error:  # noqa: BLE001 - without an answer nobody would end the server
            return repr(error)

    with visitor(port, "/visit") as seen:
        app.run(port=port)

    assert seen == ["2000000"]


@pytest.mark.parametrize("port", ["http", b"", [80]])
def test_a_port_that_is_no_number_is_one_sentence(port):
    with pytest.raises(SystemExit) as ended:
        make_app().run(port=port)

    assert ended.value.code == f"Error: a port is a number from 0 to 65535, not {port!r}"


@pytest.mark.parametrize("port", [None, ""])
def test_a_port_that_is_not_set_is_8000(port):
    assert read_port(port) == 8000


@posix
def test_ctrl_c_before_the_server_listens_for_it_ends_run_without_a_word():
    def press():
        raise KeyboardInterrupt

    make_app().run(port=0, log_config={"version": 1, "handlers": {"first": {"()": press}}})


def test_debug_with_several_workers_is_no_reload(monkeypatch):
    monkeypatch.setattr(sys, "argv", [""])

    with pytest.raises(SystemExit, match="there is no second worker, since this program was not started from a file"):
        make_app().run(port=0, debug=True, workers=2)


@posix
@pytest.mark.wire
def test_run_can_set_debug_without_reloading(port):
    app = make_app()

    with visitor(port):
        app.run(port=port, debug=True, reload=False)

    assert app.debug


@posix
@pytest.mark.wire
def test_a_stream_learns_of_the_stop_before_it_is_waited_for(port):
    app = App("shop")
    ended = []

    @app.get("/")
    async def ticks():
        import anyio

        yield "tick"
        await app.shutting_down.wait()
        await anyio.lowlevel.checkpoint()
        ended.append("well")

    def visit():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=90) as answer:
            assert answer.read(4) == b"tick"
            os.kill(os.getpid(), signal.SIGTERM)
            answer.read()

    thread = threading.Thread(target=lambda: (wait_until(lambda: is_open(port)), visit()))
    thread.start()
    app.run(port=port)
    thread.join(90)

    assert ended == ["well"]


def is_open(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@posix
@pytest.mark.wire
def test_a_forwarded_address_is_not_believed(port):
    app = make_app()
    seen = []

    def visit():
        wait_until(lambda: is_open(port))
        request = urllib.request.Request(f"http://127.0.0.1:{port}", headers={"X-Forwarded-For": "1.2.3.4"})
        with urllib.request.urlopen(request, timeout=90) as answer:
            seen.append(answer.read().decode())
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=visit)
    thread.start()
    app.run(port=port)
    thread.join(90)

    assert seen[0].startswith("served for 127.0.0.1 ")


@posix
@pytest.mark.wire
def test_a_unix_socket_is_served_and_told(tmp_path, capsys):
    app = make_app()
    path = str(tmp_path / "shop.sock")

    def visit():
        with socket.socket(socket.AF_UNIX) as client:
            wait_until(lambda: client.connect_ex(path) == 0)
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert client.recv(12).endswith(b"200")
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=visit)
    thread.start()
    app.run(uds=path)
    thread.join(90)

    assert f"unix:{path}" in capsys.readouterr().err


@posix
@pytest.mark.wire
def test_a_child_serves_on_the_socket_of_its_parent(monkeypatch, capsys):
    app = make_app()
    listener = bind("127.0.0.1", 0)
    ours, theirs = socket.socketpair()
    port = listener.getsockname()[1]
    monkeypatch.setenv(MARK, f"{os.getppid()},{listener.detach()},{theirs.detach()},0")

    with visitor(port) as seen:
        serve(lambda: (app, "shop"), port=1, reload=True)

    assert seen
    assert ours.recv(64) == b"7.0\n", "twice the two seconds that a reload may take, and three"
    assert "http://" not in capsys.readouterr().err
    # The thread that follows the parent sees the end of it now.
    told = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: told.set())
    ours.close()
    wait_until(told.is_set)
    signal.signal(signal.SIGTERM, before)


@posix
@pytest.mark.wire
def test_at_a_prompt_there_is_no_reload_and_it_says_so(port, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [""])
    app = make_app()

    @app.get("/<path:rest>")
    async def show(rest):
        return "the program's own"

    with visitor(port, refresh.SCRIPT) as seen:
        app.run(port=port, debug=True)

    assert seen == ["the program's own"], "there is no script for pages to wait by"
    assert "no reload on changes, since this program was not started from a file" in capsys.readouterr().err


# What cannot be served -----------------------------------------------------------------------------


@pytest.mark.anyio
async def test_under_a_running_loop_run_returns_after_a_warning():
    with pytest.warns(RuntimeWarning, match="while an event loop runs") as warnings:
        make_app().run()

    assert len(warnings) == 1
    assert warnings[0].filename == __file__


def test_run_says_that_it_does_nothing_while_a_command_imports_the_program(capsys):
    with ignore_runs():
        make_app().run()

    assert "app.run() does nothing here" in capsys.readouterr().err


def test_a_taken_port_is_one_sentence(port):
    with socket.create_server(("127.0.0.1", port)), pytest.raises(SystemExit) as ended:
        make_app().run(port=port)

    assert ended.value.code == (
        f"Error: port {port} of 127.0.0.1 is taken by another program; stop that, or choose another port"
    )


@posix
def test_a_port_can_be_had_again_at_once_after_its_server_has_closed_connections():
    with bind("127.0.0.1", 0) as listener:
        address = listener.getsockname()
        with socket.create_connection(address) as client:
            connection, _ = listener.accept()
            connection.close()
            assert client.recv(1) == b""

    bind(*address).close()


def test_all_addresses_of_one_kind_are_not_those_of_the_other():
    try:
        everything = bind("::", 0)
    except ServeError:
        pytest.skip("there is no IPv6 on this machine")

    with everything:
        bind("127.0.0.1", everything.getsockname()[1]).close()


@pytest.mark.parametrize(
    ("host", "port", "sentence"),
    [
        ("no such host", 0, "is no address to serve on"),
        ("a" * 70 + ".example.org", 0, "is no address to serve on"),
        ("127.0.0.1", 65536, "a port is a number from 0 to 65535, not 65536"),
        ("127.0.0.1", -1, "a port is a number from 0 to 65535, not -1"),
        ("192.0.2.1", 0, "cannot serve on port 0 of 192.0.2.1: "),
    ],
)
def test_an_address_that_cannot_be_had_is_one_sentence(host, port, sentence):
    with pytest.raises(ServeError, match=sentence):
        bind(host, port)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may serve on every port")
def test_a_port_that_is_not_ours_is_one_sentence():
    with pytest.raises(ServeError, match="not yours"):
        bind("127.0.0.1", 80)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"prot": 80}, "the server has no option 'prot'; uvicorn.Config has access_log, "),
        ({"factory": True}, "no option 'factory'"),
        ({"use_reloader": False}, "the server has no option 'use_reloader'; use reload="),
        ({"workers": 0}, "one worker or more, not 0"),
        ({"workers": 2, "reload": True}, "reloading works with one worker"),
        ({"workers": 2, "uds": "x"}, "share a host and port"),
        ({"workers": 2, "fd": 3}, "share a host and port"),
        ({"ssl_certfile": "gone.pem"}, "cannot be made with ssl_certfile='gone.pem' (str): FileNotFoundError"),
        ({"ssl_keyfile_password": "hush", "log_level": "loud"}, "log_level='loud' (str), ssl_keyfile_password=a value"),
        ({"uds": "/gone/shop.sock"}, "cannot serve on the Unix socket '/gone/shop.sock': No such file or directory"),
        ({"uds": "/a\0b/shop.sock"}, "cannot serve on the Unix socket '/a\\x00b/shop.sock': embedded null byte"),
        ({"fd": 999}, "cannot serve on the descriptor 999: Bad file descriptor"),
        ({"fd": "three"}, "cannot serve on the descriptor 'three': "),
        ({"fd": 2**40}, "cannot serve on the descriptor 1099511627776: "),
    ],
)
def test_options_that_do_not_fit_are_one_sentence(options, sentence):
    with pytest.raises(SystemExit) as ended:
        make_app().run(port=0, **options)

    assert sentence in ended.value.code


@posix
def test_outside_of_the_main_thread_there_is_one_worker(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["shop.py"])
    errors = []

    def run():
        try:
            make_app().run(port=0, workers=2)
        except SystemExit as error:
            errors.append(error.code)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()

    assert "no second worker, since run() was not called in the main thread" in errors[0]


def test_a_mistake_in_the_app_is_one_sentence():
    app, inner = make_app(), App("inner")
    app.mount("/inner", inner)
    app.mount("/again", inner, name="again")
    inner.get("/<x>")(lambda y: y)

    with pytest.raises(SystemExit) as ended:
        app.run(port=0)

    assert ended.value.code.startswith("Error: view ")
    assert "has a parameter 'y' that nothing provides" in ended.value.code


@pytest.mark.parametrize("prefix", ["", "/inner"])
def test_a_limit_that_is_none_is_one_sentence(prefix):
    app, inner = make_app(), App("inner")
    app.mount("/inner", inner)
    (inner if prefix else app).config["MAX_CONTENT_LENGTH"] = "much"

    with pytest.raises(SystemExit, match="Error: app.config is wrong:\n  MAX_CONTENT_LENGTH: "):
        app.run(port=0)


def test_a_mistake_in_a_websocket_is_one_sentence():
    app = make_app()
    app.websocket("/chat")(lambda websocket: None)

    with pytest.raises(SystemExit) as ended:
        app.run(port=0)

    assert "must be `async def`" in ended.value.code


@posix
@pytest.mark.wire
def test_a_lifespan_that_fails_ends_with_code_1_after_its_error_is_logged(capfd):
    app = make_app()

    @app.lifespan
    async def broken(app):
        raise ConnectionError("no database")
        yield

    with pytest.raises(SystemExit) as ended:
        app.run(port=0)

    assert ended.value.code == 1
    told = capfd.readouterr().err
    assert "no database" in told
    assert "http://" not in told


# The server's settings -----------------------------------------------------------------------------


def make_any_config(app, **options):
    return make_config(app, "127.0.0.1", 0, options, grace=1.5, max_message=None)


def test_a_second_ctrl_c_does_not_wait():
    app = make_app()
    server = make_server(app, "shop", make_any_config(app), None, None, grace=1.5, reload=False)

    server.handle_exit(signal.SIGINT, None)
    assert (server.should_exit, server.force_exit, app.shutting_down.is_set()) == (True, False, True)
    server.handle_exit(signal.SIGTERM, None)
    assert not server.force_exit

    server.handle_exit(signal.SIGINT, None)
    assert server.force_exit


def test_our_defaults_can_be_changed():
    config = make_any_config(make_app())
    changed = make_any_config(make_app(), timeout_graceful_shutdown=9, proxy_headers=True)

    assert (config.timeout_graceful_shutdown, config.proxy_headers, config.lifespan) == (2, False, "on")
    assert (changed.timeout_graceful_shutdown, changed.proxy_headers) == (9, True)


def test_what_the_announcement_says_is_not_logged_once_more():
    assert make_log_config()["loggers"]["uvicorn.error"]["level"] == "WARNING"
    assert Config(make_app()).log_config["loggers"]["uvicorn.error"]["level"] == "INFO", "theirs is left as it is"


def test_our_log_is_shown_unless_the_program_has_its_own(monkeypatch):
    logger = logging.getLogger("microweb")
    monkeypatch.setattr(logger, "propagate", False)
    assert make_log_config()["loggers"]["microweb"] == {"handlers": ["default"], "level": "INFO"}

    logger.addHandler(logging.NullHandler())

    assert "microweb" not in make_log_config()["loggers"]


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:{port}"),
        ("localhost", "http://127.0.0.1:{port}"),
        ("0.0.0.0", "http://127.0.0.1:{port}, and all other addresses of this machine"),
        ("::1", "http://[::1]:{port}"),
        ("::", "http://[::1]:{port}, and all other addresses of this machine"),
    ],
)
def test_the_address_is_told_as_a_browser_takes_it(host, address):
    config = make_any_config(make_app())
    try:
        listener = bind(host, 0)
    except ServeError:
        pytest.skip(f"there is no {host} on this machine")

    with listener:
        assert address_of(config, listener) == address.format(port=listener.getsockname()[1])


def test_the_address_of_a_server_with_a_certificate_begins_with_https():
    config = Config(make_app(), ssl_certfile="shop.pem")

    with bind("127.0.0.1", 0) as listener:
        assert address_of(config, listener) == f"https://127.0.0.1:{listener.getsockname()[1]}"


def test_what_is_served_is_told_also_where_there_is_nothing_yet(capsys):
    announce(App("shop", static_folder=None, debug=True), "shop", "http://127.0.0.1:80", reload=True)

    told = capsys.readouterr().err
    assert " serves shop: 0 routes, debug on, reloads on change\nhttp://127.0.0.1:80  (" in told


def test_an_inherited_descriptor_is_told_by_its_number():
    config = make_any_config(make_app(), fd=3)

    assert address_of(config, None) == "descriptor 3"


def test_an_app_is_called_by_its_module_or_its_script(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/srv/shop.py"])
    assert [name_of(App("shop")), name_of(App("__main__")), name_of(App())] == ["shop", "shop.py", "shop.py"]

    monkeypatch.setattr(sys, "argv", [""])
    assert name_of(App("__main__")) == "an app"


# As programs ---------------------------------------------------------------------------------------

SCRIPT = """
    import os, sys
    from microweb import App

    app = App(__name__)

    @app.get("/")
    async def home():
        return "one"

    @app.get("/pid")
    async def pid():
        return str(os.getpid())

    if __name__ == "__main__":
        app.run(port=int(sys.argv[1]), debug=True)
        print("after run")
"""


@pytest.mark.slow
@posix
@pytest.mark.wire
def test_a_script_reloads_after_a_change_and_after_a_mistake(tmp_path):
    path = write(tmp_path / "app.py", SCRIPT)
    good = path.read_text()
    with Program("app.py", 0, cwd=tmp_path) as program:
        url = program.url
        assert get(url) == "one"
        first = int(get(f"{url}/pid"))

        path.write_text(good.replace("one", "two"))
        wait_until(lambda: get(url) == "two")

        path.write_text(good.replace("one", "three") + "\ndef (")
        program.wait_for("waiting for a change to start it again")
        assert "SyntaxError" in program.output

        path.write_text(good.replace("one", "three"))
        assert get(url) == "three"
        last = int(get(f"{url}/pid"))

        program.interrupt()
        assert program.wait() == 0
    assert program.output.count("http://") == 1
    assert "Traceback" not in program.output
    assert not is_running(first)
    assert not is_running(last)


@pytest.mark.slow
@posix
@pytest.mark.wire
def test_a_factory_in_a_package_reloads_when_a_template_changes(tmp_path):
    factory = """
        from pathlib import Path
        from microweb import App

        def create_app():
            app = App(__name__)
            page = Path(__file__).with_name("templates").joinpath("page.txt").read_text()
            app.get("/")(lambda: page)
            return app
    """
    write(tmp_path / "shop" / "__init__.py", factory)
    main = "from shop import create_app\ncreate_app().run(port=0, reload=True)"
    write(tmp_path / "shop" / "__main__.py", main)
    page = write(tmp_path / "shop" / "templates" / "page.txt", "old")
    with Program("-m", "shop", cwd=tmp_path) as program:
        assert get(program.url) == "old"

        page.write_text("new")

        wait_until(lambda: get(program.url) == "new")
    assert "page.txt changed; starting again" in program.output


@pytest.mark.slow
@posix
@pytest.mark.wire
def test_two_workers_serve_one_port_and_a_killed_one_is_replaced(tmp_path):
    write(tmp_path / "app.py", SCRIPT.replace("debug=True", "workers=2"))
    with Program("app.py", 0, cwd=tmp_path) as program:
        url = program.url

        def pids(count):
            seen = set()
            wait_until(lambda: seen.add(int(get(f"{url}/pid"))) or len(seen) == count)
            return seen

        first = pids(2)
        os.kill(min(first), signal.SIGKILL)
        program.wait_for("starting another")
        assert not any(map(is_running, [min(first)]))

        program.process.terminate()
        assert program.wait() == 0
    assert not any(map(is_running, first))
    assert program.output.count("http://") == 1


@pytest.mark.slow
@posix
@pytest.mark.wire
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_stands_after_run_is_done_when_it_was_stopped(tmp_path, number):
    write(tmp_path / "app.py", SCRIPT.replace("debug=True", ""))
    with Program("app.py", 0, cwd=tmp_path) as program:
        assert get(program.url) == "one"

        program.process.send_signal(number)

        assert program.wait() == 0
    assert program.output.endswith("after run\n")


@pytest.mark.slow
@posix
@pytest.mark.wire
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("mode", ["", "reload=True", "workers=2"])
def test_a_start_that_does_not_end_is_given_up_when_it_is_to_stop(tmp_path, number, mode):
    program = """
        import anyio
        from microweb import App

        app = App(__name__, static_folder=None)

        @app.lifespan
        async def outer(app):
            yield
            print("the outer exit has run")

        @app.lifespan
        async def inner(app):
            print("waits for a database")
            await anyio.sleep_forever()
            yield

        app.run(port=0, MODE)
        """
    write(tmp_path / "app.py", program.replace("MODE", mode))
    with Program("app.py", cwd=tmp_path) as program:
        program.wait_for("waits for a database")

        program.process.send_signal(number)

        assert program.wait() == 0
    assert "the outer exit has run" in program.output
    assert "Traceback" not in program.output
    assert "http://" not in program.output


@pytest.mark.slow
@posix
@pytest.mark.wire
def test_a_parent_whose_child_serves_a_unix_socket_takes_no_port(tmp_path, port):
    write(tmp_path / "app.py", SCRIPT.replace("debug=True", "reload=True, uds='shop.sock'"))
    with socket.create_server(("127.0.0.1", port)), Program("app.py", port, cwd=tmp_path) as program:
        program.wait_for("unix:shop.sock")


@posix
@pytest.mark.slow
@pytest.mark.wire
def test_a_generator_that_keeps_its_thread_does_not_keep_the_process(tmp_path, port):
    program = """
        import sys
        import threading
        from microweb import App

        app = App(__name__, static_folder=None, config={"GRACEFUL_TIMEOUT": 0.5})

        @app.get("/")
        def stuck():
            def chunks():
                yield "first"
                threading.Event().wait()

            return chunks()

        app.run(port=int(sys.argv[1]))
        """
    write(tmp_path / "app.py", program)
    with Program("app.py", port, cwd=tmp_path) as program, urllib.request.urlopen(program.url) as answer:
        assert answer.read(5) == b"first"

        program.process.terminate()

        assert program.wait() == 0
    assert "is still busy with view __main__.stuck and left behind" in program.output
    assert "already" not in program.output  # Nobody closes a generator, or enters a context, that the thread is in.


@posix
@pytest.mark.slow
@pytest.mark.wire
def test_a_thread_that_the_program_has_given_to_asyncio_does_not_keep_the_process(tmp_path, port):
    program = """
        import asyncio
        import sys
        import threading
        from microweb import App

        app = App(__name__, static_folder=None, config={"GRACEFUL_TIMEOUT": 0.5})

        @app.get("/")
        async def stuck():
            print("is stuck")
            await asyncio.to_thread(threading.Event().wait)

        @app.lifespan
        async def life(app):
            yield
            print("the exit has run")

        app.run(port=int(sys.argv[1]))
        """
    write(tmp_path / "app.py", program)
    with Program("app.py", port, cwd=tmp_path) as program:
        program.url
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            program.wait_for("is stuck")

            program.process.terminate()

            assert program.wait() == 1
    assert "the exit has run" in program.output
    assert "something in a thread does not end" in program.output


@posix
def test_a_process_that_gives_up_writes_down_what_it_has_to_say():
    program = """if True:
        import logging.handlers
        from microweb.server import give_up

        logging.basicConfig(handlers=[logging.handlers.MemoryHandler(100, target=logging.StreamHandler())])
        logging.warning("a late record")
        print("half a line", end="")
        give_up()
    """
    environ = {**os.environ, "PYTHONUNBUFFERED": ""}
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)

    assert (ended.returncode, ended.stdout) == (1, "half a line")
    assert "a late record" in ended.stderr


@posix
def test_a_process_that_gives_up_ends_though_nobody_reads_its_output():
    giving_up = (
        "import threading, microweb.server as s; threading.Timer(0, s.give_up).start(); threading.Event().wait()"
    )
    with subprocess.Popen([sys.executable, "-c", giving_up], stdout=-1, stderr=-1) as process:
        process.stdout.close()
        process.stderr.close()

        try:
            assert process.wait(60) == 1
        finally:
            process.kill()


@posix
@pytest.mark.wire
@pytest.mark.parametrize("mode", ["debug=True", "workers=2", "debug=False"])
def test_a_taken_port_ends_the_program_with_one_sentence(tmp_path, port, mode):
    write(tmp_path / "app.py", SCRIPT.replace("debug=True", mode))
    with socket.create_server(("127.0.0.1", port)), Program("app.py", port, cwd=tmp_path) as program:
        assert program.wait() == 1

    assert program.output == (
        f"Error: port {port} of 127.0.0.1 is taken by another program; stop that, or choose another port\n"
    )


@pytest.mark.slow
@posix
@pytest.mark.wire
def test_workers_that_cannot_start_end_the_program(tmp_path):
    script = """
        from microweb import App

        app = App(__name__)
        app.get("/<x>")(lambda y: y)
        app.run(port=0, workers=3)
    """
    write(tmp_path / "app.py", script)
    with Program("app.py", cwd=tmp_path) as program:
        assert program.wait() == 1

    assert program.output.count("Error: ") == 1
