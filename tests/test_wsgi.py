"""Unmodified WSGI apps under a prefix."""

import pytest

from microweb import App, SetupError
from microweb.testing import Client
from microweb.wsgi import WSGI

pytestmark = pytest.mark.anyio
flask = pytest.importorskip("flask")
pytest.importorskip("a2wsgi")


@pytest.fixture(params=["asyncio"])
def anyio_backend(request):
    """a2wsgi speaks asyncio only."""
    return request.param


def make_flask_app():
    app = flask.Flask("old")
    app.secret_key = "a key for this test only"

    @app.route("/hello/<name>", methods=["GET", "POST"])
    def hello(name):
        flask.session["visits"] = flask.session.get("visits", 0) + 1
        return {
            "name": name,
            "url": flask.url_for("hello", name=name),
            "form": flask.request.form.to_dict(),
            "visits": flask.session["visits"],
        }

    return app


async def test_an_unmodified_flask_app_runs_under_a_prefix():
    app = App(__name__)
    app.mount("/old", WSGI(make_flask_app()))

    async with Client(app) as client:
        await client.get("/old/hello/ada")
        answer = (await client.post("/old/hello/ada", data={"a": "1"})).json()

    assert answer == {"name": "ada", "url": "/old/hello/ada", "form": {"a": "1"}, "visits": 2}


async def test_a_header_with_underscores_is_dropped():
    def old(environ, start_response):
        start_response("200 OK", [("content-type", "text/plain")])
        return [environ.get("HTTP_X_REMOTE_USER", "nobody").encode()]

    app = App(__name__)
    app.mount("/old", WSGI(old))

    async with Client(app) as client:
        assert (await client.get("/old/", headers={"X_Remote_User": "admin"})).text == "nobody"
        assert (await client.get("/old/", headers={"X_Remote-User": "admin", "X-Remote-User": "ada"})).text == "ada"


async def test_our_routes_beside_it_and_its_own_404_work():
    app = App(__name__)

    @app.get("/new")
    async def new():
        return "new"

    app.mount("/old", WSGI(make_flask_app()))

    async with Client(app) as client:
        assert (await client.get("/new")).text == "new"
        assert "requested URL was not found" in (await client.get("/old/missing")).text


async def test_microweb_layers_see_its_answers():
    app = App(__name__)

    @app.middleware
    async def mark(request, call_next):
        response = await call_next(request)
        response.headers["x-marked"] = "1"
        return response

    app.mount("/old", WSGI(make_flask_app()))

    async with Client(app) as client:
        assert (await client.get("/old/hello/x")).headers["x-marked"] == "1"


def test_a_pool_without_threads_is_a_mistake_with_its_place():
    with pytest.raises(SetupError, match=r"workers=1 or more threads, not 0 \(.*test_wsgi.py"):
        WSGI(lambda environ, start_response: [], workers=0)
