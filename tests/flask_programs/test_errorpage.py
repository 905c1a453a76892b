"""Error pages by status and by class."""

import pytest

from microweb import App
from microweb.testing import Client

pytestmark = pytest.mark.anyio


async def test_the_pages_are_the_programs_own():
    class Trouble(Exception):
        pass

    app = App(__name__)

    @app.errorhandler(404)
    def not_found(error):
        return "Page not found!", 404

    @app.errorhandler(500)
    def broken(error):
        return "Something broke!", 500

    @app.errorhandler(Trouble)
    async def trouble(error):
        return f"Trouble: {error}", 409

    @app.route("/broken")
    def break_it():
        return 1 / 0

    @app.route("/trouble")
    async def make_trouble():
        raise Trouble("again")

    async with Client(app, raise_errors=False) as client:
        answers = [await client.get(path) for path in ("/nowhere", "/broken", "/trouble")]

    assert [(answer.status_code, answer.text) for answer in answers] == [
        (404, "Page not found!"),
        (500, "Something broke!"),
        (409, "Trouble: again"),
    ]
