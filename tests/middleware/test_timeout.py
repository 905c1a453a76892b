"""The time limit of an app or a router."""

import anyio
import pytest

from microweb import App, Router, SetupError
from microweb.middleware import Timeout
from microweb.testing import Client

pytestmark = pytest.mark.anyio


async def test_a_view_that_takes_too_long_is_cancelled_and_answered_504():
    app, ends = App(__name__), []
    app.add_middleware(Timeout(0.01))

    @app.get("/")
    async def view():
        try:
            await anyio.sleep_forever()
        finally:
            ends.append("cancelled")

    @app.errorhandler(504)
    async def late(error):
        return error.description, 504

    async with Client(app) as client:
        response = await client.get("/")

    assert (response.status_code, response.text) == (504, "No answer within 0.01 seconds.")
    assert ends == ["cancelled"]


async def test_it_holds_for_its_router_alone_and_not_for_who_is_quick():
    app, slow = App(__name__), Router("slow", __name__)
    slow.add_middleware(Timeout(0.02))

    async def nap():
        await anyio.sleep(0.05)
        return "rested"

    app.get("/app")(nap)
    slow.get("/router")(nap)
    slow.get("/quick")(lambda: "quick")
    app.mount("", slow)

    async with Client(app) as client:
        answers = [(await client.get(path)).status_code for path in ("/app", "/router", "/quick")]

    assert answers == [200, 504, 200]


async def test_a_streamed_body_takes_as_long_as_it_takes():
    app = App(__name__)
    app.add_middleware(Timeout(0.01))

    @app.get("/")
    async def view():
        yield "a"
        await anyio.sleep(0.05)
        yield "b"

    async with Client(app) as client:
        assert (await client.get("/")).text == "ab"


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), None, "5"])
def test_a_timeout_is_more_than_nothing(seconds):
    with pytest.raises(SetupError, match="more than 0"):
        Timeout(seconds)
