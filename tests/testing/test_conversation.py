"""The rules that hold for all protocols; what is HTTP's, a websocket's or the lifespan's own has its own file."""

import anyio
import pytest

from microweb.testing import Lint, LintError
from tests.testing.scripts import BODY, REQUEST, START, Server, check, http_scope

pytestmark = pytest.mark.anyio


async def test_headers_that_can_be_read_once_become_a_list():
    sent = await check(http_scope(), {**START, "headers": iter([(b"a", b"b")])}, BODY)

    assert sent[0]["headers"] == [(b"a", b"b")]


async def test_headers_of_a_scope_that_can_be_read_once_become_a_list():
    scope = http_scope(headers=iter([(b"a", b"b")]))

    await check(scope, START, BODY)

    assert scope["headers"] == [(b"a", b"b")]


async def test_the_app_must_return_none():
    with pytest.raises(LintError, match="must return None, it returned 'text'"):
        await check(http_scope(), START, BODY, result="text")


async def test_a_fault_that_the_app_caught_is_raised_at_its_end():
    async def app(scope, receive, send):
        try:
            await send(BODY)
        except LintError:
            await send(START)
            await send(BODY)

    server = Server()
    lint = Lint(app)

    with pytest.raises(LintError, match=r"before http\.response\.start"):
        await lint(http_scope(), server.receive, server.send)
    assert len(lint.faults) == 1


async def test_the_apps_own_error_comes_before_an_unfinished_answer():
    async def app(scope, receive, send):
        await send(START)
        raise KeyError("broken")

    server = Server()

    with pytest.raises(KeyError):
        await Lint(app)(http_scope(), server.receive, server.send)


async def test_receive_takes_one_caller_at_a_time():
    async def app(scope, receive, send):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive)
            tasks.start_soon(receive)

    async def receive():
        await anyio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        await Lint(app)(http_scope(), receive, Server().send)

    assert "while another call of it was waiting" in str(caught.value.exceptions[0])


async def test_a_receive_that_was_cancelled_may_be_repeated():
    async def app(scope, receive, send):
        with anyio.move_on_after(0):
            await receive()
        await receive()
        await send(START)
        await send(BODY)

    calls = []

    async def receive():
        calls.append(1)
        if len(calls) == 1:
            await anyio.sleep_forever()
        return REQUEST

    await Lint(app)(http_scope(), receive, Server().send)

    assert len(calls) == 2


async def test_neither_side_is_called_after_the_apps_end():
    kept = []

    async def app(scope, receive, send):
        kept.extend([receive, send])
        await send(START)
        await send(BODY)

    server = Server()
    lint = Lint(app)
    await lint(http_scope(), server.receive, server.send)
    receive, send = kept

    with pytest.raises(LintError, match=r"receive\(\) was called after"):
        await receive()
    with pytest.raises(LintError, match=r"send\(\) was called after"):
        await send(BODY)
    assert len(lint.faults) == 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"asgi": None}, "scope['asgi'] needs a `version`"),
        ({"asgi": {"version": 3}}, "scope['asgi'] needs a `version`"),
        ({"asgi": {"version": "3.0", "spec_version": 2.5}}, "must be a str, not 2.5"),
        ({"http_version": 1.1}, "`http_version`"),
        ({"method": None}, "`method`"),
        ({"method": "get"}, "must be upper case"),
        ({"scheme": None}, "`scheme`"),
        ({"scheme": ""}, "must not be empty"),
        ({"path": b"/"}, "`path`"),
        ({"raw_path": "/"}, "`raw_path`"),
        ({"raw_path": b"/?a"}, "holds the query"),
        ({"query_string": "a=b"}, "`query_string`"),
        ({"root_path": None}, "`root_path`"),
        ({"headers": None}, "must be an iterable"),
        ({"headers": [(b"Host", b"x")]}, "not a lower-case token"),
        ({"client": "127.0.0.1"}, "must be (host, port)"),
        ({"client": ("127.0.0.1", "80")}, "must be (host, port)"),
        ({"server": (None, 80)}, "must be (host, port)"),
        ({"server": ("127.0.0.1", 80, 0)}, "must be (host, port)"),
        ({"state": None}, "`state`"),
        ({"extensions": []}, "`extensions`"),
    ],
)
async def test_a_fault_in_the_scope_is_the_servers(changes, reason):
    with pytest.raises(LintError) as caught:
        await check(http_scope(**changes), START, BODY)

    assert str(caught.value).startswith("server: ")
    assert reason in str(caught.value)


async def test_optional_keys_of_a_scope_may_be_missing_or_none():
    scope = http_scope(raw_path=None, client=None, server=["/run/app.sock", None], extensions=None)
    for key in ("scheme", "root_path", "state"):
        del scope[key]

    await check(scope, START, BODY)
