"""``url_for``: names, values, roots, hosts, whole URLs."""

import pytest

from microweb import App, Converter, Request, Router, g, url_for
from microweb.errors import BuildError, OutsideContextError
from microweb.testing import Client


async def view(**values):
    return ""


def make_app(**config) -> App:
    app = App(__name__, config=config)
    app.add_route("/", view, endpoint="home")
    app.add_route("/user/<name>", view, endpoint="user")
    app.add_route("/list/", view, defaults={"page": 1}, endpoint="list")
    app.add_route("/list/<int:page>", view, endpoint="list")
    app.add_route("/item/<int:id>", view, endpoint="item", methods=["GET"])
    app.websocket("/ws", endpoint="ws")(view)
    return app


@pytest.mark.parametrize(
    ("endpoint", "values", "url"),
    [
        ("home", {}, "/"),
        ("home", {"q": "a b", "n": [1, 2], "none": None}, "/?q=a%20b&n=1&n=2"),
        ("user", {"name": "a/b ü"}, "/user/a%2Fb%20%C3%BC"),
        ("list", {"page": 1}, "/list/"),
        ("list", {"page": 2}, "/list/2"),
        ("user", {"name": "x", "_anchor": "top of page"}, "/user/x#top%20of%20page"),
        ("user", {"name": "x", "_anchor": "\r\n?#<é"}, "/user/x#%0D%0A?%23%3C%C3%A9"),
        ("user", {"name": "x", "_anchor": 0}, "/user/x#0"),
        ("user", {"name": "x", "_anchor": ""}, "/user/x"),
        ("item", {"id": 3, "_method": "GET"}, "/item/3"),
    ],
)
def test_a_url_is_built_outside_of_a_request_as_a_path(endpoint, values, url):
    built = make_app().url_for(endpoint, **values)

    assert built.replace("+", "%20") == url


@pytest.mark.parametrize(
    ("options", "url"),
    [
        ({"_external": True}, "https://example.com/user/x"),
        ({"_scheme": "http"}, "http://example.com/user/x"),
        ({"_external": False}, "/user/x"),
    ],
)
def test_a_whole_url_outside_of_a_request_comes_from_the_config(options, url):
    app = make_app(SERVER_NAME="example.com", PREFERRED_URL_SCHEME="https")

    assert app.url_for("user", name="x", **options) == url


def test_a_whole_url_without_a_server_name_says_what_to_set():
    with pytest.raises(OutsideContextError, match="SERVER_NAME"):
        make_app().url_for("home", _external=True)


def test_the_application_root_is_put_before_urls_outside_of_a_request():
    assert make_app(APPLICATION_ROOT="/app").url_for("home") == "/app/"


@pytest.mark.parametrize(
    ("endpoint", "values", "said"), [("usr", {}, "user"), ("user", {}, "name"), ("item", {"id": "x"}, "item")]
)
def test_what_cannot_be_built_says_why(endpoint, values, said):
    with pytest.raises(BuildError, match=said):
        make_app().url_for(endpoint, **values)


def test_a_path_that_is_built_never_names_a_host():
    app = App(__name__)

    class Optional(Converter):
        regex = "[^/]*"

    app.converters["optional"] = Optional

    @app.get("/<optional:tenant>/<page>")
    async def show(tenant, page): ...

    assert app.url_for("show", tenant="", page="example.org") == "/.//example.org"


def test_a_url_may_leave_the_scheme_to_the_page_it_is_on():
    app = make_app(SERVER_NAME="example.org")

    assert app.url_for("home", _scheme="") == "//example.org/"


@pytest.mark.parametrize("scheme", ["//evil.example/", "https:", "javascript:alert(1)", "java\r\nscript", " http", "é"])
def test_a_scheme_that_is_none_is_refused(scheme):
    app = make_app(SERVER_NAME="example.org")

    with pytest.raises(ValueError, match="is no scheme of a URL"):
        app.url_for("home", _scheme=scheme)


@pytest.mark.parametrize("host", ["2001:db8::7", "[2001:DB8::7]"])
def test_an_address_in_a_whole_url_has_its_brackets(host):
    app = make_app(SERVER_NAME="example.org:8000")
    app.add_route("/status", view, endpoint="status", host=host)

    assert app.url_for("status") == "http://[2001:db8::7]:8000/status"


def test_an_app_that_is_mounted_with_a_slash_has_one_slash_in_its_urls():
    app, inner = make_app(), App(__name__)
    inner.add_route("/cart", view, endpoint="cart")
    app.mount("/shop/", inner, name="shop")

    assert app.url_for("shop.cart") == "/shop/cart"


def test_a_value_may_be_called_self():
    app = make_app()

    with app.app_context():
        assert url_for("home", self=1) == app.url_for("home", self=1) == "/?self=1"


def test_an_endpoint_that_is_no_name_is_an_error():
    with pytest.raises(TypeError, match=r"takes the name of an endpoint, such as 'blog\.post', not <function view"):
        make_app().url_for(view)


def test_url_for_without_an_app_says_so():
    with pytest.raises(OutsideContextError, match="url_for"):
        url_for("home")


def test_a_relative_name_outside_of_a_request_is_one_of_the_app():
    assert make_app().url_for(".user", name="x") == "/user/x"


def test_url_for_works_in_an_app_context():
    with make_app().app_context():
        assert url_for("user", name="x") == "/user/x"


def test_url_for_in_a_test_request_context_is_relative_to_its_router():
    app, blog, inner = make_app(), Router("blog", __name__, prefix="/blog"), Router("inner", __name__, prefix="/in")
    blog.add_route("/", view, endpoint="index")
    inner.add_route("/", view, endpoint="index")
    inner.add_route("/deep", view, endpoint="deep")
    blog.mount("", inner)
    app.mount("", blog)

    with app.test_request_context("/blog/in/deep") as request:
        assert (request.endpoint, request.blueprint) == ("blog.inner.deep", "blog.inner")
        assert url_for(".index") == "/blog/in/"
        assert url_for(".home") == "/"
        assert url_for("blog.index") == "/blog/"
        assert url_for("home", _external=True) == "http://localhost/"
        assert url_for("ws", _external=True) == "ws://localhost/ws"


def test_url_defaults_and_preprocessors_carry_a_value_through():
    app, site = App(__name__), Router("site", __name__, prefix="/<lang>")

    @site.url_defaults
    def add_language(endpoint, values):
        values.setdefault("lang", "en")

    site.add_route("/about", view, endpoint="about")
    app.mount("", site)

    assert app.url_for("site.about") == "/en/about"
    assert app.url_for("site.about", lang="de") == "/de/about"


@pytest.mark.anyio
async def test_a_preprocessor_may_take_a_path_variable_away():
    app, site = App(__name__), Router("site", __name__, prefix="/<lang>")

    @site.url_value_preprocessor
    def take_language(endpoint, values):
        seen.append((endpoint, values.pop("lang")))

    @site.before_request
    async def before(request: Request):
        seen.append(dict(request.view_args))

    @site.get("/<int:number>")
    async def page(number):
        return str(number)

    seen: list[object] = []
    app.mount("", site)

    async with Client(app) as client:
        assert (await client.get("/de/5")).text == "5"
    assert seen == [("site.page", "de"), {"number": 5}]


@pytest.mark.anyio
async def test_hosts_route_and_build():
    app = App(__name__)
    api = Router("api", __name__, host="api.example.com")
    tenants = Router("tenants", __name__, host="<tenant>.example.com")

    @api.get("/")
    async def api_home():
        return url_for("tenants.tenant_home", tenant="t")

    @tenants.get("/")
    async def tenant_home(tenant):
        return f"{tenant} {url_for('.tenant_home', tenant=tenant)}"

    @app.get("/")
    async def home():
        return "default " + url_for("api.api_home")

    app.mount("", api)
    app.mount("", tenants)

    async with Client(app) as client:
        ask = lambda host: client.get("/", headers={"host": host})  # noqa: E731
        assert (await ask("api.example.com:8000")).text == "http://t.example.com:8000/"
        assert (await ask("ada.example.com")).text == "ada /"
        assert (await ask("ADA.Example.com:8000")).text == "ada /"
        assert (await ask("[::1]:8000")).text == "default http://api.example.com:8000/"
        assert (await ask("elsewhere")).text == "default http://api.example.com/"


@pytest.mark.anyio
async def test_the_rule_on_the_current_host_is_taken_across_mounted_apps_too():
    inner, between, outer = App(__name__), App(__name__), App(__name__)
    for app in (inner, outer):
        app.add_route("/first", view, endpoint="both", host="first.example")
        app.add_route("/second", view, endpoint="both", host="second.example")

    @between.get("/")
    async def links():
        return f"{url_for('inner.both')} {url_for('both')}"

    between.mount("/inner", inner, name="inner")
    outer.mount("/between", between)

    async with Client(outer, base_url="http://second.example") as client:
        assert (await client.get("/between/")).text == "/between/inner/second /second"


def test_a_variable_of_the_host_that_an_app_is_mounted_on_is_no_query():
    app, router, inner = App(__name__), Router("shop", host="<tenant>.example.org"), App(__name__)
    inner.get("/<name>", endpoint="show")(lambda name: name)
    router.mount("/inner", inner, name="inner")
    app.mount("", router)

    assert app.url_for("shop.inner.show", tenant="ada", name="hat") == "http://ada.example.org/inner/hat"


@pytest.mark.anyio
async def test_url_defaults_fill_in_where_an_app_is_mounted():
    app, site, shop = App(__name__), Router("site", __name__, prefix="/<lang>"), App("shop")

    @site.url_value_preprocessor
    def take_language(endpoint, values):
        g.language = values.pop("lang", None)

    @site.url_defaults
    def add_language(endpoint, values):
        values.setdefault("lang", g.language)
        values.setdefault("unasked", "for")

    @site.get("/")
    async def home():
        return [url_for("site.shop.hat", size=7), url_for("site.shop.hat", size=7, lang="fr", color="red")]

    shop.add_route("/hats/<int:size>", view, endpoint="hat")
    site.mount("/shop", shop, name="shop")
    app.mount("", site)

    async with Client(app) as client:
        assert (await client.get("/de/")).json() == ["/de/shop/hats/7", "/fr/shop/hats/7?color=red"]


def test_a_value_that_is_missing_for_where_an_app_is_mounted_is_named_with_the_endpoint():
    app, shop = App(__name__), App("shop")
    shop.add_route("/hat", view, endpoint="hat")
    app.mount("/<tenant>", shop, name="shop")

    with pytest.raises(BuildError, match=r"endpoint 'shop\.hat': the value for 'tenant' is missing"):
        app.url_for("shop.hat")


@pytest.mark.anyio
async def test_of_the_endpoints_that_were_looked_for_the_one_that_is_there_is_named():
    app, shop, router = App(__name__), App("shop"), Router("router", "x")

    @router.get("/")
    async def home():
        with pytest.raises(BuildError, match="'/page/<int:number>' needs 'number'"):
            url_for(".page")
        with pytest.raises(BuildError, match="no endpoint 'nowhere'") as caught:
            url_for("nowhere")
        assert caught.type is BuildError
        return "home"

    shop.mount("", router)
    app.add_route("/page/<int:number>", lambda number: "", endpoint="page")
    app.mount("/shop", shop)

    async with Client(app) as client:
        assert (await client.get("/shop/")).text == "home"
