"""A session that one view sets and another reads."""

import pytest

from microweb import App, session
from microweb.testing import Client

pytestmark = pytest.mark.anyio


async def test_the_session_remembers():
    app = App(__name__)
    app.secret_key = "your_secret_key_is_long"

    @app.route("/set_session/<user>")
    def set_session(user):
        session["user"] = user
        session.permanent = True
        return "Session set!"

    @app.route("/get_session")
    async def get_session():
        return session.get("user", "Not Set")

    async with Client(app) as client:
        assert (await client.get("/get_session")).text == "Not Set"
        assert "Max-Age" in (await client.get("/set_session/ada")).headers["set-cookie"]
        assert (await client.get("/get_session")).text == "ada"
