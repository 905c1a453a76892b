import anyio
import pytest

from microweb.testing import Lint, LintError

pytestmark = pytest.mark.anyio

START = {"type": "http.response.start", "status": 200}
BODY = {"type": "http.response.body"}
REQUEST = {"type": "http.request"}
ACCEPT = {"type": "websocket.accept"}
CONNECT = {"type": "websocket.connect"}
RECEIVE = "receive"
"""In a script: the app calls receive() here."""


def http_scope(**changes):
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/x",
        "raw_path": b"/x",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"x")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "state": {},
        "extensions": {},
    }
    return {**scope, **changes}


def websocket_scope(**changes):
    return http_scope(**{"type": "websocket", "scheme": "ws", "subprotocols": ["v1"], **changes})


LIFESPAN = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}


class Server:
    """A server that says what it is told and keeps what it is sent."""

    def __init__(self, *messages):
        self.messages = list(messages)
        self.sent = []

    async def receive(self):
        return self.messages.pop(0)

    async def send(self, message):
        self.sent.append(message)


def scripted(*steps, result=None):
    """An app that sends the messages in turn."""

    async def app(scope, receive, send):
        for step in steps:
            if step == RECEIVE:
                await receive()
            else:
                await send(step)
        return result

    return app


async def check(scope, *steps, server=(REQUEST,), result=None):
    """Run a scripted app; what reached the server."""
    playing = Server(*server)
    await Lint(scripted(*steps, result=result))(scope, playing.receive, playing.send)
    return playing.sent


def with_headers(*pairs):
    return {**START, "headers": list(pairs)}


def body(data=b"", more=False):
    return {"type": "http.response.body", "body": data, "more_body": more}


# What passes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "steps",
    [
        [START, BODY],
        [RECEIVE, START, BODY],
        [with_headers((b"content-length", b"3"), (b"content-type", b"text/plain")), body(b"abc")],
        [with_headers((b"content-length", b"3")), body(b"a", True), body(b"bc")],
        [with_headers((b"content-length", b"3")), body(b"abc", True), body()],
        [with_headers([b"x-a", b""], [b"x-a", b"b\tc \xff"]), BODY],
        [{**START, "status": 204}, BODY],
        [{**START, "status": 304, "headers": [(b"content-length", b"9")]}, BODY],
        [{**START, "status": 599, "trailers": False}, BODY],
    ],
)
async def test_a_sound_answer_passes_untouched(steps):
    sent = await check(http_scope(), *steps)

    assert sent == [step for step in steps if step != RECEIVE]


async def test_an_answer_to_head_may_promise_a_length():
    await check(http_scope(method="HEAD"), with_headers((b"content-length", b"3")), BODY)


async def test_headers_that_can_be_read_once_become_a_list():
    sent = await check(http_scope(), {**START, "headers": iter([(b"a", b"b")])}, BODY)

    assert sent[0]["headers"] == [(b"a", b"b")]


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


@pytest.mark.parametrize("end", ["complete", "failed"])
async def test_a_sound_lifespan_passes(end):
    await check(
        LIFESPAN,
        RECEIVE,
        {"type": "lifespan.startup.complete"},
        RECEIVE,
        {"type": f"lifespan.shutdown.{end}"},
        server=[{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}],
    )


async def test_an_unknown_protocol_is_not_its_business():
    sent = await check({"type": "mqtt"}, {"type": "anything"})

    assert sent == [{"type": "anything"}]


# The app's faults, HTTP -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ([], "returned without any answer"),
        ([START], "returned without completing its answer"),
        ([START, body(b"x", True)], "returned without completing its answer"),
        ([BODY], "http.response.body was sent before http.response.start"),
        ([START, START], "http.response.start was sent twice"),
        ([START, BODY, BODY], "http.response.body was sent after the end of the body"),
        ([START, BODY, START], "http.response.start was sent twice"),
        (["text"], "a message must be a dict, not str"),
        ([{}], "needs a `type`"),
        ([{"type": 1}], "needs a `type`"),
        ([{"type": "http.response.end"}], "'http.response.end' cannot be sent here"),
        ([ACCEPT], "'websocket.accept' cannot be sent here"),
        ([REQUEST], "'http.request' cannot be sent here"),
        ([{"type": "http.response.start"}], "needs `status`"),
        ([{**START, "status": "200"}], "`status` of http.response.start must be int, not '200'"),
        ([{**START, "status": True}], "must be int, not True"),
        ([{**START, "status": 199}], "200 to 599"),
        ([{**START, "status": 600}], "200 to 599"),
        ([{**START, "headers": 1}], "must be an iterable of pairs"),
        ([{**START, "headers": None}], "must be an iterable of pairs"),
        ([{**START, "headers": {b"a": b"b"}}], "a header must be a pair of bytes"),
        ([with_headers((b"a",))], "a header must be a pair of bytes"),
        ([with_headers(("a", "b"))], "a header must be a pair of bytes"),
        ([with_headers((b"a", "b"))], "a header must be a pair of bytes"),
        ([with_headers((b"X-Upper", b"b"))], "not a lower-case token"),
        ([with_headers((b"", b"b"))], "not a lower-case token"),
        ([with_headers((b"a b", b"b"))], "not a lower-case token"),
        ([with_headers((b"a:", b"b"))], "not a lower-case token"),
        ([with_headers((b"a", b"b\r\nset-cookie: x=1"))], "control characters"),
        ([with_headers((b"a", b"b\nc"))], "control characters"),
        ([with_headers((b"a", b"b\x00c"))], "control characters"),
        ([with_headers((b"a", b"b\x7f"))], "control characters"),
        ([with_headers((b"a", b" b"))], "begins or ends with a blank"),
        ([with_headers((b"a", b"b\t"))], "begins or ends with a blank"),
        (
            [with_headers((b"content-length", b"3"), (b"content-length", b"3"))],
            "content-length was sent 2 times",
        ),
        (
            [with_headers((b"content-type", b"a/b"), (b"content-type", b"a/b"))],
            "content-type was sent more than once",
        ),
        ([with_headers((b"content-length", b"-1"))], "must be a number"),
        ([with_headers((b"content-length", b""))], "must be a number"),
        ([{**with_headers((b"content-length", b"0")), "status": 204}], "a 204 must not carry content-length"),
        (
            [with_headers((b"content-length", b"3")), body(b"abcd")],
            "content-length is 3, but 4 bytes were sent",
        ),
        (
            [with_headers((b"content-length", b"3")), body(b"ab")],
            "content-length is 3, but only 2 bytes were sent",
        ),
        ([START, {**BODY, "body": "text"}], "`body` of http.response.body must be bytes"),
        ([START, {**BODY, "body": bytearray(b"x")}], "`body` of http.response.body must be bytes"),
        ([START, {**BODY, "more_body": 1}], "`more_body` of http.response.body must be bool"),
        ([{**START, "status": 204}, body(b"x")], "the answer to a 204 has no body, but 1 bytes were sent"),
        ([{**START, "status": 304}, body(b"x")], "the answer to a 304 has no body"),
        ([{**START, "trailers": 1}], "`trailers` of http.response.start must be bool"),
        ([{**START, "trailers": True}], "does not offer it"),
        ([{"type": "http.response.pathsend", "path": "/"}], "does not offer it"),
        ([{"type": "http.response.early_hint", "links": []}], "does not offer it"),
        ([{"type": "http.response.debug", "info": {}}], "does not offer it"),
        ([START, BODY, {"type": "http.response.trailers"}], "needs `trailers: True`"),
    ],
)
async def test_a_fault_of_the_app_is_named(steps, reason):
    with pytest.raises(LintError) as caught:
        await check(http_scope(), *steps)

    assert str(caught.value).startswith("app: GET /x: ")
    assert reason in str(caught.value)


async def test_an_answer_to_head_has_no_body():
    with pytest.raises(LintError, match="the answer to a HEAD request has no body"):
        await check(http_scope(method="HEAD"), START, body(b"x"))


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


async def test_one_call_does_not_answer_for_another():
    async def app(scope, receive, send):
        if scope["path"] == "/bad":
            await send(BODY)
        await send(START)
        await send(BODY)

    server = Server()
    lint = Lint(app)
    with pytest.raises(LintError):
        await lint(http_scope(path="/bad"), server.receive, server.send)

    await lint(http_scope(), server.receive, server.send)

    with pytest.raises(LintError):
        lint.check()


async def test_without_faults_the_check_is_quiet():
    server = Server()
    lint = Lint(scripted(START, BODY))

    await lint(http_scope(), server.receive, server.send)

    lint.check()
    assert lint.faults == []


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


async def test_after_a_disconnect_an_answer_may_be_left_unfinished():
    await check(http_scope(), RECEIVE, START, body(b"x", True), server=[{"type": "http.disconnect"}])


async def test_after_an_oserror_an_answer_may_be_left_unfinished_but_not_continued():
    async def app(scope, receive, send):
        try:
            await send(START)
        except OSError:
            await send(BODY)

    async def send(message):
        raise ConnectionResetError

    with pytest.raises(LintError, match="the client is gone"):
        await Lint(app)(http_scope(), Server().receive, send)


async def test_after_an_oserror_an_app_may_just_end():
    async def app(scope, receive, send):
        try:
            await send(START)
        except OSError:
            pass

    async def send(message):
        raise ConnectionResetError

    await Lint(app)(http_scope(), Server().receive, send)


# Extensions -----------------------------------------------------------------------------------------

TRAILERS = {**START, "trailers": True}


@pytest.mark.parametrize(
    ("name", "steps", "reason"),
    [
        ("trailers", [TRAILERS, {"type": "http.response.trailers"}], "needs `trailers: True`"),
        ("trailers", [TRAILERS, BODY], "returned without completing its answer"),
        (
            "trailers",
            [TRAILERS, BODY, {"type": "http.response.trailers", "headers": [("a", "b")]}],
            "pair of bytes",
        ),
        (
            "trailers",
            [TRAILERS, BODY, {"type": "http.response.trailers", "more_trailers": 0}],
            "must be bool",
        ),
        (
            "early_hint",
            [START, {"type": "http.response.early_hint", "links": []}],
            "after http.response.start",
        ),
        ("early_hint", [{"type": "http.response.early_hint", "links": ["str"]}], "must be a list of bytes"),
        ("early_hint", [{"type": "http.response.early_hint"}], "must be a list of bytes"),
        ("debug", [START, {"type": "http.response.debug", "info": {}}], "after http.response.start"),
        ("debug", [{"type": "http.response.debug", "info": []}], "must be dict"),
        ("pathsend", [START, {"type": "http.response.pathsend"}], "needs `path`"),
        ("pathsend", [START, {"type": "http.response.pathsend", "path": "x.txt"}], "absolute path of a file"),
        ("pathsend", [START, {"type": "http.response.pathsend", "path": "/"}], "absolute path of a file"),
        ("pathsend", [{"type": "http.response.pathsend", "path": __file__}], "before http.response.start"),
        (
            "pathsend",
            [START, body(b"x", True), {"type": "http.response.pathsend", "path": __file__}],
            "cannot follow",
        ),
        (
            "pathsend",
            [with_headers((b"content-length", b"1")), {"type": "http.response.pathsend", "path": __file__}],
            "content-length is 1",
        ),
    ],
)
async def test_a_fault_in_an_extension_is_named(name, steps, reason):
    with pytest.raises(LintError) as caught:
        await check(http_scope(extensions={f"http.response.{name}": {}}), *steps)

    assert reason in str(caught.value)


async def test_sound_extensions_pass():
    names = ("trailers", "early_hint", "debug")
    await check(
        http_scope(extensions={f"http.response.{name}": {} for name in names}),
        {"type": "http.response.debug", "info": {}},
        {"type": "http.response.early_hint", "links": (b"</a>",)},
        TRAILERS,
        BODY,
        {"type": "http.response.trailers", "more_trailers": True},
        {"type": "http.response.trailers", "headers": [(b"a", b"b")]},
    )
    await check(
        http_scope(extensions={"http.response.pathsend": {}}),
        START,
        {"type": "http.response.pathsend", "path": __file__},
    )


# The app's faults, websockets and lifespan ----------------------------------------------------------

DENY = {"type": "websocket.http.response.start", "status": 403}


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
        ([RECEIVE, ACCEPT, DENY], "websocket.http.response.start was sent after websocket.accept"),
        ([DENY], "without answering the handshake"),
        ([DENY, {"type": "websocket.close"}], "after the start of a denial"),
        ([{**DENY, "status": "403"}], "must be int"),
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


async def test_a_handshake_needs_no_answer_after_the_disconnect():
    await check(websocket_scope(), RECEIVE, RECEIVE, server=[CONNECT, {"type": "websocket.disconnect"}])


@pytest.mark.parametrize(
    "steps",
    [
        [{"type": "lifespan.startup.complete"}],
        [RECEIVE, {"type": "lifespan.shutdown.complete"}],
        [RECEIVE, {"type": "lifespan.startup.complete"}, {"type": "lifespan.startup.complete"}],
        [RECEIVE, {"type": "lifespan.startup.failed"}, {"type": "lifespan.startup.complete"}],
        [RECEIVE, {"type": "lifespan.startup.failed", "message": b"x"}],
    ],
)
async def test_a_fault_in_a_lifespan_is_named(steps):
    with pytest.raises(LintError, match=r"app: lifespan: .*(wrong time|must be str)"):
        await check(LIFESPAN, *steps, server=[{"type": "lifespan.startup"}])


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ({"type": "lifespan.shutdown.failed", "message": b"x"}, "must be str"),
        ({"type": "lifespan.startup.failed"}, "wrong time"),
    ],
)
async def test_a_fault_at_the_end_of_a_lifespan_is_named(end, reason):
    start = [RECEIVE, {"type": "lifespan.startup.complete"}]
    server = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    with pytest.raises(LintError, match=reason):
        await check(LIFESPAN, *start, RECEIVE, end, server=server)


async def test_a_shutdown_is_answered_after_it_was_sent_and_once():
    failed = {"type": "lifespan.shutdown.failed"}
    server = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    with pytest.raises(LintError, match="wrong time"):
        await check(LIFESPAN, RECEIVE, failed, server=server)
    with pytest.raises(LintError, match="wrong time"):
        await check(LIFESPAN, RECEIVE, {"type": "lifespan.startup.complete"}, RECEIVE, failed, failed, server=server)


# The server's faults --------------------------------------------------------------------------------


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


async def test_the_scope_of_a_websocket_is_checked_like_any_other():
    with pytest.raises(LintError, match=r"server: .*`path`"):
        await check(websocket_scope(path=None), {"type": "websocket.close"})


async def test_subprotocols_are_a_list_of_str():
    with pytest.raises(LintError, match=r"server: .*subprotocols"):
        await check(websocket_scope(subprotocols=[b"v1"]), {"type": "websocket.close"})


@pytest.mark.parametrize(
    ("scope", "messages", "reason"),
    [
        (http_scope(), [{**REQUEST, "body": "text"}], "`body` of http.request must be bytes"),
        (http_scope(), [{**REQUEST, "more_body": None}], "`more_body` of http.request must be bool"),
        (http_scope(), [REQUEST, REQUEST], "after the last chunk"),
        (http_scope(), [{"type": "http.disconnect"}, REQUEST], "after http.disconnect"),
        (http_scope(), [CONNECT], "cannot be received here"),
        (websocket_scope(), [CONNECT, CONNECT], "came twice"),
        (websocket_scope(), [{"type": "websocket.receive", "text": "x"}], "before websocket.connect"),
        (websocket_scope(), [CONNECT, {"type": "websocket.receive"}], "needs either"),
        (websocket_scope(), [CONNECT, {"type": "websocket.disconnect", "code": "1"}], "`code`"),
        (websocket_scope(), [CONNECT, {"type": "websocket.disconnect", "reason": b""}], "`reason`"),
        (LIFESPAN, [{"type": "lifespan.shutdown"}], "wrong time"),
    ],
)
async def test_a_fault_in_a_message_is_the_servers(scope, messages, reason):
    with pytest.raises(LintError) as caught:
        await check(scope, *[RECEIVE] * len(messages), server=messages)

    assert str(caught.value).startswith("server: ")
    assert reason in str(caught.value)
