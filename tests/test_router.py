"""What a program registers: mistakes are told at once or at the start, with file and line, and the rest is served."""

import linecache
import re
from contextlib import asynccontextmanager

import pytest

from microweb import App, Converter, Depends, Router, SetupError, StaticFiles, url_for
from microweb.middleware import CORS, ProxyHeaders
from microweb.testing import Client
from microweb.wsgi import WSGI

pytestmark = pytest.mark.anyio


async def view():
    return "view"


async def other():
    return "other"


async def layer(request, call_next):
    return await call_next(request)


class Plain:
    def __init__(self, app, minimum_size=0):
        self.app = app


async def takes_no_call_next(request):
    return "never"


async def fill_in_later(endpoint, values):
    values["language"] = "en"


def wsgi_app(environ, start_response):
    return []


def mount_in_a_circle(app):
    first, second = Router("first"), Router("second")
    first.mount("", second)
    second.mount("", first)
    app.mount("", first)


def mount_apps_in_a_circle(app):
    inner = App()
    app.mount("/inner", inner)
    inner.mount("/outer", app)


def mount_twice_under_one_name(app):
    router = Router("shop")
    app.mount("/here", router)
    app.mount("/there", router)


def mount_two_apps_under_one_name(app):
    app.mount("/here", App(), name="shop")
    app.mount("/there", App(), name="shop")


def mount_an_app_under_the_name_of_a_router(app):
    app.mount("/there", Router("blog"))
    app.mount("/here", App(), name="blog")


def name_two_views_alike(app):
    app.get("/1", endpoint="same")(view)
    app.get("/2", endpoint="same")(other)


def name_files_as_a_view(app):
    app.get("/", endpoint="files")(view)
    app.mount("/files", StaticFiles("."), name="files")


async def forgets_the_app():
    yield


async def connect(app):
    yield


MISTAKES = {
    "a route begins with its rule": lambda app: app.get(view),
    "a route begins with its rule, ": lambda app: app.websocket(view),
    "must start with a slash": lambda app: app.get("hello")(view),
    "the converter 'list', which does not exist": lambda app: app.get("/<list:x>")(view),
    "must be a function, not str": lambda app: app.get("/")("view"),
    "must not hold a dot": lambda app: app.get("/", endpoint="a.b")(view),
    "methods is a list": lambda app: app.route("/", methods="GET")(view),
    "methods is a list such as ['GET'], not [None]": lambda app: app.route("/", methods=[None])(view),
    "defaults= is a dict": lambda app: app.route("/", defaults=["page"])(view),
    "is not an HTTP method": lambda app: app.route("/", methods=["G T"])(view),
    "needs at least one method": lambda app: app.route("/", methods=[])(view),
    "routes have no subdomain=": lambda app: app.get("/", subdomain="www")(view),
    "dependencies= is a list": lambda app: app.get("/", dependencies=Depends(view))(view),
    "dependencies= is a list such as": lambda app: Router("x", dependencies=Depends(view)),
    "endpoint= is a name": lambda app: app.get("/", endpoint=3)(view),
    "middleware= is a list": lambda app: app.get("/", middleware=layer)(view),
    "middleware= is a list of functions, not 3": lambda app: app.get("/", middleware=3)(view),
    "strict_slashes= is True or False, not 'no'": lambda app: app.get("/", strict_slashes="no")(view),
    "forbid_unknown= is True or False": lambda app: app.get("/", forbid_unknown="no")(view),
    "host= is a host such as": lambda app: app.get("/", host=3)(view),
    "host= is a host such as 'api.example.org', not 3": lambda app: Router("x", host=3),
    "timeout= is a number": lambda app: app.get("/", timeout="5")(view),
    "more than 0, not True": lambda app: app.get("/", timeout=True)(view),
    "more than 0": lambda app: app.get("/", timeout=0)(view),
    "True or False, not 'yes'": lambda app: app.get("/", cancel_on_disconnect="yes")(view),
    "no methods=": lambda app: app.websocket("/", methods=["GET"]),
    "no cancel_on_disconnect=": lambda app: app.websocket("/", cancel_on_disconnect=True),
    "no max_form_parts=: they have no body": lambda app: app.websocket("/", max_form_parts=5),
    "no openapi=: only requests": lambda app: app.websocket("/", openapi=False),
    "websocket_max_message= is the limit": lambda app: app.websocket("/", max_content_length=5),
    "no host name": lambda app: app.get("/", host="a b")(view),
    "names two views": name_two_views_alike,
    "takes a Router or an ASGI app, not str": lambda app: app.mount("/x", "shop"),
    "mounted as WSGI(app)": lambda app: app.mount("/x", wsgi_app),
    "WSGI takes an app": lambda app: WSGI("shop"),
    'is "own" or "bubble"': lambda app: app.mount("/x", App(), errors="both"),
    "a prefix starts with a slash": lambda app: app.mount("x", Router("x")),
    "a prefix starts with a slash, not 3": lambda app: app.mount(3, Router("x")),
    "cannot be mounted in itself": lambda app: app.mount("/x", app),
    "mounted inside itself": mount_in_a_circle,
    "mounted inside itself, by way of": mount_apps_in_a_circle,
    "two routers are called 'shop'": mount_twice_under_one_name,
    "two routers are called 'shop'; mount one": mount_two_apps_under_one_name,
    "two routers are called 'blog'": mount_an_app_under_the_name_of_a_router,
    "one word without dots, not 'a.b'": lambda app: Router("a.b"),
    "one word without dots, not ''": lambda app: Router(""),
    "one word without dots, not 'c.d'": lambda app: app.mount("", Router("x"), name="c.d"),
    "one word without dots, not 'e.f'": lambda app: app.mount("/x", App(), name="e.f"),
    "before_request takes a function": lambda app: app.before_request("guard"),
    "must be `async def`": lambda app: app.middleware(lambda request, call_next: None),
    "must take two arguments, (request, call_next)": lambda app: app.add_middleware(takes_no_call_next),
    "takes a class or function, not None": lambda app: app.add_asgi_middleware(None),
    "takes a status from 400 to 599, not 200": lambda app: app.errorhandler(200),
    "takes a status or a class of Exception": lambda app: app.errorhandler(view),
    "as in errorhandler(404), not '404'": lambda app: app.errorhandler("404"),
    "is awaited, so it belongs into add_middleware": lambda app: app.add_asgi_middleware(CORS(["*"])),
    "takes_no_call_next is awaited": lambda app: app.add_asgi_middleware(takes_no_call_next),
    "no trusted=; a class of ASGI middleware": lambda app: app.add_middleware(ProxyHeaders, trusted=["unix"]),
    "no minimum_size=; a class of ASGI middleware": lambda app: app.add_middleware(Plain, minimum_size=1),
    "post() is for POST alone; for more say route('/a', methods=[...])": lambda app: app.post("/a", methods=["PUT"]),
    "is used with parentheses": lambda app: app.template_filter(view),
    "a converter is a subclass of Converter": lambda app: app.converters.update({"list": list}),
    "a converter is a subclass of Converter, not": lambda app: app.converters.__ior__({"list": list}),
    "a lifespan is an `async def` with one `yield`": lambda app: app.lifespan(view),
    "taking the app": lambda app: app.lifespan(forgets_the_app),
    "forgets_the_app takes no argument": lambda app: app.lifespan(forgets_the_app),
    "leave out @asynccontextmanager": lambda app: app.lifespan(asynccontextmanager(connect)),
    "a lifespan is an": lambda app: app.lifespan(dict),
    "the url_defaults function": lambda app: app.url_defaults(fill_in_later),
    "the url_value_preprocessor function": lambda app: app.url_value_preprocessor(fill_in_later),
    "must take two arguments, (endpoint, values)": lambda app: app.url_value_preprocessor(lambda values: None),
    "override(dependency, replacement) takes functions": lambda app: app.override(view, "nobody"),
    "there is no event 'start'": lambda app: app.on("start"),
    "an observer of 'exception' may name": lambda app: app.on("exception")(lambda mistake: None),
}


@pytest.mark.parametrize(("message", "register"), MISTAKES.items(), ids=MISTAKES)
async def test_a_mistake_is_told_with_file_and_line(message, register):
    app = App(__name__, static_folder=None)

    with pytest.raises(SetupError, match=re.escape(message)) as caught:
        register(app)
        async with Client(app):
            pass

    assert re.search(r"test_router\.py:\d+", str(caught.value))


@pytest.mark.parametrize(
    ("option", "meant"),
    {
        "dependancies": "dependencies",
        "forbid_unkown": "forbid_unknown",
        "timout": "timeout",
        "method": "methods",
    }.items(),
)
async def test_a_misspelled_option_is_refused_for_it_may_have_been_a_guard(option, meant):
    app = App(__name__)

    with pytest.raises(SetupError, match=rf"routes have no {option}=, use {meant}= \(.*test_router.py"):
        app.get("/", **{option: []})(view)


@pytest.mark.parametrize("option", ["max_headers", "max_url_length", "max_ranges", "trusted_hosts", "sync_threads"])
async def test_a_limit_of_the_whole_app_is_refused_on_a_route(option):
    app = App(__name__)

    with pytest.raises(SetupError, match=rf"routes have no {option}=, use {option.upper()} in the config"):
        app.get("/", **{option: 5})(view)


async def test_an_option_of_an_extension_is_kept_for_it():
    app = App(__name__)
    app.get("/", audited=True)(view)

    assert app.routes[0].options == {"audited": True}


async def test_two_identical_rules_are_refused_with_both_places():
    app, blog = App(__name__), Router("blog", __name__, prefix="/blog")
    app.get("/blog/<int:post>")(view)
    blog.get("/<int:number>")(other)
    app.mount("", blog)

    with pytest.raises(SetupError) as caught:
        app.explain("GET", "/")

    lines = set(re.findall(r"test_router\.py:(\d+)", str(caught.value)))
    assert len(lines) == 2


@pytest.mark.parametrize(
    "register",
    [
        name_two_views_alike,
        name_files_as_a_view,
        mount_twice_under_one_name,
        mount_two_apps_under_one_name,
        mount_an_app_under_the_name_of_a_router,
    ],
)
def test_two_of_one_name_are_refused_with_both_places(register):
    app = App(__name__, static_folder=None)
    register(app)

    with pytest.raises(SetupError) as caught:
        app.explain("GET", "/")

    assert len(set(re.findall(r"test_router\.py:(\d+)", str(caught.value)))) == 2


def test_a_prefix_that_spans_segments_is_refused_where_it_is_written():
    in_router, in_mount = App(__name__), App(__name__)
    plain = Router("plain", __name__)
    wide = Router("wide", __name__, prefix="/<path:here>")
    in_router.mount("/x", wide)
    in_mount.mount("/<path:here>", plain)

    for app in (in_router, in_mount):
        with pytest.raises(SetupError, match="spans segments") as caught:
            app.explain("GET", "/")
        [line] = re.findall(r"test_router\.py:(\d+)", str(caught.value))
        assert "/<path:here>" in linecache.getline(__file__, int(line))


async def test_slashes_are_strict_unless_the_app_or_the_rule_says_otherwise():
    strict, lax = App(__name__), App(__name__, strict_slashes=False)
    strict.get("/a/")(view)
    strict.get("/b/", strict_slashes=False, endpoint="b")(view)
    lax.get("/a/")(view)
    lax.get("/b/", strict_slashes=True, endpoint="b")(view)

    async with Client(strict) as of_strict, Client(lax) as of_lax:
        found = [(await client.get(path)).status_code for client in (of_strict, of_lax) for path in ("/a", "/b")]

    assert found == [308, 200, 200, 308]


async def test_an_app_may_stop_being_strict_after_it_has_built_a_url():
    app = App(__name__)
    app.get("/a/", endpoint="a")(view)
    assert app.url_for("a") == "/a/"

    app.strict_slashes = False

    async with Client(app) as client:
        assert (await client.get("/a")).status_code == 200


async def test_a_rule_without_a_variable_gives_it_by_default():
    app = App(__name__)

    @app.get("/books/", defaults={"page": 1})
    @app.get("/books/<int:page>")
    async def books(page):
        return {"page": page}

    async with Client(app) as client:
        pages = [(await client.get(path)).json()["page"] for path in ("/books/", "/books/3")]

    assert pages == [1, 3]


class ListConverter(Converter):
    regex = "[^/]+"

    def to_python(self, value):
        return value.split(",")

    def to_url(self, value):
        return ",".join(value)


@pytest.mark.parametrize("add", ["setitem", "update", "update by name", "union"])
async def test_a_converter_of_the_program_reads_and_writes_its_variable(add):
    app = App(__name__)
    if add == "setitem":
        app.converters["list"] = ListConverter
    elif add == "update":
        app.converters.update({"list": ListConverter})
    elif add == "union":
        app.converters |= {"list": ListConverter}
    else:
        app.converters.update(list=ListConverter)

    @app.get("/tags/<list:tags>")
    async def show(tags):
        return {"tags": tags, "url": app.url_for("show", tags=["c", "d"])}

    async with Client(app) as client:
        assert (await client.get("/tags/a,b")).json() == {"tags": ["a", "b"], "url": "/tags/c,d"}


def test_a_converter_in_the_place_of_a_built_in_one_holds_in_routers_too():
    class Shouted(Converter):
        def to_url(self, value):
            return value.upper()

    app, outer, inner = App(__name__), Router("outer", __name__), Router("inner", __name__, prefix="/<prefix>")
    app.converters["default"] = Shouted
    inner.converters["string"] = Shouted
    inner.get("/<name>/<string:other>")(view)
    outer.mount("", inner)
    app.mount("/<string:first>", outer)

    url = app.url_for("outer.inner.view", first="a", prefix="b", name="c", other="d")

    assert url == "/a/B/C/D"


async def test_each_verb_has_its_decorator():
    app = App(__name__)
    for verb in ("get", "post", "put", "patch", "delete"):
        getattr(app, verb)("/", endpoint=verb)(view)
    app.route("/both", methods=["get", "POST"])(view)

    async with Client(app) as client:
        statuses = [(await client.request(verb, "/")).status_code for verb in ("GET", "POST", "PUT", "PATCH", "DELETE")]
        allow = (await client.put("/both")).headers["allow"]

    assert statuses == [200] * 5
    assert allow == "GET, HEAD, OPTIONS, POST"


async def test_a_router_serves_where_its_host_is_asked_for():
    app, api = App(__name__), Router("api", __name__, host="<tenant>.example.org")

    @api.get("/")
    async def home(tenant):
        return tenant

    app.get("/")(view)
    app.mount("", api)

    async with Client(app) as client:
        assert (await client.get("http://ada.example.org/")).text == "ada"
        assert (await client.get("http://example.org/")).text == "view"


async def test_layers_of_app_router_and_route_run_in_the_order_written():
    app, blog, order = App(__name__), Router("blog", __name__, prefix="/blog"), []

    def note(name):
        async def noting(request, call_next):
            order.append(name)
            response = await call_next(request)
            order.append(f"/{name}")
            return response

        return noting

    app.add_middleware(note("app 1"))
    app.add_middleware(note("app 2"))
    blog.add_middleware(note("router"))
    blog.get("/", middleware=[note("route 1"), note("route 2")])(view)
    app.mount("", blog)

    async with Client(app) as client:
        await client.get("/blog/")

    inwards = ["app 1", "app 2", "router", "route 1", "route 2"]
    assert order == inwards + [f"/{name}" for name in reversed(inwards)]


@pytest.mark.parametrize("option", ["status_code", "response_model", "response_class", "include_in_schema"])
async def test_an_option_of_fastapi_is_refused_with_what_to_write_instead(option):
    app = App(__name__)

    with pytest.raises(SetupError, match=rf"routes have no {option}=, use .* \(.*test_router.py"):
        app.get("/", **{option: None})(view)


async def test_a_middleware_class_is_refused_with_both_ways_to_add_it():
    app = App(__name__)

    class Layer:
        async def __call__(self, request, call_next):
            return await call_next(request)

    app.add_middleware(Layer)

    with pytest.raises(
        SetupError, match=r"Layer is a class; .* Layer\(\.\.\.\), .*add_asgi_middleware.*test_router.py"
    ):
        async with Client(app):
            pass


@pytest.mark.parametrize("at", ["router", "mount"])
async def test_the_slash_at_the_end_of_a_prefix_is_that_of_an_empty_rule(at):
    app, inner = App(__name__), App(__name__)
    shop = Router("shop", __name__, prefix="/shop/" if at == "router" else "")
    shop.add_route("", lambda: url_for(".list"), endpoint="list")
    shop.add_route("/cart", lambda: url_for(".cart"), endpoint="cart")
    inner.add_route("/", lambda: "the app inside", endpoint="home")
    shop.mount("/inner/", inner)
    app.mount("/shop/" if at == "mount" else "", shop)

    async with app.test_client() as client:
        paths = ["/shop/", "/shop/cart", "/shop/inner/", "/shop/inner"]
        answers = [(await client.get(path)).text for path in paths]
        bare = await client.get("/shop")

    assert answers == ["/shop/", "/shop/cart", "the app inside", "the app inside"]
    assert (bare.status_code, bare.headers["location"]) == (308, "/shop/")


async def test_a_method_of_an_object_may_be_the_view_of_several_rules():
    class Shop:
        def list(self, page=1):
            return f"page {page}"

    app, shop = App(__name__), Shop()
    app.add_route("/", shop.list)
    app.add_route("/<int:page>", shop.list)

    async with app.test_client() as client:
        assert [(await client.get(path)).text for path in ("/", "/2")] == ["page 1", "page 2"]


async def test_what_a_decorator_for_flask_marks_on_a_view_is_kept_to():
    async def shown(request):
        return request.method

    shown.required_methods = {"OPTIONS"}
    shown.provide_automatic_options = False
    app = App(__name__)
    app.add_route("/", shown)

    async with app.test_client() as client:
        assert (await client.options("/")).text == "OPTIONS"

    del shown.required_methods
    with pytest.raises(SetupError, match=r"no provide_automatic_options = False, use methods=\[\"OPTIONS\""):
        App(__name__).add_route("/", shown)


async def test_two_views_named_by_their_decorator_are_refused_with_a_hint():
    app = App(__name__)

    def decorate(view):
        async def wrapper():
            return await view()

        return wrapper

    app.get("/a")(decorate(view))
    app.get("/b")(decorate(view))

    with pytest.raises(SetupError, match=r"'wrapper' names two views: .* functools\.wraps"):
        async with Client(app):
            pass
