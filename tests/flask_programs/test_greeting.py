"""Greeting: variable rules, text as HTML, escaping by hand."""

import pytest
from markupsafe import escape

from microweb import App
from microweb.testing import Client

pytestmark = pytest.mark.anyio


def make_app() -> App:
    app = App(__name__)

    @app.route("/")
    def hello_world():
        return "Hello, World!"

    @app.route("/greet/<name>")
    def greet(name):
        return f"Hello, {escape(name)}!"

    @app.route("/hello/<name>")
    async def hello(name):
        return f"Hello, {name}!"

    return app


async def test_the_pages_greet():
    async with Client(make_app()) as client:
        assert (await client.get("/")).text == "Hello, World!"
        greeting = await client.get("/greet/<Ada>")
        assert greeting.text == "Hello, &lt;Ada&gt;!"
        assert greeting.headers["content-type"] == "text/html; charset=utf-8"
        assert (await client.get("/hello/Bob")).text == "Hello, Bob!"
