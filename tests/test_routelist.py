"""The list of routes: what `app.list_routes()` tells an extension."""

import pytest

from microweb import App, Router, SetupError, StaticFiles
from microweb.testing import Client


def new_app():
    return App(__name__, static_folder=None)


async def view():
    return "view"


def test_a_route_is_listed_with_what_was_said_of_it():
    app = new_app()
    app.add_route("/books/<int:page>", view, methods=["GET", "POST"], defaults={"size": 9}, cached=60)

    (route,) = app.list_routes()

    assert (route.kind, route.rule, route.methods) == ("view", "/books/<int:page>", {"GET", "POST"})
    assert (route.endpoint, route.view, route.router, route.host) == ("view", view, "", None)
    assert (route.variables, route.defaults, route.options) == (("page",), {"size": 9}, {"cached": 60})
    assert __file__ in route.place


def test_a_listed_route_cannot_be_changed():
    app = new_app()
    app.add_route("/", view)

    with pytest.raises(AttributeError):
        app.list_routes()[0].rule = "/other"


def test_a_router_that_is_mounted_twice_is_listed_twice():
    app, shop, goods = new_app(), Router("shop", prefix="/shop"), Router("goods", prefix="/goods")
    goods.add_route("/<name>", view)
    shop.mount("", goods)
    app.mount("/one", shop)
    app.mount("/two", shop, name="second")

    listed = [(route.rule, route.endpoint, route.router) for route in app.list_routes()]

    assert listed == [
        ("/one/shop/goods/<name>", "shop.goods.view", "shop.goods"),
        ("/two/shop/goods/<name>", "second.goods.view", "second.goods"),
    ]


def test_websockets_and_mounts_are_told_apart():
    app = new_app()
    files = StaticFiles("files")
    app.websocket("/live")(view)
    app.mount("/files", files, name="files")

    live, mount = app.list_routes()

    assert (live.kind, live.rule, live.methods, live.view) == ("websocket", "/live", frozenset(), view)
    assert (mount.kind, mount.rule, mount.methods, mount.view) == ("mount", "/files", frozenset(), files)
    assert mount.endpoint == "files"


def test_the_routes_of_mounted_apps_are_listed_as_the_outer_app_sees_them():
    app, inner, innermost = new_app(), new_app(), new_app()
    innermost.add_route("/<int:number>", view)
    inner.mount("/deep", innermost, name="deep")
    app.mount("/<tenant>/inner", inner, name="inner")

    kinds, route = [route.kind for route in app.list_routes()], app.list_routes()[-1]

    assert kinds == ["mount", "mount", "view"]
    assert (route.rule, route.endpoint) == ("/<tenant>/inner/deep/<int:number>", "inner.deep.view")
    assert (route.variables, route.router) == (("tenant", "number"), "inner.deep")
    assert app.url_for(route.endpoint, tenant="ada", number=7) == "/ada/inner/deep/7"


def test_where_url_for_finds_no_way_there_is_no_endpoint():
    app, inner = new_app(), new_app()
    inner.add_route("/", view)
    app.mount("/inner", inner)

    assert [(route.rule, route.endpoint) for route in app.list_routes()] == [("/inner", None), ("/inner/", None)]


def test_what_a_mounted_app_has_belongs_to_the_router_that_it_is_mounted_on():
    app, shop, inner = new_app(), Router("shop", prefix="/shop"), new_app()
    inner.add_route("/", view)
    shop.mount("/inner", inner)
    app.mount("", shop)

    assert [(route.rule, route.router) for route in app.list_routes()] == [
        ("/shop/inner", "shop"),
        ("/shop/inner/", "shop"),
    ]


def test_a_host_is_listed_with_its_variables():
    app, router, inner = new_app(), Router("shop", host="<tenant>.example.org"), new_app()
    inner.add_route("/<name>", view)
    router.mount("/inner", inner, name="inner")
    app.mount("", router)

    route = app.list_routes()[-1]

    assert (route.host, route.rule, route.variables) == ("<tenant>.example.org", "/inner/<name>", ("tenant", "name"))
    assert app.url_for(route.endpoint, tenant="ada", name="hat") == "http://ada.example.org/inner/hat"


@pytest.mark.anyio
async def test_the_list_is_the_same_before_and_after_the_app_has_started():
    app, inner = new_app(), new_app()
    inner.add_route("/", view)
    app.mount("/inner", inner, name="inner")
    before = app.list_routes()

    async with Client(app) as client:
        await client.get("/inner/")
        after = app.list_routes()

    assert [route.rule for route in before] == ["/inner", "/inner/"]
    assert after == before


def test_a_mistake_of_the_program_is_told():
    app = new_app()
    app.mount("", Router("shop"))
    app.mount("", Router("shop"))

    with pytest.raises(SetupError, match="two routers are called 'shop'"):
        app.list_routes()
