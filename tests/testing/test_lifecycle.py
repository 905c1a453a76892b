import anyio
import pytest

from microweb.failures import LifespanFailed
from microweb.testing import AppHangs, Client, LintError, lifecycle
from microweb.testing.lifecycle import Lifecycle

pytestmark = pytest.mark.anyio


async def run_lifespan(app, *, lint=True):
    cycle = Lifecycle(app, spec_version="2.0", lint=lint)
    await cycle.start()
    await cycle.stop()
    return cycle


async def test_startup_and_shutdown_are_sent_in_order():
    received = []

    async def app(scope, receive, send):
        received.append((await receive())["type"])
        await send({"type": "lifespan.startup.complete"})
        received.append((await receive())["type"])
        await send({"type": "lifespan.shutdown.complete"})

    await run_lifespan(app)

    assert received == ["lifespan.startup", "lifespan.shutdown"]


async def test_the_scope_is_that_of_a_lifespan():
    scopes = []

    async def app(scope, receive, send):
        scopes.append(scope)

    cycle = await run_lifespan(app)

    assert scopes[0]["type"] == "lifespan"
    assert scopes[0]["asgi"] == {"version": "3.0", "spec_version": "2.0"}
    assert scopes[0]["state"] is cycle.state


async def rejects(scope, receive, send):
    assert scope["type"] == "http"


async def returns(scope, receive, send):
    return None


async def takes_startup_and_returns(scope, receive, send):
    await receive()


async def answers_in_http(scope, receive, send):
    await send({"type": "http.response.start", "status": 200})


async def reads_and_answers_in_http(scope, receive, send):
    await receive()
    await send({"type": "http.response.start", "status": 200})


@pytest.mark.parametrize("lint", [True, False])
@pytest.mark.parametrize(
    "app", [rejects, returns, takes_startup_and_returns, answers_in_http, reads_and_answers_in_http]
)
async def test_an_app_without_lifespan_is_left_in_peace(app, lint):
    await run_lifespan(app, lint=lint)


async def test_an_error_during_startup_is_raised():
    async def app(scope, receive, send):
        await receive()
        raise KeyError("no database")

    with pytest.raises(KeyError, match="no database"):
        await run_lifespan(app)


async def test_a_failure_with_an_error_of_the_app_raises_that():
    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "sorry"})
        await anyio.lowlevel.checkpoint()
        raise KeyError("no database")

    with pytest.raises(KeyError, match="no database"):
        await run_lifespan(app)


async def test_a_failure_with_a_noted_error_raises_that():
    async def app(scope, receive, send):
        await receive()
        scope["extensions"]["microweb.errors"].append(KeyError("no database"))
        await send({"type": "lifespan.startup.failed", "message": "sorry"})

    with pytest.raises(KeyError, match="no database"):
        await run_lifespan(app)


@pytest.mark.parametrize(("message", "text"), [({"message": "sorry"}, "sorry"), ({}, "gave no reason")])
async def test_a_failure_without_more_raises_its_message(message, text):
    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", **message})

    with pytest.raises(LifespanFailed, match=text):
        await run_lifespan(app)


async def test_after_a_failed_start_there_is_nothing_to_stop():
    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed"})

    cycle = Lifecycle(app, spec_version="2.0", lint=True)
    with pytest.raises(LifespanFailed):
        await cycle.start()

    await cycle.stop()


async def test_a_client_whose_app_cannot_start_is_closed():
    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "sorry"})

    client = Client(app)
    with pytest.raises(LifespanFailed):
        await client.__aenter__()

    assert client.is_closed


async def test_an_error_during_shutdown_is_raised():
    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        raise KeyError("while closing")

    with pytest.raises(KeyError, match="while closing"):
        await run_lifespan(app)


async def test_a_failed_shutdown_raises_its_message():
    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.failed", "message": "while closing"})

    with pytest.raises(LifespanFailed, match="while closing"):
        await run_lifespan(app)


async def test_an_error_between_start_and_stop_is_raised_at_the_stop():
    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.complete"})
        raise KeyError("in the background")

    with pytest.raises(KeyError, match="in the background"):
        await run_lifespan(app)


async def test_a_broken_rule_is_raised():
    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})

    with pytest.raises(LintError, match="wrong time"):
        await run_lifespan(app)


async def test_a_verdict_of_pytest_in_an_app_is_never_swallowed():
    async def app(scope, receive, send):
        pytest.fail("no lifespan, please")

    with pytest.raises(pytest.fail.Exception, match="no lifespan"):
        await run_lifespan(app)


async def test_a_start_that_is_cancelled_ends_the_app():
    events = []

    async def app(scope, receive, send):
        try:
            await anyio.sleep_forever()
        finally:
            events.append("ended")

    cycle = Lifecycle(app, spec_version="2.0", lint=True)
    with anyio.move_on_after(0.001):
        await cycle.start()

    assert events == ["ended"]


async def test_an_app_that_does_not_stop_is_cancelled(monkeypatch):
    events = []

    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        try:
            await anyio.sleep_forever()
        finally:
            events.append("cancelled")

    monkeypatch.setattr(lifecycle, "STOP_LIMIT", 0.001)
    with pytest.raises(AppHangs, match="still shutting down"):
        await run_lifespan(app)

    assert events == ["cancelled"]
