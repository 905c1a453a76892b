"""SecurityHeaders: what a page may do, in Talisman's words."""

import re

import pytest

from microweb import App, Response, Router, SetupError, render_template_string, stream_template_string
from microweb.middleware import SecurityHeaders
from microweb.testing import Client

pytestmark = pytest.mark.anyio

SECURE = "https://example.org"
PAGE = "<script nonce='{{ csp_nonce() }}'></script>"


def make_app(**options):
    app = App(__name__)
    app.add_middleware(SecurityHeaders(**options))

    @app.get("/")
    async def home():
        return render_template_string(PAGE)

    @app.get("/broken")
    async def broken():
        raise RuntimeError("no")

    return app


async def fetch(app, path="/", base_url=SECURE):
    async with Client(app, raise_errors=False, base_url=base_url) as client:
        return await client.get(path)


@pytest.mark.parametrize("path", ["/", "/nowhere", "/broken"])
async def test_every_answer_has_the_headers_of_talisman(path):
    response = await fetch(make_app(), path)

    assert {name: value for name, value in response.headers.items() if not name.startswith("content-")} == {
        "x-frame-options": "SAMEORIGIN",
        "x-content-type-options": "nosniff",
        "permissions-policy": "browsing-topics=()",
        "referrer-policy": "strict-origin-when-cross-origin",
        "strict-transport-security": "max-age=31556926; includeSubDomains",
        **({"vary": response.headers["vary"]} if "vary" in response.headers else {}),
    }
    assert response.headers["content-security-policy"] == "default-src 'self'; object-src 'none'"


async def test_transport_security_is_said_over_https_only():
    response = await fetch(make_app(), base_url="http://example.org")

    assert "strict-transport-security" not in response.headers


@pytest.mark.parametrize(
    ("options", "header", "value"),
    [
        ({"frame_options": None}, "x-frame-options", None),
        ({"frame_options": "DENY"}, "x-frame-options", "DENY"),
        ({"content_security_policy": None}, "content-security-policy", None),
        ({"content_security_policy": "img-src *"}, "content-security-policy", "img-src *"),
        (
            {"content_security_policy": {"img-src": ["'self'", "data:"], "upgrade-insecure-requests": ""}},
            "content-security-policy",
            "img-src 'self' data:; upgrade-insecure-requests",
        ),
        (
            {"content_security_policy_report_uri": "/csp"},
            "content-security-policy",
            "default-src 'self'; object-src 'none'; report-uri /csp",
        ),
        (
            {"content_security_policy_report_uri": "/csp", "content_security_policy_report_only": True},
            "content-security-policy-report-only",
            "default-src 'self'; object-src 'none'; report-uri /csp",
        ),
        ({"feature_policy": {"camera": "'none'", "usb": "*"}}, "feature-policy", "camera 'none'; usb *"),
        ({"permissions_policy": {"camera": "()", "usb": "(self)"}}, "permissions-policy", "camera=(), usb=(self)"),
        ({"document_policy": {"oversized-images": "?0"}}, "document-policy", "oversized-images=?0"),
        ({"strict_transport_security": False}, "strict-transport-security", None),
        (
            {
                "strict_transport_security_max_age": 60,
                "strict_transport_security_preload": True,
                "strict_transport_security_include_subdomains": False,
            },
            "strict-transport-security",
            "max-age=60; preload",
        ),
        ({"force_file_save": True}, "x-download-options", "noopen"),
        ({"x_xss_protection": True}, "x-xss-protection", "1; mode=block"),
        ({"x_content_type_options": False}, "x-content-type-options", None),
        ({"referrer_policy": "no-referrer"}, "referrer-policy", "no-referrer"),
    ],
    ids=str,
)
async def test_each_option_has_its_header(options, header, value):
    response = await fetch(make_app(**options))

    assert response.headers.get(header) == value


def nonces_of(response):
    policy = re.findall(r"'nonce-([\w-]+)'", response.headers["content-security-policy"])
    return policy, re.findall(r"nonce='([\w-]+)'", response.text)


async def test_each_request_has_a_nonce_of_its_own_in_header_and_template():
    app = make_app(content_security_policy_nonce_in=["script-src"])

    answers = [nonces_of(await fetch(app)) for _ in range(2)]

    assert [policy == page and len(page) == 1 for policy, page in answers] == [True, True]
    assert answers[0] != answers[1]
    assert len(answers[0][0][0]) >= 22  # 128 bits


async def test_a_directive_that_is_missing_keeps_the_sources_of_default_src():
    response = await fetch(make_app(content_security_policy_nonce_in="script-src"))

    assert re.fullmatch(
        r"default-src 'self'; object-src 'none'; script-src 'self' 'nonce-[\w-]+'",
        response.headers["content-security-policy"],
    )


@pytest.mark.parametrize("nonce_in", [[], ["script-src"]])
async def test_a_304_does_not_give_a_page_that_is_kept_a_nonce_that_it_has_not(nonce_in):
    app = make_app(content_security_policy_nonce_in=nonce_in)

    @app.get("/kept", middleware=[SecurityHeaders(content_security_policy_nonce_in=nonce_in)])
    async def kept(request):
        response = Response("page", headers={"etag": '"1"'})
        return response.make_conditional(request)

    async with Client(app) as client:
        answer = await client.get("/kept", headers={"if-none-match": '"1"'})

    assert (answer.status_code, answer.headers["x-content-type-options"]) == (304, "nosniff")
    assert ("content-security-policy" in answer.headers) == (not nonce_in)


async def test_a_policy_in_text_takes_a_nonce_too():
    app = make_app(
        content_security_policy="script-src 'none'; img-src *", content_security_policy_nonce_in="script-src"
    )

    response = await fetch(app)

    assert re.fullmatch(r"script-src 'nonce-[\w-]+'; img-src \*", response.headers["content-security-policy"])


async def test_a_streamed_template_has_the_nonce_of_its_header():
    app = make_app(content_security_policy_nonce_in=["script-src"])
    app.get("/stream", endpoint="stream")(lambda: stream_template_string(PAGE))

    policy, page = nonces_of(await fetch(app, "/stream"))

    assert policy == page
    assert len(page) == 1


async def test_without_a_nonce_the_template_gets_empty_text():
    response = await fetch(make_app())

    assert response.text == "<script nonce=''></script>"


async def test_a_route_may_have_its_own():
    app, headers = App(__name__), SecurityHeaders(referrer_policy="no-referrer")
    app.add_middleware(headers)
    app.get("/", endpoint="home")(lambda: "home")
    app.get("/widget", middleware=[headers.replace(frame_options=None)])(lambda: "widget")

    answers = [await fetch(app, path) for path in ("/", "/widget")]

    assert [answer.headers.get("x-frame-options") for answer in answers] == ["SAMEORIGIN", None]
    assert [answer.headers.get("referrer-policy") for answer in answers] == ["no-referrer"] * 2


async def test_what_a_view_set_itself_stays():
    app = make_app()
    app.get("/own", endpoint="own")(lambda: Response("own", headers={"X-Frame-Options": "DENY"}))

    assert (await fetch(app, "/own")).headers.get_list("x-frame-options") == ["DENY"]


async def test_on_a_router_it_holds_for_the_router_alone():
    app, admin = App(__name__), Router("admin", __name__, prefix="/admin")
    admin.add_middleware(SecurityHeaders())
    app.get("/")(lambda: "home")
    admin.get("/")(lambda: "panel")
    app.mount("", admin)

    answers = [await fetch(app, path) for path in ("/", "/admin/", "/admin/nowhere")]

    assert ["x-frame-options" in answer.headers for answer in answers] == [False, True, True]


async def test_a_mounted_app_shares_the_nonce_of_the_app_around_it():
    app = App(__name__)
    app.add_middleware(SecurityHeaders(content_security_policy_nonce_in=["script-src"]))
    app.mount("/inner", make_app())

    policy, page = nonces_of(await fetch(app, "/inner/"))

    assert (policy, len(page)) == ([], 1)  # The inner app's own headers decide, and they have no nonce.


async def test_an_error_that_bubbles_out_of_an_app_with_a_nonce_is_answered_with_its_policy():
    app, inner = App(__name__), make_app(content_security_policy_nonce_in=["script-src"])
    app.add_middleware(SecurityHeaders())
    app.mount("/inner", inner, errors="bubble")

    async with Client(app, raise_errors=False) as client:
        answer = await client.get("/inner/broken")

    assert (answer.status_code, "content-security-policy" in answer.headers) == (500, True)


async def test_the_nonce_of_a_mounted_app_is_in_its_policy():
    app = App(__name__)
    app.add_middleware(SecurityHeaders())
    app.mount("/inner", make_app(content_security_policy_nonce_in=["script-src"]))

    policy, page = nonces_of(await fetch(app, "/inner/"))

    assert policy == page
    assert len(page) == 1


async def test_of_three_around_a_view_the_innermost_decides():
    app, headers = App(__name__), SecurityHeaders(content_security_policy_nonce_in=["script-src"])
    api = Router("api", __name__)
    app.add_middleware(SecurityHeaders())
    api.add_middleware(headers)
    api.get("/", middleware=[headers.replace(content_security_policy=None)])(lambda: "hello")
    app.mount("", api)

    assert "content-security-policy" not in (await fetch(app)).headers


@pytest.mark.parametrize("nonce_in", [[], ["script-src"]])
async def test_what_a_foreign_app_sets_itself_stays(nonce_in):
    async def foreign(scope, receive, send):
        if scope["type"] == "http":
            headers = [(b"x-frame-options", b"DENY"), (b"Content-Security-Policy", b"default-src 'none'")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"foreign"})

    app = make_app(content_security_policy_nonce_in=nonce_in)
    app.mount("/foreign", foreign)

    headers = (await fetch(app, "/foreign/")).headers

    assert headers.get_list("x-frame-options") == ["DENY"]
    assert headers.get_list("content-security-policy") == ["default-src 'none'"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "strict-transport-security" in headers


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frame_option": "DENY"}, "frame_options"),
        ({"force_https": True}, "HTTPSRedirect"),
        ({"session_cookie_secure": True}, "SESSION_COOKIE_SECURE"),
        ({"frame_options_allow_from": "x"}, "frame-ancestors"),
        ({"referrer_policy": "a\nb"}, "control character"),
        ({"content_security_policy": {"img-src": "a\r\nx: y"}}, "control character"),
        ({"content_security_policy_report_only": True}, "report_uri"),
        ({"strict_transport_security_max_age": float("inf")}, "infinity"),
    ],
)
def test_an_option_that_is_none_says_what_to_write_instead(options, message):
    with pytest.raises(SetupError, match=message):
        SecurityHeaders(**options)
