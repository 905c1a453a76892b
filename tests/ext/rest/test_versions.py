"""Two versions of one API: by prefix, and by the media type that a client accepts."""

import pytest

from microweb import App
from microweb.ext.rest import Api, MediaTypeVersions, Resource
from microweb.testing import Client

pytestmark = pytest.mark.anyio
V1 = "application/vnd.shop.v1+json"
V2 = "application/vnd.shop.v2+json"


def make_app(default=None, under="/api"):
    app = App(__name__)
    old = Api(app, prefix="/api/v1", media_type=V1)
    new = Api(app, prefix="/api/v2", media_type=V2)

    @old.resource("/carts/<name>", endpoint="old_cart")
    class OldCart(Resource):
        async def get(self, name):
            return {"cart": name}

    @new.resource("/carts/<name>", endpoint="new_cart")
    class NewCart(Resource):
        async def get(self, name, expand: bool = False):
            return {"name": name, "expand": expand}

    @app.get("/page")
    async def page():
        return "page"

    apis = {"old": old, "new": new}
    app.add_asgi_middleware(MediaTypeVersions, apis=[old, new], default=apis.get(default), under=under)
    return app


async def test_a_prefix_names_a_version():
    async with Client(make_app()) as client:
        assert (await client.get("/api/v1/carts/a")).json() == {"cart": "a"}
        assert (await client.get("/api/v2/carts/a?expand=1")).json() == {"name": "a", "expand": True}


async def test_an_accepted_media_type_names_a_version():
    async with Client(make_app()) as client:
        old = await client.get("/api/carts/a", headers={"accept": V1})
        new = await client.get("/api/carts/a", headers={"accept": f"text/html, {V2.upper()};q=0.9"})

    assert (old.json(), old.headers["content-type"]) == ({"cart": "a"}, V1)
    assert (new.json(), new.headers["vary"]) == ({"name": "a", "expand": False}, "Accept")


async def test_of_several_versions_the_one_that_is_wanted_most_is_served():
    async with Client(make_app(default="new")) as client:
        for accept, expected in (
            (f"{V1};q=0.5, {V2}", "name"),
            (f"{V2}; q=.2, {V1}; charset=utf-8; q=0.8", "cart"),
            (f"{V1}, {V2}", "cart"),
            (f"{V1};q=0, */*", "name"),
        ):
            answer = await client.get("/api/carts/a", headers={"accept": accept})
            assert next(iter(answer.json())) == expected, accept


async def test_who_names_no_version_gets_the_default_or_a_404():
    async with Client(make_app(default="new")) as client:
        assert (await client.get("/api/carts/a")).json() == {"name": "a", "expand": False}
        assert (await client.get("/page")).text == "page"
    async with Client(make_app()) as client:
        assert (await client.get("/api/carts/a")).status_code == 404


async def test_a_path_with_a_version_in_it_stays_whatever_is_accepted():
    async with Client(make_app(default="new")) as client:
        assert (await client.get("/api/v1/carts/a", headers={"accept": V2})).json() == {"cart": "a"}


async def test_both_spellings_of_a_path_move_together():
    async with Client(make_app()) as client:
        slash = await client.get("/api/carts/a%2Fb", headers={"accept": V1})
        escaped = await client.get("/%61pi/carts/a%2Fb", headers={"accept": V1})

    assert slash.json() == {"cart": "a/b"}
    assert escaped.status_code == 404


async def test_below_a_mount_the_path_moves_behind_it():
    outer = App(__name__)
    outer.mount("/shop", make_app())

    async with Client(outer) as client:
        assert (await client.get("/shop/api/carts/a", headers={"accept": V1})).json() == {"cart": "a"}
        assert (await client.get("/shop/apis/carts/a", headers={"accept": V1})).status_code == 404


def test_an_api_without_a_media_type_or_outside_is_refused():
    app = App(__name__)
    named = Api(app, prefix="/v1", media_type=V1)

    for apis in ([Api(app, prefix="/api/v1")], [named]):
        with pytest.raises(ValueError, match="media_type and a prefix below"):
            MediaTypeVersions(app, apis=apis, under="/api")
