import pytest

from microweb.testing import Lint, LintError
from tests.testing.scripts import (
    ACCEPT,
    BODY,
    CONNECT,
    RECEIVE,
    REQUEST,
    START,
    Server,
    body,
    check,
    http_scope,
    with_headers,
)

pytestmark = pytest.mark.anyio


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
        ([{**START, "status": 205}, body(b"x")], "the answer to a 205 has no body"),
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


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([{**REQUEST, "body": "text"}], "`body` of http.request must be bytes"),
        ([{**REQUEST, "more_body": None}], "`more_body` of http.request must be bool"),
        ([REQUEST, REQUEST], "after the last chunk"),
        ([{"type": "http.disconnect"}, REQUEST], "after http.disconnect"),
        ([CONNECT], "cannot be received here"),
    ],
)
async def test_a_fault_in_a_message_is_the_servers(messages, reason):
    with pytest.raises(LintError) as caught:
        await check(http_scope(), *[RECEIVE] * len(messages), server=messages)

    assert str(caught.value).startswith("server: ")
    assert reason in str(caught.value)


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
