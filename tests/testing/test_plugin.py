import subprocess
import sys

import pytest

from tests.programs import write

APP = """
    import pytest

    events = []

    @pytest.fixture
    def app():
        async def app(scope, receive, send):
            if scope["type"] == "lifespan":
                await receive()
                events.append("start")
                await send({"type": "lifespan.startup.complete"})
                await receive()
                events.append("stop")
                await send({"type": "lifespan.shutdown.complete"})
            else:
                events.append("request")
                await send({"type": "http.response.start", "status": 200})
                await send({"type": "http.response.body", "body": b"hello"})
        return app
"""

INI = """
[pytest]
asyncio_mode = {mode}
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""


@pytest.fixture
def run(tmp_path, warm_pytest):
    """Run a test module that sees APP; what it printed."""

    def run(test, *args, mode="strict"):
        (tmp_path / "pytest.ini").write_text(INI.format(mode=mode))
        write(tmp_path / "test_it.py", APP + test)
        status, printed = warm_pytest.run(tmp_path, *args)
        return pytest.RunResult(status, printed.splitlines(), [], 0)

    return run


def test_client_works_under_anyio_on_both_backends(run):
    result = run(
        """
    @pytest.mark.anyio
    async def test_hello(client):
        assert (await client.get("/")).text == "hello"
    """,
        "-v",
    )

    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*test_hello?asyncio?*PASSED*", "*test_hello?trio?*PASSED*"])


def test_client_is_stopped_before_the_next_test(run):
    result = run("""
    @pytest.fixture
    def anyio_backend():
        return "asyncio"

    @pytest.mark.anyio
    async def test_first(client):
        await client.get("/")

    def test_second():
        assert events == ["start", "request", "stop"]
    """)

    result.assert_outcomes(passed=2)


@pytest.mark.parametrize("scope", ["function", "class", "module", "package", "session"])
def test_client_works_under_pytest_asyncio_in_every_loop(run, scope):
    result = run(f"""
    @pytest.mark.asyncio(loop_scope="{scope}")
    async def test_hello(client):
        assert (await client.get("/")).text == "hello"

    def test_second():
        assert events == ["start", "request", "stop"]
    """)

    result.assert_outcomes(passed=2)


def test_client_follows_the_default_loop_scope(run):
    result = run(
        """
    @pytest.mark.asyncio
    async def test_hello(client):
        assert (await client.get("/")).text == "hello"
    """,
        "-o",
        "asyncio_default_test_loop_scope=module",
    )

    result.assert_outcomes(passed=1)


def test_client_works_in_pytest_asyncios_auto_mode(run):
    result = run(
        """
    async def test_hello(client):
        assert (await client.get("/")).text == "hello"
    """,
        mode="auto",
    )

    result.assert_outcomes(passed=1)


def test_an_async_app_fixture_is_fine(run):
    result = run("""
    import pytest_asyncio

    @pytest_asyncio.fixture(name="app")
    async def async_app(app):
        return app

    @pytest.mark.asyncio
    async def test_hello(client):
        assert (await client.get("/")).text == "hello"
    """)

    result.assert_outcomes(passed=1)


def test_a_parametrized_app_fixture_is_fine(run):
    result = run("""
    @pytest.fixture(name="app", params=[1, 2])
    def many_apps(app, request):
        return app

    @pytest.mark.asyncio
    async def test_hello(client):
        assert (await client.get("/")).text == "hello"
    """)

    result.assert_outcomes(passed=2)


def test_the_apps_own_test_client_is_used(run):
    result = run("""
    class App:
        def test_client(self):
            from microweb.testing import Client
            return Client(None, lifespan=False, base_url="http://own")

    @pytest.fixture(name="app")
    def own_app():
        return App()

    @pytest.mark.asyncio
    async def test_hello(client):
        assert client.base_url == "http://own"
    """)

    result.assert_outcomes(passed=1)


def test_without_pytest_asyncio_anyio_is_enough(run):
    result = run(
        """
    @pytest.mark.anyio
    async def test_hello(client):
        assert (await client.get("/")).text == "hello"
    """,
        "-p",
        "no:asyncio",
        "-o",
        "addopts=",
        "-W",
        "ignore::pytest.PytestConfigWarning",
    )

    result.assert_outcomes(passed=2)


def test_sync_client_is_for_plain_tests(run):
    result = run("""
    def test_hello(sync_client):
        assert sync_client.get("/").text == "hello"

    def test_second():
        assert events == ["start", "request", "stop"]
    """)

    result.assert_outcomes(passed=2)


@pytest.mark.parametrize("function", ["def test_hello(client): pass", "async def test_hello(client): pass"])
def test_client_in_a_test_without_a_loop_says_what_to_do(run, function):
    result = run(f"\n    {function}\n", "-W", "ignore")

    result.stdout.fnmatch_lines(["*the fixture `client` is for async tests*a `def` test takes `sync_client`*"])


def test_loading_the_plugin_loads_no_http_client():
    code = "import sys, microweb.testing.plugin; print('httpx' in sys.modules, 'trio' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["False", "False"]
