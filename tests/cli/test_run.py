import os
import signal
import socket

import pytest

from tests.programs import Program, find_free_port, get, visitor, wait_until, write

pytestmark = [
    pytest.mark.wire,
    pytest.mark.skipif(os.name != "posix", reason="signals and inherited sockets are POSIX's"),
]

APP = """
    import os
    from microweb import App

    app = App(__name__)

    @app.get("/")
    async def home():
        return "one"

    @app.get("/pid")
    async def pid():
        return str(os.getpid())

    @app.get("/debug")
    async def debug():
        return f"{app.debug} {os.environ.get('SHOP')}"
"""


def test_it_serves_the_app_it_finds_and_says_where(project):
    project.write("app.py", APP)
    port = find_free_port()

    with visitor(port, "/debug") as seen:
        result = project.run("run", "--port", str(port), "--no-access-log")

    assert seen == ["False None"]
    assert result.exit_code == 0
    assert "serves app:app: 4 routes, debug off\n" in result.stderr
    assert f"http://127.0.0.1:{port}  (Ctrl-C stops it)\n" in result.stderr
    assert "GET /debug" not in result.output


def test_debug_can_be_had_without_reloading(project):
    project.write("app.py", APP)
    port = find_free_port()

    with visitor(port, "/debug") as seen:
        project.run("run", "--debug", "--no-reload", env={"MICROWEB_RUN_PORT": str(port)})

    assert seen == ["True None"]


@pytest.mark.parametrize(("host", "port_option"), [("--host", "--port"), ("-h", "-p")])
def test_a_taken_port_is_one_sentence(project, host, port_option):
    project.write("app.py", APP)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        result = project.run("run", host, "127.0.0.1", port_option, str(port))

    assert result.exit_code == 1
    assert result.stderr == (
        f"Error: port {port} of 127.0.0.1 is taken by another program; stop that, or choose another port\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [("--port", "70000"), ("--workers", "0"), ("--workers", "2", "--reload"), ("--reload-dir", "nowhere")],
)
def test_options_that_do_not_fit_are_usage_errors(project, arguments):
    project.write("app.py", APP)

    assert project.run("run", *arguments).exit_code == 2


def test_debug_with_several_workers_is_no_reload(project):
    project.write("app.py", APP)
    with socket.create_server(("127.0.0.1", 0)) as other:
        result = project.run("run", "--debug", "--workers", "2", "--port", str(other.getsockname()[1]))

    assert "is taken by another program" in result.stderr, "it got as far as that"


@pytest.mark.slow
def test_the_command_that_stands_elsewhere_reloads_what_stands_here(tmp_path):
    path = write(tmp_path / "here" / "app.py", APP)
    command = write(tmp_path / "bin" / "command.py", "from microweb.cli import main; main()")
    with Program(command, "run", "--reload", "--port", "0", cwd=tmp_path / "here") as program:
        assert get(program.url) == "one"

        path.write_text(path.read_text().replace('"one"', '"three"'))

        wait_until(lambda: get(program.url) == "three")


@pytest.mark.slow
def test_a_program_reloads_and_survives_mistakes(tmp_path):
    path = write(tmp_path / "app.py", APP)
    good = path.read_text()
    with Program("-m", "microweb", "run", "--debug", "--port", "0", cwd=tmp_path) as program:
        url = program.url
        assert get(url) == "one"
        assert get(f"{url}/debug").startswith("True")

        path.write_text("def (")
        program.wait_for("waiting for a change to start it again")

        path.write_text(good.replace('"one"', '"three"'))  # Bytecode is told by seconds and length.
        assert get(url) == "three"

        program.interrupt()
        assert program.wait() == 0
    assert f"Error: {path}:1: invalid syntax: def (\n" in program.output
    assert "Traceback" not in program.output


@pytest.mark.slow
def test_a_program_that_begins_with_a_mistake_comes_when_it_is_mended(tmp_path):
    path = write(tmp_path / "shop.py", "from microweb import Ap")
    with Program("-m", "microweb", "run", "--app", "shop", "--reload", "--port", "0", cwd=tmp_path) as program:
        program.wait_for("waiting for a change to start it again")

        write(path, APP)

        assert get(program.url) == "one"
    assert "cannot import name 'Ap'" in program.output


@pytest.mark.slow
@pytest.mark.parametrize("app_file", ["../code/shop.py", "../code/shop.py:app"])
def test_an_app_that_is_named_by_a_file_elsewhere_reloads_too(tmp_path, app_file):
    path = write(tmp_path / "code" / "shop.py", APP)
    (tmp_path / "here").mkdir()
    command = ("-m", "microweb", "run", "--app", app_file, "--reload", "--port", "0")
    with Program(*command, cwd=tmp_path / "here") as program:
        assert get(program.url) == "one"

        path.write_text(path.read_text().replace('"one"', '"three"'))

        wait_until(lambda: get(program.url) == "three")


@pytest.mark.slow
def test_a_changed_env_file_counts_after_the_reload(tmp_path):
    pytest.importorskip("dotenv")
    write(tmp_path / "app.py", APP)
    settings = write(tmp_path / ".env", "SHOP=hats\n")
    with Program("-m", "microweb", "run", "--reload", "--port", "0", cwd=tmp_path) as program:
        assert get(f"{program.url}/debug") == "False hats"

        settings.write_text("SHOP=caps\n")

        wait_until(lambda: get(f"{program.url}/debug") == "False caps")


@pytest.mark.slow
def test_workers_share_the_port(tmp_path):
    write(tmp_path / "app.py", APP)
    with Program("-m", "microweb", "run", "--workers", "2", "--port", "0", cwd=tmp_path) as program:
        url, pids = program.url, set()
        wait_until(lambda: pids.add(get(f"{url}/pid")) or len(pids) == 2)

        program.process.send_signal(signal.SIGTERM)
        assert program.wait() == 0
    assert program.output.count("serves app:app") == 1


@pytest.mark.parametrize("arguments", [(), ("--workers", "3")])
def test_an_app_that_cannot_be_loaded_is_told_once(tmp_path, arguments):
    write(tmp_path / "app.py", "def (")
    with Program("-m", "microweb", "run", "--port", "0", *arguments, cwd=tmp_path) as program:
        assert program.wait() == 1

    assert program.output == f"Error: {tmp_path}/app.py:1: invalid syntax: def (\n"


def test_an_app_that_is_named_as_servers_take_it_is_told_where_to_stand(project):
    result = project.run("run", "shop:app")

    assert result.exit_code == 2
    assert "Error: the app is named by an option: " in result.output
    assert "run --app shop:app\n" in result.output
