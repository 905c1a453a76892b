"""Compress: answers made smaller on the way out."""

import subprocess
import sys
import zlib
from importlib import import_module

import anyio
import brotli
import pytest

from microweb import App, EventStream, FileResponse, Response, Router, SetupError, StaticFiles, StreamingResponse, g
from microweb.middleware import Compress
from microweb.testing import Client

try:
    zstd = import_module("compression.zstd")
except ImportError:
    zstd = import_module("backports.zstd")

pytestmark = pytest.mark.anyio

TEXT = "All work and no play makes Jack a dull boy. " * 100
DECODERS = {
    "gzip": lambda data: zlib.decompress(data, 31),
    "br": brotli.decompress,
    "zstd": zstd.decompress,
    None: lambda data: data,
}


def make_app(*args, **options):
    app = App(__name__)
    app.add_middleware(Compress(*args, **options))
    app.get("/", endpoint="text")(lambda: TEXT)
    return app


async def fetch(app, path="/", accept="gzip", method="GET", **headers):
    """The answer with its body as it came."""
    sent = {"Accept-Encoding": accept, **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with Client(app, raise_errors=False) as client, client.stream(method, path, headers=sent) as response:
        response.chunks = [chunk async for chunk in response.aiter_raw()]
        response.raw = b"".join(response.chunks)
        return response


def coding_of(response):
    return response.headers.get("content-encoding")


def decoded(response):
    return DECODERS[coding_of(response)](response.raw)


def view_of(app, path="/other", body=TEXT, **parts):
    """Another view of the app, which answers with these parts of a response."""
    app.get(path, endpoint=path[1:])(lambda: Response(body, **parts))
    return path


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
async def test_the_answer_is_smaller_and_the_same(coding):
    response = await fetch(make_app(), accept=coding)

    assert coding_of(response) == coding
    assert decoded(response) == TEXT.encode()
    assert int(response.headers["content-length"]) == len(response.raw) < len(TEXT) / 5
    assert response.headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, deflate, br", "br"),
        ("gzip;q=1.0, br;q=0.5", "gzip"),
        ("gzip;q=0.5, br;q=0.50001", "br"),
        ("br;q=0, gzip", "gzip"),
        ("*", "zstd"),
        ("*;q=0.5, gzip", "gzip"),
        ("zstd;q=0, *", "br"),
        ("GZIP", "gzip"),
        ("x-gzip", "gzip"),
        ("gzip ; q=0.8", "gzip"),
        ("identity, gzip;q=0.5", None),
        ("identity;q=0.5, gzip", "gzip"),
        ("gzip;q=0", None),
        ("gzip;q=0.000", None),
        ("gzip;q=x", None),
        ("gzip;q=2", None),
        ("*;q=0", None),
        ("deflate", None),
        ("gzipped", None),
        ("", None),
        (",;=,", None),
        (", " * 1000 + "gzip", "gzip"),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_the_coding_is_the_one_the_client_likes_best(accept, coding):
    response = await fetch(make_app(), accept=accept)

    assert (coding_of(response), decoded(response)) == (coding, TEXT.encode())
    assert response.headers["vary"] == "Accept-Encoding"


async def test_encodings_can_be_chosen_and_ordered():
    answers = [await fetch(make_app(encodings=encodings), accept="*") for encodings in (["gzip", "br"], "br")]

    assert [coding_of(answer) for answer in answers] == ["gzip", "br"]


async def test_a_small_answer_is_left_alone():
    app = make_app(minimum=100)
    paths = [view_of(app, f"/{size}", "a" * size) for size in (99, 100)]

    answers = [await fetch(app, path) for path in paths]

    assert [(coding_of(answer), "vary" in answer.headers) for answer in answers] == [(None, False), ("gzip", True)]


async def test_what_does_not_get_smaller_is_sent_as_it_is():
    app = make_app(minimum=0)

    response = await fetch(app, view_of(app, body="x"))

    assert (coding_of(response), response.raw, response.headers["vary"]) == (None, b"x", "Accept-Encoding")


@pytest.mark.parametrize(
    ("content_type", "compressed"),
    [
        ("text/plain", True),
        ("TEXT/CSV; charset=utf-8", True),
        ("application/json", True),
        ("application/problem+json", True),
        ("image/svg+xml", True),
        ("font/ttf", True),
        ("application/wasm", True),
        ("text/event-stream", False),
        ("image/png", False),
        ("font/woff2", False),
        ("application/zip", False),
        ("application/octet-stream", False),
        ("video/mp4", False),
        ("", False),
    ],
)
async def test_only_types_that_get_smaller_are_compressed(content_type, compressed):
    app = make_app()

    response = await fetch(app, view_of(app, content_type=content_type))

    assert (coding_of(response) == "gzip", "vary" in response.headers) == (compressed, compressed)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Encoding": "br"}, 200),
        ({"Cache-Control": "private, No-Transform"}, 200),
        ([("Cache-Control", "private"), ("Cache-Control", "no-transform")], 200),
        ({"Content-Range": "bytes 0-4399/9999"}, 206),
        ({"Content-Range": "bytes */9999"}, 416),
        ({}, 206),
    ],
    ids=str,
)
async def test_what_must_stay_as_it_is_stays(headers, status):
    app = make_app()

    response = await fetch(app, view_of(app, headers=headers, status=status))

    assert (response.raw, coding_of(response)) == (TEXT.encode(), dict(headers).get("Content-Encoding"))


async def test_head_has_the_headers_of_get():
    app = make_app()
    app.get("/stream", endpoint="stream")(lambda: StreamingResponse([TEXT]))

    for path in ("/", "/stream"):
        whole, head = [await fetch(app, path, method=method) for method in ("GET", "HEAD")]

        assert (head.headers, head.raw) == (whole.headers, b"")
        assert coding_of(head) == "gzip"


@pytest.mark.parametrize(("given", "sent"), [('"a"', 'W/"a"'), ('W/"a"', 'W/"a"')])
async def test_the_etag_becomes_a_weak_one(given, sent):
    app = make_app()
    path = view_of(app, headers={"ETag": given})

    answers = [await fetch(app, path, accept=accept) for accept in ("gzip", "identity")]

    assert [answer.headers["etag"] for answer in answers] == [sent, given]


@pytest.mark.parametrize("accept", ["gzip", "identity"])
async def test_a_client_that_has_the_page_is_told_so_with_its_own_etag(accept):
    app = make_app()

    @app.get("/page")
    async def page(request):
        response = Response(TEXT, headers={"ETag": '"a"'})
        return response.make_conditional(request)

    first = await fetch(app, "/page", accept=accept)
    second = await fetch(app, "/page", accept=accept, If_None_Match=first.headers["etag"])

    assert (second.status_code, second.raw, coding_of(second)) == (304, b"", None)
    assert (second.headers["etag"], second.headers["vary"]) == (first.headers["etag"], first.headers["vary"])


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
@pytest.mark.parametrize("sort", ["async", "sync"])
async def test_each_chunk_of_a_stream_can_be_read_when_it_comes(coding, sort):
    app = make_app()

    if sort == "async":

        @app.get("/stream")
        async def stream():
            for number in range(5):
                yield f"line {number}\n"
    else:

        @app.get("/stream")
        def stream():
            for number in range(5):
                yield f"line {number}\n"

    response = await fetch(app, "/stream", accept=coding)

    decoder = {
        "gzip": lambda: zlib.decompressobj(31).decompress,
        "br": lambda: brotli.Decompressor().process,
        "zstd": lambda: zstd.ZstdDecompressor().decompress,
    }[coding]()
    assert "content-length" not in response.headers
    assert [decoder(chunk) for chunk in response.chunks[:5]] == [f"line {number}\n".encode() for number in range(5)]
    assert decoded(response) == b"".join(f"line {number}\n".encode() for number in range(5))


async def test_a_stream_waits_for_nothing():
    app, asked = make_app(), anyio.Event()

    @app.get("/stream")
    async def stream():
        yield "first\n"
        await asked.wait()
        yield "second\n"

    decoder = zlib.decompressobj(31)
    async with Client(app) as client, client.stream("GET", "/stream", headers={"Accept-Encoding": "gzip"}) as response:
        chunks = response.aiter_raw()
        first = decoder.decompress(await anext(chunks))
        asked.set()
        rest = [decoder.decompress(chunk) async for chunk in chunks]

    assert (first, b"".join(rest)) == (b"first\n", b"second\n")


@pytest.mark.parametrize("sort", ["async", "sync"])
async def test_a_stream_that_breaks_off_is_closed_and_not_ended(sort):
    app, ends = make_app(), []

    async def chunks():
        try:
            yield "some text"
            raise RuntimeError("no")
        finally:
            ends.append("async")

    def chunks_in_thread():
        try:
            yield "some text"
            raise RuntimeError("no")
        finally:
            ends.append("sync")

    app.get("/stream", endpoint="stream")(lambda: chunks() if sort == "async" else chunks_in_thread())

    decoder = zlib.decompressobj(31)
    with pytest.raises(RuntimeError, match="no"):
        async with (
            Client(app) as client,
            client.stream("GET", "/stream", headers={"Accept-Encoding": "gzip"}) as response,
        ):
            async for chunk in response.aiter_raw():
                decoder.decompress(chunk)

    assert (ends, decoder.eof) == ([sort], False)


async def test_events_are_left_alone():
    app = make_app()
    app.get("/events", endpoint="events")(lambda: EventStream(["a", "b"]))

    response = await fetch(app, "/events")

    assert (coding_of(response), response.raw) == (None, b"data: a\n\ndata: b\n\n")


async def test_a_stream_that_is_known_to_be_small_is_left_alone():
    app = make_app()
    app.get("/stream", endpoint="stream")(lambda: StreamingResponse(["abc"], headers={"Content-Length": "3"}))

    response = await fetch(app, "/stream")

    assert (coding_of(response), response.raw, response.headers["content-length"]) == (None, b"abc", "3")


async def test_a_stream_of_known_length_has_another_length():
    app = make_app()
    headers = {"Content-Length": str(len(TEXT))}
    app.get("/stream", endpoint="stream")(lambda: StreamingResponse([TEXT], headers=headers))

    response = await fetch(app, "/stream")

    assert ("content-length" in response.headers, decoded(response)) == (False, TEXT.encode())


async def test_what_another_layer_wrapped_is_closed_before_teardown_when_the_client_leaves():
    app, ends = make_app(), []
    app.teardown_request(lambda error: ends.append("teardown"))

    @app.middleware
    async def shout(request, call_next):
        response = await call_next(request)
        response.iterable = louder(response.iterable)
        return response

    async def louder(chunks):
        try:
            async for chunk in chunks:
                yield chunk.upper()
        finally:
            ends.append("louder")

    @app.get("/stream")
    async def stream():
        while True:
            yield "text"

    asked = {"Accept-Encoding": "gzip"}
    async with Client(app) as client, client.stream("GET", "/stream", headers=asked) as response:
        first = await anext(response.aiter_raw())

    assert zlib.decompressobj(31).decompress(first) == b"TEXT"
    assert ends == ["louder", "teardown"]


async def test_a_file_is_compressed_and_its_ranges_are_not(tmp_path):
    app, file = make_app(), tmp_path / "page.txt"
    file.write_text(TEXT)
    app.get("/file", endpoint="file")(lambda: FileResponse(file))

    whole = await fetch(app, "/file")
    part = await fetch(app, "/file", Range="bytes=0-3")
    again = await fetch(app, "/file", If_None_Match=whole.headers["etag"])
    mixed = await fetch(app, "/file", Range="bytes=0-3", If_Range=whole.headers["etag"])

    assert (coding_of(whole), decoded(whole), "accept-ranges" in whole.headers) == ("gzip", TEXT.encode(), False)
    assert (part.status_code, coding_of(part), part.raw) == (206, None, b"All ")
    assert part.headers["vary"] == whole.headers["vary"] == "Accept-Encoding"
    assert (again.status_code, again.headers["etag"]) == (304, whole.headers["etag"])
    assert (mixed.status_code, decoded(mixed)) == (200, TEXT.encode())


async def test_mounted_static_files_are_compressed(tmp_path):
    app = make_app()
    (tmp_path / "site.css").write_text(TEXT)
    app.mount("/files", StaticFiles(tmp_path))

    response = await fetch(app, "/files/site.css")

    assert (coding_of(response), decoded(response)) == ("gzip", TEXT.encode())


async def test_the_answers_of_mounted_foreign_apps_are_left_alone():
    async def foreign(scope, receive, send):
        if scope["type"] == "http":
            headers = [(b"content-type", b"text/plain")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": TEXT.encode()})

    app = make_app(minimum=0)
    app.mount("/foreign", foreign)

    response = await fetch(app, "/foreign/")

    assert (coding_of(response), response.raw) == (None, TEXT.encode())


async def test_error_pages_are_compressed():
    app = make_app(minimum=10)

    response = await fetch(app, "/nowhere", Accept="text/html")

    assert (response.status_code, coding_of(response)) == (404, "gzip")
    assert b"404" in decoded(response)


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
async def test_the_loop_goes_on_while_a_large_body_is_compressed(coding):
    app, large, turns = App(__name__), TEXT * 1000, []

    async def note(request, call_next):
        response = await call_next(request)
        turns.append(len(others))
        return response

    for layer in (note, Compress(), note):
        app.add_middleware(layer)
    app.get("/")(lambda: large)
    others = []

    async def turn():
        while True:
            others.append("turn")
            await anyio.sleep(0)

    async with anyio.create_task_group() as group:
        group.start_soon(turn)
        response = await fetch(app, accept=coding)
        group.cancel_scope.cancel()

    assert decoded(response) == large.encode()
    assert turns[0] < turns[1]


async def test_on_a_router_it_holds_for_the_router_alone():
    app, api = App(__name__), Router("api", __name__, prefix="/api")
    api.add_middleware(Compress())
    app.get("/")(lambda: TEXT)
    api.get("/")(lambda: TEXT)
    app.mount("", api)

    assert [coding_of(await fetch(app, path)) for path in ("/", "/api/")] == [None, "gzip"]


async def test_the_request_is_there_while_a_stream_is_compressed():
    app = make_app()

    @app.get("/stream")
    async def stream():
        g.word = "kept "
        yield g.word
        yield g.word

    assert decoded(await fetch(app, "/stream")) == b"kept kept "


def test_what_is_not_installed_is_left_out():
    program = (
        "import sys\n"
        "sys.modules['brotli'] = sys.modules['backports.zstd'] = sys.modules['compression.zstd'] = None\n"
        "from microweb.middleware import Compress\n"
        "print(Compress().encodings)\n"
    )

    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert printed == "('gzip',)\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [({"encodings": ["deflate"]}, "zstd"), ({"encodings": []}, "gzip"), ({"minimum": -1}, "bytes")],
)
def test_a_setting_that_makes_no_sense_is_a_mistake(options, message):
    with pytest.raises(SetupError, match=message):
        Compress(**options)
