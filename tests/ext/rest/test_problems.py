"""Errors of an API: problems for every client, and what of them is left to others."""

import pytest

from microweb import App, Router
from microweb.errors import Unauthorized
from microweb.ext.rest import Api, Resource, abort
from microweb.testing import Client

pytestmark = pytest.mark.anyio
BROWSER = {"accept": "text/html"}


class Taken(Exception):
    """One that the program raises."""


class Broken(Resource):
    async def get(self):
        raise ValueError("broken")

    def post(self):
        raise Taken

    async def put(self):
        abort(409, message={"name": "is taken"}, headers={"x-more": "yes"}, name="a")

    async def delete(self):
        raise Unauthorized(headers={"www-authenticate": "Basic"})


def make_app(**options):
    app = App(__name__)
    Api(app, **options).add_resource(Broken, "/broken")

    @app.get("/page")
    async def page():
        abort(404)

    return app


async def test_a_message_may_be_any_data_and_other_members_are_kept():
    async with Client(make_app()) as client:
        response = await client.put("/broken", headers=BROWSER)

    assert (response.status_code, response.headers["x-more"]) == (409, "yes")
    assert response.json() == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "detail": "The request conflicts with the current state of the resource.",
        "message": {"name": "is taken"},
        "name": "a",
    }


async def test_headers_of_an_error_stay():
    async with Client(make_app()) as client:
        response = await client.delete("/broken", headers=BROWSER)

    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Basic")
    assert response.headers["content-type"] == "application/problem+json"


async def test_an_unhandled_error_is_a_problem_too():
    async with Client(make_app(), raise_errors=False) as client:
        response = await client.get("/broken", headers=BROWSER)

    assert response.status_code == 500
    assert response.json()["title"] == "Internal Server Error"
    assert "broken" not in response.text


async def test_exceptions_of_the_program_have_a_status_by_name():
    errors = {"Taken": {"message": "That name is taken.", "status": 409, "hint": "take another"}}

    async with Client(make_app(errors=errors)) as client:
        response = await client.post("/broken")

    assert response.status_code == 409
    assert (response.json()["message"], response.json()["hint"]) == ("That name is taken.", "take another")


async def test_misses_are_problems_where_resources_are_and_pages_elsewhere():
    async with Client(make_app()) as client:
        below = await client.get("/broken/nothing", headers=BROWSER)
        method = await client.patch("/broken", headers=BROWSER)
        elsewhere = await client.get("/nothing", headers=BROWSER)
        page = await client.get("/page", headers=BROWSER)

    assert below.headers["content-type"] == method.headers["content-type"] == "application/problem+json"
    assert method.headers["allow"] == "DELETE, GET, HEAD, OPTIONS, POST, PUT"
    assert elsewhere.headers["content-type"] == page.headers["content-type"] == "text/html; charset=utf-8"


async def test_what_lies_beside_a_resource_is_none_of_the_api():
    app = App(__name__)
    Api(app).add_resource(Broken, "/shop/carts", "/shop/users/<int:id>")

    async with Client(app) as client:
        assert (await client.get("/shop/nothing", headers=BROWSER)).headers["content-type"].startswith("text/html")
        assert (await client.get("/shop/users/x", headers=BROWSER)).json()["status"] == 404


async def test_a_prefix_owns_the_misses_below_it():
    async with Client(make_app(prefix="/v1")) as client:
        response = await client.get("/v1/nothing/at/all", headers=BROWSER)

    assert (response.status_code, response.json()["message"]) == (404, "There is nothing at this address.")


async def test_catch_all_404s_makes_every_miss_a_problem_and_leaves_pages():
    async with Client(make_app(catch_all_404s=True)) as client:
        assert (await client.get("/nothing", headers=BROWSER)).json()["status"] == 404
        assert (await client.get("/page", headers=BROWSER)).headers["content-type"].startswith("text/html")


async def test_views_beside_an_api_on_a_router_keep_their_error_pages():
    app, router = App(__name__), Router("shop", __name__, prefix="/shop")
    Api(router).add_resource(Broken, "/broken")

    @router.get("/page")
    async def page():
        abort(404)

    app.mount("", router)

    async with Client(app) as client:
        assert (await client.get("/shop/page", headers=BROWSER)).headers["content-type"].startswith("text/html")
        assert (await client.put("/shop/broken", headers=BROWSER)).json()["status"] == 409


async def test_an_error_handler_that_answers_otherwise_is_left_alone():
    app = make_app()

    @app.errorhandler(409)
    async def conflict(error):
        return {"mine": error.status}, 409

    async with Client(app) as client:
        assert (await client.put("/broken", headers=BROWSER)).json() == {"mine": 409}


async def test_in_debug_mode_the_page_of_the_debugger_is_shown():
    app = make_app()
    app.debug = True

    async with Client(app, raise_errors=False) as client:
        response = await client.get("/broken", headers=BROWSER)

    assert response.headers["content-type"].startswith("text/html")


async def test_the_problem_of_a_client_that_takes_json_has_a_message_too():
    async with Client(make_app()) as client:
        response = await client.delete("/broken")

    assert response.json()["message"] == response.json()["detail"]


@pytest.mark.parametrize("status", [200, 999])
def test_a_status_that_is_no_error_cannot_be_aborted_with(status):
    with pytest.raises(ValueError, match="400 to 599"):
        abort(status)
