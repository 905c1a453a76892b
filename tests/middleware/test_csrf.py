"""CSRF: requests that another site's page makes."""

import pytest

from microweb import App, Router, SetupError
from microweb.middleware import CSRF
from microweb.testing import Client

pytestmark = pytest.mark.anyio

METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]


def make_app(**options):
    app = App(__name__)
    app.add_middleware(CSRF(**options))
    app.route("/", methods=METHODS, endpoint="view")(lambda: "done")
    app.post("/hook", endpoint="hook")(lambda: "hooked")
    return app


async def status_of(app, method="POST", path="/", **headers):
    async with Client(app, base_url="https://example.com") as client:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return (await client.request(method, path, headers=sent)).status_code


# What Go documents for http.CrossOriginProtection.
@pytest.mark.parametrize(
    ("method", "site", "origin", "expected"),
    [
        ("POST", "same-origin", None, 200),
        ("POST", "none", None, 200),
        ("POST", "cross-site", None, 403),
        ("POST", "same-site", None, 403),
        ("POST", "unheard-of", None, 403),
        ("POST", "", None, 200),
        ("POST", "", "https://evil.example", 403),
        ("POST", None, None, 200),
        ("POST", None, "https://example.com", 200),
        ("POST", None, "http://example.com", 200),
        ("POST", None, "https://evil.example", 403),
        ("POST", None, "https://example.com.evil.example", 403),
        ("POST", None, "https://example.com:8443", 403),
        ("POST", None, "https://sub.example.com", 403),
        ("POST", None, "null", 403),
        ("POST", None, "example.com", 403),
        ("POST", "same-origin", "https://evil.example", 200),
        ("POST", "cross-site", "https://example.com", 403),
        ("PUT", "cross-site", None, 403),
        ("PATCH", "cross-site", None, 403),
        ("DELETE", "cross-site", None, 403),
        ("GET", "cross-site", "https://evil.example", 200),
        ("HEAD", "cross-site", "https://evil.example", 200),
        ("OPTIONS", "cross-site", "https://evil.example", 200),
    ],
)
async def test_the_verdict_is_that_of_go(method, site, origin, expected):
    headers = {} if site is None else {"sec_fetch_site": site}
    if origin is not None:
        headers["origin"] = origin

    assert await status_of(make_app(), method, **headers) == expected


@pytest.mark.parametrize("site", ["cross-site", "same-site", None])
async def test_a_trusted_origin_may_send(site):
    app = make_app(trusted_origins=["https://Accounts.example:443"])
    headers = {} if site is None else {"sec_fetch_site": site}

    assert await status_of(app, origin="https://accounts.example", **headers) == 200
    assert await status_of(app, origin="http://accounts.example", **headers) == 403


async def test_an_exempt_endpoint_takes_from_anyone():
    app = make_app(exempt=["hook"])

    assert await status_of(app, path="/hook", sec_fetch_site="cross-site") == 200
    assert await status_of(app, path="/", sec_fetch_site="cross-site") == 403


async def test_the_endpoint_of_a_router_is_named_with_its_router():
    app, hooks = App(__name__), Router("hooks", __name__, prefix="/hooks")
    app.add_middleware(CSRF(exempt="hooks.paid"))
    hooks.post("/paid", endpoint="paid")(lambda: "thanks")
    app.mount("", hooks)

    assert await status_of(app, path="/hooks/paid", sec_fetch_site="cross-site") == 200


async def test_the_view_is_not_called_and_the_error_handler_answers():
    app = App(__name__)
    app.add_middleware(CSRF())
    calls = []
    app.post("/")(lambda: calls.append("view") or "done")

    @app.errorhandler(403)
    async def refused(error):
        return {"error": error.description}, 403

    async with Client(app) as client:
        response = await client.post("/", headers={"Sec-Fetch-Site": "cross-site"})

    assert (response.status_code, calls) == (403, [])
    assert response.json() == {"error": "This request comes from a page of another site, which may not make it."}


async def test_on_a_route_it_holds_for_the_route_alone():
    app = App(__name__)
    app.post("/kept", middleware=[CSRF()])(lambda: "done")
    app.post("/open", endpoint="open")(lambda: "done")

    statuses = [await status_of(app, path=path, sec_fetch_site="cross-site") for path in ("/kept", "/open")]

    assert statuses == [403, 200]


async def test_a_malformed_host_is_a_bad_request():
    assert await status_of(make_app(), origin="https://a/b", host="a/b") == 400


def test_a_trusted_origin_that_is_none_is_a_mistake():
    with pytest.raises(SetupError, match="an origin is a scheme and a host"):
        CSRF(trusted_origins=["accounts.example"])


def test_to_trust_every_site_is_a_mistake():
    with pytest.raises(SetupError, match="to trust every site, leave it out"):
        CSRF(trusted_origins="*")
