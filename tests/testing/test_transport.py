import asyncio
import gc
import json
import weakref

import anyio
import httpx
import pytest

from microweb.testing import AppHangs, ASGITransport, Client, ClientGone, LintError

pytestmark = pytest.mark.anyio


async def respond(send, body=b"", status=200, headers=()):
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})


def connect(app, **options):
    options.setdefault("timeout", None)
    return Client(app, lifespan=False, **options)


async def read_body(receive):
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message["more_body"]:
            return body
    raise AssertionError("the client left")


# The scope ------------------------------------------------------------------------------------------


async def test_the_scope_is_what_a_server_sends():
    scopes = []

    async def app(scope, receive, send):
        scopes.append(dict(scope))
        await respond(send)

    async with connect(app) as client:
        await client.get("/caf%C3%A9/a%2Fb?x=1&y=%20", headers={"X-Custom": "Value"})

    scope = scopes[0]
    assert scope["type"] == "http"
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.5"}
    assert scope["http_version"] == "1.1"
    assert scope["method"] == "GET"
    assert scope["scheme"] == "http"
    assert scope["path"] == "/café/a/b"
    assert scope["raw_path"] == b"/caf%C3%A9/a%2Fb"
    assert scope["query_string"] == b"x=1&y=%20"
    assert scope["root_path"] == ""
    assert scope["client"] == ("127.0.0.1", 50000)
    assert scope["server"] == ("testserver", 80)
    assert (b"x-custom", b"Value") in scope["headers"]
    assert (b"host", b"testserver") in scope["headers"]
    assert "state" not in scope
    assert scope["extensions"] == {"microweb.errors": []}


async def test_the_root_path_stands_before_the_path_as_behind_uvicorn():
    scopes = []

    async def app(scope, receive, send):
        scopes.append(scope)
        await respond(send)

    async with connect(app, root_path="/api") as client:
        await client.get("/users")

    assert scopes[0]["path"] == "/api/users"
    assert scopes[0]["raw_path"] == b"/api/users"
    assert scopes[0]["root_path"] == "/api"


async def test_scheme_port_client_and_versions_are_the_callers():
    scopes = []

    async def app(scope, receive, send):
        scopes.append(scope)
        await respond(send)

    transport = ASGITransport(app, client=None, spec_version="2.3", http_version="2")
    async with httpx.AsyncClient(transport=transport) as client:
        response = await client.get("https://example.org:8443/")
        await client.get("https://example.org/")

    assert scopes[0]["scheme"] == "https"
    assert scopes[0]["server"] == ("example.org", 8443)
    assert scopes[1]["server"] == ("example.org", 443)
    assert scopes[0]["client"] is None
    assert scopes[0]["asgi"]["spec_version"] == "2.3"
    assert scopes[0]["http_version"] == "2"
    assert response.http_version == "HTTP/2"


async def test_a_raw_target_passes_untouched():
    scopes = []

    async def app(scope, receive, send):
        scopes.append(scope)
        await respond(send)

    async with connect(app) as client:
        await client.get("/", extensions={"target": b"//evil/../%ff%2?a?b"})

    assert scopes[0]["raw_path"] == b"//evil/../%ff%2"
    assert scopes[0]["path"] == "//evil/../�%2"
    assert scopes[0]["query_string"] == b"a?b"


async def test_only_extensions_of_the_protocol_are_offered():
    scopes = []

    async def app(scope, receive, send):
        scopes.append(scope)
        await respond(send)

    async with connect(app, extensions={"http.response.debug": {}, "websocket.http.response": {}}) as client:
        await client.get("/")

    assert sorted(scopes[0]["extensions"]) == ["http.response.debug", "microweb.errors"]


@pytest.mark.parametrize("name", ["http.response.push", "http.response.zerocopysend"])
async def test_an_extension_that_it_cannot_serve_is_refused(name):
    with pytest.raises(ValueError, match=name):
        ASGITransport(respond, extensions={name: {}})


# The answer -----------------------------------------------------------------------------------------


async def test_status_headers_and_body_arrive():
    async def app(scope, receive, send):
        await respond(send, b"hello", 201, [(b"x-a", b"1"), (b"x-a", b"2"), (b"content-type", b"text/plain")])

    async with connect(app) as client:
        response = await client.get("/")

    assert response.status_code == 201
    assert response.text == "hello"
    assert response.headers.get_list("x-a") == ["1", "2"]
    assert response.http_version == "HTTP/1.1"


async def test_a_call_returns_after_the_app_has_ended():
    ended = []

    async def app(scope, receive, send):
        await respond(send)
        await anyio.lowlevel.checkpoint()
        ended.append("teardown")

    async with connect(app) as client:
        await client.get("/")
        assert ended == ["teardown"]


async def test_a_head_answer_keeps_its_length_and_has_no_body():
    async def app(scope, receive, send):
        await respond(send, b"", headers=[(b"content-length", b"5")])

    async with connect(app) as client:
        response = await client.head("/")

    assert response.headers["content-length"] == "5"
    assert response.content == b""


async def test_the_body_of_a_head_answer_is_dropped_as_servers_do():
    async def app(scope, receive, send):
        await respond(send, b"hello")

    async with connect(app, lint=False) as client:
        response = await client.head("/")

    assert response.content == b""


async def test_a_chunk_is_read_before_the_next_one_is_made():
    made = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        for number in range(3):
            made.append(number)
            await send({"type": "http.response.body", "body": b"%d" % number, "more_body": True})
        await send({"type": "http.response.body"})

    async with connect(app) as client, client.stream("GET", "/") as response:
        read = []
        async for chunk in response.aiter_bytes():
            read.append(int(chunk))
            assert made == read

    assert read == [0, 1, 2]


async def test_an_app_waits_for_a_reader_that_does_not_read():
    made = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        for number in range(3):
            made.append(number)
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await send({"type": "http.response.body"})

    async with connect(app) as client, client.stream("GET", "/") as response:
        await anyio.wait_all_tasks_blocked()
        assert made == [0]
        assert await response.aread() == b"xxx"


async def test_the_status_is_there_before_the_first_chunk():
    released = anyio.Event()

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 202})
        await released.wait()
        await send({"type": "http.response.body", "body": b"late"})

    async with connect(app) as client, client.stream("GET", "/") as response:
        assert response.status_code == 202
        released.set()
        assert await response.aread() == b"late"


async def test_empty_chunks_let_others_run():
    seen = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        while not seen:
            await send({"type": "http.response.body", "body": b"", "more_body": True})
        await send({"type": "http.response.body", "body": b"end"})

    async with connect(app) as client, client.stream("GET", "/") as response:
        seen.append("other task")
        assert await response.aread() == b"end"


async def test_a_file_is_sent_by_its_path(tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(bytes(range(256)) * 1000)

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"256000")]})
        await send({"type": "http.response.pathsend", "path": str(path)})

    async with connect(app, extensions={"http.response.pathsend": {}}) as client:
        response = await client.get("/")

    assert response.content == path.read_bytes()


async def test_trailers_hints_and_debug_information_are_on_the_response():
    async def app(scope, receive, send):
        await send({"type": "http.response.debug", "info": {"template": "home.html"}})
        await send({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]})
        await send({"type": "http.response.start", "status": 200, "trailers": True})
        await send({"type": "http.response.body", "body": b"body"})
        await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"1")], "more_trailers": True})
        await send({"type": "http.response.trailers", "headers": [(b"x-end", b"2")]})

    names = ("http.response.debug", "http.response.early_hint", "http.response.trailers")
    async with connect(app, extensions={key: {} for key in names}) as client:
        response = await client.get("/")

    assert response.content == b"body"
    assert response.extensions["debug"] == {"template": "home.html"}
    assert response.extensions["early_hints"] == [b"</a.css>; rel=preload"]
    assert response.extensions["trailers"] == [(b"x-sum", b"1"), (b"x-end", b"2")]


async def test_redirects_and_cookies_are_httpx_business():
    async def app(scope, receive, send):
        if scope["path"] == "/":
            await respond(send, status=307, headers=[(b"location", b"/next"), (b"set-cookie", b"a=1")])
        else:
            await respond(send, dict(scope["headers"])[b"cookie"] + await read_body(receive))

    async with connect(app) as client:
        response = await client.post("/", content=b"-kept", follow_redirects=True)

    assert response.content == b"a=1-kept"


async def test_concurrent_calls_do_not_meet():
    async def app(scope, receive, send):
        body = await read_body(receive)
        await anyio.lowlevel.checkpoint()
        await respond(send, body)

    answers = {}
    async with connect(app) as client:

        async def call(number):
            answers[number] = (await client.post("/", content=b"%d" % number)).content

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(call, number)

    assert answers == {number: b"%d" % number for number in range(20)}


# The request's body ---------------------------------------------------------------------------------


async def test_a_body_of_bytes_comes_in_pieces_as_from_a_server():
    sizes = []

    async def app(scope, receive, send):
        more = True
        while more:
            message = await receive()
            sizes.append(len(message["body"]))
            more = message["more_body"]
        await respond(send)

    async with connect(app) as client:
        await client.post("/", content=b"x" * 150_000)

    assert sizes == [65536, 65536, 18928]


async def test_a_generator_is_asked_for_a_chunk_when_the_app_has_taken_the_last():
    events = []

    async def body():
        for number in range(2):
            events.append(f"make {number}")
            yield b"%d" % number

    async def app(scope, receive, send):
        await anyio.wait_all_tasks_blocked()
        for _ in range(2):
            events.append(f"take {(await receive())['body'].decode()}")
            await anyio.wait_all_tasks_blocked()
        await read_body(receive)
        await respond(send)

    async with connect(app) as client:
        await client.post("/", content=body())

    assert events == ["make 0", "take 0", "make 1", "take 1"]


async def test_a_multipart_form_is_uploaded():
    async def app(scope, receive, send):
        await respond(send, await read_body(receive))

    async with connect(app) as client:
        response = await client.post("/", data={"name": "Ada"}, files={"file": ("a.txt", b"content")})

    assert b'name="name"' in response.content
    assert b"content" in response.content


async def test_an_error_in_the_bodys_generator_is_raised_from_the_call():
    received = []

    async def body():
        yield b"first"
        raise KeyError("in the test")

    async def app(scope, receive, send):
        while (message := await receive())["type"] != "http.disconnect":
            received.append(message["body"])

    async with connect(app) as client:
        with pytest.raises(KeyError, match="in the test"):
            await client.post("/", content=body())

    assert received == [b"first"]


async def test_a_chunk_that_waits_for_its_reader_when_the_answer_ends_is_read_and_nobody_has_left():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send, {"type": "http.response.body", "body": b"first", "more_body": True})
            await anyio.wait_all_tasks_blocked()
            await send({"type": "http.response.body", "body": b" last"})
        ended.set()

    ended = anyio.Event()
    async with connect(app) as client, client.stream("GET", "/") as response:
        await ended.wait()
        assert await response.aread() == b"first last"


async def test_an_error_in_the_bodys_generator_counts_more_than_what_the_app_makes_of_it():
    async def body():
        yield b"first"
        await started.wait()
        raise KeyError("in the test")

    started = anyio.Event()

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        while (await receive())["type"] != "http.disconnect":
            pass
        raise RuntimeError("the body is not complete")

    async with connect(app) as client:
        with pytest.raises(KeyError, match="in the test"):
            async with client.stream("POST", "/", content=body()) as response:
                started.set()
                await anyio.wait_all_tasks_blocked()
                await response.aread()


async def test_an_error_in_the_bodys_generator_reaches_a_reader_of_the_answer():
    async def body():
        yield b"first"
        await started.wait()
        raise KeyError("in the test")

    started = anyio.Event()

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        while (await receive())["type"] != "http.disconnect":
            pass

    async with connect(app) as client:
        with pytest.raises(KeyError, match="in the test"):
            async with client.stream("POST", "/", content=body()) as response:
                started.set()
                await response.aread()


async def test_an_early_answer_stops_the_upload():
    closed = []

    async def body():
        try:
            while True:
                yield b"x"
        finally:
            closed.append("body")

    async def app(scope, receive, send):
        await receive()
        await respond(send, b"enough", 413)

    async with connect(app) as client:
        response = await client.post("/", content=body())

    assert response.status_code == 413
    assert closed == ["body"]


async def test_a_blocking_body_is_refused_with_a_reason():
    class Blocking(httpx.SyncByteStream):
        def __iter__(self):
            yield b""

    request = httpx.Request("POST", "http://testserver/", stream=Blocking())

    with pytest.raises(TypeError, match="async body"):
        await ASGITransport(respond).handle_async_request(request)


# The end of a connection ----------------------------------------------------------------------------


async def test_receive_says_disconnect_after_the_answer():
    received = []

    async def app(scope, receive, send):
        await respond(send)
        received.append(await receive())

    async with connect(app) as client:
        await client.get("/")

    assert received == [{"type": "http.disconnect"}]


async def test_an_app_can_ask_without_waiting():
    known = []

    async def ask(receive):
        with anyio.CancelScope() as scope:
            scope.cancel()
            known.append((await receive())["type"])

    async def app(scope, receive, send):
        await ask(receive)
        await ask(receive)
        await respond(send)
        await ask(receive)

    async with connect(app) as client:
        await client.post("/", content=b"body")

    assert known == ["http.request", "http.disconnect"]


async def test_leaving_a_stream_early_tells_the_app_on_both_ways():
    told = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
        except OSError as error:
            told.append(type(error))
        told.append((await receive())["type"])

    async with connect(app) as client:
        async with client.stream("GET", "/") as response:
            async for _ in response.aiter_bytes():
                break
        assert told == [ClientGone, "http.disconnect"]


async def test_a_chunk_that_was_read_was_sent_even_if_the_client_left_then():
    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        for number in range(2):
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            sent.append(number)

    async with connect(app) as client, client.stream("GET", "/") as response:
        await anext(response.aiter_bytes())

    assert sent == [0]


async def test_a_chunk_that_nobody_took_is_refused():
    events = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        try:
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            events.append("sent")
        except OSError:
            events.append("refused")

    async with connect(app) as client, client.stream("GET", "/"):
        await anyio.wait_all_tasks_blocked()

    assert events == ["refused"]


@pytest.mark.parametrize(("spec_version", "silent"), [("2.3", True), ("2.4", False), ("2.10", False)])
async def test_the_version_decides_whether_send_raises(spec_version, silent):
    events = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        await receive()
        await receive()
        try:
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            events.append(True)
        except OSError:
            events.append(False)

    async with connect(app, spec_version=spec_version) as client, client.stream("GET", "/"):
        pass

    assert events == [silent]


async def test_an_app_that_sends_for_ever_into_silence_is_cancelled():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        while True:
            await send({"type": "http.response.body", "body": b"x", "more_body": True})

    async with connect(app, spec_version="2.3", grace=0.001) as client:
        with pytest.raises(AppHangs):
            async with client.stream("GET", "/"):
                pass


async def test_an_app_that_lets_the_disconnect_through_has_not_failed():
    async def app(scope, receive, send):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(respond_for_ever, send)

    async def respond_for_ever(send):
        await send({"type": "http.response.start", "status": 200})
        while True:
            await send({"type": "http.response.body", "body": b"x", "more_body": True})

    async with connect(app) as client, client.stream("GET", "/") as response:
        assert response.status_code == 200


async def test_an_error_after_the_disconnect_is_raised_where_the_stream_ends():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        await receive()
        await receive()
        raise KeyError("while cleaning up")

    async with connect(app) as client:
        with pytest.raises(KeyError, match="cleaning up"):
            async with client.stream("GET", "/"):
                pass


async def test_an_answer_that_is_complete_is_no_disconnect():
    events = []

    async def app(scope, receive, send):
        await respond(send, b"complete")
        events.append("sent")

    async with connect(app) as client, client.stream("GET", "/") as response:
        assert response.status_code == 200

    assert events == ["sent"]


async def test_a_cancelled_call_disconnects_and_its_app_ends_in_its_own_time():
    events = []

    async def app(scope, receive, send):
        await receive()
        entered.set()
        events.append((await receive())["type"])

    entered = anyio.Event()
    async with connect(app) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.get, "/")
        await entered.wait()
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await anyio.wait_all_tasks_blocked()
            assert events == ["http.disconnect"]


async def test_a_call_cancelled_while_reading_disconnects():
    events = []

    async def app(scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200})
        entered.set()
        events.append((await receive())["type"])

    entered = anyio.Event()
    async with connect(app) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.get, "/")
        await entered.wait()
        tasks.cancel_scope.cancel()

    assert events == ["http.disconnect"]


async def test_a_cancelled_call_does_not_wait_for_a_deaf_app():
    released = anyio.Event()

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        entered.set()
        await released.wait()
        assert (await receive())["type"] == "http.disconnect"

    entered = anyio.Event()
    async with connect(app, grace=60) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.get, "/")
            await entered.wait()
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        released.set()


async def test_a_call_cancelled_during_teardown_leaves_the_app_to_the_client():
    events = []

    async def app(scope, receive, send):
        await respond(send)
        entered.set()
        await released.wait()
        events.append("teardown")

    entered, released = anyio.Event(), anyio.Event()
    async with connect(app) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.get, "/")
            await entered.wait()
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        released.set()

    assert events == ["teardown"]


async def test_a_read_timeout_is_one_of_httpx():
    async def app(scope, receive, send):
        await receive()
        await receive()

    async with connect(app, timeout=0.001) as client:
        with pytest.raises(httpx.ReadTimeout, match="no status within"):
            await client.get("/")


async def test_a_read_timeout_holds_for_every_chunk():
    async def app(scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await receive()

    async with connect(app, timeout=0.01) as client:
        with pytest.raises(httpx.ReadTimeout, match="no chunk within"):
            await client.get("/")


async def test_a_read_timeout_does_not_wait_for_a_deaf_app():
    released = anyio.Event()

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        await released.wait()
        assert (await receive())["type"] == "http.disconnect"

    async with connect(app, timeout=0.001, grace=60) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.get("/")
        released.set()


async def test_an_app_that_ignores_its_clients_departure_is_cancelled_and_named():
    cancelled = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.append(scope["path"])

    async with connect(app, grace=0.001) as client:
        with pytest.raises(AppHangs, match=r"GET /slow: the client left, but 0.001 s later"):
            async with client.stream("GET", "/slow"):
                pass

    assert cancelled == ["/slow"]


async def test_an_app_that_is_deaf_to_cancellation_is_reported_as_such():
    released = anyio.Event()

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        with anyio.CancelScope(shield=True):
            await released.wait()

    async with connect(app, grace=0.001) as client:
        with pytest.raises(AppHangs, match="did not heed"):
            async with client.stream("GET", "/"):
                pass
        released.set()


async def test_closing_the_client_ends_what_a_cancelled_call_left():
    async def app(scope, receive, send):
        await anyio.sleep_forever()

    with pytest.raises(AppHangs):
        async with connect(app, grace=0.001) as client:
            with anyio.move_on_after(0.001):
                await client.get("/")


async def test_closing_the_client_disconnects_what_is_open():
    events = []

    async def app(scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200})
        events.append((await receive())["type"])

    client = connect(app)
    await client.send(client.build_request("GET", "/"), stream=True)
    await client.aclose()

    assert events == ["http.disconnect"]


async def test_what_is_over_is_forgotten():
    class Token:
        pass

    tokens = []

    async def app(scope, receive, send):
        token = scope["token"] = Token()
        tokens.append(weakref.ref(token))
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await receive()
        else:
            await respond(send, status=500)

    async with connect(app) as client:
        await client.get("/")
        async with client.exchange("GET", "/") as exchange:
            await exchange.response()
        async with client.websocket("/"):
            pass
        del exchange
        gc.collect()
        assert [token() for token in tokens] == [None, None, None]


async def test_errors_that_no_call_could_raise_come_from_closing_the_client():
    async def app(scope, receive, send):
        await receive()
        await receive()
        raise KeyError(scope["path"])

    with pytest.raises(ExceptionGroup) as caught:
        async with connect(app) as client:
            for path in "ab":
                with anyio.move_on_after(0.001):
                    await client.get(path)

    assert sorted(str(error) for error in caught.value.exceptions) == ["'/a'", "'/b'"]


async def test_no_task_is_left_after_the_client_is_closed():
    async def app(scope, receive, send):
        while (await receive())["type"] == "http.request":
            pass

    async with connect(app) as client:
        with anyio.move_on_after(0.001):
            await client.post("/", content=endless())
        before = anyio.get_running_tasks()
        assert [task for task in before if " of POST /" in task.name]
    after = anyio.get_running_tasks()

    assert not [task for task in after if " of POST /" in task.name]


async def endless():
    while True:
        yield b"x"
        await anyio.lowlevel.checkpoint()


# Errors ---------------------------------------------------------------------------------------------


async def test_an_error_before_the_start_is_raised_from_the_call():
    async def app(scope, receive, send):
        raise KeyError("broken")

    async with connect(app) as client:
        with pytest.raises(KeyError, match="broken"):
            await client.get("/")


async def test_an_error_before_the_start_can_be_a_plain_500():
    async def app(scope, receive, send):
        raise KeyError("broken")

    async with connect(app, raise_errors=False) as client:
        response = await client.get("/")

    assert response.status_code == 500
    assert response.text == "Internal Server Error"


async def test_an_error_in_the_middle_is_raised_from_the_read():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise KeyError("broken")

    async with connect(app) as client:
        with pytest.raises(KeyError, match="broken"):
            await client.get("/")


async def test_an_error_in_the_middle_can_be_a_broken_connection():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise KeyError("broken")

    async with connect(app, raise_errors=False) as client:
        with pytest.raises(httpx.RemoteProtocolError, match="ended before"):
            await client.get("/")


async def test_an_error_after_the_end_is_raised_from_the_call():
    async def app(scope, receive, send):
        await respond(send)
        raise KeyError("in teardown")

    async with connect(app) as client:
        with pytest.raises(KeyError, match="in teardown"):
            await client.get("/")


async def test_an_error_that_the_app_answered_and_noted_is_raised_after_the_answer():
    async def app(scope, receive, send):
        scope["extensions"]["microweb.errors"].append(KeyError("handled"))
        await respond(send, b"sorry", 500)

    async with connect(app) as client, client.stream("GET", "/") as response:
        assert response.status_code == 500
        with pytest.raises(KeyError, match="handled"):
            await response.aread()


async def test_an_error_that_the_app_answered_and_noted_stays_a_500_if_asked_for():
    async def app(scope, receive, send):
        scope["extensions"]["microweb.errors"].append(KeyError("handled"))
        await respond(send, b"sorry", 500)

    async with connect(app, raise_errors=False) as client:
        response = await client.get("/")

    assert (response.status_code, response.text) == (500, "sorry")


async def test_a_verdict_of_pytest_inside_the_app_is_the_tests_own():
    async def app(scope, receive, send):
        pytest.fail("wrong request")

    async with connect(app, raise_errors=False) as client:
        with pytest.raises(pytest.fail.Exception, match="wrong request"):
            await client.get("/")


async def test_a_broken_rule_is_raised_even_where_errors_are_not():
    async def app(scope, receive, send):
        try:
            await send({"type": "http.response.start", "status": 200, "headers": [("x", "str")]})
        except LintError:
            await respond(send)

    async with connect(app, raise_errors=False) as client:
        with pytest.raises(LintError, match="pair of bytes"):
            await client.get("/")


@pytest.mark.parametrize(
    "messages",
    [
        [{"type": "http.response.body"}],
        [{"type": "http.response.start", "status": 200}, {"type": "http.response.start", "status": 200}],
        [
            {"type": "http.response.start", "status": 200},
            {"type": "http.response.body"},
            {"type": "http.response.body"},
        ],
        [{"type": "websocket.accept"}],
    ],
)
async def test_what_no_server_takes_is_refused_without_the_lint_too(messages):
    async def app(scope, receive, send):
        for message in messages:
            await send(message)

    async with connect(app, lint=False) as client:
        with pytest.raises(RuntimeError):
            await client.get("/")


async def test_an_app_that_says_nothing_gets_the_servers_500_without_the_lint():
    async def app(scope, receive, send):
        return None

    async with connect(app, lint=False) as client:
        response = await client.get("/")

    assert response.status_code == 500


def test_a_cancelled_future_in_the_app_is_not_the_end_of_the_test():
    async def app(scope, receive, send):
        raise asyncio.CancelledError

    async def main():
        async with connect(app, lint=False) as client:
            return await client.get("/")

    assert asyncio.run(main()).status_code == 500


async def test_json_in_and_out():
    async def app(scope, receive, send):
        value = json.loads(await read_body(receive))
        await respond(send, json.dumps(value).encode(), headers=[(b"content-type", b"application/json")])

    async with connect(app) as client:
        assert (await client.post("/", json={"a": [1]})).json() == {"a": [1]}


async def test_by_default_it_raises_errors_and_lints():
    async def app(scope, receive, send):
        if scope["path"] == "/broken":
            raise KeyError("broken")
        await respond(send, b"much", headers=[(b"content-length", b"3")])

    async with httpx.AsyncClient(transport=ASGITransport(app), base_url="http://testserver") as client:
        with pytest.raises(KeyError, match="broken"):
            await client.get("/broken")
        with pytest.raises(LintError):
            await client.get("/")


async def test_a_plain_httpx_client_can_use_it():
    async def app(scope, receive, send):
        await respond(send, await read_body(receive))

    async with httpx.AsyncClient(transport=ASGITransport(app), base_url="http://testserver") as client:
        response = await client.post("/", content=b"hello")

    assert response.text == "hello"
