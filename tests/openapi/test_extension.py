"""The document and its page as they are served."""

import json
import re
import subprocess
import sys

import msgspec
import pytest

from microweb import App, SetupError
from microweb.openapi import OpenAPI
from microweb.testing import Client

pytestmark = pytest.mark.anyio


def make_app(**options):
    app = App(__name__)
    OpenAPI(app, **{"title": "Hats", "version": "1", **options})

    @app.get("/hats/<int:size>")
    async def hats(size: int) -> list[int]:
        return [size]

    return app


async def test_the_document_is_json_that_is_made_once():
    app = make_app()
    made = app.extensions["openapi"].make_document(app)

    async with Client(app) as client:
        first, second = await client.get("/openapi.json"), await client.get("/openapi.json")

    assert first.headers["content-type"] == "application/json"
    assert first.json() == made
    assert first.content == second.content
    assert first.headers["cache-control"] == "no-cache"


async def test_a_client_that_has_the_document_gets_a_304():
    async with Client(make_app()) as client:
        first = await client.get("/openapi.json")
        second = await client.get("/openapi.json", headers={"if-none-match": first.headers["etag"]})

    assert (second.status_code, second.content) == (304, b"")


async def test_the_servers_are_where_the_app_is_mounted():
    outer = App("outer")
    outer.mount("/inner", make_app())

    async with Client(outer) as client:
        document = (await client.get("/inner/openapi.json")).json()
        page = (await client.get("/inner/docs")).text

    assert document["servers"] == [{"url": "/inner"}]
    assert 'data-document="/inner/openapi.json"' in page


async def test_servers_that_are_given_stay():
    async with Client(make_app(servers=[{"url": "https://hats.example"}])) as client:
        document = (await client.get("/openapi.json")).json()

    assert document["servers"] == [{"url": "https://hats.example"}]


async def test_the_page_has_a_strict_policy_with_a_nonce_of_its_own():
    async with Client(make_app()) as client:
        answers = [await client.get("/docs") for _ in range(2)]

    nonces = []
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        [nonce] = set(re.findall(r"'nonce-([^']+)'", policy))
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy
        assert re.findall(r"<(?:script|style)( [^>]*)?>", answer.text) == [f' nonce="{nonce}"'] * 2
        assert answer.headers["cache-control"] == "no-store"
        nonces.append(nonce)
    assert nonces[0] != nonces[1]


async def test_the_page_names_no_other_origin():
    async with Client(make_app()) as client:
        page = (await client.get("/docs")).text

    assert "http://" not in page
    assert "https://" not in page


async def test_a_title_with_html_is_text_on_the_page():
    async with Client(make_app(title="<script>alert(1)</script>&")) as client:
        page = (await client.get("/docs")).text

    assert "<title>&lt;script&gt;alert(1)&lt;/script&gt;&amp;</title>" in page
    assert page.count("</script>") == 1


async def test_other_addresses_can_be_chosen_and_the_page_left_out():
    async with Client(make_app(url="/api.json", docs_url=None)) as client:
        assert (await client.get("/api.json")).status_code == 200
        assert (await client.get("/docs")).status_code == 404
        assert (await client.get("/openapi.json")).status_code == 404


async def test_one_extension_describes_several_apps():
    api = OpenAPI(title="All", version="1")
    apps = [App("one"), App("two")]
    for number, app in enumerate(apps):
        app.add_route(f"/{number}", lambda: "")
        api.init_app(app)

    for number, app in enumerate(apps):
        async with Client(app) as client:
            assert list((await client.get("/openapi.json")).json()["paths"]) == [f"/{number}"]


@pytest.mark.parametrize("options", [{"title": ""}, {"version": ""}, {"url": None}, {"security": [1]}, {"tags": [{}]}])
def test_options_that_cannot_be_are_a_setup_error(options):
    with pytest.raises(SetupError, match=r"test_extension\.py:\d+"):
        make_app(**options)


async def test_a_field_of_a_type_that_nothing_is_known_of_may_be_anything():
    class Odd:
        pass

    class Holder(msgspec.Struct):
        odd: Odd

    app = App(__name__)
    OpenAPI(app, title="T", version="1")

    @app.get("/odd")
    async def odd() -> Holder:
        raise NotImplementedError

    async with Client(app) as client:
        document = (await client.get("/openapi.json")).json()

    assert document["components"]["schemas"]["Holder"]["properties"] == {"odd": {}}


def test_a_program_without_it_loads_nothing_of_it():
    script = "import microweb, sys; print([name for name in sys.modules if 'openapi' in name])"

    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert output == "[]\n"


def test_the_document_survives_json():
    app = make_app()
    document = app.extensions["openapi"].make_document(app)

    assert json.loads(json.dumps(document)) == document
