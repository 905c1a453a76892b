import contextlib

import pytest

from microweb.testing import Lint, LintError
from tests.testing.scripts import ACCEPT, CONNECT, RECEIVE, START, Server, check, websocket_scope

pytestmark = pytest.mark.anyio

DENY = {"type": "websocket.http.response.start", "status": 403}


@pytest.mark.parametrize(
    "steps",
    [
        [RECEIVE, ACCEPT, {"type": "websocket.send", "text": ""}, {"type": "websocket.close"}],
        [RECEIVE, {**ACCEPT, "subprotocol": "v1", "headers": [(b"a", b"b")]}],
        [RECEIVE, ACCEPT, {"type": "websocket.send", "bytes": b"", "text": None}],
        [RECEIVE, ACCEPT, {"type": "websocket.close", "code": 4999, "reason": "r" * 123}],
        [{"type": "websocket.close"}],
    ],
)
async def test_a_sound_websocket_passes_untouched(steps):
    sent = await check(websocket_scope(), *steps, server=[CONNECT])

    assert sent == [step for step in steps if step != RECEIVE]


async def test_a_sound_denial_passes():
    start = {"type": "websocket.http.response.start", "status": 403, "headers": [(b"a", b"b")]}
    parts = [{"type": "websocket.http.response.body", "body": b"x", "more_body": True}]
    parts.append({"type": "websocket.http.response.body"})

    scope = websocket_scope(extensions={"websocket.http.response": {}})
    assert await check(scope, start, *parts) == [start, *parts]


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ([], "without answering the handshake"),
        ([RECEIVE], "without answering the handshake"),
        ([ACCEPT], "websocket.accept was sent before websocket.connect was received"),
        ([RECEIVE, ACCEPT, ACCEPT], "websocket.accept was sent after websocket.accept"),
        ([RECEIVE, {**ACCEPT, "subprotocol": "v9"}], "the client did not offer it"),
        ([RECEIVE, {**ACCEPT, "subprotocol": b"v1"}], "must be str"),
        ([RECEIVE, {**ACCEPT, "headers": [("a", "b")]}], "pair of bytes"),
        (
            [RECEIVE, {**ACCEPT, "headers": [(b"sec-websocket-protocol", b"v1")]}],
            "belongs into `subprotocol`",
        ),
        (
            [RECEIVE, {"type": "websocket.send", "text": "x"}],
            "websocket.send was sent before websocket.accept",
        ),
        ([RECEIVE, ACCEPT, {"type": "websocket.send"}], "needs either `text` or `bytes`"),
        ([RECEIVE, ACCEPT, {"type": "websocket.send", "text": "x", "bytes": b"x"}], "needs either"),
        ([RECEIVE, ACCEPT, {"type": "websocket.send", "text": b"x"}], "`text` of websocket.send must be str"),
        (
            [RECEIVE, ACCEPT, {"type": "websocket.send", "bytes": "x"}],
            "`bytes` of websocket.send must be bytes",
        ),
        (
            [{"type": "websocket.close"}, {"type": "websocket.close"}],
            "websocket.close was sent after websocket.close",
        ),
        ([{"type": "websocket.close", "code": "1000"}], "must be int"),
        ([{"type": "websocket.close", "code": 999}], "must not be sent"),
        ([{"type": "websocket.close", "code": 1005}], "must not be sent"),
        ([{"type": "websocket.close", "code": 1015}], "must not be sent"),
        ([{"type": "websocket.close", "code": 5000}], "must not be sent"),
        ([{"type": "websocket.close", "reason": b"x"}], "must be str"),
        ([{"type": "websocket.close", "reason": "ü" * 62}], "at most 123 bytes"),
        ([{"type": "websocket.close", "reason": "\ud800"}], "half a surrogate pair"),
        ([RECEIVE, ACCEPT, {"type": "websocket.send", "text": "x\udc80"}], "half a surrogate pair"),
        ([RECEIVE, ACCEPT, DENY], "websocket.http.response.start was sent after websocket.accept"),
        ([DENY], "without answering the handshake"),
        ([DENY, {"type": "websocket.close"}], "after the start of a denial"),
        ([{**DENY, "status": "403"}], "must be int"),
        ([{**DENY, "status": 101}], "must be one of 200 to 599"),
        ([{**DENY, "headers": [("a", "b")]}], "pair of bytes"),
        ([{"type": "websocket.http.response.body"}], "before websocket.connect was received"),
        ([DENY, {"type": "websocket.http.response.body", "body": "x"}], "must be bytes"),
        ([DENY, {"type": "websocket.http.response.body", "more_body": 0}], "must be bool"),
        ([START], "'http.response.start' cannot be sent here"),
    ],
)
async def test_a_fault_on_a_websocket_is_named(steps, reason):
    scope = websocket_scope(extensions={"websocket.http.response": {}})

    with pytest.raises(LintError) as caught:
        await check(scope, *steps, server=[CONNECT])

    assert str(caught.value).startswith("app: websocket /x: ")
    assert reason in str(caught.value)


async def test_a_denial_response_must_be_offered():
    with pytest.raises(LintError, match="does not offer it"):
        await check(websocket_scope(), DENY)


async def test_nothing_is_received_after_the_disconnect():
    server = [CONNECT, {"type": "websocket.disconnect", "code": 1000}]

    with pytest.raises(LintError, match=r"after websocket\.disconnect"):
        await check(websocket_scope(), RECEIVE, RECEIVE, RECEIVE, server=server)


async def test_a_denial_needs_no_end_when_the_client_is_gone():
    class Gone(Server):
        async def send(self, message):
            raise OSError

    async def app(scope, receive, send):
        with contextlib.suppress(OSError):
            await send(DENY)

    server = Gone()

    await Lint(app)(websocket_scope(extensions={"websocket.http.response": {}}), server.receive, server.send)


async def test_a_handshake_needs_no_answer_after_the_disconnect():
    await check(websocket_scope(), RECEIVE, RECEIVE, server=[CONNECT, {"type": "websocket.disconnect"}])


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([CONNECT, CONNECT], "came twice"),
        ([{"type": "websocket.receive", "text": "x"}], "before websocket.connect"),
        ([CONNECT, {"type": "websocket.receive"}], "needs either"),
        ([CONNECT, {"type": "websocket.disconnect", "code": "1"}], "`code`"),
        ([CONNECT, {"type": "websocket.disconnect", "reason": b""}], "`reason`"),
    ],
)
async def test_a_fault_in_a_message_is_the_servers(messages, reason):
    with pytest.raises(LintError) as caught:
        await check(websocket_scope(), *[RECEIVE] * len(messages), server=messages)

    assert str(caught.value).startswith("server: ")
    assert reason in str(caught.value)


async def test_the_scope_of_a_websocket_is_checked_like_any_other():
    with pytest.raises(LintError, match=r"server: .*`path`"):
        await check(websocket_scope(path=None), {"type": "websocket.close"})


async def test_what_a_request_must_have_may_be_missing_from_a_websocket():
    scope = websocket_scope(query_string=None)
    del scope["http_version"]

    await check(scope, {"type": "websocket.close"})


async def test_subprotocols_are_a_list_of_str():
    with pytest.raises(LintError, match=r"server: .*subprotocols"):
        await check(websocket_scope(subprotocols=[b"v1"]), {"type": "websocket.close"})
