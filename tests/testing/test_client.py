import unittest

import anyio
import httpx
import pytest

from microweb.errors import ClientDisconnect
from microweb.testing import AppHangs, ASGITransport, Client, LintError

pytestmark = pytest.mark.anyio


async def respond(send, body=b"", status=200, headers=()):
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})


def with_lifespan(events, http=None):
    async def app(scope, receive, send):
        if scope["type"] == "http":
            await (http or hello)(scope, receive, send)
            return
        assert (await receive())["type"] == "lifespan.startup"
        events.append("start")
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        events.append("stop")
        await send({"type": "lifespan.shutdown.complete"})

    return app


async def hello(scope, receive, send):
    await respond(send, b"hello")


# The lifespan ---------------------------------------------------------------------------------------


async def test_the_block_runs_the_lifespan():
    events = []

    async with Client(with_lifespan(events)) as client:
        assert events == ["start"]
        assert (await client.get("/")).text == "hello"
        assert events == ["start"]

    assert events == ["start", "stop"]


async def test_the_lifespan_can_be_left_out():
    events = []

    async with Client(with_lifespan(events), lifespan=False) as client:
        await client.get("/")

    assert events == []


async def test_each_request_gets_a_copy_of_the_lifespans_state():
    states = []

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            scope["state"]["pool"] = "open"
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        states.append(dict(scope["state"]))
        scope["state"]["pool"] = "changed"
        await respond(send)

    async with Client(app) as client:
        await client.get("/")
        await client.get("/")

    assert states == [{"pool": "open"}, {"pool": "open"}]


async def test_shutdown_comes_after_the_open_requests():
    events = []

    async def slow(scope, receive, send):
        await receive()
        events.append((await receive())["type"])

    async with Client(with_lifespan(events, slow)) as client:
        with anyio.move_on_after(0.001):
            await client.get("/")

    assert events == ["start", "http.disconnect", "stop"]


async def test_the_lifespan_runs_when_the_block_is_cancelled():
    events = []

    with anyio.CancelScope() as scope:
        async with Client(with_lifespan(events)):
            scope.cancel()
            await anyio.sleep_forever()

    assert events == ["start", "stop"]


async def test_a_client_may_be_opened_and_closed_by_different_tasks():
    events = []
    client = Client(with_lifespan(events))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.__aenter__)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.get, "/")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.__aexit__)

    assert events == ["start", "stop"]


async def test_a_client_is_opened_once():
    async with Client(hello) as client:
        with pytest.raises(RuntimeError, match="more than once"):
            await client.__aenter__()


async def test_aclose_is_enough_and_may_come_twice():
    events = []
    client = await Client(with_lifespan(events)).__aenter__()

    await client.aclose()
    await client.aclose()

    assert events == ["start", "stop"]


async def test_a_client_without_a_block_serves_without_lifespan():
    events = []
    client = Client(with_lifespan(events))

    assert (await client.get("/")).text == "hello"
    await client.aclose()

    assert events == []


# Options --------------------------------------------------------------------------------------------


def test_a_plain_with_is_told_of_the_other_client():
    with pytest.raises(TypeError, match="with SyncClient"), Client(hello):
        pass


async def test_cookies_are_kept_and_can_be_given():
    async def app(scope, receive, send):
        cookies = dict(scope["headers"]).get(b"cookie", b"")
        await respond(send, cookies, headers=[(b"set-cookie", b"seen=yes; HttpOnly")])

    async with Client(app, lifespan=False, cookies={"given": "1"}) as client:
        assert (await client.get("/")).text == "given=1"
        assert (await client.get("/")).text == "given=1; seen=yes"


async def test_redirects_are_not_followed_unless_asked_for():
    async def app(scope, receive, send):
        if scope["path"] == "/new":
            await respond(send, b"here")
        else:
            await respond(send, status=302, headers=[(b"location", b"/new")])

    async with Client(app, lifespan=False) as client:
        assert (await client.get("/old")).status_code == 302
        assert (await client.get("/old", follow_redirects=True)).text == "here"


async def test_the_base_url_decides_host_and_scheme():
    scopes = []

    async def app(scope, receive, send):
        scopes.append(scope)
        await respond(send)

    async with Client(app, lifespan=False, base_url="https://example.org") as client:
        await client.get("/")

    assert scopes[0]["scheme"] == "https"
    assert (b"host", b"example.org") in scopes[0]["headers"]


async def test_there_is_no_time_limit_unless_one_is_given():
    async with Client(hello) as client:
        assert client.timeout == httpx.Timeout(None)
    async with Client(hello, timeout=3) as client:
        assert client.timeout == httpx.Timeout(3)


async def test_options_reach_the_transport():
    client = Client(hello, root_path="/api", grace=1, lint=False, raise_errors=False, client=None)

    assert isinstance(client.asgi_transport, ASGITransport)
    assert client.asgi_transport.root_path == "/api"
    assert client.asgi_transport.grace == 1
    assert not client.asgi_transport.lint
    assert not client.asgi_transport.raise_errors
    assert client.asgi_transport.client is None


async def test_every_test_passes_the_lint_by_default():
    async def app(scope, receive, send):
        await respond(send, b"too long", headers=[(b"content-length", b"3")])

    async with Client(app, lifespan=False) as client:
        with pytest.raises(LintError, match="content-length is 3, but 8 bytes were sent"):
            await client.get("/")


# exchange() -----------------------------------------------------------------------------------------


async def test_an_exchange_disconnects_while_the_app_is_at_work():
    entered = anyio.Event()
    events = []

    async def app(scope, receive, send):
        await receive()
        entered.set()
        events.append((await receive())["type"])

    async with Client(app, lifespan=False) as client, client.exchange("GET", "/") as exchange:
        await entered.wait()
        assert exchange.running
        exchange.disconnect()
        await exchange.wait_ended()
        assert not exchange.running

    assert events == ["http.disconnect"]


async def test_an_exchange_disconnects_in_the_middle_of_an_upload():
    received = []

    async def app(scope, receive, send):
        while (message := await receive())["type"] == "http.request":
            received.append(message["body"])
            entered.set()

    async def body():
        yield b"first"
        await anyio.sleep_forever()

    entered = anyio.Event()
    client = Client(app, lifespan=False)
    async with client, client.exchange("POST", "/", content=body()) as exchange:
        await entered.wait()
        exchange.disconnect()

    assert received == [b"first"]


async def test_an_exchange_gives_its_response_and_keeps_its_cookies():
    async def app(scope, receive, send):
        await respond(send, b"hello", headers=[(b"set-cookie", b"a=1")])

    async with Client(app, lifespan=False) as client, client.exchange("GET", "/") as exchange:
        response = await exchange.response()
        assert await response.aread() == b"hello"
        assert client.cookies["a"] == "1"


async def test_no_response_comes_after_a_disconnect():
    async def app(scope, receive, send):
        await receive()
        await receive()

    async with Client(app, lifespan=False) as client, client.exchange("GET", "/") as exchange:
        exchange.disconnect()
        with pytest.raises(httpx.ReadError, match="before the app sent a status"):
            await exchange.response()


async def test_waiting_for_an_exchange_may_be_given_up():
    async def app(scope, receive, send):
        await receive()
        await released.wait()
        await respond(send, b"after all")

    released = anyio.Event()
    async with Client(app, lifespan=False) as client, client.exchange("GET", "/") as exchange:
        for wait in (exchange.response, exchange.wait_ended):
            with anyio.CancelScope() as scope:
                scope.cancel()
                await wait()
        released.set()
        response = await exchange.response()
        assert await response.aread() == b"after all"


async def test_a_disconnect_after_the_answer_changes_nothing():
    async def app(scope, receive, send):
        await respond(send)
        await released.wait()
        raise ClientDisconnect("not by this client")

    released = anyio.Event()
    async with Client(app, lifespan=False) as client:
        with pytest.raises(ClientDisconnect):
            async with client.exchange("GET", "/") as exchange:
                await exchange.response()
                exchange.disconnect()
                released.set()


@pytest.mark.parametrize("also", [None, ValueError("and a real one")], ids=["alone", "with another"])
async def test_that_the_client_left_is_no_error_of_the_app_and_what_comes_with_it_is(also):
    async def app(scope, receive, send):
        await receive()
        assert (await receive())["type"] == "http.disconnect"
        gone = ClientDisconnect("the client left")
        raise gone if also is None else ExceptionGroup("both", [gone, also])

    async with Client(app, lifespan=False) as client:
        opened = client.exchange("GET", "/")
        await opened.__aenter__()
        if also is None:
            await opened.__aexit__(None, None, None)
        else:
            with pytest.raises(ExceptionGroup, match="both"):
                await opened.__aexit__(None, None, None)


async def test_leaving_an_exchange_disconnects():
    events = []

    async def app(scope, receive, send):
        await receive()
        events.append((await receive())["type"])

    async with Client(app, lifespan=False) as client:
        async with client.exchange("GET", "/"):
            pass
        assert events == ["http.disconnect"]


async def test_leaving_an_exchange_raises_the_apps_error():
    async def app(scope, receive, send):
        await receive()
        await receive()
        raise KeyError("late")

    async with Client(app, lifespan=False) as client:
        with pytest.raises(KeyError, match="late"):
            async with client.exchange("GET", "/"):
                pass


async def test_an_exchange_with_a_deaf_app_is_cut_after_the_grace():
    async def app(scope, receive, send):
        await anyio.sleep_forever()

    async with Client(app, lifespan=False, grace=0.001) as client:
        with pytest.raises(AppHangs):
            async with client.exchange("GET", "/"):
                pass


# Other test runners ---------------------------------------------------------------------------------


def test_it_works_under_isolated_asyncio_test_case():
    events = []

    class ClientTest(unittest.IsolatedAsyncioTestCase):
        async def asyncSetUp(self):
            self.client = await self.enterAsyncContext(Client(with_lifespan(events)))

        async def test_hello(self):
            assert (await self.client.get("/")).text == "hello"
            events.append("test")

    result = unittest.TestResult()
    ClientTest("test_hello").run(result)

    assert (result.errors, result.failures, result.testsRun) == ([], [], 1)
    assert events == ["start", "test", "stop"]
