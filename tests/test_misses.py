"""What a client gets where no route answers; which kind of miss it is stands in ``test_routetable.py``."""

import pytest

from microweb import App, Converter
from microweb.testing import Client

pytestmark = pytest.mark.anyio


async def get(app: App, path: str, method: str = "GET"):
    async with Client(app) as client:
        return await client.request(method, path)


async def test_a_miss_has_the_right_answer_for_each_kind():
    app = App(__name__)

    @app.get("/a/")
    async def view():
        return "a"

    @app.post("/a/")
    async def change():
        return "changed"

    assert (await get(app, "/a/", "PUT")).headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert (await get(app, "/a/", "PUT")).status_code == 405
    options = await get(app, "/a/", "OPTIONS")
    assert (options.status_code, options.headers["allow"]) == (200, "GET, HEAD, OPTIONS, POST")
    redirect = await get(app, "/a?x=1&y=%0D")
    assert (redirect.status_code, redirect.headers["location"]) == (308, "/a/?x=1&y=%0D")
    assert (await get(app, "/%ff")).status_code == 400


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/none", 404), ("PUT", "/", 405)])
async def test_the_page_of_a_common_miss_is_written_once(method, path, status):
    app, answers = App(__name__), []

    @app.middleware
    async def keep(request, call_next):
        answers.append(await call_next(request))
        return answers[-1]

    @app.get("/")
    async def home(): ...

    async with Client(app) as client:
        first, second = await client.request(method, path), await client.request(method, path)

    assert (first.status_code, second.status_code, first.content) == (status, status, second.content)
    assert answers[0].body is answers[1].body


async def test_a_slash_redirect_never_names_a_host():
    app = App(__name__)

    @app.get("/<path:rest>/")
    async def view(rest):
        return rest

    for path in ("//evil.example", "/%2Fevil.example", "/\\evil.example", "///evil.example/x"):
        response = await get(app, path)
        assert not response.headers.get("location", "/").startswith("//")


@pytest.mark.parametrize("root_path", ["/", "//", "/x/", "//evil.example"])
async def test_a_slash_redirect_below_an_odd_root_never_names_a_host(root_path):
    app = App(__name__)

    @app.get("/<name>/")
    async def view(name):
        return name

    async with Client(app, root_path=root_path) as client:
        response = await client.get("/evil.example")

    assert response.status_code == 308
    assert not response.headers["location"].startswith("//")
    assert response.headers["location"].endswith("evil.example/")


async def test_a_slash_redirect_below_an_empty_variable_never_names_a_host():
    class Nothing(Converter):
        regex = "x?"

    app, inner = App(__name__), App(__name__)
    app.converters["nothing"] = Nothing
    app.mount("/<nothing:prefix>", inner)

    @inner.get("/<name>/")
    async def view(name):
        return name

    response = await get(app, "//evil.example")

    assert not response.headers.get("location", "/").startswith("//")


@pytest.mark.parametrize("root_path", ["/", "/x/"])
async def test_pages_are_found_below_a_root_that_ends_with_a_slash(root_path):
    app = App(__name__)

    @app.get("/a/")
    async def view(request):
        return f"{request.path} of {request.root_path!r}"

    async with Client(app, root_path=root_path) as client:
        assert (await client.get("/a/")).text == f"/a/ of {root_path.rstrip('/')!r}"


async def test_a_method_that_is_no_token_is_a_400():
    sent = []
    app = App(__name__)

    @app.get("/")
    async def home():
        return "x"

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "asgi": {}, "http_version": "1.1", "method": "GE T\x00", "scheme": "http",
        "path": "/", "raw_path": b"/", "query_string": b"", "headers": [],
    }  # fmt: skip
    await app(scope, None, send)

    assert sent[0]["status"] == 400
