"""Hooks before and after, as functions and as coroutines."""

import pytest

from microweb import App, g, request
from microweb.testing import Client

pytestmark = pytest.mark.anyio


async def test_hooks_run_around_the_view():
    app = App(__name__)
    log = []

    @app.before_request
    def note():
        g.user = "ada"
        log.append(f"before {request.path}")

    @app.before_request
    async def note_too():
        log.append("before, awaited")

    @app.after_request
    def add_header(response):
        response.headers["X-User"] = g.user
        return response

    @app.after_request
    async def add_another(response):
        response.headers["X-Custom"] = "Value"
        return response

    @app.route("/")
    def home():
        return f"Hello, {g.user}"

    async with Client(app) as client:
        response = await client.get("/")

    assert response.text == "Hello, ada"
    assert (response.headers["x-user"], response.headers["x-custom"]) == ("ada", "Value")
    assert log == ["before /", "before, awaited"]
