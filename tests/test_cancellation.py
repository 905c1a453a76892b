"""Views that are cancelled when their client leaves: for whom it holds, and in which task."""

import anyio
import pytest

from microweb import App, ClientDisconnect
from microweb.middleware import Timeout

pytestmark = pytest.mark.anyio

SCOPE = {"type": "http", "method": "GET", "query_string": b"", "headers": []}


async def leave_early(app, path):
    """Ask, and leave at once."""

    async def receive():
        await anyio.lowlevel.checkpoint()
        return {"type": "http.disconnect"}

    async def send(message):
        await anyio.lowlevel.checkpoint()

    with anyio.fail_after(10):
        await app({**SCOPE, "path": path}, receive, send)


def make_app(**config):
    app, ends = App(__name__, config=config), []

    async def view():
        try:
            for _ in range(50):
                await anyio.lowlevel.checkpoint()
            ends.append("finished")
        except BaseException:
            ends.append("cancelled")
            raise

    app.add_route("/plain", view)
    app.add_route("/cancelled", view, cancel_on_disconnect=True)
    app.add_route("/kept", view, cancel_on_disconnect=False)
    return app, ends


@pytest.mark.parametrize(("path", "end"), [("/plain", "finished"), ("/cancelled", "cancelled"), ("/kept", "finished")])
async def test_a_view_goes_on_unless_its_route_says_otherwise(path, end):
    app, ends = make_app()

    await leave_early(app, path)

    assert ends == [end]


@pytest.mark.parametrize(("path", "end"), [("/plain", "cancelled"), ("/cancelled", "cancelled"), ("/kept", "finished")])
async def test_the_config_cancels_every_view_but_those_whose_route_says_otherwise(path, end):
    app, ends = make_app(CANCEL_ON_DISCONNECT=True)

    await leave_early(app, path)

    assert ends == [end]


async def test_a_view_is_cancelled_in_the_task_that_the_server_made():
    app, tasks = App(__name__), []

    @app.get("/", cancel_on_disconnect=True)
    async def view():
        try:
            await anyio.sleep_forever()
        finally:
            tasks.append(anyio.get_current_task().id)

    await leave_early(app, "/")

    assert tasks == [anyio.get_current_task().id]


async def test_the_teardown_of_a_view_that_was_cancelled_is_told_so():
    app, seen = App(__name__), []

    @app.teardown_request
    async def commit_or_not(error):
        seen.append(type(error))

    @app.get("/", cancel_on_disconnect=True)
    async def view():
        await anyio.sleep_forever()

    await leave_early(app, "/")

    assert seen == [ClientDisconnect]


@pytest.mark.parametrize("errors", ["own", "bubble"])
@pytest.mark.parametrize("is_layer", [True, False])
async def test_the_teardown_of_a_view_that_took_too_long_is_told_so(is_layer, errors):
    app, inner, seen = App(__name__), App("inner"), []

    @inner.teardown_request
    async def commit_or_not(error):
        seen.append(error is None)

    @inner.get("/", timeout=None if is_layer else 0.01)
    async def view():
        await anyio.sleep_forever()

    if is_layer:
        inner.add_middleware(Timeout(0.01))
    app.mount("/inner", inner, errors=errors)
    async with app.test_client() as client:
        assert (await client.get("/inner/")).status_code == 504

    assert seen == [False]
