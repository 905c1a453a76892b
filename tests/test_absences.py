"""Attributes that Flask has and microweb has not: reading and setting them says what to write instead."""

import inspect
import re
from datetime import timedelta

import flask
import pytest
import werkzeug.datastructures
from werkzeug.utils import header_property

import microweb
from microweb import App, Request, Response, Router, WebSocket, request, session
from microweb.absences import (
    OF_A_COROUTINES_REQUEST,
    OF_A_MULTI_DICT,
    OF_A_REQUEST,
    OF_A_RESPONSE,
    OF_A_ROUTER,
    OF_ACCEPTING,
    OF_AN_APP,
    OF_HEADER_LINES,
    OF_HEADERS,
    OF_LIMITING_A_REQUEST,
    OF_MAKING_A_ROUTER,
    OF_MAKING_AN_APP,
    OF_THE_PACKAGE,
)
from microweb.accept import Accept, AcceptLanguage
from microweb.errors import NotFound
from microweb.headers import Headers, RequestHeaders
from microweb.multidict import MultiDict
from microweb.testing import SyncClient


@pytest.mark.parametrize(
    ("holder", "name", "instead"),
    [
        (App(__name__), "register_blueprint", "mount"),
        (App(__name__), "wsgi_app", "add_asgi_middleware"),
        (Router("shop"), "add_url_rule", "add_route"),
        (App(__name__), "before_serving", "lifespan"),
        (App(__name__), "make_default_options_response", "the middleware CORS"),
        (App(__name__).app_context(), "push", r"with app.app_context\(\)"),
        (App(__name__).test_request_context(), "push", r"with app.app_context\(\)"),
        (WebSocket, "send", "await websocket.send_text"),
        (Response(), "cache_control", 'headers\\["cache-control"\\]'),
        (Response(), "direct_passthrough", "is_streamed"),
        (Response(), "iter_encoded", "body, or the iterable of a StreamingResponse"),
        (Headers(), "set", r"headers\[name\] = value"),
        (RequestHeaders([]), "get_all", r"getlist\(name\)"),
        (MultiDict(), "update", r"to_dict\(\), which may be changed"),
        (AcceptLanguage(), "best_match", r"best\(\[...\]\)"),
        (NotFound(), "get_response", r"\(body, error.code\), returned by the handler"),
    ],
)
def test_reading_what_is_not_there_says_what_to_use(holder, name, instead):
    with pytest.raises(AttributeError, match=f"has no {name}; use {instead}"):
        getattr(holder, name)


def test_importing_what_is_not_there_says_what_to_use():
    with pytest.raises(ImportError, match=r"^microweb has no Blueprint; use Router$"):
        from microweb import Blueprint  # noqa: F401 - the import raises
    with pytest.raises(ImportError, match="cannot import name 'nonsense'"):
        from microweb import nonsense  # noqa: F401 - the import raises


def test_the_package_says_what_to_use_and_has_no_name_of_flask_that_is_not_there():
    with pytest.raises(AttributeError, match=r"^microweb has no stream_with_context; use the generator as it is"):
        microweb.stream_with_context  # noqa: B018 - the touch raises

    assert not any(hasattr(microweb, name) for name in OF_THE_PACKAGE)
    assert OF_THE_PACKAGE.keys() - {"Markup", "escape"} <= set(dir(flask))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Router("shop", __name__, url_prefix="/shop"), "Router.__init__() has no url_prefix=; use prefix="),
        (lambda: App(__name__, subdomain_matching=True), "App.__init__() has no subdomain_matching=; use host="),
        (lambda: App(__name__).test_request_context(data={}), "App.test_request_context() has no data=; use body="),
        (lambda: App(__name__).mount(Router("shop"), url_prefix="/"), "Router.mount() has no url_prefix=; use mount("),
    ],
)
def test_an_option_that_is_not_there_says_what_to_write(make, said):
    with pytest.raises(TypeError, match=re.escape(said)):
        make()


def test_the_options_that_are_not_there_are_those_of_flask():
    for ours, theirs in [
        (OF_MAKING_A_ROUTER, flask.Blueprint.__init__),
        (OF_MAKING_AN_APP, flask.Flask.__init__),
    ]:
        assert ours.keys() <= inspect.signature(theirs).parameters.keys()


@pytest.mark.parametrize(
    ("names", "ours", "theirs"),
    [
        (OF_HEADER_LINES | OF_HEADERS, Headers(), werkzeug.datastructures.Headers),
        (OF_HEADER_LINES, RequestHeaders([]), werkzeug.datastructures.EnvironHeaders),
        (OF_A_MULTI_DICT, MultiDict(), werkzeug.datastructures.ImmutableMultiDict),
        (OF_ACCEPTING, Accept(), werkzeug.datastructures.MIMEAccept),
    ],
)
def test_what_headers_and_the_like_have_not_is_what_werkzeugs_have(names, ours, theirs):
    assert names.keys() <= set(dir(theirs))
    assert not any(hasattr(ours, name) for name in names)


def test_setting_what_would_do_nothing_is_an_error():
    app = App(__name__)

    with pytest.raises(AttributeError, match="App has no session_interface to be set; use session_store"):
        app.session_interface = object()
    with pytest.raises(AttributeError, match="Response has no status to be set; use status_code"):
        Response().status = "404 Not Found"
    with pytest.raises(AttributeError, match="Response has no response to be set; use body"):
        Response().response = [b"another"]


def test_no_header_that_flask_has_an_attribute_for_is_set_in_silence():
    attributes = [name for name, value in inspect.getmembers(flask.Response) if isinstance(value, header_property)]
    response = Response("x")

    for name in {*attributes, "allow", "content_range", "content_security_policy"} - set(dir(Response)):
        with pytest.raises(AttributeError, match=f"Response has no {name} to be set; use headers"):
            setattr(response, name, "x")

    assert "access_control_allow_origin" in attributes


def test_a_subclass_that_sets_what_would_do_nothing_is_an_error():
    with pytest.raises(AttributeError, match=r"App has no jinja_options to be set in .*Shop; use jinja_env"):

        class Shop(App):
            jinja_options = {"trim_blocks": True}  # noqa: RUF012 - as programs for Flask have it

    with pytest.raises(AttributeError, match=r"App has no response_class to be set in .*Library; use Response"):

        class Library(App):
            response_class = Response


@pytest.mark.parametrize("name", OF_LIMITING_A_REQUEST)
def test_a_limit_that_a_request_would_pass_over_is_not_set_in_silence(name):
    app = App(__name__)

    @app.get("/def")
    def plain():
        setattr(request, name, 5)

    @app.get("/async")
    async def view():
        setattr(request, name, 5)

    with SyncClient(app) as client:
        for path in ("/def", "/async"):
            with pytest.raises(AttributeError, match=f"Request has no {name} to be set; use .*{name.upper()}"):
                client.get(path)
    with pytest.raises(AttributeError, match=f"Request has no {name} to be set in Own; use"):
        type("Own", (Request,), {name: 5})


def test_a_subclass_may_have_a_method_or_a_property_of_that_name():
    class Shop(App):
        def add_url_rule(self, rule, endpoint=None, view_func=None, **options):
            self.add_route(rule, view_func, endpoint=endpoint, **options)

    app = Shop(__name__)
    app.add_url_rule("/", "home", lambda: "the shop")

    with SyncClient(app) as client:
        assert client.get("/").text == "the shop"


@pytest.mark.anyio
async def test_a_request_of_coroutine_code_says_what_to_await():
    app = App(__name__)

    async with app.test_request_context():
        for name, instead in OF_A_COROUTINES_REQUEST.items():
            with pytest.raises(AttributeError, match=re.escape(f"Request has no {name}; use {instead}")):
                getattr(request, name)


def test_what_is_not_there_is_not_found_by_hasattr():
    app = App(__name__)

    assert not any(hasattr(app, name) for name in [*OF_AN_APP, *OF_A_ROUTER])
    assert not any(hasattr(Response(), name) for name in OF_A_RESPONSE)
    with app.test_request_context():
        assert not any(hasattr(request, name) for name in OF_A_REQUEST)


@pytest.mark.parametrize(
    ("name", "instead"), [("url_rule", "route"), ("stream", "data or files"), ("if_match", "headers.get")]
)
def test_a_request_says_it_in_a_view_too(name, instead):
    app = App(__name__)

    @app.get("/")
    def view():
        return str(getattr(request, name))

    with SyncClient(app) as client, pytest.raises(AttributeError, match=f"SyncRequest has no {name}; use {instead}"):
        client.get("/")


def test_the_lifetime_of_sessions_can_be_set_on_the_app():
    app = App(__name__, secret_key="a secret of this test")
    app.permanent_session_lifetime = timedelta(minutes=5)

    @app.get("/")
    def view():
        session.permanent = True
        return ""

    with SyncClient(app) as client:
        assert "Max-Age=300" in client.get("/").headers["set-cookie"]
    assert app.permanent_session_lifetime == timedelta(minutes=5)


def test_a_hook_may_put_what_is_not_there_on_a_request():
    app = App(__name__)

    @app.before_request
    async def load(request: Request):
        request.values = await request.json()

    @app.post("/")
    async def view(request: Request):
        return request.values

    with SyncClient(app) as client:
        assert client.post("/", json={"a": 1}).json() == {"a": 1}
