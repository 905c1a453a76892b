"""RequestID: a name for every request."""

import logging
import re

import pytest

from microweb import App, Request, Router, SyncRequest
from microweb.errors import SetupError
from microweb.middleware import RequestID, RequestIDFilter
from microweb.testing import Client

pytestmark = pytest.mark.anyio


def make_app(*args):
    app = App(__name__)
    app.add_middleware(RequestID(*args))

    @app.get("/")
    async def view(request: Request):
        return request.id

    @app.get("/broken")
    async def broken():
        raise RuntimeError("no")

    return app


@pytest.mark.parametrize("given", ["abc-123", "0af7651916cd43dd8448eb211c80319c", "Root=1-67891233-abcdef", "x" * 128])
async def test_a_sane_id_is_taken_over_and_sent_back(given):
    async with Client(make_app()) as client:
        response = await client.get("/", headers={"X-Request-ID": given})

    assert (response.text, response.headers["x-request-id"]) == (given, given)


@pytest.mark.parametrize(
    "given", ["", "a b", "x" * 129, "a\x1b[31m", "é", "${jndi:x}", "a'--", "-a", "a,b", "%0a", "<b>"]
)
async def test_an_id_that_could_write_a_log_line_is_replaced(given):
    async with Client(make_app(), lint=False) as client:
        response = await client.get("/", headers=[(b"x-request-id", given.encode("latin-1"))])

    assert re.fullmatch("[0-9a-f]{32}", response.text)
    assert response.headers["x-request-id"] == response.text


async def test_two_ids_are_none():
    async with Client(make_app()) as client:
        response = await client.get("/", headers=[("x-request-id", "a"), ("x-request-id", "b")])

    assert re.fullmatch("[0-9a-f]{32}", response.text)


async def test_each_request_has_its_own():
    async with Client(make_app()) as client:
        ids = [(await client.get("/")).text for _ in range(3)]

    assert len(set(ids)) == 3


@pytest.mark.parametrize(("path", "status"), [("/broken", 500), ("/nowhere", 404)])
async def test_an_error_answer_has_it_too(path, status):
    async with Client(make_app(), raise_errors=False) as client:
        response = await client.get(path, headers={"X-Request-ID": "abc"})

    assert (response.status_code, response.headers["x-request-id"]) == (status, "abc")


async def test_the_header_can_be_another():
    async with Client(make_app("X-Correlation-ID")) as client:
        response = await client.get("/", headers={"X-Correlation-ID": "abc", "X-Request-ID": "other"})

    assert (response.text, response.headers["x-correlation-id"]) == ("abc", "abc")


async def test_a_mounted_app_and_a_def_view_know_it():
    app, inner = make_app(), App(__name__)

    @inner.get("/")
    def view(request: SyncRequest):
        return request.id

    app.mount("/inner", inner)

    async with Client(app) as client:
        response = await client.get("/inner/", headers={"X-Request-ID": "abc"})

    assert (response.text, response.headers["x-request-id"]) == ("abc", "abc")


async def test_on_a_router_it_holds_for_the_router_alone():
    app, api = App(__name__), Router("api", __name__, prefix="/api")
    api.add_middleware(RequestID())
    app.get("/")(lambda: "home")
    api.get("/")(lambda: "api")
    app.mount("", api)

    async with Client(app) as client:
        answers = [await client.get(path) for path in ("/", "/api/")]

    assert ["x-request-id" in answer.headers for answer in answers] == [False, True]


class Lines(logging.Handler):
    def __init__(self):
        super().__init__()
        self.lines = []
        self.addFilter(RequestIDFilter())
        self.setFormatter(logging.Formatter("%(request_id)s %(message)s"))

    def emit(self, record):
        self.lines.append(self.format(record).splitlines()[0])


@pytest.fixture
def lines():
    handler = Lines()
    logging.getLogger().addHandler(handler)
    yield handler.lines
    logging.getLogger().removeHandler(handler)


async def test_log_lines_carry_it_from_views_threads_streams_and_errors(lines):
    app, logger = make_app(), logging.getLogger("shop")

    @app.get("/async")
    async def in_coroutine():
        logger.warning("view")
        return "ok"

    @app.get("/def")
    def in_thread():
        logger.warning("thread")
        return "ok"

    @app.get("/stream")
    async def in_stream():
        yield "a"
        logger.warning("stream")

    async with Client(app, raise_errors=False) as client:
        for path in ("/async", "/def", "/stream", "/broken"):
            await client.get(path, headers={"X-Request-ID": path[1:]})
    logger.warning("outside")

    ours = [line for line in lines if "asyncio" not in line and not line.startswith("- HTTP Request")]
    assert ours == [
        "async view",
        "def thread",
        "stream stream",
        "broken unhandled error in GET /broken",
        "- outside",
    ]


def test_a_header_that_is_none_is_a_mistake():
    with pytest.raises(SetupError, match="X-Request-ID"):
        RequestID("X Request ID")
