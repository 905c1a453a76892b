"""From an exception to an answer: which handler, which page, what is logged."""

import logging

import anyio
import pytest

from microweb import (
    App,
    Converter,
    HTTPException,
    Request,
    Response,
    Router,
    SetupError,
    SyncRequest,
    abort,
    after_this_request,
    flash,
    get_flashed_messages,
    make_response,
    redirect,
    send_file,
    session,
)
from microweb.errors import InternalServerError, NotFound, UnprocessableEntity
from microweb.requestcontext import make_receive, make_scope
from microweb.sessions import MemorySessionStore
from microweb.testing import Client

pytestmark = pytest.mark.anyio

BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


async def get(app: App, path: str = "/", method: str = "GET", **options):
    async with Client(app, raise_errors=False) as client:
        return await client.request(method, path, **options)


def app_that_raises(error) -> App:
    app = App(__name__)

    @app.get("/")
    async def home():
        raise error

    return app


async def test_a_browser_gets_html_and_a_program_gets_problem_json():
    app = app_that_raises(NotFound("no <such> entry"))

    page = await get(app, headers=BROWSER)
    problem = await get(app)

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "no &lt;such&gt; entry" in page.text
    assert problem.headers["content-type"] == "application/problem+json"
    assert problem.json() == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "no <such> entry",
    }


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/json, text/html;q=0.5", "application/problem+json"),
        ("application/json;q=0.5, text/html", "text/html"),
        ("*/*", "application/problem+json"),
        ("", "application/problem+json"),
        ("text/html", "text/html"),
        ("text/html;q=0", "application/problem+json"),
        ("text/html;q=0, */*", "application/problem+json"),
        ("*/*;q=0.9, text/html", "text/html"),
        ("text/html;q=0.5, application/problem+json", "application/problem+json"),
        (BROWSER["accept"], "text/html"),
    ],
)
async def test_the_kind_of_page_is_negotiated(accept, kind):
    response = await get(App(__name__), "/missing", headers={"accept": accept})

    assert response.headers["content-type"].startswith(kind)


@pytest.mark.parametrize(
    ("headers", "status"), [({"if-match": '"other"'}, 412), ({"range": "bytes=999999999-"}, 416), ({}, 200)]
)
@pytest.mark.parametrize("path", ["/missing", "/broken"])
@pytest.mark.parametrize("make_answer", [send_file, lambda path: make_response(send_file(path))])
async def test_a_file_from_a_handler_that_does_not_meet_the_request_is_no_500(
    make_answer, path, headers, status, caplog
):
    app = App(__name__)

    @app.errorhandler(404)
    @app.errorhandler(ZeroDivisionError)
    def home_page(error):
        return make_answer(__file__)

    @app.get("/broken")
    async def broken():
        return 1 / 0

    response = await get(app, path, headers=headers)

    assert (response.status_code, caplog.messages) == (status, [])


async def test_headers_and_extensions_of_the_exception_are_sent():
    app = app_that_raises(UnprocessableEntity("wrong", {"retry-after": "3"}, extensions={"field": "name"}))

    response = await get(app)

    assert response.headers["retry-after"] == "3"
    assert response.json()["field"] == "name"


async def test_a_handler_by_status_answers_every_way_to_raise_it():
    for error in (NotFound(), HTTPException(404)):
        app = app_that_raises(error)

        @app.errorhandler(404)
        async def handler(error):
            return f"{error.status} {error.title}", error.status

        assert (await get(app)).text == "404 Not Found"


async def test_a_handler_by_class_of_a_status_is_one_by_status():
    app = app_that_raises(HTTPException(404))

    @app.errorhandler(NotFound)
    def handler(error):
        return "here", 404

    assert (await get(app)).text == "here"


@pytest.mark.parametrize("made", [{}, {"code": 404}])
async def test_a_class_of_the_program_for_a_status_goes_before_the_handler_of_the_status(made):
    class NoBook(HTTPException if made else NotFound):
        vars().update(made)

    class NoNovel(NoBook):
        pass

    app = app_that_raises(NoNovel())
    app.errorhandler(404)(lambda error: "the status")
    app.errorhandler(HTTPException)(lambda error: "any")
    app.errorhandler(NoBook)(lambda error: "the class")

    assert (await get(app)).text == "the class"


@pytest.mark.parametrize("general", [HTTPException, LookupError])
async def test_a_class_of_any_status_goes_behind_the_handler_of_the_status(general):
    class NoBook(LookupError, NotFound):
        pass

    app = app_that_raises(NoBook())
    app.errorhandler(general)(lambda error: "any")
    app.errorhandler(404)(lambda error: "the status")

    assert (await get(app)).text == "the status"


async def test_the_nearest_class_in_the_mro_wins():
    class Outer(Exception):
        pass

    class Inner(Outer):
        pass

    app = app_that_raises(Inner())

    @app.errorhandler(Exception)
    async def anything(error):
        return "exception"

    @app.errorhandler(Outer)
    async def outer(error):
        return "outer"

    assert (await get(app)).text == "outer"


async def test_the_nearest_router_wins():
    app = App(__name__)
    admin = Router("admin", __name__, prefix="/admin")

    @admin.get("/")
    async def index():
        raise ValueError

    @app.errorhandler(ValueError)
    async def app_handler(error):
        return "app"

    @admin.errorhandler(Exception)
    async def admin_handler(error):
        return "admin"

    app.mount("", admin)

    assert (await get(app, "/admin/")).text == "admin"


async def test_a_router_owns_the_404s_under_its_prefix():
    app = App(__name__)
    outer = Router("outer", __name__, prefix="/outer")
    inner = Router("inner", __name__, prefix="/inner")
    outer.mount("", inner)
    app.mount("", outer)

    for router in (app, outer, inner):

        @router.errorhandler(404)
        async def missing(error, name=router.name):
            return name or "app", 404

    assert [(await get(app, path)).text for path in ("/x", "/outer/x", "/outer/inner/x", "/outerx")] == [
        "app",
        "outer",
        "inner",
        "app",
    ]


async def test_a_routers_guard_covers_unknown_paths_too():
    app = App(__name__)
    admin = Router("admin", __name__, prefix="/admin")
    seen = []

    @admin.before_request
    async def guard(request: Request):
        seen.append(request.route)
        return "log in first", 401

    app.mount("", admin)

    assert (await get(app, "/admin/unknown")).status_code == 401
    assert seen == [None]


async def test_handlers_of_500_get_the_original_error():
    error = ValueError("original")
    app = app_that_raises(error)

    @app.errorhandler(500)
    async def handler(shown):
        assert isinstance(shown, InternalServerError)
        return repr(shown.original), 500

    assert (await get(app)).text == "ValueError('original')"


async def test_handlers_of_httpexception_get_every_status():
    app = app_that_raises(HTTPException(418, "short and stout"))

    @app.errorhandler(HTTPException)
    async def handler(error):
        return error.description, error.status

    assert (await get(app)).text == "short and stout"
    assert (await get(app, "/missing")).status_code == 404


@pytest.mark.parametrize("path", ["/", "/12"])
async def test_a_handler_that_raises_gives_the_builtin_500_and_one_record_with_both_errors(path, caplog):
    app = app_that_raises(ValueError("first"))

    class Broken(Converter):
        def to_python(self, value):
            raise KeyError("first")

    app.converters["broken"] = Broken
    app.get("/<broken:value>", endpoint="converted")(lambda value: value)

    @app.errorhandler(Exception)
    async def broken(error):
        raise KeyError("second")

    with caplog.at_level(logging.ERROR):
        response = await get(app, path)

    assert response.status_code == 500
    assert len(caplog.records) == 1
    assert "first" in caplog.text
    assert "second" in caplog.text


@pytest.mark.parametrize(("name", "status"), [("url", 400), ("args", 400), ("headers", 431), ("data", 413)])
@pytest.mark.parametrize("kind", [404, LookupError])
async def test_what_a_handler_cannot_read_of_a_request_is_no_500(kind, name, status, caplog):
    app = App(__name__, config={"MAX_QUERY_PARAMETERS": 1, "MAX_HEADER_SIZE": 60, "MAX_CONTENT_LENGTH": 3})

    @app.post("/found")
    async def found():
        raise KeyError

    @app.errorhandler(kind)
    def page(error, request: SyncRequest):
        return f"There is no {getattr(request, name)} here.", 404

    path = "/missing" if kind == 404 else "/found"
    headers = {"x-long": "x" * 100} if name == "headers" else {"host": "not a host"}
    response = await get(app, f"{path}?a=1&b=2", "POST", headers=headers, content=b"long")

    assert (response.status_code, caplog.messages) == (status, [])


async def test_a_handler_that_raises_what_cannot_be_sent_is_a_broken_one(caplog):
    app = app_that_raises(NotFound())

    @app.errorhandler(404)
    async def page(error):
        abort(401, headers={"www-authenticate": "Basic\r\nx-injected: 1"})

    response = await get(app)

    assert (response.status_code, len(caplog.records)) == (500, 1)
    assert "x-injected" not in response.headers


async def test_what_the_handler_of_a_bug_cannot_read_of_a_request_leaves_it_a_500(caplog):
    app = app_that_raises(ValueError("first"))

    @app.errorhandler(500)
    async def apologize(error, request):
        return f"{request.url} is broken"

    response = await get(app, headers={"host": "not a host"})

    assert (response.status_code, len(caplog.records)) == (500, 1)


async def test_a_group_with_one_leaf_is_handled_as_that_leaf():
    app = app_that_raises(ExceptionGroup("outer", [ExceptionGroup("inner", [NotFound("leaf")])]))

    assert (await get(app)).status_code == 404


async def test_a_group_with_several_leaves_is_unhandled(caplog):
    app = app_that_raises(ExceptionGroup("both", [NotFound(), ValueError()]))

    assert (await get(app)).status_code == 500
    assert len(caplog.records) == 1


async def test_a_def_handler_runs_in_a_thread_and_may_take_the_request():
    app = app_that_raises(KeyError("k"))

    @app.errorhandler(KeyError)
    def handler(error, request):
        return f"{type(request).__name__} {error}", 400

    assert (await get(app)).text == "SyncRequest 'k'"


async def test_the_error_is_on_the_response_that_layers_see():
    app = App(__name__)
    seen = []

    @app.middleware
    async def look(request, call_next):
        response = await call_next(request)
        seen.append(type(response.error))
        return response

    @app.get("/")
    async def home():
        raise ValueError

    for path in ("/", "/missing"):
        await get(app, path)

    assert seen == [ValueError, NotFound]


async def test_an_error_in_a_group_of_its_own_is_raised_for_layers_as_it_was():
    group = ExceptionGroup("around", [NotFound()])
    app = app_that_raises(group)
    seen = []

    @app.middleware
    async def look(request, call_next):
        try:
            (await call_next(request)).raise_for_error()
        except Exception as error:
            seen.append(error)
            raise

    assert (await get(app)).status_code == 404
    assert seen == [group]


async def test_raise_for_error_rolls_back_and_gives_the_same_answer_again(caplog):
    app = App(__name__)
    rolled_back = []

    @app.middleware
    async def transaction(request, call_next):
        try:
            (await call_next(request)).raise_for_error()
        except Exception as error:
            rolled_back.append(error)
            raise
        raise AssertionError("not reached")

    @app.errorhandler(ValueError)
    async def handler(error):
        return "handled", 409

    @app.get("/")
    async def home():
        raise ValueError("x")

    response = await get(app)

    assert (response.status_code, response.text) == (409, "handled")
    assert len(rolled_back) == 1
    assert not caplog.records


async def test_an_answer_that_is_no_error_raises_none():
    app = App(__name__)

    @app.middleware
    async def transaction(request, call_next):
        response = await call_next(request)
        response.raise_for_error()
        return response

    @app.get("/")
    async def home():
        return "committed"

    assert (await get(app)).text == "committed"


async def test_the_error_of_a_miss_that_is_raised_again_has_the_answer_that_layers_have_edited():
    app = App(__name__)

    @app.middleware
    async def transaction(request, call_next):
        (await call_next(request)).raise_for_error()

    @app.middleware
    async def mark(request, call_next):
        response = await call_next(request)
        response.headers["x-mark"] = "yes"
        return response

    response = await get(app, "/unknown")

    assert (response.status_code, response.headers["x-mark"]) == (404, "yes")


async def test_an_error_raised_again_inside_a_task_group_is_the_same_error(caplog):
    app = App(__name__)
    told, torn_down = [], []

    @app.middleware
    async def inside_a_group(request, call_next):
        async with anyio.create_task_group():
            (await call_next(request)).raise_for_error()

    @app.on("exception")
    async def observe(error):
        told.append(error)

    @app.teardown_request
    async def note(error):
        torn_down.append(error)

    @app.get("/")
    async def home():
        raise ValueError("once")

    response = await get(app)

    assert response.status_code == 500
    assert [str(error) for error in told] == [str(error) for error in torn_down] == ["once"]
    assert len(caplog.records) == 1


@pytest.mark.parametrize("headers", [{}, BROWSER])
async def test_what_describes_an_error_may_be_more_than_text(headers):
    app = app_that_raises(UnprocessableEntity({"name": "<missing>"}))

    response = await get(app, headers=headers)

    assert response.status_code == 422
    assert "missing" in response.text
    assert "<missing>" not in response.text or not headers


@pytest.mark.parametrize("headers", [{}, BROWSER])
async def test_an_error_that_cannot_be_sent_is_a_500_that_the_hooks_see(headers, caplog):
    app = app_that_raises(HTTPException(401, headers={"www-authenticate": "Basic\r\nx-injected: 1"}))

    @app.after_request
    async def add(response):
        response.headers["x-hook"] = "seen"

    response = await get(app, headers=headers)

    assert (response.status_code, response.headers["x-hook"]) == (500, "seen")
    assert "x-injected" not in response.headers
    assert len(caplog.records) == 1


@pytest.mark.parametrize("kind", [405, HTTPException])
async def test_a_405_says_what_is_allowed_on_a_page_of_the_program_too(kind):
    app = App(__name__)

    @app.post("/")
    async def create(): ...

    @app.errorhandler(kind)
    async def page(error):
        return "not so", error.status

    response = await get(app)

    assert (response.text, response.headers["allow"]) == ("not so", "OPTIONS, POST")


@pytest.mark.parametrize(("status", "name"), [(401, "WWW-Authenticate"), (416, "Content-Range")])
async def test_a_page_of_the_program_keeps_the_header_that_its_status_must_have(status, name):
    app = app_that_raises(HTTPException(status, headers={name: "as raised", "x-other": "1"}))

    @app.errorhandler(status)
    async def page(error):
        return "not so", error.status

    response = await get(app)

    assert (response.text, response.headers[name]) == ("not so", "as raised")
    assert "x-other" not in response.headers


async def test_a_page_of_another_status_or_with_that_header_is_left_as_it_is():
    app = app_that_raises(HTTPException(401, headers={"www-authenticate": "Basic"}))

    @app.errorhandler(401)
    async def page(error, request):
        return redirect("/login") if "go" in request.args else Response("no", 401, {"www-authenticate": "Bearer"})

    gone, stayed = await get(app, "/?go=1"), await get(app)

    assert gone.status_code == 302

    assert "www-authenticate" not in gone.headers
    assert stayed.headers.get_list("www-authenticate") == ["Bearer"]


async def test_an_http_exception_in_a_middleware_is_its_status():
    app = App(__name__)

    @app.middleware
    async def outer(request, call_next):
        response = await call_next(request)
        response.headers["x-outer"] = "seen"
        return response

    @app.middleware
    async def inner(request, call_next):
        abort(403, "not you")

    response = await get(app)

    assert (response.status_code, response.headers["x-outer"]) == (403, "seen")


async def test_an_error_is_reported_when_it_is_converted_even_if_a_layer_replaces_the_answer(caplog):
    app = App(__name__)
    torn_down = []

    @app.middleware
    async def replace(request, call_next):
        await call_next(request)
        return Response("all is well")

    @app.teardown_request
    async def teardown(error):
        torn_down.append(type(error))

    @app.get("/")
    async def home():
        raise ValueError

    assert (await get(app)).text == "all is well"
    assert len(caplog.records) == 1
    assert torn_down == [ValueError]


@pytest.mark.parametrize(
    ("status", "title"),
    [(402, "Payment Required"), (404, "Not Found"), (507, "Insufficient Storage"), (599, "Status 599")],
)
async def test_a_status_without_a_class_has_its_usual_title(status, title):
    app = App(__name__)

    @app.get("/")
    async def view():
        abort(status)

    async with Client(app) as client:
        answer = (await client.get("/")).json()

    assert (answer["status"], answer["title"]) == (status, title)


@pytest.mark.parametrize("kind", [200, 399, 600, "404", int])
async def test_a_handler_for_something_that_is_no_error_is_refused(kind):
    with pytest.raises(SetupError, match="errorhandler"):
        App(__name__).errorhandler(kind)


async def test_too_many_headers_and_a_long_url_are_refused_inside_the_middleware_of_the_app():
    app, router = App(__name__), Router("r", __name__, prefix="/r")

    @app.middleware
    async def mark(request, call_next):
        response = await call_next(request)
        response.headers["x-marked"] = "1"
        return response

    @router.middleware
    async def refuse(request, call_next):
        return "this layer is of the router alone"

    app.mount("", router)
    many = await get(app, "/r/", headers={f"x-{number}": "1" for number in range(120)})
    long = await get(app, "/r/" + "x" * 9000)

    assert (many.status_code, many.headers["x-marked"]) == (431, "1")
    assert (long.status_code, long.headers["x-marked"]) == (414, "1")


async def test_a_converter_that_fails_is_an_unhandled_error_inside_the_middleware(caplog):
    class Broken(Converter):
        def to_python(self, value):
            raise RuntimeError("in the converter")

    app = App(__name__)
    app.converters["broken"] = Broken

    @app.middleware
    async def mark(request, call_next):
        response = await call_next(request)
        response.headers["x-marked"] = "1"
        return response

    @app.get("/<broken:x>")
    async def view(x):
        return x

    response = await get(app, "/a")

    assert (response.status_code, response.headers["x-marked"]) == (500, "1")
    assert len(caplog.records) == 1


async def test_the_answer_to_a_converter_that_fails_passes_the_hooks_and_has_a_stored_session():
    class Broken(Converter):
        def to_python(self, value):
            raise RuntimeError("in the converter")

    app = App(__name__, secret_key="a secret key of the app")
    app.session_store = MemorySessionStore()
    app.converters["broken"] = Broken
    app.add_route("/<broken:x>", lambda x: x, endpoint="view")
    app.before_request(lambda: flash("hello"))

    @app.after_request
    async def mark(response):
        response.headers["x-flashed"] = ",".join(get_flashed_messages())

    response = await get(app, "/a")

    assert (response.status_code, response.headers["x-flashed"]) == (500, "hello")


async def test_an_error_has_its_status_and_title_under_the_names_that_flask_gives_them():
    app = App(__name__)

    @app.errorhandler(HTTPException)
    async def answer(error):
        return {"code": error.code, "name": error.name}, error.code

    response = await get(app, "/nowhere")

    assert (response.status_code, response.json()) == (404, {"code": 404, "name": "Not Found"})


async def test_a_handler_of_500_finds_the_unhandled_error_as_original_exception():
    app = app_that_raises(ZeroDivisionError("by zero"))

    @app.errorhandler(500)
    async def answer(error):
        return repr(error.original_exception), 500

    assert (await get(app)).text == "ZeroDivisionError('by zero')"


def test_abort_with_a_response_says_to_return_it():
    with pytest.raises(ValueError, match="returned by the view"):
        abort(Response("Payment required", 402))


@pytest.mark.parametrize("kind", ["application/problem+json", "text/html"])
async def test_a_handler_that_returns_the_error_leaves_it_to_the_builtin_answer(kind):
    app = App(__name__)

    @app.errorhandler(HTTPException)
    async def leave(error):
        return error

    response = await get(app, "/missing", headers={"accept": kind})

    assert response.status_code == 404
    assert response.headers["content-type"].startswith(kind)


async def test_a_bug_that_a_handler_returns_is_logged_once(caplog):
    app = app_that_raises(ZeroDivisionError())

    @app.errorhandler(500)
    def leave(error):
        return error

    assert (await get(app)).json()["title"] == "Internal Server Error"
    assert len(caplog.records) == 1


async def test_an_error_of_ones_own_is_written_as_in_flask():
    class InsufficientStorage(HTTPException):
        code = 507
        description = "Not enough storage space."

    answered = (await get(app_that_raises(InsufficientStorage()))).json()
    other = (await get(app_that_raises(InsufficientStorage("The disk of the shop is full.")))).json()
    app = app_that_raises(InsufficientStorage())
    app.errorhandler(InsufficientStorage)(lambda error: (f"handled {error.code}: {error.description}", error.code))
    handled = await get(app)

    assert (answered["status"], answered["detail"]) == (507, "Not enough storage space.")
    assert other["detail"] == "The disk of the shop is full."
    assert (handled.status_code, handled.text) == (507, "handled 507: Not enough storage space.")


async def test_an_error_derived_from_one_of_ours_has_its_own_description():
    class NoSuchBook(NotFound):
        description = "There is no such book."

    response = await get(app_that_raises(NoSuchBook()))

    assert response.status_code == 404
    assert response.json()["detail"] == "There is no such book."


def test_abort_raises_no_error_of_a_program():
    class PaymentRequired(NotFound):
        code = status = 402

    with pytest.raises(HTTPException) as raised:
        abort(402)

    assert not isinstance(raised.value, PaymentRequired)


@pytest.mark.parametrize("path", ["/unsaved", "/afterwards"])
async def test_the_answer_to_a_late_error_keeps_what_the_layers_have_said(path):
    app = App(__name__, secret_key="a key that is long enough for a test")

    @app.middleware
    async def name(request, call_next):
        response = await call_next(request)
        response.headers["x-request-id"] = "7"
        response.headers.vary("Origin")
        return response

    @app.get("/unsaved")
    async def unsaved():
        session["cart"] = "".join(map(str, range(9999)))
        return Response("saved", headers={"etag": '"1"', "location": "/cart", "x-accel-redirect": "/files/cart"})

    @app.get("/afterwards")
    async def afterwards():
        after_this_request(lambda response: 1 / 0)
        return "done"

    async with Client(app, raise_errors=False) as client:
        answer = await client.get(path)

    assert (answer.status_code, answer.headers["x-request-id"]) == (500, "7")
    (vary,) = answer.headers.get_list("vary")
    assert {"Accept", "Origin"} <= set(vary.split(", "))
    assert not {"etag", "location", "x-accel-redirect"} & set(answer.headers)


async def test_an_error_of_ones_own_may_have_a_code_and_its_own_arguments():
    app = App(__name__)

    class TooBitter(HTTPException):
        code = 498

        def __init__(self, tea):
            super().__init__(description=f"{tea} is too bitter")

    @app.get("/")
    async def view():
        raise TooBitter("sencha")

    async with Client(app) as client:
        answer = await client.get("/")

    assert (answer.status_code, answer.json()["detail"]) == (498, "sencha is too bitter")
    with pytest.raises(ValueError, match="needs a status"):
        HTTPException(description="of nothing")


async def test_a_client_that_leaves_before_the_answer_to_a_late_error_is_no_error():
    app, scope = App(__name__), make_scope("/", "GET", None, b"", "http://localhost")

    @app.get("/")
    async def view(request):
        response = Response("never sent")
        response.send = fail
        return response

    async def fail(request, send):
        raise ValueError("late")

    async def send(message):
        raise OSError("gone")

    await app(scope, make_receive(b""), send)


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
async def test_a_cache_is_told_that_the_page_of_an_error_depends_on_what_the_client_accepts(accept):
    app = App(__name__)

    for _ in range(2):
        response = await get(app, "/missing", headers={"accept": accept})

        assert (response.status_code, response.headers["vary"]) == (404, "Accept")
