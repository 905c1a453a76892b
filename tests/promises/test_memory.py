"""Promise 3: receiving a request takes no more memory than the body limit and a megabyte, whatever its headers claim."""

import gc
import gzip
import tracemalloc

import anyio
import pytest

from microweb import App

MEGABYTE = 1_000_000
LIMIT = 4 * MEGABYTE
PIECE = 65_536
MULTIPART = [(b"content-type", b"multipart/form-data; boundary=b")]
FIELD = b'--b\r\nContent-Disposition: form-data; name="field"\r\n\r\n'
PREAMBLE = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'


def make_app():
    app = App(__name__, config={"MAX_CONTENT_LENGTH": LIMIT, "DECODE_REQUEST_BODIES": True}, static_folder=None)

    @app.post("/body")
    async def body(request):
        return str(len(await request.body()))

    @app.post("/stream")
    async def stream(request):
        return str(sum([len(chunk) async for chunk in request.stream()]))

    @app.post("/files")
    async def files(request):
        return str((await request.files())["file"].size)

    @app.post("/fields")
    async def fields(request):
        return str(len((await request.form())["field"]))

    @app.post("/texts")
    async def texts(request):
        return str([len(await part.text()) async for part in request.parts()])

    @app.post("/parts")
    async def parts(request):
        async for part in request.parts():
            async for _ in part.chunks():
                pass
        return "read"

    @app.post("/unread")
    async def unread():
        return "not read"

    return app


class Sender:
    """A server that hands on ``total`` bytes, each message made when it is asked for, and keeps none of them."""

    def __init__(self, total, beginning=b"", end=b"", *, piece=PIECE):
        self.left, self.piece = total, piece
        self.beginning, self.end = beginning, end

    async def __call__(self):
        if self.beginning:
            beginning, self.beginning = self.beginning, b""
            return {"type": "http.request", "body": beginning, "more_body": True}
        if self.left <= 0:
            return {"type": "http.request", "body": self.end, "more_body": False}
        size = min(self.piece, self.left)
        self.left -= size
        return {"type": "http.request", "body": bytes(bytearray(size)), "more_body": self.left > 0 or bool(self.end)}


def measure(path, receive, headers=()):
    """The status of the answer, and the bytes allocated at most while it was made."""
    app, statuses = make_app(), []

    async def send(message):
        statuses.append(message.get("status"))

    async def post(receive, headers):
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1",
            "method": "POST", "scheme": "http", "root_path": "", "query_string": b"", "path": path,
            "headers": [(b"host", b"example.org"), *headers],
        }  # fmt: skip
        await app(scope, receive, send)

    async def warm_up_and_measure():
        beginning = FIELD if path == "/fields" else PREAMBLE
        await post(Sender(10, beginning, b"\r\n--b--\r\n") if headers == MULTIPART else Sender(10), headers)
        gc.collect()
        tracemalloc.start()
        try:
            await post(receive, headers)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak = anyio.run(warm_up_and_measure)
    return statuses[-2], peak


@pytest.mark.parametrize(
    ("path", "headers"),
    [("/body", []), ("/stream", []), ("/unread", []), ("/files", MULTIPART), ("/parts", MULTIPART)],
)
@pytest.mark.parametrize(("total", "status"), [(LIMIT - 1000, 200), (3 * LIMIT, 413)])
def test_receiving_takes_no_more_memory_than_the_limit_allows(path, headers, total, status):
    sender = Sender(total, PREAMBLE, b"\r\n--b--\r\n") if headers else Sender(total)

    answered, peak = measure(path, sender, headers)

    assert answered == (200 if path == "/unread" else status)
    assert peak < LIMIT + MEGABYTE
    # What is not to be kept is not kept.
    assert path == "/body" or peak < 3 * MEGABYTE


@pytest.mark.parametrize(("path", "beginning"), [("/files", PREAMBLE), ("/fields", FIELD), ("/texts", FIELD)])
def test_a_form_that_comes_in_tiny_pieces_takes_no_more_memory(path, beginning):
    sender = Sender(100_000, beginning, b"\r\n--b--\r\n", piece=2)

    status, peak = measure(path, sender, MULTIPART)

    assert (status, peak < MEGABYTE) == (200, True)


@pytest.mark.parametrize("claim", [b"0", b"5", b"%d" % LIMIT, b"%d" % (LIMIT + 1), b"9" * 15, b"9" * 5000, b"many"])
def test_a_claimed_length_reserves_nothing(claim):
    _, peak = measure("/body", Sender(1000), [(b"content-length", claim)])

    assert peak < MEGABYTE


def test_a_length_that_is_a_lie_does_not_lift_the_limit():
    status, peak = measure("/body", Sender(3 * LIMIT), [(b"content-length", b"5")])

    assert (status, peak < LIMIT + MEGABYTE) == (413, True)


def test_a_compressed_body_that_swells_is_stopped_at_the_limit():
    bomb = gzip.compress(bytes(30 * LIMIT))

    status, peak = measure("/body", Sender(0, bomb), [(b"content-encoding", b"gzip")])

    assert (status, peak < LIMIT + MEGABYTE) == (413, True)


def test_a_part_without_end_is_stopped_where_its_header_is():
    status, peak = measure("/files", Sender(LIMIT, b"--b\r\nContent-Disposition: "), MULTIPART)

    assert (status, peak < MEGABYTE) == (400, True)


def test_the_measure_finds_a_body_that_is_kept_twice():
    kept = []

    async def receive_twice():
        receive = Sender(LIMIT - 1000)
        while (message := await receive())["more_body"]:
            kept.append(message["body"])
        return len(b"".join(kept))

    tracemalloc.start()
    try:
        anyio.run(receive_twice)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak > LIMIT + MEGABYTE
