import subprocess
import sys
from importlib.metadata import PackageNotFoundError

import pytest
import uvicorn

import microweb
from tests.programs import Program, write

APP = """
    import os
    from microweb import App

    app = App(__name__)

    @app.cli.command()
    def greet():
        "Say hello."
        print("hello from", os.environ.get("SHOP"), app.debug)
"""


def install(project, name, target):
    """An installed distribution with one plugin command."""
    folder = project.folder / "installed"
    write(folder / "hats-1.0.dist-info" / "METADATA", "Metadata-Version: 2.1\nName: hats\nVersion: 1.0\n")
    write(folder / "hats-1.0.dist-info" / "entry_points.txt", f"[microweb.commands]\n{name} = {target}\n")
    write(folder / "hats.py", "import click\nthing = 7\n@click.command()\ndef brush():\n    print('brushed')\n")
    sys.path.insert(0, str(folder))


# Versions and help ---------------------------------------------------------------------------------


def test_the_version_names_microweb_python_and_uvicorn(project):
    result = project.run("--version")

    python = ".".join(map(str, sys.version_info[:3]))
    assert result.output == f"microweb {microweb.__version__}\nPython {python}\nuvicorn {uvicorn.__version__}\n"


def test_the_version_is_told_without_a_server_too(project, monkeypatch):
    def find_nothing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("microweb.cli.program.version", find_nothing)

    assert project.run("--version").output.endswith("\nuvicorn not installed\n")


@pytest.mark.wire
def test_python_m_microweb_is_the_same(tmp_path):
    with Program("-m", "microweb", "--version", cwd=tmp_path) as program:
        assert program.wait() == 0

    assert program.output.startswith(f"microweb {microweb.__version__}\n")


@pytest.mark.wire
def test_the_usage_names_the_command_as_it_was_called(tmp_path):
    with Program("-m", "microweb", "rnu", cwd=tmp_path) as program:
        assert program.wait() == 2

    assert program.output.startswith("Usage: python -m microweb ")


def test_listing_routes_needs_no_server(tmp_path):
    write(tmp_path / "app.py", APP)
    script = """
        import sys
        from microweb.cli import main
        try:
            main()
        finally:
            print([name for name in ("uvicorn", "httpx", "jinja2") if name in sys.modules])
    """
    write(tmp_path / "line.py", script)

    result = subprocess.run(
        [sys.executable, "line.py", "routes"], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert "/static/<path:filename>" in result.stdout
    assert result.stdout.endswith("\n[]\n")


def test_the_help_lists_our_commands_and_the_apps(project):
    project.write("app.py", APP)

    output = project.run("--help").output

    assert all(f"  {name} " in output for name in ("run", "routes", "explain", "shell"))
    assert "greet    Say hello." in output


def test_the_help_works_where_there_is_no_app(project):
    result = project.run("--help")

    assert (result.exit_code, result.stderr) == (0, "")
    assert "explain  Show what a request would pass." in result.output


def test_the_help_says_what_is_wrong_with_the_app(project):
    project.write("app.py", "import nothing_of_that_name")

    result = project.run("--help")

    assert result.exit_code == 0
    assert "Warning: commands of the app are missing here: importing 'app' failed" in result.stderr
    assert "Serve the app." in result.stdout


@pytest.mark.parametrize("arguments", [("--app", "shop", "--help"), ("-A", "shop.py", "greet")])
def test_the_app_can_be_named_before_the_command(project, arguments):
    project.write("shop.py", APP)

    result = project.run(*arguments)

    assert result.exit_code == 0
    assert "hello" in result.output


# Commands ------------------------------------------------------------------------------------------


def test_an_unknown_command_is_a_usage_error(project):
    project.write("app.py", APP)

    result = project.run("rnu")

    assert result.exit_code == 2
    assert "No such command 'rnu'." in result.output


def test_an_unknown_command_without_an_app_is_one_too(project):
    result = project.run("rnu")

    assert result.exit_code == 2
    assert "No such command 'rnu'." in result.output


def test_a_command_of_an_app_that_cannot_be_loaded_says_why(project):
    path = project.write("app.py", "def (")

    result = project.run("greet")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"Error: {path}:1: ")
    assert result.stderr.count("\n") == 1


def test_the_frames_of_the_program_come_before_the_sentence(project):
    project.write("app.py", "1 / 0")

    lines = project.run("routes").stderr.splitlines()

    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "Error: importing 'app' failed: ZeroDivisionError: division by zero"


def test_a_setup_error_is_one_sentence(project):
    text = APP + "    app.get('/')(lambda: 1)\n    app.get('/', endpoint='x')(lambda: 2)\n"
    project.write("app.py", text)

    result = project.run("routes")

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: The rule '/' (")


# Plugins -------------------------------------------------------------------------------------------


def test_a_lifespan_that_fails_is_one_sentence_below_its_log_record(project):
    project.write(
        "app.py",
        """
        from microweb import App

        app = App(__name__)

        @app.lifespan
        async def pool(app):
            raise ConnectionError("no database")
            yield

        @app.cli.command()
        async def greet():
            print("hello")
        """,
    )

    result = project.run("greet")

    assert result.exit_code == 1
    assert result.stderr == "Error: the app could not start: ConnectionError: no database\n"


def test_a_plugin_command_works_without_an_app(project):
    install(project, "brush", "hats:brush")

    assert project.run("brush").output == "brushed\n"
    assert "brush" in project.run("--help").output


def test_a_plugin_does_not_take_the_place_of_a_command_of_ours(project):
    install(project, "routes", "hats:brush")
    project.write("app.py", APP)

    assert "brushed" not in project.run("routes").output


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("hats:thing", "hats:thing is no click command, but of the type int"),
        ("caps:brush", "ModuleNotFoundError: No module named 'caps'"),
    ],
)
def test_a_broken_plugin_does_not_take_the_others_along(project, target, reason):
    install(project, "brush", target)
    project.write("app.py", APP)

    result = project.run("brush")

    assert result.exit_code == 2
    assert f"Warning: the command 'brush' of hats cannot be loaded: {reason}" in result.stderr
    assert project.run("greet").exit_code == 0
    assert "greet" in project.run("--help").stdout


def test_in_the_place_of_a_broken_plugin_is_the_apps_own_command(project):
    install(project, "greet", "caps:brush")
    project.write("app.py", APP)

    result = project.run("greet")

    assert result.exit_code == 0
    assert "Warning: the command 'greet' of hats cannot be loaded" in result.stderr


# The environment -----------------------------------------------------------------------------------


def test_dotenv_files_are_read_and_the_first_says_most(project, monkeypatch):
    pytest.importorskip("dotenv")
    project.write("shop.py", APP)
    project.write(".env", "MICROWEB_APP=shop\n")
    project.write(".microwebenv", "MICROWEB_APP=other\nSHOP=hats\nMICROWEB_DEBUG=1\n")

    assert project.run("greet").output == "hello from hats True\n"
    monkeypatch.setenv("SHOP", "caps")
    assert project.run("greet").output == "hello from caps True\n"


def test_an_env_file_comes_before_the_others(project):
    pytest.importorskip("dotenv")
    project.write("app.py", APP)
    project.write(".env", "SHOP=hats\n")
    project.write("test.env", "SHOP=caps\n")

    assert project.run("-e", "test.env", "greet").output == "hello from caps False\n"
    assert project.run("-e", "none.env", "greet").exit_code == 2


def test_a_dotenv_file_that_cannot_be_read_is_a_warning_and_an_env_file_an_error(project):
    pytest.importorskip("dotenv")
    project.write("app.py", APP)
    (project.folder / ".env").write_bytes(b"\xff=1")

    result = project.run("greet")

    assert result.exit_code == 0
    assert result.stderr.startswith("Warning: .env cannot be read: ")
    assert project.run("-e", ".env", "greet").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "environ", "debug"),
    [
        (("--debug", "greet"), "0", True),
        (("--no-debug", "greet"), "1", False),
        (("greet",), "1", True),
        (("greet",), None, False),
    ],
)
def test_the_command_line_says_more_than_the_environment(project, arguments, environ, debug):
    project.write("app.py", APP)

    result = project.run(*arguments, env={"MICROWEB_DEBUG": environ})

    assert result.output == f"hello from None {debug}\n"


def test_an_option_behind_the_command_says_most(project):
    project.write("app.py", APP)
    project.write("shop.py", "from microweb import App\napp = App('s', static_folder=None)")

    result = project.run("--app", "app", "--no-debug", "routes", "--app", "shop", "--debug")

    assert result.output == "The app has no routes.\n"


def test_completion_of_a_command_line_says_nothing_of_broken_apps(project):
    project.write("app.py", "def (")
    environ = {"_MICROWEB_COMPLETE": "bash_complete", "COMP_WORDS": "microweb ro", "COMP_CWORD": "1"}

    result = project.run(env=environ, prog_name="microweb")

    assert result.output == "plain,routes\n"


@pytest.mark.parametrize(
    ("arguments", "environ", "debug"),
    [
        (("shell",), "1", True),
        (("--no-debug", "shell"), "1", False),
        (("shell", "--no-debug"), "1", False),
        (("--no-debug", "shell", "--debug"), None, True),
    ],
)
def test_debug_is_what_the_command_line_says_last_and_only_then_what_the_environment_says(
    project, monkeypatch, arguments, environ, debug
):
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)  # the prompt would leave one behind
    project.write("app.py", APP)

    result = project.run(*arguments, "--plain", input="app.debug\n", env={"MICROWEB_DEBUG": environ})

    assert f">>> {debug}\n" in result.stdout


def test_completion_behind_an_option_that_would_end_the_program_is_completion(project):
    environ = {"_MICROWEB_COMPLETE": "bash_complete", "COMP_WORDS": "microweb --version ro", "COMP_CWORD": "2"}

    assert project.run(env=environ, prog_name="microweb").output == "plain,routes\n"


NAMED = """
    import click
    from microweb import App

    app = App(__name__)

    @app.cli.command()
    @click.option("--loudly", is_flag=True)
    def greet(loudly): ...
"""


def test_the_help_knows_the_app_that_an_env_file_names(project):
    pytest.importorskip("dotenv")
    project.write(".env", "MICROWEB_APP=shop")
    project.write("shop.py", NAMED)

    assert "greet" in project.run("--help").stdout


def test_the_completion_knows_the_app_that_an_env_file_names(project):
    pytest.importorskip("dotenv")
    project.write(".env", "MICROWEB_APP=shop")
    project.write("shop.py", NAMED)
    environ = {"_MICROWEB_COMPLETE": "bash_complete", "COMP_WORDS": "microweb greet --l", "COMP_CWORD": "2"}

    assert project.run(env=environ, prog_name="microweb").output == "plain,--loudly\n"
