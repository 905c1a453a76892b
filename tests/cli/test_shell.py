import signal
import sys

import pytest

APP = """
    from microweb import App

    app = App(__name__)

    @app.lifespan
    async def pool(app):
        app.state.pool = "pool"
        yield
        print("closed")
"""


@pytest.fixture
def shell(project, monkeypatch):
    project.write("app.py", APP)
    monkeypatch.delenv("PYTHONSTARTUP", raising=False)
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)  # the prompt would leave one behind

    def run(*lines, options=("--plain",), **more):
        return project.run("shell", *options, input="\n".join([*lines, ""]), **more)

    return run


def test_await_works_at_the_prompt(shell):
    result = shell("import asyncio", "x = await asyncio.sleep(0, 'slept')", "x")

    assert "'slept'" in result.output
    assert result.exit_code == 0


def test_the_app_is_started_and_in_its_context(shell):
    output = shell("app.state.pool", "current_app == app", "url_for('static', filename='x')").output

    assert all(text in output for text in ("'pool'", "True", "'/static/x'", "closed"))


def test_a_coroutine_is_in_the_context_too(shell):
    lines = ["async def name():", "    return current_app.import_name", "", "await name()"]

    assert "'app'" in shell(*lines).output


def test_the_lifespan_can_be_left_out(shell):
    output = shell("app.state.pool", options=("--plain", "--no-lifespan")).output

    assert "no attribute 'pool'" in output
    assert "closed" not in output


def test_an_error_shows_the_line_alone_and_the_prompt_goes_on(shell):
    result = shell("async def f():", "    1 / 0", "", "await f()", "1 + 1")

    assert "ZeroDivisionError" in result.output
    assert "asyncio" not in result.output
    assert "shell.py" not in result.output
    assert ">>> 2\n" in result.output
    assert isinstance(sys.last_value, ZeroDivisionError)


def test_ctrl_c_ends_what_is_awaited_and_shows_nothing_of_asyncio(shell):
    lines = ["import asyncio, signal", "async def wait():", "    signal.raise_signal(signal.SIGINT)"]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        output = shell(*lines, "    await asyncio.sleep(60)", "", "await wait()", "1 + 1").output
    finally:
        signal.signal(signal.SIGINT, before)

    assert "KeyboardInterrupt" in output
    assert "asyncio" not in output.replace("import asyncio", "")
    assert ">>> 2\n" in output


def test_exit_leaves_the_prompt(shell):
    result = shell("raise SystemExit(3)", "1 + 1")

    assert result.exit_code == 3
    assert "closed" in result.output
    assert ">>> 2\n" not in result.output


def test_what_stands_in_g_is_closed_on_the_loop_of_the_prompt_before_the_app_is(shell, project):
    project.write(
        "app.py",
        APP
        + """
    import asyncio
    from microweb import g

    @app.on("context_torn_down")
    async def close(request, error):
        await asyncio.sleep(0)
        print(request, error, g.loop is asyncio.get_running_loop(), app.state.pool)
    """,
    )

    output = shell(
        "import asyncio", "async def note():", "    g.loop = asyncio.get_running_loop()", "", "await note()"
    ).output

    assert output.count("None None True pool") == 1
    assert output.index("None None True pool") < output.index("closed")


def test_the_banner_names_the_app(shell):
    assert "<App app> is `app`, and `await` works." in shell().output


def test_the_startup_file_is_run(shell, project):
    startup = project.write("startup.py", "size = 7")

    assert "8" in shell("size + 1", env={"PYTHONSTARTUP": str(startup)}).output


@pytest.mark.slow
def test_ipython_is_used_where_it_is_installed(shell, monkeypatch, tmp_path):
    pytest.importorskip("IPython")
    from tests.programs import Program

    (tmp_path / "lines").write_text("import asyncio\nawait asyncio.sleep(0, app.state.pool)\n")
    script = "import os, sys; os.dup2(os.open('lines', os.O_RDONLY), 0)\nfrom microweb.cli import main; main()"
    (tmp_path / "line.py").write_text(script)
    with Program("line.py", "shell", cwd=tmp_path, IPYTHONDIR=str(tmp_path)) as program:
        assert program.wait() == 0

    assert "Out[2]: 'pool'" in program.output
    assert "closed" in program.output


def test_python_s_prompt_is_used_where_ipython_is_not_installed(shell, project):
    project.write("IPython.py", "raise ImportError")
    before = {name: sys.modules.pop(name) for name in [*sys.modules] if name.partition(".")[0] == "IPython"}
    try:
        assert ">>> 2" in shell("1 + 1", options=()).output
    finally:
        sys.modules.update(before)
