"""The middleware in a real browser, which is the other half of CORS, CSRF, policies and encodings.

One program on one port is two sites: 127.0.0.1, whose pages are listed, and localhost, whose pages are not.
"""

import pytest

from tests.programs import Program, find_free_port, get, write

pytestmark = [pytest.mark.wire, pytest.mark.slow]

PROGRAM = """
import sys

import anyio

from microweb import App, Router, render_template_string
from microweb.middleware import CORS, CSRF, Compress, SecurityHeaders

port = int(sys.argv[1])
app, api, changes, asked = App(__name__), Router("api", __name__, prefix="/api"), [], []
app.add_middleware(Compress())
app.add_middleware(SecurityHeaders(
    content_security_policy={"default-src": "*"}, content_security_policy_nonce_in=["script-src"]
))
app.add_middleware(CSRF(exempt=["api.thing"]))
api.add_middleware(CORS([f"http://127.0.0.1:{port}"], headers=["X-Token"], expose=["X-Total"], credentials=True))
SCRIPTS = '''<!doctype html><title>Page</title>
<script nonce="{{ csp_nonce() }}">window.trusted = true</script>
<script>window.injected = true</script>'''

@app.get("/")
async def page():
    return render_template_string(SCRIPTS)

@app.post("/change")
async def change(request):
    changes.append(request.headers.get("sec-fetch-site"))
    return "changed"

@app.get("/changes")
async def count():
    return changes

@app.get("/text")
async def text():
    return "some text, " * 1000

@app.get("/stream")
async def stream():
    yield "first"
    while not asked:
        await anyio.sleep(0.01)
    yield " second"

@app.get("/go-on")
async def go_on():
    asked.append("go on")
    return "ok"

@api.route("/thing", methods=["GET", "PUT", "DELETE"])
async def thing(request):
    return request.method, {"X-Total": "3"}

app.mount("", api)
app.run(port=port, reload=False)
"""


@pytest.fixture(scope="module")
def port(browser, tmp_path_factory):
    """Serve the program."""
    folder, port = tmp_path_factory.mktemp("program"), find_free_port()
    write(folder / "sites.py", PROGRAM)
    with Program("sites.py", port, cwd=folder):
        get(f"http://127.0.0.1:{port}/changes")
        yield port


@pytest.fixture
def page(browser):
    page = browser.new_page()
    yield page
    page.close()


def ask(page, url, **options):
    """What a script of the page gets from a URL: status, text and a header; None if the browser does not let it."""
    script = """async ([url, options]) => {
        try {
            const answer = await fetch(url, options);
            return [answer.status, await answer.text(), answer.headers.get("x-total")];
        } catch (error) { return null }
    }"""
    return page.evaluate(script, [url, options])


def test_a_page_of_a_listed_origin_reads_what_the_other_does_not(port, page):
    def from_page(host, other, **options):
        page.goto(f"http://{host}:{port}/")
        return ask(page, f"http://{other}:{port}/api/thing", credentials="include", **options)

    token = {"X-Token": "1"}

    assert from_page("127.0.0.1", "localhost") == [200, "GET", "3"]
    assert from_page("127.0.0.1", "localhost", method="PUT", headers=token) == [200, "PUT", "3"]
    assert from_page("127.0.0.1", "localhost", method="PUT", headers={"X-Other": "1"}) is None
    assert from_page("localhost", "127.0.0.1") is None
    assert from_page("localhost", "127.0.0.1", method="PUT", headers=token) is None


def test_a_page_cannot_change_what_belongs_to_another_site(port, page):
    own, other = f"http://127.0.0.1:{port}", f"http://localhost:{port}"

    page.goto(other)
    ask(page, f"{own}/change", method="POST", mode="no-cors", credentials="include")
    before = ask(page, f"{other}/changes")
    page.goto(own)
    answer = ask(page, f"{own}/change", method="POST")

    assert before == [200, "[]", None]
    assert answer == [200, "changed", None]
    assert ask(page, f"{own}/changes") == [200, '["same-origin"]', None]


def test_only_scripts_with_the_nonce_run(port, page):
    page.goto(f"http://127.0.0.1:{port}/")

    assert page.evaluate("[window.trusted, window.injected]") == [True, None]


def test_a_browser_reads_what_was_compressed_for_it(port, page):
    page.goto(f"http://127.0.0.1:{port}/")

    with page.expect_response("**/text") as seen:
        answer = ask(page, f"http://127.0.0.1:{port}/text")

    assert answer == [200, "some text, " * 1000, None]
    assert seen.value.headers["content-encoding"] == "zstd"


def test_a_browser_has_the_first_chunk_before_the_second_is_made(port, page):
    page.goto(f"http://127.0.0.1:{port}/")

    chunks = page.evaluate(
        """async () => {
            const reader = (await fetch("/stream")).body.pipeThrough(new TextDecoderStream()).getReader();
            const first = (await reader.read()).value;
            await fetch("/go-on");
            let rest = "";
            for (let part; !(part = await reader.read()).done;) rest += part.value;
            return [first, rest];
        }"""
    )

    assert chunks == ["first", " second"]
