"""TrustedHosts: the hosts that are answered for."""

import pytest

from microweb import App, Router, SetupError
from microweb.middleware import TrustedHosts
from microweb.testing import Client

pytestmark = pytest.mark.anyio

HOSTS = ["example.org", ".example.net", "localhost:8000", "[::1]"]


def make_app(hosts):
    app = App(__name__)
    app.add_middleware(TrustedHosts(hosts))
    app.get("/")(lambda: "hello")
    return app


async def status_of(app, *hosts, path="/"):
    async with Client(app, lint=False) as client:
        return (await client.get(path, headers=[("host", host) for host in hosts])).status_code


@pytest.mark.parametrize(
    "host",
    ["example.org", "EXAMPLE.org:8080", "example.org.", "example.net", "a.b.example.net", "localhost", "[::1]:80"],
)
async def test_a_listed_host_is_answered(host):
    assert await status_of(make_app(HOSTS), host) == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "a.example.org", "evilexample.net", "example.org.evil.example", "example.org@evil", "", "a b"],
)
async def test_a_host_that_is_not_listed_is_refused_before_the_view(host):
    app, calls = make_app(HOSTS), []
    app.get("/calls", endpoint="calls")(lambda: calls.append(host) or "called")

    assert await status_of(app, host, path="/calls") == 400
    assert calls == []


async def test_a_star_stands_for_what_is_below_a_host_and_not_for_the_host():
    app = make_app("*.example.org")

    assert [await status_of(app, host) for host in ("a.example.org", "example.org")] == [200, 400]


async def test_two_host_headers_are_refused():
    assert await status_of(make_app(HOSTS), "example.org", "example.org") == 400


@pytest.mark.parametrize(
    ("server", "status"), [(("example.org", 80), 200), (("::1", 80), 200), (("10.0.0.1", 80), 400)]
)
async def test_without_a_host_header_the_servers_own_address_counts(server, status):
    app, answers = make_app(HOSTS), []
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": [], "server": server}

    async def receive():
        return {"type": "http.request"}

    async def send(message):
        answers.append(message)

    await app(scope, receive, send)

    assert answers[0]["status"] == status


@pytest.mark.parametrize(
    "host",
    [
        *(
            "example.org",
            "EXAMPLE.ORG.",
            "example.net",
            "a.example.net",
            "evil.example",
            "evilexample.net",
            "[::1]:9",
            "::1",
        )
    ],
)
async def test_the_verdict_is_that_of_the_config_key(host):
    configured = App(__name__, config={"TRUSTED_HOSTS": HOSTS})
    configured.get("/")(lambda: "hello")

    assert await status_of(make_app(HOSTS), host) == await status_of(configured, host)


async def test_a_router_may_have_hosts_of_its_own_and_its_misses_too():
    app, admin = App(__name__), Router("admin", __name__, prefix="/admin")
    admin.add_middleware(TrustedHosts(["admin.example"]))
    admin.get("/")(lambda: "panel")
    app.get("/")(lambda: "hello")
    app.mount("", admin)

    statuses = [await status_of(app, "example.org", path=path) for path in ("/", "/admin/", "/admin/nowhere")]

    assert statuses == [200, 400, 400]


@pytest.mark.parametrize(
    "hosts", [[], ["*"], [""], ["*example.org"], ["a.*.org"], ["https://example.org"], ["a b"], ["example.org/"]]
)
def test_a_host_that_is_none_is_a_mistake(hosts):
    with pytest.raises(SetupError, match="host"):
        TrustedHosts(hosts)
