"""The page of an unhandled error in debug: who gets which, what stands on it, what does not."""

import re
from dataclasses import dataclass

import pytest

from microweb import App, abort, render_template
from microweb.middleware import CORS
from microweb.testing import Client

pytestmark = pytest.mark.anyio

BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def app_that_raises(error, **options) -> App:
    app = App(__name__, debug=True, **options)

    @app.get("/")
    async def home():
        raise error

    return app


async def get(app, path="/", base_url="http://localhost:8000", client=("127.0.0.1", 50000), **options):
    async with Client(app, raise_errors=False, base_url=base_url, client=client) as sender:
        return await sender.get(path, **{"headers": BROWSER, **options})


async def test_a_browser_sees_the_error_its_frames_and_the_request():
    app = App(__name__, debug=True)

    @app.get("/hats/<int:number>")
    async def hat(number):
        size = number * 2
        raise ValueError(f"no hat of size {size}")

    page = await get(app, "/hats/21?colour=red")

    assert page.status_code == 500
    assert "<h1>ValueError</h1>" in page.text
    assert "no hat of size 42" in page.text
    assert "<th>size</th><td>42</td>" in page.text
    assert "class=current><code>        raise ValueError(f&quot;no hat of size {size}&quot;)" in page.text
    assert "<th>route</th><td>/hats/&lt;int:number&gt;</td>" in page.text
    assert "<th>colour</th><td>&#x27;red&#x27;</td>" in page.text
    assert "Traceback (most recent call last)" in page.text


async def test_everything_on_the_page_is_escaped():
    evil = "<script>alert(1)</script>"
    app = App(__name__, debug=True)

    @app.get("/<name>")
    async def home(name):
        local = name
        raise ValueError(local)

    page = await get(app, f"/{evil.replace('/', '%2F')}?{evil}={evil}", headers={**BROWSER, "x-name": evil})

    assert page.status_code == 500
    assert "alert(1)" in page.text
    assert "<script>" not in page.text


async def test_the_page_has_a_strict_policy():
    page = await get(app_that_raises(ValueError()))

    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    nonce = re.search('<script nonce="([^"]+)">', page.text)[1]

    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == f"'nonce-{nonce}'"
    assert policy["frame-ancestors"] == policy["form-action"] == policy["base-uri"] == "'none'"
    assert page.headers["cache-control"] == "no-store"


async def test_each_page_has_a_nonce_of_its_own():
    app = app_that_raises(ValueError())

    first, second = await get(app), await get(app)

    assert first.headers["content-security-policy"] != second.headers["content-security-policy"]


async def test_a_program_gets_a_problem_with_the_traceback():
    problem = await get(app_that_raises(ValueError("no")), headers={"accept": "application/json"})

    assert problem.headers["content-type"] == "application/problem+json"
    assert problem.json()["detail"] == "ValueError: no"
    assert problem.json()["traceback"].startswith("Traceback (most recent call last)")


@pytest.mark.parametrize("agent", ["curl/8.5.0", "HTTPie/3.2", "Wget/1.21"])
async def test_a_terminal_gets_plain_text(agent):
    text = await get(app_that_raises(ValueError("no")), headers={"accept": "*/*", "user-agent": agent})

    assert text.headers["content-type"] == "text/plain; charset=utf-8"
    assert text.text.endswith("ValueError: no\n")


async def test_without_debug_there_is_the_built_in_page():
    app = app_that_raises(ValueError("no hat"))
    app.debug = False

    page = await get(app)

    assert "no hat" not in page.text
    assert "content-security-policy" not in page.headers


async def test_an_error_that_is_handled_is_not_the_debuggers():
    app = App(__name__, debug=True)

    @app.get("/missing")
    async def missing():
        abort(404)

    @app.get("/handled")
    async def handled():
        raise KeyError

    @app.errorhandler(KeyError)
    async def handle(error):
        return "handled"

    assert "Traceback" not in (await get(app, "/missing")).text
    assert (await get(app, "/handled")).text == "handled"


async def test_an_error_that_its_handler_returns_is_left_to_the_debugger():
    app = app_that_raises(ValueError("no hat"))

    @app.errorhandler(500)
    async def leave(error):
        return error

    assert "<h1>ValueError</h1>" in (await get(app)).text


@pytest.mark.parametrize("host", ["localhost", "app.localhost:8000", "127.0.0.1:8000", "127.9.9.9", "[::1]:8000"])
async def test_this_machine_has_several_names(host):
    page = await get(app_that_raises(ValueError("no hat")), base_url=f"http://{host}")

    assert "no hat" in page.text


@pytest.mark.parametrize("host", ["example.com", "localhost.example.com", "192.168.1.5:8000", "127.0.0.1.example.com"])
async def test_another_host_gets_the_built_in_page(host):
    page = await get(app_that_raises(ValueError("no hat")), base_url=f"http://{host}")

    assert page.status_code == 500
    assert "no hat" not in page.text


@pytest.mark.parametrize("client", [("192.168.1.7", 50000), ("::ffff:10.0.0.1", 50000), ("unix", 0), None])
async def test_another_peer_gets_the_built_in_page(client):
    page = await get(app_that_raises(ValueError("no hat")), client=client)

    assert "no hat" not in page.text


async def test_a_mapped_loopback_address_is_this_machine():
    page = await get(app_that_raises(ValueError("no hat")), client=("::ffff:127.0.0.1", 50000))

    assert "no hat" in page.text


@pytest.mark.parametrize("header", ["x-forwarded-for", "x-forwarded-proto", "forwarded", "via", "x-real-ip"])
async def test_what_a_proxy_passes_on_gets_the_built_in_page(header):
    page = await get(app_that_raises(ValueError("no hat")), headers={**BROWSER, header: "10.0.0.1"})

    assert "no hat" not in page.text


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil.example", ""])
async def test_a_script_of_another_site_gets_the_built_in_page(origin):
    app = app_that_raises(ValueError("no hat"))
    app.add_middleware(CORS("*"))

    page = await get(app, headers={**BROWSER, "origin": origin, "sec-fetch-mode": "cors"})

    assert page.status_code == 500
    assert "no hat" not in page.text


@pytest.mark.parametrize(("origin", "mode"), [("http://localhost:5173", "cors"), ("https://login.example", "navigate")])
async def test_a_script_of_this_machine_and_a_form_of_another_site_are_shown_the_error(origin, mode):
    page = await get(
        app_that_raises(ValueError("no hat")), headers={**BROWSER, "origin": origin, "sec-fetch-mode": mode}
    )

    assert "no hat" in page.text


@dataclass
class Account:
    name: str
    password: str


async def test_a_secret_is_not_on_the_page():
    app = App(__name__, debug=True)
    token = "".join(["hun", "ter2"])

    @app.get("/")
    async def home():
        password = token
        settings = {"api_key": token, "inner": [{"token": token}], "colour": "red"}
        account = Account("ada", token)
        raise ValueError(len([password, settings, account]))

    headers = {**BROWSER, "authorization": f"Bearer {token}", "cookie": f"a={token}", "x-api-key": token}
    page = await get(app, f"/?access_token={token}", headers=headers)

    assert "<th>password</th><td>&lt;hidden&gt;</td>" in page.text
    assert "&#x27;colour&#x27;: &#x27;red&#x27;" in page.text
    assert "name=&#x27;ada&#x27;, password=&lt;hidden&gt;" in page.text
    assert token not in page.text


async def test_the_credentials_of_the_request_are_in_no_variable():
    app = App(__name__, debug=True)
    secret = "".join(["hun", "ter2"])

    @app.get("/")
    async def home(request):
        scope, lines = request.scope, {"all": {"of": {"them": request.scope["headers"]}}}
        headers, authorization = request.headers, str(request.headers["authorization"])
        raise ValueError(len([scope, lines, headers, authorization, request.cookies.to_dict()]))

    page = await get(app, headers={"accept": "text/html", "authorization": secret, "cookie": f"a={secret}"})

    assert "(b&#x27;authorization&#x27;, &lt;hidden&gt;)" in page.text
    assert "<th>authorization</th><td>&lt;hidden&gt;</td>" in page.text
    assert secret not in page.text


async def test_a_value_that_cannot_be_shown_does_not_break_the_page():
    class Broken:
        def __repr__(self):
            raise RuntimeError

    class Silent(Exception):
        def __str__(self):
            raise RuntimeError

    app = App(__name__, debug=True)

    @app.get("/")
    async def home():
        broken = Broken()
        itself = {}
        itself["itself"] = itself
        raise Silent(broken)

    page = await get(app)

    assert "&lt;Broken that cannot be shown: RuntimeError&gt;" in page.text or "&lt;Broken instance at" in page.text
    assert "its message cannot be shown" in page.text


async def test_what_holds_itself_or_much_far_inside_is_looked_into_as_far_as_it_is_shown():
    class Unread(dict):
        def items(self):
            raise AssertionError

        def __len__(self):
            return 1_000_000

    app = App(__name__, debug=True)

    @app.get("/")
    async def home():
        itself = [1]
        itself.append(itself)
        large = "x"
        for _ in range(60):
            large = {"inner": large, "again": large}
        far_inside = [[[[Unread()]]]]
        raise ValueError(len(far_inside))

    page = await get(app)

    assert "<th>itself</th><td>[1, [1, [1, [1, [...]]]]]</td>" in page.text
    assert "<th>far_inside</th><td>[[[[{...}]]]]</td>" in page.text
    assert "{...}" in page.text


async def test_long_values_are_cut():
    app = App(__name__, debug=True)

    @app.get("/")
    async def home():
        long = "x" * 100_000
        many = list(range(100_000))
        raise ValueError(long, many)

    assert len((await get(app)).text) < 100_000


async def test_endless_recursion_is_shown_in_part():
    app = App(__name__, debug=True)

    def descend():
        descend()

    @app.get("/")
    async def home():
        descend()

    page = await get(app)

    assert "frames in the middle are left out" in page.text
    assert page.text.count("<details") == 50


async def test_causes_and_contexts_are_shown_with_their_frames():
    app = App(__name__, debug=True)

    @app.get("/")
    async def home():
        try:
            {}["hat"]
        except KeyError:
            try:
                raise TypeError("second")
            except TypeError as error:
                raise ValueError("third") from error

    page = await get(app)

    assert "It was raised from this one: TypeError" in page.text
    assert "It happened while this one was handled: KeyError" in page.text


async def test_the_errors_of_a_group_are_shown():
    page = await get(app_that_raises(ExceptionGroup("both", [ValueError("one"), TypeError("two")])))

    assert "One of the errors of the group: ValueError" in page.text
    assert "One of the errors of the group: TypeError" in page.text


async def test_an_error_in_a_template_names_template_and_line(tmp_path):
    (tmp_path / "hat.html").write_text("<h1>Hats</h1>\n\n{{ hat.size }}\n")
    app = App(__name__, debug=True, template_folder=str(tmp_path))

    @app.get("/")
    async def home():
        return await render_template("hat.html")

    page = await get(app)

    assert f"in the template <b>{tmp_path / 'hat.html'}</b>, line 3" in page.text
    assert '<li value="3" class=current><code>{{ hat.size }}' in page.text


async def test_an_error_of_a_thread_has_its_frames():
    app = App(__name__, debug=True)

    @app.get("/")
    def home():
        inside = "the thread"
        raise ValueError(inside)

    assert "<th>inside</th><td>&#x27;the thread&#x27;</td>" in (await get(app)).text


async def test_an_error_of_a_mounted_app_is_shown_by_the_outer_ones_debugger():
    inner, outer = app_that_raises(ValueError("no hat")), App("outer", debug=True)
    outer.mount("/inner", inner)

    page = await get(outer, "/inner/")

    assert "no hat" in page.text
    assert 'data-url="/_microweb/debugger"' in page.text


async def test_a_mounted_app_in_debug_shows_nothing_in_production():
    inner, outer = app_that_raises(ValueError("no hat")), App("outer")
    outer.mount("/inner", inner)

    assert "no hat" not in (await get(outer, "/inner/")).text


async def test_a_page_that_cannot_be_made_leaves_the_built_in_one(caplog):
    app = App(__name__, debug=True)

    @app.get("/")
    async def home():
        exec("raise ValueError", {}, {42: "no name of a variable"})

    page = await get(app)

    assert page.status_code == 500
    assert "<h1>Internal Server Error</h1>" in page.text
    assert "the debugger could not show an error" in caplog.text


async def test_without_werkzeug_the_page_says_how_to_get_consoles(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    page = await get(app_that_raises(ValueError("no hat")))

    assert "no hat" in page.text
    assert "pip install werkzeug" in page.text
    assert 'class="open"' not in page.text


@pytest.mark.parametrize("hosts", [["localhost", "localhost"], ["local host"], ["user@localhost"]])
async def test_a_malformed_host_gets_the_built_in_page(hosts):
    headers = [("accept", "text/html"), *(("host", host) for host in hosts)]
    async with Client(app_that_raises(ValueError("no hat")), raise_errors=False, lint=False) as client:
        page = await client.get("/", headers=headers)

    assert "no hat" not in page.text


async def test_errors_that_name_each_other_are_shown_once():
    first, second = ValueError("first"), TypeError("second")
    first.__cause__, second.__cause__ = second, first

    page = await get(app_that_raises(first))

    assert page.text.count("It was raised from this one") == 1


async def test_a_query_that_cannot_be_read_does_not_break_the_page():
    app = app_that_raises(ValueError("no hat"), config={"MAX_QUERY_PARAMETERS": 1})

    page = await get(app, "/?a=1&b=2")

    assert "<th>(unreadable)</th>" in page.text


async def test_a_long_message_is_cut_in_the_plain_text():
    problem = await get(app_that_raises(ValueError("x" * 100_000)), headers={"accept": "application/json"})

    assert len(problem.text) < 50_000
    assert "characters are left out" in problem.json()["traceback"]


async def test_a_view_at_the_top_of_a_module_shows_no_namespace_of_it():
    app = App(__name__, debug=True)
    code = compile("one = 1\nraise ValueError(one)", "top.py", "exec")

    @app.get("/")
    async def home():
        exec(code, {"colour": "red"})

    page = await get(app)

    assert "top.py:2" in page.text
    assert "<th>colour</th>" not in page.text
