"""A request that came from nowhere: ``app.test_request_context``."""

import asyncio

import anyio
import pytest

from microweb import App, Request, SyncRequest, render_template_string, request
from microweb.errors import BadRequest, RequestEntityTooLarge

FORM = "application/x-www-form-urlencoded"


def test_a_test_request_context_has_a_matched_request_and_leaves_the_app_open():
    app = App(__name__)

    @app.post("/user/<int:number>")
    async def user(number):
        raise AssertionError("not called")

    with app.test_request_context("/user/7?q=ü", method="post", headers={"x-a": "1"}, base_url="https://x.example"):
        assert (request.endpoint, request.view_args, request.method) == ("user", {"number": 7}, "POST")
        assert (request.headers["x-a"], request.host, request.is_secure) == ("1", "x.example", True)
        assert isinstance(request, SyncRequest)
    app.get("/later")(user)


@pytest.mark.anyio
async def test_the_body_of_a_test_request_context_can_be_read():
    app = App(__name__)

    async with app.test_request_context("/", method="POST", body=b"[1]", headers={"content-type": "application/json"}):
        assert isinstance(request, Request)
        assert await request.json() == [1]


def test_a_function_for_def_views_reads_its_body_in_a_plain_block():
    app = App(__name__)

    def read_name():
        return request.form["name"]

    with app.test_request_context("/", method="POST", body=b"name=Ada", headers={"content-type": FORM}) as made:
        assert read_name() == made.form["name"] == "Ada"
    with app.test_request_context("/", method="POST", body=b"[1]", headers={"content-type": "application/json"}):
        assert (request.json, request.data) == ([1], b"[1]")


@pytest.mark.anyio
async def test_a_plain_block_under_a_running_loop_reads_its_body_too():
    app = App(__name__)

    with app.test_request_context("/", method="POST", body=b"name=Ada", headers={"content-type": FORM}):
        assert request.form["name"] == "Ada"


UPLOAD = b'--X\r\nContent-Disposition: form-data; name="photo"; filename="a.png"\r\n\r\n%b\r\n--X--\r\n'


def test_an_upload_that_was_read_in_a_plain_block_is_closed_at_its_end():
    app = App(__name__)
    headers = {"content-type": "multipart/form-data; boundary=X"}

    with app.test_request_context("/", method="POST", body=UPLOAD % b"image", headers=headers) as made:
        photo = made.files["photo"]
        assert photo.read() == b"image"

    with pytest.raises(ValueError, match="closed"):
        photo.read()


@pytest.mark.anyio
async def test_an_upload_that_was_read_in_an_async_block_is_closed_at_its_end():
    app = App(__name__)
    headers = {"content-type": "multipart/form-data; boundary=X"}

    async with app.test_request_context("/", method="POST", body=UPLOAD % b"image", headers=headers) as made:
        photo = (await made.files())["photo"]
        assert await photo.read() == b"image"

    with pytest.raises(ValueError, match="closed"):
        await photo.read()


@pytest.mark.anyio
async def test_a_block_that_is_cancelled_closes_what_it_has_opened():
    app, closed = App(__name__), []

    async def close():
        await anyio.sleep(0)
        closed.append("closed")

    with anyio.CancelScope() as scope:
        async with app.test_request_context() as made:
            made.on_close(close)
            scope.cancel()
            await anyio.sleep_forever()

    assert closed == ["closed"]


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # trio's cancellations stay outside of a shield
async def test_a_cancellation_while_a_block_closes_goes_on_when_all_is_closed():
    app, closing, closed = App(__name__), asyncio.Event(), []

    async def close_slowly():
        closing.set()
        await asyncio.sleep(60)

    async def close():
        closed.append("closed")

    async def work():
        async with app.test_request_context() as made:
            made.on_close(close)
            made.on_close(close_slowly)

    task = asyncio.create_task(work())
    await closing.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed == ["closed"]


@pytest.mark.anyio
async def test_after_a_block_what_was_current_before_it_is_current_again():
    app = App(__name__)

    with app.test_request_context("/outer"):
        with app.test_request_context("/inner"):
            pass
        assert request.path == "/outer"
        async with app.test_request_context("/inner"):
            pass
        assert request.path == "/outer"


@pytest.mark.anyio
async def test_the_end_of_a_block_is_told_with_the_error_that_leaves_it():
    app, told = App(__name__), []
    app.on("context_torn_down")(lambda request, error: told.append((request.path, str(error))))

    with pytest.raises(ValueError, match="wrong"), app.test_request_context("/plain"):
        raise ValueError("wrong")
    with pytest.raises(ValueError, match="wrong"):
        async with app.test_request_context("/async"):
            raise ValueError("wrong")

    assert told == [("/plain", "wrong"), ("/async", "wrong")]


@pytest.mark.anyio
async def test_the_client_says_how_long_its_body_is_and_leaves_when_it_has_sent_it():
    app = App(__name__)

    async with app.test_request_context(method="POST", body=b"[1]") as made:
        assert made.content_length == 3
        assert await made.body() == b"[1]"
        assert await made.is_disconnected()
    async with app.test_request_context() as made:
        assert made.content_length is None


@pytest.mark.parametrize(
    ("base_url", "server", "host"),
    [
        ("http://shop.example", ("shop.example", 80), "shop.example"),
        ("https://shop.example", ("shop.example", 443), "shop.example"),
        ("https://shop.example:8443", ("shop.example", 8443), "shop.example:8443"),
        ("", ("localhost", 80), "localhost"),
    ],
)
def test_the_server_is_the_one_that_the_url_names(base_url, server, host):
    with App(__name__).test_request_context(base_url=base_url) as made:
        assert (made.scope["server"], made.host) == (server, host)


def test_templates_have_the_names_of_context_processors_before_the_app_has_started():
    app = App(__name__)
    app.context_processor(lambda: {"owner": "the shop"})

    with app.test_request_context():
        assert render_template_string("{{ owner }}") == "the shop"


def test_a_body_over_the_limit_is_refused_in_a_plain_block():
    app = App(__name__, config={"MAX_CONTENT_LENGTH": 3})

    with app.test_request_context("/", method="POST", body=b"long"), pytest.raises(RequestEntityTooLarge):
        request.get_data()


def test_a_request_of_a_programs_own_class_has_its_names_in_a_plain_block():
    class ShopRequest(Request):
        shop = "books"

    with App(__name__, request_class=ShopRequest).test_request_context():
        assert request.shop == "books"
        assert request.data == b""


def test_the_url_is_read_as_a_server_would_read_it():
    app = App(__name__)

    with app.test_request_context("/a%2Fb c/é?q=ü&r=%26#s"):
        assert (request.path, request.args["q"], request.args["r"]) == ("/a/b c/é", "ü", "&#s")
        assert request.url == "http://localhost/a%2Fb%20c/%C3%A9?q=%C3%BC&r=%26%23s"


def test_the_limits_are_those_that_the_config_has_now():
    app = App(__name__)
    app.config["MAX_QUERY_PARAMETERS"] = 1

    with app.test_request_context("/?a=1&b=2"), pytest.raises(BadRequest, match="MAX_QUERY_PARAMETERS"):
        request.args  # noqa: B018 - the touch raises


@pytest.mark.parametrize("path", ["", "books", "http://example.org/", "?page=2"])
def test_a_path_that_does_not_begin_with_a_slash_is_refused(path):
    with pytest.raises(ValueError, match="begins with a slash"):
        App(__name__).test_request_context(path)
